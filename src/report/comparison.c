/* SPDX-License-Identifier: Apache-2.0 */
/* What compare found: features that recur, the strongest ones that are strong again, RelIE and classes. */
#include "report/comparison.h"

#include "report/figure.h"
#include "report/grid.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST_PAIRS = 10 };

const char *xci_task_short(const char *task) { return strncmp(task, "pairs-", 6) == 0 ? task + 6 : task; }

static const json_t *find_run(const json_t *compare, const char *name) {
  size_t i;
  json_t *run;
  json_array_foreach(json_object_get(compare, "runs"), i, run)
    if (strcmp(xci_json_text_at(run, "name"), name) == 0) return run;
  return NULL;
}

xci_comparison_kind xci_comparison_find_kind(const json_t *compare) {
  const json_t *runs = json_object_get(compare, "runs"), *first = json_array_get(runs, 0);
  size_t i;
  json_t *item;
  json_array_foreach(json_object_get(compare, "pairs"), i, item) {
    const double shared = xci_json_number_at(item, "n_shared_checkpoints");
    const size_t n = json_array_size(json_object_get(find_run(compare, xci_json_text_at(item, "a")), "labels"));
    if (isfinite(shared) && shared < (double)n) return XCI_OTHER_MODELS;
  }
  json_array_foreach(runs, i, item) {
    if (!json_equal(json_object_get(item, "labels"), json_object_get(first, "labels"))) return XCI_OTHER_MODELS;
    if (xci_json_number_at(item, "layer") != xci_json_number_at(first, "layer")) return XCI_OTHER_LAYERS;
  }
  return XCI_OTHER_SEEDS;
}

void xci_comparison_name(const json_t *compare, xci_comparison_kind kind, const char *name, char out[64]) {
  const double layer = xci_json_number_at(find_run(compare, name), "layer");
  if (kind == XCI_OTHER_LAYERS && isfinite(layer)) snprintf(out, 64, "layer %.0f", layer);
  else snprintf(out, 64, "%.60s", name);
}

/* "seed-2" for a pair with this run, "seed-2, seed-3" for others. */
static void name_pair(const json_t *compare, xci_comparison_kind kind, const json_t *pair, char out[132]) {
  char a[64], b[64];
  const char *first = xci_json_text_at(json_array_get(json_object_get(compare, "runs"), 0), "name");
  xci_comparison_name(compare, kind, xci_json_text_at(pair, "a"), a);
  xci_comparison_name(compare, kind, xci_json_text_at(pair, "b"), b);
  if (kind != XCI_OTHER_LAYERS && strcmp(xci_json_text_at(pair, "a"), first) == 0) snprintf(out, 132, "%s", b);
  else snprintf(out, 132, "%s, %s", a, b);
}

static void add_recurring_figure(xci_page *page, const json_t *compare, const char *prefix) {
  const xci_comparison_kind kind = xci_comparison_find_kind(compare);
  const json_t *pairs = json_object_get(compare, "pairs");
  double x[MOST_PAIRS], x_null[MOST_PAIRS], share[MOST_PAIRS], low[MOST_PAIRS], high[MOST_PAIRS], null[MOST_PAIRS];
  char names[MOST_PAIRS][132];
  const char *name[MOST_PAIRS];
  size_t n = 0;
  for (; n < json_array_size(pairs) && n < MOST_PAIRS; n++) {
    const json_t *pair = json_array_get(pairs, n);
    name_pair(compare, kind, pair, names[n]);
    name[n] = names[n];
    x[n] = (double)n;
    x_null[n] = (double)n + 0.08;
    share[n] = xci_json_number_at(pair, "share_recurring");
    low[n] = xci_json_number_at(pair, "low");
    high[n] = xci_json_number_at(pair, "high");
    null[n] = xci_json_number_at(pair, "null_share_recurring");
  }
  const xci_series series[] = {
      {.name = "found again", .color = "#0072b2", .n = n, .x = x, .y = share, .low = low, .high = high, .points = true},
      {.name = "by chance", .color = "#888888", .n = n, .x = x_null, .y = null, .points = true}};
  const xci_chart chart = {.title = "Features that recur",
                           .x_title = "pair of runs",
                           .y_title = "share of the live features",
                           .y_min = -0.02,
                           .y_max = 1.02,
                           .categories = name,
                           .n_categories = n,
                           .reference = NAN,
                           .series = series,
                           .n_series = 2};
  xci_text svg = {0}, file = {0};
  xci_chart_svg(&chart, &svg);
  xci_text_format(&file, "%s-recurring", prefix);
  xci_page_figure(page, file.bytes ? file.bytes : prefix, &svg,
                  "With 95 % intervals. One name: with this run. High and far from chance: the features are a property "
                  "of the "
                  "models, not of one training.");
  xci_text_clear(&file);
}

