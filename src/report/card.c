/* SPDX-License-Identifier: Apache-2.0 */
/* The cards of features: where they fire, with contexts at all checkpoints, and what they promote. */
#include "report/page.h"

#include "base/memory.h"
#include "base/size.h"
#include "report/effect_figures.h"
#include "report/figure.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Colour of a token: strength in 0..1 as the opacity of a background. */
static void open_token(xci_page *page, const char *rgb, double strength, const char *title, double value) {
  strength = strength < 0 || !isfinite(strength) ? 0 : strength > 1 ? 1 : strength;
  xci_page_raw(page, "<i");
  if (strength > 0.004)
    xci_text_format(&page->html, " style=\"background:rgba(%s,%.2f)\"", rgb, 0.08 + 0.72 * strength);
  if (isfinite(value) && value != 0) xci_text_format(&page->html, " title=\"%s %.3g\"", title, value);
  xci_page_raw(page, ">");
}

static void add_token_row(xci_page *page, const char *who, const json_t *tokens, const json_t *values, double scale,
                          const char *rgb, const char *title, size_t peak) {
  xci_page_raw(page, "<div class=\"context\"><span class=\"who\">");
  xci_page_text(page, who);
  xci_page_raw(page, "</span>");
  for (size_t t = 0; t < json_array_size(tokens); t++) {
    const char *token = json_string_value(json_array_get(tokens, t));
    double value = json_number_value(json_array_get(values, t));
    open_token(page, rgb, scale > 0 ? value / scale : 0, title, value);
    if (t == peak) xci_page_raw(page, "<u>");
    for (const char *p = token ? token : ""; *p; p++) { /* line ends would break the row: show them */
      if (*p == '\n')
        xci_page_raw(page, "↵");
      else
        xci_text_html(&page->html, p, strcspn(p, "\n")), p += strcspn(p, "\n") - 1;
    }
    xci_page_raw(page, t == peak ? "</u></i>" : "</i>");
  }
  xci_page_raw(page, "</div>\n");
}

void xci_page_context(xci_page *page, const char *who, const json_t *tokens, const json_t *values, double scale,
                      size_t peak) {
  add_token_row(page, who, tokens, values, scale, "213,94,0", "activation", peak);
}

static double largest_of(const json_t *per_checkpoint, size_t c) {
  double largest = 0;
  const json_t *row = json_array_get(per_checkpoint, c);
  for (size_t t = 0; t < json_array_size(row); t++) {
    double value = json_number_value(json_array_get(row, t));
    if (value > largest) largest = value;
  }
  return largest;
}

static void add_contexts(xci_page *page, const json_t *feature) {
  const xci_run_files *run = page->run;
  double max = xci_json_number_at(feature, "max");
  const json_t *contexts = json_object_get(feature, "contexts");
  double scale[32] = {0};
  for (size_t k = 0; k < json_array_size(contexts); k++)
    for (size_t c = 0; c < run->n_labels && c < 32; c++) {
      double value = largest_of(json_object_get(json_array_get(contexts, k), "per_checkpoint"), c);
      for (size_t other = 0; other < 32; other++)
        if (value > scale[other]) scale[other] = value; /* one scale, so that checkpoints can be compared */
    }
  for (size_t k = 0; k < json_array_size(contexts); k++) {
    const json_t *context = json_array_get(contexts, k), *tokens = json_object_get(context, "tokens");
    if (k == 3) xci_page_raw(page, "<details><summary class=\"muted\">more contexts</summary>\n");
    add_token_row(page, "activation", tokens, json_object_get(context, "activation"), max, "213,94,0", "activation",
                  SIZE_MAX);
    const json_t *rows = json_object_get(context, "per_checkpoint");
    for (size_t c = 0; k < 2 && c < json_array_size(rows) && c < run->n_labels; c++)
      add_token_row(page, run->labels[c], tokens, json_array_get(rows, c), scale[c < 32 ? c : 31], "0,114,178",
                    "share of the pre-activation", SIZE_MAX);
  }
  if (json_array_size(contexts) > 3) xci_page_raw(page, "</details>\n");
}

