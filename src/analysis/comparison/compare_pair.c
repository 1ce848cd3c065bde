/* SPDX-License-Identifier: Apache-2.0 */
/* Two sides matched: similarities, one-to-one partners, mutual nearest neighbours, and the same where nothing can
 * match. */
#include "analysis/comparison/compare.h"

#include "analysis/statistics.h"
#include "base/memory.h"
#include "base/random.h"
#include "base/size.h"
#include <math.h>

void xci_matching_close(xci_matching *m) {
  xci_free(m->pairing.a);
  xci_free(m->pairing.b);
  xci_free(m->cosine);
  xci_free(m->correlation);
  xci_free(m->partner);
  xci_free(m->mutual);
  *m = (xci_matching){0};
}

double xci_matching_similarity(const xci_matching *m, size_t k) {
  if (m->partner[k] == XCI_UNMATCHED) return NAN;
  return (double)(m->by_cosine ? m->cosine : m->correlation)[k * m->b->n_live + (size_t)m->partner[k]];
}

bool xci_matching_recurs(const xci_matching *m, size_t k) { return xci_matching_similarity(m, k) >= m->threshold; }

static xcoder_status find_mutual(xci_matching *m, const float *similarity, xcoder_error *err) {
  int64_t *best_column = NULL, *best_row = NULL;
  xcoder_status status = XCI_ALLOC(&best_column, m->a->n_live, err);
  if (!status) status = XCI_ALLOC(&best_row, m->b->n_live, err);
  if (!status) {
    xci_nearest(similarity, m->a->n_live, m->b->n_live, best_column, best_row);
    for (size_t k = 0; k < m->a->n_live; k++)
      m->mutual[k] = m->partner[k] != XCI_UNMATCHED && best_column[k] == m->partner[k] &&
                     best_row[m->partner[k]] == (int64_t)k;
  }
  xci_free(best_column);
  xci_free(best_row);
  return status;
}

/* Decoders: a random dictionary of b's shape. Activations: b's positions moved along by a quarter to three quarters. */
static xcoder_status find_null(xci_matching *m, uint64_t seed, xcoder_error *err) {
  const size_t n = m->a->n_live, n_values = n * m->b->n_live;
  float *similarity = NULL;
  int64_t *partner = NULL;
  double *found = NULL;
  size_t n_found = 0, n_high = 0;
  m->null = (xci_null){NAN, NAN, NAN};
  xcoder_status status = XCI_ALLOC(&similarity, n_values, err);
  if (!status) status = XCI_ALLOC(&partner, n, err);
  if (!status) status = XCI_ALLOC(&found, n, err);
  const size_t quarter = m->pairing.n / 4;
  const size_t shift = quarter + (size_t)xci_random_below(seed, XCI_STREAM_NULL, 0, xci_max_size(1, 2 * quarter));
  if (!status && m->by_cosine) status = xci_cosines(m->a, m->b, &seed, similarity, err);
  else if (!status) status = xci_correlations(m->a, m->b, &m->pairing, shift, similarity, err);
  if (!status) status = xci_assign(similarity, n, m->b->n_live, partner, err);
  for (size_t k = 0; !status && k < n; k++) {
    if (partner[k] == XCI_UNMATCHED) continue;
    found[n_found++] = (double)similarity[k * m->b->n_live + (size_t)partner[k]];
    n_high += found[n_found - 1] >= m->threshold;
  }
  if (!status && n_found) {
    double sd;
    xci_mean_sd(found, n_found, &m->null.mean, &sd);
    xci_sort_f64(found, n_found);
    m->null.high = xci_quantile(found, n_found, 0.99);
    m->null.share = (double)n_high / (double)n_found;
  }
  xci_free(similarity);
  xci_free(partner);
  xci_free(found);
  return status;
}

bool xci_made_alike(const xci_side *a, const xci_side *b) {
  return a->layer == b->layer && a->n == b->n && xci_shared_labels(a, b) == a->n;
}

xcoder_status xci_matching_open(const xci_side *a, const xci_side *b, const xcoder_compare_options *options,
                                xci_matching *m, xcoder_error *err) {
  const bool have_cosine = xci_shared_labels(a, b) > 0;
  size_t n_values = 0;
  *m = (xci_matching){.a = a, .b = b, .threshold = options->threshold};
  m->by_cosine = options->match == XCODER_MATCH_COSINE || (options->match == XCODER_MATCH_AUTO && xci_made_alike(a, b));
  if (m->by_cosine && !have_cosine)
    return xci_fail(err, XCODER_USAGE, "compare: %s and %s share no checkpoint of equal width, so their decoders have "
                    "no cosine (match by correlation)", a->name, b->name);
  xcoder_status status = xci_pair_positions(a, b, &m->pairing, err);
  if (!status && !xci_mul_size(a->n_live, b->n_live, &n_values))
    status = xci_fail(err, XCODER_MEMORY, "compare: too many features");
  if (!status) status = XCI_ALLOC(&m->partner, a->n_live, err);
  if (!status) status = XCI_ALLOC(&m->mutual, a->n_live, err);
  if (!status) status = XCI_ALLOC(&m->correlation, n_values, err);
  if (!status) status = xci_correlations(a, b, &m->pairing, 0, m->correlation, err);
  if (!status && have_cosine) status = XCI_ALLOC(&m->cosine, n_values, err);
  if (!status && have_cosine) status = xci_cosines(a, b, NULL, m->cosine, err);
  const float *similarity = m->by_cosine ? m->cosine : m->correlation;
  if (!status) status = xci_assign(similarity, a->n_live, b->n_live, m->partner, err);
  if (!status) status = find_mutual(m, similarity, err);
  if (!status) status = find_null(m, options->seed, err);
  if (status) xci_matching_close(m);
  return status;
}
