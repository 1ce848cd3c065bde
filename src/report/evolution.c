/* SPDX-License-Identifier: Apache-2.0 */
/* How features come and go: life cycles, flows, token-specificity by class, languages. */
#include "report/page.h"

#include "report/figure.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { N_GROUPS = 3, MOST_CHECKPOINTS = 32, MOST_PAIRS = 12 };

static void add_field(xci_page *page, xci_text *csv, bool first, const char *text) {
  xci_page_cell_text(page, text);
  if (!first) xci_text_add(csv, ",");
  xci_text_csv(csv, text, strlen(text));
}

static void add_value(xci_page *page, xci_text *csv, double value) {
  xci_page_cell(page, value);
  xci_text_add(csv, ",");
  if (isfinite(value)) xci_text_number(csv, value);
}

static void open_table(xci_page *page, const char *heads) {
  xci_page_raw(page, "<div class=\"scroll\"><table class=\"sortable\"><thead><tr>");
  xci_page_raw(page, heads);
  xci_page_raw(page, "</tr></thead><tbody>\n");
}

/* Rows of a list: texts, then numbers, of every object. */
static void add_rows(xci_page *page, xci_text *csv, const char *before, const json_t *list, const char *const *texts,
                     size_t n_texts, const char *const *numbers, size_t n_numbers) {
  size_t k;
  json_t *row;
  json_array_foreach(list, k, row) {
    xci_page_raw(page, "<tr>");
    if (before) add_field(page, csv, true, before);
    for (size_t i = 0; i < n_texts; i++) add_field(page, csv, i == 0 && !before, xci_json_text_at(row, texts[i]));
    for (size_t i = 0; i < n_numbers; i++) add_value(page, csv, xci_json_number_at(row, numbers[i]));
    xci_page_raw(page, "</tr>\n");
    xci_text_add(csv, "\n");
  }
}

static void close_table(xci_page *page, const char *name, xci_text *csv) {
  xci_page_raw(page, "</tbody></table></div>\n");
  xci_page_table(page, name, csv);
}

/* ---- Life cycles and flows ---- */

static void add_cycles(xci_page *page, const json_t *tasks) {
  static const char *const texts[] = {"cycle"};
  static const char *const numbers[] = {"observed", "certain", "expected", "low", "high", "p"};
  xci_text csv = {0};
  xci_text_add(&csv, "task,cycle,observed,certain,expected,low,high,p\n");
  const xci_borders borders = xci_run_borders(page->run->evolution);
  xci_text_format(&page->html, "<p>A feature is present at a checkpoint that holds at least %g of its effect (%g / n "
                  "for more than three checkpoints). ", borders.shared, 3 * borders.shared);
  xci_page_raw(page, "<em>Certain</em>: the same life in 95 % of the resamples of the examples. <em>By "
                     "chance</em>: what "
                     "there would be if the order of the checkpoints meant nothing. <em>Normalised</em>: effects "
                     "divided by the "
                     "total of their checkpoint, since all effects grow with time.</p>\n");
  static const char heads[] = "<th class=\"t\">task</th><th class=\"t\">life</th><th>features</th><th>certain</th>"
                              "<th>by chance</th><th>2.5 %</th><th>97.5 %</th><th>p</th>";
  open_table(page, heads);
  for (size_t t = 0; t < json_array_size(tasks); t++) {
    const json_t *task = json_array_get(tasks, t);
    if (t == 1) {
      xci_page_raw(page, "</tbody></table></div>\n<details><summary>Each task</summary>\n");
      open_table(page, heads);
    }
    char norm[160];
    snprintf(norm, sizeof norm, "%.130s, normalised", xci_json_text_at(task, "task"));
    add_rows(page, &csv, xci_json_text_at(task, "task"), json_object_get(task, "cycles"), texts, 1, numbers, 6);
    add_rows(page, &csv, norm, json_object_get(task, "norm_cycles"), texts, 1, numbers, 6);
  }
  close_table(page, "evolution_cycles", &csv);
  if (json_array_size(tasks) > 1) xci_page_raw(page, "</details>\n");
}

/* The words of the classes; shared features by whom. */
static void add_words(xci_page *page, const json_t *task) {
  static const char *const texts[] = {"word"};
  static const char *const numbers[] = {"observed", "expected", "low", "high", "p"};
  xci_text csv = {0};
  if (json_array_size(json_object_get(task, "words")) == 0) return;
  xci_text_add(&csv, "effects,class,observed,expected,low,high,p\n");
  xci_page_raw(page, "<details><summary>By class: specific and shared, all tasks together</summary>\n<p>Persisting is "
                     "every "
                     "feature that checkpoints share; below it by whom: all, a set with the last two, one with the "
                     "first two, any other.</p>\n");
  open_table(page, "<th class=\"t\">effects</th><th class=\"t\">class</th><th>features</th><th>by chance</th><th>2.5 "
                   "%</th>"
                   "<th>97.5 %</th><th>p</th>");
  add_rows(page, &csv, "as they are", json_object_get(task, "words"), texts, 1, numbers, 5);
  add_rows(page, &csv, "normalised", json_object_get(task, "norm_words"), texts, 1, numbers, 5);
  close_table(page, "evolution_words", &csv);
  xci_page_raw(page, "</details>\n");
}

