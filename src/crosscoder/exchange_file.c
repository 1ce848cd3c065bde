/* SPDX-License-Identifier: Apache-2.0 */
/* What the forms of other programs share: tensors by name with every check, labels, scales, layer, JSON. */
#include "base/memory.h"
#include "base/size.h"
#include "crosscoder/foreign.h"
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TENSOR_NAME = 128 };

/* ---- Tensors ---- */

static size_t count_tensors(const xci_foreign *file) {
  return file->torch != NULL ? xci_torch_count(file->torch) : xci_safetensors_count(file->safetensors);
}

static const xci_tensor *tensor_at(const xci_foreign *file, size_t i) {
  return file->torch != NULL ? xci_torch_at(file->torch, i) : xci_safetensors_at(file->safetensors, i);
}

const xci_tensor *xci_foreign_find(const xci_foreign *file, const char *name) {
  char whole[MAX_TENSOR_NAME];
  snprintf(whole, sizeof whole, "%s%s", file->prefix, name);
  return file->torch != NULL ? xci_torch_find(file->torch, whole) : xci_safetensors_find(file->safetensors, whole);
}

xcoder_status xci_foreign_check_names(const xci_foreign *file, const char *const *names, size_t n, xcoder_error *err) {
  char quoted[XCODER_ERROR_BYTES];
  size_t n_prefix = strlen(file->prefix);
  for (size_t i = 0; i < count_tensors(file); i++) {
    const char *name = tensor_at(file, i)->name;
    bool known = strncmp(name, file->prefix, n_prefix) == 0;
    size_t k = 0;
    while (known && k < n && strcmp(name + n_prefix, names[k]) != 0) k++;
    if (!known || k == n)
      return xci_fail(err, XCODER_UNSUPPORTED, "%s: tensor '%s': not one of those of this form", file->path,
                      xci_quote(quoted, sizeof quoted, name, strlen(name)));
  }
  return XCODER_OK;
}

static void print_shape(char text[128], size_t rank, const size_t *shape) {
  size_t n = (size_t)snprintf(text, 128, "[");
  for (size_t r = 0; r < rank && n < 100; r++)
    n += (size_t)snprintf(text + n, 128 - n, r > 0 ? ", %zu" : "%zu", shape[r]);
  snprintf(text + n, 128 - n, "]");
}

static xcoder_status check_shape(const xci_foreign *file, const char *name, const xci_tensor *tensor, size_t rank,
                                 const size_t *shape, xcoder_error *err) {
  char found[128], expected[128];
  if (tensor == NULL) return xci_fail(err, XCODER_FORMAT, "%s: no tensor '%s%s'", file->path, file->prefix, name);
  bool same = tensor->rank == rank;
  for (size_t r = 0; r < rank && same; r++) same = tensor->shape[r] == shape[r];
  if (same) return XCODER_OK;
  print_shape(found, tensor->rank, tensor->shape);
  print_shape(expected, rank, shape);
  return xci_fail(err, XCODER_FORMAT, "%s: %s: shape %s, expected %s", file->path, name, found, expected);
}

static xcoder_status read_floats(const xci_foreign *file, const char *name, size_t rank, const size_t *shape,
                                 float **values, const xci_tensor **tensor, xcoder_error *err) {
  *values = NULL;
  *tensor = xci_foreign_find(file, name);
  xcoder_status status = check_shape(file, name, *tensor, rank, shape, err);
  if (!status) status = XCI_ALLOC(values, (*tensor)->n_values, err);
  if (!status) status = xci_tensor_to_f32(*tensor, *values, err);
  return status;
}

static void drop(float **values) {
  xci_free(*values);
  *values = NULL;
}

xcoder_status xci_foreign_floats(const xci_foreign *file, const char *name, size_t rank, const size_t *shape,
                                 float **values, xcoder_error *err) {
  const xci_tensor *tensor;
  xcoder_status status = read_floats(file, name, rank, shape, values, &tensor, err);
  for (size_t i = 0; !status && i < tensor->n_values; i++)
    if (!isfinite((*values)[i]))
      status = xci_fail(err, XCODER_FORMAT, "%s: %s: value %zu is not a finite number", file->path, name, i);
  if (status) drop(values);
  return status;
}

