/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the effects per example of all tasks of a run. */
#include "analysis/evolution/evolve.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "formats/json.h"
#include <math.h>
#include <string.h>

enum { MAX_FEATURES = 1 << 24, MAX_JSON = 64 << 20 };

static void close_task(xci_example_effects *task) {
  xci_free(task->name);
  xci_free(task->start);
  xci_free(task->feature);
  xci_free(task->effect);
  xci_free(task->of);
  xci_free(task->by);
  xci_free(task->example);
  xci_free(task->language);
}

void xci_run_effects_close(xci_run_effects *effects) {
  for (size_t t = 0; t < effects->n_tasks; t++) close_task(&effects->task[t]);
  xci_free(effects->task);
  for (size_t c = 0; effects->labels && c < effects->n; c++) xci_free(effects->labels[c]);
  xci_free(effects->labels);
  for (size_t g = 0; g < effects->n_languages; g++) xci_free(effects->languages[g]);
  xci_free(effects->languages);
  *effects = (xci_run_effects){0};
}

static xcoder_status fail(const xci_safetensors *file, xcoder_error *err, const char *what) {
  return xci_fail(err, XCODER_FORMAT, "%s: %s, expected the effects of attribute", xci_safetensors_path(file), what);
}

static xcoder_status copy_arrays(const xci_safetensors *file, xci_example_effects *task, xcoder_error *err) {
  const xci_tensor *start = xci_safetensors_find(file, "example_start");
  const xci_tensor *feature = xci_safetensors_find(file, "feature"), *effect = xci_safetensors_find(file, "effect");
  if (!start || !feature || !effect || start->dtype != XCI_I64 || feature->dtype != XCI_I32 || start->rank != 1 ||
      feature->rank != 1 || effect->rank != 2 || start->n_values < 1 || effect->shape[0] != feature->n_values ||
      effect->shape[1] < 1 || effect->shape[1] > XCODER_MAX_CHECKPOINTS || feature->n_values > UINT32_MAX)
    return fail(file, err, "arrays 'example_start', 'feature', 'effect' are missing or do not fit each other");
  task->n_examples = start->n_values - 1;
  task->nnz = feature->n_values;
  task->n = effect->shape[1];
  xcoder_status status = XCI_ALLOC(&task->start, start->n_values, err);
  if (!status) status = XCI_ALLOC(&task->feature, task->nnz, err);
  if (!status) status = XCI_ALLOC(&task->effect, effect->n_values, err);
  if (!status) status = xci_tensor_to_i64(start, task->start, err);
  if (!status) status = xci_tensor_to_f32(effect, task->effect, err);
  if (status) return status;
  if (task->nnz) memcpy(task->feature, feature->bytes, task->nnz * sizeof *task->feature);
  for (size_t e = 0; e < task->n_examples; e++)
    if (task->start[e] > task->start[e + 1]) return fail(file, err, "array 'example_start' falls");
  if (task->start[0] != 0 || (uint64_t)task->start[task->n_examples] != task->nnz)
    return fail(file, err, "array 'example_start' does not end with 'feature'");
  for (size_t j = 0; j < task->nnz; j++)
    if (task->feature[j] < 0 || task->feature[j] >= MAX_FEATURES) return fail(file, err, "a feature out of range");
  for (size_t j = 0; j < effect->n_values; j++)
    if (!isfinite(task->effect[j])) return fail(file, err, "an effect that is no finite number");
  return XCODER_OK;
}

static xcoder_status sort_entries(xci_example_effects *task, size_t n_features, xcoder_error *err) {
  xcoder_status status = XCI_ALLOC(&task->of, n_features + 1, err);
  if (!status) status = XCI_ALLOC(&task->by, task->nnz, err);
  if (!status) status = XCI_ALLOC(&task->example, task->nnz, err);
  if (status) return status;
  for (size_t j = 0; j < task->nnz; j++) task->of[task->feature[j] + 1]++;
  for (size_t i = 0; i < n_features; i++) task->of[i + 1] += task->of[i];
  for (size_t e = 0; e < task->n_examples; e++)
    for (int64_t j = task->start[e]; j < task->start[e + 1]; j++) {
      task->example[j] = (uint32_t)e;
      task->by[task->of[task->feature[j]]++] = (uint32_t)j;
    }
  for (size_t i = n_features; i > 0; i--) task->of[i] = task->of[i - 1]; /* filling moved every start to its end */
  task->of[0] = 0;
  return XCODER_OK;
}

static xcoder_status find_language(xci_run_effects *all, const char *name, int *index, xcoder_error *err) {
  *index = -1;
  if (!*name) return XCODER_OK;
  for (size_t g = 0; g < all->n_languages; g++)
    if (strcmp(all->languages[g], name) == 0) {
      *index = (int)g;
      return XCODER_OK;
    }
  xcoder_status status = xci_grow((void **)&all->languages, &all->language_capacity, all->n_languages + 1,
                                  sizeof *all->languages, err);
  if (!status) status = xci_copy_text(name, &all->languages[all->n_languages], err);
  if (!status) *index = (int)all->n_languages++;
  return status;
}

