/* SPDX-License-Identifier: Apache-2.0 */
/* The inner loops of the crosscoder, compiled once per instruction set and chosen at run time.
 *
 * A tile is a matrix [rows][width] of float, width 16, 32, 48 or 64, aligned to 64 bytes. */
#ifndef XCI_COMPUTE_CPU_CODER_KERNELS_H
#define XCI_COMPUTE_CPU_CODER_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  XCI_STRIP = 6,  /* rows that a product keeps in registers */
  XCI_PANEL = 64  /* latents of one product of the encoder */
};

/* c[s * 6 + r][:] (+)= sum over t < n_tiles, k < tile_steps of
 *   a[s * a_strip + t * a_tile + r * a_row + k * a_step] * b[t * tile_steps + k][:] */
typedef struct xci_product {
  const float *a;
  size_t a_strip, a_tile, a_row, a_step;
  size_t n_strips, n_tiles, tile_steps;
  const float *b; /* [n_tiles * tile_steps][width] */
  float *c;       /* [n_strips * 6][width] */
  bool accumulate;
} xci_product;

/* A kept feature of a block of samples and a panel of latents. */
typedef struct xci_kept {
  float value;
  uint16_t row, latent; /* within the block, within the panel */
} xci_kept;

/* The nonzero codes by sample or by latent: entries start[i] .. start[i+1]-1 belong to i. */
typedef struct xci_lists {
  const size_t *start;
  const uint32_t *index; /* latent, or sample */
  const float *value;
} xci_lists;

/* One tile of the decoder's gradient. */
typedef struct xci_decoder_pass {
  xci_lists by_latent;
  size_t n_latents;
  const float *weight;   /* tile [n_latents][width] of W_dec */
  const float *residual; /* tile [n_samples][width] */
  float scale;           /* of the residual's part */
  const float *decay;    /* [n_latents]: gradient += decay * weight */
  float *df;             /* per entry: += <residual, weight> */
  float *gradient;       /* tile [n_latents][width] */
} xci_decoder_pass;

typedef struct xci_adam_factors {
  float clip;             /* of the gradient */
  float keep1, add1;      /* beta1, 1 - beta1 */
  float keep2, add2;
  float rate;             /* learning rate / (1 - beta1^t) */
  float root;             /* 1 / sqrt(1 - beta2^t) */
  float epsilon;
} xci_adam_factors;

typedef struct xci_coder_kernels {
  const char *name;

  void (*product)(size_t width, const xci_product *product);
  /* out[k][j] = tile[latent j][k] for n <= XCI_PANEL latents (latent j is first + j, or chosen[j]); zero beyond n. */
  void (*pack)(size_t width, const float *tile, const uint32_t *chosen, size_t first, size_t n, float *out);
  /* Appends every c + bias that is not <= floor; counts[row * stride] = how many of that row. Returns their number. */
  size_t (*keep)(const float *c, size_t n_rows, size_t n_latents, const float *bias, const float *floor, xci_kept *out,
                 uint8_t *counts, size_t stride);
  /* df = f != 0 ? scale * c + add[column] : 0 for n columns; rows of c are XCI_PANEL apart, of f and df f_row. */
  void (*mask)(size_t n_rows, size_t n, float scale, const float *c, const float *add, size_t f_row, const float *f,
               float *df);

  /* r[b] = bias - x[b] + sum over the codes of sample b of value * weight[latent]; x may be NULL (0). */
  void (*decode)(size_t width, size_t n_samples, const xci_lists *by_sample, const float *weight, const float *bias,
                 const float *x, float *r);
  /* Sum of squares of a tile; columns[k] = sum over its rows. */
  double (*squares)(size_t width, size_t n_rows, const float *tile, float *columns);
  /* Both return the sum of squares of the gradient rows they write; latents without entries are not written. */
  double (*decoder_pass)(size_t width, const xci_decoder_pass *pass);
  double (*encoder_pass)(size_t width, size_t n_latents, const xci_lists *by_latent, const float *x, float *gradient);
  /* sums[i] += ||tile[first + i]||^2, i < n. */
  void (*row_squares)(size_t width, const float *tile, size_t first, size_t n, double *sums);
  /* Adam on rows; rows whose active flag is 0 have no gradient (active NULL: all have one). */
  void (*adam)(size_t width, size_t n_rows, const uint8_t *active, const xci_adam_factors *factors, float *value,
               float *moment1, float *moment2, const float *gradient);
} xci_coder_kernels;

/* The best set that this processor runs; XCODER_ISA=baseline|avx2|avx512 lowers the choice. */
const xci_coder_kernels *xci_coder_kernels_select(void);

extern const xci_coder_kernels xci_coder_kernels_baseline;
extern const xci_coder_kernels xci_coder_kernels_avx2;
extern const xci_coder_kernels xci_coder_kernels_avx512;

#endif
