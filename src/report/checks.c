/* SPDX-License-Identifier: Apache-2.0 */
/* The sections of what one run cannot say: another seed, other layers, other models. */
#include "report/comparison.h"

#include "analysis/statistics.h"
#include "base/file.h"
#include "base/memory.h"
#include "report/figure.h"
#include "report/grid.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_JSON_BYTES = 256 << 20 };

/* Mean of a number over pairs, tasks and, with `of_checkpoints`, checkpoints. */
static double mean_of(const json_t *compare, const char *key, bool of_checkpoints) {
  size_t i, t, c, n = 0;
  double sum = 0;
  json_t *pair, *task, *row;
  json_array_foreach(json_object_get(compare, "pairs"), i, pair)
    json_array_foreach(json_object_get(pair, "tasks"), t, task) {
      double value = of_checkpoints ? NAN : xci_json_number_at(task, key);
      if (isfinite(value)) sum += value, n++;
      json_array_foreach(json_object_get(task, "checkpoints"), c, row) {
        value = of_checkpoints ? xci_json_number_at(row, key) : NAN;
        if (isfinite(value)) sum += value, n++;
      }
    }
  return n ? sum / (double)n : NAN;
}

/* The answer in one paragraph. */
static void add_answer(xci_page *page, const json_t *compare, const char *what) {
  size_t i, n = 0;
  double sum = 0, chance = 0;
  json_t *pair;
  json_array_foreach(json_object_get(compare, "pairs"), i, pair) {
    const double share = xci_json_number_at(pair, "share_recurring"), null = xci_json_number_at(pair, "null_share_"
                                                                                                      "recurring");
    if (!isfinite(share)) continue;
    sum += share;
    chance += isfinite(null) ? null : 0;
    n++;
  }
  if (n == 0) return;
  xci_text_format(&page->html, "<p><b>%.0f %% of the features %s</b> (%.1f %% by chance", 100 * sum / (double)n, what,
                  100 * chance / (double)n);
  xci_text_format(&page->html, "%s).", n > 1 ? "; mean over pairs of runs" : "");
  const double again = mean_of(compare, "share", true), by_chance = mean_of(compare, "share_by_chance", true);
  const double spearman = mean_of(compare, "rel_ie_spearman", true), kappa = mean_of(compare, "class_kappa", false);
  if (isfinite(again))
    xci_text_format(&page->html,
                    " Of the %.0f strongest for a task at a checkpoint, %.0f %% are again among the %.0f strongest "
                    "(%.1f %% by chance).",
                    xci_json_number_at(compare, "n_top"), 100 * again, xci_json_number_at(compare, "n_top"),
                    100 * by_chance);
  if (isfinite(spearman))
    xci_text_format(&page->html,
                    " RelIE of matched features has a rank correlation of %.2f; their classes agree with kappa %.2f "
                    "(means over tasks%s).",
                    spearman, kappa, n > 1 ? " and pairs" : "");
  xci_page_raw(page, "</p>\n");
}

void xci_page_check_links(xci_page *page) {
  const xci_run_files *run = page->run;
  bool ablated = false;
  for (size_t t = 0; t < run->n_tasks; t++) ablated = ablated || run->task[t].ablation_info;
  const bool seeds = run->compare && xci_comparison_find_kind(run->compare) == XCI_OTHER_SEEDS;
  const struct {
    bool there;
    const char *id, *title;
  } links[] = {{ablated, "ablation", "Ablation"}, {run->evolution, "evolution", "Coming and going"},
               {run->chain, "chain", "All windows"},
               {run->known, "known", "Found against known"}, {seeds, "seeds", "Another seed"},
               {run->compare_layers, "layers", "Layers"}, {run->n_transfers > 0, "transfer", "Another revision"},
               {run->compare && !seeds, "models", "Other models"}};
  for (size_t i = 0; i < sizeof links / sizeof *links; i++)
    if (links[i].there) xci_text_format(&page->html, "<a href=\"#%s\">%s</a>", links[i].id, links[i].title);
}

