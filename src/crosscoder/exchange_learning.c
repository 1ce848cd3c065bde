/* SPDX-License-Identifier: Apache-2.0 */
/* The form of dictionary_learning (the fork with crosscoders): encoder.weight [n,d,D], encoder.bias [D],
 * decoder.weight [n,D,d], decoder.bias [n,d], and buffers of its normaliser
 *   x' = (x - mean) g        g_c = target_rms / sqrt(sum std_c^2), one for each checkpoint, or
 *   x' = (x - mean) / (std + 1e-8), one for each neuron,
 * undone after decoding by  x'/(g + 1e-8) + mean  or  x' (std + 1e-8) + mean. */
#include "base/memory.h"
#include "crosscoder/foreign.h"
#include "formats/json.h"
#include <limits.h>
#include <math.h>
#include <string.h>

enum { BY_CROSSCODER = 1, BY_SAE = 2, BY_NONE = 4 }; /* code_normalization_id; others have no shared features */
static const float TINY = 1e-8f;

/* What x' is made by. gain, loss: [n, d], x' = (x - mean) gain, and x'hat is multiplied by `loss`. */
typedef struct normaliser {
  bool present, per_neuron;
  float *mean, *gain, *loss;
} normaliser;

static void free_normaliser(normaliser *norm) {
  xci_free(norm->mean);
  xci_free(norm->gain);
  xci_free(norm->loss);
}

/* ---- Reading ---- */

static xcoder_status find_shape(xci_foreign *file, xcoder_error *err) {
  const xci_tensor *tensor = xci_foreign_find(file, "encoder.weight");
  size_t n_values[XCI_N_TENSORS];
  if (tensor == NULL || tensor->rank != 3)
    return xci_fail(err, XCODER_FORMAT, "%s: no tensor encoder.weight of rank 3: [checkpoints, width, features]",
                    file->path);
  file->n_checkpoints = tensor->shape[0], file->d_model = tensor->shape[1], file->n_latents = tensor->shape[2];
  if (xci_coder_sizes(file->n_checkpoints, file->d_model, file->n_latents, n_values, NULL))
    return xci_fail(err, XCODER_FORMAT, "%s: encoder.weight: shape [%zu, %zu, %zu] is not that of a crosscoder",
                    file->path, file->n_checkpoints, file->d_model, file->n_latents);
  return XCODER_OK;
}

/* A member of the config or of its part "trainer". */
static const json_t *setting(const xci_foreign *file, const char *key) {
  const json_t *value = json_object_get(file->config, key);
  return value != NULL ? value : json_object_get(json_object_get(file->config, "trainer"), key);
}

/* g of each checkpoint: the buffer of newer files, or what it would have been made from. */
static xcoder_status read_gain(const xci_foreign *file, const float *std, float *g, xcoder_error *err) {
  size_t n = file->n_checkpoints, d = file->d_model;
  double target = 1;
  bool found;
  float *values = NULL;
  xcoder_status status = xci_foreign_scalar(file, "target_rms", &found, &target, err);
  if (!status && xci_foreign_find(file, "activation_global_scale") != NULL)
    status = xci_foreign_floats(file, "activation_global_scale", 1, &n, &values, err);
  for (size_t c = 0; c < n && !status; c++) {
    double sum = 0;
    for (size_t k = 0; k < d; k++) sum += (double)std[c * d + k] * (double)std[c * d + k];
    g[c] = values != NULL ? values[c] : (float)(target / sqrt(sum + (double)TINY));
    if (!isfinite(g[c]) || g[c] <= 0)
      status = xci_fail(err, XCODER_FORMAT, "%s: activation_global_scale: %g at checkpoint %zu, expected a positive "
                        "number", file->path, (double)g[c], c);
  }
  xci_free(values);
  return status;
}

