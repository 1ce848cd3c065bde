/* SPDX-License-Identifier: Apache-2.0 */
/* The vocabulary and the merges of a tokenizer.json. */
#include "data/tokenizer.h"

#include "base/memory.h"
#include "base/size.h"
#include "data/unicode.h"
#include <string.h>

/* What messages show of a text from the file. */
enum { SHOWN_BYTES = 840 };

/* Ids index tables here and in the callers, so a small file may not ask for a large table. */
static json_int_t id_limit(size_t n_entries) { return (1 << 20) + 4 * (json_int_t)n_entries; }

static xcoder_status check_id(const xcoder_tokenizer *tokenizer, const char *place, const char *content, size_t length,
                              const json_t *value, size_t n_entries, xcoder_error *err) {
  char shown[SHOWN_BYTES];
  if (length == 0) return xci_fail(err, XCODER_FORMAT, "%s: %s: a token of no text", tokenizer->path, place);
  if (!json_is_integer(value))
    return xci_fail(err, XCODER_FORMAT, "%s: %s: '%s': the id is no integer", tokenizer->path, place,
                    xci_quote(shown, sizeof shown, content, length));
  if (json_integer_value(value) >= 0 && json_integer_value(value) < id_limit(n_entries)) return XCODER_OK;
  return xci_fail(err, XCODER_FORMAT, "%s: %s: '%s': id %lld, expected 0 to %lld for %zu tokens", tokenizer->path,
                  place, xci_quote(shown, sizeof shown, content, length), (long long)json_integer_value(value),
                  (long long)id_limit(n_entries) - 1, n_entries);
}

/* Copies the text of a token to `out`: bytes if every character belongs to the byte alphabet, else the text. */
static size_t decode_token(const char *content, size_t length, char *out) {
  size_t n = 0;
  for (size_t i = 0; i < length;) {
    uint32_t code_point;
    i += xci_utf8_next(content + i, &code_point);
    int byte = xci_byte_of_character(code_point);
    if (byte < 0) {
      memcpy(out, content, length);
      return length;
    }
    out[n++] = (char)byte;
  }
  return n;
}

static char *store_token(xcoder_tokenizer *tokenizer, uint32_t id, const char *content, size_t length, char *arena) {
  size_t n = decode_token(content, length, arena);
  tokenizer->tokens[id] = (xci_token){arena, (uint32_t)n};
  arena[n] = '\0';
  return arena + n + 1;
}

/* Largest id + 1 and the bytes that all texts take. */
static xcoder_status measure(xcoder_tokenizer *tokenizer, json_t *vocab, size_t *arena_bytes, xcoder_error *err) {
  size_t n_entries = json_object_size(vocab) + tokenizer->n_added, total = 1, largest = 0;
  xcoder_status status = XCODER_OK;
  const char *key;
  json_t *value;
  json_object_foreach(vocab, key, value) {
    size_t length = strlen(key);
    status = check_id(tokenizer, "model.vocab", key, length, value, n_entries, err);
    if (status) return status;
    total += length + 1;
    largest = xci_max_size(largest, (size_t)json_integer_value(value));
  }
  for (size_t i = 0; i < tokenizer->n_added; i++) {
    const xci_added *added = &tokenizer->added[i];
    json_t *id = json_integer(added->id);
    if (!id) return xci_fail(err, XCODER_MEMORY, "no memory for a tokenizer");
    status = check_id(tokenizer, "added_tokens", added->content, added->n_content, id, n_entries, err);
    json_decref(id);
    if (status) return status;
    total += added->n_content + 1;
    largest = xci_max_size(largest, added->id);
  }
  if (n_entries == 0) return xci_fail(err, XCODER_FORMAT, "%s: model.vocab: it is empty", tokenizer->path);
  tokenizer->n_tokens = largest + 1;
  *arena_bytes = total;
  return XCODER_OK;
}

static xcoder_status fail_clash(const xcoder_tokenizer *tokenizer, const char *place, const char *content,
                                unsigned long id, xcoder_error *err) {
  char shown[SHOWN_BYTES];
  return xci_fail(err, XCODER_FORMAT, "%s: %s: '%s': id %lu belongs to another token", tokenizer->path, place,
                  xci_quote(shown, sizeof shown, content, strlen(content)), id);
}

