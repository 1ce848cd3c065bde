/* SPDX-License-Identifier: Apache-2.0 */
/* Reading labels of tokens: JSON lines, or CoNLL-U whose words are laid over the tokens by their bytes. */
#include "analysis/features/token_labels.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "formats/json.h"
#include <string.h>

enum { MAX_FILE = 1 << 30, MAX_LABELS = 4096, N_COLUMNS = 10 };

typedef struct entry {
  size_t position;
  uint32_t label;
} entry;

typedef struct reader {
  const char *path;
  const xcoder_tokenizer *tokenizer;
  xci_token_labels *out;
  uint32_t *ids;
  size_t n_ids, ids_capacity;
  size_t *start, n_sequences, start_capacity;
  entry *entries;
  size_t n_entries, entries_capacity, layer_capacity, label_capacity, layer_of_capacity;
  bool has_end;
  uint32_t end; /* of text */
} reader;

void xci_token_labels_close(xci_token_labels *labels) {
  xcoder_tokens_free(labels->tokens);
  for (size_t i = 0; i < labels->n_layers; i++) xci_free(labels->layer[i]);
  for (size_t i = 0; i < labels->n_labels; i++) xci_free(labels->label[i]);
  xci_free(labels->layer);
  xci_free(labels->label);
  xci_free(labels->layer_of);
  xci_free(labels->value);
  *labels = (xci_token_labels){0};
}

static xcoder_status fail(const reader *r, size_t line, xcoder_error *err, const char *what) {
  return xci_fail(err, XCODER_FORMAT, "%s: line %zu: %s", r->path, line + 1, what);
}

/* ---- Labels and sentences ---- */

static xcoder_status find_name(const char *name, size_t n_bytes, char ***list, size_t *n, size_t *capacity,
                               uint32_t *index, xcoder_error *err) {
  for (size_t i = 0; i < *n; i++)
    if (strlen((*list)[i]) == n_bytes && memcmp((*list)[i], name, n_bytes) == 0) {
      *index = (uint32_t)i;
      return XCODER_OK;
    }
  xcoder_status status = xci_grow((void **)list, capacity, *n + 1, sizeof **list, err);
  if (!status) status = xci_alloc(n_bytes + 1, 1, (void **)&(*list)[*n], err);
  if (status) return status;
  memcpy((*list)[*n], name, n_bytes);
  *index = (uint32_t)(*n)++;
  return XCODER_OK;
}

static xcoder_status add_label(reader *r, size_t line, size_t position, const char *layer, size_t n_layer,
                               const char *value, size_t n_value, xcoder_error *err) {
  xci_token_labels *out = r->out;
  uint32_t layer_index = 0, label_index = 0;
  const size_t n_before = out->n_labels;
  xci_text name = {0};
  xci_text_append(&name, layer, n_layer);
  xci_text_add(&name, "=");
  xci_text_append(&name, value, n_value);
  xcoder_status status = xci_text_status(&name, err);
  if (!status)
    status = find_name(layer, n_layer, &out->layer, &out->n_layers, &r->layer_capacity, &layer_index, err);
  if (!status)
    status = find_name(name.bytes, name.n_bytes, &out->label, &out->n_labels, &r->label_capacity, &label_index, err);
  xci_text_clear(&name);
  if (!status)
    status = xci_grow((void **)&out->layer_of, &r->layer_of_capacity, out->n_labels, sizeof *out->layer_of, err);
  if (!status && out->n_labels > MAX_LABELS) return fail(r, line, err, "more than 4096 different labels");
  if (!status && out->n_labels > n_before) out->layer_of[label_index] = layer_index;
  if (!status)
    status = xci_grow((void **)&r->entries, &r->entries_capacity, r->n_entries + 1, sizeof *r->entries, err);
  if (!status) r->entries[r->n_entries++] = (entry){position, label_index};
  return status;
}

