/* SPDX-License-Identifier: Apache-2.0 */
/* A transformer block: attention and feed-forward layer in their residual arrangement, and the tape between the
 * passes. The backward pass gives the gradient with respect to the residual stream only. */
#include "compute/cpu/transformer.h"

#include "base/memory.h"
#include "base/parallel.h"
#include "base/size.h"
#include <string.h>

/* One slot keeps, for every row: the block's input, the raw query/key/value products, the stream between the layers
 * (post-norm: the attention output before its norm), the feed-forward pre-activations, and for post-norm blocks the
 * feed-forward output before its norm. */
typedef struct cpu_tape {
  size_t n_blocks, n_rows, row_floats;
  float *values; /* [n_blocks][n_rows * row_floats] */
} cpu_tape;

typedef struct slot {
  float *input, *raw, *mid, *up, *gate, *mlp;
} slot;

static bool keeps_mid(const xci_block *block) { return block->residual != XCI_PARALLEL; }
static bool is_gated(const xci_block *block) { return block->gate.weight != NULL; }

static size_t slot_floats(const xci_block *block) {
  size_t d = block->d_model;
  return d + xci_qkv_width(block) + (keeps_mid(block) ? d : 0) + block->d_mlp * (is_gated(block) ? 2 : 1) +
         (block->residual == XCI_POST_NORM ? d : 0);
}

xcoder_status xci_cpu_tape_create(xcoder_device *device, const xci_block *block, size_t n_blocks, size_t n_rows,
                                  xci_tape **tape, xcoder_error *err) {
  (void)device;
  cpu_tape *t = NULL;
  size_t rows, floats = slot_floats(block);
  *tape = NULL;
  if (!xci_mul_size(n_blocks, n_rows, &rows))
    return xci_fail(err, XCODER_MEMORY, "a tape of %zu blocks and %zu rows", n_blocks, n_rows);
  xcoder_status status = XCI_ALLOC(&t, 1, err);
  if (status) return status;
  *t = (cpu_tape){.n_blocks = n_blocks, .n_rows = n_rows, .row_floats = floats};
  status = xci_alloc(rows, floats * sizeof *t->values, (void **)&t->values, err);
  if (status) {
    xci_free(t);
    return status;
  }
  *tape = (xci_tape *)t;
  return XCODER_OK;
}

void xci_cpu_tape_free(xcoder_device *device, xci_tape *tape) {
  (void)device;
  cpu_tape *t = (cpu_tape *)tape;
  if (t == NULL) return;
  xci_free(t->values);
  xci_free(t);
}

static xcoder_status find_slot(const xci_block *block, xci_tape *tape, size_t index, size_t n_rows, slot *s,
                               xcoder_error *err) {
  const cpu_tape *t = (const cpu_tape *)tape;
  if (index >= t->n_blocks || n_rows > t->n_rows || slot_floats(block) > t->row_floats)
    return xci_fail(err, XCODER_INTERNAL, "slot %zu of %zu rows does not fit the tape", index, n_rows);
  size_t d = block->d_model;
  float *p = t->values + index * t->n_rows * t->row_floats;
  *s = (slot){.input = p, .raw = p + n_rows * d};
  p = s->raw + n_rows * xci_qkv_width(block);
  if (keeps_mid(block)) {
    s->mid = p;
    p += n_rows * d;
  }
  s->up = p;
  p += n_rows * block->d_mlp;
  if (is_gated(block)) {
    s->gate = p;
    p += n_rows * block->d_mlp;
  }
  if (block->residual == XCI_POST_NORM) s->mlp = p;
  return XCODER_OK;
}

/* ---- Forward ---- */

/* What one pass works on. Where there is no tape, raw, up and gate lie in work space. */
typedef struct pass {
  xcoder_device *device;
  const xci_block *block;
  xci_plan plan;
  slot tape;
  bool has_tape;
  float *normed, *raw, *q, *k, *v, *context, *attention, *up, *gate, *act, *mlp;
} pass;

