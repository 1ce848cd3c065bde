/* SPDX-License-Identifier: Apache-2.0 */
/* Entries of the opencl backend that are computed by the processor. */
#ifndef XCI_COMPUTE_OPENCL_HOST_ENTRIES_H
#define XCI_COMPUTE_OPENCL_HOST_ENTRIES_H

#include "compute/compute.h"

xcoder_status xci_cl_host_tape_create(xcoder_device *device, const xci_block *block, size_t n_blocks, size_t n_rows,
                                      xci_tape **tape, xcoder_error *err);
void xci_cl_host_tape_free(xcoder_device *device, xci_tape *tape);
xcoder_status xci_cl_host_block_forward(xcoder_device *device, const xci_block *block, const xci_rows *rows,
                                        xci_buffer *h, xci_tape *tape, size_t slot, xcoder_error *err);
xcoder_status xci_cl_host_block_backward(xcoder_device *device, const xci_block *block, const xci_rows *rows,
                                         xci_tape *tape, size_t slot, xci_buffer *gradient, xcoder_error *err);
xcoder_status xci_cl_host_head_backward(xcoder_device *device, const xci_head *head, const xci_buffer *h,
                                        size_t total_rows, const size_t *row, size_t n_rows, const uint32_t *token,
                                        size_t n_tokens, const float *weight, xci_buffer *gradient, xcoder_error *err);

#endif
