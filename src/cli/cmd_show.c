/* SPDX-License-Identifier: Apache-2.0 */
/* crosscoder show: the results of a run in the terminal. */
#include "csv.h"
#include "job.h"
#include "show.h"
#include "text.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Members that are absent count as nothing: a run may be unfinished. */
static json_t *read_optional(const char *run, const char *name, cli_progress *progress) {
  char *path = cli_join(run, name);
  json_t *object = NULL;
  xcoder_error err;
  if (path && cli_read_json(path, &object, &err))
    cli_warn(progress, err.message);
  free(path);
  return object;
}

static const char *text_of(const json_t *value) {
  const char *text = json_string_value(value);
  return text ? text : "";
}

/* A number with three decimals, or "-" where there is none. */
static void print_cell(int width, const json_t *number) {
  if (json_is_number(number))
    printf(" %*.3f", width, json_number_value(number));
  else
    printf(" %*s", width, "-");
}

static void print_quality(const json_t *eval) {
  const json_t *l0 = json_object_get(eval, "l0"), *dead = json_object_get(eval, "dead"), *entry;
  size_t index;
  printf("\nQuality (held-out, %.0f tokens)\n  L0 %.1f, dead %.0f of %.0f, explained variance %.3f\n",
         json_number_value(json_object_get(eval, "n_tokens")), json_number_value(json_object_get(l0, "mean")),
         json_number_value(json_object_get(dead, "count")), json_number_value(json_object_get(eval, "n_features")),
         json_number_value(json_object_get(json_object_get(eval, "ev_pooled"), "mean")));
  printf("  %-16s %8s %8s %8s %8s %9s %9s\n", "checkpoint", "EV", "CE", "spliced", "blanked", "dCE", "recovered");
  json_array_foreach(json_object_get(eval, "cross_entropy"), index, entry) {
    char *label = cli_printable(text_of(json_object_get(entry, "label")), strlen(text_of(json_object_get(entry,
                                                                                                        "label"))));
    printf("  %-16s", label ? label : "");
    print_cell(8, json_array_get(json_object_get(json_object_get(eval, "ev_pooled"), "per_checkpoint"), index));
    print_cell(8, json_object_get(entry, "clean"));
    print_cell(8, json_object_get(entry, "spliced"));
    print_cell(8, json_object_get(entry, "blanked"));
    print_cell(9, json_object_get(entry, "delta"));
    print_cell(9, json_object_get(entry, "recovered"));
    printf("\n");
    free(label);
  }
}

static int is_csv_name(const struct dirent *entry) {
  size_t n = strlen(entry->d_name);
  return n > 4 && entry->d_name[0] != '.' && strcmp(entry->d_name + n - 4, ".csv") == 0;
}

static int compare_names(const struct dirent **a, const struct dirent **b) {
  return strcmp((*a)->d_name, (*b)->d_name);
}

cli_effects *cli_read_effects(const char *run, size_t *n_tasks, cli_progress *progress) {
  char *folder = cli_join(run, "effects");
  struct dirent **entries = NULL;
  int n = folder ? scandir(folder, &entries, is_csv_name, compare_names) : -1;
  cli_effects *effects = n > 0 ? calloc((size_t)n, sizeof *effects) : NULL;
  *n_tasks = 0;
  for (int i = 0; i < n; i++) {
    char *path = cli_join(folder, entries[i]->d_name);
    xcoder_error err;
    entries[i]->d_name[strlen(entries[i]->d_name) - 4] = '\0';
    if (effects && path && cli_csv_read(path, &effects[*n_tasks].table, &err))
      cli_warn(progress, err.message);
    else if (effects && path && (effects[*n_tasks].task = cli_copy(entries[i]->d_name)))
      ++*n_tasks;
    free(path);
    free(entries[i]);
  }
  free(entries);
  free(folder);
  return effects;
}

void cli_free_effects(cli_effects *effects, size_t n_tasks) {
  for (size_t i = 0; i < n_tasks; i++) {
    free(effects[i].task);
    cli_csv_free(&effects[i].table);
  }
  free(effects);
}

