/* SPDX-License-Identifier: Apache-2.0 */
/* Loading minimal pairs: which files, which reader, what was kept and why not the rest. */
#include "data/pairs.h"

#include "base/file.h"
#include "base/memory.h"
#include "data/lines.h"
#include "formats/json.h"
#include <string.h>

struct xcoder_pairs {
  xcoder_pair *pairs;
  size_t n_pairs;
  uint32_t *ids;
  char *texts, *name, *summary;
};

static const size_t MAX_LINE_BYTES = (size_t)1 << 20;

static const struct task_kind {
  const char *name;
  xci_item_reader read;
} kinds[] = {{"pairs", xci_read_own_item}, {"blimp", xci_read_blimp_item}};

bool xci_pairs_full(const xci_pairs_builder *b) {
  return b->options->max_pairs && b->n_records >= b->options->max_pairs;
}

static xcoder_status read_line(xci_pairs_builder *b, const struct task_kind *kind, const xci_lines *lines,
                               const char *line, size_t n_bytes, xcoder_error *err) {
  const char *path = xci_stream_path(lines->stream);
  json_t *object = NULL;
  xcoder_status status = xci_json_parse(line, n_bytes, path, (size_t)lines->number - 1, &object, err);
  if (!status && !json_is_object(object))
    status =
      xci_fail(err, XCODER_FORMAT, "%s: line %llu: expected a JSON object", path, (unsigned long long)lines->number);
  if (!status) status = kind->read(b, object, path, lines->number, err);
  json_decref(object);
  return status;
}

static xcoder_status read_pairs_file(xci_pairs_builder *b, const struct task_kind *kind, const char *path,
                                     xcoder_error *err) {
  xci_lines lines = {0};
  uint64_t items_before = b->n_items, form_before = b->skipped[XCI_SKIP_FORM];
  xcoder_status status = xci_lines_open(path, MAX_LINE_BYTES, &lines, err);
  while (!status && !xci_pairs_full(b)) {
    const char *line = NULL;
    size_t n_bytes = 0;
    bool too_long = false;
    status = xci_lines_next(&lines, &line, &n_bytes, &too_long, err);
    if (status || !line) break;
    if (too_long)
      status = xci_fail(err, XCODER_FORMAT, "%s: line %llu: %zu bytes, expected at most %zu", path,
                        (unsigned long long)lines.number, n_bytes, MAX_LINE_BYTES);
    while (!status && n_bytes && strchr(" \t\r", line[n_bytes - 1]) && line[n_bytes - 1]) n_bytes--;
    if (!status && n_bytes) status = read_line(b, kind, &lines, line, n_bytes, err);
  }
  xci_lines_close(&lines);
  uint64_t n_items = b->n_items - items_before;
  if (n_items &&
      n_items == b->skipped[XCI_SKIP_FORM] - form_before) { /* the file is of another kind: do not count it */
    b->n_items = items_before;
    b->skipped[XCI_SKIP_FORM] = form_before;
    b->skipped_files++;
  }
  return status;
}

/* Length of a name without endings such as .jsonl.gz; `known` tells whether it had one. */
static size_t stem_length(const char *name, bool *known) {
  static const char *const endings[] = {".gz", ".zst", ".jsonl", ".json"};
  size_t n = strlen(name);
  *known = false;
  for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
    size_t length = strlen(endings[i]);
    if (n <= length || memcmp(name + n - length, endings[i], length) != 0) continue;
    n -= length;
    if (i >= 2) *known = true;
  }
  return n;
}

static xcoder_status read_folder(xci_pairs_builder *b, const struct task_kind *kind, const char *folder,
                                 xcoder_error *err) {
  char **names = NULL;
  size_t n_names = 0, n_files = 0;
  bool known = false;
  xcoder_status status = xci_list_folder(folder, &names, &n_names, err);
  for (size_t i = 0; i < n_names && !status && !xci_pairs_full(b); i++) {
    char *path = NULL;
    stem_length(names[i], &known);
    if (!known) continue;
    n_files++;
    status = xci_join_path(folder, names[i], &path, err);
    if (!status) status = read_pairs_file(b, kind, path, err);
    xci_free(path);
  }
  xci_free_names(names, n_names);
  if (!status && n_files == 0)
    status = xci_fail(err, XCODER_MISSING, "%s: a folder without .jsonl files", folder);
  return status;
}

static xcoder_status write_summary(const xci_pairs_builder *b, char **summary, xcoder_error *err) {
  static const char *const reasons[XCI_N_SKIPS] = {
    "", "answer longer than 2 tokens", "answers of different length", "one answer begins with the other",
    "empty prefix", "no word behind a common prefix"};
  xci_text text = {0};
  uint64_t n_skipped = b->n_items - b->n_records;
  const char *between = " (";
  xci_text_format(&text, "kept %zu of %llu", b->n_records, (unsigned long long)b->n_items);
  if (n_skipped) xci_text_format(&text, ": %llu skipped", (unsigned long long)n_skipped);
  for (size_t i = 1; i < XCI_N_SKIPS; i++) {
    if (!b->skipped[i]) continue;
    xci_text_format(&text, "%s%s: %llu", between, reasons[i], (unsigned long long)b->skipped[i]);
    between = ", ";
  }
  if (n_skipped) xci_text_add(&text, ")");
  if (b->skipped_files)
    xci_text_format(&text, "; %llu files without words behind a common prefix", (unsigned long long)b->skipped_files);
  if (b->dropped_counterfactuals)
    xci_text_format(&text, "; %llu counterfactuals dropped (other tokens or another length)",
                    (unsigned long long)b->dropped_counterfactuals);
  xcoder_status status = xci_text_status(&text, err);
  if (status) xci_text_clear(&text);
  else *summary = text.bytes;
  return status;
}

