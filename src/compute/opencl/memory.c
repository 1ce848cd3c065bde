/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of an OpenCL device: allocation within its limits, transfers, and the buffers of the table. Transfers from
 * and to the host wait, so that the host's arrays may change at once; everything else only joins the queue. */
#include "compute/opencl/opencl.h"

#include "base/memory.h"
#include "base/size.h"
#include <string.h>

static const double MIB = 1 << 20;

xcoder_status xci_cl_try_alloc(xcoder_device *device, size_t count, size_t bytes, cl_mem *out, bool *refused,
                               xcoder_error *err) {
  xci_cl *cl = xci_cl_of(device);
  size_t total;
  cl_int code;
  *out = NULL;
  xcoder_status status = xci_cl_usable(device, err);
  if (status) return status;
  if (!xci_mul_size(count, bytes, &total)) total = SIZE_MAX;
  if (total < 4) total = 4; /* OpenCL knows no empty buffers */
  if (total > cl->max_buffer)
    return xci_fail(err, XCODER_DEVICE, "device %s: an array of %.1f MiB, it gives at most %.1f MiB at "
                    "once (CL_DEVICE_MAX_MEM_ALLOC_SIZE; use smaller batches, fewer features, or --device=cpu)",
                    cl->name, (double)total / MIB, (double)cl->max_buffer / MIB);
  if (total > cl->memory - cl->used)
    return xci_fail(err, XCODER_DEVICE, "device %s: %.1f MiB more than the %.1f MiB in use do not fit its %.1f MiB "
                    "(use smaller batches, --batch-tokens, or --device=cpu)", cl->name, (double)total / MIB,
                    (double)cl->used / MIB, (double)cl->memory / MIB);
  *out = clCreateBuffer(cl->context, CL_MEM_READ_WRITE, total, NULL, &code);
  if (code != CL_SUCCESS || *out == NULL) {
    *out = NULL;
    *refused = code == CL_MEM_OBJECT_ALLOCATION_FAILURE;
    status = xci_cl_fail(device, code, "an allocation", err);
    if (*refused) cl->failed = false;
    return status;
  }
  cl->used += total;
  cl->peak = xci_max_size(cl->peak, cl->used);
  return XCODER_OK;
}

xcoder_status xci_cl_alloc(xcoder_device *device, size_t count, size_t bytes, cl_mem *out, xcoder_error *err) {
  bool refused = false;
  xcoder_status status = xci_cl_try_alloc(device, count, bytes, out, &refused, err);
  if (refused) xci_cl_of(device)->failed = true;
  return status;
}

void xci_cl_free(xcoder_device *device, cl_mem *memory) {
  size_t bytes = 0;
  if (*memory == NULL) return;
  if (clGetMemObjectInfo(*memory, CL_MEM_SIZE, sizeof bytes, &bytes, NULL) != CL_SUCCESS) bytes = 0;
  xci_cl_of(device)->used -= bytes;
  clReleaseMemObject(*memory);
  *memory = NULL;
}

xcoder_status xci_cl_write(xcoder_device *device, cl_mem to, size_t offset, const void *from, size_t n_bytes,
                           xcoder_error *err) {
  xcoder_status status = xci_cl_usable(device, err);
  if (status || n_bytes == 0) return status;
  double began = xci_cl_begin(device);
  cl_int code = clEnqueueWriteBuffer(xci_cl_of(device)->queue, to, CL_TRUE, offset, n_bytes, from, 0, NULL, NULL);
  xci_cl_end(device, began, true);
  device->traffic.n_up++;
  device->traffic.bytes_up += n_bytes;
  return code == CL_SUCCESS ? XCODER_OK : xci_cl_fail(device, code, "a transfer to the device", err);
}

xcoder_status xci_cl_send(xcoder_device *device, cl_mem to, size_t offset, const void *from, size_t n_bytes,
                          xcoder_error *err) {
  xcoder_status status = xci_cl_usable(device, err);
  if (status || n_bytes == 0) return status;
  double began = xci_cl_begin(device);
  cl_int code = clEnqueueWriteBuffer(xci_cl_of(device)->queue, to, CL_FALSE, offset, n_bytes, from, 0, NULL, NULL);
  xci_cl_end(device, began, false);
  device->traffic.n_up++;
  device->traffic.bytes_up += n_bytes;
  return code == CL_SUCCESS ? XCODER_OK : xci_cl_fail(device, code, "a transfer to the device", err);
}

xcoder_status xci_cl_finish(xcoder_device *device, xcoder_error *err) {
  double began = xci_cl_begin(device);
  cl_int code = clFinish(xci_cl_of(device)->queue);
  xci_cl_end(device, began, true);
  return code == CL_SUCCESS ? XCODER_OK : xci_cl_fail(device, code, "waiting", err);
}

