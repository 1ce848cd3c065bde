/* SPDX-License-Identifier: Apache-2.0 */
/* Encoding on an OpenCL device: a dense product, a gate over it in place, and lists of what is not 0. */
#include "compute/opencl/coder.h"

#include "base/memory.h"
#include "base/size.h"
#include <math.h>
#include <string.h>

/* ---- Gates ---- */

static xcoder_status scan(xcoder_device *device, cl_mem counts, size_t n, cl_mem start, xcoder_error *err) {
  return xci_cl_run(device, "scan", 1, 1, err, "mum", counts, (unsigned)n, start);
}

static xcoder_status count_rows(xcoder_device *device, xci_coder *c, xcoder_error *err) {
  xcoder_status status = xci_cl_run(device, "count_rows", c->n_samples, 1, err, "mum", c->f,
                                    (unsigned)c->shape.n_latents, c->row_counts);
  return status ? status : scan(device, c->row_counts, c->n_samples, c->row_start, err);
}

static xcoder_status find_kth_of_batch(xcoder_device *device, xci_coder *c, size_t k, xcoder_error *err) {
  const unsigned latents = (unsigned)c->shape.n_latents;
  xcoder_status status = xci_cl_zero(device, c->state, 0, 4 * sizeof(cl_uint), err);
  if (!status) status = xci_cl_zero(device, c->histogram, 0, XCI_CL_GROUP * sizeof(cl_uint), err);
  for (unsigned shift = 32; shift > 0 && !status;) {
    shift -= 8;
    status = xci_cl_run(device, "add_histogram", c->n_samples, 1, err, "mmuumm", c->f, c->score, latents, shift,
                        c->state, c->histogram);
    if (!status)
      status = xci_cl_run(device, "pick_of_batch", 1, 1, err, "muumum", c->histogram, shift, (unsigned)k, c->row_start,
                          (unsigned)c->n_samples, c->state);
  }
  if (!status)
    status = xci_cl_run(device, "count_ties", c->n_samples, 1, err, "mmumm", c->f, c->score, latents, c->state,
                        c->row_counts);
  return status ? status : scan(device, c->row_counts, c->n_samples, c->row_start, err);
}

xcoder_status xci_cl_fill_scores(xcoder_device *device, xci_coder *c, xcoder_error *err) {
  const unsigned latents = (unsigned)c->shape.n_latents;
  return xci_cl_run(device, "sum_norms", xci_cl_groups(latents), 1, err, "muum", c->norms, latents,
                    (unsigned)c->shape.n_checkpoints, c->score);
}

static xcoder_status keep_largest(xcoder_device *device, xci_coder *c, const xci_gate *gate, xcoder_error *err) {
  const unsigned latents = (unsigned)c->shape.n_latents;
  bool per_row = gate->kind == XCI_GATE_TOPK;
  size_t k = gate->k;
  xcoder_status status;
  if (!per_row && !xci_mul_size(gate->k, c->n_samples, &k)) k = SIZE_MAX;
  k = xci_min_size(k, UINT32_MAX - 1);
  if (gate->score != NULL) {
    status = xci_cl_write(device, c->score, 0, gate->score, c->shape.n_latents * sizeof *gate->score, err);
  } else {
    status = xci_cl_fill_norms(device, c, err);
    if (!status) status = xci_cl_fill_scores(device, c, err);
  }
  if (!status) status = count_rows(device, c, err);
  if (!status && per_row)
    status = xci_cl_run(device, "find_kth_of_rows", c->n_samples, 1, err, "mmuumm", c->f, c->score, latents,
                        (unsigned)k, c->row_counts, c->state);
  else if (!status)
    status = find_kth_of_batch(device, c, k, err);
  if (!status)
    status = xci_cl_run(device, "prune", c->n_samples, 1, err, "mmuumm", c->f, c->score, latents, (unsigned)per_row,
                        c->state, c->row_start);
  return status;
}

