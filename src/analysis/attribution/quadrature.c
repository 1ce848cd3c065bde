/* SPDX-License-Identifier: Apache-2.0 */
/* Quadrature rules on [0, 1]. */
#include "analysis/attribution/quadrature.h"

#include <math.h>

static const double pi = 3.14159265358979323846;

size_t xci_quadrature_count(xcoder_quadrature rule, size_t n_steps) {
  return rule == XCODER_TRAPEZOID ? n_steps + 1 : rule == XCODER_GRADIENT ? 1 : n_steps;
}

/* P_n(z) and its derivative by the three-term recurrence. */
static double evaluate_legendre(size_t n, double z, double *derivative) {
  double p = 1, before = 0;
  for (size_t k = 1; k <= n; k++) {
    const double older = before;
    before = p;
    p = ((2.0 * (double)k - 1) * z * before - ((double)k - 1) * older) / (double)k;
  }
  *derivative = (double)n * (z * p - before) / (z * z - 1);
  return p;
}

/* Newton's method from Chebyshev's estimate converges quadratically to every root; the rule is symmetric, so half of
 * the roots are computed and mirrored. */
static void make_gauss(size_t n, double *alpha, double *weight) {
  for (size_t k = 0; k < (n + 1) / 2; k++) {
    double z = cos(pi * ((double)k + 0.75) / ((double)n + 0.5)), derivative = 1;
    for (int i = 0; i < 100; i++) {
      const double step = evaluate_legendre(n, z, &derivative) / derivative;
      z -= step;
      if (fabs(step) < 1e-15) break;
    }
    if (2 * k + 1 == n) z = 0;
    evaluate_legendre(n, z, &derivative);
    alpha[k] = 0.5 * (1 - z);
    alpha[n - 1 - k] = 0.5 * (1 + z);
    weight[k] = weight[n - 1 - k] = 1 / ((1 - z * z) * derivative * derivative);
  }
}

void xci_quadrature_nodes(xcoder_quadrature rule, size_t n_steps, double *alpha, double *weight) {
  const double n = (double)n_steps;
  if (rule == XCODER_GAUSS || rule == XCODER_LEGENDRE) {
    make_gauss(n_steps, alpha, weight);
    return;
  }
  const size_t count = xci_quadrature_count(rule, n_steps);
  for (size_t k = 0; k < count; k++) {
    alpha[k] = rule == XCODER_MIDPOINT ? ((double)k + 0.5) / n : (double)k / n;
    weight[k] = 1 / (rule == XCODER_GRADIENT ? 1 : n);
  }
  if (rule == XCODER_TRAPEZOID) weight[0] = weight[count - 1] = 0.5 / n;
}

void xci_quadrature_turn(double closest, double distance, size_t n, const double *u, const double *w, double *alpha,
                         double *weight) {
  const double first = atan(-closest / distance), range = atan((1 - closest) / distance) - first;
  for (size_t k = 0; k < n; k++) {
    double low = 0, high = 1;
    for (int i = 0; i < 60; i++) { /* the variable rises with alpha: halving ends at the last bit */
      const double middle = (low + high) / 2, turned = (atan((middle - closest) / distance) - first) / range;
      if (XCI_TURN * turned + (1 - XCI_TURN) * middle < u[k]) low = middle;
      else high = middle;
    }
    const double at = (low + high) / 2, x = (at - closest) / distance;
    weight[k] = w[k] / (XCI_TURN / (range * distance * (1 + x * x)) + (1 - XCI_TURN));
    alpha[k] = at;
  }
}

void xci_quadrature_grade(double closest, double distance, size_t n, const double *u, const double *w, double *alpha,
                          double *weight) {
  const double first = asinh(-closest / distance), range = asinh((1 - closest) / distance) - first;
  for (size_t k = 0; k < n; k++) {
    const double t = first + range * u[k];
    weight[k] = w[k] * range * distance * cosh(t);
    alpha[k] = fmin(1, fmax(0, closest + distance * sinh(t)));
  }
}

bool xci_quadrature_line(const float *clean, const float *target, size_t d, double *closest, double *distance,
                         double *length) {
  double mean_x = 0, mean_y = 0, xx = 0, xy = 0, yy = 0;
  for (size_t j = 0; j < d; j++) {
    mean_x += (double)clean[j] / (double)d;
    mean_y += ((double)target[j] - (double)clean[j]) / (double)d;
  }
  for (size_t j = 0; j < d; j++) {
    const double x = (double)clean[j] - mean_x, y = (double)target[j] - (double)clean[j] - mean_y;
    xx += x * x;
    xy += x * y;
    yy += y * y;
  }
  if (!(yy > 0)) return false;
  *closest = -xy / yy;
  *distance = sqrt(fmax(xx / yy - *closest * *closest, 0));
  *length = sqrt(yy / (double)d);
  return true;
}

const char *xci_quadrature_name(xcoder_quadrature rule) {
  static const char *const names[] = {"gauss", "left", "midpoint", "trapezoid", "legendre", "gradient"};
  return (unsigned)rule < sizeof names / sizeof *names ? names[rule] : "unknown";
}
