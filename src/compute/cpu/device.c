/* SPDX-License-Identifier: Apache-2.0 */
/* The cpu backend: opening it, its memory, and its table of operations. */
#include "config.h"

#include "compute/cpu/cpu.h"

#include "base/memory.h"
#include "base/parallel.h"
#include "compute/cpu/coder.h"
#include "compute/cpu/gemm.h"
#include "compute/cpu/isa.h"
#include "compute/host_memory.h"
#include <stdio.h>
#if HAVE_SYS_MMAN_H
#include <sys/mman.h>
#endif

/* OpenBLAS takes 128 MiB of address space per calling thread and waits for ever when it cannot have them, so ask
 * first. */
static xcoder_status check_address_space(xcoder_error *err) {
#if HAVE_SYS_MMAN_H && HAVE_OPENBLAS
  size_t bytes = (size_t)xci_threads() * ((size_t)128 << 20);
  void *probe = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (probe == MAP_FAILED)
    return xci_fail(err, XCODER_MEMORY, "the BLAS needs %zu MiB of address space for %d threads and the limit leaves "
                    "less (raise ulimit -v or use fewer threads)", bytes >> 20, xci_threads());
  munmap(probe, bytes);
#else
  (void)err;
#endif
  return XCODER_OK;
}

static xcoder_status open_cpu(const char *which, xcoder_device *device, xcoder_error *err) {
  (void)which;
  xci_cpu *cpu = NULL;
  xcoder_status status = check_address_space(err);
  if (!status) status = XCI_ALLOC(&cpu, 1, err);
  if (status) return status;
  device->state = cpu;
  snprintf(device->name, sizeof device->name, "cpu");
  snprintf(device->kernels, sizeof device->kernels, "%s %s", xci_cpu_instructions(), xci_blas_prepare());
  return XCODER_OK;
}

static void close_cpu(xcoder_device *device) {
  xci_cpu *cpu = device->state;
  if (cpu == NULL) return;
  for (int i = 0; i < XCI_N_WORK; i++) xci_free(cpu->work[i]);
  xci_free(cpu->tasks);
  xci_free(cpu);
  device->state = NULL;
}

static xcoder_status check_compute(xcoder_device *device, xci_compute compute, xcoder_error *err) {
  const char *reason;
  (void)device;
  if (compute == XCI_COMPUTE_BF16_ALL)
    return xci_fail(err, XCODER_DEVICE, "device cpu computes crosscoders in fp32 alone (use bf16 or fp32)");
  if (compute == XCI_COMPUTE_FP32 || xci_cpu_has_bf16(&reason)) return XCODER_OK;
  return xci_fail(err, XCODER_DEVICE, "device cpu cannot compute in bf16: %s (use fp32)", reason);
}

xcoder_status xci_cpu_work(xcoder_device *device, xci_work use, size_t count, float **out, xcoder_error *err) {
  xci_cpu *cpu = device->state;
  xcoder_status status = XCODER_OK;
  if (count > cpu->capacity[use]) {
    float *grown = NULL;
    xci_free(cpu->work[use]); /* the contents are of no use, so both need not exist at once */
    cpu->work[use] = NULL;
    cpu->capacity[use] = 0;
    status = XCI_ALLOC(&grown, count, err);
    if (!status) {
      cpu->work[use] = grown;
      cpu->capacity[use] = count;
    }
  }
  *out = cpu->work[use];
  return status;
}

const xci_backend xci_backend_cpu = {
  .name = "cpu",
  .open = open_cpu,
  .close = close_cpu,
  .check_compute = check_compute,
  .coder_plan = xci_host_coder_plan,
  .buffer_create = xci_host_buffer_create,
  .buffer_free = xci_host_buffer_free,
  .upload = xci_host_upload,
  .download = xci_host_download,
  .weight_create = xci_cpu_weight_create,
  .weight_free = xci_host_weight_free,
  .embed = xci_cpu_embed,
  .tape_create = xci_cpu_tape_create,
  .tape_free = xci_cpu_tape_free,
  .block_forward = xci_cpu_block_forward,
  .block_backward = xci_cpu_block_backward,
  .head_logits = xci_cpu_head_logits,
  .head_backward = xci_cpu_head_backward,
  .head_log_probs = xci_cpu_head_log_probs,
  .head_project = xci_cpu_head_project,
  .coder_create = xci_cpu_coder_create,
  .coder_free = xci_cpu_coder_free,
  .coder_write = xci_cpu_coder_write,
  .coder_read = xci_cpu_coder_read,
  .coder_norms = xci_cpu_coder_norms,
  .coder_encode = xci_cpu_coder_encode,
  .coder_window = xci_cpu_coder_window,
  .coder_encode_rows = xci_cpu_coder_encode_rows,
  .coder_mark = xci_cpu_coder_mark,
  .coder_marks = xci_cpu_coder_marks,
  .coder_codes = xci_cpu_coder_codes,
  .coder_set_codes = xci_cpu_coder_set_codes,
  .coder_decode = xci_cpu_coder_decode,
  .coder_backward = xci_cpu_coder_backward,
  .coder_update = xci_cpu_coder_update,
};
