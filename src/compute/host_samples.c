/* SPDX-License-Identifier: Apache-2.0 */
/* Windows of samples and marks of latents in the host's memory. */
#include "compute/host_samples.h"

#include "base/half.h"
#include "base/memory.h"
#include "base/parallel.h"
#include <string.h>

xcoder_status xci_check_rows(const xci_coder_shape *shape, size_t n_rows, const uint32_t *row, size_t n_samples,
                             xcoder_error *err) {
  if (n_samples > shape->max_batch)
    return xci_fail(err, XCODER_USAGE, "crosscoder: a batch of %zu samples, opened for at most %zu", n_samples,
                    shape->max_batch);
  for (size_t b = 0; b < n_samples; b++)
    if (row[b] >= n_rows)
      return xci_fail(err, XCODER_USAGE, "crosscoder: row %lu of a window of %zu", (unsigned long)row[b], n_rows);
  return XCODER_OK;
}

xcoder_status xci_host_window(xci_host_samples *samples, const xci_coder_shape *shape, const uint16_t *window,
                              size_t n_rows, const float *scales, xcoder_error *err) {
  xcoder_status status = XCODER_OK;
  samples->window = NULL;
  samples->n_rows = 0;
  if (samples->scale == NULL) status = XCI_ALLOC(&samples->scale, shape->n_checkpoints, err);
  if (!status && samples->x == NULL)
    status = XCI_ALLOC(&samples->x, shape->max_batch * shape->n_checkpoints * shape->d_model, err);
  if (status) return status;
  memcpy(samples->scale, scales, shape->n_checkpoints * sizeof *scales);
  samples->window = window;
  samples->n_rows = n_rows;
  return XCODER_OK;
}

xcoder_status xci_host_gather(xci_host_samples *samples, const xci_coder_shape *shape, const uint32_t *row,
                              size_t n_samples, const float **x, xcoder_error *err) {
  size_t n = shape->n_checkpoints, d = shape->d_model;
  xcoder_status status = xci_check_rows(shape, samples->n_rows, row, n_samples, err);
  if (status) return status;
#pragma omp parallel for num_threads(xci_threads())
  for (long long r = 0; r < (long long)(n_samples * n); r++) {
    size_t b = (size_t)r / n, c = (size_t)r % n;
    const uint16_t *from = samples->window + ((size_t)row[b] * n + c) * d;
    for (size_t k = 0; k < d; k++) samples->x[(size_t)r * d + k] = xci_bf16_to_f32(from[k]) * samples->scale[c];
  }
  *x = samples->x;
  return XCODER_OK;
}

xcoder_status xci_host_mark(xci_host_samples *samples, const xci_coder_shape *shape, const xci_codes *codes,
                            uint32_t stamp, xcoder_error *err) {
  xcoder_status status = XCODER_OK;
  if (samples->mark == NULL) status = XCI_ALLOC(&samples->mark, shape->n_latents, err);
  if (status || codes == NULL) return status;
  for (size_t p = codes->start[0]; p < codes->start[codes->n_samples]; p++)
    if (codes->value[p] > 0) samples->mark[codes->index[p]] = stamp;
  return XCODER_OK;
}

void xci_host_samples_free(xci_host_samples *samples) {
  xci_free(samples->scale);
  xci_free(samples->x);
  xci_free(samples->mark);
  *samples = (xci_host_samples){0};
}
