/* SPDX-License-Identifier: Apache-2.0 */
/* The crosscoder in plain double precision loops, everything dense and in file order. */
#include "compute/reference/coder.h"

#include "base/memory.h"
#include "base/size.h"
#include "compute/host_samples.h"
#include <crosscoder/coder.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct xci_coder {
  xci_coder_shape shape;
  xci_host_samples samples;
  size_t n_columns; /* n_checkpoints * d_model */
  size_t n_values[XCI_N_TENSORS];
  double *tensor[XCI_N_TENSORS][4];
  size_t n_samples;
  bool has_x, has_codes, has_gradient;
  bool has_near, is_ranked; /* the gate was JUMP; TOPK or BATCH_TOPK */
  float *threshold; /* [n_latents], of gate JUMP */
  double half_bandwidth;
  double *x, *pre, *f;      /* [max_batch, n_columns], [max_batch, n_latents] twice; f is 0 where not kept */
  size_t *start;            /* host view of the codes */
  uint32_t *index;
  float *value;
  size_t index_capacity, value_capacity;
  double gradient_norm;
};

double *xci_reference_coder_values(xci_coder *coder, xci_coder_tensor tensor, xci_coder_slot slot, size_t *n_values) {
  *n_values = coder->n_values[tensor];
  return coder->tensor[tensor][slot];
}

const double *xci_reference_coder_pre(const xci_coder *coder) { return coder->pre; }
const double *xci_reference_coder_features(const xci_coder *coder) { return coder->f; }

static xcoder_status allocate(xci_coder *coder, xcoder_error *err) {
  const xci_coder_shape *shape = &coder->shape;
  size_t n_latents = shape->n_latents, n_weights, n_features, n_inputs;
  if (!xci_mul_size(shape->n_checkpoints, shape->d_model, &coder->n_columns) ||
      !xci_mul_size(coder->n_columns, n_latents, &n_weights) ||
      !xci_mul_size(shape->max_batch, n_latents, &n_features) ||
      !xci_mul_size(shape->max_batch, coder->n_columns, &n_inputs) || shape->max_batch == SIZE_MAX)
    return xci_fail(err, XCODER_MEMORY, "crosscoder: %zu checkpoints of width %zu with %zu latents exceed the address "
                    "space", shape->n_checkpoints, shape->d_model, n_latents);
  size_t n_values[XCI_N_TENSORS] = {n_weights, n_latents, n_weights, coder->n_columns};
  memcpy(coder->n_values, n_values, sizeof n_values);
  xcoder_status status = XCODER_OK;
  for (int tensor = 0; tensor < XCI_N_TENSORS; tensor++)
    for (int slot = 0; slot < (shape->training ? 4 : 1) && !status; slot++)
      status = XCI_ALLOC(&coder->tensor[tensor][slot], n_values[tensor], err);
  if (!status) status = XCI_ALLOC(&coder->x, n_inputs, err);
  if (!status) status = XCI_ALLOC(&coder->pre, n_features, err);
  if (!status) status = XCI_ALLOC(&coder->f, n_features, err);
  if (!status) status = XCI_ALLOC(&coder->threshold, n_latents, err);
  if (!status) status = XCI_ALLOC(&coder->start, shape->max_batch + 1, err);
  return status;
}

xcoder_status xci_reference_coder_create(xcoder_device *device, const xci_coder_shape *shape, xci_coder **out,
                                         xcoder_error *err) {
  xci_coder *coder = NULL;
  *out = NULL;
  if (shape->n_checkpoints < 1 || shape->n_checkpoints > XCODER_MAX_CHECKPOINTS || shape->d_model < 1 ||
      shape->n_latents < 1 || shape->n_latents > UINT32_MAX || shape->max_batch < 1)
    return xci_fail(err, XCODER_USAGE, "crosscoder: %zu checkpoints (1 to %d) of width %zu with %zu latents, batch %zu",
                    shape->n_checkpoints, XCODER_MAX_CHECKPOINTS, shape->d_model, shape->n_latents, shape->max_batch);
  xcoder_status status = XCI_ALLOC(&coder, 1, err);
  if (status) return status;
  coder->shape = *shape;
  status = allocate(coder, err);
  if (status) xci_reference_coder_free(device, coder);
  else *out = coder;
  return status;
}

