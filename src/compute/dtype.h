/* SPDX-License-Identifier: Apache-2.0 */
/* Conversion of file bytes to float32 (names and sizes of number formats are declared in compute.h). */
#ifndef XCI_COMPUTE_DTYPE_H
#define XCI_COMPUTE_DTYPE_H

#include "compute/compute.h"

bool xci_dtype_is_float(xci_dtype dtype);
/* n values of F32, F64, F16 or BF16 at `bytes`, unaligned and little-endian. */
void xci_dtype_to_f32(const void *bytes, xci_dtype dtype, size_t n, float *out);

#endif
