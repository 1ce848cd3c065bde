/* SPDX-License-Identifier: Apache-2.0 */
/* The scale of each checkpoint: sqrt(d) over the mean norm of its activations. */
#include "harvest/source.h"

#include "base/half.h"
#include "base/memory.h"
#include "base/size.h"
#include <math.h>

enum { CHUNK_SAMPLES = 512, MIN_SAMPLES = 4096 };
static const double wanted_error = 1e-3; /* METHOD section 1: standard error of the mean norm, relative */

typedef struct norm_sums {
  uint64_t n;
  double sum[XCODER_MAX_CHECKPOINTS], squares[XCODER_MAX_CHECKPOINTS];
} norm_sums;

static double norm_of(const uint16_t *x, size_t d) {
  double sum = 0;
  for (size_t j = 0; j < d; j++) {
    double value = (double)xci_bf16_to_f32(x[j]);
    sum += value * value;
  }
  return sqrt(sum);
}

static void add_chunk(norm_sums *sums, const uint16_t *samples, size_t count, size_t n_checkpoints, size_t d) {
  for (size_t i = 0; i < count; i++)
    for (size_t c = 0; c < n_checkpoints; c++) {
      double norm = norm_of(samples + (i * n_checkpoints + c) * d, d);
      sums->sum[c] += norm;
      sums->squares[c] += norm * norm;
    }
  sums->n += count;
}

/* The largest relative standard error of the means; infinite for a single sample. */
static double relative_error_of(const norm_sums *sums, size_t n_checkpoints) {
  double largest = 0, n = (double)sums->n;
  if (sums->n < 2) return INFINITY;
  for (size_t c = 0; c < n_checkpoints; c++) {
    double mean = sums->sum[c] / n;
    double variance = fmax(0, (sums->squares[c] - n * mean * mean) / (n - 1));
    largest = fmax(largest, sqrt(variance / n) / mean);
  }
  return largest;
}

static xcoder_status finish(const norm_sums *sums, size_t n_checkpoints, size_t d, float *scales, xcoder_error *err) {
  for (size_t c = 0; c < n_checkpoints; c++) {
    double mean = sums->sum[c] / (double)sums->n;
    if (!isfinite(mean))
      return xci_fail(err, XCODER_DIVERGED, "activations of checkpoint %zu are not finite", c);
    if (!(mean > 0)) return xci_fail(err, XCODER_MISMATCH, "all activations of checkpoint %zu are 0", c);
    scales[c] = (float)(sqrt((double)d) / mean);
  }
  return XCODER_OK;
}

static void report(const xcoder_monitor *monitor, uint64_t done, uint64_t total) {
  const xcoder_progress progress = {.stage = "scales", .unit = "samples", .done = done, .total = total};
  if (monitor && monitor->progress) monitor->progress(monitor->context, &progress);
}

xcoder_status xcoder_source_scales(xcoder_source *source, float *scales, double *relative_error,
                                   const xcoder_monitor *monitor, xcoder_error *err) {
  const size_t n = source->n_checkpoints, d = source->d_model;
  const uint64_t most = source->scale_samples;
  norm_sums sums = {0};
  uint16_t *samples = NULL;
  double error = INFINITY;
  xcoder_status status = XCI_ALLOC(&samples, CHUNK_SAMPLES * n * d, err);
  source->monitor = monitor;
  while (!status && sums.n < most && (sums.n < MIN_SAMPLES || !(error < wanted_error))) {
    size_t count = most - sums.n < CHUNK_SAMPLES ? (size_t)(most - sums.n) : CHUNK_SAMPLES;
    if (monitor && monitor->stop && *monitor->stop) status = xci_fail(err, XCODER_INTERRUPTED, "stopped");
    else status = xcoder_source_read(source, sums.n, count, samples, err);
    if (status) break;
    add_chunk(&sums, samples, count, n, d);
    error = relative_error_of(&sums, n);
    report(monitor, sums.n, most);
  }
  source->monitor = NULL;
  if (!status) status = finish(&sums, n, d, scales, err);
  if (!status && relative_error) *relative_error = error;
  xci_free(samples);
  return status;
}
