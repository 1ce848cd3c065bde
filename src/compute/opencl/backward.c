/* SPDX-License-Identifier: Apache-2.0 */
/* Backward pass of a transformer block on an OpenCL device: the gradient of the residual stream alone, in the same
 * order as the processor's. Sums with the stream are made where a norm or a product writes its result. */
#include "compute/opencl/transformer.h"

#include "base/size.h"

enum { SIDE = 32, SLICE = 128, NO_NORM = 2 }; /* as in cl/attention_backward.cl and cl/transformer.cl */

/* What one pass works on: the slot of the tape, the queries, keys and values again, and gradients. */
typedef struct pass {
  xcoder_device *device;
  const xci_block *block;
  xci_cl_plan plan;
  xci_cl_slot slot;
  cl_mem q, k, v, dq, dk, dv, d_context, means, d_raw, d_act, d_gate, out, mid;
} pass;

static xcoder_status reserve(pass *p, xcoder_error *err) {
  const xci_block *b = p->block;
  const size_t d = b->d_model, q = b->n_heads * b->d_head, kv = b->n_kv_heads * b->d_head;
  const struct {
    xci_cl_use use;
    size_t width;
    cl_mem *memory;
  } arrays[] = {
    {XCI_CL_Q, q, &p->q}, {XCI_CL_K, kv, &p->k}, {XCI_CL_V, kv, &p->v}, {XCI_CL_DQ, q, &p->dq}, {XCI_CL_DK, kv, &p->dk},
    {XCI_CL_DV, kv, &p->dv}, {XCI_CL_D_CONTEXT, q, &p->d_context}, {XCI_CL_D_SUMS, b->n_heads, &p->means},
    {XCI_CL_D_RAW, xci_cl_qkv_width(b), &p->d_raw}, {XCI_CL_D_ACT, b->d_mlp, &p->d_act},
    {XCI_CL_D_GATE, xci_cl_is_gated(b) ? b->d_mlp : 0, &p->d_gate}, {XCI_CL_D_OUT, d, &p->out},
    {XCI_CL_D_MID, d, &p->mid},
  };
  xcoder_status status = XCODER_OK;
  for (size_t i = 0; !status && i < sizeof arrays / sizeof *arrays; i++)
    status = xci_cl_work(p->device, arrays[i].use, p->plan.n_rows, arrays[i].width, arrays[i].memory, err);
  return status;
}

/* dx = J^T (dy + before) + after; before and after may be NULL, dx any of the three. */
static xcoder_status norm_backward(pass *p, const xci_norm *norm, cl_mem x, cl_mem dy, cl_mem before, cl_mem after,
                                   cl_mem dx, xcoder_error *err) {
  return xci_cl_run(p->device, "norm_backward", xci_ceil_div(p->plan.n_rows, XCI_CL_TEAMS), 1, err, "mmmuufummm", x, dy,
                    xci_cl_vector(norm->weight), (unsigned)p->plan.n_rows, (unsigned)norm->kind, (double)norm->epsilon,
                    (unsigned)p->block->d_model, before, after, dx);
}

/* dx = MLP^T dy + beta dx. */
static xcoder_status mlp_backward(pass *p, cl_mem dy, float beta, cl_mem dx, xcoder_error *err) {
  const xci_block *b = p->block;
  const size_t n = p->plan.n_rows;
  const bool gated = xci_cl_is_gated(b);
  xcoder_status status = xci_cl_linear_backward(p->device, &b->down, dy, 0, b->d_model, n, 0, p->d_act, err);
  if (!status)
    status = xci_cl_run(p->device, "activate_backward", n, xci_ceil_div(b->d_mlp, XCI_CL_GROUP), err, "mmmmuumm",
                        p->slot.up, xci_cl_vector(b->up.bias), p->slot.gate, xci_cl_vector(b->gate.bias),
                        (unsigned)b->activation, (unsigned)b->d_mlp, p->d_act, p->d_gate);
  if (!status) status = xci_cl_linear_backward(p->device, &b->up, p->d_act, 0, b->d_mlp, n, beta, dx, err);
  if (!status && gated) status = xci_cl_linear_backward(p->device, &b->gate, p->d_gate, 0, b->d_mlp, n, 1, dx, err);
  return status;
}

