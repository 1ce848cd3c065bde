/* SPDX-License-Identifier: Apache-2.0 */
/* BLOOM: linear attention biases instead of positions, a norm after the embedding, a tied head. */
#include "formats/json.h"
#include "model/family.h"

#include <limits.h>
#include <math.h>

static bool is_untied(const xci_config *config) { return !config->tied; }

#define OUTER(member) .offset = offsetof(xci_outer, member)
#define LAYER(member) .offset = offsetof(xci_block, member)

static const xci_tensor_rule outer[] = {
  {.name = "word_embeddings.weight", OUTER(embedding), .rows = XCI_EXTENT_N_VOCAB, .columns = XCI_EXTENT_D_MODEL},
  {.name = "word_embeddings_layernorm.weight", OUTER(embedding_norm_weight), .columns = XCI_EXTENT_D_MODEL},
  {.name = "word_embeddings_layernorm.bias", OUTER(embedding_norm_bias), .columns = XCI_EXTENT_D_MODEL},
  {.name = "ln_f.weight", OUTER(final_norm_weight), .columns = XCI_EXTENT_D_MODEL, .stage = XCI_STAGE_OUTPUT},
  {.name = "ln_f.bias", OUTER(final_norm_bias), .columns = XCI_EXTENT_D_MODEL, .stage = XCI_STAGE_OUTPUT},
  {.name = "lm_head.weight", OUTER(unembedding), .rows = XCI_EXTENT_N_VOCAB, .columns = XCI_EXTENT_D_MODEL,
   .exists = is_untied, .stage = XCI_STAGE_OUTPUT, .without_prefix = true},
  {.name = NULL},
};

static const xci_tensor_rule layer[] = {
  {.name = "input_layernorm.weight", LAYER(norm_attention.weight), .columns = XCI_EXTENT_D_MODEL},
  {.name = "input_layernorm.bias", LAYER(norm_attention.bias), .columns = XCI_EXTENT_D_MODEL},
  {.name = "post_attention_layernorm.weight", LAYER(norm_mlp.weight), .columns = XCI_EXTENT_D_MODEL},
  {.name = "post_attention_layernorm.bias", LAYER(norm_mlp.bias), .columns = XCI_EXTENT_D_MODEL},
  {.name = "self_attention.query_key_value.weight", LAYER(query.weight), .rows = XCI_EXTENT_QKV,
   .columns = XCI_EXTENT_D_MODEL},
  {.name = "self_attention.query_key_value.bias", LAYER(query.bias), .columns = XCI_EXTENT_QKV},
  {.name = "self_attention.dense.weight", LAYER(output.weight), .rows = XCI_EXTENT_D_MODEL,
   .columns = XCI_EXTENT_QUERY},
  {.name = "self_attention.dense.bias", LAYER(output.bias), .columns = XCI_EXTENT_D_MODEL},
  {.name = "mlp.dense_h_to_4h.weight", LAYER(up.weight), .rows = XCI_EXTENT_D_MLP, .columns = XCI_EXTENT_D_MODEL},
  {.name = "mlp.dense_h_to_4h.bias", LAYER(up.bias), .columns = XCI_EXTENT_D_MLP},
  {.name = "mlp.dense_4h_to_h.weight", LAYER(down.weight), .rows = XCI_EXTENT_D_MODEL, .columns = XCI_EXTENT_D_MLP},
  {.name = "mlp.dense_4h_to_h.bias", LAYER(down.bias), .columns = XCI_EXTENT_D_MODEL},
  {.name = NULL},
};

static const char *const ignored[] = {NULL};

/* A size under one of two names; the first wins where a file has both. */
static xcoder_status read_either(const json_t *json, const char *path, const char *key, const char *other,
                                 size_t fallback, size_t *value, xcoder_error *err) {
  xcoder_status status = xci_config_size(json, path, other, fallback, &fallback, err);
  return status ? status : xci_config_size(json, path, key, fallback, value, err);
}

/* n_inner is not read, as by the family's own code; there is no longest sequence. */
static xcoder_status read_config(const json_t *json, const char *path, xci_config *config, xcoder_error *err) {
  xci_block *b = &config->block;
  const bool yes = true, no = false;
  double epsilon = 0;
  xcoder_status status = read_either(json, path, "n_embed", "hidden_size", 64, &b->d_model, err);
  if (!status) status = read_either(json, path, "num_hidden_layers", "n_layer", 2, &config->n_layers, err);
  if (!status) status = read_either(json, path, "num_attention_heads", "n_head", 8, &b->n_heads, err);
  if (!status) status = xci_config_size(json, path, "vocab_size", 250880, &config->n_vocab, err);
  if (!status) status = xci_config_number(json, path, "layer_norm_epsilon", 1e-5, 0, 1, &epsilon, err);
  if (!status) status = xci_json_get_bool(json, path, "tie_word_embeddings", &yes, &config->tied, err);
  if (!status)
    status = xci_json_get_bool(json, path, "apply_residual_connection_post_layernorm", &no, &b->residual_after_norm,
                               err);
  if (status) return status;
  b->n_kv_heads = b->n_heads;
  status = xci_config_check_heads(path, b, err);
  if (status) return status;
  if (b->d_model > INT_MAX / 4)
    return xci_fail(err, XCODER_FORMAT, "%s: width %zu is out of range", path, b->d_model);
  b->d_head = b->d_model / b->n_heads;
  b->d_mlp = 4 * b->d_model;
  b->attention_scale = (float)(1 / sqrt((double)b->d_head));
  b->residual = XCI_SEQUENTIAL;
  b->activation = XCI_GELU_BLOOM;
  b->qkv_fused = b->qkv_interleaved = true;
  config->has_alibi = config->has_embedding_norm = true;
  config->final_norm = (xci_norm){.kind = XCI_NORM_LAYER, .epsilon = (float)epsilon};
  b->norm_attention = b->norm_mlp = config->embedding_norm = config->final_norm;
  return XCODER_OK;
}

const xci_family xci_family_bloom = {
  .model_type = "bloom",
  .architecture = "BloomForCausalLM",
  .prefix = "transformer.",
  .layer_prefix = "h.",
  .outer = outer,
  .layer = layer,
  .ignored = ignored,
  .read_config = read_config,
};
