/* SPDX-License-Identifier: Apache-2.0 */
/* Dense products whose bits do not depend on the number of threads: the output is cut into fixed tiles (by shape
 * alone), each one single-threaded sgemm over all of K. */
#ifndef XCI_COMPUTE_CPU_GEMM_H
#define XCI_COMPUTE_CPU_GEMM_H

#include <stdbool.h>
#include <stddef.h>

/* C = alpha op(A) op(B) + beta C, row-major; op transposes when asked. op(A): [m,k], op(B): [k,n], C: [m,n];
 * lda, ldb, ldc are row lengths of the arrays as stored. Must not be called from inside a parallel region. */
void xci_gemm(bool transpose_a, bool transpose_b, size_t m, size_t n, size_t k, float alpha, const float *a,
              size_t lda, const float *b, size_t ldb, float beta, float *c, size_t ldc);
/* The tiles that a product of this shape is cut into. A product over a part of the columns, from a multiple of
 * tile.columns on, that is cut into the same tiles gives the same bits as the whole. */
typedef struct xci_tile {
  size_t rows, columns;
} xci_tile;
xci_tile xci_gemm_tile(size_t m, size_t n, size_t k);
void xci_gemm_tiled(xci_tile tile, bool transpose_a, bool transpose_b, size_t m, size_t n, size_t k, float alpha,
                    const float *a, size_t lda, const float *b, size_t ldb, float beta, float *c, size_t ldc);
/* The same on the calling thread only; may be called inside parallel regions. */
void xci_gemm_serial(bool transpose_a, bool transpose_b, size_t m, size_t n, size_t k, float alpha, const float *a,
                     size_t lda, const float *b, size_t ldb, float beta, float *c, size_t ldc);

/* Prepares the BLAS for calls from several threads (once, at device open) and describes it:
 * "openblas-openmp SkylakeX". */
const char *xci_blas_prepare(void);

#endif
