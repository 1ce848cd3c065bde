/* SPDX-License-Identifier: Apache-2.0 */
/* RelIE of the first side's features over the runs that were made alike (seeds): seeds.csv, and its summary in
 * compare.json. */
#include "analysis/comparison/compare.h"

#include "analysis/attribution/relative_effect.h"
#include "analysis/statistics.h"
#include "base/memory.h"
#include "base/size.h"
#include <math.h>
#include <string.h>

static double *cell(const xci_over_runs *over, size_t task, size_t row, size_t c) {
  return over->value[task] + (row * over->side->n + c) * over->n_sides;
}

xcoder_status xci_over_runs_open(const xci_side *first, size_t n_sides, xci_over_runs *over, xcoder_error *err) {
  *over = (xci_over_runs){.side = first, .n_sides = n_sides, .n_alike = 1};
  xcoder_status status = XCI_ALLOC(&over->value, first->n_tasks, err);
  for (size_t t = 0; !status && t < first->n_tasks; t++) {
    const size_t n = first->task[t].n_features * first->n;
    size_t n_values;
    if (!xci_mul_size(n, n_sides, &n_values)) status = xci_fail(err, XCODER_MEMORY, "compare: too many features");
    if (!status) status = XCI_ALLOC(&over->value[t], n_values, err);
    for (size_t k = 0; !status && k < n; k++)
      for (size_t s = 0; s < n_sides; s++) over->value[t][k * n_sides + s] = s ? NAN : first->task[t].rel_ie[k];
  }
  if (status) xci_over_runs_close(over);
  return status;
}

void xci_over_runs_close(xci_over_runs *over) {
  for (size_t t = 0; over->value && t < over->side->n_tasks; t++) xci_free(over->value[t]);
  xci_free(over->value);
  *over = (xci_over_runs){0};
}

static void add_task(const xci_matching *m, size_t task, const xci_task_effects *of_b, size_t side,
                     xci_over_runs *over) {
  const xci_task_effects *of_a = &m->a->task[task];
  for (size_t r = 0; r < of_a->n_features; r++) {
    const uint32_t rank = of_a->feature[r] < m->a->n_latents ? m->a->rank_of[of_a->feature[r]] : UINT32_MAX;
    if (rank == UINT32_MAX || !xci_matching_recurs(m, rank)) continue;
    const size_t s = xci_task_row(of_b, m->b->live[m->partner[rank]]);
    for (size_t c = 0; s != SIZE_MAX && c < m->a->n; c++) { /* the same label may stand in another place */
      size_t e = 0;
      while (e < m->b->n && !xci_same_checkpoint(m->a, c, m->b, e)) e++;
      if (e < m->b->n) cell(over, task, r, c)[side] = of_b->rel_ie[s * m->b->n + e];
    }
  }
}

void xci_over_runs_add(const xci_matching *m, size_t side, xci_over_runs *over) {
  if (m->a != over->side || !xci_made_alike(m->a, m->b)) return;
  over->n_alike++;
  for (size_t t = 0; t < m->a->n_tasks; t++)
    for (size_t u = 0; u < m->b->n_tasks; u++)
      if (strcmp(m->a->task[t].task, m->b->task[u].task) == 0) add_task(m, t, &m->b->task[u], side, over);
}

/* Mean over the runs that have the feature, with Student's interval cut to [0, 1]. */
typedef struct spread {
  size_t n;
  double mean, sd, low, high, least, greatest;
} spread;

static spread measure(const double *value, size_t n_sides) {
  double x[XCI_MOST_SIDES];
  spread s = {.least = INFINITY, .greatest = -INFINITY};
  for (size_t k = 0; k < n_sides && s.n < XCI_MOST_SIDES; k++) {
    if (isnan(value[k])) continue;
    x[s.n++] = value[k];
    s.least = fmin(s.least, value[k]);
    s.greatest = fmax(s.greatest, value[k]);
  }
  xci_mean_sd(x, s.n, &s.mean, &s.sd);
  xci_mean_interval(x, s.n, &s.mean, &s.low, &s.high);
  s.low = fmax(0, s.low);
  s.high = fmin(1, s.high);
  return s;
}

static void add_number(xci_text *csv, double value) {
  xci_text_add(csv, ",");
  if (isfinite(value)) xci_text_number(csv, value);
}