/* "pairs:data/en simple.jsonl" -> "pairs-en_simple". */
static xcoder_status make_name(const struct task_kind *kind, const char *path, char **name, xcoder_error *err) {
  enum { MAX_STEM = 100 };
  size_t end = strlen(path);
  bool known = false;
  while (end > 1 && path[end - 1] == '/') end--;
  size_t from = end;
  while (from > 0 && path[from - 1] != '/') from--;
  xci_text text = {0};
  xci_text_append(&text, path + from, end - from);
  if (text.failed) return xci_text_status(&text, err);
  size_t n = stem_length(text.bytes, &known);
  char stem[MAX_STEM + 1] = "";
  for (size_t i = 0; i < n && i < MAX_STEM; i++) {
    char c = text.bytes[i];
    if (c >= 'A' && c <= 'Z') c = (char)(c - 'A' + 'a');
    bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
    stem[i] = plain ? c : '_';
  }
  text.n_bytes = 0;
  xci_text_format(&text, "%s-%s", kind->name, stem);
  xcoder_status status = xci_text_status(&text, err);
  if (status) xci_text_clear(&text);
  else *name = text.bytes;
  return status;
}

/* Turns the builder's places into pointers; takes over its arrays. */
static xcoder_status finish(xci_pairs_builder *b, xcoder_pairs *pairs, xcoder_error *err) {
  xcoder_status status = XCI_ALLOC(&pairs->pairs, b->n_records, err);
  if (status) return status;
  pairs->n_pairs = b->n_records;
  pairs->ids = b->ids.ids;
  pairs->texts = b->texts.bytes;
  b->ids = (xci_ids){0};
  b->texts = (xci_text){0};
  for (size_t i = 0; i < b->n_records; i++) {
    const xci_pair_record *record = &b->records[i];
    pairs->pairs[i] = (xcoder_pair){
      .prefix = pairs->ids + record->prefix_at,
      .n_prefix = record->n_prefix,
      .right = record->right,
      .wrong = record->wrong,
      .counterfactual = record->has_counterfactual ? pairs->ids + record->counterfactual_at : NULL,
      .group = pairs->texts + record->group_at,
      .language = pairs->texts + record->language_at,
      .text = pairs->texts + record->text_at,
    };
  }
  return XCODER_OK;
}

static void clear_builder(xci_pairs_builder *b) {
  xci_encoder_close(b->encoder);
  xci_text_clear(&b->joined);
  xci_text_clear(&b->texts);
  xci_free(b->good.ids);
  xci_free(b->bad.ids);
  xci_free(b->other.ids);
  xci_free(b->ids.ids);
  xci_free(b->records);
}

static xcoder_status read_task(xci_pairs_builder *b, const struct task_kind *kind, const char *path,
                               xcoder_pairs *pairs, xcoder_error *err) {
  if (!b->options->no_prepend && !xcoder_tokenizer_end_of_text(b->tokenizer, &b->end_of_text))
    return xci_fail(err, XCODER_MISMATCH, "%s: it names no end-of-text token to start prompts with (--no-prepend)",
                    b->tokenizer->path);
  xcoder_status status = xci_encoder_open(b->tokenizer, false, &b->encoder, err);
  if (!status)
    status = xci_is_folder(path) ? read_folder(b, kind, path, err) : read_pairs_file(b, kind, path, err);
  if (!status) status = write_summary(b, &pairs->summary, err);
  if (!status && b->n_records == 0)
    status = xci_fail(err, XCODER_MISMATCH, "%s: no pair can be used: %s", path, pairs->summary);
  if (!status) status = make_name(kind, path, &pairs->name, err);
  if (!status) status = finish(b, pairs, err);
  return status;
}

xcoder_status xcoder_pairs_load(const char *task, const xcoder_tokenizer *tokenizer,
                                const xcoder_pairs_options *options, xcoder_pairs **out, xcoder_error *err) {
  static const xcoder_pairs_options defaults = {0};
  const struct task_kind *kind = NULL;
  const char *colon = strchr(task, ':');
  xcoder_pairs *pairs = NULL;
  *out = NULL;
  for (size_t i = 0; colon && i < sizeof kinds / sizeof *kinds; i++)
    if (strlen(kinds[i].name) == (size_t)(colon - task) && strncmp(task, kinds[i].name, (size_t)(colon - task)) == 0)
      kind = &kinds[i];
  if (!kind || !colon[1])
    return xci_fail(err, XCODER_USAGE, "task '%.200s': expected pairs:PATH or blimp:PATH", task);
  xcoder_status status = XCI_ALLOC(&pairs, 1, err);
  if (status) return status;
  xci_pairs_builder b = {.tokenizer = tokenizer, .options = options ? options : &defaults};
  status = read_task(&b, kind, colon + 1, pairs, err);
  clear_builder(&b);
  if (status) xcoder_pairs_free(pairs);
  else *out = pairs;
  return status;
}

void xcoder_pairs_free(xcoder_pairs *pairs) {
  if (!pairs) return;
  xci_free(pairs->pairs);
  xci_free(pairs->ids);
  xci_free(pairs->texts);
  xci_free(pairs->name);
  xci_free(pairs->summary);
  xci_free(pairs);
}

size_t xcoder_pairs_count(const xcoder_pairs *pairs) { return pairs->n_pairs; }
const xcoder_pair *xcoder_pairs_get(const xcoder_pairs *pairs, size_t index) {
  return index < pairs->n_pairs ? &pairs->pairs[index] : NULL;
}
const char *xcoder_pairs_name(const xcoder_pairs *pairs) { return pairs->name; }
const char *xcoder_pairs_summary(const xcoder_pairs *pairs) { return pairs->summary; }