static void add_tokens(xci_page *page, const char *title, const json_t *per_checkpoint) {
  const xci_run_files *run = page->run;
  for (size_t c = 0; c < json_array_size(per_checkpoint) && c < run->n_labels; c++) {
    const json_t *tokens = json_array_get(per_checkpoint, c);
    xci_page_raw(page, "<div><span class=\"who\">");
    xci_page_text(page, title);
    xci_page_raw(page, " ");
    xci_page_text(page, run->labels[c]);
    xci_page_raw(page, "</span> ");
    for (size_t k = 0; k < json_array_size(tokens) && k < 8; k++) {
      xci_page_raw(page, k ? " · " : "");
      xci_page_tag(page, "code", xci_json_text_at(json_array_get(tokens, k), "token"));
    }
    xci_page_raw(page, "</div>\n");
  }
}

/* Row of compare/seeds.csv, SIZE_MAX if there is none. Rows of a task stand together, strongest feature first. */
static size_t find_over_runs(const xci_csv *csv, const char *task, int id, const char *label) {
  const size_t tasks = xci_csv_column(csv, "task"), features = xci_csv_column(csv, "feature");
  const size_t checkpoints = xci_csv_column(csv, "checkpoint");
  for (size_t r = 0; r < csv->n_rows; r++)
    if ((int)xci_csv_number(csv, r, features) == id && strcmp(xci_csv_at(csv, r, checkpoints), label) == 0 &&
        strcmp(xci_csv_at(csv, r, tasks), task) == 0)
      return r;
  return SIZE_MAX;
}

/* The interval over seeds below the one over examples. */
static void add_over_runs(xci_page *page, const char *task, int id, const char *label) {
  const xci_csv *csv = &page->run->seeds;
  const size_t row = find_over_runs(csv, task, id, label);
  if (row == SIZE_MAX) return;
  const double low = xci_csv_number(csv, row, xci_csv_column(csv, "low"));
  const double high = xci_csv_number(csv, row, xci_csv_column(csv, "high"));
  xci_text_format(&page->html, "<br><span class=\"muted\">%.0f seeds %.2f–%.2f</span>",
                  xci_csv_number(csv, row, xci_csv_column(csv, "n_runs")), low, high);
}

/* Rows of the tasks in which this feature has an effect. */
static void add_effects(xci_page *page, int id) {
  const xci_run_files *run = page->run;
  bool open = false;
  for (size_t t = 0; t < run->n_tasks; t++) {
    const xci_csv *csv = &run->task[t].effects;
    size_t feature = xci_csv_column(csv, "feature"), row = 0;
    while (row < csv->n_rows && (int)xci_csv_number(csv, row, feature) != id) row++;
    if (row == csv->n_rows || xci_csv_number(csv, row, xci_csv_column(csv, "abs_share")) < 0.02) continue;
    if (!open) {
      xci_page_raw(page, "<div class=\"scroll\"><table><thead><tr><th class=\"t\">task</th>");
      for (size_t c = 0; c < run->n_labels; c++) xci_page_tag(page, "th", run->labels[c]);
      for (size_t c = 0; c < run->n_labels; c++) xci_page_raw(page, "<th>RelIE (95 %)</th>");
      xci_page_raw(page, "<th class=\"t\">class</th></tr></thead><tbody>\n");
      open = true;
    }
    xci_page_raw(page, "<tr>");
    xci_page_cell_text(page, run->task[t].name);
    for (size_t pass = 0; pass < 2; pass++)
      for (size_t c = 0; c < run->n_labels; c++) {
        char name[3][300];
        snprintf(name[0], sizeof name[0], "%s_%.200s", pass ? "rel_ie" : "ie", run->labels[c]);
        snprintf(name[1], sizeof name[1], "rel_ie_low_%.200s", run->labels[c]);
        snprintf(name[2], sizeof name[2], "rel_ie_high_%.200s", run->labels[c]);
        double value = xci_csv_number(csv, row, xci_csv_column(csv, name[0]));
        double low = xci_csv_number(csv, row, xci_csv_column(csv, name[1]));
        double high = xci_csv_number(csv, row, xci_csv_column(csv, name[2]));
        if (pass && isfinite(value) && isfinite(low)) {
          xci_text_format(&page->html, "<td>%.2f <span class=\"muted\">%.2f–%.2f</span>", value, low, high);
          add_over_runs(page, run->task[t].name, id, run->labels[c]);
          xci_page_raw(page, "</td>");
        } else {
          xci_page_cell(page, value);
        }
      }
    xci_page_cell_text(page, xci_csv_at(csv, row, xci_csv_column(csv, "class")));
    xci_page_raw(page, "</tr>\n");
  }
  if (open) xci_page_raw(page, "</tbody></table></div>\n");
}

