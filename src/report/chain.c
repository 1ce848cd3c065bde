/* SPDX-License-Identifier: Apache-2.0 */
/* Chains of windows: the lives of features that were matched from one crosscoder to the next (evolve RUN RUN...). */
#include "report/page.h"

#include "report/figure.h"
#include "report/grid.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST_LINES = 10, MOST_POINTS = 64 };

/* Shares of the strongest trajectories at every checkpoint of the chain. */
static void add_lives(xci_page *page, const json_t *chain) {
  const json_t *labels = json_object_get(chain, "labels"), *strongest = json_object_get(chain, "strongest");
  const size_t n = json_array_size(labels) < MOST_POINTS ? json_array_size(labels) : MOST_POINTS;
  const size_t n_lines = json_array_size(strongest) < MOST_LINES ? json_array_size(strongest) : MOST_LINES;
  double x[MOST_POINTS], y[MOST_LINES][MOST_POINTS];
  char names[MOST_LINES][24], y_title[96];
  const char *ticks[MOST_POINTS];
  xci_series series[MOST_LINES];
  if (n < 2 || n_lines == 0) return;
  for (size_t c = 0; c < n; c++) {
    const char *label = json_string_value(json_array_get(labels, c));
    ticks[c] = label ? label : "";
    x[c] = (double)c;
  }
  for (size_t k = 0; k < n_lines; k++) {
    const json_t *item = json_array_get(strongest, k), *share = json_object_get(item, "share");
    for (size_t c = 0; c < n; c++) {
      const json_t *value = json_array_get(share, c);
      y[k][c] = json_is_number(value) ? json_number_value(value) : NAN;
    }
    snprintf(names[k], sizeof names[k], "%.0f", xci_json_number_at(item, "trajectory"));
    series[k] = (xci_series){.name = names[k], .color = xci_checkpoint_color(k, n_lines), .n = n, .x = x, .y = y[k],
                             .line = true, .points = true};
  }
  snprintf(y_title, sizeof y_title, "share by %.60s", xci_json_text_at(chain, "strongest_by"));
  const xci_chart chart = {.title = "Lives along the chain", .x_title = "checkpoint", .y_title = y_title,
                           .y_zero = true, .width = n > 5 ? 660 : 520, .categories = ticks, .n_categories = n,
                           .reference = NAN, .series = series, .n_series = n_lines};
  xci_text svg = {0};
  xci_chart_svg(&chart, &svg);
  xci_page_figure(page, "chain-lives", &svg,
                  "The strongest trajectories that run through all windows, by their number; where two windows meet, "
                  "the mean of both.");
}

static void add_links(xci_page *page, const json_t *chain) {
  static const xci_head heads[] = {
      {XCI_CELL_TEXT, "window", "a"}, {XCI_CELL_TEXT, "next", "b"}, {XCI_CELL_NUMBER, "pairs", "n_pairs"},
      {XCI_CELL_NUMBER, "links", "n_above"}, {XCI_CELL_NUMBER, "by chance", "above_by_chance"},
      {XCI_CELL_NUMBER, "mutual nearest", "n_mutual"}, {XCI_CELL_NUMBER, "mean cosine of links", "mean_similarity"},
      {XCI_CELL_NUMBER, "by chance, 99 %", "null_high"}};
  xci_grid grid;
  size_t i;
  json_t *row;
  xci_grid_open(&grid, page, heads, sizeof heads / sizeof *heads, false);
  json_array_foreach(json_object_get(chain, "links"), i, row) {
    xci_grid_text(&grid, xci_json_text_at(row, "a"));
    xci_grid_text(&grid, xci_json_text_at(row, "b"));
    for (size_t k = 2; k < sizeof heads / sizeof *heads; k++)
      xci_grid_number(&grid, xci_json_number_at(row, heads[k].key));
    xci_grid_end_row(&grid);
  }
  xci_grid_close(&grid, "chain-links");
}

