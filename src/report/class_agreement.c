/* SPDX-License-Identifier: Apache-2.0 */
/* Agreement of two runs: matched features, their classes, their RelIE. */
#include "report/class_agreement.h"

#include "analysis/statistics.h"
#include "base/memory.h"
#include "base/size.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST_CLASS = 128 };

/* Effects of one task. */
typedef struct side {
  const xci_run_files *run;
  const xci_csv *effects;
} side;

static xcoder_status find_effects(const xci_run_files *run, const char *task, side *s, xcoder_error *err) {
  *s = (side){.run = run};
  for (size_t t = 0; t < run->n_tasks; t++)
    if (strcmp(run->task[t].name, task) == 0) s->effects = &run->task[t].effects;
  return s->effects ? XCODER_OK : xci_fail(err, XCODER_MISMATCH, "%s: no effects of %s", run->path, task);
}

/* ---- Matching ---- */

/* A run's decoder as a side of a comparison: all features, checkpoints named by their place. */
typedef struct decoder {
  xcoder *coder;
  xci_side side;
} decoder;

static void decoder_close(decoder *d) {
  d->side.w_dec = NULL; /* the crosscoder's */
  xci_side_close(&d->side);
  xcoder_free_coder(d->coder);
}

static xcoder_status decoder_open(const xci_run_files *run, decoder *d, xcoder_error *err) {
  size_t n_values;
  *d = (decoder){0};
  xcoder_status status = xcoder_load(run->path, &d->coder, err);
  if (status) return status;
  const xcoder_info *info = xcoder_describe(d->coder);
  xci_side *s = &d->side;
  s->d_model = info->d_model;
  s->n_latents = s->n_live = info->n_latents;
  s->w_dec = xcoder_weights(d->coder, XCODER_W_DEC, &n_values);
  status = XCI_ALLOC(&s->labels, info->n_checkpoints, err);
  if (!status) status = xci_alloc(info->n_checkpoints, sizeof *s->fingerprint, (void **)&s->fingerprint, err);
  if (!status) status = XCI_ALLOC(&s->live, s->n_live, err);
  for (; !status && s->n < info->n_checkpoints; s->n++) {
    char place[24];
    snprintf(place, sizeof place, "%zu", s->n + 1);
    status = xci_copy_text(place, &s->labels[s->n], err);
  }
  for (size_t i = 0; !status && i < s->n_live; i++) s->live[i] = (uint32_t)i;
  return status;
}

/* Partners by the optimal assignment, and the cosine that hardly any partner in a random dictionary has. */
static xcoder_status match(const xci_side *a, const xci_side *b, xci_agreement_match *m, xcoder_error *err) {
  static const uint64_t seed = 0;
  float *cosine = NULL;
  double *found = NULL;
  size_t n_values, n_found = 0;
  if (!xci_mul_size(a->n_live, b->n_live, &n_values))
    return xci_fail(err, XCODER_MEMORY, "%zu and %zu features are too many to match", a->n_live, b->n_live);
  xcoder_status status = XCI_ALLOC(&cosine, n_values, err);
  if (!status) status = XCI_ALLOC(&found, a->n_live, err);
  if (!status) status = XCI_ALLOC(&m->partner, a->n_live, err);
  if (!status) status = XCI_ALLOC(&m->cosine, a->n_live, err);
  if (!status) status = xci_cosines(a, b, &seed, cosine, err);
  if (!status) status = xci_assign(cosine, a->n_live, b->n_live, m->partner, err);
  for (size_t i = 0; !status && i < a->n_live; i++)
    if (m->partner[i] != XCI_UNMATCHED)
      found[n_found++] = (double)cosine[i * b->n_live + (size_t)m->partner[i]];
  if (!status) {
    xci_sort_f64(found, n_found);
    m->null_high = n_found ? xci_quantile(found, n_found, 0.99) : NAN;
    status = xci_cosines(a, b, NULL, cosine, err);
  }
  if (!status) status = xci_assign(cosine, a->n_live, b->n_live, m->partner, err);
  for (size_t i = 0; !status && i < a->n_live; i++)
    m->cosine[i] = m->partner[i] == XCI_UNMATCHED ? NAN
                                                  : (double)cosine[i * b->n_live + (size_t)m->partner[i]];
  m->n_latents = a->n_live;
  xci_free(cosine);
  xci_free(found);
  return status;
}

