/* SPDX-License-Identifier: Apache-2.0 */
/* Families of models are data: how config.json is read, which tensors there are, where each one goes. A new family is
 * one file with one const entry, and one line in the registry (config.c). */
#ifndef XCI_MODEL_FAMILY_H
#define XCI_MODEL_FAMILY_H

#include "compute/compute.h"
#include <crosscoder/model.h>
#include <jansson.h>

/* A model's shape and arithmetic, without weights. */
typedef struct xci_config {
  const struct xci_family *family;
  xci_block block;       /* as every block is, weights NULL */
  size_t n_layers, n_vocab, n_context;
  xci_norm final_norm, embedding_norm; /* weights NULL */
  bool has_embedding_norm;
  bool tied;             /* the unembedding is the embedding */
  bool attention_bias;   /* biases of the attention's linear layers exist */
  bool mlp_bias;         /* of the feed-forward layer's, in families where that is a choice */
  bool has_alibi;        /* attention scores fall with distance; the slopes are made where the weights are loaded */
} xci_config;

/* Weights outside the blocks. */
typedef struct xci_outer {
  const xci_weight *embedding, *positions, *embedding_norm_weight, *embedding_norm_bias;
  const xci_weight *final_norm_weight, *final_norm_bias, *unembedding;
} xci_outer;

typedef enum xci_extent { /* of a tensor's dimension */
  XCI_EXTENT_NONE, /* a vector has no rows */
  XCI_EXTENT_D_MODEL, XCI_EXTENT_D_MLP, XCI_EXTENT_N_VOCAB, XCI_EXTENT_N_CONTEXT,
  XCI_EXTENT_QUERY, /* n_heads d_head */
  XCI_EXTENT_KEY,   /* n_kv_heads d_head */
  XCI_EXTENT_QKV    /* (n_heads + 2 n_kv_heads) d_head */
} xci_extent;

typedef enum xci_stage { XCI_STAGE_INPUT, XCI_STAGE_OUTPUT } xci_stage;

typedef struct xci_tensor_rule {
  const char *name;          /* after the family's prefix (and "layers.N." for those of blocks) */
  size_t offset;             /* of the `const xci_weight *` in xci_block or xci_outer */
  xci_extent rows, columns;
  bool (*exists)(const xci_config *config); /* NULL: always */
  xci_stage stage;           /* outer tensors: needed for the input or only for the output */
  bool without_prefix;       /* the name in the file is complete as it stands here */
} xci_tensor_rule;

typedef struct xci_family {
  const char *model_type, *architecture; /* config.json's model_type, or its architectures[0] where that is absent */
  const char *prefix;        /* "gpt_neox."; files without it are accepted */
  const char *layer_prefix;  /* "layers." */
  const xci_tensor_rule *outer, *layer; /* ended by a NULL name */
  const char *const *ignored; /* name endings of buffers that are no weights; ended by NULL */
  xcoder_status (*read_config)(const json_t *json, const char *path, xci_config *config, xcoder_error *err);
} xci_family;

extern const xci_family xci_family_gpt_neox, xci_family_olmo, xci_family_bloom, xci_family_llama, xci_family_olmo2,
  xci_family_gpt2;

/* config.c. */
xcoder_status xci_config_read(const char *folder, xci_config *config, xcoder_error *err);
size_t xci_extent_size(const xci_config *config, xci_extent extent);

/* What read_config functions share. A size is 1 to 2^31-1; a null counts as absent. */
xcoder_status xci_config_size(const json_t *json, const char *path, const char *key, size_t fallback, size_t *value,
                              xcoder_error *err);
/* A number in (low, high]. */
xcoder_status xci_config_number(const json_t *json, const char *path, const char *key, double fallback, double low,
                                double high, double *value, xcoder_error *err);
xcoder_status xci_config_activation(const json_t *json, const char *path, const char *key, const char *fallback,
                                    xci_activation *value, xcoder_error *err);
/* Heads must divide the width, key heads the heads; to be called before a width is divided by them. */
xcoder_status xci_config_check_heads(const char *path, const xci_block *block, xcoder_error *err);

/* Rotary settings: newer files keep them in rope_parameters, older ones beside the other keys; `share` and 10000 stand
 * for absent ones. Scaled rotary embeddings are refused by name. Needs block->d_head. */
xcoder_status xci_config_rotary(const json_t *json, const char *path, double share, xci_block *block,
                                xcoder_error *err);

/* alibi.c. The slope of each head, for any number of heads. */
void xci_alibi_slopes(size_t n_heads, float *slopes);

#endif