void xci_reference_coder_free(xcoder_device *device, xci_coder *coder) {
  (void)device;
  if (coder == NULL) return;
  for (int tensor = 0; tensor < XCI_N_TENSORS; tensor++)
    for (int slot = 0; slot < 4; slot++) xci_free(coder->tensor[tensor][slot]);
  xci_host_samples_free(&coder->samples);
  void *arrays[] = {coder->x, coder->pre, coder->f, coder->start, coder->index, coder->value, coder->threshold,
                    coder};
  for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) xci_free(arrays[i]);
}

static xcoder_status check_slot(const xci_coder *coder, xci_coder_slot slot, xcoder_error *err) {
  if (slot == XCI_VALUE || coder->shape.training) return XCODER_OK;
  return xci_fail(err, XCODER_USAGE, "crosscoder: it was not opened for training and has no moments or gradients");
}

xcoder_status xci_reference_coder_write(xcoder_device *device, xci_coder *coder, xci_coder_tensor tensor,
                                        xci_coder_slot slot, const float *values, xcoder_error *err) {
  (void)device;
  xcoder_status status = check_slot(coder, slot, err);
  if (!status && slot == XCI_GRADIENT) status = xci_fail(err, XCODER_USAGE, "crosscoder: gradients are read only");
  for (size_t i = 0; i < coder->n_values[tensor] && !status; i++) coder->tensor[tensor][slot][i] = (double)values[i];
  return status;
}

xcoder_status xci_reference_coder_read(xcoder_device *device, const xci_coder *coder, xci_coder_tensor tensor,
                                       xci_coder_slot slot, float *values, xcoder_error *err) {
  (void)device;
  xcoder_status status = check_slot(coder, slot, err);
  for (size_t i = 0; i < coder->n_values[tensor] && !status; i++) values[i] = (float)coder->tensor[tensor][slot][i];
  return status;
}

/* ||W_dec[i,c]|| */
static double decoder_norm(const xci_coder *coder, size_t i, size_t c) {
  size_t d = coder->shape.d_model;
  const double *w = coder->tensor[XCI_W_DEC][XCI_VALUE] + i * coder->n_columns + c * d;
  double s = 0;
  for (size_t k = 0; k < d; k++) s += w[k] * w[k];
  return sqrt(s);
}

static double norm_sum(const xci_coder *coder, size_t i) {
  double s = 0;
  for (size_t c = 0; c < coder->shape.n_checkpoints; c++) s += decoder_norm(coder, i, c);
  return s;
}

xcoder_status xci_reference_coder_norms(xcoder_device *device, xci_coder *coder, float *norms, xcoder_error *err) {
  (void)device, (void)err;
  for (size_t i = 0; i < coder->shape.n_latents; i++)
    for (size_t c = 0; c < coder->shape.n_checkpoints; c++)
      norms[i * coder->shape.n_checkpoints + c] = (float)decoder_norm(coder, i, c);
  return XCODER_OK;
}

/* ---- Encoding ---- */

typedef struct scored {
  double score;
  size_t at; /* sample * n_latents + latent */
} scored;

static int compare_scores(const void *a, const void *b) {
  const scored *x = a, *y = b;
  int x_nan = isnan(x->score), y_nan = isnan(y->score);
  if (x_nan != y_nan) return y_nan - x_nan;
  if (x->score != y->score && !x_nan) return x->score < y->score ? 1 : -1;
  return x->at > y->at ? 1 : x->at < y->at ? -1 : 0;
}

