/* SPDX-License-Identifier: Apache-2.0 */
/* The copy of a crosscoder on the device that last used it, and everything that is computed with it: features,
 * reconstructions, projections. Samples go through in blocks, so that memory does not depend on their number. */
#include "base/memory.h"
#include "base/parallel.h"
#include "base/size.h"
#include "compute/cpu/gemm.h"
#include "crosscoder/object.h"
#include <string.h>

enum { BLOCK_SAMPLES = 1024, PROJECT_SAMPLES = 256, PROJECT_LATENTS = 256 };

struct xci_resident {
  xci_guest guest; /* first: the device knows the copy by it */
  xcoder_device *own;    /* opened here when the caller named no device */
  xcoder_device *device; /* the one that holds the copy */
  xci_coder *state;
  float *x;     /* a block of scaled samples */
  float *theta; /* thresholds, or NULL */
  float *score; /* what features are ranked by, or NULL */
};

static void forget(xci_resident *resident) {
  if (resident->state != NULL) resident->device->ops->coder_free(resident->device, resident->state);
  xci_free(resident->x);
  xci_free(resident->theta);
  xci_free(resident->score);
  resident->state = NULL;
  resident->device = NULL;
  resident->x = resident->theta = resident->score = NULL;
}

static void leave_device(xci_guest *guest) { forget((xci_resident *)guest); }

xcoder_status xci_resident_create(xci_resident **resident, xcoder_error *err) {
  xcoder_status status = XCI_ALLOC(resident, 1, err);
  if (!status) (*resident)->guest.leave = leave_device;
  return status;
}

void xci_resident_drop(xci_resident *resident) {
  if (resident->device != NULL) xci_device_leave(resident->device, &resident->guest);
  forget(resident);
}

void xci_resident_free(xci_resident *resident) {
  if (resident == NULL) return;
  xci_resident_drop(resident);
  xcoder_device_close(resident->own);
  xci_free(resident);
}

static xcoder_status fill(const xcoder *coder, xci_resident *resident, xcoder_device *device, xcoder_error *err) {
  const xcoder_info *info = &coder->info;
  xci_coder_shape shape = {info->n_checkpoints, info->d_model, info->n_latents, BLOCK_SAMPLES, false, 0, false};
  resident->device = device;
  xcoder_status status = device->ops->coder_create(device, &shape, &resident->state, err);
  for (int t = 0; t < XCI_N_TENSORS && !status; t++)
    status = device->ops->coder_write(device, resident->state, (xci_coder_tensor)t, XCI_VALUE, coder->weights[t], err);
  if (!status) status = XCI_ALLOC(&resident->x, BLOCK_SAMPLES * info->n_checkpoints * info->d_model, err);
  bool thresholds = xci_coder_has_thresholds(coder), ranked = info->activation == XCODER_TOPK;
  if (!status && thresholds) status = XCI_ALLOC(&resident->theta, info->n_latents, err);
  if (!status && thresholds) status = xci_coder_thresholds(coder, resident->theta, err);
  if (!status && ranked) status = XCI_ALLOC(&resident->score, info->n_latents, err);
  if (!status && ranked) status = xci_coder_scores(coder, resident->score, err);
  return status;
}

/* The copy on `device` (NULL: a processor device of the crosscoder's own), made if it is not there. */
static xcoder_status reside(const xcoder *coder, xcoder_device *device, xcoder_error *err) {
  xci_resident *resident = coder->resident;
  if (device == NULL) {
    if (resident->own == NULL) {
      xcoder_status status = xcoder_device_open("cpu", &resident->own, err);
      if (status) return status;
    }
    device = resident->own;
  }
  if (resident->state != NULL && resident->device == device) return XCODER_OK;
  xci_resident_drop(resident);
  xcoder_status status = fill(coder, resident, device, err);
  if (status)
    forget(resident);
  else
    xci_device_enter(device, &resident->guest);
  return status;
}

/* Scales a block of raw samples into resident->x. A folded crosscoder takes them as they are. */
static const float *scale_block(const xcoder *coder, const float *raw, size_t n_samples) {
  size_t n = coder->info.n_checkpoints, d = coder->info.d_model;
  if (coder->info.folded) return raw;
  float *x = coder->resident->x;
#pragma omp parallel for num_threads(xci_threads())
  for (long long r = 0; r < (long long)(n_samples * n); r++) {
    float s = coder->scales[(size_t)r % n];
    for (size_t k = 0; k < d; k++) x[(size_t)r * d + k] = raw[(size_t)r * d + k] * s;
  }
  return x;
}

