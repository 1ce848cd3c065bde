/* SPDX-License-Identifier: Apache-2.0 */
/* Figures of a task beside the two main ones: distributions of IE and RelIE, RelIE against RelDec and its classes. */
#include "report/effect_figures.h"

#include "analysis/attribution/relative_effect.h"
#include "base/memory.h"
#include "report/figure.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BINS = 20, MOST_POINTS = 100, MOST_CLASSES = 24 };

bool xci_effect_columns(const xci_run_files *run, const xci_csv *csv, const char *prefix,
                        size_t column[XCODER_MAX_CHECKPOINTS]) {
  for (size_t c = 0; c < run->n_labels; c++) {
    xci_text name = {0};
    xci_text_format(&name, "%s_%s", prefix, run->labels[c]);
    column[c] = name.bytes ? xci_csv_column(csv, name.bytes) : SIZE_MAX;
    xci_text_clear(&name);
    if (column[c] >= csv->n_columns) return false;
  }
  return run->n_labels > 0 && run->n_labels <= XCODER_MAX_CHECKPOINTS;
}

/* Puts a figure under KIND-TASK.svg and its numbers under KIND-TASK.csv. */
static void add_both(xci_page *page, const char *kind, const char *task, xci_text *svg, const char *caption,
                     xci_text *csv) {
  xci_text name = {0};
  xci_text_format(&name, "%s-%s", kind, task);
  xci_page_figure(page, name.bytes ? name.bytes : kind, svg, caption);
  xci_page_table(page, name.bytes ? name.bytes : kind, csv);
  xci_text_clear(&name);
}

static void add_label_columns(const xci_run_files *run, const char *prefix, xci_text *csv) {
  for (size_t c = 0; c < run->n_labels; c++) {
    xci_text name = {0};
    xci_text_format(&name, "%s_%s", prefix, run->labels[c]);
    xci_text_add(csv, ",");
    xci_text_csv(csv, name.bytes ? name.bytes : "", name.n_bytes);
    xci_text_clear(&name);
  }
  xci_text_add(csv, "\n");
}

static int compare_falling(const void *a, const void *b) {
  const double p = *(const double *)a, q = *(const double *)b;
  return (p < q) - (p > q);
}

/* |IE| by rank, each checkpoint's features in its own order. */
static void add_distribution(xci_page *page, const xci_task_files *task, const size_t *ie) {
  const xci_run_files *run = page->run;
  const size_t n = run->n_labels, n_rows = task->effects.n_rows;
  double *values;
  if (!page->status) page->status = xci_alloc((n + 1) * n_rows, sizeof *values, (void **)&values, page->err);
  if (page->status) return;
  double *rank = values + n * n_rows;
  xci_series series[XCODER_MAX_CHECKPOINTS];
  for (size_t c = 0; c < n; c++) {
    double *own = values + c * n_rows;
    for (size_t r = 0; r < n_rows; r++) {
      const double value = fabs(xci_csv_number(&task->effects, r, ie[c]));
      own[r] = isfinite(value) ? value : 0;
      rank[r] = (double)(r + 1);
    }
    qsort(own, n_rows, sizeof *own, compare_falling);
    series[c] = (xci_series){
        .name = run->labels[c], .color = xci_checkpoint_color(c, n), .n = n_rows, .x = rank, .y = own, .line = true};
  }
  xci_chart chart = {.title = "Strength of effects by rank",
                     .x_title = "rank at that checkpoint",
                     .y_title = "|IE| (logits)",
                     .log_x = true,
                     .y_zero = true,
                     .reference = NAN,
                     .series = series,
                     .n_series = n};
  xci_text svg = {0}, csv = {0};
  xci_chart_svg(&chart, &svg);
  xci_text_add(&csv, "rank");
  add_label_columns(run, "abs_ie", &csv);
  for (size_t r = 0; r < n_rows; r++) {
    xci_text_format(&csv, "%zu", r + 1);
    for (size_t c = 0; c < n; c++) {
      xci_text_add(&csv, ",");
      xci_text_number(&csv, values[c * n_rows + r]);
    }
    xci_text_add(&csv, "\n");
  }
  add_both(page, "ie-distribution", task->name, &svg, "Each checkpoint's features in its own order.", &csv);
  xci_free(values);
}