static void add_flows(xci_page *page, const json_t *task, const char *key, const char *name, const char *summary) {
  static const char *const texts[] = {"from_checkpoint", "to_checkpoint", "from", "to"};
  static const char *const numbers[] = {"observed", "expected", "low", "high", "p"};
  xci_text csv = {0};
  if (json_array_size(json_object_get(task, key)) == 0) return;
  xci_text_add(&csv, "from_checkpoint,to_checkpoint,from,to,observed,expected,low,high,p\n");
  xci_page_raw(page, "<details>");
  xci_page_tag(page, "summary", summary);
  open_table(page, "<th class=\"t\">from</th><th class=\"t\">to</th><th class=\"t\">state</th><th class=\"t\">state "
                   "then</th>"
                   "<th>features</th><th>by chance</th><th>2.5 %</th><th>97.5 %</th><th>p</th>");
  add_rows(page, &csv, NULL, json_object_get(task, key), texts, 4, numbers, 5);
  close_table(page, name, &csv);
  xci_page_raw(page, "</details>\n");
}

static void add_cycle_figure(xci_page *page, const json_t *task) {
  const json_t *cycles = json_object_get(task, "cycles");
  enum { MOST = 8 };
  const char *names[MOST];
  double x[MOST], observed[MOST], certain[MOST], expected[MOST], low[MOST], high[MOST];
  size_t n = 0;
  for (; n < json_array_size(cycles) && n < MOST; n++) {
    const json_t *row = json_array_get(cycles, n);
    names[n] = xci_json_text_at(row, "cycle");
    x[n] = (double)n;
    observed[n] = xci_json_number_at(row, "observed");
    certain[n] = xci_json_number_at(row, "certain");
    expected[n] = xci_json_number_at(row, "expected");
    low[n] = xci_json_number_at(row, "low");
    high[n] = xci_json_number_at(row, "high");
  }
  const xci_series series[] = {{.name = "found", .color = "#0072b2", .n = n, .x = x, .y = observed, .points = true},
                               {.name = "certain", .color = "#009e73", .n = n, .x = x, .y = certain, .points = true},
                               {.name = "by chance, 95 %",
                                .color = "#888888",
                                .n = n,
                                .x = x,
                                .y = expected,
                                .low = low,
                                .high = high,
                                .points = true}};
  const xci_chart chart = {.title = "Lives of features, all tasks",
                           .x_title = "life",
                           .y_title = "features",
                           .width = 560,
                           .y_zero = true,
                           .categories = names,
                           .n_categories = n,
                           .reference = NAN,
                           .series = series,
                           .n_series = 3};
  xci_text svg = {0};
  xci_chart_svg(&chart, &svg);
  xci_page_figure(page, "evolution_cycles", &svg,
                  "By chance: the order of each feature's shares over the checkpoints drawn anew.");
}

/* ---- Token-specificity ---- */

static void add_specificity_figure(xci_page *page, const json_t *list) {
  static const char *const names[N_GROUPS] = {"early-specific", "shared", "late-specific"};
  double x[4][N_GROUPS], y[4][N_GROUPS], low[4][N_GROUPS], high[4][N_GROUPS];
  char title[4][48];
  xci_series series[4];
  size_t n = json_array_size(list) < 4 ? json_array_size(list) : 4;
  for (size_t b = 0; b < n; b++) {
    const json_t *groups = json_object_get(json_array_get(list, b), "groups");
    for (size_t g = 0; g < N_GROUPS; g++) {
      const json_t *entropy = json_object_get(json_array_get(groups, g), "token_entropy");
      x[b][g] = (double)g + 0.08 * ((double)b - 1); /* beside each other */
      y[b][g] = xci_json_number_at(entropy, "median");
      low[b][g] = xci_json_number_at(entropy, "quartile_low");
      high[b][g] = xci_json_number_at(entropy, "quartile_high");
    }
    snprintf(title[b], sizeof title[b], "classes by %.24s", xci_json_text_at(json_array_get(list, b), "classes_by"));
    series[b] = (xci_series){.name = title[b], .color = xci_checkpoint_color(b, 4), .n = N_GROUPS, .x = x[b], .y = y[b],
                             .low = low[b], .high = high[b], .points = true};
  }
  const xci_chart chart = {.title = "How many tokens a feature fires on", .x_title = "class of the feature",
                           .y_title = "token entropy", .width = 560, .y_min = 0, .y_max = 1, .categories = names,
                           .n_categories = N_GROUPS, .reference = NAN, .series = series, .n_series = n};
  xci_text svg = {0};
  xci_chart_svg(&chart, &svg);
  xci_page_figure(page, "evolution_tokens", &svg,
                  "Median and quartiles over all features that fire. 0: one token only; 1: any token. "
                  "Classes by decoder norms (RelDec), by the origin of activations, and by effects on the tasks "
                  "(RelIE).");
}