/* Encodes one block; the codes are valid until the next call. */
static xcoder_status encode_block(const xcoder *coder, const float *raw, size_t n_samples, xci_codes *codes,
                                  xcoder_error *err) {
  xci_resident *resident = coder->resident;
  xcoder_device *device = resident->device;
  xci_gate gate = {.kind = XCI_GATE_RELU};
  if (resident->score != NULL)
    gate = (xci_gate){.kind = XCI_GATE_TOPK, .k = coder->info.k, .score = resident->score};
  else if (resident->theta != NULL)
    gate = (xci_gate){.kind = XCI_GATE_THRESHOLD, .threshold = resident->theta};
  const float *x = scale_block(coder, raw, n_samples);
  xcoder_status status = device->ops->coder_encode(device, resident->state, x, n_samples, &gate, err);
  if (!status) status = device->ops->coder_codes(device, resident->state, codes, err);
  return status;
}

static xcoder_status encode_dense(const xcoder *coder, xcoder_device *device, const float *activations,
                                  size_t n_samples, float *features, xcoder_error *err) {
  size_t row = coder->info.n_checkpoints * coder->info.d_model, n_latents = coder->info.n_latents;
  xcoder_status status = reside(coder, device, err);
  for (size_t first = 0; first < n_samples && !status; first += BLOCK_SAMPLES) {
    size_t count = xci_min_size(BLOCK_SAMPLES, n_samples - first);
    xci_codes codes;
    status = encode_block(coder, activations + first * row, count, &codes, err);
    if (status) break;
    memset(features + first * n_latents, 0, count * n_latents * sizeof *features);
    for (size_t b = 0; b < count; b++)
      for (size_t j = codes.start[b]; j < codes.start[b + 1]; j++)
        features[(first + b) * n_latents + codes.index[j]] = codes.value[j];
  }
  return status;
}

xcoder_status xcoder_encode(const xcoder *coder, xcoder_device *device, const float *activations, size_t n_samples,
                            float *features, xcoder_error *err) {
  xcoder_status status;
  do status = encode_dense(coder, device, activations, n_samples, features, err);
  while (xci_device_replace(device, status, err));
  return status;
}

static xcoder_status append_codes(xcoder_codes *all, size_t capacity[2], size_t first, const xci_codes *block,
                                  xcoder_error *err) {
  size_t old = all->start[first], more = block->start[block->n_samples];
  xcoder_status status = xci_grow((void **)&all->index, &capacity[0], old + more, sizeof *all->index, err);
  if (!status) status = xci_grow((void **)&all->value, &capacity[1], old + more, sizeof *all->value, err);
  if (status) return status;
  if (more > 0) {
    memcpy(all->index + old, block->index, more * sizeof *all->index);
    memcpy(all->value + old, block->value, more * sizeof *all->value);
  }
  for (size_t b = 0; b < block->n_samples; b++) all->start[first + b + 1] = old + block->start[b + 1];
  return XCODER_OK;
}

static xcoder_status encode_lists(const xcoder *coder, xcoder_device *device, const float *activations,
                                  size_t n_samples, xcoder_codes *codes, xcoder_error *err) {
  *codes = (xcoder_codes){.n_samples = n_samples};
  size_t capacity[2] = {0, 0}, row = coder->info.n_checkpoints * coder->info.d_model, n_starts;
  if (!xci_add_size(n_samples, 1, &n_starts)) return xci_fail(err, XCODER_MEMORY, "too many samples");
  xcoder_status status = reside(coder, device, err);
  if (!status) status = XCI_ALLOC(&codes->start, n_starts, err);
  if (!status) status = xci_grow((void **)&codes->index, &capacity[0], 1, sizeof *codes->index, err);
  if (!status) status = xci_grow((void **)&codes->value, &capacity[1], 1, sizeof *codes->value, err);
  for (size_t first = 0; first < n_samples && !status; first += BLOCK_SAMPLES) {
    xci_codes block;
    status = encode_block(coder, activations + first * row, xci_min_size(BLOCK_SAMPLES, n_samples - first), &block,
                          err);
    if (!status) status = append_codes(codes, capacity, first, &block, err);
  }
  if (status) xcoder_codes_free(codes);
  return status;
}

xcoder_status xcoder_encode_sparse(const xcoder *coder, xcoder_device *device, const float *activations,
                                   size_t n_samples, xcoder_codes *codes, xcoder_error *err) {
  xcoder_status status;
  do status = encode_lists(coder, device, activations, n_samples, codes, err);
  while (xci_device_replace(device, status, err));
  return status;
}

void xcoder_codes_free(xcoder_codes *codes) {
  if (codes == NULL) return;
  xci_free(codes->start);
  xci_free(codes->index);
  xci_free(codes->value);
  *codes = (xcoder_codes){0};
}

static xcoder_status check_codes(const xcoder_codes *codes, size_t n_latents, xcoder_error *err) {
  if (codes->n_samples > 0 && codes->start[0] != 0) return xci_fail(err, XCODER_USAGE, "decode: start[0] is not 0");
  for (size_t b = 0; b < codes->n_samples; b++) {
    size_t from = codes->start[b], to = codes->start[b + 1];
    if (to < from || to - from > n_latents)
      return xci_fail(err, XCODER_USAGE, "decode: sample %zu: has no valid range of codes", b);
    for (size_t j = from; j < to; j++)
      if (codes->index[j] >= n_latents || (j > from && codes->index[j] <= codes->index[j - 1]))
        return xci_fail(err, XCODER_USAGE, "decode: sample %zu: feature %lu is out of range or out of order", b,
                        (unsigned long)codes->index[j]);
  }
  return XCODER_OK;
}

