/* SPDX-License-Identifier: Apache-2.0 */
/* What removing features does: rank correlations of all tasks, joint ablation, faithfulness and completeness. */
#include "report/page.h"

#include "base/memory.h"
#include "report/comparison.h"
#include "report/figure.h"
#include "report/grid.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST_POINTS = 64 };
static const double widest = 0.3; /* mean width of the intervals of shares beyond which a curve says nothing */

static const char *value_in_words(const char *value) {
  return strcmp(value, "zero") == 0 ? "set to zero" : strcmp(value, "mean") == 0 ? "set to their mean activation"
       : strcmp(value, "resample") == 0 ? "set to their activation in another example" : "removed";
}

static void add_spearman(xci_page *page) {
  static const xci_head heads[] = {
      {XCI_CELL_TEXT, "task", "task"}, {XCI_CELL_TEXT, "checkpoint", "checkpoint"}, {XCI_CELL_TEXT, "value", "value"},
      {XCI_CELL_NUMBER, "features", "n"}, {XCI_CELL_INTERVAL, "with RelIE", "rel_ie"},
      {XCI_CELL_INTERVAL, "with RelDec", "rel_dec"}};
  xci_grid grid;
  xci_grid_open(&grid, page, heads, sizeof heads / sizeof *heads, true);
  for (size_t t = 0; t < page->run->n_tasks; t++) {
    const json_t *info = page->run->task[t].ablation_info;
    size_t c;
    json_t *row;
    json_array_foreach(json_object_get(info, "spearman"), c, row) {
      xci_grid_text(&grid, xci_task_short(page->run->task[t].name));
      xci_grid_text(&grid, xci_json_text_at(row, "label"));
      xci_grid_text(&grid, xci_json_text_at(info, "value"));
      xci_grid_number(&grid, xci_json_number_at(row, "n"));
      xci_grid_interval(&grid, xci_json_number_at(row, "rel_ie"), xci_json_number_at(row, "rel_ie_low"),
                        xci_json_number_at(row, "rel_ie_high"));
      xci_grid_interval(&grid, xci_json_number_at(row, "rel_dec"), xci_json_number_at(row, "rel_dec_low"),
                        xci_json_number_at(row, "rel_dec_high"));
      xci_grid_end_row(&grid);
    }
  }
  xci_grid_close(&grid, "ablation-spearman");
}

static void add_joint(xci_page *page) {
  static const xci_head heads[] = {{XCI_CELL_TEXT, "task", "task"},
                                   {XCI_CELL_TEXT, "checkpoint", "checkpoint"},
                                   {XCI_CELL_NUMBER, "features", "n_features"},
                                   {XCI_CELL_NUMBER, "accuracy", "accuracy_clean"},
                                   {XCI_CELL_NUMBER, "without them", "accuracy_ablated"},
                                   {XCI_CELL_NUMBER, "log-probability difference", "log_prob_difference_clean"},
                                   {XCI_CELL_NUMBER, "without them", "log_prob_difference_ablated"}};
  xci_grid grid;
  xci_grid_open(&grid, page, heads, sizeof heads / sizeof *heads, false);
  for (size_t t = 0; t < page->run->n_tasks; t++) {
    const json_t *info = page->run->task[t].ablation_info;
    size_t c;
    json_t *row;
    json_array_foreach(json_object_get(info, "joint"), c, row) {
      xci_grid_text(&grid, xci_task_short(page->run->task[t].name));
      xci_grid_text(&grid, xci_json_text_at(row, "label"));
      xci_grid_number(&grid, xci_json_number_at(info, "n_features"));
      for (size_t k = 3; k < 7; k++) xci_grid_number(&grid, xci_json_number_at(row, heads[k].key));
      xci_grid_end_row(&grid);
    }
  }
  xci_grid_close(&grid, "ablation-joint");
}

/* ---- Curves ---- */

typedef struct curve {
  size_t n;
  double k[MOST_POINTS], share[MOST_POINTS], low[MOST_POINTS], high[MOST_POINTS];
  double width; /* mean of the intervals' */
} curve;

static void read_curve(const xci_csv *csv, const char *label, const char *kind, curve *out) {
  const size_t checkpoint = xci_csv_column(csv, "checkpoint"), name = xci_csv_column(csv, "curve");
  const size_t k = xci_csv_column(csv, "k"), share = xci_csv_column(csv, "share");
  const size_t low = xci_csv_column(csv, "low"), high = xci_csv_column(csv, "high");
  *out = (curve){0};
  for (size_t r = 0; r < csv->n_rows && out->n < MOST_POINTS; r++) {
    if (strcmp(xci_csv_at(csv, r, checkpoint), label) != 0 || strcmp(xci_csv_at(csv, r, name), kind) != 0) continue;
    const double x = xci_csv_number(csv, r, k);
    if (!(x >= 1)) continue; /* none: 0 or 1 by definition, and no place on a logarithmic axis */
    out->k[out->n] = x;
    out->share[out->n] = xci_csv_number(csv, r, share);
    out->low[out->n] = xci_csv_number(csv, r, low);
    out->high[out->n] = xci_csv_number(csv, r, high);
    out->width += out->high[out->n] - out->low[out->n];
    out->n++;
  }
  if (out->n) out->width /= (double)out->n;
}

