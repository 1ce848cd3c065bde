/* SPDX-License-Identifier: Apache-2.0 */
/* A window of samples on an OpenCL device, from which batches are gathered by row, and marks of latents. A step of a
 * training sends the rows alone, and does not wait for that. */
#include "compute/opencl/coder.h"

#include "base/memory.h"
#include "base/size.h"
#include "compute/host_samples.h"
#include <string.h>

/* What is left beside a window: for lists that grow, and for the models, which share the device. */
enum { WINDOW_SHARE = 2 };

void xci_cl_arrived(xci_coder *c) { memset(c->sent, 0, sizeof c->sent); }

xcoder_status xci_cl_post(xcoder_device *device, xci_coder *c, xci_cl_parcel parcel, size_t most, cl_mem to,
                          const void *from, size_t n_bytes, xcoder_error *err) {
  xcoder_status status = XCODER_OK;
  if (n_bytes == 0) return XCODER_OK;
  if (c->parcel[parcel] == NULL) status = xci_alloc(most, 1, &c->parcel[parcel], err);
  if (!status && c->sent[parcel]) { /* nobody has waited since: the last one may not be read */
    status = xci_cl_finish(device, err);
    xci_cl_arrived(c);
  }
  if (status) return status;
  memcpy(c->parcel[parcel], from, n_bytes);
  c->sent[parcel] = true;
  return xci_cl_send(device, to, 0, c->parcel[parcel], n_bytes, err);
}

xcoder_status xci_cl_coder_window(xcoder_device *device, xci_coder *c, const uint16_t *samples, size_t n_rows,
                                  const float *scales, xcoder_error *err) {
  const xci_cl *cl = xci_cl_of(device);
  size_t bytes, n = c->shape.n_checkpoints, row = c->columns * sizeof *samples;
  c->window_rows = 0;
  for (size_t i = 0; i < XCI_CL_PIECES; i++) xci_cl_free(device, &c->window[i]);
  c->piece_rows = xci_min_size(xci_max_size(n_rows, 1), cl->max_buffer / row);
  if (!xci_mul_size(n_rows, row, &bytes) || n_rows > UINT32_MAX || c->piece_rows == 0 ||
      xci_ceil_div(n_rows, c->piece_rows) > XCI_CL_PIECES || bytes > (cl->memory - cl->used) / WINDOW_SHARE)
    return xci_fail(err, XCODER_MEMORY, "device %s: no room for a window of %zu samples", cl->name, n_rows);
  xcoder_status status = XCODER_OK;
  for (size_t i = 0; i * c->piece_rows < n_rows && !status; i++) {
    const size_t first = i * c->piece_rows, some = xci_min_size(c->piece_rows, n_rows - first);
    status = xci_cl_alloc(device, some, row, &c->window[i], err);
    if (!status) status = xci_cl_write(device, c->window[i], 0, samples + first * c->columns, some * row, err);
  }
  if (!status && c->rows == NULL) status = xci_cl_alloc(device, c->shape.max_batch, sizeof(cl_uint), &c->rows, err);
  if (!status && c->scales == NULL) status = xci_cl_alloc(device, n, sizeof(float), &c->scales, err);
  if (!status) status = xci_cl_write(device, c->scales, 0, scales, n * sizeof *scales, err);
  if (!status) c->window_rows = n_rows;
  return status;
}

xcoder_status xci_cl_coder_encode_rows(xcoder_device *device, xci_coder *c, const uint32_t *row, size_t n_samples,
                                       const xci_gate *gate, xcoder_error *err) {
  xcoder_status status = xci_check_rows(&c->shape, c->window_rows, row, n_samples, err);
  if (status) return status;
  status = xci_cl_post(device, c, XCI_CL_ROWS, c->shape.max_batch * sizeof *row, c->rows, row, n_samples * sizeof *row,
                       err);
  for (size_t i = 0; i * c->piece_rows < c->window_rows && !status; i++)
    status = xci_cl_run(device, "gather_samples", xci_ceil_div(c->columns, XCI_CL_GROUP), n_samples, err, "muummuum",
                        c->window[i], (unsigned)(i * c->piece_rows), (unsigned)c->piece_rows, c->rows, c->scales,
                        (unsigned)c->columns, (unsigned)c->shape.d_model, c->x);
  return status ? status : xci_cl_encode_loaded(device, c, n_samples, gate, err);
}

xcoder_status xci_cl_coder_mark(xcoder_device *device, xci_coder *c, uint32_t stamp, xcoder_error *err) {
  size_t n = c->shape.n_latents;
  xcoder_status status = XCODER_OK;
  if (!c->has_gradient) return xci_fail(err, XCODER_USAGE, "crosscoder: marks need the gradient of a batch");
  if (c->marks == NULL) {
    status = xci_cl_alloc(device, n, sizeof(cl_uint), &c->marks, err);
    if (!status) status = xci_cl_zero(device, c->marks, 0, n * sizeof(cl_uint), err);
  }
  if (status) return status;
  return xci_cl_run(device, "mark_latents", xci_ceil_div(n, XCI_CL_GROUP), 1, err, "muum", c->positive, (unsigned)n,
                    (unsigned)stamp, c->marks);
}

xcoder_status xci_cl_coder_marks(xcoder_device *device, xci_coder *c, uint32_t *marks, xcoder_error *err) {
  size_t bytes = c->shape.n_latents * sizeof *marks;
  memset(marks, 0, bytes);
  return c->marks == NULL ? XCODER_OK : xci_cl_read(device, c->marks, 0, marks, bytes, err);
}
