/* SPDX-License-Identifier: Apache-2.0 */
/* Making, describing, changing and folding a crosscoder. */
#include "crosscoder/object.h"

#include "base/memory.h"
#include "base/parallel.h"
#include "base/size.h"
#include "base/text.h"
#include <math.h>
#include <string.h>

const char *const xci_coder_tensor_names[XCI_N_TENSORS] = {"W_enc", "b_enc", "W_dec", "b_dec"};
const char *const xci_activation_names[] = {"relu", "batchtopk", "topk", "jumprelu"};

size_t xci_coder_tensor_shape(size_t n_checkpoints, size_t d_model, size_t n_latents, xci_coder_tensor tensor,
                              size_t shape[3]) {
  size_t rank = 0;
  if (tensor == XCI_W_ENC || tensor == XCI_B_DEC) {
    shape[rank++] = n_checkpoints;
    shape[rank++] = d_model;
  }
  if (tensor != XCI_B_DEC) shape[rank++] = n_latents;
  if (tensor == XCI_W_DEC) {
    shape[rank++] = n_checkpoints;
    shape[rank++] = d_model;
  }
  return rank;
}

xcoder_status xci_coder_sizes(size_t n_checkpoints, size_t d_model, size_t n_latents, size_t n_values[XCI_N_TENSORS],
                              xcoder_error *err) {
  if (n_checkpoints < 1 || n_checkpoints > XCODER_MAX_CHECKPOINTS)
    return xci_fail(err, XCODER_USAGE, "crosscoder: %zu checkpoints, expected 1 to %d", n_checkpoints,
                    XCODER_MAX_CHECKPOINTS);
  if (d_model < 1 || n_latents < 1 || n_latents > UINT32_MAX)
    return xci_fail(err, XCODER_USAGE, "crosscoder: width %zu with %zu features, expected at least 1 of each and at "
                    "most 4294967295 features", d_model, n_latents);
  size_t row, total, bytes;
  if (!xci_mul_size(n_checkpoints, d_model, &row) || !xci_mul_size(row, n_latents, &total) ||
      !xci_mul_size(total, 4 * sizeof(float), &bytes))
    return xci_fail(err, XCODER_MEMORY, "crosscoder: %zu x %zu x %zu parameters do not fit into memory", n_checkpoints,
                    d_model, n_latents);
  n_values[XCI_W_ENC] = n_values[XCI_W_DEC] = total;
  n_values[XCI_B_ENC] = n_latents;
  n_values[XCI_B_DEC] = row;
  return XCODER_OK;
}

void xci_default_label(size_t c, char label[3]) {
  label[0] = c < 26 ? (char)('A' + c) : (char)('A' + c / 26 - 1);
  label[1] = c < 26 ? '\0' : (char)('A' + c % 26);
  label[2] = '\0';
}

xcoder_status xci_copy_labels(const char *const *labels, size_t n, char ***out, xcoder_error *err) {
  *out = NULL;
  char **copy = NULL;
  xcoder_status status = XCI_ALLOC(&copy, n, err);
  for (size_t c = 0; c < n && status == XCODER_OK; c++) {
    char letter[3];
    xci_default_label(c, letter);
    status = xci_copy_text(labels != NULL && labels[c] != NULL ? labels[c] : letter, &copy[c], err);
  }
  if (status != XCODER_OK) {
    if (copy != NULL) xci_free_labels(copy, n);
    return status;
  }
  *out = copy;
  return XCODER_OK;
}

void xci_free_labels(char **labels, size_t n) {
  if (labels == NULL) return;
  for (size_t c = 0; c < n; c++) xci_free(labels[c]);
  xci_free(labels);
}

xcoder_status xci_check_labels(const char *const *labels, size_t n, xcoder_error *err) {
  for (size_t c = 0; labels != NULL && c < n; c++) {
    if (labels[c] == NULL || labels[c][0] == '\0' || !xci_utf8_valid(labels[c], strlen(labels[c])))
      return xci_fail(err, XCODER_USAGE, "crosscoder: checkpoint %zu has no label, or one that is not UTF-8", c);
    for (size_t e = 0; e < c; e++)
      if (strcmp(labels[e], labels[c]) == 0)
        return xci_fail(err, XCODER_USAGE, "crosscoder: the label '%s' occurs twice", labels[c]);
  }
  return XCODER_OK;
}

xcoder_status xci_check_layer(long layer, xcoder_error *err) {
  if (layer >= -1 && layer <= XCI_MAX_LAYER) return XCODER_OK;
  return xci_fail(err, XCODER_USAGE, "crosscoder: layer %ld, expected -1 (the embedding) or a block", layer);
}

