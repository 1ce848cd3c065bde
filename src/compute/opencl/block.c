/* SPDX-License-Identifier: Apache-2.0 */
/* The forward pass of a transformer block on an OpenCL device: attention and feed-forward layer in their residual
 * arrangement. The host only enqueues; biases, activations and residual sums are one pass each beside the products. */
#include "compute/opencl/transformer.h"

/* What one pass works on. Where there is no tape, everything lies in work space. */
typedef struct pass {
  xcoder_device *device;
  const xci_block *block;
  xci_cl_plan plan;
  bool has_tape;
  xci_cl_slot slot;
  cl_mem h, normed, q, k, v, attention, act, mlp;
} pass;

static xcoder_status reserve(pass *p, xcoder_error *err) {
  const xci_block *b = p->block;
  const size_t d = b->d_model, q = b->n_heads * b->d_head, kv = b->n_kv_heads * b->d_head;
  const struct {
    cl_mem *memory;
    xci_cl_use use;
    size_t width;
    bool taped;
  } arrays[] = {
    {&p->normed, XCI_CL_NORMED, d, false}, {&p->q, XCI_CL_Q, q, false}, {&p->k, XCI_CL_K, kv, false},
    {&p->v, XCI_CL_V, kv, false}, {&p->attention, XCI_CL_ATTENTION, d, false}, {&p->act, XCI_CL_ACT, b->d_mlp, false},
    {&p->mlp, XCI_CL_MLP, d, false}, {&p->slot.raw, XCI_CL_RAW, xci_cl_qkv_width(b), true},
    {&p->slot.context, XCI_CL_CONTEXT, q, true}, {&p->slot.statistic, XCI_CL_STATISTIC, 2 * b->n_heads, true},
    {&p->slot.up, XCI_CL_UP, b->d_mlp, true}, {&p->slot.gate, XCI_CL_GATE, xci_cl_is_gated(b) ? b->d_mlp : 0, true},
  };
  xcoder_status status = XCODER_OK;
  for (size_t i = 0; !status && i < sizeof arrays / sizeof *arrays; i++)
    if (arrays[i].width > 0 && !(p->has_tape && arrays[i].taped))
      status = xci_cl_work(p->device, arrays[i].use, p->plan.n_rows, arrays[i].width, arrays[i].memory, err);
  return status;
}

static xcoder_status keep(const pass *p, cl_mem from, cl_mem to, xcoder_error *err) {
  if (!p->has_tape) return XCODER_OK;
  return xci_cl_copy(p->device, from, 0, to, 0, p->plan.n_rows * p->block->d_model * sizeof(float), err);
}

static xcoder_status normalise(const pass *p, const xci_norm *norm, cl_mem x, cl_mem y, xcoder_error *err) {
  return xci_cl_norm(p->device, norm, x, NULL, p->plan.n_rows, p->block->d_model, y, err);
}

static xcoder_status add(const pass *p, xci_cl_sum sum, cl_mem y, xcoder_error *err) {
  return xci_cl_add(p->device, &sum, p->plan.n_rows, p->block->d_model, y, err);
}

/* x -> p->attention, without the output bias. */
static xcoder_status attention_forward(pass *p, cl_mem x, xcoder_error *err) {
  const xci_block *b = p->block;
  xcoder_device *device = p->device;
  size_t n = p->plan.n_rows, width = xci_cl_qkv_width(b), keys = b->n_heads * b->d_head;
  size_t values = keys + b->n_kv_heads * b->d_head;
  xcoder_status status = xci_cl_linear(device, &b->query, x, n, p->slot.raw, 0, width, err);
  if (!b->qkv_fused) {
    if (!status) status = xci_cl_linear(device, &b->key, x, n, p->slot.raw, keys, width, err);
    if (!status) status = xci_cl_linear(device, &b->value, x, n, p->slot.raw, values, width, err);
  }
  if (!status) status = xci_cl_split_qkv(device, b, &p->plan, p->slot.raw, p->q, p->k, p->v, err);
  if (!status)
    status = xci_cl_attend(device, b, &p->plan, p->q, p->k, p->v, p->slot.context, p->slot.statistic, err);
  if (!status) status = xci_cl_linear(device, &b->output, p->slot.context, n, p->attention, 0, b->d_model, err);
  return status;
}

