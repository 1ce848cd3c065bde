/* SPDX-License-Identifier: Apache-2.0 */
/* Writing safetensors: equal contents give equal bytes, whatever the order of the calls. */
#include "base/bytes.h"
#include "base/memory.h"
#include "base/size.h"
#include "base/text.h"
#include "formats/safetensors.h"

#include <stdlib.h>
#include <string.h>

enum { LENGTH_BYTES = 8, SWAP_BYTES = 4096 };

typedef struct pending {
  char *name;
  xci_dtype dtype;
  size_t rank;
  size_t shape[XCI_MAX_RANK];
  size_t n_values;
  const void *values;
  xci_tensor_make make; /* NULL: `values` hold them already */
  void *context;
} pending;

typedef struct metadatum {
  char *key, *value;
} metadatum;

struct xci_safetensors_writer {
  pending *tensors;
  size_t n_tensors, tensor_capacity;
  metadatum *metadata;
  size_t n_metadata, metadata_capacity;
};

xcoder_status xci_safetensors_create(xci_safetensors_writer **writer, xcoder_error *err) {
  *writer = NULL;
  return XCI_ALLOC(writer, 1, err);
}

void xci_safetensors_discard(xci_safetensors_writer *writer) {
  if (!writer) return;
  for (size_t i = 0; i < writer->n_tensors; i++) xci_free(writer->tensors[i].name);
  for (size_t i = 0; i < writer->n_metadata; i++) {
    xci_free(writer->metadata[i].key);
    xci_free(writer->metadata[i].value);
  }
  xci_free(writer->tensors);
  xci_free(writer->metadata);
  xci_free(writer);
}

static xcoder_status add_tensor(xci_safetensors_writer *writer, const char *name, const size_t *shape, pending tensor,
                                xcoder_error *err) {
  size_t n_bytes = xci_dtype_bytes(tensor.dtype), rank = tensor.rank;
  if (rank > XCI_MAX_RANK || !n_bytes || !strcmp(name, "__metadata__") || !xci_utf8_valid(name, strlen(name)))
    return xci_fail(err, XCODER_USAGE, "tensor '%.200s': name, dtype or rank %zu cannot be written", name, rank);
  for (size_t i = 0; i < rank; i++) {
    tensor.shape[i] = shape[i];
    if (!xci_mul_size(tensor.n_values, shape[i], &tensor.n_values) || !xci_mul_size(n_bytes, shape[i], &n_bytes))
      return xci_fail(err, XCODER_USAGE, "tensor '%.200s': too large to be written", name);
  }
  xcoder_status status = xci_grow((void **)&writer->tensors, &writer->tensor_capacity, writer->n_tensors + 1,
                                  sizeof *writer->tensors, err);
  if (!status) status = xci_copy_text(name, &tensor.name, err);
  if (!status) writer->tensors[writer->n_tensors++] = tensor;
  return status;
}

xcoder_status xci_safetensors_add(xci_safetensors_writer *writer, const char *name, xci_dtype dtype, size_t rank,
                                  const size_t *shape, const void *values, xcoder_error *err) {
  pending tensor = {.dtype = dtype, .rank = rank, .n_values = 1, .values = values};
  return add_tensor(writer, name, shape, tensor, err);
}

xcoder_status xci_safetensors_add_made(xci_safetensors_writer *writer, const char *name, xci_dtype dtype, size_t rank,
                                       const size_t *shape, xci_tensor_make make, void *context, xcoder_error *err) {
  pending tensor = {.dtype = dtype, .rank = rank, .n_values = 1, .make = make, .context = context};
  return add_tensor(writer, name, shape, tensor, err);
}

xcoder_status xci_safetensors_add_metadata(xci_safetensors_writer *writer, const char *key, const char *value,
                                           xcoder_error *err) {
  metadatum pair = {NULL, NULL};
  if (!xci_utf8_valid(key, strlen(key)) || !xci_utf8_valid(value, strlen(value)))
    return xci_fail(err, XCODER_USAGE, "metadata '%.200s' is not UTF-8", key);
  xcoder_status status = xci_grow((void **)&writer->metadata, &writer->metadata_capacity, writer->n_metadata + 1,
                                  sizeof *writer->metadata, err);
  if (!status) status = xci_copy_text(key, &pair.key, err);
  if (!status) status = xci_copy_text(value, &pair.value, err);
  if (status) {
    xci_free(pair.key);
    xci_free(pair.value);
    return status;
  }
  writer->metadata[writer->n_metadata++] = pair;
  return XCODER_OK;
}

static int compare_tensors(const void *a, const void *b) {
  const pending *x = a, *y = b;
  size_t x_bytes = xci_dtype_bytes(x->dtype), y_bytes = xci_dtype_bytes(y->dtype);
  if (x_bytes != y_bytes) return x_bytes > y_bytes ? -1 : 1;
  return strcmp(x->name, y->name);
}

static int compare_metadata(const void *a, const void *b) {
  return strcmp(((const metadatum *)a)->key, ((const metadatum *)b)->key);
}

/* Two tensors or two metadata of one name make a file that no reader accepts. */
static xcoder_status check_unique(const char *const *names, size_t n, xcoder_error *err) {
  for (size_t i = 1; i < n; i++)
    if (!strcmp(names[i - 1], names[i]))
      return xci_fail(err, XCODER_USAGE, "two tensors or metadata are named '%.200s'", names[i]);
  return XCODER_OK;
}

