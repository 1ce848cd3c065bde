/* SPDX-License-Identifier: Apache-2.0 */
/* Ridge regression of labels on centred and scaled activations. */
#include "analysis/probe.h"

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

/* Weights [d] of the ridge regression of +-1 labels (centred) on the training rows. */
static xcoder_status fit(const standard *in, const uint8_t *label, const size_t *train, size_t n_train, double ridge,
                         double *weight, xcoder_error *err) {
  const bool dual = n_train < in->d;
  const size_t m = dual ? n_train : in->d, d = in->d;
  double *gram = NULL, *side = NULL, mean = 0;
  xcoder_status status = XCI_ALLOC(&gram, m * m, err);
  if (!status) status = XCI_ALLOC(&side, m, err);
  if (status) goto done;
  for (size_t k = 0; k < n_train; k++) mean += label[train[k]] ? 1 : -1;
  mean /= (double)n_train;
  fill_gram(in, train, n_train, dual, gram, m);
  /* The mean diagonal of X^T X is n_train (standardised inputs), so `ridge` is relative to it. */
  for (size_t i = 0; i < m; i++) gram[i * m + i] += ridge * (double)n_train;
  for (size_t k = 0; k < n_train; k++) {
    const double target = (label[train[k]] ? 1 : -1) - mean;
    if (dual) side[k] = target;
    else
      for (size_t j = 0; j < d; j++) side[j] += target * in->x[train[k] * d + j];
  }
  status = xci_solve_spd(gram, side, m, err);
  if (status) goto done;
  for (size_t j = 0; j < d; j++) weight[j] = dual ? 0 : side[j];
  if (dual)
    for (size_t k = 0; k < n_train; k++)
      for (size_t j = 0; j < d; j++) weight[j] += side[k] * in->x[train[k] * d + j];
done:
  xci_free(gram);
  xci_free(side);
  return status;
}

enum { N_FOLDS = 4 };

/* Mean area under the curve over the folds; fold f leaves out every fourth training row. */
static xcoder_status cross_validate(const standard *in, const uint8_t *label, const size_t *train, size_t n_train,
                                    double ridge, double *mean_auc, xcoder_error *err) {
  size_t *kept = NULL, n_folds = 0;
  double *weight = NULL, *score = NULL, sum = 0;
  uint8_t *truth = NULL;
  xcoder_status status = XCI_ALLOC(&kept, n_train, err);
  if (!status) status = XCI_ALLOC(&weight, in->d, err);
  if (!status) status = XCI_ALLOC(&score, n_train, err);
  if (!status) status = XCI_ALLOC(&truth, n_train, err);
  for (size_t fold = 0; !status && fold < N_FOLDS; fold++) {
    size_t n_kept = 0, n_out = 0;
    double auc;
    for (size_t k = 0; k < n_train; k++)
      if (k % N_FOLDS != fold) kept[n_kept++] = train[k];
    if (n_kept == 0) continue;
    status = fit(in, label, kept, n_kept, ridge, weight, err);
    for (size_t k = fold; !status && k < n_train; k += N_FOLDS) {
      score[n_out] = dot(in->x + train[k] * in->d, weight, in->d);
      truth[n_out++] = label[train[k]];
    }
    if (!status) status = xci_auc(score, truth, n_out, &auc, err);
    if (status || isnan(auc)) continue;
    sum += auc;
    n_folds++;
  }
  *mean_auc = n_folds ? sum / (double)n_folds : NAN;
  xci_free(kept);
  xci_free(weight);
  xci_free(score);
  xci_free(truth);
  return status;
}

xcoder_status xci_probe(const float *x, size_t n_rows, size_t d, const uint8_t *label, const size_t *train,
                        size_t n_train, double *score, xcoder_error *err) {
  static const double ridges[] = {100, 10, 1, 0.1, 0.01, 0.001};
  standard in = {n_rows, d, NULL};
  double *weight = NULL, *scale = NULL, best = -1;
  size_t n_values;
  if (!xci_mul_size(n_rows, d, &n_values)) return xci_fail(err, XCODER_MEMORY, "probe: too many activations");
  xcoder_status status = XCI_ALLOC(&in.x, n_values, err);
  if (!status) status = XCI_ALLOC(&weight, d, err);
  if (!status) status = XCI_ALLOC(&scale, d, err);
  for (int each = 0; !status && each < 2; each++) {
    double best_ridge = 0;
    standardise(x, train, n_train, each, &in, scale);
    for (size_t i = 0; !status && i < sizeof ridges / sizeof *ridges; i++) {
      double auc = NAN;
      status = cross_validate(&in, label, train, n_train, ridges[i], &auc, err);
      if (status || !(auc > best)) continue;
      best = auc;
      best_ridge = ridges[i];
    }
    if (status || (best_ridge == 0 && (each || best >= 0))) continue; /* the other scaling was better */
    status = fit(&in, label, train, n_train, best_ridge > 0 ? best_ridge : 1, weight, err);
    for (size_t r = 0; !status && r < n_rows; r++) score[r] = dot(in.x + r * d, weight, d);
  }
  xci_free(in.x);
  xci_free(weight);
  xci_free(scale);
  return status;
}
