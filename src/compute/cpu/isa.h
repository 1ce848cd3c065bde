/* SPDX-License-Identifier: Apache-2.0 */
/* What the processor has, what was compiled for it, and what the environment allows, in one place. */
#ifndef XCI_COMPUTE_CPU_ISA_H
#define XCI_COMPUTE_CPU_ISA_H

#include <stdbool.h>

typedef enum xci_isa { XCI_ISA_BASELINE, XCI_ISA_AVX2, XCI_ISA_AVX512 } xci_isa;

/* The best set of instructions that can be used; XCODER_ISA=baseline|avx2|avx512 lowers the choice. */
xci_isa xci_cpu_isa(void);
/* Its name: "generic", "avx2", "avx512" or, with products of bfloat16 numbers, "avx512+bf16". */
const char *xci_cpu_instructions(void);
/* Whether products of bfloat16 numbers can be used; else *reason says what is missing. */
bool xci_cpu_has_bf16(const char **reason);

#endif
