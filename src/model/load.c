/* SPDX-License-Identifier: Apache-2.0 */
/* From files to weights on a device: first every shape is checked against the config, then memory is taken. */
#include "model/model.h"

#include "base/memory.h"
#include "base/size.h"
#include "compute/dtype.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_BYTES = 256 };

/* The tensor of a rule, with the family's prefix or without it. `layer` < 0: not of a block. */
static const xci_tensor *find_tensor(const xci_config *config, const xci_weight_files *files,
                                     const xci_tensor_rule *rule, long layer, char name[NAME_BYTES],
                                     const char **path) {
  const xci_family *f = config->family;
  for (int with_prefix = 1; with_prefix >= 0; with_prefix--) {
    const char *prefix = with_prefix && !rule->without_prefix ? f->prefix : "";
    if (layer < 0) snprintf(name, NAME_BYTES, "%s%s", prefix, rule->name);
    else snprintf(name, NAME_BYTES, "%s%s%ld.%s", prefix, f->layer_prefix, layer, rule->name);
    const xci_tensor *tensor = xci_weight_files_find(files, name, path);
    if (tensor != NULL) return tensor;
  }
  if (!rule->without_prefix) { /* for messages: the full name */
    char bare[NAME_BYTES];
    snprintf(bare, sizeof bare, "%.200s", name);
    snprintf(name, NAME_BYTES, "%s%.200s", f->prefix, bare);
  }
  return NULL;
}

static void show_shape(const xci_tensor *t, char text[120]) {
  size_t at = (size_t)snprintf(text, 120, "[");
  for (size_t i = 0; i < t->rank && at < 100; i++)
    at += (size_t)snprintf(text + at, 120 - at, "%s%zu", i > 0 ? "," : "", t->shape[i]);
  if (at < 119) snprintf(text + at, 120 - at, "]");
}

static xcoder_status check_tensor(const xci_config *config, const xci_weight_files *files,
                                  const xci_tensor_rule *rule, long layer, const xci_tensor **found,
                                  const char **path, xcoder_error *err) {
  char name[NAME_BYTES], shape[120], wanted[60];
  *path = files->source;
  *found = find_tensor(config, files, rule, layer, name, path);
  if (*found == NULL)
    return xci_fail(err, XCODER_MISMATCH, "%s: tensor '%s' is missing, config.json asks for it", files->source, name);
  const xci_tensor *t = *found;
  size_t rows = xci_extent_size(config, rule->rows), columns = xci_extent_size(config, rule->columns);
  bool fits = rule->rows == XCI_EXTENT_NONE ? t->rank == 1 && t->shape[0] == columns
                                            : t->rank == 2 && t->shape[0] == rows && t->shape[1] == columns;
  if (!fits) {
    show_shape(t, shape);
    if (rule->rows == XCI_EXTENT_NONE) snprintf(wanted, sizeof wanted, "[%zu]", columns);
    else snprintf(wanted, sizeof wanted, "[%zu,%zu]", rows, columns);
    return xci_fail(err, XCODER_MISMATCH, "%s: tensor '%s': shape %s, config.json asks for %s", *path, name, shape,
                    wanted);
  }
  if (!xci_dtype_is_float(t->dtype))
    return xci_fail(err, XCODER_FORMAT, "%s: tensor '%s': type %s, expected floating point", *path, name,
                    xci_dtype_name(t->dtype));
  return XCODER_OK;
}

static bool exists(const xci_tensor_rule *rule, const xci_config *config) {
  return rule->exists == NULL || rule->exists(config);
}

static bool ends_with(const char *name, const char *ending) {
  size_t n = strlen(name), m = strlen(ending);
  return n >= m && strcmp(name + n - m, ending) == 0;
}

/* A block beyond those of the config means that config and weights do not belong together. */
static xcoder_status check_surplus(const xci_config *config, const xci_weight_files *files, xcoder_error *err) {
  const xci_family *f = config->family;
  size_t n_prefix = strlen(f->prefix), n_layer_prefix = strlen(f->layer_prefix);
  for (size_t i = 0; i < files->n_files; i++)
    for (size_t k = 0; k < xci_weight_file_count(&files->file[i]); k++) {
      const char *name = xci_weight_file_at(&files->file[i], k)->name, *p = name;
      if (strncmp(p, f->prefix, n_prefix) == 0) p += n_prefix;
      if (strncmp(p, f->layer_prefix, n_layer_prefix) != 0) continue;
      p += n_layer_prefix;
      if (p[0] < '0' || p[0] > '9') continue;
      bool ignored = false;
      for (const char *const *ending = f->ignored; *ending != NULL; ending++)
        ignored = ignored || ends_with(name, *ending);
      if (ignored || strtoull(p, NULL, 10) < config->n_layers) continue;
      char quoted[XCODER_ERROR_BYTES];
      return xci_fail(err, XCODER_MISMATCH, "%s: tensor '%s' is of a block that config.json (%zu layers) does not have",
                      xci_weight_file_path(&files->file[i]), xci_quote(quoted, sizeof quoted, name, strlen(name)),
                      config->n_layers);
    }
  return XCODER_OK;
}

