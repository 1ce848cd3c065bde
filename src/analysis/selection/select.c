/* SPDX-License-Identifier: Apache-2.0 */
/* Choosing checkpoints: the revisions are cut into n consecutive blocks that explain as much as possible of how
 * accuracies and activations differ, and each block is stood for by its most typical revision (doc/selecting.md).
 *
 * Accuracy of a block: deviance of the counts of each group from one common share (binomial). Similarity of a block:
 * sum of K(c,c) - (1/size) sum K(c,c') with K the mean cosine, the within-block scatter of kernel change-point
 * detection (Arlot, Celisse, Harchaoui 2019). Each is divided by its value for a single block over everything. */
#include "analysis/selection/select.h"

#include "base/memory.h"
#include "base/parallel.h"
#include "base/random.h"
#include "base/size.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SPARE = 16 /* segmentations kept per proposal, since several give the same revisions */, MOST_BLOCKS = 32 };

static double entropy_term(double k, double n) { return k > 0 ? k * log(k / n) : 0; }

/* -2 log likelihood of k right of n at the share k / n. */
static double deviance(double k, double n) { return n > 0 ? -2 * (entropy_term(k, n) + entropy_term(n - k, n)) : 0; }

/* cost[a * m + b]: deviance of block a..b from one share per cell, above the deviance of a share per revision. */
static void accuracy_costs(const xci_evidence *e, const double *right, double *cost) {
  const size_t m = e->n_revisions;
  memset(cost, 0, m * m * sizeof *cost);
  for (size_t cell = 0; cell < e->n_cells; cell++) {
    const double *n = e->n + cell * m, *k = right + cell * m;
    for (size_t a = 0; a < m; a++) {
      double sum_n = 0, sum_k = 0, each = 0;
      for (size_t b = a; b < m; b++) {
        sum_n += n[b];
        sum_k += k[b];
        each += deviance(k[b], n[b]);
        cost[a * m + b] += fmax(0, deviance(sum_k, sum_n) - each);
      }
    }
  }
}

static void similarity_costs(const xci_evidence *e, double *cost) {
  const size_t m = e->n_revisions;
  for (size_t a = 0; a < m; a++) {
    double sum = 0; /* of K over the block */
    for (size_t b = a; b < m; b++) {
      for (size_t c = a; c < b; c++) sum += 2 * e->cosine[c * m + b];
      sum += 1;
      const double size = (double)(b - a + 1);
      cost[a * m + b] = fmax(0, size - sum / size);
    }
  }
}

/* Divides by the cost of everything in one block; false if there is nothing to explain. */
static bool normalize(double *cost, size_t m) {
  const double all = cost[m - 1];
  if (!(all > 1e-9)) return false;
  for (size_t i = 0; i < m * m; i++) cost[i] /= all;
  return true;
}

/* ---- The best segmentations ---- */

/* The `keep` best ways to cut revisions 0..b into s+1 blocks: their costs, where the last block begins, and which of
 * the ways of the rest they continue. */
typedef struct way {
  double cost;
  uint32_t start, from;
} way;

/* Inserts into a list sorted by cost; of equal costs the first stays before. */
static void keep_way(way *list, size_t *n, size_t keep, way new_way) {
  if (*n == keep && !(new_way.cost < list[*n - 1].cost)) return;
  size_t at = *n < keep ? (*n)++ : *n - 1;
  for (; at > 0 && new_way.cost < list[at - 1].cost; at--) list[at] = list[at - 1];
  list[at] = new_way;
}

/* ways [n_blocks, m, keep], counts [n_blocks, m]. */
static void find_ways(const double *cost, size_t m, size_t n_blocks, size_t keep, way *ways, size_t *counts) {
  memset(counts, 0, n_blocks * m * sizeof *counts);
  for (size_t b = 0; b < m; b++) {
    ways[b * keep] = (way){cost[b], 0, 0};
    counts[b] = 1;
  }
  for (size_t s = 1; s < n_blocks; s++)
    for (size_t b = s; b < m; b++) {
      way *list = ways + (s * m + b) * keep;
      for (size_t a = s; a <= b; a++) {
        const size_t before = (s - 1) * m + a - 1;
        for (size_t k = 0; k < counts[before]; k++)
          keep_way(list, &counts[s * m + b], keep,
                   (way){ways[before * keep + k].cost + cost[a * m + b], (uint32_t)a, (uint32_t)k});
      }
    }
}

