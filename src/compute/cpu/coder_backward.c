/* SPDX-License-Identifier: Apache-2.0 */
/* Losses and gradients. Each tile of columns is decoded, subtracted from the batch and used at once for the gradient
 * of the decoder and its share of the gradient of the features; reconstructions are never stored. */
#include "base/memory.h"
#include "base/parallel.h"
#include "base/size.h"
#include "compute/cpu/coder.h"
#include <math.h>
#include <string.h>

/* What a latent and a tile contribute, kept one by one and added in order. */
typedef struct shares {
  double *latent_sum, *latent_sparsity, *latent_positive; /* [n_latents] */
  double *tile_error, *tile_square;          /* [n_tiles], [2 n_tiles] */
} shares;

static xcoder_status reserve_results(xci_coder *coder, shares *r, xcoder_error *err) {
  size_t n_latents = coder->shape.n_latents, n_tiles = coder->n_tiles;
  xcoder_status status = xci_reserve(&coder->results, 3 * n_latents + 3 * n_tiles, sizeof(double), err);
  double *p = coder->results.memory;
  if (!status)
    *r = (shares){p, p + n_latents, p + 2 * n_latents, p + 3 * n_latents, p + 3 * n_latents + n_tiles};
  return status;
}

/* Sum and number of positive values of the codes of every latent. */
static void sum_codes(const xci_coder *coder, shares *r) {
  xci_lists lists = xci_coder_by_latent(coder);
#pragma omp parallel for schedule(static) num_threads(xci_threads())
  for (size_t i = 0; i < coder->shape.n_latents; i++) {
    double sum = 0;
    size_t positive = 0;
    for (size_t p = lists.start[i]; p < lists.start[i + 1]; p++) {
      sum += (double)lists.value[p];
      positive += lists.value[p] > 0;
    }
    r->latent_sum[i] = sum;
    r->latent_positive[i] = (double)positive;
  }
  xci_coder_dense_sums(coder, r->latent_sum, r->latent_positive);
}

/* What the L1 term adds to the gradients of features and of decoder rows. */
static void weigh_latents(xci_coder *coder, double l1, shares *r) {
  size_t n_latents = coder->shape.n_latents, n_checkpoints = coder->shape.n_checkpoints;
  double share = l1 / (double)coder->n_samples;
#pragma omp parallel for schedule(static) num_threads(xci_threads())
  for (size_t i = 0; i < n_latents; i++) {
    double total = 0;
    for (size_t c = 0; c < n_checkpoints; c++) {
      double norm = coder->norm[i * n_checkpoints + c];
      coder->decay[c * n_latents + i] = norm > 0 ? (float)(share * r->latent_sum[i] / norm) : 0; /* at norm 0: 0 */
      total += norm;
    }
    coder->push[i] = (float)(share * total);
    r->latent_sparsity[i] = r->latent_sum[i] * total;
  }
}

/* Tiles are handed out in groups, each with its own partial df, added in order afterwards. More groups occupy more
 * threads; fewer need less memory. By counts alone. */
static size_t count_groups(const xci_coder *coder) {
  const size_t *start = coder->latent_start.memory;
  size_t n_groups = xci_min_size(coder->n_tiles, 16), n_codes = start[coder->shape.n_latents];
  while (n_groups > 4 && n_codes > ((size_t)64 << 20) / n_groups) n_groups /= 2;
  return n_groups;
}

