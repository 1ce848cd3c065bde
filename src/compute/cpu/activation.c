/* SPDX-License-Identifier: Apache-2.0 */
/* The nonlinear middle of a feed-forward layer, plain or gated, forward and backward. */
#include "compute/cpu/transformer.h"

#include "base/parallel.h"
#include "base/size.h"
#include "compute/cpu/vector_math.h"

enum { PIECE = 512 }; /* floats of work space on the stack */

/* tanh(u) = 2 sigmoid(2u) - 1, so every smooth activation but the erf form is x sigmoid(slope x (1 + cubic x^2)). */
typedef struct activation_entry {
  void (*plain)(const float *x, float *y, size_t n);
  void (*plain_backward)(const float *x, const float *dy, float *dx, size_t n);
  float slope, cubic; /* used where the functions are NULL */
} activation_entry;

static const activation_entry activations[] = {
  [XCI_GELU_ERF] = {xci_gelu_erf, xci_gelu_erf_backward, 0, 0},
  [XCI_GELU_TANH] = {NULL, NULL, 1.5957691216057308f, 0.044715f}, /* 2 sqrt(2/pi) */
  [XCI_GELU_BLOOM] = {NULL, NULL, 1.59576912f, 0.044715f},        /* 2 * 0.79788456 */
  [XCI_GELU_QUICK] = {NULL, NULL, 1.702f, 0},
  [XCI_SILU] = {NULL, NULL, 1, 0},
  [XCI_RELU] = {xci_relu, xci_relu_backward, 0, 0},
};

static void apply(const activation_entry *f, const float *x, float *y, size_t n) {
  if (f->plain != NULL) f->plain(x, y, n);
  else xci_gated_sigmoid(x, y, n, f->slope, f->cubic);
}

static void apply_backward(const activation_entry *f, const float *x, const float *dy, float *dx, size_t n) {
  if (f->plain != NULL) f->plain_backward(x, dy, dx, n);
  else xci_gated_sigmoid_backward(x, dy, dx, n, f->slope, f->cubic);
}

void xci_cpu_activate(const xci_block *block, size_t n_rows, float *up, float *gate, float *act) {
  const activation_entry *f = &activations[block->activation];
  size_t width = block->d_mlp;
#pragma omp parallel for num_threads(xci_threads()) schedule(static)
  for (size_t r = 0; r < n_rows; r++) {
    float *u = up + r * width, *y = act + r * width;
    if (block->up.bias != NULL) xci_add_to(u, block->up.bias->host, width);
    if (gate == NULL) {
      apply(f, u, y, width);
      continue;
    }
    float *g = gate + r * width, piece[PIECE];
    if (block->gate.bias != NULL) xci_add_to(g, block->gate.bias->host, width);
    for (size_t i = 0; i < width; i += PIECE) {
      size_t n = xci_min_size(PIECE, width - i);
      apply(f, g + i, piece, n);
      for (size_t j = 0; j < n; j++) y[i + j] = piece[j] * u[i + j];
    }
  }
}

void xci_cpu_activate_backward(const xci_block *block, size_t n_rows, const float *up, const float *gate, float *d_act,
                               float *d_gate) {
  const activation_entry *f = &activations[block->activation];
  size_t width = block->d_mlp;
#pragma omp parallel for num_threads(xci_threads()) schedule(static)
  for (size_t r = 0; r < n_rows; r++) {
    const float *u = up + r * width;
    float *d = d_act + r * width;
    if (gate == NULL) {
      apply_backward(f, u, d, d, width);
      continue;
    }
    const float *g = gate + r * width;
    float *dg = d_gate + r * width, piece[PIECE];
    for (size_t i = 0; i < width; i += PIECE) {
      size_t n = xci_min_size(PIECE, width - i);
      for (size_t j = 0; j < n; j++) piece[j] = d[i + j] * u[i + j];
      apply_backward(f, g + i, piece, dg + i, n);
      apply(f, g + i, piece, n);
      for (size_t j = 0; j < n; j++) d[i + j] *= piece[j];
    }
  }
}
