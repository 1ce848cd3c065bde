/* SPDX-License-Identifier: Apache-2.0 */
/* What the result of a stage depends on: the values of its options, the content of its inputs, the stages before it. */
#include "job.h"
#include "signals.h"
#include "text.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
  ON_CHECKPOINTS = 1, ON_TOKENIZER = 2, ON_CORPUS = 4, ON_HELDOUT = 8, ON_TASK_FILES = 16, ON_GOLD = 32, ON_STORE = 64,
  ON_LABELS = 128, ON_DESCRIPTIONS = 256
};

/* What each stage reads. A stage that reads another's output depends on it and on all that one depends on. */
static const struct { uint32_t options, inputs, after; } dependencies[N_STAGES] = {
  [STAGE_TOKENS] = {ON_TOKENS, ON_TOKENIZER | ON_CORPUS | ON_HELDOUT, 0},
  [STAGE_SCALES] = {ON_SCALES, ON_CHECKPOINTS | ON_STORE, 1 << STAGE_TOKENS},
  [STAGE_ACCURACY] = {ON_ACCURACY, ON_CHECKPOINTS | ON_TOKENIZER | ON_TASK_FILES, 0},
  [STAGE_TRAIN] = {ON_TRAIN, 0, 1 << STAGE_SCALES},
  [STAGE_EVAL] = {ON_EVAL, ON_TASK_FILES, 1 << STAGE_TRAIN},
  [STAGE_ATTRIBUTE] = {ON_ATTRIBUTE, ON_TASK_FILES, 1 << STAGE_TRAIN},
  [STAGE_BASELINES] = {ON_COST, ON_TASK_FILES, 1 << STAGE_ATTRIBUTE},
  [STAGE_CONVERGENCE] = {ON_COST, ON_TASK_FILES, 1 << STAGE_ATTRIBUTE},
  [STAGE_KNOWN] = {ON_KNOWN, ON_GOLD, 1 << STAGE_TRAIN | 1 << STAGE_ATTRIBUTE},
  [STAGE_ABLATE] = {ON_ABLATE, ON_TASK_FILES, 1 << STAGE_ATTRIBUTE},
  [STAGE_FEATURES] = {ON_FEATURES, ON_TASK_FILES | ON_LABELS, 1 << STAGE_TRAIN | 1 << STAGE_ATTRIBUTE},
  [STAGE_EVOLVE] = {ON_EVOLVE, ON_TASK_FILES, 1 << STAGE_ATTRIBUTE | 1 << STAGE_FEATURES},
  [STAGE_REPORT] = {ON_REPORT, ON_DESCRIPTIONS, (1 << STAGE_REPORT) - 1},
};

static json_t *find_cached(const json_t *hashes, const char *path, const struct stat *st) {
  json_t *entry = json_object_get(hashes, path);
  json_int_t size = json_integer_value(json_object_get(entry, "size"));
  json_int_t seconds = json_integer_value(json_object_get(entry, "seconds"));
  json_int_t nanoseconds = json_integer_value(json_object_get(entry, "nanoseconds"));
  if (!entry || size != (json_int_t)st->st_size || seconds != (json_int_t)st->st_mtim.tv_sec ||
      nanoseconds != (json_int_t)st->st_mtim.tv_nsec)
    return NULL;
  return json_object_get(entry, "hash");
}

/* Adds NAME: HASH of one file to `inputs`. */
static xcoder_status add_file(cli_job *job, const char *name, const char *path, json_t *inputs, xcoder_error *err) {
  struct stat st;
  char hex[33], *absolute = cli_absolute(path);
  if (!absolute)
    return cli_fail_memory(err);
  xcoder_status status = XCODER_OK;
  char *key = cli_is_utf8(absolute) ? cli_copy(absolute) : cli_printable(absolute, strlen(absolute));
  bool known = stat(path, &st) == 0;
  json_t *hash = known && key ? find_cached(job->hashes, key, &st) : NULL;
  if (cli_stop)
    status = cli_fail(err, XCODER_INTERRUPTED, "stopped");
  if (!status && !hash) {
    status = xcoder_hash_file(path, hex, err);
    if (!status && known && key) {
      json_object_set_new(job->hashes, key,
                          json_pack("{s:I,s:I,s:I,s:s}", "size", (json_int_t)st.st_size, "seconds",
                                    (json_int_t)st.st_mtim.tv_sec, "nanoseconds", (json_int_t)st.st_mtim.tv_nsec,
                                    "hash", hex));
      job->hashes_changed = true;
    }
  } else if (!status) {
    snprintf(hex, sizeof hex, "%s", json_string_value(hash));
  }
  char *clean = cli_printable(name, strlen(name));
  if (!status && (!clean || json_object_set_new(inputs, clean, json_string(hex)) != 0))
    status = cli_fail_memory(err);
  free(clean);
  free(key);
  free(absolute);
  return status;
}

