/* SPDX-License-Identifier: Apache-2.0 */
/* The auxiliary term: dead latents reconstruct what the others leave over. Only they are encoded again, and the passes
 * of the backward step run over them alone, as latents 0 .. n_dead - 1 of compact tiles whose rows are then added to
 * the gradient. */
#include "base/parallel.h"
#include "base/size.h"
#include "compute/cpu/coder.h"
#include <string.h>

/* Names of coder->auxiliary. */
enum { START, INDEX, VALUE, BY_START, BY_SAMPLE, BY_VALUE, BY_DF, RESIDUAL, ZEROS, SUMS, PARTS };

typedef struct pass {
  xci_coder *coder;
  const xci_objective *objective;
  xci_lists by_sample, by_latent;
  size_t n_codes, n_groups;
  double *variance, *error, *delta; /* [n_tiles] twice, [2 n_tiles]: change of the gradient's sum of squares */
  float scale;
} pass;

static float *space_floats(const pass *p, int which) { return p->coder->auxiliary[which].memory; }

static xcoder_status encode_dead(pass *p, xcoder_error *err) {
  xci_coder *coder = p->coder;
  const xci_objective *o = p->objective;
  xci_space *s = coder->auxiliary;
  size_t padded = xci_ceil_div(o->n_dead, XCI_PANEL) * XCI_PANEL;
  const xci_panels panels = {coder->x.memory, coder->tensor[XCI_W_ENC][XCI_VALUE], o->dead, o->n_dead,
                             xci_coder_block(coder->n_rows)};
  xcoder_status status = xci_reserve(&coder->floor, 2 * padded, sizeof(float), err);
  if (status) return status;
  float *bias = coder->floor.memory;
  memset(bias, 0, 2 * padded * sizeof *bias);
  for (size_t j = 0; j < o->n_dead; j++) bias[j] = coder->tensor[XCI_B_ENC][XCI_VALUE][o->dead[j]];
  xci_code_lists codes = {s[START], s[INDEX], s[VALUE]};
  status = xci_coder_encode_panels(coder, &panels, &codes, err);
  if (!status && o->n_auxiliary < o->n_dead)
    status = xci_coder_keep_largest(coder, &codes, coder->n_samples, o->n_auxiliary, err);
  s[START] = codes.start, s[INDEX] = codes.index, s[VALUE] = codes.value; /* they may have moved */
  p->by_sample = (xci_lists){codes.start.memory, codes.index.memory, codes.value.memory};
  if (!status) p->n_codes = p->by_sample.start[coder->n_samples];
  return status;
}

/* The codes by latent, samples ascending. */
static xcoder_status transpose(pass *p, xcoder_error *err) {
  xci_space *s = p->coder->auxiliary;
  size_t n = p->objective->n_dead;
  xcoder_status status = xci_reserve(&s[BY_START], n + 2, sizeof(size_t), err);
  if (!status) status = xci_reserve(&s[BY_SAMPLE], p->n_codes, sizeof(uint32_t), err);
  if (!status) status = xci_reserve(&s[BY_VALUE], p->n_codes, sizeof(float), err);
  if (!status) status = xci_reserve(&s[BY_DF], p->n_codes, sizeof(float), err);
  if (status) return status;
  size_t *start = s[BY_START].memory, *next = start + 1; /* next[i + 1] starts as start of i, ends as its end */
  uint32_t *sample = s[BY_SAMPLE].memory;
  float *value = s[BY_VALUE].memory;
  memset(start, 0, (n + 2) * sizeof *start);
  for (size_t q = 0; q < p->n_codes; q++) next[p->by_sample.index[q] + 1]++;
  for (size_t i = 1; i <= n; i++) next[i] += next[i - 1];
  for (size_t b = 0; b < p->coder->n_samples; b++)
    for (size_t q = p->by_sample.start[b]; q < p->by_sample.start[b + 1]; q++) {
      size_t to = next[p->by_sample.index[q]]++;
      sample[to] = (uint32_t)b;
      value[to] = p->by_sample.value[q];
    }
  p->by_latent = (xci_lists){start, sample, value};
  return XCODER_OK;
}

