/* SPDX-License-Identifier: Apache-2.0 */
/* Effects per example as a file, written and read back. */
#include "analysis/attribution/effects_state.h"

#include "analysis/json_out.h"
#include "analysis/attribution/quadrature.h"
#include "base/memory.h"
#include "base/size.h"
#include "formats/json.h"
#include "formats/safetensors.h"
#include <string.h>

static const char *const baselines[] = {"zero", "origin", "mean", "counterfactual", "resampled"};

const char *xci_baseline_name(xcoder_baseline baseline) {
  return (unsigned)baseline < sizeof baselines / sizeof *baselines ? baselines[baseline] : "unknown";
}

xcoder_status xci_effects_hash_coder(const xci_bench *bench, char hex[33], xcoder_error *err) {
  xci_hash *hash;
  const xcoder_status status = xci_hash_open(&hash, err);
  if (status) return status;
  xcoder *coder = (xcoder *)bench->setting->coder; /* the accessor also serves writers */
  for (int tensor = XCODER_W_ENC; tensor <= XCODER_B_DEC; tensor++) {
    size_t n;
    const float *values = xcoder_weights(coder, (xcoder_tensor)tensor, &n);
    xci_hash_add(hash, values, n * sizeof *values);
  }
  for (size_t c = 0; c < bench->n; c++)
    xci_hash_add(hash, bench->info->labels[c], strlen(bench->info->labels[c]) + 1);
  xci_hash_add(hash, bench->info->scales, bench->n * sizeof *bench->info->scales);
  const double other[] = {(double)bench->info->layer, bench->info->mask.keep_first, bench->info->folded,
                          (double)bench->info->threshold, bench->info->activation, (double)bench->info->k};
  xci_hash_add(hash, other, sizeof other);
  xci_hash_close(hash, hex);
  return XCODER_OK;
}

/* ---- Writing ---- */

static xcoder_status add_settings(xci_safetensors_writer *writer, const xci_effects *e, const xci_path *path,
                                  const xci_effects_origin *origin, xcoder_error *err) {
  xci_json_out out = {0};
  xci_json_open(&out, NULL, '{');
  xci_json_count(&out, "format", 1);
  xci_json_text(&out, "crosscoder", origin->coder);
  xci_json_text(&out, "key", origin->key);
  xci_json_count(&out, "n_total", origin->n_total);
  xci_json_text(&out, "quadrature", xci_quadrature_name(path->rule));
  xci_json_count(&out, "steps", path->n_steps);
  xci_json_number(&out, "tolerance", path->tolerance);
  xci_json_text(&out, "baseline", xci_baseline_name(path->baseline));
  xci_json_text(&out, "conventions", e->authors ? "authors" : "ours");
  xci_json_close(&out, '}');
  xcoder_status status = xci_text_status(&out.text, err);
  if (!status) status = xci_safetensors_add_metadata(writer, "attribution", out.text.bytes, err);
  xci_text_clear(&out.text);
  return status;
}

static xcoder_status add_tensors(xci_safetensors_writer *writer, const xci_effects *e, const int64_t *start,
                                 const int32_t *feature, xcoder_error *err) {
  const size_t shape_start[] = {e->n_examples + 1}, shape_feature[] = {e->nnz}, shape_effect[] = {e->nnz, e->n};
  const size_t shape_cell[] = {e->n_examples, e->n}, shape_sum[] = {e->n_latents, e->n};
  xcoder_status status = xci_safetensors_add(writer, "example_start", XCI_I64, 1, shape_start, start, err);
  if (!status) status = xci_safetensors_add(writer, "feature", XCI_I32, 1, shape_feature, feature, err);
  if (!status) status = xci_safetensors_add(writer, "effect", XCI_F32, 2, shape_effect, e->effect, err);
  if (!status) status = xci_safetensors_add(writer, "error_effect", XCI_F32, 2, shape_cell, e->error, err);
  if (!status) status = xci_safetensors_add(writer, "bias_effect", XCI_F32, 2, shape_cell, e->bias, err);
  if (!status) status = xci_safetensors_add(writer, "metric_clean", XCI_F32, 2, shape_cell, e->clean, err);
  if (!status) status = xci_safetensors_add(writer, "metric_baseline", XCI_F32, 2, shape_cell, e->baseline, err);
  if (!status) status = xci_safetensors_add(writer, "gap", XCI_F64, 2, shape_cell, e->gap, err);
  if (!status) status = xci_safetensors_add(writer, "effect_sum", XCI_F64, 2, shape_sum, e->sum, err);
  if (!status) status = xci_safetensors_add(writer, "effect_sum_plain", XCI_F64, 2, shape_sum, e->plain, err);
  return status;
}

