/* SPDX-License-Identifier: Apache-2.0 */
/* Megatron's token files: .bin beside an .idx, of the present form (MMIDIDX) and of the older one (TNTIDX). */
#include "base/bytes.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/size.h"
#include "data/tokens.h"
#include <string.h>

enum { MMAP_HEADER_BYTES = 34, INDEXED_HEADER_BYTES = 56 };

/* The parts of an index whose bounds have been checked. */
typedef struct index_parts {
  const char *path;
  xci_token_form form;
  xci_dtype dtype;
  const unsigned char *sizes, *places, *documents; /* i32 and bytes as i64, or i64 and values as i64; i64 */
  size_t n, n_documents, width;
} index_parts;

static xcoder_status choose_dtype(index_parts *parts, uint64_t code, xcoder_error *err) {
  static const xci_dtype dtypes[] = {XCI_OTHER, XCI_U8, XCI_I8, XCI_I16, XCI_I32, XCI_I64, XCI_F32, XCI_F64, XCI_U16};
  parts->dtype = code < sizeof dtypes / sizeof *dtypes ? dtypes[code] : XCI_OTHER;
  if (parts->dtype < XCI_I64 || parts->dtype > XCI_U8)
    return xci_fail(err, XCODER_FORMAT, "%s: type code %llu, expected one of integers (8: 16 bits, 4: 32 bits)",
                    parts->path, (unsigned long long)code);
  parts->width = xci_dtype_bytes(parts->dtype);
  return XCODER_OK;
}

static xcoder_status check_version(const char *path, uint64_t version, xcoder_error *err) {
  if (version == 1) return XCODER_OK;
  return xci_fail(err, XCODER_UNSUPPORTED, "%s: version %llu of the index, expected 1", path,
                  (unsigned long long)version);
}

static xcoder_status fail_counts(const index_parts *parts, uint64_t n, uint64_t n_documents, size_t n_bytes,
                                 xcoder_error *err) {
  return xci_fail(err, XCODER_FORMAT, "%s: %llu sequences and %llu documents do not fit the %zu bytes of the file",
                  parts->path, (unsigned long long)n, (unsigned long long)n_documents, n_bytes);
}

/* Magic, version, type, two counts; i32 sizes[n], i64 places[n], i64 documents. Nothing of it is aligned. */
static xcoder_status read_mmap_index(const xci_map *map, index_parts *parts, xcoder_error *err) {
  if (map->n_bytes < MMAP_HEADER_BYTES || memcmp(map->bytes, "MMIDIDX\0\0", 9) != 0)
    return xci_fail(err, XCODER_FORMAT, "%s: no Megatron index (MMIDIDX, or TNTIDX, and its header)", parts->path);
  xcoder_status status = check_version(parts->path, xci_load_u64(map->bytes + 9), err);
  if (!status) status = choose_dtype(parts, map->bytes[17], err);
  if (status) return status;
  uint64_t n = xci_load_u64(map->bytes + 18), n_documents = xci_load_u64(map->bytes + 26);
  size_t left = map->n_bytes - MMAP_HEADER_BYTES;
  if (n > left / 12 || n_documents > left / 8 || n * 12 + n_documents * 8 != left)
    return fail_counts(parts, n, n_documents, map->n_bytes, err);
  parts->n = (size_t)n;
  parts->n_documents = (size_t)n_documents;
  parts->sizes = map->bytes + MMAP_HEADER_BYTES;
  parts->places = parts->sizes + n * 4;
  parts->documents = parts->places + n * 8;
  return XCODER_OK;
}

/* Magic, version, type, width, three counts; i64 dimensions[n + 1], places[n + 1], sizes[n], documents. */
static xcoder_status read_old_index(const xci_map *map, index_parts *parts, xcoder_error *err) {
  if (map->n_bytes < INDEXED_HEADER_BYTES)
    return xci_fail(err, XCODER_FORMAT, "%s: %zu bytes, less than the header of an index", parts->path, map->n_bytes);
  xcoder_status status = check_version(parts->path, xci_load_u64(map->bytes + 8), err);
  if (!status) status = choose_dtype(parts, xci_load_u64(map->bytes + 16), err);
  if (status) return status;
  if (xci_load_u64(map->bytes + 24) != parts->width)
    return xci_fail(err, XCODER_FORMAT, "%s: values of %llu bytes, the type has %zu", parts->path,
                    (unsigned long long)xci_load_u64(map->bytes + 24), parts->width);
  uint64_t n = xci_load_u64(map->bytes + 32), n_sizes = xci_load_u64(map->bytes + 40);
  uint64_t n_documents = xci_load_u64(map->bytes + 48);
  size_t left = (map->n_bytes - INDEXED_HEADER_BYTES) / 8;
  if (n_sizes != n)
    return xci_fail(err, XCODER_FORMAT, "%s: %llu sizes for %llu sequences, expected one for each", parts->path,
                    (unsigned long long)n_sizes, (unsigned long long)n);
  if (map->n_bytes % 8 || n > left / 3 || n_documents > left || 2 * (n + 1) + n + n_documents != left)
    return fail_counts(parts, n, n_documents, map->n_bytes, err);
  parts->n = (size_t)n;
  parts->n_documents = (size_t)n_documents;
  const unsigned char *dimensions = map->bytes + INDEXED_HEADER_BYTES;
  parts->places = dimensions + 8 * (n + 1);
  parts->sizes = parts->places + 8 * (n + 1);
  parts->documents = parts->sizes + 8 * n;
  for (size_t i = 0; i <= parts->n; i++)
    if (xci_load_u64(dimensions + 8 * i) != i)
      return xci_fail(err, XCODER_FORMAT, "%s: sequence %zu has not one dimension", parts->path, i ? i - 1 : 0);
  return XCODER_OK;
}

