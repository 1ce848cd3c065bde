/* SPDX-License-Identifier: Apache-2.0 */
/* Attribution of a task: every pair, every checkpoint, all features. */
#include "analysis/quality/accuracy.h"
#include "analysis/attribution/effects_state.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "base/size.h"
#include "base/text.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { STRETCH_ROWS = 1024, DEFAULT_RESAMPLES = 1000 };

typedef struct run {
  const xci_bench *bench;
  xci_path *path;
  const xcoder_pairs *task;
  const size_t *chosen; /* pairs that are used; NULL: all */
  xcoder_tokens *prompts, *counters;
  xci_effects *effects;
} run;

static xcoder_status attribute_stretch(const run *r, size_t first, size_t count, xcoder_error *err) {
  uint32_t *right = NULL, *wrong = NULL;
  xci_stretch s = {0}, other = {0};
  const xci_stretch *counter = r->counters ? &other : NULL;
  xci_node_effects nodes = {0};
  xcoder_status status = XCI_ALLOC(&right, count, err);
  if (!status) status = XCI_ALLOC(&wrong, count, err);
  if (!status) status = xci_stretch_open(r->bench, r->prompts, first, count, XCI_DECODED, &s, err);
  if (!status && counter) status = xci_stretch_open(r->bench, r->counters, first, count, XCI_DECODED, &other, err);
  if (!status) {
    xci_answers(r->task, r->chosen, first, count, right, wrong);
    status = xci_node_effects_open(r->bench, r->path, &s, counter, right, wrong, &nodes, err);
  }
  if (!status) status = xci_effects_add(r->bench, r->path, &s, counter, &nodes, r->effects, err);
  xci_node_effects_close(&nodes);
  xci_stretch_close(&s);
  xci_stretch_close(&other);
  xci_free(right);
  xci_free(wrong);
  return status;
}

/* The pairs that are used and where their paths end. */
static xcoder_status open_prompts(run *r, uint64_t seed, size_t **chosen, size_t **donor, size_t *n,
                                  xcoder_error *err) {
  const xcoder_baseline baseline = r->path->baseline;
  xcoder_status status = XCODER_OK;
  if (baseline == XCODER_COUNTERFACTUAL) status = xci_choose_counterfactuals(r->task, chosen, n, err);
  if (baseline == XCODER_RESAMPLED) status = xci_draw_donors(r->task, seed, chosen, donor, n, err);
  if (!status && *n < xcoder_pairs_count(r->task))
    xci_warn(r->bench->setting->monitor, "%s: %zu of %zu pairs have no %s of equal length and are left out",
             xcoder_pairs_name(r->task), xcoder_pairs_count(r->task) - *n, xcoder_pairs_count(r->task),
             baseline == XCODER_RESAMPLED ? "other prompt" : "counterfactual prompt");
  r->chosen = *chosen;
  if (!status) status = xci_prompts(r->task, *chosen, *n, false, &r->prompts, err);
  if (!status && baseline == XCODER_COUNTERFACTUAL)
    status = xci_prompts(r->task, *chosen, *n, true, &r->counters, err);
  if (!status && baseline == XCODER_RESAMPLED) status = xci_prompts(r->task, *donor, *n, false, &r->counters, err);
  if (!status && baseline == XCODER_MEAN) status = xci_path_means(r->bench, r->prompts, r->path, err);
  return status;
}

/* Conventions of the authors: a batch weighs as many times as the data set has columns, and is averaged over all of its
 * positions, those of the padding included, whose effects are 0. */
