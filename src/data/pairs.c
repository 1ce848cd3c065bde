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
  char *texts, *name, *summary, *files;
};

static const size_t MAX_LINE_BYTES = (size_t)1 << 20;

static const struct task_kind {
  const char *name;
  xci_item_reader read;        /* one JSON line; NULL: the data set has none */
  xci_table_reader read_table; /* a file of another form; NULL: only JSON lines */
  void (*place)(const char *folder, const char *stem, char language[4], xci_text *group);
  const char *endings[3];
} kinds[] = {{"pairs", xci_read_own_item, NULL, NULL, {".jsonl", ".json"}},
             {"blimp", xci_read_blimp_item, NULL, NULL, {".jsonl", ".json"}},
             {"clams", NULL, xci_read_clams, xci_clams_place, {".txt"}},
             {"multiblimp", xci_read_multiblimp_item, xci_read_multiblimp, xci_multiblimp_place,
              {".tsv", ".jsonl", ".json"}}};

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

xcoder_status xci_pairs_line(xci_lines *lines, const char **line, size_t *n_bytes, xcoder_error *err) {
  bool too_long = false;
  xcoder_status status = xci_lines_next(lines, line, n_bytes, &too_long, err);
  if (!status && too_long)
    status = xci_fail(err, XCODER_FORMAT, "%s: line %llu: %zu bytes, expected at most %zu",
                      xci_stream_path(lines->stream), (unsigned long long)lines->number, *n_bytes, MAX_LINE_BYTES);
  return status;
}

xcoder_status xci_pairs_check_text(const xci_lines *lines, const char *line, size_t n_bytes, xcoder_error *err) {
  if (xci_utf8_valid(line, n_bytes) && !memchr(line, '\0', n_bytes)) return XCODER_OK;
  return xci_fail(err, XCODER_FORMAT, "%s: line %llu: not UTF-8 text", xci_stream_path(lines->stream),
                  (unsigned long long)lines->number);
}

/* Length of a name without endings such as .jsonl.gz; `known` tells whether it had one of the kind's. */
static size_t stem_length(const struct task_kind *kind, const char *name, bool *known) {
  const char *const endings[] = {".gz", ".zst", kind->endings[0], kind->endings[1], kind->endings[2]};
  size_t n = strlen(name);
  *known = false;
  for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
    size_t length = endings[i] ? strlen(endings[i]) : n;
    if (n <= length || memcmp(name + n - length, endings[i], length) != 0) continue;
    n -= length;
    if (i >= 2) *known = true;
  }
  return n;
}

/* The last two names of a path: stem (without endings) and the folder before it ("" if there is none). */
static xcoder_status split_path(const struct task_kind *kind, const char *path, xci_text *folder, xci_text *stem,
                                xcoder_error *err) {
  size_t end = strlen(path);
  bool known = false;
  while (end > 1 && path[end - 1] == '/') end--;
  size_t from = end;
  while (from > 0 && path[from - 1] != '/') from--;
  xci_text_append(stem, path + from, end - from);
  while (from > 0 && path[from - 1] == '/') from--;
  size_t folder_end = from;
  while (from > 0 && path[from - 1] != '/') from--;
  xci_text_append(folder, path + from, folder_end - from);
  xcoder_status status = xci_text_status(stem, err);
  if (!status) status = xci_text_status(folder, err);
  if (status) return status;
  size_t n = stem_length(kind, stem->bytes, &known);
  stem->bytes[n] = '\0';
  stem->n_bytes = n;
  return XCODER_OK;
}

/* What the place of a file tells about it. */
static xcoder_status place_file(xci_pairs_builder *b, const struct task_kind *kind, const char *path,
                                xcoder_error *err) {
  xci_text folder = {0}, stem = {0};
  b->file_language[0] = '\0';
  b->file_group.n_bytes = 0;
  xci_text_append(&b->file_group, "", 0);
  xcoder_status status = kind->place ? split_path(kind, path, &folder, &stem, err) : XCODER_OK;
  if (!status && kind->place) kind->place(folder.bytes, stem.bytes, b->file_language, &b->file_group);
  if (!status) status = xci_text_status(&b->file_group, err);
  xci_text_clear(&folder);
  xci_text_clear(&stem);
  return status;
}

static xcoder_status read_lines(xci_pairs_builder *b, const struct task_kind *kind, xci_lines *lines,
                                xcoder_error *err) {
  xcoder_status status = XCODER_OK;
  while (!status && !xci_pairs_full(b)) {
    const char *line = NULL;
    size_t n_bytes = 0;
    status = xci_pairs_line(lines, &line, &n_bytes, err);
    if (status || !line) break;
    size_t n_all = n_bytes;
    while (n_bytes && strchr(" \t\r", line[n_bytes - 1]) && line[n_bytes - 1]) n_bytes--;
    if (!n_bytes) continue;
    if (kind->read_table && (!kind->read || line[0] != '{')) return kind->read_table(b, lines, line, n_all, err);
    status = read_line(b, kind, lines, line, n_bytes, err);
  }
  return status;
}