/* Appends a sentence behind end of text; *first is the position of its first own token. */
static xcoder_status add_sentence(reader *r, const uint32_t *ids, size_t n, size_t *first, xcoder_error *err) {
  const bool prepend = r->has_end && (n == 0 || ids[0] != r->end);
  xcoder_status status = xci_grow((void **)&r->ids, &r->ids_capacity, r->n_ids + n + 1, sizeof *r->ids, err);
  if (!status)
    status = xci_grow((void **)&r->start, &r->start_capacity, r->n_sequences + 2, sizeof *r->start, err);
  if (status) return status;
  if (prepend) r->ids[r->n_ids++] = r->end;
  *first = r->n_ids;
  if (n) memcpy(r->ids + r->n_ids, ids, n * sizeof *ids);
  r->n_ids += n;
  r->start[0] = 0;
  r->start[++r->n_sequences] = r->n_ids;
  return XCODER_OK;
}

/* ---- JSON lines ---- */

static xcoder_status take_ids(const reader *r, const json_t *list, size_t line, uint32_t *ids, xcoder_error *err) {
  size_t i;
  json_t *item;
  json_array_foreach(list, i, item) {
    const json_int_t value = json_is_integer(item) ? json_integer_value(item) : -1;
    if (value < 0 || value > UINT32_MAX) return fail(r, line, err, "key 'ids': expected token numbers");
    ids[i] = (uint32_t)value;
  }
  return XCODER_OK;
}

static xcoder_status take_texts(const reader *r, const json_t *list, size_t line, uint32_t **ids, xcoder_error *err) {
  xci_text text = {0};
  size_t i, n_found = 0;
  json_t *item;
  xcoder_status status = XCODER_OK;
  json_array_foreach(list, i, item) {
    if (!json_is_string(item)) status = fail(r, line, err, "key 'tokens': expected texts");
    else xci_text_append(&text, json_string_value(item), json_string_length(item));
  }
  if (!status) status = xci_text_status(&text, err);
  if (!status)
    status = xcoder_tokenize(r->tokenizer, text.bytes ? text.bytes : "", text.n_bytes, ids, &n_found, err);
  if (!status && n_found != json_array_size(list))
    status = xci_fail(err, XCODER_MISMATCH, "%s: line %zu: %zu tokens are given, the tokenizer makes %zu of the text",
                      r->path, line + 1, json_array_size(list), n_found);
  xci_text_clear(&text);
  return status;
}

static bool is_layer(const char *key, const json_t *value, size_t n) {
  if (strcmp(key, "ids") == 0 || strcmp(key, "tokens") == 0) return false;
  if (!json_is_array(value) || json_array_size(value) != n) return false;
  for (size_t i = 0; i < n; i++) {
    const json_t *item = json_array_get(value, i);
    if (!json_is_string(item) && !json_is_null(item)) return false;
  }
  return true;
}

static xcoder_status take_layers(reader *r, json_t *object, size_t n, size_t first, size_t line, xcoder_error *err) {
  const char *key;
  json_t *value;
  xcoder_status status = XCODER_OK;
  json_object_foreach(object, key, value) {
    for (size_t i = 0; !status && is_layer(key, value, n) && i < n; i++) {
      const char *text = json_string_value(json_array_get(value, i));
      if (text) status = add_label(r, line, first + i, key, strlen(key), text, strlen(text), err);
    }
  }
  return status;
}

static xcoder_status add_object(reader *r, json_t *object, size_t line, xcoder_error *err) {
  const json_t *list = json_object_get(object, "ids"), *texts = json_object_get(object, "tokens");
  const bool numbers = json_is_array(list);
  uint32_t *ids = NULL;
  size_t first = 0;
  if (!numbers) list = texts;
  if (!json_is_array(list) || json_array_size(list) == 0)
    return fail(r, line, err, "expected an object with the key 'ids' or 'tokens' and a list in it");
  const size_t n = json_array_size(list);
  xcoder_status status = numbers ? XCI_ALLOC(&ids, n, err) : take_texts(r, list, line, &ids, err);
  if (!status && numbers) status = take_ids(r, list, line, ids, err);
  if (!status) status = add_sentence(r, ids, n, &first, err);
  if (!status) status = take_layers(r, object, n, first, line, err);
  xci_free(ids);
  return status;
}

/* ---- CoNLL-U ---- */

typedef struct word {
  size_t start, end;  /* bytes in the text of the sentence */
  const char *upos, *features; /* in the file, up to the next tab; NULL: no labels */
} word;