static void add_recurring_table(xci_page *page, const json_t *compare, const char *prefix) {
  static const xci_head heads[] = {{XCI_CELL_TEXT, "run", "a"},
                                   {XCI_CELL_TEXT, "with", "b"},
                                   {XCI_CELL_TEXT, "matched by", "match"},
                                   {XCI_CELL_NUMBER, "threshold", "threshold"},
                                   {XCI_CELL_NUMBER, "live features", "n_live_a"},
                                   {XCI_CELL_INTERVAL, "found again", "share_recurring"},
                                   {XCI_CELL_NUMBER, "by chance", "null_share_recurring"},
                                   {XCI_CELL_NUMBER, "mean similarity", "mean_similarity"},
                                   {XCI_CELL_NUMBER, "by chance", "null_mean_similarity"},
                                   {XCI_CELL_NUMBER, "by chance, 99 %", "null_high_similarity"},
                                   {XCI_CELL_NUMBER, "mutual nearest", "share_mutual"}};
  const xci_comparison_kind kind = xci_comparison_find_kind(compare);
  xci_grid grid;
  xci_text file = {0};
  size_t i;
  json_t *pair;
  xci_grid_open(&grid, page, heads, sizeof heads / sizeof *heads, false);
  json_array_foreach(json_object_get(compare, "pairs"), i, pair) {
    char a[64], b[64];
    xci_comparison_name(compare, kind, xci_json_text_at(pair, "a"), a);
    xci_comparison_name(compare, kind, xci_json_text_at(pair, "b"), b);
    xci_grid_text(&grid, a);
    xci_grid_text(&grid, b);
    xci_grid_text(&grid, xci_json_text_at(pair, "match"));
    xci_grid_number(&grid, xci_json_number_at(pair, "threshold"));
    xci_grid_number(&grid, xci_json_number_at(pair, "n_live_a"));
    xci_grid_interval(&grid, xci_json_number_at(pair, "share_recurring"), xci_json_number_at(pair, "low"),
                      xci_json_number_at(pair, "high"));
    for (size_t k = 6; k < sizeof heads / sizeof *heads; k++)
      xci_grid_number(&grid, xci_json_number_at(pair, heads[k].key));
    xci_grid_end_row(&grid);
  }
  xci_text_format(&file, "%s-recurring", prefix);
  xci_grid_close(&grid, file.bytes ? file.bytes : prefix);
  xci_text_clear(&file);
}

void xci_page_recurring(xci_page *page, const json_t *compare, const char *prefix) {
  xci_page_raw(page, "<div class=\"figures\">\n");
  add_recurring_figure(page, compare, prefix);
  xci_page_raw(page, "</div>\n");
  add_recurring_table(page, compare, prefix);
}

/* ---- Tasks ---- */

/* Mean, least and greatest over pairs of a number of a task's checkpoint. */
static double mean_over_pairs(const json_t *compare, size_t task, size_t c, const char *key, double *least,
                              double *most) {
  size_t i, n = 0;
  double sum = 0;
  json_t *pair;
  *least = INFINITY;
  *most = -INFINITY;
  json_array_foreach(json_object_get(compare, "pairs"), i, pair) {
    const json_t *checkpoints = json_object_get(json_array_get(json_object_get(pair, "tasks"), task), "checkpoints");
    const double value = xci_json_number_at(json_array_get(checkpoints, c), key);
    if (!isfinite(value)) continue;
    sum += value;
    n++;
    *least = fmin(*least, value);
    *most = fmax(*most, value);
  }
  if (n == 0) *least = *most = NAN;
  return n ? sum / (double)n : NAN;
}

typedef struct task_figure {
  const char *file, *title, *y_title, *caption;
  const char *key, *chance; /* of compare.json; chance may be NULL */
  double y_min;
} task_figure;

