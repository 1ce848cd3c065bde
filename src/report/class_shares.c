/* SPDX-License-Identifier: Apache-2.0 */
/* Classes of features in several runs side by side: shares, specificity of their tokens, onsets. */
#include "report/comparison.h"

#include "analysis/statistics.h"
#include "report/figure.h"
#include "report/grid.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST_CLASSES = 14, RARE = 2 /* per cent: rarer classes stand in the table only */ };

typedef struct estimate {
  double value, low, high;
} estimate;

/* A number of run `name` in an object that holds those of sides a and b. */
static estimate read_side(const json_t *object, char side, const char *key, const char *low, const char *high) {
  char name[3][48];
  const char *const keys[] = {key, low, high};
  for (size_t i = 0; i < 3; i++) snprintf(name[i], sizeof name[i], "%.40s_%c", keys[i], side);
  return (estimate){xci_json_number_at(object, name[0]), xci_json_number_at(object, name[1]),
                    xci_json_number_at(object, name[2])};
}

/* The object of a class (or onset) of a task in any pair with the run, and the run's side in it. */
static const json_t *find_row(const json_t *compare, const char *run, const char *task, const char *list,
                              const char *key, const char *value, char *side) {
  size_t i, t, k;
  json_t *pair, *of_task, *row;
  json_array_foreach(json_object_get(compare, "pairs"), i, pair) {
    *side = strcmp(xci_json_text_at(pair, "a"), run) == 0   ? 'a'
            : strcmp(xci_json_text_at(pair, "b"), run) == 0 ? 'b'
                                                            : 0;
    if (!*side) continue;
    json_array_foreach(json_object_get(pair, "tasks"), t, of_task) {
      if (strcmp(xci_json_text_at(of_task, "task"), task) != 0) continue;
      json_array_foreach(json_object_get(of_task, list), k, row)
        if (strcmp(xci_json_text_at(row, key), value) == 0) return row;
    }
  }
  return NULL;
}

static estimate find_share(const json_t *compare, const char *run, const char *task, const char *class) {
  char side;
  const json_t *row = find_row(compare, run, task, "classes", "class", class, &side);
  return row ? read_side(row, side, "share", "low", "high") : (estimate){NAN, NAN, NAN};
}

static estimate find_entropy(const json_t *compare, const char *run, const char *task, const char *class) {
  char side;
  const json_t *row = find_row(compare, run, task, "classes", "class", class, &side);
  return row ? read_side(row, side, "token_entropy", "token_entropy_low", "token_entropy_high")
             : (estimate){NAN, NAN, NAN};
}

/* ---- Which classes there are ---- */

typedef struct class_list {
  size_t n;
  const char *name[MOST_CLASSES];
  char brief[MOST_CLASSES][40]; /* "A" for specific to the first checkpoint, "~A" mostly, "AB" shared */
  double share[MOST_CLASSES];   /* the largest of all runs */
} class_list;

/* Letters of the labels after the colon, by the checkpoints of this run. */
static void abbreviate(const xci_run_files *run, const char *class, char out[40]) {
  const char *colon = strchr(class, ':');
  size_t at = 0;
  if (!colon || run->n_labels > 26) {
    snprintf(out, 40, "%.24s", class);
    return;
  }
  if (strncmp(class, "mostly:", 7) == 0) out[at++] = '~';
  for (const char *name = colon + 1; *name && at < 36;) {
    const size_t n = strcspn(name, "+");
    size_t c = 0;
    while (c < run->n_labels && (strlen(run->labels[c]) != n || strncmp(run->labels[c], name, n) != 0)) c++;
    out[at++] = c < run->n_labels ? (char)('A' + c) : '?';
    name += n + (name[n] == '+');
  }
  out[at] = 0;
  if (strchr(out, '?')) snprintf(out, 40, "%.30s", class); /* checkpoints of another model */
}

/* Specific classes first, then shared ones, then what has no checkpoint. */
static int rank_of(const char *class) {
  return strncmp(class, "specific:", 9) == 0 ? 0
         : strncmp(class, "mostly:", 7) == 0 ? 1
         : strncmp(class, "shared:", 7) == 0 ? 2
                                             : 3;
}