/* Zeroes all but the k largest scores of n features starting at `first`. */
static xcoder_status keep_largest(xci_coder *coder, const float *score, size_t first, size_t n, size_t k,
                                  xcoder_error *err) {
  scored *scores;
  size_t m = 0, n_latents = coder->shape.n_latents;
  xcoder_status status = XCI_ALLOC(&scores, n, err);
  if (status) return status;
  for (size_t at = first; at < first + n; at++)
    if (coder->f[at] != 0)
      scores[m++] = (scored){coder->f[at] * (score ? (double)score[at % n_latents] : norm_sum(coder, at % n_latents)),
                             at};
  qsort(scores, m, sizeof *scores, compare_scores);
  for (size_t j = k; j < m; j++) coder->f[scores[j].at] = 0;
  xci_free(scores);
  return XCODER_OK;
}

static void fill_features(xci_coder *coder, const xci_gate *gate) {
  size_t n_latents = coder->shape.n_latents, n_columns = coder->n_columns;
  const double *w_enc = coder->tensor[XCI_W_ENC][XCI_VALUE];
  for (size_t b = 0; b < coder->n_samples; b++) {
    double *pre = coder->pre + b * n_latents, *f = coder->f + b * n_latents;
    memcpy(pre, coder->tensor[XCI_B_ENC][XCI_VALUE], n_latents * sizeof *pre);
    for (size_t k = 0; k < n_columns; k++)
      for (size_t i = 0; i < n_latents; i++) pre[i] += coder->x[b * n_columns + k] * w_enc[k * n_latents + i];
    for (size_t i = 0; i < n_latents; i++) {
      f[i] = pre[i] <= 0 ? 0 : pre[i]; /* NaN stays */
      bool has_threshold = gate->kind == XCI_GATE_THRESHOLD || gate->kind == XCI_GATE_JUMP;
      if (has_threshold && f[i] <= (double)gate->threshold[i]) f[i] = 0;
    }
  }
}

static xcoder_status encode(xci_coder *coder, const xci_gate *gate, xcoder_error *err) {
  size_t n_latents = coder->shape.n_latents, k;
  xcoder_status status = XCODER_OK;
  fill_features(coder, gate);
  coder->has_near = gate->kind == XCI_GATE_JUMP;
  coder->is_ranked = gate->kind == XCI_GATE_TOPK || gate->kind == XCI_GATE_BATCH_TOPK;
  if (coder->has_near) memcpy(coder->threshold, gate->threshold, n_latents * sizeof *coder->threshold);
  coder->half_bandwidth = gate->half_bandwidth;
  if (gate->kind == XCI_GATE_TOPK)
    for (size_t b = 0; b < coder->n_samples && !status; b++)
      status = keep_largest(coder, gate->score, b * n_latents, n_latents, gate->k, err);
  if (gate->kind == XCI_GATE_BATCH_TOPK) {
    if (!xci_mul_size(gate->k, coder->n_samples, &k)) k = SIZE_MAX;
    status = keep_largest(coder, gate->score, 0, coder->n_samples * n_latents, k, err);
  }
  coder->has_x = true;
  coder->has_gradient = false;
  coder->has_codes = !status;
  return status;
}

static xcoder_status check_batch(const xci_coder *coder, size_t n_samples, xcoder_error *err) {
  if (n_samples <= coder->shape.max_batch) return XCODER_OK;
  return xci_fail(err, XCODER_USAGE, "crosscoder: a batch of %zu samples, opened for at most %zu", n_samples,
                  coder->shape.max_batch);
}

xcoder_status xci_reference_coder_encode(xcoder_device *device, xci_coder *coder, const float *x, size_t n_samples,
                                         const xci_gate *gate, xcoder_error *err) {
  (void)device;
  xcoder_status status = check_batch(coder, n_samples, err);
  if (status) return status;
  coder->n_samples = n_samples;
  for (size_t i = 0; i < n_samples * coder->n_columns; i++) coder->x[i] = (double)x[i];
  return encode(coder, gate, err);
}

