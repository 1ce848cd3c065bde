/* SPDX-License-Identifier: Apache-2.0 */
/* Growable text, UTF-8, and one escaper per output format. */
#ifndef XCI_BASE_TEXT_H
#define XCI_BASE_TEXT_H

#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A growable, always zero-terminated text. Initialise with {0}; errors stick: after the first failed
 * allocation further appends do nothing and xci_text_status() tells. */
typedef struct xci_text {
  char *bytes;
  size_t n_bytes, capacity;
  bool failed;
} xci_text;

void xci_text_append(xci_text *text, const char *bytes, size_t n);
void xci_text_add(xci_text *text, const char *zero_terminated);
void xci_text_format(xci_text *text, const char *format, ...) XCODER_PRINTF(2, 3);
xcoder_status xci_text_status(const xci_text *text, xcoder_error *err);
void xci_text_clear(xci_text *text); /* frees; may be used again */

/* Length of the valid UTF-8 sequence at p (1..4), or 0 if it is invalid; *code_point is set when valid. */
size_t xci_utf8_decode(const char *p, size_t n, uint32_t *code_point);
size_t xci_utf8_encode(uint32_t code_point, char out[4]); /* 0 for a surrogate or > 0x10FFFF */
bool xci_utf8_valid(const char *p, size_t n);

/* Appends `n` bytes (invalid UTF-8 becomes U+FFFD): as the inside of a JSON string ('<', '>', '&', U+2028,
 * U+2029 and controls as \u....; safe inside <script>), as HTML text or attribute, as an SVG/XML text (controls
 * become U+FFFD), as one CSV field (quoted when needed; a leading = + - @ tab or CR that is not a number gets
 * a ' before it). */
void xci_text_json(xci_text *text, const char *bytes, size_t n);
void xci_text_html(xci_text *text, const char *bytes, size_t n);
void xci_text_xml(xci_text *text, const char *bytes, size_t n);
void xci_text_csv(xci_text *text, const char *bytes, size_t n);
/* A number that reads back as the same double ("%.17g" shortened), with '.' whatever the locale;
 * NaN and infinity give "nan", "inf", "-inf" ("null" in JSON form). */
void xci_text_number(xci_text *text, double value);
void xci_text_json_number(xci_text *text, double value);
/* The same for a float: the shortest that reads back as the same float. */
void xci_text_float(xci_text *text, float value);

#endif