static int compare_names(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool ends_with(const char *name, const char *end) {
  size_t n = strlen(name), m = strlen(end);
  return n >= m && strcmp(name + n - m, end) == 0;
}

typedef enum folder_kind { PLAIN_FOLDER, MODEL_FOLDER, FOLDER_OF_FOLDERS } folder_kind;

/* The plain files of a folder in the order of their names: of a model only those that it is read from, of a folder of
 * folders (languages of a task) also those one level deeper. */
static xcoder_status add_folder(cli_job *job, const char *name, const char *folder, folder_kind kind, json_t *inputs,
                                xcoder_error *err) {
  DIR *directory = opendir(folder);
  char **names = NULL;
  size_t n_names = 0;
  xcoder_status status = directory ? XCODER_OK : cli_fail(err, XCODER_MISSING, "%s: cannot be listed", folder);
  for (struct dirent *entry; !status && (entry = readdir(directory));) {
    const char *file = entry->d_name;
    bool wanted = kind != MODEL_FOLDER || strcmp(file, "config.json") == 0 || ends_with(file, ".safetensors") ||
                  ends_with(file, ".safetensors.index.json") || ends_with(file, ".bin") ||
                  ends_with(file, ".bin.index.json");
    if (file[0] == '.' || !wanted)
      continue;
    char **more = realloc(names, (n_names + 1) * sizeof *names);
    names = more ? more : names;
    if (!more || !(names[n_names] = cli_copy(file)))
      status = cli_fail_memory(err);
    else
      n_names++;
  }
  if (directory)
    closedir(directory);
  if (n_names)
    qsort(names, n_names, sizeof *names, compare_names);
  for (size_t i = 0; i < n_names; i++) {
    char *path = status ? NULL : cli_join(folder, names[i]);
    char *whole = status ? NULL : cli_format("%s/%s", name, names[i]);
    if (!status && (!path || !whole))
      status = cli_fail_memory(err);
    if (!status && cli_is_regular(path))
      status = add_file(job, whole, path, inputs, err);
    else if (!status && kind == FOLDER_OF_FOLDERS && cli_is_folder(path))
      status = add_folder(job, whole, path, PLAIN_FOLDER, inputs, err);
    free(path);
    free(whole);
    free(names[i]);
  }
  free(names);
  return status;
}

static xcoder_status add_path(cli_job *job, const char *name, const char *path, folder_kind kind, json_t *inputs,
                              xcoder_error *err) {
  return cli_is_folder(path) ? add_folder(job, name, path, kind, inputs, err) : add_file(job, name, path, inputs, err);
}

/* What is read along with a file of tokens: the other half of Megatron's pair, and the languages. */
static xcoder_status add_beside(cli_job *job, const char *name, const char *path, json_t *inputs, xcoder_error *err) {
  static const char *const endings[][2] = {{".idx", ".bin"}, {".bin", ".idx"}, {".npy", ".npy.languages.json"}};
  xcoder_status status = XCODER_OK;
  for (size_t i = 0; !status && i < sizeof endings / sizeof *endings; i++) {
    if (!ends_with(path, endings[i][0]))
      continue;
    char *file = cli_format("%.*s%s", (int)(strlen(path) - 4), path, endings[i][1]);
    char *whole = cli_format("%s%s", name, endings[i][1]);
    if (!file || !whole)
      status = cli_fail_memory(err);
    else if (cli_is_regular(file))
      status = add_file(job, whole, file, inputs, err);
    free(file);
    free(whole);
  }
  return status;
}

/* The files of an option with a list of paths; named by their place, so that moving them changes nothing. */
static xcoder_status add_option(cli_job *job, cli_id id, json_t *inputs, xcoder_error *err) {
  const cli_value *value = &job->setting.values->value[id];
  bool list = cli_is_list(cli_options[id].type);
  xcoder_status status = XCODER_OK;
  for (size_t i = 0; !status && i < (list ? value->n_items : value->text != NULL); i++) {
    char name[64];
    snprintf(name, sizeof name, "%s %zu", cli_options[id].name, i);
    const char *path = list ? value->items[i] : value->text;
    status = strcmp(path, "-") == 0 ? XCODER_OK : add_path(job, name, path, PLAIN_FOLDER, inputs, err);
    if (!status && (id == OPT_CORPUS || id == OPT_HELDOUT))
      status = add_beside(job, name, path, inputs, err);
  }
  return status;
}

static xcoder_status add_tokenizer(cli_job *job, json_t *inputs, xcoder_error *err) {
  const char *path = job->setting.tokenizer_path;
  if (!path)
    return XCODER_OK;
  if (!cli_is_folder(path))
    return add_file(job, "tokenizer", path, inputs, err);
  static const char *const names[] = {"tokenizer.json", "tokenizer_config.json"};
  xcoder_status status = XCODER_OK;
  for (size_t i = 0; !status && i < 2; i++) {
    char *file = cli_join(path, names[i]), name[64];
    snprintf(name, sizeof name, "tokenizer/%s", names[i]);
    if (!file)
      status = cli_fail_memory(err);
    else if (cli_exists(file))
      status = add_file(job, name, file, inputs, err);
    free(file);
  }
  return status;
}

static xcoder_status add_inputs(cli_job *job, uint32_t inputs_mask, size_t task, json_t *inputs, xcoder_error *err) {
  const cli_setting *setting = &job->setting;
  xcoder_status status = XCODER_OK;
  for (size_t i = 0; inputs_mask & ON_CHECKPOINTS && !status && i < setting->n_checkpoints; i++) {
    char *name = cli_format("checkpoint %zu %s", i, setting->labels[i]);
    status = name ? add_path(job, name, setting->folders[i], MODEL_FOLDER, inputs, err) : cli_fail_memory(err);
    free(name);
  }
  if (!status && inputs_mask & ON_TOKENIZER)
    status = add_tokenizer(job, inputs, err);
  bool stored = cli_is_set(setting->values, OPT_STORE);
  if (!status && inputs_mask & ON_CORPUS && !stored)
    status = add_option(job, OPT_CORPUS, inputs, err);
  if (!status && inputs_mask & ON_HELDOUT)
    status = add_option(job, OPT_HELDOUT, inputs, err);
  if (!status && inputs_mask & ON_GOLD)
    status = add_option(job, OPT_GOLD, inputs, err);
  if (!status && inputs_mask & ON_LABELS)
    status = add_option(job, OPT_TOKEN_LABELS, inputs, err);
  if (!status && inputs_mask & ON_STORE && stored) {
    char *manifest = cli_join(cli_text(setting->values, OPT_STORE), "store.json"); /* it has the shards' checksums */
    status = manifest ? add_file(job, "store", manifest, inputs, err) : cli_fail_memory(err);
    free(manifest);
  }
  if (!status && inputs_mask & ON_DESCRIPTIONS) {
    char *labels = cli_join(job->out, "labels.csv"); /* from crosscoder labels, if there is one */
    if (!labels)
      status = cli_fail_memory(err);
    else if (cli_exists(labels))
      status = add_file(job, "labels.csv", labels, inputs, err);
    free(labels);
  }
  for (size_t i = 0; inputs_mask & ON_TASK_FILES && !status && i < setting->n_tasks; i++) {
    const char *spec = setting->values->value[OPT_TASK].items[i], *colon = strchr(spec, ':');
    char *name = cli_format("task %s", xcoder_pairs_name(setting->tasks[i]));
    if (task == SIZE_MAX || task == i)
      status = name ? add_path(job, name, colon ? colon + 1 : spec, FOLDER_OF_FOLDERS, inputs, err)
                    : cli_fail_memory(err);
    free(name);
  }
  return status;
}

static json_t *value_to_json(const cli_option *option, const cli_value *value) {
  if (cli_is_list(option->type)) {
    json_t *list = json_array();
    for (size_t i = 0; i < value->n_items; i++)
      json_array_append_new(list, json_string(value->items[i]));
    return list;
  }
  switch (option->type) {
  case CLI_FLAG: return json_boolean(value->integer != 0);
  case CLI_INTEGER: case CLI_COUNT: case CLI_BYTES: return json_integer(value->integer);
  case CLI_LAYER: return value->text ? json_integer(value->integer) : json_null();
  case CLI_STEPS: return value->integer ? json_integer(value->integer) : json_string("auto");
  case CLI_NUMBER: return json_real(value->number);
  default: return value->text ? json_string(value->text) : json_null();
  }
}

/* Hashes of the stamps of the stages before; a stage that was not asked for is absent. */
static xcoder_status add_after(cli_job *job, cli_stage stage, size_t task, json_t *after, xcoder_error *err) {
  xcoder_status status = XCODER_OK;
  for (int before = 0; before < N_STAGES; before++) {
    if (!(dependencies[stage].after & 1u << before))
      continue;
    bool per_task = before == STAGE_ATTRIBUTE || before == STAGE_ABLATE;
    for (size_t i = 0; !status && i < (per_task ? job->setting.n_tasks : 1); i++) {
      const char *name = per_task ? xcoder_pairs_name(job->setting.tasks[i]) : "";
      char *stamp = cli_format("stages/%s%s%s.json", cli_stage_name((cli_stage)before), per_task ? "-" : "", name);
      char *path = stamp ? cli_job_path(job, stamp) : NULL, hex[33];
      if (!path)
        status = cli_fail_memory(err);
      else if (cli_exists(path) && (!per_task || task == SIZE_MAX || task == i))
        status = xcoder_hash_file(path, hex, err) || json_object_set_new(after, stamp, json_string(hex)) != 0
                   ? cli_fail(err, XCODER_IO, "%s: cannot be read", path) : XCODER_OK;
      free(stamp);
      free(path);
    }
  }
  return status;
}

xcoder_status cli_stage_key(cli_job *job, cli_stage stage, size_t task, json_t **key, xcoder_error *err) {
  json_t *options = json_object(), *inputs = json_object(), *after = json_object();
  *key = json_pack("{s:i,s:s,s:o,s:o,s:o}", "format", 1, "stage", cli_stage_name(stage), "options", options, "inputs",
                   inputs, "after", after);
  if (!*key)
    return cli_fail_memory(err);
  bool mixed = stage == STAGE_TOKENS && cli_is_set(job->setting.values, OPT_MIXTURE); /* its order has the seed */
  /* A training that may be ended by its effects depends on all that these depend on. */
  const double tolerance = stage == STAGE_TRAIN ? cli_stop_tolerance(job) : 0;
  const uint32_t some = dependencies[stage].options | (tolerance > 0 ? ON_ATTRIBUTE | ON_COST : 0);
  if (tolerance > 0)
    json_object_set_new(options, "stop-when-stable", json_real(tolerance));
  for (int id = 0; id < N_OPTIONS; id++)
    if (cli_options[id].stages & some || (mixed && id == OPT_SEED))
      json_object_set_new(options, cli_options[id].name,
                          value_to_json(&cli_options[id], &job->setting.values->value[id]));
  xcoder_status status =
      add_inputs(job, dependencies[stage].inputs | (tolerance > 0 ? ON_TASK_FILES : 0), task, inputs, err);
  if (!status)
    status = add_after(job, stage, task, after, err);
  if (status) {
    json_decref(*key);
    *key = NULL;
  }
  return status;
}

static char *compare_part(const json_t *old, const json_t *new, const char *part) {
  json_t *a = json_object_get(old, part), *b = json_object_get(new, part), *value;
  const char *name;
  json_object_foreach(b, name, value) {
    json_t *before = json_object_get(a, name);
    if (before && json_equal(before, value))
      continue;
    char *from = before ? json_dumps(before, JSON_ENCODE_ANY | JSON_REAL_PRECISION(12)) : NULL;
    char *to = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(12));
    char *text = strcmp(part, "options") != 0 ? cli_format("%s%s", name, before ? " changed" : " is new")
                                              : cli_format("%s was %s, is %s", name, from ? from : "unset", to);
    free(from);
    free(to);
    return text;
  }
  json_object_foreach(a, name, value)
    if (!json_object_get(b, name))
      return cli_format("%s is gone", name);
  return NULL;
}