/* How many features have which RelIE, one line a checkpoint; with two the second's shares are all there is to know. */
static void add_histogram(xci_page *page, const xci_task_files *task, const size_t *rel) {
  const xci_run_files *run = page->run;
  const size_t n = run->n_labels, first = n == 2 ? 1 : 0;
  double count[XCODER_MAX_CHECKPOINTS][BINS] = {{0}}, middle[BINS];
  xci_series series[XCODER_MAX_CHECKPOINTS];
  for (size_t i = 0; i < BINS; i++) middle[i] = ((double)i + 0.5) / BINS;
  for (size_t c = first; c < n; c++) {
    for (size_t r = 0; r < task->effects.n_rows; r++) {
      const double share = xci_csv_number(&task->effects, r, rel[c]);
      if (!(share >= 0 && share <= 1)) continue;
      const size_t bin = (size_t)(share * BINS);
      count[c][bin < BINS ? bin : BINS - 1]++;
    }
    series[c - first] = (xci_series){.name = run->labels[c],
                                     .color = xci_checkpoint_color(c, n),
                                     .n = BINS,
                                     .x = middle,
                                     .y = count[c],
                                     .line = true,
                                     .points = true};
  }
  xci_chart chart = {.title = "Distribution of RelIE",
                     .x_title = "RelIE: share of |IE| at the checkpoint",
                     .y_title = "features",
                     .y_zero = true,
                     .reference = NAN,
                     .series = series,
                     .n_series = n - first};
  xci_text svg = {0}, csv = {0};
  xci_chart_svg(&chart, &svg);
  xci_text_add(&csv, "low,high");
  add_label_columns(run, "features", &csv);
  for (size_t i = 0; i < BINS; i++) {
    xci_text_number(&csv, (double)i / BINS);
    xci_text_add(&csv, ",");
    xci_text_number(&csv, (double)(i + 1) / BINS);
    for (size_t c = 0; c < n; c++) {
      if (c < first) xci_text_add(&csv, ",");
      else xci_text_format(&csv, ",%.0f", count[c][i]);
    }
    xci_text_add(&csv, "\n");
  }
  add_both(page, "relie-histogram", task->name, &svg, "Features in each twentieth of RelIE.", &csv);
}

static void add_scatter(xci_page *page, const xci_task_files *task, const size_t *rel, const size_t *dec) {
  const xci_run_files *run = page->run;
  const size_t n = run->n_labels, first = n == 2 ? 1 : 0, n_rows = task->effects.n_rows;
  const size_t n_points = n_rows < MOST_POINTS ? n_rows : MOST_POINTS;
  double *x, *y;
  if (!page->status) page->status = xci_alloc(2 * n * n_points, sizeof *x, (void **)&x, page->err);
  if (page->status) return;
  y = x + n * n_points;
  xci_series series[XCODER_MAX_CHECKPOINTS];
  xci_text svg = {0}, csv = {0};
  xci_text_add(&csv, "feature,checkpoint,rel_dec,rel_ie\n");
  for (size_t c = first; c < n; c++) {
    for (size_t r = 0; r < n_points; r++) {
      x[c * n_points + r] = xci_csv_number(&task->effects, r, dec[c]);
      y[c * n_points + r] = xci_csv_number(&task->effects, r, rel[c]);
      const char *id = xci_csv_at(&task->effects, r, xci_csv_column(&task->effects, "feature"));
      xci_text_csv(&csv, id, strlen(id));
      xci_text_add(&csv, ",");
      xci_text_csv(&csv, run->labels[c], strlen(run->labels[c]));
      for (size_t k = 0; k < 2; k++) {
        const double value = (k ? y : x)[c * n_points + r];
        xci_text_add(&csv, ",");
        if (isfinite(value)) xci_text_number(&csv, value);
      }
      xci_text_add(&csv, "\n");
    }
    series[c - first] = (xci_series){.name = run->labels[c], .color = xci_checkpoint_color(c, n), .n = n_points,
                                     .x = x + c * n_points, .y = y + c * n_points, .points = true};
  }
  xci_chart chart = {.title = "RelIE against RelDec",
                     .x_title = "RelDec",
                     .y_title = "RelIE",
                     .reference = NAN,
                     .y_min = -0.02,
                     .y_max = 1.02,
                     .height = 360,
                     .series = series,
                     .n_series = n - first};
  xci_chart_svg(&chart, &svg);
  add_both(page, "relie-reldec", task->name, &svg,
           "The 100 strongest features: where a direction is written, and where it is used.", &csv);
  xci_free(x);
}

/* "AB" for a class shared by the first two checkpoints; numbers of the classes that were met, in order. */
typedef struct classes {
  size_t n;
  char name[MOST_CLASSES][2 * XCODER_MAX_CHECKPOINTS + 8];
} classes;

