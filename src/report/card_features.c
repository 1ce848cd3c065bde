/* SPDX-License-Identifier: Apache-2.0 */
/* What the database of features adds to a card: histogram, tokens by checkpoint of origin, activity by task and
 * language, labels it tells, typical and negative contexts. */
#include "report/page.h"

#include "report/figure.h"
#include <math.h>
#include <string.h>

enum { BAR = 5, HEIGHT = 34, MOST_NAMES = 12, MOST_CONTEXTS = 5 };

/* Counts on a logarithmic scale, since small activations are so many more. */
static void add_histogram(xci_page *page, const json_t *feature) {
  const json_t *histogram = json_object_get(feature, "histogram"), *counts = json_object_get(histogram, "counts");
  const json_t *edges = json_object_get(histogram, "edges");
  const size_t n = json_array_size(counts);
  double largest = 0;
  if (n == 0 || json_array_size(edges) != n + 1) return;
  for (size_t k = 0; k < n; k++) largest = fmax(largest, json_number_value(json_array_get(counts, k)));
  xci_page_raw(page, "<div><span class=\"who\">activations</span>");
  xci_text_format(&page->html,
                  "<svg width=\"%zu\" height=\"%d\" role=\"img\" aria-label=\"histogram of activations\"><g "
                  "fill=\"#d55e00\">",
                  n * BAR, HEIGHT);
  for (size_t k = 0; k < n; k++) {
    const double height = log1p(json_number_value(json_array_get(counts, k))) / log1p(fmax(1, largest)) * HEIGHT;
    xci_text_format(&page->html, "<rect x=\"%zu\" y=\"%.1f\" width=\"%d\" height=\"%.1f\"/>", k * BAR, HEIGHT - height,
                    BAR - 1, height);
  }
  xci_page_raw(page, "</g></svg> <span class=\"muted\">0 to ");
  xci_page_number(page, json_number_value(json_array_get(edges, n)));
  xci_page_raw(page, ", counts by their logarithm</span></div>\n");
}

static void add_vector(xci_page *page, const char *title, const json_t *values) {
  const size_t n = json_array_size(values);
  if (n == 0) return;
  xci_text_format(&page->html, "<span>%s", title);
  for (size_t c = 0; c < n; c++) {
    xci_text_format(&page->html, " <b style=\"color:%s\">", xci_checkpoint_color(c, n));
    xci_page_number(page,
                    json_is_number(json_array_get(values, c)) ? json_number_value(json_array_get(values, c)) : NAN);
    xci_page_raw(page, "</b>");
  }
  xci_page_raw(page, "</span>");
}

static void add_densities(xci_page *page, const char *title, const json_t *list, const char *key) {
  if (json_array_size(list) == 0) return;
  xci_text_format(&page->html, "<div><span class=\"who\">%s</span>", title);
  for (size_t k = 0; k < json_array_size(list) && k < MOST_NAMES; k++) {
    const char *name = xci_json_text_at(json_array_get(list, k), key);
    xci_page_raw(page, k ? " · " : " ");
    xci_page_text(page, strncmp(name, "pairs-", 6) == 0 ? name + 6 : name);
    xci_text_format(&page->html, " <b>%.2g %%</b>", 100 * xci_json_number_at(json_array_get(list, k), "density"));
  }
  xci_page_raw(page, "</div>\n");
}

static void add_predictions(xci_page *page, const json_t *list) {
  for (size_t k = 0; k < json_array_size(list); k++) {
    const json_t *item = json_array_get(list, k);
    xci_page_raw(page, k ? " · " : "<div><span class=\"who\">tells best</span> ");
    xci_page_text(page, xci_json_text_at(item, "checkpoint"));
    xci_page_raw(page, " ");
    xci_page_tag(page, "b", xci_json_text_at(item, "label"));
    const double p = xci_json_number_at(item, "p");
    xci_text_format(&page->html, " AUC %.2f <span class=\"muted\">%.2f–%.2f, p %s%.2g</span>",
                    xci_json_number_at(item, "auc"), xci_json_number_at(item, "low"), xci_json_number_at(item, "high"),
                    p < 1e-99 ? "< " : "", fmax(p, 1e-99));
  }
  if (json_array_size(list)) xci_page_raw(page, "</div>\n");
}

/* Life of the feature over all tasks. */
static void add_life(xci_page *page, const json_t *feature) {
  const xci_csv *csv = &page->run->evolution_csv;
  const size_t task = xci_csv_column(csv, "task"), id = xci_csv_column(csv, "feature");
  const double wanted = xci_json_number_at(feature, "feature");
  for (size_t r = 0; r < csv->n_rows && strcmp(xci_csv_at(csv, r, task), "all") == 0; r++) {
    if (xci_csv_number(csv, r, id) != wanted) continue;
    xci_page_raw(page, "<div><span class=\"who\">life</span> <b>");
    xci_page_text(page, xci_csv_at(csv, r, xci_csv_column(csv, "cycle")));
    xci_page_raw(page, "</b>");
    const double support = xci_csv_number(csv, r, xci_csv_column(csv, "support"));
    if (isfinite(support)) xci_text_format(&page->html, " in %.0f %% of the resamples", 100 * support);
    xci_page_raw(page, ", present from ");
    xci_page_tag(page, "b", xci_csv_at(csv, r, xci_csv_column(csv, "onset")));
    xci_page_raw(page, " <span class=\"muted\">");
    xci_page_text(page, xci_csv_at(csv, r, xci_csv_column(csv, "onset_low")));
    xci_page_raw(page, "–");
    xci_page_text(page, xci_csv_at(csv, r, xci_csv_column(csv, "onset_high")));
    xci_page_raw(page, "</span></div>\n");
    return;
  }
}

void xci_page_card_features(xci_page *page, const json_t *feature) {
  xci_page_raw(page, "<div class=\"grid\">");
  add_vector(page, "token entropy by origin", json_object_get(feature, "token_entropy_checkpoint"));
  add_vector(page, "top token by origin", json_object_get(feature, "top_token_share_checkpoint"));
  add_vector(page, "origin of its activation", json_object_get(feature, "activation_share"));
  xci_page_raw(page, "</div>\n");
  add_histogram(page, feature);
  add_life(page, feature);
  add_predictions(page, json_object_get(feature, "predicts"));
  add_densities(page, "active in", json_object_get(feature, "tasks"), "task");
  add_densities(page, "languages", json_object_get(feature, "languages"), "language");
}

static void add_group(xci_page *page, const json_t *feature, const char *key, const char *title, double max) {
  const json_t *contexts = json_object_get(feature, key);
  if (json_array_size(contexts) == 0) return;
  xci_page_raw(page, "<details><summary class=\"muted\">");
  xci_page_text(page, title);
  xci_page_raw(page, "</summary>\n");
  const size_t n = json_array_size(contexts), step = (n + MOST_CONTEXTS - 1) / MOST_CONTEXTS; /* over all quantiles */
  for (size_t k = 0; k < n; k += step) {
    const json_t *context = json_array_get(contexts, k);
    const size_t peak = (size_t)fmax(0, xci_json_number_at(context, "peak"));
    xci_page_context(page, k ? "" : "activation", json_object_get(context, "tokens"),
                     json_object_get(context, "activation"), max, peak);
  }
  xci_page_raw(page, "</details>\n");
}

void xci_page_card_samples(xci_page *page, const json_t *feature) {
  const double max = xci_json_number_at(feature, "max");
  add_group(page, feature, "quantile_contexts", "drawn from all places where it fires, strongest first", max);
  add_group(page, feature, "negative_contexts", "where it is silent: on its strongest token, and elsewhere", max);
}
