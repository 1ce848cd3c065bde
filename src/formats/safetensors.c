/* SPDX-License-Identifier: Apache-2.0 */
/* Reading safetensors: the header is checked whole before anybody sees a tensor. */
#include "formats/safetensors.h"
#include "base/bytes.h"
#include "base/memory.h"
#include "base/size.h"
#include "formats/json.h"

#include <stdlib.h>
#include <string.h>

enum { LENGTH_BYTES = 8, MAX_HEADER_BYTES = 100000000, MAX_TENSORS = 1000000 };

struct xci_safetensors {
  xci_map map;
  char *path;
  char *names;              /* all names, each zero-terminated */
  json_t *metadata;         /* object of texts, or NULL */
  size_t n_tensors;
  xci_tensor *tensors;      /* in order of their bytes */
  const xci_tensor **named; /* in order of their names */
};

/* Element types of the format and their bits; those that we do not compute with are XCI_OTHER. */
static const struct {
  const char *name;
  xci_dtype dtype;
  unsigned bits;
} dtypes[] = {
    {"F32", XCI_F32, 32}, {"F16", XCI_F16, 16}, {"BF16", XCI_BF16, 16}, {"F64", XCI_F64, 64}, {"I64", XCI_I64, 64},
    {"I32", XCI_I32, 32}, {"I16", XCI_I16, 16}, {"I8", XCI_I8, 8},      {"U64", XCI_U64, 64}, {"U32", XCI_U32, 32},
    {"U16", XCI_U16, 16}, {"U8", XCI_U8, 8},    {"BOOL", XCI_BOOL, 8},  {"C64", XCI_OTHER, 64},
    {"F4", XCI_OTHER, 4}, {"F6_E2M3", XCI_OTHER, 6}, {"F6_E3M2", XCI_OTHER, 6}, {"F8_E5M2", XCI_OTHER, 8},
    {"F8_E4M3", XCI_OTHER, 8}, {"F8_E8M0", XCI_OTHER, 8}, {"F8_E4M3FNUZ", XCI_OTHER, 8},
    {"F8_E5M2FNUZ", XCI_OTHER, 8},
};

/* Fails with "PATH: tensor 'NAME': ..."; the name is hostile text. */
#define FAIL_TENSOR(file, tensor_name, status, err, format, ...)                                        \
  (xci_quote(quoted, sizeof quoted, (tensor_name), strlen(tensor_name)),                                \
   xci_fail((err), (status), "%s: tensor '%s': " format, (file)->path, quoted, __VA_ARGS__))

static xcoder_status read_header(const xci_safetensors *file, json_t **header, size_t *data_start, xcoder_error *err) {
  const size_t n = file->map.n_bytes;
  if (n < LENGTH_BYTES)
    return xci_fail(err, XCODER_FORMAT, "%s: %zu bytes, a safetensors file has at least 8", file->path, n);
  uint64_t length = xci_load_u64(file->map.bytes);
  if (length > MAX_HEADER_BYTES)
    return xci_fail(err, XCODER_FORMAT, "%s: byte 0: header of %llu bytes, at most 100000000 are allowed", file->path,
                    (unsigned long long)length);
  if (length > n - LENGTH_BYTES)
    return xci_fail(err, XCODER_FORMAT, "%s: byte 0: header of %llu bytes, but only %zu follow", file->path,
                    (unsigned long long)length, n - LENGTH_BYTES);
  /* A copy, because the parser looks twice and a mapped file can change in between. */
  char *copy = NULL;
  xcoder_status status = XCI_ALLOC(&copy, (size_t)length, err);
  if (status) return status;
  memcpy(copy, file->map.bytes + LENGTH_BYTES, (size_t)length);
  status = xci_json_parse(copy, (size_t)length, file->path, 0, header, err);
  xci_free(copy);
  if (!status && !json_is_object(*header))
    status = xci_fail(err, XCODER_FORMAT, "%s: byte 8: header is not a JSON object", file->path);
  *data_start = LENGTH_BYTES + (size_t)length;
  return status;
}

