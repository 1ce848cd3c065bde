/* SPDX-License-Identifier: Apache-2.0 */
/* Splicing in the reconstruction, blanking, and the loss that results. */
#include "analysis/quality/splice.h"

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