size_t cli_labels(const cli_csv *effects, const char *labels[XCODER_MAX_CHECKPOINTS]) {
  size_t n = 0;
  for (size_t i = 0; i < effects->n_columns && n < XCODER_MAX_CHECKPOINTS; i++)
    if (strncmp(effects->cells[i], "ie_", 3) == 0)
      labels[n++] = effects->cells[i] + 3;
  return n;
}

const char *cli_effect_cell(const cli_csv *effects, size_t row, const char *prefix, const char *label) {
  char *column = cli_format("%s%s", prefix, label);
  const char *cell = column ? cli_csv_cell(effects, row, column) : "";
  free(column);
  return cell;
}

/* The tokens of a feature from features.csv, "" where it was not described. */
static const char *top_tokens(const cli_csv *features, const char *id) {
  for (size_t row = 0; row < features->n_rows; row++)
    if (strcmp(cli_csv_cell(features, row, "feature"), id) == 0)
      return cli_csv_cell(features, row, "top_tokens");
  return "";
}

/* The text behind the ' that keeps spreadsheets from computing it. */
static const char *unguarded(const char *text) {
  return *text == '\'' && strchr("=+-@", text[strspn(text, "'")]) && text[strspn(text, "'")] ? text + 1 : text;
}

const char *cli_label_of(const cli_csv *labels, const char *id) {
  const char *shown = "";
  size_t most = 0;
  for (size_t row = 0; row < labels->n_rows; row++) {
    const char *text = cli_csv_cell(labels, row, "description");
    size_t votes = 0;
    if (strcmp(cli_csv_cell(labels, row, "feat_id"), id) != 0 || !*text)
      continue;
    for (size_t other = 0; other < labels->n_rows; other++)
      votes += strcmp(cli_csv_cell(labels, other, "feat_id"), id) == 0 &&
               strcmp(cli_csv_cell(labels, other, "description"), text) == 0;
    if (votes > most) {
      most = votes;
      shown = text;
    }
  }
  return unguarded(shown);
}

void cli_read_labels(const char *run, cli_csv *labels, cli_progress *progress) {
  char *path = cli_join(run, "labels.csv");
  xcoder_error err;
  *labels = (cli_csv){0};
  if (path && cli_exists(path) && cli_csv_read(path, labels, &err))
    cli_warn(progress, err.message);
  free(path);
}

static void print_task(const cli_effects *effects, const cli_csv *features, const cli_csv *labels_csv, size_t top) {
  const cli_csv *table = &effects->table;
  const char *labels[XCODER_MAX_CHECKPOINTS];
  size_t n = cli_labels(table, labels);
  printf("\n%s: features with the largest indirect effects\n  %8s", effects->task, "feature");
  for (size_t c = 0; c < n; c++)
    printf(" %12.12s", labels[c]);
  printf("  RelIE%*s %-24s %s\n", (int)(n * 5) > 5 ? (int)(n * 5) - 5 : 0, "", "class", "label, tokens");
  for (size_t row = 0; row < table->n_rows && row < top; row++) {
    const char *id = cli_csv_cell(table, row, "feature");
    printf("  %8s", id);
    for (size_t c = 0; c < n; c++)
      printf(" %+12.4g", strtod(cli_effect_cell(table, row, "ie_", labels[c]), NULL));
    printf(" ");
    for (size_t c = 0; c < n; c++) {
      const char *cell = cli_effect_cell(table, row, "rel_ie_", labels[c]);
      if (*cell)
        printf(" %.2f", strtod(cell, NULL));
      else
        printf("    -");
    }
    const char *class = cli_csv_cell(table, row, "class"), *tokens = top_tokens(features, id);
    const char *label = cli_label_of(labels_csv, id);
    char *clean_class = cli_printable(class, strlen(class)), *clean = cli_printable(tokens, strlen(tokens));
    char *clean_label = cli_printable(label, strlen(label));
    printf("  %-24s %s%s%.60s\n", clean_class ? clean_class : "", clean_label ? clean_label : "", *label ? "  " : "",
           clean ? clean : "");
    free(clean_label);
    free(clean_class);
    free(clean);
  }
}

