/* SPDX-License-Identifier: Apache-2.0 */
/* Attribution of a task: every pair, every checkpoint, all features. */
#include "analysis/accuracy.h"
#include "analysis/effects.h"
#include "base/memory.h"
#include "base/random.h"
#include "base/size.h"
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

static xcoder_status attribute_all(const run *r, size_t n, xcoder_error *err) {
  const xcoder_monitor *monitor = r->bench->setting->monitor;
  xcoder_status status = XCODER_OK;
  for (size_t first = 0, count; !status && first < n; first += count) {
    count = xci_stretch_fit(r->prompts, first, STRETCH_ROWS);
    xci_advance(monitor, "attribute", "examples", first, n);
    if (xci_stopped(monitor)) return xci_interrupted(err, "attribute");
    status = attribute_stretch(r, first, count, err);
  }
  if (!status) xci_advance(monitor, "attribute", "examples", n, n);
  return status;
}

/* Pairs that have a counterfactual prompt. */
static xcoder_status choose_counterfactuals(const xci_bench *bench, const xcoder_pairs *task, size_t **chosen,
                                            size_t *n, xcoder_error *err) {
  const size_t total = xcoder_pairs_count(task);
  const xcoder_status status = XCI_ALLOC(chosen, total, err);
  *n = 0;
  if (status) return status;
  for (size_t k = 0; k < total; k++)
    if (xcoder_pairs_get(task, k)->counterfactual) (*chosen)[(*n)++] = k;
  if (*n == 0)
    return xci_fail(err, XCODER_MISMATCH, "%s: no pair has a counterfactual prompt of equal length (use another "
                                          "--baseline)", xcoder_pairs_name(task));
  if (*n < total)
    xci_warn(bench->setting->monitor, "%s: %zu of %zu pairs have no counterfactual prompt of equal length and are left "
                                      "out", xcoder_pairs_name(task), total - *n, total);
  return XCODER_OK;
}

/* For every prompt another one of its length, drawn by the seed: their order is rotated by a random number of places
 * within each length, so that every prompt serves once. Prompts without a peer are left out. */
static xcoder_status draw_donors(const xci_bench *bench, const xcoder_pairs *task, uint64_t seed, size_t **chosen,
                                 size_t **donor, size_t *n, xcoder_error *err) {
  const size_t total = xcoder_pairs_count(task);
  size_t *peer = NULL;
  xcoder_status status = XCI_ALLOC(chosen, total, err);
  if (!status) status = XCI_ALLOC(donor, total, err);
  if (!status) status = XCI_ALLOC(&peer, total, err);
  *n = 0;
  for (size_t k = 0; !status && k < total; k++) {
    const size_t length = xcoder_pairs_get(task, k)->n_prefix;
    size_t n_peers = 0, own = 0;
    for (size_t i = 0; i < total; i++) {
      if (xcoder_pairs_get(task, i)->n_prefix != length) continue;
      if (i == k) own = n_peers;
      peer[n_peers++] = i;
    }
    if (n_peers < 2) continue;
    const size_t turn = 1 + (size_t)xci_random_below(seed, XCI_STREAM_DONOR, length, n_peers - 1);
    (*chosen)[*n] = k;
    (*donor)[(*n)++] = peer[(own + turn) % n_peers];
  }
  xci_free(peer);
  if (!status && *n == 0)
    return xci_fail(err, XCODER_MISMATCH, "%s: no two prompts have the same length (use another --baseline)",
                    xcoder_pairs_name(task));
  if (!status && *n < total)
    xci_warn(bench->setting->monitor, "%s: %zu of %zu prompts have no other of their length and are left out",
             xcoder_pairs_name(task), total - *n, total);
  return status;
}

/* The pairs that are used and where their paths end. */
static xcoder_status open_prompts(run *r, uint64_t seed, size_t **chosen, size_t **donor, size_t *n,
                                  xcoder_error *err) {
  const xcoder_baseline baseline = r->path->baseline;
  xcoder_status status = XCODER_OK;
  if (baseline == XCODER_COUNTERFACTUAL) status = choose_counterfactuals(r->bench, r->task, chosen, n, err);
  if (baseline == XCODER_RESAMPLED) status = draw_donors(r->bench, r->task, seed, chosen, donor, n, err);
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

xcoder_status xcoder_attribute(const xcoder_setting *setting, const xcoder_pairs *task,
                               const xcoder_attribute_options *options, const char *run_directory,
                               xcoder_verdicts *verdicts, xcoder_error *err) {
  xci_bench bench;
  xci_path path = {0};
  xci_effects effects = {0};
  xcoder_verdicts found = {0};
  size_t *chosen = NULL, *donor = NULL, n = xcoder_pairs_count(task);
  run r = {.bench = &bench, .path = &path, .task = task, .effects = &effects};
  *verdicts = (xcoder_verdicts){0};
  xcoder_status status = xci_bench_open(setting, &bench, err);
  if (!status) status = xci_path_open(options, &path, err);
  if (!status) status = open_prompts(&r, options ? options->seed : 0, &chosen, &donor, &n, err);
  if (!status) status = xci_effects_open(&bench, n, &effects, err);
  if (!status && options && options->authors) status = set_authors(&r, n, options->batch_keys, err);
  if (!status) status = attribute_all(&r, n, err);
  if (!status)
    status = xci_effects_write(&bench, &path, task, &effects, options ? options->bootstrap : DEFAULT_RESAMPLES,
                               options ? options->seed : 0, run_directory, &found, err);
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
