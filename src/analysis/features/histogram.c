/* SPDX-License-Identifier: Apache-2.0 */
/* Histograms of activations and of densities. */
#include "analysis/features/histogram.h"

#include <math.h>

static void double_range(xci_histogram *h) {
  for (size_t i = 0; i < XCI_HISTOGRAM_BINS / 2; i++) h->count[i] = h->count[2 * i] + h->count[2 * i + 1];
  for (size_t i = XCI_HISTOGRAM_BINS / 2; i < XCI_HISTOGRAM_BINS; i++) h->count[i] = 0;
  h->range *= 2;
}

void xci_histogram_add(xci_histogram *h, double value) {
  int exponent;
  if (!(value > 0) || isinf(value)) return;
  if (h->range == 0) {
    const double fraction = frexp(value, &exponent); /* in [0.5, 1) */
    h->range = ldexp(fraction == 0.5 ? 0.5 : 1, exponent);
  }
  while (value > h->range) double_range(h);
  const double place = ceil(value / h->range * XCI_HISTOGRAM_BINS); /* bins are closed above: (i, i + 1] */
  h->count[place < 1 ? 0 : (size_t)place - 1]++;
}

size_t xci_histogram_used(const xci_histogram *h) {
  size_t used = XCI_HISTOGRAM_BINS;
  while (used > 0 && h->count[used - 1] == 0) used--;
  return used;
}

double xci_density_edge(size_t index) { return -6 + 0.25 * (double)index; }

size_t xci_density_bin(uint64_t fired, uint64_t n) {
  const double place = floor((log10((double)fired / (double)n) + 6) * 4);
  if (!(place > 0)) return 0;
  return place >= XCI_DENSITY_BINS ? XCI_DENSITY_BINS - 1 : (size_t)place;
}
