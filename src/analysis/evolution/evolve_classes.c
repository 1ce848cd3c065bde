/* SPDX-License-Identifier: Apache-2.0 */
/* Token-specificity of features by the class of their shares, and whether it differs. */
#include "analysis/evolution/evolve.h"
#include "analysis/attribution/relative_effect.h"
#include "analysis/statistics.h"
#include "analysis/features/token_labels.h"
#include "base/memory.h"
#include "base/random.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { EARLY, SHARED, LATE, N_STRATA = 10 };

/* ---- Two groups ---- */

typedef struct item {
  double value;
  uint32_t index;
} item;

static int compare_items(const void *a, const void *b) {
  const item *p = a, *q = b;
  if (p->value != q->value) return p->value < q->value ? -1 : 1;
  return p->index < q->index ? -1 : p->index > q->index;
}

/* Sum over pairs of (first - second) of sign; `items` sorted by value, is_first by index. */
static double wins(const item *items, size_t n, const uint8_t *is_first, double *n_pairs) {
  double first = 0, second = 0, sum = 0;
  for (size_t k = 0; k < n;) {
    double p = 0, q = 0;
    for (const double value = items[k].value; k < n && items[k].value == value; k++)
      *(is_first[items[k].index] ? &p : &q) += 1;
    sum += p * second - q * first;
    first += p;
    second += q;
  }
  *n_pairs = first * second;
  return sum;
}

/* Standard error of the difference under the null, with ties (Mann and Whitney 1947). */
static double null_error(const item *items, size_t n, double m, double l) {
  double ties = 0;
  for (size_t k = 0; k < n;) {
    size_t end = k;
    while (end < n && items[end].value == items[k].value) end++;
    const double t = (double)(end - k);
    ties += t * t * t - t;
    k = end;
  }
  const double all = m + l;
  return all > 1 ? sqrt(m * l / 12 * (all + 1 - ties / (all * (all - 1)))) : 0;
}

static double median_of(const item *items, size_t n, const uint8_t *is_first, bool first, double *work) {
  size_t count = 0;
  for (size_t k = 0; k < n; k++)
    if (is_first[items[k].index] == first) work[count++] = items[k].value;
  return xci_quantile(work, count, 0.5);
}

/* Interval of Cliff's delta from the variance of placements. */
static xcoder_status add_interval(const item *items, size_t n, const uint8_t *is_first, xci_contrast *out,
                                  xcoder_error *err) {
  float *score = NULL;
  uint32_t *numbers = NULL;
  int32_t *label = NULL;
  double *work = NULL;
  xcoder_status status = XCI_ALLOC(&score, n, err);
  if (!status) status = XCI_ALLOC(&numbers, n, err);
  if (!status) status = XCI_ALLOC(&label, n, err);
  if (!status) status = XCI_ALLOC(&work, 2 * n, err);
  if (!status) {
    float rank = 0; /* places of equal values, so that nothing is lost in float */
    for (size_t k = 0; k < n; k++) {
      if (k && items[k].value != items[k - 1].value) rank++;
      score[k] = rank;
      numbers[k] = (uint32_t)k;
      label[k] = is_first[items[k].index];
    }
    xci_clustered_auc auc;
    xci_auc_clustered(score, numbers, label, 1, numbers, n, n, work, &auc);
    out->delta = 2 * auc.auc - 1;
    const double half = 2 * auc.se * xci_student_975(auc.df);
    out->low = fmax(-1, out->delta - half);
    out->high = fmin(1, out->delta + half);
  }
  xci_free(score);
  xci_free(numbers);
  xci_free(label);
  xci_free(work);
  return status;
}

/* Delta within strata, and how often labels shuffled within them give as much. */
static xcoder_status match(const item *items, const double *stratum, size_t n, uint8_t *is_first, uint64_t permutations,
                           uint64_t seed, xci_contrast *out, xcoder_error *err) {
  item *by_stratum = NULL, *sorted = NULL;
  uint8_t *drawn = NULL;
  double pairs, total_pairs = 0, observed = 0;
  uint64_t n_as_far = 0;
  xcoder_status status = XCI_ALLOC(&by_stratum, n, err);
  if (!status) status = XCI_ALLOC(&sorted, n, err);
  if (!status) status = XCI_ALLOC(&drawn, n, err);
  for (size_t k = 0; !status && k < n; k++) {
    by_stratum[k] = (item){stratum[items[k].index], (uint32_t)k};
    drawn[k] = is_first[items[k].index];
  }
  if (!status) qsort(by_stratum, n, sizeof *by_stratum, compare_items);
  for (uint64_t p = 0; !status && p <= permutations; p++) {
    double sum = 0;
    total_pairs = 0;
    for (size_t s = 0; s < N_STRATA; s++) {
      const size_t first = n * s / N_STRATA, end = n * (s + 1) / N_STRATA;
      for (size_t k = first; k < end; k++)
        sorted[k - first] = (item){items[by_stratum[k].index].value, by_stratum[k].index};
      for (size_t k = end - first; p && k > 1; k--) { /* shuffle the labels of the stratum */
        const size_t j =
            (size_t)xci_random_below(seed, XCI_STREAM_EVOLUTION, UINT64_C(1) << 60 | (p * n + first + k), k);
        const uint8_t kept = drawn[sorted[k - 1].index];
        drawn[sorted[k - 1].index] = drawn[sorted[j].index];
        drawn[sorted[j].index] = kept;
      }
      if (end > first) qsort(sorted, end - first, sizeof *sorted, compare_items);
      sum += wins(sorted, end - first, drawn, &pairs);
      total_pairs += pairs;
    }
    if (p == 0) observed = sum;
    else n_as_far += fabs(sum) >= fabs(observed) - 1e-9;
  }
  if (!status && total_pairs > 0) {
    out->matched_delta = observed / total_pairs;
    out->matched_p = (double)(n_as_far + 1) / (double)(permutations + 1);
  }
  xci_free(by_stratum);
  xci_free(sorted);
  xci_free(drawn);
  return status;
}

