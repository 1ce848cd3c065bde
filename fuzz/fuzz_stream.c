/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes the glue around zlib and zstd: members, frames, windows, ends within them; and lines that span pieces. */
#include "fuzz_file.h"

#include "data/lines.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

enum { ENOUGH = 8 << 20 }; /* bombs are stopped here */

static void read_stream(const char *path, unsigned window_log) {
  xci_stream *stream = NULL;
  xcoder_error err = {0};
  const char *bytes = NULL;
  size_t n = 0, all = 0;
  xcoder_status status = xci_stream_open(path, window_log, &stream, &err);
  while (!status && all < ENOUGH) {
    status = xci_stream_read(stream, &bytes, &n, &err);
    if (status || n == 0) break;
    volatile char last = bytes[n - 1];
    (void)last;
    all += n;
  }
  if (status && (!err.message[0] || strchr(err.message, '\n'))) abort();
  xci_stream_close(stream);
}

static void read_lines(const char *path) {
  xci_lines lines = {0};
  const char *line = NULL;
  size_t n = 0, all = 0;
  bool too_long = false;
  xcoder_status status = xci_lines_open(path, 100, 0, &lines, NULL);
  while (!status && all < ENOUGH) {
    status = xci_lines_next(&lines, &line, &n, &too_long, NULL);
    if (status || !line) break;
    if (too_long != (n > 100) || (!too_long && memchr(line, '\n', n))) abort();
    all += n + 1;
  }
  xci_lines_close(&lines);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
  const char *path = fuzz_file("input", data, n_bytes);
  read_stream(path, 20);
  read_lines(path);
  return 0;
}
