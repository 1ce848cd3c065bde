/* SPDX-License-Identifier: Apache-2.0 */
/* The residual stream of one prompt with a set of features replaced. */
#include "analysis/ablation/ablation.h"

#include "base/memory.h"

/* sum[j] += value_i W_dec[i,c] over the features `member` tells of (NULL: all). */
static void add_means(const xci_ablation *a, size_t checkpoint, const uint8_t *member, double *sum) {
  const xci_bench *bench = a->bench;
  for (size_t i = 0; i < bench->n_latents; i++) {
    if ((member && !member[i]) || a->mean_code[i] == 0) continue;
    const float *w = xci_bench_decoder(bench, i, checkpoint);
    const double value = a->mean_code[i] * (double)bench->unit[checkpoint];
    for (size_t j = 0; j < bench->d_model; j++) sum[j] += value * (double)w[j];
  }
}

xcoder_status xci_edit_open(const xci_ablation *a, const xci_ablated_set *set, size_t checkpoint, xci_edit *edit,
                            xcoder_error *err) {
  *edit = (xci_edit){.a = a, .set = set, .checkpoint = checkpoint};
  xcoder_status status = XCI_ALLOC(&edit->member, a->bench->n_latents, err);
  for (size_t f = 0; !status && f < set->n_features; f++) edit->member[set->features[f]] = 1;
  if (!status && a->options.value == XCODER_ABLATE_MEAN) {
    status = XCI_ALLOC(&edit->mean, a->bench->d_model, err);
    if (!status) add_means(a, checkpoint, edit->member, edit->mean);
    if (!status && set->keep) status = XCI_ALLOC(&edit->mean_all, a->bench->d_model, err);
    if (!status && set->keep) add_means(a, checkpoint, NULL, edit->mean_all);
  }
  if (status) xci_edit_close(edit);
  return status;
}

void xci_edit_close(xci_edit *edit) {
  xci_free(edit->member);
  xci_free(edit->mean);
  xci_free(edit->mean_all);
  *edit = (xci_edit){0};
}

/* The unmasked positions of a sequence: codes first .. end-1. */
static void find_codes(const xci_stretch *s, size_t sequence, size_t *first, size_t *end) {
  size_t k = 0;
  while (k < s->n_unmasked && s->row[k] < s->start[sequence]) k++;
  *first = k;
  while (k < s->n_unmasked && s->row[k] < s->start[sequence + 1]) k++;
  *end = k;
}

/* x += sign * f_i W_dec[i,c] over the members that are active in sample k. */
static bool add_codes(const xci_edit *edit, const xci_stretch *s, size_t k, float sign, float *x) {
  const xci_bench *bench = edit->a->bench;
  bool changed = false;
  for (size_t j = s->codes.start[k]; j < s->codes.start[k + 1]; j++) {
    if (!edit->member[s->codes.index[j]]) continue;
    const float *w = xci_bench_decoder(bench, s->codes.index[j], edit->checkpoint);
    const float value = sign * s->codes.value[j];
    for (size_t m = 0; m < bench->d_model; m++) x[m] += value * bench->unit[edit->checkpoint] * w[m];
    changed = true;
  }
  return changed;
}

/* x += xhat' - xhat: every feature replaced. */
static void replace_all(const xci_edit *edit, const xci_stretch *s, size_t k, size_t other, float *x) {
  const xci_bench *bench = edit->a->bench;
  const size_t d = bench->d_model, c = edit->checkpoint;
  const float *decoded = s->decoded + (k * bench->n + c) * d, *bias = bench->b_dec + c * d;
  for (size_t m = 0; m < d; m++) {
    float target = bias[m] * bench->unit[c];
    if (other != SIZE_MAX) target = s->decoded[(other * bench->n + c) * d + m];
    else if (edit->mean_all) target += (float)edit->mean_all[m];
    x[m] += target - decoded[m];
  }
}

bool xci_edit_apply(const xci_edit *edit, const xci_stretch *s, size_t sequence, size_t partner, float *hidden) {
  const size_t d = edit->a->bench->d_model;
  const float sign = edit->set->keep ? -1.0F : 1.0F;
  size_t first, end, first_other = 0, end_other = 0;
  bool changed = edit->set->keep;
  find_codes(s, sequence, &first, &end);
  if (edit->a->options.value == XCODER_ABLATE_RESAMPLE) find_codes(s, partner, &first_other, &end_other);
  for (size_t k = first; k < end; k++) {
    float *x = hidden + (s->row[k] - s->start[sequence]) * d;
    size_t other = SIZE_MAX;
    if (end_other > first_other) other = end - k <= end_other - first_other ? end_other - (end - k) : first_other;
    if (edit->set->keep) replace_all(edit, s, k, other, x);
    changed |= add_codes(edit, s, k, -sign, x);
    if (other != SIZE_MAX) changed |= add_codes(edit, s, other, sign, x);
    if (edit->mean) {
      for (size_t m = 0; m < d; m++) x[m] += sign * (float)edit->mean[m];
      changed |= edit->set->n_features > 0;
    }
  }
  return changed;
}
