/* SPDX-License-Identifier: Apache-2.0 */
/* The report of a selection of checkpoints. */
#include <crosscoder/report.h>

#include "base/file.h"
#include "base/memory.h"
#include "report/class_agreement.h"
#include "report/axis.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST_SERIES = 24 };

typedef struct selection_page {
  xci_page page;
  const xcoder_selection *s;
  double *x;       /* [n_revisions] places on the axis */
  double *marks;   /* [n] places of the best proposal */
  const char **mark_names;
} selection_page;

static const char *const *labels_of(const xcoder_selection *s) { return (const char *const *)s->labels; }

static size_t block_end(const xcoder_selection *s, const xcoder_proposal *p, size_t k) {
  return (k + 1 < s->n ? p->first[k + 1] : s->n_revisions) - 1;
}

static void add_share(xci_page *page, xci_text *csv, double value) {
  xci_page_cell(page, value);
  xci_text_add(csv, ",");
  if (isfinite(value)) xci_text_number(csv, value);
}

static void add_field(xci_text *csv, const char *text) {
  xci_text_add(csv, ",");
  xci_text_csv(csv, text, strlen(text));
}

/* One row for each block of each proposal. */
static void add_proposals(selection_page *sp) {
  const xcoder_selection *s = sp->s;
  xci_page *page = &sp->page;
  xci_text csv = {0};
  xci_text_add(&csv, "proposal,explained,accuracy_share,similarity_share,checkpoint,first,last\n");
  xci_page_raw(page, "<h2>Proposals</h2>\n<p>The revisions are cut into blocks that explain as much as possible of how "
                     "accuracies and activations differ; each block is stood for by its most typical revision.</p>\n"
                     "<div class=\"scroll\"><table><thead><tr><th>proposal</th><th>explained</th><th>accuracy</th>"
                     "<th>similarity</th><th class=\"t\">checkpoint</th><th class=\"t\">stands "
                     "for</th></tr></thead><tbody>\n");
  for (size_t i = 0; i < s->n_proposals; i++)
    for (size_t k = 0; k < s->n; k++) {
      const xcoder_proposal *p = &s->proposal[i];
      const char *first = s->labels[p->first[k]], *last = s->labels[block_end(s, p, k)];
      xci_text_format(&page->html, "<tr><td>%zu</td>", i + 1);
      xci_text_format(&csv, "%zu", i + 1);
      add_share(page, &csv, p->score);
      add_share(page, &csv, p->accuracy_share);
      add_share(page, &csv, p->similarity_share);
      xci_page_cell_text(page, s->labels[p->chosen[k]]);
      xci_page_raw(page, "<td class=\"t\">");
      xci_page_text(page, first);
      xci_page_raw(page, " to ");
      xci_page_text(page, last);
      xci_page_raw(page, "</td></tr>\n");
      add_field(&csv, s->labels[p->chosen[k]]);
      add_field(&csv, first);
      add_field(&csv, last);
      xci_text_add(&csv, "\n");
    }
  xci_page_raw(page, "</tbody></table></div>\n");
  xci_page_table(page, "proposals", &csv);
}

