/* SPDX-License-Identifier: Apache-2.0 */
/* Code points and their classes as the tokenizers see them. */
#ifndef XCI_DATA_UNICODE_H
#define XCI_DATA_UNICODE_H

#include "base/error.h"
#include "base/text.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The code point at p (which must be valid UTF-8) and its length. */
static inline size_t xci_utf8_next(const char *p, uint32_t *code_point) {
  const unsigned char *b = (const unsigned char *)p;
  if (b[0] < 0x80) {
    *code_point = b[0];
    return 1;
  }
  if (b[0] < 0xe0) {
    *code_point = (uint32_t)(b[0] & 0x1f) << 6 | (b[1] & 0x3fu);
    return 2;
  }
  if (b[0] < 0xf0) {
    *code_point = (uint32_t)(b[0] & 0x0f) << 12 | (uint32_t)(b[1] & 0x3f) << 6 | (b[2] & 0x3fu);
    return 3;
  }
  *code_point =
    (uint32_t)(b[0] & 7) << 18 | (uint32_t)(b[1] & 0x3f) << 12 | (uint32_t)(b[2] & 0x3f) << 6 | (b[3] & 0x3fu);
  return 4;
}

/* The start of the code point before `end` > 0 in valid UTF-8. */
static inline size_t xci_utf8_before(const char *text, size_t end) {
  do end--;
  while (end > 0 && ((unsigned char)text[end] & 0xc0) == 0x80);
  return end;
}

typedef enum xci_class { XCI_OTHER_CLASS, XCI_LETTER, XCI_NUMBER, XCI_SPACE } xci_class;

/* Letter (L*), number (N*), white space (the property White_Space: 25 code points), other. */
xci_class xci_character_class(uint32_t code_point);
/* \w of the reference: alphabetic, mark, decimal number, connector punctuation, join control. */
bool xci_is_word(uint32_t code_point);
bool xci_is_space(uint32_t code_point);
/* What Python's str.strip() and str.split() take for white space: White_Space and U+001C to U+001F. */
bool xci_is_python_space(uint32_t code_point);
/* Moves *text and *n_bytes past white space at both ends, as Python's strip() does. */
void xci_strip(const char **text, size_t *n_bytes);

/* Number of leading bytes below 0x80. */
size_t xci_ascii_prefix(const char *text, size_t n_bytes);

/* Appends `text` with every maximal invalid part replaced by U+FFFD (as the Unicode standard recommends in
 * section 3.9, and as Rust and Python do). */
void xci_text_lossy(xci_text *out, const char *text, size_t n_bytes);

#endif
