/* SPDX-License-Identifier: Apache-2.0 */
/* Summary with verdicts, training curves, quality table. */
#include "report/page.h"

#include "base/memory.h"
#include "report/figure.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* The verdicts that passed, or those that did not; `csv` gets them too. */
static void add_verdicts(xci_page *page, const char *where, const json_t *verdicts, bool wanted, xci_text *csv) {
  size_t i;
  json_t *verdict;
  json_array_foreach(verdicts, i, verdict) {
    bool pass = json_is_true(json_object_get(verdict, "pass"));
    if (pass != wanted) continue;
    xci_page_raw(page, "<tr>");
    xci_page_raw(page, pass ? "<td class=\"t pass\">PASS</td>" : "<td class=\"t warn\">WARN</td>");
    xci_page_cell_text(page, where);
    xci_page_cell_text(page, xci_json_text_at(verdict, "name"));
    xci_page_cell_text(page, xci_json_text_at(verdict, "value"));
    xci_page_cell_text(page, xci_json_text_at(verdict, "limit"));
    xci_page_tag(page, "td class=\"t w\"", xci_json_text_at(verdict, "remedy"));
    xci_page_raw(page, "</tr>\n");
    static const char *const keys[] = {"name", "value", "limit", "remedy"};
    xci_text_format(csv, "%s,", pass ? "PASS" : "WARN");
    xci_text_csv(csv, where, strlen(where));
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
      const char *text = xci_json_text_at(verdict, keys[k]);
      xci_text_add(csv, ",");
      xci_text_csv(csv, text, strlen(text));
    }
    xci_text_add(csv, "\n");
  }
}

static void count_verdicts(const json_t *verdicts, size_t *n_pass, size_t *n_warn) {
  size_t i;
  json_t *verdict;
  json_array_foreach(verdicts, i, verdict) *(json_is_true(json_object_get(verdict, "pass")) ? n_pass : n_warn) += 1;
}

static void add_verdict_table(xci_page *page, const xci_run_files *run, bool wanted, xci_text *csv) {
  xci_page_raw(page, "<div class=\"scroll\"><table><thead><tr><th class=\"t\"></th><th class=\"t\">where</th><th "
                     "class=\"t\">what</th>"
                     "<th class=\"t\">found</th><th class=\"t\">asked for</th><th "
                     "class=\"t\">remedy</th></tr></thead><tbody>\n");
  add_verdicts(page, "eval", json_object_get(run->eval, "verdicts"), wanted, csv);
  for (size_t t = 0; t < run->n_tasks; t++) {
    add_verdicts(page, run->task[t].name, json_object_get(run->task[t].effects_info, "verdicts"), wanted, csv);
    add_verdicts(page, run->task[t].name, json_object_get(run->task[t].baselines, "verdicts"), wanted, csv);
    add_verdicts(page, run->task[t].name, json_object_get(run->task[t].ablation_info, "verdicts"), wanted, csv);
  }
  xci_page_raw(page, "</tbody></table></div>\n");
}

static void add_missing(xci_page *page, const xci_run_files *run) {
  xci_text missing = {0};
  if (!run->metrics.n_rows) xci_text_add(&missing, " training metrics,");
  if (!run->coder_summary) xci_text_add(&missing, " the trained crosscoder,");
  if (!run->eval) xci_text_add(&missing, " evaluation,");
  if (!run->n_tasks) xci_text_add(&missing, " indirect effects,");
  if (!run->features) xci_text_add(&missing, " feature cards,");
  if (missing.n_bytes) {
    missing.bytes[missing.n_bytes - 1] = '.';
    xci_page_raw(page, "<p class=\"warn\">Not there yet:");
    xci_page_text(page, missing.bytes);
    xci_page_raw(page, "</p>\n");
  }
  xci_text_clear(&missing);
}

