/* SPDX-License-Identifier: Apache-2.0 */
/* The crosscoder on an OpenCL device: making it, and its tensors' way between file order and the device. */
#include "compute/opencl/coder.h"

#include "base/memory.h"
#include "base/size.h"
#include <crosscoder/coder.h>
#include <string.h>

enum { STAGED = 1 << 22, BLOCK = 32 }; /* values of a piece on its way; a square of a transposition */

size_t xci_cl_chunks(const xci_coder *coder) { return xci_ceil_div(coder->n_samples, XCI_CL_CHUNK); }

xcoder_status xci_cl_check_shape(const xci_coder_shape *s, xcoder_error *err) {
  size_t columns, n;
  if (s->n_checkpoints < 1 || s->n_checkpoints > XCODER_MAX_CHECKPOINTS)
    return xci_fail(err, XCODER_USAGE, "crosscoder: %zu checkpoints, expected 1 to %d", s->n_checkpoints,
                    XCODER_MAX_CHECKPOINTS);
  if (s->d_model < 1 || s->n_latents < 1 || s->max_batch < 1)
    return xci_fail(err, XCODER_USAGE, "crosscoder: width %zu, %zu latents, batch %zu: none may be 0", s->d_model,
                    s->n_latents, s->max_batch);
  const size_t limit = UINT32_MAX - 2 * XCI_CL_SQUARES; /* the kernels count values in 32 bits; weights are cut */
  if (!xci_mul_size(s->n_checkpoints, s->d_model, &columns) || columns > limit || s->n_latents > limit ||
      !xci_mul_size(columns, s->n_latents, &n) || n > SIZE_MAX / 64 || !xci_mul_size(s->max_batch, s->n_latents, &n) ||
      n > limit || !xci_mul_size(s->max_batch, columns, &n) || n > limit)
    return xci_fail(err, XCODER_DEVICE, "crosscoder: %zu checkpoints of width %zu, %zu latents, batch %zu: a batch of "
                    "more than 2^32 values, which the OpenCL backend does not address (use smaller batches)",
                    s->n_checkpoints, s->d_model, s->n_latents, s->max_batch);
  return XCODER_OK;
}

/* Floats: see coder.h. */
static size_t count_results(const xci_coder *c) {
  return 2 * XCI_CL_RESULTS + c->shape.n_latents + xci_ceil_div(c->shape.n_latents, 32);
}