static void add_class(class_list *list, const xci_run_files *run, const char *class, double share) {
  size_t at = 0;
  while (at < list->n && strcmp(list->name[at], class) != 0) at++;
  if (at < list->n) {
    list->share[at] = fmax(list->share[at], share);
    return;
  }
  if (list->n == MOST_CLASSES) return;
  char brief[40];
  abbreviate(run, class, brief);
  for (at = list->n++; at > 0; at--) {
    const int order = rank_of(list->name[at - 1]) - rank_of(class);
    if (order < 0 || (order == 0 && strcmp(list->brief[at - 1], brief) <= 0)) break;
    list->name[at] = list->name[at - 1];
    memcpy(list->brief[at], list->brief[at - 1], sizeof brief);
    list->share[at] = list->share[at - 1];
  }
  list->name[at] = class;
  memcpy(list->brief[at], brief, sizeof brief);
  list->share[at] = share;
}

/* Of a task, or of all (NULL). */
static void list_classes(const xci_page *page, const json_t *compare, const char *task, class_list *list) {
  size_t i, t, k;
  json_t *pair, *of_task, *row;
  *list = (class_list){0};
  json_array_foreach(json_object_get(compare, "pairs"), i, pair)
    json_array_foreach(json_object_get(pair, "tasks"), t, of_task) {
      if (task && strcmp(xci_json_text_at(of_task, "task"), task) != 0) continue;
      json_array_foreach(json_object_get(of_task, "classes"), k, row)
        add_class(list, page->run, xci_json_text_at(row, "class"),
                  fmax(xci_json_number_at(row, "share_a"), xci_json_number_at(row, "share_b")));
    }
}

/* ---- Figures ---- */

typedef estimate finder(const json_t *compare, const char *run, const char *task, const char *category);

typedef struct side_by_side {
  const char *file, *title, *x_title, *y_title, *caption;
  const char *const *categories; /* what the finder looks for */
  const char *const *shown;
  size_t n;
  double y_max;
  finder *find;
} side_by_side;

static void add_figure(xci_page *page, const json_t *compare, const char *prefix, const char *task,
                       const side_by_side *f) {
  const xci_comparison_kind kind = xci_comparison_find_kind(compare);
  const json_t *runs = json_object_get(compare, "runs");
  const size_t n = json_array_size(runs) < XCI_MOST_RUNS ? json_array_size(runs) : XCI_MOST_RUNS;
  double x[XCI_MOST_RUNS][MOST_CLASSES], y[XCI_MOST_RUNS][MOST_CLASSES], low[XCI_MOST_RUNS][MOST_CLASSES],
      high[XCI_MOST_RUNS][MOST_CLASSES];
  char names[XCI_MOST_RUNS][64];
  xci_series series[XCI_MOST_RUNS];
  for (size_t r = 0; r < n; r++) {
    const char *run = xci_json_text_at(json_array_get(runs, r), "name");
    xci_comparison_name(compare, kind, run, names[r]);
    for (size_t k = 0; k < f->n; k++) {
      const estimate found = f->find(compare, run, task, f->categories[k]);
      x[r][k] = (double)k + 0.12 * ((double)r - 0.5 * (double)(n - 1));
      y[r][k] = found.value;
      low[r][k] = found.low;
      high[r][k] = found.high;
    }
    series[r] = (xci_series){.name = names[r], .color = xci_checkpoint_color(r, n), .n = f->n, .x = x[r], .y = y[r],
                             .low = low[r], .high = high[r], .points = true};
  }
  const xci_chart chart = {.title = f->title,
                           .x_title = f->x_title,
                           .y_title = f->y_title,
                           .y_zero = true,
                           .y_max = f->y_max,
                           .categories = f->shown,
                           .n_categories = f->n,
                           .reference = NAN,
                           .series = series,
                           .n_series = n};
  xci_text svg = {0}, file = {0};
  xci_chart_svg(&chart, &svg);
  xci_text_format(&file, "%s-%s-%s", prefix, f->file, task);
  xci_page_figure(page, file.bytes ? file.bytes : prefix, &svg, f->caption);
  xci_text_clear(&file);
}

