/* SPDX-License-Identifier: Apache-2.0 */
/* The config keys that families with gated feed-forward layers share. */
#include "model/gated.h"

#include "formats/json.h"
#include <math.h>

bool xci_has_attention_bias(const xci_config *config) { return config->attention_bias; }
bool xci_has_mlp_bias(const xci_config *config) { return config->mlp_bias; }
bool xci_is_untied(const xci_config *config) { return !config->tied; }

/* Frequencies are computed here: older files store them. */
const char *const xci_gated_ignored[] = {".rotary_emb.inv_freq", NULL};

static xcoder_status read_heads(const json_t *json, const char *path, xci_block *b, xcoder_error *err) {
  xcoder_status status = xci_config_size(json, path, "num_key_value_heads", b->n_heads, &b->n_kv_heads, err);
  if (!status) status = xci_config_check_heads(path, b, err);
  if (!status) status = xci_config_size(json, path, "head_dim", b->d_model / b->n_heads, &b->d_head, err);
  if (!status && b->d_head > b->d_model) /* also keeps products of heads and width in range */
    status = xci_fail(err, XCODER_UNSUPPORTED, "%s: head_dim %zu is larger than the width %zu", path, b->d_head,
                      b->d_model);
  if (!status) b->attention_scale = (float)(1 / sqrt((double)b->d_head));
  return status;
}

xcoder_status xci_gated_config(const json_t *json, const char *path, const xci_gated_defaults *defaults,
                               xci_config *config, xcoder_error *err) {
  xci_block *b = &config->block;
  const bool no = false;
  xcoder_status status = xci_config_size(json, path, "hidden_size", defaults->d_model, &b->d_model, err);
  if (!status) status = xci_config_size(json, path, "num_hidden_layers", defaults->n_layers, &config->n_layers, err);
  if (!status) status = xci_config_size(json, path, "num_attention_heads", defaults->n_heads, &b->n_heads, err);
  if (!status) status = xci_config_size(json, path, "intermediate_size", defaults->d_mlp, &b->d_mlp, err);
  if (!status) status = xci_config_size(json, path, "vocab_size", defaults->n_vocab, &config->n_vocab, err);
  if (!status)
    status = xci_config_size(json, path, "max_position_embeddings", defaults->n_context, &config->n_context, err);
  if (!status) status = xci_config_activation(json, path, "hidden_act", "silu", &b->activation, err);
  if (!status) status = xci_json_get_bool(json, path, "tie_word_embeddings", &no, &config->tied, err);
  if (!status) status = xci_json_get_bool(json, path, "attention_bias", &no, &config->attention_bias, err);
  if (!status) status = xci_json_get_bool(json, path, "mlp_bias", &no, &config->mlp_bias, err);
  if (!status) status = read_heads(json, path, b, err);
  if (!status) status = xci_config_rotary(json, path, 1, b, err);
  if (!status && b->rotary_width != b->d_head)
    status = xci_fail(err, XCODER_UNSUPPORTED, "%s: partial_rotary_factor turns %zu of %zu channels, only 1 is "
                      "supported", path, b->rotary_width, b->d_head);
  b->residual = XCI_SEQUENTIAL;
  return status;
}