/* All that is ever taken but weights, windows and 4 bytes in passing, each at its largest. */
size_t xci_cl_list_arrays(xci_coder *c, xci_cl_array arrays[XCI_CL_ARRAYS]) {
  const size_t n = c->shape.n_checkpoints, latents = c->shape.n_latents, batch = c->shape.max_batch;
  const size_t chunks = xci_ceil_div(batch, XCI_CL_CHUNK), all = batch * latents, listed = xci_cl_most_listed(c);
  const size_t squares = xci_ceil_div(c->columns * latents, XCI_CL_SQUARES) + latents; /* a part for each panel more */
  const size_t parts = xci_max_size(xci_max_size(chunks * xci_max_size(c->columns, 2 * latents), batch * n), squares);
  const bool training = c->shape.training, auxiliary = training && c->shape.auxiliary;
  const size_t list = xci_max_size(all / XCI_CL_DENSE_SHARE, 1);
  const size_t df = auxiliary || xci_cl_may_be_dense(c) ? all : listed;
  const xci_cl_array any[] = {
    {&c->norms, latents * n, NULL}, {&c->x, batch * c->columns, NULL}, {&c->f, all, NULL},
    {&c->row_counts, batch, NULL}, {&c->row_start, batch + 1, NULL}, {&c->state, 4 * batch, NULL},
    {&c->histogram, XCI_CL_GROUP, NULL}, {&c->score, latents, NULL}, {&c->threshold, latents, NULL},
    {&c->margin, latents, NULL}, {&c->residual, batch * c->columns, NULL}, {&c->index, list, &c->index_bytes},
    {&c->value, list, &c->value_bytes},
  };
  const xci_cl_array more[] = {
    {&c->column_counts, chunks * latents, NULL}, {&c->column_totals, latents, NULL},
    {&c->column_start, latents + 1, NULL}, {&c->sums, latents, NULL}, {&c->sparsity, latents, NULL},
    {&c->push, latents, NULL}, {&c->decay, latents * n, NULL}, {&c->positive, latents, NULL},
    {&c->positive_start, latents + 1, NULL}, {&c->threshold_gradient, latents, NULL},
    {&c->results, count_results(c), NULL}, {&c->latent, listed, &c->latent_bytes}, {&c->df, df, &c->df_bytes},
    {&c->parts, parts, &c->parts_bytes},
    {&c->rows, batch, NULL}, {&c->scales, n, NULL}, {&c->marks, latents, NULL},
  };
  size_t count = 0, counts[XCI_CL_AUXILIARY_ARRAYS];
  for (size_t i = 0; i < sizeof any / sizeof *any; i++) arrays[count++] = any[i];
  for (size_t i = 0; training && i < sizeof more / sizeof *more; i++) arrays[count++] = more[i];
  for (int t = XCI_B_ENC; t <= XCI_B_DEC; t += XCI_B_DEC - XCI_B_ENC)
    for (int s = 0; s < (training ? XCI_CL_SLOTS : 1); s++)
      arrays[count++] = (xci_cl_array){&c->tensor[t][s], c->n_values[t], NULL};
  if (auxiliary) xci_cl_auxiliary_counts(c, latents, xci_cl_auxiliary_least(c), batch, counts);
  for (size_t i = 0; auxiliary && i < XCI_CL_AUXILIARY_ARRAYS; i++)
    arrays[count++] = (xci_cl_array){&c->auxiliary[i], counts[i], &c->auxiliary_bytes[i]};
  return count;
}

static xcoder_status allocate(xcoder_device *device, xci_coder *c, xcoder_error *err) {
  xci_cl_array arrays[XCI_CL_ARRAYS];
  const size_t n = xci_cl_list_arrays(c, arrays), batch = c->shape.max_batch;
  const bool training = c->shape.training;
  uint64_t sum = 0;
  xcoder_device_room room;
  xcoder_status status = xci_cl_coder_plan(device, &c->shape, &room, err); /* says what is missing, with numbers */
  for (size_t i = 0; i < n && !status; i++) {
    const size_t bytes = xci_max_size(arrays[i].count, 1) * sizeof(float);
    status = xci_cl_alloc(device, bytes, 1, arrays[i].memory, err);
    if (arrays[i].capacity != NULL) *arrays[i].capacity = status ? 0 : bytes;
    sum += bytes;
  }
  for (int t = XCI_B_ENC; t <= XCI_B_DEC; t += XCI_B_DEC - XCI_B_ENC)
    for (int s = 0; s < (training ? XCI_CL_SLOTS : 1) && !status; s++)
      status = xci_cl_zero(device, c->tensor[t][s], 0, c->n_values[t] * sizeof(float), err);
  if (!status && training) status = xci_cl_zero(device, c->marks, 0, c->shape.n_latents * sizeof(cl_uint), err);
  if (!status) status = xci_cl_panels_create(device, c, sum, err);
  if (!status && training && c->shape.auxiliary) status = xci_cl_widen_auxiliary(device, c, err);
  if (!status && training) status = XCI_ALLOC(&c->host_results, count_results(c), err);
  if (!status) status = XCI_ALLOC(&c->host_start, batch + 1, err);
  if (!status) status = XCI_ALLOC(&c->host_start32, batch + 1, err);
  return status;
}

xcoder_status xci_cl_coder_create(xcoder_device *device, const xci_coder_shape *shape, xci_coder **out,
                                  xcoder_error *err) {
  xci_coder *coder = NULL;
  *out = NULL;
  xcoder_status status = xci_cl_check_shape(shape, err);
  if (!status) status = XCI_ALLOC(&coder, 1, err);
  if (status) return status;
  xci_cl_coder_set_shape(coder, shape);
  coder->expected = xci_cl_may_be_dense(coder) ? SIZE_MAX : xci_cl_most_listed(coder);
  status = allocate(device, coder, err);
  xci_cl_of(device)->has_coder = true;
  if (status) xci_cl_coder_free(device, coder);
  else *out = coder;
  return status;
}