void xci_page_seeds(xci_page *page) {
  const json_t *compare = page->run->compare;
  if (!compare || xci_comparison_find_kind(compare) != XCI_OTHER_SEEDS) return;
  xci_page_raw(page, "<h2 id=\"seeds\">Would another seed find it?</h2>\n<p>The same models and text, the crosscoder "
                     "trained anew. Features "
                     "of two runs are matched one to one; a match as similar as the threshold counts as found again. "
                     "Each card below "
                     "says in how many runs its feature was found again.</p>\n");
  add_answer(page, compare, "of one run are found again in another");
  xci_page_recurring(page, compare, "seeds");
  xci_page_agreement(page, compare, "seeds");
  xci_page_over_runs(page);
}

void xci_page_models(xci_page *page) {
  const json_t *compare = page->run->compare;
  size_t i;
  json_t *run;
  if (!compare || xci_comparison_find_kind(compare) == XCI_OTHER_SEEDS) return;
  xci_page_raw(page, "<h2 id=\"models\">Other models and checkpoints</h2>\n<p>Crosscoders of other models, or of other "
                     "checkpoints, on the same "
                     "text: their features are matched by how their activations go together, token for token. Runs: ");
  json_array_foreach(json_object_get(compare, "runs"), i, run) {
    const json_t *labels = json_object_get(run, "labels");
    xci_page_raw(page, i ? "; " : "");
    xci_page_tag(page, "b", xci_json_text_at(run, "name"));
    for (size_t c = 0; c < json_array_size(labels); c++) {
      const char *label = json_string_value(json_array_get(labels, c));
      xci_page_raw(page, c ? ", " : " ");
      xci_page_text(page, label ? label : "");
    }
  }
  xci_page_raw(page, ".</p>\n");
  add_answer(page, compare, "of one run have a counterpart in the other");
  xci_page_recurring(page, compare, "models");
  xci_page_agreement(page, compare, "models");
  xci_page_raw(page, "<h3>The same story in each?</h3>\n");
  xci_page_class_shares(page, compare, "models");
}

/* ---- Layers ---- */

typedef struct layer_run {
  double layer;
  json_t *eval;
  double *entropy; /* token entropies of all features that fire */
  size_t n;
} layer_run;

static xcoder_status read_entropies(const char *folder, layer_run *run, xcoder_error *err) {
  char *path;
  xci_csv csv = {0};
  xcoder_status status = xci_join_path(folder, "features/features.csv", &path, err);
  if (!status && xci_exists(path)) status = xci_csv_open(path, &csv, err);
  if (!status) status = XCI_ALLOC(&run->entropy, csv.n_rows, err);
  const size_t column = status || csv.n_columns == 0 ? SIZE_MAX : xci_csv_column(&csv, "token_entropy");
  for (size_t r = 0; !status && column != SIZE_MAX && r < csv.n_rows; r++) {
    const double value = xci_csv_number(&csv, r, column);
    if (isfinite(value)) run->entropy[run->n++] = value;
  }
  xci_csv_close(&csv);
  xci_free(path);
  return status;
}

/* The first run of the comparison is this one, the others are in layers/. */
static xcoder_status read_layer(const xci_page *page, size_t index, const char *name, layer_run *run,
                                xcoder_error *err) {
  char *folders = NULL, *folder = NULL, *path = NULL;
  xcoder_status status = XCODER_OK;
  if (strchr(name, '/') || name[0] == '.' || !*name) return XCODER_OK; /* not a name that run gives */
  if (index) {
    status = xci_join_path(page->run->path, "layers", &folders, err);
    if (!status) status = xci_join_path(folders, name, &folder, err);
  }
  const char *from = index ? folder : page->run->path;
  if (!status) status = xci_join_path(from, "eval.json", &path, err);
  if (!status && xci_exists(path)) status = xci_json_read(path, MAX_JSON_BYTES, &run->eval, err);
  if (!status) status = read_entropies(from, run, err);
  xci_free(path);
  xci_free(folder);
  xci_free(folders);
  return status;
}

