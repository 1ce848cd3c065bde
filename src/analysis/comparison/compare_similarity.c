/* SPDX-License-Identifier: Apache-2.0 */
/* Positions paired by bytes of text; correlations and cosines of all pairs of live features. */
#include "analysis/comparison/compare.h"

#include "base/memory.h"
#include "base/parallel.h"
#include "base/random.h"
#include "compute/cpu/gemm.h"
#include <math.h>
#include <string.h>

xcoder_status xci_pair_positions(const xci_side *a, const xci_side *b, xci_pairing *pairing, xcoder_error *err) {
  *pairing = (xci_pairing){0};
  if (a->n_sequences != b->n_sequences)
    return xci_fail(err, XCODER_MISMATCH, "compare: %s has %zu documents and %s %zu, expected the same text", a->name,
                    a->n_sequences, b->name, b->n_sequences);
  xcoder_status status = XCI_ALLOC(&pairing->a, a->n_positions, err);
  if (!status) status = XCI_ALLOC(&pairing->b, a->n_positions, err);
  for (size_t q = 0; !status && q < a->n_sequences; q++) {
    size_t at = b->sequence[q];
    for (size_t p = a->sequence[q]; p < a->sequence[q + 1]; p++) {
      while (at < b->sequence[q + 1] && b->end_byte[at] < a->end_byte[p]) at++;
      if (at == b->sequence[q + 1]) break;
      pairing->a[pairing->n] = p;
      pairing->b[pairing->n++] = at;
    }
  }
  if (!status && pairing->n < 2)
    status = xci_fail(err, XCODER_MISMATCH, "compare: %s and %s share no positions of text", a->name, b->name);
  return status;
}

/* Per live feature: where it is active among the paired positions, and its moments there. */
typedef struct column {
  size_t *start;   /* [n_live + 1] */
  size_t *end;     /* [n_live], while it is filled */
  uint32_t *pair;  /* index of the paired position */
  float *value;
  double *mean, *deviation; /* [n_live] */
} column;

static void column_close(column *c) {
  xci_free(c->start);
  xci_free(c->end);
  xci_free(c->pair);
  xci_free(c->value);
  xci_free(c->mean);
  xci_free(c->deviation);
}

/* Pair k takes position[(k + shift) mod n]. */
static void column_fill(const xci_side *side, const size_t *position, size_t n, size_t shift, column *c) {
  for (size_t k = 0; k < n; k++) {
    const size_t p = position[(k + shift) % n];
    for (size_t j = side->code[p]; j < side->code[p + 1]; j++) {
      const size_t i = side->rank_of[side->feature[j]], at = c->end[i]++;
      const double value = (double)side->value[j];
      c->pair[at] = (uint32_t)k;
      c->value[at] = side->value[j];
      c->mean[i] += value;
      c->deviation[i] += value * value;
    }
  }
  for (size_t i = 0; i < side->n_live; i++) {
    const double square = c->deviation[i] / (double)n;
    c->mean[i] /= (double)n;
    const double variance = square - c->mean[i] * c->mean[i];
    c->deviation[i] = variance > 1e-12 * square ? sqrt(variance) : 0; /* below is rounding */
  }
}

static xcoder_status column_open(const xci_side *side, const size_t *position, size_t n, size_t shift, column *c,
                                 xcoder_error *err) {
  *c = (column){0};
  xcoder_status status = n <= UINT32_MAX ? XCODER_OK : xci_fail(err, XCODER_USAGE, "compare: too many positions");
  if (!status) status = XCI_ALLOC(&c->start, side->n_live + 1, err);
  if (!status) status = XCI_ALLOC(&c->end, side->n_live, err);
  if (!status) status = XCI_ALLOC(&c->mean, side->n_live, err);
  if (!status) status = XCI_ALLOC(&c->deviation, side->n_live, err);
  if (status) return status;
  for (size_t k = 0; k < n; k++)
    for (size_t j = side->code[position[k]]; j < side->code[position[k] + 1]; j++)
      c->start[side->rank_of[side->feature[j]] + 1]++;
  for (size_t i = 0; i < side->n_live; i++) {
    c->end[i] = c->start[i];
    c->start[i + 1] += c->start[i];
  }
  status = XCI_ALLOC(&c->pair, c->start[side->n_live], err);
  if (!status) status = XCI_ALLOC(&c->value, c->start[side->n_live], err);
  if (!status) column_fill(side, position, n, shift, c);
  return status;
}

