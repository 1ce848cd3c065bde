/* SPDX-License-Identifier: Apache-2.0 */
/* Explained variance of a batch, in both conventions (METHOD section 4). Every sum has a fixed order. */
#include "base/memory.h"
#include "base/parallel.h"
#include "base/size.h"
#include "crosscoder/trainer.h"
#include <math.h>
#include <string.h>

enum { COLUMNS = 64 }; /* of one task of the mean: a few cache lines */

xcoder_status xci_spread_create(size_t n_checkpoints, size_t d_model, size_t max_samples, xci_spread *spread,
                                xcoder_error *err) {
  *spread = (xci_spread){n_checkpoints, d_model, max_samples, NULL, NULL, NULL};
  xcoder_status status = XCI_ALLOC(&spread->mean, n_checkpoints * d_model, err);
  if (!status) status = XCI_ALLOC(&spread->error, max_samples * n_checkpoints, err);
  if (!status) status = XCI_ALLOC(&spread->variance, max_samples * n_checkpoints, err);
  if (status) xci_spread_free(spread);
  return status;
}

void xci_spread_free(xci_spread *spread) {
  xci_free(spread->mean);
  xci_free(spread->error);
  xci_free(spread->variance);
  *spread = (xci_spread){0};
}

static void find_mean(xci_spread *spread, const float *x, size_t n_samples) {
  size_t row = spread->n_checkpoints * spread->d_model;
  double *mean = spread->mean;
#pragma omp parallel for num_threads(xci_threads())
  for (long long block = 0; block < (long long)xci_ceil_div(row, COLUMNS); block++) {
    size_t from = (size_t)block * COLUMNS, to = xci_min_size(from + COLUMNS, row);
    memset(mean + from, 0, (to - from) * sizeof *mean);
    for (size_t b = 0; b < n_samples; b++)
      for (size_t j = from; j < to; j++) mean[j] += (double)x[b * row + j];
    for (size_t j = from; j < to; j++) mean[j] /= (double)n_samples;
  }
}

static void find_distances(xci_spread *spread, const float *x, const float *xhat, size_t n_samples) {
  size_t n = spread->n_checkpoints, d = spread->d_model;
#pragma omp parallel for num_threads(xci_threads())
  for (long long r = 0; r < (long long)(n_samples * n); r++) {
    const float *from = x + (size_t)r * d, *to = xhat + (size_t)r * d;
    const double *mean = spread->mean + (size_t)r % n * d;
    double error = 0, variance = 0;
    for (size_t k = 0; k < d; k++) {
      double e = (double)from[k] - (double)to[k], v = (double)from[k] - mean[k];
      error += e * e;
      variance += v * v;
    }
    spread->error[r] = error;
    spread->variance[r] = variance;
  }
}

static double explained(double error, double variance) { return variance > 0 ? 1 - error / variance : NAN; }

void xci_spread_measure(xci_spread *spread, const float *x, const float *xhat, size_t n_samples, xci_quality *quality) {
  size_t n = spread->n_checkpoints, n_spread = 0;
  double error = 0, variance = 0, of_tokens = 0;
  double errors[XCODER_MAX_CHECKPOINTS] = {0}, variances[XCODER_MAX_CHECKPOINTS] = {0};
  find_mean(spread, x, n_samples);
  find_distances(spread, x, xhat, n_samples);
  for (size_t b = 0; b < n_samples; b++) {
    double e = 0, v = 0;
    for (size_t c = 0; c < n; c++) {
      e += spread->error[b * n + c];
      v += spread->variance[b * n + c];
      errors[c] += spread->error[b * n + c];
      variances[c] += spread->variance[b * n + c];
    }
    error += e;
    variance += v;
    if (v > 0) of_tokens += 1 - e / v, n_spread++; /* a token on the mean has no ratio */
  }
  quality->reconstruction = error / (double)n_samples;
  quality->ev_pooled = explained(error, variance);
  quality->ev_mean = n_spread > 0 ? of_tokens / (double)n_spread : NAN;
  for (size_t c = 0; c < n; c++) quality->ev_checkpoint[c] = explained(errors[c], variances[c]);
}
