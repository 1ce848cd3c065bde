/* SPDX-License-Identifier: Apache-2.0 */
/* Growable text, UTF-8, numbers as text. */
#include "base/text.h"

#include "base/memory.h"
#include "base/size.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool reserve(xci_text *text, size_t more) {
  size_t needed;
  if (text->failed || !xci_add_size(text->n_bytes, more, &needed) || !xci_add_size(needed, 1, &needed)) {
    text->failed = true;
    return false;
  }
  if (xci_grow((void **)&text->bytes, &text->capacity, needed, 1, NULL)) text->failed = true;
  return !text->failed;
}

void xci_text_append(xci_text *text, const char *bytes, size_t n) {
  if (!reserve(text, n)) return;
  if (n) memcpy(text->bytes + text->n_bytes, bytes, n);
  text->n_bytes += n;
  text->bytes[text->n_bytes] = '\0';
}

void xci_text_add(xci_text *text, const char *zero_terminated) {
  xci_text_append(text, zero_terminated, strlen(zero_terminated));
}

void xci_text_format(xci_text *text, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  int n = vsnprintf(NULL, 0, format, arguments);
  va_end(arguments);
  if (n < 0) text->failed = true;
  if (n < 0 || !reserve(text, (size_t)n)) return;
  va_start(arguments, format);
  vsnprintf(text->bytes + text->n_bytes, (size_t)n + 1, format, arguments);
  va_end(arguments);
  text->n_bytes += (size_t)n;
}

xcoder_status xci_text_status(const xci_text *text, xcoder_error *err) {
  return text->failed ? xci_fail(err, XCODER_MEMORY, "memory: text of %zu bytes could not grow", text->n_bytes)
                      : XCODER_OK;
}

void xci_text_clear(xci_text *text) {
  xci_free(text->bytes);
  *text = (xci_text){0};
}

size_t xci_utf8_decode(const char *p, size_t n, uint32_t *code_point) {
  const unsigned char *b = (const unsigned char *)p;
  if (n == 0) return 0;
  if (b[0] < 0x80) {
    *code_point = b[0];
    return 1;
  }
  size_t length = b[0] >= 0xf0 && b[0] < 0xf5 ? 4 : b[0] >= 0xe0 ? 3 : b[0] >= 0xc2 ? 2 : 0;
  if (b[0] >= 0xf5 || length == 0 || length > n) return 0;
  uint32_t c = b[0] & (0xffu >> (length + 1));
  for (size_t i = 1; i < length; i++) {
    if ((b[i] & 0xc0) != 0x80) return 0;
    c = c << 6 | (b[i] & 0x3fu);
  }
  static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
  if (c < smallest[length] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) return 0;
  *code_point = c;
  return length;
}

size_t xci_utf8_encode(uint32_t c, char out[4]) {
  if (c < 0x80) {
    out[0] = (char)c;
    return 1;
  }
  if (c < 0x800) {
    out[0] = (char)(0xc0 | c >> 6);
    out[1] = (char)(0x80 | (c & 0x3f));
    return 2;
  }
  if (c < 0x10000) {
    if (c >= 0xd800 && c < 0xe000) return 0;
    out[0] = (char)(0xe0 | c >> 12);
    out[1] = (char)(0x80 | (c >> 6 & 0x3f));
    out[2] = (char)(0x80 | (c & 0x3f));
    return 3;
  }
  if (c > 0x10ffff) return 0;
  out[0] = (char)(0xf0 | c >> 18);
  out[1] = (char)(0x80 | (c >> 12 & 0x3f));
  out[2] = (char)(0x80 | (c >> 6 & 0x3f));
  out[3] = (char)(0x80 | (c & 0x3f));
  return 4;
}

bool xci_utf8_valid(const char *p, size_t n) {
  uint32_t code_point;
  for (size_t i = 0; i < n;) {
    size_t length = xci_utf8_decode(p + i, n - i, &code_point);
    if (length == 0) return false;
    i += length;
  }
  return true;
}

/* printf("%g") follows the locale; numbers in our files do not. */
static void append_decimal(xci_text *text, char *digits) {
  for (char *p = digits; *p; p++)
    if (!strchr("0123456789+-eE.", *p)) *p = '.';
  xci_text_add(text, digits);
}

static bool append_special(xci_text *text, double value) {
  if (isnan(value)) xci_text_add(text, "nan");
  if (isinf(value)) xci_text_add(text, value > 0 ? "inf" : "-inf");
  return isnan(value) || isinf(value);
}

void xci_text_number(xci_text *text, double value) {
  if (append_special(text, value)) return;
  char digits[40];
  for (int precision = 6; precision <= 17; precision++) {
    snprintf(digits, sizeof digits, "%.*g", precision, value);
    if (strtod(digits, NULL) == value) break;
  }
  append_decimal(text, digits);
}

void xci_text_float(xci_text *text, float value) {
  if (append_special(text, (double)value)) return;
  char digits[40];
  for (int precision = 4; precision <= 9; precision++) {
    snprintf(digits, sizeof digits, "%.*g", precision, (double)value);
    if (strtof(digits, NULL) == value) break;
  }
  append_decimal(text, digits);
}

void xci_text_json_number(xci_text *text, double value) {
  if (isfinite(value))
    xci_text_number(text, value);
  else
    xci_text_add(text, "null");
}
