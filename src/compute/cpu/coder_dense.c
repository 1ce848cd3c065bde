/* SPDX-License-Identifier: Apache-2.0 */
/* Latents that fire on a large share of the samples: their part of the training step as dense products. */
#include "base/memory.h"
#include "base/parallel.h"
#include "base/size.h"
#include "compute/cpu/coder.h"
#include <string.h>

enum {
  CHUNK_PANELS = 5, /* panels per product of the decoder: 480 latents, 120 KiB of weights */
  CHUNK_ROWS = 512  /* samples per product of a gradient */
};

size_t xci_coder_dense_scratch(const xci_coder *coder) {
  return coder->n_dense ? (size_t)CHUNK_PANELS * XCI_DENSE * coder->width : 0;
}

void xci_coder_dense_decode(const xci_coder *coder, size_t t, float *r, float *scratch) {
  size_t width = coder->width, n_panels = coder->dense_columns / XCI_DENSE;
  const uint32_t *latent = coder->dense_latent.memory;
  const float *weight = xci_coder_tile(coder, coder->tensor[XCI_W_DEC][XCI_VALUE], t, coder->shape.n_latents);
  for (size_t p0 = 0; p0 < n_panels; p0 += CHUNK_PANELS) {
    size_t n = xci_min_size(CHUNK_PANELS, n_panels - p0), first = p0 * XCI_DENSE;
    size_t n_latents = xci_min_size(n * XCI_DENSE, coder->n_dense - first);
    for (size_t j = 0; j < n_latents; j++)
      memcpy(scratch + j * width, weight + latent[first + j] * width, width * sizeof *scratch);
    memset(scratch + n_latents * width, 0, (n * XCI_DENSE - n_latents) * width * sizeof *scratch);
    xci_product product = {
      .a = (const float *)coder->dense_f.memory + p0 * coder->n_rows * XCI_DENSE,
      .a_strip = XCI_STRIP * XCI_DENSE, .a_tile = coder->n_rows * XCI_DENSE, .a_row = XCI_DENSE, .a_step = 1,
      .n_strips = coder->n_rows / XCI_STRIP, .n_tiles = n, .tile_steps = XCI_DENSE,
      .b = scratch, .c = r, .accumulate = true,
    };
    coder->kernels->product(width, &product);
  }
}

static double finish_row(size_t width, float scale, const float *sum, float decay, const float *weight,
                         float *gradient) {
  double square = 0;
  for (size_t k = 0; k < width; k++) {
    float g = scale * sum[k] + (weight ? decay * weight[k] : 0);
    gradient[k] = g;
    square += (double)g * g;
  }
  return square;
}

double xci_coder_dense_gradient(const xci_coder *coder, const float *values, const float *rows, float scale,
                                const float *decay, const float *weight, float *gradient, float *scratch) {
  size_t width = coder->width, n_rows = coder->n_rows;
  const uint32_t *latent = coder->dense_latent.memory;
  double square = 0;
  for (size_t first = 0; first < coder->n_dense; first += XCI_DENSE) {
    for (size_t b = 0; b < n_rows; b += CHUNK_ROWS) {
      xci_product product = {
        .a = values + first * n_rows + b * XCI_DENSE, .a_strip = XCI_STRIP, .a_row = 1, .a_step = XCI_DENSE,
        .n_strips = XCI_DENSE / XCI_STRIP, .n_tiles = 1, .tile_steps = xci_min_size(CHUNK_ROWS, n_rows - b),
        .b = rows + b * width, .c = scratch, .accumulate = b > 0,
      };
      coder->kernels->product(width, &product);
    }
    for (size_t j = 0; j < XCI_DENSE && first + j < coder->n_dense; j++) {
      size_t i = latent[first + j];
      square += finish_row(width, scale, scratch + j * width, decay ? decay[i] : 0, weight ? weight + i * width : NULL,
                           gradient + i * width);
    }
  }
  return square;
}

