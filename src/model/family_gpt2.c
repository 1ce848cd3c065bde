/* SPDX-License-Identifier: Apache-2.0 */
/* GPT-2: learned positions, linear layers stored as [in, out], a tied head. */
#include "formats/json.h"
#include "model/family.h"

#include <limits.h>
#include <math.h>

static bool is_untied(const xci_config *config) { return !config->tied; }

#define OUTER(member) .offset = offsetof(xci_outer, member)
#define LAYER(member) .offset = offsetof(xci_block, member)

static const xci_tensor_rule outer[] = {
  {.name = "wte.weight", OUTER(embedding), .rows = XCI_EXTENT_N_VOCAB, .columns = XCI_EXTENT_D_MODEL},
  {.name = "wpe.weight", OUTER(positions), .rows = XCI_EXTENT_N_CONTEXT, .columns = XCI_EXTENT_D_MODEL},
  {.name = "ln_f.weight", OUTER(final_norm_weight), .columns = XCI_EXTENT_D_MODEL, .stage = XCI_STAGE_OUTPUT},
  {.name = "ln_f.bias", OUTER(final_norm_bias), .columns = XCI_EXTENT_D_MODEL, .stage = XCI_STAGE_OUTPUT},
  {.name = "lm_head.weight", OUTER(unembedding), .rows = XCI_EXTENT_N_VOCAB, .columns = XCI_EXTENT_D_MODEL,
   .exists = is_untied, .stage = XCI_STAGE_OUTPUT, .without_prefix = true},
  {.name = NULL},
};

static const xci_tensor_rule layer[] = {
  {.name = "ln_1.weight", LAYER(norm_attention.weight), .columns = XCI_EXTENT_D_MODEL},
  {.name = "ln_1.bias", LAYER(norm_attention.bias), .columns = XCI_EXTENT_D_MODEL},
  {.name = "ln_2.weight", LAYER(norm_mlp.weight), .columns = XCI_EXTENT_D_MODEL},
  {.name = "ln_2.bias", LAYER(norm_mlp.bias), .columns = XCI_EXTENT_D_MODEL},
  {.name = "attn.c_attn.weight", LAYER(query.weight), .rows = XCI_EXTENT_D_MODEL, .columns = XCI_EXTENT_QKV},
  {.name = "attn.c_attn.bias", LAYER(query.bias), .columns = XCI_EXTENT_QKV},
  {.name = "attn.c_proj.weight", LAYER(output.weight), .rows = XCI_EXTENT_QUERY, .columns = XCI_EXTENT_D_MODEL},
  {.name = "attn.c_proj.bias", LAYER(output.bias), .columns = XCI_EXTENT_D_MODEL},
  {.name = "mlp.c_fc.weight", LAYER(up.weight), .rows = XCI_EXTENT_D_MODEL, .columns = XCI_EXTENT_D_MLP},
  {.name = "mlp.c_fc.bias", LAYER(up.bias), .columns = XCI_EXTENT_D_MLP},
  {.name = "mlp.c_proj.weight", LAYER(down.weight), .rows = XCI_EXTENT_D_MLP, .columns = XCI_EXTENT_D_MODEL},
  {.name = "mlp.c_proj.bias", LAYER(down.bias), .columns = XCI_EXTENT_D_MODEL},
  {.name = NULL},
};

/* The causal mask and its fill value. */
static const char *const ignored[] = {".attn.bias", ".attn.masked_bias", NULL};

/* Refuses a switch that would change the arithmetic. */
static xcoder_status check_switch(const json_t *json, const char *path, const char *key, bool expected,
                                  xcoder_error *err) {
  bool value;
  xcoder_status status = xci_json_get_bool(json, path, key, &expected, &value, err);
  if (!status && value != expected)
    status = xci_fail(err, XCODER_UNSUPPORTED, "%s: %s %s is not supported", path, key, value ? "true" : "false");
  return status;
}

static xcoder_status check_switches(const json_t *json, const char *path, xcoder_error *err) {
  xcoder_status status = check_switch(json, path, "add_cross_attention", false, err);
  if (!status) status = check_switch(json, path, "scale_attn_by_inverse_layer_idx", false, err);
  if (!status) status = check_switch(json, path, "scale_attn_weights", true, err);
  return status;
}

/* The keys of the family, or the names that other families have for them, as its own code accepts both. */
static xcoder_status read_either(const json_t *json, const char *path, const char *key, const char *other,
                                 size_t fallback, size_t *value, xcoder_error *err) {
  xcoder_status status = xci_config_size(json, path, other, fallback, &fallback, err);
  return status ? status : xci_config_size(json, path, key, fallback, value, err);
}

static xcoder_status read_sizes(const json_t *json, const char *path, xci_config *config, xcoder_error *err) {
  xci_block *b = &config->block;
  xcoder_status status = read_either(json, path, "n_embd", "hidden_size", 768, &b->d_model, err);
  if (!status) status = read_either(json, path, "n_layer", "num_hidden_layers", 12, &config->n_layers, err);
  if (!status) status = read_either(json, path, "n_head", "num_attention_heads", 12, &b->n_heads, err);
  if (!status)
    status = read_either(json, path, "n_positions", "max_position_embeddings", 1024, &config->n_context, err);
  if (!status) status = xci_config_size(json, path, "vocab_size", 50257, &config->n_vocab, err);
  if (!status && b->d_model > INT_MAX / 4)
    status = xci_fail(err, XCODER_FORMAT, "%s: width %zu is out of range", path, b->d_model);
  if (!status) status = xci_config_size(json, path, "n_inner", 4 * b->d_model, &b->d_mlp, err);
  b->n_kv_heads = b->n_heads;
  return status ? status : xci_config_check_heads(path, b, err);
}

static xcoder_status read_config(const json_t *json, const char *path, xci_config *config, xcoder_error *err) {
  xci_block *b = &config->block;
  const bool yes = true;
  double epsilon = 0;
  xcoder_status status = read_sizes(json, path, config, err);
  if (!status) status = check_switches(json, path, err);
  if (!status) status = xci_config_number(json, path, "layer_norm_epsilon", 1e-5, 0, 1, &epsilon, err);
  if (!status) status = xci_config_activation(json, path, "activation_function", "gelu_new", &b->activation, err);
  if (!status) status = xci_json_get_bool(json, path, "tie_word_embeddings", &yes, &config->tied, err);
  if (status) return status;
  b->d_head = b->d_model / b->n_heads;
  b->attention_scale = (float)(1 / sqrt((double)b->d_head));
  b->residual = XCI_SEQUENTIAL;
  b->qkv_fused = true;
  b->query.transposed = b->output.transposed = b->up.transposed = b->down.transposed = true;
  config->final_norm = (xci_norm){.kind = XCI_NORM_LAYER, .epsilon = (float)epsilon};
  b->norm_attention = b->norm_mlp = config->final_norm;
  return XCODER_OK;
}

const xci_family xci_family_gpt2 = {
  .model_type = "gpt2",
  .architecture = "GPT2LMHeadModel",
  .prefix = "transformer.",
  .layer_prefix = "h.",
  .outer = outer,
  .layer = layer,
  .ignored = ignored,
  .read_config = read_config,
};