static xcoder_status add_languages(xci_run_effects *all, xci_example_effects *task, const xcoder_pairs *const *tasks,
                                   size_t n_tasks, xcoder_error *err) {
  xcoder_status status = XCI_ALLOC(&task->language, task->n_examples, err);
  for (size_t e = 0; !status && e < task->n_examples; e++) task->language[e] = -1;
  for (size_t t = 0; !status && t < n_tasks; t++) {
    if (strcmp(xcoder_pairs_name(tasks[t]), task->name) != 0 || xcoder_pairs_count(tasks[t]) != task->n_examples)
      continue;
    for (size_t e = 0; !status && e < task->n_examples; e++)
      status = find_language(all, xcoder_pairs_get(tasks[t], e)->language, &task->language[e], err);
  }
  return status;
}

/* The labels of the checkpoints stand in the JSON file beside. */
static xcoder_status read_labels(const char *folder, const char *name, xci_run_effects *all, xcoder_error *err) {
  xci_text path = {0};
  json_t *info = NULL;
  xci_text_format(&path, "%s/%s.json", folder, name);
  xcoder_status status = xci_text_status(&path, err);
  if (!status) status = xci_json_read(path.bytes, MAX_JSON, &info, err);
  const json_t *labels = json_object_get(info, "labels");
  if (!status && json_array_size(labels) != all->n)
    status = xci_fail(err, XCODER_FORMAT, "%s: %zu labels, expected %zu", path.bytes, json_array_size(labels), all->n);
  if (!status) status = XCI_ALLOC(&all->labels, all->n, err);
  for (size_t c = 0; !status && c < all->n; c++) {
    const char *label = json_string_value(json_array_get(labels, c));
    status = xci_copy_text(label ? label : "", &all->labels[c], err);
  }
  json_decref(info);
  xci_text_clear(&path);
  return status;
}

static xcoder_status open_task(const char *folder, const char *file_name, xci_run_effects *all, xcoder_error *err) {
  static const char ending[] = ".safetensors";
  const size_t length = strlen(file_name), n_ending = sizeof ending - 1;
  xci_safetensors *file = NULL;
  char *path = NULL;
  if (length <= n_ending || strcmp(file_name + length - n_ending, ending) != 0) return XCODER_OK;
  xci_example_effects *task = &all->task[all->n_tasks++];
  xcoder_status status = xci_copy_text(file_name, &task->name, err);
  if (!status) task->name[length - n_ending] = '\0';
  if (!status) status = xci_join_path(folder, file_name, &path, err);
  if (!status) status = xci_safetensors_open(path, &file, err);
  if (!status) status = copy_arrays(file, task, err);
  if (!status && all->n_tasks > 1 && task->n != all->n)
    status = xci_fail(err, XCODER_MISMATCH, "%s: effects at %zu checkpoints, those of %s at %zu", path, task->n,
                      all->task[0].name, all->n);
  if (!status) all->n = task->n;
  if (!status && all->n_tasks == 1) status = read_labels(folder, task->name, all, err);
  for (size_t j = 0; !status && j < task->nnz; j++)
    if ((size_t)task->feature[j] >= all->n_features) all->n_features = (size_t)task->feature[j] + 1;
  xci_safetensors_close(file);
  xci_free(path);
  return status;
}

xcoder_status xci_run_effects_open(const char *run_directory, const xcoder_pairs *const *tasks, size_t n_tasks,
                                   xci_run_effects *all, xcoder_error *err) {
  char *folder = NULL, **names = NULL;
  size_t n_names = 0;
  *all = (xci_run_effects){0};
  xcoder_status status = xci_join_path(run_directory, "effects", &folder, err);
  if (!status && xci_is_folder(folder)) status = xci_list_folder(folder, &names, &n_names, err);
  if (!status) status = XCI_ALLOC(&all->task, n_names, err);
  for (size_t i = 0; !status && i < n_names; i++) status = open_task(folder, names[i], all, err);
  if (!status && all->n_tasks == 0)
    status = xci_fail(err, XCODER_MISSING, "%s: no effects there (run attribute first)", folder);
  for (size_t t = 0; !status && t < all->n_tasks; t++) {
    status = sort_entries(&all->task[t], all->n_features, err);
    if (!status) status = add_languages(all, &all->task[t], tasks, n_tasks, err);
  }
  xci_free_names(names, n_names);
  xci_free(folder);
  if (status) xci_run_effects_close(all);
  return status;
}

xcoder_status xci_run_strengths(const xci_run_effects *all, double **strength, xcoder_error *err) {
  const size_t n = all->n;
  const xcoder_status status = XCI_ALLOC(strength, all->n_features * n, err);
  for (size_t i = 0; !status && i < all->n_features; i++)
    for (size_t t = 0; t < all->n_tasks; t++) {
      const xci_example_effects *task = &all->task[t];
      double sum[XCODER_MAX_CHECKPOINTS] = {0};
      for (size_t k = task->of[i]; k < task->of[i + 1]; k++)
        for (size_t c = 0; c < n; c++) sum[c] += (double)task->effect[(size_t)task->by[k] * n + c];
      for (size_t c = 0; c < n && task->n_examples; c++)
        (*strength)[i * n + c] += fabs(sum[c]) / (double)task->n_examples / (double)all->n_tasks;
    }
  return status;
}
