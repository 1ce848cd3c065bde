/* SPDX-License-Identifier: Apache-2.0 */
/* Reference: a transformer block. The backward pass computes everything again from the block's input. */
#include "compute/reference/reference.h"

#include "base/memory.h"
#include "base/size.h"
#include <string.h>

/* [n_rows, d_model] arrays of one pass. */
enum { NORMED, ATTENTION, MID, NORMED_MLP, MLP, GRADIENT, INNER, N_ARRAYS };

typedef struct pass {
  const xci_block *block;
  const xci_rows *rows;
  size_t n_rows, d;
  double *memory, *array[N_ARRAYS];
  double *up, *gate; /* pre-activations of one row, then their gradients */
} pass;

static xcoder_status begin(pass *p, const xci_block *block, const xci_rows *rows, xcoder_error *err) {
  *p = (pass){.block = block, .rows = rows, .d = block->d_model};
  p->n_rows = rows->n_sequences > 0 ? rows->start[rows->n_sequences] : 0;
  size_t count;
  if (!xci_mul_size(p->n_rows * p->d, N_ARRAYS, &count))
    return xci_fail(err, XCODER_MEMORY, "%zu rows of %zu values", p->n_rows, p->d);
  xcoder_status status = XCI_ALLOC(&p->memory, count + 2 * block->d_mlp, err);
  if (status) return status;
  for (size_t i = 0; i < N_ARRAYS; i++) p->array[i] = p->memory + i * p->n_rows * p->d;
  p->up = p->memory + count;
  p->gate = p->up + block->d_mlp;
  return XCODER_OK;
}

static void norm(const pass *p, const xci_norm *n, const double *x, double *y) {
  for (size_t r = 0; r < p->n_rows; r++) xci_reference_norm(n, x + r * p->d, p->d, y + r * p->d);
}

static void norm_backward(const pass *p, const xci_norm *n, const double *x, const double *dy, double *dx) {
  for (size_t r = 0; r < p->n_rows; r++)
    xci_reference_norm_backward(n, x + r * p->d, dy + r * p->d, p->d, dx + r * p->d);
}

static void add(const pass *p, double *y, const double *x) {
  for (size_t i = 0; i < p->n_rows * p->d; i++) y[i] += x[i];
}

static void copy(const pass *p, double *y, const double *x) { memcpy(y, x, p->n_rows * p->d * sizeof *y); }

static void mlp(pass *p, const double *x, double *y) {
  const xci_block *b = p->block;
  for (size_t r = 0; r < p->n_rows; r++) {
    xci_reference_linear(&b->up, x + r * p->d, 1, p->up, b->d_mlp);
    if (b->gate.weight != NULL) xci_reference_linear(&b->gate, x + r * p->d, 1, p->gate, b->d_mlp);
    for (size_t i = 0; i < b->d_mlp; i++)
      p->up[i] = b->gate.weight != NULL ? xci_reference_activation(b->activation, p->gate[i]) * p->up[i]
                                        : xci_reference_activation(b->activation, p->up[i]);
    xci_reference_linear(&b->down, p->up, 1, y + r * p->d, p->d);
  }
}

static xcoder_status mlp_backward(pass *p, const double *x, const double *dy, double *dx, xcoder_error *err) {
  const xci_block *b = p->block;
  double *d_act = NULL;
  xcoder_status status = XCI_ALLOC(&d_act, b->d_mlp, err);
  for (size_t r = 0; !status && r < p->n_rows; r++) {
    xci_reference_linear(&b->up, x + r * p->d, 1, p->up, b->d_mlp);
    if (b->gate.weight != NULL) xci_reference_linear(&b->gate, x + r * p->d, 1, p->gate, b->d_mlp);
    memset(d_act, 0, b->d_mlp * sizeof *d_act);
    memset(dx + r * p->d, 0, p->d * sizeof *dx);
    xci_reference_linear_backward(&b->down, dy + r * p->d, p->d, 1, d_act);
    for (size_t i = 0; i < b->d_mlp; i++) {
      double u = p->up[i], g = p->gate[i];
      p->up[i] = d_act[i] * (b->gate.weight != NULL ? xci_reference_activation(b->activation, g)
                                                    : xci_reference_activation_slope(b->activation, u));
      p->gate[i] = d_act[i] * u * xci_reference_activation_slope(b->activation, g);
    }
    xci_reference_linear_backward(&b->up, p->up, b->d_mlp, 1, dx + r * p->d);
    if (b->gate.weight != NULL) xci_reference_linear_backward(&b->gate, p->gate, b->d_mlp, 1, dx + r * p->d);
  }
  xci_free(d_act);
  return status;
}

