/* SPDX-License-Identifier: Apache-2.0 */
/* The checked setting, folded decoder, and stretches of sequences with their activations and codes. */
#include "analysis/workbench.h"

#include "base/memory.h"
#include "base/size.h"
#include "harvest/harvest.h"
#include <math.h>
#include <string.h>

static xcoder_status check_models(const xcoder_setting *setting, const xcoder_info *info, xcoder_error *err) {
  for (size_t c = 0; c < info->n_checkpoints; c++) {
    if (!setting->models[c]) return xci_fail(err, XCODER_USAGE, "checkpoint %s: no model was given", info->labels[c]);
    const xcoder_model_info *model = xcoder_model_describe(setting->models[c]);
    if (model->d_model != info->d_model)
      return xci_fail(err, XCODER_MISMATCH, "checkpoint %s: the model has width %zu, the crosscoder %zu",
                      info->labels[c], model->d_model, info->d_model);
    if (info->layer < -1 || info->layer >= (long)model->n_layers)
      return xci_fail(err, XCODER_USAGE, "checkpoint %s: layer %ld does not exist, the model has layers -1 to %zu",
                      info->labels[c], info->layer, model->n_layers - 1);
  }
  return XCODER_OK;
}

xcoder_status xci_bench_open(const xcoder_setting *setting, xci_bench *bench, xcoder_error *err) {
  *bench = (xci_bench){.setting = setting};
  if (!setting->coder || !setting->models)
    return xci_fail(err, XCODER_USAGE, "an analysis needs a crosscoder and the models of its checkpoints");
  const xcoder_status status = check_models(setting, xcoder_describe(setting->coder), err);
  return status ? status : xci_bench_open_coder(setting, bench, err);
}

xcoder_status xci_bench_open_coder(const xcoder_setting *setting, xci_bench *bench, xcoder_error *err) {
  size_t n_values;
  *bench = (xci_bench){.setting = setting};
  if (!setting->coder) return xci_fail(err, XCODER_USAGE, "an analysis needs a crosscoder");
  const xcoder_info *info = xcoder_describe(setting->coder);
  bench->info = info;
  bench->n = info->n_checkpoints;
  bench->d_model = info->d_model;
  bench->n_latents = info->n_latents;
  /* The accessor also serves writers; nothing is written through these pointers. */
  xcoder *coder = (xcoder *)setting->coder;
  bench->w_enc = xcoder_weights(coder, XCODER_W_ENC, &n_values);
  bench->w_dec = xcoder_weights(coder, XCODER_W_DEC, &n_values);
  bench->b_dec = xcoder_weights(coder, XCODER_B_DEC, &n_values);
  for (size_t c = 0; c < bench->n; c++) {
    bench->scale[c] = info->scales[c];
    bench->unit[c] = info->folded ? 1 : 1 / info->scales[c];
  }
  return XCODER_OK;
}

const float *xci_bench_decoder(const xci_bench *bench, size_t feature, size_t checkpoint) {
  return bench->w_dec + (feature * bench->n + checkpoint) * bench->d_model;
}

xcoder_status xci_bench_norms(const xci_bench *bench, double **norms, xcoder_error *err) {
  const size_t n = bench->n;
  const xcoder_status status = XCI_ALLOC(norms, bench->n_latents * n, err);
  if (status) return status;
  for (size_t i = 0; i < bench->n_latents; i++)
    for (size_t c = 0; c < n; c++) {
      const float *w = xci_bench_decoder(bench, i, c);
      (*norms)[i * n + c] = sqrt(xci_dot(w, w, bench->d_model)) * (double)bench->unit[c] * (double)bench->scale[c];
    }
  return XCODER_OK;
}

bool xci_bench_masked(const xci_bench *bench, size_t position) {
  return position == 0 && !bench->info->mask.keep_first;
}