static xcoder_status fill_normaliser(const xci_foreign *file, const float *std, normaliser *norm, xcoder_error *err) {
  size_t n = file->n_checkpoints, d = file->d_model;
  float g[XCODER_MAX_CHECKPOINTS];
  const json_t *relative = setting(file, "keep_relative_variance");
  norm->per_neuron = json_is_false(relative);
  xcoder_status status = norm->per_neuron ? XCODER_OK : read_gain(file, std, g, err);
  if (!status) status = XCI_ALLOC(&norm->gain, n * d, err);
  if (!status) status = XCI_ALLOC(&norm->loss, n * d, err);
  for (size_t k = 0; k < n * d && !status; k++) {
    if (norm->per_neuron && std[k] < 0)
      return xci_fail(err, XCODER_FORMAT, "%s: activation_std: value %zu is negative", file->path, k);
    norm->gain[k] = norm->per_neuron ? 1 / (std[k] + TINY) : g[k / d];
    norm->loss[k] = norm->per_neuron ? std[k] + TINY : 1 / (g[k / d] + TINY);
  }
  return status;
}

static xcoder_status read_normaliser(const xci_foreign *file, normaliser *norm, xcoder_error *err) {
  const size_t shape[2] = {file->n_checkpoints, file->d_model};
  bool no_mean = true, no_std = true;
  float *std = NULL;
  if (xci_foreign_find(file, "activation_mean") == NULL && xci_foreign_find(file, "activation_std") == NULL)
    return XCODER_OK;
  xcoder_status status = xci_foreign_buffer(file, "activation_mean", 2, shape, &norm->mean, &no_mean, err);
  if (!status) status = xci_foreign_buffer(file, "activation_std", 2, shape, &std, &no_std, err);
  norm->present = !status && !no_mean && !no_std;
  if (norm->present) status = fill_normaliser(file, std, norm, err);
  xci_free(std);
  return status;
}

/* Thresholds are compared with f times a norm of the decoder in the file, before anything is moved into it. */
static xcoder_status read_gate(const xci_foreign *file, xcoder *coder, xcoder_error *err) {
  double k = 0, threshold = -1, id = BY_CROSSCODER;
  bool has_k, has_threshold, has_id;
  size_t n = file->n_checkpoints, d = file->d_model;
  xcoder_status status = xci_foreign_scalar(file, "k", &has_k, &k, err);
  if (!status) status = xci_foreign_scalar(file, "threshold", &has_threshold, &threshold, err);
  if (!status) status = xci_foreign_scalar(file, "code_normalization_id", &has_id, &id, err);
  if (status || (!has_k && !has_threshold)) return status;
  if (id != BY_CROSSCODER && id != BY_SAE && id != BY_NONE)
    return xci_fail(err, XCODER_UNSUPPORTED, "%s: code_normalization_id %g (%s): thresholds of this kind cannot be "
                    "expressed", file->path, id, id == 3 ? "MIXED" : id == 5 ? "DECOUPLED" : "unknown");
  if (k < 0 || k > 4294967295.0 || k != floor(k))
    return xci_fail(err, XCODER_FORMAT, "%s: k is %g, expected a whole number", file->path, k);
  if (threshold < 0) {
    xci_foreign_note(file, "batchtopk without a threshold yet: every positive feature is kept");
    return xci_coder_set_activation(coder, XCODER_BATCH_TOPK, (size_t)k, -1, NULL, NULL, err);
  }
  float *theta = NULL;
  status = XCI_ALLOC(&theta, file->n_latents, err);
  for (size_t i = 0; i < file->n_latents && !status; i++) {
    double sum = 0, squares = 0;
    for (size_t c = 0; c < n; c++) {
      double square = 0;
      const float *row = coder->weights[XCI_W_DEC] + (i * n + c) * d;
      for (size_t j = 0; j < d; j++) square += (double)row[j] * (double)row[j];
      sum += sqrt(square);
      squares += square;
    }
    double norm = id == BY_NONE ? 1 : id == BY_SAE ? sqrt(squares) : sum;
    theta[i] = norm > 0 ? (float)(threshold / norm) : HUGE_VALF;
  }
  bool ours = id == BY_CROSSCODER;
  if (!status)
    status = xci_coder_set_activation(coder, ours ? XCODER_BATCH_TOPK : XCODER_JUMP_RELU, (size_t)k,
                                      ours ? (float)threshold : -1, theta, NULL, err);
  if (!ours)
    xci_foreign_note(file, "thresholds of code normalisation %s became one for each feature (jumprelu)",
                     id == BY_SAE ? "SAE" : "NONE");
  xci_free(theta);
  return status;
}