xcoder_status xci_foreign_buffer(const xci_foreign *file, const char *name, size_t rank, const size_t *shape,
                                 float **values, bool *all_nan, xcoder_error *err) {
  const xci_tensor *tensor;
  size_t n_nan = 0;
  xcoder_status status = read_floats(file, name, rank, shape, values, &tensor, err);
  for (size_t i = 0; !status && i < tensor->n_values; i++) {
    n_nan += isnan((*values)[i]);
    if (isinf((*values)[i]))
      status = xci_fail(err, XCODER_FORMAT, "%s: %s: value %zu is infinite", file->path, name, i);
  }
  if (!status && n_nan > 0 && n_nan < tensor->n_values)
    status = xci_fail(err, XCODER_FORMAT, "%s: %s: %zu of %zu values are NaN, expected all or none", file->path, name,
                      n_nan, tensor->n_values);
  if (status) drop(values);
  *all_nan = n_nan > 0;
  return status;
}

xcoder_status xci_foreign_scalar(const xci_foreign *file, const char *name, bool *found, double *value,
                                 xcoder_error *err) {
  const xci_tensor *tensor = xci_foreign_find(file, name);
  *found = tensor != NULL;
  if (tensor == NULL) return XCODER_OK;
  if (tensor->n_values != 1)
    return xci_fail(err, XCODER_UNSUPPORTED, "%s: %s: %zu values, expected one", file->path, name, tensor->n_values);
  bool real = tensor->dtype == XCI_F32 || tensor->dtype == XCI_F64 || tensor->dtype == XCI_F16 ||
              tensor->dtype == XCI_BF16;
  float number = 0;
  int64_t integer = 0;
  xcoder_status status = real ? xci_tensor_to_f32(tensor, &number, err) : xci_tensor_to_i64(tensor, &integer, err);
  if (!status) *value = real ? (double)number : (double)integer;
  if (!status && !isfinite(*value))
    status = xci_fail(err, XCODER_FORMAT, "%s: %s: not a finite number", file->path, name);
  return status;
}

void xci_foreign_note(const xci_foreign *file, const char *format, ...) {
  char *notes = file->report->notes;
  size_t n = strlen(notes), room = sizeof file->report->notes;
  if (n > 0 && n + 3 < room) n += (size_t)snprintf(notes + n, room - n, "; ");
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(notes + n, room - n, format, arguments);
  va_end(arguments);
}

/* ---- A crosscoder of this shape ---- */

long xci_foreign_layer(const char *hook) {
  if (hook == NULL || strncmp(hook, "blocks.", 7) != 0) return LONG_MIN;
  char *end;
  if (hook[7] < '0' || hook[7] > '9') return LONG_MIN;
  unsigned long block = strtoul(hook + 7, &end, 10);
  if (block > XCI_MAX_LAYER) return LONG_MIN;
  if (strcmp(end, ".hook_resid_pre") == 0) return (long)block - 1;
  return strcmp(end, ".hook_resid_post") == 0 ? (long)block : LONG_MIN;
}

xcoder_status xci_foreign_create(const xci_foreign *file, const char *const *labels, const float *scales, long layer,
                                 xcoder **coder, xcoder_error *err) {
  const xcoder_import_options *o = file->options;
  size_t n = file->n_checkpoints;
  *coder = NULL;
  if (o->n_scales > 0 && o->n_scales != n)
    return xci_fail(err, XCODER_USAGE, "scales: %zu were given, expected %zu, one for each checkpoint", o->n_scales, n);
  if (o->n_labels > 0 && o->n_labels != n)
    return xci_fail(err, XCODER_USAGE, "labels: %zu were given, expected %zu, one for each checkpoint", o->n_labels, n);
  if (o->n_labels > 0) labels = o->labels;
  if (o->n_scales > 0) scales = o->scales;
  if (o->has_layer) layer = o->layer;
  if (layer == LONG_MIN)
    return xci_fail(err, XCODER_USAGE, "%s: the layer is in no file beside it (give --layer)", file->path);
  if (scales == NULL)
    return xci_fail(err, XCODER_USAGE, "%s: the scales of the activations are in no file beside it (give --scales, all "
                    "1 if the activations will be scaled already)", file->path);
  xcoder_status status = xcoder_create(n, file->d_model, file->n_latents, layer, labels, scales, coder, err);
  if (status && err != NULL && status != XCODER_MEMORY) { /* of a file, not of the call */
    char why[XCODER_ERROR_BYTES];
    snprintf(why, sizeof why, "%s", err->message);
    status = xci_fail(err, XCODER_FORMAT, "%s: %s", file->path, why);
  }
  return status;
}