static void add_counts(xci_text *text, uint64_t n_kept, uint64_t n_items, const uint64_t skipped[XCI_N_SKIPS],
                       const uint64_t before[XCI_N_SKIPS]);

static xcoder_status read_pairs_file(xci_pairs_builder *b, const struct task_kind *kind, const char *path,
                                     xcoder_error *err) {
  xci_lines lines = {0};
  uint64_t items_before = b->n_items, form_before = b->skipped[XCI_SKIP_FORM], before[XCI_N_SKIPS];
  const uint64_t kept_before = b->n_records;
  memcpy(before, b->skipped, sizeof before);
  xcoder_status status = place_file(b, kind, path, err);
  if (!status) status = xci_lines_open(path, MAX_LINE_BYTES, 0, &lines, err);
  if (!status) status = read_lines(b, kind, &lines, err);
  xci_lines_close(&lines);
  uint64_t n_items = b->n_items - items_before;
  const char *slash = strrchr(path, '/');
  char quoted[256];
  const char *name = slash && slash[1] ? slash + 1 : path;
  xci_text_format(&b->files, "%s: ", xci_quote(quoted, sizeof quoted, name, strlen(name)));
  add_counts(&b->files, b->n_records - kept_before, n_items, b->skipped, before);
  xci_text_add(&b->files, "\n");
  if (!status) status = xci_text_status(&b->files, err);
  if (n_items &&
      n_items == b->skipped[XCI_SKIP_FORM] - form_before) { /* the file is of another kind: do not count it */
    b->n_items = items_before;
    b->skipped[XCI_SKIP_FORM] = form_before;
    b->skipped_files++;
  }
  return status;
}

/* Whether a folder in a task's folder holds the files of one language. */
static bool is_language_folder(const struct task_kind *kind, const char *path, const char *name) {
  char language[4] = "";
  xci_text ignored = {0};
  if (!kind->place || !xci_is_folder(path)) return false;
  kind->place(name, "data", language, &ignored);
  xci_text_clear(&ignored);
  return language[0] != '\0';
}

/* Files of a folder in the order of their names; those of its languages too, if `nested`. */
static xcoder_status read_folder(xci_pairs_builder *b, const struct task_kind *kind, const char *folder, bool nested,
                                 size_t *n_files, xcoder_error *err) {
  char **names = NULL;
  size_t n_names = 0;
  bool known = false;
  xcoder_status status = xci_list_folder(folder, &names, &n_names, err);
  for (size_t i = 0; i < n_names && !status && !xci_pairs_full(b); i++) {
    char *path = NULL;
    stem_length(kind, names[i], &known);
    status = xci_join_path(folder, names[i], &path, err);
    if (!status && known) {
      ++*n_files;
      status = read_pairs_file(b, kind, path, err);
    } else if (!status && nested && is_language_folder(kind, path, names[i])) {
      status = read_folder(b, kind, path, false, n_files, err);
    }
    xci_free(path);
  }
  xci_free_names(names, n_names);
  return status;
}

static xcoder_status read_path(xci_pairs_builder *b, const struct task_kind *kind, const char *path,
                               xcoder_error *err) {
  size_t n_files = 0;
  if (!xci_is_folder(path)) return read_pairs_file(b, kind, path, err);
  xcoder_status status = read_folder(b, kind, path, true, &n_files, err);
  if (!status && n_files == 0)
    status = xci_fail(err, XCODER_MISSING, "%s: a folder without %s files", path, kind->endings[0]);
  return status;
}

/* "kept 918 of 1000: 82 skipped (REASON: 82)", of what was counted since `before` (NULL: all). */
static void add_counts(xci_text *text, uint64_t n_kept, uint64_t n_items, const uint64_t skipped[XCI_N_SKIPS],
                       const uint64_t before[XCI_N_SKIPS]) {
  static const char *const reasons[XCI_N_SKIPS] = {
    "", "answer longer than 2 tokens", "answers of different length", "one answer begins with the other",
    "empty prefix", "no word behind a common prefix", "one sentence begins with the other"};
  const char *between = " (";
  xci_text_format(text, "kept %llu of %llu", (unsigned long long)n_kept, (unsigned long long)n_items);
  if (n_items == n_kept) return;
  xci_text_format(text, ": %llu skipped", (unsigned long long)(n_items - n_kept));
  for (size_t i = 1; i < XCI_N_SKIPS; i++) {
    const uint64_t n = skipped[i] - (before ? before[i] : 0);
    if (!n) continue;
    xci_text_format(text, "%s%s: %llu", between, reasons[i], (unsigned long long)n);
    between = ", ";
  }
  xci_text_add(text, ")");
}