static void add_layer_quality(xci_page *page, const layer_run *run, size_t n) {
  static const xci_head heads[] = {{XCI_CELL_TEXT, "layer", "layer"}, {XCI_CELL_TEXT, "checkpoint", "checkpoint"},
                                   {XCI_CELL_NUMBER, "L0", "l0"}, {XCI_CELL_NUMBER, "dead", "dead_share"},
                                   {XCI_CELL_NUMBER, "EV", "ev_pooled"}, {XCI_CELL_NUMBER, "dCE", "delta_ce"},
                                   {XCI_CELL_NUMBER, "CE recovered", "ce_recovered"}};
  xci_grid grid;
  xci_page_raw(page, "<h3>Quality of each layer's crosscoder</h3>\n");
  xci_grid_open(&grid, page, heads, sizeof heads / sizeof *heads, false);
  for (size_t r = 0; r < n; r++) {
    size_t c;
    json_t *row;
    json_array_foreach(json_object_get(run[r].eval, "cross_entropy"), c, row) {
      const json_t *explained = json_object_get(json_object_get(run[r].eval, "ev_pooled"), "per_checkpoint");
      const json_t *variance = json_array_get(explained, c);
      char name[32];
      snprintf(name, sizeof name, "%.0f", run[r].layer);
      xci_grid_text(&grid, name);
      xci_grid_text(&grid, xci_json_text_at(row, "label"));
      xci_grid_number(&grid, xci_json_number_at(json_object_get(run[r].eval, "l0"), "mean"));
      xci_grid_number(&grid, xci_json_number_at(json_object_get(run[r].eval, "dead"), "share"));
      xci_grid_number(&grid, json_is_number(variance) ? json_number_value(variance) : NAN);
      xci_grid_number(&grid, xci_json_number_at(row, "delta"));
      xci_grid_number(&grid, xci_json_number_at(row, "recovered"));
      xci_grid_end_row(&grid);
    }
  }
  xci_grid_close(&grid, "layers-quality");
}

static void add_entropy_figure(xci_page *page, const layer_run *run, size_t n) {
  double x[XCI_MOST_RUNS], mean[XCI_MOST_RUNS], low[XCI_MOST_RUNS], high[XCI_MOST_RUNS];
  char names[XCI_MOST_RUNS][32];
  const char *name[XCI_MOST_RUNS];
  for (size_t r = 0; r < n; r++) {
    x[r] = (double)r;
    xci_mean_interval(run[r].entropy, run[r].n, &mean[r], &low[r], &high[r]);
    snprintf(names[r], sizeof names[r], "layer %.0f", run[r].layer);
    name[r] = names[r];
  }
  const xci_series series = {
      .color = "#0072b2", .n = n, .x = x, .y = mean, .low = low, .high = high, .line = true, .points = true};
  const xci_chart chart = {.title = "Bound to tokens, or abstract?", .x_title = "", .y_title = "mean token entropy",
                           .categories = name, .n_categories = n, .reference = NAN, .series = &series, .n_series = 1};
  xci_text svg = {0};
  xci_chart_svg(&chart, &svg);
  xci_page_figure(page, "layers-tokens", &svg,
                  "All features that fire, with 95 % interval of the mean. 0: one token only; 1: any token. "
                  "The axis does not begin at 0.");
}

