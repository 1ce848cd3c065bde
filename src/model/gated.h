/* SPDX-License-Identifier: Apache-2.0 */
/* What the families with separate projections, a gated feed-forward layer and full rotary embeddings share. */
#ifndef XCI_MODEL_GATED_H
#define XCI_MODEL_GATED_H

#include "model/family.h"

typedef struct xci_gated_defaults { /* of keys that config.json lacks */
  size_t d_model, n_layers, n_heads, d_mlp, n_vocab, n_context;
} xci_gated_defaults;

/* Everything but the norms, the residual arrangement and what a family has for itself. */
xcoder_status xci_gated_config(const json_t *json, const char *path, const xci_gated_defaults *defaults,
                               xci_config *config, xcoder_error *err);

bool xci_has_attention_bias(const xci_config *config);
bool xci_has_mlp_bias(const xci_config *config);
bool xci_is_untied(const xci_config *config);
extern const char *const xci_gated_ignored[];

/* Rows of the tables. */
#define XCI_OUTER_AT(member) .offset = offsetof(xci_outer, member)
#define XCI_LAYER_AT(member) .offset = offsetof(xci_block, member)
#define XCI_GATED_EMBEDDING \
  {.name = "embed_tokens.weight", XCI_OUTER_AT(embedding), .rows = XCI_EXTENT_N_VOCAB, \
   .columns = XCI_EXTENT_D_MODEL, .stage = XCI_STAGE_INPUT}
#define XCI_GATED_UNEMBEDDING \
  {.name = "lm_head.weight", XCI_OUTER_AT(unembedding), .rows = XCI_EXTENT_N_VOCAB, .columns = XCI_EXTENT_D_MODEL, \
   .exists = xci_is_untied, .stage = XCI_STAGE_OUTPUT, .without_prefix = true}
#define XCI_GATED_LINEAR(text, member, outputs, inputs, has_bias) \
  {.name = text ".weight", XCI_LAYER_AT(member.weight), .rows = outputs, .columns = inputs}, \
  {.name = text ".bias", XCI_LAYER_AT(member.bias), .columns = outputs, .exists = has_bias}
#define XCI_GATED_LAYER \
  XCI_GATED_LINEAR("self_attn.q_proj", query, XCI_EXTENT_QUERY, XCI_EXTENT_D_MODEL, xci_has_attention_bias), \
  XCI_GATED_LINEAR("self_attn.k_proj", key, XCI_EXTENT_KEY, XCI_EXTENT_D_MODEL, xci_has_attention_bias), \
  XCI_GATED_LINEAR("self_attn.v_proj", value, XCI_EXTENT_KEY, XCI_EXTENT_D_MODEL, xci_has_attention_bias), \
  XCI_GATED_LINEAR("self_attn.o_proj", output, XCI_EXTENT_D_MODEL, XCI_EXTENT_QUERY, xci_has_attention_bias), \
  XCI_GATED_LINEAR("mlp.gate_proj", gate, XCI_EXTENT_D_MLP, XCI_EXTENT_D_MODEL, xci_has_mlp_bias), \
  XCI_GATED_LINEAR("mlp.up_proj", up, XCI_EXTENT_D_MLP, XCI_EXTENT_D_MODEL, xci_has_mlp_bias), \
  XCI_GATED_LINEAR("mlp.down_proj", down, XCI_EXTENT_D_MODEL, XCI_EXTENT_D_MLP, xci_has_mlp_bias)

#endif
