/* SPDX-License-Identifier: Apache-2.0 */
/* What a result costs and depends on: how early it was there, other baselines, L0 against dCE. */
#include "report/page.h"

#include "analysis/csv_in.h"
#include "base/memory.h"
#include "report/figure.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST_POINTS = 1000, MOST_LABELS = 32, MOST_ROWS = 64 };

/* ---- Convergence ---- */

/* Mean over the tasks of one measure of a snapshot at a checkpoint; NaN where no task has it. */
static double mean_over_tasks(const json_t *snapshot, const char *label, const char *key) {
  double sum = 0;
  size_t t, c, n = 0;
  json_t *task, *row;
  json_array_foreach(json_object_get(snapshot, "tasks"), t, task)
    json_array_foreach(json_object_get(task, "checkpoints"), c, row) {
      const double value = xci_json_number_at(row, key);
      if (strcmp(xci_json_text_at(row, "label"), label) != 0 || !isfinite(value)) continue;
      sum += value;
      n++;
    }
  return n ? sum / (double)n : NAN;
}

static void add_curves(xci_page *page, const json_t *snapshots, const char *key, const char *name, const char *title,
                       const char *y_title) {
  const xci_run_files *run = page->run;
  const size_t n = json_array_size(snapshots);
  xci_series series[MOST_LABELS];
  double *x = NULL, *y = NULL;
  xci_text svg = {0};
  page->status = XCI_ALLOC(&x, n, page->err);
  if (!page->status) page->status = XCI_ALLOC(&y, n * run->n_labels, page->err);
  if (!page->status) {
    for (size_t c = 0; c < run->n_labels; c++) {
      for (size_t i = 0; i < n; i++) {
        const json_t *snapshot = json_array_get(snapshots, i);
        x[i] = xci_json_number_at(snapshot, "tokens");
        y[c * n + i] = mean_over_tasks(snapshot, run->labels[c], key);
      }
      series[c] = (xci_series){.name = run->labels[c], .color = xci_checkpoint_color(c, run->n_labels), .n = n, .x = x,
                               .y = y + c * n, .line = true, .points = true};
    }
    const xci_chart chart = {.title = title, .x_title = "tokens of the training", .y_title = y_title, .log_x = true,
                             .y_zero = true, .reference = NAN, .series = series, .n_series = run->n_labels};
    xci_chart_svg(&chart, &svg);
    xci_page_figure(page, name, &svg, "Means over the tasks; intervals for each stand in the table's CSV.");
  }
  xci_free(x);
  xci_free(y);
}

static void add_convergence_rows(xci_page *page, const json_t *snapshots, xci_text *csv) {
  static const char *const keys[] = {"rel_ie_spearman", "rel_ie_difference", "class_agreement", "share_again"};
  const xci_run_files *run = page->run;
  size_t i;
  json_t *snapshot;
  json_array_foreach(snapshots, i, snapshot)
    for (size_t c = 0; c < run->n_labels; c++) {
      const double share = xci_json_number_at(snapshot, "share");
      xci_page_raw(page, "<tr>");
      xci_page_cell(page, 100 * share);
      xci_page_cell_text(page, run->labels[c]);
      xci_text_number(csv, share);
      xci_text_add(csv, ",");
      xci_text_csv(csv, run->labels[c], strlen(run->labels[c]));
      for (size_t k = 0; k < 4; k++) {
        const double value = mean_over_tasks(snapshot, run->labels[c], keys[k]);
        xci_page_cell(page, value);
        xci_text_add(csv, ",");
        if (isfinite(value)) xci_text_number(csv, value);
      }
      xci_page_raw(page, "</tr>\n");
      xci_text_add(csv, "\n");
    }
}

