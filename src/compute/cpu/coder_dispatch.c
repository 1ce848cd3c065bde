/* SPDX-License-Identifier: Apache-2.0 */
/* Choice of the kernels by what the processor has. */
#include "config.h"

#include "compute/cpu/coder_kernels.h"

#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__) || defined(__i386__)
static bool has_avx512(void) {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma");
}
static bool has_avx2(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
#else
static bool has_avx512(void) { return false; }
static bool has_avx2(void) { return false; }
#endif

const xci_coder_kernels *xci_coder_kernels_select(void) {
  const char *limit = getenv("XCODER_ISA");
  bool only_baseline = limit && strcmp(limit, "baseline") == 0;
  bool only_avx2 = limit && strcmp(limit, "avx2") == 0;
#if HAVE_AVX512_KERNELS
  if (!only_baseline && !only_avx2 && has_avx512()) return &xci_coder_kernels_avx512;
#endif
#if HAVE_AVX2_KERNELS
  if (!only_baseline && has_avx2()) return &xci_coder_kernels_avx2;
#endif
  (void)only_baseline, (void)only_avx2, (void)has_avx512, (void)has_avx2;
  return &xci_coder_kernels_baseline;
}