xcoder_status xci_load_tokens(xcoder_tokenizer *tokenizer, const json_t *vocab, xcoder_error *err) {
  size_t arena_bytes = 0;
  json_t *object = (json_t *)vocab; /* iterating does not change it, but jansson asks for this */
  xcoder_status status = measure(tokenizer, object, &arena_bytes, err);
  if (!status) status = XCI_ALLOC(&tokenizer->tokens, tokenizer->n_tokens, err);
  if (!status) status = XCI_ALLOC(&tokenizer->arena, arena_bytes, err);
  if (status) return status;
  char *arena = tokenizer->arena;
  const char *key;
  json_t *value;
  json_object_foreach(object, key, value) {
    uint32_t id = (uint32_t)json_integer_value(value);
    if (tokenizer->tokens[id].bytes) return fail_clash(tokenizer, "model.vocab", key, id, err);
    arena = store_token(tokenizer, id, key, strlen(key), arena);
  }
  for (size_t i = 0; i < tokenizer->n_added; i++) {
    const xci_added *added = &tokenizer->added[i];
    const json_t *known = json_object_get(vocab, added->content);
    if (known ? json_integer_value(known) != added->id : tokenizer->tokens[added->id].bytes != NULL)
      return fail_clash(tokenizer, "added_tokens", added->content, added->id, err);
    if (!known) arena = store_token(tokenizer, added->id, added->content, added->n_content, arena);
  }
  return XCODER_OK;
}

/* The two texts of a merge, not zero-terminated. */
typedef struct merge_text {
  const char *left, *right;
  size_t n_left, n_right;
} merge_text;

static xcoder_status fail_merge(const xcoder_tokenizer *tokenizer, size_t index, const char *text, size_t length,
                                const char *what, xcoder_error *err) {
  char shown[SHOWN_BYTES];
  return xci_fail(err, XCODER_FORMAT, "%s: model.merges[%zu]: '%s' %s", tokenizer->path, index,
                  xci_quote(shown, sizeof shown, text, length), what);
}

static xcoder_status split_merge(const xcoder_tokenizer *tokenizer, const json_t *entry, size_t index,
                                 merge_text *merge, xcoder_error *err) {
  if (json_is_string(entry)) {
    const char *text = json_string_value(entry), *blank = strchr(text, ' ');
    size_t length = json_string_length(entry);
    if (!blank || blank == text || !blank[1] || strchr(blank + 1, ' '))
      return fail_merge(tokenizer, index, text, length, "is not two parts with one blank between", err);
    *merge = (merge_text){text, blank + 1, (size_t)(blank - text), length - (size_t)(blank - text) - 1};
    return XCODER_OK;
  }
  const json_t *left = json_array_get(entry, 0), *right = json_array_get(entry, 1);
  if (json_array_size(entry) != 2 || !json_string_length(left) || !json_string_length(right))
    return fail_merge(tokenizer, index, "", 0, "is neither a text nor a pair of texts", err);
  *merge = (merge_text){json_string_value(left), json_string_value(right), json_string_length(left),
                        json_string_length(right)};
  return XCODER_OK;
}

/* Id of n bytes copied to `buffer` (jansson looks up zero-terminated keys). */
static bool find_id(const json_t *vocab, xci_text *buffer, const char *a, size_t n_a, const char *b, size_t n_b,
                    uint32_t *id) {
  buffer->n_bytes = 0;
  xci_text_append(buffer, a, n_a);
  xci_text_append(buffer, b, n_b);
  const json_t *value = buffer->failed ? NULL : json_object_get(vocab, buffer->bytes);
  if (!value) return false;
  *id = (uint32_t)json_integer_value(value);
  return true;
}

static xcoder_status add_merge(xcoder_tokenizer *tokenizer, const json_t *vocab, const json_t *entry, size_t index,
                               xci_text *buffer, xcoder_error *err) {
  merge_text merge = {0};
  uint32_t left, right, product;
  xcoder_status status = split_merge(tokenizer, entry, index, &merge, err);
  if (status) return status;
  const char *missing = NULL;
  if (!find_id(vocab, buffer, merge.left, merge.n_left, "", 0, &left)) missing = "has a left part that is no token";
  else if (!find_id(vocab, buffer, merge.right, merge.n_right, "", 0, &right))
    missing = "has a right part that is no token";
  else if (!find_id(vocab, buffer, merge.left, merge.n_left, merge.right, merge.n_right, &product))
    missing = "gives a text that is no token";
  status = xci_text_status(buffer, err);
  if (status) return status;
  if (missing) {
    buffer->n_bytes = 0;
    xci_text_append(buffer, merge.left, merge.n_left);
    xci_text_add(buffer, " ");
    xci_text_append(buffer, merge.right, merge.n_right);
    return fail_merge(tokenizer, index, buffer->failed ? "" : buffer->bytes, buffer->n_bytes, missing, err);
  }
  xci_pair_map_set(&tokenizer->bpe.merges, (uint64_t)left << 32 | right, (uint32_t)index, product);
  return XCODER_OK;
}

