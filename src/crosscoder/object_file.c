/* SPDX-License-Identifier: Apache-2.0 */
/* crosscoder.safetensors: writing it, and reading it with every check. */
#include "base/memory.h"
#include "base/text.h"
#include "crosscoder/checkpoint.h"
#include "crosscoder/object.h"
#include "formats/json.h"
#include <math.h>
#include <string.h>

/* ---- Writing ---- */

static xcoder_status add_text(xci_safetensors_writer *writer, const char *key, xci_text *text, xcoder_error *err) {
  xcoder_status status = xci_text_status(text, err);
  if (status == XCODER_OK) status = xci_safetensors_add_metadata(writer, key, text->bytes, err);
  xci_text_clear(text);
  return status;
}

static xcoder_status add_labels(xci_safetensors_writer *writer, const xcoder_info *info, xcoder_error *err) {
  xci_text text = {0};
  for (size_t c = 0; c < info->n_checkpoints; c++) {
    xci_text_add(&text, c == 0 ? "[\"" : ",\"");
    xci_text_json(&text, info->labels[c], strlen(info->labels[c]));
    xci_text_add(&text, "\"");
  }
  xci_text_add(&text, "]");
  return add_text(writer, "labels", &text, err);
}

static xcoder_status add_scales(xci_safetensors_writer *writer, const xcoder_info *info, xcoder_error *err) {
  xci_text text = {0};
  for (size_t c = 0; c < info->n_checkpoints; c++) {
    xci_text_add(&text, c == 0 ? "[" : ",");
    xci_text_json_number(&text, (double)info->scales[c]); /* as a double, so that it reads back exactly */
  }
  xci_text_add(&text, "]");
  return add_text(writer, "scales", &text, err);
}

static xcoder_status add_number(xci_safetensors_writer *writer, const char *key, double value, xcoder_error *err) {
  xci_text text = {0};
  xci_text_json_number(&text, value);
  return add_text(writer, key, &text, err);
}

xcoder_status xci_coder_add_metadata(xci_safetensors_writer *writer, const xcoder_info *info, xcoder_error *err) {
  xcoder_status status = add_number(writer, "format_version", XCI_CODER_FORMAT, err);
  if (status == XCODER_OK) status = add_labels(writer, info, err);
  if (status == XCODER_OK) status = add_scales(writer, info, err);
  if (status == XCODER_OK) status = add_number(writer, "layer", (double)info->layer, err);
  if (status == XCODER_OK)
    status = xci_safetensors_add_metadata(writer, "folded", info->folded ? "true" : "false", err);
  if (status == XCODER_OK)
    status = xci_safetensors_add_metadata(writer, "mask_keep_first", info->mask.keep_first ? "true" : "false", err);
  if (status == XCODER_OK && info->threshold >= 0)
    status = add_number(writer, "threshold", (double)info->threshold, err);
  if (status == XCODER_OK)
    status = xci_safetensors_add_metadata(writer, "activation", xci_activation_names[info->activation], err);
  if (status == XCODER_OK && info->k > 0) status = add_number(writer, "k", (double)info->k, err);
  return status;
}

xcoder_status xcoder_save(const xcoder *coder, const char *path, xcoder_error *err) {
  xci_safetensors_writer *writer = NULL;
  float *theta = NULL, *score = NULL;
  const xcoder_info *info = &coder->info;
  xcoder_status status = xci_safetensors_create(&writer, err);
  for (int t = 0; t < XCI_N_TENSORS && status == XCODER_OK; t++) {
    size_t shape[3];
    size_t rank = xci_coder_tensor_shape(info->n_checkpoints, info->d_model, info->n_latents, (xci_coder_tensor)t,
                                         shape);
    status = xci_safetensors_add(writer, xci_coder_tensor_names[t], XCI_F32, rank, shape, coder->weights[t], err);
  }
  if (status == XCODER_OK) status = xci_safetensors_add_metadata(writer, "format", "crosscoder", err);
  if (status == XCODER_OK) status = xci_coder_add_metadata(writer, info, err);
  if (status == XCODER_OK && xci_coder_has_thresholds(coder)) {
    status = XCI_ALLOC(&theta, info->n_latents, err);
    if (status == XCODER_OK) status = xci_coder_thresholds(coder, theta, err);
    if (status == XCODER_OK)
      status = xci_safetensors_add(writer, "threshold", XCI_F32, 1, &info->n_latents, theta, err);
  }
  if (status == XCODER_OK && info->activation == XCODER_TOPK) {
    status = XCI_ALLOC(&score, info->n_latents, err);
    if (status == XCODER_OK) status = xci_coder_scores(coder, score, err);
    if (status == XCODER_OK) status = xci_safetensors_add(writer, "score", XCI_F32, 1, &info->n_latents, score, err);
  }
  if (status == XCODER_OK) status = xci_safetensors_write(writer, path, err);
  xci_safetensors_discard(writer);
  xci_free(theta);
  xci_free(score);
  return status;
}