static xcoder_status set_authors(const run *r, size_t n, size_t keys, xcoder_error *err) {
  enum { BATCH = 4 };
  const size_t *start = xcoder_tokens_start(r->prompts);
  const char *name = xcoder_pairs_name(r->task);
  const xcoder_status status = XCI_ALLOC(&r->effects->share, n, err);
  if (status) return status;
  r->effects->authors = true;
  if (keys == 0) keys = strncmp(name, "blimp", 5) == 0 ? 17 : strncmp(name, "clams", 5) == 0 ? 6 : 1;
  for (size_t first = 0; first < n; first += BATCH) {
    const size_t end = xci_min_size(n, first + BATCH);
    size_t longest = 0;
    for (size_t k = first; k < end; k++) longest = xci_max_size(longest, start[k + 1] - start[k]);
    for (size_t k = first; k < end; k++)
      r->effects->share[k] = (double)keys / ((double)(end - first) * (double)longest);
  }
  r->effects->threshold = 0.1;
  return XCODER_OK;
}

/* ---- Going on where an interrupted attribution stopped ---- */

static void hash_tokens(xci_hash *hash, const xcoder_tokens *tokens) {
  const size_t n = xcoder_tokens_sequences(tokens), *start = xcoder_tokens_start(tokens);
  xci_hash_add(hash, start, (n + 1) * sizeof *start);
  xci_hash_add(hash, xcoder_tokens_ids(tokens), start[n] * sizeof(uint32_t));
}

/* What the models and the crosscoder make of the first prompt stands for them: no other models give the same bits. */
static xcoder_status hash_first(const run *r, const uint32_t *right, const uint32_t *wrong, xci_hash *hash,
                                xcoder_error *err) {
  const xci_bench *bench = r->bench;
  float *hidden = NULL;
  xci_stretch s;
  xcoder_status status = xci_stretch_open(bench, r->prompts, 0, 1, XCI_CODES, &s, err);
  if (status) return status;
  const size_t n_codes = s.codes.start[s.n_unmasked];
  xci_hash_add(hash, s.hidden, s.n_rows * bench->n * bench->d_model * sizeof *s.hidden);
  xci_hash_add(hash, s.codes.start, (s.n_unmasked + 1) * sizeof *s.codes.start);
  if (n_codes) xci_hash_add(hash, s.codes.index, n_codes * sizeof *s.codes.index);
  if (n_codes) xci_hash_add(hash, s.codes.value, n_codes * sizeof *s.codes.value);
  status = XCI_ALLOC(&hidden, s.n_rows * bench->d_model, err);
  for (size_t c = 0; !status && c < bench->n; c++) {
    double metric;
    xci_stretch_take(bench, &s, c, hidden);
    status = xcoder_model_metric(bench->setting->models[c], bench->info->layer, hidden, s.start, 1, right, wrong,
                                 &metric, NULL, err);
    if (!status) xci_hash_add(hash, &metric, sizeof metric);
  }
  xci_free(hidden);
  xci_stretch_close(&s);
  return status;
}

static xcoder_status make_key(const run *r, size_t n, size_t keys, xci_effects_origin *origin, xcoder_error *err) {
  const xci_path *path = r->path;
  const double settings[] = {path->rule, path->baseline, (double)path->n_steps, r->effects->authors, (double)keys,
                             path->tolerance};
  uint32_t *right = NULL, *wrong = NULL;
  xci_hash *hash = NULL;
  xcoder_status status = XCI_ALLOC(&right, n, err);
  if (!status) status = XCI_ALLOC(&wrong, n, err);
  if (!status) status = xci_hash_open(&hash, err);
  if (!status) {
    xci_answers(r->task, r->chosen, 0, n, right, wrong);
    xci_hash_add(hash, origin->coder, sizeof origin->coder);
    xci_hash_add(hash, settings, sizeof settings);
    xci_hash_add(hash, right, n * sizeof *right);
    xci_hash_add(hash, wrong, n * sizeof *wrong);
    hash_tokens(hash, r->prompts);
    if (r->counters) hash_tokens(hash, r->counters);
    status = hash_first(r, right, wrong, hash, err);
    xci_hash_close(hash, origin->key);
  }
  xci_free(right);
  xci_free(wrong);
  return status;
}