static xcoder_status check_batch(const xci_coder *coder, size_t n_samples, xcoder_error *err) {
  if (n_samples <= coder->shape.max_batch) return XCODER_OK;
  return xci_fail(err, XCODER_USAGE, "crosscoder: a batch of %zu samples, opened for at most %zu", n_samples,
                  coder->shape.max_batch);
}

/* Thresholds go up without waiting; margins are made there, of the norms. */
static xcoder_status take_thresholds(xcoder_device *device, xci_coder *c, const xci_gate *gate, xcoder_error *err) {
  const size_t latents = c->shape.n_latents, bytes = latents * sizeof *gate->threshold;
  if (gate->kind != XCI_GATE_THRESHOLD && gate->kind != XCI_GATE_JUMP) return XCODER_OK;
  xcoder_status status = xci_cl_post(device, c, XCI_CL_THRESHOLDS, bytes, c->threshold, gate->threshold, bytes, err);
  if (status || gate->kind == XCI_GATE_THRESHOLD) return status;
  status = xci_cl_fill_norms(device, c, err);
  return status ? status : xci_cl_run(device, "jump_margins", xci_cl_groups(latents), 1, err, "muufm", c->norms,
                                      (unsigned)latents, (unsigned)c->shape.n_checkpoints, gate->half_bandwidth,
                                      c->margin);
}

xcoder_status xci_cl_encode_loaded(xcoder_device *device, xci_coder *c, size_t n_samples, const xci_gate *gate,
                                   xcoder_error *err) {
  size_t latents = c->shape.n_latents;
  cl_mem w_enc;
  xcoder_status status = XCODER_OK;
  c->n_samples = n_samples;
  c->has_x = c->has_codes = c->has_gradient = false;
  c->has_near = gate->kind == XCI_GATE_JUMP;
  c->is_ranked = gate->kind == XCI_GATE_TOPK || gate->kind == XCI_GATE_BATCH_TOPK;
  for (size_t i = 0; i < c->n_panels && !status; i++) {
    const xci_cl_panel *p = &c->panels[i];
    status = xci_cl_panel_in(device, c, p, XCI_W_ENC, XCI_VALUE, true, &w_enc, err);
    if (!status)
      status = xci_cl_coder_gemm(device, n_samples, p->n, c->columns, 1, (xci_cl_matrix){c->x, 0, c->columns, false},
                                 (xci_cl_matrix){w_enc, 0, c->columns, true}, 0,
                                 (xci_cl_matrix){c->f, p->first, latents, false}, err);
  }
  unsigned kind = c->has_near ? 2 : gate->kind == XCI_GATE_THRESHOLD; /* of the kernel */
  if (!status) status = take_thresholds(device, c, gate, err);
  if (!status)
    status = xci_cl_run(device, "gate", xci_cl_groups(latents), n_samples, err, "mmmmuu", c->f,
                        c->tensor[XCI_B_ENC][XCI_VALUE], c->threshold, c->margin, kind, (unsigned)latents);
  if (!status && n_samples > 0 && c->is_ranked) status = keep_largest(device, c, gate, err);
  c->has_x = c->has_codes = !status;
  return status;
}

xcoder_status xci_cl_coder_encode(xcoder_device *device, xci_coder *c, const float *x, size_t n_samples,
                                  const xci_gate *gate, xcoder_error *err) {
  xcoder_status status = check_batch(c, n_samples, err);
  if (!status) c->has_x = c->has_codes = c->has_gradient = false;
  if (!status) status = xci_cl_write(device, c->x, 0, x, n_samples * c->columns * sizeof *x, err);
  return status ? status : xci_cl_encode_loaded(device, c, n_samples, gate, err);
}

/* ---- Lists ---- */

xcoder_status xci_cl_start_rows(xcoder_device *device, xci_coder *c, xcoder_error *err) {
  return count_rows(device, c, err);
}

