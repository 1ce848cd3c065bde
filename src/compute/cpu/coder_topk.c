/* SPDX-License-Identifier: Apache-2.0 */
/* Gates that keep the largest scores, of each sample or of the batch. */
#include "base/parallel.h"
#include "base/size.h"
#include "compute/cpu/coder.h"
#include <math.h>
#include <string.h>

/* Orders nonnegative floats as integers; NaN comes first, so that it is kept and seen. */
static uint32_t score_key(float score) {
  uint32_t key;
  memcpy(&key, &score, sizeof key);
  return key & 0x7fffffffu;
}

/* The k-th largest of n keys (1 <= k <= n) by four passes over bytes; *above = how many are larger. */
static uint32_t find_kth(const uint32_t *keys, size_t n, size_t k, size_t *above) {
  uint32_t prefix = 0, mask = 0;
  *above = 0;
  for (int shift = 24; shift >= 0; shift -= 8) {
    size_t histogram[256] = {0};
    for (size_t i = 0; i < n; i++)
      if ((keys[i] & mask) == prefix) histogram[keys[i] >> shift & 255]++;
    uint32_t digit = 255;
    while (*above + histogram[digit] < k) *above += histogram[digit--];
    prefix |= digit << shift;
    mask |= 255u << shift;
  }
  return prefix;
}

/* Keeps the k largest of the codes [first, last), moving them down to *to; ties go to the earlier ones. When the
 * range holds several samples, end[] (their ends, n of them) follows. */
static void keep_largest(xci_code_lists *codes, const uint32_t *keys, size_t first_sample, size_t n, size_t first,
                         size_t k, size_t *to) {
  size_t *end = (size_t *)codes->start.memory + first_sample + 1, above = 0, ties = SIZE_MAX;
  uint32_t *index = codes->index.memory, least = 0;
  float *value = codes->value.memory;
  size_t count = end[n - 1] - first;
  if (k < count && k > 0) {
    least = find_kth(keys + first, count, k, &above);
    ties = k - above;
  }
  for (size_t b = 0; b < n; b++) {
    size_t last = end[b];
    for (size_t p = first; p < last && k > 0; p++) {
      if (keys[p] < least || (keys[p] == least && ties == 0)) continue;
      if (keys[p] == least) ties--;
      index[*to] = index[p];
      value[(*to)++] = value[p];
    }
    first = last;
    end[b] = *to;
  }
}

static void keep_of_samples(xci_code_lists *codes, const uint32_t *keys, size_t n_samples, size_t k) {
  size_t to = 0, first = 0, *start = codes->start.memory;
  for (size_t b = 0; b < n_samples; b++) {
    size_t last = start[b + 1];
    keep_largest(codes, keys, b, 1, first, k, &to);
    first = last;
  }
}

xcoder_status xci_coder_select(xci_coder *coder, const xci_gate *gate, xcoder_error *err) {
  xci_lists codes = xci_coder_by_sample(coder);
  size_t n = codes.start[coder->n_samples], n_checkpoints = coder->shape.n_checkpoints, k;
  xcoder_status status = xci_reserve(&coder->fill_counts, n, sizeof(uint32_t), err);
  if (status) return status;
  uint32_t *keys = coder->fill_counts.memory;
  if (gate->score == NULL) xci_coder_fill_norms(coder);
#pragma omp parallel for schedule(static) num_threads(xci_threads())
  for (size_t p = 0; p < n; p++) {
    double norm = gate->score != NULL ? (double)gate->score[codes.index[p]] : 0;
    for (size_t c = 0; c < n_checkpoints && gate->score == NULL; c++)
      norm += coder->norm[codes.index[p] * n_checkpoints + c];
    keys[p] = score_key((float)(codes.value[p] * norm));
  }
  size_t to = 0;
  if (gate->kind == XCI_GATE_TOPK) {
    keep_of_samples(&coder->codes, keys, coder->n_samples, gate->k);
  } else if (coder->n_samples > 0) {
    if (!xci_mul_size(gate->k, coder->n_samples, &k)) k = SIZE_MAX;
    keep_largest(&coder->codes, keys, 0, coder->n_samples, 0, k, &to);
  }
  return XCODER_OK;
}

double xci_coder_least_score(const xci_coder *coder) {
  xci_lists codes = xci_coder_by_sample(coder);
  size_t n_checkpoints = coder->shape.n_checkpoints;
  double least = HUGE_VAL;
#pragma omp parallel for schedule(static) num_threads(xci_threads()) reduction(min : least)
  for (size_t p = 0; p < codes.start[coder->n_samples]; p++) {
    double norm = 0; /* of norms as coder_norms gives them */
    for (size_t c = 0; c < n_checkpoints; c++) norm += (double)(float)coder->norm[codes.index[p] * n_checkpoints + c];
    double score = (double)codes.value[p] * norm;
    if (score > 0 && score < least) least = score;
  }
  return isfinite(least) ? least : 0;
}

xcoder_status xci_coder_keep_largest(xci_coder *coder, xci_code_lists *codes, size_t n_samples, size_t k,
                                     xcoder_error *err) {
  size_t n = ((const size_t *)codes->start.memory)[n_samples];
  const float *value = codes->value.memory;
  xcoder_status status = xci_reserve(&coder->fill_counts, n, sizeof(uint32_t), err);
  if (status) return status;
  uint32_t *keys = coder->fill_counts.memory;
  for (size_t p = 0; p < n; p++) keys[p] = score_key(value[p]);
  keep_of_samples(codes, keys, n_samples, k);
  return XCODER_OK;
}