static void add_curves(xci_page *page, const xci_task_files *task, const char *kind, const char *title,
                       const char *caption) {
  const xci_run_files *run = page->run;
  const size_t n = run->n_labels;
  curve *curves;
  xci_series series[XCODER_MAX_CHECKPOINTS];
  xci_text svg = {0}, file = {0}, words = {0};
  size_t n_series = 0, n_left_out = 0;
  if (!page->status) page->status = xci_alloc(n, sizeof *curves, (void **)&curves, page->err);
  if (page->status) return;
  xci_text_add(&words, caption);
  for (size_t c = 0; c < n && c < XCODER_MAX_CHECKPOINTS; c++) {
    read_curve(&task->curves, run->labels[c], kind, &curves[c]);
    if (!(curves[c].width <= widest)) {
      xci_text_format(&words, "%s%s",
                      n_left_out++ ? ", " : " Not drawn, since there is too little to explain there: ", run->labels[c]);
      continue;
    }
    series[n_series++] = (xci_series){.name = run->labels[c],
                                      .color = xci_checkpoint_color(c, n),
                                      .n = curves[c].n,
                                      .x = curves[c].k,
                                      .y = curves[c].share,
                                      .low = curves[c].low,
                                      .high = curves[c].high,
                                      .line = true,
                                      .points = true};
  }
  if (n_left_out) xci_text_add(&words, ".");
  const xci_chart chart = {.title = title,
                           .x_title = "features, strongest |IE| first",
                           .y_title = "share of the behaviour",
                           .width = 440,
                           .height = 280,
                           .log_x = true,
                           .y_zero = true,
                           .reference = 1,
                           .reference_name = "",
                           .series = series,
                           .n_series = n_series};
  xci_chart_svg(&chart, &svg);
  xci_text_format(&file, "%s-%s", kind, task->name);
  xci_page_figure(page, file.bytes ? file.bytes : kind, &svg, words.bytes ? words.bytes : "");
  xci_text_clear(&file);
  xci_text_clear(&words);
  xci_free(curves);
}

static void copy_curves(xci_page *page, const xci_task_files *task) {
  xci_text name = {0};
  xci_text_format(&name, "curves-%s", task->name);
  xci_page_copy_table(page, name.bytes ? name.bytes : "curves", &task->curves);
  xci_text_clear(&name);
}

static void add_all_curves(xci_page *page) {
  bool first = true;
  for (size_t t = 0; t < page->run->n_tasks && !page->status; t++) {
    const xci_task_files *task = &page->run->task[t];
    if (task->curves.n_rows == 0) continue;
    if (first)
      xci_page_raw(page, "<h3>How many features carry the behaviour?</h3>\n<p>Faithfulness: what is left of the mean "
                         "log-probability difference "
                         "when only the strongest features are kept. Completeness: what is left when they alone are "
                         "removed. A small "
                         "circuit is faithful soon and leaves nothing soon; above 1, what was removed worked against "
                         "the answer.</p>\n");
    xci_text_format(&page->html, "<details%s><summary>", first ? " open" : "");
    first = false;
    xci_page_text(page, xci_task_short(task->name));
    xci_page_raw(page, "</summary>\n<div class=\"figures\">\n");
    add_curves(page, task, "faithfulness", "Faithfulness: only these kept", "With 95 % intervals over examples.");
    add_curves(page, task, "completeness", "Completeness: only these removed", "");
    xci_page_raw(page, "</div></details>\n");
    copy_curves(page, task);
  }
}

void xci_page_ablation(xci_page *page) {
  const xci_run_files *run = page->run;
  const char *value = NULL;
  for (size_t t = 0; t < run->n_tasks && !value; t++)
    if (run->task[t].ablation_info) value = xci_json_text_at(run->task[t].ablation_info, "value");
  if (!value) return;
  xci_page_raw(page, "<h2 id=\"ablation\">Does removing features do what their effects say?</h2>\n<p>Features are ");
  xci_page_raw(page, value_in_words(value));
  xci_page_raw(page, ", one at a time, in each checkpoint. Rank correlation, over these features, of each checkpoint's "
                     "share of the change "
                     "in log-probability difference with RelIE and with RelDec, with 95 % intervals over features: the "
                     "larger, the better "
                     "the share tells where the feature matters.</p>\n");
  add_spearman(page);
  xci_page_raw(page, "<details><summary>All these features removed together</summary>\n");
  add_joint(page);
  xci_page_raw(page, "</details>\n");
  add_all_curves(page);
}