double xci_dot(const float *x, const float *y, size_t n) {
  double sum[4] = {0}; /* four chains, because additions wait for each other */
  size_t i = 0;
  for (; i + 4 <= n; i += 4)
    for (size_t k = 0; k < 4; k++) sum[k] += (double)x[i + k] * (double)y[i + k];
  for (; i < n; i++) sum[0] += (double)x[i] * (double)y[i];
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/* ---- Stretches ---- */

void xci_stretch_close(xci_stretch *stretch) {
  xci_free(stretch->start);
  xci_free(stretch->hidden);
  xci_free(stretch->row);
  xcoder_codes_free(&stretch->codes);
  xci_free(stretch->decoded);
  *stretch = (xci_stretch){0};
}

static xcoder_status find_unmasked(const xci_bench *bench, xci_stretch *s, xcoder_error *err) {
  const xcoder_status status = XCI_ALLOC(&s->row, s->n_rows, err);
  if (status) return status;
  for (size_t q = 0; q < s->n_sequences; q++)
    for (size_t r = s->start[q]; r < s->start[q + 1]; r++)
      if (!xci_bench_masked(bench, r - s->start[q])) s->row[s->n_unmasked++] = r;
  return XCODER_OK;
}

/* Codes of the unmasked rows. They are moved together into `kept` for the encoder. */
static xcoder_status encode(const xci_bench *bench, xci_stretch *s, xci_stretch_parts parts, xcoder_error *err) {
  const size_t width = bench->n * bench->d_model;
  const xcoder_setting *setting = bench->setting;
  float *kept = NULL;
  xcoder_status status = find_unmasked(bench, s, err);
  if (!status) status = XCI_ALLOC(&kept, s->n_unmasked * width, err);
  if (status) return status;
  for (size_t k = 0; k < s->n_unmasked; k++)
    memcpy(kept + k * width, s->hidden + s->row[k] * width, width * sizeof *kept);
  if (s->n_unmasked)
    status = xcoder_encode_sparse(setting->coder, setting->device, kept, s->n_unmasked, &s->codes, err);
  else status = XCI_ALLOC(&s->codes.start, 1, err);
  if (!status && parts >= XCI_DECODED) {
    s->decoded = kept;
    if (s->n_unmasked) status = xcoder_decode(setting->coder, setting->device, &s->codes, s->decoded, err);
  } else {
    xci_free(kept);
  }
  return status;
}

static xcoder_status prepare(const xci_bench *bench, const size_t *start, size_t n_sequences, xci_stretch *s,
                             xcoder_error *err) {
  size_t n_values;
  *s = (xci_stretch){.n_sequences = n_sequences, .n_rows = start[n_sequences] - start[0]};
  xcoder_status status = XCI_ALLOC(&s->start, n_sequences + 1, err);
  if (status) return status;
  for (size_t q = 0; q <= n_sequences; q++) s->start[q] = start[q] - start[0];
  if (!xci_mul_size(s->n_rows, bench->n * bench->d_model, &n_values))
    return xci_fail(err, XCODER_MEMORY, "activations of %zu positions are too many", s->n_rows);
  return XCI_ALLOC(&s->hidden, n_values, err);
}

xcoder_status xci_stretch_open(const xci_bench *bench, const xcoder_tokens *tokens, size_t first, size_t count,
                               xci_stretch_parts parts, xci_stretch *s, xcoder_error *err) {
  const size_t *start = xcoder_tokens_start(tokens) + first;
  xcoder_status status = prepare(bench, start, count, s, err);
  if (!status) {
    s->ids = xcoder_tokens_ids(tokens) + start[0];
    status = xci_harvest_sequences(bench->setting->models, bench->n, bench->info->layer, tokens, first, count,
                                   s->hidden, err);
  }
  if (!status && parts >= XCI_CODES) status = encode(bench, s, parts, err);
  if (status) xci_stretch_close(s);
  return status;
}

xcoder_status xci_stretch_from(const xci_bench *bench, const size_t *start, size_t n_sequences, const float *hidden,
                               xci_stretch_parts parts, xci_stretch *s, xcoder_error *err) {
  xcoder_status status = prepare(bench, start, n_sequences, s, err);
  if (!status) {
    memcpy(s->hidden, hidden, s->n_rows * bench->n * bench->d_model * sizeof *hidden);
    if (parts >= XCI_CODES) status = encode(bench, s, parts, err);
  }
  if (status) xci_stretch_close(s);
  return status;
}

void xci_stretch_take(const xci_bench *bench, const xci_stretch *s, size_t checkpoint, float *hidden) {
  const size_t d = bench->d_model;
  for (size_t r = 0; r < s->n_rows; r++)
    memcpy(hidden + r * d, s->hidden + (r * bench->n + checkpoint) * d, d * sizeof *hidden);
}

size_t xci_stretch_fit(const xcoder_tokens *tokens, size_t first, size_t max_rows) {
  const size_t *start = xcoder_tokens_start(tokens), n = xcoder_tokens_sequences(tokens);
  size_t count = 1;
  while (first + count < n && start[first + count + 1] - start[first] <= max_rows) count++;
  return count;
}