static void fill_info(const xci_config *config, xcoder_model_info *info) {
  const xci_block *b = &config->block;
  snprintf(info->family, sizeof info->family, "%s", config->family->model_type);
  info->n_layers = config->n_layers;
  info->d_model = b->d_model;
  info->n_heads = b->n_heads;
  info->d_head = b->d_head;
  info->d_mlp = b->d_mlp;
  info->n_vocab = config->n_vocab;
  info->n_context = config->n_context;
}

xcoder_status xci_model_check(const xci_config *config, const xci_weight_files *files, xcoder_model_info *info,
                              xcoder_error *err) {
  const xci_family *f = config->family;
  const xci_tensor *tensor;
  const char *path;
  *info = (xcoder_model_info){0};
  fill_info(config, info);
  for (const xci_tensor_rule *rule = f->outer; rule->name != NULL; rule++) {
    if (!exists(rule, config)) continue;
    xcoder_status status = check_tensor(config, files, rule, -1, &tensor, &path, err);
    if (status) return status;
    info->n_parameters += tensor->n_values;
    if (info->dtype[0] == '\0') snprintf(info->dtype, sizeof info->dtype, "%s", xci_dtype_name(tensor->dtype));
  }
  /* However many layers the config claims, this ends at the first that the files lack. */
  for (size_t layer = 0; layer < config->n_layers; layer++)
    for (const xci_tensor_rule *rule = f->layer; rule->name != NULL; rule++) {
      if (!exists(rule, config)) continue;
      xcoder_status status = check_tensor(config, files, rule, (long)layer, &tensor, &path, err);
      if (status) return status;
      info->n_parameters += tensor->n_values;
    }
  return check_surplus(config, files, err);
}

static xcoder_status load_tensor(xcoder_model *model, const xci_tensor_rule *rule, long layer, void *base,
                                 xcoder_error *err) {
  const xci_tensor *tensor;
  const char *path;
  xci_weight *weight = NULL;
  if (!exists(rule, &model->config)) return XCODER_OK;
  xcoder_status status = check_tensor(&model->config, &model->files, rule, layer, &tensor, &path, err);
  if (!status) status = xci_check_finite(tensor, path, err);
  if (!status) {
    bool is_vector = rule->rows == XCI_EXTENT_NONE;
    status = model->device->ops->weight_create(model->device, tensor->bytes, tensor->dtype,
                                               is_vector ? 1 : tensor->shape[0], tensor->shape[is_vector ? 0 : 1],
                                               &weight, err);
  }
  if (status) return status;
  model->weights[model->n_weights++] = weight;
  memcpy((char *)base + rule->offset, &weight, sizeof weight);
  return XCODER_OK;
}

static size_t count_rules(const xci_tensor_rule *rule) {
  size_t n = 0;
  for (; rule->name != NULL; rule++) n++;
  return n;
}

xcoder_status xci_model_load(xcoder_model *model, long highest_layer, xcoder_error *err) {
  const xci_config *config = &model->config;
  const xci_family *f = config->family;
  size_t n_weights;
  model->has_head = highest_layer < 0;
  model->n_blocks = model->has_head ? config->n_layers : (size_t)highest_layer + 1;
  if (!xci_mul_size(model->n_blocks, count_rules(f->layer), &n_weights) ||
      !xci_add_size(n_weights, count_rules(f->outer), &n_weights))
    return xci_fail(err, XCODER_MEMORY, "%s: %zu layers", model->files.source, model->n_blocks);
  xcoder_status status = XCI_ALLOC(&model->weights, n_weights, err);
  if (!status) status = XCI_ALLOC(&model->blocks, model->n_blocks, err);
  if (!status && config->has_alibi) {
    status = XCI_ALLOC(&model->alibi_slopes, config->block.n_heads, err);
    if (!status) xci_alibi_slopes(config->block.n_heads, model->alibi_slopes);
  }
  for (const xci_tensor_rule *rule = f->outer; !status && rule->name != NULL; rule++)
    if (model->has_head || rule->stage == XCI_STAGE_INPUT) status = load_tensor(model, rule, -1, &model->outer, err);
  for (size_t layer = 0; !status && layer < model->n_blocks; layer++) {
    model->blocks[layer] = config->block;
    model->blocks[layer].alibi_slopes = model->alibi_slopes;
    for (const xci_tensor_rule *rule = f->layer; !status && rule->name != NULL; rule++)
      status = load_tensor(model, rule, (long)layer, &model->blocks[layer], err);
  }
  if (status) return status;
  const xci_outer *o = &model->outer;
  model->embedding_norm = config->embedding_norm;
  model->embedding_norm.weight = o->embedding_norm_weight;
  model->embedding_norm.bias = o->embedding_norm_bias;
  model->head = (xci_head){.d_model = config->block.d_model, .n_vocab = config->n_vocab, .norm = config->final_norm,
                           .unembedding = config->tied ? o->embedding : o->unembedding};
  model->head.norm.weight = o->final_norm_weight;
  model->head.norm.bias = o->final_norm_bias;
  return XCODER_OK;
}