static size_t find_class(classes *met, xci_borders borders, const double *share, size_t n) {
  char letters[XCODER_MAX_CHECKPOINTS][4];
  const char *label[XCODER_MAX_CHECKPOINTS];
  xci_text text = {0};
  bool defined = true;
  for (size_t c = 0; c < n; c++) {
    if (c < 26) snprintf(letters[c], sizeof letters[c], "%c", (char)('A' + c));
    else snprintf(letters[c], sizeof letters[c], "%u", (unsigned)(c + 1) % 100);
    label[c] = letters[c];
    defined = defined && isfinite(share[c]);
  }
  if (defined) xci_class_text(xci_classify_by(borders, share, n), label, n, &text);
  char *name = text.bytes ? text.bytes : (char[]){"none"}, *colon = strchr(name, ':');
  if (colon && strncmp(name, "mostly:", 7) == 0) *colon-- = '~'; /* "~A" for mostly A, "A" for specific */
  size_t at = 0;
  while (at < met->n && strcmp(met->name[at], colon ? colon + 1 : name)) at++;
  if (at == met->n && at < MOST_CLASSES)
    snprintf(met->name[met->n++], sizeof met->name[0], "%s", colon ? colon + 1 : name);
  xci_text_clear(&text);
  return at < MOST_CLASSES ? at : MOST_CLASSES - 1; /* the rest of many classes together */
}

static int compare_class_names(const void *a, const void *b) {
  const size_t p = strlen(a), q = strlen(b);
  return p != q ? (p < q ? -1 : 1) : strcmp(a, b);
}

static void add_confusion(xci_page *page, const xci_task_files *task, const size_t *rel, const size_t *dec) {
  const xci_run_files *run = page->run;
  const size_t n = run->n_labels;
  static const size_t most = MOST_CLASSES;
  double count[MOST_CLASSES * MOST_CLASSES] = {0}, largest = 0, share[XCODER_MAX_CHECKPOINTS];
  const char *name[MOST_CLASSES];
  const xci_borders borders = xci_run_borders(task->effects_info);
  classes met = {0};
  for (int pass = 0; pass < 2; pass++) { /* first which classes there are, then, sorted, how many of each */
    for (size_t r = 0; r < task->effects.n_rows; r++) {
      for (size_t c = 0; c < n; c++) share[c] = xci_csv_number(&task->effects, r, rel[c]);
      const size_t row = find_class(&met, borders, share, n);
      for (size_t c = 0; c < n; c++) share[c] = xci_csv_number(&task->effects, r, dec[c]);
      const size_t column = find_class(&met, borders, share, n);
      if (pass && ++count[row * most + column] > largest) largest = count[row * most + column];
    }
    if (!pass) qsort(met.name, met.n, sizeof met.name[0], compare_class_names);
  }
  double values[MOST_CLASSES * MOST_CLASSES];
  xci_text svg = {0}, csv = {0}, caption = {0};
  xci_text_add(&csv, "rel_ie_class,rel_dec_class,features\n");
  for (size_t i = 0; i < met.n; i++) {
    name[i] = met.name[i];
    for (size_t k = 0; k < met.n; k++) {
      values[i * met.n + k] = count[i * most + k];
      xci_text_format(&csv, "%s,%s,%.0f\n", met.name[i], met.name[k], count[i * most + k]);
    }
  }
  xci_heat_map map = {.title = "Classes: RelIE (rows) against RelDec (columns)",
                      .rows = name,
                      .columns = name,
                      .n_rows = met.n,
                      .n_columns = met.n,
                      .values = values,
                      .low = 0,
                      .high = largest,
                      .decimals = 0};
  xci_heat_map_svg(&map, &svg);
  for (size_t c = 0; c < n && c < 26; c++)
    xci_text_format(&caption, "%s%c %s", c ? ", " : "", (char)('A' + c), run->labels[c]);
  xci_text_add(&caption, "; ~A: mostly A; without intervals. Numbers of features.");
  add_both(page, "confusion", task->name, &svg, caption.bytes ? caption.bytes : "", &csv);
  xci_text_clear(&caption);
}

void xci_page_effect_figures(xci_page *page, const xci_task_files *task) {
  size_t ie[XCODER_MAX_CHECKPOINTS], rel[XCODER_MAX_CHECKPOINTS], dec[XCODER_MAX_CHECKPOINTS];
  if (page->run->n_labels < 2 || task->effects.n_rows == 0 ||
      !xci_effect_columns(page->run, &task->effects, "ie", ie) ||
      !xci_effect_columns(page->run, &task->effects, "rel_ie", rel) ||
      !xci_effect_columns(page->run, &task->effects, "rel_dec", dec))
    return;
  xci_page_raw(page, "<details><summary>Distributions, and RelIE against RelDec</summary>\n<div class=\"figures\">\n");
  add_distribution(page, task, ie);
  add_histogram(page, task, rel);
  add_scatter(page, task, rel, dec);
  add_confusion(page, task, rel, dec);
  xci_page_raw(page, "</div></details>\n");
}

/* ---- Overlap of the strongest features of tasks ---- */

