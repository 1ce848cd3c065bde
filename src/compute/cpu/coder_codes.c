/* SPDX-License-Identifier: Apache-2.0 */
/* Sparse codes: the host's view of them, codes that the host gives, decoding. */
#include "base/parallel.h"
#include "base/size.h"
#include "compute/cpu/coder.h"
#include <string.h>

static xcoder_status check_codes(const xci_coder *coder, xcoder_error *err) {
  return coder->has_codes ? XCODER_OK : xci_fail(err, XCODER_USAGE, "crosscoder: no batch has been encoded");
}

xcoder_status xci_cpu_coder_codes(xcoder_device *device, xci_coder *coder, xci_codes *codes, xcoder_error *err) {
  (void)device;
  *codes = (xci_codes){0};
  xcoder_status status = check_codes(coder, err);
  if (!status)
    *codes = (xci_codes){coder->n_samples, coder->codes.start.memory, coder->codes.index.memory,
                         coder->codes.value.memory};
  return status;
}

static xcoder_status check_host_codes(const xci_coder *coder, const xci_codes *codes, xcoder_error *err) {
  if (codes->n_samples > coder->shape.max_batch)
    return xci_fail(err, XCODER_USAGE, "crosscoder: codes of %zu samples, opened for at most %zu", codes->n_samples,
                    coder->shape.max_batch);
  for (size_t b = 0; b < codes->n_samples; b++) {
    if (codes->start[b + 1] < codes->start[b])
      return xci_fail(err, XCODER_USAGE, "crosscoder: codes of sample %zu end before they start", b);
    for (size_t p = codes->start[b]; p < codes->start[b + 1]; p++)
      if (codes->index[p] >= coder->shape.n_latents ||
          (p > codes->start[b] && codes->index[p] <= codes->index[p - 1]))
        return xci_fail(err, XCODER_USAGE, "crosscoder: sample %zu has latent %lu, expected ascending numbers below "
                        "%zu", b, (unsigned long)codes->index[p], coder->shape.n_latents);
  }
  return XCODER_OK;
}

xcoder_status xci_cpu_coder_set_codes(xcoder_device *device, xci_coder *coder, const xci_codes *codes,
                                      xcoder_error *err) {
  (void)device;
  xcoder_status status = check_host_codes(coder, codes, err);
  if (status) return status;
  size_t n = codes->n_samples, total = n ? codes->start[n] - codes->start[0] : 0;
  coder->has_codes = coder->has_lists = coder->has_gradient = coder->has_near = coder->is_ranked = false;
  status = xci_reserve(&coder->codes.start, n + 1, sizeof(size_t), err);
  if (!status) status = xci_reserve(&coder->codes.index, total, sizeof(uint32_t), err);
  if (!status) status = xci_reserve(&coder->codes.value, total, sizeof(float), err);
  if (status) return status;
  if (coder->n_samples != n) coder->has_x = false; /* codes without a batch can still be decoded */
  coder->n_samples = n;
  coder->n_rows = xci_ceil_div(n, XCI_STRIP) * XCI_STRIP;
  size_t *start = coder->codes.start.memory, kept = 0;
  uint32_t *index = coder->codes.index.memory;
  float *value = coder->codes.value.memory;
  start[0] = 0;
  for (size_t b = 0; b < n; b++) {
    for (size_t p = codes->start[b]; p < codes->start[b + 1]; p++) {
      if (codes->value[p] == 0) continue;
      index[kept] = codes->index[p];
      value[kept++] = codes->value[p];
    }
    start[b + 1] = kept;
  }
  coder->has_codes = true;
  return XCODER_OK;
}

/* ---- Decoding ---- */

xcoder_status xci_cpu_coder_decode(xcoder_device *device, xci_coder *coder, float *xhat, xcoder_error *err) {
  (void)device;
  xcoder_status status = check_codes(coder, err);
  size_t width = coder->width, d = coder->shape.d_model, row_values = coder->shape.n_checkpoints * d;
  if (!status)
    status = xci_reserve_threads(&coder->scratch, &coder->n_scratch, coder->n_rows * width, sizeof(float), err);
  if (status) return status;
  xci_lists codes = xci_coder_by_sample(coder);
#pragma omp parallel for schedule(dynamic, 1) num_threads(xci_threads())
  for (size_t t = 0; t < coder->n_tiles; t++) {
    size_t first = t % coder->tiles_per_checkpoint * width, n = xci_min_size(width, d - first);
    float *r = coder->scratch[xci_thread_index()].memory, *to = xhat + t / coder->tiles_per_checkpoint * d + first;
    coder->kernels->decode(width, coder->n_samples, &codes,
                           xci_coder_tile(coder, coder->tensor[XCI_W_DEC][XCI_VALUE], t, coder->shape.n_latents),
                           coder->tensor[XCI_B_DEC][XCI_VALUE] + t * width, NULL, r);
    for (size_t b = 0; b < coder->n_samples; b++) memcpy(to + b * row_values, r + b * width, n * sizeof *to);
  }
  return XCODER_OK;
}

xcoder_status xci_cpu_coder_window(xcoder_device *device, xci_coder *coder, const uint16_t *samples, size_t n_rows,
                                   const float *scales, xcoder_error *err) {
  (void)device;
  return xci_host_window(&coder->samples, &coder->shape, samples, n_rows, scales, err);
}

xcoder_status xci_cpu_coder_encode_rows(xcoder_device *device, xci_coder *coder, const uint32_t *row,
                                        size_t n_samples, const xci_gate *gate, xcoder_error *err) {
  const float *x;
  xcoder_status status = xci_host_gather(&coder->samples, &coder->shape, row, n_samples, &x, err);
  return status ? status : xci_cpu_coder_encode(device, coder, x, n_samples, gate, err);
}

xcoder_status xci_cpu_coder_mark(xcoder_device *device, xci_coder *coder, uint32_t stamp, xcoder_error *err) {
  xci_codes codes;
  xcoder_status status = xci_cpu_coder_codes(device, coder, &codes, err);
  return status ? status : xci_host_mark(&coder->samples, &coder->shape, &codes, stamp, err);
}

xcoder_status xci_cpu_coder_marks(xcoder_device *device, xci_coder *coder, uint32_t *marks, xcoder_error *err) {
  (void)device;
  xcoder_status status = xci_host_mark(&coder->samples, &coder->shape, NULL, 0, err);
  if (!status) memcpy(marks, coder->samples.mark, coder->shape.n_latents * sizeof *marks);
  return status;
}
