/* SPDX-License-Identifier: Apache-2.0 */
/* Faults of an OpenCL driver. Preloaded, it reads OPENCL_FAULT_BUILD, _ALLOCATE, _ENQUEUE (the n-th call fails),
 * _LOST (and all after it), _GPU (processors say that they are GPUs), _MEMORY and _LARGEST (bytes), _GIVEN (bytes that
 * are given in all, whatever _MEMORY says), _WRONG (what comes back is off by a hundredth), and writes the number of
 * commands of the process to the file _COUNT. */
#define CL_TARGET_OPENCL_VERSION 120
#include "opencl_faults.h"

#include <CL/cl.h>
#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const fault_names[N_FAULTS] = {"build", "allocation", "command"};
int fault_left[N_FAULTS], fault_seen[N_FAULTS], fault_is_lost, fault_is_gpu;
unsigned long long fault_memory, fault_largest;
static int lost, is_wrong, is_limited;
static unsigned long long given_left;

void fault_reset(void) {
  memset(fault_left, 0, sizeof fault_left);
  memset(fault_seen, 0, sizeof fault_seen);
  lost = 0;
}

static unsigned long long number(const char *name) {
  const char *text = getenv(name);
  return text != NULL ? strtoull(text, NULL, 10) : 0;
}

__attribute__((constructor)) static void read_environment(void) {
  fault_left[FAULT_BUILD] = (int)number("OPENCL_FAULT_BUILD");
  fault_left[FAULT_ALLOCATE] = (int)number("OPENCL_FAULT_ALLOCATE");
  fault_left[FAULT_ENQUEUE] = (int)number("OPENCL_FAULT_ENQUEUE");
  fault_is_lost = number("OPENCL_FAULT_LOST") != 0;
  fault_is_gpu = number("OPENCL_FAULT_GPU") != 0;
  fault_memory = number("OPENCL_FAULT_MEMORY");
  fault_largest = number("OPENCL_FAULT_LARGEST");
  given_left = number("OPENCL_FAULT_GIVEN");
  is_limited = given_left > 0;
  is_wrong = number("OPENCL_FAULT_WRONG") != 0;
}

__attribute__((destructor)) static void write_count(void) {
  const char *path = getenv("OPENCL_FAULT_COUNT");
  FILE *file = path != NULL ? fopen(path, "w") : NULL;
  if (file == NULL) return;
  fprintf(file, "%d\n", fault_seen[FAULT_ENQUEUE]);
  fclose(file);
}

static int fails(int kind) {
  fault_seen[kind]++;
  int now = fault_left[kind] > 0 && --fault_left[kind] == 0;
  if (now && fault_is_lost) lost = 1;
  return now || lost;
}