static xcoder_status check_scales(const float *scales, size_t n, xcoder_error *err) {
  for (size_t c = 0; c < n; c++)
    if (!isfinite(scales[c]) || scales[c] <= 0)
      return xci_fail(err, XCODER_USAGE, "crosscoder: scale %zu is %g, expected a positive number", c,
                      (double)scales[c]);
  return XCODER_OK;
}

xcoder_status xcoder_create(size_t n_checkpoints, size_t d_model, size_t n_latents, long layer,
                            const char *const *labels, const float *scales, xcoder **coder, xcoder_error *err) {
  *coder = NULL;
  xcoder *made = NULL;
  size_t n_values[XCI_N_TENSORS];
  xcoder_status status = xci_coder_sizes(n_checkpoints, d_model, n_latents, n_values, err);
  if (status == XCODER_OK) status = xci_check_labels(labels, n_checkpoints, err);
  if (status == XCODER_OK) status = xci_check_layer(layer, err);
  if (status == XCODER_OK && scales != NULL) status = check_scales(scales, n_checkpoints, err);
  if (status == XCODER_OK) status = XCI_ALLOC(&made, 1, err);
  if (status != XCODER_OK) return status;
  made->info = (xcoder_info){.n_checkpoints = n_checkpoints, .d_model = d_model, .n_latents = n_latents,
                             .layer = layer, .threshold = -1};
  memcpy(made->n_values, n_values, sizeof n_values);
  status = xci_copy_labels(labels, n_checkpoints, &made->labels, err);
  if (status == XCODER_OK) status = XCI_ALLOC(&made->scales, n_checkpoints, err);
  for (int t = 0; t < XCI_N_TENSORS && status == XCODER_OK; t++)
    status = XCI_ALLOC(&made->weights[t], n_values[t], err);
  if (status == XCODER_OK) status = xci_resident_create(&made->resident, err);
  if (status != XCODER_OK) {
    xcoder_free_coder(made);
    return status;
  }
  for (size_t c = 0; c < n_checkpoints; c++) made->scales[c] = scales != NULL ? scales[c] : 1.0f;
  made->info.labels = (const char *const *)made->labels;
  made->info.scales = made->scales;
  *coder = made;
  return XCODER_OK;
}

void xcoder_free_coder(xcoder *coder) {
  if (coder == NULL) return;
  xci_resident_free(coder->resident);
  xci_free_labels(coder->labels, coder->info.n_checkpoints);
  xci_free(coder->scales);
  for (int t = 0; t < XCI_N_TENSORS; t++) xci_free(coder->weights[t]);
  xci_free(coder->theta);
  xci_free(coder->score);
  xci_free(coder);
}

const xcoder_info *xcoder_describe(const xcoder *coder) { return &coder->info; }

float *xcoder_weights(xcoder *coder, xcoder_tensor tensor, size_t *n_values) {
  bool known = (int)tensor >= 0 && (int)tensor < XCI_N_TENSORS;
  if (n_values != NULL) *n_values = known ? coder->n_values[tensor] : 0;
  return known ? coder->weights[tensor] : NULL;
}

void xcoder_changed(xcoder *coder) {
  xci_resident_drop(coder->resident);
  if (coder->info.activation == XCODER_JUMP_RELU) return;
  xci_free(coder->theta); /* it was made from the threshold and the norms */
  coder->theta = NULL;
}

static xcoder_status copy_values(const float *values, size_t n, float **copy, xcoder_error *err) {
  xcoder_status status = XCI_ALLOC(copy, n, err);
  if (!status) memcpy(*copy, values, n * sizeof *values);
  return status;
}

xcoder_status xci_coder_set_activation(xcoder *coder, xcoder_activation activation, size_t k, float threshold,
                                       const float *theta, const float *score, xcoder_error *err) {
  float *own_theta = NULL, *own_score = NULL;
  size_t n = coder->info.n_latents;
  xcoder_status status = theta != NULL ? copy_values(theta, n, &own_theta, err) : XCODER_OK;
  if (!status && score != NULL) status = copy_values(score, n, &own_score, err);
  if (status) {
    xci_free(own_theta);
    return status;
  }
  xci_free(coder->theta);
  xci_free(coder->score);
  coder->theta = own_theta;
  coder->score = own_score;
  coder->info.activation = activation;
  coder->info.k = k;
  coder->info.threshold = threshold;
  xci_resident_drop(coder->resident);
  return XCODER_OK;
}

bool xci_coder_has_thresholds(const xcoder *coder) { return coder->theta != NULL || coder->info.threshold >= 0; }

