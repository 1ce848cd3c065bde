/* SPDX-License-Identifier: Apache-2.0 */
/* Dense products over a CBLAS in fixed tiles, and the preparation and description of that BLAS. */
#include "config.h"

#include "compute/cpu/gemm.h"

#include "base/parallel.h"
#include "base/size.h"
#include <cblas.h>
#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Tiles of 512 x 1024 keep OpenBLAS within a few per cent of its native speed; smaller products are halved until
 * there are MIN_TILES of them or a tile is down to MIN_TILE_WORK multiply-adds (about ten microseconds of one core,
 * several times what starting a parallel loop costs). All of it depends on the shape alone. */
enum { TILE_ROWS = 512, TILE_COLUMNS = 1024, MIN_TILES = 4, MIN_EDGE = 32 };
static const double MIN_TILE_WORK = 1 << 20;

static bool blas_is_wrong; /* set by the start-up test: then the plain loops below do all the work */

static void scale_rows(float beta, float *c, size_t m, size_t n, size_t ldc) {
  for (size_t i = 0; i < m; i++) {
    if (beta == 0) memset(c + i * ldc, 0, n * sizeof *c);
    else if (beta != 1) for (size_t j = 0; j < n; j++) c[i * ldc + j] *= beta;
  }
}

/* For sizes beyond what CBLAS can express, and for a BLAS that failed its test. */
static void multiply_plainly(bool transpose_a, bool transpose_b, size_t m, size_t n, size_t k, float alpha,
                             const float *a, size_t lda, const float *b, size_t ldb, float beta, float *c, size_t ldc) {
  for (size_t i = 0; i < m; i++)
    for (size_t j = 0; j < n; j++) {
      double sum = 0;
      for (size_t l = 0; l < k; l++)
        sum += (double)(transpose_a ? a[l * lda + i] : a[i * lda + l]) *
               (double)(transpose_b ? b[j * ldb + l] : b[l * ldb + j]);
      float *out = c + i * ldc + j;
      *out = (float)(alpha * sum + (beta == 0 ? 0.0 : (double)beta * *out));
    }
}