/* e = x - xhat of every tile, and its part of mean_b ||e - mean_b e||^2. */
static void find_residual(pass *p) {
  xci_coder *coder = p->coder;
  size_t width = coder->width, n = coder->n_samples, n_rows = coder->n_rows;
  xci_lists codes = xci_coder_by_sample(coder);
#pragma omp parallel for schedule(dynamic, 1) num_threads(xci_threads())
  for (size_t t = 0; t < coder->n_tiles; t++) {
    float *e = xci_coder_tile(coder, space_floats(p, RESIDUAL), t, n_rows);
    double mean[64] = {0}, square = 0;
    coder->kernels->decode(width, n, &codes,
                           xci_coder_tile(coder, coder->tensor[XCI_W_DEC][XCI_VALUE], t, coder->shape.n_latents),
                           coder->tensor[XCI_B_DEC][XCI_VALUE] + t * width,
                           xci_coder_tile(coder, coder->x.memory, t, n_rows), e);
    for (size_t k = 0; k < n * width; k++) e[k] = -e[k];
    for (size_t b = 0; b < n; b++)
      for (size_t k = 0; k < width; k++) mean[k] += (double)e[b * width + k] / (double)n;
    for (size_t b = 0; b < n; b++)
      for (size_t k = 0; k < width; k++) {
        double d = (double)e[b * width + k] - mean[k];
        square += d * d;
      }
    p->variance[t] = square / (double)n;
  }
}

/* gradient[dead[j]] += rows[j]; returns how much the sum of squares grew. */
static double add_rows(const pass *p, size_t width, const float *rows, float *gradient) {
  const xci_objective *o = p->objective;
  double delta = 0;
  for (size_t j = 0; j < o->n_dead; j++) {
    if (p->by_latent.start[j] == p->by_latent.start[j + 1]) continue;
    float *to = gradient + o->dead[j] * width;
    bool active = p->coder->active[o->dead[j]];
    for (size_t k = 0; k < width; k++) {
      double old = active ? (double)to[k] : 0;
      to[k] = (float)(old + (double)rows[j * width + k]);
      delta += (double)to[k] * (double)to[k] - old * old;
    }
  }
  return delta;
}

/* One tile of the decoder: the error of the reconstruction, the gradient rows, the tile's share of df. */
static void decode_tile(const pass *p, size_t t, float *df, float *scratch) {
  xci_coder *coder = p->coder;
  const xci_objective *o = p->objective;
  size_t width = coder->width;
  float *r = scratch, *weight = r + coder->n_rows * width, *gradient = weight + o->n_dead * width;
  const float *full = xci_coder_tile(coder, coder->tensor[XCI_W_DEC][XCI_VALUE], t, coder->shape.n_latents);
  const float *zeros = space_floats(p, ZEROS);
  float columns[64] __attribute__((aligned(64)));
  for (size_t j = 0; j < o->n_dead; j++) memcpy(weight + j * width, full + o->dead[j] * width, width * sizeof *weight);
  coder->kernels->decode(width, coder->n_samples, &p->by_sample, weight, zeros,
                         xci_coder_tile(coder, space_floats(p, RESIDUAL), t, coder->n_rows), r);
  p->error[t] = coder->kernels->squares(width, coder->n_samples, r, columns);
  const xci_decoder_pass rows = {.by_latent = p->by_latent, .n_latents = o->n_dead, .weight = weight, .residual = r,
                                 .scale = p->scale, .decay = zeros, .df = df, .gradient = gradient};
  coder->kernels->decoder_pass(width, &rows);
  float *to = xci_coder_tile(coder, coder->tensor[XCI_W_DEC][XCI_GRADIENT], t, coder->shape.n_latents);
  p->delta[coder->n_tiles + t] = add_rows(p, width, gradient, to);
}

static void decode_groups(const pass *p) {
  xci_coder *coder = p->coder;
#pragma omp parallel for schedule(dynamic, 1) num_threads(xci_threads())
  for (size_t group = 0; group < p->n_groups; group++) {
    float *df = space_floats(p, PARTS) + group * p->n_codes;
    memset(df, 0, p->n_codes * sizeof *df);
    for (size_t t = group * coder->n_tiles / p->n_groups; t < (group + 1) * coder->n_tiles / p->n_groups; t++)
      decode_tile(p, t, df, coder->scratch[xci_thread_index()].memory);
  }
}