static void decode_tile(xci_coder *coder, const xci_decoder_pass *base, size_t t, float *r, float *df, float *scratch,
                        shares *into) {
  size_t width = coder->width, n_latents = coder->shape.n_latents;
  xci_lists codes = xci_coder_by_sample(coder);
  if (coder->n_dense)
    codes = (xci_lists){coder->rest_start.memory, coder->rest_index.memory, coder->rest_value.memory};
  const float *weight = xci_coder_tile(coder, coder->tensor[XCI_W_DEC][XCI_VALUE], t, n_latents);
  float *bias_gradient = coder->tensor[XCI_B_DEC][XCI_GRADIENT] + t * width;
  coder->kernels->decode(width, coder->n_samples, &codes, weight, coder->tensor[XCI_B_DEC][XCI_VALUE] + t * width,
                         xci_coder_tile(coder, coder->x.memory, t, coder->n_rows), r);
  memset(r + coder->n_samples * width, 0, (coder->n_rows - coder->n_samples) * width * sizeof *r);
  if (coder->n_dense) xci_coder_dense_decode(coder, t, r, scratch);
  into->tile_error[t] = coder->kernels->squares(width, coder->n_samples, r, bias_gradient);
  for (size_t k = 0; k < width; k++) bias_gradient[k] *= base->scale;
  xci_decoder_pass pass = *base;
  pass.weight = weight;
  pass.residual = r;
  pass.decay = coder->decay + t / coder->tiles_per_checkpoint * n_latents;
  pass.df = df;
  pass.gradient = xci_coder_tile(coder, coder->tensor[XCI_W_DEC][XCI_GRADIENT], t, n_latents);
  double square = coder->kernels->decoder_pass(width, &pass);
  if (coder->n_dense)
    square += xci_coder_dense_gradient(coder, coder->dense_f.memory, r, base->scale, pass.decay, weight, pass.gradient,
                                       scratch);
  into->tile_square[t] = square;
}

static xcoder_status decode_groups(xci_coder *coder, size_t n_groups, size_t n_codes, float scale, shares *into,
                                   xcoder_error *err) {
  size_t tile_values = coder->n_rows * coder->width;
  xcoder_status status = xci_reserve(&coder->df_parts, n_groups * n_codes, sizeof(float), err);
  if (!status)
    status = xci_reserve_threads(&coder->scratch, &coder->n_scratch, tile_values + xci_coder_dense_scratch(coder),
                                 sizeof(float), err);
  if (status) return status;
  const xci_decoder_pass base = {.by_latent = xci_coder_by_latent(coder), .n_latents = coder->shape.n_latents,
                                 .scale = scale};
#pragma omp parallel for schedule(dynamic, 1) num_threads(xci_threads())
  for (size_t group = 0; group < n_groups; group++) {
    float *scratch = coder->scratch[xci_thread_index()].memory;
    float *df = (float *)coder->df_parts.memory + group * n_codes;
    memset(df, 0, n_codes * sizeof *df);
    for (size_t t = group * coder->n_tiles / n_groups; t < (group + 1) * coder->n_tiles / n_groups; t++) {
      float *r = coder->n_dense ? xci_coder_tile(coder, coder->residual.memory, t, coder->n_rows) : scratch;
      decode_tile(coder, &base, t, r, df, scratch + tile_values, into);
    }
  }
  return XCODER_OK;
}

/* df of every code, and the gradient of b_enc. */
static void add_parts(xci_coder *coder, size_t n_groups, size_t n_codes, float scale) {
  const size_t *start = coder->latent_start.memory;
  const float *parts = coder->df_parts.memory;
  float *df = coder->latent_df.memory;
#pragma omp parallel for schedule(dynamic, 64) num_threads(xci_threads())
  for (size_t i = 0; i < coder->shape.n_latents; i++) {
    double sum = 0;
    for (size_t p = start[i]; p < start[i + 1]; p++) {
      float total = 0;
      for (size_t group = 0; group < n_groups; group++) total += parts[group * n_codes + p];
      df[p] = scale * total + coder->push[i];
      sum += (double)df[p];
    }
    coder->tensor[XCI_B_ENC][XCI_GRADIENT][i] = (float)sum;
  }
}

static void encoder_gradient(xci_coder *coder, shares *into) {
  xci_lists lists = {coder->latent_start.memory, coder->latent_sample.memory, coder->latent_df.memory};
#pragma omp parallel for schedule(dynamic, 1) num_threads(xci_threads())
  for (size_t t = 0; t < coder->n_tiles; t++) {
    const float *x = xci_coder_tile(coder, coder->x.memory, t, coder->n_rows);
    float *gradient = xci_coder_tile(coder, coder->tensor[XCI_W_ENC][XCI_GRADIENT], t, coder->shape.n_latents);
    double square = coder->kernels->encoder_pass(coder->width, coder->shape.n_latents, &lists, x, gradient);
    if (coder->n_dense)
      square += xci_coder_dense_gradient(coder, coder->dense_df.memory, x, 1, NULL, NULL, gradient,
                                         coder->scratch[xci_thread_index()].memory);
    into->tile_square[coder->n_tiles + t] = square;
  }
}

