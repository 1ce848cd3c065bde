/* SPDX-License-Identifier: Apache-2.0 */
/* The codes by latent: lists for latents that fire rarely, dense panels for those that fire often. */
#include "base/parallel.h"
#include "base/size.h"
#include "compute/cpu/coder.h"
#include <string.h>

enum {
  LIST_CHUNK = 256, /* samples that one task of the counting sort takes */
  /* A latent is dense when it fires on more than DENSE_NUMERATOR / 8 of the samples. Measured with bench/train_step
   * (n = 3, d = 512, 8192 latents, 2048 samples, AVX-512): lists and products cost the same at one half, lists lose
   * above; they lose earlier where a tile of samples outgrows the cache. Few latents are not worth a panel. */
  DENSE_NUMERATOR = 3,
  LEAST_DENSE = 32
};

static void count_codes(xci_coder *coder, size_t n_chunks) {
  xci_lists codes = xci_coder_by_sample(coder);
  size_t n_latents = coder->shape.n_latents;
  uint32_t *counts = coder->fill_counts.memory;
#pragma omp parallel for schedule(static) num_threads(xci_threads())
  for (size_t chunk = 0; chunk < n_chunks; chunk++) {
    uint32_t *count = counts + chunk * n_latents;
    size_t end = xci_min_size((chunk + 1) * LIST_CHUNK, coder->n_samples);
    memset(count, 0, n_latents * sizeof *count);
    for (size_t p = codes.start[chunk * LIST_CHUNK]; p < codes.start[end]; p++) count[codes.index[p]]++;
  }
}

/* Columns of dense latents, in ascending order; counts the codes that stay sparse. A dense column cannot tell a code of
 * value 0 from none. */
static size_t choose_dense(xci_coder *coder, size_t n_chunks) {
  const uint32_t *counts = coder->fill_counts.memory;
  uint32_t *place = coder->dense_place.memory, *latent = coder->dense_latent.memory;
  size_t n_latents = coder->shape.n_latents, n_dense = 0, n_dense_codes = 0, total = 0;
  for (size_t i = 0; i < n_latents; i++) {
    size_t n = 0;
    for (size_t chunk = 0; chunk < n_chunks; chunk++) n += counts[chunk * n_latents + i];
    total += n;
    coder->active[i] = n > 0;
    place[i] = XCI_SPARSE;
    if (n * 8 <= coder->n_samples * DENSE_NUMERATOR) continue;
    n_dense_codes += n;
    latent[n_dense] = (uint32_t)i;
    place[i] = (uint32_t)n_dense++;
  }
  if (n_dense < LEAST_DENSE || coder->has_near) {
    for (size_t j = 0; j < n_dense; j++) place[latent[j]] = XCI_SPARSE;
    n_dense = n_dense_codes = 0;
  }
  coder->n_dense = n_dense;
  coder->dense_columns = xci_ceil_div(n_dense, XCI_DENSE) * XCI_DENSE;
  return total - n_dense_codes;
}

/* Turns counts into places: start[i] for latents, and within it the first entry of each chunk of samples. */
static void place_chunks(xci_coder *coder, size_t n_chunks) {
  size_t *start = coder->latent_start.memory, n_latents = coder->shape.n_latents, total = 0;
  uint32_t *counts = coder->fill_counts.memory;
  const uint32_t *place = coder->dense_place.memory;
  for (size_t i = 0; i < n_latents; i++) {
    uint32_t n = 0; /* at most n_samples */
    start[i] = total;
    for (size_t chunk = 0; chunk < n_chunks; chunk++) {
      uint32_t here = counts[chunk * n_latents + i];
      counts[chunk * n_latents + i] = n;
      n += here;
    }
    if (place[i] == XCI_SPARSE) total += n;
  }
  start[n_latents] = total;
}

static void fill_entries(xci_coder *coder, size_t n_chunks) {
  xci_lists codes = xci_coder_by_sample(coder);
  const size_t *start = coder->latent_start.memory;
  const uint32_t *place = coder->dense_place.memory;
  uint32_t *sample = coder->latent_sample.memory, *counts = coder->fill_counts.memory;
  float *value = coder->latent_value.memory, *f = coder->dense_f.memory;
  size_t n_latents = coder->shape.n_latents, n_rows = coder->n_rows;
#pragma omp parallel for schedule(static) num_threads(xci_threads())
  for (size_t chunk = 0; chunk < n_chunks; chunk++) {
    uint32_t *next = counts + chunk * n_latents;
    size_t end = xci_min_size((chunk + 1) * LIST_CHUNK, coder->n_samples);
    for (size_t b = chunk * LIST_CHUNK; b < end; b++)
      for (size_t p = codes.start[b]; p < codes.start[b + 1]; p++) {
        uint32_t i = codes.index[p];
        if (place[i] == XCI_SPARSE) {
          size_t q = start[i] + next[i]++;
          sample[q] = (uint32_t)b;
          value[q] = codes.value[p];
        } else {
          f[(place[i] / XCI_DENSE * n_rows + b) * XCI_DENSE + place[i] % XCI_DENSE] = codes.value[p];
        }
      }
  }
}

