/* SPDX-License-Identifier: Apache-2.0 */
/* Scores of whole sentences: the sum of log-probabilities of their tokens, over the whole vocabulary (the convention of
 * lm-evaluation-harness for multiple choice), divided by a length on request. */
#include "analysis/quality/accuracy.h"

#include "analysis/workbench.h"
#include "base/memory.h"
#include <math.h>
#include <string.h>

/* Sentences first .. first+count-1 in the order good, bad, good, bad; ids and starts of one packed call. */
typedef struct packed {
  uint32_t *ids;
  size_t *start;
  float *log_probs;
  size_t n, n_rows;
} packed;

static void clear(packed *p) {
  xci_free(p->ids);
  xci_free(p->start);
  xci_free(p->log_probs);
}

static xcoder_status pack(const xcoder_pairs *pairs, size_t first, size_t count, packed *p, xcoder_error *err) {
  *p = (packed){.n = 2 * count};
  for (size_t k = 0; k < count; k++) {
    const xcoder_pair *pair = xcoder_pairs_get(pairs, first + k);
    p->n_rows += pair->n_good + pair->n_bad;
  }
  xcoder_status status = XCI_ALLOC(&p->ids, p->n_rows, err);
  if (!status) status = XCI_ALLOC(&p->start, p->n + 1, err);
  if (!status) status = XCI_ALLOC(&p->log_probs, p->n_rows, err);
  for (size_t k = 0; !status && k < count; k++) {
    const xcoder_pair *pair = xcoder_pairs_get(pairs, first + k);
    const size_t at = p->start[2 * k];
    memcpy(p->ids + at, pair->good, pair->n_good * sizeof *p->ids);
    memcpy(p->ids + at + pair->n_good, pair->bad, pair->n_bad * sizeof *p->ids);
    p->start[2 * k + 1] = at + pair->n_good;
    p->start[2 * k + 2] = at + pair->n_good + pair->n_bad;
  }
  return status;
}

/* The same tokens twice: a tie, whatever the last bits of a row owe to its place in the batch. */
static bool is_one_sentence(const xcoder_pair *pair) {
  return pair->n_good == pair->n_bad && memcmp(pair->good, pair->bad, pair->n_good * sizeof *pair->good) == 0;
}

static double sum_range(const float *x, size_t from, size_t to) {
  double sum = 0;
  for (size_t i = from; i < to; i++) sum += (double)x[i];
  return sum;
}

/* How many pairs from `first` on fill one call. */
static size_t fit(const xcoder_pairs *pairs, size_t first) {
  size_t n = xcoder_pairs_count(pairs), rows = 0, k = first;
  for (; k < n; k++) {
    const xcoder_pair *pair = xcoder_pairs_get(pairs, k);
    rows += pair->n_good + pair->n_bad;
    if (k > first && rows > XCI_ROWS_PER_CALL / 4) break; /* every position passes through the whole vocabulary */
  }
  return k - first;
}

xcoder_status xcoder_score_sentences(xcoder_model *model, const xcoder_pairs *pairs, double *good, double *bad,
                                     const xcoder_monitor *monitor, xcoder_error *err) {
  const size_t n = xcoder_pairs_count(pairs);
  xcoder_status status = XCODER_OK;
  if (n && !xcoder_pairs_get(pairs, 0)->good)
    return xci_fail(err, XCODER_USAGE, "%s: it was not loaded as sentences", xcoder_pairs_name(pairs));
  for (size_t first = 0, count; !status && first < n; first += count) {
    packed p;
    count = fit(pairs, first);
    xci_advance(monitor, "accuracy", "pairs", first, n);
    if (xci_stopped(monitor)) return xci_interrupted(err, "accuracy");
    status = pack(pairs, first, count, &p, err);
    if (!status) status = xcoder_model_log_probs(model, p.ids, p.start, p.n, p.log_probs, err);
    for (size_t k = 0; !status && k < count; k++) {
      good[first + k] = sum_range(p.log_probs, p.start[2 * k], p.start[2 * k + 1]);
      bad[first + k] = sum_range(p.log_probs, p.start[2 * k + 1], p.start[2 * k + 2]);
      if (is_one_sentence(xcoder_pairs_get(pairs, first + k))) bad[first + k] = good[first + k];
    }
    clear(&p);
  }
  if (!status) xci_advance(monitor, "accuracy", "pairs", n, n);
  return status;
}

static double length_of(const xcoder_pair *pair, bool is_good, xcoder_normalization normalization) {
  switch (normalization) {
  case XCODER_PER_CHARACTER: return (double)(is_good ? pair->good_characters : pair->bad_characters);
  case XCODER_PER_BYTE: return (double)(is_good ? pair->good_bytes : pair->bad_bytes);
  case XCODER_PER_TOKEN: return fmax(1, (double)(is_good ? pair->n_good : pair->n_bad) - 1);
  case XCODER_SUM: break;
  }
  return 1;
}

xcoder_status xci_sentence_differences(xcoder_model *model, const xcoder_pairs *pairs,
                                       xcoder_normalization normalization, double *difference,
                                       const xcoder_monitor *monitor, xcoder_error *err) {
  const size_t n = xcoder_pairs_count(pairs);
  double *bad = NULL;
  xcoder_status status = XCI_ALLOC(&bad, n, err);
  if (!status) status = xcoder_score_sentences(model, pairs, difference, bad, monitor, err);
  for (size_t i = 0; !status && i < n; i++) {
    const xcoder_pair *pair = xcoder_pairs_get(pairs, i);
    difference[i] =
        difference[i] / length_of(pair, true, normalization) - bad[i] / length_of(pair, false, normalization);
  }
  xci_free(bad);
  return status;
}
