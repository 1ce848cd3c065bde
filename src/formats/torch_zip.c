/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the directory of a zip file. One pass over the central directory; local headers only have to agree on the
 * name, because torch writes their sizes and checksums as zero. */
#include "formats/torch_zip.h"
#include "base/bytes.h"
#include "base/memory.h"
#include "base/size.h"

#include <stdlib.h>
#include <string.h>
#define ZLIB_CONST /* inputs are const */
#include <zlib.h>

enum {
  END_BYTES = 22, END64_BYTES = 56, LOCATOR_BYTES = 20, CENTRAL_BYTES = 46, LOCAL_BYTES = 30, MAX_COMMENT = 65535,
  MAX_ENTRIES = 1000000, MAX_DIRECTORY_BYTES = 256 << 20, STORED = 0, DEFLATED = 8, FLAG_ENCRYPTED = 1
};
static const uint32_t END_MAGIC = 0x06054b50, END64_MAGIC = 0x06064b50, LOCATOR_MAGIC = 0x07064b50,
                      CENTRAL_MAGIC = 0x02014b50, LOCAL_MAGIC = 0x04034b50;

typedef struct directory_place {
  uint64_t n_entries, n_bytes, offset, limit; /* `limit`: where the end records begin */
} directory_place;

static const char *quote_name(const xci_zip_entry *entry, char out[XCODER_ERROR_BYTES]) {
  return xci_quote(out, XCODER_ERROR_BYTES, entry->name, entry->n_name);
}

static bool find_end(const xci_map *map, size_t *end) {
  if (map->n_bytes < END_BYTES) return false;
  size_t last = map->n_bytes - END_BYTES, first = last - xci_min_size(last, MAX_COMMENT);
  for (size_t at = last + 1; at-- > first;) {
    if (xci_load_u32(map->bytes + at) != END_MAGIC || xci_load_u16(map->bytes + at + 20) != last - at) continue;
    *end = at;
    return true;
  }
  return false;
}

static xcoder_status find_directory(const xci_zip *zip, directory_place *place, xcoder_error *err) {
  const unsigned char *bytes = zip->map->bytes;
  size_t end = 0;
  if (!find_end(zip->map, &end))
    return xci_fail(err, XCODER_FORMAT, "%s: zip file without an end record (truncated?)", zip->path);
  *place = (directory_place){xci_load_u16(bytes + end + 10), xci_load_u32(bytes + end + 12),
                             xci_load_u32(bytes + end + 16), end};
  if (end >= LOCATOR_BYTES && xci_load_u32(bytes + end - LOCATOR_BYTES) == LOCATOR_MAGIC) {
    uint64_t at = xci_load_u64(bytes + end - LOCATOR_BYTES + 8), limit = end - LOCATOR_BYTES;
    if (limit < END64_BYTES || at > limit - END64_BYTES || xci_load_u32(bytes + at) != END64_MAGIC)
      return xci_fail(err, XCODER_FORMAT, "%s: byte %zu: no zip64 end record where its locator says", zip->path,
                      end - LOCATOR_BYTES);
    *place = (directory_place){xci_load_u64(bytes + at + 32), xci_load_u64(bytes + at + 40),
                               xci_load_u64(bytes + at + 48), at};
  }
  if (place->offset > place->limit || place->n_bytes > place->limit - place->offset)
    return xci_fail(err, XCODER_FORMAT, "%s: the zip directory lies outside of the file", zip->path);
  if (place->n_entries > MAX_ENTRIES || place->n_bytes > MAX_DIRECTORY_BYTES)
    return xci_fail(err, XCODER_UNSUPPORTED, "%s: zip directory of %llu entries in %llu bytes, at most %d in %d",
                    zip->path, (unsigned long long)place->n_entries, (unsigned long long)place->n_bytes, MAX_ENTRIES,
                    MAX_DIRECTORY_BYTES);
  if (place->n_entries == 0 || place->n_entries > place->n_bytes / CENTRAL_BYTES)
    return xci_fail(err, XCODER_FORMAT, "%s: zip directory of %llu entries in %llu bytes", zip->path,
                    (unsigned long long)place->n_entries, (unsigned long long)place->n_bytes);
  return XCODER_OK;
}