static xcoder_status reserve(pass *p, xci_work use, size_t width, float **out, xcoder_error *err) {
  size_t count;
  if (!xci_mul_size(p->plan.n_rows, width, &count))
    return xci_fail(err, XCODER_MEMORY, "%zu rows of %zu values", p->plan.n_rows, width);
  return xci_cpu_work(p->device, use, count, out, err);
}

static xcoder_status reserve_qkv(pass *p, xcoder_error *err) {
  const xci_block *b = p->block;
  xcoder_status status = reserve(p, XCI_WORK_Q, b->n_heads * b->d_head, &p->q, err);
  if (!status) status = reserve(p, XCI_WORK_K, b->n_kv_heads * b->d_head, &p->k, err);
  if (!status) status = reserve(p, XCI_WORK_V, b->n_kv_heads * b->d_head, &p->v, err);
  return status;
}

static xcoder_status reserve_forward(pass *p, xcoder_error *err) {
  const xci_block *b = p->block;
  xcoder_status status = reserve_qkv(p, err);
  if (!status) status = reserve(p, XCI_WORK_NORMED, b->d_model, &p->normed, err);
  if (!status) status = reserve(p, XCI_WORK_CONTEXT, b->n_heads * b->d_head, &p->context, err);
  if (!status) status = reserve(p, XCI_WORK_ATTENTION, b->d_model, &p->attention, err);
  if (!status) status = reserve(p, XCI_WORK_MLP, b->d_model, &p->mlp, err);
  if (!status) status = reserve(p, XCI_WORK_UP, b->d_mlp, &p->act, err);
  if (p->has_tape) {
    p->raw = p->tape.raw;
    p->up = p->tape.up;
    p->gate = p->tape.gate;
    return status;
  }
  p->up = p->act; /* activated in place */
  if (!status) status = reserve(p, XCI_WORK_QKV, xci_qkv_width(b), &p->raw, err);
  if (!status && is_gated(b)) status = reserve(p, XCI_WORK_GATE, b->d_mlp, &p->gate, err);
  return status;
}

/* x -> p->attention, without the output bias. */
static xcoder_status attention_forward(pass *p, const float *x, xcoder_error *err) {
  const xci_block *b = p->block;
  size_t n = p->plan.n_rows, width = xci_qkv_width(b), hd = b->d_head;
  xcoder_status status = xci_cpu_linear(p->device, &b->query, x, n, p->raw, width, err);
  if (!b->qkv_fused) {
    float *keys = p->raw + b->n_heads * hd, *values = keys + b->n_kv_heads * hd;
    if (!status) status = xci_cpu_linear(p->device, &b->key, x, n, keys, width, err);
    if (!status) status = xci_cpu_linear(p->device, &b->value, x, n, values, width, err);
  }
  if (status) return status;
  xci_cpu_split_qkv(b, &p->plan, p->raw, p->q, p->k, p->v);
  status = xci_cpu_attend(p->device, b, &p->plan, p->q, p->k, p->v, p->context, err);
  if (!status) status = xci_cpu_linear(p->device, &b->output, p->context, n, p->attention, b->d_model, err);
  return status;
}

/* x -> p->mlp, without the last bias. */
static xcoder_status mlp_forward(pass *p, const float *x, xcoder_error *err) {
  const xci_block *b = p->block;
  size_t n = p->plan.n_rows;
  xcoder_status status = xci_cpu_linear(p->device, &b->up, x, n, p->up, b->d_mlp, err);
  if (!status && is_gated(b)) status = xci_cpu_linear(p->device, &b->gate, x, n, p->gate, b->d_mlp, err);
  if (status) return status;
  xci_cpu_activate(b, n, p->up, p->gate, p->act);
  return xci_cpu_linear(p->device, &b->down, p->act, n, p->mlp, b->d_model, err);
}

static void keep(const pass *p, float *to, const float *from) {
  if (p->has_tape) memcpy(to, from, p->plan.n_rows * p->block->d_model * sizeof *to);
}

