/* SPDX-License-Identifier: Apache-2.0 */
/* How sure is a RelIE? Intervals over examples and over seeds, side by side. */
#include "report/comparison.h"

#include "report/figure.h"
#include "report/grid.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST_FEATURES = 10, MOST_FIGURES = 8 };

/* One point of the figure: RelIE of a feature at the last checkpoint. */
typedef struct points {
  size_t n;
  char name[MOST_FEATURES][16];
  double rel_ie[MOST_FEATURES], low[MOST_FEATURES], high[MOST_FEATURES];
  double mean[MOST_FEATURES], run_low[MOST_FEATURES], run_high[MOST_FEATURES];
} points;

/* The strongest features of a task that other seeds have, too: rows of a task are in that order. */
static void take_points(const xci_csv *csv, const char *task, const char *label, points *p) {
  const size_t tasks = xci_csv_column(csv, "task"), checkpoints = xci_csv_column(csv, "checkpoint");
  const size_t feature = xci_csv_column(csv, "feature"), rel_ie = xci_csv_column(csv, "rel_ie");
  const size_t low = xci_csv_column(csv, "low_examples"), high = xci_csv_column(csv, "high_examples");
  const size_t mean = xci_csv_column(csv, "mean"), run_low = xci_csv_column(csv, "low");
  const size_t run_high = xci_csv_column(csv, "high");
  p->n = 0;
  for (size_t r = 0; r < csv->n_rows && p->n < MOST_FEATURES; r++) {
    if (strcmp(xci_csv_at(csv, r, tasks), task) != 0 || strcmp(xci_csv_at(csv, r, checkpoints), label) != 0) continue;
    snprintf(p->name[p->n], sizeof p->name[p->n], "%.12s", xci_csv_at(csv, r, feature));
    p->rel_ie[p->n] = xci_csv_number(csv, r, rel_ie);
    p->low[p->n] = xci_csv_number(csv, r, low);
    p->high[p->n] = xci_csv_number(csv, r, high);
    p->mean[p->n] = xci_csv_number(csv, r, mean);
    p->run_low[p->n] = xci_csv_number(csv, r, run_low);
    p->run_high[p->n] = xci_csv_number(csv, r, run_high);
    p->n++;
  }
}

static void add_figure(xci_page *page, const char *task, const char *label) {
  points p;
  double x[MOST_FEATURES], x_runs[MOST_FEATURES];
  const char *name[MOST_FEATURES];
  char title[96], y_title[64];
  take_points(&page->run->seeds, task, label, &p);
  if (p.n == 0) return;
  for (size_t k = 0; k < p.n; k++) {
    x[k] = (double)k - 0.1;
    x_runs[k] = (double)k + 0.1;
    name[k] = p.name[k];
  }
  const xci_series series[] = {
      {.name = "over examples", .color = "#0072b2", .n = p.n, .x = x, .y = p.rel_ie, .low = p.low, .high = p.high,
       .points = true},
      {.name = "over seeds", .color = "#d55e00", .n = p.n, .x = x_runs, .y = p.mean, .low = p.run_low,
       .high = p.run_high, .points = true}};
  snprintf(title, sizeof title, "How sure is RelIE? %.60s", xci_task_short(task));
  snprintf(y_title, sizeof y_title, "RelIE at %.40s", label);
  const xci_chart chart = {.title = title, .x_title = "feature, strongest first", .y_title = y_title, .y_min = -0.02,
                           .y_max = 1.02, .categories = name, .n_categories = p.n, .reference = NAN, .series = series,
                           .n_series = 2};
  xci_text svg = {0}, file = {0};
  xci_chart_svg(&chart, &svg);
  xci_text_format(&file, "seeds-relie-%s", task);
  xci_page_figure(page, file.bytes ? file.bytes : "seeds-relie", &svg,
                  "Blue: this run, 95 % interval of a bootstrap over examples. Orange: mean over the seeds that found "
                  "the feature, with Student's 95 % interval.");
  xci_text_clear(&file);
}

static void add_table(xci_page *page, const json_t *over) {
  static const xci_head heads[] = {
      {XCI_CELL_TEXT, "task", "task"}, {XCI_CELL_TEXT, "checkpoint", "checkpoint"},
      {XCI_CELL_NUMBER, "features", "n_features"}, {XCI_CELL_NUMBER, "found again", "n_found_again"},
      {XCI_CELL_NUMBER, "in every seed", "n_everywhere"}, {XCI_CELL_NUMBER, "interval over examples", "width_examples"},
      {XCI_CELL_NUMBER, "interval over seeds", "width_runs"}, {XCI_CELL_NUMBER, "deviation over seeds", "sd_runs"}};
  xci_grid grid;
  size_t t, c;
  json_t *task, *row;
  xci_grid_open(&grid, page, heads, sizeof heads / sizeof *heads, false);
  json_array_foreach(json_object_get(over, "tasks"), t, task)
    json_array_foreach(json_object_get(task, "checkpoints"), c, row) {
      xci_grid_text(&grid, xci_task_short(xci_json_text_at(task, "task")));
      xci_grid_text(&grid, xci_json_text_at(row, "label"));
      for (size_t k = 2; k < 5; k++) xci_grid_number(&grid, xci_json_number_at(task, heads[k].key));
      for (size_t k = 5; k < 8; k++) xci_grid_number(&grid, xci_json_number_at(row, heads[k].key));
      xci_grid_end_row(&grid);
    }
  xci_grid_close(&grid, "seeds-relie-intervals");
}

void xci_page_over_runs(xci_page *page) {
  const xci_run_files *run = page->run;
  const json_t *over = json_object_get(run->compare, "over_runs");
  if (run->seeds.n_rows == 0 || run->n_labels == 0) return;
  xci_text_format(&page->html,
                  "<h3>RelIE over examples and over seeds</h3>\n<p>A bootstrap over examples says how far RelIE would "
                  "move with other prompts; another seed, how far with another training of the crosscoder (%.0f runs). "
                  "With so few runs the second interval is wide where they differ at all; its class stands in "
                  "tables/seeds-relie.csv.</p>\n",
                  xci_json_number_at(over, "n_runs"));
  xci_page_raw(page, "<div class=\"figures\">\n");
  for (size_t t = 0; t < run->n_tasks && t < MOST_FIGURES; t++)
    add_figure(page, run->task[t].name, run->labels[run->n_labels - 1]);
  xci_page_raw(page, "</div>\n<details><summary>Mean width of the intervals, over the features that every seed "
                     "has</summary>\n");
  add_table(page, over);
  xci_page_raw(page, "</details>\n");
  xci_page_copy_table(page, "seeds-relie", &run->seeds);
}
