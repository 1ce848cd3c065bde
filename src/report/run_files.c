/* SPDX-License-Identifier: Apache-2.0 */
/* Reading what a run directory holds; an unfinished run lacks some of it, which is not an error. */
#include "report/page.h"

#include "base/file.h"
#include "base/memory.h"
#include <crosscoder/coder.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_JSON_BYTES = 256 << 20, MAX_PLAN_BYTES = 16 << 20 };

/* XCODER_MISSING is fine here: the page says what is not there. */
static xcoder_status forgive_missing(xcoder_status status) { return status == XCODER_MISSING ? XCODER_OK : status; }

static xcoder_status read_csv(const char *run, const char *name, xci_csv *csv, xcoder_error *err) {
  char *path;
  xcoder_status status = xci_join_path(run, name, &path, err);
  if (!status) status = forgive_missing(xci_csv_open(path, csv, err));
  xci_free(path);
  return status;
}

static xcoder_status read_json(const char *run, const char *name, json_t **value, xcoder_error *err) {
  char *path;
  xcoder_status status = xci_join_path(run, name, &path, err);
  if (!status) status = forgive_missing(xci_json_read(path, MAX_JSON_BYTES, value, err));
  xci_free(path);
  return status;
}

static xcoder_status read_in(const char *run, const char *folder, const char *task, const char *ending, xci_csv *csv,
                             json_t **value, xcoder_error *err) {
  xci_text name = {0};
  xci_text_format(&name, "%s/%s%s", folder, task, ending);
  xcoder_status status = xci_text_status(&name, err);
  if (!status && csv) status = read_csv(run, name.bytes, csv, err);
  if (!status && value) status = read_json(run, name.bytes, value, err);
  xci_text_clear(&name);
  return status;
}

static xcoder_status read_tasks(const char *run, xci_run_files *files, xcoder_error *err) {
  char *folder, **names = NULL;
  size_t n_names = 0;
  xcoder_status status = xci_join_path(run, "effects", &folder, err);
  if (!status && xci_is_folder(folder)) status = xci_list_folder(folder, &names, &n_names, err);
  if (!status) status = xci_alloc(n_names + 1, sizeof *files->task, (void **)&files->task, err);
  for (size_t i = 0; !status && i < n_names; i++) {
    size_t length = strlen(names[i]);
    if (length < 5 || strcmp(names[i] + length - 4, ".csv") != 0) continue;
    xci_task_files *task = &files->task[files->n_tasks];
    status = xci_copy_text(names[i], &task->name, err);
    if (status) break;
    files->n_tasks++;
    task->name[length - 4] = '\0';
    status = read_in(run, "effects", task->name, ".csv", &task->effects, NULL, err);
    if (!status) status = read_in(run, "effects", task->name, ".json", NULL, &task->effects_info, err);
    if (!status) status = read_in(run, "baselines", task->name, ".json", NULL, &task->baselines, err);
    if (!status) status = read_in(run, "ablation", task->name, ".csv", &task->ablation, NULL, err);
    if (!status) status = read_in(run, "ablation", task->name, ".json", NULL, &task->ablation_info, err);
    if (!status) status = read_in(run, "ablation", task->name, ".curves.csv", &task->curves, NULL, err);
  }
  xci_free_names(names, n_names);
  xci_free(folder);
  return status;
}

xci_borders xci_run_borders(const json_t *info) {
  const double specific = json_number_value(json_object_get(info, "specific_border"));
  const double shared = json_number_value(json_object_get(info, "shared_border"));
  const bool usable = specific > 0 && specific <= 1 && shared > 0 && shared <= 1;
  return xci_borders_complete(usable ? (xci_borders){specific, shared} : (xci_borders){0, 0});
}

/* transfer/NAME/transfer.json of every NAME. */
static xcoder_status read_transfers(const char *run, xci_run_files *files, xcoder_error *err) {
  char *folder, **names = NULL;
  size_t n_names = 0;
  xcoder_status status = xci_join_path(run, "transfer", &folder, err);
  if (!status && xci_is_folder(folder)) status = xci_list_folder(folder, &names, &n_names, err);
  if (!status) status = xci_alloc(n_names + 1, sizeof *files->transfer, (void **)&files->transfer, err);
  for (size_t i = 0; !status && i < n_names; i++) {
    xci_named_json *transfer = &files->transfer[files->n_transfers];
    status = read_in(run, "transfer", names[i], "/transfer.json", NULL, &transfer->value, err);
    if (status || !transfer->value) continue;
    files->n_transfers++;
    status = xci_copy_text(names[i], &transfer->name, err);
  }
  xci_free_names(names, n_names);
  xci_free(folder);
  return status;
}

