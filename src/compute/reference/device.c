/* SPDX-License-Identifier: Apache-2.0 */
/* The reference backend: plain loops in double precision, written for comparison, not for speed. */
#include "compute/reference/reference.h"

#include "compute/host_memory.h"
#include "compute/reference/coder.h"
#include <stdio.h>

static xcoder_status open_reference(const char *which, xcoder_device *device, xcoder_error *err) {
  (void)which;
  (void)err;
  snprintf(device->name, sizeof device->name, "reference");
  snprintf(device->kernels, sizeof device->kernels, "plain loops in double precision");
  return XCODER_OK;
}

static void close_reference(xcoder_device *device) { (void)device; }

static xcoder_status check_compute(xcoder_device *device, xci_compute compute, xcoder_error *err) {
  (void)device;
  if (compute == XCI_COMPUTE_FP32) return XCODER_OK;
  return xci_fail(err, XCODER_DEVICE, "device reference computes in double precision only (use fp32)");
}

const xci_backend xci_backend_reference = {
  .name = "reference",
  .open = open_reference,
  .close = close_reference,
  .check_compute = check_compute,
  .coder_plan = xci_host_coder_plan,
  .buffer_create = xci_host_buffer_create,
  .buffer_free = xci_host_buffer_free,
  .upload = xci_host_upload,
  .download = xci_host_download,
  .weight_create = xci_host_weight_create,
  .weight_free = xci_host_weight_free,
  .coder_create = xci_reference_coder_create,
  .coder_free = xci_reference_coder_free,
  .coder_write = xci_reference_coder_write,
  .coder_read = xci_reference_coder_read,
  .coder_norms = xci_reference_coder_norms,
  .coder_encode = xci_reference_coder_encode,
  .coder_window = xci_reference_coder_window,
  .coder_encode_rows = xci_reference_coder_encode_rows,
  .coder_mark = xci_reference_coder_mark,
  .coder_marks = xci_reference_coder_marks,
  .coder_codes = xci_reference_coder_codes,
  .coder_set_codes = xci_reference_coder_set_codes,
  .coder_decode = xci_reference_coder_decode,
  .coder_backward = xci_reference_coder_backward,
  .coder_update = xci_reference_coder_update,
  .embed = xci_reference_embed,
  .tape_create = xci_reference_tape_create,
  .tape_free = xci_reference_tape_free,
  .block_forward = xci_reference_block_forward,
  .block_backward = xci_reference_block_backward,
  .head_logits = xci_reference_head_logits,
  .head_backward = xci_reference_head_backward,
  .head_log_probs = xci_reference_head_log_probs,
  .head_project = xci_reference_head_project,
};