static void fill_fired(const xci_coder *coder, const shares *r, uint32_t *fired) {
  memset(fired, 0, xci_ceil_div(coder->shape.n_latents, 32) * sizeof *fired);
  for (size_t i = 0; i < coder->shape.n_latents; i++)
    if (r->latent_positive[i] > 0) fired[i / 32] |= (uint32_t)1 << i % 32;
}

static void fill_losses(xci_coder *coder, const xci_objective *objective, const shares *r, xci_losses *losses) {
  size_t n_latents = coder->shape.n_latents, per = coder->tiles_per_checkpoint;
  double n_samples = (double)coder->n_samples;
  *losses = (xci_losses){0};
  for (size_t c = 0; c < coder->shape.n_checkpoints; c++) {
    losses->squared_error[c] = xci_sum_f64(r->tile_error + c * per, per) / n_samples;
    losses->reconstruction += losses->squared_error[c];
  }
  losses->sparsity = xci_sum_f64(r->latent_sparsity, n_latents) / n_samples;
  losses->l0 = xci_sum_f64(r->latent_positive, n_latents) / n_samples;
  if (coder->is_ranked) losses->least_score = xci_coder_least_score(coder);
  if (objective->fired) fill_fired(coder, r, objective->fired);
  losses->loss = losses->reconstruction + objective->l1_coefficient * losses->sparsity +
                 objective->l0_coefficient * losses->l0;
  double jump = 0;
  if (objective->threshold_gradient) jump = xci_sum_squares_f32(objective->threshold_gradient, n_latents);
  losses->gradient_norm = sqrt(jump + xci_sum_f64(r->tile_square, 2 * coder->n_tiles) +
                               xci_sum_squares_f32(coder->tensor[XCI_B_ENC][XCI_GRADIENT], n_latents) +
                               xci_sum_squares_f32(coder->tensor[XCI_B_DEC][XCI_GRADIENT],
                                                   coder->n_tiles * coder->width));
}

xcoder_status xci_cpu_coder_backward(xcoder_device *device, xci_coder *coder, const xci_objective *objective,
                                     xci_losses *losses, xcoder_error *err) {
  (void)device;
  shares parts = {0};
  if (!coder->shape.training)
    return xci_fail(err, XCODER_USAGE, "crosscoder: it was not opened for training");
  if (!coder->has_codes || !coder->has_x || coder->n_samples == 0)
    return xci_fail(err, XCODER_USAGE, "crosscoder: there is no batch to take gradients of");
  if (objective->threshold_gradient && !coder->has_near)
    return xci_fail(err, XCODER_USAGE, "crosscoder: gradients of thresholds need a batch of the gate that trains them");
  coder->has_gradient = false;
  xci_coder_fill_norms(coder);
  xcoder_status status = xci_coder_fill_lists(coder, err);
  if (!status) status = reserve_results(coder, &parts, err);
  if (status) return status;
  size_t n_groups = count_groups(coder), n_codes = ((const size_t *)coder->latent_start.memory)[coder->shape.n_latents];
  float scale = (float)(2.0 / (double)coder->n_samples);
  sum_codes(coder, &parts);
  weigh_latents(coder, objective->l1_coefficient, &parts);
  status = decode_groups(coder, n_groups, n_codes, scale, &parts, err);
  if (status) return status;
  add_parts(coder, n_groups, n_codes, scale);
  if (coder->has_near) xci_coder_jump(coder, objective);
  status = xci_coder_dense_df(coder, scale, err);
  if (status) return status;
  encoder_gradient(coder, &parts);
  double auxiliary = 0;
  if (objective->n_dead > 0) status = xci_coder_auxiliary(coder, objective, parts.tile_square, &auxiliary, err);
  if (status) return status;
  fill_losses(coder, objective, &parts, losses);
  losses->auxiliary = auxiliary;
  losses->loss += objective->auxiliary_coefficient * auxiliary;
  coder->gradient_norm = losses->gradient_norm;
  coder->has_gradient = true;
  return XCODER_OK;
}
