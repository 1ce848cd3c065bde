/* SPDX-License-Identifier: Apache-2.0 */
/* The evolution of the features of a run: from its effects and its database of features, without the models. */
#include "analysis/evolution/evolve.h"
#include "analysis/attribution/relative_effect.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "base/size.h"
#include <math.h>
#include <string.h>

static const xcoder_evolve_options defaults = {.bootstrap = 1000, .permutations = 1000, .n_top = 10};

typedef struct room { /* of a thread */
  double *task, *pooled; /* [resamples, n] */
} room;

/* Strengths of a feature in one task, on all examples and on every resample. */
static bool gather(const xci_example_effects *task, const uint16_t *weight, size_t resamples, size_t feature,
                   double *strength, double *drawn) {
  const size_t n = task->n;
  const double count = (double)xci_max_size(task->n_examples, 1);
  memset(drawn, 0, resamples * n * sizeof *drawn);
  for (size_t c = 0; c < n; c++) strength[c] = 0;
  for (size_t k = task->of[feature]; k < task->of[feature + 1]; k++) {
    const size_t entry = task->by[k];
    const uint16_t *times = weight + (size_t)task->example[entry] * resamples;
    for (size_t c = 0; c < n; c++) {
      const double effect = (double)task->effect[entry * n + c] / count;
      strength[c] += effect;
      for (size_t r = 0; r < resamples; r++) drawn[r * n + c] += (double)times[r] * effect;
    }
  }
  return task->of[feature] < task->of[feature + 1];
}

/* The lives of a feature in task t by its effects, and by these over the totals of the checkpoints. */
static void tell(const xci_evolution_data *data, const double *total, size_t t, size_t feature, double *strength,
                 double *drawn) {
  const size_t n = data->n, resamples = (size_t)data->options->bootstrap, at = t * data->effects.n_features + feature;
  for (size_t v = 0; v < XCI_N_VIEWS; v++) {
    for (size_t c = 0; v && c < n; c++) strength[c] = total[t * n + c] > 0 ? strength[c] / total[t * n + c] : 0;
    for (size_t i = 0; v && i < resamples * n; i++)
      drawn[i] = total[t * n + i % n] > 0 ? drawn[i] / total[t * n + i % n] : 0;
    xci_life_of(data->borders, strength, drawn, resamples, n, data->view[v].share + at * n, &data->view[v].life[at]);
  }
}

static void live(const xci_evolution_data *data, const double *total, uint16_t *const *weight, size_t feature,
                 const room *own) {
  const xci_run_effects *all = &data->effects;
  const size_t n = all->n, resamples = (size_t)data->options->bootstrap;
  double pooled[XCODER_MAX_CHECKPOINTS] = {0}, strength[XCODER_MAX_CHECKPOINTS];
  memset(own->pooled, 0, resamples * n * sizeof *own->pooled);
  for (size_t t = 0; t < all->n_tasks; t++) {
    const bool active = gather(&all->task[t], weight[t], resamples, feature, strength, own->task);
    for (size_t c = 0; active && c < n; c++) pooled[c] += fabs(strength[c]);
    for (size_t i = 0; active && i < resamples * n; i++) own->pooled[i] += fabs(own->task[i]);
    tell(data, total, t, feature, strength, own->task);
  }
  tell(data, total, all->n_tasks, feature, pooled, own->pooled);
}

/* Sum over features of |mean effect|, [n_tasks + 1, n], the last over the tasks, too. */
static void find_totals(const xci_run_effects *all, double *total) {
  const size_t n = all->n;
  for (size_t t = 0; t < all->n_tasks; t++)
    for (size_t i = 0; i < all->n_features; i++) {
      const xci_example_effects *task = &all->task[t];
      double sum[XCODER_MAX_CHECKPOINTS] = {0};
      for (size_t k = task->of[i]; k < task->of[i + 1]; k++)
        for (size_t c = 0; c < n; c++) sum[c] += (double)task->effect[(size_t)task->by[k] * n + c];
      for (size_t c = 0; c < n && task->n_examples; c++) {
        total[t * n + c] += fabs(sum[c]) / (double)task->n_examples;
        total[all->n_tasks * n + c] += fabs(sum[c]) / (double)task->n_examples;
      }
    }
}