/* Takes what is there of the same attribution; a file that is none, or of another, is passed over. */
static xcoder_status go_on(const run *r, const char *file, size_t n, size_t keys, xci_effects_origin *origin,
                           xcoder_error *err) {
  xcoder_attribute_options options = {0};
  xci_effects_origin found;
  xci_effects there;
  xcoder_error ignored;
  if (!xci_exists(file)) return XCODER_OK;
  xcoder_status status = make_key(r, n, keys, origin, err);
  if (status || xci_effects_load(r->bench, file, n, &options, &found, &there, &ignored)) return status;
  if (strcmp(found.key, origin->key) == 0 && there.n_examples < n) {
    there.share = r->effects->share;
    there.threshold = r->effects->threshold;
    r->effects->share = NULL;
    xci_effects_close(r->effects);
    *r->effects = there;
    xci_warn(r->bench->setting->monitor, "%s: goes on behind the first %zu of %zu examples", xcoder_pairs_name(r->task),
             there.n_examples, n);
  } else {
    xci_effects_close(&there);
  }
  return XCODER_OK;
}

/* What keeps the effects that are done. */
typedef struct keeper {
  const char *run_directory;
  size_t keys;
  xci_effects_origin *origin;
  double interval, saved_at, cost; /* seconds: between two files; when the last was begun; how long it took */
} keeper;

/* Writes what is done for the next time; without the file nothing but time is lost, so failing is no error. */
static void keep(const run *r, size_t n, keeper *k) {
  const char *name = xcoder_pairs_name(r->task);
  char *made = NULL;
  xcoder_error late;
  k->saved_at = xci_seconds();
  xcoder_status saved = *k->origin->key ? XCODER_OK : make_key(r, n, k->keys, k->origin, &late);
  if (!saved) saved = xci_run_path(k->run_directory, "effects", name, ".partial.safetensors", &made, &late);
  if (!saved) saved = xci_effects_save(r->effects, r->path, k->origin, made, &late);
  if (saved) xci_warn(r->bench->setting->monitor, "%s: what is done cannot be kept: %s", name, late.message);
  if (saved) k->interval = 0; /* said once */
  k->cost = xci_seconds() - k->saved_at;
  xci_free(made);
}

/* Every file holds all effects so far: it takes at most a twentieth of the time. */
static void keep_at_times(const run *r, size_t n, keeper *k) {
  if (k->interval > 0 && xci_seconds() - k->saved_at >= fmax(k->interval, 20 * k->cost)) keep(r, n, k);
}

static xcoder_status attribute_all(const run *r, size_t n, keeper *k, xcoder_error *err) {
  const xcoder_monitor *monitor = r->bench->setting->monitor;
  xcoder_status status = XCODER_OK;
  for (size_t first = r->effects->n_examples, count; !status && first < n; first += count) {
    count = xci_stretch_fit(r->prompts, first, STRETCH_ROWS);
    xci_advance(monitor, "attribute", "examples", first, n);
    if (xci_stopped(monitor)) return xci_interrupted(err, "attribute");
    status = attribute_stretch(r, first, count, err);
    if (!status && first + count < n) keep_at_times(r, n, k);
  }
  if (!status) xci_advance(monitor, "attribute", "examples", n, n);
  return status;
}

/* All examples; what is done is kept at times, and when stopped. */
static xcoder_status attribute_or_save(const run *r, size_t n, keeper *k, xcoder_error *err) {
  xci_text partial = {0};
  xci_text_format(&partial, "%s/effects/%s.partial.safetensors", k->run_directory, xcoder_pairs_name(r->task));
  xcoder_status status = xci_text_status(&partial, err);
  if (!status) status = go_on(r, partial.bytes, n, k->keys, k->origin, err);
  k->saved_at = xci_seconds();
  if (!status) status = attribute_all(r, n, k, err);
  if (status == XCODER_INTERRUPTED && r->effects->n_examples) keep(r, n, k); /* the message that was there stays */
  xci_text_clear(&partial);
  return status;
}

