/* SPDX-License-Identifier: Apache-2.0 */
/* The opencl backend: opening and closing a device, and its table of operations. */
#include "config.h"

#include "compute/opencl/opencl.h"

#include "base/memory.h"
#include "compute/opencl/transformer.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static xcoder_status check_limits(xcoder_device *device, xcoder_error *err) {
  xci_cl *cl = xci_cl_of(device);
  cl_ulong memory = 0, max_buffer = 0;
  size_t group = 0;
  cl_bool usable = CL_FALSE, compiler = CL_FALSE, little = CL_FALSE;
  clGetDeviceInfo(cl->id, CL_DEVICE_AVAILABLE, sizeof usable, &usable, NULL);
  clGetDeviceInfo(cl->id, CL_DEVICE_COMPILER_AVAILABLE, sizeof compiler, &compiler, NULL);
  clGetDeviceInfo(cl->id, CL_DEVICE_ENDIAN_LITTLE, sizeof little, &little, NULL);
  clGetDeviceInfo(cl->id, CL_DEVICE_GLOBAL_MEM_SIZE, sizeof memory, &memory, NULL);
  clGetDeviceInfo(cl->id, CL_DEVICE_MAX_MEM_ALLOC_SIZE, sizeof max_buffer, &max_buffer, NULL);
  clGetDeviceInfo(cl->id, CL_DEVICE_MAX_WORK_GROUP_SIZE, sizeof group, &group, NULL);
  cl->memory = (size_t)memory;
  cl->max_buffer = (size_t)max_buffer;
  if (usable && compiler && little && group >= XCI_CL_GROUP && memory > 0 && max_buffer > 0) return XCODER_OK;
  return xci_fail(err, XCODER_DEVICE, "device %s: it is %s", cl->name,
                  !usable ? "not available" : !compiler ? "without a compiler" : !little ? "big-endian"
                  : group < XCI_CL_GROUP ? "limited to groups of fewer than 256 items" : "without memory");
}

static void stop(xcoder_device *device) {
  xci_cl *cl = xci_cl_of(device);
  /* A driver with threads of its own may crash in a process that ends while it still compiles or computes. */
  if (cl->queue != NULL && !cl->failed) clFinish(cl->queue);
  for (size_t i = 0; i < cl->n_kernels; i++)
    if (cl->kernels[i].kernel != NULL) clReleaseKernel(cl->kernels[i].kernel);
  if (cl->tensor != NULL) clReleaseProgram(cl->tensor);
  if (cl->program != NULL) clReleaseProgram(cl->program);
  if (cl->queue != NULL) clReleaseCommandQueue(cl->queue);
  if (cl->context != NULL) clReleaseContext(cl->context);
  cl->n_kernels = 0;
  cl->tensor_attention = false;
  cl->tensor = cl->program = NULL;
  cl->queue = NULL;
  cl->context = NULL;
}

static xcoder_status start(xcoder_device *device, const xci_cl_found *found, xcoder_error *err) {
  xci_cl *cl = xci_cl_of(device);
  const cl_context_properties properties[] = {CL_CONTEXT_PLATFORM, (cl_context_properties)found->platform, 0};
  cl_int code;
  cl->id = found->device;
  cl->is_cpu = (found->type & CL_DEVICE_TYPE_CPU) != 0;
  xcoder_status status = check_limits(device, err);
  if (status) return status;
  cl->context = clCreateContext(properties, 1, &cl->id, NULL, NULL, &code);
  if (code != CL_SUCCESS) return xci_cl_fail(device, code, "making a context", err);
  cl->profiles = getenv("XCODER_OPENCL_PROFILE") != NULL;
  cl->queue = clCreateCommandQueue(cl->context, cl->id, cl->profiles ? CL_QUEUE_PROFILING_ENABLE : 0, &code);
  if (code != CL_SUCCESS) return xci_cl_fail(device, code, "making a queue", err);
  return xci_cl_build(device, found, err);
}

static void close_cl(xcoder_device *device) {
  xci_cl *cl = device->state;
  if (cl == NULL) return;
  for (size_t i = 0; i < sizeof cl->scratch / sizeof *cl->scratch; i++) xci_cl_free(device, &cl->scratch[i]);
  xci_cl_transformer_close(device);
  stop(device);
  xcoder_device_close(cl->host);
  xci_free(cl);
  device->state = NULL;
}

static xcoder_status open_cl(const char *which, xcoder_device *device, xcoder_error *err) {
  xci_cl_found found[XCI_CL_MAX_DEVICES];
  size_t chosen, n = xci_cl_find(found);
  xci_cl *cl = NULL;
  xcoder_status status = xci_cl_select(which, found, n, &chosen, err);
  if (!status) status = XCI_ALLOC(&cl, 1, err);
  if (status) return status;
  device->state = cl;
  device->has_traffic = true;
  snprintf(cl->name, sizeof cl->name, "opencl:%zu %s", chosen, found[chosen].name);
  snprintf(device->name, sizeof device->name, "%s", cl->name);
  status = start(device, &found[chosen], err);
  if (!status && !xci_cl_choose_gemm(device, &found[chosen])) { /* the context may be poisoned */
    stop(device);
    cl->failed = false;
    status = start(device, &found[chosen], err);
  }
  if (!status) status = xcoder_device_open("cpu", &cl->host, err);
  if (status) close_cl(device);
  else
    snprintf(device->kernels, sizeof device->kernels, "products by %s%s", cl->products,
             cl->tensor_attention ? ", attention too" : "");
  return status;
}

/* Factors of products can be rounded on every device: by the kernel that loads them. */
static xcoder_status check_compute(xcoder_device *device, xci_compute compute, xcoder_error *err) {
  (void)compute;
  return xci_cl_usable(device, err);
}

const xci_backend xci_backend_opencl = {
  .name = "opencl",
  .remote = true,
  .open = open_cl,
  .close = close_cl,
  .check_compute = check_compute,
  .coder_plan = xci_cl_coder_plan,
  .buffer_create = xci_cl_buffer_create,
  .buffer_free = xci_cl_buffer_free,
  .upload = xci_cl_upload,
  .download = xci_cl_download,
  .weight_create = xci_cl_weight_create,
  .weight_free = xci_cl_weight_free,
  .embed = xci_cl_embed,
  .tape_create = xci_cl_tape_create,
  .tape_free = xci_cl_tape_free,
  .block_forward = xci_cl_block_forward,
  .block_backward = xci_cl_block_backward,
  .head_logits = xci_cl_head_logits,
  .head_backward = xci_cl_head_backward,
  .head_log_probs = xci_cl_head_log_probs,
  .head_project = xci_cl_head_project,
  .coder_create = xci_cl_coder_create,
  .coder_free = xci_cl_coder_free,
  .coder_write = xci_cl_coder_write,
  .coder_read = xci_cl_coder_read,
  .coder_norms = xci_cl_coder_norms,
  .coder_encode = xci_cl_coder_encode,
  .coder_window = xci_cl_coder_window,
  .coder_encode_rows = xci_cl_coder_encode_rows,
  .coder_mark = xci_cl_coder_mark,
  .coder_marks = xci_cl_coder_marks,
  .coder_codes = xci_cl_coder_codes,
  .coder_set_codes = xci_cl_coder_set_codes,
  .coder_decode = xci_cl_coder_decode,
  .coder_backward = xci_cl_coder_backward,
  .coder_update = xci_cl_coder_update,
};
