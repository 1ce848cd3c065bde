/* SPDX-License-Identifier: Apache-2.0 */
/* Ridge regression of labels on centred and scaled activations. */
#include "analysis/known/probe.h"

#include "analysis/statistics.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "base/size.h"
#include <math.h>
#include <string.h>

xcoder_status xci_solve_spd(double *a, double *b, size_t n, xcoder_error *err) {
  for (size_t k = 0; k < n; k++) {
    const double *row_k = a + k * n;
    double pivot = row_k[k];
    for (size_t j = 0; j < k; j++) pivot -= row_k[j] * row_k[j];
    if (!(pivot > 0)) return xci_fail(err, XCODER_INTERNAL, "probe: the normal equations are not positive definite");
    const double root = sqrt(pivot);
    a[k * n + k] = root;
#pragma omp parallel for num_threads(xci_threads()) schedule(static) if (n - k > 256)
    for (size_t i = k + 1; i < n; i++) {
      double sum = a[i * n + k];
      for (size_t j = 0; j < k; j++) sum -= a[i * n + j] * row_k[j];
      a[i * n + k] = sum / root;
    }
  }
  for (size_t i = 0; i < n; i++) {
    for (size_t j = 0; j < i; j++) b[i] -= a[i * n + j] * b[j];
    b[i] /= a[i * n + i];
  }
  for (size_t i = n; i-- > 0;) {
    for (size_t j = i + 1; j < n; j++) b[i] -= a[j * n + i] * b[j];
    b[i] /= a[i * n + i];
  }
  return XCODER_OK;
}

typedef struct standard { /* inputs centred and scaled by the training rows */
  size_t n_rows, d;
  double *x; /* [n_rows, d] */
} standard;

/* Centres every column and divides it by its own standard deviation (`each`) or by the root mean square of all. */
static void standardise(const float *x, const size_t *train, size_t n_train, bool each, standard *out, double *scale) {
  double squares_of_all = 0;
#pragma omp parallel for num_threads(xci_threads()) schedule(static)
  for (size_t j = 0; j < out->d; j++) {
    double mean = 0, squares = 0;
    for (size_t k = 0; k < n_train; k++) mean += (double)x[train[k] * out->d + j];
    mean /= (double)n_train;
    for (size_t k = 0; k < n_train; k++) {
      const double v = (double)x[train[k] * out->d + j] - mean;
      squares += v * v;
    }
    scale[j] = squares / (double)n_train;
    for (size_t r = 0; r < out->n_rows; r++) out->x[r * out->d + j] = (double)x[r * out->d + j] - mean;
  }
  for (size_t j = 0; j < out->d; j++) squares_of_all += scale[j];
#pragma omp parallel for num_threads(xci_threads()) schedule(static)
  for (size_t j = 0; j < out->d; j++) {
    const double variance = each ? scale[j] : squares_of_all / (double)out->d;
    const double factor = variance > 0 ? 1 / sqrt(variance) : 0;
    for (size_t r = 0; r < out->n_rows; r++) out->x[r * out->d + j] *= factor;
  }
}

static double dot(const double *x, const double *y, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += x[i] * y[i];
  return sum;
}

/* The Gram matrix that the smaller of the two problems needs: X^T X [d, d] or X X^T [n_train, n_train]. */
static void fill_gram(const standard *in, const size_t *train, size_t n_train, bool dual, double *gram, size_t m) {
#pragma omp parallel for num_threads(xci_threads()) schedule(dynamic, 8)
  for (size_t i = 0; i < m; i++)
    for (size_t j = 0; j <= i; j++) {
      double sum = 0;
      if (dual) sum = dot(in->x + train[i] * in->d, in->x + train[j] * in->d, in->d);
      else
        for (size_t k = 0; k < n_train; k++) sum += in->x[train[k] * in->d + i] * in->x[train[k] * in->d + j];
      gram[i * m + j] = gram[j * m + i] = sum;
    }
}

/* A least-squares problem whose Gram matrix serves all strengths of the ridge. */
typedef struct problem {
  const standard *in;
  const uint8_t *label;
  size_t *row, n;  /* rows to train on */
  bool dual;
  size_t m;        /* size of the matrix */
  double *gram;    /* [m, m] */
} problem;

static void problem_close(problem *p) {
  xci_free(p->row);
  xci_free(p->gram);
  *p = (problem){0};
}

static xcoder_status problem_open(const standard *in, const uint8_t *label, const size_t *row, size_t n, problem *p,
                                  xcoder_error *err) {
  *p = (problem){.in = in, .label = label, .n = n, .dual = n < in->d};
  p->m = p->dual ? n : in->d;
  xcoder_status status = XCI_ALLOC(&p->row, n, err);
  if (!status) status = XCI_ALLOC(&p->gram, p->m * p->m, err);
  if (status) {
    problem_close(p);
    return status;
  }
  memcpy(p->row, row, n * sizeof *row);
  fill_gram(in, row, n, p->dual, p->gram, p->m);
  return XCODER_OK;
}

