/* SPDX-License-Identifier: Apache-2.0 */
/* Elements of an SVG drawing. */
#include "report/svg.h"

#include <string.h>

static void add_escaped(xci_text *svg, const char *label) {
  if (label) xci_text_xml(svg, label, strlen(label));
}

void xci_svg_open(xci_text *svg, double width, double height, const char *title) {
  xci_text_format(svg,
                  "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" width=\"%.0f\" height=\"%.0f\" "
                  "font-family=\"Helvetica, Arial, 'Liberation Sans', sans-serif\" role=\"img\">\n<title>",
                  width, height, width, height);
  add_escaped(svg, title);
  xci_text_format(svg, "</title>\n<rect width=\"%.0f\" height=\"%.0f\" fill=\"#fff\"/>\n", width, height);
}

void xci_svg_close(xci_text *svg) { xci_text_add(svg, "</svg>\n"); }

void xci_svg_line(xci_text *svg, double x1, double y1, double x2, double y2, const char *color, double width,
                  bool dashed) {
  xci_text_format(svg,
                  "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\" stroke-width=\"%.1f\"%s/>\n", x1,
                  y1, x2, y2, color, width, dashed ? " stroke-dasharray=\"4 3\"" : "");
}

void xci_svg_text(xci_text *svg, double x, double y, const char *anchor, double size, const char *color,
                  const char *label) {
  if (!label || !*label) return;
  xci_text_format(svg,
                  "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" font-size=\"%.0f\" fill=\"%s\" "
                  "xml:space=\"preserve\">",
                  x, y, anchor, size, color);
  add_escaped(svg, label);
  xci_text_add(svg, "</text>\n");
}

void xci_svg_rotated(xci_text *svg, double x, double y, const char *label) {
  if (!label || !*label) return;
  xci_text_format(svg,
                  "<text transform=\"translate(%.1f %.1f) rotate(-90)\" text-anchor=\"middle\" font-size=\"12\" "
                  "fill=\"#111\">",
                  x, y);
  add_escaped(svg, label);
  xci_text_add(svg, "</text>\n");
}
