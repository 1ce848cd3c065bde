/* SPDX-License-Identifier: Apache-2.0 */
/* Elements of an SVG drawing. Texts are escaped here and nowhere else. */
#ifndef XCI_REPORT_SVG_H
#define XCI_REPORT_SVG_H

#include "base/text.h"

void xci_svg_open(xci_text *svg, double width, double height, const char *title);
void xci_svg_close(xci_text *svg);
void xci_svg_line(xci_text *svg, double x1, double y1, double x2, double y2, const char *color, double width,
                  bool dashed);
/* `anchor`: "start", "middle", "end". */
void xci_svg_text(xci_text *svg, double x, double y, const char *anchor, double size, const char *color,
                  const char *label);
/* A label turned a quarter to the left, centred at (x, y). */
void xci_svg_rotated(xci_text *svg, double x, double y, const char *label);

#endif
