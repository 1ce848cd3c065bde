/* SPDX-License-Identifier: Apache-2.0 */
/* Choice of the kernels by what the processor has. */
#include "config.h"

#include "compute/cpu/coder_kernels.h"
#include "compute/cpu/isa.h"

const xci_coder_kernels *xci_coder_kernels_select(void) {
  switch (xci_cpu_isa()) {
#if HAVE_AVX512_KERNELS
    case XCI_ISA_AVX512: return &xci_coder_kernels_avx512;
#endif
#if HAVE_AVX2_KERNELS
    case XCI_ISA_AVX2: return &xci_coder_kernels_avx2;
#endif
    default: return &xci_coder_kernels_baseline;
  }
}