static void write_feature(const xci_over_runs *over, size_t t, size_t r, const spread *found, xci_text *csv) {
  const xci_side *side = over->side;
  const xci_task_effects *task = &side->task[t];
  double mean[XCODER_MAX_CHECKPOINTS], low[XCODER_MAX_CHECKPOINTS], high[XCODER_MAX_CHECKPOINTS];
  for (size_t c = 0; c < side->n; c++) {
    mean[c] = found[c].mean;
    low[c] = found[c].low;
    high[c] = found[c].high;
  }
  const xci_class class = xci_classify_interval_by(side->borders, mean, low, high, side->n);
  for (size_t c = 0; c < side->n; c++) {
    const size_t at = r * side->n + c;
    xci_text_csv(csv, task->task, strlen(task->task));
    xci_text_format(csv, ",%u,", task->feature[r]);
    xci_text_csv(csv, side->labels[c], strlen(side->labels[c]));
    xci_text_format(csv, ",%zu", found[c].n);
    const double numbers[] = {task->rel_ie[at], task->low[at], task->high[at], mean[c], low[c], high[c],
                              found[c].least, found[c].greatest};
    for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++) add_number(csv, numbers[k]);
    xci_text name = {0};
    xci_class_text(class, (const char *const *)side->labels, side->n, &name);
    xci_text_add(csv, ",");
    xci_text_csv(csv, name.bytes ? name.bytes : "", name.n_bytes);
    xci_text_add(csv, "\n");
    xci_text_clear(&name);
  }
}

/* Sums over the features that every run has. */
typedef struct widths {
  size_t n;
  double examples, runs, sd;
} widths;

static void write_task(const xci_over_runs *over, size_t t, xci_json_out *json, xci_text *csv) {
  const xci_side *side = over->side;
  const xci_task_effects *task = &side->task[t];
  widths sum[XCODER_MAX_CHECKPOINTS] = {{0}};
  spread found[XCODER_MAX_CHECKPOINTS];
  size_t n_defined = 0, n_found = 0, n_everywhere = 0;
  for (size_t r = 0; r < task->n_features; r++) {
    for (size_t c = 0; c < side->n; c++) found[c] = measure(cell(over, t, r, c), over->n_sides);
    if (isnan(task->rel_ie[r * side->n])) continue;
    n_defined++;
    if (found[0].n < 2) continue;
    n_found++;
    n_everywhere += found[0].n == over->n_alike;
    write_feature(over, t, r, found, csv);
    for (size_t c = 0; c < side->n && found[0].n == over->n_alike; c++) {
      const double width = task->high[r * side->n + c] - task->low[r * side->n + c];
      if (!isfinite(width)) continue;
      sum[c].n++;
      sum[c].examples += width;
      sum[c].runs += found[c].high - found[c].low;
      sum[c].sd += found[c].sd;
    }
  }
  xci_json_line(json);
  xci_json_open(json, NULL, '{');
  xci_json_text(json, "task", task->task);
  xci_json_count(json, "n_features", n_defined);
  xci_json_count(json, "n_found_again", n_found);
  xci_json_count(json, "n_everywhere", n_everywhere);
  xci_json_open(json, "checkpoints", '[');
  for (size_t c = 0; c < side->n; c++) {
    const double n = sum[c].n ? (double)sum[c].n : NAN;
    xci_json_open(json, NULL, '{');
    xci_json_text(json, "label", side->labels[c]);
    xci_json_number(json, "width_examples", sum[c].examples / n);
    xci_json_number(json, "width_runs", sum[c].runs / n);
    xci_json_number(json, "sd_runs", sum[c].sd / n);
    xci_json_close(json, '}');
  }
  xci_json_close(json, ']');
  xci_json_close(json, '}');
}

void xci_over_runs_write(const xci_over_runs *over, xci_json_out *json, xci_text *csv) {
  xci_text_add(csv, "task,feature,checkpoint,n_runs,rel_ie,low_examples,high_examples,mean,low,high,least,greatest,"
               "class\n");
  xci_json_line(json);
  xci_json_open(json, "over_runs", '{');
  xci_json_text(json, "run", over->side->name);
  xci_json_count(json, "n_runs", over->n_alike);
  xci_json_open(json, "tasks", '[');
  for (size_t t = 0; over->n_alike > 1 && t < over->side->n_tasks; t++) write_task(over, t, json, csv);
  xci_json_close(json, ']');
  xci_json_close(json, '}');
}
