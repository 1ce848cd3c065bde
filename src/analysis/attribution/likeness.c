/* SPDX-License-Identifier: Apache-2.0 */
/* Agreement of two attributions, feature by feature. */
#include "analysis/attribution/likeness.h"

#include "analysis/statistics.h"
#include "base/memory.h"
#include "base/random.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct ranked {
  double size;
  uint32_t feature;
  size_t row;
} ranked;

static int compare_ranked(const void *a, const void *b) {
  const ranked *p = a, *q = b;
  if (p->size != q->size) return p->size > q->size ? -1 : 1;
  return p->feature < q->feature ? -1 : p->feature > q->feature;
}

/* Rows in descending order of |IE| at the checkpoint; *n_top of them, at most as many as asked for, have an effect. */
static xcoder_status rank(const xci_task_effects *table, size_t n, size_t checkpoint, ranked **order, size_t *n_top,
                          xcoder_error *err) {
  size_t n_with = 0;
  const xcoder_status status = XCI_ALLOC(order, table->n_features, err);
  if (status) return status;
  for (size_t r = 0; r < table->n_features; r++) {
    const double size = fabs(table->ie[r * n + checkpoint]);
    (*order)[r] = (ranked){isnan(size) ? 0 : size, table->feature[r], r};
    n_with += size > 0;
  }
  if (table->n_features) qsort(*order, table->n_features, sizeof **order, compare_ranked);
  if (*n_top > n_with) *n_top = n_with;
  return XCODER_OK;
}

/* ---- Bootstrap over features ---- */

typedef enum statistic { SPEARMAN, MEAN_DIFFERENCE } statistic;

static xcoder_status compute(statistic what, const double *x, const double *y, size_t n, double *value,
                             xcoder_error *err) {
  if (what == SPEARMAN) return xci_spearman(x, y, n, value, err);
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += fabs(x[i] - y[i]);
  *value = n ? sum / (double)n : NAN;
  return XCODER_OK;
}

static xcoder_status estimate(statistic what, const double *x, const double *y, size_t n, uint64_t n_resamples,
                              uint64_t seed, xci_estimate *out, xcoder_error *err) {
  double *drawn = NULL, *values = NULL;
  size_t n_values = 0;
  *out = (xci_estimate){NAN, NAN, NAN};
  xcoder_status status = compute(what, x, y, n, &out->value, err);
  if (status || n < 2 || n_resamples == 0) return status;
  status = XCI_ALLOC(&drawn, 2 * n, err);
  if (!status) status = XCI_ALLOC(&values, (size_t)n_resamples, err);
  for (uint64_t r = 0; !status && r < n_resamples; r++) {
    double value;
    for (size_t i = 0; i < n; i++) {
      const size_t k = (size_t)xci_random_below(seed, XCI_STREAM_BOOTSTRAP, r * n + i, n);
      drawn[i] = x[k];
      drawn[n + i] = y[k];
    }
    status = compute(what, drawn, drawn + n, n, &value, err);
    if (!status && !isnan(value)) values[n_values++] = value; /* a resample of one feature alone has no ranks */
  }
  if (!status) {
    xci_sort_f64(values, n_values);
    out->low = xci_quantile(values, n_values, 0.025);
    out->high = xci_quantile(values, n_values, 0.975);
  }
  xci_free(drawn);
  xci_free(values);
  return status;
}

static xci_estimate share_of(size_t count, size_t n) {
  xci_estimate out = {n ? (double)count / (double)n : NAN, NAN, NAN};
  if (n) xci_wilson(count, n, &out.low, &out.high);
  return out;
}

/* ---- The measure ---- */

typedef struct tables {
  const xci_task_effects *reference, *other;
  size_t n, checkpoint, k_other;
  ranked *a, *b; /* both, ranked */
} tables;

static bool is_among(const ranked *order, size_t n, uint32_t feature) {
  for (size_t i = 0; i < n; i++)
    if (order[i].feature == feature) return true;
  return false;
}

/* RelIE and classes of the top features of the reference; x and y get the pairs that both sides have. */
static void collect_shares(const tables *t, xci_likeness *out, size_t *n_same, double *x, double *y) {
  double sum = 0;
  for (size_t i = 0; i < out->n_top; i++) {
    const size_t row = t->a[i].row, at = xci_task_row(t->other, t->a[i].feature);
    const double here = t->reference->rel_ie[row * t->n + t->checkpoint];
    const double there = at == SIZE_MAX ? NAN : t->other->rel_ie[at * t->n + t->checkpoint];
    out->n_again += is_among(t->b, t->k_other, t->a[i].feature);
    sum += isnan(here) || isnan(there) ? 1 : fabs(here - there);
    if (!isnan(here) && !isnan(there)) {
      x[out->n_rel_ie] = here;
      y[out->n_rel_ie++] = there;
    }
    if (at == SIZE_MAX || !*t->other->class[at] || !*t->reference->class[row]) continue;
    out->n_classes++;
    *n_same += strcmp(t->other->class[at], t->reference->class[row]) == 0;
  }
  out->change = out->n_top ? sum / (double)out->n_top : NAN;
}

