/* SPDX-License-Identifier: Apache-2.0 */
/* Collecting effects example by example. */
#include "analysis/attribution/effects.h"

#include "base/memory.h"
#include <math.h>
#include <stdlib.h>

xcoder_status xci_effects_open(const xci_bench *bench, size_t n_examples, xci_effects *e, xcoder_error *err) {
  *e = (xci_effects){.n = bench->n, .n_latents = bench->n_latents, .capacity_examples = n_examples, .threshold = -1};
  xcoder_status status = XCI_ALLOC(&e->start, n_examples + 1, err);
  if (!status) status = XCI_ALLOC(&e->error, n_examples * e->n, err);
  if (!status) status = XCI_ALLOC(&e->bias, n_examples * e->n, err);
  if (!status) status = XCI_ALLOC(&e->clean, n_examples * e->n, err);
  if (!status) status = XCI_ALLOC(&e->baseline, n_examples * e->n, err);
  if (!status) status = XCI_ALLOC(&e->gap, n_examples * e->n, err);
  if (!status) status = XCI_ALLOC(&e->sum, e->n_latents * e->n, err);
  if (!status) status = XCI_ALLOC(&e->plain, e->n_latents * e->n, err);
  if (!status) status = XCI_ALLOC(&e->n_active, e->n_latents, err);
  if (!status) status = XCI_ALLOC(&e->scratch, e->n_latents * e->n, err);
  if (!status) status = XCI_ALLOC(&e->seen, e->n_latents, err);
  if (status) xci_effects_close(e);
  return status;
}

void xci_effects_close(xci_effects *e) {
  xci_free(e->start);
  xci_free(e->feature);
  xci_free(e->effect);
  xci_free(e->error);
  xci_free(e->bias);
  xci_free(e->clean);
  xci_free(e->baseline);
  xci_free(e->gap);
  xci_free(e->sum);
  xci_free(e->plain);
  xci_free(e->share);
  xci_free(e->n_active);
  xci_free(e->scratch);
  xci_free(e->seen);
  *e = (xci_effects){0};
}

/* The effect of feature i in one position, at checkpoint c. `total`: [n] sums over features. */
static void gather(xci_effects *e, size_t i, size_t c, double effect, double *total) {
  if (fabs(effect) > e->threshold) e->scratch[i * e->n + c] += effect;
  e->plain[i * e->n + c] += effect;
  total[c] += effect;
}

/* Codes k_first .. k_end-1 of a stretch into the scratch row of their features. */
static void gather_codes(xci_effects *e, const xci_stretch *s, const double *effect, size_t k_first, size_t k_end,
                         double *total) {
  for (size_t j = s->codes.start[k_first]; j < s->codes.start[k_end]; j++) {
    const size_t i = s->codes.index[j];
    for (size_t c = 0; c < e->n; c++) gather(e, i, c, effect[j * e->n + c], total);
    e->seen[i] = 1;
  }
}

/* The mean features act at every position: f'_i <sum_t gbar_t, W_dec[i,c]>. */
static void gather_means(const xci_bench *bench, const xci_path *path, const float *gradient, xci_effects *e,
                         double *total) {
  const size_t d = bench->d_model;
  for (size_t i = 0; i < e->n_latents; i++) {
    if (!(path->mean_code[i] > 0)) continue;
    for (size_t c = 0; c < e->n; c++) {
      const double slope = xci_dot(gradient + c * d, xci_bench_decoder(bench, i, c), d) * (double)bench->unit[c];
      gather(e, i, c, path->mean_code[i] * slope, total);
    }
    e->seen[i] = 1;
  }
}

