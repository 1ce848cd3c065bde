/* SPDX-License-Identifier: Apache-2.0 */
/* Where checkpoints stand on an axis: by tokens seen in pretraining where all are known, else one after the other. */
#ifndef XCI_REPORT_AXIS_H
#define XCI_REPORT_AXIS_H

#include "report/figure.h"

/* x[n]: tokens, those of 0 a little left of the others (the axis is logarithmic), or 0, 1, 2, ... `tokens` may be NULL.
 * True for tokens. */
bool xci_checkpoint_places(const double *tokens, size_t n, double *x);
/* Sets the axis of a chart whose series use these places. All arrays must outlive the chart's drawing. */
void xci_chart_by_checkpoints(xci_chart *chart, const char *const *labels, const double *tokens, const double *x,
                              size_t n);

#endif
