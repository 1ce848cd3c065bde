/* SPDX-License-Identifier: Apache-2.0 */
/* Accuracy over checkpoints, and what was found against what is known. */
#include "report/page.h"

#include "base/memory.h"
#include "report/axis.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST_SERIES = 24 };

/* ---- Accuracy ---- */

static size_t label_index(const xci_run_files *run, const char *label) {
  size_t c = 0;
  while (c < run->n_labels && strcmp(run->labels[c], label) != 0) c++;
  return c;
}

/* Whether `row`, a row of a whole task, is the first such row of its task. */
static bool is_new_task(const xci_csv *accuracy, size_t row, size_t task, size_t group) {
  for (size_t r = 0; r < row; r++)
    if (strcmp(xci_csv_at(accuracy, r, group), "all") == 0 &&
        strcmp(xci_csv_at(accuracy, r, task), xci_csv_at(accuracy, row, task)) == 0)
      return false;
  return true;
}

static void add_accuracy_figure(xci_page *page, const xci_csv *accuracy) {
  const xci_run_files *run = page->run;
  size_t n = run->n_labels, n_series = 0;
  if (n == 0) return;
  size_t task = xci_csv_column(accuracy, "task"), group = xci_csv_column(accuracy, "group");
  size_t columns[] = {xci_csv_column(accuracy, "accuracy"), xci_csv_column(accuracy, "low"),
                      xci_csv_column(accuracy, "high")};
  size_t label = xci_csv_column(accuracy, "checkpoint");
  double *values = NULL;
  if (!page->status) page->status = xci_alloc(MOST_SERIES * n * 4, sizeof *values, (void **)&values, page->err);
  if (page->status) return;
  xci_series series[MOST_SERIES];
  for (size_t row = 0; row < accuracy->n_rows && n_series < MOST_SERIES; row++) {
    if (strcmp(xci_csv_at(accuracy, row, group), "all") != 0 || !is_new_task(accuracy, row, task, group)) continue;
    double *at = values + n_series * n * 4;
    for (size_t i = 0; i < n * 4; i++) at[i] = NAN;
    xci_checkpoint_places(run->tokens_seen, n, at);
    for (size_t r = row; r < accuracy->n_rows; r++) {
      size_t c = label_index(run, xci_csv_at(accuracy, r, label));
      if (c >= n || strcmp(xci_csv_at(accuracy, r, group), "all") != 0 ||
          strcmp(xci_csv_at(accuracy, r, task), xci_csv_at(accuracy, row, task)) != 0)
        continue;
      for (size_t k = 0; k < 3; k++) at[n * (k + 1) + c] = xci_csv_number(accuracy, r, columns[k]);
    }
    const char *name = xci_csv_at(accuracy, row, task);
    series[n_series] = (xci_series){.name = strncmp(name, "pairs-", 6) == 0 ? name + 6 : name,
                                    .color = xci_checkpoint_color(n_series % 6, 6), .n = n, .x = at, .y = at + n,
                                    .low = at + 2 * n, .high = at + 3 * n, .line = true, .points = true,
                                    .dashed = n_series / 6 % 2 == 1}; /* the colours come again */
    n_series++;
  }
  xci_chart chart = {.title = "Accuracy on minimal pairs, 95 % intervals",
                     .x_title = "checkpoint",
                     .y_title = "share right",
                     .width = 640,
                     .height = 380,
                     .y_min = 0,
                     .y_max = 1.02,
                     .categories = (const char *const *)run->labels,
                     .n_categories = n,
                     .reference = 0.5,
                     .reference_name = "chance",
                     .series = series,
                     .n_series = n_series};
  xci_chart_by_checkpoints(&chart, (const char *const *)run->labels, run->tokens_seen, values, n);
  xci_text svg = {0};
  xci_chart_svg(&chart, &svg);
  xci_page_figure(page, "accuracy", &svg, "");
  xci_free(values);
}

