/* SPDX-License-Identifier: Apache-2.0 */
/* Linear layers y = x W^T, W [out, in], and the sums around them. */
#include "compute/cpu/transformer.h"

#include "base/parallel.h"
#include "base/size.h"
#include "compute/cpu/bf16.h"
#include "compute/cpu/gemm.h"
#include "compute/cpu/vector_math.h"
#include <string.h>

enum { PIECE = 512 /* floats of work space on the stack */, PANEL_FLOATS = 1 << 22 };

/* How the columns of a product are cut: into panels of whole tiles, so that converted weights give the bits that
 * float32 weights give. A panel stays in the last cache, or is larger where many threads need more tiles at once;
 * its size changes no bits. */
static size_t choose_panel(xci_tile tile, size_t m, size_t n, size_t k) {
  size_t by_cache = PANEL_FLOATS / (tile.columns * k);
  size_t by_threads = xci_ceil_div(2 * (size_t)xci_threads(), xci_ceil_div(m, tile.rows));
  size_t n_tiles = xci_min_size(xci_max_size(by_cache, by_threads), xci_ceil_div(n, tile.columns));
  return xci_min_size(n, tile.columns * xci_max_size(1, n_tiles));
}

xcoder_status xci_cpu_product(xcoder_device *device, bool transpose, size_t m, const float *a, size_t lda,
                              const xci_weight *w, float beta, float *c, size_t ldc, xcoder_error *err) {
  size_t n = transpose ? w->rows : w->columns, k = transpose ? w->columns : w->rows;
  if (w->host != NULL) {
    xci_gemm(false, transpose, m, n, k, 1, a, lda, w->host, w->columns, beta, c, ldc);
    return XCODER_OK;
  }
  if (m == 0 || n == 0 || k == 0) return XCODER_OK;
  xci_tile tile = xci_gemm_tile(m, n, k);
  size_t panel_columns = choose_panel(tile, m, n, k), count;
  float *panel;
  if (!xci_mul_size(panel_columns, k, &count))
    return xci_fail(err, XCODER_MEMORY, "a weight of %zu x %zu values", w->rows, w->columns);
  xcoder_status status = xci_cpu_work(device, XCI_WORK_PANEL, count, &panel, err);
  for (size_t j = 0; !status && j < n; j += panel_columns) {
    size_t columns = xci_min_size(panel_columns, n - j);
    if (transpose) xci_cpu_weight_panel(w, j, columns, 0, k, panel);
    else xci_cpu_weight_panel(w, 0, k, j, columns, panel);
    xci_gemm_tiled(tile, false, transpose, m, columns, k, 1, a, lda, panel, transpose ? k : columns, beta, c + j, ldc);
  }
  return status;
}

size_t xci_linear_inputs(const xci_linear *linear) {
  return linear->transposed ? linear->weight->rows : linear->weight->columns;
}

xcoder_status xci_cpu_linear(xcoder_device *device, const xci_linear *linear, const float *x, size_t n_rows, float *y,
                             size_t ldy, xcoder_error *err) {
  if (device->compute == XCI_COMPUTE_BF16)
    return xci_cpu_product_bf16(device, !linear->transposed, n_rows, x, xci_linear_inputs(linear), linear->weight, y,
                                ldy, err);
  return xci_cpu_product(device, !linear->transposed, n_rows, x, xci_linear_inputs(linear), linear->weight, 0, y, ldy,
                         err);
}

xcoder_status xci_cpu_linear_backward(xcoder_device *device, const xci_linear *linear, const float *dy, size_t lddy,
                                      size_t n_rows, float beta, float *dx, xcoder_error *err) {
  return xci_cpu_product(device, linear->transposed, n_rows, dy, lddy, linear->weight, beta, dx,
                         xci_linear_inputs(linear), err);
}

/* Summed in a piece of its own, because the result may replace one of the terms. */
static void add_row(const xci_sum *sum, size_t row, size_t width, float *y) {
  float piece[PIECE];
  for (size_t i = 0; i < width; i += PIECE) {
    size_t n = xci_min_size(PIECE, width - i), at = row * width + i;
    memcpy(piece, sum->a + at, n * sizeof *piece);
    if (sum->bias != NULL) xci_add_to(piece, sum->bias->host + i, n);
    if (sum->b != NULL) xci_add_to(piece, sum->b + at, n);
    if (sum->bias2 != NULL) xci_add_to(piece, sum->bias2->host + i, n);
    if (sum->c != NULL) xci_add_to(piece, sum->c + at, n);
    memcpy(y + at, piece, n * sizeof *piece);
  }
}

void xci_cpu_add(const xci_sum *sum, size_t n_rows, size_t width, float *y) {
#pragma omp parallel for num_threads(xci_threads()) schedule(static)
  for (size_t r = 0; r < n_rows; r++) add_row(sum, r, width, y);
}