char *cli_key_difference(const json_t *old, const json_t *new) {
  static const char *const parts[] = {"options", "inputs", "after"};
  for (size_t i = 0; i < 3; i++) {
    char *text = compare_part(old, new, parts[i]);
    if (text)
      return text;
  }
  return json_equal(old, new) ? NULL : cli_copy("another version made it");
}

bool cli_key_same_effects(const json_t *old, const json_t *new) {
  static const char *const tables[] = {"bootstrap", "specific-border", "shared-border", "seed"};
  json_t *copy = json_deep_copy(old), *options = json_object_get(copy, "options");
  const json_t *now = json_object_get(new, "options");
  const char *baseline = json_string_value(json_object_get(now, "baseline"));
  /* The other prompts that resampled paths end at are drawn by the seed. */
  bool drawn = baseline && strcmp(baseline, "resampled") == 0;
  for (size_t i = 0; i < (drawn ? 3 : 4); i++)
    json_object_set(options, tables[i], json_object_get(now, tables[i]));
  bool same = copy && json_equal(copy, new);
  json_decref(copy);
  return same;
}

xcoder_status cli_save_hashes(cli_job *job, xcoder_error *err) {
  if (!job->hashes_changed)
    return XCODER_OK;
  char *path = cli_job_path(job, "stages/inputs.json");
  xcoder_status status = path ? cli_write_json(path, job->hashes, err) : cli_fail_memory(err);
  job->hashes_changed = status != XCODER_OK;
  free(path);
  return status;
}
