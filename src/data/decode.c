/* SPDX-License-Identifier: Apache-2.0 */
/* From ids back to text, and the alphabet of the byte-level tokenizers. */
#include "base/memory.h"
#include "data/tokenizer.h"
#include "data/unicode.h"

/* The printable bytes of Latin-1 stand for themselves, the other 68, in increasing order, for U+0100 onward. */
static bool stands_for_itself(uint32_t byte) {
  return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);
}

int xci_byte_of_character(uint32_t c) {
  if (c < 0x100) return stands_for_itself(c) ? (int)c : -1;
  if (c < 0x121) return (int)(c - 0x100);        /* 0x00 to 0x20 */
  if (c < 0x143) return (int)(c - 0x121 + 0x7f); /* 0x7f to 0xa0 */
  return c == 0x143 ? 0xad : -1;
}

uint32_t xci_character_of_byte(unsigned char byte) {
  if (stands_for_itself(byte)) return byte;
  if (byte <= 0x20) return 0x100u + byte;
  return byte == 0xad ? 0x143u : 0x121u + byte - 0x7fu;
}

xcoder_status xcoder_detokenize(const xcoder_tokenizer *tokenizer, const uint32_t *ids, size_t n_ids, char **text,
                                size_t *n_bytes, xcoder_error *err) {
  xci_text raw = {0}, valid = {0};
  *text = NULL;
  if (n_bytes) *n_bytes = 0;
  for (size_t i = 0; i < n_ids; i++) {
    size_t length;
    const char *bytes = xcoder_token_bytes(tokenizer, ids[i], &length);
    if (bytes) xci_text_append(&raw, bytes, length);
  }
  xcoder_status status = xci_text_status(&raw, err);
  if (!status) {
    xci_text_append(&valid, "", 0); /* a text even if nothing follows */
    if (raw.n_bytes) xci_text_lossy(&valid, raw.bytes, raw.n_bytes);
    status = xci_text_status(&valid, err);
  }
  xci_text_clear(&raw);
  if (status) {
    xci_text_clear(&valid);
    return status;
  }
  if (!valid.bytes) return xci_copy_text("", text, err);
  *text = valid.bytes;
  if (n_bytes) *n_bytes = valid.n_bytes;
  return XCODER_OK;
}