static void add_changes(selection_page *sp) {
  const xcoder_selection *s = sp->s;
  xci_page *page = &sp->page;
  xci_text csv = {0};
  xci_text_add(&csv, "change,last_before,first_after,low,high,agreement\n");
  xci_page_raw(page, "<h2>Change points of the first proposal</h2>\n<p>Intervals hold the change in 95 % of the "
                     "resamples of "
                     "the right answers (binomial, given the pairs; similarities stay as they are).</p>\n<ul>\n");
  for (size_t k = 1; k < s->n && s->n_proposals; k++) {
    const size_t first = s->proposal[0].first[k];
    xci_page_raw(page, "<li>between ");
    xci_page_text(page, s->labels[first - 1]);
    xci_page_raw(page, " and ");
    xci_page_text(page, s->labels[first]);
    xci_text_format(&csv, "%zu", k);
    add_field(&csv, s->labels[first - 1]);
    add_field(&csv, s->labels[first]);
    add_field(&csv, s->labels[s->low[k]]);
    add_field(&csv, s->labels[s->high[k]]);
    xci_text_add(&csv, ",");
    if (isfinite(s->agreement[k])) {
      xci_text_number(&csv, s->agreement[k]);
      xci_page_raw(page, "; the later block begins between ");
      xci_page_text(page, s->labels[s->low[k]]);
      xci_page_raw(page, " and ");
      xci_page_text(page, s->labels[s->high[k]]);
      xci_text_format(&page->html, ", here in %.0f %% of the resamples", 100 * s->agreement[k]);
    }
    xci_text_add(&csv, "\n");
    xci_page_raw(page, "</li>\n");
  }
  xci_page_raw(page, "</ul>\n");
  xci_page_table(page, "changes", &csv);
}

/* ---- Figures ---- */

static void set_axis(const selection_page *sp, xci_chart *chart) {
  chart->width = 760;
  chart->height = 400;
  chart->marks = sp->marks;
  chart->mark_names = sp->mark_names;
  chart->n_marks = sp->s->n_proposals ? sp->s->n : 0;
  xci_chart_by_checkpoints(chart, labels_of(sp->s), sp->s->tokens_seen, sp->x, sp->s->n_revisions);
}

static void add_accuracy(selection_page *sp) {
  const xcoder_selection *s = sp->s;
  xci_page *page = &sp->page;
  const size_t n = s->n_revisions, n_series = s->n_cells < MOST_SERIES ? s->n_cells : MOST_SERIES;
  xci_series series[MOST_SERIES];
  double *y = NULL;
  if (s->n_cells == 0 || page->status) return;
  page->status = xci_alloc(n_series * n, sizeof *y, (void **)&y, page->err);
  if (page->status) return;
  for (size_t cell = 0; cell < n_series; cell++) {
    for (size_t c = 0; c < n; c++)
      y[cell * n + c] = s->n_right[cell * n + c] / s->n_pairs[cell * n + c]; /* 0 / 0 is a gap */
    const char *name = s->cells[cell];
    series[cell] = (xci_series){.name = strncmp(name, "pairs-", 6) == 0 ? name + 6 : name,
                                .color = xci_checkpoint_color(cell % 6, 6), .n = n, .x = sp->x, .y = y + cell * n,
                                .line = true, .points = true, .dashed = cell >= 6};
  }
  xci_chart chart = {.title = "Accuracy, with the checkpoints of the first proposal", .x_title = "checkpoint",
                     .y_title = "share right", .y_min = 0, .y_max = 1.02, .reference = 0.5, .reference_name = "chance",
                     .series = series, .n_series = n_series};
  xci_text svg = {0};
  set_axis(sp, &chart);
  xci_chart_svg(&chart, &svg);
  xci_page_figure(page, "accuracy", &svg,
                  s->n_cells > n_series ? "The first 24 groups; all of them are in the table." : "");
  xci_free(y);
}

static void add_heat_map(selection_page *sp, const char *name, const char *title, const double *values) {
  const xcoder_selection *s = sp->s;
  const size_t n = s->n_revisions;
  double low = 1;
  for (size_t i = 0; i < n * n; i++)
    if (isfinite(values[i])) low = fmin(low, values[i]);
  xci_heat_map map = {.title = title, .rows = labels_of(s), .columns = labels_of(s), .n_rows = n, .n_columns = n,
                      .values = values, .low = low, .high = 1, .decimals = 2};
  xci_text svg = {0}, csv = {0};
  xci_heat_map_svg(&map, &svg);
  xci_page_figure(&sp->page, name, &svg, "Mean over tokens; darker is more alike.");
  xci_text_add(&csv, "checkpoint");
  for (size_t j = 0; j < n; j++) add_field(&csv, s->labels[j]);
  xci_text_add(&csv, "\n");
  for (size_t i = 0; i < n; i++) {
    xci_text_csv(&csv, s->labels[i], strlen(s->labels[i]));
    for (size_t j = 0; j < n; j++) {
      xci_text_add(&csv, ",");
      if (isfinite(values[i * n + j])) xci_text_number(&csv, values[i * n + j]);
    }
    xci_text_add(&csv, "\n");
  }
  xci_page_table(&sp->page, name, &csv);
}

