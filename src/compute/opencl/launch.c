/* SPDX-License-Identifier: Apache-2.0 */
/* Errors, and launching kernels by name. */
#include "compute/opencl/opencl.h"

#include "base/parallel.h"
#include "base/size.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *xci_cl_error_name(cl_int code) {
  switch (code) {
    case CL_DEVICE_NOT_AVAILABLE: return "CL_DEVICE_NOT_AVAILABLE";
    case CL_COMPILER_NOT_AVAILABLE: return "CL_COMPILER_NOT_AVAILABLE";
    case CL_MEM_OBJECT_ALLOCATION_FAILURE: return "CL_MEM_OBJECT_ALLOCATION_FAILURE";
    case CL_OUT_OF_RESOURCES: return "CL_OUT_OF_RESOURCES";
    case CL_OUT_OF_HOST_MEMORY: return "CL_OUT_OF_HOST_MEMORY";
    case CL_BUILD_PROGRAM_FAILURE: return "CL_BUILD_PROGRAM_FAILURE";
    case CL_INVALID_VALUE: return "CL_INVALID_VALUE";
    case CL_INVALID_KERNEL_NAME: return "CL_INVALID_KERNEL_NAME";
    case CL_INVALID_KERNEL_ARGS: return "CL_INVALID_KERNEL_ARGS";
    case CL_INVALID_WORK_GROUP_SIZE: return "CL_INVALID_WORK_GROUP_SIZE";
    case CL_INVALID_BUFFER_SIZE: return "CL_INVALID_BUFFER_SIZE";
    case CL_INVALID_MEM_OBJECT: return "CL_INVALID_MEM_OBJECT";
    case CL_INVALID_COMMAND_QUEUE: return "CL_INVALID_COMMAND_QUEUE";
    case CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST: return "CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST";
    default: return "an OpenCL error";
  }
}

xcoder_status xci_cl_fail(xcoder_device *device, cl_int code, const char *what, xcoder_error *err) {
  xci_cl_of(device)->failed = true;
  return xci_fail(err, XCODER_DEVICE, "device %s: %s failed: %s (%d)",
                  xci_cl_of(device)->name, what, xci_cl_error_name(code), (int)code);
}

xcoder_status xci_cl_usable(xcoder_device *device, xcoder_error *err) {
  if (!xci_cl_of(device)->failed) return XCODER_OK;
  return xci_fail(err, XCODER_DEVICE, "device %s: it failed earlier and is not used any more",
                  xci_cl_of(device)->name);
}

double xci_cl_begin(xcoder_device *device) {
  xci_cl *cl = xci_cl_of(device);
  double now = xci_seconds(), passed = cl->last_call > 0 ? now - cl->last_call : 0;
  device->traffic.host_seconds += passed;
  if (cl->last_waited) device->traffic.idle_seconds += passed;
  return now;
}

void xci_cl_end(xcoder_device *device, double began, bool waited) {
  xci_cl *cl = xci_cl_of(device);
  cl->last_call = xci_seconds();
  cl->last_waited = waited;
  if (!waited) return;
  device->traffic.n_waits++;
  device->traffic.wait_seconds += cl->last_call - began;
}

enum { MOST_GROUPS_Y = 65535 }; /* in one launch: what CUDA's devices take, and NVIDIA's OpenCL with them */

/* The entry of a kernel that has run, made where there is none (a library's); n_kernels where there is no room. */
static size_t find_entry(xci_cl *cl, const char *name) {
  size_t i = 0;
  while (i < cl->n_kernels && strcmp(cl->kernels[i].name, name) != 0) i++;
  if (i == cl->n_kernels && i < XCI_CL_KERNELS) {
    memset(&cl->kernels[i], 0, sizeof cl->kernels[i]);
    cl->kernels[i].name = name;
    cl->n_kernels++;
  }
  return i;
}

cl_int xci_cl_time(xci_cl *cl, const char *kernel, cl_event event) {
  cl_ulong start = 0, end = 0;
  size_t i = find_entry(cl, kernel);
  cl_int code = clWaitForEvents(1, &event);
  if (code == CL_SUCCESS) code = clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_START, sizeof start, &start, NULL);
  if (code == CL_SUCCESS) code = clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_END, sizeof end, &end, NULL);
  clReleaseEvent(event);
  if (code != CL_SUCCESS || i == XCI_CL_KERNELS) return code;
  cl->kernels[i].runs++;
  cl->kernels[i].seconds += end > start ? 1e-9 * (double)(end - start) : 0;
  return code;
}