xcoder_status xci_reference_coder_encode_f64(xci_coder *coder, const double *x, size_t n_samples, const xci_gate *gate,
                                             xcoder_error *err) {
  xcoder_status status = check_batch(coder, n_samples, err);
  if (status) return status;
  coder->n_samples = n_samples;
  memcpy(coder->x, x, n_samples * coder->n_columns * sizeof *x);
  return encode(coder, gate, err);
}

/* ---- Codes ---- */

static xcoder_status check_codes(const xci_coder *coder, xcoder_error *err) {
  return coder->has_codes ? XCODER_OK : xci_fail(err, XCODER_USAGE, "crosscoder: no batch has been encoded");
}

xcoder_status xci_reference_coder_codes(xcoder_device *device, xci_coder *coder, xci_codes *codes, xcoder_error *err) {
  (void)device;
  *codes = (xci_codes){0};
  xcoder_status status = check_codes(coder, err);
  size_t n_latents = coder->shape.n_latents, n = 0;
  for (size_t at = 0; at < coder->n_samples * n_latents && !status; at++) n += coder->f[at] != 0;
  if (!status) status = xci_grow((void **)&coder->index, &coder->index_capacity, n, sizeof *coder->index, err);
  if (!status) status = xci_grow((void **)&coder->value, &coder->value_capacity, n, sizeof *coder->value, err);
  if (status) return status;
  n = 0;
  coder->start[0] = 0;
  for (size_t b = 0; b < coder->n_samples; b++) {
    for (size_t i = 0; i < n_latents; i++)
      if (coder->f[b * n_latents + i] != 0) {
        coder->index[n] = (uint32_t)i;
        coder->value[n++] = (float)coder->f[b * n_latents + i];
      }
    coder->start[b + 1] = n;
  }
  *codes = (xci_codes){coder->n_samples, coder->start, coder->index, coder->value};
  return XCODER_OK;
}

static bool codes_fit(const xci_codes *codes, size_t n_latents) {
  for (size_t b = 0; b < codes->n_samples; b++) {
    if (codes->start[b + 1] < codes->start[b]) return false;
    for (size_t p = codes->start[b]; p < codes->start[b + 1]; p++)
      if (codes->index[p] >= n_latents || (p > codes->start[b] && codes->index[p] <= codes->index[p - 1])) return false;
  }
  return true;
}

xcoder_status xci_reference_coder_window(xcoder_device *device, xci_coder *coder, const uint16_t *samples,
                                         size_t n_rows, const float *scales, xcoder_error *err) {
  (void)device;
  return xci_host_window(&coder->samples, &coder->shape, samples, n_rows, scales, err);
}

xcoder_status xci_reference_coder_encode_rows(xcoder_device *device, xci_coder *coder, const uint32_t *row,
                                              size_t n_samples, const xci_gate *gate, xcoder_error *err) {
  const float *x;
  xcoder_status status = xci_host_gather(&coder->samples, &coder->shape, row, n_samples, &x, err);
  return status ? status : xci_reference_coder_encode(device, coder, x, n_samples, gate, err);
}

xcoder_status xci_reference_coder_mark(xcoder_device *device, xci_coder *coder, uint32_t stamp, xcoder_error *err) {
  xci_codes codes;
  xcoder_status status = xci_reference_coder_codes(device, coder, &codes, err);
  return status ? status : xci_host_mark(&coder->samples, &coder->shape, &codes, stamp, err);
}

xcoder_status xci_reference_coder_marks(xcoder_device *device, xci_coder *coder, uint32_t *marks, xcoder_error *err) {
  (void)device;
  xcoder_status status = xci_host_mark(&coder->samples, &coder->shape, NULL, 0, err);
  if (!status) memcpy(marks, coder->samples.mark, coder->shape.n_latents * sizeof *marks);
  return status;
}