static xcoder_status copy_labels(const json_t *array, xci_run_files *files, xcoder_error *err) {
  size_t n = json_array_size(array);
  if (files->n_labels || n == 0 || n > XCODER_MAX_CHECKPOINTS) return XCODER_OK;
  xcoder_status status = xci_alloc(n, sizeof *files->labels, (void **)&files->labels, err);
  for (size_t i = 0; !status && i < n; i++) {
    const char *label = json_string_value(json_array_get(array, i));
    status = xci_copy_text(label ? label : "?", &files->labels[i], err);
    if (!status) files->n_labels = i + 1;
  }
  return status;
}

/* Tokens seen in pretraining: of eval.json, else of accuracy.csv. */
static void find_tokens(xci_run_files *files) {
  const json_t *array = json_object_get(files->eval, "tokens_seen");
  const size_t label = xci_csv_column(&files->accuracy, "checkpoint");
  const size_t tokens = xci_csv_column(&files->accuracy, "tokens_seen");
  for (size_t c = 0; c < sizeof files->tokens_seen / sizeof *files->tokens_seen; c++) {
    const json_t *value = json_array_get(array, c);
    files->tokens_seen[c] = json_is_number(value) ? json_number_value(value) : NAN;
    for (size_t row = 0; c < files->n_labels && tokens != SIZE_MAX && !value && row < files->accuracy.n_rows; row++)
      if (strcmp(xci_csv_at(&files->accuracy, row, label), files->labels[c]) == 0)
        files->tokens_seen[c] = xci_csv_number(&files->accuracy, row, tokens);
  }
}

static xcoder_status describe_coder(const char *run, xci_run_files *files, xcoder_error *err) {
  xcoder *coder = NULL;
  char *path;
  xcoder_status status = xci_join_path(run, "crosscoder.safetensors", &path, err);
  if (status) return status;
  if (xci_exists(path)) status = xcoder_load(path, &coder, err);
  xci_free(path);
  if (status || !coder) return status;
  const xcoder_info *info = xcoder_describe(coder);
  xci_text text = {0};
  xci_text_format(&text, "%zu checkpoints, layer %ld, width %zu, %zu features", info->n_checkpoints, info->layer,
                  info->d_model, info->n_latents);
  status = xci_text_status(&text, err);
  if (!status) files->coder_summary = text.bytes;
  if (!status && !files->n_labels) {
    status = xci_alloc(info->n_checkpoints, sizeof *files->labels, (void **)&files->labels, err);
    for (size_t i = 0; !status && i < info->n_checkpoints; i++) {
      status = xci_copy_text(info->labels[i], &files->labels[i], err);
      if (!status) files->n_labels = i + 1;
    }
  }
  files->n_features = info->n_latents;
  files->layer = info->layer;
  xcoder_free_coder(coder);
  return status;
}

/* The page keeps labels under this name: a copy of a run shares them, another run never does. */
static xcoder_status identify(const char *run, xci_run_files *files, xcoder_error *err) {
  static const char *const names[] = {"crosscoder.safetensors", "features/features.json"};
  xcoder_status status = XCODER_OK;
  for (size_t i = 0; !status && !*files->identity && i < sizeof names / sizeof *names; i++) {
    char *path;
    status = xci_join_path(run, names[i], &path, err);
    if (!status && xci_exists(path)) status = xci_hash_file(path, NULL, files->identity, err);
    xci_free(path);
  }
  return status;
}

/* The line "seed: N" of run.yaml; nothing else of that file matters here. */
static xcoder_status read_seed(const char *run, xci_run_files *files, xcoder_error *err) {
  char *path, *text = NULL;
  size_t n_bytes;
  xcoder_status status = xci_join_path(run, "run.yaml", &path, err);
  if (!status && xci_exists(path)) status = xci_read_file(path, MAX_PLAN_BYTES, &text, &n_bytes, err);
  for (char *line = text; line && *line;) {
    const size_t n = strcspn(line, "\n"), digits = strncmp(line, "seed: ", 6) == 0 ? strspn(line + 6, "0123456789") : 0;
    if (digits && digits < sizeof files->seed) snprintf(files->seed, sizeof files->seed, "%.*s", (int)digits, line + 6);
    line += n + (line[n] == '\n');
  }
  xci_free(text);
  xci_free(path);
  return status;
}

