/* SPDX-License-Identifier: Apache-2.0 */
/* Token sequences in memory. */
#ifndef XCI_DATA_TOKENS_H
#define XCI_DATA_TOKENS_H

#include "data/bpe.h"
#include <crosscoder/data.h>

struct xcoder_tokens {
  uint32_t *ids;
  size_t *start; /* [n_sequences + 1] */
  size_t n_sequences;
};

/* Takes over `ids`: n_sequences x length of them, the rest behind is unused. */
xcoder_status xci_tokens_take_equal(uint32_t **ids, size_t n_sequences, size_t length, xcoder_tokens **tokens,
                                    xcoder_error *err);

/* Little-endian numbers of `width` 2 or 4 bytes; Megatron's index PATH.idx beside PATH.bin. */
xcoder_status xci_tokens_load_raw(const char *path, size_t width, size_t length, xcoder_tokens **tokens,
                                  xcoder_error *err);
xcoder_status xci_tokens_load_megatron(const char *path, size_t length, xcoder_tokens **tokens, xcoder_error *err);

#endif
