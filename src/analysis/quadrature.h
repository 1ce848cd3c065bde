/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes and weights on [0, 1] of the path integrals of METHOD section 6. */
#ifndef XCI_ANALYSIS_QUADRATURE_H
#define XCI_ANALYSIS_QUADRATURE_H

#include <crosscoder/analysis.h>

enum { XCI_MAX_STEPS = 1000 };

/* How many nodes a rule of n_steps steps has: n_steps, and one more for the trapezoid rule. */
size_t xci_quadrature_count(xcoder_quadrature rule, size_t n_steps);

/* alpha, weight: [xci_quadrature_count()], alpha ascending, weights summing to 1. Gauss-Legendre nodes by Newton's
 * method on the Legendre polynomial; left: k/N; midpoint: (k + 1/2)/N; trapezoid: k/N for k = 0..N. */
void xci_quadrature_nodes(xcoder_quadrature rule, size_t n_steps, double *alpha, double *weight);

/* "gauss", "left", "midpoint", "trapezoid". */
const char *xci_quadrature_name(xcoder_quadrature rule);

#endif
