/* SPDX-License-Identifier: Apache-2.0 */
/* Runs the blocks above the layer for every prompt with every set of features ablated. */
#include "analysis/ablation/ablation.h"

#include "analysis/quality/accuracy.h"
#include "analysis/attribution/attribution.h"
#include "base/memory.h"
#include "base/random.h"
#include "base/size.h"
#include "base/text.h"
#include <string.h>

enum { STRETCH_ROWS = 1024 };

/* Edited prompts, packed for one model call; one unit is a (set, prompt). */
typedef struct pack {
  size_t capacity, n_units, n_rows; /* capacity in rows, so in units too */
  float *hidden;                    /* [capacity, d_model] */
  size_t *start, *sequence, *set;
  uint32_t *right, *wrong;
  double *metric;
} pack;

static void pack_close(pack *p) {
  xci_free(p->hidden);
  xci_free(p->start);
  xci_free(p->sequence);
  xci_free(p->set);
  xci_free(p->right);
  xci_free(p->wrong);
  xci_free(p->metric);
}

static xcoder_status pack_open(size_t capacity, size_t d, pack *p, xcoder_error *err) {
  *p = (pack){.capacity = capacity};
  xcoder_status status = XCI_ALLOC(&p->hidden, capacity * d, err);
  if (!status) status = XCI_ALLOC(&p->start, capacity + 1, err);
  if (!status) status = XCI_ALLOC(&p->sequence, capacity, err);
  if (!status) status = XCI_ALLOC(&p->set, capacity, err);
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
    a->ablated[(p->set[u] * a->bench->n + at->checkpoint) * a->n_pairs + at->first + p->sequence[u]] = -p->metric[u];
  p->n_units = p->n_rows = 0;
  return status;
}

/* The sequence of the stretch that resampling takes values from: another one wherever there is one. */
static size_t choose_partner(const scene *at, size_t q) {
  const size_t count = at->s->n_sequences;
  if (at->a->options.value != XCODER_ABLATE_RESAMPLE || count < 2) return q;
  const size_t other =
      (size_t)xci_random_below(at->a->options.seed, XCI_STREAM_RESAMPLE, at->first + q, (uint64_t)count - 1);
  return other + (other >= q);
}

/* Adds prompt q with set `set` ablated, unless that changes nothing: then the clean value stands. */
static xcoder_status add_unit(const scene *at, const xci_edit *edit, size_t set, size_t q, pack *p,
                              xcoder_error *err) {
  const xci_stretch *s = at->s;
  const size_t d = at->a->bench->d_model, length = s->start[q + 1] - s->start[q];
  if (p->n_rows + length > p->capacity) {
    const xcoder_status status = run_pack(at, p, err);
    if (status) return status;
  }
  float *hidden = p->hidden + p->n_rows * d;
  memcpy(hidden, at->clean + s->start[q] * d, length * d * sizeof *hidden);
  if (!xci_edit_apply(edit, s, q, choose_partner(at, q), hidden)) return XCODER_OK;
  p->right[p->n_units] = at->right[q];
  p->wrong[p->n_units] = at->wrong[q];
  p->sequence[p->n_units] = q;
  p->set[p->n_units] = set;
  p->n_rows += length;
  p->start[++p->n_units] = p->n_rows;
  return XCODER_OK;
}

static xcoder_status ablate_set(const scene *at, size_t set, const double *clean, pack *p, xcoder_error *err) {
  const xci_ablation *a = at->a;
  const xci_ablated_set *which = &a->sets[set];
  const size_t count = at->s->n_sequences;
  xci_edit edit;
  memcpy(a->ablated + (set * a->bench->n + at->checkpoint) * a->n_pairs + at->first, clean, count * sizeof *clean);
  if (which->checkpoint != XCI_EVERY_CHECKPOINT && (size_t)which->checkpoint != at->checkpoint) return XCODER_OK;
  xcoder_status status = xci_edit_open(a, which, at->checkpoint, &edit, err);
  if (status) return status;
  for (size_t q = 0; !status && q < count; q++) status = add_unit(at, &edit, set, q, p, err);
  xci_edit_close(&edit);
  return status;
}

