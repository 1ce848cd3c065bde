/* SPDX-License-Identifier: Apache-2.0 */
/* Llama: RMSNorm before each layer, key heads shared by groups of query heads. */
#include "model/gated.h"

static const xci_tensor_rule outer[] = {
  XCI_GATED_EMBEDDING,
  {.name = "norm.weight", XCI_OUTER_AT(final_norm_weight), .columns = XCI_EXTENT_D_MODEL, .stage = XCI_STAGE_OUTPUT},
  XCI_GATED_UNEMBEDDING,
  {.name = NULL},
};

static const xci_tensor_rule layer[] = {
  {.name = "input_layernorm.weight", XCI_LAYER_AT(norm_attention.weight), .columns = XCI_EXTENT_D_MODEL},
  {.name = "post_attention_layernorm.weight", XCI_LAYER_AT(norm_mlp.weight), .columns = XCI_EXTENT_D_MODEL},
  XCI_GATED_LAYER,
  {.name = NULL},
};

static xcoder_status read_config(const json_t *json, const char *path, xci_config *config, xcoder_error *err) {
  static const xci_gated_defaults defaults = {4096, 32, 32, 11008, 32000, 2048};
  double epsilon = 0;
  xcoder_status status = xci_gated_config(json, path, &defaults, config, err);
  if (!status) status = xci_config_number(json, path, "rms_norm_eps", 1e-6, 0, 1, &epsilon, err);
  config->final_norm = (xci_norm){.kind = XCI_NORM_RMS, .epsilon = (float)epsilon};
  config->block.norm_attention = config->block.norm_mlp = config->final_norm;
  return status;
}

const xci_family xci_family_llama = {
  .model_type = "llama",
  .architecture = "LlamaForCausalLM",
  .prefix = "model.",
  .layer_prefix = "layers.",
  .outer = outer,
  .layer = layer,
  .ignored = xci_gated_ignored,
  .read_config = read_config,
};
