/* SPDX-License-Identifier: Apache-2.0 */
/* GPT-NeoX, and with it Pythia. */
#include "formats/json.h"
#include "model/family.h"

#include <math.h>

static bool has_attention_bias(const xci_config *config) { return config->attention_bias; }
static bool is_untied(const xci_config *config) { return !config->tied; }

#define OUTER(member) offsetof(xci_outer, member)
#define LAYER(member) offsetof(xci_block, member)

static const xci_tensor_rule outer[] = {
  {"embed_in.weight", OUTER(embedding), XCI_EXTENT_N_VOCAB, XCI_EXTENT_D_MODEL, NULL, XCI_STAGE_INPUT, false},
  {"final_layer_norm.weight", OUTER(final_norm_weight), XCI_EXTENT_NONE, XCI_EXTENT_D_MODEL, NULL, XCI_STAGE_OUTPUT,
   false},
  {"final_layer_norm.bias", OUTER(final_norm_bias), XCI_EXTENT_NONE, XCI_EXTENT_D_MODEL, NULL, XCI_STAGE_OUTPUT,
   false},
  {"embed_out.weight", OUTER(unembedding), XCI_EXTENT_N_VOCAB, XCI_EXTENT_D_MODEL, is_untied, XCI_STAGE_OUTPUT, true},
  {.name = NULL},
};

static const xci_tensor_rule layer[] = {
  {.name = "input_layernorm.weight", .offset = LAYER(norm_attention.weight), .columns = XCI_EXTENT_D_MODEL},
  {.name = "input_layernorm.bias", .offset = LAYER(norm_attention.bias), .columns = XCI_EXTENT_D_MODEL},
  {.name = "post_attention_layernorm.weight", .offset = LAYER(norm_mlp.weight), .columns = XCI_EXTENT_D_MODEL},
  {.name = "post_attention_layernorm.bias", .offset = LAYER(norm_mlp.bias), .columns = XCI_EXTENT_D_MODEL},
  {.name = "attention.query_key_value.weight", .offset = LAYER(query.weight), .rows = XCI_EXTENT_QKV,
   .columns = XCI_EXTENT_D_MODEL},
  {.name = "attention.query_key_value.bias", .offset = LAYER(query.bias), .columns = XCI_EXTENT_QKV,
   .exists = has_attention_bias},
  {.name = "attention.dense.weight", .offset = LAYER(output.weight), .rows = XCI_EXTENT_D_MODEL,
   .columns = XCI_EXTENT_QUERY},
  {.name = "attention.dense.bias", .offset = LAYER(output.bias), .columns = XCI_EXTENT_D_MODEL,
   .exists = has_attention_bias},
  {.name = "mlp.dense_h_to_4h.weight", .offset = LAYER(up.weight), .rows = XCI_EXTENT_D_MLP,
   .columns = XCI_EXTENT_D_MODEL},
  {.name = "mlp.dense_h_to_4h.bias", .offset = LAYER(up.bias), .columns = XCI_EXTENT_D_MLP},
  {.name = "mlp.dense_4h_to_h.weight", .offset = LAYER(down.weight), .rows = XCI_EXTENT_D_MODEL,
   .columns = XCI_EXTENT_D_MLP},
  {.name = "mlp.dense_4h_to_h.bias", .offset = LAYER(down.bias), .columns = XCI_EXTENT_D_MODEL},
  {.name = NULL},
};

/* The causal mask, its fill value, and frequencies that are computed here: older files store them. */
static const char *const ignored[] = {".attention.bias", ".attention.masked_bias", ".attention.rotary_emb.inv_freq",
                                      ".rotary_emb.inv_freq", NULL};

static xcoder_status read_config(const json_t *json, const char *path, xci_config *config, xcoder_error *err) {
  xci_block *b = &config->block;
  const bool yes = true, no = false;
  bool parallel;
  double epsilon;
  xcoder_status status = xci_config_size(json, path, "hidden_size", 6144, &b->d_model, err);
  if (!status) status = xci_config_size(json, path, "num_hidden_layers", 44, &config->n_layers, err);
  if (!status) status = xci_config_size(json, path, "num_attention_heads", 64, &b->n_heads, err);
  if (!status) status = xci_config_size(json, path, "intermediate_size", 24576, &b->d_mlp, err);
  if (!status) status = xci_config_size(json, path, "vocab_size", 50432, &config->n_vocab, err);
  if (!status) status = xci_config_size(json, path, "max_position_embeddings", 2048, &config->n_context, err);
  if (!status) status = xci_config_number(json, path, "layer_norm_eps", 1e-5, 0, 1, &epsilon, err);
  if (!status) status = xci_config_activation(json, path, "hidden_act", "gelu", &b->activation, err);
  if (!status) status = xci_json_get_bool(json, path, "use_parallel_residual", &yes, &parallel, err);
  if (!status) status = xci_json_get_bool(json, path, "tie_word_embeddings", &no, &config->tied, err);
  if (!status) status = xci_json_get_bool(json, path, "attention_bias", &yes, &config->attention_bias, err);
  if (status) return status;
  b->n_kv_heads = b->n_heads;
  status = xci_config_check_heads(path, b, err);
  if (status) return status;
  b->d_head = b->d_model / b->n_heads;
  b->attention_scale = (float)(1 / sqrt((double)b->d_head));
  b->residual = parallel ? XCI_PARALLEL : XCI_SEQUENTIAL;
  b->qkv_fused = b->qkv_interleaved = true;
  xci_norm norm = {.kind = XCI_NORM_LAYER, .epsilon = (float)epsilon};
  b->norm_attention = b->norm_mlp = config->final_norm = norm;
  return xci_config_rotary(json, path, 0.25, b, err);
}

const xci_family xci_family_gpt_neox = {
  .model_type = "gpt_neox",
  .architecture = "GPTNeoXForCausalLM",
  .prefix = "gpt_neox.",
  .layer_prefix = "layers.",
  .outer = outer,
  .layer = layer,
  .ignored = ignored,
  .read_config = read_config,
};
