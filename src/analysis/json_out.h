/* SPDX-License-Identifier: Apache-2.0 */
/* Writing JSON text member by member; commas and nesting are kept here. */
#ifndef XCI_ANALYSIS_JSON_OUT_H
#define XCI_ANALYSIS_JSON_OUT_H

#include "base/text.h"

/* Initialise with {0}. `key` is NULL in arrays. Errors stick in the text (xci_text_status). */
typedef struct xci_json_out {
  xci_text text;
  bool has_member; /* the innermost object or array is not empty */
} xci_json_out;

void xci_json_open(xci_json_out *out, const char *key, char bracket); /* '{' or '[' */
void xci_json_close(xci_json_out *out, char bracket);                 /* '}' or ']' */
void xci_json_line(xci_json_out *out); /* the next member starts on a line of its own */
void xci_json_text(xci_json_out *out, const char *key, const char *value);
/* Invalid UTF-8 and NUL become U+FFFD. */
void xci_json_bytes(xci_json_out *out, const char *key, const char *value, size_t n);
void xci_json_number(xci_json_out *out, const char *key, double value); /* null unless finite */
void xci_json_float(xci_json_out *out, const char *key, float value);
void xci_json_count(xci_json_out *out, const char *key, uint64_t value);
void xci_json_integer(xci_json_out *out, const char *key, int64_t value);
void xci_json_flag(xci_json_out *out, const char *key, bool value);
void xci_json_numbers(xci_json_out *out, const char *key, const double *value, size_t n);
void xci_json_texts(xci_json_out *out, const char *key, const char *const *value, size_t n);

/* A whole text, atomically, with a line end behind it. Clears the text in any case. */
xcoder_status xci_write_text(const char *path, xci_text *text, xcoder_error *err);

#endif
