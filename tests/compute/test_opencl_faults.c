/* SPDX-License-Identifier: Apache-2.0 */
/* Faults of an OpenCL driver: the n-th build, allocation or command fails, n = 1 to 50. Each time the self-test of the
 * device must either pass (right results) or end with XCODER_DEVICE; nothing may crash, and afterwards all works again.
 * The functions below stand before the loader's. */
#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>
#include <crosscoder.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUILD, ALLOCATE, ENQUEUE, N_KINDS, LAST = 50 };
static const char *const kinds[N_KINDS] = {"build", "allocation", "command"};
static int left[N_KINDS]; /* calls until the one that fails; 0: none does */
static int seen[N_KINDS];

static int fails(int kind) {
  seen[kind]++;
  return left[kind] > 0 && --left[kind] == 0;
}

/* The loader's own function, by a detour around the rule that no pointer to data becomes one to code. */
#define REAL(name) \
  __typeof__(name) *real; \
  void *found = dlsym(RTLD_NEXT, #name); \
  memcpy(&real, &found, sizeof real)

cl_int clBuildProgram(cl_program program, cl_uint n, const cl_device_id *devices, const char *options,
                      void(CL_CALLBACK *notify)(cl_program, void *), void *data) {
  REAL(clBuildProgram);
  return fails(BUILD) ? CL_BUILD_PROGRAM_FAILURE : real(program, n, devices, options, notify, data);
}

cl_mem clCreateBuffer(cl_context context, cl_mem_flags flags, size_t bytes, void *host, cl_int *code) {
  REAL(clCreateBuffer);
  if (!fails(ALLOCATE)) return real(context, flags, bytes, host, code);
  *code = CL_MEM_OBJECT_ALLOCATION_FAILURE;
  return NULL;
}

cl_int clEnqueueNDRangeKernel(cl_command_queue queue, cl_kernel kernel, cl_uint dimensions, const size_t *offset,
                              const size_t *global, const size_t *local, cl_uint n, const cl_event *events,
                              cl_event *event) {
  REAL(clEnqueueNDRangeKernel);
  return fails(ENQUEUE) ? CL_OUT_OF_RESOURCES
                        : real(queue, kernel, dimensions, offset, global, local, n, events, event);
}

cl_int clEnqueueWriteBuffer(cl_command_queue queue, cl_mem buffer, cl_bool blocking, size_t offset, size_t bytes,
                            const void *from, cl_uint n, const cl_event *events, cl_event *event) {
  REAL(clEnqueueWriteBuffer);
  return fails(ENQUEUE) ? CL_DEVICE_NOT_AVAILABLE : real(queue, buffer, blocking, offset, bytes, from, n, events, event);
}

cl_int clEnqueueReadBuffer(cl_command_queue queue, cl_mem buffer, cl_bool blocking, size_t offset, size_t bytes,
                           void *to, cl_uint n, const cl_event *events, cl_event *event) {
  REAL(clEnqueueReadBuffer);
  return fails(ENQUEUE) ? CL_DEVICE_NOT_AVAILABLE : real(queue, buffer, blocking, offset, bytes, to, n, events, event);
}

static xcoder_status attempt(xcoder_error *err) {
  xcoder_device *device = NULL;
  xcoder_status status = xcoder_device_open("opencl", &device, err);
  if (!status) status = xcoder_device_self_test(device, err);
  xcoder_device_close(device);
  return status;
}

static int try_fault(int kind, int n) {
  xcoder_error err = {0};
  memset(left, 0, sizeof left);
  left[kind] = n;
  xcoder_status status = attempt(&err);
  if (status == XCODER_OK || (status == XCODER_DEVICE && err.message[0] != '\0')) return 0;
  printf("%s %d: status %d, %s\n", kinds[kind], n, (int)status, err.message);
  return 1;
}

int main(void) {
  xcoder_error err = {0};
  int failed = 0;
  if (attempt(&err)) {
    printf("skipped: %s\n", err.message);
    return 77;
  }
  printf("a self-test makes %d builds, %d allocations, %d commands\n", seen[BUILD], seen[ALLOCATE], seen[ENQUEUE]);
  const int calls[N_KINDS] = {seen[BUILD], seen[ALLOCATE], seen[ENQUEUE]};
  for (int kind = 0; kind < N_KINDS; kind++)
    for (int n = 1; n <= LAST && n <= calls[kind] + 1; n++) failed += try_fault(kind, n);
  setenv("XDG_CACHE_HOME", "", 1); /* without the cache the only build fails */
  unsetenv("HOME");
  memset(left, 0, sizeof left);
  left[BUILD] = 1;
  if (attempt(&err) != XCODER_DEVICE) {
    printf("a device whose kernels cannot be built works\n");
    failed++;
  }
  memset(left, 0, sizeof left);
  if (attempt(&err)) {
    printf("afterwards: %s\n", err.message);
    failed++;
  }
  return failed != 0;
}