static void add_numbers(xci_page *page, const json_t *feature) {
  static const struct {
    const char *title, *key;
  } numbers[] = {{"density", "density"}, {"largest activation", "max"}, {"mean when active", "mean_active"},
                 {"token entropy", "token_entropy"}, {"share of its top token", "top_token_share"}};
  xci_page_raw(page, "<div class=\"grid\">");
  for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++) {
    xci_text_format(&page->html, "<span>%s <b>", numbers[k].title);
    xci_page_number(page, xci_json_number_at(feature, numbers[k].key));
    xci_page_raw(page, "</b></span>");
  }
  static const struct {
    const char *title, *key;
  } vectors[] = {{"decoder norm", "decoder_norm"}, {"RelDec", "rel_dec"}};
  for (size_t k = 0; k < 2; k++) {
    const json_t *values = json_object_get(feature, vectors[k].key);
    xci_text_format(&page->html, "<span>%s", vectors[k].title);
    for (size_t c = 0; c < json_array_size(values); c++) {
      xci_text_format(&page->html, " <b style=\"color:%s\">", xci_checkpoint_color(c, json_array_size(values)));
      xci_page_number(page, json_number_value(json_array_get(values, c)));
      xci_page_raw(page, "</b>");
    }
    xci_page_raw(page, "</span>");
  }
  const json_t *nearest = json_object_get(feature, "nearest");
  if (json_array_size(nearest)) xci_page_raw(page, "<span>nearest");
  for (size_t k = 0; k < json_array_size(nearest) && k < 3; k++)
    xci_text_format(&page->html, " <b>%.0f</b> (%.2f)", xci_json_number_at(json_array_get(nearest, k), "feature"),
                    xci_json_number_at(json_array_get(nearest, k), "cosine"));
  if (json_array_size(nearest)) xci_page_raw(page, "</span>");
  xci_page_raw(page, "</div>\n");
}

static void add_cosines(xci_page *page, const json_t *feature) {
  const json_t *matrix = json_object_get(feature, "decoder_cosine");
  size_t n = json_array_size(matrix);
  if (n < 2) return;
  xci_page_raw(page, "<div><span class=\"who\">decoder cosine</span>");
  for (size_t a = 0; a < n && a < page->run->n_labels; a++)
    for (size_t b = a + 1; b < n && b < page->run->n_labels; b++) {
      xci_page_raw(page, " ");
      xci_page_text(page, page->run->labels[a]);
      xci_page_raw(page, "–");
      xci_page_text(page, page->run->labels[b]);
      xci_text_format(&page->html, " <b>%.2f</b>", json_number_value(json_array_get(json_array_get(matrix, a), b)));
    }
  xci_page_raw(page, "</div>\n");
}