/* Fills the arrays of the pass from the input h; h itself stays. The block's output goes to array[GRADIENT]. */
static xcoder_status compute(pass *p, const double *h, xcoder_error *err) {
  const xci_block *b = p->block;
  double *normed = p->array[NORMED], *attention = p->array[ATTENTION], *mid = p->array[MID];
  double *normed_mlp = p->array[NORMED_MLP], *out = p->array[GRADIENT];
  bool post = b->residual == XCI_POST_NORM, parallel = b->residual == XCI_PARALLEL;
  if (post) copy(p, normed, h);
  else norm(p, &b->norm_attention, h, normed);
  xcoder_status status = xci_reference_attention(b, p->rows, normed, attention, err);
  if (status) return status;
  if (post) norm(p, &b->norm_attention, attention, mid);
  else copy(p, mid, attention);
  add(p, mid, b->residual_after_norm && !parallel && !post ? normed : h);
  if (post) copy(p, normed_mlp, mid);
  else norm(p, &b->norm_mlp, parallel ? h : mid, normed_mlp);
  mlp(p, normed_mlp, p->array[MLP]);
  if (post) norm(p, &b->norm_mlp, p->array[MLP], out);
  else copy(p, out, p->array[MLP]);
  add(p, out, b->residual_after_norm && !parallel && !post ? normed_mlp : mid);
  return status;
}

xcoder_status xci_reference_block(const xci_block *block, const xci_rows *rows, double *h, xcoder_error *err) {
  pass p;
  xcoder_status status = begin(&p, block, rows, err);
  if (!status && p.n_rows > 0) {
    status = compute(&p, h, err);
    if (!status) copy(&p, h, p.array[GRADIENT]);
  }
  xci_free(p.memory);
  return status;
}

/* dx = (d sublayer)^T d_out, where sublayer(x) = [norm] layer ([norm] x). `x_in` is its input, `x_layer` what the
 * layer itself saw, `y_layer` what it gave. */
typedef struct sublayer {
  const xci_norm *norm;
  const double *x_in, *x_layer, *y_layer;
  bool is_attention, through_norm; /* through_norm: the residual continues from x_layer */
} sublayer;

static xcoder_status sublayer_backward(pass *p, const sublayer *s, const double *d_out, double *dx,
                                       xcoder_error *err) {
  bool post = p->block->residual == XCI_POST_NORM;
  double *inner = p->array[INNER], *d_layer = p->array[GRADIENT];
  if (post) norm_backward(p, s->norm, s->y_layer, d_out, d_layer);
  else copy(p, d_layer, d_out);
  xcoder_status status = s->is_attention
                           ? xci_reference_attention_backward(p->block, p->rows, s->x_layer, d_layer, inner, err)
                           : mlp_backward(p, s->x_layer, d_layer, inner, err);
  if (status) return status;
  if (s->through_norm) add(p, inner, d_out);
  if (post) copy(p, dx, inner);
  else norm_backward(p, s->norm, s->x_in, inner, dx);
  if (!s->through_norm) add(p, dx, d_out);
  return status;
}

xcoder_status xci_reference_block_gradient(const xci_block *block, const xci_rows *rows, const double *h,
                                           double *gradient, xcoder_error *err) {
  pass p;
  xcoder_status status = begin(&p, block, rows, err);
  if (status || p.n_rows == 0) {
    xci_free(p.memory);
    return status;
  }
  bool parallel = block->residual == XCI_PARALLEL;
  bool through = block->residual_after_norm && block->residual == XCI_SEQUENTIAL;
  status = compute(&p, h, err);
  sublayer attention = {&block->norm_attention, h, p.array[NORMED], p.array[ATTENTION], true, through};
  sublayer feed_forward = {&block->norm_mlp, parallel ? h : p.array[MID], p.array[NORMED_MLP], p.array[MLP], false,
                           through};
  /* Each sublayer's backward includes its skip connection; in parallel blocks the skip must count once. */
  if (!status) status = sublayer_backward(&p, &feed_forward, gradient, p.array[MLP], err);
  if (!status && parallel) {
    double *from_mlp = p.array[MLP];
    for (size_t i = 0; i < p.n_rows * p.d; i++) from_mlp[i] -= gradient[i];
    status = sublayer_backward(&p, &attention, gradient, p.array[NORMED_MLP], err);
    if (!status) add(&p, from_mlp, p.array[NORMED_MLP]);
    if (!status) copy(&p, gradient, from_mlp);
  } else if (!status) {
    status = sublayer_backward(&p, &attention, p.array[MLP], gradient, err);
  }
  xci_free(p.memory);
  return status;
}

