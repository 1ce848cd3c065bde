/* SPDX-License-Identifier: Apache-2.0 */
/* Memory and weights of backends whose device memory is the host's: entries of their tables. */
#ifndef XCI_COMPUTE_HOST_MEMORY_H
#define XCI_COMPUTE_HOST_MEMORY_H

#include "compute/compute.h"

xcoder_status xci_host_coder_plan(xcoder_device *device, const xci_coder_shape *shape, xcoder_device_room *room,
                                  xcoder_error *err);
xcoder_status xci_host_buffer_create(xcoder_device *device, size_t bytes, xci_buffer *buffer, xcoder_error *err);
void xci_host_buffer_free(xcoder_device *device, xci_buffer *buffer);
xcoder_status xci_host_upload(xcoder_device *device, xci_buffer *buffer, size_t offset_bytes, const void *bytes,
                              size_t n_bytes, xcoder_error *err);
xcoder_status xci_host_download(xcoder_device *device, const xci_buffer *buffer, size_t offset_bytes, void *bytes,
                                size_t n_bytes, xcoder_error *err);
/* Whether the bytes are float32 that this host can use as they lie in the file. */
bool xci_host_usable_in_place(const void *source, xci_dtype dtype);
/* A weight whose `host` is set. */
xcoder_status xci_host_weight_create(xcoder_device *device, const void *source, xci_dtype dtype, size_t rows,
                                     size_t columns, xci_weight **weight, xcoder_error *err);
void xci_host_weight_free(xcoder_device *device, xci_weight *weight);

#endif
