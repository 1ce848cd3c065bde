/* SPDX-License-Identifier: Apache-2.0 */
/* OLMo-2: norms after each layer instead of before it, and of whole query and key projections. */
#include "model/gated.h"

static const xci_tensor_rule outer[] = {
  XCI_GATED_EMBEDDING,
  {.name = "norm.weight", XCI_OUTER_AT(final_norm_weight), .columns = XCI_EXTENT_D_MODEL, .stage = XCI_STAGE_OUTPUT},
  XCI_GATED_UNEMBEDDING,
  {.name = NULL},
};

static const xci_tensor_rule layer[] = {
  {.name = "post_attention_layernorm.weight", XCI_LAYER_AT(norm_attention.weight), .columns = XCI_EXTENT_D_MODEL},
  {.name = "post_feedforward_layernorm.weight", XCI_LAYER_AT(norm_mlp.weight), .columns = XCI_EXTENT_D_MODEL},
  {.name = "self_attn.q_norm.weight", XCI_LAYER_AT(norm_q.weight), .columns = XCI_EXTENT_QUERY},
  {.name = "self_attn.k_norm.weight", XCI_LAYER_AT(norm_k.weight), .columns = XCI_EXTENT_KEY},
  XCI_GATED_LAYER,
  {.name = NULL},
};

static xcoder_status read_config(const json_t *json, const char *path, xci_config *config, xcoder_error *err) {
  static const xci_gated_defaults defaults = {4096, 32, 32, 11008, 50304, 2048};
  xci_block *b = &config->block;
  double epsilon = 0;
  xcoder_status status = xci_gated_config(json, path, &defaults, config, err);
  if (!status) status = xci_config_number(json, path, "rms_norm_eps", 1e-5, 0, 1, &epsilon, err);
  config->final_norm = (xci_norm){.kind = XCI_NORM_RMS, .epsilon = (float)epsilon};
  b->norm_attention = b->norm_mlp = b->norm_q = b->norm_k = config->final_norm;
  b->has_qk_norm = true;
  b->residual = XCI_POST_NORM;
  return status;
}

const xci_family xci_family_olmo2 = {
  .model_type = "olmo2",
  .architecture = "Olmo2ForCausalLM",
  .prefix = "model.",
  .layer_prefix = "layers.",
  .outer = outer,
  .layer = layer,
  .ignored = xci_gated_ignored,
  .read_config = read_config,
};