/* How alike each revision is to the one before it. */
static void add_adjacent(selection_page *sp) {
  const xcoder_selection *s = sp->s;
  xci_page *page = &sp->page;
  const size_t n = s->n_revisions;
  double *y = NULL;
  if (!page->status) page->status = xci_alloc(2 * n, sizeof *y, (void **)&y, page->err);
  if (page->status) return;
  xci_text csv = {0}, svg = {0};
  xci_text_add(&csv, "before,after,cosine,pearson\n");
  y[0] = y[n] = NAN;
  for (size_t c = 1; c < n; c++) {
    y[c] = s->cosine[c * n + c - 1];
    y[n + c] = s->pearson[c * n + c - 1];
    xci_text_csv(&csv, s->labels[c - 1], strlen(s->labels[c - 1]));
    add_field(&csv, s->labels[c]);
    xci_text_add(&csv, ",");
    xci_text_number(&csv, y[c]);
    xci_text_add(&csv, ",");
    xci_text_number(&csv, y[n + c]);
    xci_text_add(&csv, "\n");
  }
  xci_series series[] = {
      {.name = "cosine", .color = "#0072b2", .n = n, .x = sp->x, .y = y, .line = true, .points = true},
      {.name = "Pearson",
       .color = "#d55e00",
       .n = n,
       .x = sp->x,
       .y = y + n,
       .line = true,
       .points = true,
       .dashed = true}};
  xci_chart chart = {.title = "Similarity to the revision before",
                     .x_title = "checkpoint",
                     .y_title = "mean over tokens",
                     .reference = NAN,
                     .series = series,
                     .n_series = 2};
  set_axis(sp, &chart);
  xci_chart_svg(&chart, &svg);
  xci_page_figure(page, "adjacent", &svg, "Vertical lines: the checkpoints of the first proposal.");
  xci_page_table(page, "adjacent", &csv);
  xci_free(y);
}

/* ---- Agreement of runs ---- */

static void add_pair_of_runs(xci_page *page, const xci_run_files *a, const xci_run_files *b, xci_text *csv) {
  xci_agreement_match match = {0};
  if (!page->status) page->status = xci_agreement_match_runs(a, b, &match, page->err);
  for (size_t t = 0; !page->status && t < a->n_tasks; t++) {
    xci_agreement r;
    bool shared = false;
    for (size_t u = 0; u < b->n_tasks; u++) shared = shared || strcmp(a->task[t].name, b->task[u].name) == 0;
    if (!shared) continue;
    page->status = xci_agreement_measure(&match, a, b, a->task[t].name, &r, page->err);
    if (page->status) break;
    const double same = r.n_matched ? (double)r.n_same / (double)r.n_matched : NAN;
    const char *texts[] = {a->path, b->path, a->task[t].name};
    const double numbers[] = {(double)r.n_top, (double)r.n_matched, same, r.expected, r.cosine, r.difference};
    xci_page_raw(page, "<tr>");
    for (size_t i = 0; i < 3; i++) {
      xci_page_cell_text(page, texts[i]);
      if (i) xci_text_add(csv, ",");
      xci_text_csv(csv, texts[i], strlen(texts[i]));
    }
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) add_share(page, csv, numbers[i]);
    xci_page_raw(page, "</tr>\n");
    xci_text_add(csv, "\n");
  }
  xci_agreement_match_free(&match);
}

