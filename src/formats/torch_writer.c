/* SPDX-License-Identifier: Apache-2.0 */
/* A state dict as a pickle of protocol 2 and its storages, each a stored entry of a zip file.
 *
 * Sizes and places always stand in zip64 fields, so that files above 4 GB take the same path as small ones. Payloads
 * start at multiples of 64 bytes, filled up by an extra field as torch.save does. There are no times: equal contents
 * give equal bytes. */
#include "formats/torch_writer.h"

#include "base/memory.h"
#include "base/size.h"
#include "base/text.h"
#include <stdio.h>
#include <string.h>
#include <zlib.h>

enum { ALIGNMENT = 64, LOCAL_BYTES = 30, ZIP64_LOCAL = 20, MAX_ENTRIES = 64, ZIP_VERSION = 45, MAX_NAME = 64 };

typedef struct entry {
  char name[MAX_NAME];
  uint64_t n_bytes, header; /* header: where the local header stands */
  uint32_t crc;
} entry;

typedef struct archive {
  xci_writer *writer;
  uint64_t at;
  entry entries[MAX_ENTRIES];
  size_t n_entries;
} archive;

/* ---- Little-endian bytes ---- */

static void add_bytes(xci_text *text, uint64_t value, size_t n) {
  char bytes[8];
  for (size_t i = 0; i < n; i++) bytes[i] = (char)(unsigned char)(value >> 8 * i);
  xci_text_append(text, bytes, n);
}

static xcoder_status write_text(archive *zip, const xci_text *text, xcoder_error *err) {
  xcoder_status status = xci_text_status(text, err);
  if (!status) status = xci_writer_write(zip->writer, text->bytes, text->n_bytes, err);
  zip->at += text->n_bytes;
  return status;
}

/* ---- Zip ---- */

static void add_local_header(xci_text *text, const entry *e, size_t n_fill) {
  size_t n_name = strlen(e->name);
  add_bytes(text, 0x04034b50, 4);
  add_bytes(text, ZIP_VERSION, 2);
  add_bytes(text, 0x0800, 2); /* names are UTF-8 */
  add_bytes(text, 0, 2);      /* stored */
  add_bytes(text, 0, 4);      /* no time */
  add_bytes(text, e->crc, 4);
  add_bytes(text, UINT32_MAX, 4);
  add_bytes(text, UINT32_MAX, 4);
  add_bytes(text, n_name, 2);
  add_bytes(text, ZIP64_LOCAL + n_fill, 2);
  xci_text_append(text, e->name, n_name);
  add_bytes(text, 1, 2);
  add_bytes(text, 16, 2);
  add_bytes(text, e->n_bytes, 8);
  add_bytes(text, e->n_bytes, 8);
  add_bytes(text, 0x4246, 2); /* "FB", the padding of torch.save */
  add_bytes(text, n_fill - 4, 2);
  for (size_t i = 4; i < n_fill; i++) xci_text_append(text, "Z", 1);
}

static xcoder_status write_entry(archive *zip, const char *name, const void *bytes, size_t n_bytes,
                                 xcoder_error *err) {
  entry *e = &zip->entries[zip->n_entries++];
  xci_text header = {0};
  snprintf(e->name, sizeof e->name, "%s", name);
  e->n_bytes = n_bytes;
  e->header = zip->at;
  e->crc = (uint32_t)crc32_z(0, bytes, n_bytes);
  size_t start = (size_t)(zip->at % ALIGNMENT) + LOCAL_BYTES + strlen(name) + ZIP64_LOCAL + 4;
  add_local_header(&header, e, 4 + (ALIGNMENT - start % ALIGNMENT) % ALIGNMENT);
  xcoder_status status = write_text(zip, &header, err);
  if (!status) status = xci_writer_write(zip->writer, bytes, n_bytes, err);
  zip->at += n_bytes;
  xci_text_clear(&header);
  return status;
}

static void add_central(xci_text *text, const entry *e) {
  size_t n_name = strlen(e->name);
  add_bytes(text, 0x02014b50, 4);
  add_bytes(text, ZIP_VERSION, 2);
  add_bytes(text, ZIP_VERSION, 2);
  add_bytes(text, 0x0800, 2);
  add_bytes(text, 0, 2);
  add_bytes(text, 0, 4);
  add_bytes(text, e->crc, 4);
  add_bytes(text, UINT32_MAX, 4);
  add_bytes(text, UINT32_MAX, 4);
  add_bytes(text, n_name, 2);
  add_bytes(text, 28, 2);
  add_bytes(text, 0, 2); /* comment, disk, attributes */
  add_bytes(text, 0, 2);
  add_bytes(text, 0, 2);
  add_bytes(text, 0, 4);
  add_bytes(text, UINT32_MAX, 4);
  xci_text_append(text, e->name, n_name);
  add_bytes(text, 1, 2);
  add_bytes(text, 24, 2);
  add_bytes(text, e->n_bytes, 8);
  add_bytes(text, e->n_bytes, 8);
  add_bytes(text, e->header, 8);
}