/* What refers to the unfolded decoder is found while it is there. */
static xcoder_status fix_gate(xcoder *coder, xcoder_error *err) {
  float *theta = NULL, *score = NULL;
  size_t n = coder->info.n_latents;
  xcoder_status status = XCODER_OK;
  if (coder->theta == NULL && coder->info.threshold >= 0) {
    status = XCI_ALLOC(&theta, n, err);
    if (!status) status = xci_coder_thresholds(coder, theta, err);
  }
  if (!status && coder->score == NULL && coder->info.activation == XCODER_TOPK) {
    status = XCI_ALLOC(&score, n, err);
    if (!status) status = xci_coder_scores(coder, score, err);
  }
  if (status) {
    xci_free(theta);
    xci_free(score);
    return status;
  }
  if (theta != NULL) coder->theta = theta;
  if (score != NULL) coder->score = score;
  return XCODER_OK;
}

static void scale_values(float *values, size_t n, float factor, bool divide) {
  if (divide)
    for (size_t i = 0; i < n; i++) values[i] /= factor;
  else
    for (size_t i = 0; i < n; i++) values[i] *= factor;
}

xcoder_status xcoder_fold(xcoder *coder, xcoder_error *err) {
  if (coder->info.folded) return XCODER_OK;
  xcoder_status status = fix_gate(coder, err);
  if (status) return status;
  size_t n = coder->info.n_checkpoints, d = coder->info.d_model, n_latents = coder->info.n_latents;
  for (size_t c = 0; c < n; c++) {
    float s = coder->scales[c];
    scale_values(coder->weights[XCI_W_ENC] + c * d * n_latents, d * n_latents, s, false);
    for (size_t i = 0; i < n_latents; i++) scale_values(coder->weights[XCI_W_DEC] + (i * n + c) * d, d, s, true);
    scale_values(coder->weights[XCI_B_DEC] + c * d, d, s, true);
  }
  coder->info.folded = true;
  xci_resident_drop(coder->resident);
  return XCODER_OK;
}

/* Norms of the decoder rows in double precision. */
static double row_norm(const float *row, size_t d) {
  double sum = 0;
  for (size_t k = 0; k < d; k++) sum += (double)row[k] * (double)row[k];
  return sqrt(sum);
}

xcoder_status xcoder_decoder_norms(const xcoder *coder, float *norms, xcoder_error *err) {
  (void)err;
  long long rows = (long long)(coder->info.n_latents * coder->info.n_checkpoints);
  size_t d = coder->info.d_model;
#pragma omp parallel for num_threads(xci_threads())
  for (long long r = 0; r < rows; r++) norms[r] = (float)row_norm(coder->weights[XCI_W_DEC] + (size_t)r * d, d);
  return XCODER_OK;
}

double xci_norm_sum(const float *rows, size_t n, size_t d, const float *scales) {
  double sum = 0;
  for (size_t c = 0; c < n; c++) {
    double norm = row_norm(rows + c * d, d);
    sum += scales != NULL ? norm * (double)scales[c] : norm;
  }
  return sum;
}

static double unfolded_norms(const xcoder *coder, size_t i) {
  size_t n = coder->info.n_checkpoints, d = coder->info.d_model;
  return xci_norm_sum(coder->weights[XCI_W_DEC] + i * n * d, n, d, coder->info.folded ? coder->scales : NULL);
}

/* A feature is kept where f_i sum_c ||W_dec[i,c]|| > threshold, norms of the unfolded decoder (f is the same in both
 * forms). A feature whose norms are all 0 has score 0, which no threshold >= 0 lets through: its theta is infinite. */
xcoder_status xci_coder_thresholds(const xcoder *coder, float *theta, xcoder_error *err) {
  (void)err;
  if (coder->theta != NULL) {
    memcpy(theta, coder->theta, coder->info.n_latents * sizeof *theta);
    return XCODER_OK;
  }
#pragma omp parallel for num_threads(xci_threads())
  for (long long i = 0; i < (long long)coder->info.n_latents; i++) {
    double sum = unfolded_norms(coder, (size_t)i);
    theta[i] = sum > 0 ? (float)((double)coder->info.threshold / sum) : HUGE_VALF;
  }
  return XCODER_OK;
}

xcoder_status xci_coder_scores(const xcoder *coder, float *score, xcoder_error *err) {
  (void)err;
  if (coder->score != NULL) {
    memcpy(score, coder->score, coder->info.n_latents * sizeof *score);
    return XCODER_OK;
  }
#pragma omp parallel for num_threads(xci_threads())
  for (long long i = 0; i < (long long)coder->info.n_latents; i++) score[i] = (float)unfolded_norms(coder, (size_t)i);
  return XCODER_OK;
}