static xcoder_status ablate_checkpoint(const scene *at, pack *p, xcoder_error *err) {
  const xci_ablation *a = at->a;
  const size_t c = at->checkpoint, count = at->s->n_sequences;
  double *clean = a->clean + c * a->n_pairs + at->first;
  xcoder_status status = xcoder_model_metric(a->bench->setting->models[c], a->bench->info->layer, at->clean,
                                             at->s->start, count, at->right, at->wrong, clean, NULL, err);
  for (size_t q = 0; !status && q < count; q++) clean[q] = -clean[q];
  for (size_t set = 0; !status && set < a->n_sets; set++) status = ablate_set(at, set, clean, p, err);
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
  xcoder_status status = xci_stretch_open(a->bench, prompts, first, count, XCI_DECODED, &s, err);
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

/* Means over the unmasked positions of the task's prompts, as attribution's mean baseline has them. */
static xcoder_status find_means(xci_ablation *a, const xcoder_tokens *prompts, xcoder_error *err) {
  xci_path means = {0};
  const xcoder_status status = xci_path_means(a->bench, prompts, &means, err);
  if (!status) {
    a->mean_code = means.mean_code;
    means.mean_code = NULL;
  }
  xci_path_close(&means);
  return status;
}

static xcoder_status ablate_all(xci_ablation *a, xcoder_error *err) {
  const xcoder_monitor *monitor = a->bench->setting->monitor;
  xcoder_tokens *prompts = NULL;
  xcoder_status status = xci_prompts(a->task, NULL, a->n_pairs, false, &prompts, err);
  if (!status && a->options.value == XCODER_ABLATE_MEAN) status = find_means(a, prompts, err);
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

xcoder_status xci_ablation_run(const xci_bench *bench, const xcoder_pairs *task, const xcoder_ablate_options *options,
                               const xci_ablated_set *sets, size_t n_sets, xci_ablation *a, xcoder_error *err) {
  size_t n_values = 0;
  *a = (xci_ablation){.bench = bench, .task = task, .options = *options, .sets = sets, .n_sets = n_sets,
                      .n_pairs = xcoder_pairs_count(task)};
  xcoder_status status = XCODER_OK;
  if (!xci_mul_size(n_sets * bench->n, a->n_pairs, &n_values))
    status = xci_fail(err, XCODER_MEMORY, "ablate: %zu sets of features are too many", n_sets);
  if (!status) status = XCI_ALLOC(&a->clean, bench->n * a->n_pairs, err);
  if (!status) status = XCI_ALLOC(&a->ablated, n_values, err);
  if (!status) status = ablate_all(a, err);
  if (status) xci_ablation_close(a);
  return status;
}

void xci_ablation_close(xci_ablation *a) {
  xci_free(a->clean);
  xci_free(a->ablated);
  xci_free(a->mean_code);
  a->clean = a->ablated = a->mean_code = NULL;
}

static xcoder_status check_features(const xci_bench *bench, const uint32_t *features, size_t n, xcoder_error *err) {
  if (n == 0) return xci_fail(err, XCODER_USAGE, "ablate: no features to ablate");
  for (size_t f = 0; f < n; f++)
    if (features[f] >= bench->n_latents)
      return xci_fail(err, XCODER_USAGE, "feature %u does not exist, the crosscoder has features 0 to %zu", features[f],
                      bench->n_latents - 1);
  return XCODER_OK;
}

void xcoder_ablate_defaults(xcoder_ablate_options *options) {
  *options = (xcoder_ablate_options){.value = XCODER_ABLATE_ZERO, .curves = true, .bootstrap = 1000};
}

/* The sets: each feature alone, all of them together, then the curves'. */
static xcoder_status list_sets(const uint32_t *features, size_t n_features, const xci_curves *curves,
                               xci_ablated_set **sets, size_t *n_sets, xcoder_error *err) {
  *n_sets = n_features + 1 + curves->n_sets;
  const xcoder_status status = XCI_ALLOC(sets, *n_sets, err);
  if (status) return status;
  for (size_t f = 0; f < n_features; f++)
    (*sets)[f] = (xci_ablated_set){features + f, 1, false, XCI_EVERY_CHECKPOINT};
  (*sets)[n_features] = (xci_ablated_set){features, n_features, false, XCI_EVERY_CHECKPOINT};
  for (size_t k = 0; k < curves->n_sets; k++) (*sets)[n_features + 1 + k] = curves->sets[k];
  return XCODER_OK;
}

static xcoder_status open_curves(const xci_bench *bench, const xcoder_pairs *task, const char *run_directory,
                                 xci_curves *curves, xcoder_error *err) {
  xci_text path = {0};
  xci_text_format(&path, "%s/effects/%s.csv", run_directory, xcoder_pairs_name(task));
  xcoder_status status = xci_text_status(&path, err);
  if (!status) status = xci_curves_open(bench, path.bytes, curves, err);
  xci_text_clear(&path);
  return status;
}

xcoder_status xcoder_ablate(const xcoder_setting *setting, const xcoder_pairs *task, const uint32_t *features,
                            size_t n_features, const xcoder_ablate_options *options, const char *run_directory,
                            xcoder_verdicts *verdicts, xcoder_error *err) {
  xcoder_ablate_options chosen;
  xcoder_verdicts found = {0};
  xci_bench bench;
  xci_curves curves = {0};
  xci_ablation a = {0};
  xci_ablated_set *sets = NULL;
  size_t n_sets = 0;
  *verdicts = (xcoder_verdicts){0};
  xcoder_ablate_defaults(&chosen);
  if (options) chosen = *options;
  xcoder_status status = xci_bench_open(setting, &bench, err);
  if (!status) status = check_features(&bench, features, n_features, err);
  if (!status && chosen.curves) status = open_curves(&bench, task, run_directory, &curves, err);
  if (!status) status = list_sets(features, n_features, &curves, &sets, &n_sets, err);
  if (!status) status = xci_ablation_run(&bench, task, &chosen, sets, n_sets, &a, err);
  if (!status) status = xci_curves_write(&a, n_features, &curves, run_directory, err);
  if (!status) status = xci_ablation_write(&a, n_features, run_directory, &found, err);
  if (!status) *verdicts = found;
  else xcoder_verdicts_free(&found);
  xci_ablation_close(&a);
  xci_curves_close(&curves);
  xci_free(sets);
  return status;
}
