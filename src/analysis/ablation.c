/* SPDX-License-Identifier: Apache-2.0 */
/* Ablation of single features: f_i = 0 at every unmasked position, the error kept (METHOD section 8). */
#include "analysis/ablation.h"

#include "analysis/accuracy.h"
#include "analysis/splice.h"
#include "base/memory.h"
#include "base/size.h"
#include <string.h>

enum { STRETCH_ROWS = 1024 };

/* Prompts without a feature, packed for one model call; one unit is a (feature, prompt). */
typedef struct pack {
  size_t capacity, n_units, n_rows; /* capacity in rows, so in units too */
  float *hidden;                    /* [capacity, d_model] */
  size_t *start, *sequence, *feature;
  uint32_t *right, *wrong;
  double *metric;
} pack;

static void pack_close(pack *p) {
  xci_free(p->hidden);
  xci_free(p->start);
  xci_free(p->sequence);
  xci_free(p->feature);
  xci_free(p->right);
  xci_free(p->wrong);
  xci_free(p->metric);
}

static xcoder_status pack_open(size_t capacity, size_t d, pack *p, xcoder_error *err) {
  *p = (pack){.capacity = capacity};
  xcoder_status status = XCI_ALLOC(&p->hidden, capacity * d, err);
  if (!status) status = XCI_ALLOC(&p->start, capacity + 1, err);
  if (!status) status = XCI_ALLOC(&p->sequence, capacity, err);
  if (!status) status = XCI_ALLOC(&p->feature, capacity, err);
  if (!status) status = XCI_ALLOC(&p->right, capacity, err);
  if (!status) status = XCI_ALLOC(&p->wrong, capacity, err);
  if (!status) status = XCI_ALLOC(&p->metric, capacity, err);
  return status;
}

/* A stretch of the task at one checkpoint. */
typedef struct scene {
  const xci_ablation *a;
  const xci_stretch *s;
  size_t first, checkpoint;         /* pair of the stretch's first sequence */
  const uint32_t *right, *wrong;    /* of the stretch */
  const float *clean;               /* [n_rows, d_model] */
} scene;

static xcoder_status run_pack(const scene *at, pack *p, xcoder_error *err) {
  const xci_ablation *a = at->a;
  if (p->n_units == 0) return XCODER_OK;
  const xcoder_status status =
      xcoder_model_metric(a->bench->setting->models[at->checkpoint], a->bench->info->layer, p->hidden, p->start,
                          p->n_units, p->right, p->wrong, p->metric, NULL, err);
  for (size_t u = 0; !status && u < p->n_units; u++)
    a->ablated[(p->feature[u] * a->bench->n + at->checkpoint) * a->n_pairs + at->first + p->sequence[u]] =
        -p->metric[u];
  p->n_units = p->n_rows = 0;
  return status;
}

/* Adds prompt q without feature f, unless the feature is inactive there: then the clean value stands. */
static xcoder_status add_unit(const scene *at, size_t f, size_t q, pack *p, xcoder_error *err) {
  const xci_stretch *s = at->s;
  const size_t d = at->a->bench->d_model, length = s->start[q + 1] - s->start[q];
  if (p->n_rows + length > p->capacity) {
    const xcoder_status status = run_pack(at, p, err);
    if (status) return status;
  }
  float *hidden = p->hidden + p->n_rows * d;
  memcpy(hidden, at->clean + s->start[q] * d, length * d * sizeof *hidden);
  if (!xci_take_out(at->a->bench, s, at->checkpoint, q, at->a->features[f], hidden)) return XCODER_OK;
  p->right[p->n_units] = at->right[q];
  p->wrong[p->n_units] = at->wrong[q];
  p->sequence[p->n_units] = q;
  p->feature[p->n_units] = f;
  p->n_rows += length;
  p->start[++p->n_units] = p->n_rows;
  return XCODER_OK;
}

static xcoder_status ablate_checkpoint(const scene *at, pack *p, xcoder_error *err) {
  const xci_ablation *a = at->a;
  const size_t n = a->bench->n, c = at->checkpoint, count = at->s->n_sequences;
  double *clean = a->clean + c * a->n_pairs + at->first;
  xcoder_status status = xcoder_model_metric(a->bench->setting->models[c], a->bench->info->layer, at->clean,
                                             at->s->start, count, at->right, at->wrong, clean, NULL, err);
  for (size_t q = 0; !status && q < count; q++) clean[q] = -clean[q];
  for (size_t f = 0; !status && f < a->n_features; f++) {
    memcpy(a->ablated + (f * n + c) * a->n_pairs + at->first, clean, count * sizeof *clean);
    for (size_t q = 0; !status && q < count; q++) status = add_unit(at, f, q, p, err);
  }
  if (!status) status = run_pack(at, p, err);
  return status;
}