static void add_convergence(xci_page *page) {
  const json_t *convergence = page->run->convergence, *snapshots = json_object_get(convergence, "snapshots");
  const size_t n = json_array_size(snapshots);
  const double stopped = xci_json_number_at(convergence, "stopped");
  xci_text csv = {0};
  if (n == 0 || n > MOST_POINTS || page->run->n_labels > MOST_LABELS) return;
  xci_page_raw(page, "<h3 id=\"convergence\">How early were the effects what they are at the end?</h3>\n<p>The "
                     "crosscoder as it was "
                     "earlier in its training, on the same tasks, against its end: for the ");
  xci_page_number(page, xci_json_number_at(convergence, "n_top"));
  xci_page_raw(page, " features with the largest |IE| at the end, the rank correlation and the mean difference of "
                     "their RelIE, "
                     "the share with the same class, and the share that was among as many top features already.");
  if (isfinite(stopped)) {
    xci_page_raw(page, " The training was ended at ");
    xci_page_number(page, 100 * stopped);
    xci_page_raw(page, " % of its tokens, because RelIE no longer changed by ");
    xci_page_number(page, xci_json_number_at(convergence, "tolerance"));
    xci_page_raw(page, ".");
  }
  xci_page_raw(page, "</p>\n<div class=\"figures\">\n");
  add_curves(page, snapshots, "rel_ie_spearman", "convergence-spearman", "RelIE of a snapshot against the end",
             "rank correlation");
  if (!page->status)
    add_curves(page, snapshots, "rel_ie_difference", "convergence-difference", "RelIE still to change",
               "mean |dRelIE|");
  xci_page_raw(page, "</div>\n<div class=\"scroll\"><table class=\"sortable\"><thead><tr><th>% of tokens</th><th "
                     "class=\"t\">checkpoint</th>"
                     "<th>Spearman of RelIE</th><th>mean |dRelIE|</th><th>same class</th><th>top "
                     "already</th></tr></thead><tbody>\n");
  xci_text_add(&csv, "share,checkpoint,rel_ie_spearman,rel_ie_difference,class_agreement,share_again\n");
  if (!page->status) add_convergence_rows(page, snapshots, &csv);
  xci_page_raw(page, "</tbody></table></div>\n");
  xci_page_table(page, "convergence", &csv);
}

/* ---- Baselines ---- */

typedef struct pair_sum {
  const char *a, *b;
  double spearman, least, overlap, n;
} pair_sum;

static size_t add_to_pairs(const json_t *pairs, pair_sum *sum, size_t n) {
  size_t i;
  json_t *row;
  json_array_foreach(pairs, i, row) {
    const char *a = xci_json_text_at(row, "a"), *b = xci_json_text_at(row, "b");
    const double spearman = xci_json_number_at(row, "ie_spearman"), overlap = xci_json_number_at(row, "overlap");
    size_t k = 0;
    if (!isfinite(spearman) || !isfinite(overlap)) continue;
    while (k < n && (strcmp(sum[k].a, a) != 0 || strcmp(sum[k].b, b) != 0)) k++;
    if (k == MOST_ROWS) continue;
    if (k == n) sum[n++] = (pair_sum){.a = a, .b = b, .least = spearman};
    sum[k].spearman += spearman;
    sum[k].overlap += overlap;
    sum[k].least = fmin(sum[k].least, spearman);
    sum[k].n++;
  }
  return n;
}

static void add_baselines(xci_page *page) {
  pair_sum sum[MOST_ROWS];
  size_t n = 0;
  xci_text csv = {0};
  for (size_t t = 0; t < page->run->n_tasks; t++)
    n = add_to_pairs(json_object_get(page->run->task[t].baselines, "pairs"), sum, n);
  if (n == 0) return;
  xci_page_raw(page, "<h3 id=\"baselines\">Do the effects depend on the baseline?</h3>\n<p>The rank correlation of IE "
                     "between two baselines, over "
                     "the top features of either, and how many top features they have in common: means over tasks and "
                     "checkpoints, "
                     "and the least correlation. Each is in baselines/ of the run.</p>\n<div class=\"scroll\"><table "
                     "class=\"sortable\"><thead><tr>"
                     "<th class=\"t\">baseline</th><th class=\"t\">against</th><th>Spearman of "
                     "IE</th><th>least</th><th>top in common</th>"
                     "</tr></thead><tbody>\n");
  xci_text_add(&csv, "a,b,n,ie_spearman,ie_spearman_least,overlap\n");
  for (size_t k = 0; k < n; k++) {
    const double values[] = {sum[k].spearman / sum[k].n, sum[k].least, sum[k].overlap / sum[k].n};
    xci_page_raw(page, "<tr>");
    xci_page_cell_text(page, sum[k].a);
    xci_page_cell_text(page, sum[k].b);
    xci_text_csv(&csv, sum[k].a, strlen(sum[k].a));
    xci_text_add(&csv, ",");
    xci_text_csv(&csv, sum[k].b, strlen(sum[k].b));
    xci_text_format(&csv, ",%.0f", sum[k].n);
    for (size_t i = 0; i < 3; i++) {
      xci_page_cell(page, values[i]);
      xci_text_add(&csv, ",");
      xci_text_number(&csv, values[i]);
    }
    xci_page_raw(page, "</tr>\n");
    xci_text_add(&csv, "\n");
  }
  xci_page_raw(page, "</tbody></table></div>\n");
  xci_page_table(page, "baselines", &csv);
}