/* b_enc -= sum of mean gain W_enc, the part of the pre-activations that the means make. */
static void move_means(const normaliser *norm, xcoder *coder) {
  size_t row = coder->info.n_checkpoints * coder->info.d_model, n_latents = coder->info.n_latents;
  for (size_t i = 0; i < n_latents; i++) {
    double sum = (double)coder->weights[XCI_B_ENC][i];
    for (size_t k = 0; k < row; k++)
      sum -= (double)norm->mean[k] * (double)norm->gain[k] * (double)coder->weights[XCI_W_ENC][k * n_latents + i];
    coder->weights[XCI_B_ENC][i] = (float)sum;
  }
}

/* The crosscoder reads x = u a, with u = g (scales of checkpoints) or 1 (neuron by neuron, folded):
 *   W_enc' = W_enc gain / u,  W_dec' = W_dec loss u,  b_dec' = (b_dec loss + mean) u. */
static void apply_normaliser(const normaliser *norm, xcoder *coder) {
  size_t n = coder->info.n_checkpoints, d = coder->info.d_model, n_latents = coder->info.n_latents;
  move_means(norm, coder);
  for (size_t k = 0; k < n * d; k++) {
    double u = norm->per_neuron ? 1 : (double)norm->gain[k], loss = (double)norm->loss[k] * u;
    float *bias = &coder->weights[XCI_B_DEC][k];
    *bias = (float)((double)*bias * loss + (double)norm->mean[k] * u);
    if (norm->per_neuron)
      for (size_t i = 0; i < n_latents; i++) {
        float *w = &coder->weights[XCI_W_ENC][k * n_latents + i];
        *w = (float)((double)*w * (double)norm->gain[k]);
      }
    if ((float)loss != 1)
      for (size_t i = 0; i < n_latents; i++) {
        float *w = &coder->weights[XCI_W_DEC][i * n * d + k];
        *w = (float)((double)*w * loss);
      }
  }
}

static xcoder_status create(const xci_foreign *file, const normaliser *norm, xcoder **coder, xcoder_error *err) {
  float scales[XCODER_MAX_CHECKPOINTS];
  const char *labels[XCODER_MAX_CHECKPOINTS];
  const json_t *layer = setting(file, "layer"), *own = setting(file, "labels");
  bool labelled = json_is_array(own) && json_array_size(own) == file->n_checkpoints;
  for (size_t c = 0; c < file->n_checkpoints; c++) {
    scales[c] = norm->present && !norm->per_neuron ? norm->gain[c * file->d_model] : 1;
    labels[c] = labelled ? json_string_value(json_array_get(own, c)) : NULL;
    labelled = labelled && labels[c] != NULL;
  }
  if (norm->present && file->options->n_scales > 0)
    return xci_fail(err, XCODER_USAGE, "%s: --scales was given, but the file has a normaliser of its own", file->path);
  long number = json_is_integer(layer) && json_integer_value(layer) >= -1 && json_integer_value(layer) <= XCI_MAX_LAYER
                    ? (long)json_integer_value(layer) : LONG_MIN;
  return xci_foreign_create(file, labelled ? labels : NULL, scales, number, coder, err);
}

