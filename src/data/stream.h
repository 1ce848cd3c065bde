/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes of a file or of standard input, decompressed: plain, gzip (any number of members), zstd (any number of
 * frames, windows up to a limit), told by the first bytes. */
#ifndef XCI_DATA_STREAM_H
#define XCI_DATA_STREAM_H

#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>

typedef struct xci_stream xci_stream;

/* `path` "-": standard input. zstd frames may have windows of 2^window_log bytes (10 to 31; 0: 27). */
xcoder_status xci_stream_open(const char *path, unsigned window_log, xci_stream **stream, xcoder_error *err);
void xci_stream_close(xci_stream *stream);
/* The next bytes, at least 64 KiB unless the end is near; *n_bytes is 0 at the end. They live until the next call. */
xcoder_status xci_stream_read(xci_stream *stream, const char **bytes, size_t *n_bytes, xcoder_error *err);
const char *xci_stream_path(const xci_stream *stream);
bool xci_stream_is_compressed(const xci_stream *stream);

#endif
