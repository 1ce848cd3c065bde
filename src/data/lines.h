/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of a stream, of bounded length; the last one may lack its newline. A byte order mark in front is skipped. */
#ifndef XCI_DATA_LINES_H
#define XCI_DATA_LINES_H

#include "data/stream.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct xci_lines {
  xci_stream *stream;
  const char *chunk;
  size_t n_chunk, at;
  char *buffer; /* a line or text that spans chunks */
  size_t capacity, max_bytes;
  uint64_t number; /* of the last line, from 1 */
} xci_lines;

/* `window_log` as in xci_stream_open(). */
xcoder_status xci_lines_open(const char *path, size_t max_bytes, unsigned window_log, xci_lines *lines,
                             xcoder_error *err);
void xci_lines_close(xci_lines *lines); /* zeroed allowed */

/* The next line without its newline, not zero-terminated, valid until the next call; NULL at the end. A line longer
 * than max_bytes is read to its end; then *line points to nothing useful, *n_bytes is its length, and *too_long is
 * set. */
xcoder_status xci_lines_next(xci_lines *lines, const char **line, size_t *n_bytes, bool *too_long, xcoder_error *err);
/* All that is left, likewise. */
xcoder_status xci_lines_rest(xci_lines *lines, const char **text, size_t *n_bytes, bool *too_long, xcoder_error *err);

#endif
