/* SPDX-License-Identifier: Apache-2.0 */
/* Zip files and pickles put together byte by byte, right or wrong in one place. */
#ifndef TESTS_FORMATS_TORCH_FORGE_H
#define TESTS_FORMATS_TORCH_FORGE_H

#include "base/bytes.h"
#include <stdlib.h>
#include <string.h>
#define ZLIB_CONST /* inputs are const */
#include <zlib.h>

typedef struct forged {
  unsigned char bytes[1 << 18];
  size_t n;
} forged;

typedef struct forged_entry {
  const char *name, *local_name; /* local_name NULL: the same */
  const void *bytes;
  size_t n;
  unsigned method, flags, spoiled_crc;
} forged_entry;

static inline void forge(forged *f, const void *bytes, size_t n) {
  if (n > sizeof f->bytes - f->n) abort();
  if (n) memcpy(f->bytes + f->n, bytes, n);
  f->n += n;
}

static inline void forge_number(forged *f, size_t width, uint64_t number) {
  unsigned char b[8];
  xci_store_u64(b, number);
  forge(f, b, width);
}

/* Writes the entries, the directory (whose place goes to `central`) and the end record. Method 8 deflates. */
static inline void forge_zip(forged *f, const forged_entry *entry, size_t n_entries, size_t *central) {
  size_t at[16], packed_bytes[16];
  static unsigned char packed[1 << 17];
  f->n = 0;
  for (size_t i = 0; i < n_entries; i++) {
    const char *name = entry[i].local_name ? entry[i].local_name : entry[i].name;
    const void *bytes = entry[i].bytes;
    packed_bytes[i] = entry[i].n;
    if (entry[i].method == 8) {
      z_stream stream = {0};
      if (deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK) abort();
      stream.next_in = entry[i].bytes;
      stream.avail_in = (uInt)entry[i].n;
      stream.next_out = packed;
      stream.avail_out = sizeof packed;
      if (deflate(&stream, Z_FINISH) != Z_STREAM_END) abort();
      packed_bytes[i] = stream.total_out;
      deflateEnd(&stream);
      bytes = packed;
    }
    at[i] = f->n;
    forge(f, "PK\x03\x04\0\0\0\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 26);
    forge_number(f, 2, strlen(name));
    forge_number(f, 2, 0);
    forge(f, name, strlen(name));
    forge(f, bytes, packed_bytes[i]);
  }
  *central = f->n;
  for (size_t i = 0; i < n_entries; i++) {
    forge(f, "PK\x01\x02\0\0\0\0", 8);
    forge_number(f, 2, entry[i].flags);
    forge_number(f, 2, entry[i].method);
    forge_number(f, 4, 0);
    forge_number(f, 4, crc32(0, entry[i].bytes, (uInt)entry[i].n) ^ entry[i].spoiled_crc);
    forge_number(f, 4, packed_bytes[i]);
    forge_number(f, 4, entry[i].n);
    forge_number(f, 2, strlen(entry[i].name));
    forge(f, "\0\0\0\0\0\0\0\0\0\0\0\0", 12);
    forge_number(f, 4, at[i]);
    forge(f, entry[i].name, strlen(entry[i].name));
  }
  size_t end = f->n;
  forge(f, "PK\x05\x06\0\0\0\0", 8);
  forge_number(f, 2, n_entries);
  forge_number(f, 2, n_entries);
  forge_number(f, 4, end - *central);
  forge_number(f, 4, *central);
  forge_number(f, 2, 0);
}

/* Parts of a pickle. */
static inline void forge_text(forged *f, const char *text) {
  forge(f, "X", 1);
  forge_number(f, 4, strlen(text));
  forge(f, text, strlen(text));
}

static inline void forge_long(forged *f, int64_t number) {
  forge(f, "\x8a\x08", 2);
  forge_number(f, 8, (uint64_t)number);
}

typedef struct forged_tensor {
  const char *storage_class, *key;
  int64_t numel, offset, size[2], stride[2];
  int rank, stride_rank;
} forged_tensor;

/* A tensor of two dimensions at most; a rank beyond 2 repeats the last size. */
static inline void forge_tensor(forged *f, const forged_tensor *t) {
  static const char v2[] = "ctorch._utils\n_rebuild_tensor_v2\n((", storage[] = "ctorch\n";
  forge(f, v2, sizeof v2 - 1);
  forge_text(f, "storage");
  forge(f, storage, sizeof storage - 1);
  forge(f, t->storage_class, strlen(t->storage_class));
  forge(f, "\n", 1);
  forge_text(f, t->key);
  forge_text(f, "cpu");
  forge_long(f, t->numel);
  forge(f, "tQ", 2);
  forge_long(f, t->offset);
  forge(f, "(", 1);
  for (int i = 0; i < t->rank; i++) forge_long(f, t->size[i < 2 ? i : 1]);
  forge(f, "t(", 2);
  for (int i = 0; i < t->stride_rank; i++) forge_long(f, t->stride[i < 2 ? i : 1]);
  forge(f, "t\x89", 2);
  forge(f, "ccollections\nOrderedDict\n)RtR", 29);
}

#endif