static xcoder_status write_summary(const xci_pairs_builder *b, char **summary, xcoder_error *err) {
  xci_text text = {0};
  add_counts(&text, b->n_records, b->n_items, b->skipped, NULL);
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

/* "pairs:data/en simple.jsonl" -> "pairs-en_simple", "clams:fr/vp_coord.txt" -> "clams-fr-vp_coord". */
static xcoder_status make_name(xci_pairs_builder *b, const struct task_kind *kind, const char *path, char **name,
                               xcoder_error *err) {
  enum { MAX_STEM = 100 };
  xci_text text = {0}, folder = {0}, stem = {0};
  char plain[MAX_STEM + 1] = "";
  bool is_file = kind->place && !xci_is_folder(path);
  xcoder_status status = is_file ? place_file(b, kind, path, err) : XCODER_OK;
  if (!status) status = split_path(kind, path, &folder, &stem, err);
  bool has_group = is_file && b->file_group.n_bytes, has_language = is_file && b->file_language[0];
  const char *last = has_group ? b->file_group.bytes : has_language ? b->file_language : stem.bytes;
  for (size_t i = 0; !status && last[i] && i < MAX_STEM; i++) {
    char c = last[i];
    if (c >= 'A' && c <= 'Z') c = (char)(c - 'A' + 'a');
    bool good = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
    plain[i] = good ? c : '_';
  }
  xci_text_format(&text, "%s-%s%s%s", kind->name, has_group ? b->file_language : "",
                  has_group && has_language ? "-" : "", plain);
  if (!status) status = xci_text_status(&text, err);
  xci_text_clear(&folder);
  xci_text_clear(&stem);
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
      .good = record->has_sentences ? pairs->ids + record->good.at : NULL,
      .bad = record->has_sentences ? pairs->ids + record->bad.at : NULL,
      .n_good = record->good.n,
      .n_bad = record->bad.n,
      .good_bytes = record->good.n_bytes,
      .bad_bytes = record->bad.n_bytes,
      .good_characters = record->good.n_characters,
      .bad_characters = record->bad.n_characters,
    };
  }
  return XCODER_OK;
}

static void clear_builder(xci_pairs_builder *b) {
  xci_encoder_close(b->encoder);
  xci_text_clear(&b->joined);
  xci_text_clear(&b->good_words);
  xci_text_clear(&b->bad_words);
  xci_text_clear(&b->file_group);
  xci_text_clear(&b->texts);
  xci_text_clear(&b->files);
  xci_free(b->good.ids);
  xci_free(b->bad.ids);
  xci_free(b->other.ids);
  xci_free(b->ids.ids);
  xci_free(b->records);
}

static xcoder_status read_task(xci_pairs_builder *b, const struct task_kind *kind, const char *path,
                               xcoder_pairs *pairs, xcoder_error *err) {
  if (b->options->sentences && !b->options->no_prepend && !b->tokenizer->has_start_of_text)
    return xci_fail(err, XCODER_MISMATCH, "%s: it names no start or end of text to score sentences behind "
                    "(--no-prepend)", b->tokenizer->path);
  if (!b->options->sentences && !b->options->no_prepend && !xcoder_tokenizer_end_of_text(b->tokenizer, &b->end_of_text))
    return xci_fail(err, XCODER_MISMATCH, "%s: it names no end-of-text token to start prompts with (--no-prepend)",
                    b->tokenizer->path);
  xcoder_status status = xci_encoder_open(b->tokenizer, false, &b->encoder, err);
  if (!status) status = read_path(b, kind, path, err);
  if (!status) status = write_summary(b, &pairs->summary, err);
  if (!status && b->n_records == 0)
    status = xci_fail(err, XCODER_MISMATCH, "%s: no pair can be used: %s", path, pairs->summary);
  if (!status) status = make_name(b, kind, path, &pairs->name, err);
  if (!status) status = finish(b, pairs, err);
  if (!status) {
    pairs->files = b->files.bytes;
    b->files = (xci_text){0};
  }
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
    return xci_fail(err, XCODER_USAGE,
                    "task '%.200s': expected pairs:PATH, blimp:PATH, clams:PATH or multiblimp:PATH", task);
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
  xci_free(pairs->files);
  xci_free(pairs);
}

size_t xcoder_pairs_count(const xcoder_pairs *pairs) { return pairs->n_pairs; }
const xcoder_pair *xcoder_pairs_get(const xcoder_pairs *pairs, size_t index) {
  return index < pairs->n_pairs ? &pairs->pairs[index] : NULL;
}
const char *xcoder_pairs_name(const xcoder_pairs *pairs) { return pairs->name; }
const char *xcoder_pairs_summary(const xcoder_pairs *pairs) { return pairs->summary; }
const char *xcoder_pairs_files(const xcoder_pairs *pairs) { return pairs->files ? pairs->files : ""; }
