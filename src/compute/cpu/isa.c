/* SPDX-License-Identifier: Apache-2.0 */
/* Choice of the instruction set by what the processor has. */
#include "config.h"

#include "compute/cpu/isa.h"

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

#if HAVE_BF16_KERNELS
static bool has_bf16(void) { return __builtin_cpu_supports("avx512bf16"); }
#else
static bool has_bf16(void) { return false; }
#endif

xci_isa xci_cpu_isa(void) {
  const char *limit = getenv("XCODER_ISA");
  bool only_baseline = limit && strcmp(limit, "baseline") == 0, only_avx2 = limit && strcmp(limit, "avx2") == 0;
  if (HAVE_AVX512_KERNELS && !only_baseline && !only_avx2 && has_avx512()) return XCI_ISA_AVX512;
  if (HAVE_AVX2_KERNELS && !only_baseline && has_avx2()) return XCI_ISA_AVX2;
  return XCI_ISA_BASELINE;
}

bool xci_cpu_has_bf16(const char **reason) {
  *reason = NULL;
  if (!HAVE_BF16_KERNELS) *reason = "this build has no kernels for it (the compiler does not know AVX512_BF16)";
  else if (!has_avx512() || !has_bf16()) *reason = "this processor has no AVX512_BF16 instructions";
  else if (xci_cpu_isa() != XCI_ISA_AVX512) *reason = "XCODER_ISA excludes AVX-512";
  return *reason == NULL;
}

const char *xci_cpu_instructions(void) {
  static const char *const names[] = {[XCI_ISA_BASELINE] = "generic", [XCI_ISA_AVX2] = "avx2",
                                      [XCI_ISA_AVX512] = "avx512"};
  const char *reason;
  return xci_cpu_has_bf16(&reason) ? "avx512+bf16" : names[xci_cpu_isa()];
}
