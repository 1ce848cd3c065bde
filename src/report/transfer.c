/* SPDX-License-Identifier: Apache-2.0 */
/* The section of transfer: another revision's activations in a slot of the crosscoder. */
#include "report/comparison.h"

#include "report/figure.h"
#include "report/grid.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST_SLOTS = 8 };

/* Share of the strongest features that stay, by task, a series for each slot; what stays by chance in grey. */
static void add_figure(xci_page *page, const char *name, const json_t *transfer) {
  const json_t *tasks = json_object_get(transfer, "tasks");
  const json_t *first = json_object_get(json_array_get(tasks, 0), "checkpoints");
  const size_t n_tasks = json_array_size(tasks) < XCI_MOST_TASKS ? json_array_size(tasks) : XCI_MOST_TASKS;
  const size_t n = json_array_size(first) < MOST_SLOTS ? json_array_size(first) : MOST_SLOTS;
  double x[MOST_SLOTS + 1][XCI_MOST_TASKS], y[MOST_SLOTS + 1][XCI_MOST_TASKS], low[MOST_SLOTS + 1][XCI_MOST_TASKS],
      high[MOST_SLOTS + 1][XCI_MOST_TASKS];
  const char *names[XCI_MOST_TASKS];
  xci_series series[MOST_SLOTS + 1];
  for (size_t t = 0; t < n_tasks; t++) {
    const json_t *rows = json_object_get(json_array_get(tasks, t), "checkpoints");
    double chance = 0, most = 0;
    names[t] = xci_task_short(xci_json_text_at(json_array_get(tasks, t), "task"));
    for (size_t c = 0; c < n; c++) {
      const json_t *row = json_array_get(rows, c);
      x[c][t] = (double)t + 0.12 * ((double)c - 0.5 * (double)n);
      y[c][t] = xci_json_number_at(row, "share");
      low[c][t] = xci_json_number_at(row, "low");
      high[c][t] = xci_json_number_at(row, "high");
      chance += xci_json_number_at(row, "null_share") / (double)n;
      most = fmax(most, xci_json_number_at(row, "null_high"));
    }
    x[n][t] = (double)t + 0.06 * (double)n;
    y[n][t] = low[n][t] = chance;
    high[n][t] = most;
  }
  for (size_t c = 0; c <= n; c++)
    series[c] = (xci_series){.name = c < n ? xci_json_text_at(json_array_get(first, c), "label") : "by chance",
                             .color = c < n ? xci_checkpoint_color(c, n) : "#888888",
                             .n = n_tasks,
                             .x = x[c],
                             .y = y[c],
                             .low = low[c],
                             .high = high[c],
                             .points = true};
  const xci_chart chart = {.title = "Of the strongest features, those that stay",
                           .x_title = "task",
                           .y_title = "share",
                           .y_min = -0.02,
                           .y_max = 1.02,
                           .width = n_tasks > 5 ? 660 : 520,
                           .categories = names,
                           .n_categories = n_tasks,
                           .reference = NAN,
                           .series = series,
                           .n_series = n + 1};
  xci_text svg = {0}, file = {0};
  xci_chart_svg(&chart, &svg);
  xci_text_format(&file, "transfer-%s", name);
  xci_page_figure(page, file.bytes ? file.bytes : "transfer", &svg,
                  "With 95 % intervals, by the slot at which effects are measured. By chance: features drawn with "
                  "about the same "
                  "density, mean over slots and the largest 97.5 % quantile.");
  xci_text_clear(&file);
}