static xcoder_status read_metadata(xci_safetensors *file, json_t *metadata, xcoder_error *err) {
  const char *key;
  json_t *value;
  if (json_is_null(metadata)) return XCODER_OK;
  if (!json_is_object(metadata))
    return xci_fail(err, XCODER_FORMAT, "%s: __metadata__ is not a JSON object", file->path);
  json_object_foreach(metadata, key, value) {
    if (json_is_string(value)) continue;
    char quoted[XCODER_ERROR_BYTES];
    return xci_fail(err, XCODER_FORMAT, "%s: __metadata__ '%s' is not a text", file->path,
                    xci_quote(quoted, sizeof quoted, key, strlen(key)));
  }
  file->metadata = json_incref(metadata);
  return XCODER_OK;
}

/* A size in a header: an integer of 0 or more that fits size_t. */
static bool read_size(const json_t *value, size_t *out) {
  if (!json_is_integer(value) || json_integer_value(value) < 0) return false;
  if ((unsigned long long)json_integer_value(value) > SIZE_MAX) return false;
  *out = (size_t)json_integer_value(value);
  return true;
}

static xcoder_status read_dtype(const xci_safetensors *file, const json_t *entry, xci_tensor *tensor, unsigned *bits,
                                xcoder_error *err) {
  char quoted[XCODER_ERROR_BYTES], shown[XCODER_ERROR_BYTES];
  const json_t *dtype = json_object_get(entry, "dtype");
  if (!json_is_string(dtype))
    return FAIL_TENSOR(file, tensor->name, XCODER_FORMAT, err, "dtype is %s", dtype ? "not a text" : "missing");
  const char *name = json_string_value(dtype);
  for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
    if (strcmp(name, dtypes[i].name)) continue;
    tensor->dtype = dtypes[i].dtype;
    *bits = dtypes[i].bits;
    return XCODER_OK;
  }
  return FAIL_TENSOR(file, tensor->name, XCODER_FORMAT, err, "unknown dtype '%s'",
                     xci_quote(shown, sizeof shown, name, strlen(name)));
}

static xcoder_status read_shape(const xci_safetensors *file, const json_t *entry, xci_tensor *tensor,
                                xcoder_error *err) {
  char quoted[XCODER_ERROR_BYTES];
  const json_t *shape = json_object_get(entry, "shape");
  if (!json_is_array(shape))
    return FAIL_TENSOR(file, tensor->name, XCODER_FORMAT, err, "shape is %s", shape ? "not a list" : "missing");
  tensor->rank = json_array_size(shape);
  if (tensor->rank > XCI_MAX_RANK)
    return FAIL_TENSOR(file, tensor->name, XCODER_UNSUPPORTED, err,
                       "shape has %zu dimensions, at most %d are supported", tensor->rank, XCI_MAX_RANK);
  tensor->n_values = 1;
  for (size_t i = 0; i < tensor->rank; i++) {
    if (!read_size(json_array_get(shape, i), &tensor->shape[i]))
      return FAIL_TENSOR(file, tensor->name, XCODER_FORMAT, err, "dimension %zu of its shape is not a size", i);
    if (!xci_mul_size(tensor->n_values, tensor->shape[i], &tensor->n_values))
      return FAIL_TENSOR(file, tensor->name, XCODER_FORMAT, err, "the product of its %zu dimensions overflows",
                         tensor->rank);
  }
  return XCODER_OK;
}

