/* SPDX-License-Identifier: Apache-2.0 */
/* Which labels of tokens features tell: read in token_labels_in.c, measured in token_labels.c. */
#ifndef XCI_ANALYSIS_TOKEN_LABELS_H
#define XCI_ANALYSIS_TOKEN_LABELS_H

#include "analysis/features/feature_database.h"

/* A label is one value of one layer ("Number=Plur", "upos=NOUN"). A position has at most one value in each layer; where
 * it has none the layer says nothing about it. */
typedef struct xci_token_labels {
  xcoder_tokens *tokens;  /* sentences behind end of text where the tokenizer has one */
  size_t n_layers, n_labels;
  char **layer, **label;  /* label: LAYER=VALUE */
  uint32_t *layer_of;     /* [n_labels] */
  int32_t *value;         /* [n_layers, positions of tokens] index of a label, -1: none */
  size_t n_positions;
} xci_token_labels;

/* `path`: JSONL (objects with "ids" or "tokens", every other key whose value is a list of as many texts or nulls is a
 * layer) or CoNLL-U (layers: upos and each feature). Errors: XCODER_FORMAT naming the line,
 * XCODER_MISMATCH where the text does not fit the tokenizer. */
xcoder_status xci_token_labels_open(const char *path, const xcoder_tokenizer *tokenizer, xci_token_labels *labels,
                                    xcoder_error *err);
void xci_token_labels_close(xci_token_labels *labels);

/* Fills predicted_* of the database and writes features/token-labels.csv. */
xcoder_status xci_token_labels_measure(const xci_bench *bench, const char *path, xci_database *database,
                                       const char *run_directory, xcoder_error *err);

/* AUC of `score` for label against the other positions of its layer, with the standard error for positions that come in
 * clusters (sentences), from `order`, the positions by ascending score; equal scores count half. value[i] < 0 leaves
 * position i out. Obuchowski, Biometrics 53 (1997). */
typedef struct xci_clustered_auc {
  double auc, se, df;          /* NaN where one side is empty; (auc - 0.5) / se is Student's t with df under chance */
  size_t n_positive, n_negative, n_clusters;
} xci_clustered_auc;
/* `work`: [2, n_clusters] doubles. */
void xci_auc_clustered(const float *score, const uint32_t *order, const int32_t *value, int32_t label,
                       const uint32_t *cluster, size_t n, size_t n_clusters, double *work, xci_clustered_auc *result);

#endif
