/* SPDX-License-Identifier: Apache-2.0 */
/* Memory and weights of backends whose device memory is the host's. */
#include "compute/host_memory.h"

#include "base/memory.h"
#include "base/parallel.h"
#include "compute/dtype.h"
#include <stdint.h>
#include <string.h>

/* What the host has is nobody's to promise here. */
xcoder_status xci_host_coder_plan(xcoder_device *device, const xci_coder_shape *shape, xcoder_device_room *room,
                                  xcoder_error *err) {
  (void)device;
  (void)shape;
  (void)err;
  *room = (xcoder_device_room){0};
  return XCODER_OK;
}

xcoder_status xci_host_buffer_create(xcoder_device *device, size_t bytes, xci_buffer *buffer, xcoder_error *err) {
  (void)device;
  void *memory = NULL;
  *buffer = (xci_buffer){0};
  xcoder_status status = xci_alloc(bytes, 1, &memory, err);
  if (status) return status;
  buffer->host = memory;
  buffer->bytes = bytes;
  return XCODER_OK;
}

void xci_host_buffer_free(xcoder_device *device, xci_buffer *buffer) {
  (void)device;
  xci_free(buffer->host);
  *buffer = (xci_buffer){0};
}

static xcoder_status check_range(const xci_buffer *buffer, size_t offset, size_t n, xcoder_error *err) {
  if (offset <= buffer->bytes && n <= buffer->bytes - offset) return XCODER_OK;
  return xci_fail(err, XCODER_INTERNAL, "bytes %zu + %zu of a device buffer of %zu", offset, n, buffer->bytes);
}

xcoder_status xci_host_upload(xcoder_device *device, xci_buffer *buffer, size_t offset_bytes, const void *bytes,
                              size_t n_bytes, xcoder_error *err) {
  (void)device;
  xcoder_status status = check_range(buffer, offset_bytes, n_bytes, err);
  if (!status && n_bytes > 0) memcpy((char *)buffer->host + offset_bytes, bytes, n_bytes);
  return status;
}

xcoder_status xci_host_download(xcoder_device *device, const xci_buffer *buffer, size_t offset_bytes, void *bytes,
                              size_t n_bytes, xcoder_error *err) {
  (void)device;
  xcoder_status status = check_range(buffer, offset_bytes, n_bytes, err);
  if (!status && n_bytes > 0) memcpy(bytes, (const char *)buffer->host + offset_bytes, n_bytes);
  return status;
}

bool xci_host_usable_in_place(const void *source, xci_dtype dtype) {
  static const uint32_t one = 1;
  return dtype == XCI_F32 && *(const unsigned char *)&one == 1 && (uintptr_t)source % sizeof(float) == 0;
}

xcoder_status xci_host_weight_create(xcoder_device *device, const void *source, xci_dtype dtype, size_t rows,
                                    size_t columns, xci_weight **weight, xcoder_error *err) {
  (void)device;
  xci_weight *w = NULL;
  float *values = NULL;
  *weight = NULL;
  if (!xci_dtype_is_float(dtype))
    return xci_fail(err, XCODER_UNSUPPORTED, "weights of type %s", xci_dtype_name(dtype));
  xcoder_status status = XCI_ALLOC(&w, 1, err);
  if (status) return status;
  *w = (xci_weight){.rows = rows, .columns = columns, .dtype = dtype, .source = source};
  if (xci_host_usable_in_place(source, dtype)) {
    w->host = source;
  } else {
    status = xci_alloc(rows, columns * sizeof *values, (void **)&values, err);
    if (status) {
      xci_free(w);
      return status;
    }
    size_t bytes = xci_dtype_bytes(dtype);
#pragma omp parallel for num_threads(xci_threads()) schedule(static)
    for (size_t r = 0; r < rows; r++)
      xci_dtype_to_f32((const char *)source + r * columns * bytes, dtype, columns, values + r * columns);
    w->host = values;
    w->handle = values; /* ours to free */
  }
  *weight = w;
  return XCODER_OK;
}

void xci_host_weight_free(xcoder_device *device, xci_weight *weight) {
  (void)device;
  if (weight == NULL) return;
  xci_free(weight->handle);
  xci_free(weight);
}

