/* SPDX-License-Identifier: Apache-2.0 */
/* Verdict lines, read back from the files that eval, attribute and ablate wrote. */
#include "job.h"
#include "text.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

static void add_verdicts(json_t *list, const char *path, const char *task) {
  json_t *object = NULL, *verdict;
  xcoder_error ignored;
  size_t index;
  if (cli_read_json(path, &object, &ignored))
    return;
  json_array_foreach(json_object_get(object, "verdicts"), index, verdict) {
    if (!json_is_object(verdict))
      continue;
    if (task)
      json_object_set_new(verdict, "task", json_string(task));
    json_array_append(list, verdict);
  }
  json_decref(object);
}

static int compare_names(const struct dirent **a, const struct dirent **b) {
  return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_json_name(const struct dirent *entry) {
  size_t n = strlen(entry->d_name);
  return n > 5 && entry->d_name[0] != '.' && strcmp(entry->d_name + n - 5, ".json") == 0;
}

static void add_folder(json_t *list, const char *run, const char *name) {
  char *path = cli_join(run, name);
  struct dirent **entries = NULL;
  int n = path ? scandir(path, &entries, is_json_name, compare_names) : -1;
  for (int i = 0; i < n; i++) {
    char *file = cli_join(path, entries[i]->d_name);
    entries[i]->d_name[strlen(entries[i]->d_name) - 5] = '\0';
    if (file)
      add_verdicts(list, file, entries[i]->d_name);
    free(file);
    free(entries[i]);
  }
  free(entries);
  free(path);
}

json_t *cli_collect_verdicts(const char *run, uint32_t stages) {
  json_t *list = json_array();
  char *eval = cli_join(run, "eval.json");
  if (eval && stages & 1u << STAGE_EVAL)
    add_verdicts(list, eval, NULL);
  if (stages & 1u << STAGE_ATTRIBUTE)
    add_folder(list, run, "effects");
  if (stages & 1u << STAGE_BASELINES)
    add_folder(list, run, "baselines");
  if (stages & 1u << STAGE_ABLATE)
    add_folder(list, run, "ablation");
  free(eval);
  return list;
}

/* The text of a member, fit for a terminal; freed with free(). */
static char *read_text(const json_t *object, const char *key) {
  const char *text = json_string_value(json_object_get(object, key));
  return cli_printable(text ? text : "", text ? strlen(text) : 0);
}

cli_verdict_counts cli_print_verdicts(const char *run, uint32_t stages, bool json) {
  cli_verdict_counts counts = {0};
  json_t *list = cli_collect_verdicts(run, stages), *verdict;
  size_t index;
  json_array_foreach(list, index, verdict) {
    bool pass = json_is_true(json_object_get(verdict, "pass"));
    counts.n_pass += pass;
    counts.n_warn += !pass;
    char *name = read_text(verdict, "name"), *value = read_text(verdict, "value"), *limit = read_text(verdict, "limit");
    char *remedy = read_text(verdict, "remedy"), *task = read_text(verdict, "task");
    if (!json && name && value && limit && remedy && task)
      printf("%s %s%s%s %s (%s)%s%s\n", pass ? "PASS" : "WARN", task, *task ? ": " : "", name, value, limit,
             !pass && *remedy ? ": " : "", pass ? "" : remedy);
    free(name);
    free(value);
    free(limit);
    free(remedy);
    free(task);
  }
  char *text = json ? json_dumps(list, JSON_INDENT(1)) : NULL;
  if (text)
    printf("{\"verdicts\": %s}\n", text);
  free(text);
  json_decref(list);
  return counts;
}