/* Welch's interval of the difference of the means of every two layers; the widest in words. */
static void add_entropy_table(xci_page *page, const layer_run *run, size_t n) {
  static const xci_head heads[] = {{XCI_CELL_TEXT, "layer", "layer_a"}, {XCI_CELL_TEXT, "against", "layer_b"},
                                   {XCI_CELL_NUMBER, "features", "n_a"}, {XCI_CELL_NUMBER, "features", "n_b"},
                                   {XCI_CELL_NUMBER, "mean", "mean_a"}, {XCI_CELL_NUMBER, "mean", "mean_b"},
                                   {XCI_CELL_INTERVAL, "difference", "difference"}, {XCI_CELL_NUMBER, "p", "p"}};
  xci_grid grid;
  double difference, low, high, p, mean[2], sd;
  xci_welch(run[0].entropy, run[0].n, run[n - 1].entropy, run[n - 1].n, &difference, &low, &high, &p);
  if (isfinite(difference))
    xci_text_format(&page->html,
                    "<p><b>From layer %.0f to layer %.0f the mean token entropy %s by %.3f</b> (95 %% interval of the "
                    "difference %.3f to %.3f): features of the %s are more bound to single tokens%s.</p>\n",
                    run[0].layer, run[n - 1].layer, difference < 0 ? "falls" : "rises", fabs(difference), low, high,
                    difference < 0 ? "later layer" : "earlier layer",
                    low <= 0 && high >= 0 ? ", if at all: the interval holds 0" : "");
  xci_grid_open(&grid, page, heads, sizeof heads / sizeof *heads, false);
  for (size_t a = 0; a < n; a++)
    for (size_t b = a + 1; b < n; b++) {
      char name[2][32];
      snprintf(name[0], sizeof name[0], "%.0f", run[a].layer);
      snprintf(name[1], sizeof name[1], "%.0f", run[b].layer);
      xci_mean_sd(run[a].entropy, run[a].n, &mean[0], &sd);
      xci_mean_sd(run[b].entropy, run[b].n, &mean[1], &sd);
      xci_welch(run[a].entropy, run[a].n, run[b].entropy, run[b].n, &difference, &low, &high, &p);
      xci_grid_text(&grid, name[0]);
      xci_grid_text(&grid, name[1]);
      xci_grid_number(&grid, (double)run[a].n);
      xci_grid_number(&grid, (double)run[b].n);
      xci_grid_number(&grid, mean[0]);
      xci_grid_number(&grid, mean[1]);
      xci_grid_interval(&grid, difference, low, high);
      xci_grid_number(&grid, p);
      xci_grid_end_row(&grid);
    }
  xci_grid_close(&grid, "layers-tokens");
}

static void sort_layers(layer_run *run, size_t n) {
  for (size_t i = 1; i < n; i++)
    for (size_t k = i; k > 0 && run[k].layer < run[k - 1].layer; k--) {
      const layer_run swap = run[k];
      run[k] = run[k - 1];
      run[k - 1] = swap;
    }
}

void xci_page_layers(xci_page *page) {
  const json_t *compare = page->run->compare_layers, *runs = json_object_get(compare, "runs");
  const size_t n = json_array_size(runs) < XCI_MOST_RUNS ? json_array_size(runs) : XCI_MOST_RUNS;
  layer_run run[XCI_MOST_RUNS] = {0};
  if (n < 2 || page->status) return;
  for (size_t r = 0; !page->status && r < n; r++) {
    run[r].layer = xci_json_number_at(json_array_get(runs, r), "layer");
    page->status = read_layer(page, r, xci_json_text_at(json_array_get(runs, r), "name"), &run[r], page->err);
  }
  if (!page->status) {
    sort_layers(run, n);
    xci_page_raw(page, "<h2 id=\"layers\">Layers side by side</h2>\n<p>The same analysis at other layers, from one "
                       "pass over the text. Early "
                       "layers are often bound to single tokens, middle ones to grammar: read the quality first, then "
                       "where classes "
                       "and tokens differ.</p>\n");
    xci_page_raw(page, "<div class=\"figures\">\n");
    add_entropy_figure(page, run, n);
    xci_page_raw(page, "</div>\n");
    add_entropy_table(page, run, n);
    add_layer_quality(page, run, n);
    xci_page_raw(page, "<h3>Classes</h3>\n");
    xci_page_class_shares(page, compare, "layers");
    xci_page_raw(page, "<h3>Are they the same features?</h3>\n");
    add_answer(page, compare, "of one layer have a counterpart in another");
    xci_page_recurring(page, compare, "layers");
    xci_page_agreement(page, compare, "layers");
  }
  for (size_t r = 0; r < n; r++) {
    json_decref(run[r].eval);
    xci_free(run[r].entropy);
  }
}
