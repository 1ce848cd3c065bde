/* SPDX-License-Identifier: Apache-2.0 */
/* Reading config.json: the registry of families and what their readers share. */
#include "base/file.h"
#include "base/memory.h"
#include "formats/json.h"
#include "model/family.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

static const xci_family *const families[] = {&xci_family_gpt_neox, &xci_family_olmo, &xci_family_bloom,
                                           &xci_family_llama, &xci_family_olmo2, &xci_family_gpt2};
enum { N_FAMILIES = sizeof families / sizeof *families };
static const size_t MAX_CONFIG_BYTES = (size_t)16 << 20;

static const struct {
  const char *name;
  xci_activation activation;
} activations[] = {
  {"gelu", XCI_GELU_ERF},          {"gelu_python", XCI_GELU_ERF},       {"gelu_new", XCI_GELU_TANH},
  {"gelu_fast", XCI_GELU_TANH},    {"gelu_pytorch_tanh", XCI_GELU_TANH}, {"quick_gelu", XCI_GELU_QUICK},
  {"silu", XCI_SILU},              {"swish", XCI_SILU},                 {"relu", XCI_RELU},
};

size_t xci_extent_size(const xci_config *config, xci_extent extent) {
  const xci_block *b = &config->block;
  switch (extent) {
    case XCI_EXTENT_D_MODEL: return b->d_model;
    case XCI_EXTENT_D_MLP: return b->d_mlp;
    case XCI_EXTENT_N_VOCAB: return config->n_vocab;
    case XCI_EXTENT_N_CONTEXT: return config->n_context;
    case XCI_EXTENT_QUERY: return b->n_heads * b->d_head;
    case XCI_EXTENT_KEY: return b->n_kv_heads * b->d_head;
    case XCI_EXTENT_QKV: return (b->n_heads + 2 * b->n_kv_heads) * b->d_head;
    default: return 1;
  }
}

xcoder_status xci_config_size(const json_t *json, const char *path, const char *key, size_t fallback, size_t *value,
                              xcoder_error *err) {
  xcoder_status status = xci_json_get_size(json, path, key, &fallback, value, err);
  if (!status && (*value == 0 || *value > INT_MAX))
    status = xci_fail(err, XCODER_FORMAT, "%s: key '%s' is %zu, expected 1 to %d", path, key, *value, INT_MAX);
  return status;
}

xcoder_status xci_config_number(const json_t *json, const char *path, const char *key, double fallback, double low,
                                double high, double *value, xcoder_error *err) {
  xcoder_status status = xci_json_get_number(json, path, key, &fallback, value, err);
  if (!status && !(*value > low && *value <= high))
    status = xci_fail(err, XCODER_FORMAT, "%s: key '%s' is %g, expected above %g and at most %g", path, key, *value,
                      low, high);
  return status;
}

xcoder_status xci_config_activation(const json_t *json, const char *path, const char *key, const char *fallback,
                                    xci_activation *value, xcoder_error *err) {
  const char *name;
  char quoted[XCODER_ERROR_BYTES];
  xcoder_status status = xci_json_get_text(json, path, key, fallback, &name, err);
  if (status) return status;
  for (size_t i = 0; i < sizeof activations / sizeof *activations; i++)
    if (strcmp(activations[i].name, name) == 0) {
      *value = activations[i].activation;
      return XCODER_OK;
    }
  return xci_fail(err, XCODER_UNSUPPORTED, "%s: %s '%s' is not an activation function known here", path, key,
                  xci_quote(quoted, sizeof quoted, name, strlen(name)));
}

static xcoder_status find_family(const json_t *json, const char *path, const xci_family **family, xcoder_error *err) {
  const char *type = NULL, *architecture = NULL;
  char quoted[XCODER_ERROR_BYTES];
  xcoder_status status = xci_json_get_text(json, path, "model_type", "", &type, err);
  if (status) return status;
  if (type[0] == '\0') architecture = json_string_value(json_array_get(json_object_get(json, "architectures"), 0));
  for (size_t i = 0; i < N_FAMILIES; i++)
    if (architecture != NULL ? strcmp(families[i]->architecture, architecture) == 0
                             : strcmp(families[i]->model_type, type) == 0) {
      *family = families[i];
      return XCODER_OK;
    }
  char known[200] = "";
  for (size_t i = 0, n = 0; i < N_FAMILIES && n < sizeof known; i++)
    n += (size_t)snprintf(known + n, sizeof known - n, "%s%s", i > 0 ? ", " : "", families[i]->model_type);
  const char *name = architecture != NULL ? architecture : type;
  return xci_fail(err, XCODER_UNSUPPORTED, "%s: model_type '%s' is not a family known here (%s)", path,
                  xci_quote(quoted, sizeof quoted, name, strlen(name)), known);
}

