/* SPDX-License-Identifier: Apache-2.0 */
/* Reading sentences whose labels are known (JSONL). */
#include "analysis/known/known.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "formats/json.h"
#include <string.h>

enum { MAX_FILE = 1 << 30 };

/* The ids of all sentences while they are read. */
typedef struct reader {
  const char *path;
  const xcoder_tokenizer *tokenizer;
  xci_gold *gold;
  uint32_t *ids;
  size_t n_ids, ids_capacity, *start;
  bool has_end;
  uint32_t end;              /* of text */
} reader;

void xci_gold_close(xci_gold *gold) {
  xcoder_tokens_free(gold->tokens);
  xci_free(gold->label);
  xci_free(gold->heldout);
  xci_free(gold->across);
  xci_free(gold->opposed);
  xci_free(gold->agrees);
  xci_free(gold->language);
  for (size_t i = 0; i < gold->n_languages; i++) xci_free(gold->languages[i]);
  xci_free(gold->languages);
  *gold = (xci_gold){0};
}

static xcoder_status fail(const reader *r, size_t line, xcoder_error *err, const char *what) {
  return xci_fail(err, XCODER_FORMAT, "%s: line %zu: %s", r->path, line + 1, what);
}

/* Ids given as numbers. */
static xcoder_status take_ids(reader *r, const json_t *list, size_t line, uint32_t *ids, xcoder_error *err) {
  size_t i;
  json_t *item;
  json_array_foreach(list, i, item) {
    const json_int_t value = json_is_integer(item) ? json_integer_value(item) : -1;
    if (value < 0 || value > UINT32_MAX) return fail(r, line, err, "key 'ids': expected token numbers");
    ids[i] = (uint32_t)value;
  }
  return XCODER_OK;
}

/* Ids from the texts of tokens: the joined text must tokenize into as many. */
static xcoder_status take_tokens(reader *r, const json_t *list, size_t line, uint32_t *ids, xcoder_error *err) {
  xci_text text = {0};
  uint32_t *found = NULL;
  size_t i, n_found = 0;
  json_t *item;
  xcoder_status status = XCODER_OK;
  json_array_foreach(list, i, item) {
    if (!json_is_string(item)) status = fail(r, line, err, "key 'tokens': expected texts");
    else xci_text_append(&text, json_string_value(item), json_string_length(item));
  }
  if (!status) status = xci_text_status(&text, err);
  if (!status)
    status = xcoder_tokenize(r->tokenizer, text.bytes ? text.bytes : "", text.n_bytes, &found, &n_found, err);
  if (!status && n_found != json_array_size(list))
    status = xci_fail(err, XCODER_MISMATCH, "%s: line %zu: %zu tokens are given, the tokenizer makes %zu of the text",
                      r->path, line + 1, json_array_size(list), n_found);
  if (!status) memcpy(ids, found, n_found * sizeof *ids);
  xcoder_free(found);
  xci_text_clear(&text);
  return status;
}

/* Appends the sentence up to the position asked about, behind end of text. */
static xcoder_status add_ids(reader *r, const json_t *object, size_t line, xcoder_error *err) {
  const json_t *ids = json_object_get(object, "ids"), *tokens = json_object_get(object, "tokens");
  const json_t *list = json_is_array(ids) ? ids : tokens;
  size_t at = 0;
  if (!json_is_array(list)) return fail(r, line, err, "expected the key 'ids' or 'tokens' with a list");
  const size_t n = json_array_size(list);
  xcoder_status status = xci_json_get_size(object, r->path, "predict_index", NULL, &at, err);
  if (status) return status;
  if (at >= n) return fail(r, line, err, "key 'predict_index' points behind the tokens");
  status = xci_grow((void **)&r->ids, &r->ids_capacity, r->n_ids + n + 1, sizeof *r->ids, err);
  if (status) return status;
  uint32_t *out = r->ids + r->n_ids + 1;
  status = list == ids ? take_ids(r, list, line, out, err) : take_tokens(r, list, line, out, err);
  if (status) return status;
  if (r->has_end && out[0] != r->end) {
    out[-1] = r->end;
    at++;
  } else {
    memmove(out - 1, out, n * sizeof *out);
  }
  r->n_ids += at + 1;
  return XCODER_OK;
}

static xcoder_status find_language(xci_gold *gold, const char *name, uint32_t *index, xcoder_error *err) {
  for (size_t i = 0; i < gold->n_languages; i++)
    if (strcmp(gold->languages[i], name) == 0) {
      *index = (uint32_t)i;
      return XCODER_OK;
    }
  xcoder_status status = xci_grow((void **)&gold->languages, &gold->language_capacity, gold->n_languages + 1,
                                  sizeof *gold->languages, err);
  if (!status) status = xci_copy_text(name, &gold->languages[gold->n_languages], err);
  if (!status) *index = (uint32_t)gold->n_languages++;
  return status;
}