/* first[] of the k-th best way to cut all revisions. */
static void read_way(const way *ways, size_t m, size_t n_blocks, size_t keep, size_t k, size_t *first) {
  size_t b = m - 1;
  for (size_t s = n_blocks; s-- > 0;) {
    const way *w = &ways[(s * m + b) * keep + k];
    first[s] = w->start;
    k = w->from;
    if (s > 0) b = w->start - 1;
  }
}

/* ---- The revision that stands for a block ---- */

/* How far revision c is from those of its block, by accuracy and by similarity. */
static void distances(const xci_evidence *e, size_t c, size_t first, size_t last, double *accuracy,
                      double *similarity) {
  const size_t m = e->n_revisions;
  *accuracy = *similarity = 0;
  for (size_t j = first; j <= last; j++) {
    for (size_t cell = 0; cell < e->n_cells; cell++) {
      const double n = e->n[cell * m + j], own = e->n[cell * m + c];
      if (n > 0 && own > 0) {
        const double d = e->right[cell * m + j] / n - e->right[cell * m + c] / own;
        *accuracy += n * d * d;
      }
    }
    if (e->cosine) *similarity += 1 - e->cosine[c * m + j];
  }
}

/* The least distance to all others of the block, each kind measured against its largest; of equals the last. */
static size_t choose_typical(const xci_evidence *e, size_t first, size_t last, double weight) {
  double most_accuracy = 1e-12, most_similarity = 1e-12, best = INFINITY, a, s;
  size_t chosen = last;
  for (size_t c = first; c <= last; c++) {
    distances(e, c, first, last, &a, &s);
    most_accuracy = fmax(most_accuracy, a);
    most_similarity = fmax(most_similarity, s);
  }
  for (size_t c = first; c <= last; c++) {
    distances(e, c, first, last, &a, &s);
    const double distance = weight * a / most_accuracy + (1 - weight) * s / most_similarity;
    if (distance <= best) {
      best = distance;
      chosen = c;
    }
  }
  return chosen;
}

/* ---- Intervals of the change points ---- */

/* A binomial number; `draw` counts the random numbers used of stream `index`. Large variances by the normal
 * distribution, rounded; small ones by waiting times. */
static double draw_binomial(uint64_t seed, uint64_t index, double n, double p) {
  const double q = fmin(p, 1 - p), variance = n * q * (1 - q);
  double k = 0;
  if (variance > 16) {
    k = round(n * q + sqrt(variance) * xci_random_normal(seed, XCI_STREAM_BOOTSTRAP, index * 1024));
    k = fmin(n, fmax(0, k));
  } else if (q > 0) {
    double at = 0;
    for (uint64_t i = 0; i < 1023; i++) {
      at += floor(log1p(-xci_random_uniform(seed, XCI_STREAM_BOOTSTRAP, index * 1024 + 1 + i)) / log1p(-q)) + 1;
      if (at > n) break;
      k++;
    }
  }
  return p <= 0.5 ? k : n - k;
}

typedef struct search {
  const xci_evidence *evidence;
  const double *similarity; /* costs, divided; or NULL */
  double weight;            /* of accuracy: 0 without it, 1 without similarity */
  size_t n_blocks;
} search;

static void mix(const search *s, double *accuracy) {
  const size_t m = s->evidence->n_revisions;
  const bool counts = s->weight > 0 && normalize(accuracy, m);
  for (size_t i = 0; i < m * m; i++)
    accuracy[i] = (counts ? s->weight * accuracy[i] : 0) + (s->similarity ? (1 - s->weight) * s->similarity[i] : 0);
}

/* first[] of the best segmentation of counts that are drawn anew. A cell that is always right would never vary, so
 * shares are drawn in by half a pair. */
static xcoder_status resample(const search *s, uint64_t seed, uint64_t number, size_t *first, xcoder_error *err) {
  const xci_evidence *e = s->evidence;
  const size_t m = e->n_revisions, n_values = e->n_cells * m;
  double *right = NULL, *cost = NULL;
  way *ways = NULL;
  size_t *counts = NULL;
  xcoder_status status = XCI_ALLOC(&right, n_values, err);
  if (!status) status = XCI_ALLOC(&cost, m * m, err);
  if (!status) status = XCI_ALLOC(&ways, s->n_blocks * m, err);
  if (!status) status = XCI_ALLOC(&counts, s->n_blocks * m, err);
  for (size_t i = 0; !status && i < n_values; i++)
    right[i] = draw_binomial(seed, number * n_values + i, e->n[i], (e->right[i] + 0.5) / (e->n[i] + 1));
  if (!status) {
    accuracy_costs(e, right, cost);
    mix(s, cost);
    find_ways(cost, m, s->n_blocks, 1, ways, counts);
    read_way(ways, m, s->n_blocks, 1, 0, first);
  }
  xci_free(right);
  xci_free(cost);
  xci_free(ways);
  xci_free(counts);
  return status;
}