xcoder_status xci_config_check_heads(const char *path, const xci_block *block, xcoder_error *err) {
  if (block->d_model % block->n_heads != 0)
    return xci_fail(err, XCODER_FORMAT, "%s: width %zu is not a multiple of %zu heads", path, block->d_model,
                    block->n_heads);
  if (block->n_heads % block->n_kv_heads != 0)
    return xci_fail(err, XCODER_FORMAT, "%s: %zu heads are not a multiple of %zu key heads", path, block->n_heads,
                    block->n_kv_heads);
  return XCODER_OK;
}

/* {"rope_type": "default"} scales nothing; everything else would change the angles. */
static xcoder_status refuse_scaling(const json_t *json, const char *path, const char *key, xcoder_error *err) {
  const json_t *scaling = json_object_get(json, key);
  if (scaling == NULL || json_is_null(scaling)) return XCODER_OK;
  const char *type = json_string_value(json_object_get(scaling, "rope_type"));
  if (type == NULL) type = json_string_value(json_object_get(scaling, "type"));
  bool plain = json_is_object(scaling) && (type == NULL ? json_object_get(scaling, "factor") == NULL
                                                        : strcmp(type, "default") == 0);
  if (plain) return XCODER_OK;
  char quoted[XCODER_ERROR_BYTES];
  return xci_fail(err, XCODER_UNSUPPORTED, "%s: %s of type '%s' is not supported (only unscaled rotary embeddings)",
                  path, key, type != NULL ? xci_quote(quoted, sizeof quoted, type, strlen(type)) : "unknown");
}

/* Newer files keep the rotary settings in rope_parameters, older ones beside the other keys under either name; the
 * family's own names win over the general ones. */
xcoder_status xci_config_rotary(const json_t *json, const char *path, double share, xci_block *block,
                                xcoder_error *err) {
  double base;
  const json_t *nested = json_object_get(json, "rope_parameters");
  xcoder_status status = refuse_scaling(json, path, "rope_scaling", err);
  if (!status) status = refuse_scaling(json, path, "rope_parameters", err);
  if (!status) status = xci_config_number(json, path, "partial_rotary_factor", share, 0, 1, &share, err);
  if (!status) status = xci_config_number(json, path, "rope_theta", 10000, 0, 1e30, &base, err);
  if (!status) status = xci_config_number(json, path, "rotary_pct", share, 0, 1, &share, err);
  if (!status) status = xci_config_number(json, path, "rotary_emb_base", base, 0, 1e30, &base, err);
  if (!status && json_is_object(nested)) {
    status = xci_config_number(nested, path, "partial_rotary_factor", share, 0, 1, &share, err);
    if (!status) status = xci_config_number(nested, path, "rope_theta", base, 0, 1e30, &base, err);
  }
  if (status) return status;
  block->rotary_width = (size_t)((double)block->d_head * share);
  block->rotary_base = (float)base;
  if (block->rotary_width % 2 != 0)
    return xci_fail(err, XCODER_UNSUPPORTED, "%s: rotary_pct or partial_rotary_factor %g of a head of %zu "
                    "rotates %zu channels, an odd number", path, share, block->d_head, block->rotary_width);
  return XCODER_OK;
}

xcoder_status xci_config_read(const char *folder, xci_config *config, xcoder_error *err) {
  char *path = NULL;
  json_t *json = NULL;
  *config = (xci_config){0};
  xcoder_status status = xci_join_path(folder, "config.json", &path, err);
  if (!status) status = xci_json_read(path, MAX_CONFIG_BYTES, &json, err);
  if (!status && !json_is_object(json))
    status = xci_fail(err, XCODER_FORMAT, "%s: expected an object at the top", path);
  if (!status) status = find_family(json, path, &config->family, err);
  if (!status) status = config->family->read_config(json, path, config, err);
  json_decref(json);
  xci_free(path);
  return status;
}