static void add_task_figure(xci_page *page, const json_t *compare, const char *prefix, const task_figure *f) {
  const json_t *tasks = json_object_get(json_array_get(json_object_get(compare, "pairs"), 0), "tasks");
  const size_t n_tasks = json_array_size(tasks) < XCI_MOST_TASKS ? json_array_size(tasks) : XCI_MOST_TASKS;
  const size_t n = page->run->n_labels < 8 ? page->run->n_labels : 8;
  double x[8][XCI_MOST_TASKS], y[8][XCI_MOST_TASKS], low[8][XCI_MOST_TASKS], high[8][XCI_MOST_TASKS], chance = NAN, a,
                                                                                                      b;
  const char *names[XCI_MOST_TASKS];
  xci_series series[8];
  for (size_t t = 0; t < n_tasks; t++) names[t] = xci_task_short(xci_json_text_at(json_array_get(tasks, t), "task"));
  for (size_t c = 0; c < n; c++) {
    for (size_t t = 0; t < n_tasks; t++) {
      x[c][t] = (double)t + 0.12 * ((double)c - 0.5 * (double)(n - 1));
      y[c][t] = mean_over_pairs(compare, t, c, f->key, &low[c][t], &high[c][t]);
    }
    series[c] = (xci_series){.name = page->run->labels[c],
                             .color = xci_checkpoint_color(c, page->run->n_labels),
                             .n = n_tasks,
                             .x = x[c],
                             .y = y[c],
                             .low = low[c],
                             .high = high[c],
                             .points = true};
  }
  if (f->chance && n_tasks) chance = mean_over_pairs(compare, 0, 0, f->chance, &a, &b);
  const xci_chart chart = {.title = f->title,
                           .x_title = "task",
                           .y_title = f->y_title,
                           .y_min = f->y_min,
                           .y_max = 1.02,
                           .width = n_tasks > 5 ? 660 : 520,
                           .categories = names,
                           .n_categories = n_tasks,
                           .reference = chance,
                           .reference_name = "chance",
                           .series = series,
                           .n_series = n};
  xci_text svg = {0}, file = {0};
  xci_chart_svg(&chart, &svg);
  xci_text_format(&file, "%s-%s", prefix, f->file);
  xci_page_figure(page, file.bytes ? file.bytes : prefix, &svg, f->caption);
  xci_text_clear(&file);
}

static void add_checkpoint_rows(xci_grid *grid, const char *a, const char *b, const json_t *task) {
  static const char *const numbers[] = {"n_top", "n_recurring", "n_top_again"};
  size_t c;
  json_t *row;
  json_array_foreach(json_object_get(task, "checkpoints"), c, row) {
    const char *label = xci_json_text_at(row, "label_a"), *other = xci_json_text_at(row, "label_b");
    char both[300];
    snprintf(both, sizeof both, "%.140s%s%.140s", label, strcmp(label, other) ? " / " : "",
             strcmp(label, other) ? other : "");
    xci_grid_text(grid, xci_task_short(xci_json_text_at(task, "task")));
    xci_grid_text(grid, both);
    xci_grid_text(grid, a);
    xci_grid_text(grid, b);
    for (size_t k = 0; k < 3; k++) xci_grid_number(grid, xci_json_number_at(row, numbers[k]));
    xci_grid_interval(grid, xci_json_number_at(row, "share"), xci_json_number_at(row, "low"),
                      xci_json_number_at(row, "high"));
    xci_grid_number(grid, xci_json_number_at(row, "share_by_chance"));
    xci_grid_number(grid, xci_json_number_at(row, "n_rel_ie"));
    xci_grid_number(grid, xci_json_number_at(row, "rel_ie_spearman"));
    xci_grid_number(grid, xci_json_number_at(row, "rel_ie_difference"));
    xci_grid_end_row(grid);
  }
}

typedef enum table { OF_CHECKPOINTS, OF_CLASSES } table;

