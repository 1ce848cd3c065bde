/* SPDX-License-Identifier: Apache-2.0 */
/* Added tokens: texts that become one token before anything else looks at them. */
#include "data/tokenizer.h"

#include "base/memory.h"
#include "base/size.h"
#include <string.h>

/* The search for a token restarts at every byte, so its length bounds the work per byte. Real ones have some dozens. */
enum { MAX_ADDED_BYTES = 1024 };

static xcoder_status read_added(xcoder_tokenizer *tokenizer, const json_t *entry, size_t index, xcoder_error *err) {
  xci_added *added = &tokenizer->added[index];
  const char *path = tokenizer->path;
  char place[48];
  snprintf(place, sizeof place, "added_tokens[%zu]", index);
  const json_t *content = json_object_get(entry, "content"), *id = json_object_get(entry, "id");
  if (!json_is_object(entry) || !json_is_string(content) || !json_is_integer(id))
    return xci_fail(err, XCODER_FORMAT, "%s: %s: expected an object with a text 'content' and an integer 'id'", path,
                    place);
  if (json_string_length(content) == 0) return xci_fail(err, XCODER_FORMAT, "%s: %s: a token of no text", path, place);
  if (json_string_length(content) > MAX_ADDED_BYTES)
    return xci_fail(err, XCODER_UNSUPPORTED, "%s: %s: a token of %zu bytes, at most %d are supported", path, place,
                    json_string_length(content), (int)MAX_ADDED_BYTES);
  if (json_integer_value(id) < 0 || json_integer_value(id) > INT32_MAX)
    return xci_fail(err, XCODER_FORMAT, "%s: %s: id %lld is out of range", path, place,
                    (long long)json_integer_value(id));
  added->id = (uint32_t)json_integer_value(id);
  added->n_content = json_string_length(content);
  xcoder_status status = xci_copy_text(json_string_value(content), &added->content, err);
  if (!status) status = xci_tokenizer_flag(entry, path, place, "special", false, &added->special, err);
  if (!status) status = xci_tokenizer_flag(entry, path, place, "single_word", false, &added->single_word, err);
  if (!status) status = xci_tokenizer_flag(entry, path, place, "lstrip", false, &added->lstrip, err);
  if (!status) status = xci_tokenizer_flag(entry, path, place, "rstrip", false, &added->rstrip, err);
  if (!status) status = xci_tokenizer_flag(entry, path, place, "normalized", !added->special, &added->normalized, err);
  return status;
}

xcoder_status xci_load_added(xcoder_tokenizer *tokenizer, const json_t *root, xcoder_error *err) {
  const json_t *list = xci_json_member(root, "added_tokens");
  size_t n = json_array_size(list);
  if (list && !json_is_array(list))
    return xci_fail(err, XCODER_FORMAT, "%s: added_tokens: expected a list", tokenizer->path);
  xcoder_status status = XCI_ALLOC(&tokenizer->added, n, err);
  if (status) return status;
  tokenizer->n_added = n;
  for (size_t i = 0; i < n && !status; i++) status = read_added(tokenizer, json_array_get(list, i), i, err);
  return status;
}

static void add_pattern(xci_matcher *matcher, uint32_t *n_nodes, const xci_added *added, uint32_t which) {
  const unsigned char *p = (const unsigned char *)added->pattern;
  uint32_t node = 0;
  for (size_t i = 0; i < added->n_pattern; i++) {
    uint64_t key = (uint64_t)node << 8 | p[i];
    const xci_pair_entry *edge = xci_pair_map_find(&matcher->edges, key);
    bool last = i + 1 == added->n_pattern;
    uint32_t next = edge ? edge->first : ++*n_nodes;
    uint32_t token = edge ? edge->second : 0;
    if (last && !token) token = which + 1;
    xci_pair_map_set(&matcher->edges, key, next, token);
    node = next;
  }
  if (added->n_pattern == 1) memset(matcher->starts[p[0]], 0xff, sizeof matcher->starts[0]);
  else matcher->starts[p[0]][p[1] >> 3] |= (uint8_t)(1u << (p[1] & 7));
  matcher->n_patterns++;
}