typedef struct sentence {
  xci_text text;
  word *words;
  size_t n_words, capacity, first_line;
  size_t covered;     /* words up to this number are parts of a range */
  bool blank;         /* one is due before the next word */
} sentence;

static size_t field_length(const char *field) { return strcspn(field, "\t\r\n"); }

static bool is_value(const char *field, const char *value) {
  return field_length(field) == strlen(value) && memcmp(field, value, strlen(value)) == 0;
}

/* "SpaceAfter=No" among the parts of the last column. */
static bool joins_next(const char *misc) {
  static const char wanted[] = "SpaceAfter=No";
  for (size_t n = field_length(misc), at = 0; at < n;) {
    const size_t length = strcspn(misc + at, "|\t\r\n");
    if (length == sizeof wanted - 1 && memcmp(misc + at, wanted, length) == 0) return true;
    at += length + 1;
  }
  return false;
}

static xcoder_status add_word(reader *r, sentence *s, const char *bytes, size_t line, xcoder_error *err) {
  const char *column[N_COLUMNS];
  size_t number = 0, last = 0, at = 0;
  const char *p = bytes;
  for (size_t k = 0; k < N_COLUMNS; k++) {
    column[k] = p;
    p += field_length(p);
    if (k + 1 < N_COLUMNS && *p++ != '\t') return fail(r, line, err, "expected ten columns separated by tabs");
  }
  for (; column[0][at] >= '0' && column[0][at] <= '9' && number < 1000000; at++)
    number = 10 * number + (size_t)(column[0][at] - '0');
  if (at == 0) return fail(r, line, err, "expected the number of a word");
  if (column[0][at] == '.') return XCODER_OK; /* an empty node stands nowhere in the text */
  if (column[0][at] == '-') {
    for (at++; column[0][at] >= '0' && column[0][at] <= '9' && last < 1000000; at++)
      last = 10 * last + (size_t)(column[0][at] - '0');
    s->covered = last;
  } else if (number <= s->covered) {
    return XCODER_OK; /* its form is part of the range that was read before */
  }
  if (column[0] + at != column[1] - 1) return fail(r, line, err, "expected the number of a word");
  if (s->blank) xci_text_add(&s->text, " ");
  word w = {.start = s->text.n_bytes, .upos = last ? NULL : column[3], .features = last ? NULL : column[5]};
  xci_text_append(&s->text, column[1], field_length(column[1]));
  w.end = s->text.n_bytes;
  s->blank = !joins_next(column[9]);
  const xcoder_status status = xci_grow((void **)&s->words, &s->capacity, s->n_words + 1, sizeof *s->words, err);
  if (!status) s->words[s->n_words++] = w;
  return status;
}

static xcoder_status label_word(reader *r, const word *w, size_t position, size_t line, xcoder_error *err) {
  xcoder_status status = XCODER_OK;
  if (!w->upos) return XCODER_OK;
  if (!is_value(w->upos, "_")) status = add_label(r, line, position, "upos", 4, w->upos, field_length(w->upos), err);
  for (size_t n = is_value(w->features, "_") ? 0 : field_length(w->features), at = 0; !status && at < n;) {
    const char *part = w->features + at;
    const size_t length = strcspn(part, "|\t\r\n"), name = strcspn(part, "=|\t\r\n");
    if (name + 1 < length)
      status = add_label(r, line, position, part, name, part + name + 1, length - name - 1, err);
    at += length + 1;
  }
  return status;
}