/* Reads data_offsets and checks their span against dtype and shape. tensor->bytes is set relative to the map. */
static xcoder_status read_span(const xci_safetensors *file, const json_t *entry, size_t data_start, unsigned bits,
                               xci_tensor *tensor, xcoder_error *err) {
  char quoted[XCODER_ERROR_BYTES];
  const json_t *offsets = json_object_get(entry, "data_offsets");
  const size_t n_data = file->map.n_bytes - data_start;
  size_t begin, end, n_bits;
  if (!json_is_array(offsets) || json_array_size(offsets) != 2 || !read_size(json_array_get(offsets, 0), &begin) ||
      !read_size(json_array_get(offsets, 1), &end))
    return FAIL_TENSOR(file, tensor->name, XCODER_FORMAT, err, "data_offsets %s",
                       offsets ? "are not two sizes" : "are missing");
  if (begin > end)
    return FAIL_TENSOR(file, tensor->name, XCODER_FORMAT, err, "data_offsets begin %zu is behind their end %zu", begin,
                       end);
  if (end > n_data)
    return FAIL_TENSOR(file, tensor->name, XCODER_FORMAT, err, "data_offsets end %zu is behind the %zu bytes of data",
                       end, n_data);
  if (!xci_mul_size(tensor->n_values, bits, &n_bits))
    return FAIL_TENSOR(file, tensor->name, XCODER_FORMAT, err, "the size of its %zu values overflows",
                       tensor->n_values);
  if (n_bits % 8)
    return FAIL_TENSOR(file, tensor->name, XCODER_FORMAT, err, "its %zu bits are no whole number of bytes", n_bits);
  if (end - begin != n_bits / 8)
    return FAIL_TENSOR(file, tensor->name, XCODER_FORMAT, err,
                       "dtype and shape need %zu bytes, data_offsets span %zu", n_bits / 8, end - begin);
  tensor->bytes = file->map.bytes + data_start + begin;
  tensor->n_bytes = end - begin;
  return XCODER_OK;
}

static xcoder_status read_entry(const xci_safetensors *file, const json_t *entry, size_t data_start,
                                xci_tensor *tensor, xcoder_error *err) {
  char quoted[XCODER_ERROR_BYTES];
  unsigned bits = 0;
  if (!json_is_object(entry))
    return FAIL_TENSOR(file, tensor->name, XCODER_FORMAT, err, "its entry is %s", "not a JSON object");
  xcoder_status status = read_dtype(file, entry, tensor, &bits, err);
  if (!status) status = read_shape(file, entry, tensor, err);
  if (!status) status = read_span(file, entry, data_start, bits, tensor, err);
  return status;
}

static int compare_bytes(const void *a, const void *b) {
  const xci_tensor *x = a, *y = b;
  if (x->bytes != y->bytes) return x->bytes < y->bytes ? -1 : 1;
  if (x->n_bytes != y->n_bytes) return x->n_bytes < y->n_bytes ? -1 : 1;
  return strcmp(x->name, y->name);
}

static int compare_names(const void *a, const void *b) {
  return strcmp((*(const xci_tensor *const *)a)->name, (*(const xci_tensor *const *)b)->name);
}

/* The data must be covered exactly: no hole, no overlap, nothing behind the last tensor. */
static xcoder_status check_cover(const xci_safetensors *file, size_t data_start, xcoder_error *err) {
  char quoted[XCODER_ERROR_BYTES];
  const unsigned char *expected = file->map.bytes + data_start;
  for (size_t i = 0; i < file->n_tensors; i++) {
    const xci_tensor *tensor = &file->tensors[i];
    if (tensor->bytes != expected) {
      size_t found = (size_t)(tensor->bytes - file->map.bytes), wanted = (size_t)(expected - file->map.bytes);
      return FAIL_TENSOR(file, tensor->name, XCODER_FORMAT, err, "its data begin at byte %zu, expected %zu (%s)",
                         found, wanted, found < wanted ? "overlap" : "hole");
    }
    expected = tensor->bytes + tensor->n_bytes;
  }
  size_t behind = file->map.n_bytes - (size_t)(expected - file->map.bytes);
  if (behind)
    return xci_fail(err, XCODER_FORMAT, "%s: byte %zu: %zu bytes behind the last tensor", file->path,
                    file->map.n_bytes - behind, behind);
  return XCODER_OK;
}