void xci_page_accuracy(xci_page *page) {
  const xci_csv *accuracy = &page->run->accuracy;
  if (!accuracy->n_rows) return;
  xci_page_raw(page, "<h2 id=\"accuracy\">What the checkpoints can do</h2>\n<div class=\"figures\">\n");
  add_accuracy_figure(page, accuracy);
  xci_page_raw(page, "</div>\n<details><summary>All groups as a table</summary><div class=\"scroll\">"
                     "<table class=\"sortable\"><thead><tr>");
  xci_text csv = {0};
  for (size_t c = 0; c < accuracy->n_columns; c++) {
    xci_page_tag(page, c < 4 ? "th class=\"t\"" : "th", accuracy->field[c]);
    xci_text_add(&csv, c ? "," : "");
    xci_text_csv(&csv, accuracy->field[c], strlen(accuracy->field[c]));
  }
  xci_page_raw(page, "</tr></thead><tbody>\n");
  xci_text_add(&csv, "\n");
  for (size_t row = 0; row < accuracy->n_rows; row++) {
    xci_page_raw(page, "<tr>");
    for (size_t c = 0; c < accuracy->n_columns; c++) {
      const char *field = xci_csv_at(accuracy, row, c);
      if (c < 4)
        xci_page_cell_text(page, field);
      else
        xci_page_cell(page, xci_csv_number(accuracy, row, c));
      xci_text_add(&csv, c ? "," : "");
      xci_text_csv(&csv, field, strlen(field));
    }
    xci_page_raw(page, "</tr>\n");
    xci_text_add(&csv, "\n");
  }
  xci_page_raw(page, "</tbody></table></div></details>\n");
  xci_page_table(page, "accuracy", &csv);
}

/* ---- Found against known ---- */

enum { MOST_LINES = 8, MOST_CHECKPOINTS = 32, FIXED_LINES = 2 };

/* Whether a condition is a language of its own: neither a pooled one nor a part of a language. */
static bool is_language(const char *name) {
  static const char *const pooled[] = {"", "heldout nouns", "across attractors", "attractors of the other number"};
  for (size_t i = 0; i < sizeof pooled / sizeof *pooled; i++)
    if (strcmp(name, pooled[i]) == 0) return false;
  return strchr(name, ',') == NULL;
}

static double single_under(const json_t *checkpoint, const char *name) {
  size_t i;
  json_t *condition;
  json_array_foreach(json_object_get(checkpoint, "conditions"), i, condition)
    if (strcmp(xci_json_text_at(condition, "condition"), name) == 0) return xci_json_number_at(condition, "single");
  return NAN;
}

/* Lines: the probe, the floor, and the best single feature of every language (or of everything if there is none). */
static size_t name_lines(const json_t *checkpoint, const char *name[MOST_LINES]) {
  size_t n = FIXED_LINES, i;
  json_t *condition;
  name[0] = "linear probe (ceiling)";
  name[1] = "shuffled labels (floor)";
  json_array_foreach(json_object_get(checkpoint, "conditions"), i, condition)
    if (n < MOST_LINES && is_language(xci_json_text_at(condition, "condition")))
      name[n++] = xci_json_text_at(condition, "condition");
  if (n == FIXED_LINES) name[n++] = "";
  return n;
}

static void add_known_figure(xci_page *page, const json_t *checkpoints) {
  size_t n = json_array_size(checkpoints);
  if (n == 0 || n > MOST_CHECKPOINTS) return;
  double x[MOST_CHECKPOINTS], y[MOST_LINES][MOST_CHECKPOINTS];
  const char *labels[MOST_CHECKPOINTS], *name[MOST_LINES];
  char shown[MOST_LINES][48];
  size_t n_lines = name_lines(json_array_get(checkpoints, 0), name);
  for (size_t c = 0; c < n; c++) {
    const json_t *row = json_array_get(checkpoints, c);
    labels[c] = xci_json_text_at(row, "label");
    x[c] = (double)c;
    y[0][c] = xci_json_number_at(row, "probe");
    y[1][c] = xci_json_number_at(row, "floor");
    for (size_t k = FIXED_LINES; k < n_lines; k++)
      y[k][c] = *name[k] ? single_under(row, name[k]) : xci_json_number_at(json_object_get(row, "single"), "auc");
  }
  xci_series series[MOST_LINES];
  for (size_t k = 0; k < n_lines; k++) {
    snprintf(shown[k], sizeof shown[k], k < FIXED_LINES || !*name[k] ? "%.40s" : "best feature, %.24s",
             *name[k] ? name[k] : "best feature");
    series[k] = (xci_series){.name = shown[k],
                             .n = n,
                             .x = x,
                             .y = y[k],
                             .line = true,
                             .points = true,
                             .dashed = k == 1,
                             .color = k == 0   ? "#333333"
                                      : k == 1 ? "#888888"
                                               : xci_checkpoint_color(k - FIXED_LINES, 6)};
  }
  xci_chart chart = {.title = "How well the known label can be read off", .x_title = "checkpoint", .y_title = "AUC",
                     .width = 640, .y_min = 0.4, .y_max = 1.02, .categories = labels, .n_categories = n,
                     .reference = 0.5, .reference_name = "chance", .series = series, .n_series = n_lines};
  xci_text svg = {0};
  xci_chart_svg(&chart, &svg);
  xci_page_figure(page, "known", &svg,
                  "Features by their own pre-activation x_c W_enc[c] at each checkpoint; chosen on one half of the "
                  "sentences, measured on the other. A language without agreement has nothing to find and is left out "
                  "of the probe's line.");
}