/* The zip64 extra field holds, in this order, those of the three numbers that are all ones in the entry itself. */
static bool read_zip64(const unsigned char *extra, size_t n, uint64_t *number[3]) {
  while (n >= 4) {
    size_t id = xci_load_u16(extra), size = xci_load_u16(extra + 2);
    extra += 4;
    n -= 4;
    if (size > n) return false;
    for (size_t i = 0, at = 0; id == 1 && i < 3; i++) {
      if (*number[i] != UINT32_MAX) continue;
      if (size - at < 8) return false;
      *number[i] = xci_load_u64(extra + at);
      at += 8;
    }
    extra += size;
    n -= size;
  }
  return true;
}

/* Names are only keys here, but one that climbs out of its folder says what the file is for. */
static bool is_safe_name(const char *name, size_t n) {
  if (n == 0 || name[0] == '/' || memchr(name, '\0', n) || memchr(name, '\\', n)) return false;
  for (size_t first = 0; first < n;) {
    const char *slash = memchr(name + first, '/', n - first);
    size_t end = slash ? (size_t)(slash - name) : n;
    if (end - first == 2 && name[first] == '.' && name[first + 1] == '.') return false;
    first = end + 1;
  }
  return true;
}

/* The payload is found through the local header, which must carry the same name. */
static xcoder_status read_local(const xci_zip *zip, const directory_place *place, xci_zip_entry *entry,
                                xcoder_error *err) {
  char quoted[XCODER_ERROR_BYTES];
  const unsigned char *local = zip->map->bytes + entry->header;
  if (entry->header > place->offset || place->offset - entry->header < LOCAL_BYTES ||
      xci_load_u32(local) != LOCAL_MAGIC)
    return xci_fail(err, XCODER_FORMAT, "%s: entry '%s': no local header at byte %zu", zip->path,
                    quote_name(entry, quoted), entry->header);
  size_t n_name = xci_load_u16(local + 26), n_extra = xci_load_u16(local + 28), room = place->offset - entry->header;
  if (n_name + n_extra > room - LOCAL_BYTES || n_name != entry->n_name ||
      memcmp(local + LOCAL_BYTES, entry->name, n_name) != 0)
    return xci_fail(err, XCODER_FORMAT, "%s: entry '%s': its local header has another name", zip->path,
                    quote_name(entry, quoted));
  entry->payload = entry->header + LOCAL_BYTES + n_name + n_extra;
  if (entry->n_packed > place->offset - entry->payload)
    return xci_fail(err, XCODER_FORMAT, "%s: entry '%s': its %zu bytes go beyond the entries", zip->path,
                    quote_name(entry, quoted), entry->n_packed);
  if (entry->method == STORED && entry->n_packed != entry->n_bytes)
    return xci_fail(err, XCODER_FORMAT, "%s: entry '%s': stored, but %zu bytes for %zu", zip->path,
                    quote_name(entry, quoted), entry->n_packed, entry->n_bytes);
  return XCODER_OK;
}

