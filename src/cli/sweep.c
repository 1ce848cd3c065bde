/* SPDX-License-Identifier: Apache-2.0 */
/* run --sweep=KEY:V,V,...: the same training with other values of one option, and what each costs: L0 against dCE.
 *
 * OUT/sweep/KEY-VALUE are run directories that are trained and evaluated, no more. Their numbers and those of the main
 * run go to OUT/sweep/sweep.csv, the hours of training to OUT/sweep/timing.csv. */
#include "compare.h"
#include "csv.h"
#include "job.h"
#include "text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_VALUES = 100 };

typedef struct point {
  char *text, *run; /* as given; its directory */
  double value;
} point;

typedef struct sweep {
  cli_id id;
  size_t n;
  point *point; /* [n + 1], room for the main run */
} sweep;

static void sweep_free(sweep *s) {
  for (size_t i = 0; s->point && i < s->n; i++) {
    free(s->point[i].text);
    free(s->point[i].run);
  }
  free(s->point);
  *s = (sweep){0};
}

static double value_of(const cli_values *values, cli_id id) {
  return cli_options[id].type == CLI_NUMBER ? cli_number(values, id) : (double)cli_integer(values, id);
}

/* Checks the value as the option itself would. */
static xcoder_status add_point(sweep *s, const char *text, size_t n_bytes, xcoder_error *err) {
  cli_values values;
  char where[64], *copy = cli_format("%.*s", (int)n_bytes, text), *items[1] = {copy};
  snprintf(where, sizeof where, "--sweep: %s", cli_options[s->id].name);
  xcoder_status status = copy ? cli_values_init(&values, err) : cli_fail_memory(err);
  if (status) {
    free(copy);
    return status;
  }
  status = cli_set(&values, s->id, items, 1, false, where, NULL, FROM_COMMAND_LINE, err);
  double value = status ? 0 : value_of(&values, s->id);
  cli_values_free(&values);
  for (size_t i = 0; !status && i < s->n; i++)
    if (s->point[i].value == value)
      status = cli_fail(err, XCODER_USAGE, "%s: %s was found twice", where, copy);
  if (!status && s->n == MOST_VALUES)
    status = cli_fail(err, XCODER_USAGE, "%s: more than %d values", where, MOST_VALUES);
  if (status)
    free(copy);
  else
    s->point[s->n++] = (point){.text = copy, .value = value};
  return status;
}

static xcoder_status sweep_read(const cli_values *values, sweep *s, xcoder_error *err) {
  static const cli_id keys[] = {OPT_L1, OPT_LATENTS, OPT_LEARNING_RATE, OPT_K};
  const char *text = cli_text(values, OPT_SWEEP), *colon = strchr(text, ':');
  *s = (sweep){.id = N_OPTIONS};
  for (size_t i = 0; colon && i < sizeof keys / sizeof *keys; i++)
    if (cli_find(text, (size_t)(colon - text)) == keys[i])
      s->id = keys[i];
  if (s->id == N_OPTIONS)
    return cli_fail(err, XCODER_USAGE,
                    "--sweep: '%.100s' was found, expected l1, latents, learning-rate or k, a colon, "
                    "and values",
                    text);
  s->point = calloc(MOST_VALUES + 1, sizeof *s->point);
  xcoder_status status = s->point ? XCODER_OK : cli_fail_memory(err);
  for (const char *rest = colon + 1; !status && rest;) {
    const char *comma = strchr(rest, ',');
    status = add_point(s, rest, comma ? (size_t)(comma - rest) : strlen(rest), err);
    rest = comma ? comma + 1 : NULL;
  }
  return status;
}

xcoder_status cli_check_sweep(const cli_values *values, xcoder_error *err) {
  sweep s;
  xcoder_status status = sweep_read(values, &s, err);
  if (!status && !cli_is_set(values, OPT_HELDOUT))
    status = cli_fail(err, XCODER_USAGE, "--heldout is missing: a sweep is evaluated on held-out text");
  sweep_free(&s);
  return status;
}

/* ---- Table ---- */

static int compare_points(const void *a, const void *b) {
  const point *p = a, *q = b;
  return p->value < q->value ? -1 : p->value > q->value;
}

static void add_number(cli_string *text, const json_t *number) {
  if (json_is_number(number))
    cli_addf(text, ",%.17g", json_number_value(number));
  else
    cli_add(text, ",");
}

static const json_t *member(const json_t *object, const char *outer, const char *inner) {
  return json_object_get(json_object_get(object, outer), inner);
}

static void add_quoted(cli_string *text, const char *field) {
  bool plain = !strpbrk(field, ",\"\r\n");
  cli_add(text, plain ? "" : "\"");
  for (const char *c = field; *c; c++)
    cli_addf(text, !plain && *c == '"' ? "\"%c" : "%c", *c);
  cli_add(text, plain ? "" : "\"");
}

static void add_header(cli_string *text, const char *key, const json_t *eval) {
  static const char *const columns[] = {"delta_ce_", "ce_recovered_"};
  size_t index;
  json_t *row;
  cli_addf(text, "%s,run,l0,dead_share,ev_pooled,ev_mean", key);
  for (size_t k = 0; k < 2; k++)
    json_array_foreach(json_object_get(eval, "cross_entropy"), index, row) {
      const char *label = json_string_value(json_object_get(row, "label"));
      char *name = cli_format("%s%s", columns[k], label ? label : "");
      cli_add(text, ",");
      add_quoted(text, name ? name : "");
      text->failed = text->failed || !name;
      free(name);
    }
  cli_add(text, "\n");
}

