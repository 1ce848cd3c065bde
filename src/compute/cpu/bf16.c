/* SPDX-License-Identifier: Apache-2.0 */
/* Products of bfloat16 numbers: packing into strips and panels, and the division of the work. */
#include "config.h"

#include "compute/cpu/bf16.h"

#include "base/parallel.h"
#include "base/size.h"
#include "compute/cpu/cpu.h"
#include "compute/cpu/isa.h"
#include <string.h>

#if HAVE_BF16_KERNELS

enum {
  DEPTH = 32,        /* steps; so much of a panel (128 KiB) and of a block of rows (384 KiB) is for the second cache */
  ROWS = 192,        /* of such a block; a multiple of the strip */
  CHUNK_BYTES = 1 << 24, /* of packed panels: threads wait for each other at the end of each chunk, so few of them */
  WORDS = XCI_BF16_STEP / 2, /* of a step */
  STRIP_WORDS = XCI_BF16_STRIP * WORDS, PANEL_WORDS = XCI_BF16_PANEL * WORDS
};

typedef struct product {
  size_t m, n, k, n_steps;
  const uint32_t *a; /* packed strips */
  float *c;
  size_t ldc;
} product;

/* Rows first .. of the block times one panel that stands for the columns from `column` on. */
static void multiply_block(const product *p, size_t first, const uint32_t *panel, size_t column) {
  const size_t end = xci_min_size(p->m, first + ROWS), n = xci_min_size(XCI_BF16_PANEL, p->n - column);
  const size_t n_whole = n == XCI_BF16_PANEL ? (end - first) / XCI_BF16_STRIP : 0;
  const uint32_t *strips = p->a + first / XCI_BF16_STRIP * p->n_steps * STRIP_WORDS;
  for (size_t i = 0; i < p->n_steps; i += DEPTH)
    for (size_t s = 0; s < n_whole; s++)
      xci_bf16_multiply(xci_min_size(DEPTH, p->n_steps - i), strips + (s * p->n_steps + i) * STRIP_WORDS,
                        panel + i * PANEL_WORDS, i > 0, p->c + (first + s * XCI_BF16_STRIP) * p->ldc + column, p->ldc);
  for (size_t row = first + n_whole * XCI_BF16_STRIP; row < end; row += XCI_BF16_STRIP) {
    float edge[XCI_BF16_STRIP * XCI_BF16_PANEL];
    xci_bf16_multiply(p->n_steps, p->a + row / XCI_BF16_STRIP * p->n_steps * STRIP_WORDS, panel, false, edge,
                      XCI_BF16_PANEL);
    for (size_t r = 0; r < XCI_BF16_STRIP && row + r < end; r++)
      memcpy(p->c + (row + r) * p->ldc + column, edge + r * XCI_BF16_PANEL, n * sizeof *edge);
  }
}

static void pack_strip(const product *p, size_t s, const float *a, size_t lda, uint32_t *out) {
  xci_bf16_pack_strip(a + s * XCI_BF16_STRIP * lda, lda, xci_min_size(XCI_BF16_STRIP, p->m - s * XCI_BF16_STRIP), p->k,
                      out + s * p->n_steps * STRIP_WORDS);
}

static void pack_strips(const product *p, const float *a, size_t lda, uint32_t *out) {
#pragma omp parallel for num_threads(xci_threads()) schedule(static)
  for (size_t s = 0; s < xci_ceil_div(p->m, XCI_BF16_STRIP); s++) pack_strip(p, s, a, lda, out);
}

static void multiply_chunk(const product *p, const xci_weight *w, bool transpose, size_t first, size_t columns,
                           uint32_t *panels) {
  const size_t n_panels = xci_ceil_div(columns, XCI_BF16_PANEL), panel_words = p->n_steps * PANEL_WORDS;
  const size_t n_tasks = n_panels * xci_ceil_div(p->m, ROWS);
#pragma omp parallel num_threads(xci_threads())
  {
#pragma omp for schedule(dynamic, 1)
    for (size_t j = 0; j < n_panels; j++)
      xci_bf16_pack_panel(w, transpose, p->k, first + j * XCI_BF16_PANEL,
                          xci_min_size(XCI_BF16_PANEL, columns - j * XCI_BF16_PANEL), panels + j * panel_words);
#pragma omp for schedule(dynamic, 1)
    for (size_t task = 0; task < n_tasks; task++)
      multiply_block(p, task / n_panels * ROWS, panels + task % n_panels * panel_words,
                     first + task % n_panels * XCI_BF16_PANEL);
  }
}

