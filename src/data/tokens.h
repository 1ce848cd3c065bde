/* SPDX-License-Identifier: Apache-2.0 */
/* Token sequences in memory, and the forms of files that hold them. */
#ifndef XCI_DATA_TOKENS_H
#define XCI_DATA_TOKENS_H

#include "compute/compute.h"
#include "data/bpe.h"
#include <crosscoder/data.h>

struct xcoder_tokens {
  uint32_t *ids;
  size_t *start; /* [n_sequences + 1] */
  size_t n_sequences;
  char **languages; /* [n_languages], none if nothing is known */
  size_t n_languages;
  uint16_t *language; /* [n_sequences], indices of `languages`; NULL: none known */
};

/* Takes over `ids`: n_sequences x length of them, the rest behind is unused. */
xcoder_status xci_tokens_take_equal(uint32_t **ids, size_t n_sequences, size_t length, xcoder_tokens **tokens,
                                    xcoder_error *err);
/* Gives the tokens the names of their languages and room for xcoder_tokens.language. */
xcoder_status xci_tokens_name_languages(xcoder_tokens *tokens, const char *const *names, size_t n, xcoder_error *err);

/* PATH.languages.json beside a file of tokens: read if it is there, written or removed with the tokens. */
xcoder_status xci_languages_read(const char *path, xcoder_tokens *tokens, xcoder_error *err);
xcoder_status xci_languages_write(const char *path, const xcoder_tokens *tokens, xcoder_error *err);

typedef enum xci_token_form {
  XCI_NO_TOKENS, XCI_TOKENS_NPY, XCI_TOKENS_TORCH, XCI_TOKENS_MEGATRON, XCI_TOKENS_INDEXED, XCI_TOKENS_U16,
  XCI_TOKENS_U32
} xci_token_form;

/* What the first bytes say; the name decides where they cannot. `token_bytes` as in xcoder_tokens_options. */
xcoder_status xci_token_file_form(const char *path, unsigned token_bytes, xci_token_form *form, xcoder_error *err);

/* Integers in a file: [n_values], or [n_values / length, length] for rank 2. */
typedef struct xci_token_array {
  const char *path;
  const unsigned char *bytes;
  xci_dtype dtype;
  size_t rank, n_values, length;
} xci_token_array;

xcoder_status xci_tokens_from_numbers(const xci_token_array *array, const xcoder_tokens_options *options,
                                      xcoder_tokens **tokens, xcoder_error *err);
/* Converts `n` integers; `first` is the number of the first in the file, for messages. */
xcoder_status xci_token_ids(const xci_token_array *array, size_t first, size_t n, uint32_t *ids, xcoder_error *err);

/* `path` is an index, PATH.idx (or a name of another ending) beside PATH.bin, or the latter. */
xcoder_status xci_tokens_load_indexed(const char *path, xci_token_form form, const xcoder_tokens_options *options,
                                      xcoder_tokens **tokens, xcoder_error *err);
/* The name with its ending replaced; freed with xci_free(). */
xcoder_status xci_token_file_beside(const char *path, const char *ending, char **out, xcoder_error *err);

#endif