/* ---- Reading ---- */

typedef struct header {
  size_t n_checkpoints, d_model, n_latents;
  json_t *labels, *scales;
  long layer;
  bool folded, keep_first;
  float threshold;
  xcoder_activation activation;
  size_t k;
} header;

static xcoder_status need_metadata(const xci_safetensors *file, const char *key, const char **value,
                                   xcoder_error *err) {
  *value = xci_safetensors_metadata(file, key);
  if (*value == NULL)
    return xci_fail(err, XCODER_FORMAT, "%s: metadata: no \"%s\"; this is not a crosscoder of this project",
                    xci_safetensors_path(file), key);
  return XCODER_OK;
}

static xcoder_status read_bool(const xci_safetensors *file, const char *key, bool *out, xcoder_error *err) {
  const char *value;
  xcoder_status status = need_metadata(file, key, &value, err);
  if (status != XCODER_OK) return status;
  *out = strcmp(value, "true") == 0;
  if (!*out && strcmp(value, "false") != 0)
    return xci_fail(err, XCODER_FORMAT, "%s: metadata %s: found \"%s\", expected true or false",
                    xci_safetensors_path(file), key, value);
  return XCODER_OK;
}

/* A metadata value that holds JSON. An array around it lets bare numbers through the parser. */
static xcoder_status read_json(const xci_safetensors *file, const char *key, json_t **out, xcoder_error *err) {
  const char *value;
  json_t *array = NULL;
  xci_text text = {0};
  *out = NULL;
  xcoder_status status = need_metadata(file, key, &value, err);
  if (status != XCODER_OK) return status;
  xci_text_format(&text, "[%s]", value);
  status = xci_text_status(&text, err);
  if (status == XCODER_OK)
    status = xci_json_parse(text.bytes, text.n_bytes, xci_safetensors_path(file), 0, &array, err);
  xci_text_clear(&text);
  if (status != XCODER_OK) return status;
  if (json_is_array(array) && json_array_size(array) == 1) *out = json_incref(json_array_get(array, 0));
  json_decref(array);
  if (*out == NULL)
    return xci_fail(err, XCODER_FORMAT, "%s: metadata %s: not one JSON value", xci_safetensors_path(file), key);
  return XCODER_OK;
}

static xcoder_status read_number(const xci_safetensors *file, const char *key, double low, double high, double *out,
                                 xcoder_error *err) {
  json_t *value = NULL;
  xcoder_status status = read_json(file, key, &value, err);
  if (status != XCODER_OK) return status;
  double number = json_is_number(value) ? json_number_value(value) : NAN;
  json_decref(value);
  if (!(number >= low && number <= high))
    return xci_fail(err, XCODER_FORMAT, "%s: metadata %s: expected a number from %g to %g", xci_safetensors_path(file),
                    key, low, high);
  *out = number;
  return XCODER_OK;
}

static xcoder_status check_version(const xci_safetensors *file, xcoder_error *err) {
  double version;
  xcoder_status status = read_number(file, "format_version", 1, 1e9, &version, err);
  if (status == XCODER_OK && version > XCI_CODER_FORMAT)
    return xci_fail(err, XCODER_UNSUPPORTED, "%s: made by format %g, this reads up to %d (use a newer crosscoder)",
                    xci_safetensors_path(file), version, XCI_CODER_FORMAT);
  return status;
}