static xcoder_status read_entry(const xci_zip *zip, const directory_place *place, size_t *at, xci_zip_entry *entry,
                                xcoder_error *err) {
  char quoted[XCODER_ERROR_BYTES];
  const unsigned char *central = zip->directory + *at;
  size_t n = (size_t)place->n_bytes - *at;
  if (n < CENTRAL_BYTES || xci_load_u32(central) != CENTRAL_MAGIC)
    return xci_fail(err, XCODER_FORMAT, "%s: byte %llu: no zip directory entry", zip->path,
                    (unsigned long long)place->offset + *at);
  size_t n_name = xci_load_u16(central + 28), n_extra = xci_load_u16(central + 30);
  size_t n_total = CENTRAL_BYTES + n_name + n_extra + xci_load_u16(central + 32);
  if (n_total > n)
    return xci_fail(err, XCODER_FORMAT, "%s: byte %llu: zip directory entry cut off", zip->path,
                    (unsigned long long)place->offset + *at);
  uint64_t packed = xci_load_u32(central + 20), bytes = xci_load_u32(central + 24), header = xci_load_u32(central + 42);
  uint64_t *numbers[3] = {&bytes, &packed, &header};
  *entry = (xci_zip_entry){.name = (const char *)central + CENTRAL_BYTES, .n_name = n_name,
                           .flags = xci_load_u16(central + 8), .method = xci_load_u16(central + 10),
                           .crc = xci_load_u32(central + 16)};
  if (!read_zip64(central + CENTRAL_BYTES + n_name, n_extra, numbers) || header > place->offset ||
      packed > place->offset || bytes > SIZE_MAX)
    return xci_fail(err, XCODER_FORMAT, "%s: entry '%s': its sizes lie outside of the file", zip->path,
                    quote_name(entry, quoted));
  if (!is_safe_name(entry->name, n_name))
    return xci_fail(err, XCODER_FORMAT, "%s: entry '%s': not a plain relative name", zip->path,
                    quote_name(entry, quoted));
  if (entry->flags & FLAG_ENCRYPTED)
    return xci_fail(err, XCODER_UNSUPPORTED, "%s: entry '%s': encrypted", zip->path, quote_name(entry, quoted));
  entry->n_packed = (size_t)packed;
  entry->n_bytes = (size_t)bytes;
  entry->header = (size_t)header;
  *at += n_total;
  return read_local(zip, place, entry, err);
}

static int compare_headers(const void *a, const void *b) {
  const xci_zip_entry *x = a, *y = b;
  return (x->header > y->header) - (x->header < y->header);
}

static int compare_keys(const char *x, size_t n_x, const char *y, size_t n_y) {
  int order = memcmp(x, y, xci_min_size(n_x, n_y));
  return order ? order : (n_x > n_y) - (n_x < n_y);
}

static int compare_names(const void *a, const void *b) {
  const xci_zip_entry *x = a, *y = b;
  return compare_keys(x->name, x->n_name, y->name, y->n_name);
}

/* No two entries may share bytes (a small file would become gigabytes) or a name. */
static xcoder_status check_entries(xci_zip *zip, xcoder_error *err) {
  char quoted[XCODER_ERROR_BYTES];
  qsort(zip->entry, zip->n_entries, sizeof *zip->entry, compare_headers);
  for (size_t i = 1; i < zip->n_entries; i++) {
    if (zip->entry[i].header < zip->entry[i - 1].payload + zip->entry[i - 1].n_packed)
      return xci_fail(err, XCODER_FORMAT, "%s: entry '%s': overlaps the entry before it", zip->path,
                      quote_name(&zip->entry[i], quoted));
  }
  qsort(zip->entry, zip->n_entries, sizeof *zip->entry, compare_names);
  for (size_t i = 1; i < zip->n_entries; i++) {
    if (compare_names(&zip->entry[i], &zip->entry[i - 1]) == 0)
      return xci_fail(err, XCODER_FORMAT, "%s: entry '%s': there twice", zip->path,
                      quote_name(&zip->entry[i], quoted));
  }
  return XCODER_OK;
}

xcoder_status xci_zip_open(const char *path, const xci_map *map, xci_zip *zip, xcoder_error *err) {
  directory_place place = {0};
  size_t at = 0;
  *zip = (xci_zip){.path = path, .map = map};
  xcoder_status status = find_directory(zip, &place, err);
  if (!status) status = XCI_ALLOC(&zip->directory, (size_t)place.n_bytes, err);
  if (!status) memcpy(zip->directory, map->bytes + place.offset, (size_t)place.n_bytes);
  if (!status) status = XCI_ALLOC(&zip->entry, (size_t)place.n_entries, err);
  for (size_t i = 0; !status && i < place.n_entries; i++) {
    status = read_entry(zip, &place, &at, &zip->entry[i], err);
    if (!status) zip->n_entries++;
  }
  if (!status && at != place.n_bytes)
    status = xci_fail(err, XCODER_FORMAT, "%s: zip directory of %llu bytes, its entries have %zu", path,
                      (unsigned long long)place.n_bytes, at);
  if (!status) {
    const char *slash = memchr(zip->entry[0].name, '/', zip->entry[0].n_name);
    zip->root = zip->entry[0].name;
    zip->n_root = slash ? (size_t)(slash - zip->root) : 0;
    status = check_entries(zip, err);
  }
  if (status) xci_zip_close(zip);
  return status;
}

