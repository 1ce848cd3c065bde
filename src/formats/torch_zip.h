/* SPDX-License-Identifier: Apache-2.0 */
/* The zip container of torch.save: a directory of byte ranges in a map; nothing is ever extracted to disk. */
#ifndef XCI_FORMATS_TORCH_ZIP_H
#define XCI_FORMATS_TORCH_ZIP_H

#include "base/file.h"

typedef struct xci_zip_entry {
  const char *name; /* in the copy of the directory, not zero-terminated */
  size_t n_name;
  unsigned method, flags;
  uint32_t crc;
  size_t n_packed, n_bytes;
  size_t header, payload; /* offsets in the file */
} xci_zip_entry;

typedef struct xci_zip {
  const char *path;
  const xci_map *map;
  unsigned char *directory; /* copied: a mapped file can change between two looks */
  xci_zip_entry *entry;     /* sorted by name */
  size_t n_entries;
  const char *root; /* of the first entry: what is before its first slash */
  size_t n_root;
} xci_zip;

/* Checks the whole directory: ranges, names, overlaps. `path` and `map` must outlive it. */
xcoder_status xci_zip_open(const char *path, const xci_map *map, xci_zip *zip, xcoder_error *err);
void xci_zip_close(xci_zip *zip); /* zeroed allowed */
/* The entry ROOT/NAME, or NULL. */
const xci_zip_entry *xci_zip_find(const xci_zip *zip, const char *name, size_t n_name);
/* An owned copy of a stored or deflated entry of at most max_bytes, its checksum compared. */
xcoder_status xci_zip_read(const xci_zip *zip, const xci_zip_entry *entry, size_t max_bytes, unsigned char **bytes,
                           xcoder_error *err);
/* A stored entry in the map. */
xcoder_status xci_zip_view(const xci_zip *zip, const xci_zip_entry *entry, const unsigned char **bytes,
                           xcoder_error *err);

#endif
