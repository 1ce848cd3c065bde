/* SPDX-License-Identifier: Apache-2.0 */
/* OLMo, the first generation: LayerNorm without parameters, projections that may be clipped. */
#include "formats/json.h"
#include "model/gated.h"

static const xci_tensor_rule outer[] = {XCI_GATED_EMBEDDING, XCI_GATED_UNEMBEDDING, {.name = NULL}};
static const xci_tensor_rule layer[] = {XCI_GATED_LAYER, {.name = NULL}};

/* Absent or null: nothing is clipped. */
static xcoder_status read_clip(const json_t *json, const char *path, xci_block *block, xcoder_error *err) {
  const json_t *value = json_object_get(json, "clip_qkv");
  double clip = 0;
  if (value == NULL || json_is_null(value)) return XCODER_OK;
  xcoder_status status = xci_config_number(json, path, "clip_qkv", 0, 0, 1e30, &clip, err);
  block->clip_qkv = (float)clip;
  return status;
}

static xcoder_status read_config(const json_t *json, const char *path, xci_config *config, xcoder_error *err) {
  static const xci_gated_defaults defaults = {4096, 32, 32, 11008, 50304, 2048};
  xcoder_status status = xci_gated_config(json, path, &defaults, config, err);
  if (!status) status = read_clip(json, path, &config->block, err);
  config->final_norm = (xci_norm){.kind = XCI_NORM_LAYER, .epsilon = 1e-5f}; /* fixed by the family */
  config->block.norm_attention = config->block.norm_mlp = config->final_norm;
  return status;
}

const xci_family xci_family_olmo = {
  .model_type = "olmo",
  .architecture = "OlmoForCausalLM",
  .prefix = "model.",
  .layer_prefix = "layers.",
  .outer = outer,
  .layer = layer,
  .ignored = xci_gated_ignored,
  .read_config = read_config,
};