static int compare_texts(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static xcoder_status sort_entries(xci_safetensors_writer *writer, xcoder_error *err) {
  const char **names = NULL;
  if (writer->n_tensors) qsort(writer->tensors, writer->n_tensors, sizeof *writer->tensors, compare_tensors);
  if (writer->n_metadata) qsort(writer->metadata, writer->n_metadata, sizeof *writer->metadata, compare_metadata);
  xcoder_status status = XCI_ALLOC(&names, xci_max_size(writer->n_tensors, writer->n_metadata), err);
  if (status) return status;
  for (size_t i = 0; i < writer->n_metadata; i++) names[i] = writer->metadata[i].key;
  status = check_unique(names, writer->n_metadata, err);
  for (size_t i = 0; i < writer->n_tensors; i++) names[i] = writer->tensors[i].name;
  qsort(names, writer->n_tensors, sizeof *names, compare_texts);
  if (!status) status = check_unique(names, writer->n_tensors, err);
  xci_free(names);
  return status;
}

static void add_quoted(xci_text *text, const char *value) {
  xci_text_add(text, "\"");
  xci_text_json(text, value, strlen(value));
  xci_text_add(text, "\"");
}

static void add_metadata(xci_text *text, const xci_safetensors_writer *writer) {
  if (!writer->n_metadata) return;
  xci_text_add(text, "\"__metadata__\":{");
  for (size_t i = 0; i < writer->n_metadata; i++) {
    if (i) xci_text_add(text, ",");
    add_quoted(text, writer->metadata[i].key);
    xci_text_add(text, ":");
    add_quoted(text, writer->metadata[i].value);
  }
  xci_text_add(text, writer->n_tensors ? "}," : "}");
}

/* The header, padded with spaces so that the data begin at a multiple of 8. */
static xcoder_status make_header(const xci_safetensors_writer *writer, xci_text *text, xcoder_error *err) {
  size_t offset = 0;
  xci_text_add(text, "{");
  add_metadata(text, writer);
  for (size_t i = 0; i < writer->n_tensors; i++) {
    const pending *tensor = &writer->tensors[i];
    size_t n_bytes = tensor->n_values * xci_dtype_bytes(tensor->dtype);
    if (i) xci_text_add(text, ",");
    add_quoted(text, tensor->name);
    xci_text_format(text, ":{\"dtype\":\"%s\",\"shape\":[", xci_dtype_name(tensor->dtype));
    for (size_t j = 0; j < tensor->rank; j++) xci_text_format(text, j ? ",%zu" : "%zu", tensor->shape[j]);
    xci_text_format(text, "],\"data_offsets\":[%zu,%zu]}", offset, offset + n_bytes);
    offset += n_bytes;
  }
  xci_text_add(text, "}");
  while (!text->failed && text->n_bytes % 8) xci_text_add(text, " ");
  return xci_text_status(text, err);
}

static bool host_is_little_endian(void) {
  const uint16_t one = 1;
  return *(const unsigned char *)&one == 1;
}

xcoder_status xci_write_values(xci_writer *writer, xci_dtype dtype, const void *values, size_t n, xcoder_error *err) {
  const size_t width = xci_dtype_bytes(dtype), n_bytes = n * width;
  if (host_is_little_endian() || width == 1) return xci_writer_write(writer, values, n_bytes, err);
  unsigned char swapped[SWAP_BYTES];
  xcoder_status status = XCODER_OK;
  for (size_t done = 0; done < n_bytes && !status; done += SWAP_BYTES) {
    const unsigned char *from = (const unsigned char *)values + done;
    size_t count = xci_min_size(SWAP_BYTES, n_bytes - done);
    for (size_t i = 0; i < count; i++) swapped[i] = from[i / width * width + (width - 1 - i % width)];
    status = xci_writer_write(writer, swapped, count, err);
  }
  return status;
}

static xcoder_status write_tensor(xci_writer *out, const pending *tensor, xcoder_error *err) {
  void *values = NULL;
  if (!tensor->make) return xci_write_values(out, tensor->dtype, tensor->values, tensor->n_values, err);
  xcoder_status status = xci_alloc(tensor->n_values, xci_dtype_bytes(tensor->dtype), &values, err);
  if (!status) status = tensor->make(tensor->context, values, err);
  if (!status) status = xci_write_values(out, tensor->dtype, values, tensor->n_values, err);
  xci_free(values);
  return status;
}

xcoder_status xci_safetensors_write(xci_safetensors_writer *writer, const char *path, xcoder_error *err) {
  xci_text header = {0};
  xci_writer *out = NULL;
  unsigned char length[LENGTH_BYTES];
  xcoder_status status = sort_entries(writer, err);
  if (!status) status = make_header(writer, &header, err);
  if (!status) status = xci_writer_open(path, &out, err);
  if (!status) {
    xci_store_u64(length, header.n_bytes);
    status = xci_writer_write(out, length, sizeof length, err);
  }
  if (!status) status = xci_writer_write(out, header.bytes, header.n_bytes, err);
  for (size_t i = 0; i < writer->n_tensors && !status; i++) status = write_tensor(out, &writer->tensors[i], err);
  if (!status) {
    status = xci_writer_commit(out, err);
    out = NULL;
  }
  xci_writer_abort(out);
  xci_text_clear(&header);
  return status;
}