static xcoder_status live_all(const xci_evolution_data *data, xcoder_error *err) {
  const xci_run_effects *all = &data->effects;
  const size_t resamples = (size_t)data->options->bootstrap, n_threads = (size_t)xci_threads();
  uint16_t **weight = NULL;
  room *rooms = NULL;
  double *total = NULL;
  xcoder_status status = XCI_ALLOC(&weight, all->n_tasks, err);
  if (!status) status = XCI_ALLOC(&total, (all->n_tasks + 1) * all->n, err);
  if (!status) status = XCI_ALLOC(&rooms, n_threads, err);
  for (size_t t = 0; !status && t < all->n_tasks; t++) {
    status = XCI_ALLOC(&weight[t], all->task[t].n_examples * resamples, err);
    if (!status) xci_bootstrap_draw(data->options->seed + t, all->task[t].n_examples, resamples, weight[t]);
  }
  for (size_t k = 0; !status && k < n_threads; k++) {
    status = XCI_ALLOC(&rooms[k].task, resamples * all->n, err);
    if (!status) status = XCI_ALLOC(&rooms[k].pooled, resamples * all->n, err);
  }
  if (!status) {
    find_totals(all, total);
#pragma omp parallel for num_threads(xci_threads()) schedule(dynamic, 8)
    for (size_t i = 0; i < all->n_features; i++) live(data, total, weight, i, &rooms[xci_thread_index()]);
  }
  for (size_t t = 0; weight && t < all->n_tasks; t++) xci_free(weight[t]);
  for (size_t k = 0; rooms && k < n_threads; k++) {
    xci_free(rooms[k].task);
    xci_free(rooms[k].pooled);
  }
  xci_free(weight);
  xci_free(rooms);
  xci_free(total);
  return status;
}

/* Shares by which the rows of the database are classed: decoder norms, origin of activation, effects of all tasks as
 * they are and over the totals of the checkpoints. */
static xcoder_status classify(xci_evolution_data *data, xcoder_error *err) {
  const xci_database *db = &data->database;
  const size_t n = db->size.n, d = data->effects.n_features;
  double *effect[XCI_N_VIEWS] = {NULL, NULL};
  xcoder_status status = XCODER_OK;
  for (size_t v = 0; !status && v < XCI_N_VIEWS; v++) {
    const double *pooled = data->view[v].share + data->effects.n_tasks * d * n;
    status = XCI_ALLOC(&effect[v], db->size.rows * n, err);
    for (size_t i = 0; !status && i < db->size.rows * n; i++)
      effect[v][i] = (size_t)db->feature[i / n] < d ? pooled[(size_t)db->feature[i / n] * n + i % n] : NAN;
  }
  const double *const share[XCI_N_BASES] = {db->decoder_share, db->activation_share, effect[0], effect[1]};
  for (size_t b = 0; !status && b < XCI_N_BASES; b++)
    status = xci_specificity_measure(data->borders, db, share[b], data->options->permutations, data->options->seed,
                                     &data->specificity[b], err);
  for (size_t v = 0; v < XCI_N_VIEWS; v++) xci_free(effect[v]);
  return status;
}

static xcoder_status open_database(xci_evolution_data *data, xcoder_error *err) {
  char *path = NULL;
  xcoder_status status = xci_join_path(data->run_directory, "features/database.safetensors", &path, err);
  if (!status && xci_exists(path)) {
    status = xci_database_open(path, NULL, &data->database, err);
    data->has_database = !status;
    if (!status && data->database.size.n != data->n)
      status = xci_fail(err, XCODER_MISMATCH, "%s: %zu checkpoints, the effects have %zu (run features again)", path,
                        data->database.size.n, data->n);
  }
  xci_free(path);
  return status;
}

