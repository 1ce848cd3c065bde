/* SPDX-License-Identifier: Apache-2.0 */
/* Files: read-only maps, whole reads, atomic synced writes, folders, locks, checksums. */
#ifndef XCI_BASE_FILE_H
#define XCI_BASE_FILE_H

#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A read-only map of a regular file (opened O_NONBLOCK|O_CLOEXEC, fstat says regular; devices, FIFOs and folders
 * are refused without blocking). An empty file gives bytes == "" and n_bytes == 0. */
typedef struct xci_map {
  const unsigned char *bytes;
  size_t n_bytes;
  void *base; /* private */
} xci_map;
xcoder_status xci_map_open(const char *path, xci_map *map, xcoder_error *err);
void xci_map_close(xci_map *map);
/* Lets the pages go that were read; they count as memory of the process no longer and come back when read again. */
void xci_map_idle(const xci_map *map);

/* Opens a regular file for reading through its descriptor; anything else is refused without waiting for it. */
xcoder_status xci_open_regular(const char *path, int *descriptor, uint64_t *n_bytes, xcoder_error *err);

/* A whole file, zero-terminated. Refused (XCODER_FORMAT) if larger than max_bytes. */
xcoder_status xci_read_file(const char *path, size_t max_bytes, char **bytes, size_t *n_bytes, xcoder_error *err);

/* Atomic writing: open makes PATH.tmp-PID in the same folder; commit syncs, renames and syncs the folder; abort
 * (also after any error) removes it. Writers of a folder of files (checkpoints) use `durable` = false and sync once
 * through xci_publish_folder(). */
typedef struct xci_writer xci_writer;
xcoder_status xci_writer_open(const char *path, xci_writer **writer, xcoder_error *err);
xcoder_status xci_writer_write(xci_writer *writer, const void *bytes, size_t n_bytes, xcoder_error *err);
xcoder_status xci_writer_commit(xci_writer *writer, xcoder_error *err); /* frees in any case */
void xci_writer_abort(xci_writer *writer);                              /* NULL allowed; frees */

/* Append-only log with the same error reporting (for metrics.csv): opened at `keep_bytes`, truncating what lies
 * behind it. */
xcoder_status xci_append_open(const char *path, uint64_t keep_bytes, xci_writer **writer, xcoder_error *err);
xcoder_status xci_append_sync(xci_writer *writer, uint64_t *n_bytes, xcoder_error *err);
xcoder_status xci_append_close(xci_writer *writer, xcoder_error *err);

/* mkdir -p. */
xcoder_status xci_make_folder(const char *path, xcoder_error *err);
/* fsyncs every file of `temporary` and the folder itself, renames it to `final`, fsyncs the parent. */
xcoder_status xci_publish_folder(const char *temporary, const char *final, xcoder_error *err);
/* Removes a folder and the plain files and folders in it (does not follow links; depth <= 8). Missing is fine. */
xcoder_status xci_remove_folder(const char *path, xcoder_error *err);
bool xci_exists(const char *path);
bool xci_is_folder(const char *path);
/* "a/b" from "a", "b"; freed with xci_free(). */
xcoder_status xci_join_path(const char *folder, const char *name, char **path, xcoder_error *err);
/* Names in a folder, without "." and "..", sorted by strcmp; freed with xci_free_names(). */
xcoder_status xci_list_folder(const char *path, char ***names, size_t *n_names, xcoder_error *err);
void xci_free_names(char **names, size_t n_names);
uint64_t
xci_free_disk_bytes(const char *path); /* of the file system holding path or its nearest parent; UINT64_MAX unknown */

/* XXH3-128. */
typedef struct xci_hash xci_hash;
xcoder_status xci_hash_open(xci_hash **hash, xcoder_error *err);
void xci_hash_add(xci_hash *hash, const void *bytes, size_t n_bytes);
void xci_hash_close(xci_hash *hash, char hex[33]); /* frees; hex may be NULL */
/* Of a regular file, read in pieces: a map would count as memory in use. n_bytes may be NULL. */
xcoder_status xci_hash_file(const char *path, uint64_t *n_bytes, char hex[33], xcoder_error *err);
void xci_hash_bytes(const void *bytes, size_t n_bytes, char hex[33]);

/* SHA-256 in base 64, zero-terminated: the form in which a page names the scripts that may run. */
void xci_sha256_base64(const void *bytes, size_t n_bytes, char out[45]);

#endif
