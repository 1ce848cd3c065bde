/* SPDX-License-Identifier: Apache-2.0 */
/* Entries of the opencl backend that are computed by the processor: each passes its call on to the cpu backend. */
#include "compute/opencl/host_entries.h"

#include "compute/opencl/opencl.h"

xcoder_status xci_cl_host_weight_create(xcoder_device *device, const void *source, xci_dtype dtype, size_t rows,
                                        size_t columns, xci_weight **weight, xcoder_error *err) {
  xcoder_device *host = xci_cl_of(device)->host;
  return host->ops->weight_create(host, source, dtype, rows, columns, weight, err);
}

xcoder_status xci_cl_host_embed(xcoder_device *device, const xci_embedding *embedding, const uint32_t *ids,
                                const xci_rows *rows, xci_buffer *h, xcoder_error *err) {
  xcoder_device *host = xci_cl_of(device)->host;
  return host->ops->embed(host, embedding, ids, rows, h, err);
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
  host->compute = device->compute;
  return host->ops->block_forward(host, block, rows, h, tape, slot, err);
}

xcoder_status xci_cl_host_block_backward(xcoder_device *device, const xci_block *block, const xci_rows *rows,
                                         xci_tape *tape, size_t slot, xci_buffer *gradient, xcoder_error *err) {
  xcoder_device *host = xci_cl_of(device)->host;
  return host->ops->block_backward(host, block, rows, tape, slot, gradient, err);
}

xcoder_status xci_cl_host_head_logits(xcoder_device *device, const xci_head *head, const xci_buffer *h,
                                      const size_t *row, size_t n_rows, const uint32_t *token, size_t n_tokens,
                                      float *out, float *log_normalizer, xcoder_error *err) {
  xcoder_device *host = xci_cl_of(device)->host;
  return host->ops->head_logits(host, head, h, row, n_rows, token, n_tokens, out, log_normalizer, err);
}

xcoder_status xci_cl_host_head_backward(xcoder_device *device, const xci_head *head, const xci_buffer *h,
                                        size_t total_rows, const size_t *row, size_t n_rows, const uint32_t *token,
                                        size_t n_tokens, const float *weight, xci_buffer *gradient, xcoder_error *err) {
  xcoder_device *host = xci_cl_of(device)->host;
  return host->ops->head_backward(host, head, h, total_rows, row, n_rows, token, n_tokens, weight, gradient, err);
}

xcoder_status xci_cl_host_head_log_probs(xcoder_device *device, const xci_head *head, const xci_buffer *h,
                                         const size_t *row, size_t n_rows, const uint32_t *target, float *out,
                                         xcoder_error *err) {
  xcoder_device *host = xci_cl_of(device)->host;
  return host->ops->head_log_probs(host, head, h, row, n_rows, target, out, err);
}

xcoder_status xci_cl_host_head_project(xcoder_device *device, const xci_head *head, const xci_buffer *h,
                                       const size_t *row, size_t n_rows, bool apply_norm, float *out,
                                       xcoder_error *err) {
  xcoder_device *host = xci_cl_of(device)->host;
  return host->ops->head_project(host, head, h, row, n_rows, apply_norm, out, err);
}