xcoder_status xci_cl_count_codes(xcoder_device *device, xci_coder *c, size_t *n_codes, xcoder_error *err) {
  cl_uint n = 0;
  *n_codes = 0;
  if (!c->has_codes) return xci_fail(err, XCODER_USAGE, "crosscoder: no batch has been encoded");
  xcoder_status status = count_rows(device, c, err);
  if (!status && c->n_samples > 0)
    status = xci_cl_read(device, c->row_start, c->n_samples * sizeof n, &n, sizeof n, err);
  *n_codes = n;
  return status;
}

xcoder_status xci_cl_list_rows(xcoder_device *device, xci_coder *c, size_t n_codes, xcoder_error *err) {
  xcoder_status status = xci_cl_reserve(device, &c->index, &c->index_bytes, n_codes, sizeof(cl_uint), err);
  if (!status) status = xci_cl_reserve(device, &c->value, &c->value_bytes, n_codes, sizeof(float), err);
  if (!status)
    status = xci_cl_run(device, "write_rows", c->n_samples, 1, err, "mummm", c->f, (unsigned)c->shape.n_latents,
                        c->row_start, c->index, c->value);
  return status;
}

/* More codes than lists have room for move as a matrix, some rows at a time, between f and lists of the host. */
enum { MOVED = 1 << 22 };

static xcoder_status read_dense(xcoder_device *device, xci_coder *c, xcoder_error *err) {
  const size_t latents = c->shape.n_latents, each = xci_min_size(c->n_samples, xci_max_size(1, MOVED / latents));
  float *f = NULL;
  size_t n = 0;
  xcoder_status status = XCI_ALLOC(&f, each * latents, err);
  for (size_t first = 0; first < c->n_samples && !status; first += each) {
    const size_t rows = xci_min_size(each, c->n_samples - first);
    status = xci_cl_read(device, c->f, first * latents * sizeof *f, f, rows * latents * sizeof *f, err);
    for (size_t p = 0; p < rows * latents && !status; p++) {
      if (p % latents == 0) c->host_start[first + p / latents] = n;
      if (!(f[p] != 0) && !signbit(f[p])) continue; /* as IS_CODE in cl/codes.cl: -0 is a code that is shut */
      c->host_index[n] = (uint32_t)(p % latents);
      c->host_value[n++] = f[p] == 0 ? 0 : f[p];
    }
  }
  c->host_start[c->n_samples] = n;
  xci_free(f);
  return status;
}

static xcoder_status write_dense(xcoder_device *device, xci_coder *c, const xci_codes *codes, xcoder_error *err) {
  const size_t latents = c->shape.n_latents, each = xci_min_size(c->n_samples, xci_max_size(1, MOVED / latents));
  float *f = NULL;
  xcoder_status status = XCI_ALLOC(&f, each * latents, err);
  for (size_t first = 0; first < c->n_samples && !status; first += each) {
    const size_t rows = xci_min_size(each, c->n_samples - first);
    memset(f, 0, rows * latents * sizeof *f);
    for (size_t b = 0; b < rows; b++)
      for (size_t p = codes->start[first + b]; p < codes->start[first + b + 1]; p++)
        f[b * latents + codes->index[p]] = codes->value[p] == 0 ? 0 : codes->value[p]; /* without a sign */
    status = xci_cl_write(device, c->f, first * latents * sizeof *f, f, rows * latents * sizeof *f, err);
  }
  xci_free(f);
  return status;
}