static xcoder_status add_merges(xcoder_tokenizer *tokenizer, const json_t *merges, const json_t *vocab,
                                xcoder_error *err) {
  xci_text buffer = {0};
  size_t n = json_array_size(merges);
  if (merges && !json_is_array(merges))
    return xci_fail(err, XCODER_FORMAT, "%s: model.merges: expected a list", tokenizer->path);
  xcoder_status status = xci_pair_map_open(&tokenizer->bpe.merges, n, err);
  for (size_t i = 0; i < n && !status; i++) {
    const json_t *entry = json_array_get(merges, i);
    const char *text = json_string_value(entry);
    if (i == 0 && text && strncmp(text, "#version", 8) == 0) continue;
    status = add_merge(tokenizer, vocab, entry, i, &buffer, err);
  }
  xci_text_clear(&buffer);
  return status;
}

/* Bytes whose symbol the vocabulary has, and with ignore_merges the bytes of all tokens. */
static xcoder_status add_symbols(xcoder_tokenizer *tokenizer, const json_t *vocab, xcoder_error *err) {
  for (unsigned byte = 0; byte < 256; byte++) {
    char symbol[8] = "";
    symbol[xci_utf8_encode(xci_character_of_byte((unsigned char)byte), symbol)] = '\0';
    const json_t *value = json_object_get(vocab, symbol);
    tokenizer->bpe.byte_token[byte] = value ? (uint32_t)json_integer_value(value) : XCI_NO_TOKEN;
  }
  if (!tokenizer->bpe.whole_first) return XCODER_OK;
  xcoder_status status = xci_string_map_open(&tokenizer->bpe.whole, json_object_size(vocab), err);
  if (status) return status;
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)vocab, key, value) {
    uint32_t id = (uint32_t)json_integer_value(value), code_point;
    bool in_alphabet = true;
    for (const char *p = key; *p && in_alphabet;) {
      p += xci_utf8_next(p, &code_point);
      in_alphabet = xci_byte_of_character(code_point) >= 0;
    }
    const xci_token *token = &tokenizer->tokens[id];
    if (in_alphabet) xci_string_map_add(&tokenizer->bpe.whole, token->bytes, token->n_bytes, id);
  }
  return XCODER_OK;
}

/* Settings of the model that would change the result and that byte-level tokenizers leave off. */
static xcoder_status check_settings(const xcoder_tokenizer *tokenizer, const json_t *model, xcoder_error *err) {
  static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
  for (size_t i = 0; i < sizeof affixes / sizeof *affixes; i++) {
    const json_t *affix = xci_json_member(model, affixes[i]);
    if (affix && json_string_length(affix) > 0)
      return xci_fail(err, XCODER_UNSUPPORTED, "%s: model.%s: not supported, expected null", tokenizer->path,
                      affixes[i]);
  }
  const json_t *dropout = xci_json_member(model, "dropout");
  if (dropout && json_number_value(dropout) != 0)
    return xci_fail(err, XCODER_UNSUPPORTED, "%s: model.dropout: random merges are not supported, expected null",
                    tokenizer->path);
  bool byte_fallback = false;
  xcoder_status status =
    xci_tokenizer_flag(model, tokenizer->path, "model", "byte_fallback", false, &byte_fallback, err);
  if (!status && byte_fallback)
    status = xci_fail(err, XCODER_UNSUPPORTED, "%s: model.byte_fallback: only byte-level tokenizers are supported",
                      tokenizer->path);
  return status;
}

xcoder_status xci_load_merges(xcoder_tokenizer *tokenizer, const json_t *model, const json_t *vocab,
                              xcoder_error *err) {
  xci_bpe *bpe = &tokenizer->bpe;
  const json_t *unknown = xci_json_member(model, "unk_token");
  bpe->unknown = XCI_NO_TOKEN;
  xcoder_status status = check_settings(tokenizer, model, err);
  if (!status) status = xci_tokenizer_flag(model, tokenizer->path, "model", "fuse_unk", false, &bpe->fuse_unknown, err);
  if (!status)
    status = xci_tokenizer_flag(model, tokenizer->path, "model", "ignore_merges", false, &bpe->whole_first, err);
  if (!status && unknown && json_string_length(unknown) > 0) {
    const json_t *value = json_object_get(vocab, json_string_value(unknown));
    if (value) bpe->unknown = (uint32_t)json_integer_value(value);
    else status = xci_fail(err, XCODER_FORMAT, "%s: model.unk_token: it is no token of model.vocab", tokenizer->path);
  }
  if (!status) status = add_symbols(tokenizer, vocab, err);
  if (!status) status = add_merges(tokenizer, xci_json_member(model, "merges"), vocab, err);
  return status;
}
