/* SPDX-License-Identifier: Apache-2.0 */
/* From effects per example to one row a feature: means, RelIE, intervals, RelDec, classes. */
#include "analysis/attribution/effect_table.h"

#include "base/memory.h"
#include "base/parallel.h"
#include "base/size.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_RESAMPLES = 100000 };

/* A feature below this share of the largest |IE| at every checkpoint has no RelIE (METHOD section 7). */
static const double smallest_share = 1e-6;

static int compare_rows(const void *a, const void *b) {
  const xci_effect_row *p = a, *q = b;
  if (p->largest != q->largest) return p->largest > q->largest ? -1 : 1;
  return p->feature < q->feature ? -1 : p->feature > q->feature;
}

/* Sum over features of |mean effect|; 1 where there is none, so that nothing is divided by 0. */
static void sum_totals(const xci_effects *e, double *total) {
  for (size_t c = 0; c < e->n; c++) {
    total[c] = 0;
    for (size_t i = 0; i < e->n_latents; i++) total[c] += fabs(e->sum[i * e->n + c]) / (double)e->n_examples;
    if (!(total[c] > 0)) total[c] = 1;
  }
}

/* The authors' classes keep the authors' borders, unless their conventions are asked for with others. */
static void fill_row(const xci_effects *e, const double *norms, const double *total, xci_borders borders,
                     size_t feature, xci_effect_row *row) {
  const size_t n = e->n;
  double share[XCODER_MAX_CHECKPOINTS];
  *row = (xci_effect_row){.feature = (uint32_t)feature, .n_active = e->n_active[feature]};
  for (size_t c = 0; c < n; c++) {
    row->ie[c] = e->sum[feature * n + c] / (double)e->n_examples;
    row->largest = fmax(row->largest, fabs(row->ie[c]));
    share[c] = row->ie[c] / total[c];
  }
  xci_relative(share, n, row->norm_rel_ie);
  xci_relative(row->ie, n, row->rel_ie);
  xci_relative(norms + feature * n, n, row->rel_dec);
  row->class_authors = xci_classify_authors(e->authors ? borders : (xci_borders){0, 0}, row->ie, n);
}

/* Effects by feature instead of by example. */
typedef struct by_feature {
  size_t *start;     /* [n_latents + 1] */
  uint32_t *example; /* [nnz] */
  float *effect;     /* [nnz, n] */
} by_feature;

static xcoder_status turn(const xci_effects *e, by_feature *t, xcoder_error *err) {
  size_t *next = NULL;
  xcoder_status status = XCI_ALLOC(&t->start, e->n_latents + 1, err);
  if (!status) status = XCI_ALLOC(&next, e->n_latents, err);
  if (!status) status = XCI_ALLOC(&t->example, e->nnz, err);
  if (!status) status = XCI_ALLOC(&t->effect, e->nnz * e->n, err);
  if (!status) {
    for (size_t i = 0; i < e->n_latents; i++) {
      t->start[i + 1] = t->start[i] + e->n_active[i];
      next[i] = t->start[i];
    }
    for (size_t k = 0; k < e->n_examples; k++)
      for (size_t j = e->start[k]; j < e->start[k + 1]; j++) {
        const size_t at = next[e->feature[j]]++;
        t->example[at] = (uint32_t)k;
        memcpy(t->effect + at * e->n, e->effect + j * e->n, e->n * sizeof *t->effect);
      }
  }
  xci_free(next);
  return status;
}

static xci_borders take_borders(const xcoder_attribute_options *options) {
  return (xci_borders){options->specific_border, options->shared_border};
}

static xcoder_status add_intervals(const xci_effects *e, const double *total, const xcoder_attribute_options *options,
                                   xci_effect_row *rows, size_t n_rows, xcoder_error *err) {
  const uint64_t seed = options->seed;
  const size_t n_resamples = (size_t)options->bootstrap;
  const size_t n = e->n, work_size = 2 * n * n_resamples, n_threads = (size_t)xci_threads();
  by_feature t = {0};
  uint16_t *drawn = NULL;
  double *work = NULL;
  size_t n_drawn;
  if (n_resamples > MAX_RESAMPLES || !xci_mul_size(e->n_examples, n_resamples, &n_drawn))
    return xci_fail(err, XCODER_USAGE, "bootstrap: %zu resamples, at most %d are supported", n_resamples,
                    MAX_RESAMPLES);
  xcoder_status status = turn(e, &t, err);
  if (!status) status = XCI_ALLOC(&drawn, n_drawn, err);
  if (!status) status = XCI_ALLOC(&work, work_size * n_threads, err);
  if (!status) {
    xci_bootstrap_draw(seed, e->n_examples, n_resamples, drawn);
#pragma omp parallel for num_threads((int)n_threads) schedule(dynamic, 4)
    for (size_t r = 0; r < n_rows; r++) {
      xci_effect_row *row = &rows[r];
      const size_t first = t.start[row->feature];
      double *own = work + (size_t)xci_thread_index() * work_size;
      if (!row->defined) continue;
      xci_bootstrap_interval(drawn, n_resamples, t.example + first, t.effect + first * n, row->n_active, n, total,
                             row->low, row->high, own);
      if (!isnan(row->low[0]))
        row->class_norm = xci_classify_interval_by(take_borders(options), row->norm_rel_ie, row->low, row->high, n);
      xci_bootstrap_interval(drawn, n_resamples, t.example + first, t.effect + first * n, row->n_active, n, NULL,
                             row->low, row->high, own);
      row->has_interval = !isnan(row->low[0]);
    }
  }
  xci_free(t.start);
  xci_free(t.example);
  xci_free(t.effect);
  xci_free(drawn);
  xci_free(work);
  return status;
}

xcoder_status xci_effect_rows(const xci_bench *bench, const xci_effects *e, const xcoder_attribute_options *options,
                              xci_effect_row **rows, size_t *n_rows, xcoder_error *err) {
  const xci_borders borders = take_borders(options);
  double *norms = NULL, total[XCODER_MAX_CHECKPOINTS];
  size_t count = 0;
  *rows = NULL;
  *n_rows = 0;
  for (size_t i = 0; i < e->n_latents; i++) count += e->n_active[i] > 0;
  xcoder_status status = xci_bench_norms(bench, &norms, err);
  if (!status) status = XCI_ALLOC(rows, count, err);
  if (!status) {
    size_t at = 0;
    sum_totals(e, total);
    for (size_t i = 0; i < e->n_latents; i++)
      if (e->n_active[i]) fill_row(e, norms, total, borders, i, &(*rows)[at++]);
    if (count) qsort(*rows, count, sizeof **rows, compare_rows);
    for (size_t r = 0; r < count; r++)
      (*rows)[r].defined = (*rows)[r].largest > 0 && (*rows)[r].largest >= smallest_share * (*rows)[0].largest;
    if (options->bootstrap && count) status = add_intervals(e, total, options, *rows, count, err);
  }
  xci_free(norms);
  for (size_t r = 0; !status && r < count; r++) {
    xci_effect_row *row = &(*rows)[r];
    if (!row->defined) continue; /* stays XCI_CLASS_NONE */
    row->class = row->has_interval ? xci_classify_interval_by(borders, row->rel_ie, row->low, row->high, e->n)
                                   : xci_classify_by(borders, row->rel_ie, e->n);
    if (!row->has_interval) row->class_norm = xci_classify_by(borders, row->norm_rel_ie, e->n);
  }
  if (status) {
    xci_free(*rows);
    *rows = NULL;
    return status;
  }
  *n_rows = count;
  return XCODER_OK;
}