static xcoder_status forward_parallel(pass *p, float *h, xcoder_error *err) {
  const xci_block *b = p->block;
  size_t n = p->plan.n_rows, d = b->d_model;
  xci_cpu_norm(&b->norm_attention, h, n, d, p->normed);
  xcoder_status status = attention_forward(p, p->normed, err);
  if (status) return status;
  xci_cpu_norm(&b->norm_mlp, h, n, d, p->normed);
  status = mlp_forward(p, p->normed, err);
  if (status) return status;
  xci_sum sum = {.a = p->mlp, .b = p->attention, .c = h, .bias = b->down.bias, .bias2 = b->output.bias};
  xci_cpu_add(&sum, n, d, h);
  return status;
}

static xcoder_status forward_sequential(pass *p, float *h, xcoder_error *err) {
  const xci_block *b = p->block;
  size_t n = p->plan.n_rows, d = b->d_model;
  xci_cpu_norm(&b->norm_attention, h, n, d, p->normed);
  xcoder_status status = attention_forward(p, p->normed, err);
  if (status) return status;
  xci_sum sum = {.a = p->attention, .b = b->residual_after_norm ? p->normed : h, .bias = b->output.bias};
  xci_cpu_add(&sum, n, d, h);
  keep(p, p->tape.mid, h);
  xci_cpu_norm(&b->norm_mlp, h, n, d, p->normed);
  status = mlp_forward(p, p->normed, err);
  if (status) return status;
  sum = (xci_sum){.a = p->mlp, .b = b->residual_after_norm ? p->normed : h, .bias = b->down.bias};
  xci_cpu_add(&sum, n, d, h);
  return status;
}

static xcoder_status forward_post_norm(pass *p, float *h, xcoder_error *err) {
  const xci_block *b = p->block;
  size_t n = p->plan.n_rows, d = b->d_model;
  xcoder_status status = attention_forward(p, h, err);
  if (status) return status;
  xci_cpu_add(&(xci_sum){.a = p->attention, .bias = b->output.bias}, n, d, p->attention);
  keep(p, p->tape.mid, p->attention);
  xci_cpu_norm(&b->norm_attention, p->attention, n, d, p->attention);
  xci_cpu_add(&(xci_sum){.a = h, .b = p->attention}, n, d, h);
  status = mlp_forward(p, h, err);
  if (status) return status;
  xci_cpu_add(&(xci_sum){.a = p->mlp, .bias = b->down.bias}, n, d, p->mlp);
  keep(p, p->tape.mlp, p->mlp);
  xci_cpu_norm(&b->norm_mlp, p->mlp, n, d, p->mlp);
  xci_cpu_add(&(xci_sum){.a = h, .b = p->mlp}, n, d, h);
  return status;
}

static xcoder_status begin(pass *p, xcoder_device *device, const xci_block *block, const xci_rows *rows,
                           const xci_buffer *h, xci_tape *tape, size_t index, xcoder_error *err) {
  *p = (pass){.device = device, .block = block, .has_tape = tape != NULL};
  xcoder_status status = xci_cpu_plan(device, block, rows, &p->plan, err);
  if (!status && h->bytes / sizeof(float) / block->d_model < p->plan.n_rows)
    status = xci_fail(err, XCODER_INTERNAL, "%zu rows of %zu values do not fit the buffer", p->plan.n_rows,
                      block->d_model);
  if (!status && p->has_tape) status = find_slot(block, tape, index, p->plan.n_rows, &p->tape, err);
  return status;
}

xcoder_status xci_cpu_block_forward(xcoder_device *device, const xci_block *block, const xci_rows *rows, xci_buffer *h,
                                    xci_tape *tape, size_t index, xcoder_error *err) {
  static xcoder_status (*const forward[])(pass *, float *, xcoder_error *) = {
    [XCI_PARALLEL] = forward_parallel, [XCI_SEQUENTIAL] = forward_sequential, [XCI_POST_NORM] = forward_post_norm};
  pass p;
  xcoder_status status = begin(&p, device, block, rows, h, tape, index, err);
  if (status || p.plan.n_rows == 0) return status;
  status = reserve_forward(&p, err);
  if (status) return status;
  keep(&p, p.tape.input, h->host);
  return forward[block->residual](&p, h->host, err);
}

