/* SPDX-License-Identifier: Apache-2.0 */
/* The axis of checkpoints. */
#include "report/axis.h"

#include <math.h>

static bool are_known(const double *tokens, size_t n) {
  size_t n_positive = 0;
  for (size_t i = 0; tokens && i < n; i++) {
    if (!isfinite(tokens[i]) || tokens[i] < 0) return false;
    n_positive += tokens[i] > 0;
  }
  return n_positive > 1;
}

bool xci_checkpoint_places(const double *tokens, size_t n, double *x) {
  const bool known = are_known(tokens, n);
  double least = INFINITY;
  for (size_t i = 0; known && i < n; i++)
    if (tokens[i] > 0) least = fmin(least, tokens[i]);
  for (size_t i = 0; i < n; i++) x[i] = !known ? (double)i : tokens[i] > 0 ? tokens[i] : least / 4;
  return known;
}

void xci_chart_by_checkpoints(xci_chart *chart, const char *const *labels, const double *tokens, const double *x,
                              size_t n) {
  chart->categories = labels;
  chart->n_categories = n;
  if (!are_known(tokens, n)) return;
  chart->log_x = true;
  chart->category_x = x;
  chart->category_tokens = tokens;
  chart->x_title = "tokens seen in pretraining";
}
