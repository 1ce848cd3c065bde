/* SPDX-License-Identifier: Apache-2.0 */
/* Reference: norms, linear layers and activation functions, written as their formulas read. */
#include "compute/reference/reference.h"

#include "base/half.h"
#include <math.h>

static bool rounds;

void xci_reference_round_products(bool on) { rounds = on; }

static double factor(double x) { return rounds ? (double)xci_bf16_to_f32(xci_f32_to_bf16((float)x)) : x; }

static double weight_at(const xci_weight *weight, size_t i, double absent) {
  return weight != NULL ? (double)weight->host[i] : absent;
}

static void measure(const xci_norm *norm, const double *x, size_t width, double *mean, double *deviation) {
  double sum = 0, squares = 0;
  for (size_t i = 0; i < width; i++) sum += x[i];
  *mean = norm->kind == XCI_NORM_LAYER ? sum / (double)width : 0;
  for (size_t i = 0; i < width; i++) squares += (x[i] - *mean) * (x[i] - *mean);
  *deviation = sqrt(squares / (double)width + (double)norm->epsilon);
}

void xci_reference_norm(const xci_norm *norm, const double *x, size_t width, double *y) {
  double mean, deviation;
  measure(norm, x, width, &mean, &deviation);
  for (size_t i = 0; i < width; i++)
    y[i] = (x[i] - mean) / deviation * weight_at(norm->weight, i, 1) + weight_at(norm->bias, i, 0);
}

/* d xhat_i / d x_j = (delta_ij - [LayerNorm] 1/n - xhat_i xhat_j / n) / deviation, summed as it stands. */
void xci_reference_norm_backward(const xci_norm *norm, const double *x, const double *dy, size_t width, double *dx) {
  double mean, deviation, n = (double)width;
  measure(norm, x, width, &mean, &deviation);
  for (size_t j = 0; j < width; j++) {
    double sum = 0, xj = (x[j] - mean) / deviation;
    for (size_t i = 0; i < width; i++) {
      double xi = (x[i] - mean) / deviation, g = dy[i] * weight_at(norm->weight, i, 1);
      sum += g * ((i == j ? 1 : 0) - (norm->kind == XCI_NORM_LAYER ? 1 / n : 0) - xi * xj / n);
    }
    dx[j] = sum / deviation;
  }
}

/* W[o, i], however it is stored. */
static double linear_at(const xci_linear *linear, size_t o, size_t i) {
  const xci_weight *w = linear->weight;
  return (double)w->host[linear->transposed ? i * w->columns + o : o * w->columns + i];
}

static size_t n_outputs(const xci_linear *linear) {
  return linear->transposed ? linear->weight->columns : linear->weight->rows;
}

static size_t n_inputs(const xci_linear *linear) {
  return linear->transposed ? linear->weight->rows : linear->weight->columns;
}

void xci_reference_linear(const xci_linear *linear, const double *x, size_t n_rows, double *y, size_t stride) {
  size_t inputs = n_inputs(linear);
  for (size_t r = 0; r < n_rows; r++)
    for (size_t o = 0; o < n_outputs(linear); o++) {
      double sum = weight_at(linear->bias, o, 0);
      for (size_t i = 0; i < inputs; i++) sum += factor(x[r * inputs + i]) * factor(linear_at(linear, o, i));
      y[r * stride + o] = sum;
    }
}

void xci_reference_linear_backward(const xci_linear *linear, const double *dy, size_t stride, size_t n_rows,
                                   double *dx) {
  size_t inputs = n_inputs(linear);
  for (size_t r = 0; r < n_rows; r++)
    for (size_t o = 0; o < n_outputs(linear); o++)
      for (size_t i = 0; i < inputs; i++) dx[r * inputs + i] += dy[r * stride + o] * linear_at(linear, o, i);
}

/* GELU with the tanh form and its constant. */
static double gelu_tanh(double x, double c) { return 0.5 * x * (1 + tanh(c * (x + 0.044715 * x * x * x))); }

static double gelu_tanh_slope(double x, double c) {
  double t = tanh(c * (x + 0.044715 * x * x * x));
  return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x);
}

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

static double swish(double x, double c) { return x * sigmoid(c * x); }

static double swish_slope(double x, double c) {
  double s = sigmoid(c * x);
  return s + x * c * s * (1 - s);
}

static const double SQRT_2_OVER_PI = 0.79788456080286535588, BLOOM = 0.79788456;

double xci_reference_activation(xci_activation activation, double x) {
  switch (activation) {
    case XCI_GELU_ERF: return 0.5 * x * (1 + erf(x / sqrt(2)));
    case XCI_GELU_TANH: return gelu_tanh(x, SQRT_2_OVER_PI);
    case XCI_GELU_BLOOM: return gelu_tanh(x, BLOOM);
    case XCI_GELU_QUICK: return swish(x, 1.702);
    case XCI_SILU: return swish(x, 1);
    default: return x > 0 ? x : 0;
  }
}

double xci_reference_activation_slope(xci_activation activation, double x) {
  switch (activation) {
    case XCI_GELU_ERF: return 0.5 * (1 + erf(x / sqrt(2))) + x * exp(-x * x / 2) / sqrt(2 * acos(-1));
    case XCI_GELU_TANH: return gelu_tanh_slope(x, SQRT_2_OVER_PI);
    case XCI_GELU_BLOOM: return gelu_tanh_slope(x, BLOOM);
    case XCI_GELU_QUICK: return swish_slope(x, 1.702);
    case XCI_SILU: return swish_slope(x, 1);
    default: return x > 0 ? 1 : 0;
  }
}