static int compare_sizes(const void *a, const void *b) {
  const size_t x = *(const size_t *)a, y = *(const size_t *)b;
  return x < y ? -1 : x > y;
}

static xcoder_status find_intervals(const search *s, const xcoder_select_options *options, xcoder_selection *out,
                                    xcoder_error *err) {
  const size_t n = s->n_blocks, n_samples = s->evidence->n_cells && s->weight > 0 ? (size_t)options->bootstrap : 0;
  size_t *first = NULL, *column = NULL;
  xcoder_status status = XCI_ALLOC(&first, n_samples * n, err), worst = XCODER_OK;
  if (!status) status = XCI_ALLOC(&column, n_samples, err);
#pragma omp parallel for num_threads(xci_threads()) schedule(dynamic) if (!status)
  for (size_t i = 0; i < (status ? 0 : n_samples); i++) {
    xcoder_error own;
    const xcoder_status mine = resample(s, options->seed, i, first + i * n, &own);
    if (mine) {
#pragma omp critical(xci_select_failed)
      {
        worst = mine;
        if (err) *err = own;
      }
    }
  }
  if (!status) status = worst;
  for (size_t k = 0; !status && k < n; k++) {
    const size_t own = out->proposal[0].first[k];
    size_t n_same = 0;
    for (size_t i = 0; i < n_samples; i++) {
      column[i] = first[i * n + k];
      n_same += column[i] == own;
    }
    if (n_samples) qsort(column, n_samples, sizeof *column, compare_sizes);
    out->low[k] = n_samples ? column[(n_samples - 1) * 25 / 1000] : own;
    out->high[k] = n_samples ? column[(n_samples - 1) * 975 / 1000] : own;
    out->agreement[k] = n_samples ? (double)n_same / (double)n_samples : NAN;
  }
  xci_free(first);
  xci_free(column);
  return status;
}

/* ---- All of it ---- */

static double explained(const double *cost, size_t m, const size_t *first, size_t n) {
  double left = 0;
  for (size_t s = 0; s < n; s++) left += cost[first[s] * m + (s + 1 < n ? first[s + 1] : m) - 1];
  return 1 - left;
}

static bool is_known(const xcoder_selection *out, const size_t *chosen) {
  for (size_t p = 0; p < out->n_proposals; p++)
    if (memcmp(out->proposal[p].chosen, chosen, out->n * sizeof *chosen) == 0) return true;
  return false;
}

/* The best segmentations, in order, that give different revisions. */
static xcoder_status collect(const search *s, const double *mixed, const double *accuracy, size_t n_wanted,
                             xcoder_selection *out, xcoder_error *err) {
  const size_t m = s->evidence->n_revisions, n = s->n_blocks, keep = n_wanted * SPARE;
  way *ways = NULL;
  size_t *counts = NULL, n_ways;
  if (!xci_mul_size(n * m, keep, &n_ways)) return xci_fail(err, XCODER_MEMORY, "%zu revisions are too many", m);
  xcoder_status status = XCI_ALLOC(&ways, n_ways, err);
  if (!status) status = XCI_ALLOC(&counts, n * m, err);
  if (!status) find_ways(mixed, m, n, keep, ways, counts);
  for (size_t k = 0; !status && k < counts[(n - 1) * m + m - 1] && out->n_proposals < n_wanted; k++) {
    size_t first[MOST_BLOCKS], chosen[MOST_BLOCKS];
    read_way(ways, m, n, keep, k, first);
    for (size_t b = 0; b < n; b++)
      chosen[b] = choose_typical(s->evidence, first[b], (b + 1 < n ? first[b + 1] : m) - 1, s->weight);
    if (is_known(out, chosen)) continue;
    xcoder_proposal *p = &out->proposal[out->n_proposals++];
    status = XCI_ALLOC(&p->chosen, n, err);
    if (!status) status = XCI_ALLOC(&p->first, n, err);
    if (status) break;
    memcpy(p->chosen, chosen, n * sizeof *chosen);
    memcpy(p->first, first, n * sizeof *first);
    p->score = explained(mixed, m, first, n);
    p->accuracy_share = accuracy ? explained(accuracy, m, first, n) : NAN;
    p->similarity_share = s->similarity ? explained(s->similarity, m, first, n) : NAN;
  }
  xci_free(ways);
  xci_free(counts);
  return status;
}