/* IE of the features that are on top on either side. */
static size_t collect_effects(const tables *t, size_t n_top, double *x, double *y) {
  size_t n = 0;
  for (size_t i = 0; i < n_top; i++) {
    const size_t at = xci_task_row(t->other, t->a[i].feature);
    x[n] = t->reference->ie[t->a[i].row * t->n + t->checkpoint];
    y[n++] = at == SIZE_MAX ? 0 : t->other->ie[at * t->n + t->checkpoint];
  }
  for (size_t i = 0; i < t->k_other; i++) {
    if (is_among(t->a, n_top, t->b[i].feature)) continue;
    const size_t at = xci_task_row(t->reference, t->b[i].feature);
    x[n] = at == SIZE_MAX ? 0 : t->reference->ie[at * t->n + t->checkpoint];
    y[n++] = t->other->ie[t->b[i].row * t->n + t->checkpoint];
  }
  return n;
}

xcoder_status xci_likeness_measure(const xci_task_effects *reference, const xci_task_effects *other, size_t n,
                                    size_t checkpoint, size_t n_top, uint64_t n_resamples, uint64_t seed,
                                    xci_likeness *out, xcoder_error *err) {
  tables t = {.reference = reference, .other = other, .n = n, .checkpoint = checkpoint, .k_other = n_top};
  double *x = NULL, *y = NULL;
  size_t n_same = 0;
  *out = (xci_likeness){.n_top = n_top};
  xcoder_status status = rank(reference, n, checkpoint, &t.a, &out->n_top, err);
  if (!status) status = rank(other, n, checkpoint, &t.b, &t.k_other, err);
  if (!status) status = XCI_ALLOC(&x, out->n_top + t.k_other, err);
  if (!status) status = XCI_ALLOC(&y, out->n_top + t.k_other, err);
  if (!status) {
    collect_shares(&t, out, &n_same, x, y);
    out->again = share_of(out->n_again, out->n_top);
    out->same_class = share_of(n_same, out->n_classes);
    status = estimate(SPEARMAN, x, y, out->n_rel_ie, n_resamples, seed, &out->rel_ie_spearman, err);
  }
  if (!status) status = estimate(MEAN_DIFFERENCE, x, y, out->n_rel_ie, n_resamples, seed, &out->difference, err);
  if (!status) {
    const size_t n_both = collect_effects(&t, out->n_top, x, y);
    status = estimate(SPEARMAN, x, y, n_both, n_resamples, seed, &out->ie_spearman, err);
  }
  xci_free(t.a);
  xci_free(t.b);
  xci_free(x);
  xci_free(y);
  return status;
}

/* ---- Effects without models ---- */

xcoder_status xci_side_read_effects(const xcoder *coder, const char *run_directory, xci_side *side, xcoder_error *err) {
  const xcoder_info *info = xcoder_describe(coder);
  *side = (xci_side){.n = info->n_checkpoints, .n_latents = info->n_latents};
  xcoder_status status = XCI_ALLOC(&side->labels, side->n, err);
  for (size_t c = 0; !status && c < side->n; c++) status = xci_copy_text(info->labels[c], &side->labels[c], err);
  if (!status) status = xci_side_read_tables(run_directory, side, err);
  if (status) xci_side_close(side);
  return status;
}

const xci_task_effects *xci_side_task(const xci_side *side, const char *task) {
  for (size_t t = 0; t < side->n_tasks; t++)
    if (strcmp(side->task[t].task, task) == 0) return &side->task[t];
  return NULL;
}

/* ---- Out ---- */

void xci_estimate_json(xci_json_out *json, const char *name, xci_estimate estimate) {
  char key[64];
  xci_json_number(json, name, estimate.value);
  snprintf(key, sizeof key, "%s_low", name);
  xci_json_number(json, key, estimate.low);
  snprintf(key, sizeof key, "%s_high", name);
  xci_json_number(json, key, estimate.high);
}

void xci_estimate_csv(xci_text *csv, xci_estimate estimate) {
  const double values[] = {estimate.value, estimate.low, estimate.high};
  for (size_t i = 0; i < 3; i++) {
    xci_text_add(csv, ",");
    if (!isnan(values[i])) xci_text_number(csv, values[i]);
  }
}