xcoder_status xci_effects_save(const xci_effects *e, const xci_path *path, const xci_effects_origin *origin,
                               const char *file, xcoder_error *err) {
  xci_safetensors_writer *writer = NULL;
  int64_t *start = NULL;
  int32_t *feature = NULL;
  xcoder_status status = XCI_ALLOC(&start, e->n_examples + 1, err);
  if (!status) status = XCI_ALLOC(&feature, e->nnz, err);
  if (!status) status = xci_safetensors_create(&writer, err);
  if (!status) {
    for (size_t k = 0; k <= e->n_examples; k++) start[k] = (int64_t)e->start[k];
    for (size_t j = 0; j < e->nnz; j++) feature[j] = (int32_t)e->feature[j];
    status = add_settings(writer, e, path, origin, err);
  }
  if (!status) status = add_tensors(writer, e, start, feature, err);
  if (!status) status = xci_safetensors_write(writer, file, err);
  xci_safetensors_discard(writer);
  xci_free(start);
  xci_free(feature);
  return status;
}

/* ---- Reading ---- */

static xcoder_status read_choice(const json_t *object, const char *file, const char *key, const char *const *names,
                                 size_t n_names, size_t *index, xcoder_error *err) {
  const char *text = NULL;
  const xcoder_status status = xci_json_get_text(object, file, key, NULL, &text, err);
  if (status) return status;
  for (*index = 0; *index < n_names; ++*index)
    if (strcmp(text, names[*index]) == 0) return XCODER_OK;
  return xci_fail(err, XCODER_FORMAT, "%s: attribution: %s is unknown", file, key);
}

static xcoder_status read_hash(const json_t *object, const char *file, const char *key, char hex[33],
                               xcoder_error *err) {
  const char *text = NULL;
  const xcoder_status status = xci_json_get_text(object, file, key, NULL, &text, err);
  if (status) return status;
  if (strlen(text) > 32) return xci_fail(err, XCODER_FORMAT, "%s: attribution: %s is no checksum", file, key);
  memcpy(hex, text, strlen(text) + 1);
  return XCODER_OK;
}

static xcoder_status read_settings(const xci_safetensors *in, const char *file, xcoder_attribute_options *options,
                                   xci_effects_origin *origin, xcoder_error *err) {
  static const char *const conventions[] = {"ours", "authors"};
  const char *text = xci_safetensors_metadata(in, "attribution"), *rules[XCODER_GRADIENT + 1];
  const double fixed = 0; /* files of older versions do not tell */
  size_t rule = 0, baseline = 0, authors = 0;
  json_t *object = NULL;
  if (!text)
    return xci_fail(err, XCODER_FORMAT, "%s: no metadata of an attribution (made by an older version? attribute again)",
                    file);
  for (size_t i = 0; i <= XCODER_GRADIENT; i++) rules[i] = xci_quadrature_name((xcoder_quadrature)i);
  xcoder_status status = xci_json_parse(text, strlen(text), file, 0, &object, err);
  if (!status) status = read_hash(object, file, "crosscoder", origin->coder, err);
  if (!status) status = read_hash(object, file, "key", origin->key, err);
  if (!status) status = xci_json_get_size(object, file, "n_total", NULL, &origin->n_total, err);
  if (!status) status = xci_json_get_size(object, file, "steps", NULL, &options->n_steps, err);
  if (!status) status = xci_json_get_number(object, file, "tolerance", &fixed, &options->tolerance, err);
  if (!status) status = read_choice(object, file, "quadrature", rules, XCODER_GRADIENT + 1, &rule, err);
  if (!status)
    status = read_choice(object, file, "baseline", baselines, sizeof baselines / sizeof *baselines, &baseline, err);
  if (!status) status = read_choice(object, file, "conventions", conventions, 2, &authors, err);
  options->quadrature = (xcoder_quadrature)rule;
  options->baseline = (xcoder_baseline)baseline;
  options->authors = authors == 1;
  json_decref(object);
  return status;
}

/* A tensor of that type and these dimensions. `columns` 0: of one dimension. */
static xcoder_status find(const xci_safetensors *in, const char *name, xci_dtype dtype, size_t rows, size_t columns,
                          const xci_tensor **tensor, xcoder_error *err) {
  const xci_tensor *t = xci_safetensors_find(in, name);
  const char *file = xci_safetensors_path(in);
  if (!t) return xci_fail(err, XCODER_FORMAT, "%s: no tensor '%s'", file, name);
  if (t->dtype != dtype || t->rank != (columns ? 2 : 1) || t->shape[0] != rows || (columns && t->shape[1] != columns))
    return xci_fail(err, XCODER_FORMAT, "%s: %s: another type or shape than that of %zu rows and %zu checkpoints",
                    file, name, rows, columns ? columns : 1);
  *tensor = t;
  return XCODER_OK;
}

/* Files are little-endian, and so are the machines that this is built for (src/formats refuses others). */
static xcoder_status copy(const xci_safetensors *in, const char *name, xci_dtype dtype, size_t rows, size_t columns,
                          void *out, xcoder_error *err) {
  const xci_tensor *t = NULL;
  const xcoder_status status = find(in, name, dtype, rows, columns, &t, err);
  if (!status && t->n_bytes) memcpy(out, t->bytes, t->n_bytes);
  return status;
}

