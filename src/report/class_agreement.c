/* SPDX-License-Identifier: Apache-2.0 */
/* Agreement of two runs: matched features, their classes, their RelIE. */
#include "report/class_agreement.h"

#include "base/memory.h"
#include <crosscoder/coder.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST_CLASS = 128 };

/* A run's crosscoder and effects of one task. */
typedef struct side {
  const xci_run_files *run;
  const xci_csv *effects;
  xcoder *coder;
  const float *decoder; /* [n_latents, width] */
  size_t n_latents, width, n_labels;
} side;

static xcoder_status open_side(const xci_run_files *run, const char *task, side *s, xcoder_error *err) {
  size_t n_values;
  *s = (side){.run = run};
  for (size_t t = 0; t < run->n_tasks; t++)
    if (strcmp(run->task[t].name, task) == 0) s->effects = &run->task[t].effects;
  if (!s->effects) return xci_fail(err, XCODER_MISMATCH, "%s: no effects of %s", run->path, task);
  const xcoder_status status = xcoder_load(run->path, &s->coder, err);
  if (status) return status;
  const xcoder_info *info = xcoder_describe(s->coder);
  s->decoder = xcoder_weights(s->coder, XCODER_W_DEC, &n_values);
  s->n_latents = info->n_latents;
  s->n_labels = info->n_checkpoints;
  s->width = info->n_checkpoints * info->d_model;
  return XCODER_OK;
}

static double dot(const float *x, const float *y, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += (double)x[i] * (double)y[i];
  return sum;
}

/* The latent of `to` nearest to latent `i` of `from`. */
static size_t find_nearest(const side *from, size_t i, const side *to, double *cosine) {
  const float *x = from->decoder + i * from->width;
  const double norm = sqrt(dot(x, x, from->width));
  size_t best = 0;
  *cosine = -2;
  for (size_t j = 0; j < to->n_latents; j++) {
    const float *y = to->decoder + j * to->width;
    const double c = dot(x, y, to->width) / (norm * sqrt(dot(y, y, to->width)));
    if (c > *cosine) {
      *cosine = c;
      best = j;
    }
  }
  return best;
}

static size_t find_row(const xci_csv *effects, size_t feature) {
  const size_t column = xci_csv_column(effects, "feature");
  for (size_t row = 0; row < effects->n_rows; row++)
    if ((size_t)xci_csv_number(effects, row, column) == feature) return row;
  return SIZE_MAX;
}

/* "specific:step256" with the places of labels instead of their names: "specific:2". False where the feature has no
 * class that could be compared. */
static bool place_class(const side *s, size_t row, char out[MOST_CLASS]) {
  const char *text = xci_csv_at(s->effects, row, xci_csv_column(s->effects, "class")), *colon = strchr(text, ':');
  if (!colon || colon - text > 40) return false;
  size_t at = (size_t)snprintf(out, MOST_CLASS, "%.*s", (int)(colon - text) + 1, text);
  for (const char *name = colon + 1; *name;) {
    const size_t n = strcspn(name, "+");
    for (size_t c = 0; c < s->run->n_labels && at < MOST_CLASS; c++)
      if (strlen(s->run->labels[c]) == n && strncmp(s->run->labels[c], name, n) == 0)
        at += (size_t)snprintf(out + at, MOST_CLASS - at, "%zu,", c + 1);
    name += n + (name[n] == '+');
  }
  return at < MOST_CLASS;
}

static double difference_of(const side *a, size_t row_a, const side *b, size_t row_b) {
  double sum = 0;
  for (size_t c = 0; c < a->n_labels; c++) {
    char name_a[320], name_b[320];
    snprintf(name_a, sizeof name_a, "rel_ie_%.300s", a->run->labels[c]);
    snprintf(name_b, sizeof name_b, "rel_ie_%.300s", b->run->labels[c]);
    sum += fabs(xci_csv_number(a->effects, row_a, xci_csv_column(a->effects, name_a)) -
                xci_csv_number(b->effects, row_b, xci_csv_column(b->effects, name_b)));
  }
  return sum / (double)a->n_labels;
}

static void measure(const side *a, const side *b, xci_agreement *r) {
  char class_a[XCI_AGREEMENT_TOP][MOST_CLASS], class_b[XCI_AGREEMENT_TOP][MOST_CLASS];
  const size_t feature = xci_csv_column(a->effects, "feature");
  for (size_t row = 0; row < a->effects->n_rows && r->n_top < XCI_AGREEMENT_TOP; row++) {
    char own[MOST_CLASS], other[MOST_CLASS];
    double cosine, back;
    const size_t i = (size_t)xci_csv_number(a->effects, row, feature);
    if (i >= a->n_latents || !place_class(a, row, own)) continue;
    r->n_top++;
    const size_t j = find_nearest(a, i, b, &cosine);
    const size_t row_b = find_row(b->effects, j);
    if (find_nearest(b, j, a, &back) != i || row_b == SIZE_MAX || !place_class(b, row_b, other)) continue;
    memcpy(class_a[r->n_matched], own, MOST_CLASS);
    memcpy(class_b[r->n_matched++], other, MOST_CLASS);
    r->n_same += strcmp(own, other) == 0;
    r->cosine += cosine;
    r->difference += difference_of(a, row, b, row_b);
  }
  for (size_t i = 0; i < r->n_matched; i++)
    for (size_t j = 0; j < r->n_matched; j++) r->expected += strcmp(class_a[i], class_b[j]) == 0;
  const double n = (double)r->n_matched;
  r->expected = n > 0 ? r->expected / (n * n) : NAN;
  r->cosine = n > 0 ? r->cosine / n : NAN;
  r->difference = n > 0 ? r->difference / n : NAN;
}

xcoder_status xci_agreement_measure(const xci_run_files *a, const xci_run_files *b, const char *task,
                                    xci_agreement *result, xcoder_error *err) {
  side x, y = {0};
  *result = (xci_agreement){0};
  xcoder_status status = open_side(a, task, &x, err);
  if (!status) status = open_side(b, task, &y, err);
  if (!status && (x.width != y.width || x.n_labels != y.n_labels || a->n_labels != x.n_labels || b->n_labels != y.n_labels))
    status = xci_fail(err, XCODER_MISMATCH, "%s: %zu checkpoints of width %zu, %s has %zu of %zu", b->path, y.n_labels,
                      y.n_labels ? y.width / y.n_labels : 0, a->path, x.n_labels,
                      x.n_labels ? x.width / x.n_labels : 0);
  if (!status) measure(&x, &y, result);
  xcoder_free_coder(x.coder);
  xcoder_free_coder(y.coder);
  return status;
}