/* ---- Attention ---- */

static xcoder_status attend_backward(pass *p, xcoder_error *err) {
  const xci_block *b = p->block;
  const xci_cl_plan *plan = &p->plan;
  const size_t tiles = xci_ceil_div(plan->n_rows, SIDE), slices = xci_ceil_div(b->d_head, SLICE);
  const size_t n_pairs = plan->n_rows * b->n_heads;
  const unsigned n_rows = (unsigned)plan->n_rows, n_heads = (unsigned)b->n_heads, d_head = (unsigned)b->d_head;
  const unsigned heads_per_key = (unsigned)(b->n_heads / b->n_kv_heads);
  const double scale = (double)b->attention_scale;
  xcoder_status status = xci_cl_run(p->device, "attention_means", xci_ceil_div(n_pairs, XCI_CL_TEAMS), 1, err, "mmuum",
                                    p->slot.context, p->d_context, (unsigned)n_pairs, d_head, p->means);
  if (!status)
    status = xci_cl_run(p->device, "attention_dq", tiles, b->n_heads * slices, err, "mmmmmmmmuuuufm", p->q, p->k, p->v,
                        p->d_context, p->slot.statistic, p->means, plan->positions, plan->slopes, n_rows, n_heads,
                        heads_per_key, d_head, scale, p->dq);
  if (!status)
    status = xci_cl_run(p->device, "attention_dkv", tiles, b->n_kv_heads * slices, err, "mmmmmmmmuuuufmm", p->q, p->k,
                        p->v, p->d_context, p->slot.statistic, p->means, plan->positions, plan->slopes, n_rows, n_heads,
                        heads_per_key, d_head, scale, p->dk, p->dv);
  return status;
}

/* The gradient of one part of the raw products (0 queries, 1 keys, 2 values) from d; spare: as wide as d. */
static xcoder_status split_backward(pass *p, size_t part, cl_mem d, cl_mem spare, xcoder_error *err) {
  const xci_block *b = p->block;
  const xci_linear *linear[3] = {&b->query, &b->key, &b->value};
  const size_t hd = b->d_head, heads[3] = {b->n_heads, b->n_kv_heads, b->n_kv_heads};
  const size_t firsts[3] = {0, b->n_heads * hd, (b->n_heads + b->n_kv_heads) * hd};
  const bool interleaved = b->qkv_fused && b->qkv_interleaved;
  const xci_norm none = {.kind = XCI_NORM_RMS}, *norm = part == 0 ? &b->norm_q : &b->norm_k;
  const bool has_norm = b->has_qk_norm && part < 2;
  const size_t first = interleaved ? part * hd : firsts[part];
  if (!has_norm) norm = &none;
  return xci_cl_run(p->device, "split_backward", xci_ceil_div(p->plan.n_rows, XCI_CL_TEAMS), 1, err,
                    "mmmuuuuuuuufmmfmmumm", d, p->slot.raw,
                    xci_cl_vector(b->qkv_fused ? b->query.bias : linear[part]->bias),
                    (unsigned)(b->qkv_fused ? first : 0), (unsigned)p->plan.n_rows, (unsigned)(heads[part] * hd),
                    (unsigned)hd, (unsigned)first, (unsigned)(interleaved ? 3 * hd : hd), (unsigned)xci_cl_qkv_width(b),
                    has_norm ? (unsigned)norm->kind : (unsigned)NO_NORM, (double)norm->epsilon,
                    xci_cl_vector(norm->weight), xci_cl_vector(norm->bias), (double)b->clip_qkv, p->plan.positions,
                    p->plan.angles, (unsigned)(part < 2 ? b->rotary_width : 0), spare, p->d_raw);
}