void xci_cl_coder_free(xcoder_device *device, xci_coder *c) {
  if (c == NULL) return;
  xci_cl_panels_free(device, c);
  for (int t = 0; t < XCI_N_TENSORS; t++)
    for (int s = 0; s < XCI_CL_SLOTS; s++) xci_cl_free(device, &c->tensor[t][s]);
  cl_mem *arrays[] = {&c->norms, &c->x, &c->f, &c->row_counts, &c->row_start, &c->column_counts, &c->column_totals,
                      &c->column_start, &c->state, &c->histogram, &c->score, &c->threshold, &c->margin, &c->index,
                      &c->value, &c->latent, &c->df, &c->residual, &c->sums, &c->sparsity, &c->push, &c->decay,
                      &c->positive, &c->positive_start, &c->threshold_gradient, &c->parts, &c->results, &c->rows,
                      &c->scales, &c->marks};
  bool sent = false;
  for (int i = 0; i < XCI_CL_PARCELS; i++) sent = sent || c->sent[i];
  if (sent) xci_cl_finish(device, NULL); /* parcels may still be read */
  for (int i = 0; i < XCI_CL_PARCELS; i++) xci_free(c->parcel[i]);
  for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) xci_cl_free(device, arrays[i]);
  for (size_t i = 0; i < XCI_CL_PIECES; i++) xci_cl_free(device, &c->window[i]);
  for (size_t i = 0; i < XCI_CL_AUXILIARY_ARRAYS; i++) xci_cl_free(device, &c->auxiliary[i]);
  void *host[] = {c->host_start, c->host_start32, c->host_index, c->host_value, c->host_results};
  for (size_t i = 0; i < sizeof host / sizeof *host; i++) xci_free(host[i]);
  xci_free(c);
}

/* ---- File order ---- */

/* Between W_enc[columns, latents] of the file and rows first .. first + n of [latents, columns], in squares. */
static void transpose(const xci_coder *coder, float *file, float *rows, size_t first, size_t n, bool to_file) {
  size_t columns = coder->columns, latents = coder->shape.n_latents;
  for (size_t k0 = 0; k0 < columns; k0 += BLOCK)
    for (size_t i0 = 0; i0 < n; i0 += BLOCK)
      for (size_t k = k0; k < xci_min_size(k0 + BLOCK, columns); k++)
        for (size_t i = i0; i < xci_min_size(i0 + BLOCK, n); i++)
          if (to_file) file[k * latents + first + i] = rows[i * columns + k];
          else rows[i * columns + k] = file[k * latents + first + i];
}

static xcoder_status move_transposed(xcoder_device *device, const xci_coder *coder, const xci_cl_panel *p,
                                     cl_mem memory, float *file, bool to_file, xcoder_error *err) {
  size_t columns = coder->columns, each = xci_min_size(p->n, xci_max_size(1, STAGED / columns));
  float *rows = NULL;
  xcoder_status status = XCI_ALLOC(&rows, each * columns, err);
  for (size_t first = 0; first < p->n && !status; first += each) {
    size_t n = xci_min_size(each, p->n - first), at = first * columns * sizeof(float);
    size_t n_bytes = n * columns * sizeof(float);
    if (to_file) status = xci_cl_read(device, memory, at, rows, n_bytes, err);
    if (!status) transpose(coder, file, rows, p->first + first, n, to_file);
    if (!status && !to_file) status = xci_cl_write(device, memory, at, rows, n_bytes, err);
  }
  xci_free(rows);
  return status;
}

