/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of a stream, of bounded length. */
#include "data/lines.h"

#include "base/memory.h"
#include "base/size.h"
#include <string.h>

static xcoder_status next_chunk(xci_lines *lines, xcoder_error *err) {
  lines->at = 0;
  return xci_stream_read(lines->stream, &lines->chunk, &lines->n_chunk, err);
}

xcoder_status xci_lines_open(const char *path, size_t max_bytes, unsigned window_log, xci_lines *lines,
                             xcoder_error *err) {
  *lines = (xci_lines){.max_bytes = max_bytes};
  xcoder_status status = xci_stream_open(path, window_log, &lines->stream, err);
  if (!status) status = next_chunk(lines, err);
  if (!status && lines->n_chunk >= 3 && memcmp(lines->chunk, "\xef\xbb\xbf", 3) == 0) lines->at = 3;
  if (status) xci_lines_close(lines);
  return status;
}

void xci_lines_close(xci_lines *lines) {
  xci_stream_close(lines->stream);
  xci_free(lines->buffer);
  *lines = (xci_lines){0};
}

/* Collects bytes up to `newline` (or to the end of the file) that span chunks. */
static xcoder_status collect(xci_lines *lines, bool to_newline, const char **text, size_t *n_bytes, bool *too_long,
                             xcoder_error *err) {
  size_t n = 0;
  bool done = false;
  while (!done && lines->n_chunk) {
    const char *from = lines->chunk + lines->at;
    size_t left = lines->n_chunk - lines->at;
    const char *newline = to_newline ? memchr(from, '\n', left) : NULL;
    size_t more = newline ? (size_t)(newline - from) : left;
    if (n + more > lines->max_bytes) {
      *too_long = true;
    } else if (more) {
      xcoder_status status = xci_grow((void **)&lines->buffer, &lines->capacity, n + more, 1, err);
      if (status) return status;
      memcpy(lines->buffer + n, from, more);
    }
    if (!xci_add_size(n, more, &n)) n = SIZE_MAX;
    lines->at += more;
    done = newline != NULL;
    if (done) {
      lines->at++;
    } else {
      xcoder_status status = next_chunk(lines, err);
      if (status) return status;
    }
  }
  *text = lines->buffer ? lines->buffer : "";
  *n_bytes = n;
  return XCODER_OK;
}

xcoder_status xci_lines_next(xci_lines *lines, const char **line, size_t *n_bytes, bool *too_long, xcoder_error *err) {
  *line = NULL;
  *n_bytes = 0;
  *too_long = false;
  if (lines->at == lines->n_chunk && lines->n_chunk) {
    xcoder_status status = next_chunk(lines, err);
    if (status) return status;
  }
  if (lines->n_chunk == 0) return XCODER_OK;
  lines->number++;
  const char *from = lines->chunk + lines->at;
  const char *newline = memchr(from, '\n', lines->n_chunk - lines->at);
  if (!newline || (size_t)(newline - from) > lines->max_bytes)
    return collect(lines, true, line, n_bytes, too_long, err);
  *line = from;
  *n_bytes = (size_t)(newline - from);
  lines->at += *n_bytes + 1;
  return XCODER_OK;
}

xcoder_status xci_lines_rest(xci_lines *lines, const char **text, size_t *n_bytes, bool *too_long, xcoder_error *err) {
  *text = NULL;
  *n_bytes = 0;
  *too_long = false;
  if (lines->n_chunk == 0) return XCODER_OK;
  return collect(lines, false, text, n_bytes, too_long, err);
}