static xcoder_status ablate_stretch(const xci_ablation *a, const xcoder_tokens *prompts, size_t first, size_t count,
                                    xcoder_error *err) {
  const size_t d = a->bench->d_model;
  uint32_t *right = NULL, *wrong = NULL;
  float *clean = NULL;
  pack p = {0};
  xci_stretch s;
  xcoder_status status = xci_stretch_open(a->bench, prompts, first, count, XCI_CODES, &s, err);
  if (status) return status;
  status = XCI_ALLOC(&right, count, err);
  if (!status) status = XCI_ALLOC(&wrong, count, err);
  if (!status) status = XCI_ALLOC(&clean, s.n_rows * d, err);
  if (!status) status = pack_open(xci_max_size(XCI_ROWS_PER_CALL, s.n_rows), d, &p, err);
  if (!status) xci_answers(a->task, NULL, first, count, right, wrong);
  for (size_t c = 0; !status && c < a->bench->n; c++) {
    const scene at = {a, &s, first, c, right, wrong, clean};
    xci_stretch_take(a->bench, &s, c, clean);
    status = ablate_checkpoint(&at, &p, err);
  }
  pack_close(&p);
  xci_free(right);
  xci_free(wrong);
  xci_free(clean);
  xci_stretch_close(&s);
  return status;
}

static xcoder_status ablate_all(const xci_ablation *a, xcoder_error *err) {
  const xcoder_monitor *monitor = a->bench->setting->monitor;
  xcoder_tokens *prompts = NULL;
  xcoder_status status = xci_prompts(a->task, NULL, a->n_pairs, false, &prompts, err);
  for (size_t first = 0, count; !status && first < a->n_pairs; first += count) {
    count = xci_stretch_fit(prompts, first, STRETCH_ROWS);
    xci_advance(monitor, "ablate", "examples", first, a->n_pairs);
    if (xci_stopped(monitor)) status = xci_interrupted(err, "ablate");
    else status = ablate_stretch(a, prompts, first, count, err);
  }
  if (!status) xci_advance(monitor, "ablate", "examples", a->n_pairs, a->n_pairs);
  xcoder_tokens_free(prompts);
  return status;
}

static xcoder_status check_features(const xci_bench *bench, const uint32_t *features, size_t n, xcoder_error *err) {
  if (n == 0) return xci_fail(err, XCODER_USAGE, "ablate: no features to ablate");
  for (size_t f = 0; f < n; f++)
    if (features[f] >= bench->n_latents)
      return xci_fail(err, XCODER_USAGE, "feature %u does not exist, the crosscoder has features 0 to %zu", features[f],
                      bench->n_latents - 1);
  return XCODER_OK;
}

xcoder_status xcoder_ablate(const xcoder_setting *setting, const xcoder_pairs *task, const uint32_t *features,
                            size_t n_features, const char *run_directory, xcoder_verdicts *verdicts,
                            xcoder_error *err) {
  xci_bench bench;
  xcoder_verdicts found = {0};
  xci_ablation a = {&bench, task, features, n_features, xcoder_pairs_count(task), NULL, NULL};
  size_t n_values = 0;
  *verdicts = (xcoder_verdicts){0};
  xcoder_status status = xci_bench_open(setting, &bench, err);
  if (!status) status = check_features(&bench, features, n_features, err);
  if (!status && !xci_mul_size(n_features * bench.n, a.n_pairs, &n_values))
    status = xci_fail(err, XCODER_MEMORY, "ablate: %zu features are too many", n_features);
  if (!status) status = XCI_ALLOC(&a.clean, bench.n * a.n_pairs, err);
  if (!status) status = XCI_ALLOC(&a.ablated, n_values, err);
  if (!status) status = ablate_all(&a, err);
  if (!status) status = xci_ablation_write(&a, run_directory, &found, err);
  if (!status) *verdicts = found;
  else xcoder_verdicts_free(&found);
  xci_free(a.clean);
  xci_free(a.ablated);
  return status;
}
