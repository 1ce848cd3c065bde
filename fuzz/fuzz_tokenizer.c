/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes tokenizer.json: what opens tokenizes any text to ids that exist, the same ids every time. */
#include "fuzz_file.h"

#include "base/memory.h"
#include "data/encode.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static const char text[] =
  "ab a b  abab<|endoftext|>x e\xcc\x81\xcc\xa7 \xe4\xbd\xa0\xe5\xa5\xbd\xff 123 don't\n\n\t  z"
  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab";

static void use(const xcoder_tokenizer *tokenizer) {
  xci_encoder *encoder = NULL;
  xci_ids ids = {0};
  char *back = NULL;
  uint32_t end = 0;
  xcoder_error err = {0};
  if (xcoder_tokenizer_end_of_text(tokenizer, &end) && end >= xcoder_tokenizer_size(tokenizer)) abort();
  if (!xci_encoder_open(tokenizer, true, &encoder, &err) && !xci_encode(encoder, text, sizeof text - 1, &ids, &err)) {
    size_t n = ids.n;
    for (size_t i = 0; i < n; i++) {
      size_t length;
      if (ids.ids[i] >= xcoder_tokenizer_size(tokenizer) || !xcoder_token_bytes(tokenizer, ids.ids[i], &length))
        abort();
    }
    if (xci_encode(encoder, text, sizeof text - 1, &ids, &err) || ids.n != 2 * n) abort();
    if (n && memcmp(ids.ids, ids.ids + n, n * sizeof *ids.ids) != 0) abort();
    if (xcoder_detokenize(tokenizer, ids.ids, n, &back, NULL, &err) || !xci_utf8_valid(back, strlen(back))) abort();
  } else if (!err.message[0]) {
    abort();
  }
  xci_free(back);
  xci_free(ids.ids);
  xci_encoder_close(encoder);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
  xcoder_tokenizer *tokenizer = NULL;
  xcoder_error err = {0};
  if (xcoder_tokenizer_open(fuzz_file("input.json", data, n_bytes), &tokenizer, &err)) {
    if (tokenizer || !err.message[0] || strchr(err.message, '\n')) abort();
    return 0;
  }
  use(tokenizer);
  xcoder_tokenizer_close(tokenizer);
  return 0;
}