size_t xci_top_features(const xci_task_files *task, size_t column, size_t k, uint32_t *top) {
  const xci_csv *csv = &task->effects;
  const size_t id = xci_csv_column(csv, "feature");
  double best[XCI_MOST_TOP];
  size_t n = 0;
  for (size_t r = 0; r < csv->n_rows; r++) {
    const double value = fabs(xci_csv_number(csv, r, column));
    if (!(value > 0) || (n == k && value <= best[k - 1])) continue;
    size_t at = n < k ? n++ : k - 1;
    for (; at > 0 && best[at - 1] < value; at--) {
      best[at] = best[at - 1];
      top[at] = top[at - 1];
    }
    best[at] = value;
    top[at] = (uint32_t)xci_csv_number(csv, r, id);
  }
  return n;
}

static size_t count_common(const uint32_t *a, size_t n_a, const uint32_t *b, size_t n_b) {
  size_t n = 0;
  for (size_t i = 0; i < n_a; i++)
    for (size_t k = 0; k < n_b; k++) n += a[i] == b[k];
  return n;
}

static void add_overlap(xci_page *page, size_t c, size_t k, const size_t (*column)[XCODER_MAX_CHECKPOINTS],
                        uint32_t *top, size_t *n_top, double *values, const char **names) {
  const xci_run_files *run = page->run;
  const size_t n = run->n_tasks;
  xci_text svg = {0}, csv = {0}, title = {0}, name = {0};
  xci_text_add(&csv, "task_a,task_b,n_a,n_b,shared,jaccard\n");
  for (size_t t = 0; t < n; t++) {
    n_top[t] = xci_top_features(&run->task[t], column[t][c], k, top + t * MOST_POINTS);
    names[t] = run->task[t].name;
  }
  for (size_t a = 0; a < n; a++)
    for (size_t b = 0; b < n; b++) {
      const size_t shared = count_common(top + a * MOST_POINTS, n_top[a], top + b * MOST_POINTS, n_top[b]);
      const size_t all = n_top[a] + n_top[b] - shared;
      values[a * n + b] = (double)shared;
      xci_text_csv(&csv, names[a], strlen(names[a]));
      xci_text_add(&csv, ",");
      xci_text_csv(&csv, names[b], strlen(names[b]));
      xci_text_format(&csv, ",%zu,%zu,%zu,", n_top[a], n_top[b], shared);
      if (all) xci_text_number(&csv, (double)shared / (double)all);
      xci_text_add(&csv, "\n");
    }
  xci_text_format(&title, "Top %zu at %s", k, run->labels[c]);
  xci_text_format(&name, "overlap-top%zu-%s", k, run->labels[c]);
  xci_heat_map map = {.title = title.bytes ? title.bytes : "",
                      .rows = names,
                      .columns = names,
                      .n_rows = n,
                      .n_columns = n,
                      .values = values,
                      .low = 0,
                      .high = (double)k,
                      .decimals = 0};
  xci_heat_map_svg(&map, &svg);
  xci_page_figure(page, name.bytes ? name.bytes : "overlap", &svg, "");
  xci_page_table(page, name.bytes ? name.bytes : "overlap", &csv);
  xci_text_clear(&title);
  xci_text_clear(&name);
}

void xci_page_overlap(xci_page *page) {
  enum { MOST_TASKS = 64 };
  const xci_run_files *run = page->run;
  const size_t n = run->n_tasks;
  static const size_t sizes[] = {10, 100};
  size_t(*column)[XCODER_MAX_CHECKPOINTS] = NULL, *n_top = NULL;
  uint32_t *top = NULL;
  double *values = NULL;
  const char **names = NULL;
  if (n < 2 || n > MOST_TASKS || page->status) return;
  xcoder_status status = xci_alloc(n, sizeof *column, (void **)&column, page->err);
  if (!status) status = XCI_ALLOC(&n_top, n, page->err);
  if (!status) status = XCI_ALLOC(&top, n * MOST_POINTS, page->err);
  if (!status) status = XCI_ALLOC(&values, n * n, page->err);
  if (!status) status = xci_alloc(n, sizeof *names, (void **)&names, page->err);
  bool complete = !status;
  for (size_t t = 0; complete && t < n; t++) complete = xci_effect_columns(run, &run->task[t].effects, "ie", column[t]);
  if (complete) {
    xci_page_raw(page, "<h3 id=\"overlap\">Features that tasks have in common</h3>\n<p>Of the features with the "
                       "largest |IE| at a checkpoint, "
                       "how many are among the largest of both tasks.</p>\n");
    for (size_t s = 0; s < 2; s++) {
      xci_page_raw(page, "<div class=\"figures\">\n");
      for (size_t c = 0; c < run->n_labels; c++)
        add_overlap(page, c, sizes[s], (const size_t(*)[XCODER_MAX_CHECKPOINTS])column, top, n_top, values, names);
      xci_page_raw(page, "</div>\n");
    }
  }
  if (status) page->status = status;
  xci_free(column);
  xci_free(n_top);
  xci_free(top);
  xci_free(values);
  xci_free(names);
}