/* ---- Frontier ---- */

static void add_frontier_figure(xci_page *page, const xci_csv *csv) {
  const xci_run_files *run = page->run;
  const size_t n = csv->n_rows, l0 = xci_csv_column(csv, "l0");
  xci_series series[MOST_LABELS];
  double *x = NULL, *y = NULL;
  xci_text svg = {0};
  page->status = XCI_ALLOC(&x, n, page->err);
  if (!page->status) page->status = XCI_ALLOC(&y, n * run->n_labels, page->err);
  for (size_t c = 0; !page->status && c < run->n_labels; c++) {
    xci_text name = {0};
    xci_text_format(&name, "delta_ce_%s", run->labels[c]);
    page->status = xci_text_status(&name, page->err);
    const size_t column = page->status ? SIZE_MAX : xci_csv_column(csv, name.bytes);
    xci_text_clear(&name);
    for (size_t r = 0; r < n; r++) {
      x[r] = xci_csv_number(csv, r, l0);
      y[c * n + r] = xci_csv_number(csv, r, column);
    }
    series[c] = (xci_series){.name = run->labels[c], .color = xci_checkpoint_color(c, run->n_labels), .n = n, .x = x,
                             .y = y + c * n, .line = true, .points = true};
  }
  if (!page->status) {
    const xci_chart chart = {.title = "Sparsity against fidelity", .x_title = "L0, active features a token",
                             .y_title = "dCE, nats a token", .reference = NAN, .series = series,
                             .n_series = run->n_labels};
    xci_chart_svg(&chart, &svg);
    xci_page_raw(page, "<div class=\"figures\">\n");
    xci_page_figure(page, "frontier", &svg, "A point is a training with another value; lower left is better.");
    xci_page_raw(page, "</div>\n");
  }
  xci_free(x);
  xci_free(y);
}

static void add_frontier(xci_page *page) {
  const xci_csv *csv = &page->run->sweep;
  if (csv->n_rows == 0 || csv->n_rows > MOST_POINTS || page->run->n_labels > MOST_LABELS || csv->n_columns < 3) return;
  xci_page_raw(page, "<h3 id=\"frontier\">L0 against dCE, for other values of ");
  xci_page_text(page, csv->field[0]);
  xci_page_raw(page, "</h3>\n");
  add_frontier_figure(page, csv);
  xci_page_raw(page, "<div class=\"scroll\"><table class=\"sortable\"><thead><tr>");
  for (size_t k = 0; k < csv->n_columns; k++) xci_page_tag(page, k == 1 ? "th class=\"t\"" : "th", csv->field[k]);
  xci_page_raw(page, "</tr></thead><tbody>\n");
  for (size_t r = 0; r < csv->n_rows; r++) {
    xci_page_raw(page, "<tr>");
    for (size_t k = 0; k < csv->n_columns; k++)
      if (k == 1) xci_page_cell_text(page, xci_csv_at(csv, r, k));
      else xci_page_cell(page, xci_csv_number(csv, r, k));
    xci_page_raw(page, "</tr>\n");
  }
  xci_page_raw(page, "</tbody></table></div>\n");
}

void xci_page_cost(xci_page *page) {
  const xci_run_files *run = page->run;
  bool any = run->convergence || run->sweep.n_rows;
  for (size_t t = 0; t < run->n_tasks; t++) any = any || run->task[t].baselines;
  if (page->status || !any) return;
  xci_page_raw(page, "<h2 id=\"cost\">What the result costs and depends on</h2>\n");
  add_convergence(page);
  if (!page->status) add_baselines(page);
  if (!page->status) add_frontier(page);
}