static json_t *task_to_json(const cli_effects *effects, const cli_csv *features, const cli_csv *labels, size_t top) {
  const cli_csv *table = &effects->table;
  json_t *rows = json_array();
  for (size_t row = 0; row < table->n_rows && row < top; row++) {
    json_t *object = json_object();
    for (size_t i = 0; i < table->n_columns; i++) {
      const char *cell = table->cells[(row + 1) * table->n_columns + i];
      char *end = NULL;
      double number = strtod(cell, &end);
      json_object_set_new(object, table->cells[i], !*cell ? json_null() : *end ? json_string(cell) : json_real(number));
    }
    json_object_set_new(object, "top_tokens", json_string(top_tokens(features, cli_csv_cell(table, row, "feature"))));
    json_object_set_new(object, "label", json_string(cli_label_of(labels, cli_csv_cell(table, row, "feature"))));
    json_array_append_new(rows, object);
  }
  return json_pack("{s:s,s:o}", "task", effects->task, "features", rows);
}

static void print_json(json_t *object) {
  char *text = object ? json_dumps(object, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) : NULL;
  printf("%s\n", text ? text : "{}");
  free(text);
  json_decref(object);
}

static xcoder_status show_run(cli_call *call, const char *run, xcoder_error *err) {
  json_t *eval = read_optional(run, "eval.json", call->progress);
  size_t n_tasks = 0, top = (size_t)cli_integer(&call->values, OPT_TOP);
  cli_effects *effects = cli_read_effects(run, &n_tasks, call->progress);
  cli_csv features = {0}, labels;
  cli_read_labels(run, &labels, call->progress);
  char *path = cli_join(run, "features/features.csv");
  xcoder_error ignored;
  if (path && cli_exists(path) && cli_csv_read(path, &features, &ignored))
    cli_warn(call->progress, ignored.message);
  uint32_t all = (1u << N_STAGES) - 1;
  xcoder_status status = XCODER_OK;
  if (!eval && !n_tasks)
    status = cli_fail(err, XCODER_MISSING, "%s: neither eval.json nor effects are there yet (crosscoder eval, "
                      "crosscoder attribute)", run);
  if (!status && cli_flag(&call->values, OPT_JSON)) {
    json_t *tasks = json_array();
    for (size_t i = 0; i < n_tasks; i++)
      json_array_append_new(tasks, task_to_json(&effects[i], &features, &labels, top));
    print_json(json_pack("{s:s,s:o,s:O?,s:o}", "run", run, "verdicts", cli_collect_verdicts(run, all), "eval", eval,
                         "tasks", tasks));
  } else if (!status) {
    cli_print_verdicts(run, all, false);
    if (eval)
      print_quality(eval);
    for (size_t i = 0; i < n_tasks; i++)
      print_task(&effects[i], &features, &labels, top);
  }
  free(path);
  cli_csv_free(&features);
  cli_csv_free(&labels);
  cli_free_effects(effects, n_tasks);
  json_decref(eval);
  return status;
}

xcoder_status cli_show(cli_call *call, xcoder_error *err) {
  const char *run = call->operands[0];
  bool text = cli_is_set(&call->values, OPT_TEXT);
  if (!cli_exists(run))
    return cli_fail(err, XCODER_MISSING, "%s: %s", run, strerror(errno));
  if (!text && !cli_is_folder(run))
    return cli_fail(err, XCODER_USAGE, "%s: a file was found, expected a run directory", run);
  if (cli_is_set(&call->values, OPT_GOOD) != cli_is_set(&call->values, OPT_BAD))
    return cli_fail(err, XCODER_USAGE, "--good and --bad are given together or not at all");
  if (cli_is_set(&call->values, OPT_GOOD) && !text)
    return cli_fail(err, XCODER_USAGE, "--good and --bad need --text");
  if (text && call->n_operands > 1)
    return cli_fail(err, XCODER_USAGE, "a feature and --text were found, expected one of them");
  if (text)
    return cli_show_text(call, err);
  return call->n_operands > 1 ? cli_show_card(call, err) : show_run(call, run, err);
}