/* The loader's own function, by a detour around the rule that no pointer to data becomes one to code. */
#define REAL(name) \
  __typeof__(name) *real; \
  void *found = dlsym(RTLD_NEXT, #name); \
  memcpy(&real, &found, sizeof real)

#pragma GCC visibility push(default) /* they are to be found before the loader's */

cl_int clGetDeviceInfo(cl_device_id device, cl_device_info what, size_t size, void *value, size_t *n) {
  REAL(clGetDeviceInfo);
  cl_int code = real(device, what, size, value, n);
  if (code != CL_SUCCESS || value == NULL) return code;
  if (what == CL_DEVICE_TYPE && fault_is_gpu)
    memcpy(value, &(cl_device_type){CL_DEVICE_TYPE_GPU}, sizeof(cl_device_type));
  if (what == CL_DEVICE_GLOBAL_MEM_SIZE && fault_memory > 0)
    memcpy(value, &(cl_ulong){fault_memory}, sizeof(cl_ulong));
  if (what == CL_DEVICE_MAX_MEM_ALLOC_SIZE && fault_largest > 0)
    memcpy(value, &(cl_ulong){fault_largest}, sizeof(cl_ulong));
  return code;
}

cl_int clBuildProgram(cl_program program, cl_uint n, const cl_device_id *devices, const char *options,
                      void(CL_CALLBACK *notify)(cl_program, void *), void *data) {
  REAL(clBuildProgram);
  return fails(FAULT_BUILD) ? CL_BUILD_PROGRAM_FAILURE : real(program, n, devices, options, notify, data);
}

cl_mem clCreateBuffer(cl_context context, cl_mem_flags flags, size_t bytes, void *host, cl_int *code) {
  REAL(clCreateBuffer);
  bool fits = (fault_largest == 0 || bytes <= fault_largest) && (!is_limited || bytes <= given_left);
  if (!fails(FAULT_ALLOCATE) && fits) {
    if (is_limited) given_left -= bytes;
    return real(context, flags, bytes, host, code);
  }
  *code = CL_MEM_OBJECT_ALLOCATION_FAILURE;
  return NULL;
}

cl_int clReleaseMemObject(cl_mem memory) {
  size_t bytes = 0;
  REAL(clReleaseMemObject);
  if (is_limited && clGetMemObjectInfo(memory, CL_MEM_SIZE, sizeof bytes, &bytes, NULL) == CL_SUCCESS)
    given_left += bytes;
  return real(memory);
}

cl_int clEnqueueNDRangeKernel(cl_command_queue queue, cl_kernel kernel, cl_uint dimensions, const size_t *offset,
                              const size_t *global, const size_t *local, cl_uint n, const cl_event *events,
                              cl_event *event) {
  REAL(clEnqueueNDRangeKernel);
  return fails(FAULT_ENQUEUE) ? CL_OUT_OF_RESOURCES
                              : real(queue, kernel, dimensions, offset, global, local, n, events, event);
}

cl_int clEnqueueWriteBuffer(cl_command_queue queue, cl_mem buffer, cl_bool blocking, size_t offset, size_t bytes,
                            const void *from, cl_uint n, const cl_event *events, cl_event *event) {
  REAL(clEnqueueWriteBuffer);
  return fails(FAULT_ENQUEUE) ? CL_DEVICE_NOT_AVAILABLE
                              : real(queue, buffer, blocking, offset, bytes, from, n, events, event);
}

cl_int clEnqueueReadBuffer(cl_command_queue queue, cl_mem buffer, cl_bool blocking, size_t offset, size_t bytes,
                           void *to, cl_uint n, const cl_event *events, cl_event *event) {
  REAL(clEnqueueReadBuffer);
  if (fails(FAULT_ENQUEUE)) return CL_DEVICE_NOT_AVAILABLE;
  cl_int code = real(queue, buffer, blocking, offset, bytes, to, n, events, event);
  float first;
  if (code == CL_SUCCESS && is_wrong && bytes >= sizeof first) {
    memcpy(&first, to, sizeof first);
    first *= 1.01f;
    memcpy(to, &first, sizeof first);
  }
  return code;
}

cl_int clEnqueueFillBuffer(cl_command_queue queue, cl_mem buffer, const void *pattern, size_t pattern_bytes,
                           size_t offset, size_t bytes, cl_uint n, const cl_event *events, cl_event *event) {
  REAL(clEnqueueFillBuffer);
  return fails(FAULT_ENQUEUE) ? CL_OUT_OF_RESOURCES
                              : real(queue, buffer, pattern, pattern_bytes, offset, bytes, n, events, event);
}

cl_int clEnqueueCopyBuffer(cl_command_queue queue, cl_mem from, cl_mem to, size_t from_offset, size_t to_offset,
                           size_t bytes, cl_uint n, const cl_event *events, cl_event *event) {
  REAL(clEnqueueCopyBuffer);
  return fails(FAULT_ENQUEUE) ? CL_MEM_OBJECT_ALLOCATION_FAILURE
                              : real(queue, from, to, from_offset, to_offset, bytes, n, events, event);
}

/* Nothing reads the host's memory any more behind this, whatever it returns: a device that is lost does nothing. */
cl_int clFinish(cl_command_queue queue) {
  REAL(clFinish);
  cl_int code = real(queue);
  return fails(FAULT_ENQUEUE) ? CL_OUT_OF_RESOURCES : code;
}

#pragma GCC visibility pop