static xcoder_status check_labels(const char *path, const json_t *labels, size_t n, xcoder_error *err) {
  if (!json_is_array(labels) || json_array_size(labels) != n)
    return xci_fail(err, XCODER_FORMAT, "%s: metadata labels: expected an array of %zu names", path, n);
  for (size_t c = 0; c < n; c++) {
    const char *label = json_string_value(json_array_get(labels, c));
    if (label == NULL || label[0] == '\0')
      return xci_fail(err, XCODER_FORMAT, "%s: metadata labels: name %zu is not a text", path, c);
    for (size_t e = 0; e < c; e++)
      if (strcmp(json_string_value(json_array_get(labels, e)), label) == 0)
        return xci_fail(err, XCODER_FORMAT, "%s: metadata labels: \"%s\" occurs twice", path, label);
  }
  return XCODER_OK;
}

static xcoder_status check_scale_list(const char *path, const json_t *scales, size_t n, xcoder_error *err) {
  if (!json_is_array(scales) || json_array_size(scales) != n)
    return xci_fail(err, XCODER_FORMAT, "%s: metadata scales: expected an array of %zu numbers", path, n);
  for (size_t c = 0; c < n; c++) {
    const json_t *scale = json_array_get(scales, c);
    float value = json_is_number(scale) ? (float)json_number_value(scale) : 0;
    if (!isfinite(value) || value <= 0)
      return xci_fail(err, XCODER_FORMAT, "%s: metadata scales: number %zu is not a positive number", path, c);
  }
  return XCODER_OK;
}

/* The sizes come from W_dec; the other three must agree with it. */
static xcoder_status read_shape(const xci_safetensors *file, header *head, xcoder_error *err) {
  const char *path = xci_safetensors_path(file);
  for (int k = 0; k < XCI_N_TENSORS; k++) {
    int t = (k + XCI_W_DEC) % XCI_N_TENSORS; /* W_dec first */
    const char *name = xci_coder_tensor_names[t];
    const xci_tensor *tensor = xci_safetensors_find(file, name);
    if (tensor == NULL) return xci_fail(err, XCODER_FORMAT, "%s: no tensor \"%s\"", path, name);
    if (t == XCI_W_DEC) {
      size_t n_values[XCI_N_TENSORS];
      if (tensor->rank != 3)
        return xci_fail(err, XCODER_FORMAT, "%s: W_dec: rank %zu, expected 3: [features, checkpoints, width]", path,
                        tensor->rank);
      head->n_latents = tensor->shape[0], head->n_checkpoints = tensor->shape[1], head->d_model = tensor->shape[2];
      if (xci_coder_sizes(head->n_checkpoints, head->d_model, head->n_latents, n_values, NULL) != XCODER_OK)
        return xci_fail(err, XCODER_FORMAT, "%s: W_dec: shape [%zu, %zu, %zu] is not that of a crosscoder", path,
                        tensor->shape[0], tensor->shape[1], tensor->shape[2]);
    }
    size_t shape[3];
    size_t rank = xci_coder_tensor_shape(head->n_checkpoints, head->d_model, head->n_latents, (xci_coder_tensor)t,
                                         shape);
    bool same = tensor->rank == rank;
    for (size_t r = 0; r < rank && same; r++) same = tensor->shape[r] == shape[r];
    if (!same) return xci_fail(err, XCODER_FORMAT, "%s: %s: its shape does not fit that of W_dec", path, name);
    if (tensor->dtype != XCI_F32)
      return xci_fail(err, XCODER_UNSUPPORTED, "%s: %s: type %s, expected F32", path, name,
                      xci_dtype_name(tensor->dtype));
  }
  return XCODER_OK;
}