static xcoder_status read_all(const xci_foreign *file, const normaliser *norm, xcoder *coder, xcoder_error *err) {
  xcoder_status status = xci_foreign_copy(file, "encoder.weight", XCI_W_ENC, coder, err);
  if (!status) status = xci_foreign_copy(file, "encoder.bias", XCI_B_ENC, coder, err);
  if (!status) status = xci_foreign_decoder(file, "decoder.weight", coder, err);
  if (!status) status = xci_foreign_copy(file, "decoder.bias", XCI_B_DEC, coder, err);
  if (!status) status = read_gate(file, coder, err);
  if (status || !norm->present) {
    file->report->folded = !status && file->options->n_scales == 0;
    coder->info.folded = file->report->folded;
    if (coder->info.folded) xci_foreign_note(file, "no normaliser: reads activations as they are (scales 1)");
    return status;
  }
  apply_normaliser(norm, coder);
  coder->info.folded = norm->per_neuron;
  xci_foreign_note(file, "normaliser (means and %s) moved into %s",
                   norm->per_neuron ? "a factor for each neuron" : "scales",
                   norm->per_neuron ? "the weights" : "biases and scales");
  return XCODER_OK;
}

xcoder_status xci_read_learning(xci_foreign *file, xcoder **coder, xcoder_error *err) {
  static const char *const names[] = {
    "encoder.weight", "encoder.bias", "decoder.weight", "decoder.bias", "code_normalization_id", "target_rms",
    "activation_mean", "activation_std", "activation_global_scale", "k", "threshold"};
  normaliser norm = {0};
  xcoder *made = NULL;
  xcoder_status status = find_shape(file, err);
  if (!status) status = xci_foreign_check_names(file, names, sizeof names / sizeof *names, err);
  if (!status) status = read_normaliser(file, &norm, err);
  if (!status) status = create(file, &norm, &made, err);
  if (!status) status = read_all(file, &norm, made, err);
  free_normaliser(&norm);
  const json_t *keep_first = setting(file, "keep_first");
  if (!status) made->info.mask.keep_first = json_is_true(keep_first);
  if (status)
    xcoder_free_coder(made);
  else
    *coder = made;
  return status;
}

/* ---- Writing ---- */

typedef struct written {
  float *decoder, *bias, *mean, *std, *scale; /* decoder [n, D, d] */
} written;

static xcoder_status allocate(const xcoder *coder, written *w, xcoder_error *err) {
  size_t n = coder->info.n_checkpoints, d = coder->info.d_model;
  xcoder_status status = XCI_ALLOC(&w->decoder, coder->n_values[XCI_W_DEC], err);
  if (!status) status = XCI_ALLOC(&w->bias, n * d, err);
  if (!status) status = XCI_ALLOC(&w->mean, n * d, err);
  if (!status) status = XCI_ALLOC(&w->std, n * d, err);
  if (!status) status = XCI_ALLOC(&w->scale, n, err);
  return status;
}

/* Their decoding divides by g + 1e-8 in single precision, which is g itself from 0.25 on; below, the weights take the
 * difference. */
static void fill(const xcoder *coder, written *w) {
  const xcoder_info *info = &coder->info;
  size_t n = info->n_checkpoints, d = info->d_model, n_latents = info->n_latents;
  const float *w_dec = coder->weights[XCI_W_DEC];
  for (size_t c = 0; c < n; c++) {
    float s = info->folded ? 1 : info->scales[c], undo = s + TINY;
    double factor = info->folded ? 1 : (double)undo / (double)s;
    w->scale[c] = s;
    for (size_t k = 0; k < d; k++) {
      w->bias[c * d + k] = (float)((double)coder->weights[XCI_B_DEC][c * d + k] * factor);
      w->mean[c * d + k] = info->folded ? NAN : 0;
      w->std[c * d + k] = info->folded ? NAN : (float)(1 / ((double)s * sqrt((double)d)));
    }
    for (size_t i = 0; i < n_latents; i++)
      for (size_t k = 0; k < d; k++)
        w->decoder[(c * n_latents + i) * d + k] = (float)((double)w_dec[(i * n + c) * d + k] * factor);
  }
}