/* In how many of the other runs that were compared the feature was found again. */
static void add_stability(xci_page *page, int id) {
  const xci_csv *csv = &page->run->stability;
  const json_t *runs = json_object_get(page->run->compare, "runs");
  const char *own = xci_json_text_at(json_array_get(runs, 0), "name");
  const size_t run = xci_csv_column(csv, "run"), feature = xci_csv_column(csv, "feature");
  for (size_t r = 0; r < csv->n_rows; r++) {
    if (strcmp(xci_csv_at(csv, r, run), own) != 0 || xci_csv_number(csv, r, feature) != id) continue;
    xci_page_raw(page, "<div><span class=\"who\">stability</span> found again in <b>");
    xci_page_number(page, xci_csv_number(csv, r, xci_csv_column(csv, "n_recurring")));
    xci_page_raw(page, " of ");
    xci_page_number(page, xci_csv_number(csv, r, xci_csv_column(csv, "n_compared")));
    xci_page_raw(page, "</b> other runs <span class=\"muted\">mean similarity ");
    xci_page_number(page, xci_csv_number(csv, r, xci_csv_column(csv, "mean_similarity")));
    xci_page_raw(page, "</span></div>\n");
    return;
  }
}

/* The features with the n_cards largest |IE| of a task at a checkpoint (XCI_MOST_TOP at most), with repetitions. */
static xcoder_status find_wanted(const xci_page *page, uint32_t **wanted, size_t *n_wanted) {
  const xci_run_files *run = page->run;
  const size_t k = xci_min_size(page->n_cards, XCI_MOST_TOP);
  size_t n;
  *wanted = NULL;
  *n_wanted = 0;
  if (!xci_mul_size(run->n_tasks, run->n_labels * k, &n))
    return xci_fail(page->err, XCODER_MEMORY, "report: too many tasks");
  const xcoder_status status = XCI_ALLOC(wanted, n, page->err);
  for (size_t t = 0; !status && t < run->n_tasks; t++) {
    size_t ie[XCODER_MAX_CHECKPOINTS];
    if (!xci_effect_columns(run, &run->task[t].effects, "ie", ie)) continue;
    for (size_t c = 0; c < run->n_labels; c++)
      *n_wanted += xci_top_features(&run->task[t], ie[c], k, *wanted + *n_wanted);
  }
  return status;
}

static bool is_among(const uint32_t *wanted, size_t n, int id) {
  for (size_t i = 0; i < n; i++)
    if (wanted[i] == (uint32_t)id) return true;
  return false;
}

void xci_page_cards(xci_page *page) {
  const json_t *features = json_object_get(page->run->features, "features");
  uint32_t *wanted = NULL;
  size_t n_wanted = 0;
  if (!features || page->status) return;
  if (page->n_cards) page->status = find_wanted(page, &wanted, &n_wanted);
  xci_page_raw(page, "<h2 id=\"cards\">Features</h2>\n<p>One card for each of the strongest features. Orange: "
                     "activation of the feature, which all "
                     "checkpoints share. Blue: what each checkpoint contributes to it (its share of the "
                     "pre-activation, one scale for all).</p>\n"
                     "<div class=\"tool\"><input id=\"filter\" type=\"search\" placeholder=\"show cards that contain "
                     "...\" "
                     "aria-label=\"show cards that contain\"> <span id=\"shown\" class=\"muted\"></span></div>\n"
                     "<p class=\"paper muted\">On paper: the first 24 cards.</p>\n");
  xci_page_label_tools(page);
  size_t k;
  json_t *feature;
  json_array_foreach(features, k, feature) {
    int id = (int)xci_json_number_at(feature, "feature");
    if (page->n_cards && !is_among(wanted, n_wanted, id)) continue;
    xci_text_format(&page->html, "<section class=\"card\" id=\"f%d\"><h3>Feature %d</h3>\n", id, id);
    xci_page_card_label(page, (uint32_t)id);
    add_numbers(page, feature);
    add_cosines(page, feature);
    add_stability(page, id);
    xci_page_card_features(page, feature);
    xci_page_card_scaling(page, (uint32_t)id);
    add_effects(page, id);
    add_contexts(page, feature);
    xci_page_card_samples(page, feature);
    xci_page_raw(page, "<details><summary class=\"muted\">tokens it promotes and suppresses through each checkpoint's "
                       "unembedding</summary>\n");
    add_tokens(page, "promotes", json_object_get(feature, "promoted"));
    add_tokens(page, "suppresses", json_object_get(feature, "suppressed"));
    xci_page_raw(page, "</details></section>\n");
  }
  xci_free(wanted);
}