static void add_parts(const pass *p) {
  const float *parts = space_floats(p, PARTS);
  float *df = space_floats(p, BY_DF), *bias = p->coder->tensor[XCI_B_ENC][XCI_GRADIENT];
#pragma omp parallel for schedule(static) num_threads(xci_threads())
  for (size_t j = 0; j < p->objective->n_dead; j++) {
    double sum = 0;
    for (size_t q = p->by_latent.start[j]; q < p->by_latent.start[j + 1]; q++) {
      float total = 0;
      for (size_t group = 0; group < p->n_groups; group++) total += parts[group * p->n_codes + q];
      df[q] = p->scale * total;
      sum += (double)df[q];
    }
    float *to = &bias[p->objective->dead[j]];
    *to = (float)((double)*to + sum);
  }
}

static void encoder_gradient(const pass *p) {
  xci_coder *coder = p->coder;
  const xci_lists lists = {p->by_latent.start, p->by_latent.index, space_floats(p, BY_DF)};
#pragma omp parallel for schedule(dynamic, 1) num_threads(xci_threads())
  for (size_t t = 0; t < coder->n_tiles; t++) {
    float *rows = coder->scratch[xci_thread_index()].memory;
    coder->kernels->encoder_pass(coder->width, p->objective->n_dead, &lists,
                                 xci_coder_tile(coder, coder->x.memory, t, coder->n_rows), rows);
    p->delta[t] = add_rows(p, coder->width, rows, xci_coder_tile(coder, coder->tensor[XCI_W_ENC][XCI_GRADIENT], t,
                                                                 coder->shape.n_latents));
  }
}

static xcoder_status reserve_pass(pass *p, xcoder_error *err) {
  xci_coder *coder = p->coder;
  xci_space *s = coder->auxiliary;
  size_t n_tiles = coder->n_tiles, n_dead = p->objective->n_dead, width = coder->width;
  size_t tile = coder->n_rows * width + 2 * n_dead * width;
  p->n_groups = xci_min_size(n_tiles, 16);
  while (p->n_groups > 4 && p->n_codes > ((size_t)64 << 20) / p->n_groups) p->n_groups /= 2;
  xcoder_status status = xci_reserve(&s[RESIDUAL], n_tiles * width * coder->n_rows, sizeof(float), err);
  if (!status) status = xci_reserve(&s[ZEROS], xci_max_size(n_dead, width), sizeof(float), err);
  if (!status) status = xci_reserve(&s[SUMS], 4 * n_tiles, sizeof(double), err);
  if (!status) status = xci_reserve(&s[PARTS], p->n_groups * p->n_codes, sizeof(float), err);
  if (!status) status = xci_reserve_threads(&coder->scratch, &coder->n_scratch, tile, sizeof(float), err);
  if (status) return status;
  memset(s[ZEROS].memory, 0, xci_max_size(n_dead, width) * sizeof(float));
  p->variance = s[SUMS].memory;
  p->error = p->variance + n_tiles;
  p->delta = p->error + n_tiles;
  return XCODER_OK;
}

xcoder_status xci_coder_auxiliary(xci_coder *coder, const xci_objective *objective, double *square, double *loss,
                                  xcoder_error *err) {
  pass p = {.coder = coder, .objective = objective};
  size_t n_tiles = coder->n_tiles;
  *loss = 0;
  xcoder_status status = encode_dead(&p, err);
  if (!status) status = transpose(&p, err);
  if (!status) status = reserve_pass(&p, err);
  if (status) return status;
  find_residual(&p);
  double variance = xci_sum_f64(p.variance, n_tiles), n = (double)coder->n_samples;
  if (!(variance > 0)) return XCODER_OK;
  p.scale = (float)(2 * objective->auxiliary_coefficient / (n * variance));
  decode_groups(&p);
  add_parts(&p);
  encoder_gradient(&p);
  for (size_t t = 0; t < 2 * n_tiles; t++) square[t] += p.delta[t];
  for (size_t j = 0; j < objective->n_dead; j++)
    if (p.by_latent.start[j] != p.by_latent.start[j + 1]) coder->active[objective->dead[j]] = 1;
  *loss = xci_sum_f64(p.error, n_tiles) / (n * variance);
  return XCODER_OK;
}
