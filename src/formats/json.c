/* SPDX-License-Identifier: Apache-2.0 */
/* JSON from hostile files: a scan of our own bounds nesting before the recursive parser sees the bytes. */
#include "formats/json.h"
#include "base/file.h"
#include "base/memory.h"

enum { MAX_DEPTH = 64 };
/* What one list or object and one value cost the parser at most, measured on 64-bit hosts, and what a document may
 * cost. Without it 64 MiB of "[]," would take gigabytes. */
enum { CONTAINER_BYTES = 256, VALUE_BYTES = 64 };
static const uint64_t MAX_TREE_BYTES = (uint64_t)1 << 30;

/* Where a scan stopped, from 0, and why (NULL: it did not). */
typedef struct scan {
  size_t line, at;
  const char *problem;
} scan;

static void scan_json(const char *bytes, size_t n, scan *result) {
  size_t depth = 0;
  uint64_t cost = 0;
  bool in_string = false;
  for (size_t i = 0; i < n && !result->problem; i++) {
    char c = bytes[i];
    result->at = i;
    if (c == '\n') result->line++;
    if (in_string) {
      if (c == '\\') i++;
      else if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      cost += CONTAINER_BYTES;
      if (++depth > MAX_DEPTH) result->problem = "nested deeper than 64";
    } else if (c == ']' || c == '}') {
      depth -= depth > 0;
    } else if (c == ',') {
      cost += VALUE_BYTES;
    }
    if (cost > MAX_TREE_BYTES) result->problem = "too many values";
  }
}

static xcoder_status fail_parse(const json_error_t *error, const char *path, size_t line_offset, xcoder_error *err) {
  if (json_error_code(error) == json_error_out_of_memory || !error->text[0])
    return xci_fail(err, XCODER_MEMORY, "%s: out of memory while parsing JSON", path);
  size_t line = line_offset + (error->line > 0 ? (size_t)error->line : 1);
  return xci_fail(err, XCODER_FORMAT, "%s: line %zu, byte %d: not valid JSON: %s", path, line, error->position,
                  error->text);
}

xcoder_status xci_json_parse(const char *bytes, size_t n, const char *path, size_t line_offset, json_t **value,
                             xcoder_error *err) {
  scan found = {0};
  *value = NULL;
  scan_json(bytes, n, &found);
  if (found.problem)
    return xci_fail(err, XCODER_FORMAT, "%s: line %zu, byte %zu: JSON %s", path, line_offset + found.line + 1,
                    found.at + 1, found.problem);
  json_error_t error = {0};
  *value = json_loadb(bytes, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
  return *value ? XCODER_OK : fail_parse(&error, path, line_offset, err);
}

xcoder_status xci_json_read(const char *path, size_t max_bytes, json_t **value, xcoder_error *err) {
  char *bytes = NULL;
  size_t n_bytes = 0;
  *value = NULL;
  xcoder_status status = xci_read_file(path, max_bytes, &bytes, &n_bytes, err);
  if (!status) status = xci_json_parse(bytes, n_bytes, path, 0, value, err);
  xci_free(bytes);
  return status;
}

/* What a value is, for messages. */
static const char *kind_of(const json_t *value) {
  switch (json_typeof(value)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "a list";
    case JSON_STRING: return "a text";
    case JSON_INTEGER: return "an integer";
    case JSON_REAL: return "a number with a fraction or exponent";
    case JSON_TRUE:
    case JSON_FALSE: return "true or false";
    default: return "null";
  }
}

/* The member, or NULL where it is absent or null; fails if it is absent and required. */
static xcoder_status find_member(const json_t *object, const char *path, const char *key, bool required,
                                 const json_t **member, xcoder_error *err) {
  *member = NULL;
  if (!json_is_object(object)) return xci_fail(err, XCODER_FORMAT, "%s: not a JSON object", path);
  *member = json_object_get(object, key);
  if (*member && json_is_null(*member)) *member = NULL;
  if (!*member && required) return xci_fail(err, XCODER_FORMAT, "%s: key '%s' is missing", path, key);
  return XCODER_OK;
}

static xcoder_status fail_type(const json_t *member, const char *path, const char *key, const char *expected,
                               xcoder_error *err) {
  return xci_fail(err, XCODER_FORMAT, "%s: key '%s' is %s, expected %s", path, key, kind_of(member), expected);
}

xcoder_status xci_json_get_size(const json_t *object, const char *path, const char *key, const size_t *fallback,
                                size_t *value, xcoder_error *err) {
  const json_t *member;
  xcoder_status status = find_member(object, path, key, !fallback, &member, err);
  if (status) return status;
  if (!member) {
    *value = *fallback;
    return XCODER_OK;
  }
  if (!json_is_integer(member)) return fail_type(member, path, key, "an integer", err);
  json_int_t number = json_integer_value(member);
  if (number < 0)
    return xci_fail(err, XCODER_FORMAT, "%s: key '%s' is %lld, expected 0 or more", path, key, (long long)number);
  if ((unsigned long long)number > SIZE_MAX)
    return xci_fail(err, XCODER_FORMAT, "%s: key '%s' is %lld, too large", path, key, (long long)number);
  *value = (size_t)number;
  return XCODER_OK;
}

xcoder_status xci_json_get_number(const json_t *object, const char *path, const char *key, const double *fallback,
                                  double *value, xcoder_error *err) {
  const json_t *member;
  xcoder_status status = find_member(object, path, key, !fallback, &member, err);
  if (status) return status;
  if (!member) *value = *fallback;
  else if (!json_is_number(member)) return fail_type(member, path, key, "a number", err);
  else *value = json_number_value(member);
  return XCODER_OK;
}

xcoder_status xci_json_get_bool(const json_t *object, const char *path, const char *key, const bool *fallback,
                                bool *value, xcoder_error *err) {
  const json_t *member;
  xcoder_status status = find_member(object, path, key, !fallback, &member, err);
  if (status) return status;
  if (!member) *value = *fallback;
  else if (!json_is_boolean(member)) return fail_type(member, path, key, "true or false", err);
  else *value = json_is_true(member);
  return XCODER_OK;
}

xcoder_status xci_json_get_text(const json_t *object, const char *path, const char *key, const char *fallback,
                                const char **value, xcoder_error *err) {
  const json_t *member;
  *value = NULL;
  xcoder_status status = find_member(object, path, key, !fallback, &member, err);
  if (status) return status;
  if (!member) *value = fallback;
  else if (!json_is_string(member)) return fail_type(member, path, key, "a text", err);
  else *value = json_string_value(member);
  return XCODER_OK;
}