xcoder_status xci_reference_coder_set_codes(xcoder_device *device, xci_coder *coder, const xci_codes *codes,
                                            xcoder_error *err) {
  (void)device;
  xcoder_status status = check_batch(coder, codes->n_samples, err);
  if (!status && !codes_fit(codes, coder->shape.n_latents))
    status = xci_fail(err, XCODER_USAGE, "crosscoder: codes need ascending latents below %zu in every sample",
                      coder->shape.n_latents);
  if (status) return status;
  if (codes->n_samples != coder->n_samples) coder->has_x = false;
  coder->n_samples = codes->n_samples;
  memset(coder->f, 0, coder->n_samples * coder->shape.n_latents * sizeof *coder->f);
  for (size_t b = 0; b < codes->n_samples; b++)
    for (size_t p = codes->start[b]; p < codes->start[b + 1]; p++)
      coder->f[b * coder->shape.n_latents + codes->index[p]] = (double)codes->value[p];
  coder->has_codes = true;
  coder->has_gradient = coder->has_near = coder->is_ranked = false;
  return XCODER_OK;
}

/* xhat of one sample, [n_columns]. */
static void decode_sample(const xci_coder *coder, size_t b, double *xhat) {
  size_t n_latents = coder->shape.n_latents, n_columns = coder->n_columns;
  const double *f = coder->f + b * n_latents, *w_dec = coder->tensor[XCI_W_DEC][XCI_VALUE];
  memcpy(xhat, coder->tensor[XCI_B_DEC][XCI_VALUE], n_columns * sizeof *xhat);
  for (size_t i = 0; i < n_latents; i++)
    if (f[i] != 0)
      for (size_t k = 0; k < n_columns; k++) xhat[k] += f[i] * w_dec[i * n_columns + k];
}

xcoder_status xci_reference_coder_decode(xcoder_device *device, xci_coder *coder, float *xhat, xcoder_error *err) {
  (void)device;
  double *row = NULL;
  xcoder_status status = check_codes(coder, err);
  if (!status) status = XCI_ALLOC(&row, coder->n_columns, err);
  for (size_t b = 0; b < coder->n_samples && !status; b++) {
    decode_sample(coder, b, row);
    for (size_t k = 0; k < coder->n_columns; k++) xhat[b * coder->n_columns + k] = (float)row[k];
  }
  xci_free(row);
  return status;
}

/* ---- Gradient and update ---- */

/* Adds one sample's reconstruction error and gradients; r = xhat - x. */
static void add_sample(xci_coder *coder, size_t b, double l1, const double *r, const double *all_norms,
                       xci_losses *losses) {
  size_t n_latents = coder->shape.n_latents, n_columns = coder->n_columns, d = coder->shape.d_model;
  double n_samples = (double)coder->n_samples, *const *w_enc = coder->tensor[XCI_W_ENC];
  double *const *w_dec = coder->tensor[XCI_W_DEC];
  for (size_t k = 0; k < n_columns; k++) {
    losses->squared_error[k / d] += r[k] * r[k] / n_samples;
    coder->tensor[XCI_B_DEC][XCI_GRADIENT][k] += 2 / n_samples * r[k];
  }
  for (size_t i = 0; i < n_latents; i++) {
    double f = coder->f[b * n_latents + i], norms = 0, df = 0;
    if (f == 0) continue;
    losses->l0 += (f > 0) / n_samples;
    for (size_t c = 0; c < coder->shape.n_checkpoints; c++) {
      double norm = all_norms[i * coder->shape.n_checkpoints + c];
      norms += norm;
      for (size_t k = c * d; k < (c + 1) * d; k++) {
        double w = w_dec[XCI_VALUE][i * n_columns + k];
        df += 2 / n_samples * r[k] * w;
        w_dec[XCI_GRADIENT][i * n_columns + k] += 2 / n_samples * f * r[k];
        if (norm > 0) w_dec[XCI_GRADIENT][i * n_columns + k] += l1 / n_samples * f * w / norm;
      }
    }
    losses->sparsity += f * norms / n_samples;
    df += l1 / n_samples * norms;
    coder->tensor[XCI_B_ENC][XCI_GRADIENT][i] += df;
    for (size_t k = 0; k < n_columns; k++) w_enc[XCI_GRADIENT][k * n_latents + i] += df * coder->x[b * n_columns + k];
  }
}