/* dx = Attn^T dy + beta dx. */
static xcoder_status attention_backward(pass *p, cl_mem dy, float beta, cl_mem dx, xcoder_error *err) {
  const xci_block *b = p->block;
  const size_t n = p->plan.n_rows, width = xci_cl_qkv_width(b), hd = b->d_head;
  xcoder_status status = xci_cl_linear_backward(p->device, &b->output, dy, 0, b->d_model, n, 0, p->d_context, err);
  if (!status) status = xci_cl_split_qkv(p->device, b, &p->plan, p->slot.raw, p->q, p->k, p->v, err);
  if (!status) status = attend_backward(p, err);
  if (!status) status = split_backward(p, 0, p->dq, p->q, err);
  if (!status) status = split_backward(p, 1, p->dk, p->k, err);
  if (!status) status = split_backward(p, 2, p->dv, p->v, err);
  if (!status) status = xci_cl_linear_backward(p->device, &b->query, p->d_raw, 0, width, n, beta, dx, err);
  if (status || b->qkv_fused) return status;
  const size_t keys = b->n_heads * hd, values = keys + b->n_kv_heads * hd;
  status = xci_cl_linear_backward(p->device, &b->key, p->d_raw, keys, width, n, 1, dx, err);
  if (!status) status = xci_cl_linear_backward(p->device, &b->value, p->d_raw, values, width, n, 1, dx, err);
  return status;
}

/* ---- The arrangements; dy becomes the gradient of the input ---- */

static xcoder_status backward_parallel(pass *p, cl_mem dy, xcoder_error *err) {
  const xci_block *b = p->block;
  xcoder_status status = mlp_backward(p, dy, 0, p->out, err);
  if (!status) status = norm_backward(p, &b->norm_mlp, p->slot.input, p->out, NULL, dy, p->mid, err);
  if (!status) status = attention_backward(p, dy, 0, p->out, err);
  if (!status) status = norm_backward(p, &b->norm_attention, p->slot.input, p->out, NULL, p->mid, dy, err);
  return status;
}

/* With residual_after_norm the stream continues from the normalised value, so its gradient passes the norm too. */
static xcoder_status backward_sequential(pass *p, cl_mem dy, xcoder_error *err) {
  const xci_block *b = p->block;
  cl_mem inside = b->residual_after_norm ? dy : NULL, beside = b->residual_after_norm ? NULL : dy;
  xcoder_status status = mlp_backward(p, dy, 0, p->out, err);
  if (!status) status = norm_backward(p, &b->norm_mlp, p->slot.mid, p->out, inside, beside, dy, err);
  if (!status) status = attention_backward(p, dy, 0, p->out, err);
  if (!status) status = norm_backward(p, &b->norm_attention, p->slot.input, p->out, inside, beside, dy, err);
  return status;
}

static xcoder_status backward_post_norm(pass *p, cl_mem dy, xcoder_error *err) {
  const xci_block *b = p->block;
  xcoder_status status = norm_backward(p, &b->norm_mlp, p->slot.mlp, dy, NULL, NULL, p->mid, err);
  if (!status) status = mlp_backward(p, p->mid, 1, dy, err);
  if (!status) status = norm_backward(p, &b->norm_attention, p->slot.mid, dy, NULL, NULL, p->mid, err);
  if (!status) status = attention_backward(p, p->mid, 1, dy, err);
  return status;
}

xcoder_status xci_cl_block_backward(xcoder_device *device, const xci_block *block, const xci_rows *rows,
                                    xci_tape *tape, size_t index, xci_buffer *gradient, xcoder_error *err) {
  static xcoder_status (*const backward[])(pass *, cl_mem, xcoder_error *) = {
    [XCI_PARALLEL] = backward_parallel, [XCI_SEQUENTIAL] = backward_sequential, [XCI_POST_NORM] = backward_post_norm};
  pass p = {.device = device, .block = block};
  xcoder_status status = xci_cl_plan_rows(device, block, rows, &p.plan, err);
  if (!status && gradient->bytes / sizeof(float) / block->d_model < p.plan.n_rows)
    status = xci_fail(err, XCODER_INTERNAL, "%zu rows of %zu values do not fit the buffer", p.plan.n_rows,
                      block->d_model);
  if (!status) status = xci_cl_find_slot(block, tape, index, p.plan.n_rows, &p.slot, err);
  if (status || p.plan.n_rows == 0) return status;
  status = reserve(&p, err);
  return status ? status : backward[block->residual](&p, gradient->handle, err);
}