void xci_agreement_match_free(xci_agreement_match *m) {
  xci_free(m->partner);
  xci_free(m->cosine);
  *m = (xci_agreement_match){0};
}

xcoder_status xci_agreement_match_runs(const xci_run_files *a, const xci_run_files *b, xci_agreement_match *m,
                                       xcoder_error *err) {
  decoder x, y = {0};
  *m = (xci_agreement_match){0};
  xcoder_status status = decoder_open(a, &x, err);
  if (!status) status = decoder_open(b, &y, err);
  const xci_side *s = &x.side, *t = &y.side;
  if (!status && (s->n != t->n || s->d_model != t->d_model || a->n_labels != s->n || b->n_labels != t->n))
    status = xci_fail(err, XCODER_MISMATCH, "%s: %zu checkpoints of width %zu, %s has %zu of %zu", b->path, t->n,
                      t->d_model, a->path, s->n, s->d_model);
  if (!status) status = match(s, t, m, err);
  if (status) xci_agreement_match_free(m);
  decoder_close(&x);
  decoder_close(&y);
  return status;
}

/* ---- Agreement ---- */

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
  for (size_t c = 0; c < a->run->n_labels; c++) {
    char name_a[320], name_b[320];
    snprintf(name_a, sizeof name_a, "rel_ie_%.300s", a->run->labels[c]);
    snprintf(name_b, sizeof name_b, "rel_ie_%.300s", b->run->labels[c]);
    sum += fabs(xci_csv_number(a->effects, row_a, xci_csv_column(a->effects, name_a)) -
                xci_csv_number(b->effects, row_b, xci_csv_column(b->effects, name_b)));
  }
  return sum / (double)a->run->n_labels;
}

static void measure(const xci_agreement_match *m, const side *a, const side *b, xci_agreement *r) {
  char class_a[XCI_AGREEMENT_TOP][MOST_CLASS], class_b[XCI_AGREEMENT_TOP][MOST_CLASS];
  const size_t feature = xci_csv_column(a->effects, "feature");
  for (size_t row = 0; row < a->effects->n_rows && r->n_top < XCI_AGREEMENT_TOP; row++) {
    char own[MOST_CLASS], other[MOST_CLASS];
    const size_t i = (size_t)xci_csv_number(a->effects, row, feature);
    if (i >= m->n_latents || !place_class(a, row, own)) continue;
    r->n_top++;
    if (!(m->cosine[i] > m->null_high)) continue;
    const size_t row_b = find_row(b->effects, (size_t)m->partner[i]);
    if (row_b == SIZE_MAX || !place_class(b, row_b, other)) continue;
    memcpy(class_a[r->n_matched], own, MOST_CLASS);
    memcpy(class_b[r->n_matched++], other, MOST_CLASS);
    r->n_same += strcmp(own, other) == 0;
    r->cosine += m->cosine[i];
    r->difference += difference_of(a, row, b, row_b);
  }
  for (size_t i = 0; i < r->n_matched; i++)
    for (size_t j = 0; j < r->n_matched; j++) r->expected += strcmp(class_a[i], class_b[j]) == 0;
  const double n = (double)r->n_matched;
  r->expected = n > 0 ? r->expected / (n * n) : NAN;
  r->cosine = n > 0 ? r->cosine / n : NAN;
  r->difference = n > 0 ? r->difference / n : NAN;
}

xcoder_status xci_agreement_measure(const xci_agreement_match *m, const xci_run_files *a, const xci_run_files *b,
                                    const char *task, xci_agreement *result, xcoder_error *err) {
  side x, y;
  *result = (xci_agreement){0};
  xcoder_status status = find_effects(a, task, &x, err);
  if (!status) status = find_effects(b, task, &y, err);
  if (!status) measure(m, &x, &y, result);
  return status;
}