/* x -> p->mlp, without the last bias. */
static xcoder_status mlp_forward(pass *p, cl_mem x, xcoder_error *err) {
  const xci_block *b = p->block;
  xcoder_device *device = p->device;
  size_t n = p->plan.n_rows;
  xcoder_status status = xci_cl_linear(device, &b->up, x, n, p->slot.up, 0, b->d_mlp, err);
  if (!status && xci_cl_is_gated(b)) status = xci_cl_linear(device, &b->gate, x, n, p->slot.gate, 0, b->d_mlp, err);
  if (!status) status = xci_cl_activate(device, b, n, p->slot.up, p->slot.gate, p->act, err);
  if (!status) status = xci_cl_linear(device, &b->down, p->act, n, p->mlp, 0, b->d_model, err);
  return status;
}

static xcoder_status forward_parallel(pass *p, xcoder_error *err) {
  const xci_block *b = p->block;
  xcoder_status status = normalise(p, &b->norm_attention, p->h, p->normed, err);
  if (!status) status = attention_forward(p, p->normed, err);
  if (!status) status = normalise(p, &b->norm_mlp, p->h, p->normed, err);
  if (!status) status = mlp_forward(p, p->normed, err);
  if (!status)
    status = add(p, (xci_cl_sum){.a = p->mlp, .b = p->attention, .c = p->h, .bias = b->down.bias,
                                 .bias2 = b->output.bias}, p->h, err);
  return status;
}

static xcoder_status forward_sequential(pass *p, xcoder_error *err) {
  const xci_block *b = p->block;
  cl_mem residual = b->residual_after_norm ? p->normed : p->h;
  xcoder_status status = normalise(p, &b->norm_attention, p->h, p->normed, err);
  if (!status) status = attention_forward(p, p->normed, err);
  if (!status) status = add(p, (xci_cl_sum){.a = p->attention, .b = residual, .bias = b->output.bias}, p->h, err);
  if (!status) status = keep(p, p->h, p->slot.mid, err);
  if (!status) status = normalise(p, &b->norm_mlp, p->h, p->normed, err);
  if (!status) status = mlp_forward(p, p->normed, err);
  if (!status) status = add(p, (xci_cl_sum){.a = p->mlp, .b = residual, .bias = b->down.bias}, p->h, err);
  return status;
}

/* out <- out + bias, kept; its norm joins the stream. */
static xcoder_status add_normed(pass *p, cl_mem out, const xci_weight *bias, cl_mem kept, const xci_norm *norm,
                                xcoder_error *err) {
  xcoder_status status = XCODER_OK;
  if (bias != NULL) status = add(p, (xci_cl_sum){.a = out, .bias = bias}, out, err);
  if (!status) status = keep(p, out, kept, err);
  if (!status) status = normalise(p, norm, out, out, err);
  if (!status) status = add(p, (xci_cl_sum){.a = p->h, .b = out}, p->h, err);
  return status;
}

static xcoder_status forward_post_norm(pass *p, xcoder_error *err) {
  const xci_block *b = p->block;
  xcoder_status status = attention_forward(p, p->h, err);
  if (!status) status = add_normed(p, p->attention, b->output.bias, p->slot.mid, &b->norm_attention, err);
  if (!status) status = mlp_forward(p, p->h, err);
  if (!status) status = add_normed(p, p->mlp, b->down.bias, p->slot.mlp, &b->norm_mlp, err);
  return status;
}

xcoder_status xci_cl_block_forward(xcoder_device *device, const xci_block *block, const xci_rows *rows, xci_buffer *h,
                                   xci_tape *tape, size_t index, xcoder_error *err) {
  static xcoder_status (*const forward[])(pass *, xcoder_error *) = {
    [XCI_PARALLEL] = forward_parallel, [XCI_SEQUENTIAL] = forward_sequential, [XCI_POST_NORM] = forward_post_norm};
  pass p = {.device = device, .block = block, .has_tape = tape != NULL, .h = h->handle};
  xcoder_status status = xci_cl_plan_rows(device, block, rows, &p.plan, err);
  if (!status && h->bytes / sizeof(float) / block->d_model < p.plan.n_rows)
    status = xci_fail(err, XCODER_INTERNAL, "%zu rows of %zu values do not fit the buffer", p.plan.n_rows,
                      block->d_model);
  if (!status && p.has_tape) status = xci_cl_find_slot(block, tape, index, p.plan.n_rows, &p.slot, err);
  if (status || p.plan.n_rows == 0) return status;
  status = reserve(&p, err);
  if (!status) status = keep(&p, p.h, p.slot.input, err);
  return status ? status : forward[block->residual](&p, err);
}