void xci_page_summary(xci_page *page) {
  const xci_run_files *run = page->run;
  xci_page_raw(page, "<p>");
  if (run->coder_summary) xci_page_text(page, run->coder_summary);
  xci_page_raw(page, "</p>\n<p>Checkpoints, oldest first: ");
  for (size_t c = 0; c < run->n_labels; c++) {
    if (c) xci_page_raw(page, ", ");
    xci_text_format(&page->html, "<b style=\"color:%s\">", xci_checkpoint_color(c, run->n_labels));
    xci_page_text(page, run->labels[c]);
    xci_page_raw(page, "</b>");
  }
  xci_page_raw(page, "</p>\n<nav>");
  if (run->accuracy.n_rows) xci_page_raw(page, "<a href=\"#accuracy\">Accuracy</a>");
  xci_page_raw(page, "<a href=\"#training\">Training</a><a href=\"#quality\">Quality</a>");
  if (run->n_tasks) xci_page_raw(page, "<a href=\"#tasks\">Effects</a>");
  xci_page_check_links(page);
  if (run->convergence || run->sweep.n_rows) xci_page_raw(page, "<a href=\"#cost\">Cost</a>");
  if (run->features) xci_page_raw(page, "<a href=\"#cards\">Features</a>");
  xci_page_raw(page, "<a href=\"#read\">How to read</a></nav>\n");
  add_missing(page, run);
  size_t n_pass = 0, n_warn = 0;
  count_verdicts(json_object_get(run->eval, "verdicts"), &n_pass, &n_warn);
  for (size_t t = 0; t < run->n_tasks; t++) {
    count_verdicts(json_object_get(run->task[t].effects_info, "verdicts"), &n_pass, &n_warn);
    count_verdicts(json_object_get(run->task[t].baselines, "verdicts"), &n_pass, &n_warn);
    count_verdicts(json_object_get(run->task[t].ablation_info, "verdicts"), &n_pass, &n_warn);
  }
  if (n_pass + n_warn == 0) return;
  xci_text csv = {0};
  xci_text_add(&csv, "verdict,where,name,value,limit,remedy\n");
  xci_text_format(&page->html, "<details%s><summary><span class=\"%s\">%zu WARN</span></summary>\n",
                  n_warn ? " open" : "", n_warn ? "warn" : "muted", n_warn);
  if (n_warn) add_verdict_table(page, run, false, &csv);
  xci_text_format(&page->html, "</details>\n<details><summary><span class=\"pass\">%zu PASS</span></summary>\n",
                  n_pass);
  if (n_pass) add_verdict_table(page, run, true, &csv);
  xci_page_raw(page, "</details>\n");
  xci_page_table(page, "verdicts", &csv);
}

/* ---- Training ---- */

typedef struct curve {
  double *x, *y;
  size_t n;
} curve;

/* The rows of metrics.csv of one split; fields that do not count there are NaN. */
static xcoder_status pick_curve(const xci_csv *metrics, const char *split, const char *column, curve *out,
                                xcoder_error *err) {
  *out = (curve){0};
  size_t tokens = xci_csv_column(metrics, "tokens"), value = xci_csv_column(metrics, column);
  size_t kind = xci_csv_column(metrics, "split");
  xcoder_status status = xci_alloc(2 * metrics->n_rows, sizeof(double), (void **)&out->x, err);
  if (status) return status;
  out->y = out->x + metrics->n_rows;
  for (size_t row = 0; row < metrics->n_rows; row++) {
    if (strcmp(xci_csv_at(metrics, row, kind), split) != 0) continue;
    out->x[out->n] = xci_csv_number(metrics, row, tokens);
    out->y[out->n++] = xci_csv_number(metrics, row, value);
  }
  return XCODER_OK;
}