/* What one sample adds to the gradient of the logarithms of thresholds; r = xhat - x. */
static void add_jump(const xci_coder *coder, size_t b, const xci_objective *o, const double *r, const double *all_norms,
                     double *gradient) {
  size_t n_latents = coder->shape.n_latents, n_columns = coder->n_columns, n = coder->shape.n_checkpoints;
  double n_samples = (double)coder->n_samples;
  for (size_t i = 0; i < n_latents; i++) {
    double pre = coder->pre[b * n_latents + i], df = 0, norm = 0;
    for (size_t c = 0; c < n; c++) norm += all_norms[i * n + c];
    float theta = coder->threshold[i], margin = norm > 0 ? (float)(coder->half_bandwidth / norm) : 0;
    if (!isfinite(margin)) margin = 0;
    float first = theta - margin, last = theta + margin;
    if (!(margin > 0) || !(pre > 0) || !(pre > (double)first) || !(pre <= (double)last)) continue;
    for (size_t k = 0; k < n_columns; k++)
      df += 2 / n_samples * r[k] * coder->tensor[XCI_W_DEC][XCI_VALUE][i * n_columns + k];
    df += o->l1_coefficient / n_samples * norm;
    gradient[i] -= (double)theta / (2 * (double)margin) * ((double)theta * df + o->l0_coefficient / n_samples);
  }
}

/* ---- The auxiliary term ---- */

typedef struct auxiliary {
  double *e;     /* [n_samples, n_columns] */
  double *r;     /* [n_columns]: reconstruction of e, minus e */
  double *f;     /* [n_dead], 0 where not chosen */
  double variance;
} auxiliary;

static xcoder_status find_residual(const xci_coder *coder, auxiliary *a, xcoder_error *err) {
  size_t n_columns = coder->n_columns;
  double *mean = NULL;
  xcoder_status status = XCI_ALLOC(&mean, n_columns, err);
  if (status) return status;
  for (size_t b = 0; b < coder->n_samples; b++) {
    double *e = a->e + b * n_columns;
    decode_sample(coder, b, e);
    for (size_t k = 0; k < n_columns; k++) {
      e[k] = coder->x[b * n_columns + k] - e[k];
      mean[k] += e[k] / (double)coder->n_samples;
    }
  }
  a->variance = 0;
  for (size_t b = 0; b < coder->n_samples; b++)
    for (size_t k = 0; k < n_columns; k++) {
      double d = a->e[b * n_columns + k] - mean[k];
      a->variance += d * d / (double)coder->n_samples;
    }
  xci_free(mean);
  return XCODER_OK;
}

/* The n_auxiliary largest positive pre-activations of dead latents. */
static xcoder_status choose_dead(const xci_coder *coder, const xci_objective *o, size_t b, double *f,
                                 xcoder_error *err) {
  scored *scores = NULL;
  size_t m = 0;
  const double *pre = coder->pre + b * coder->shape.n_latents;
  xcoder_status status = XCI_ALLOC(&scores, o->n_dead, err);
  if (status) return status;
  memset(f, 0, o->n_dead * sizeof *f);
  for (size_t j = 0; j < o->n_dead; j++)
    if (pre[o->dead[j]] > 0) scores[m++] = (scored){pre[o->dead[j]], j};
  qsort(scores, m, sizeof *scores, compare_scores);
  for (size_t j = 0; j < m && j < o->n_auxiliary; j++) f[scores[j].at] = scores[j].score;
  xci_free(scores);
  return XCODER_OK;
}