xcoder_status xci_cpu_product_bf16(xcoder_device *device, bool transpose, size_t m, const float *a, size_t lda,
                                   const xci_weight *w, float *c, size_t ldc, xcoder_error *err) {
  const size_t n = transpose ? w->rows : w->columns, k = transpose ? w->columns : w->rows;
  if (m == 0 || n == 0 || k == 0) return XCODER_OK;
  product p = {.m = m, .n = n, .k = k, .n_steps = xci_ceil_div(k, XCI_BF16_STEP), .c = c, .ldc = ldc};
  const size_t panel_words = p.n_steps * PANEL_WORDS, n_panels = xci_ceil_div(n, XCI_BF16_PANEL);
  size_t chunk = xci_max_size(CHUNK_BYTES / sizeof(uint32_t) / panel_words, 2 * (size_t)xci_threads());
  size_t a_words, b_words;
  chunk = xci_min_size(xci_max_size(chunk, 1), n_panels);
  if (!xci_mul_size(xci_ceil_div(m, XCI_BF16_STRIP), p.n_steps * STRIP_WORDS, &a_words) ||
      !xci_mul_size(chunk, panel_words, &b_words))
    return xci_fail(err, XCODER_MEMORY, "a product of %zu x %zu x %zu", m, n, k);
  float *packed_a, *packed_b;
  xcoder_status status = xci_cpu_work(device, XCI_WORK_HALF, a_words, &packed_a, err);
  if (!status) status = xci_cpu_work(device, XCI_WORK_PANEL, b_words, &packed_b, err);
  if (status) return status;
  p.a = (const uint32_t *)packed_a; /* memory without a type of its own yet */
  pack_strips(&p, a, lda, (uint32_t *)packed_a);
  for (size_t j = 0; j < n_panels; j += chunk)
    multiply_chunk(&p, w, transpose, j * XCI_BF16_PANEL,
                   xci_min_size(chunk * XCI_BF16_PANEL, n - j * XCI_BF16_PANEL), (uint32_t *)packed_b);
  return XCODER_OK;
}

size_t xci_bf16_scratch(size_t m, size_t k) {
  return xci_ceil_div(k, XCI_BF16_STEP) * (xci_ceil_div(m, XCI_BF16_STRIP) * STRIP_WORDS + PANEL_WORDS);
}

void xci_bf16_product_serial(bool transpose, size_t m, size_t n, size_t k, xci_bf16_matrix a, xci_bf16_matrix b,
                             float *c, size_t ldc, uint32_t *scratch) {
  product p = {.m = m, .n = n, .k = k, .n_steps = xci_ceil_div(k, XCI_BF16_STEP), .a = scratch, .c = c, .ldc = ldc};
  const size_t n_strips = xci_ceil_div(m, XCI_BF16_STRIP);
  const xci_weight view = {.columns = b.row, .dtype = XCI_F32, .source = b.values};
  uint32_t *panel = scratch + n_strips * p.n_steps * STRIP_WORDS;
  for (size_t s = 0; s < n_strips; s++) pack_strip(&p, s, a.values, a.row, scratch);
  for (size_t j = 0; j < n; j += XCI_BF16_PANEL) {
    xci_bf16_pack_panel(&view, transpose, k, j, xci_min_size(XCI_BF16_PANEL, n - j), panel);
    for (size_t first = 0; first < m; first += ROWS) multiply_block(&p, first, panel, j);
  }
}

#else

size_t xci_bf16_scratch(size_t m, size_t k) {
  (void)m, (void)k;
  return 0;
}

/* Nobody comes here: a device refuses to compute in bf16 then. */
void xci_bf16_product_serial(bool transpose, size_t m, size_t n, size_t k, xci_bf16_matrix a, xci_bf16_matrix b,
                             float *c, size_t ldc, uint32_t *scratch) {
  (void)transpose, (void)m, (void)n, (void)k, (void)a, (void)b, (void)c, (void)ldc, (void)scratch;
}

xcoder_status xci_cpu_product_bf16(xcoder_device *device, bool transpose, size_t m, const float *a, size_t lda,
                                   const xci_weight *w, float *c, size_t ldc, xcoder_error *err) {
  const char *reason;
  (void)device, (void)transpose, (void)m, (void)a, (void)lda, (void)w, (void)c, (void)ldc;
  xci_cpu_has_bf16(&reason);
  return xci_fail(err, XCODER_DEVICE, "products of bfloat16 numbers: %s", reason);
}

#endif