static xcoder_status propose(xci_evidence *e, const xcoder_select_options *options, xcoder_selection *out,
                             xcoder_error *err) {
  const size_t m = e->n_revisions;
  double *accuracy = NULL, *similarity = NULL, *mixed = NULL;
  xcoder_status status = XCI_ALLOC(&accuracy, m * m, err);
  if (!status) status = XCI_ALLOC(&similarity, m * m, err);
  if (!status) status = XCI_ALLOC(&mixed, m * m, err);
  if (!status) {
    accuracy_costs(e, e->right, accuracy);
    if (e->cosine) similarity_costs(e, similarity);
    memcpy(mixed, accuracy, m * m * sizeof *mixed);
    const bool has_accuracy = normalize(accuracy, m), has_similarity = e->cosine && normalize(similarity, m);
    if (!has_accuracy && !has_similarity)
      status = xci_fail(err, XCODER_MISMATCH, "neither accuracies nor activations differ between the revisions");
    const search s = {e, has_similarity ? similarity : NULL,
                      !has_accuracy ? 0 : !has_similarity ? 1 : options->weight, options->n};
    if (!status) {
      mix(&s, mixed);
      status = collect(&s, mixed, has_accuracy ? accuracy : NULL, options->n_proposals, out, err);
    }
    if (!status) status = find_intervals(&s, options, out, err);
  }
  xci_free(accuracy);
  xci_free(similarity);
  xci_free(mixed);
  return status;
}

xcoder_status xcoder_select(const char *accuracy_csv, const char *similarity_csv, const xcoder_select_options *options,
                            xcoder_selection **selection, xcoder_error *err) {
  xci_evidence e = {0};
  xcoder_selection *out = NULL;
  *selection = NULL;
  if (!accuracy_csv && !similarity_csv)
    return xci_fail(err, XCODER_USAGE, "neither accuracies nor similarities were given");
  if (options->n < 2 || options->n > MOST_BLOCKS || options->n_proposals < 1 || options->n_proposals > 1000)
    return xci_fail(err, XCODER_USAGE, "%zu proposals of %zu checkpoints, expected 1 to 1000 of 2 to %d",
                    options->n_proposals, options->n, (int)MOST_BLOCKS);
  xcoder_status status = xci_evidence_read(accuracy_csv, similarity_csv, options->min_tokens, &e, err);
  if (status) return status;
  if (e.n_revisions < options->n)
    status = xci_fail(err, XCODER_MISMATCH, "%zu revisions are left, expected at least %zu", e.n_revisions, options->n);
  if (!status) status = XCI_ALLOC(&out, 1, err);
  if (!status) {
    out->n = options->n;
    status = XCI_ALLOC(&out->proposal, options->n_proposals, err);
  }
  if (!status) status = XCI_ALLOC(&out->low, options->n, err);
  if (!status) status = XCI_ALLOC(&out->high, options->n, err);
  if (!status) status = XCI_ALLOC(&out->agreement, options->n, err);
  if (!status) status = propose(&e, options, out, err);
  if (out) { /* what the selection keeps of the evidence */
    out->n_revisions = e.n_revisions;
    out->labels = e.labels;
    out->tokens_seen = e.tokens_seen;
    out->cosine = e.cosine;
    out->pearson = e.pearson;
    out->n_cells = e.n_cells;
    out->cells = e.cells;
    out->n_pairs = e.n;
    out->n_right = e.right;
    e = (xci_evidence){0};
  }
  xci_evidence_free(&e);
  if (status) xcoder_selection_free(out);
  else *selection = out;
  return status;
}

void xcoder_selection_free(xcoder_selection *selection) {
  if (!selection) return;
  for (size_t c = 0; selection->labels && c < selection->n_revisions; c++) xci_free(selection->labels[c]);
  for (size_t p = 0; selection->proposal && p < selection->n_proposals; p++) {
    xci_free(selection->proposal[p].chosen);
    xci_free(selection->proposal[p].first);
  }
  for (size_t k = 0; selection->cells && k < selection->n_cells; k++) xci_free(selection->cells[k]);
  xci_free(selection->cells);
  xci_free(selection->n_pairs);
  xci_free(selection->n_right);
  xci_free(selection->labels);
  xci_free(selection->tokens_seen);
  xci_free(selection->cosine);
  xci_free(selection->pearson);
  xci_free(selection->proposal);
  xci_free(selection->low);
  xci_free(selection->high);
  xci_free(selection->agreement);
  xci_free(selection);
}
