/* SPDX-License-Identifier: Apache-2.0 */
/* How often features fire on the prompts of tasks, by task and by language. */
#include "analysis/features/feature_database.h"
#include "base/memory.h"
#include <string.h>

enum { STRETCH_ROWS = 4096 };

typedef struct counts {
  const xci_bench *bench;
  size_t n_tasks, n_languages, capacity;
  char **languages;
  uint64_t *fired_task, *fired_language;       /* [n_latents, n_tasks], [n_latents, n_languages] */
  uint64_t *positions_task, *positions_language;
} counts;

static size_t language_index(const counts *n, const char *name) {
  size_t k = 0;
  while (k < n->n_languages && strcmp(n->languages[k], name) != 0) k++;
  return k;
}

static xcoder_status find_languages(counts *n, const xcoder_pairs *const *tasks, xcoder_error *err) {
  xcoder_status status = XCODER_OK;
  for (size_t t = 0; t < n->n_tasks; t++)
    for (size_t p = 0; !status && p < xcoder_pairs_count(tasks[t]); p++) {
      const char *name = xcoder_pairs_get(tasks[t], p)->language;
      if (!*name || language_index(n, name) < n->n_languages) continue;
      status = xci_grow((void **)&n->languages, &n->capacity, n->n_languages + 1, sizeof *n->languages, err);
      if (!status) status = xci_copy_text(name, &n->languages[n->n_languages], err);
      if (!status) n->n_languages++;
    }
  return status;
}

static void count_stretch(counts *n, const xci_stretch *s, const xcoder_pairs *task, size_t t, size_t first) {
  for (size_t k = 0, q = 0; k < s->n_unmasked; k++) {
    while (s->row[k] >= s->start[q + 1]) q++;
    const size_t g = language_index(n, xcoder_pairs_get(task, first + q)->language);
    n->positions_task[t]++;
    if (g < n->n_languages) n->positions_language[g]++;
    for (size_t j = s->codes.start[k]; j < s->codes.start[k + 1]; j++) {
      n->fired_task[s->codes.index[j] * n->n_tasks + t]++;
      if (g < n->n_languages) n->fired_language[s->codes.index[j] * n->n_languages + g]++;
    }
  }
}

static xcoder_status count_task(counts *n, const xcoder_pairs *task, size_t t, xcoder_error *err) {
  xcoder_tokens *prompts = NULL;
  xcoder_status status = xci_prompts(task, NULL, xcoder_pairs_count(task), false, &prompts, err);
  for (size_t first = 0, count; !status && first < xcoder_pairs_count(task); first += count) {
    xci_stretch s;
    count = xci_stretch_fit(prompts, first, STRETCH_ROWS);
    if (xci_stopped(n->bench->setting->monitor)) status = xci_interrupted(err, "features");
    if (!status) status = xci_stretch_open(n->bench, prompts, first, count, XCI_CODES, &s, err);
    if (status) break;
    count_stretch(n, &s, task, t, first);
    xci_stretch_close(&s);
  }
  xcoder_tokens_free(prompts);
  return status;
}

static void divide(const uint64_t *fired, const uint64_t *positions, size_t n, const xci_database *db, double *share) {
  for (size_t i = 0; i < db->size.rows; i++)
    for (size_t k = 0; k < n; k++)
      share[i * n + k] = positions[k] ? (double)fired[(size_t)db->feature[i] * n + k] / (double)positions[k] : 0;
}

static xcoder_status name_tasks(const xcoder_pairs *const *tasks, size_t n_tasks, xci_database *db, xcoder_error *err) {
  xcoder_status status = XCI_ALLOC(&db->tasks, n_tasks, err);
  for (size_t t = 0; !status && t < n_tasks; t++) {
    status = xci_copy_text(xcoder_pairs_name(tasks[t]), &db->tasks[t], err);
    if (!status) db->size.n_tasks = t + 1;
  }
  return status;
}

xcoder_status xci_database_add_prompts(const xci_bench *bench, const xcoder_pairs *const *tasks, size_t n_tasks,
                                       xci_database *db, xcoder_error *err) {
  counts n = {.bench = bench, .n_tasks = n_tasks};
  if (n_tasks == 0) return XCODER_OK;
  xcoder_status status = find_languages(&n, tasks, err);
  if (!status) status = XCI_ALLOC(&n.fired_task, bench->n_latents * n_tasks, err);
  if (!status) status = XCI_ALLOC(&n.fired_language, bench->n_latents * n.n_languages, err);
  if (!status) status = XCI_ALLOC(&n.positions_task, n_tasks, err);
  if (!status) status = XCI_ALLOC(&n.positions_language, n.n_languages, err);
  for (size_t t = 0; !status && t < n_tasks; t++) status = count_task(&n, tasks[t], t, err);
  xci_free(db->density_task); /* they were made for no tasks */
  xci_free(db->density_language);
  db->density_task = db->density_language = NULL;
  db->languages = n.languages;
  db->size.n_languages = n.n_languages;
  if (!status) status = name_tasks(tasks, n_tasks, db, err);
  if (!status) status = XCI_ALLOC(&db->density_task, db->size.rows * n_tasks, err);
  if (!status) status = XCI_ALLOC(&db->density_language, db->size.rows * n.n_languages, err);
  if (!status) {
    divide(n.fired_task, n.positions_task, n_tasks, db, db->density_task);
    divide(n.fired_language, n.positions_language, n.n_languages, db, db->density_language);
  }
  xci_free(n.fired_task);
  xci_free(n.fired_language);
  xci_free(n.positions_task);
  xci_free(n.positions_language);
  return status;
}
