/* SPDX-License-Identifier: Apache-2.0 */
/* A histogram of positive values whose largest is not known before the last one was seen. */
#ifndef XCI_ANALYSIS_HISTOGRAM_H
#define XCI_ANALYSIS_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

enum { XCI_HISTOGRAM_BINS = 32 };

/* Bins of equal width over (0, range]; `range` is a power of two. When a value lies beyond it, the range doubles and
 * neighbouring bins merge, so that at the end at least half of the bins are used, whatever the order was. */
typedef struct xci_histogram {
  double range; /* 0: nothing seen */
  uint64_t count[XCI_HISTOGRAM_BINS];
} xci_histogram;

void xci_histogram_add(xci_histogram *histogram, double value); /* finite and > 0; anything else is ignored */
/* Bins up to the last one that holds anything. */
size_t xci_histogram_used(const xci_histogram *histogram);

/* Logarithmic bins of densities: edges from 1e-6 to 1 in quarters of a decade. */
enum { XCI_DENSITY_BINS = 24 };
double xci_density_edge(size_t index); /* log10 of edge 0..XCI_DENSITY_BINS */
/* The bin of `fired` out of `n` (0 < fired <= n); what lies below the first edge counts in the first bin. */
size_t xci_density_bin(uint64_t fired, uint64_t n);

#endif
