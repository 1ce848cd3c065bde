/* SPDX-License-Identifier: Apache-2.0 */
/* Threads, time, and sums whose value does not depend on them. */
#ifndef XCI_BASE_PARALLEL_H
#define XCI_BASE_PARALLEL_H

#include <stddef.h>

#if defined(_OPENMP)
#include <omp.h>
#endif

/* Team size of every parallel region: `#pragma omp parallel num_threads(xci_threads())`. */
int xci_threads(void);
int xci_thread_index(void); /* omp_get_thread_num() or 0 */

/* Of a clock that only moves forward; for rates and intervals, never for results. */
double xci_seconds(void);

/* Sum over a fixed chunk tree: chunks of 4096 elements, each summed in order (double), then pairwise. The value
 * depends on n alone, not on threads. */
double xci_sum_f32(const float *x, size_t n);
double xci_sum_f64(const double *x, size_t n);
double xci_sum_squares_f32(const float *x, size_t n);
/* Pairwise tree over partial results that the caller computed per fixed chunk. */
double xci_tree_f64(const double *partial, size_t n);

#endif