/* Room for all tensors of the header and their names. */
static xcoder_status allocate_tensors(xci_safetensors *file, json_t *header, xcoder_error *err) {
  const char *key;
  json_t *entry;
  size_t n_name_bytes = 0, count = json_object_size(header);
  if (count > MAX_TENSORS)
    return xci_fail(err, XCODER_UNSUPPORTED, "%s: %zu tensors, at most %d are supported", file->path, count,
                    MAX_TENSORS);
  json_object_foreach(header, key, entry) n_name_bytes += strlen(key) + 1;
  xcoder_status status = XCI_ALLOC(&file->names, n_name_bytes, err);
  if (!status) status = XCI_ALLOC(&file->tensors, count, err);
  if (!status) status = XCI_ALLOC(&file->named, count, err);
  return status;
}

static xcoder_status read_tensors(xci_safetensors *file, json_t *header, size_t data_start, xcoder_error *err) {
  const char *key;
  json_t *entry;
  xcoder_status status = allocate_tensors(file, header, err);
  if (status) return status;
  char *name = file->names;
  json_object_foreach(header, key, entry) {
    if (!strcmp(key, "__metadata__")) {
      status = read_metadata(file, entry, err);
    } else {
      xci_tensor *tensor = &file->tensors[file->n_tensors++];
      size_t n = strlen(key) + 1;
      tensor->name = memcpy(name, key, n);
      tensor->path = file->path;
      name += n;
      status = read_entry(file, entry, data_start, tensor, err);
    }
    if (status) return status;
  }
  qsort(file->tensors, file->n_tensors, sizeof *file->tensors, compare_bytes);
  for (size_t i = 0; i < file->n_tensors; i++) file->named[i] = &file->tensors[i];
  qsort(file->named, file->n_tensors, sizeof *file->named, compare_names);
  return check_cover(file, data_start, err);
}

xcoder_status xci_safetensors_open(const char *path, xci_safetensors **file, xcoder_error *err) {
  json_t *header = NULL;
  size_t data_start = 0;
  xci_safetensors *opened = NULL;
  *file = NULL;
  xcoder_status status = XCI_ALLOC(&opened, 1, err);
  if (!status) status = xci_copy_text(path, &opened->path, err);
  if (!status) status = xci_map_open(path, &opened->map, err);
  if (!status) status = read_header(opened, &header, &data_start, err);
  if (!status) status = read_tensors(opened, header, data_start, err);
  json_decref(header);
  if (!status) *file = opened;
  else xci_safetensors_close(opened);
  return status;
}

void xci_safetensors_close(xci_safetensors *file) {
  if (!file) return;
  if (file->map.bytes) xci_map_close(&file->map);
  json_decref(file->metadata);
  xci_free(file->named);
  xci_free(file->tensors);
  xci_free(file->names);
  xci_free(file->path);
  xci_free(file);
}

void xci_safetensors_idle(const xci_safetensors *file) { xci_map_idle(&file->map); }

size_t xci_safetensors_count(const xci_safetensors *file) { return file->n_tensors; }

const xci_tensor *xci_safetensors_at(const xci_safetensors *file, size_t index) { return &file->tensors[index]; }

const xci_tensor *xci_safetensors_find(const xci_safetensors *file, const char *name) {
  size_t low = 0, high = file->n_tensors;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    int order = strcmp(file->named[middle]->name, name);
    if (!order) return file->named[middle];
    if (order < 0) low = middle + 1;
    else high = middle;
  }
  return NULL;
}

const char *xci_safetensors_metadata(const xci_safetensors *file, const char *key) {
  return json_string_value(json_object_get(file->metadata, key));
}

const char *xci_safetensors_path(const xci_safetensors *file) { return file->path; }