/* ---- Entries of the table: float32 buffers around the double forms ---- */

typedef struct reference_tape {
  size_t n_blocks, n_rows, d_model;
  double *input; /* [n_blocks][n_rows, d_model] */
} reference_tape;

xcoder_status xci_reference_tape_create(xcoder_device *device, const xci_block *block, size_t n_blocks, size_t n_rows,
                                        xci_tape **tape, xcoder_error *err) {
  (void)device;
  reference_tape *t = NULL;
  size_t count;
  *tape = NULL;
  if (!xci_mul_size(n_blocks, n_rows, &count) || !xci_mul_size(count, block->d_model, &count))
    return xci_fail(err, XCODER_MEMORY, "a tape of %zu blocks and %zu rows", n_blocks, n_rows);
  xcoder_status status = XCI_ALLOC(&t, 1, err);
  if (status) return status;
  *t = (reference_tape){.n_blocks = n_blocks, .n_rows = n_rows, .d_model = block->d_model};
  status = XCI_ALLOC(&t->input, count, err);
  if (status) {
    xci_free(t);
    return status;
  }
  *tape = (xci_tape *)t;
  return XCODER_OK;
}

void xci_reference_tape_free(xcoder_device *device, xci_tape *tape) {
  (void)device;
  reference_tape *t = (reference_tape *)tape;
  if (t == NULL) return;
  xci_free(t->input);
  xci_free(t);
}

static xcoder_status find_slot(xci_tape *tape, size_t slot, size_t n_rows, double **input, xcoder_error *err) {
  reference_tape *t = (reference_tape *)tape;
  if (slot >= t->n_blocks || n_rows > t->n_rows)
    return xci_fail(err, XCODER_INTERNAL, "slot %zu of %zu rows does not fit the tape", slot, n_rows);
  *input = t->input + slot * t->n_rows * t->d_model;
  return XCODER_OK;
}

static xcoder_status widen(const xci_buffer *buffer, size_t n, double **values, xcoder_error *err) {
  if (buffer->bytes / sizeof(float) < n)
    return xci_fail(err, XCODER_INTERNAL, "%zu values do not fit the buffer", n);
  xcoder_status status = XCI_ALLOC(values, n, err);
  for (size_t i = 0; !status && i < n; i++) (*values)[i] = (double)buffer->host[i];
  return status;
}

xcoder_status xci_reference_block_forward(xcoder_device *device, const xci_block *block, const xci_rows *rows,
                                          xci_buffer *h, xci_tape *tape, size_t slot, xcoder_error *err) {
  (void)device;
  double *values = NULL, *input = NULL;
  size_t n_rows = rows->n_sequences > 0 ? rows->start[rows->n_sequences] : 0, n = n_rows * block->d_model;
  xcoder_status status = widen(h, n, &values, err);
  if (!status && tape != NULL) status = find_slot(tape, slot, n_rows, &input, err);
  if (!status && tape != NULL) memcpy(input, values, n * sizeof *values);
  if (!status) status = xci_reference_block(block, rows, values, err);
  for (size_t i = 0; !status && i < n; i++) h->host[i] = (float)values[i];
  xci_free(values);
  return status;
}

xcoder_status xci_reference_block_backward(xcoder_device *device, const xci_block *block, const xci_rows *rows,
                                           xci_tape *tape, size_t slot, xci_buffer *gradient, xcoder_error *err) {
  (void)device;
  double *values = NULL, *input = NULL;
  size_t n_rows = rows->n_sequences > 0 ? rows->start[rows->n_sequences] : 0, n = n_rows * block->d_model;
  xcoder_status status = widen(gradient, n, &values, err);
  if (!status) status = find_slot(tape, slot, n_rows, &input, err);
  if (!status) status = xci_reference_block_gradient(block, rows, input, values, err);
  for (size_t i = 0; !status && i < n; i++) gradient->host[i] = (float)values[i];
  xci_free(values);
  return status;
}