static xcoder_status read_labels(const char *run, xci_run_files *files, xcoder_error *err) {
  char *path;
  xcoder_status status = xci_join_path(run, "labels.csv", &path, err);
  if (!status && xci_exists(path)) status = xci_labels_read(&files->said, path, err);
  if (!status) status = xci_labels_merge(&files->said, files->n_features, err);
  xci_free(path);
  return status;
}

xcoder_status xci_run_files_read(const char *run, xci_run_files *files, xcoder_error *err) {
  *files = (xci_run_files){.path = run, .layer = -1};
  if (!xci_is_folder(run)) return xci_fail(err, XCODER_MISSING, "%s: no such run directory", run);
  xcoder_status status = read_csv(run, "metrics.csv", &files->metrics, err);
  if (!status) status = read_csv(run, "accuracy.csv", &files->accuracy, err);
  if (!status) status = read_csv(run, "latent-scaling.csv", &files->scaling, err);
  if (!status) status = read_csv(run, "sweep/sweep.csv", &files->sweep, err);
  if (!status) status = read_json(run, "convergence.json", &files->convergence, err);
  if (!status) status = read_json(run, "eval.json", &files->eval, err);
  if (!status) status = read_json(run, "known.json", &files->known, err);
  if (!status) status = read_json(run, "evolution.json", &files->evolution, err);
  if (!status) status = read_csv(run, "evolution.csv", &files->evolution_csv, err);
  if (!status) status = read_json(run, "features/features.json", &files->features, err);
  if (!status) status = read_json(run, "manifest.json", &files->manifest, err);
  if (!status) status = read_json(run, "chain/chain.json", &files->chain, err);
  if (!status) status = read_json(run, "compare/compare.json", &files->compare, err);
  if (!status) status = read_json(run, "compare-layers/compare.json", &files->compare_layers, err);
  if (!status) status = read_csv(run, "compare/stability.csv", &files->stability, err);
  if (!status) status = read_csv(run, "compare/seeds.csv", &files->seeds, err);
  if (!status) status = read_transfers(run, files, err);
  if (!status) status = read_tasks(run, files, err);
  if (!status) status = describe_coder(run, files, err);
  if (!status) status = identify(run, files, err);
  if (!status) status = read_seed(run, files, err);
  if (!status) status = read_labels(run, files, err);
  if (!status) status = copy_labels(json_object_get(files->eval, "labels"), files, err);
  for (size_t t = 0; !status && t < files->n_tasks; t++)
    status = copy_labels(json_object_get(files->task[t].effects_info, "labels"), files, err);
  if (!status && files->metrics.n_columns == 0 && !files->coder_summary && files->n_tasks == 0 && !files->eval)
    status =
        xci_fail(err, XCODER_MISSING,
                 "%s: no metrics.csv, crosscoder.safetensors, eval.json or effects, expected a run directory", run);
  if (!status) find_tokens(files);
  if (status) xci_run_files_free(files);
  return status;
}

void xci_run_files_free(xci_run_files *files) {
  for (size_t i = 0; i < files->n_labels; i++) xci_free(files->labels[i]);
  xci_free(files->labels);
  xci_csv_close(&files->metrics);
  xci_csv_close(&files->accuracy);
  xci_csv_close(&files->scaling);
  xci_labels_clear(&files->said);
  json_decref(files->eval);
  json_decref(files->known);
  json_decref(files->features);
  json_decref(files->evolution);
  json_decref(files->chain);
  json_decref(files->convergence);
  xci_csv_close(&files->sweep);
  xci_csv_close(&files->evolution_csv);
  json_decref(files->manifest);
  json_decref(files->compare);
  json_decref(files->compare_layers);
  xci_csv_close(&files->stability);
  xci_csv_close(&files->seeds);
  for (size_t t = 0; t < files->n_transfers; t++) {
    xci_free(files->transfer[t].name);
    json_decref(files->transfer[t].value);
  }
  xci_free(files->transfer);
  for (size_t t = 0; t < files->n_tasks; t++) {
    xci_task_files *task = &files->task[t];
    xci_free(task->name);
    xci_csv_close(&task->effects);
    xci_csv_close(&task->ablation);
    xci_csv_close(&task->curves);
    json_decref(task->effects_info);
    json_decref(task->ablation_info);
    json_decref(task->baselines);
  }
  xci_free(files->task);
  xci_free(files->coder_summary);
  *files = (xci_run_files){0};
}
