/* SPDX-License-Identifier: Apache-2.0 */
/* Corpora: documents from text files and JSON lines, compressed or not, one at a time. */
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "data/lines.h"
#include "data/unicode.h"
#include "formats/json.h"
#include <crosscoder/data.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static const size_t DEFAULT_LINE_BYTES = (size_t)64 << 20;

struct xcoder_corpus {
  char *names; /* the files, each zero-terminated */
  char **paths;
  size_t n_paths, next_path;
  char *text_key;
  bool line_documents;
  size_t max_line_bytes;
  uint64_t max_bad_lines, bad_lines;
  unsigned zstd_window_log;
  bool open, json_lines; /* the current file */
  xci_lines lines;
  json_t *document; /* holds the text of the current document */
  xci_text text;    /* or this does */
};

/* Cuts at commas, unless the whole is the name of a file. */
static xcoder_status split_paths(xcoder_corpus *corpus, const char *paths, xcoder_error *err) {
  size_t n = 1;
  xcoder_status status = xci_copy_text(paths, &corpus->names, err);
  if (status) return status;
  bool whole = xci_exists(paths);
  for (char *p = corpus->names; *p && !whole; p++) n += *p == ',';
  status = XCI_ALLOC(&corpus->paths, n, err);
  if (status) return status;
  char *p = corpus->names;
  for (corpus->n_paths = 0; corpus->n_paths < n; corpus->n_paths++) {
    corpus->paths[corpus->n_paths] = p;
    char *comma = whole ? NULL : strchr(p, ',');
    if (comma) *comma = '\0';
    if (!*p) return xci_fail(err, XCODER_USAGE, "corpus '%.200s': a file name is empty", paths);
    p += strlen(p) + 1;
  }
  return XCODER_OK;
}

/* A missing file is found before the first document is read. */
static xcoder_status check_paths(const xcoder_corpus *corpus, xcoder_error *err) {
  for (size_t i = 0; i < corpus->n_paths; i++) {
    int descriptor = -1;
    uint64_t n_bytes = 0;
    if (strcmp(corpus->paths[i], "-") == 0) continue;
    xcoder_status status = xci_open_regular(corpus->paths[i], &descriptor, &n_bytes, err);
    if (status) return status;
    close(descriptor);
  }
  return XCODER_OK;
}

xcoder_status xcoder_corpus_open(const char *paths, const xcoder_corpus_options *options, xcoder_corpus **out,
                                 xcoder_error *err) {
  static const xcoder_corpus_options defaults = {0};
  xcoder_corpus *corpus = NULL;
  *out = NULL;
  if (!options) options = &defaults;
  xcoder_status status = XCI_ALLOC(&corpus, 1, err);
  if (status) return status;
  corpus->line_documents = options->line_documents;
  corpus->max_line_bytes = options->max_line_bytes ? options->max_line_bytes : DEFAULT_LINE_BYTES;
  corpus->max_bad_lines = options->max_bad_lines;
  corpus->zstd_window_log = options->zstd_window_log;
  status = xci_copy_text(options->text_key ? options->text_key : "text", &corpus->text_key, err);
  if (!status) status = split_paths(corpus, paths, err);
  if (!status) status = check_paths(corpus, err);
  if (status) xcoder_corpus_close(corpus);
  else *out = corpus;
  return status;
}

static void close_file(xcoder_corpus *corpus) {
  if (corpus->open) xci_lines_close(&corpus->lines);
  corpus->open = false;
}

void xcoder_corpus_close(xcoder_corpus *corpus) {
  if (!corpus) return;
  close_file(corpus);
  json_decref(corpus->document);
  xci_text_clear(&corpus->text);
  xci_free(corpus->text_key);
  xci_free(corpus->paths);
  xci_free(corpus->names);
  xci_free(corpus);
}

uint64_t xcoder_corpus_bad_lines(const xcoder_corpus *corpus) { return corpus->bad_lines; }