/* The finished effects, and away with what was kept of unfinished ones. */
static xcoder_status save_all(const run *r, xci_effects_origin *origin, const char *run_directory, xcoder_error *err) {
  const char *name = xcoder_pairs_name(r->task);
  char *file = NULL, *partial = NULL;
  *origin->key = '\0';
  xcoder_status status = xci_run_path(run_directory, "effects", name, ".safetensors", &file, err);
  if (!status) status = xci_run_path(run_directory, "effects", name, ".partial.safetensors", &partial, err);
  if (!status) status = xci_effects_save(r->effects, r->path, origin, file, err);
  if (!status) (void)remove(partial);
  xci_free(file);
  xci_free(partial);
  return status;
}

xcoder_status xcoder_attribute(const xcoder_setting *setting, const xcoder_pairs *task,
                               const xcoder_attribute_options *given, const char *run_directory,
                               xcoder_verdicts *verdicts, xcoder_error *err) {
  const xcoder_attribute_options defaults = {.bootstrap = DEFAULT_RESAMPLES}, *options = given ? given : &defaults;
  xci_bench bench;
  xci_path path = {0};
  xci_effects effects = {0};
  xcoder_verdicts found = {0};
  size_t *chosen = NULL, *donor = NULL, n = xcoder_pairs_count(task);
  run r = {.bench = &bench, .path = &path, .task = task, .effects = &effects};
  xci_effects_origin origin = {0};
  *verdicts = (xcoder_verdicts){0};
  xcoder_status status = xci_bench_open(setting, &bench, err);
  if (!status) status = xci_path_open(options, &path, err);
  if (!status) status = xci_effects_hash_coder(&bench, origin.coder, err);
  if (!status) status = open_prompts(&r, options->seed, &chosen, &donor, &n, err);
  if (!status) status = xci_effects_open(&bench, n, &effects, err);
  if (!status && options->authors) status = set_authors(&r, n, options->batch_keys, err);
  origin.n_total = n;
  keeper k = {run_directory, options->batch_keys, &origin, options->save_seconds, 0, 0};
  if (!status) status = attribute_or_save(&r, n, &k, err);
  if (!status) status = save_all(&r, &origin, run_directory, err);
  if (!status)
    status = xci_effects_write(&bench, &path, xcoder_pairs_name(task), &effects, options, run_directory, &found, err);
  if (!status) *verdicts = found;
  else xcoder_verdicts_free(&found);
  xci_effects_close(&effects);
  xci_path_close(&path);
  xcoder_tokens_free(r.prompts);
  xcoder_tokens_free(r.counters);
  xci_free(chosen);
  xci_free(donor);
  return status;
}

xcoder_status xcoder_retabulate(const xcoder *coder, const char *task, const xcoder_attribute_options *wanted,
                                 const char *run_directory, xcoder_verdicts *verdicts, xcoder_error *err) {
  const xcoder_setting setting = {.coder = coder};
  xcoder_attribute_options options = {0};
  xci_effects_origin origin = {0};
  xci_bench bench;
  xci_path path = {0};
  xci_effects effects = {0};
  xcoder_verdicts found = {0};
  xci_text file = {0};
  char own[33] = "";
  *verdicts = (xcoder_verdicts){0};
  xci_text_format(&file, "%s/effects/%s.safetensors", run_directory, task);
  xcoder_status status = xci_text_status(&file, err);
  if (!status) status = xci_bench_open_coder(&setting, &bench, err);
  if (!status) status = xci_effects_hash_coder(&bench, own, err);
  if (!status) status = xci_effects_load(&bench, file.bytes, 0, &options, &origin, &effects, err);
  if (!status && strcmp(own, origin.coder) != 0)
    status = xci_fail(err, XCODER_MISMATCH, "%s: effects of another crosscoder (attribute again)", file.bytes);
  if (!status) status = xci_path_open(&options, &path, err);
  if (!status)
    status = xci_effects_write(&bench, &path, task, &effects, wanted, run_directory, &found, err);
  if (!status) *verdicts = found;
  else xcoder_verdicts_free(&found);
  xci_effects_close(&effects);
  xci_path_close(&path);
  xci_text_clear(&file);
  return status;
}