static void unscale_block(const xcoder *coder, float *xhat, size_t n_samples) {
  size_t n = coder->info.n_checkpoints, d = coder->info.d_model;
  if (coder->info.folded) return;
#pragma omp parallel for num_threads(xci_threads())
  for (long long r = 0; r < (long long)(n_samples * n); r++) {
    float s = coder->scales[(size_t)r % n];
    for (size_t k = 0; k < d; k++) xhat[(size_t)r * d + k] /= s;
  }
}

static xcoder_status decode(const xcoder *coder, xcoder_device *device, const xcoder_codes *codes, float *activations,
                            xcoder_error *err) {
  size_t start[BLOCK_SAMPLES + 1], row = coder->info.n_checkpoints * coder->info.d_model;
  xcoder_status status = check_codes(codes, coder->info.n_latents, err);
  if (!status) status = reside(coder, device, err);
  for (size_t first = 0; first < codes->n_samples && !status; first += BLOCK_SAMPLES) {
    size_t count = xci_min_size(BLOCK_SAMPLES, codes->n_samples - first), offset = codes->start[first];
    for (size_t b = 0; b <= count; b++) start[b] = codes->start[first + b] - offset;
    xci_codes block = {count, start, codes->index + offset, codes->value + offset};
    xcoder_device *used = coder->resident->device;
    status = used->ops->coder_set_codes(used, coder->resident->state, &block, err);
    if (!status) status = used->ops->coder_decode(used, coder->resident->state, activations + first * row, err);
    if (!status) unscale_block(coder, activations + first * row, count);
  }
  return status;
}

xcoder_status xcoder_decode(const xcoder *coder, xcoder_device *device, const xcoder_codes *codes, float *activations,
                            xcoder_error *err) {
  xcoder_status status;
  do status = decode(coder, device, codes, activations, err);
  while (xci_device_replace(device, status, err));
  return status;
}

/* ---- Projection ---- */

/* columns[k, j] = W_enc[c, j, latents[k]] */
static void gather_columns(const xcoder *coder, size_t c, const uint32_t *latents, size_t n_chosen, float *columns) {
  size_t d = coder->info.d_model, n_latents = coder->info.n_latents;
  const float *w = coder->weights[XCI_W_ENC] + c * d * n_latents;
  for (size_t j = 0; j < d; j++)
    for (size_t k = 0; k < n_chosen; k++) columns[k * d + j] = w[j * n_latents + latents[k]];
}

/* One checkpoint and one block of features for all samples. */
static void project_block(const xcoder *coder, size_t c, const float *activations, size_t n_samples,
                          const float *columns, size_t first_chosen, size_t n_block, size_t n_chosen, float *products,
                          float *out) {
  size_t n = coder->info.n_checkpoints, d = coder->info.d_model;
  float s = coder->info.folded ? 1.0f : coder->scales[c];
  for (size_t first = 0; first < n_samples; first += PROJECT_SAMPLES) {
    size_t count = xci_min_size(PROJECT_SAMPLES, n_samples - first);
    xci_gemm(false, true, count, n_block, d, s, activations + (first * n + c) * d, n * d, columns, d, 0.0f, products,
             n_block);
    for (size_t b = 0; b < count; b++)
      for (size_t k = 0; k < n_block; k++)
        out[((first + b) * n_chosen + first_chosen + k) * n + c] = products[b * n_block + k];
  }
}

xcoder_status xcoder_project(const xcoder *coder, const float *activations, size_t n_samples, const uint32_t *latents,
                             size_t n_chosen, float *out, xcoder_error *err) {
  const xcoder_info *info = &coder->info;
  float *columns = NULL, *products = NULL;
  for (size_t k = 0; k < n_chosen; k++)
    if (latents[k] >= info->n_latents)
      return xci_fail(err, XCODER_USAGE, "project: feature %lu, expected less than %zu", (unsigned long)latents[k],
                      info->n_latents);
  xci_blas_prepare();
  xcoder_status status = XCI_ALLOC(&columns, PROJECT_LATENTS * info->d_model, err);
  if (!status) status = XCI_ALLOC(&products, (size_t)PROJECT_SAMPLES * PROJECT_LATENTS, err);
  for (size_t k = 0; k < n_chosen && !status; k += PROJECT_LATENTS)
    for (size_t c = 0; c < info->n_checkpoints; c++) {
      size_t n_block = xci_min_size(PROJECT_LATENTS, n_chosen - k);
      gather_columns(coder, c, latents + k, n_block, columns);
      project_block(coder, c, activations, n_samples, columns, k, n_block, n_chosen, products, out);
    }
  xci_free(columns);
  xci_free(products);
  return status;
}
