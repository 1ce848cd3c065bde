/* SPDX-License-Identifier: Apache-2.0 */
/* Making minimal pairs from the items of a data set. */
#ifndef XCI_DATA_PAIRS_H
#define XCI_DATA_PAIRS_H

#include "base/text.h"
#include "data/encode.h"
#include "data/lines.h"
#include <crosscoder/data.h>
#include <jansson.h>

/* One line of a data set. The sentences are prefix + separator + answer. */
typedef struct xci_item {
  const char *prefix, *good, *bad;
  size_t n_prefix, n_good, n_bad;
  const char *separator;
  bool by_words; /* the authors' rule takes the answers as words by themselves, not as the rest of the tokens */
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
  XCI_SKIP_SENTENCE, /* a sentence is empty, or the words of one begin with all of the other's */
  XCI_N_SKIPS
} xci_skip;

/* A sentence with its start token: a place in the ids. */
typedef struct xci_sentence_record {
  size_t at, n, n_bytes, n_characters;
} xci_sentence_record;

/* A pair while its data set is read: places in growing arrays instead of pointers. */
typedef struct xci_pair_record {
  uint32_t right, wrong;
  size_t prefix_at, n_prefix, counterfactual_at; /* in the ids */
  bool has_counterfactual;
  size_t group_at, language_at, text_at; /* in the texts */
  bool has_sentences;
  xci_sentence_record good, bad;
} xci_pair_record;

typedef struct xci_pairs_builder {
  const xcoder_tokenizer *tokenizer;
  const xcoder_pairs_options *options;
  xci_encoder *encoder;
  uint32_t end_of_text;
  xci_text joined, good_words, bad_words; /* scratch */
  xci_text file_group;                    /* what the path of the file being read tells, "" if nothing */
  char file_language[4];
  xci_ids good, bad, other;
  xci_ids ids;    /* of all prefixes */
  xci_text texts; /* of all pairs, zero-terminated each */
  xci_pair_record *records;
  size_t n_records, capacity;
  uint64_t n_items, skipped[XCI_N_SKIPS], dropped_counterfactuals, skipped_files;
  xci_text files; /* a line for each file: what was kept of it, and why not the rest */
} xci_pairs_builder;

xcoder_status xci_pairs_add(xci_pairs_builder *builder, const xci_item *item, xcoder_error *err);
/* pairs_sentences.c: two whole sentences (options->sentences), `delimiter` before each. */
xcoder_status xci_pairs_add_whole(xci_pairs_builder *builder, const char *delimiter, const char *good, size_t n_good,
                                  const char *bad, size_t n_bad, const char *group, const char *language,
                                  xcoder_error *err);
bool xci_pairs_full(const xci_pairs_builder *builder);

/* Reads one line of a kind of data set. */
typedef xcoder_status (*xci_item_reader)(xci_pairs_builder *builder, const json_t *line, const char *path,
                                         uint64_t number, xcoder_error *err);
xcoder_status xci_read_own_item(xci_pairs_builder *builder, const json_t *line, const char *path, uint64_t number,
                                xcoder_error *err);
xcoder_status xci_read_blimp_item(xci_pairs_builder *builder, const json_t *line, const char *path, uint64_t number,
                                  xcoder_error *err);

xcoder_status xci_read_multiblimp_item(xci_pairs_builder *builder, const json_t *line, const char *path,
                                       uint64_t number, xcoder_error *err);

/* Reads a whole file that is no JSON; its first line that is not empty has been read. */
typedef xcoder_status (*xci_table_reader)(xci_pairs_builder *builder, xci_lines *lines, const char *line,
                                          size_t n_bytes, xcoder_error *err);
xcoder_status xci_read_clams(xci_pairs_builder *builder, xci_lines *lines, const char *line, size_t n_bytes,
                             xcoder_error *err);
xcoder_status xci_read_multiblimp(xci_pairs_builder *builder, xci_lines *lines, const char *line, size_t n_bytes,
                                  xcoder_error *err);
/* The next line, of bounded length; NULL at the end. */
xcoder_status xci_pairs_line(xci_lines *lines, const char **line, size_t *n_bytes, xcoder_error *err);
/* Refuses a line that is not UTF-8 or holds a NUL. */
xcoder_status xci_pairs_check_text(const xci_lines *lines, const char *line, size_t n_bytes, xcoder_error *err);

/* Language and group that a file's place tells ("" if nothing): for CLAMS en/TASK.txt, en_evalset/TASK.txt or
 * en_TASK.txt; for MultiBLiMP fra/data.tsv or fra.tsv. `stem` is the file's name without its endings. */
void xci_clams_place(const char *folder, const char *stem, char language[4], xci_text *group);
void xci_multiblimp_place(const char *folder, const char *stem, char language[4], xci_text *group);

/* Two sentences (UTF-8, zero-terminated): their common first words are the prefix, the next word of each an answer,
 * the rest is dropped. `capitalize`: as Python's str.capitalize(). */
xcoder_status xci_pairs_add_sentences(xci_pairs_builder *builder, const char *good, const char *bad, bool capitalize,
                                      const char *group, const char *language, xcoder_error *err);

/* A text member of a line; NULL if it is absent or null. */
xcoder_status xci_item_text(const json_t *line, const char *path, uint64_t number, const char *key, const char **text,
                            xcoder_error *err);

#endif