static double add_auxiliary_sample(xci_coder *coder, const xci_objective *o, const auxiliary *a, size_t b) {
  size_t n_columns = coder->n_columns, n_latents = coder->shape.n_latents;
  double share = 1 / ((double)coder->n_samples * a->variance), scale = 2 * o->auxiliary_coefficient * share, square = 0;
  double *const *w_enc = coder->tensor[XCI_W_ENC], *const *w_dec = coder->tensor[XCI_W_DEC];
  for (size_t k = 0; k < n_columns; k++) a->r[k] = -a->e[b * n_columns + k];
  for (size_t j = 0; j < o->n_dead; j++)
    for (size_t k = 0; k < n_columns && a->f[j] != 0; k++)
      a->r[k] += a->f[j] * w_dec[XCI_VALUE][o->dead[j] * n_columns + k];
  for (size_t k = 0; k < n_columns; k++) square += a->r[k] * a->r[k];
  for (size_t j = 0; j < o->n_dead; j++) {
    size_t i = o->dead[j];
    double df = 0;
    if (a->f[j] == 0) continue;
    for (size_t k = 0; k < n_columns; k++) {
      df += scale * a->r[k] * w_dec[XCI_VALUE][i * n_columns + k];
      w_dec[XCI_GRADIENT][i * n_columns + k] += scale * a->f[j] * a->r[k];
    }
    coder->tensor[XCI_B_ENC][XCI_GRADIENT][i] += df;
    for (size_t k = 0; k < n_columns; k++) w_enc[XCI_GRADIENT][k * n_latents + i] += df * coder->x[b * n_columns + k];
  }
  return square * share;
}

static xcoder_status add_auxiliary(xci_coder *coder, const xci_objective *o, xci_losses *losses, xcoder_error *err) {
  auxiliary a = {0};
  if (o->n_dead == 0) return XCODER_OK;
  xcoder_status status = XCI_ALLOC(&a.e, coder->n_samples * coder->n_columns, err);
  if (!status) status = XCI_ALLOC(&a.r, coder->n_columns, err);
  if (!status) status = XCI_ALLOC(&a.f, o->n_dead, err);
  if (!status) status = find_residual(coder, &a, err);
  for (size_t b = 0; b < coder->n_samples && !status && a.variance > 0; b++) {
    status = choose_dead(coder, o, b, a.f, err);
    if (!status) losses->auxiliary += add_auxiliary_sample(coder, o, &a, b);
  }
  xci_free(a.e);
  xci_free(a.r);
  xci_free(a.f);
  return status;
}

static void fill_fired(const xci_coder *coder, uint32_t *fired) {
  size_t n_latents = coder->shape.n_latents;
  memset(fired, 0, xci_ceil_div(n_latents, 32) * sizeof *fired);
  for (size_t at = 0; at < coder->n_samples * n_latents; at++)
    if (coder->f[at] > 0) fired[at % n_latents / 32] |= (uint32_t)1 << at % n_latents % 32;
}

static double least_score(const xci_coder *coder) {
  double least = HUGE_VAL;
  for (size_t at = 0; at < coder->n_samples * coder->shape.n_latents; at++) {
    double score = coder->f[at] > 0 ? coder->f[at] * norm_sum(coder, at % coder->shape.n_latents) : 0;
    if (score > 0 && score < least) least = score;
  }
  return isfinite(least) ? least : 0;
}