xcoder_status xci_cl_coder_codes(xcoder_device *device, xci_coder *c, xci_codes *codes, xcoder_error *err) {
  size_t n_codes;
  *codes = (xci_codes){0};
  xcoder_status status = xci_cl_count_codes(device, c, &n_codes, err);
  if (!status) status = xci_grow((void **)&c->host_index, &c->index_capacity, n_codes, sizeof *c->host_index, err);
  if (!status) status = xci_grow((void **)&c->host_value, &c->value_capacity, n_codes, sizeof *c->host_value, err);
  if (!status && xci_cl_is_dense(c, n_codes)) {
    status = read_dense(device, c, err);
    if (!status) *codes = (xci_codes){c->n_samples, c->host_start, c->host_index, c->host_value};
    return status;
  }
  if (!status) status = xci_cl_list_rows(device, c, n_codes, err);
  c->host_start32[0] = 0;
  if (!status && c->n_samples > 0)
    status = xci_cl_read(device, c->row_start, 0, c->host_start32, (c->n_samples + 1) * sizeof(cl_uint), err);
  if (!status) status = xci_cl_read(device, c->index, 0, c->host_index, n_codes * sizeof *c->host_index, err);
  if (!status) status = xci_cl_read(device, c->value, 0, c->host_value, n_codes * sizeof *c->host_value, err);
  if (status) return status;
  if (c->n_samples > 0) xci_cl_arrived(c);
  for (size_t b = 0; b <= c->n_samples; b++) c->host_start[b] = c->host_start32[b];
  *codes = (xci_codes){c->n_samples, c->host_start, c->host_index, c->host_value};
  return XCODER_OK;
}

static bool codes_fit(const xci_codes *codes, size_t n_latents) {
  for (size_t b = 0; b < codes->n_samples; b++) {
    if (codes->start[b + 1] < codes->start[b]) return false;
    for (size_t p = codes->start[b]; p < codes->start[b + 1]; p++)
      if (codes->index[p] >= n_latents || (p > codes->start[b] && codes->index[p] <= codes->index[p - 1])) return false;
  }
  return true;
}

xcoder_status xci_cl_coder_set_codes(xcoder_device *device, xci_coder *c, const xci_codes *codes, xcoder_error *err) {
  xcoder_status status = check_batch(c, codes->n_samples, err);
  if (!status && !codes_fit(codes, c->shape.n_latents))
    status = xci_fail(err, XCODER_USAGE, "crosscoder: codes need ascending latents below %zu in every sample",
                      c->shape.n_latents);
  if (status) return status;
  size_t first = codes->n_samples > 0 ? codes->start[0] : 0;
  size_t n_codes = codes->n_samples > 0 ? codes->start[codes->n_samples] - first : 0;
  if (codes->n_samples != c->n_samples) c->has_x = false;
  c->n_samples = codes->n_samples;
  c->has_codes = c->has_gradient = c->has_near = c->is_ranked = false;
  if (xci_cl_is_dense(c, n_codes)) {
    status = write_dense(device, c, codes, err);
    c->has_codes = !status;
    return status;
  }
  for (size_t b = 0; b < codes->n_samples; b++) c->host_start32[b] = (uint32_t)(codes->start[b] - first);
  c->host_start32[codes->n_samples] = (uint32_t)n_codes;
  status = xci_cl_reserve(device, &c->index, &c->index_bytes, n_codes, sizeof(cl_uint), err);
  if (!status) status = xci_cl_reserve(device, &c->value, &c->value_bytes, n_codes, sizeof(float), err);
  if (!status)
    status = xci_cl_write(device, c->row_start, 0, c->host_start32, (c->n_samples + 1) * sizeof(cl_uint), err);
  if (!status && n_codes > 0)
    status = xci_cl_write(device, c->index, 0, codes->index + first, n_codes * sizeof(cl_uint), err);
  if (!status && n_codes > 0)
    status = xci_cl_write(device, c->value, 0, codes->value + first, n_codes * sizeof(float), err);
  if (!status) status = xci_cl_zero(device, c->f, 0, c->n_samples * c->shape.n_latents * sizeof(float), err);
  if (!status)
    status = xci_cl_run(device, "scatter", c->n_samples, 1, err, "mmmum", c->row_start, c->index, c->value,
                        (unsigned)c->shape.n_latents, c->f);
  c->has_codes = !status;
  return status;
}
