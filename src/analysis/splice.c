/* SPDX-License-Identifier: Apache-2.0 */
/* Splicing in the reconstruction, blanking, taking single features out, and the loss that results. */
#include "analysis/splice.h"

#include <string.h>

void xci_splice(const xci_bench *bench, const xci_stretch *s, size_t checkpoint, float *hidden) {
  const size_t d = bench->d_model;
  xci_stretch_take(bench, s, checkpoint, hidden);
  for (size_t k = 0; k < s->n_unmasked; k++)
    memcpy(hidden + s->row[k] * d, s->decoded + (k * bench->n + checkpoint) * d, d * sizeof *hidden);
}

void xci_blank(const xci_bench *bench, const xci_stretch *s, size_t checkpoint, float *hidden) {
  const size_t d = bench->d_model;
  xci_stretch_take(bench, s, checkpoint, hidden);
  for (size_t k = 0; k < s->n_unmasked; k++)
    for (size_t j = 0; j < d; j++) hidden[s->row[k] * d + j] = 0;
}

float xci_code_value(const xcoder_codes *codes, size_t k, uint32_t feature) {
  size_t low = codes->start[k], high = codes->start[k + 1];
  while (low < high) {
    const size_t middle = low + (high - low) / 2;
    if (codes->index[middle] < feature) low = middle + 1;
    else high = middle;
  }
  return low < codes->start[k + 1] && codes->index[low] == feature ? codes->value[low] : 0;
}

bool xci_take_out(const xci_bench *bench, const xci_stretch *s, size_t checkpoint, size_t sequence, uint32_t feature,
                  float *hidden) {
  const size_t d = bench->d_model, first = s->start[sequence], end = s->start[sequence + 1];
  const float *w = xci_bench_decoder(bench, feature, checkpoint);
  bool active = false;
  for (size_t k = 0; k < s->n_unmasked && s->row[k] < end; k++) {
    if (s->row[k] < first) continue;
    const float f = xci_code_value(&s->codes, k, feature);
    if (f == 0) continue;
    float *x = hidden + (s->row[k] - first) * d;
    for (size_t j = 0; j < d; j++) x[j] -= f * bench->unit[checkpoint] * w[j];
    active = true;
  }
  return active;
}

xcoder_status xci_cross_entropy(const xci_bench *bench, const xci_stretch *s, size_t checkpoint, const float *hidden,
                                float *work, double *sum, size_t *n, xcoder_error *err) {
  xcoder_model *model = bench->setting->models[checkpoint];
  const xcoder_status status =
      hidden ? xcoder_model_log_probs_from(model, bench->info->layer, hidden, s->ids, s->start, s->n_sequences, work,
                                           err)
             : xcoder_model_log_probs(model, s->ids, s->start, s->n_sequences, work, err);
  if (status) return status;
  *sum = 0;
  *n = 0;
  for (size_t q = 0; q < s->n_sequences; q++)
    for (size_t r = s->start[q] + 1; r < s->start[q + 1]; r++) {
      *sum -= (double)work[r];
      ++*n;
    }
  return XCODER_OK;
}