static void add_agreement(xci_page *page, const char *const *runs, size_t n_runs) {
  xci_run_files *files = NULL;
  size_t n_read = 0;
  xci_text csv = {0};
  if (n_runs == 0 || page->status) return;
  page->status = xci_alloc(n_runs, sizeof *files, (void **)&files, page->err);
  for (; !page->status && n_read < n_runs; n_read += !page->status)
    page->status = xci_run_files_read(runs[n_read], &files[n_read], page->err);
  xci_page_raw(page, "<h2>Do runs of different proposals say the same?</h2>\n<p>Of the 20 features with the largest "
                     "effects "
                     "on a task in one run: how many are matched in the other (one to one by decoder, more alike than "
                     "chance "
                     "gives, with a certain class in both), and how many of those have the same class there, by place: "
                     "specific to "
                     "the first, second or third checkpoint, or shared by the same ones. By chance: if partners were "
                     "drawn "
                     "at random among the matched.</p>\n<div class=\"scroll\"><table class=\"sortable\"><thead><tr>"
                     "<th class=\"t\">run</th><th class=\"t\">other run</th><th "
                     "class=\"t\">task</th><th>top</th><th>matched</th>"
                     "<th>same class</th><th>by chance</th><th>cosine</th><th>difference of "
                     "RelIE</th></tr></thead><tbody>\n");
  xci_text_add(&csv, "run,other_run,task,n_top,n_matched,same_class,same_by_chance,cosine,rel_ie_difference\n");
  for (size_t a = 0; a < n_read; a++)
    for (size_t b = a + 1; b < n_read; b++) add_pair_of_runs(page, &files[a], &files[b], &csv);
  xci_page_raw(page, "</tbody></table></div>\n");
  xci_page_table(page, "agreement", &csv);
  for (size_t i = 0; i < n_read; i++) xci_run_files_free(&files[i]);
  xci_free(files);
}

/* ---- All of it ---- */

static void build(selection_page *sp, const char *const *runs, size_t n_runs) {
  const xcoder_selection *s = sp->s;
  xci_page_begin(&sp->page, "Which checkpoints to compare");
  add_proposals(sp);
  add_changes(sp);
  xci_page_raw(&sp->page, "<h2>Evidence</h2>\n<div class=\"figures\">\n");
  add_accuracy(sp);
  if (s->cosine) {
    add_heat_map(sp, "similarity-cosine", "Cosine of activations", s->cosine);
    add_heat_map(sp, "similarity-pearson", "Pearson correlation of activations", s->pearson);
    add_adjacent(sp);
  }
  xci_page_raw(&sp->page, "</div>\n");
  add_agreement(&sp->page, runs, n_runs);
  xci_page_close(&sp->page);
}

xcoder_status xcoder_selection_report(const xcoder_selection *selection, const char *const *runs, size_t n_runs,
                                      const char *out, const xcoder_monitor *monitor, xcoder_error *err) {
  selection_page sp = {.page = {.err = err}, .s = selection};
  char *folder = NULL;
  (void)monitor;
  xcoder_status status = xci_join_path(out, "report", &folder, err);
  if (!status) status = xci_page_make_folders(folder, err);
  if (!status) status = XCI_ALLOC(&sp.x, selection->n_revisions, err);
  if (!status) status = XCI_ALLOC(&sp.marks, selection->n, err);
  if (!status) status = XCI_ALLOC(&sp.mark_names, selection->n, err);
  if (!status) {
    sp.page.out = folder;
    xci_checkpoint_places(selection->tokens_seen, selection->n_revisions, sp.x);
    for (size_t k = 0; k < selection->n && selection->n_proposals; k++) {
      sp.marks[k] = sp.x[selection->proposal[0].chosen[k]];
      sp.mark_names[k] = selection->labels[selection->proposal[0].chosen[k]];
    }
    build(&sp, runs, n_runs);
    status = xci_page_write(&sp.page, err);
  }
  xci_text_clear(&sp.page.html);
  xci_free(sp.x);
  xci_free(sp.marks);
  xci_free(sp.mark_names);
  xci_free(folder);
  return status;
}
