/* SPDX-License-Identifier: Apache-2.0 */
/* The layer kinds of a transformer block on the cpu, each a forward and backward pair. Arrays are [n_rows, width]. */
#ifndef XCI_COMPUTE_CPU_TRANSFORMER_H
#define XCI_COMPUTE_CPU_TRANSFORMER_H

#include "compute/cpu/cpu.h"

enum { XCI_QUERY_BLOCK = 128 }; /* queries that share one tile of scores */

/* norm.c. y = norm(x) and dx = J^T dy; y may be x, dx may be dy. The forms for one row start no threads. */
void xci_cpu_norm(const xci_norm *norm, const float *x, size_t n_rows, size_t width, float *y);
void xci_cpu_norm_backward(const xci_norm *norm, const float *x, const float *dy, size_t n_rows, size_t width,
                           float *dx);
void xci_cpu_norm_row(const xci_norm *norm, const float *x, size_t width, float *y);
void xci_cpu_norm_row_backward(const xci_norm *norm, const float *x, const float *dy, size_t width, float *dx);

/* weight.c. Weights that may be float32 in memory or of another type in the file. */
const float *xci_cpu_weight_row(const xci_weight *weight, size_t row, float *out); /* in place, or converted to out */
xci_weight xci_cpu_weight_rows(const xci_weight *weight, size_t first, size_t n);  /* a view, not to be freed */
/* panel [rows, columns] of a weight of any type, from first_row and first_column on; with all threads. */
void xci_cpu_weight_panel(const xci_weight *weight, size_t first_row, size_t rows, size_t first_column, size_t columns,
                          float *panel);

/* linear.c. Products without the bias, which is added where the result is used next: y [n_rows, out] with rows ldy
 * apart; dx [n_rows, in] = dy W + beta dx. Weights that are not float32 in memory are converted in panels. */
xcoder_status xci_cpu_linear(xcoder_device *device, const xci_linear *linear, const float *x, size_t n_rows, float *y,
                             size_t ldy, xcoder_error *err);
xcoder_status xci_cpu_linear_backward(xcoder_device *device, const xci_linear *linear, const float *dy, size_t lddy,
                                      size_t n_rows, float beta, float *dx, xcoder_error *err);
/* C = A op(W) + beta C in float32, op transposing when asked; C has n columns, as op(W). */
xcoder_status xci_cpu_product(xcoder_device *device, bool transpose, size_t n_rows, const float *a, size_t lda,
                              const xci_weight *w, float beta, float *c, size_t ldc, xcoder_error *err);
size_t xci_linear_inputs(const xci_linear *linear);
/* y = a + b + bias + c + bias2, where all but a may be NULL (and y may be any of them). */
typedef struct xci_sum {
  const float *a, *b, *c;
  const xci_weight *bias, *bias2;
} xci_sum;
void xci_cpu_add(const xci_sum *sum, size_t n_rows, size_t width, float *y);

/* activation.c. act = f(pre + bias) (gated: f(gate + bias) * (up + bias)); the biases are added to `up` and `gate` in
 * place. Backward overwrites d_act with the gradient of `up` and, if gated, fills d_gate. */
void xci_cpu_activate(const xci_block *block, size_t n_rows, float *up, float *gate, float *act);
void xci_cpu_activate_backward(const xci_block *block, size_t n_rows, const float *up, const float *gate, float *d_act,
                               float *d_gate);

/* rotary.c. The table of cosines and sines for positions < n_positions: [position][cos x width/2, sin x width/2]. */
xcoder_status xci_cpu_rotary_table(xcoder_device *device, const xci_block *block, size_t n_positions, float **table,
                                   xcoder_error *err);
void xci_cpu_rotate(const xci_block *block, const float *angles, size_t n_heads, float direction, float *x);

/* A plan of one call: the blocks of queries, none across a border of sequences. */
typedef struct xci_plan {
  const xci_rows *rows;
  size_t n_rows, longest, n_tasks;
  const size_t *task; /* [n_tasks][2]: sequence, first row */
  float *angles;      /* NULL without rotary */
} xci_plan;
xcoder_status xci_cpu_plan(xcoder_device *device, const xci_block *block, const xci_rows *rows, xci_plan *plan,
                           xcoder_error *err);

/* projection.c. Between the raw query/key/value products [n_rows, (n_heads + 2 n_kv_heads) d_head] and q, k, v with
 * heads side by side: bias, norm, clip, rotary. Backward writes the gradient of the raw products to d_raw and spoils
 * dq, dk, dv; its work space holds 2 n_heads d_head floats a thread. */
size_t xci_qkv_width(const xci_block *block);
void xci_cpu_split_qkv(const xci_block *block, const xci_plan *plan, const float *raw, float *q, float *k, float *v);
void xci_cpu_split_qkv_backward(const xci_block *block, const xci_plan *plan, const float *raw, float *dq, float *dk,
                                float *dv, float *work, float *d_raw);

/* attention.c. context [n_rows, n_heads d_head]. */
xcoder_status xci_cpu_attend(xcoder_device *device, const xci_block *block, const xci_plan *plan, const float *q,
                             const float *k, const float *v, float *context, xcoder_error *err);
xcoder_status xci_cpu_attend_backward(xcoder_device *device, const xci_block *block, const xci_plan *plan,
                                      const float *q, const float *k, const float *v, const float *d_context,
                                      float *dq, float *dk, float *dv, xcoder_error *err);

#endif