static void add_curve_figure(xci_page *page, const char *column, const char *title, const char *y_title, bool zero) {
  const xci_csv *metrics = &page->run->metrics;
  curve train = {0}, validation = {0};
  if (!page->status) page->status = pick_curve(metrics, "train", column, &train, page->err);
  if (!page->status) page->status = pick_curve(metrics, "validation", column, &validation, page->err);
  if (!page->status) {
    xci_series series[] = {
        {.name = "training", .color = "#0072b2", .n = train.n, .x = train.x, .y = train.y, .line = true},
        {.name = "held out", .color = "#d55e00", .n = validation.n, .x = validation.x, .y = validation.y, .line = true,
         .points = true},
    };
    xci_chart chart = {.title = title, .x_title = "training tokens", .y_title = y_title, .series = series,
                       .n_series = validation.n ? 2 : 1, .y_zero = zero, .reference = NAN};
    xci_text svg = {0}, name = {0};
    xci_chart_svg(&chart, &svg);
    xci_text_format(&name, "training-%s", column);
    xci_page_figure(page, name.bytes ? name.bytes : "training", &svg, "");
    xci_text_clear(&name);
  }
  xci_free(train.x);
  xci_free(validation.x);
}

void xci_page_training(xci_page *page) {
  xci_page_raw(page, "<h2 id=\"training\">Training</h2>\n");
  if (!page->run->metrics.n_rows) {
    xci_page_raw(page, "<p class=\"muted\">No metrics.csv yet.</p>\n");
    return;
  }
  xci_page_raw(page, "<div class=\"figures\">\n");
  add_curve_figure(page, "reconstruction", "Reconstruction error", "squared error per token", true);
  add_curve_figure(page, "ev_pooled", "Explained variance (pooled)", "1 − errors / variances", false);
  add_curve_figure(page, "l0", "L0", "active features per token", true);
  add_curve_figure(page, "dead_share", "Features that did not fire", "share of features", true);
  xci_page_raw(page, "</div>\n");
}

/* ---- Quality ---- */

static void add_number_cells(xci_page *page, xci_text *csv, const double *values, size_t n) {
  for (size_t i = 0; i < n; i++) {
    xci_page_cell(page, values[i]);
    xci_text_add(csv, ",");
    if (isfinite(values[i])) xci_text_number(csv, values[i]);
  }
}

static double element(const json_t *object, const char *key, size_t index) {
  const json_t *value = json_array_get(json_object_get(object, key), index);
  return json_is_number(value) ? json_number_value(value) : NAN;
}

static void add_quality_rows(xci_page *page, const json_t *eval, xci_text *csv) {
  size_t i;
  json_t *row;
  json_array_foreach(json_object_get(eval, "cross_entropy"), i, row) {
    double values[] = {element(json_object_get(eval, "ev_pooled"), "per_checkpoint", i),
                       element(json_object_get(eval, "ev_mean"), "per_checkpoint", i),
                       xci_json_number_at(row, "clean"), xci_json_number_at(row, "spliced"),
                       xci_json_number_at(row, "blanked"), xci_json_number_at(row, "delta"),
                       xci_json_number_at(row, "recovered")};
    const char *label = xci_json_text_at(row, "label");
    xci_page_raw(page, "<tr>");
    xci_page_cell_text(page, label);
    xci_text_csv(csv, label, strlen(label));
    add_number_cells(page, csv, values, sizeof values / sizeof *values);
    xci_page_raw(page, "</tr>\n");
    xci_text_add(csv, "\n");
  }
}

static void add_task_quality(xci_page *page, const json_t *eval) {
  const json_t *tasks = json_object_get(eval, "tasks");
  if (json_array_size(tasks) == 0) return;
  xci_text csv = {0};
  xci_text_add(&csv, "task,checkpoint,n,accuracy_clean,accuracy_spliced,logit_difference_clean,logit_difference_"
                     "spliced\n");
  xci_page_raw(page, "<h3>On the tasks: the model as it is (clean) and running on the reconstruction (spliced)</h3>\n"
                     "<div class=\"scroll\"><table class=\"sortable\"><thead><tr><th class=\"t\">task</th><th "
                     "class=\"t\">checkpoint</th><th>pairs</th>"
                     "<th>accuracy clean</th><th>spliced</th><th>logit difference "
                     "clean</th><th>spliced</th></tr></thead><tbody>\n");
  size_t t, c;
  json_t *task, *row;
  json_array_foreach(tasks, t, task) {
    json_array_foreach(json_object_get(task, "checkpoints"), c, row) {
      double values[] = {xci_json_number_at(task, "n"), xci_json_number_at(row, "accuracy_clean"),
                         xci_json_number_at(row, "accuracy_spliced"), xci_json_number_at(row, "logit_difference_clean"),
                         xci_json_number_at(row, "logit_difference_spliced")};
      const char *name = xci_json_text_at(task, "task"), *label = xci_json_text_at(row, "label");
      xci_page_raw(page, "<tr>");
      xci_page_cell_text(page, name);
      xci_page_cell_text(page, label);
      xci_text_csv(&csv, name, strlen(name));
      xci_text_add(&csv, ",");
      xci_text_csv(&csv, label, strlen(label));
      add_number_cells(page, &csv, values, sizeof values / sizeof *values);
      xci_page_raw(page, "</tr>\n");
      xci_text_add(&csv, "\n");
    }
  }
  xci_page_raw(page, "</tbody></table></div>\n");
  xci_page_table(page, "task-quality", &csv);
}

