/* SPDX-License-Identifier: Apache-2.0 */
/* LayerNorm and RMSNorm of rows, forward and backward. */
#include "compute/cpu/transformer.h"

#include "base/parallel.h"
#include "compute/cpu/vector_math.h"
#include <math.h>

enum { LANES = 8 };

static double sum_of(const double *lane) {
  double sum = 0;
  for (size_t j = 0; j < LANES; j++) sum += lane[j];
  return sum;
}

static inline double square_of(double x) { return x * x; }

XCI_CLONES static double sum_row(const float *x, size_t width) {
  double lane[LANES] = {0};
  size_t i = 0;
  for (; i + LANES <= width; i += LANES) {
#pragma omp simd
    for (size_t j = 0; j < LANES; j++) lane[j] += (double)x[i + j];
  }
  for (; i < width; i++) lane[i % LANES] += (double)x[i];
  return sum_of(lane);
}

XCI_CLONES static double sum_squares_about(const float *x, size_t width, double mean) {
  double lane[LANES] = {0};
  size_t i = 0;
  for (; i + LANES <= width; i += LANES) {
#pragma omp simd
    for (size_t j = 0; j < LANES; j++) lane[j] += square_of((double)x[i + j] - mean);
  }
  for (; i < width; i++) lane[i % LANES] += square_of((double)x[i] - mean);
  return sum_of(lane);
}

/* Mean and 1/deviation of one row, in double and two passes: the mean of a residual stream can be large against its
 * spread. */
static void measure_row(const xci_norm *norm, const float *x, size_t width, double *mean, double *scale) {
  *mean = norm->kind == XCI_NORM_LAYER ? sum_row(x, width) / (double)width : 0.0;
  *scale = 1 / sqrt(sum_squares_about(x, width, *mean) / (double)width + (double)norm->epsilon);
}

XCI_CLONES static void standardise(const float *x, size_t width, double mean, double scale, float *y) {
#pragma omp simd
  for (size_t i = 0; i < width; i++) y[i] = (float)(((double)x[i] - mean) * scale);
}

void xci_cpu_norm_row(const xci_norm *norm, const float *x, size_t width, float *y) {
  double mean, scale;
  measure_row(norm, x, width, &mean, &scale);
  standardise(x, width, mean, scale, y);
  if (norm->weight != NULL) xci_multiply_to(y, norm->weight->host, width);
  if (norm->bias != NULL) xci_add_to(y, norm->bias->host, width);
}

/* sum g and sum g xhat, where g = dy w; `weight` of a norm without one is a row of ones that the caller avoids by
 * passing NULL. */
XCI_CLONES static void project_gradient(const float *x, const float *dy, const float *weight, size_t width,
                                        double mean, double scale, double *sum_g, double *sum_gx) {
  double lane_g[LANES] = {0}, lane_gx[LANES] = {0};
  size_t i = 0;
  for (; i + LANES <= width; i += LANES) {
#pragma omp simd
    for (size_t j = 0; j < LANES; j++) {
      double g = (double)dy[i + j] * (weight != NULL ? (double)weight[i + j] : 1.0);
      lane_g[j] += g;
      lane_gx[j] += g * (((double)x[i + j] - mean) * scale);
    }
  }
  for (; i < width; i++) {
    double g = (double)dy[i] * (weight != NULL ? (double)weight[i] : 1.0);
    lane_g[i % LANES] += g;
    lane_gx[i % LANES] += g * (((double)x[i] - mean) * scale);
  }
  *sum_g = sum_of(lane_g);
  *sum_gx = sum_of(lane_gx);
}

/* With xhat = (x - mean) s and g = dy w: dx = s (g - mean(g) - xhat mean(g xhat)); RMSNorm lacks the mean(g). */
XCI_CLONES static void write_gradient(const float *x, const float *dy, const float *weight, size_t width, double mean,
                                      double scale, double mean_g, double mean_gx, float *dx) {
#pragma omp simd
  for (size_t i = 0; i < width; i++) {
    double g = (double)dy[i] * (weight != NULL ? (double)weight[i] : 1.0);
    dx[i] = (float)(scale * (g - mean_g - ((double)x[i] - mean) * scale * mean_gx));
  }
}

void xci_cpu_norm_row_backward(const xci_norm *norm, const float *x, const float *dy, size_t width, float *dx) {
  const float *weight = norm->weight != NULL ? norm->weight->host : NULL;
  double mean, scale, sum_g, sum_gx, n = (double)width;
  measure_row(norm, x, width, &mean, &scale);
  project_gradient(x, dy, weight, width, mean, scale, &sum_g, &sum_gx);
  double mean_g = norm->kind == XCI_NORM_LAYER ? sum_g / n : 0.0;
  write_gradient(x, dy, weight, width, mean, scale, mean_g, sum_gx / n, dx);
}

void xci_cpu_norm(const xci_norm *norm, const float *x, size_t n_rows, size_t width, float *y) {
#pragma omp parallel for num_threads(xci_threads()) schedule(static)
  for (size_t r = 0; r < n_rows; r++) xci_cpu_norm_row(norm, x + r * width, width, y + r * width);
}

void xci_cpu_norm_backward(const xci_norm *norm, const float *x, const float *dy, size_t n_rows, size_t width,
                           float *dx) {
#pragma omp parallel for num_threads(xci_threads()) schedule(static)
  for (size_t r = 0; r < n_rows; r++)
    xci_cpu_norm_row_backward(norm, x + r * width, dy + r * width, width, dx + r * width);
}
