/* SPDX-License-Identifier: Apache-2.0 */
/* Making minimal pairs from the items of a data set. */
#ifndef XCI_DATA_PAIRS_H
#define XCI_DATA_PAIRS_H

#include "base/text.h"
#include "data/encode.h"
#include <crosscoder/data.h>
#include <jansson.h>

/* One line of a data set. The sentences are prefix + separator + answer. */
typedef struct xci_item {
  const char *prefix, *good, *bad;
  size_t n_prefix, n_good, n_bad;
  const char *separator;
  const char *counterfactual, *group, *language; /* NULL: none */
} xci_item;

/* Why an item cannot be used. */
typedef enum xci_skip {
  XCI_KEPT,
  XCI_SKIP_LONG,     /* an answer of more than two tokens */
  XCI_SKIP_LENGTHS,  /* answers of different length (authors' rule) */
  XCI_SKIP_CONTAINS, /* one answer's tokens begin with all of the other's */
  XCI_SKIP_EMPTY,    /* no token stands before the answers */
  XCI_SKIP_FORM,     /* the item is not of the form prefix, right word, wrong word */
  XCI_N_SKIPS
} xci_skip;

/* A pair while its data set is read: places in growing arrays instead of pointers. */
typedef struct xci_pair_record {
  uint32_t right, wrong;
  size_t prefix_at, n_prefix, counterfactual_at; /* in the ids */
  bool has_counterfactual;
  size_t group_at, language_at, text_at; /* in the texts */
} xci_pair_record;

typedef struct xci_pairs_builder {
  const xcoder_tokenizer *tokenizer;
  const xcoder_pairs_options *options;
  xci_encoder *encoder;
  uint32_t end_of_text;
  xci_text joined; /* scratch */
  xci_ids good, bad, other;
  xci_ids ids;    /* of all prefixes */
  xci_text texts; /* of all pairs, zero-terminated each */
  xci_pair_record *records;
  size_t n_records, capacity;
  uint64_t n_items, skipped[XCI_N_SKIPS], dropped_counterfactuals, skipped_files;
} xci_pairs_builder;

xcoder_status xci_pairs_add(xci_pairs_builder *builder, const xci_item *item, xcoder_error *err);
bool xci_pairs_full(const xci_pairs_builder *builder);

/* Reads one line of a kind of data set. */
typedef xcoder_status (*xci_item_reader)(xci_pairs_builder *builder, const json_t *line, const char *path,
                                         uint64_t number, xcoder_error *err);
xcoder_status xci_read_own_item(xci_pairs_builder *builder, const json_t *line, const char *path, uint64_t number,
                                xcoder_error *err);
xcoder_status xci_read_blimp_item(xci_pairs_builder *builder, const json_t *line, const char *path, uint64_t number,
                                  xcoder_error *err);

/* A text member of a line; NULL if it is absent or null. */
xcoder_status xci_item_text(const json_t *line, const char *path, uint64_t number, const char *key, const char **text,
                            xcoder_error *err);

#endif