xcoder_status xci_foreign_copy(const xci_foreign *file, const char *name, xci_coder_tensor tensor, xcoder *coder,
                               xcoder_error *err) {
  size_t shape[3], rank = xci_coder_tensor_shape(file->n_checkpoints, file->d_model, file->n_latents, tensor, shape);
  float *values;
  xcoder_status status = xci_foreign_floats(file, name, rank, shape, &values, err);
  if (status) return status;
  memcpy(coder->weights[tensor], values, coder->n_values[tensor] * sizeof *values);
  xci_free(values);
  return XCODER_OK;
}

xcoder_status xci_foreign_decoder(const xci_foreign *file, const char *name, xcoder *coder, xcoder_error *err) {
  size_t n = file->n_checkpoints, d = file->d_model, n_latents = file->n_latents;
  const size_t shape[3] = {n, n_latents, d};
  float *values;
  xcoder_status status = xci_foreign_floats(file, name, 3, shape, &values, err);
  if (status) return status;
  for (size_t c = 0; c < n; c++)
    for (size_t i = 0; i < n_latents; i++)
      memcpy(coder->weights[XCI_W_DEC] + (i * n + c) * d, values + (c * n_latents + i) * d, d * sizeof *values);
  xci_free(values);
  return XCODER_OK;
}

/* ---- What the forms of autoencoders share ---- */

void xci_foreign_move_bias(xcoder *coder) {
  size_t d = coder->info.d_model, n_latents = coder->info.n_latents;
  for (size_t i = 0; i < n_latents; i++) {
    double sum = (double)coder->weights[XCI_B_ENC][i];
    for (size_t k = 0; k < d; k++)
      sum -= (double)coder->weights[XCI_B_DEC][k] * (double)coder->weights[XCI_W_ENC][k * n_latents + i];
    coder->weights[XCI_B_ENC][i] = (float)sum;
  }
}

xcoder_status xci_foreign_thresholds(const xcoder *coder, float **theta, xcoder_error *err) {
  xcoder_status status = XCI_ALLOC(theta, coder->info.n_latents, err);
  if (!status) status = xci_coder_thresholds(coder, *theta, err);
  for (size_t i = 0; i < coder->info.n_latents && !status; i++)
    if (isinf((*theta)[i])) (*theta)[i] = 3.4e38f;
  return status;
}

/* ---- JSON ---- */

static void add_key(xci_text *text, const char *key) {
  xci_text_format(text, "%s  \"%s\": ", text->n_bytes > 0 ? ",\n" : "", key);
}

void xci_foreign_json_text(xci_text *text, const char *key, const char *value) {
  add_key(text, key);
  xci_text_add(text, "\"");
  xci_text_json(text, value, strlen(value));
  xci_text_add(text, "\"");
}

void xci_foreign_json_number(xci_text *text, const char *key, double value) {
  add_key(text, key);
  xci_text_json_number(text, value);
}

xcoder_status xci_foreign_write_json(const char *folder, const char *name, const xci_text *text, xcoder_error *err) {
  char *path = NULL;
  xci_writer *writer = NULL;
  xcoder_status status = xci_text_status(text, err);
  if (!status) status = xci_join_path(folder, name, &path, err);
  if (!status) status = xci_writer_open(path, &writer, err);
  if (!status) status = xci_writer_write(writer, "{\n", 2, err);
  if (!status) status = xci_writer_write(writer, text->bytes, text->n_bytes, err);
  if (!status) status = xci_writer_write(writer, "\n}\n", 3, err);
  if (!status) {
    status = xci_writer_commit(writer, err);
    writer = NULL;
  }
  xci_writer_abort(writer);
  xci_free(path);
  return status;
}
