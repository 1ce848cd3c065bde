/* SPDX-License-Identifier: Apache-2.0 */
/* Code points and their classes as the tokenizers see them. */
#include "data/unicode.h"

#include <string.h>
#include <utf8proc.h>

bool xci_is_space(uint32_t c) {
  if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13);
  if (c < 0x1680) return c == 0x85 || c == 0xa0;
  return c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
         c == 0x3000;
}

bool xci_is_python_space(uint32_t c) { return xci_is_space(c) || (c >= 0x1c && c <= 0x1f); }

xci_class xci_character_class(uint32_t c) {
  if (xci_is_space(c)) return XCI_SPACE;
  switch (utf8proc_category((utf8proc_int32_t)c)) {
  case UTF8PROC_CATEGORY_LU:
  case UTF8PROC_CATEGORY_LL:
  case UTF8PROC_CATEGORY_LT:
  case UTF8PROC_CATEGORY_LM:
  case UTF8PROC_CATEGORY_LO: return XCI_LETTER;
  case UTF8PROC_CATEGORY_ND:
  case UTF8PROC_CATEGORY_NL:
  case UTF8PROC_CATEGORY_NO: return XCI_NUMBER;
  default: return XCI_OTHER_CLASS;
  }
}

bool xci_is_word(uint32_t c) {
  if (c == 0x200c || c == 0x200d) return true;
  /* Alphabetic symbols that are neither letters nor marks nor numbers: circled and squared letters. */
  if ((c >= 0x24b6 && c <= 0x24e9) || (c >= 0x1f130 && c <= 0x1f149) || (c >= 0x1f150 && c <= 0x1f169) ||
      (c >= 0x1f170 && c <= 0x1f189))
    return true;
  switch (utf8proc_category((utf8proc_int32_t)c)) {
  case UTF8PROC_CATEGORY_ND:
  case UTF8PROC_CATEGORY_NL:
  case UTF8PROC_CATEGORY_MN:
  case UTF8PROC_CATEGORY_MC:
  case UTF8PROC_CATEGORY_ME:
  case UTF8PROC_CATEGORY_PC: return true;
  default: return xci_character_class(c) == XCI_LETTER;
  }
}

void xci_strip(const char **text, size_t *n_bytes) {
  const char *p = *text;
  size_t n = *n_bytes;
  uint32_t c;
  while (n) {
    size_t length = xci_utf8_next(p, &c);
    if (!xci_is_python_space(c)) break;
    p += length;
    n -= length;
  }
  while (n) {
    size_t last = xci_utf8_before(p, n);
    xci_utf8_next(p + last, &c);
    if (!xci_is_python_space(c)) break;
    n = last;
  }
  *text = p;
  *n_bytes = n;
}

size_t xci_ascii_prefix(const char *text, size_t n_bytes) {
  size_t i = 0;
  for (uint64_t word; i + 8 <= n_bytes; i += 8) {
    memcpy(&word, text + i, 8);
    if (word & 0x8080808080808080u) break;
  }
  while (i < n_bytes && (unsigned char)text[i] < 0x80) i++;
  return i;
}

/* Length (1 to 3) of the maximal part of an ill-formed sequence at p that is the beginning of a well-formed one. */
static size_t invalid_length(const unsigned char *p, size_t n) {
  unsigned low = 0x80, high = 0xbf;
  size_t need;
  if (p[0] >= 0xc2 && p[0] <= 0xdf) need = 1;
  else if (p[0] >= 0xe0 && p[0] <= 0xef) need = 2;
  else if (p[0] >= 0xf0 && p[0] <= 0xf4) need = 3;
  else return 1;
  if (p[0] == 0xe0) low = 0xa0;
  if (p[0] == 0xed) high = 0x9f;
  if (p[0] == 0xf0) low = 0x90;
  if (p[0] == 0xf4) high = 0x8f;
  size_t length = 1;
  while (length <= need && length < n && p[length] >= low && p[length] <= high) {
    length++;
    low = 0x80;
    high = 0xbf;
  }
  return length;
}

void xci_text_lossy(xci_text *out, const char *text, size_t n_bytes) {
  size_t from = 0, i = 0;
  while (i < n_bytes) {
    i += xci_ascii_prefix(text + i, n_bytes - i);
    if (i == n_bytes) break;
    uint32_t code_point;
    size_t length = xci_utf8_decode(text + i, n_bytes - i, &code_point);
    if (length) {
      i += length;
      continue;
    }
    xci_text_append(out, text + from, i - from);
    xci_text_append(out, "\xef\xbf\xbd", 3);
    i += invalid_length((const unsigned char *)text + i, n_bytes - i);
    from = i;
  }
  xci_text_append(out, text + from, n_bytes - from);
}