void xci_zip_close(xci_zip *zip) {
  xci_free(zip->entry);
  xci_free(zip->directory);
  *zip = (xci_zip){0};
}

/* Order of an entry against ROOT/NAME. */
static int compare_entry(const xci_zip *zip, const xci_zip_entry *entry, const char *name, size_t n_name) {
  size_t n = zip->n_root;
  int order = compare_keys(entry->name, xci_min_size(entry->n_name, n), zip->root, n);
  if (order || entry->n_name == n) return order ? order : -1;
  if (entry->name[n] != '/') return (unsigned char)entry->name[n] < '/' ? -1 : 1;
  return compare_keys(entry->name + n + 1, entry->n_name - n - 1, name, n_name);
}

const xci_zip_entry *xci_zip_find(const xci_zip *zip, const char *name, size_t n_name) {
  size_t low = 0, high = zip->n_entries;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    int order = compare_entry(zip, &zip->entry[middle], name, n_name);
    if (!order) return &zip->entry[middle];
    if (order < 0) low = middle + 1;
    else high = middle;
  }
  return NULL;
}

static bool inflate_entry(const unsigned char *packed, size_t n_packed, unsigned char *bytes, size_t n_bytes) {
  z_stream stream = {0};
  if (n_packed > UINT32_MAX || n_bytes > UINT32_MAX || inflateInit2(&stream, -MAX_WBITS) != Z_OK) return false;
  stream.next_in = packed;
  stream.avail_in = (uInt)n_packed;
  stream.next_out = bytes;
  stream.avail_out = (uInt)n_bytes;
  bool good = inflate(&stream, Z_FINISH) == Z_STREAM_END && stream.avail_out == 0 && stream.avail_in == 0;
  inflateEnd(&stream);
  return good;
}

xcoder_status xci_zip_read(const xci_zip *zip, const xci_zip_entry *entry, size_t max_bytes, unsigned char **bytes,
                           xcoder_error *err) {
  char quoted[XCODER_ERROR_BYTES];
  *bytes = NULL;
  if (entry->method != STORED && entry->method != DEFLATED)
    return xci_fail(err, XCODER_UNSUPPORTED, "%s: entry '%s': compressed by method %u", zip->path,
                    quote_name(entry, quoted), entry->method);
  if (entry->n_bytes > max_bytes)
    return xci_fail(err, XCODER_UNSUPPORTED, "%s: entry '%s': %zu bytes, at most %zu are read", zip->path,
                    quote_name(entry, quoted), entry->n_bytes, max_bytes);
  xcoder_status status = XCI_ALLOC(bytes, entry->n_bytes, err);
  if (status) return status;
  const unsigned char *packed = zip->map->bytes + entry->payload;
  bool good = true;
  if (entry->method == DEFLATED) good = inflate_entry(packed, entry->n_packed, *bytes, entry->n_bytes);
  else memcpy(*bytes, packed, entry->n_bytes);
  if (!good)
    status = xci_fail(err, XCODER_FORMAT, "%s: entry '%s': not the deflate stream of %zu bytes that the directory says",
                      zip->path, quote_name(entry, quoted), entry->n_bytes);
  else if (crc32(0, *bytes, (uInt)entry->n_bytes) != entry->crc)
    status = xci_fail(err, XCODER_FORMAT, "%s: entry '%s': wrong checksum", zip->path, quote_name(entry, quoted));
  if (!status) return XCODER_OK;
  xci_free(*bytes);
  *bytes = NULL;
  return status;
}

xcoder_status xci_zip_view(const xci_zip *zip, const xci_zip_entry *entry, const unsigned char **bytes,
                           xcoder_error *err) {
  char quoted[XCODER_ERROR_BYTES];
  if (entry->method != STORED)
    return xci_fail(err, XCODER_UNSUPPORTED, "%s: entry '%s': compressed by method %u, only stored tensors are read",
                    zip->path, quote_name(entry, quoted), entry->method);
  *bytes = zip->map->bytes + entry->payload;
  return XCODER_OK;
}