/* A panel's part of a whole tensor in file order. */
static xcoder_status move_panel(xcoder_device *device, const xci_coder *c, const xci_cl_panel *p,
                                xci_coder_tensor tensor, xci_coder_slot slot, float *file, bool to_file,
                                xcoder_error *err) {
  const size_t bytes = p->n * c->columns * sizeof *file;
  float *host = p->host[tensor][slot], *part = file + p->first * c->columns; /* of W_dec */
  cl_mem memory = p->memory[tensor][slot];
  if (memory == NULL && tensor == XCI_W_ENC) transpose(c, file, host, p->first, p->n, to_file);
  else if (memory == NULL) memcpy(to_file ? part : host, to_file ? host : part, bytes);
  if (memory == NULL) return xci_cl_usable(device, err);
  if (tensor == XCI_W_ENC) return move_transposed(device, c, p, memory, file, to_file, err);
  return to_file ? xci_cl_read(device, memory, 0, part, bytes, err) : xci_cl_write(device, memory, 0, part, bytes, err);
}

static xcoder_status check_slot(const xci_coder *coder, xci_coder_slot slot, xcoder_error *err) {
  if (slot == XCI_VALUE || coder->shape.training) return XCODER_OK;
  return xci_fail(err, XCODER_USAGE, "crosscoder: it was not opened for training and has no moments or gradients");
}

static bool is_cut(xci_coder_tensor tensor) { return tensor == XCI_W_ENC || tensor == XCI_W_DEC; }

xcoder_status xci_cl_coder_write(xcoder_device *device, xci_coder *coder, xci_coder_tensor tensor,
                                 xci_coder_slot slot, const float *values, xcoder_error *err) {
  xcoder_status status = check_slot(coder, slot, err);
  if (!status && slot == XCI_GRADIENT) status = xci_fail(err, XCODER_USAGE, "crosscoder: gradients are read only");
  if (status) return status;
  if (tensor == XCI_W_DEC && slot == XCI_VALUE) coder->norms_valid = false;
  if (!is_cut(tensor))
    return xci_cl_write(device, coder->tensor[tensor][slot], 0, values, coder->n_values[tensor] * sizeof *values, err);
  coder->there[tensor][slot] = NULL;
  for (size_t i = 0; i < coder->n_panels && !status; i++) /* the values are only read */
    status = move_panel(device, coder, &coder->panels[i], tensor, slot, (float *)(uintptr_t)values, false, err);
  return status;
}

xcoder_status xci_cl_coder_read(xcoder_device *device, const xci_coder *coder, xci_coder_tensor tensor,
                                xci_coder_slot slot, float *values, xcoder_error *err) {
  xcoder_status status = check_slot(coder, slot, err);
  if (!status && !is_cut(tensor))
    return xci_cl_read(device, coder->tensor[tensor][slot], 0, values, coder->n_values[tensor] * sizeof *values, err);
  for (size_t i = 0; i < coder->n_panels && !status; i++)
    status = move_panel(device, coder, &coder->panels[i], tensor, slot, values, true, err);
  return status;
}

xcoder_status xci_cl_fill_norms(xcoder_device *device, xci_coder *coder, xcoder_error *err) {
  const size_t n = coder->shape.n_checkpoints;
  cl_mem w_dec;
  xcoder_status status = XCODER_OK;
  if (coder->norms_valid) return XCODER_OK;
  for (size_t i = 0; i < coder->n_panels && !status; i++) {
    const xci_cl_panel *p = &coder->panels[i];
    status = xci_cl_panel_in(device, coder, p, XCI_W_DEC, XCI_VALUE, true, &w_dec, err);
    if (!status)
      status = xci_cl_run(device, "row_norms", xci_ceil_div(p->n * n, XCI_CL_TEAMS), 1, err, "muuum", w_dec,
                          (unsigned)(p->n * n), (unsigned)coder->shape.d_model, (unsigned)(p->first * n), coder->norms);
  }
  coder->norms_valid = !status;
  return status;
}

xcoder_status xci_cl_coder_norms(xcoder_device *device, xci_coder *coder, float *norms, xcoder_error *err) {
  xcoder_status status = xci_cl_fill_norms(device, coder, err);
  size_t n_rows = coder->shape.n_latents * coder->shape.n_checkpoints;
  return status ? status : xci_cl_read(device, coder->norms, 0, norms, n_rows * sizeof *norms, err);
}
