/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes the JSON glue: what it accepts is no deeper than promised and means the same when written and read again. */
#include "formats/json.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static int depth_of(const json_t *value, int limit) {
  const char *key;
  json_t *member;
  size_t index;
  int deepest = 0;
  if (limit < 0) abort();
  json_object_foreach((json_t *)value, key, member) {
    int depth = depth_of(member, limit - 1);
    deepest = depth > deepest ? depth : deepest;
  }
  json_array_foreach(value, index, member) {
    int depth = depth_of(member, limit - 1);
    deepest = depth > deepest ? depth : deepest;
  }
  return deepest + 1;
}

static void get_members(const json_t *value) {
  xcoder_error error;
  size_t size, fallback = 1;
  double number;
  bool flag;
  const char *text;
  (void)xci_json_get_size(value, "f", "n", &fallback, &size, &error);
  (void)xci_json_get_number(value, "f", "x", NULL, &number, &error);
  (void)xci_json_get_bool(value, "f", "b", NULL, &flag, &error);
  (void)xci_json_get_text(value, "f", "t", NULL, &text, &error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
  json_t *value, *again;
  xcoder_error error = {0};
  if (xci_json_parse((const char *)data, n_bytes, "f", 0, &value, &error)) {
    if (value || !error.message[0] || strchr(error.message, '\n')) abort();
    return 0;
  }
  if (depth_of(value, MAX_DEPTH + 1) > MAX_DEPTH + 1) abort();
  get_members(value);
  char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
  if (text) {
    if (xci_json_parse(text, strlen(text), "f", 0, &again, &error) || !json_equal(value, again)) abort();
    json_decref(again);
  }
  free(text);
  json_decref(value);
  return 0;
}
