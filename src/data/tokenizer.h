/* SPDX-License-Identifier: Apache-2.0 */
/* A tokenizer in memory: vocabulary, merges, added tokens, normalizer and pre-tokenizer. */
#ifndef XCI_DATA_TOKENIZER_H
#define XCI_DATA_TOKENIZER_H

#include "data/bpe.h"
#include "data/normalize.h"
#include "data/pattern.h"
#include <crosscoder/data.h>
#include <jansson.h>

/* Of tokenizer.json: the largest in use (250 000 tokens in many scripts) have 15 to 35 MB. */
#define XCI_MAX_TOKENIZER_BYTES ((size_t)128 << 20)

typedef struct xci_token {
  const char *bytes; /* what the token stands for; NULL: no such id */
  uint32_t n_bytes;
} xci_token;

typedef struct xci_added {
  char *content;
  char *pattern; /* what is searched for: the content, normalised if `normalized` */
  size_t n_content, n_pattern;
  uint32_t id;
  bool special, single_word, lstrip, rstrip, normalized;
} xci_added;

/* Finds added tokens in text, leftmost and then longest: a trie whose edges are (node, byte) pairs, behind a table
 * of the first two bytes that most of the text fails. */
typedef struct xci_matcher {
  size_t n_patterns;
  uint8_t (*starts)[32];    /* [256] bits: second bytes that may follow a first byte */
  xci_pair_map edges;       /* node << 8 | byte -> node, token + 1 (0: none ends there) */
} xci_matcher;

typedef enum xci_behavior {
  XCI_ISOLATED, XCI_REMOVED, XCI_MERGED_WITH_PREVIOUS, XCI_MERGED_WITH_NEXT, XCI_CONTIGUOUS
} xci_behavior;

typedef struct xci_split {
  xci_pattern *pattern;
  xci_behavior behavior;
  bool invert;
} xci_split;

struct xcoder_tokenizer {
  char *path;
  size_t n_tokens; /* largest id + 1 */
  xci_token *tokens;
  char *arena; /* the tokens' bytes */
  xci_bpe bpe;
  xci_added *added;
  size_t n_added;
  xci_matcher raw, normalized; /* of added tokens with normalized = false, true */
  xci_form *forms;             /* normalizers, one after the other */
  size_t n_forms;
  xci_split *splits;           /* pre-tokenizers before ByteLevel */
  size_t n_splits;
  bool byte_level, add_prefix_space, gpt2_split; /* the ByteLevel pre-tokenizer and its two settings */
  bool has_end_of_text;
  uint32_t end_of_text;
  bool has_start_of_text;      /* bos_token of tokenizer_config.json, else its eos_token, else end of text */
  uint32_t start_of_text;
  xci_ids before, behind;      /* special tokens around a text, once they were asked for */
};

/* tokenizer_vocab.c: model.vocab and the added tokens become the table of tokens; then model.merges and the rest. */
xcoder_status xci_load_tokens(xcoder_tokenizer *tokenizer, const json_t *vocab, xcoder_error *err);
xcoder_status xci_load_merges(xcoder_tokenizer *tokenizer, const json_t *model, const json_t *vocab,
                              xcoder_error *err);

/* tokenizer_added.c: reads the list of added tokens; later, when the normalizers are known, makes the matchers. */
xcoder_status xci_load_added(xcoder_tokenizer *tokenizer, const json_t *root, xcoder_error *err);
xcoder_status xci_compile_added(xcoder_tokenizer *tokenizer, xcoder_error *err);
void xci_free_added(xcoder_tokenizer *tokenizer);
bool xci_matcher_find(const xci_matcher *matcher, const char *text, size_t n_bytes, size_t from, size_t *start,
                      size_t *end, uint32_t *which);

/* tokenizer_pipeline.c: normalizer, pre_tokenizer, decoder. The walk calls `load` for every step of the member `place`,
 * whose sequences list their steps under `children`. */
typedef xcoder_status (*xci_load_step)(xcoder_tokenizer *tokenizer, const json_t *step, const char *type,
                                       xcoder_error *err);
xcoder_status xci_walk_steps(xcoder_tokenizer *tokenizer, const json_t *root, const char *place, const char *children,
                             xci_load_step load, xcoder_error *err);
xcoder_status xci_load_pipeline(xcoder_tokenizer *tokenizer, const json_t *root, xcoder_error *err);

/* A special token of tokenizer_config.json: a text, or an object with the text as `content`. */
bool xci_find_special(const xcoder_tokenizer *tokenizer, const json_t *root, const json_t *config, const char *key,
                      uint32_t *id);
/* A member that is absent or null: NULL. */
const json_t *xci_json_member(const json_t *object, const char *key);
/* A flag that may be absent. */
xcoder_status xci_tokenizer_flag(const json_t *object, const char *path, const char *place, const char *key,
                                 bool fallback, bool *value, xcoder_error *err);

/* decode.c: the byte that a character of the byte alphabet stands for, -1 for other characters. */
int xci_byte_of_character(uint32_t code_point);
uint32_t xci_character_of_byte(unsigned char byte);

#endif
