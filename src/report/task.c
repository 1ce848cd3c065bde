/* SPDX-License-Identifier: Apache-2.0 */
/* The section of one task: where features act (RelIE), how their effects evolve, what ablation says. */
#include "report/page.h"

#include "base/memory.h"
#include "report/axis.h"
#include "report/effect_figures.h"
#include "report/figure.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST_LABELS = XCODER_MAX_CHECKPOINTS, EVOLUTION = 5, SIMPLEX_POINTS = 100 };

static const char *class_color(const char *class_name, size_t n_labels, char *const *labels) {
  if (strncmp(class_name, "specific:", 9) == 0)
    for (size_t c = 0; c < n_labels; c++)
      if (strcmp(class_name + 9, labels[c]) == 0) return xci_checkpoint_color(c, n_labels);
  if (strncmp(class_name, "shared:", 7) == 0) return "#333333";
  return "#aaaaaa";
}

/* What most annotators called the feature of a row, or "". */
static const char *label_at(const xci_run_files *run, const xci_csv *csv, size_t row) {
  const double number = xci_csv_number(csv, row, xci_csv_column(csv, "feature"));
  return number >= 0 && number < UINT32_MAX ? xci_label_shown(&run->said, (uint32_t)number) : "";
}

/* "17", or "17 plural noun" for a labelled feature, cut between characters. */
static void name_feature(const xci_run_files *run, const xci_csv *csv, size_t row, char *name, size_t room) {
  const char *id = xci_csv_at(csv, row, xci_csv_column(csv, "feature"));
  const char *label = label_at(run, csv, row);
  const size_t most = 20; /* characters of the label */
  size_t n_bytes = 0, n = 0, length = strlen(label);
  uint32_t point;
  while (n < most && n_bytes < length) {
    const size_t step = xci_utf8_decode(label + n_bytes, length - n_bytes, &point);
    if (n_bytes + step + 20 > room) break;
    n_bytes += step ? step : 1;
    n++;
  }
  snprintf(name, room, "%.12s%s%.*s%s", id, *label ? " " : "", (int)n_bytes, label, n_bytes < length ? "…" : "");
}

static void add_simplex(xci_page *page, const xci_task_files *task, const size_t rel[MOST_LABELS]) {
  const xci_run_files *run = page->run;
  const xci_csv *csv = &task->effects;
  double share[3 * SIMPLEX_POINTS], weight[SIMPLEX_POINTS];
  char names[SIMPLEX_POINTS][64];
  const char *name[SIMPLEX_POINTS], *color[SIMPLEX_POINTS];
  size_t n = 0, class_column = xci_csv_column(csv, "class"), weight_column = xci_csv_column(csv, "abs_share");
  for (size_t row = 0; row < csv->n_rows && n < SIMPLEX_POINTS; row++) {
    for (size_t c = 0; c < 3; c++) share[3 * n + c] = xci_csv_number(csv, row, rel[c]);
    weight[n] = xci_csv_number(csv, row, weight_column);
    if (!isfinite(weight[n])) weight[n] = 0;
    name_feature(run, csv, row, names[n], sizeof names[n]);
    name[n] = names[n];
    color[n] = class_color(xci_csv_at(csv, row, class_column), run->n_labels, run->labels);
    n++;
  }
  xci_simplex figure = {.title = "RelIE of the 100 strongest features",
                        .corners = {run->labels[0], run->labels[1], run->labels[2]},
                        .shares = share,
                        .weight = weight,
                        .names = name,
                        .colors = color,
                        .n = n,
                        .borders = xci_run_borders(task->effects_info)};
  xci_text svg = {0}, file = {0};
  xci_simplex_svg(&figure, &svg);
  xci_text_format(&file, "relie-%s", task->name);
  xci_page_figure(page, file.bytes ? file.bytes : "relie", &svg,
                  "A point is a feature, its area |IE|; numbers name the strongest where there is room; grey: "
                  "uncertain.");
  xci_text_clear(&file);
}

