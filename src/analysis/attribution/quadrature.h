/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes and weights on [0, 1] of the path integrals of METHOD section 6. */
#ifndef XCI_ANALYSIS_QUADRATURE_H
#define XCI_ANALYSIS_QUADRATURE_H

#include <crosscoder/analysis.h>

enum { XCI_MAX_STEPS = 1000, XCI_MAX_AUTO_STEPS = 320 };

/* How many nodes a rule of n_steps steps has: n_steps, one more for the trapezoid rule, 1 for the plain gradient. */
size_t xci_quadrature_count(xcoder_quadrature rule, size_t n_steps);

/* alpha, weight: [xci_quadrature_count()], alpha ascending, weights summing to 1. Gauss-Legendre nodes (for
 * XCODER_GAUSS, too) by Newton's method on the Legendre polynomial; left: k/N; midpoint: (k + 1/2)/N; trapezoid: k/N
 * for k = 0..N; gradient: 0. */
void xci_quadrature_nodes(xcoder_quadrature rule, size_t n_steps, double *alpha, double *weight);

/* Moves nodes u[n] with weights w[n] on [0, 1] to where a line that passes the origin turns: the point of the line at
 * alpha has the angle atan((alpha - closest) / distance). The new variable is made of XCI_TURN of this angle, scaled to
 * [0, 1], and 1 - XCI_TURN of alpha itself, so that no stretch of the line is left without nodes. `distance` is in
 * units of alpha and > 0. alpha and weight may be u and w. */
#define XCI_TURN 0.95
void xci_quadrature_turn(double closest, double distance, size_t n, const double *u, const double *w, double *alpha,
                         double *weight);

/* Moves nodes to where a line runs into a point: alpha = closest + distance * sinh(t), the nodes those of t. Away from
 * the point they are equally dense per factor of the distance from it, nearer than `distance` per length. */
void xci_quadrature_grade(double closest, double distance, size_t n, const double *u, const double *w, double *alpha,
                          double *weight);

/* The line from `clean` to `target` [d], both without their means, which LayerNorm takes off: where it is closest to
 * the origin and how far from it, in units of alpha, and its length (root mean square over the width). False where the
 * two are the same point. */
bool xci_quadrature_line(const float *clean, const float *target, size_t d, double *closest, double *distance,
                         double *length);

/* "gauss", "left", "midpoint", "trapezoid", "legendre", "gradient". */
const char *xci_quadrature_name(xcoder_quadrature rule);

#endif
