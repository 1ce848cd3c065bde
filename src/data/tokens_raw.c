/* SPDX-License-Identifier: Apache-2.0 */
/* Token files of other programs: plain 16- and 32-bit numbers, and Megatron's pair of .idx and .bin. */
#include "base/bytes.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/size.h"
#include "base/text.h"
#include "data/tokens.h"
#include <string.h>

enum { HEADER_BYTES = 34 };

static xcoder_status load_values(const char *path, const unsigned char *from, size_t width, size_t n, uint32_t *to,
                                 xcoder_error *err) {
  for (size_t i = 0; i < n; i++) {
    to[i] = width == 2 ? xci_load_u16(from + 2 * i) : xci_load_u32(from + 4 * i);
    if (to[i] > INT32_MAX)
      return xci_fail(err, XCODER_FORMAT, "%s: %zu bytes into a sequence: no token id", path,
                      i * width);
  }
  return XCODER_OK;
}

xcoder_status xci_tokens_load_raw(const char *path, size_t width, size_t length, xcoder_tokens **tokens,
                                  xcoder_error *err) {
  xci_map map = {0};
  uint32_t *ids = NULL;
  xcoder_status status = xci_map_open(path, &map, err);
  if (status) return status;
  size_t n_sequences = length ? map.n_bytes / width / length : 0;
  if (map.n_bytes % width)
    status = xci_fail(err, XCODER_FORMAT, "%s: %zu bytes, no multiple of %zu", path, map.n_bytes, width);
  else if (n_sequences == 0)
    status = xci_fail(err, XCODER_MISMATCH, "%s: %zu tokens, less than one sequence of %zu", path,
                      map.n_bytes / width, length);
  if (!status) status = XCI_ALLOC(&ids, n_sequences * length, err);
  if (!status) status = load_values(path, map.bytes, width, n_sequences * length, ids, err);
  if (!status) status = xci_tokens_take_equal(&ids, n_sequences, length, tokens, err);
  xci_free(ids);
  xci_map_close(&map);
  return status;
}

/* The parts of an index whose bounds have been checked. */
typedef struct index_parts {
  const unsigned char *sizes, *pointers;
  size_t n, width;
} index_parts;

static xcoder_status read_index(const char *path, const xci_map *map, index_parts *parts, xcoder_error *err) {
  if (map->n_bytes < HEADER_BYTES || memcmp(map->bytes, "MMIDIDX\0\0", 9) != 0)
    return xci_fail(err, XCODER_FORMAT, "%s: no Megatron index (MMIDIDX)", path);
  if (xci_load_u64(map->bytes + 9) != 1)
    return xci_fail(err, XCODER_FORMAT, "%s: version %llu of the index, expected 1", path,
                    (unsigned long long)xci_load_u64(map->bytes + 9));
  unsigned code = map->bytes[17];
  if (code != 8 && code != 4)
    return xci_fail(err, XCODER_FORMAT, "%s: type code %u, expected 8 (16 bits) or 4 (32 bits)", path, code);
  uint64_t n = xci_load_u64(map->bytes + 18), n_documents = xci_load_u64(map->bytes + 26);
  size_t left = map->n_bytes - HEADER_BYTES;
  if (n > left / 12 || n_documents > left / 8 || n * 12 + n_documents * 8 != left)
    return xci_fail(err, XCODER_FORMAT, "%s: %llu sequences and %llu documents do not fit the %zu bytes of the file",
                    path, (unsigned long long)n, (unsigned long long)n_documents, map->n_bytes);
  *parts = (index_parts){map->bytes + HEADER_BYTES, map->bytes + HEADER_BYTES + n * 4, (size_t)n, code == 8 ? 2 : 4};
  return XCODER_OK;
}

/* Cuts every row by itself if `equal`, else the stream of all rows; the remainders are dropped. */
static xcoder_status check_index(const char *path, const index_parts *p, size_t n_bytes, bool *equal, size_t *total,
                                 xcoder_error *err) {
  *equal = true;
  *total = 0;
  for (size_t i = 0; i < p->n; i++) {
    uint32_t size = xci_load_u32(p->sizes + 4 * i);
    uint64_t at = xci_load_u64(p->pointers + 8 * i);
    if (size > INT32_MAX || at > n_bytes || (uint64_t)size * p->width > n_bytes - at || at % p->width)
      return xci_fail(err, XCODER_FORMAT, "%s: sequence %zu lies outside the %zu bytes of the .bin file", path, i,
                      n_bytes);
    if (size != xci_load_u32(p->sizes)) *equal = false;
    if (!xci_add_size(*total, size, total)) return xci_fail(err, XCODER_FORMAT, "%s: too many tokens", path);
  }
  return *total > n_bytes / p->width
           ? xci_fail(err, XCODER_FORMAT, "%s: %zu tokens, the .bin file has %zu", path, *total, n_bytes / p->width)
           : XCODER_OK;
}

static xcoder_status load_rows(const char *path, const index_parts *p, const xci_map *bin, size_t length,
                               xcoder_tokens **tokens, xcoder_error *err) {
  bool equal = false;
  size_t total = 0, n = 0;
  uint32_t *ids = NULL;
  xcoder_status status = check_index(path, p, bin->n_bytes, &equal, &total, err);
  if (status) return status;
  size_t first = p->n ? xci_load_u32(p->sizes) : 0;
  equal = equal && length && first >= length;
  size_t n_sequences = !length ? 0 : equal ? first / length * p->n : total / length;
  if (n_sequences == 0)
    return xci_fail(err, XCODER_MISMATCH, "%s: %zu tokens, less than one sequence of %zu", path, total, length);
  status = XCI_ALLOC(&ids, total, err);
  for (size_t i = 0; !status && i < p->n; i++) {
    size_t size = equal ? first / length * length : xci_load_u32(p->sizes + 4 * i);
    status = load_values(path, bin->bytes + xci_load_u64(p->pointers + 8 * i), p->width, size, ids + n, err);
    n += size;
  }
  if (!status) status = xci_tokens_take_equal(&ids, n_sequences, length, tokens, err);
  xci_free(ids);
  return status;
}

xcoder_status xci_tokens_load_megatron(const char *path, size_t length, xcoder_tokens **tokens, xcoder_error *err) {
  xci_map index = {0}, bin = {0};
  index_parts parts = {0};
  xci_text name = {0};
  xci_text_append(&name, path, strlen(path) - 4);
  xci_text_add(&name, ".bin");
  xcoder_status status = xci_text_status(&name, err);
  if (!status) status = xci_map_open(path, &index, err);
  if (!status) status = read_index(path, &index, &parts, err);
  if (!status) status = xci_map_open(name.bytes, &bin, err);
  if (!status) status = load_rows(path, &parts, &bin, length, tokens, err);
  xci_text_clear(&name);
  if (index.bytes) xci_map_close(&index);
  if (bin.bytes) xci_map_close(&bin);
  return status;
}
