/* SPDX-License-Identifier: Apache-2.0 */
/* Products of float32 activations and weights of any type with both rounded to bfloat16: sums in float32, over k in
 * order, so that a row of the result depends neither on threads nor on the other rows. */
#ifndef XCI_COMPUTE_CPU_BF16_H
#define XCI_COMPUTE_CPU_BF16_H

#include "compute/compute.h"

/* C [m, n] = A op(W), as xci_cpu_product(). Only where xci_cpu_has_bf16(). */
xcoder_status xci_cpu_product_bf16(xcoder_device *device, bool transpose, size_t m, const float *a, size_t lda,
                                   const xci_weight *w, float *c, size_t ldc, xcoder_error *err);

/* C [m, n] = A op(B) of float32 matrices within one thread, rows of c ldc apart. scratch holds
 * xci_bf16_scratch(m, k) words. Only where xci_cpu_has_bf16(). */
typedef struct xci_bf16_matrix {
  const float *values;
  size_t row;
} xci_bf16_matrix;
size_t xci_bf16_scratch(size_t m, size_t k);
void xci_bf16_product_serial(bool transpose, size_t m, size_t n, size_t k, xci_bf16_matrix a, xci_bf16_matrix b,
                             float *c, size_t ldc, uint32_t *scratch);

/* bf16_kernels.c, compiled for AVX512_BF16. A word is a pair of bfloat16 numbers, the first in the lower half. */
enum {
  XCI_BF16_STRIP = 6,
  XCI_BF16_PANEL = 64,
  XCI_BF16_STEP = 32 /* numbers; k is padded with zeros to whole ones */
};

/* n <= XCI_BF16_STRIP rows of k floats, lda apart, as out[step of k][row][word of the step]; rows beyond n are zero. */
void xci_bf16_pack_strip(const float *a, size_t lda, size_t n, size_t k, uint32_t *out);
/* Columns first .. first+n-1 of op(W), n <= XCI_BF16_PANEL, as out[word of k][XCI_BF16_PANEL]; zero beyond n. */
void xci_bf16_pack_panel(const xci_weight *w, bool transpose, size_t k, size_t first, size_t n, uint32_t *out);
/* c [6, 64] = (accumulate: +=) a packed strip times a packed panel, both of n_steps whole steps. */
void xci_bf16_multiply(size_t n_steps, const uint32_t *strip, const uint32_t *panel, bool accumulate, float *c,
                       size_t ldc);

#endif