static void add_relie_histogram(xci_page *page, const xci_task_files *task, const size_t rel[MOST_LABELS]) {
  enum { BINS = 20 };
  const xci_run_files *run = page->run;
  double edges[BINS + 1], counts[BINS] = {0};
  const char *colors[BINS];
  const xci_borders borders = xci_run_borders(task->effects_info);
  size_t last = run->n_labels - 1;
  for (size_t i = 0; i <= BINS; i++) edges[i] = (double)i / BINS;
  for (size_t i = 0; i < BINS; i++)
    colors[i] = edges[i] + 0.5 / BINS < borders.shared     ? xci_checkpoint_color(0, 2)
                : edges[i] + 0.5 / BINS > borders.specific ? xci_checkpoint_color(1, 2)
                                                           : "#777777";
  for (size_t row = 0; row < task->effects.n_rows; row++) {
    double value = xci_csv_number(&task->effects, row, rel[last]);
    if (!isfinite(value) || value < 0 || value > 1) continue;
    size_t bin = (size_t)(value * BINS);
    counts[bin < BINS ? bin : BINS - 1]++;
  }
  xci_text svg = {0}, title = {0}, file = {0};
  xci_text_format(&title, "RelIE of %s", run->labels[last]);
  xci_histogram figure = {.title = title.bytes ? title.bytes : "RelIE",
                          .x_title = "share of |IE| at that checkpoint",
                          .y_title = "features",
                          .edges = edges,
                          .counts = counts,
                          .n = BINS,
                          .colors = run->n_labels == 2 ? colors : NULL};
  xci_histogram_svg(&figure, &svg);
  xci_text_format(&file, "relie-%s", task->name);
  xci_page_figure(page, file.bytes ? file.bytes : "relie", &svg, "");
  xci_text_clear(&file);
  xci_text_clear(&title);
}

/* Rows with the largest sums of IE (helping the right answer) and with the smallest (hurting it). */
static void pick_extremes(const xci_csv *csv, size_t n, const size_t ie[MOST_LABELS], int sign, size_t rows[EVOLUTION],
                          size_t *n_rows) {
  double best[EVOLUTION];
  *n_rows = 0;
  for (size_t row = 0; row < csv->n_rows; row++) {
    double peak = 0;
    for (size_t c = 0; c < n; c++) {
      double value = sign * xci_csv_number(csv, row, ie[c]);
      if (value > peak) peak = value;
    }
    if (!(peak > 0)) continue;
    size_t at = *n_rows < EVOLUTION ? (*n_rows)++ : EVOLUTION;
    if (at == EVOLUTION && peak <= best[EVOLUTION - 1]) continue;
    if (at == EVOLUTION) at--;
    for (; at > 0 && best[at - 1] < peak; at--) {
      best[at] = best[at - 1];
      rows[at] = rows[at - 1];
    }
    best[at] = peak;
    rows[at] = row;
  }
}

/* The numbers of the figure. */
static void write_evolution(xci_page *page, const xci_task_files *task, const size_t ie[MOST_LABELS],
                            size_t rows[2][EVOLUTION], const size_t n_rows[2]) {
  const xci_run_files *run = page->run;
  xci_text csv = {0}, name = {0};
  xci_text_add(&csv, "feature,description,sign,checkpoint,ie\n");
  for (size_t side = 0; side < 2; side++)
    for (size_t i = 0; i < n_rows[side]; i++)
      for (size_t c = 0; c < run->n_labels; c++) {
        const double id = xci_csv_number(&task->effects, rows[side][i], xci_csv_column(&task->effects, "feature"));
        const double value = xci_csv_number(&task->effects, rows[side][i], ie[c]);
        xci_text_format(&csv, "%.0f,", id);
        xci_label_field(&csv, label_at(run, &task->effects, rows[side][i]));
        xci_text_format(&csv, ",%s,", side ? "negative" : "positive");
        xci_text_csv(&csv, run->labels[c], strlen(run->labels[c]));
        xci_text_add(&csv, ",");
        if (isfinite(value)) xci_text_number(&csv, value);
        xci_text_add(&csv, "\n");
      }
  xci_text_format(&name, "evolution-%s", task->name);
  xci_page_table(page, name.bytes ? name.bytes : "evolution", &csv);
  xci_text_clear(&name);
}