/* ---- Backward ---- */

/* Work space of the backward pass beyond q, k, v. */
typedef struct gradients {
  float *dq, *dk, *dv, *d_context, *d_raw, *rows; /* rows: of split_qkv_backward */
  float *d_act, *d_gate, *out;                    /* out: [n_rows, d_model] */
} gradients;

static xcoder_status reserve_backward(pass *p, gradients *g, xcoder_error *err) {
  const xci_block *b = p->block;
  size_t count;
  xcoder_status status = reserve_qkv(p, err);
  if (!status) status = reserve(p, XCI_WORK_DQ, b->n_heads * b->d_head, &g->dq, err);
  if (!status) status = reserve(p, XCI_WORK_DK, b->n_kv_heads * b->d_head, &g->dk, err);
  if (!status) status = reserve(p, XCI_WORK_DV, b->n_kv_heads * b->d_head, &g->dv, err);
  if (!status) status = reserve(p, XCI_WORK_CONTEXT, b->n_heads * b->d_head, &g->d_context, err);
  if (!status) status = reserve(p, XCI_WORK_QKV, xci_qkv_width(b), &g->d_raw, err);
  if (!status) status = reserve(p, XCI_WORK_UP, b->d_mlp, &g->d_act, err);
  if (!status && is_gated(b)) status = reserve(p, XCI_WORK_GATE, b->d_mlp, &g->d_gate, err);
  if (!status) status = reserve(p, XCI_WORK_DOUT, b->d_model, &g->out, err);
  if (!status) status = reserve(p, XCI_WORK_MID, b->d_model, &p->attention, err);
  if (!status && !xci_mul_size(2 * b->n_heads * b->d_head, (size_t)xci_threads(), &count))
    status = xci_fail(err, XCODER_MEMORY, "%zu heads of %zu", b->n_heads, b->d_head);
  if (!status) status = xci_cpu_work(p->device, XCI_WORK_ROWS, count, &g->rows, err);
  return status;
}

/* dx = Attn^T dy. */
static xcoder_status attention_backward(pass *p, gradients *g, const float *dy, float *dx, xcoder_error *err) {
  const xci_block *b = p->block;
  size_t n = p->plan.n_rows, width = xci_qkv_width(b), hd = b->d_head;
  xcoder_status status = xci_cpu_linear_backward(p->device, &b->output, dy, b->d_model, n, 0, g->d_context, err);
  if (status) return status;
  xci_cpu_split_qkv(b, &p->plan, p->tape.raw, p->q, p->k, p->v);
  status = xci_cpu_attend_backward(p->device, b, &p->plan, p->q, p->k, p->v, g->d_context, g->dq, g->dk, g->dv, err);
  if (status) return status;
  xci_cpu_split_qkv_backward(b, &p->plan, p->tape.raw, g->dq, g->dk, g->dv, g->rows, g->d_raw);
  status = xci_cpu_linear_backward(p->device, &b->query, g->d_raw, width, n, 0, dx, err);
  if (b->qkv_fused) return status;
  const float *d_key = g->d_raw + b->n_heads * hd, *d_value = d_key + b->n_kv_heads * hd;
  if (!status) status = xci_cpu_linear_backward(p->device, &b->key, d_key, width, n, 1, dx, err);
  if (!status) status = xci_cpu_linear_backward(p->device, &b->value, d_value, width, n, 1, dx, err);
  return status;
}

/* dx = MLP^T dy. */
static xcoder_status mlp_backward(pass *p, gradients *g, const float *dy, float *dx, xcoder_error *err) {
  const xci_block *b = p->block;
  size_t n = p->plan.n_rows;
  xcoder_status status = xci_cpu_linear_backward(p->device, &b->down, dy, b->d_model, n, 0, g->d_act, err);
  if (status) return status;
  xci_cpu_activate_backward(b, n, p->tape.up, p->tape.gate, g->d_act, g->d_gate);
  status = xci_cpu_linear_backward(p->device, &b->up, g->d_act, b->d_mlp, n, 0, dx, err);
  if (!status && is_gated(b))
    status = xci_cpu_linear_backward(p->device, &b->gate, g->d_gate, b->d_mlp, n, 1, dx, err);
  return status;
}

