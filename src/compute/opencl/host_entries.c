/* SPDX-License-Identifier: Apache-2.0 */
/* Entries of the opencl backend that are computed by the processor: each fetches its buffers, passes its call on to the
 * cpu backend, and sends back what has changed. Weights of the device are weights of the processor too. */
#include "compute/opencl/host_entries.h"

#include "compute/opencl/opencl.h"

#include "base/memory.h"

static xcoder_status fetch(xcoder_device *device, const xci_buffer *buffer, xci_buffer *copy, xcoder_error *err) {
  *copy = (xci_buffer){.bytes = buffer->bytes};
  xcoder_status status = xci_alloc(buffer->bytes, 1, (void **)&copy->host, err);
  return status ? status : xci_cl_download(device, buffer, 0, copy->host, copy->bytes, err);
}

/* Ends what fetch() began. */
static xcoder_status send_back(xcoder_device *device, xcoder_status status, xci_buffer *buffer, xci_buffer *copy,
                               xcoder_error *err) {
  if (!status) status = xci_cl_upload(device, buffer, 0, copy->host, copy->bytes, err);
  xci_free(copy->host);
  return status;
}

xcoder_status xci_cl_host_tape_create(xcoder_device *device, const xci_block *block, size_t n_blocks, size_t n_rows,
                                      xci_tape **tape, xcoder_error *err) {
  xcoder_device *host = xci_cl_of(device)->host;
  return host->ops->tape_create(host, block, n_blocks, n_rows, tape, err);
}

void xci_cl_host_tape_free(xcoder_device *device, xci_tape *tape) {
  xcoder_device *host = xci_cl_of(device)->host;
  host->ops->tape_free(host, tape);
}

xcoder_status xci_cl_host_block_forward(xcoder_device *device, const xci_block *block, const xci_rows *rows,
                                        xci_buffer *h, xci_tape *tape, size_t slot, xcoder_error *err) {
  xcoder_device *host = xci_cl_of(device)->host;
  xci_buffer copy;
  xcoder_status status = fetch(device, h, &copy, err);
  if (!status) status = host->ops->block_forward(host, block, rows, &copy, tape, slot, err);
  return send_back(device, status, h, &copy, err);
}

xcoder_status xci_cl_host_block_backward(xcoder_device *device, const xci_block *block, const xci_rows *rows,
                                         xci_tape *tape, size_t slot, xci_buffer *gradient, xcoder_error *err) {
  xcoder_device *host = xci_cl_of(device)->host;
  xci_buffer copy;
  xcoder_status status = fetch(device, gradient, &copy, err);
  if (!status) status = host->ops->block_backward(host, block, rows, tape, slot, &copy, err);
  return send_back(device, status, gradient, &copy, err);
}

xcoder_status xci_cl_host_head_backward(xcoder_device *device, const xci_head *head, const xci_buffer *h,
                                        size_t total_rows, const size_t *row, size_t n_rows, const uint32_t *token,
                                        size_t n_tokens, const float *weight, xci_buffer *gradient, xcoder_error *err) {
  xcoder_device *host = xci_cl_of(device)->host;
  xci_buffer copy, hidden = {0};
  xcoder_status status = fetch(device, gradient, &copy, err);
  if (!status) status = fetch(device, h, &hidden, err);
  if (!status)
    status = host->ops->head_backward(host, head, &hidden, total_rows, row, n_rows, token, n_tokens, weight, &copy, err);
  xci_free(hidden.host);
  return send_back(device, status, gradient, &copy, err);
}