xcoder_status xci_reference_coder_backward(xcoder_device *device, xci_coder *coder, const xci_objective *objective,
                                           xci_losses *losses, xcoder_error *err) {
  (void)device;
  double *r = NULL, *norms = NULL, *jump = NULL, square = 0;
  size_t n_checkpoints = coder->shape.n_checkpoints, n_norms = coder->shape.n_latents * n_checkpoints;
  if (!coder->shape.training) return xci_fail(err, XCODER_USAGE, "crosscoder: it was not opened for training");
  if (!coder->has_codes || !coder->has_x || coder->n_samples == 0)
    return xci_fail(err, XCODER_USAGE, "crosscoder: there is no batch to take gradients of");
  if (objective->threshold_gradient && !coder->has_near)
    return xci_fail(err, XCODER_USAGE, "crosscoder: gradients of thresholds need a batch of the gate that trains them");
  xcoder_status status = XCI_ALLOC(&r, coder->n_columns, err);
  if (!status) status = XCI_ALLOC(&norms, n_norms, err);
  if (!status) status = XCI_ALLOC(&jump, coder->shape.n_latents, err);
  if (status) {
    xci_free(norms);
    xci_free(r);
    return status;
  }
  *losses = (xci_losses){0};
  for (size_t j = 0; j < n_norms; j++) norms[j] = decoder_norm(coder, j / n_checkpoints, j % n_checkpoints);
  for (int tensor = 0; tensor < XCI_N_TENSORS; tensor++)
    memset(coder->tensor[tensor][XCI_GRADIENT], 0, coder->n_values[tensor] * sizeof(double));
  for (size_t b = 0; b < coder->n_samples; b++) {
    decode_sample(coder, b, r);
    for (size_t k = 0; k < coder->n_columns; k++) r[k] -= coder->x[b * coder->n_columns + k];
    add_sample(coder, b, objective->l1_coefficient, r, norms, losses);
    if (objective->threshold_gradient) add_jump(coder, b, objective, r, norms, jump);
  }
  if (coder->is_ranked) losses->least_score = least_score(coder);
  if (objective->fired) fill_fired(coder, objective->fired);
  status = add_auxiliary(coder, objective, losses, err);
  for (size_t c = 0; c < coder->shape.n_checkpoints; c++) losses->reconstruction += losses->squared_error[c];
  losses->loss = losses->reconstruction + objective->l1_coefficient * losses->sparsity +
                 objective->auxiliary_coefficient * losses->auxiliary + objective->l0_coefficient * losses->l0;
  for (size_t i = 0; i < coder->shape.n_latents && objective->threshold_gradient; i++) {
    objective->threshold_gradient[i] = (float)jump[i];
    square += jump[i] * jump[i];
  }
  for (int tensor = 0; tensor < XCI_N_TENSORS; tensor++)
    for (size_t i = 0; i < coder->n_values[tensor]; i++) {
      double g = coder->tensor[tensor][XCI_GRADIENT][i];
      square += g * g;
    }
  coder->gradient_norm = losses->gradient_norm = sqrt(square);
  coder->has_gradient = !status;
  xci_free(jump);
  xci_free(norms);
  xci_free(r);
  return status;
}

xcoder_status xci_reference_coder_update(xcoder_device *device, xci_coder *coder, const xci_adam *adam,
                                         xcoder_error *err) {
  (void)device;
  if (!coder->has_gradient) return xci_fail(err, XCODER_USAGE, "crosscoder: an update without a gradient");
  if (adam->step == 0 || !(adam->epsilon > 0))
    return xci_fail(err, XCODER_USAGE, "crosscoder: Adam needs a step from 1 and a positive epsilon");
  double clip = 1, t = (double)adam->step;
  if (adam->clip_norm > 0 && !(adam->clip_norm / (coder->gradient_norm + 1e-6) >= 1))
    clip = adam->clip_norm / (coder->gradient_norm + 1e-6);
  for (int tensor = 0; tensor < XCI_N_TENSORS; tensor++) {
    double *const *slot = coder->tensor[tensor];
    for (size_t i = 0; i < coder->n_values[tensor]; i++) {
      double g = clip * slot[XCI_GRADIENT][i];
      double m = adam->beta1 * slot[XCI_MOMENT1][i] + (1 - adam->beta1) * g;
      double v = adam->beta2 * slot[XCI_MOMENT2][i] + (1 - adam->beta2) * g * g;
      slot[XCI_MOMENT1][i] = m;
      slot[XCI_MOMENT2][i] = v;
      slot[XCI_VALUE][i] -= adam->learning_rate * (m / (1 - pow(adam->beta1, t))) /
                            (sqrt(v / (1 - pow(adam->beta2, t))) + adam->epsilon);
    }
  }
  return XCODER_OK;
}
