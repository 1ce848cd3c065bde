/* SPDX-License-Identifier: Apache-2.0 */
/* One escaper per output format: JSON, HTML, XML, CSV. */
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

void xci_text_json(xci_text *text, const char *bytes, size_t n) {
  for (size_t i = 0; i < n;) {
    uint32_t c = 0;
    size_t length = xci_utf8_decode(bytes + i, n - i, &c);
    if (length == 0) {
      xci_text_append(text, replacement, 3);
      i++;
      continue;
    }
    if (c == '"' || c == '\\')
      xci_text_format(text, "\\%c", (int)c);
    else if (c < 0x20 || c == 0x7f || c == '<' || c == '>' || c == '&' || c == 0x2028 || c == 0x2029)
      xci_text_format(text, "\\u%04x", (unsigned)c);
    else
      xci_text_append(text, bytes + i, length);
    i += length;
  }
}

/* Characters that neither HTML nor XML may contain. */
static bool is_forbidden(uint32_t c) {
  return (c < 0x20 && c != '\t' && c != '\n' && c != '\r') || (c >= 0x7f && c < 0xa0) || (c & 0xfffe) == 0xfffe ||
         (c >= 0xfdd0 && c < 0xfdf0);
}

static void append_markup(xci_text *text, const char *bytes, size_t n) {
  for (size_t i = 0; i < n;) {
    uint32_t c = 0;
    size_t length = xci_utf8_decode(bytes + i, n - i, &c);
    if (length == 0 || is_forbidden(c)) {
      xci_text_append(text, replacement, 3);
      i += length ? length : 1;
      continue;
    }
    const char *entity = c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '&' ? "&amp;" : c == '"' ? "&quot;"
                         : c == '\'' ? "&#39;" : NULL;
    if (entity)
      xci_text_add(text, entity);
    else
      xci_text_append(text, bytes + i, length);
    i += length;
  }
}

void xci_text_html(xci_text *text, const char *bytes, size_t n) { append_markup(text, bytes, n); }

void xci_text_xml(xci_text *text, const char *bytes, size_t n) { append_markup(text, bytes, n); }

/* Whether a field that starts like a formula is a plain number after all. */
static bool is_number(const char *bytes, size_t n) {
  char copy[64];
  if (n == 0 || n >= sizeof copy) return false;
  memcpy(copy, bytes, n);
  copy[n] = '\0';
  if (strspn(copy, "+-.0123456789eE") != n) return false;
  char *end;
  strtod(copy, &end);
  return *end == '\0';
}

void xci_text_csv(xci_text *text, const char *bytes, size_t n) {
  bool formula = n > 0 && memchr("=+-@\t\r", bytes[0], 6) && !is_number(bytes, n);
  bool quoted = formula;
  for (size_t i = 0; i < n; i++) quoted = quoted || memchr(",\"\n\r", bytes[i], 4);
  if (quoted) xci_text_add(text, "\"");
  if (formula) xci_text_add(text, "'");
  for (size_t i = 0; i < n;) {
    uint32_t c = 0;
    size_t length = xci_utf8_decode(bytes + i, n - i, &c);
    if (length == 0 || c == 0)
      xci_text_append(text, replacement, 3);
    else if (c == '"')
      xci_text_add(text, "\"\"");
    else
      xci_text_append(text, bytes + i, length);
    i += length ? length : 1;
  }
  if (quoted) xci_text_add(text, "\"");
}