static void add_groups(xci_page *page, const json_t *list) {
  xci_text csv = {0};
  xci_text_add(&csv, "classes_by,group,n,entropy_median,top_share_median,n_telling,mean_auc\n");
  open_table(page, "<th class=\"t\">classes by</th><th class=\"t\">class</th><th>features</th><th>token entropy</th>"
                   "<th>top token share</th><th>tell a label</th><th>mean best AUC</th>");
  for (size_t b = 0; b < json_array_size(list); b++) {
    const json_t *groups = json_object_get(json_array_get(list, b), "groups");
    for (size_t g = 0; g < json_array_size(groups); g++) {
      const json_t *group = json_array_get(groups, g);
      xci_page_raw(page, "<tr>");
      add_field(page, &csv, true, xci_json_text_at(json_array_get(list, b), "classes_by"));
      add_field(page, &csv, false, xci_json_text_at(group, "group"));
      add_value(page, &csv, xci_json_number_at(group, "n"));
      add_value(page, &csv, xci_json_number_at(json_object_get(group, "token_entropy"), "median"));
      add_value(page, &csv, xci_json_number_at(json_object_get(group, "top_token_share"), "median"));
      add_value(page, &csv, xci_json_number_at(group, "n_telling"));
      add_value(page, &csv, xci_json_number_at(group, "mean_auc"));
      xci_page_raw(page, "</tr>\n");
      xci_text_add(&csv, "\n");
    }
  }
  close_table(page, "evolution_groups", &csv);
}

static void add_contrasts(xci_page *page, const json_t *list) {
  static const char *const texts[] = {"first", "second"};
  static const char *const numbers[] = {"n_first", "n_second", "cliffs_delta", "low", "high", "p", "matched_delta",
                                        "matched_p"};
  static const char *const measures[] = {"token_entropy", "top_token_share"};
  xci_text csv = {0};
  xci_text_add(&csv, "classes_by_and_measure,first,second,n_first,n_second,cliffs_delta,low,high,p,matched_delta,"
                     "matched_p\n");
  xci_page_raw(page, "<p>Does it differ? Cliff's delta is the share of pairs in which the first class is larger, less "
                     "the share in which "
                     "it is smaller; 95 % interval; p of Mann and Whitney. <em>Matched</em>: within tenths of density, "
                     "since what "
                     "fires often meets more tokens; p by permutation.</p>\n");
  open_table(page, "<th class=\"t\">classes by, measure</th><th class=\"t\">class</th><th "
                   "class=\"t\">against</th><th>n</th><th>n</th>"
                   "<th>Cliff's delta</th><th>low</th><th>high</th><th>p</th><th>matched</th><th>matched p</th>");
  for (size_t b = 0; b < json_array_size(list); b++)
    for (size_t m = 0; m < 2; m++) {
      char name[80];
      snprintf(name, sizeof name, "%.24s, %s", xci_json_text_at(json_array_get(list, b), "classes_by"), measures[m]);
      add_rows(page, &csv, name, json_object_get(json_array_get(list, b), measures[m]), texts, 2, numbers, 8);
    }
  close_table(page, "evolution_contrasts", &csv);
}

/* ---- Languages ---- */