/* A token belongs to the word that its last byte lies in. The tokenizer may put a blank in front. */
static xcoder_status end_sentence(reader *r, sentence *s, xcoder_error *err) {
  uint32_t *ids = NULL;
  size_t n = 0, total = 0, at = 0, first = 0, w = 0, n_bytes;
  xcoder_status status = xci_text_status(&s->text, err);
  if (status || s->n_words == 0) return status;
  status = xcoder_tokenize(r->tokenizer, s->text.bytes, s->text.n_bytes, &ids, &n, err);
  for (size_t k = 0; !status && k < n; k++) {
    xci_token_text(r->tokenizer, ids[k], &n_bytes);
    total += n_bytes;
  }
  if (!status && (total < s->text.n_bytes || total > s->text.n_bytes + 1))
    status = xci_fail(err, XCODER_MISMATCH, "%s: line %zu: the tokenizer changes the text of the sentence", r->path,
                      s->first_line + 1);
  if (!status) status = add_sentence(r, ids, n, &first, err);
  const size_t shift = status ? 0 : total - s->text.n_bytes;
  for (size_t k = 0; !status && k < n; k++) {
    xci_token_text(r->tokenizer, ids[k], &n_bytes);
    at += n_bytes;
    if (at <= shift) continue;
    const size_t last = at - shift - 1;
    while (w < s->n_words && s->words[w].end <= last) w++;
    if (w < s->n_words && last >= s->words[w].start)
      status = label_word(r, &s->words[w], first + k, s->first_line, err);
  }
  xcoder_free(ids);
  xci_text_clear(&s->text);
  s->n_words = s->covered = 0;
  s->blank = false;
  return status;
}

/* ---- The file ---- */

static xcoder_status read_lines(reader *r, char *bytes, size_t n_bytes, bool json, xcoder_error *err) {
  xcoder_status status = XCODER_OK;
  sentence s = {0};
  for (size_t at = 0, line = 0; !status && at < n_bytes; line++) {
    const char *end = memchr(bytes + at, '\n', n_bytes - at);
    const size_t n = end ? (size_t)(end - bytes) - at : n_bytes - at;
    const bool blank = strspn(bytes + at, " \t\r") >= n;
    if (json && !blank) {
      json_t *object = NULL;
      status = xci_json_parse(bytes + at, n, r->path, line, &object, err);
      if (!status) status = add_object(r, object, line, err);
      json_decref(object);
    } else if (!json && blank) {
      status = end_sentence(r, &s, err);
    } else if (!json && bytes[at] != '#') {
      if (s.n_words == 0) s.first_line = line;
      status = add_word(r, &s, bytes + at, line, err);
    }
    at += n + 1;
  }
  if (!status && !json) status = end_sentence(r, &s, err);
  xci_text_clear(&s.text);
  xci_free(s.words);
  return status;
}

static xcoder_status place_labels(reader *r, xcoder_error *err) {
  xci_token_labels *out = r->out;
  out->n_positions = r->n_ids;
  if (r->n_sequences == 0 || out->n_labels == 0)
    return xci_fail(err, XCODER_MISMATCH, "%s: no labels of tokens (JSON lines with lists as long as 'ids' or "
                                          "'tokens', or CoNLL-U)", r->path);
  xcoder_status status = xcoder_tokens_from_array(r->ids, r->start, r->n_sequences, &out->tokens, err);
  if (!status) status = XCI_ALLOC(&out->value, out->n_layers * out->n_positions, err);
  for (size_t i = 0; !status && i < out->n_layers * out->n_positions; i++) out->value[i] = -1;
  for (size_t i = 0; !status && i < r->n_entries; i++)
    out->value[out->layer_of[r->entries[i].label] * out->n_positions + r->entries[i].position] =
        (int32_t)r->entries[i].label;
  return status;
}

xcoder_status xci_token_labels_open(const char *path, const xcoder_tokenizer *tokenizer, xci_token_labels *labels,
                                    xcoder_error *err) {
  reader r = {.path = path, .tokenizer = tokenizer, .out = labels};
  char *bytes = NULL;
  size_t n_bytes = 0;
  *labels = (xci_token_labels){0};
  if (!tokenizer) return xci_fail(err, XCODER_USAGE, "%s: labels of tokens need a tokenizer", path);
  r.has_end = xcoder_tokenizer_end_of_text(tokenizer, &r.end);
  xcoder_status status = xci_read_file(path, MAX_FILE, &bytes, &n_bytes, err);
  if (!status) {
    const bool json = bytes[strspn(bytes, " \t\r\n")] == '{';
    status = read_lines(&r, bytes, n_bytes, json, err);
  }
  if (!status) status = place_labels(&r, err);
  xci_free(bytes);
  xci_free(r.ids);
  xci_free(r.start);
  xci_free(r.entries);
  if (status) xci_token_labels_close(labels);
  return status;
}