static bool ends_with(const char *name, size_t n, const char *ending) {
  size_t length = strlen(ending);
  return n >= length && strncasecmp(name + n - length, ending, length) == 0;
}

/* JSON lines: told by an object at the start, or, so that the errors in a spoilt file are those of JSON lines, by
 * the name. Standard input is always that. */
static bool looks_like_json_lines(const char *path, const char *bytes, size_t n_bytes) {
  static const char *const compressed[] = {".gz", ".zst"}, *const json[] = {".jsonl", ".json", ".ndjson"};
  size_t n = strlen(path), i = 0;
  if (strcmp(path, "-") == 0) return true;
  for (size_t k = 0; k < 2; k++)
    if (ends_with(path, n, compressed[k])) n -= strlen(compressed[k]);
  for (size_t k = 0; k < 3; k++)
    if (ends_with(path, n, json[k])) return true;
  while (i < n_bytes && strchr(" \t\r\n", bytes[i]) && bytes[i]) i++;
  if (i == n_bytes || bytes[i++] != '{') return false;
  while (i < n_bytes && strchr(" \t", bytes[i]) && bytes[i]) i++;
  return i < n_bytes && (bytes[i] == '"' || bytes[i] == '}');
}

/* A file that is named as compressed may be plain text, but not anything. A character cut at the end is no fault. */
static xcoder_status check_named_compressed(const char *path, const char *bytes, size_t n_bytes, xcoder_error *err) {
  enum { LOOKED_AT = 4096 };
  size_t n = strlen(path);
  if (!ends_with(path, n, ".gz") && !ends_with(path, n, ".zst")) return XCODER_OK;
  if (n_bytes > LOOKED_AT) n_bytes = xci_utf8_before(bytes, LOOKED_AT);
  if (xci_utf8_valid(bytes, n_bytes)) return XCODER_OK;
  return xci_fail(err, XCODER_FORMAT, "%s: neither compressed nor text", path);
}

static xcoder_status open_next(xcoder_corpus *corpus, xcoder_error *err) {
  const char *path = corpus->paths[corpus->next_path++];
  xcoder_status status = xci_lines_open(path, corpus->max_line_bytes, corpus->zstd_window_log, &corpus->lines, err);
  if (status) return status;
  corpus->open = true;
  const xci_lines *lines = &corpus->lines;
  const char *bytes = lines->chunk + lines->at;
  size_t n_bytes = lines->n_chunk - lines->at;
  corpus->json_lines = looks_like_json_lines(path, bytes, n_bytes);
  if (corpus->json_lines || xci_stream_is_compressed(lines->stream)) return XCODER_OK;
  status = check_named_compressed(path, bytes, n_bytes, err);
  if (status) close_file(corpus);
  return status;
}

static xcoder_status fail_length(const xcoder_corpus *corpus, size_t n_bytes, bool line, xcoder_error *err) {
  const char *path = xci_stream_path(corpus->lines.stream);
  if (!line)
    return xci_fail(err, XCODER_FORMAT,
                    "%s: a document of %zu bytes, at most %zu are read (raise --max-line, or take one document a line)",
                    path, n_bytes, corpus->max_line_bytes);
  return xci_fail(err, XCODER_FORMAT, "%s: line %llu: %zu bytes, at most %zu are read (raise --max-line)", path,
                  (unsigned long long)corpus->lines.number, n_bytes, corpus->max_line_bytes);
}

/* Keeps a text as valid UTF-8 until the next document. */
static xcoder_status keep_text(xcoder_corpus *corpus, const char *bytes, size_t n_bytes, const char **text,
                               size_t *n_text, xcoder_error *err) {
  corpus->text.n_bytes = 0;
  xci_text_lossy(&corpus->text, bytes, n_bytes);
  xcoder_status status = xci_text_status(&corpus->text, err);
  if (status) return status;
  *text = corpus->text.bytes;
  *n_text = corpus->text.n_bytes;
  return XCODER_OK;
}