static void add_evolution(xci_page *page, const xci_task_files *task, const size_t ie[MOST_LABELS]) {
  const xci_run_files *run = page->run;
  size_t n = run->n_labels, rows[2][EVOLUTION], n_rows[2] = {0, 0}, n_series = 0;
  pick_extremes(&task->effects, n, ie, 1, rows[0], &n_rows[0]);
  pick_extremes(&task->effects, n, ie, -1, rows[1], &n_rows[1]);
  double x[MOST_LABELS], y[2 * EVOLUTION][MOST_LABELS];
  xci_checkpoint_places(run->tokens_seen, n, x);
  char names[2 * EVOLUTION][96];
  xci_series series[2 * EVOLUTION];
  static const char *const colors[2][EVOLUTION] = {{"#08519c", "#2171b5", "#4292c6", "#3182bd", "#6baed6"},
                                                   {"#a63603", "#d94801", "#e6550d", "#f16913", "#fd8d3c"}};
  for (size_t side = 0; side < 2; side++)
    for (size_t i = 0; i < n_rows[side]; i++) {
      if (side == 1 && n_rows[0] && n_series < EVOLUTION && n_series == 0) break;
      name_feature(run, &task->effects, rows[side][i], names[n_series], sizeof names[n_series]);
      for (size_t c = 0; c < n; c++) {
        y[n_series][c] = xci_csv_number(&task->effects, rows[side][i], ie[c]);
      }
      series[n_series] = (xci_series){.name = names[n_series], .color = colors[side][i], .n = n, .x = x,
                                      .y = y[n_series], .line = true, .points = true, .dashed = side == 1};
      n_series++;
    }
  write_evolution(page, task, ie, rows, n_rows);
  xci_chart chart = {.title = "Effect of the five strongest features of each sign",
                     .x_title = "checkpoint",
                     .y_title = "IE (logits)",
                     .width = 560,
                     .height = 440,
                     .categories = (const char *const *)run->labels,
                     .n_categories = n,
                     .reference = 0,
                     .reference_name = "",
                     .series = series,
                     .n_series = n_series};
  xci_chart_by_checkpoints(&chart, (const char *const *)run->labels, run->tokens_seen, x, n);
  xci_text svg = {0}, file = {0};
  xci_chart_svg(&chart, &svg);
  xci_text_format(&file, "evolution-%s", task->name);
  xci_page_figure(page, file.bytes ? file.bytes : "evolution", &svg,
                  "Full lines support the right answer, dashed ones the wrong one.");
  xci_text_clear(&file);
}

static void add_effects_table(xci_page *page, const xci_task_files *task, const size_t ie[MOST_LABELS],
                              const size_t rel[MOST_LABELS], const size_t dec[MOST_LABELS]) {
  const xci_run_files *run = page->run;
  const xci_csv *csv = &task->effects;
  const struct {
    const char *title;
    const size_t *column;
  } groups[] = {{"IE ", ie}, {"RelIE ", rel}, {"RelDec ", dec}};
  xci_page_raw(page, "<div class=\"scroll\"><table class=\"sortable\"><thead><tr><th>feature</th>"
                     "<th class=\"t\">label</th>");
  for (size_t g = 0; g < 3; g++)
    for (size_t c = 0; c < run->n_labels; c++) {
      xci_page_raw(page, "<th>");
      xci_page_raw(page, groups[g].title);
      xci_page_text(page, run->labels[c]);
      xci_page_raw(page, "</th>");
    }
  xci_page_raw(page, "<th class=\"t\">class</th><th class=\"t\">life</th></tr></thead><tbody>\n");
  size_t feature = xci_csv_column(csv, "feature"), kind = xci_csv_column(csv, "class"),
         life = xci_csv_column(csv, "evolution");
  for (size_t row = 0; row < csv->n_rows && row < 20; row++) {
    const char *id = xci_csv_at(csv, row, feature);
    xci_text_format(&page->html, "<tr><td data-v=\"%d\"><a href=\"#f%d\">", (int)xci_csv_number(csv, row, feature),
                    (int)xci_csv_number(csv, row, feature));
    xci_page_text(page, id);
    xci_page_raw(page, "</a></td>");
    xci_page_cell_text(page, label_at(run, csv, row));
    for (size_t g = 0; g < 3; g++)
      for (size_t c = 0; c < run->n_labels; c++) xci_page_cell(page, xci_csv_number(csv, row, groups[g].column[c]));
    xci_page_cell_text(page, xci_csv_at(csv, row, kind));
    xci_page_cell_text(page, xci_csv_at(csv, row, life));
    xci_page_raw(page, "</tr>\n");
  }
  xci_page_raw(page, "</tbody></table></div>\n");
}