/* The codes by sample without the dense latents. */
static xcoder_status fill_rest(xci_coder *coder, size_t n_sparse, xcoder_error *err) {
  if (coder->n_dense == 0) return XCODER_OK;
  xcoder_status status = xci_reserve(&coder->rest_start, coder->n_samples + 1, sizeof(size_t), err);
  if (!status) status = xci_reserve(&coder->rest_index, n_sparse, sizeof(uint32_t), err);
  if (!status) status = xci_reserve(&coder->rest_value, n_sparse, sizeof(float), err);
  if (status) return status;
  xci_lists codes = xci_coder_by_sample(coder);
  const uint32_t *place = coder->dense_place.memory;
  size_t *start = coder->rest_start.memory;
  uint32_t *index = coder->rest_index.memory;
  float *value = coder->rest_value.memory;
#pragma omp parallel for schedule(static) num_threads(xci_threads())
  for (size_t b = 0; b < coder->n_samples; b++) {
    size_t n = 0;
    for (size_t p = codes.start[b]; p < codes.start[b + 1]; p++) n += place[codes.index[p]] == XCI_SPARSE;
    start[b + 1] = n;
  }
  start[0] = 0;
  for (size_t b = 0; b < coder->n_samples; b++) start[b + 1] += start[b];
#pragma omp parallel for schedule(static) num_threads(xci_threads())
  for (size_t b = 0; b < coder->n_samples; b++) {
    size_t n = start[b];
    for (size_t p = codes.start[b]; p < codes.start[b + 1]; p++) {
      if (place[codes.index[p]] != XCI_SPARSE) continue;
      index[n] = codes.index[p];
      value[n++] = codes.value[p];
    }
  }
  return XCODER_OK;
}

static xcoder_status reserve_entries(xci_coder *coder, size_t n_sparse, xcoder_error *err) {
  size_t n_values;
  xcoder_status status = xci_reserve(&coder->latent_sample, n_sparse, sizeof(uint32_t), err);
  if (!status) status = xci_reserve(&coder->latent_value, n_sparse, sizeof(float), err);
  if (!status) status = xci_reserve(&coder->latent_df, n_sparse, sizeof(float), err);
  if (status || coder->n_dense == 0) return status;
  if (!xci_mul_size(coder->n_rows, coder->dense_columns, &n_values)) n_values = SIZE_MAX;
  status = xci_reserve(&coder->dense_f, n_values, sizeof(float), err);
  if (!status) status = xci_reserve(&coder->dense_df, n_values, sizeof(float), err);
  if (!status)
    status = xci_reserve(&coder->residual, coder->n_tiles * coder->width * coder->n_rows, sizeof(float), err);
  if (!status) memset(coder->dense_f.memory, 0, n_values * sizeof(float));
  return status;
}

xcoder_status xci_coder_fill_lists(xci_coder *coder, xcoder_error *err) {
  if (coder->has_lists) return XCODER_OK;
  size_t n_latents = coder->shape.n_latents, n_chunks = xci_ceil_div(coder->n_samples, LIST_CHUNK), n_sparse = 0;
  xcoder_status status = xci_reserve(&coder->latent_start, n_latents + 1, sizeof(size_t), err);
  if (!status) status = xci_reserve(&coder->dense_latent, n_latents, sizeof(uint32_t), err);
  if (!status) status = xci_reserve(&coder->dense_place, n_latents, sizeof(uint32_t), err);
  if (!status) status = xci_reserve(&coder->fill_counts, n_chunks * n_latents, sizeof(uint32_t), err);
  if (status) return status;
  count_codes(coder, n_chunks);
  n_sparse = choose_dense(coder, n_chunks);
  status = reserve_entries(coder, n_sparse, err);
  if (!status) status = fill_rest(coder, n_sparse, err);
  if (status) return status;
  place_chunks(coder, n_chunks);
  fill_entries(coder, n_chunks);
  coder->has_lists = true;
  return XCODER_OK;
}