xcoder_status xci_contrast_groups(const double *value, const double *stratum, const int *group, size_t n, int first,
                                  int second, uint64_t permutations, uint64_t seed, xci_contrast *out,
                                  xcoder_error *err) {
  item *items = NULL;
  uint8_t *is_first = NULL;
  double *work = NULL, pairs;
  size_t count = 0;
  *out = (xci_contrast){0, 0, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN};
  xcoder_status status = XCI_ALLOC(&items, n, err);
  if (!status) status = XCI_ALLOC(&is_first, n, err);
  if (!status) status = XCI_ALLOC(&work, n, err);
  for (size_t i = 0; !status && i < n; i++) {
    if ((group[i] != first && group[i] != second) || isnan(value[i])) continue;
    items[count++] = (item){value[i], (uint32_t)i};
    is_first[i] = group[i] == first;
    *(is_first[i] ? &out->n_first : &out->n_second) += 1;
  }
  if (!status && out->n_first && out->n_second) {
    const double m = (double)out->n_first, l = (double)out->n_second;
    qsort(items, count, sizeof *items, compare_items);
    out->median_first = median_of(items, count, is_first, true, work);
    out->median_second = median_of(items, count, is_first, false, work);
    const double sum = wins(items, count, is_first, &pairs), error = null_error(items, count, m, l);
    out->delta = sum / pairs;
    out->p = error > 0 ? erfc(fabs(sum) / 2 / error / sqrt(2)) : 1; /* U - m l / 2 = sum / 2 */
    status = add_interval(items, count, is_first, out, err);
    if (!status) status = match(items, stratum, count, is_first, permutations, seed, out, err);
  }
  xci_free(items);
  xci_free(is_first);
  xci_free(work);
  return status;
}

/* ---- Classes of all features ---- */

static int group_of(xci_borders borders, const double *share, size_t n) {
  if (isnan(share[0])) return -1;
  const char *word = xci_evolution(xci_classify_by(borders, share, n), n);
  return strcmp(word, "vanishing") == 0 ? EARLY : strcmp(word, "persisting") == 0 ? SHARED
         : strcmp(word, "emerging") == 0 ? LATE : -1;
}

static void summarise(const double *value, const int *group, size_t rows, double *work, int wanted, double *median,
                      double *low, double *high) {
  size_t n = 0;
  for (size_t i = 0; i < rows; i++)
    if (group[i] == wanted && !isnan(value[i])) work[n++] = value[i];
  xci_sort_f64(work, n);
  *median = xci_quantile(work, n, 0.5);
  *low = xci_quantile(work, n, 0.25);
  *high = xci_quantile(work, n, 0.75);
}

static void count_telling(const xci_database *db, const int *group, xci_specificity *out) {
  double sum[XCI_N_GROUPS] = {0};
  size_t n_known[XCI_N_GROUPS] = {0};
  for (size_t i = 0; i < db->size.rows; i++) {
    double best = NAN;
    bool tells = false;
    if (group[i] < 0) continue;
    for (size_t c = i * db->size.n; c < (i + 1) * db->size.n; c++) {
      best = fmax(best, db->predicted_auc[c]);
      tells |= db->predicted_auc[c] >= 0.75 && db->predicted_p[c] < 0.05;
    }
    if (isnan(best)) continue;
    sum[group[i]] += best;
    n_known[group[i]]++;
    out->n_telling[group[i]] += tells;
  }
  for (size_t g = 0; g < XCI_N_GROUPS; g++) out->mean_auc[g] = n_known[g] ? sum[g] / (double)n_known[g] : NAN;
}

xcoder_status xci_specificity_measure(xci_borders borders, const xci_database *db, const double *share,
                                      uint64_t permutations, uint64_t seed, xci_specificity *out, xcoder_error *err) {
  static const int pairs[XCI_N_CONTRASTS][2] = {{LATE, EARLY}, {SHARED, EARLY}, {LATE, SHARED}};
  const size_t rows = db->size.rows;
  const double *const measure[XCI_N_MEASURES] = {db->token_entropy, db->top_token_share};
  int *group = NULL;
  double *work = NULL, *density = NULL;
  *out = (xci_specificity){0};
  xcoder_status status = XCI_ALLOC(&group, rows, err);
  if (!status) status = XCI_ALLOC(&work, rows, err);
  if (!status) status = XCI_ALLOC(&density, rows, err);
  for (size_t i = 0; !status && i < rows; i++) {
    group[i] = db->fired[i] ? group_of(borders, share + i * db->size.n, db->size.n) : -1;
    density[i] = (double)db->fired[i];
    if (group[i] >= 0) out->n_group[group[i]]++;
  }
  for (size_t m = 0; !status && m < XCI_N_MEASURES; m++) {
    for (int g = 0; g < XCI_N_GROUPS; g++)
      summarise(measure[m], group, rows, work, g, &out->median[m][g], &out->low[m][g], &out->high[m][g]);
    for (size_t k = 0; !status && k < XCI_N_CONTRASTS; k++)
      status = xci_contrast_groups(measure[m], density, group, rows, pairs[k][0], pairs[k][1], permutations, seed,
                                   &out->contrast[m][k], err);
  }
  if (!status) count_telling(db, group, out);
  xci_free(group);
  xci_free(work);
  xci_free(density);
  return status;
}