/* One row of sums: sum over pairs of f_i of a times every feature of b. */
static void add_products(const xci_side *b, const xci_pairing *pairing, size_t shift, const column *of_a, size_t i,
                         double *sum) {
  memset(sum, 0, b->n_live * sizeof *sum);
  for (size_t m = of_a->start[i]; m < of_a->start[i + 1]; m++) {
    const size_t p = pairing->b[(of_a->pair[m] + shift) % pairing->n];
    for (size_t j = b->code[p]; j < b->code[p + 1]; j++)
      sum[b->rank_of[b->feature[j]]] += (double)of_a->value[m] * (double)b->value[j];
  }
}

xcoder_status xci_correlations(const xci_side *a, const xci_side *b, const xci_pairing *pairing, size_t shift,
                               float *out, xcoder_error *err) {
  const size_t n_threads = (size_t)xci_threads();
  column of_a = {0}, of_b = {0};
  double *sums = NULL;
  xcoder_status status = column_open(a, pairing->a, pairing->n, 0, &of_a, err);
  if (!status) status = column_open(b, pairing->b, pairing->n, shift, &of_b, err);
  if (!status) status = XCI_ALLOC(&sums, n_threads * b->n_live, err);
  if (!status) {
#pragma omp parallel for schedule(dynamic, 16) num_threads(xci_threads())
    for (size_t i = 0; i < a->n_live; i++) {
      double *sum = sums + (size_t)xci_thread_index() * b->n_live;
      add_products(b, pairing, shift, &of_a, i, sum);
      for (size_t j = 0; j < b->n_live; j++) {
        const double both = of_a.deviation[i] * of_b.deviation[j];
        const double covariance = sum[j] / (double)pairing->n - of_a.mean[i] * of_b.mean[j];
        out[i * b->n_live + j] = both > 0 ? (float)(covariance / both) : 0;
      }
    }
  }
  column_close(&of_a);
  column_close(&of_b);
  xci_free(sums);
  return status;
}

bool xci_same_checkpoint(const xci_side *a, size_t c, const xci_side *b, size_t e) {
  return strcmp(a->labels[c], b->labels[e]) == 0 && strcmp(a->fingerprint[c], b->fingerprint[e]) == 0;
}

size_t xci_shared_labels(const xci_side *a, const xci_side *b) {
  size_t n = 0;
  for (size_t c = 0; c < a->n && a->d_model == b->d_model; c++)
    for (size_t e = 0; e < b->n; e++) n += xci_same_checkpoint(a, c, b, e);
  return n;
}

static void normalise(float *row, size_t n) {
  const double norm = sqrt(xci_dot(row, row, n));
  for (size_t j = 0; j < n; j++) row[j] = norm > 0 ? (float)((double)row[j] / norm) : 0;
}

/* Directions of live features of `side` over the checkpoints that `first` and `second` share, in the order of
 * `first`. */
static void take_directions(const xci_side *side, const xci_side *first, const xci_side *second, size_t width,
                            float *out) {
  const size_t d = side->d_model;
  for (size_t k = 0; k < side->n_live; k++) {
    float *row = out + k * width;
    size_t at = 0;
    for (size_t c = 0; c < first->n; c++)
      for (size_t e = 0; e < second->n; e++) {
        if (!xci_same_checkpoint(first, c, second, e)) continue;
        const size_t own = side == first ? c : e;
        memcpy(row + at, side->w_dec + (side->live[k] * side->n + own) * d, d * sizeof *row);
        at += d;
      }
    normalise(row, width);
  }
}

xcoder_status xci_cosines(const xci_side *a, const xci_side *b, const uint64_t *random, float *out,
                          xcoder_error *err) {
  const size_t width = xci_shared_labels(a, b) * a->d_model;
  float *of_a = NULL, *of_b = NULL;
  xcoder_status status = XCI_ALLOC(&of_a, a->n_live * width, err);
  if (!status) status = XCI_ALLOC(&of_b, b->n_live * width, err);
  if (!status) {
    take_directions(a, a, b, width, of_a);
    if (!random) take_directions(b, a, b, width, of_b);
    for (size_t k = 0; random && k < b->n_live; k++) {
      for (size_t j = 0; j < width; j++)
        of_b[k * width + j] = (float)xci_random_normal(*random, XCI_STREAM_NULL, k * width + j);
      normalise(of_b + k * width, width);
    }
    xci_gemm(false, true, a->n_live, b->n_live, width, 1, of_a, width, of_b, width, 0, out, b->n_live);
  }
  xci_free(of_a);
  xci_free(of_b);
  return status;
}