static xcoder_status backward_parallel(pass *p, gradients *g, float *dy, xcoder_error *err) {
  const xci_block *b = p->block;
  size_t n = p->plan.n_rows, d = b->d_model;
  float *d_mlp = p->attention;
  xcoder_status status = mlp_backward(p, g, dy, d_mlp, err);
  if (status) return status;
  xci_cpu_norm_backward(&b->norm_mlp, p->tape.input, d_mlp, n, d, d_mlp);
  status = attention_backward(p, g, dy, g->out, err);
  if (status) return status;
  xci_cpu_norm_backward(&b->norm_attention, p->tape.input, g->out, n, d, g->out);
  xci_cpu_add(&(xci_sum){.a = dy, .b = d_mlp, .c = g->out}, n, d, dy);
  return status;
}

/* With residual_after_norm the stream continues from the normalised value, so its gradient passes the norm too. */
static xcoder_status backward_sequential(pass *p, gradients *g, float *dy, xcoder_error *err) {
  const xci_block *b = p->block;
  size_t n = p->plan.n_rows, d = b->d_model;
  bool after = b->residual_after_norm;
  xcoder_status status = mlp_backward(p, g, dy, g->out, err);
  if (status) return status;
  if (after) xci_cpu_add(&(xci_sum){.a = g->out, .b = dy}, n, d, g->out);
  xci_cpu_norm_backward(&b->norm_mlp, p->tape.mid, g->out, n, d, g->out);
  xci_cpu_add(&(xci_sum){.a = g->out, .b = after ? NULL : dy}, n, d, dy);
  status = attention_backward(p, g, dy, g->out, err);
  if (status) return status;
  if (after) xci_cpu_add(&(xci_sum){.a = g->out, .b = dy}, n, d, g->out);
  xci_cpu_norm_backward(&b->norm_attention, p->tape.input, g->out, n, d, g->out);
  xci_cpu_add(&(xci_sum){.a = g->out, .b = after ? NULL : dy}, n, d, dy);
  return status;
}

static xcoder_status backward_post_norm(pass *p, gradients *g, float *dy, xcoder_error *err) {
  const xci_block *b = p->block;
  size_t n = p->plan.n_rows, d = b->d_model;
  float *inner = p->attention;
  xci_cpu_norm_backward(&b->norm_mlp, p->tape.mlp, dy, n, d, inner);
  xcoder_status status = mlp_backward(p, g, inner, g->out, err);
  if (status) return status;
  xci_cpu_add(&(xci_sum){.a = dy, .b = g->out}, n, d, dy);
  xci_cpu_norm_backward(&b->norm_attention, p->tape.mid, dy, n, d, inner);
  status = attention_backward(p, g, inner, g->out, err);
  if (!status) xci_cpu_add(&(xci_sum){.a = dy, .b = g->out}, n, d, dy);
  return status;
}

xcoder_status xci_cpu_block_backward(xcoder_device *device, const xci_block *block, const xci_rows *rows,
                                     xci_tape *tape, size_t index, xci_buffer *gradient, xcoder_error *err) {
  static xcoder_status (*const backward[])(pass *, gradients *, float *, xcoder_error *) = {
    [XCI_PARALLEL] = backward_parallel, [XCI_SEQUENTIAL] = backward_sequential, [XCI_POST_NORM] = backward_post_norm};
  pass p;
  gradients g = {0};
  xcoder_status status = begin(&p, device, block, rows, gradient, tape, index, err);
  if (status || p.plan.n_rows == 0) return status;
  status = reserve_backward(&p, &g, err);
  return status ? status : backward[block->residual](&p, &g, gradient->host, err);
}