static xcoder_status read_number(const reader *r, const json_t *object, const char *key, size_t line, bool required,
                                 int *plural, xcoder_error *err) {
  const char *text = "";
  *plural = -1;
  const xcoder_status status = xci_json_get_text(object, r->path, key, required ? NULL : "", &text, err);
  if (status || (!required && !*text)) return status;
  if (strcmp(text, "sg") != 0 && strcmp(text, "pl") != 0) return fail(r, line, err, "expected \"sg\" or \"pl\"");
  *plural = strcmp(text, "pl") == 0;
  return XCODER_OK;
}

static xcoder_status add_sentence(reader *r, const json_t *object, size_t line, xcoder_error *err) {
  const char *construction = "", *language = "";
  const bool seen = false, shown = true;
  bool heldout = false, agrees = true;
  int subject, attractor;
  xci_gold *gold = r->gold;
  const size_t k = gold->n;
  if (!json_is_object(object)) return fail(r, line, err, "expected an object");
  xcoder_status status = add_ids(r, object, line, err);
  if (!status) status = read_number(r, object, "subject_number", line, true, &subject, err);
  if (!status) status = read_number(r, object, "attractor_number", line, false, &attractor, err);
  if (!status) status = xci_json_get_text(object, r->path, "construction", "", &construction, err);
  if (!status) status = xci_json_get_text(object, r->path, "language", "", &language, err);
  if (!status) status = xci_json_get_bool(object, r->path, "noun_heldout", &seen, &heldout, err);
  if (!status) status = xci_json_get_bool(object, r->path, "agreement", &shown, &agrees, err);
  if (!status) status = find_language(gold, language, &gold->language[k], err);
  if (status) return status;
  gold->label[k] = subject == 1;
  gold->heldout[k] = heldout;
  gold->agrees[k] = agrees;
  gold->across[k] = strcmp(construction, "pp") == 0 || strcmp(construction, "rc") == 0;
  gold->opposed[k] = gold->across[k] && attractor >= 0 && attractor != subject;
  gold->has_opposed |= attractor >= 0;
  gold->n++;
  r->start[gold->n] = r->n_ids;
  return XCODER_OK;
}

static xcoder_status read_lines(reader *r, const char *bytes, size_t n_bytes, xcoder_error *err) {
  xcoder_status status = XCODER_OK;
  for (size_t at = 0, line = 0; !status && at < n_bytes; line++) {
    const char *end = memchr(bytes + at, '\n', n_bytes - at);
    const size_t n = end ? (size_t)(end - bytes) - at : n_bytes - at;
    json_t *object = NULL;
    if (n > 0 && strspn(bytes + at, " \t\r\n") < n) {
      status = xci_json_parse(bytes + at, n, r->path, line, &object, err);
      if (!status) status = add_sentence(r, object, line, err);
      json_decref(object);
    }
    at += n + 1;
  }
  return status;
}

static xcoder_status allocate(reader *r, const char *bytes, size_t n_bytes, xcoder_error *err) {
  size_t n = 1;
  for (size_t i = 0; i < n_bytes; i++) n += bytes[i] == '\n';
  xcoder_status status = XCI_ALLOC(&r->start, n + 1, err);
  if (!status) status = XCI_ALLOC(&r->gold->label, n, err);
  if (!status) status = XCI_ALLOC(&r->gold->heldout, n, err);
  if (!status) status = XCI_ALLOC(&r->gold->across, n, err);
  if (!status) status = XCI_ALLOC(&r->gold->opposed, n, err);
  if (!status) status = XCI_ALLOC(&r->gold->agrees, n, err);
  if (!status) status = XCI_ALLOC(&r->gold->language, n, err);
  return status;
}

xcoder_status xci_gold_open(const char *path, const xcoder_tokenizer *tokenizer, xci_gold *gold, xcoder_error *err) {
  reader r = {.path = path, .tokenizer = tokenizer, .gold = gold};
  char *bytes = NULL;
  size_t n_bytes = 0;
  *gold = (xci_gold){0};
  r.has_end = xcoder_tokenizer_end_of_text(tokenizer, &r.end);
  xcoder_status status = xci_read_file(path, MAX_FILE, &bytes, &n_bytes, err);
  if (!status) status = allocate(&r, bytes, n_bytes, err);
  if (!status) status = read_lines(&r, bytes, n_bytes, err);
  if (!status && gold->n < 8)
    status = xci_fail(err, XCODER_MISMATCH, "%s: %zu sentences, at least 8 are needed to choose on one half and "
                                            "measure on the other", path, gold->n);
  if (!status) status = xcoder_tokens_from_array(r.ids, r.start, gold->n, &gold->tokens, err);
  xci_free(bytes);
  xci_free(r.ids);
  xci_free(r.start);
  if (status) xci_gold_close(gold);
  return status;
}