static xcoder_status read_whole(xcoder_corpus *corpus, const char **text, size_t *n_text, xcoder_error *err) {
  const char *bytes = NULL;
  size_t n = 0;
  bool too_long = false;
  xcoder_status status = xci_lines_rest(&corpus->lines, &bytes, &n, &too_long, err);
  if (!status && too_long) status = fail_length(corpus, n, false, err);
  if (!status && n) status = keep_text(corpus, bytes, n, text, n_text, err);
  return status;
}

/* One line of JSON into corpus->document. */
static xcoder_status parse_line(xcoder_corpus *corpus, const char *line, size_t n, bool too_long, xcoder_error *err) {
  const char *path = xci_stream_path(corpus->lines.stream);
  unsigned long long number = corpus->lines.number;
  if (too_long) return fail_length(corpus, n, true, err);
  xcoder_status status = xci_json_parse(line, n, path, (size_t)number - 1, &corpus->document, err);
  if (status) return status;
  const json_t *text = json_object_get(corpus->document, corpus->text_key);
  if (!json_is_object(corpus->document))
    return xci_fail(err, XCODER_FORMAT, "%s: line %llu: expected a JSON object", path, number);
  if (!text) return xci_fail(err, XCODER_FORMAT, "%s: line %llu: no key '%s'", path, number, corpus->text_key);
  if (!json_is_string(text))
    return xci_fail(err, XCODER_FORMAT, "%s: line %llu: '%s' is no text", path, number, corpus->text_key);
  return XCODER_OK;
}

/* The outcome of a line under the policy for bad ones. */
static xcoder_status judge_line(xcoder_corpus *corpus, xcoder_status status, const xcoder_error *found,
                                xcoder_error *err) {
  if (status != XCODER_FORMAT) {
    if (status && err) *err = *found;
    return status;
  }
  json_decref(corpus->document);
  corpus->document = NULL;
  if (corpus->bad_lines++ < corpus->max_bad_lines) return XCODER_OK;
  if (err) *err = *found;
  return status;
}

/* The next line as a document; *text stays NULL if the line is blank or bad and skipped. */
static xcoder_status read_line(xcoder_corpus *corpus, const char **text, size_t *n_text, bool *end,
                               xcoder_error *err) {
  const char *line = NULL;
  size_t n = 0;
  bool too_long = false;
  xcoder_error found;
  xcoder_status status = xci_lines_next(&corpus->lines, &line, &n, &too_long, err);
  if (status) return status;
  *end = !line;
  if (!too_long)
    while (n && (line[n - 1] == '\r' || (corpus->json_lines && (line[n - 1] == ' ' || line[n - 1] == '\t')))) n--;
  if (!line || n == 0) return XCODER_OK;
  if (!corpus->json_lines) {
    if (!too_long) return keep_text(corpus, line, n, text, n_text, err);
    return judge_line(corpus, fail_length(corpus, n, true, &found), &found, err);
  }
  status = judge_line(corpus, parse_line(corpus, line, n, too_long, &found), &found, err);
  if (status || !corpus->document) return status;
  const json_t *value = json_object_get(corpus->document, corpus->text_key);
  *text = json_string_value(value);
  *n_text = json_string_length(value);
  return XCODER_OK;
}

xcoder_status xcoder_corpus_next(xcoder_corpus *corpus, const char **text, size_t *n_bytes, xcoder_error *err) {
  xcoder_status status = XCODER_OK;
  *text = NULL;
  *n_bytes = 0;
  json_decref(corpus->document);
  corpus->document = NULL;
  while (!status && !*text) {
    bool end = false;
    if (!corpus->open) {
      if (corpus->next_path == corpus->n_paths) break;
      status = open_next(corpus, err);
      if (status) break;
    }
    if (corpus->json_lines || corpus->line_documents) {
      status = read_line(corpus, text, n_bytes, &end, err);
    } else {
      status = read_whole(corpus, text, n_bytes, err);
      end = true;
    }
    if (end || status) close_file(corpus);
  }
  if (status) *text = NULL;
  return status;
}