void xci_gemm_serial(bool transpose_a, bool transpose_b, size_t m, size_t n, size_t k, float alpha, const float *a,
                     size_t lda, const float *b, size_t ldb, float beta, float *c, size_t ldc) {
  if (m == 0 || n == 0) return;
  if (k == 0) {
    scale_rows(beta, c, m, n, ldc);
    return;
  }
  if (blas_is_wrong || m > INT_MAX || n > INT_MAX || k > INT_MAX || lda > INT_MAX || ldb > INT_MAX || ldc > INT_MAX) {
    multiply_plainly(transpose_a, transpose_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    return;
  }
#if defined(_OPENMP)
  /* A team of one thread does not count as parallel for OpenBLAS's OpenMP build, which would then start a team of its
   * own and cut the product by the number of threads. The limit is this thread's alone and is put back. */
  int limit = omp_get_max_threads();
  bool limited = limit > 1 && !omp_in_parallel();
  if (limited) omp_set_num_threads(1);
#endif
  cblas_sgemm(CblasRowMajor, transpose_a ? CblasTrans : CblasNoTrans, transpose_b ? CblasTrans : CblasNoTrans, (int)m,
              (int)n, (int)k, alpha, a, (int)lda, b, (int)ldb, beta, c, (int)ldc);
#if defined(_OPENMP)
  if (limited) omp_set_num_threads(limit);
#endif
}

xci_tile xci_gemm_tile(size_t m, size_t n, size_t k) {
  size_t r = xci_min_size(m, TILE_ROWS), c = xci_min_size(n, TILE_COLUMNS);
  while (xci_ceil_div(m, r) * xci_ceil_div(n, c) < MIN_TILES && (double)r * (double)c * (double)k > 2 * MIN_TILE_WORK) {
    size_t *edge = c >= r ? &c : &r;
    if (*edge < 2 * MIN_EDGE) break;
    *edge = xci_ceil_div(xci_ceil_div(*edge, 2), 16) * 16; /* whole register tiles */
  }
  return (xci_tile){r, c};
}

void xci_gemm(bool transpose_a, bool transpose_b, size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda,
              const float *b, size_t ldb, float beta, float *c, size_t ldc) {
  if (m == 0 || n == 0) return;
  xci_gemm_tiled(xci_gemm_tile(m, n, k), transpose_a, transpose_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

void xci_gemm_tiled(xci_tile tile_size, bool transpose_a, bool transpose_b, size_t m, size_t n, size_t k, float alpha,
                    const float *a, size_t lda, const float *b, size_t ldb, float beta, float *c, size_t ldc) {
  const size_t rows = tile_size.rows, columns = tile_size.columns;
  size_t n_across = xci_ceil_div(n, columns), n_tiles = xci_ceil_div(m, rows) * n_across;
  if (n_tiles == 1) {
    xci_gemm_serial(transpose_a, transpose_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    return;
  }
#pragma omp parallel for num_threads(xci_threads()) schedule(dynamic, 1)
  for (size_t tile = 0; tile < n_tiles; tile++) {
    size_t i = tile / n_across * rows, j = tile % n_across * columns;
    xci_gemm_serial(transpose_a, transpose_b, xci_min_size(rows, m - i), xci_min_size(columns, n - j), k, alpha,
                    a + (transpose_a ? i : i * lda), lda, b + (transpose_b ? j * ldb : j), ldb, beta, c + i * ldc + j,
                    ldc);
  }
}

/* ---- The BLAS itself ---- */

/* Small whole numbers, so that every product and sum is exact in float32 and any deviation is a defect. */
static float test_value(size_t i) { return (float)((uint32_t)(i * 2654435761u) >> 29) - 3.0f; }

static bool tile_is_right(const float *a, const float *b, const float *c, size_t m, size_t n, size_t k) {
  for (size_t i = 0; i < m; i++)
    for (size_t j = 0; j < n; j++) {
      double sum = 0;
      for (size_t l = 0; l < k; l++) sum += (double)a[i * k + l] * b[j * k + l];
      if (sum != (double)c[i * n + j]) return false;
    }
  return true;
}

/* One product, then the same from several threads at once: builds of OpenBLAS without locks fail only the second. */
static bool test_blas(void) {
  enum { M = 37, N = 67, K = 53, COPIES = 4 };
  static float a[M * K], b[N * K], c[COPIES][M * N];
  for (size_t i = 0; i < M * K; i++) a[i] = test_value(i);
  for (size_t i = 0; i < N * K; i++) b[i] = test_value(i + 7);
  xci_gemm_serial(false, true, M, N, K, 1, a, K, b, K, 0, c[0], N);
  bool right = tile_is_right(a, b, c[0], M, N, K);
  memset(c, 0, sizeof c);
#pragma omp parallel for num_threads(xci_threads()) schedule(static, 1)
  for (int copy = 0; copy < COPIES; copy++) xci_gemm_serial(false, true, M, N, K, 1, a, K, b, K, 0, c[copy], N);
  for (int copy = 0; copy < COPIES; copy++) right = right && tile_is_right(a, b, c[copy], M, N, K);
  return right;
}

#if HAVE_OPENBLAS
static void describe_blas(char *text, size_t bytes) {
  static const char *const flavours[] = {"openblas-serial", "openblas-pthread", "openblas-openmp"};
  int parallel = openblas_get_parallel();
  const char *flavour = parallel >= 0 && parallel <= 2 ? flavours[parallel] : "openblas";
#if defined(_OPENMP)
  bool single = parallel == 1; /* in the OpenMP build this call would also shrink our own teams */
#else
  bool single = true;
#endif
  if (single) openblas_set_num_threads(1);
  snprintf(text, bytes, "%s %s", flavour, openblas_get_corename());
}
#else
static void describe_blas(char *text, size_t bytes) {
  snprintf(text, bytes, "unknown BLAS (results may depend on the number of threads)");
}
#endif

const char *xci_blas_prepare(void) {
  static char description[120];
#pragma omp critical(xci_blas)
  if (description[0] == '\0') {
    char text[100];
    describe_blas(text, sizeof text);
    if (!test_blas()) {
      blas_is_wrong = true;
      snprintf(description, sizeof description, "own products (%.60s failed its test)", text);
    } else {
      snprintf(description, sizeof description, "%s", text);
    }
  }
  return description;
}