static uint64_t size_of(const index_parts *p, size_t i) {
  return p->form == XCI_TOKENS_MEGATRON ? xci_load_u32(p->sizes + 4 * i) : xci_load_u64(p->sizes + 8 * i);
}

/* In bytes of the .bin; UINT64_MAX if that overflows. */
static uint64_t place_of(const index_parts *p, size_t i) {
  uint64_t place = xci_load_u64(p->places + 8 * i), bytes = 0;
  if (p->form == XCI_TOKENS_MEGATRON) return place;
  return xci_mul_u64(place, p->width, &bytes) ? bytes : UINT64_MAX;
}

/* Sequences lie behind one another in the .bin, and documents begin at sequences, in order. */
static xcoder_status check_index(const index_parts *p, size_t n_bytes, bool *equal, size_t *total, xcoder_error *err) {
  uint64_t end = 0, before = 0;
  *equal = true;
  *total = 0;
  for (size_t i = 0; i < p->n; i++) {
    uint64_t size = size_of(p, i), at = place_of(p, i);
    if (size > INT32_MAX || at > n_bytes || size * p->width > n_bytes - at || at % p->width)
      return xci_fail(err, XCODER_FORMAT, "%s: sequence %zu lies outside the %zu bytes of the .bin file", p->path, i,
                      n_bytes);
    if (at < end)
      return xci_fail(err, XCODER_FORMAT, "%s: sequence %zu begins at byte %llu, within the one before", p->path, i,
                      (unsigned long long)at);
    end = at + size * p->width;
    if (size != size_of(p, 0)) *equal = false;
    *total += (size_t)size; /* no overflow: they do not overlap */
  }
  for (size_t i = 0; i < p->n_documents; i++) {
    uint64_t first = xci_load_u64(p->documents + 8 * i);
    if (first > p->n || first < before || (i == 0 && first != 0) || (i + 1 == p->n_documents && first != p->n))
      return xci_fail(err, XCODER_FORMAT, "%s: document %zu begins at sequence %llu of %zu, expected 0 to all, in "
                      "order", p->path, i, (unsigned long long)first, p->n);
    before = first;
  }
  return XCODER_OK;
}

/* One sequence after the other, each cut to `keep` tokens, until there are `wanted`. */
static xcoder_status join_sequences(const index_parts *p, const xci_map *bin, size_t keep, size_t wanted,
                                    uint32_t *ids, xcoder_error *err) {
  xcoder_status status = XCODER_OK;
  const xci_token_array array = {.path = p->path, .bytes = bin->bytes, .dtype = p->dtype};
  size_t n = 0;
  for (size_t i = 0; !status && i < p->n && n < wanted; i++) {
    size_t size = xci_min_size(xci_min_size((size_t)size_of(p, i), keep), wanted - n);
    status = xci_token_ids(&array, (size_t)place_of(p, i) / p->width, size, ids + n, err);
    n += size;
  }
  return status;
}

/* Rows of equal length are cut one by one (each has whole sequences), others as the stream that they make. The
 * remainders are dropped. */
static xcoder_status load_packed(const index_parts *p, const xci_map *bin, const xcoder_tokens_options *options,
                                 xcoder_tokens **tokens, xcoder_error *err) {
  bool equal = false;
  size_t total = 0, length = options->length;
  uint32_t *ids = NULL;
  xcoder_status status = check_index(p, bin->n_bytes, &equal, &total, err);
  if (status) return status;
  size_t first = p->n ? (size_t)size_of(p, 0) : 0;
  equal = equal && length && first >= length;
  size_t keep = equal ? first / length * length : SIZE_MAX;
  size_t n_sequences = !length ? 0 : equal ? first / length * p->n : total / length;
  if (n_sequences == 0)
    return xci_fail(err, XCODER_MISMATCH, "%s: %zu tokens, less than one sequence of %zu", p->path, total, length);
  if (options->max_tokens && options->max_tokens / length < n_sequences)
    n_sequences = (size_t)(options->max_tokens / length);
  if (n_sequences == 0)
    return xci_fail(err, XCODER_USAGE, "%llu tokens are less than one sequence of %zu",
                    (unsigned long long)options->max_tokens, length);
  status = XCI_ALLOC(&ids, n_sequences * length, err);
  if (!status) status = join_sequences(p, bin, keep, n_sequences * length, ids, err);
  if (!status) status = xci_tokens_take_equal(&ids, n_sequences, length, tokens, err);
  xci_free(ids);
  return status;
}

xcoder_status xci_tokens_load_indexed(const char *path, xci_token_form form, const xcoder_tokens_options *options,
                                      xcoder_tokens **tokens, xcoder_error *err) {
  xci_map index = {0}, bin = {0};
  char *index_path = NULL, *bin_path = NULL;
  size_t n = strlen(path);
  bool is_bin = n > 4 && strcmp(path + n - 4, ".bin") == 0;
  xcoder_status status =
    is_bin ? xci_token_file_beside(path, ".idx", &index_path, err) : xci_copy_text(path, &index_path, err);
  if (!status) status = xci_token_file_beside(path, ".bin", &bin_path, err);
  index_parts parts = {.path = index_path, .form = form};
  if (!status) status = xci_map_open(index_path, &index, err);
  if (!status)
    status = form == XCI_TOKENS_MEGATRON ? read_mmap_index(&index, &parts, err) : read_old_index(&index, &parts, err);
  if (!status) status = xci_map_open(bin_path, &bin, err);
  if (!status) status = load_packed(&parts, &bin, options, tokens, err);
  if (index.bytes) xci_map_close(&index);
  if (bin.bytes) xci_map_close(&bin);
  xci_free(index_path);
  xci_free(bin_path);
  return status;
}