xcoder_status xci_cl_read(xcoder_device *device, cl_mem from, size_t offset, void *to, size_t n_bytes,
                          xcoder_error *err) {
  xcoder_status status = xci_cl_usable(device, err);
  if (status || n_bytes == 0) return status;
  double began = xci_cl_begin(device);
  cl_int code = clEnqueueReadBuffer(xci_cl_of(device)->queue, from, CL_TRUE, offset, n_bytes, to, 0, NULL, NULL);
  xci_cl_end(device, began, true);
  device->traffic.n_down++;
  device->traffic.bytes_down += n_bytes;
  return code == CL_SUCCESS ? XCODER_OK : xci_cl_fail(device, code, "a transfer from the device", err);
}

xcoder_status xci_cl_zero(xcoder_device *device, cl_mem memory, size_t offset, size_t n_bytes, xcoder_error *err) {
  static const cl_uint zero = 0;
  xcoder_status status = xci_cl_usable(device, err);
  if (status || n_bytes == 0) return status;
  double began = xci_cl_begin(device);
  cl_int code = clEnqueueFillBuffer(xci_cl_of(device)->queue, memory, &zero, n_bytes % 4 == 0 ? 4 : 1, offset, n_bytes,
                                    0, NULL, NULL);
  xci_cl_end(device, began, false);
  device->traffic.n_launches++;
  return code == CL_SUCCESS ? XCODER_OK : xci_cl_fail(device, code, "filling memory", err);
}

xcoder_status xci_cl_copy(xcoder_device *device, cl_mem from, size_t from_offset, cl_mem to, size_t to_offset,
                          size_t n_bytes, xcoder_error *err) {
  xcoder_status status = xci_cl_usable(device, err);
  if (status || n_bytes == 0) return status;
  double began = xci_cl_begin(device);
  cl_int code = clEnqueueCopyBuffer(xci_cl_of(device)->queue, from, to, from_offset, to_offset, n_bytes, 0, NULL, NULL);
  xci_cl_end(device, began, false);
  device->traffic.n_launches++;
  return code == CL_SUCCESS ? XCODER_OK : xci_cl_fail(device, code, "a copy on the device", err);
}

xcoder_status xci_cl_reserve(xcoder_device *device, cl_mem *memory, size_t *capacity, size_t count, size_t bytes,
                             xcoder_error *err) {
  size_t wanted;
  if (!xci_mul_size(count, bytes, &wanted)) wanted = SIZE_MAX;
  if (*memory != NULL && wanted <= *capacity) return xci_cl_usable(device, err);
  /* It grew before and may again. */
  size_t roomy = wanted < SIZE_MAX / 2 && *capacity > 0 ? wanted + wanted / 8 : wanted;
  if (roomy <= xci_cl_of(device)->max_buffer) wanted = roomy;
  xci_cl_free(device, memory);
  *capacity = 0;
  xcoder_status status = xci_cl_alloc(device, wanted, 1, memory, err);
  if (!status) *capacity = wanted;
  return status;
}

/* ---- Entries of the table ---- */

xcoder_status xci_cl_buffer_create(xcoder_device *device, size_t bytes, xci_buffer *buffer, xcoder_error *err) {
  cl_mem memory;
  *buffer = (xci_buffer){0};
  xcoder_status status = xci_cl_alloc(device, bytes, 1, &memory, err);
  if (!status) status = xci_cl_zero(device, memory, 0, bytes, err);
  if (status) xci_cl_free(device, &memory);
  else *buffer = (xci_buffer){.bytes = bytes, .handle = memory};
  return status;
}

void xci_cl_buffer_free(xcoder_device *device, xci_buffer *buffer) {
  cl_mem memory = buffer->handle;
  xci_cl_free(device, &memory);
  *buffer = (xci_buffer){0};
}

static xcoder_status check_range(const xci_buffer *buffer, size_t offset, size_t n, xcoder_error *err) {
  if (offset <= buffer->bytes && n <= buffer->bytes - offset) return XCODER_OK;
  return xci_fail(err, XCODER_INTERNAL, "bytes %zu + %zu of a device buffer of %zu", offset, n, buffer->bytes);
}

xcoder_status xci_cl_upload(xcoder_device *device, xci_buffer *buffer, size_t offset_bytes, const void *bytes,
                            size_t n_bytes, xcoder_error *err) {
  xcoder_status status = check_range(buffer, offset_bytes, n_bytes, err);
  return status ? status : xci_cl_write(device, buffer->handle, offset_bytes, bytes, n_bytes, err);
}

xcoder_status xci_cl_download(xcoder_device *device, const xci_buffer *buffer, size_t offset_bytes, void *bytes,
                              size_t n_bytes, xcoder_error *err) {
  xcoder_status status = check_range(buffer, offset_bytes, n_bytes, err);
  return status ? status : xci_cl_read(device, buffer->handle, offset_bytes, bytes, n_bytes, err);
}
