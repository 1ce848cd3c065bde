/* SPDX-License-Identifier: Apache-2.0 */
/* Token sequences in memory. */
#include "data/tokens.h"

#include "base/bytes.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/size.h"
#include <string.h>

xcoder_status xci_tokens_take_equal(uint32_t **ids, size_t n_sequences, size_t length, xcoder_tokens **out,
                                    xcoder_error *err) {
  xcoder_tokens *tokens = NULL;
  size_t n_starts = 0;
  *out = NULL;
  if (!xci_add_size(n_sequences, 1, &n_starts)) return xci_fail(err, XCODER_MEMORY, "too many sequences");
  xcoder_status status = XCI_ALLOC(&tokens, 1, err);
  if (!status) status = XCI_ALLOC(&tokens->start, n_starts, err);
  if (status) {
    xcoder_tokens_free(tokens);
    return status;
  }
  for (size_t i = 0; i < n_starts; i++) tokens->start[i] = i * length;
  tokens->n_sequences = n_sequences;
  tokens->ids = *ids;
  *ids = NULL;
  *out = tokens;
  return XCODER_OK;
}

xcoder_status xcoder_tokens_from_array(const uint32_t *ids, const size_t *start, size_t n_sequences,
                                       xcoder_tokens **out, xcoder_error *err) {
  xcoder_tokens *tokens = NULL;
  size_t n_starts = 0;
  *out = NULL;
  if (!xci_add_size(n_sequences, 1, &n_starts)) return xci_fail(err, XCODER_MEMORY, "too many sequences");
  for (size_t i = 0; i < n_sequences; i++)
    if (start[i + 1] < start[i] || start[0] != 0)
      return xci_fail(err, XCODER_USAGE, "token sequence %zu: starts at %zu, ends at %zu", i, start[i], start[i + 1]);
  xcoder_status status = XCI_ALLOC(&tokens, 1, err);
  if (!status) status = XCI_ALLOC(&tokens->start, n_starts, err);
  if (!status) status = XCI_ALLOC(&tokens->ids, n_sequences ? start[n_sequences] : 0, err);
  if (status) {
    xcoder_tokens_free(tokens);
    return status;
  }
  tokens->n_sequences = n_sequences;
  if (n_sequences) {
    memcpy(tokens->start, start, n_starts * sizeof *start);
    if (start[n_sequences]) memcpy(tokens->ids, ids, start[n_sequences] * sizeof *ids);
  }
  *out = tokens;
  return XCODER_OK;
}

void xcoder_tokens_free(xcoder_tokens *tokens) {
  if (!tokens) return;
  xci_free(tokens->ids);
  xci_free(tokens->start);
  for (size_t i = 0; i < tokens->n_languages; i++) xci_free(tokens->languages[i]);
  xci_free(tokens->languages);
  xci_free(tokens->language);
  xci_free(tokens);
}

size_t xcoder_tokens_sequences(const xcoder_tokens *tokens) { return tokens->n_sequences; }
const uint32_t *xcoder_tokens_ids(const xcoder_tokens *tokens) { return tokens->ids; }
const size_t *xcoder_tokens_start(const xcoder_tokens *tokens) { return tokens->start; }

/* XXH3-128 through a small buffer, so that the bytes are little-endian everywhere. Without memory for the state of
 * the hash the digits are all 0. */
void xcoder_tokens_hash(const xcoder_tokens *tokens, char hex[33]) {
  unsigned char bytes[4096];
  size_t n = 0;
  xci_hash *hash = NULL;
  memcpy(hex, "00000000000000000000000000000000", 33);
  if (xci_hash_open(&hash, NULL)) return;
  for (size_t i = 0; i < tokens->n_sequences; i++) {
    xci_store_u64(bytes + n, tokens->start[i + 1] - tokens->start[i]);
    n += 8;
    if (n == sizeof bytes) {
      xci_hash_add(hash, bytes, n);
      n = 0;
    }
  }
  xci_hash_add(hash, bytes, n);
  n = 0;
  for (size_t i = 0; i < tokens->start[tokens->n_sequences]; i++) {
    xci_store_u32(bytes + n, tokens->ids[i]);
    n += 4;
    if (n == sizeof bytes) {
      xci_hash_add(hash, bytes, n);
      n = 0;
    }
  }
  xci_hash_add(hash, bytes, n);
  xci_hash_close(hash, hex);
}
