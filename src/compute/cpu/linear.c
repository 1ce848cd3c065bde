/* SPDX-License-Identifier: Apache-2.0 */
/* Linear layers y = x W^T, W [out, in], and the sums around them. */
#include "compute/cpu/transformer.h"

#include "base/parallel.h"
#include "base/size.h"
#include "compute/cpu/gemm.h"
#include "compute/cpu/vector_math.h"
#include <string.h>

enum { PIECE = 512 }; /* floats of work space on the stack */

void xci_cpu_linear(const xci_linear *linear, const float *x, size_t n_rows, float *y, size_t ldy) {
  const xci_weight *w = linear->weight;
  xci_gemm(false, true, n_rows, w->rows, w->columns, 1, x, w->columns, w->host, w->columns, 0, y, ldy);
}

void xci_cpu_linear_backward(const xci_linear *linear, const float *dy, size_t lddy, size_t n_rows, float beta,
                             float *dx) {
  const xci_weight *w = linear->weight;
  xci_gemm(false, false, n_rows, w->columns, w->rows, 1, dy, lddy, w->host, w->columns, beta, dx, w->columns);
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