static estimate find_onset(const json_t *compare, const char *run, const char *task, const char *label) {
  char side;
  const json_t *row = find_row(compare, run, task, "onsets", "label_a", label, &side);
  return row ? read_side(row, side, "share", "low", "high") : (estimate){NAN, NAN, NAN};
}

/* Mean over the tasks that the run has, each counting the same, with Student's interval; a class that a task does not
 * have counts 0. `task` is not looked at. */
static estimate find_pooled(const json_t *compare, const char *run, const char *task, const char *class) {
  const json_t *tasks = json_object_get(json_array_get(json_object_get(compare, "pairs"), 0), "tasks");
  double share[XCI_MOST_TASKS];
  size_t t, n = 0;
  json_t *of_task;
  estimate e;
  (void)task;
  json_array_foreach(tasks, t, of_task) {
    const double value = find_share(compare, run, xci_json_text_at(of_task, "task"), class).value;
    if (n < XCI_MOST_TASKS) share[n++] = isfinite(value) ? value : 0;
  }
  xci_mean_interval(share, n, &e.value, &e.low, &e.high);
  e.low = fmax(0, e.low);
  e.high = fmin(1, e.high);
  return e;
}

/* Classes over all tasks, as a figure and a table. */
static void add_pooled(xci_page *page, const json_t *compare, const char *prefix) {
  static const xci_head heads[] = {{XCI_CELL_TEXT, "class", "class"}, {XCI_CELL_TEXT, "run", "run"},
                                   {XCI_CELL_INTERVAL, "share", "share"}};
  const xci_comparison_kind kind = xci_comparison_find_kind(compare);
  const char *names[MOST_CLASSES], *shown[MOST_CLASSES];
  class_list list;
  xci_grid grid;
  xci_text file = {0};
  size_t n = 0, r;
  json_t *run;
  list_classes(page, compare, NULL, &list);
  for (size_t k = 0; k < list.n; k++)
    if (list.share[k] * 100 >= RARE) {
      names[n] = list.name[k];
      shown[n++] = list.brief[k];
    }
  const side_by_side shares = {"shares", "Classes, mean over tasks", "class", "share of features with an effect",
                               "Every task counts the same; Student's 95 % interval over tasks. Letters as below.",
                               names, shown, n, 0, find_pooled};
  xci_page_raw(page, "<div class=\"figures\">\n");
  if (n) add_figure(page, compare, prefix, "pooled", &shares);
  xci_page_raw(page, "</div>\n<details><summary>Classes over all tasks as a table</summary>\n");
  xci_grid_open(&grid, page, heads, sizeof heads / sizeof *heads, false);
  for (size_t k = 0; k < list.n; k++)
    json_array_foreach(json_object_get(compare, "runs"), r, run) {
      char name[64];
      const estimate e = find_pooled(compare, xci_json_text_at(run, "name"), "", list.name[k]);
      xci_comparison_name(compare, kind, xci_json_text_at(run, "name"), name);
      xci_grid_text(&grid, list.name[k]);
      xci_grid_text(&grid, name);
      xci_grid_interval(&grid, e.value, e.low, e.high);
      xci_grid_end_row(&grid);
    }
  xci_text_format(&file, "%s-shares-pooled", prefix);
  xci_grid_close(&grid, file.bytes ? file.bytes : prefix);
  xci_text_clear(&file);
  xci_page_raw(page, "</details>\n");
}