static xcoder_status write_directory(archive *zip, xcoder_error *err) {
  xci_text text = {0};
  uint64_t start = zip->at;
  for (size_t i = 0; i < zip->n_entries; i++) add_central(&text, &zip->entries[i]);
  uint64_t n_bytes = text.n_bytes, n = zip->n_entries;
  add_bytes(&text, 0x06064b50, 4); /* end of the directory, zip64 */
  add_bytes(&text, 44, 8);
  add_bytes(&text, ZIP_VERSION, 2);
  add_bytes(&text, ZIP_VERSION, 2);
  add_bytes(&text, 0, 8); /* disks */
  add_bytes(&text, n, 8);
  add_bytes(&text, n, 8);
  add_bytes(&text, n_bytes, 8);
  add_bytes(&text, start, 8);
  add_bytes(&text, 0x07064b50, 4); /* where that stands */
  add_bytes(&text, 0, 4);
  add_bytes(&text, start + n_bytes, 8);
  add_bytes(&text, 1, 4);
  add_bytes(&text, 0x06054b50, 4); /* the old end, all of it referring to the zip64 one */
  add_bytes(&text, 0, 4);
  add_bytes(&text, n, 2);
  add_bytes(&text, n, 2);
  add_bytes(&text, UINT32_MAX, 4);
  add_bytes(&text, UINT32_MAX, 4);
  add_bytes(&text, 0, 2);
  xcoder_status status = write_text(zip, &text, err);
  xci_text_clear(&text);
  return status;
}

/* ---- Pickle ---- */

static void add_string(xci_text *text, const char *string) {
  xci_text_append(text, "X", 1);
  add_bytes(text, strlen(string), 4);
  xci_text_add(text, string);
}

static void add_integer(xci_text *text, uint64_t value) {
  if (value < 256) {
    xci_text_append(text, "K", 1);
    add_bytes(text, value, 1);
  } else if (value <= INT32_MAX) {
    xci_text_append(text, "J", 1);
    add_bytes(text, value, 4);
  } else { /* LONG1: nine bytes, so that it is positive */
    xci_text_append(text, "\x8a\x09", 2);
    add_bytes(text, value, 8);
    add_bytes(text, 0, 1);
  }
}

static void add_integers(xci_text *text, const size_t *values, size_t n) {
  xci_text_append(text, "(", 1);
  for (size_t i = 0; i < n; i++) add_integer(text, values[i]);
  xci_text_append(text, "t", 1);
}

/* _rebuild_tensor_v2(storage, offset, shape, strides, requires_grad, hooks) */
static void add_tensor(xci_text *text, const xci_torch_output *tensor, size_t number) {
  size_t strides[XCI_MAX_RANK], n = 1;
  char key[24];
  for (size_t r = tensor->rank; r-- > 0;) {
    strides[r] = n;
    n *= tensor->shape[r];
  }
  snprintf(key, sizeof key, "%zu", number);
  add_string(text, tensor->name);
  xci_text_add(text, "ctorch._utils\n_rebuild_tensor_v2\n((");
  add_string(text, "storage");
  xci_text_add(text, tensor->dtype == XCI_F32 ? "ctorch\nFloatStorage\n" : "ctorch\nIntStorage\n");
  add_string(text, key);
  add_string(text, "cpu");
  add_integer(text, n);
  xci_text_add(text, "tQ");
  add_integer(text, 0);
  add_integers(text, tensor->shape, tensor->rank);
  add_integers(text, strides, tensor->rank);
  xci_text_add(text, "\x89" "ccollections\nOrderedDict\n)RtR");
}

static xcoder_status write_pickle(archive *zip, const xci_torch_output *tensors, size_t n_tensors, xcoder_error *err) {
  xci_text text = {0};
  xci_text_add(&text, "\x80\x02" "ccollections\nOrderedDict\n)R(");
  for (size_t i = 0; i < n_tensors; i++) add_tensor(&text, &tensors[i], i);
  xci_text_add(&text, "u.");
  xcoder_status status = xci_text_status(&text, err);
  if (!status) status = write_entry(zip, "archive/data.pkl", text.bytes, text.n_bytes, err);
  xci_text_clear(&text);
  return status;
}

/* ---- Storages ---- */

static xcoder_status write_storage(archive *zip, const xci_torch_output *tensor, size_t number, xcoder_error *err) {
  char name[MAX_NAME];
  size_t n = 1;
  snprintf(name, sizeof name, "archive/data/%zu", number);
  for (size_t r = 0; r < tensor->rank; r++) n *= tensor->shape[r];
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
  return write_entry(zip, name, tensor->values, n * 4, err);
#else
  uint32_t *swapped = NULL;
  xcoder_status status = XCI_ALLOC(&swapped, n, err);
  for (size_t i = 0; i < n && !status; i++) {
    uint32_t value;
    memcpy(&value, (const char *)tensor->values + 4 * i, 4);
    swapped[i] = __builtin_bswap32(value);
  }
  if (!status) status = write_entry(zip, name, swapped, n * 4, err);
  xci_free(swapped);
  return status;
#endif
}

xcoder_status xci_torch_write(const char *path, const xci_torch_output *tensors, size_t n_tensors, xcoder_error *err) {
  archive *zip = NULL;
  if (n_tensors > MAX_ENTRIES - 8) return xci_fail(err, XCODER_USAGE, "%s: %zu tensors are too many", path, n_tensors);
  xcoder_status status = XCI_ALLOC(&zip, 1, err);
  if (status) return status;
  status = xci_writer_open(path, &zip->writer, err);
  if (!status) status = write_pickle(zip, tensors, n_tensors, err);
  if (!status) status = write_entry(zip, "archive/byteorder", "little", 6, err);
  for (size_t i = 0; i < n_tensors && !status; i++) status = write_storage(zip, &tensors[i], i, err);
  if (!status) status = write_entry(zip, "archive/version", "3\n", 2, err);
  if (!status) status = write_directory(zip, err);
  if (!status) {
    status = xci_writer_commit(zip->writer, err);
    zip->writer = NULL;
  }
  xci_writer_abort(zip->writer);
  xci_free(zip);
  return status;
}