/* Moves the scratch rows into the list of the example and clears them. */
static xcoder_status store_example(xci_effects *e, xcoder_error *err) {
  const size_t n = e->n;
  const double share = e->share ? e->share[e->n_examples] : 1;
  for (size_t i = 0; i < e->n_latents; i++) {
    if (!e->seen[i]) continue;
    xcoder_status status = xci_grow((void **)&e->feature, &e->capacity_feature, e->nnz + 1, sizeof *e->feature, err);
    if (!status)
      status = xci_grow((void **)&e->effect, &e->capacity_effect, (e->nnz + 1) * n, sizeof *e->effect, err);
    if (status) return status;
    e->feature[e->nnz] = (uint32_t)i;
    for (size_t c = 0; c < n; c++) {
      const double value = share * e->scratch[i * n + c];
      e->effect[e->nnz * n + c] = (float)value;
      e->sum[i * n + c] += value;
      e->scratch[i * n + c] = 0;
    }
    e->n_active[i]++;
    e->seen[i] = 0;
    e->nnz++;
  }
  e->start[++e->n_examples] = e->nnz;
  return XCODER_OK;
}

static void find_samples(const xci_stretch *s, size_t q, size_t *first, size_t *end) {
  size_t k = *end;
  while (k < s->n_unmasked && s->row[k] < s->start[q]) k++;
  *first = k;
  while (k < s->n_unmasked && s->row[k] < s->start[q + 1]) k++;
  *end = k;
}

xcoder_status xci_effects_add(const xci_bench *bench, const xci_path *path, const xci_stretch *s,
                              const xci_stretch *counter, const xci_node_effects *nodes, xci_effects *e,
                              xcoder_error *err) {
  const size_t n = e->n;
  xcoder_status status = XCODER_OK;
  for (size_t q = 0, first = 0, end = 0; !status && q < s->n_sequences; q++) {
    const size_t at = e->n_examples * n;
    double total[XCODER_MAX_CHECKPOINTS] = {0};
    find_samples(s, q, &first, &end);
    gather_codes(e, s, nodes->code, first, end, total);
    if (counter) gather_codes(e, counter, nodes->other, first, end, total);
    if (nodes->gradient) gather_means(bench, path, nodes->gradient + q * n * bench->d_model, e, total);
    status = store_example(e, err);
    for (size_t c = 0; !status && c < n; c++) {
      const double change = nodes->baseline[q * n + c] - nodes->clean[q * n + c];
      e->error[at + c] = (float)nodes->error[q * n + c];
      e->bias[at + c] = (float)nodes->bias[q * n + c];
      e->clean[at + c] = (float)nodes->clean[q * n + c];
      e->baseline[at + c] = (float)nodes->baseline[q * n + c];
      e->gap[at + c] = total[c] + nodes->error[q * n + c] + nodes->bias[q * n + c] - change;
    }
  }
  return status;
}

void xci_effects_summarise(const xci_effects *e, size_t c, xci_effects_summary *out) {
  const double n_examples = (double)e->n_examples;
  double change = 0, nodes = 0;
  *out = (xci_effects_summary){0};
  for (size_t k = 0; k < e->n_examples; k++) {
    const size_t at = k * e->n + c;
    out->metric_clean += (double)e->clean[at] / n_examples;
    out->metric_baseline += (double)e->baseline[at] / n_examples;
    out->error_effect += (double)e->error[at] / n_examples;
    out->bias_effect += (double)e->bias[at] / n_examples;
    out->gap += e->gap[at] / n_examples;
    out->gap_examples += fabs(e->gap[at]) / n_examples;
    change += fabs((double)e->baseline[at] - (double)e->clean[at]) / n_examples;
  }
  for (size_t i = 0; i < e->n_latents; i++) {
    out->sum_effects += e->plain[i * e->n + c] / n_examples;
    nodes += fabs(e->plain[i * e->n + c]) / n_examples;
  }
  nodes += fabs(out->error_effect) + fabs(out->bias_effect);
  out->gap = fabs(out->gap);
  out->gap_share = change > 0 ? out->gap / change : 0;
  out->gap_examples_share = change > 0 ? out->gap_examples / change : 0;
  out->error_share = nodes > 0 ? fabs(out->error_effect) / nodes : 0;
}