static xcoder_status flow_all(xci_evolution_data *data, xcoder_error *err) {
  const size_t n = data->n, d = data->effects.n_features, n_flows = (n - 1) * XCI_N_STATES * XCI_N_STATES;
  xcoder_status status = XCODER_OK;
  for (size_t v = 0; v < XCI_N_VIEWS; v++)
    for (size_t t = 0; !status && t <= data->effects.n_tasks; t++) {
      const xci_view *view = &data->view[v];
      status = xci_flows(data->borders, view->share + t * d * n, d, n, data->options->permutations,
                         data->options->seed, view->cycles + t * XCI_N_CYCLES, view->words + t * XCI_N_WORDS,
                         view->flows + t * n_flows, err);
    }
  return status;
}

static xcoder_status open_view(const xci_evolution_data *data, xci_view *view, xcoder_error *err) {
  const size_t n = data->n, n_parts = data->effects.n_tasks + 1, rows = n_parts * data->effects.n_features;
  xcoder_status status = XCI_ALLOC(&view->share, rows * n, err);
  if (!status) status = XCI_ALLOC(&view->life, rows, err);
  if (!status) status = XCI_ALLOC(&view->cycles, n_parts * XCI_N_CYCLES, err);
  if (!status) status = XCI_ALLOC(&view->words, n_parts * XCI_N_WORDS, err);
  if (!status) status = XCI_ALLOC(&view->flows, n_parts * n * XCI_N_STATES * XCI_N_STATES, err);
  return status;
}

static void close_view(xci_view *view) {
  xci_free(view->share);
  xci_free(view->life);
  xci_free(view->cycles);
  xci_free(view->words);
  xci_free(view->flows);
}

static void close_data(xci_evolution_data *data) {
  xci_run_effects_close(&data->effects);
  xci_database_close(&data->database);
  xci_languages_close(&data->languages);
  for (size_t v = 0; v < XCI_N_VIEWS; v++) close_view(&data->view[v]);
}

xcoder_status xcoder_evolve(const char *run_directory, const xcoder_evolve_options *options,
                            const xcoder_monitor *monitor, xcoder_error *err) {
  xci_evolution_data data = {.run_directory = run_directory, .options = options ? options : &defaults};
  xcoder_status status = xci_run_effects_open(run_directory, data.options->tasks, data.options->n_tasks, &data.effects,
                                              err);
  const size_t n = data.n = data.effects.n;
  data.borders = xci_borders_complete((xci_borders){data.options->specific_border, data.options->shared_border});
  if (!status) status = open_database(&data, err);
  for (size_t v = 0; !status && v < XCI_N_VIEWS; v++) status = open_view(&data, &data.view[v], err);
  xci_advance(monitor, "evolve", "parts", 0, 4);
  if (!status) status = live_all(&data, err);
  xci_advance(monitor, "evolve", "parts", 1, 4);
  if (!status && xci_stopped(monitor)) status = xci_interrupted(err, "evolve");
  if (!status) status = flow_all(&data, err);
  xci_advance(monitor, "evolve", "parts", 2, 4);
  if (!status && xci_stopped(monitor)) status = xci_interrupted(err, "evolve");
  if (!status && data.has_database) status = classify(&data, err);
  xci_advance(monitor, "evolve", "parts", 3, 4);
  if (!status)
    status = xci_languages(&data.effects, data.view[0].share + data.effects.n_tasks * data.effects.n_features * n,
                           data.options->n_top, data.options->permutations, data.options->seed, &data.languages, err);
  if (!status) status = xci_evolution_write(&data, err);
  if (!status) xci_advance(monitor, "evolve", "parts", 4, 4);
  close_data(&data);
  return status;
}