/* Files from before the activation was named: with a threshold, batchtopk. */
static xcoder_status read_activation(const xci_safetensors *file, header *head, xcoder_error *err) {
  const char *path = xci_safetensors_path(file), *name = xci_safetensors_metadata(file, "activation");
  double k = 0;
  int a = 0;
  if (name == NULL) {
    head->activation = head->threshold >= 0 ? XCODER_BATCH_TOPK : XCODER_RELU;
    return XCODER_OK;
  }
  while (a <= XCODER_JUMP_RELU && strcmp(name, xci_activation_names[a]) != 0) a++;
  if (a > XCODER_JUMP_RELU)
    return xci_fail(err, XCODER_UNSUPPORTED, "%s: metadata activation: found \"%s\", expected relu, batchtopk, topk or "
                    "jumprelu", path, name);
  head->activation = (xcoder_activation)a;
  bool needed = head->activation == XCODER_TOPK;
  xcoder_status status = XCODER_OK;
  if (needed || xci_safetensors_metadata(file, "k") != NULL) status = read_number(file, "k", 1, 4294967295.0, &k, err);
  if (status == XCODER_OK && k != floor(k))
    status = xci_fail(err, XCODER_FORMAT, "%s: metadata k: %g is not a whole number", path, k);
  head->k = (size_t)k;
  return status;
}

static xcoder_status read_header(const xci_safetensors *file, header *head, xcoder_error *err) {
  const char *path = xci_safetensors_path(file);
  double layer = 0, threshold = -1;
  xcoder_status status = check_version(file, err);
  if (status == XCODER_OK) status = read_shape(file, head, err);
  if (status == XCODER_OK) status = read_json(file, "labels", &head->labels, err);
  if (status == XCODER_OK) status = check_labels(path, head->labels, head->n_checkpoints, err);
  if (status == XCODER_OK) status = read_json(file, "scales", &head->scales, err);
  if (status == XCODER_OK) status = check_scale_list(path, head->scales, head->n_checkpoints, err);
  if (status == XCODER_OK) status = read_number(file, "layer", -1, XCI_MAX_LAYER, &layer, err);
  if (status == XCODER_OK && layer != floor(layer))
    status = xci_fail(err, XCODER_FORMAT, "%s: metadata layer: %g is not a whole number", path, layer);
  if (status == XCODER_OK) status = read_bool(file, "folded", &head->folded, err);
  if (status == XCODER_OK) status = read_bool(file, "mask_keep_first", &head->keep_first, err);
  if (status == XCODER_OK && xci_safetensors_metadata(file, "threshold") != NULL)
    status = read_number(file, "threshold", 0, 3e38, &threshold, err);
  head->layer = (long)layer;
  head->threshold = (float)threshold;
  return status == XCODER_OK ? read_activation(file, head, err) : status;
}

static xcoder_status read_weights(const xci_safetensors *file, xcoder *coder, xcoder_error *err) {
  for (int t = 0; t < XCI_N_TENSORS; t++) {
    const char *name = xci_coder_tensor_names[t];
    xcoder_status status = xci_tensor_to_f32(xci_safetensors_find(file, name), coder->weights[t], err);
    if (status != XCODER_OK) return status;
    for (size_t i = 0; i < coder->n_values[t]; i++)
      if (!isfinite(coder->weights[t][i]))
        return xci_fail(err, XCODER_FORMAT, "%s: %s: value %zu is not a finite number", xci_safetensors_path(file),
                        name, i);
  }
  return XCODER_OK;
}

/* A vector of one value a feature; thresholds may be infinite (a feature whose decoder is 0 never fires). */
static xcoder_status read_vector(const xci_safetensors *file, const char *name, size_t n, bool infinite, float **values,
                                 xcoder_error *err) {
  const char *path = xci_safetensors_path(file);
  const xci_tensor *tensor = xci_safetensors_find(file, name);
  if (tensor == NULL) return xci_fail(err, XCODER_FORMAT, "%s: no tensor \"%s\"", path, name);
  if (tensor->rank != 1 || tensor->shape[0] != n || tensor->dtype != XCI_F32)
    return xci_fail(err, XCODER_FORMAT, "%s: %s: expected %zu values of type F32", path, name, n);
  xcoder_status status = XCI_ALLOC(values, n, err);
  if (status == XCODER_OK) status = xci_tensor_to_f32(tensor, *values, err);
  for (size_t i = 0; i < n && status == XCODER_OK; i++)
    if (isnan((*values)[i]) || (isinf((*values)[i]) && (!infinite || (*values)[i] < 0)))
      status = xci_fail(err, XCODER_FORMAT, "%s: %s: value %zu is not a finite number", path, name, i);
  return status;
}