static void add_known_row(xci_page *page, xci_text *csv, const char *label, const char *condition, double n,
                          double feature, const double single[3], double probe) {
  double values[] = {n, feature, single[0], single[1], single[2], probe, single[0] / probe};
  xci_page_raw(page, "<tr>");
  xci_page_cell_text(page, label);
  xci_page_cell_text(page, condition);
  xci_text_csv(csv, label, strlen(label));
  xci_text_add(csv, ",");
  xci_text_csv(csv, condition, strlen(condition));
  for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
    xci_page_cell(page, values[i]);
    xci_text_add(csv, ",");
    if (isfinite(values[i])) xci_text_number(csv, values[i]);
  }
  xci_text_add(csv, "\n");
  xci_page_raw(page, "</tr>\n");
}

void xci_page_known(xci_page *page) {
  const json_t *known = page->run->known, *checkpoints = json_object_get(known, "checkpoints");
  if (!known) return;
  xci_page_raw(page, "<h2 id=\"known\">Found against known</h2>\n<p>The text was written by a grammar, so the truth is "
                     "known: ");
  xci_page_text(page, xci_json_text_at(known, "question"));
  xci_page_raw(page, ", in ");
  xci_page_number(page, xci_json_number_at(known, "n_sentences"));
  xci_page_raw(page, " sentences.</p>\n<div class=\"figures\">\n");
  add_known_figure(page, checkpoints);
  xci_page_raw(page, "</div>\n<details><summary>Each checkpoint and condition</summary>\n<div class=\"scroll\"><table "
                     "class=\"sortable\"><thead><tr>"
                     "<th class=\"t\">checkpoint</th><th class=\"t\">condition</th>"
                     "<th>sentences</th><th>best feature</th><th>its AUC</th><th>low</th><th>high</th><th>probe "
                     "AUC</th><th>share of probe</th></tr></thead><tbody>\n");
  xci_text csv = {0};
  xci_text_add(&csv, "checkpoint,condition,n,feature,auc_single,low,high,auc_probe,share_of_probe\n");
  size_t c, k;
  json_t *row, *condition;
  json_array_foreach(checkpoints, c, row) {
    const json_t *single = json_object_get(row, "single");
    double feature = xci_json_number_at(single, "feature");
    const char *label = xci_json_text_at(row, "label");
    add_known_row(page, &csv, label, "all", xci_json_number_at(row, "n"), feature,
                  (double[]){xci_json_number_at(single, "auc"), xci_json_number_at(single, "low"),
                             xci_json_number_at(single, "high")}, xci_json_number_at(row, "probe"));
    json_array_foreach(json_object_get(row, "conditions"), k, condition)
        add_known_row(page, &csv, label, xci_json_text_at(condition, "condition"), xci_json_number_at(condition, "n"),
                      xci_json_number_at(condition, "feature"),
                      (double[]){xci_json_number_at(condition, "single"), xci_json_number_at(condition, "low"),
                                 xci_json_number_at(condition, "high")},
                      xci_json_number_at(condition, "probe"));
  }
  xci_page_raw(page, "</tbody></table></div></details>\n");
  xci_page_table(page, "known", &csv);
}