static void add_task_table(xci_page *page, const json_t *compare, const char *prefix, table which) {
  static const xci_head checkpoint_heads[] = {{XCI_CELL_TEXT, "task", "task"},
                                              {XCI_CELL_TEXT, "checkpoint", "checkpoint"},
                                              {XCI_CELL_TEXT, "run", "a"},
                                              {XCI_CELL_TEXT, "with", "b"},
                                              {XCI_CELL_NUMBER, "strongest", "n_top"},
                                              {XCI_CELL_NUMBER, "recur", "n_recurring"},
                                              {XCI_CELL_NUMBER, "strongest again", "n_top_again"},
                                              {XCI_CELL_INTERVAL, "their share", "share"},
                                              {XCI_CELL_NUMBER, "by chance", "share_by_chance"},
                                              {XCI_CELL_NUMBER, "matched with RelIE", "n_rel_ie"},
                                              {XCI_CELL_NUMBER, "rank correlation", "rel_ie_spearman"},
                                              {XCI_CELL_NUMBER, "mean difference", "rel_ie_difference"}};
  static const xci_head class_heads[] = {
      {XCI_CELL_TEXT, "task", "task"}, {XCI_CELL_TEXT, "run", "a"}, {XCI_CELL_TEXT, "with", "b"},
      {XCI_CELL_NUMBER, "matched features", "n_classes_compared"}, {XCI_CELL_NUMBER, "same class", "class_agreement"},
      {XCI_CELL_NUMBER, "kappa", "class_kappa"}};
  const xci_comparison_kind kind = xci_comparison_find_kind(compare);
  xci_grid grid;
  xci_text file = {0};
  size_t i, t;
  json_t *pair, *task;
  if (which == OF_CHECKPOINTS)
    xci_grid_open(&grid, page, checkpoint_heads, sizeof checkpoint_heads / sizeof *checkpoint_heads, false);
  else xci_grid_open(&grid, page, class_heads, sizeof class_heads / sizeof *class_heads, false);
  json_array_foreach(json_object_get(compare, "pairs"), i, pair) {
    char a[64], b[64];
    xci_comparison_name(compare, kind, xci_json_text_at(pair, "a"), a);
    xci_comparison_name(compare, kind, xci_json_text_at(pair, "b"), b);
    json_array_foreach(json_object_get(pair, "tasks"), t, task) {
      if (which == OF_CHECKPOINTS) {
        add_checkpoint_rows(&grid, a, b, task);
        continue;
      }
      xci_grid_text(&grid, xci_task_short(xci_json_text_at(task, "task")));
      xci_grid_text(&grid, a);
      xci_grid_text(&grid, b);
      for (size_t k = 3; k < 6; k++) xci_grid_number(&grid, xci_json_number_at(task, class_heads[k].key));
      xci_grid_end_row(&grid);
    }
  }
  xci_text_format(&file, "%s-%s", prefix, which == OF_CHECKPOINTS ? "top" : "classes");
  xci_grid_close(&grid, file.bytes ? file.bytes : prefix);
  xci_text_clear(&file);
}

void xci_page_agreement(xci_page *page, const json_t *compare, const char *prefix) {
  char title[64];
  if (json_array_size(json_object_get(json_array_get(json_object_get(compare, "pairs"), 0), "tasks")) == 0) return;
  snprintf(title, sizeof title, "Of the top %.0f, again in the top %.0f", xci_json_number_at(compare, "n_top"),
           xci_json_number_at(compare, "n_top"));
  const task_figure top = {"top",   title,
                           "share", "Mean over pairs of runs; bars from the least to the greatest.",
                           "share", "share_by_chance",
                           -0.02};
  const task_figure rel_ie = {"relie",
                              "RelIE of matched features",
                              "rank correlation",
                              "Mean over pairs of runs; bars from the least to the greatest. 1: the same features "
                              "belong to the "
                              "same checkpoints.",
                              "rel_ie_spearman",
                              NULL,
                              -0.2};
  xci_page_raw(page, "<div class=\"figures\">\n");
  add_task_figure(page, compare, prefix, &top);
  add_task_figure(page, compare, prefix, &rel_ie);
  xci_page_raw(page, "</div>\n<details><summary>Each task, checkpoint and pair</summary>\n");
  add_task_table(page, compare, prefix, OF_CHECKPOINTS);
  xci_page_raw(page, "</details>\n<details><summary>Agreement of classes</summary>\n<p>How many matched features have "
                     "the same class in "
                     "both runs; kappa is 0 for chance and 1 for full agreement.</p>\n");
  add_task_table(page, compare, prefix, OF_CLASSES);
  xci_page_raw(page, "</details>\n");
}