static xcoder_status copy_lists(const xci_safetensors *in, size_t n_examples, size_t nnz, xci_effects *e,
                                xcoder_error *err) {
  const char *file = xci_safetensors_path(in);
  int64_t *start = NULL;
  int32_t *feature = NULL;
  xcoder_status status = XCI_ALLOC(&start, n_examples + 1, err);
  if (!status) status = XCI_ALLOC(&feature, nnz, err);
  if (!status) status = copy(in, "example_start", XCI_I64, n_examples + 1, 0, start, err);
  if (!status) status = copy(in, "feature", XCI_I32, nnz, 0, feature, err);
  if (!status && (start[0] != 0 || start[n_examples] != (int64_t)nnz))
    status = xci_fail(err, XCODER_FORMAT, "%s: example_start: expected 0 to %zu", file, nnz);
  for (size_t k = 0; !status && k < n_examples; k++)
    if (start[k] > start[k + 1] || start[k + 1] > (int64_t)nnz)
      status = xci_fail(err, XCODER_FORMAT, "%s: example_start: falls or leaves the list at example %zu", file, k);
  for (size_t k = 0; !status && k < n_examples; k++) {
    e->start[k + 1] = (size_t)start[k + 1];
    for (size_t j = e->start[k]; !status && j < e->start[k + 1]; j++) {
      if (feature[j] < 0 || (size_t)feature[j] >= e->n_latents || (j > e->start[k] && feature[j] <= feature[j - 1]))
        status =
            xci_fail(err, XCODER_FORMAT, "%s: feature: entry %zu does not rise in its example, or is not below %zu",
                     file, j, e->n_latents);
      else e->n_active[e->feature[j] = (uint32_t)feature[j]]++;
    }
  }
  xci_free(start);
  xci_free(feature);
  return status;
}

static xcoder_status copy_effects(const xci_safetensors *in, size_t n_examples, xci_effects *e, xcoder_error *err) {
  const xci_tensor *list = xci_safetensors_find(in, "feature");
  const size_t nnz = list && list->rank == 1 ? list->shape[0] : 0, n = e->n;
  xcoder_status status = XCODER_OK;
  if (nnz) status = xci_grow((void **)&e->feature, &e->capacity_feature, nnz, sizeof *e->feature, err);
  if (!status && nnz) status = xci_grow((void **)&e->effect, &e->capacity_effect, nnz * n, sizeof *e->effect, err);
  if (!status) status = copy_lists(in, n_examples, nnz, e, err);
  if (!status) status = copy(in, "effect", XCI_F32, nnz, n, e->effect, err);
  if (!status) status = copy(in, "error_effect", XCI_F32, n_examples, n, e->error, err);
  if (!status) status = copy(in, "bias_effect", XCI_F32, n_examples, n, e->bias, err);
  if (!status) status = copy(in, "metric_clean", XCI_F32, n_examples, n, e->clean, err);
  if (!status) status = copy(in, "metric_baseline", XCI_F32, n_examples, n, e->baseline, err);
  if (!status) status = copy(in, "gap", XCI_F64, n_examples, n, e->gap, err);
  if (!status) status = copy(in, "effect_sum", XCI_F64, e->n_latents, n, e->sum, err);
  if (!status) status = copy(in, "effect_sum_plain", XCI_F64, e->n_latents, n, e->plain, err);
  if (status) return status;
  e->nnz = nnz;
  e->n_examples = n_examples;
  return XCODER_OK;
}

xcoder_status xci_effects_load(const xci_bench *bench, const char *file, size_t n_total,
                               xcoder_attribute_options *options, xci_effects_origin *origin, xci_effects *e,
                               xcoder_error *err) {
  xci_safetensors *in = NULL;
  *e = (xci_effects){0};
  *origin = (xci_effects_origin){0};
  xcoder_status status = xci_safetensors_open(file, &in, err);
  if (!status) status = read_settings(in, file, options, origin, err);
  const xci_tensor *cells = status ? NULL : xci_safetensors_find(in, "metric_clean");
  const size_t n_examples = cells && cells->rank == 2 ? cells->shape[0] : 0;
  if (!status && (n_examples == 0 || n_examples > origin->n_total ||
                  origin->n_total != (n_total ? n_total : n_examples)))
    status = xci_fail(err, XCODER_FORMAT, "%s: metric_clean: %zu examples of %zu, expected %zu", file, n_examples,
                      origin->n_total, n_total ? n_total : n_examples);
  if (!status && cells->shape[1] != bench->n)
    status = xci_fail(err, XCODER_MISMATCH, "%s: effects at %zu checkpoints, the crosscoder has %zu", file,
                      cells->shape[1], bench->n);
  if (!status) status = xci_effects_open(bench, origin->n_total, e, err);
  if (!status) {
    e->authors = options->authors;
    status = copy_effects(in, n_examples, e, err);
  }
  if (status) xci_effects_close(e);
  xci_safetensors_close(in);
  return status;
}