static xcoder_status compile_matcher(const xcoder_tokenizer *tokenizer, bool normalized, xci_matcher *matcher,
                                     xcoder_error *err) {
  size_t n_bytes = 0;
  uint32_t n_nodes = 0;
  for (size_t i = 0; i < tokenizer->n_added; i++)
    if (tokenizer->added[i].normalized == normalized) n_bytes += tokenizer->added[i].n_pattern;
  if (n_bytes >= UINT32_MAX) return xci_fail(err, XCODER_UNSUPPORTED, "%s: added_tokens: too many", tokenizer->path);
  xcoder_status status = XCI_ALLOC(&matcher->starts, 256, err);
  if (!status) status = xci_pair_map_open(&matcher->edges, n_bytes, err);
  for (size_t i = 0; i < tokenizer->n_added && !status; i++)
    if (tokenizer->added[i].normalized == normalized) add_pattern(matcher, &n_nodes, &tokenizer->added[i], (uint32_t)i);
  return status;
}

xcoder_status xci_compile_added(xcoder_tokenizer *tokenizer, xcoder_error *err) {
  xcoder_status status = XCODER_OK;
  xci_normalizer work = {0};
  for (size_t i = 0; i < tokenizer->n_added && !status; i++) {
    xci_added *added = &tokenizer->added[i];
    const char *text = added->content;
    size_t n = added->n_content, next = 0;
    status = xci_copy_text(text, &added->pattern, err);
    added->n_pattern = n;
    for (size_t k = 0; k < tokenizer->n_forms && added->normalized && !status; k++) {
      const char *normal = NULL;
      char *copy = NULL;
      status = xci_normalize(&work, tokenizer->forms[k], added->pattern, added->n_pattern, &normal, &next, err);
      if (status || normal == added->pattern) continue;
      status = xci_copy_text(normal, &copy, err);
      if (status) continue;
      xci_free(added->pattern);
      added->pattern = copy;
      added->n_pattern = next;
    }
  }
  xci_normalizer_clear(&work);
  if (!status) status = compile_matcher(tokenizer, false, &tokenizer->raw, err);
  if (!status) status = compile_matcher(tokenizer, true, &tokenizer->normalized, err);
  return status;
}

static void close_matcher(xci_matcher *matcher) {
  xci_free(matcher->starts);
  xci_pair_map_close(&matcher->edges);
}

void xci_free_added(xcoder_tokenizer *tokenizer) {
  for (size_t i = 0; tokenizer->added && i < tokenizer->n_added; i++) {
    xci_free(tokenizer->added[i].content);
    xci_free(tokenizer->added[i].pattern);
  }
  xci_free(tokenizer->added);
  close_matcher(&tokenizer->raw);
  close_matcher(&tokenizer->normalized);
}

/* The longest token that starts at text[from]; 0 if none does. */
static size_t match_at(const xci_matcher *matcher, const char *text, size_t n_bytes, size_t from, uint32_t *which) {
  size_t longest = 0;
  uint32_t node = 0;
  for (size_t i = from; i < n_bytes; i++) {
    const xci_pair_entry *edge = xci_pair_map_find(&matcher->edges, (uint64_t)node << 8 | (unsigned char)text[i]);
    if (!edge) break;
    node = edge->first;
    if (!edge->second) continue;
    longest = i + 1 - from;
    *which = edge->second - 1;
  }
  return longest;
}

bool xci_matcher_find(const xci_matcher *matcher, const char *text, size_t n_bytes, size_t from, size_t *start,
                      size_t *end, uint32_t *which) {
  const unsigned char *p = (const unsigned char *)text;
  if (matcher->n_patterns == 0) return false;
  for (size_t i = from; i < n_bytes; i++) {
    unsigned char second = i + 1 < n_bytes ? p[i + 1] : 0;
    if (i + 1 < n_bytes && !(matcher->starts[p[i]][second >> 3] >> (second & 7) & 1)) continue;
    size_t length = match_at(matcher, text, n_bytes, i, which);
    if (length == 0) continue;
    *start = i;
    *end = i + length;
    return true;
  }
  return false;
}