static void add_overlap_figure(xci_page *page, const json_t *languages, const json_t *labels) {
  const json_t *overlaps = json_object_get(languages, "overlaps");
  double x[MOST_CHECKPOINTS], y[MOST_PAIRS][MOST_CHECKPOINTS];
  char names[MOST_PAIRS][64];
  const char *categories[MOST_CHECKPOINTS];
  xci_series series[MOST_PAIRS];
  size_t n = json_array_size(labels), n_pairs = 0;
  if (n == 0 || n > MOST_CHECKPOINTS) return;
  for (size_t c = 0; c < n; c++) {
    categories[c] = json_string_value(json_array_get(labels, c));
    if (!categories[c]) categories[c] = "";
    x[c] = (double)c;
  }
  for (size_t k = 0; k < json_array_size(overlaps); k++) {
    const json_t *row = json_array_get(overlaps, k);
    char name[64];
    size_t pair = 0, c = 0;
    snprintf(name, sizeof name, "%.24s–%.24s", xci_json_text_at(row, "a"), xci_json_text_at(row, "b"));
    while (pair < n_pairs && strcmp(names[pair], name) != 0) pair++;
    if (pair == MOST_PAIRS) continue;
    if (pair == n_pairs) {
      memcpy(names[n_pairs++], name, sizeof name);
      for (size_t i = 0; i < n; i++) y[pair][i] = NAN;
    }
    while (c < n && strcmp(categories[c], xci_json_text_at(row, "checkpoint")) != 0) c++;
    if (c < n) y[pair][c] = xci_json_number_at(row, "jaccard");
  }
  for (size_t pair = 0; pair < n_pairs; pair++)
    series[pair] = (xci_series){.name = names[pair], .color = xci_checkpoint_color(pair % 6, 6), .n = n, .x = x,
                                .y = y[pair], .line = true, .points = true};
  const xci_chart chart = {.title = "Features that languages share",
                           .x_title = "checkpoint",
                           .y_title = "Jaccard of the sets",
                           .width = 560,
                           .y_zero = true,
                           .categories = categories,
                           .n_categories = n,
                           .reference = NAN,
                           .series = series,
                           .n_series = n_pairs};
  xci_text svg = {0};
  xci_chart_svg(&chart, &svg);
  xci_page_figure(page, "evolution_languages", &svg, "Sets of the features with the largest effects in each language.");
}

static void add_languages(xci_page *page, const json_t *languages, const json_t *labels) {
  static const char *const texts[] = {"checkpoint", "a", "b"}, *const label[] = {"label"};
  static const char *const numbers[] = {"count", "expected", "jaccard", "p", "candidates"};
  static const char *const means[] = {"languages", "languages_low", "languages_high", "entropy", "entropy_low",
                                      "entropy_high"};
  if (json_array_size(json_object_get(languages, "overlaps")) == 0) return;
  xci_text csv = {0}, time = {0};
  xci_page_raw(page, "<h3>Languages</h3>\n<div class=\"figures\">\n");
  add_overlap_figure(page, languages, labels);
  xci_page_raw(page, "</div>\n<p>The features with the largest effects in each language: how many two languages have "
                     "in common, and p of as "
                     "many when features are drawn by chance.</p>\n");
  xci_text_add(&csv, "checkpoint,a,b,count,expected,jaccard,p,candidates\n");
  open_table(page, "<th class=\"t\">checkpoint</th><th class=\"t\">language</th><th class=\"t\">language</th><th>in "
                   "common</th>"
                   "<th>by chance</th><th>Jaccard</th><th>p</th><th>candidates</th>");
  add_rows(page, &csv, NULL, json_object_get(languages, "overlaps"), texts, 3, numbers, 5);
  close_table(page, "evolution_overlaps", &csv);
  xci_page_raw(page, "<p>Languages of a feature (of those in a set at the checkpoint), and the entropy of its effect "
                     "over languages (0: one "
                     "language, 1: all alike), with 95 % intervals. Rank correlation of that entropy with RelIE at the "
                     "last checkpoint: ");
  xci_page_number(page, xci_json_number_at(languages, "entropy_against_last_rel_ie"));
  xci_page_raw(page, ", p ");
  xci_page_number(page, xci_json_number_at(languages, "p"));
  xci_page_raw(page, ".</p>\n");
  xci_text_add(&time, "checkpoint,languages,languages_low,languages_high,entropy,entropy_low,entropy_high\n");
  open_table(page, "<th "
                   "class=\"t\">checkpoint</th><th>languages</th><th>low</th><th>high</th><th>entropy</th><th>low</"
                   "th><th>high</th>");
  add_rows(page, &time, NULL, json_object_get(languages, "checkpoints"), label, 1, means, 6);
  close_table(page, "evolution_languages", &time);
}

void xci_page_evolution(xci_page *page) {
  const json_t *evolution = page->run->evolution, *tasks = json_object_get(evolution, "tasks");
  const json_t *list = json_object_get(evolution, "token_specificity");
  if (!evolution) return;
  xci_page_raw(page, "<h2 id=\"evolution\">How features come and go</h2>\n<div class=\"figures\">\n");
  add_cycle_figure(page, json_array_get(tasks, 0));
  if (json_array_size(list)) add_specificity_figure(page, list);
  xci_page_raw(page, "</div>\n");
  add_cycles(page, tasks);
  add_words(page, json_array_get(tasks, 0));
  add_flows(page, json_array_get(tasks, 0), "flows", "evolution_flows", "Flows between states, all tasks together");
  add_flows(page, json_array_get(tasks, 0), "norm_flows", "evolution_norm_flows",
            "Flows between states, all tasks together, normalised effects");
  if (json_array_size(list)) {
    xci_page_raw(page, "<h3>Bound to tokens, or abstract</h3>\n");
    add_groups(page, list);
    add_contrasts(page, list);
  }
  add_languages(page, json_object_get(evolution, "languages"), json_object_get(evolution, "labels"));
}