static void add_row(cli_string *text, const point *p, const char *name, const json_t *eval) {
  static const char *const keys[] = {"delta", "recovered"};
  size_t index;
  json_t *row;
  cli_addf(text, "%s,", p->text);
  add_quoted(text, name);
  add_number(text, member(eval, "l0", "mean"));
  add_number(text, member(eval, "dead", "share"));
  add_number(text, member(eval, "ev_pooled", "mean"));
  add_number(text, member(eval, "ev_mean", "mean"));
  for (size_t k = 0; k < 2; k++)
    json_array_foreach(json_object_get(eval, "cross_entropy"), index, row)
      add_number(text, json_object_get(row, keys[k]));
  cli_add(text, "\n");
}

/* Seconds of the training by the last row of timing.csv. */
static void add_hours(cli_string *text, const point *p) {
  char *path = cli_join(p->run, "timing.csv");
  cli_csv csv;
  xcoder_error ignored;
  if (path && !cli_csv_read(path, &csv, &ignored)) {
    if (csv.n_rows)
      cli_addf(text, "%s,%.6g\n", p->text, strtod(cli_csv_cell(&csv, csv.n_rows - 1, "seconds"), NULL) / 3600);
    cli_csv_free(&csv);
  }
  free(path);
}

static xcoder_status write_new(const char *folder, const char *name, const cli_string *text, bool *changed,
                               xcoder_error *err) {
  char *path = cli_join(folder, name), *old = NULL;
  size_t n_bytes = 0;
  xcoder_error ignored;
  xcoder_status status = path && !text->failed ? XCODER_OK : cli_fail_memory(err);
  bool same = !status && cli_exists(path) && !xcoder_read_file(path, 0, &old, &n_bytes, &ignored) &&
              n_bytes == text->n_bytes && memcmp(old, text->text, n_bytes) == 0;
  if (!status && !same) {
    *changed = true;
    status = xcoder_write_file(path, text->text, text->n_bytes, err);
  }
  xcoder_free(old);
  free(path);
  return status;
}

static xcoder_status write_table(const sweep *s, const char *out, bool *changed, xcoder_error *err) {
  char *folder = cli_join(out, "sweep");
  cli_string table = {0}, hours = {0};
  xcoder_status status = folder ? XCODER_OK : cli_fail_memory(err);
  cli_addf(&hours, "%s,hours\n", cli_options[s->id].name);
  for (size_t i = 0; !status && i < s->n; i++) {
    json_t *eval = NULL;
    char *path = cli_join(s->point[i].run, "eval.json");
    size_t n = strlen(out);
    bool inside = strncmp(s->point[i].run, out, n) == 0 && s->point[i].run[n] == '/';
    status = path ? cli_read_json(path, &eval, err) : cli_fail_memory(err);
    if (!status && i == 0)
      add_header(&table, cli_options[s->id].name, eval);
    if (!status)
      add_row(&table, &s->point[i], inside ? s->point[i].run + n + 1 : ".", eval);
    if (!status)
      add_hours(&hours, &s->point[i]);
    json_decref(eval);
    free(path);
  }
  if (!status)
    status = write_new(folder, "sweep.csv", &table, changed, err);
  bool ignored = false;
  if (!status)
    status = write_new(folder, "timing.csv", &hours, &ignored, err);
  cli_string_free(&table);
  cli_string_free(&hours);
  free(folder);
  return status;
}

xcoder_status cli_run_sweep(const cli_call *call, const char *out, bool *changed, xcoder_error *err) {
  sweep s;
  xcoder_status status = sweep_read(&call->values, &s, err);
  const double own = status ? 0 : value_of(&call->values, s.id);
  bool has_own = false;
  for (size_t i = 0; !status && i < s.n; i++) {
    point *p = &s.point[i];
    bool main_run = p->value == own;
    has_own = has_own || main_run;
    p->run = main_run ? cli_copy(out) : cli_format("%s/sweep/%s-%s", out, cli_options[s.id].name, p->text);
    if (!p->run)
      status = cli_fail_memory(err);
    if (!status && !main_run)
      status = cli_run_beside(call, out, s.id, p->text, NULL, true, p->run, err);
  }
  if (!status && !has_own) { /* the main run is a point, too */
    s.point[s.n] = (point){.text = cli_copy(cli_text(&call->values, s.id)), .run = cli_copy(out), .value = own};
    s.n++;
    if (!s.point[s.n - 1].run || !s.point[s.n - 1].text)
      status = cli_fail_memory(err);
  }
  if (!status)
    qsort(s.point, s.n, sizeof *s.point, compare_points);
  char *folder = status ? NULL : cli_join(out, "sweep");
  xcoder_run *lock = NULL;
  if (!status)
    status = folder ? xcoder_run_open(folder, &lock, err) : cli_fail_memory(err);
  if (!status)
    status = write_table(&s, out, changed, err);
  xcoder_run_close(lock);
  free(folder);
  sweep_free(&s);
  return status;
}