/* df of one block of samples and one panel of products; columns of products and of dense panels differ in width. */
static void mask_panel(xci_coder *coder, const xci_panels *panels, size_t block, size_t panel, const float *c,
                       float scale) {
  size_t first = panel * XCI_PANEL, last = xci_min_size(first + XCI_PANEL, coder->n_dense);
  size_t first_row = block * panels->block, n_rows = xci_min_size(panels->block, coder->n_rows - first_row);
  float push[XCI_PANEL];
  for (size_t j = first; j < last; j++) push[j - first] = coder->push[panels->chosen[j]];
  for (size_t j = first, end; j < last; j = end) {
    end = xci_min_size(last, (j / XCI_DENSE + 1) * XCI_DENSE);
    size_t at = (j / XCI_DENSE * coder->n_rows + first_row) * XCI_DENSE + j % XCI_DENSE;
    coder->kernels->mask(n_rows, end - j, scale, c + (j - first), push + (j - first), XCI_DENSE,
                         (const float *)coder->dense_f.memory + at, (float *)coder->dense_df.memory + at);
  }
}

void xci_coder_dense_sums(const xci_coder *coder, double *sums, double *positive) {
  const uint32_t *latent = coder->dense_latent.memory;
#pragma omp parallel for schedule(static) num_threads(xci_threads())
  for (size_t first = 0; first < coder->n_dense; first += XCI_DENSE) {
    double sum[XCI_DENSE] = {0}, count[XCI_DENSE] = {0};
    const float *f = (const float *)coder->dense_f.memory + first * coder->n_rows;
    for (size_t b = 0; b < coder->n_samples; b++)
#pragma omp simd
      for (size_t j = 0; j < XCI_DENSE; j++) {
        sum[j] += (double)f[b * XCI_DENSE + j];
        count[j] += f[b * XCI_DENSE + j] > 0 ? 1.0 : 0.0;
      }
    for (size_t j = 0; j < XCI_DENSE && first + j < coder->n_dense; j++) {
      sums[latent[first + j]] = sum[j];
      positive[latent[first + j]] = count[j];
    }
  }
}

static void add_bias_gradient(xci_coder *coder) {
  const float *df = coder->dense_df.memory;
  const uint32_t *latent = coder->dense_latent.memory;
  float *bias_gradient = coder->tensor[XCI_B_ENC][XCI_GRADIENT];
#pragma omp parallel for schedule(static) num_threads(xci_threads())
  for (size_t first = 0; first < coder->n_dense; first += XCI_DENSE) {
    double sums[XCI_DENSE] = {0};
    const float *panel = df + first * coder->n_rows;
    size_t n = xci_min_size(XCI_DENSE, coder->n_dense - first);
    for (size_t b = 0; b < coder->n_samples; b++)
      for (size_t j = 0; j < n; j++) sums[j] += (double)panel[b * XCI_DENSE + j];
    for (size_t j = 0; j < n; j++) bias_gradient[latent[first + j]] = (float)sums[j];
  }
}

xcoder_status xci_coder_dense_df(xci_coder *coder, float scale, xcoder_error *err) {
  if (coder->n_dense == 0) return XCODER_OK;
  xci_panels panels = {coder->residual.memory, coder->tensor[XCI_W_DEC][XCI_VALUE], coder->dense_latent.memory,
                       coder->n_dense, xci_coder_block(coder->n_rows)};
  size_t n_blocks = xci_ceil_div(coder->n_rows, panels.block), n_panels = xci_ceil_div(coder->n_dense, XCI_PANEL);
  xcoder_status status = xci_reserve_threads(&coder->scratch, &coder->n_scratch,
                                             xci_coder_panel_scratch(coder, panels.block), sizeof(float), err);
  if (status) return status;
#pragma omp parallel for schedule(dynamic, 1) num_threads(xci_threads())
  for (size_t task = 0; task < n_blocks * n_panels; task++) {
    size_t block = task / n_panels, panel = task % n_panels;
    const float *c = xci_coder_panel(coder, &panels, block, panel, coder->scratch[xci_thread_index()].memory);
    mask_panel(coder, &panels, block, panel, c, scale);
  }
  add_bias_gradient(coder);
  return XCODER_OK;
}