static void add_table(xci_page *page) {
  static const xci_head heads[] = {{XCI_CELL_TEXT, "transfer", "transfer"},
                                   {XCI_CELL_TEXT, "task", "task"},
                                   {XCI_CELL_TEXT, "checkpoint", "checkpoint"},
                                   {XCI_CELL_NUMBER, "features", "n_features"},
                                   {XCI_CELL_NUMBER, "rank correlation of |IE|", "spearman"},
                                   {XCI_CELL_NUMBER, "strongest", "n_top"},
                                   {XCI_CELL_NUMBER, "stay", "n_stay"},
                                   {XCI_CELL_INTERVAL, "their share", "share"},
                                   {XCI_CELL_NUMBER, "by chance", "null_share"},
                                   {XCI_CELL_NUMBER, "by chance, 97.5 %", "null_high"}};
  xci_grid grid;
  xci_grid_open(&grid, page, heads, sizeof heads / sizeof *heads, false);
  for (size_t i = 0; i < page->run->n_transfers; i++) {
    size_t t, c;
    json_t *task, *row;
    json_array_foreach(json_object_get(page->run->transfer[i].value, "tasks"), t, task)
      json_array_foreach(json_object_get(task, "checkpoints"), c, row) {
        xci_grid_text(&grid, page->run->transfer[i].name);
        xci_grid_text(&grid, xci_task_short(xci_json_text_at(task, "task")));
        xci_grid_text(&grid, xci_json_text_at(row, "label"));
        for (size_t k = 3; k < 7; k++) xci_grid_number(&grid, xci_json_number_at(row, heads[k].key));
        xci_grid_interval(&grid, xci_json_number_at(row, "share"), xci_json_number_at(row, "low"),
                          xci_json_number_at(row, "high"));
        for (size_t k = 8; k < 10; k++) xci_grid_number(&grid, xci_json_number_at(row, heads[k].key));
        xci_grid_end_row(&grid);
      }
  }
  xci_grid_close(&grid, "transfer");
}

/* Means over tasks at the slot that was taken. */
static void add_answer(xci_page *page, const json_t *transfer) {
  const char *slot = xci_json_text_at(transfer, "slot"), *taken_by = xci_json_text_at(transfer, "taken_by");
  double share = 0, chance = 0, spearman = 0;
  size_t t, c, n = 0;
  json_t *task, *row;
  json_array_foreach(json_object_get(transfer, "tasks"), t, task)
    json_array_foreach(json_object_get(task, "checkpoints"), c, row) {
    if (strcmp(xci_json_text_at(row, "label"), taken_by) != 0 || !isfinite(xci_json_number_at(row, "share"))) continue;
    share += xci_json_number_at(row, "share");
    chance += xci_json_number_at(row, "null_share");
    spearman += xci_json_number_at(row, "spearman");
    n++;
    }
  xci_page_raw(page, "<p><b>");
  xci_page_text(page, taken_by);
  if (!strstr(taken_by, slot)) { /* run's labels say both */
    xci_page_raw(page, " in the place of ");
    xci_page_text(page, slot);
  }
  xci_page_raw(page, "</b>");
  if (n)
    xci_text_format(&page->html,
                    ": at this slot <b>%.0f %%</b> of the strongest features stay among the strongest (%.0f %% by "
                    "chance), and "
                    "|IE| has a rank correlation of <b>%.2f</b> with what it was (means over tasks).",
                    100 * share / (double)n, 100 * chance / (double)n, spearman / (double)n);
  xci_page_raw(page, " The slot's scale was estimated anew: ");
  xci_page_number(page, xci_json_number_at(transfer, "scale"));
  xci_page_raw(page, " instead of ");
  xci_page_number(page, xci_json_number_at(transfer, "scale_before"));
  xci_page_raw(page, ".</p>\n");
}

void xci_page_transfers(xci_page *page) {
  const xci_run_files *run = page->run;
  if (run->n_transfers == 0) return;
  xci_page_raw(page, "<h2 id=\"transfer\">Do effects hold for another revision?</h2>\n<p>Another revision's "
                     "activations take the slot of one "
                     "checkpoint; nothing is trained anew. If the same features carry the task, they belong to the "
                     "model's course and "
                     "not to the one checkpoint that the crosscoder was trained on. The other slots change a little, "
                     "since "
                     "activations are common to all.</p>\n");
  for (size_t i = 0; i < run->n_transfers; i++) {
    add_answer(page, run->transfer[i].value);
    xci_page_raw(page, "<div class=\"figures\">\n");
    add_figure(page, run->transfer[i].name, run->transfer[i].value);
    xci_page_raw(page, "</div>\n");
  }
  add_table(page);
}
