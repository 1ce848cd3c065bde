/* SPDX-License-Identifier: Apache-2.0 */
/* GPT-2's way of cutting text into words, by hand.
 *
 * The same as the regular expression
 *   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 * which most byte-level tokenizers use and which takes most of the time when an engine runs it. A test compares the
 * two on every class of characters. */
#include "data/encode.h"
#include "data/unicode.h"

static size_t contraction(const char *text, size_t n_bytes, size_t from) {
  size_t left = n_bytes - from;
  if (left < 2) return 0;
  char a = text[from + 1], b = left > 2 ? text[from + 2] : '\0';
  if (a == 's' || a == 't' || a == 'm' || a == 'd') return from + 2;
  if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l')) return from + 3;
  return 0;
}

static xci_class class_at(const char *text, size_t at, size_t *length) {
  unsigned char c = (unsigned char)text[at];
  if (c < 0x80) {
    *length = 1;
    if ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') return XCI_LETTER;
    if (c >= '0' && c <= '9') return XCI_NUMBER;
    return c == ' ' || (c >= 9 && c <= 13) ? XCI_SPACE : XCI_OTHER_CLASS;
  }
  uint32_t code_point;
  *length = xci_utf8_next(text + at, &code_point);
  return xci_character_class(code_point);
}

size_t xci_gpt2_piece(const char *text, size_t n_bytes, size_t from) {
  size_t length, end, at = from;
  if (text[from] == '\'' && (end = contraction(text, n_bytes, from)) != 0) return end;
  if (text[from] == ' ' && from + 1 < n_bytes) at++;
  xci_class class = class_at(text, at, &length);
  if (class != XCI_SPACE) {
    for (end = at + length; end < n_bytes && class_at(text, end, &length) == class; end += length) {}
    return end;
  }
  for (end = from; end < n_bytes && class_at(text, end, &length) == XCI_SPACE; end += length) {}
  if (end == n_bytes) return end;
  /* White space before a word leaves its last character to the word (which takes it if it is a blank). */
  size_t last = xci_utf8_before(text, end);
  return last > from ? last : end;
}
