/* SPDX-License-Identifier: Apache-2.0 */
/* JSON from hostile files: a scan of our own bounds nesting before the recursive parser sees the bytes. */
#include "formats/json.h"
#include "base/file.h"
#include "base/memory.h"
#include <errno.h>
#include <pthread.h>

enum { MAX_DEPTH = 64 };
/* What one list or object and one value cost the parser at most, measured on 64-bit hosts, and what a document may
 * cost. Without it 64 MiB of "[]," would take gigabytes. */
enum { CONTAINER_BYTES = 256, VALUE_BYTES = 64 };
static const uint64_t MAX_TREE_BYTES = (uint64_t)1 << 30;

/* Where a scan stopped, from 0, and why (NULL: it did not). */
typedef struct scan {
  size_t line, at, longest; /* bytes of the longest text or number, or a little more */
  const char *problem;
} scan;

static void scan_json(const char *bytes, size_t n, scan *result) {
  size_t depth = 0, begin = 0;
  uint64_t cost = 0;
  bool in_string = false;
  for (size_t i = 0; i < n && !result->problem; i++) {
    char c = bytes[i];
    result->at = i;
    if (c == '\n') result->line++;
    if (in_string) {
      if (c == '\\') i++;
      else if (c == '"') in_string = false;
      continue;
    }
    bool mark = true;
    if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      cost += CONTAINER_BYTES;
      if (++depth > MAX_DEPTH) result->problem = "nested deeper than 64";
    } else if (c == ']' || c == '}') {
      depth -= depth > 0;
    } else if (c == ',') {
      cost += VALUE_BYTES;
    } else {
      mark = c == ':';
    }
    if (mark) { /* a value lies between two of them, or the last and the end */
      if (i - begin > result->longest) result->longest = i - begin;
      begin = i;
    }
    if (cost > MAX_TREE_BYTES) result->problem = "too many values";
  }
  if (n - begin > result->longest) result->longest = n - begin;
}

static xcoder_status fail_parse(const json_error_t *error, const char *path, size_t line_offset, xcoder_error *err) {
  if (json_error_code(error) == json_error_out_of_memory || !error->text[0])
    return xci_fail(err, XCODER_MEMORY, "%s: out of memory while parsing JSON", path);
  size_t line = line_offset + (error->line > 0 ? (size_t)error->line : 1);
  return xci_fail(err, XCODER_FORMAT, "%s: line %zu, byte %d: not valid JSON: %s", path, line, error->position,
                  error->text);
}

/* Jansson calls a lack of memory a syntax error, or loses a byte of a text and then reads behind its buffer. So its
 * allocations are watched, through the functions that it had before, and the buffer of its lexer, which grows by
 * doubling from 16 bytes, finds room in a reserve. What was parsed then is thrown away. errno tells if somebody has
 * replaced our functions. */
static _Thread_local struct {
  char *reserve; /* NULL: no parsing */
  size_t n_reserve, n_taken;
  bool lacked;
} memory_watch;
static json_malloc_t inner_malloc;
static json_free_t inner_free;

static void *watched_malloc(size_t n) {
  if (memory_watch.reserve && xci_allocation_fails()) memory_watch.lacked = true;
  void *memory = inner_malloc(n);
  if (memory) return memory;
  memory_watch.lacked = true;
  bool lexer = n >= 16 && (n & (n - 1)) == 0;
  if (!lexer || !memory_watch.reserve || n > memory_watch.n_reserve - memory_watch.n_taken) return NULL;
  memory = memory_watch.reserve + memory_watch.n_taken;
  memory_watch.n_taken += n;
  return memory;
}

static void watched_free(void *memory) {
  uintptr_t at = (uintptr_t)memory, reserve = (uintptr_t)memory_watch.reserve;
  if (!reserve || at < reserve || at >= reserve + memory_watch.n_reserve) inner_free(memory);
}

static void watch_allocations(void) {
  json_get_alloc_funcs(&inner_malloc, &inner_free);
  json_set_alloc_funcs(watched_malloc, watched_free);
}

/* `longest`: bytes of the longest text in it. NULL with an empty error: no memory. */
static json_t *load(const char *bytes, size_t n, size_t longest, json_error_t *error) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  size_t n_reserve = 4 * longest + 256; /* a document has less than a quarter of the address space */
  pthread_once(&once, watch_allocations);
  void *reserve = xci_allocation_fails() ? NULL : inner_malloc(n_reserve); /* untouched until it is needed */
  if (!reserve) return NULL;
  memory_watch.reserve = reserve;
  memory_watch.n_reserve = n_reserve;
  memory_watch.n_taken = 0;
  memory_watch.lacked = false;
  errno = 0;
  json_t *value = json_loadb(bytes, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, error);
  if (memory_watch.lacked || (!value && errno == ENOMEM)) {
    json_decref(value);
    value = NULL;
    *error = (json_error_t){0};
  }
  memory_watch.reserve = NULL;
  inner_free(reserve);
  return value;
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
  *value = load(bytes, n, found.longest, &error);
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