static void add_balance(xci_page *page, const xci_task_files *task) {
  const json_t *info = task->effects_info;
  if (!info) return;
  xci_page_raw(page, "<div class=\"scroll\"><table><thead><tr><th class=\"t\">checkpoint</th><th>metric "
                     "clean</th><th>at the baseline</th>"
                     "<th>sum of effects</th><th>error node</th><th>completeness gap</th><th>gap "
                     "share</th></tr></thead><tbody>\n");
  xci_text csv = {0};
  static const char *const keys[] = {"metric_clean", "metric_baseline", "sum_effects", "error_effect",
                                     "gap",          "gap_share"};
  xci_text_add(&csv, "checkpoint,metric_clean,metric_baseline,sum_effects,error_effect,gap,gap_share\n");
  size_t c;
  json_t *row;
  json_array_foreach(json_object_get(info, "checkpoints"), c, row) {
    const char *label = xci_json_text_at(row, "label");
    xci_page_raw(page, "<tr>");
    xci_page_cell_text(page, label);
    xci_text_csv(&csv, label, strlen(label));
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
      double value = xci_json_number_at(row, keys[k]);
      xci_page_cell(page, value);
      xci_text_add(&csv, ",");
      if (isfinite(value)) xci_text_number(&csv, value);
    }
    xci_page_raw(page, "</tr>\n");
    xci_text_add(&csv, "\n");
  }
  xci_page_raw(page, "</tbody></table></div>\n");
  xci_text name = {0};
  xci_text_format(&name, "completeness-%s", task->name);
  xci_page_table(page, name.bytes ? name.bytes : "completeness", &csv);
  xci_text_clear(&name);
}

static void copy_effects(xci_page *page, const xci_task_files *task) {
  xci_text name = {0};
  xci_text_format(&name, "effects-%s", task->name);
  xci_page_copy_table(page, name.bytes ? name.bytes : "effects", &task->effects);
  xci_text_clear(&name);
}

void xci_page_task(xci_page *page, size_t index) {
  const xci_run_files *run = page->run;
  const xci_task_files *task = &run->task[index];
  size_t ie[MOST_LABELS], rel[MOST_LABELS], dec[MOST_LABELS];
  if (index == 0) xci_page_raw(page, "<h2 id=\"tasks\">Indirect effects</h2>\n");
  xci_text_format(&page->html, "<details%s><summary><b>", index == 0 ? " open" : "");
  xci_page_text(page, task->name);
  xci_page_raw(page, "</b> · ");
  xci_page_number(page, xci_json_number_at(task->effects_info, "n_examples"));
  xci_page_raw(page, " examples</summary>\n");
  if (xci_effect_columns(run, &task->effects, "ie", ie) && xci_effect_columns(run, &task->effects, "rel_ie", rel) &&
      xci_effect_columns(run, &task->effects, "rel_dec", dec) && run->n_labels <= MOST_LABELS) {
    xci_page_raw(page, "<div class=\"figures\">\n");
    if (run->n_labels == 3)
      add_simplex(page, task, rel);
    else if (run->n_labels > 1)
      add_relie_histogram(page, task, rel);
    add_evolution(page, task, ie);
    xci_page_raw(page, "</div>\n");
    add_effects_table(page, task, ie, rel, dec);
    copy_effects(page, task);
    xci_page_annotation(page, task);
    xci_page_effect_figures(page, task);
  } else {
    xci_page_raw(page, "<p class=\"warn\">The effects file does not name this run's checkpoints.</p>\n");
  }
  add_balance(page, task);
  xci_page_raw(page, "</details>\n");
}