/* A saved state of training has the scalar only: its thresholds follow from the norms. */
static xcoder_status read_gate(const xci_safetensors *file, const header *head, xcoder *coder, xcoder_error *err) {
  float *theta = NULL, *score = NULL;
  bool has_theta = xci_safetensors_find(file, "threshold") != NULL;
  bool has_score = xci_safetensors_find(file, "score") != NULL;
  xcoder_status status = XCODER_OK;
  if (has_theta || head->activation == XCODER_JUMP_RELU)
    status = read_vector(file, "threshold", head->n_latents, true, &theta, err);
  if (status == XCODER_OK && has_score) status = read_vector(file, "score", head->n_latents, false, &score, err);
  if (status == XCODER_OK)
    status = xci_coder_set_activation(coder, head->activation, head->k, head->threshold, theta, score, err);
  xci_free(theta);
  xci_free(score);
  return status;
}

static xcoder_status create_from(const header *head, xcoder **coder, xcoder_error *err) {
  const char *labels[XCODER_MAX_CHECKPOINTS];
  float scales[XCODER_MAX_CHECKPOINTS];
  for (size_t c = 0; c < head->n_checkpoints; c++) {
    labels[c] = json_string_value(json_array_get(head->labels, c));
    scales[c] = (float)json_number_value(json_array_get(head->scales, c));
  }
  xcoder_status status =
      xcoder_create(head->n_checkpoints, head->d_model, head->n_latents, head->layer, labels, scales, coder, err);
  if (status != XCODER_OK) return status;
  (*coder)->info.folded = head->folded;
  (*coder)->info.mask.keep_first = head->keep_first;
  return XCODER_OK;
}

xcoder_status xci_coder_load_file(const char *path, xcoder **coder, xcoder_error *err) {
  *coder = NULL;
  xci_safetensors *file = NULL;
  header head = {0};
  xcoder *made = NULL;
  xcoder_status status = xci_safetensors_open(path, &file, err);
  if (status == XCODER_OK) status = read_header(file, &head, err);
  if (status == XCODER_OK) status = create_from(&head, &made, err);
  if (status == XCODER_OK) status = read_weights(file, made, err);
  if (status == XCODER_OK) status = read_gate(file, &head, made, err);
  json_decref(head.labels);
  json_decref(head.scales);
  xci_safetensors_close(file);
  if (status == XCODER_OK)
    *coder = made;
  else
    xcoder_free_coder(made);
  return status;
}

/* Verifies a checkpoint folder and reads its state. */
static xcoder_status load_checkpoint(const char *folder, xcoder **coder, xcoder_error *err) {
  char *state = NULL;
  xcoder_status status = xci_checkpoint_verify(folder, NULL, err);
  if (!status) status = xci_join_path(folder, "state.safetensors", &state, err);
  if (!status) status = xci_coder_load_file(state, coder, err);
  xci_free(state);
  return status;
}

/* A folder is a checkpoint (it has a state), or a run: then its result is read, or the newest good checkpoint of an
 * unfinished run. */
static xcoder_status load_folder(const char *path, xcoder **coder, xcoder_error *err) {
  char *state = NULL, *result = NULL, *newest = NULL;
  xcoder_status status = xci_join_path(path, "state.safetensors", &state, err);
  if (!status) status = xci_join_path(path, "crosscoder.safetensors", &result, err);
  if (!status && xci_exists(state)) {
    status = load_checkpoint(path, coder, err);
  } else if (!status && xci_exists(result)) {
    status = xci_coder_load_file(result, coder, err);
  } else if (!status) {
    status = xci_checkpoint_newest(path, &newest, err);
    if (!status) status = load_checkpoint(newest, coder, err);
  }
  xci_free(state);
  xci_free(result);
  xci_free(newest);
  return status;
}

xcoder_status xcoder_load(const char *path, xcoder **coder, xcoder_error *err) {
  *coder = NULL;
  return xci_is_folder(path) ? load_folder(path, coder, err) : xci_coder_load_file(path, coder, err);
}
