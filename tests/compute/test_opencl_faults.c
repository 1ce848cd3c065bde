/* SPDX-License-Identifier: Apache-2.0 */
/* Faults of an OpenCL driver: the n-th build, allocation or command fails, n = 1 to 50 and every seventh up to the
 * last, so that each operation meets one. Each time the self-test of the device must either pass (right results) or end
 * with XCODER_DEVICE; nothing may crash, and afterwards all works again. */
#include "opencl_faults.h"

#include <crosscoder.h>
#include <stdio.h>
#include <stdlib.h>

enum { LAST = 50, STEP = 7 };

static xcoder_status attempt(xcoder_error *err) {
  xcoder_device *device = NULL;
  xcoder_status status = xcoder_device_open("opencl", &device, err);
  if (!status) status = xcoder_device_self_test(device, err);
  xcoder_device_close(device);
  return status;
}

static int try_fault(int kind, int n) {
  xcoder_error err = {0};
  fault_reset();
  fault_left[kind] = n;
  xcoder_status status = attempt(&err);
  if (status == XCODER_OK || (status == XCODER_DEVICE && err.message[0] != '\0')) return 0;
  printf("%s %d: status %d, %s\n", fault_names[kind], n, (int)status, err.message);
  return 1;
}

int main(void) {
  xcoder_error err = {0};
  int failed = 0;
  if (attempt(&err)) {
    printf("skipped: %s\n", err.message);
    return 77;
  }
  printf("a self-test makes %d builds, %d allocations, %d commands\n", fault_seen[FAULT_BUILD],
         fault_seen[FAULT_ALLOCATE], fault_seen[FAULT_ENQUEUE]);
  const int calls[N_FAULTS] = {fault_seen[FAULT_BUILD], fault_seen[FAULT_ALLOCATE], fault_seen[FAULT_ENQUEUE]};
  for (int kind = 0; kind < N_FAULTS; kind++)
    for (int n = 1; n <= calls[kind] + 1; n += n < LAST ? 1 : STEP) failed += try_fault(kind, n);
  setenv("XDG_CACHE_HOME", "", 1); /* without the cache the only build fails */
  unsetenv("HOME");
  fault_reset();
  fault_left[FAULT_BUILD] = 1;
  if (attempt(&err) != XCODER_DEVICE) {
    printf("a device whose kernels cannot be built works\n");
    failed++;
  }
  fault_reset();
  if (attempt(&err)) {
    printf("afterwards: %s\n", err.message);
    failed++;
  }
  return failed != 0;
}
