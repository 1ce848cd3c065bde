/* SPDX-License-Identifier: Apache-2.0 */
/* The run directory: lock, atomic files, checksums. */
#ifndef CROSSCODER_RUN_H
#define CROSSCODER_RUN_H

#include <crosscoder/status.h>
#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct xcoder_run xcoder_run;

/* Makes `path` if it is missing, checks that it can be written, removes left-over temporary files and locks it
 * until xcoder_run_close(). Errors: XCODER_LOCKED naming the other process, XCODER_IO. */
XCODER_API xcoder_status xcoder_run_open(const char *path, xcoder_run **run, xcoder_error *err);
XCODER_API void xcoder_run_close(xcoder_run *run);

/* Writes a file (created by temporary file, fsync, rename, fsync of the folder; folders in between are made). */
XCODER_API xcoder_status xcoder_write_file(const char *path, const void *bytes, size_t n_bytes, xcoder_error *err);
/* Reads a whole regular file, zero-terminated; at most `max_bytes` (0: 64 MiB). Freed with xcoder_free(). */
XCODER_API xcoder_status xcoder_read_file(const char *path, size_t max_bytes, char **bytes, size_t *n_bytes,
                                          xcoder_error *err);
/* What a safetensors or .npy file holds, as JSON text ({"kind", "tensors": [{"name", "dtype", "bytes", "shape"}]} or
 * {"kind", "dtype", "bytes", "shape"}), after every check of its header. Freed with xcoder_free(). */
XCODER_API xcoder_status xcoder_describe_file(const char *path, char **json, xcoder_error *err);
/* XXH3-128 of a file's bytes as 32 hex digits. */
XCODER_API xcoder_status xcoder_hash_file(const char *path, char hex[33], xcoder_error *err);

#ifdef __cplusplus
}
#endif
#endif
