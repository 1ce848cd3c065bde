/* SPDX-License-Identifier: Apache-2.0 */
/* A linear probe: ridge-regularised least squares. */
#ifndef XCI_ANALYSIS_PROBE_H
#define XCI_ANALYSIS_PROBE_H

#include "base/error.h"
#include <stddef.h>
#include <stdint.h>

/* Solves A x = b for a symmetric positive definite A [n, n] (row-major; overwritten by its Cholesky factor), b
 * overwritten by x. XCODER_INTERNAL if A is not positive definite. */
xcoder_status xci_solve_spd(double *a, double *b, size_t n, xcoder_error *err);

/* Trains on the rows of x [n_rows, d] listed in train[n_train] with their labels (indexed by row), choosing the
 * strength of the ridge (powers of ten) and the scaling of the columns (each by its own deviation, or all alike) by
 * four-fold cross-validation of the area under the curve, and writes the scores of all rows. Solved in the primal or
 * the dual, whichever is smaller. */
xcoder_status xci_probe(const float *x, size_t n_rows, size_t d, const uint8_t *label, const size_t *train,
                        size_t n_train, double *score, xcoder_error *err);

#endif