static xcoder_status write_weights(const xcoder *coder, const written *w, const char *folder, xcoder_error *err) {
  const xcoder_info *info = &coder->info;
  const int32_t id = BY_CROSSCODER, k = (int32_t)info->k;
  const float target = 1;
  size_t n = info->n_checkpoints, d = info->d_model, n_latents = info->n_latents, count = 9;
  char *path = NULL;
  xci_torch_output tensors[11] = {
    {.name = "target_rms", .values = &target},
    {.name = "activation_mean", .rank = 2, .shape = {n, d}, .values = w->mean},
    {.name = "activation_std", .rank = 2, .shape = {n, d}, .values = w->std},
    {.name = "activation_global_scale", .rank = 1, .shape = {n}, .values = w->scale},
    {.name = "code_normalization_id", .dtype = XCI_I32, .values = &id},
    {.name = "encoder.weight", .rank = 3, .shape = {n, d, n_latents}, .values = coder->weights[XCI_W_ENC]},
    {.name = "encoder.bias", .rank = 1, .shape = {n_latents}, .values = coder->weights[XCI_B_ENC]},
    {.name = "decoder.bias", .rank = 2, .shape = {n, d}, .values = w->bias},
    {.name = "decoder.weight", .rank = 3, .shape = {n, n_latents, d}, .values = w->decoder},
  };
  if (info->activation == XCODER_BATCH_TOPK) {
    tensors[count++] = (xci_torch_output){.name = "k", .dtype = XCI_I32, .values = &k};
    tensors[count++] = (xci_torch_output){.name = "threshold", .values = &info->threshold};
  }
  xcoder_status status = xci_join_path(folder, "model_final.pt", &path, err);
  if (!status) status = xci_torch_write(path, tensors, count, err);
  xci_free(path);
  return status;
}

static xcoder_status write_config(const xcoder *coder, const char *folder, xcoder_error *err) {
  const xcoder_info *info = &coder->info;
  xci_text text = {0};
  xci_text_add(&text, "  \"trainer\": {\n    \"dict_class\": ");
  xci_text_add(&text, info->activation == XCODER_BATCH_TOPK ? "\"BatchTopKCrossCoder\"" : "\"CrossCoder\"");
  xci_text_format(&text, ",\n    \"activation_dim\": %zu,\n    \"dict_size\": %zu,\n    \"num_layers\": %zu,\n"
                  "    \"layer\": %ld,\n    \"code_normalization\": \"CROSSCODER\",\n"
                  "    \"keep_relative_variance\": true", info->d_model, info->n_latents, info->n_checkpoints,
                  info->layer);
  if (info->activation == XCODER_BATCH_TOPK) xci_text_format(&text, ",\n    \"k\": %zu", info->k);
  xci_text_format(&text, ",\n    \"keep_first\": %s,\n    \"folded\": %s,\n    \"labels\": [",
                  info->mask.keep_first ? "true" : "false", info->folded ? "true" : "false");
  for (size_t c = 0; c < info->n_checkpoints; c++) {
    xci_text_add(&text, c > 0 ? ", \"" : "\"");
    xci_text_json(&text, info->labels[c], strlen(info->labels[c]));
    xci_text_add(&text, "\"");
  }
  xci_text_add(&text, "]\n  }");
  xcoder_status status = xci_foreign_write_json(folder, "config.json", &text, err);
  xci_text_clear(&text);
  return status;
}

xcoder_status xci_write_learning(const xcoder *coder, const char *folder, xcoder_error *err) {
  const xcoder_info *info = &coder->info;
  written w = {0};
  if (info->activation == XCODER_TOPK || info->activation == XCODER_JUMP_RELU)
    return xci_fail(err, XCODER_UNSUPPORTED, "dictionary-learning: it has no %s crosscoder",
                    xci_activation_names[info->activation]);
  if (info->folded && xci_coder_has_thresholds(coder))
    return xci_fail(err, XCODER_UNSUPPORTED, "dictionary-learning: it compares the threshold with the norms of the "
                    "decoder in the file, so folded weights would fire elsewhere (write them unfolded)");
  xcoder_status status = allocate(coder, &w, err);
  if (!status) fill(coder, &w);
  if (!status) status = write_weights(coder, &w, folder, err);
  if (!status) status = write_config(coder, folder, err);
  xci_free(w.decoder);
  xci_free(w.bias);
  xci_free(w.mean);
  xci_free(w.std);
  xci_free(w.scale);
  return status;
}