static void add_density(xci_page *page, const json_t *eval) {
  enum { MOST = 200 };
  const json_t *histogram = json_object_get(eval, "density_histogram");
  const json_t *edges = json_object_get(histogram, "log10_edges"), *counts = json_object_get(histogram, "counts");
  size_t n = json_array_size(counts);
  if (n == 0 || n > MOST || json_array_size(edges) != n + 1) return;
  double edge[MOST + 1], count[MOST];
  for (size_t i = 0; i <= n; i++) edge[i] = json_number_value(json_array_get(edges, i));
  for (size_t i = 0; i < n; i++) count[i] = json_number_value(json_array_get(counts, i));
  xci_histogram figure = {.title = "How often features fire", .x_title = "log10 of the share of tokens",
                          .y_title = "features", .edges = edge, .counts = count, .n = n};
  xci_text svg = {0};
  xci_histogram_svg(&figure, &svg);
  xci_page_figure(page, "density", &svg, "Features that never fired are not drawn.");
}

void xci_page_quality(xci_page *page) {
  const json_t *eval = page->run->eval;
  xci_page_raw(page, "<h2 id=\"quality\">Quality of the crosscoder</h2>\n");
  if (!eval) {
    xci_page_raw(page, "<p class=\"muted\">Not evaluated yet.</p>\n");
    return;
  }
  const json_t *dead = json_object_get(eval, "dead");
  xci_page_raw(page, "<p>On held-out text: L0 ");
  xci_page_number(page, xci_json_number_at(json_object_get(eval, "l0"), "mean"));
  xci_page_raw(page, ", pooled explained variance ");
  xci_page_number(page, xci_json_number_at(json_object_get(eval, "ev_pooled"), "mean"));
  xci_page_raw(page, " (mean over tokens ");
  xci_page_number(page, xci_json_number_at(json_object_get(eval, "ev_mean"), "mean"));
  xci_page_raw(page, "), ");
  xci_page_number(page, xci_json_number_at(dead, "count"));
  xci_page_raw(page, " of ");
  xci_page_number(page, xci_json_number_at(eval, "n_features"));
  xci_page_raw(page, " features never fired in ");
  xci_page_number(page, xci_json_number_at(dead, "tokens"));
  xci_page_raw(page, " tokens.</p>\n<div class=\"scroll\"><table class=\"sortable\"><thead><tr><th "
                     "class=\"t\">checkpoint</th>"
                     "<th>EV pooled</th><th>EV mean</th><th>CE clean</th><th>CE spliced</th><th>CE "
                     "blanked</th><th>dCE</th>"
                     "<th>CE recovered</th></tr></thead><tbody>\n");
  xci_text csv = {0};
  xci_text_add(&csv, "checkpoint,ev_pooled,ev_mean,ce_clean,ce_spliced,ce_blanked,delta_ce,ce_recovered\n");
  add_quality_rows(page, eval, &csv);
  xci_page_raw(page, "</tbody></table></div>\n");
  xci_page_table(page, "quality", &csv);
  add_task_quality(page, eval);
  xci_page_raw(page, "<div class=\"figures\">\n");
  add_density(page, eval);
  xci_page_raw(page, "</div>\n");
}
