/* SPDX-License-Identifier: Apache-2.0 */
/* JSON text, and writing text files. */
#include "analysis/json_out.h"

#include "base/file.h"
#include <math.h>
#include <string.h>

static void start_member(xci_json_out *out, const char *key) {
  if (out->has_member) xci_text_add(&out->text, ", ");
  out->has_member = true;
  if (!key) return;
  xci_text_add(&out->text, "\"");
  xci_text_json(&out->text, key, strlen(key));
  xci_text_add(&out->text, "\": ");
}

void xci_json_open(xci_json_out *out, const char *key, char bracket) {
  start_member(out, key);
  xci_text_append(&out->text, &bracket, 1);
  out->has_member = false;
}

void xci_json_close(xci_json_out *out, char bracket) {
  xci_text_append(&out->text, &bracket, 1);
  out->has_member = true;
}

void xci_json_line(xci_json_out *out) {
  if (out->has_member) xci_text_add(&out->text, ",");
  out->has_member = false;
  xci_text_add(&out->text, "\n ");
}

void xci_json_bytes(xci_json_out *out, const char *key, const char *value, size_t n) {
  start_member(out, key);
  xci_text_add(&out->text, "\"");
  for (size_t at = 0; at < n;) { /* a token may be a NUL byte, which JSON readers written in C refuse */
    const char *nul = memchr(value + at, 0, n - at);
    const size_t end = nul ? (size_t)(nul - value) : n;
    xci_text_json(&out->text, value + at, end - at);
    if (nul) xci_text_add(&out->text, "\xef\xbf\xbd");
    at = end + (nul != NULL);
  }
  xci_text_add(&out->text, "\"");
}

void xci_json_text(xci_json_out *out, const char *key, const char *value) {
  xci_json_bytes(out, key, value, strlen(value));
}

void xci_json_number(xci_json_out *out, const char *key, double value) {
  start_member(out, key);
  if (isfinite(value)) xci_text_json_number(&out->text, value);
  else xci_text_add(&out->text, "null");
}

void xci_json_float(xci_json_out *out, const char *key, float value) {
  start_member(out, key);
  if (isfinite(value)) xci_text_float(&out->text, value);
  else xci_text_add(&out->text, "null");
}

void xci_json_count(xci_json_out *out, const char *key, uint64_t value) {
  start_member(out, key);
  xci_text_format(&out->text, "%llu", (unsigned long long)value);
}

void xci_json_integer(xci_json_out *out, const char *key, int64_t value) {
  start_member(out, key);
  xci_text_format(&out->text, "%lld", (long long)value);
}

void xci_json_flag(xci_json_out *out, const char *key, bool value) {
  start_member(out, key);
  xci_text_add(&out->text, value ? "true" : "false");
}

void xci_json_numbers(xci_json_out *out, const char *key, const double *value, size_t n) {
  xci_json_open(out, key, '[');
  for (size_t i = 0; i < n; i++) xci_json_number(out, NULL, value[i]);
  xci_json_close(out, ']');
}

void xci_json_texts(xci_json_out *out, const char *key, const char *const *value, size_t n) {
  xci_json_open(out, key, '[');
  for (size_t i = 0; i < n; i++) xci_json_text(out, NULL, value[i]);
  xci_json_close(out, ']');
}

xcoder_status xci_write_text(const char *path, xci_text *text, xcoder_error *err) {
  xci_writer *writer = NULL;
  if (text->n_bytes && text->bytes[text->n_bytes - 1] != '\n') xci_text_add(text, "\n");
  xcoder_status status = xci_text_status(text, err);
  if (!status) status = xci_writer_open(path, &writer, err);
  if (!status) {
    status = xci_writer_write(writer, text->bytes, text->n_bytes, err);
    if (!status) status = xci_writer_commit(writer, err);
    else xci_writer_abort(writer);
  }
  xci_text_clear(text);
  return status;
}
