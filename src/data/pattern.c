/* SPDX-License-Identifier: Apache-2.0 */
/* Regular expressions of tokenizer files: Oniguruma's syntax, run by PCRE2 under limits. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "data/pattern.h"

#include "base/memory.h"
#include <pcre2.h>
#include <string.h>

struct xci_pattern {
  pcre2_general_context *general;
  pcre2_code *code;
  char *shown; /* escaped, for messages */
  char *path;
};

struct xci_match {
  pcre2_match_data *data;
  pcre2_match_context *limits;
};

enum { MAX_PATTERN_BYTES = 16384, SHOWN_BYTES = 1024 };

/* One step of the matcher takes about 20 ns. Real patterns need a step or two a byte of a token, but `\s*[\r\n]+` takes
 * one for each blank of a run: so many as the text has bytes, and a million, up to half a second's. The frames of a
 * search that stays within the last fit into 256 MiB. */
enum { BASE_STEPS = 1000000, MAX_STEPS = 20000000, MAX_HEAP_KIB = 256 << 10 };

static void *allocate(size_t bytes, void *context) {
  (void)context;
  void *memory = NULL;
  return xci_alloc(1, bytes, &memory, NULL) ? NULL : memory;
}

static void release(void *memory, void *context) {
  (void)context;
  xci_free(memory);
}

/* Oniguruma's ^ and $ always stand at line borders, lines end with \n. */
static xcoder_status compile(xci_pattern *pattern, const char *text, size_t n_bytes, bool literal, const char *place,
                             xcoder_error *err) {
  int code = 0;
  PCRE2_SIZE offset = 0;
  uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C | PCRE2_NO_UTF_CHECK;
  options |= literal ? PCRE2_LITERAL : PCRE2_MULTILINE;
  if (literal) options &= ~(uint32_t)PCRE2_UCP & ~(uint32_t)PCRE2_NEVER_BACKSLASH_C;
  pcre2_compile_context *context = pcre2_compile_context_create(pattern->general);
  if (!context) return xci_fail(err, XCODER_MEMORY, "no memory for a regular expression");
  pcre2_set_newline(context, PCRE2_NEWLINE_LF);
  pcre2_set_parens_nest_limit(context, 64);
  pcre2_set_max_pattern_length(context, 16 * MAX_PATTERN_BYTES);
  pattern->code = pcre2_compile((PCRE2_SPTR)text, n_bytes, options, &code, &offset, context);
  pcre2_compile_context_free(context);
  if (pattern->code) return XCODER_OK;
  if (code == PCRE2_ERROR_HEAP_FAILED) return xci_fail(err, XCODER_MEMORY, "no memory for a regular expression");
  char reason[160] = "";
  pcre2_get_error_message(code, (PCRE2_UCHAR *)reason, sizeof reason);
  return xci_fail(err, XCODER_UNSUPPORTED, "%s: %s: the regular expression '%s' does not compile: %s", pattern->path,
                  place, pattern->shown, reason);
}

static xcoder_status check_length(const xci_pattern *pattern, size_t n_bytes, const char *place, xcoder_error *err) {
  if (n_bytes > 0 && n_bytes <= MAX_PATTERN_BYTES) return XCODER_OK;
  return xci_fail(err, XCODER_FORMAT, "%s: %s: a pattern of %zu bytes, expected 1 to %d", pattern->path, place, n_bytes,
                  (int)MAX_PATTERN_BYTES);
}

xcoder_status xci_pattern_open(const char *text, bool literal, const char *path, const char *place,
                               xci_pattern **out, xcoder_error *err) {
  xci_pattern *pattern = NULL;
  xci_text rewritten = {0};
  const char *reason = NULL;
  *out = NULL;
  xcoder_status status = XCI_ALLOC(&pattern, 1, err);
  if (status) return status;
  status = xci_copy_text(path, &pattern->path, err);
  if (!status) status = XCI_ALLOC(&pattern->shown, SHOWN_BYTES, err);
  if (!status) xci_quote(pattern->shown, SHOWN_BYTES, text, strlen(text));
  if (!status) status = check_length(pattern, strlen(text), place, err);
  if (!status && literal) xci_text_add(&rewritten, text);
  if (!status && !literal && !xci_pattern_rewrite(text, &rewritten, &reason))
    status = xci_fail(err, XCODER_UNSUPPORTED, "%s: %s: the regular expression '%s' is not supported: %s", path, place,
                      pattern->shown, reason);
  if (!status) status = xci_text_status(&rewritten, err);
  if (!status) {
    pattern->general = pcre2_general_context_create(allocate, release, NULL);
    if (!pattern->general) status = xci_fail(err, XCODER_MEMORY, "no memory for a regular expression");
  }
  if (!status) status = compile(pattern, rewritten.bytes, rewritten.n_bytes, literal, place, err);
  xci_text_clear(&rewritten);
  if (status) xci_pattern_close(pattern);
  else *out = pattern;
  return status;
}

void xci_pattern_close(xci_pattern *pattern) {
  if (!pattern) return;
  pcre2_code_free(pattern->code);
  pcre2_general_context_free(pattern->general);
  xci_free(pattern->shown);
  xci_free(pattern->path);
  xci_free(pattern);
}

xcoder_status xci_match_open(const xci_pattern *pattern, xci_match **out, xcoder_error *err) {
  xci_match *match = NULL;
  *out = NULL;
  xcoder_status status = XCI_ALLOC(&match, 1, err);
  if (status) return status;
  match->data = pcre2_match_data_create(1, pattern->general);
  match->limits = pcre2_match_context_create(pattern->general);
  if (!match->data || !match->limits) {
    xci_match_close(match);
    return xci_fail(err, XCODER_MEMORY, "no memory for a regular expression");
  }
  pcre2_set_depth_limit(match->limits, MAX_STEPS);
  pcre2_set_heap_limit(match->limits, MAX_HEAP_KIB);
  *out = match;
  return XCODER_OK;
}

void xci_match_close(xci_match *match) {
  if (!match) return;
  pcre2_match_data_free(match->data);
  pcre2_match_context_free(match->limits);
  xci_free(match);
}

xcoder_status xci_pattern_find(const xci_pattern *pattern, xci_match *match, const char *text, size_t n_bytes,
                               size_t from, bool *found, size_t *start, size_t *end, xcoder_error *err) {
  size_t left = n_bytes - from, steps = left < MAX_STEPS - BASE_STEPS ? BASE_STEPS + left : MAX_STEPS;
  pcre2_set_match_limit(match->limits, (uint32_t)steps);
  int n = pcre2_match(pattern->code, (PCRE2_SPTR)text, n_bytes, from, PCRE2_NO_UTF_CHECK, match->data, match->limits);
  *found = n >= 0;
  if (n >= 0) {
    const PCRE2_SIZE *span = pcre2_get_ovector_pointer(match->data);
    *start = span[0];
    *end = span[1];
    if (*start < from || *end < *start) /* \K is refused, lookbehinds cannot do it */
      return xci_fail(err, XCODER_INTERNAL, "the regular expression '%s' matched backwards", pattern->shown);
    return XCODER_OK;
  }
  if (n == PCRE2_ERROR_NOMATCH) return XCODER_OK;
  if (n == PCRE2_ERROR_NOMEMORY) return xci_fail(err, XCODER_MEMORY, "no memory to match a regular expression");
  char reason[160] = "";
  pcre2_get_error_message(n, (PCRE2_UCHAR *)reason, sizeof reason);
  return xci_fail(err, XCODER_FORMAT, "%s: the regular expression '%s' takes too long on this text: %s", pattern->path,
                  pattern->shown, reason);
}