static void add_lengths(xci_page *page, const json_t *chain) {
  static const xci_head heads[] = {{XCI_CELL_NUMBER, "windows", "windows"}, {XCI_CELL_NUMBER, "trajectories", "n"}};
  xci_grid grid;
  size_t i;
  json_t *row;
  xci_grid_open(&grid, page, heads, 2, false);
  json_array_foreach(json_object_get(chain, "lengths"), i, row) {
    xci_grid_number(&grid, xci_json_number_at(row, "windows"));
    xci_grid_number(&grid, xci_json_number_at(row, "n"));
    xci_grid_end_row(&grid);
  }
  xci_grid_close(&grid, "chain-lengths");
}

static void add_cycles(xci_page *page, const json_t *chain) {
  static const xci_head heads[] = {
      {XCI_CELL_TEXT, "by", "by"}, {XCI_CELL_TEXT, "through windows", "windows"}, {XCI_CELL_TEXT, "life", "cycle"},
      {XCI_CELL_NUMBER, "trajectories", "observed"}, {XCI_CELL_INTERVAL, "by chance", "expected"},
      {XCI_CELL_NUMBER, "p", "p"}};
  xci_grid grid;
  size_t i;
  json_t *row;
  xci_grid_open(&grid, page, heads, sizeof heads / sizeof *heads, false);
  json_array_foreach(json_object_get(chain, "cycles"), i, row) {
    for (size_t k = 0; k < 3; k++) xci_grid_text(&grid, xci_json_text_at(row, heads[k].key));
    xci_grid_number(&grid, xci_json_number_at(row, "observed"));
    xci_grid_interval(&grid, xci_json_number_at(row, "expected"), xci_json_number_at(row, "low"),
                      xci_json_number_at(row, "high"));
    xci_grid_number(&grid, xci_json_number_at(row, "p"));
    xci_grid_end_row(&grid);
  }
  xci_grid_close(&grid, "chain-cycles");
}

/* The features of the strongest trajectories, window by window. */
static void add_strongest(xci_page *page, const json_t *chain) {
  static const xci_head heads[] = {{XCI_CELL_NUMBER, "trajectory", "trajectory"}, {XCI_CELL_TEXT, "window", "run"},
                                   {XCI_CELL_NUMBER, "feature", "feature"}};
  const json_t *runs = json_object_get(chain, "runs");
  xci_grid grid;
  size_t i, s;
  json_t *item, *feature;
  xci_grid_open(&grid, page, heads, 3, false);
  json_array_foreach(json_object_get(chain, "strongest"), i, item)
    json_array_foreach(json_object_get(item, "features"), s, feature) {
      const char *run = json_string_value(json_array_get(runs, s));
      xci_grid_number(&grid, xci_json_number_at(item, "trajectory"));
      xci_grid_text(&grid, run ? run : "");
      xci_grid_number(&grid, json_is_number(feature) ? json_number_value(feature) : NAN);
      xci_grid_end_row(&grid);
    }
  xci_grid_close(&grid, "chain-strongest");
}

void xci_page_chain(xci_page *page) {
  const json_t *chain = page->run->chain;
  if (!chain) return;
  xci_page_raw(page, "<h2 id=\"chain\">Lives over all windows</h2>\n<p>Crosscoders over overlapping windows of "
                     "checkpoints, their features matched from window to window by the cosine of their decoders at the "
                     "checkpoints in common. A link is a pair more similar than 99 % of those of random mixtures of "
                     "the same decoders; a trajectory is a row of links. Where only the matching fails, a life ends, "
                     "too.</p>\n<div class=\"figures\">\n");
  add_lives(page, chain);
  xci_page_raw(page, "</div>\n");
  add_links(page, chain);
  xci_page_raw(page, "<h3>How far trajectories run</h3>\n");
  add_lengths(page, chain);
  xci_page_raw(page, "<h3>Their lives</h3>\n");
  add_cycles(page, chain);
  xci_page_raw(page, "<details><summary>Features of the strongest trajectories</summary>\n");
  add_strongest(page, chain);
  xci_page_raw(page, "</details>\n");
}