void xci_cl_profile(xcoder_device *device, FILE *out) {
  xci_cl *cl = xci_cl_of(device);
  for (size_t i = 0; i < cl->n_kernels; i++) {
    if (out != NULL && cl->kernels[i].runs > 0)
      fprintf(out, "kernel %s %zu %.9f\n", cl->kernels[i].name, cl->kernels[i].runs, cl->kernels[i].seconds);
    cl->kernels[i].runs = 0;
    cl->kernels[i].seconds = 0;
  }
}

/* The groups' numbers in y go on from launch to launch: GROUP_Y of cl/common.cl. */
static cl_int launch(xci_cl *cl, const char *name, cl_kernel kernel, size_t groups_x, size_t groups_y) {
  cl_int code = CL_SUCCESS;
  cl_event event = NULL;
  for (size_t first = 0; first < groups_y && code == CL_SUCCESS; first += MOST_GROUPS_Y) {
    const size_t offset[2] = {0, first}, local[2] = {XCI_CL_GROUP, 1};
    const size_t global[2] = {groups_x * XCI_CL_GROUP, xci_min_size(groups_y - first, MOST_GROUPS_Y)};
    code = clEnqueueNDRangeKernel(cl->queue, kernel, 2, offset, global, local, 0, NULL, cl->profiles ? &event : NULL);
    if (code == CL_SUCCESS && cl->profiles) code = xci_cl_time(cl, name, event);
  }
  return code;
}

/* Whether a kernel is of cl/tensor.cl or cl/tensor_attention.cl. */
static bool is_tensor(const char *name) {
  static const char products[] = "gemm_bf16", attention[] = "attend_tensor";
  return strncmp(name, products, sizeof products - 1) == 0 || strncmp(name, attention, sizeof attention - 1) == 0;
}

static xcoder_status find_kernel(xcoder_device *device, const char *name, cl_kernel *kernel, xcoder_error *err) {
  xci_cl *cl = xci_cl_of(device);
  cl_int code;
  for (size_t i = 0; i < cl->n_kernels; i++)
    if (cl->kernels[i].kernel != NULL && strcmp(cl->kernels[i].name, name) == 0) {
      *kernel = cl->kernels[i].kernel;
      return XCODER_OK;
    }
  if (cl->n_kernels == XCI_CL_KERNELS) return xci_fail(err, XCODER_INTERNAL, "more than %d kernels", XCI_CL_KERNELS);
  *kernel = clCreateKernel(cl->tensor != NULL && is_tensor(name) ? cl->tensor : cl->program, name, &code);
  if (code != CL_SUCCESS) return xci_cl_fail(device, code, name, err);
  memset(&cl->kernels[cl->n_kernels], 0, sizeof cl->kernels[0]);
  cl->kernels[cl->n_kernels].name = name;
  cl->kernels[cl->n_kernels++].kernel = *kernel;
  return XCODER_OK;
}

xcoder_status xci_cl_run(xcoder_device *device, const char *name, size_t groups_x, size_t groups_y,
                         xcoder_error *err, const char *types, ...) {
  xci_cl *cl = xci_cl_of(device);
  cl_kernel kernel = NULL;
  cl_int code = CL_SUCCESS;
  xcoder_status status = xci_cl_usable(device, err);
  if (status || groups_x == 0 || groups_y == 0) return status;
  status = find_kernel(device, name, &kernel, err);
  if (status) return status;
  double began = xci_cl_begin(device);
  va_list arguments;
  va_start(arguments, types);
  for (cl_uint i = 0; types[i] != '\0' && code == CL_SUCCESS; i++) {
    if (types[i] == 'm') {
      cl_mem memory = va_arg(arguments, cl_mem);
      code = clSetKernelArg(kernel, i, sizeof memory, &memory);
    } else if (types[i] == 'u') {
      cl_uint number = va_arg(arguments, unsigned);
      code = clSetKernelArg(kernel, i, sizeof number, &number);
    } else {
      cl_float number = (cl_float)va_arg(arguments, double);
      code = clSetKernelArg(kernel, i, sizeof number, &number);
    }
  }
  va_end(arguments);
  if (code == CL_SUCCESS) code = launch(cl, name, kernel, groups_x, groups_y);
  xci_cl_end(device, began, false);
  device->traffic.n_launches++;
  return code == CL_SUCCESS ? XCODER_OK : xci_cl_fail(device, code, name, err);
}