static void add_task(xci_page *page, const json_t *compare, const char *prefix, const json_t *of_task) {
  const char *task = xci_json_text_at(of_task, "task"), *names[MOST_CLASSES], *shown[MOST_CLASSES],
             *labels[MOST_CLASSES];
  const json_t *onsets = json_object_get(of_task, "onsets");
  class_list list;
  xci_text caption = {0};
  size_t n = 0, n_labels = 0;
  list_classes(page, compare, task, &list);
  for (size_t k = 0; k < list.n; k++)
    if (list.share[k] * 100 >= RARE) {
      names[n] = list.name[k];
      shown[n++] = list.brief[k];
    }
  for (; n_labels < json_array_size(onsets) && n_labels < MOST_CLASSES; n_labels++)
    labels[n_labels] = xci_json_text_at(json_array_get(onsets, n_labels), "label_a");
  for (size_t c = 0; c < page->run->n_labels && c < 26; c++)
    xci_text_format(&caption, "%s%c %s", c ? ", " : "", (char)('A' + c), page->run->labels[c]);
  xci_text_add(&caption, "; ~A: mostly A, AB: shared. 95 % intervals; classes of less than 2 % stand in the table.");
  const side_by_side shares = {"shares", "Classes of features", "class", "share of features with an effect",
                               caption.bytes ? caption.bytes : "", names, shown, n, 0, find_share};
  const side_by_side entropies = {"tokens",
                                  "How many tokens they fire on",
                                  "class",
                                  "token entropy",
                                  "Mean with 95 % interval. 0: one token only; 1: any token.",
                                  names,
                                  shown,
                                  n,
                                  0,
                                  find_entropy};
  const side_by_side starts = {"onsets",
                               "Where effects begin",
                               "first checkpoint with the effect",
                               "share of features",
                               "Of the features that are present somewhere; 95 % intervals.",
                               labels,
                               labels,
                               n_labels,
                               0,
                               find_onset};
  xci_page_raw(page, "<div class=\"figures\">\n");
  if (n) add_figure(page, compare, prefix, task, &shares);
  if (n) add_figure(page, compare, prefix, task, &entropies);
  if (n_labels) add_figure(page, compare, prefix, task, &starts);
  xci_page_raw(page, "</div>\n");
  xci_text_clear(&caption);
}

static void add_share_table(xci_page *page, const json_t *compare, const char *prefix, const json_t *tasks) {
  static const xci_head heads[] = {{XCI_CELL_TEXT, "task", "task"},
                                   {XCI_CELL_TEXT, "class", "class"},
                                   {XCI_CELL_TEXT, "run", "run"},
                                   {XCI_CELL_INTERVAL, "share", "share"},
                                   {XCI_CELL_INTERVAL, "token entropy", "token_entropy"}};
  const xci_comparison_kind kind = xci_comparison_find_kind(compare);
  xci_grid grid;
  xci_text file = {0};
  size_t t, r;
  json_t *of_task, *run;
  xci_grid_open(&grid, page, heads, sizeof heads / sizeof *heads, false);
  json_array_foreach(tasks, t, of_task) {
    const char *task = xci_json_text_at(of_task, "task");
    class_list list;
    list_classes(page, compare, task, &list);
    for (size_t k = 0; k < list.n; k++)
      json_array_foreach(json_object_get(compare, "runs"), r, run) {
        char name[64];
        const estimate share = find_share(compare, xci_json_text_at(run, "name"), task, list.name[k]);
        const estimate entropy = find_entropy(compare, xci_json_text_at(run, "name"), task, list.name[k]);
        xci_comparison_name(compare, kind, xci_json_text_at(run, "name"), name);
        xci_grid_text(&grid, xci_task_short(task));
        xci_grid_text(&grid, list.name[k]);
        xci_grid_text(&grid, name);
        xci_grid_interval(&grid, share.value, share.low, share.high);
        xci_grid_interval(&grid, entropy.value, entropy.low, entropy.high);
        xci_grid_end_row(&grid);
      }
  }
  xci_text_format(&file, "%s-shares", prefix);
  xci_grid_close(&grid, file.bytes ? file.bytes : prefix);
  xci_text_clear(&file);
}

void xci_page_class_shares(xci_page *page, const json_t *compare, const char *prefix) {
  const json_t *tasks = json_object_get(json_array_get(json_object_get(compare, "pairs"), 0), "tasks");
  size_t t;
  json_t *of_task;
  if (json_array_size(tasks) == 0) return;
  if (json_array_size(tasks) > 1) add_pooled(page, compare, prefix);
  json_array_foreach(tasks, t, of_task) {
    xci_text_format(&page->html, "<details%s><summary>Classes side by side: ", t == 0 ? " open" : "");
    xci_page_text(page, xci_task_short(xci_json_text_at(of_task, "task")));
    xci_page_raw(page, "</summary>\n");
    add_task(page, compare, prefix, of_task);
    xci_page_raw(page, "</details>\n");
  }
  xci_page_raw(page, "<details><summary>All classes as a table</summary>\n");
  add_share_table(page, compare, prefix, tasks);
  xci_page_raw(page, "</details>\n");
}