/* Weights [d] of the ridge regression of +-1 labels (centred). */
static xcoder_status fit(const problem *p, double ridge, double *weight, xcoder_error *err) {
  const size_t m = p->m, d = p->in->d;
  double *gram = NULL, *side = NULL, mean = 0;
  xcoder_status status = XCI_ALLOC(&gram, m * m, err);
  if (!status) status = XCI_ALLOC(&side, m, err);
  if (status) goto done;
  memcpy(gram, p->gram, m * m * sizeof *gram);
  for (size_t k = 0; k < p->n; k++) mean += p->label[p->row[k]] ? 1 : -1;
  mean /= (double)p->n;
  /* The mean diagonal of X^T X is about n (scaled inputs), so `ridge` is relative to it. */
  for (size_t i = 0; i < m; i++) gram[i * m + i] += ridge * (double)p->n;
  for (size_t k = 0; k < p->n; k++) {
    const double target = (p->label[p->row[k]] ? 1 : -1) - mean;
    if (p->dual) side[k] = target;
    else
      for (size_t j = 0; j < d; j++) side[j] += target * p->in->x[p->row[k] * d + j];
  }
  status = xci_solve_spd(gram, side, m, err);
  if (status) goto done;
  for (size_t j = 0; j < d; j++) weight[j] = p->dual ? 0 : side[j];
  for (size_t k = 0; p->dual && k < p->n; k++)
    for (size_t j = 0; j < d; j++) weight[j] += side[k] * p->in->x[p->row[k] * d + j];
done:
  xci_free(gram);
  xci_free(side);
  return status;
}

enum { N_FOLDS = 4, N_RIDGES = 6 };
static const double ridges[N_RIDGES] = {100, 10, 1, 0.1, 0.01, 0.001};

/* Adds the area under the curve of every ridge on fold `fold`, which leaves out every fourth training row. */
static xcoder_status validate_fold(const standard *in, const uint8_t *label, const size_t *train, size_t n_train,
                                   size_t fold, double *sum, xcoder_error *err) {
  problem p = {0};
  size_t *kept = NULL, n_kept = 0;
  double *weight = NULL, *score = NULL;
  uint8_t *truth = NULL;
  xcoder_status status = XCI_ALLOC(&kept, n_train, err);
  if (!status) status = XCI_ALLOC(&weight, in->d, err);
  if (!status) status = XCI_ALLOC(&score, n_train, err);
  if (!status) status = XCI_ALLOC(&truth, n_train, err);
  for (size_t k = 0; !status && k < n_train; k++)
    if (k % N_FOLDS != fold) kept[n_kept++] = train[k];
  if (!status && n_kept) status = problem_open(in, label, kept, n_kept, &p, err);
  for (size_t i = 0; !status && n_kept && i < N_RIDGES; i++) {
    double auc = NAN;
    size_t n_out = 0;
    status = fit(&p, ridges[i], weight, err);
    for (size_t k = fold; !status && k < n_train; k += N_FOLDS) {
      score[n_out] = dot(in->x + train[k] * in->d, weight, in->d);
      truth[n_out++] = label[train[k]];
    }
    if (!status) status = xci_auc(score, truth, n_out, &auc, err);
    sum[i] += isnan(auc) ? 0.5 : auc; /* a fold with one class only tells nothing */
  }
  problem_close(&p);
  xci_free(kept);
  xci_free(weight);
  xci_free(score);
  xci_free(truth);
  return status;
}

/* Fits all training rows with the chosen ridge and scores all rows. */
static xcoder_status score_all(const standard *in, const uint8_t *label, const size_t *train, size_t n_train,
                               double ridge, double *weight, double *score, xcoder_error *err) {
  problem p;
  xcoder_status status = problem_open(in, label, train, n_train, &p, err);
  if (status) return status;
  status = fit(&p, ridge, weight, err);
  for (size_t r = 0; !status && r < in->n_rows; r++) score[r] = dot(in->x + r * in->d, weight, in->d);
  problem_close(&p);
  return status;
}

xcoder_status xci_probe(const float *x, size_t n_rows, size_t d, const uint8_t *label, const size_t *train,
                        size_t n_train, double *score, xcoder_error *err) {
  standard in = {n_rows, d, NULL};
  double *weight = NULL, *scale = NULL, best = -1;
  size_t n_values;
  if (!xci_mul_size(n_rows, d, &n_values)) return xci_fail(err, XCODER_MEMORY, "probe: too many activations");
  xcoder_status status = XCI_ALLOC(&in.x, n_values, err);
  if (!status) status = XCI_ALLOC(&weight, d, err);
  if (!status) status = XCI_ALLOC(&scale, d, err);
  for (int each = 0; !status && each < 2; each++) {
    double sum[N_RIDGES] = {0}, before = best;
    size_t chosen = 0;
    standardise(x, train, n_train, each, &in, scale);
    for (size_t fold = 0; !status && fold < N_FOLDS; fold++)
      status = validate_fold(&in, label, train, n_train, fold, sum, err);
    for (size_t i = 0; i < N_RIDGES; i++) {
      if (!(sum[i] > best)) continue;
      best = sum[i];
      chosen = i;
    }
    if (!status && best > before) /* else the other scaling was better */
      status = score_all(&in, label, train, n_train, ridges[chosen], weight, score, err);
  }
  xci_free(in.x);
  xci_free(weight);
  xci_free(scale);
  return status;
}
