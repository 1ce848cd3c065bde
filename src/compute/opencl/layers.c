/* SPDX-License-Identifier: Apache-2.0 */
/* Launches of the transformer's kernels beside products and attention: norms, sums, activations. */
#include "compute/opencl/transformer.h"

#include "base/size.h"

enum { NORM_NONE = 2 }; /* as in cl/transformer.cl, where the other kinds are those of xci_norm_kind */

static size_t groups_of(size_t n) { return xci_ceil_div(n, XCI_CL_GROUP); }

xcoder_status xci_cl_norm(xcoder_device *device, const xci_norm *norm, cl_mem x, cl_mem row, size_t n_rows,
                          size_t width, cl_mem y, xcoder_error *err) {
  static const xci_norm none = {0};
  unsigned kind = norm != NULL ? (unsigned)norm->kind : NORM_NONE;
  if (norm == NULL) norm = &none;
  return xci_cl_run(device, "norm", xci_ceil_div(n_rows, XCI_CL_TEAMS), 1, err, "mmuufmmum", x, row,
                    (unsigned)n_rows, kind, (double)norm->epsilon, xci_cl_vector(norm->weight),
                    xci_cl_vector(norm->bias), (unsigned)width, y);
}

xcoder_status xci_cl_add(xcoder_device *device, const xci_cl_sum *sum, size_t n_rows, size_t width, cl_mem y,
                         xcoder_error *err) {
  return xci_cl_run(device, "add", groups_of(width), n_rows, err, "mmmmmum", sum->a, xci_cl_vector(sum->bias), sum->b,
                    xci_cl_vector(sum->bias2), sum->c, (unsigned)width, y);
}

xcoder_status xci_cl_activate(xcoder_device *device, const xci_block *b, size_t n_rows, cl_mem up, cl_mem gate,
                              cl_mem act, xcoder_error *err) {
  cl_mem gate_bias = gate != NULL ? xci_cl_vector(b->gate.bias) : NULL;
  return xci_cl_run(device, "activate", groups_of(b->d_mlp), n_rows, err, "mmmmuum", up, xci_cl_vector(b->up.bias),
                    gate, gate_bias, (unsigned)b->activation, (unsigned)b->d_mlp, act);
}

static xcoder_status finish_heads(xcoder_device *device, const xci_block *b, const xci_cl_plan *plan,
                                  const xci_norm *norm, size_t n_heads, cl_mem x, xcoder_error *err) {
  size_t width = n_heads * b->d_head;
  xcoder_status status = xci_cl_norm(device, norm, x, NULL, plan->n_rows, width, x, err);
  if (status || (b->rotary_width == 0 && !(b->clip_qkv > 0))) return status;
  return xci_cl_run(device, "finish_heads", groups_of(width), plan->n_rows, err, "uufummm", (unsigned)b->d_head,
                    (unsigned)width, (double)b->clip_qkv, (unsigned)b->rotary_width, plan->angles, plan->positions, x);
}

xcoder_status xci_cl_split_qkv(xcoder_device *device, const xci_block *b, const xci_cl_plan *plan, cl_mem raw, cl_mem q,
                               cl_mem k, cl_mem v, xcoder_error *err) {
  const bool fused = b->qkv_fused, interleaved = fused && b->qkv_interleaved;
  cl_mem bias_q = xci_cl_vector(b->query.bias);
  cl_mem bias_k = fused ? bias_q : xci_cl_vector(b->key.bias), bias_v = fused ? bias_q : xci_cl_vector(b->value.bias);
  xcoder_status status =
    xci_cl_run(device, "split_qkv", groups_of(xci_cl_qkv_width(b)), plan->n_rows, err, "muuuuuummmfummmmm", raw,
               (unsigned)b->n_heads, (unsigned)b->n_kv_heads, (unsigned)b->d_head, (unsigned)fused,
               (unsigned)interleaved, (unsigned)b->has_qk_norm, bias_q, bias_k, bias_v, (double)b->clip_qkv,
               (unsigned)b->rotary_width, plan->angles, plan->positions, q, k, v);
  if (!status && b->has_qk_norm) status = finish_heads(device, b, plan, &b->norm_q, b->n_heads, q, err);
  if (!status && b->has_qk_norm) status = finish_heads(device, b, plan, &b->norm_k, b->n_kv_heads, k, err);
  return status;
}
