/* SPDX-License-Identifier: Apache-2.0 */
/* From a torch.save file to named tensors: the container gives bytes to the storages, the pickle gives the views. */
#include "formats/torch_file.h"
#include "base/bytes.h"
#include "base/memory.h"
#include "base/size.h"
#include "formats/torch_pickle.h"
#include "formats/torch_zip.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const size_t MAX_PICKLE_BYTES = (size_t)64 << 20;
enum { LEGACY_VERSION = 1001, COPIES_PER_BYTE = 4, MAX_ROOT_BYTES = 200, MIN_COPIED_BYTES = 1 << 20 };

/* Pickle of the number 0x1950a86a20f9469cfc6c, the first of a legacy file. */
static const unsigned char LEGACY_MAGIC[] = {0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50,
                                             0x19, '.'};

struct xci_torch {
  char *path;
  xci_map map;
  xci_zip zip;
  unsigned char *pickle_bytes;
  xci_pickle pickle;
  char where[XCODER_ERROR_BYTES];
  char *names;
  xci_tensor *tensors; /* in order of their names */
  size_t n_tensors, n_copied;
  void **copies; /* one per tensor, NULL for those in the map */
};

static const char *quote_key(const char *text, size_t n, char out[XCODER_ERROR_BYTES]) {
  return xci_quote(out, XCODER_ERROR_BYTES, text, n);
}

static int compare_bytes(const char *x, size_t n_x, const char *y, size_t n_y) {
  int order = memcmp(x, y, xci_min_size(n_x, n_y));
  return order ? order : (n_x > n_y) - (n_x < n_y);
}

/* ---- Zip container ---- */

static xcoder_status check_members(const xci_torch *file, xcoder_error *err) {
  const xci_zip *zip = &file->zip;
  for (size_t i = 0; i < zip->n_entries; i++) {
    const xci_zip_entry *entry = &zip->entry[i];
    const char *slash = memchr(entry->name, '/', entry->n_name);
    size_t n = slash ? entry->n_name - (size_t)(slash - entry->name) - 1 : 0;
    if (n == 8 && memcmp(slash + 1, "data.pkl", n) == 0 &&
        compare_bytes(entry->name, (size_t)(slash - entry->name), zip->root, zip->n_root) != 0)
      return xci_fail(err, XCODER_FORMAT, "%s: a second data.pkl in another folder", file->path);
  }
  if (xci_zip_find(zip, "constants.pkl", 13))
    return xci_fail(err, XCODER_UNSUPPORTED, "%s: a TorchScript archive (constants.pkl), save the state_dict instead",
                    file->path);
  const xci_zip_entry *order = xci_zip_find(zip, "byteorder", 9);
  if (!order) return XCODER_OK;
  unsigned char *text = NULL;
  xcoder_status status = xci_zip_read(zip, order, 16, &text, err);
  if (!status && (order->n_bytes != 6 || memcmp(text, "little", 6) != 0))
    status = xci_fail(err, XCODER_UNSUPPORTED, "%s: byteorder is '%.*s', only little is read", file->path,
                      (int)order->n_bytes, (const char *)text);
  xci_free(text);
  return status;
}

static xcoder_status find_storages(xci_torch *file, xcoder_error *err) {
  char quoted[XCODER_ERROR_BYTES], *name = NULL;
  xcoder_status status = XCODER_OK;
  for (size_t i = 0; !status && i < file->pickle.n_storages; i++) {
    xci_pickle_storage *storage = &file->pickle.storage[i];
    size_t n_bytes = 0, n_name = storage->n_key + 5;
    status = XCI_ALLOC(&name, n_name, err);
    if (status) break;
    memcpy(name, "data/", 5);
    if (storage->n_key) memcpy(name + 5, storage->key, storage->n_key);
    const xci_zip_entry *entry = xci_zip_find(&file->zip, name, n_name);
    if (!entry)
      status = xci_fail(err, XCODER_FORMAT, "%s: storage '%s' is not in the file", file->path,
                        quote_key(storage->key, storage->n_key, quoted));
    else if (!xci_mul_size(storage->n_values, storage->width, &n_bytes) || n_bytes != entry->n_bytes)
      status = xci_fail(err, XCODER_FORMAT, "%s: storage '%s' of %zu values of %zu bytes has an entry of %zu bytes",
                        file->path, quote_key(storage->key, storage->n_key, quoted), storage->n_values, storage->width,
                        entry->n_bytes);
    else status = xci_zip_view(&file->zip, entry, &storage->bytes, err);
    xci_free(name);
  }
  return status;
}

static xcoder_status read_zip(xci_torch *file, xcoder_error *err) {
  char root[XCODER_ERROR_BYTES];
  xcoder_status status = xci_zip_open(file->path, &file->map, &file->zip, err);
  if (!status) status = check_members(file, err);
  if (status) return status;
  const xci_zip_entry *entry = xci_zip_find(&file->zip, "data.pkl", 8);
  if (!entry) return xci_fail(err, XCODER_FORMAT, "%s: zip file without data.pkl, not from torch.save", file->path);
  quote_key(file->zip.root, xci_min_size(file->zip.n_root, MAX_ROOT_BYTES), root);
  snprintf(file->where, sizeof file->where, "entry '%.200s/data.pkl'", root);
  status = xci_zip_read(&file->zip, entry, MAX_PICKLE_BYTES, &file->pickle_bytes, err);
  if (status) return status;
  file->pickle.bytes = file->pickle_bytes;
  file->pickle.n_bytes = entry->n_bytes;
  status = xci_pickle_run(&file->pickle, err);
  if (!status && file->pickle.at != entry->n_bytes)
    status = xci_fail(err, XCODER_FORMAT, "%s: %s, byte %zu: bytes behind the stop", file->path, file->where,
                      file->pickle.at);
  return status ? status : find_storages(file, err);
}

/* ---- Legacy format: five pickles, then for each key its length and its values ---- */

static xcoder_status run_numbered(xci_torch *file, int number, xcoder_error *err) {
  snprintf(file->where, sizeof file->where, "pickle %d", number);
  return xci_pickle_run(&file->pickle, err);
}

static xcoder_status check_system(xci_torch *file, xcoder_error *err) {
  xcoder_status status = run_numbered(file, 2, err);
  if (!status && (file->pickle.top.kind != XCI_PICKLE_INT || file->pickle.top.as.integer != LEGACY_VERSION))
    status = xci_fail(err, XCODER_UNSUPPORTED, "%s: pickle 2: not the version 1001 of the legacy format", file->path);
  if (!status) status = run_numbered(file, 3, err);
  if (status) return status;
  const xci_pickle_value *little = xci_pickle_get(&file->pickle, &file->pickle.top, "little_endian");
  if (!little || little->kind != XCI_PICKLE_BOOL || !little->as.integer)
    return xci_fail(err, XCODER_UNSUPPORTED, "%s: pickle 3: little_endian is not True", file->path);
  return XCODER_OK;
}

static int compare_storages(const void *a, const void *b) {
  const xci_pickle_storage *x = *(xci_pickle_storage *const *)a, *y = *(xci_pickle_storage *const *)b;
  return compare_bytes(x->key, x->n_key, y->key, y->n_key);
}

/* The first of `sorted` with this key, or n. */
static size_t find_key(xci_pickle_storage *const *sorted, size_t n, const char *key, size_t n_key) {
  size_t low = 0, high = n;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (compare_bytes(sorted[middle]->key, sorted[middle]->n_key, key, n_key) < 0) low = middle + 1;
    else high = middle;
  }
  return low < n && compare_bytes(sorted[low]->key, sorted[low]->n_key, key, n_key) == 0 ? low : n;
}

static xcoder_status place_storage(xci_torch *file, xci_pickle_storage **sorted, const xci_pickle_value *key,
                                   size_t *at, xcoder_error *err) {
  char quoted[XCODER_ERROR_BYTES];
  size_t n = file->pickle.n_storages, n_bytes = 0;
  if (key->kind != XCI_PICKLE_TEXT)
    return xci_fail(err, XCODER_FORMAT, "%s: pickle 5: a key of a storage that is no text", file->path);
  quote_key(key->as.text, key->n, quoted);
  size_t i = find_key(sorted, n, key->as.text, key->n);
  if (i == n || sorted[i]->bytes)
    return xci_fail(err, XCODER_FORMAT, "%s: storage '%s' %s", file->path, quoted,
                    i == n ? "belongs to no tensor" : "is there twice");
  if (file->map.n_bytes - *at < 8)
    return xci_fail(err, XCODER_FORMAT, "%s: byte %zu: storage '%s' is cut off", file->path, *at, quoted);
  uint64_t n_values = xci_load_u64(file->map.bytes + *at);
  *at += 8;
  if (n_values != sorted[i]->n_values)
    return xci_fail(err, XCODER_FORMAT, "%s: byte %zu: storage '%s' has another length than its tensors say",
                    file->path, *at - 8, quoted);
  if (!xci_mul_size(sorted[i]->n_values, sorted[i]->width, &n_bytes) || n_bytes > file->map.n_bytes - *at)
    return xci_fail(err, XCODER_FORMAT, "%s: byte %zu: storage '%s' is cut off", file->path, *at, quoted);
  for (; i < n && compare_bytes(sorted[i]->key, sorted[i]->n_key, key->as.text, key->n) == 0; i++)
    sorted[i]->bytes = file->map.bytes + *at;
  *at += n_bytes;
  return XCODER_OK;
}

static xcoder_status place_storages(xci_torch *file, const xci_pickle_value *keys, xcoder_error *err) {
  xci_pickle *p = &file->pickle;
  xci_pickle_storage **sorted = NULL;
  size_t at = p->at;
  if (keys->kind != XCI_PICKLE_LIST)
    return xci_fail(err, XCODER_FORMAT, "%s: pickle 5: not the list of the storages", file->path);
  xcoder_status status = XCI_ALLOC(&sorted, p->n_storages, err);
  if (status) return status;
  for (size_t i = 0; i < p->n_storages; i++) sorted[i] = &p->storage[i];
  qsort(sorted, p->n_storages, sizeof *sorted, compare_storages);
  const xci_pickle_object *list = &p->object[keys->as.index];
  for (size_t i = 0; !status && i < list->n; i++) status = place_storage(file, sorted, &list->item[i], &at, err);
  for (size_t i = 0; !status && i < p->n_storages; i++)
    if (!sorted[i]->bytes) status = xci_fail(err, XCODER_FORMAT, "%s: a storage is not in the file", file->path);
  if (!status && at != file->map.n_bytes)
    status = xci_fail(err, XCODER_FORMAT, "%s: byte %zu: bytes behind the last storage", file->path, at);
  xci_free(sorted);
  return status;
}

static xcoder_status read_legacy(xci_torch *file, xcoder_error *err) {
  xci_pickle *p = &file->pickle;
  p->is_legacy = true;
  p->n_bytes = xci_min_size(file->map.n_bytes, MAX_PICKLE_BYTES);
  xcoder_status status = XCI_ALLOC(&file->pickle_bytes, p->n_bytes, err);
  if (status) return status;
  memcpy(file->pickle_bytes, file->map.bytes, p->n_bytes);
  p->bytes = file->pickle_bytes;
  p->at = sizeof LEGACY_MAGIC;
  status = check_system(file, err);
  if (!status) status = run_numbered(file, 4, err);
  xci_pickle_value top = p->top;
  if (!status) status = run_numbered(file, 5, err);
  if (!status) status = place_storages(file, &p->top, err);
  p->top = top;
  return status;
}

/* ---- Tensors ---- */

/* One key must mean one storage: type and length are compared between all that name it. */
static xcoder_status check_storages(const xci_torch *file, xcoder_error *err) {
  char quoted[XCODER_ERROR_BYTES];
  const xci_pickle *p = &file->pickle;
  const xci_pickle_storage **sorted = NULL;
  xcoder_status status = XCI_ALLOC(&sorted, p->n_storages, err);
  if (status) return status;
  for (size_t i = 0; i < p->n_storages; i++) sorted[i] = &p->storage[i];
  qsort(sorted, p->n_storages, sizeof *sorted, compare_storages);
  for (size_t i = 1; !status && i < p->n_storages; i++) {
    const xci_pickle_storage *a = sorted[i - 1], *b = sorted[i];
    if (compare_bytes(a->key, a->n_key, b->key, b->n_key) == 0 &&
        (a->dtype != b->dtype || a->n_values != b->n_values || a->untyped != b->untyped))
      status = xci_fail(err, XCODER_FORMAT, "%s: %s: storage '%s' is declared in two ways", file->path, file->where,
                        quote_key(b->key, b->n_key, quoted));
  }
  xci_free(sorted);
  return status;
}

static bool is_contiguous(const xci_pickle_tensor *view) {
  size_t expected = 1;
  if (view->n_values == 0) return true;
  for (size_t i = view->rank; i-- > 0;) {
    if (view->shape[i] == 1) continue;
    if (view->strides[i] != expected) return false;
    expected *= view->shape[i];
  }
  return true;
}

/* Copies a view in row-major order by counting through its indexes. */
static void copy_view(const xci_pickle_tensor *view, const unsigned char *from, size_t width, unsigned char *to) {
  size_t index[XCI_MAX_RANK] = {0}, offset = 0;
  for (size_t i = 0; i < view->n_values; i++, to += width) {
    memcpy(to, from + offset * width, width);
    for (size_t k = view->rank; k-- > 0;) {
      offset += view->strides[k];
      if (++index[k] < view->shape[k]) break;
      offset -= view->strides[k] * view->shape[k];
      index[k] = 0;
    }
  }
}

static xcoder_status fill_tensor(xci_torch *file, const xci_pickle_tensor *view, xci_tensor *tensor, void **copy,
                                 xcoder_error *err) {
  size_t width = xci_dtype_bytes(view->dtype);
  const unsigned char *from = file->pickle.storage[view->storage].bytes + view->first * width;
  tensor->dtype = view->dtype;
  tensor->rank = view->rank;
  memcpy(tensor->shape, view->shape, sizeof tensor->shape);
  tensor->n_values = view->n_values;
  tensor->n_bytes = view->n_values * width;
  tensor->bytes = from;
  if (is_contiguous(view)) return XCODER_OK;
  file->n_copied += tensor->n_bytes; /* each is at most the file, and there are at most 2^20 of them */
  if (file->n_copied > xci_max_size(file->map.n_bytes * COPIES_PER_BYTE, MIN_COPIED_BYTES))
    return xci_fail(err, XCODER_UNSUPPORTED, "%s: its tensors in other than row-major order need more than %d times "
                    "the file in memory", file->path, (int)COPIES_PER_BYTE);
  xcoder_status status = xci_alloc(tensor->n_bytes, 1, copy, err);
  if (status) return status;
  copy_view(view, from, width, *copy);
  tensor->bytes = *copy;
  return XCODER_OK;
}

static int compare_tensors(const void *a, const void *b) {
  return strcmp(((const xci_tensor *)a)->name, ((const xci_tensor *)b)->name);
}

/* Room for the tensors of the dict and their names; every key of a tensor must be a text that C can hold. */
static xcoder_status allocate_tensors(xci_torch *file, const xci_pickle_object *dict, xcoder_error *err) {
  char quoted[XCODER_ERROR_BYTES];
  size_t n = 0, n_name_bytes = 0;
  for (size_t i = 0; i < dict->n; i += 2) {
    const xci_pickle_value *key = &dict->item[i];
    if (dict->item[i + 1].kind != XCI_PICKLE_TENSOR) continue;
    if (key->kind != XCI_PICKLE_TEXT)
      return xci_fail(err, XCODER_FORMAT, "%s: %s: a tensor whose name is no text", file->path, file->where);
    if (memchr(key->as.text, '\0', key->n))
      return xci_fail(err, XCODER_FORMAT, "%s: %s: tensor '%s': a zero byte in its name", file->path, file->where,
                      quote_key(key->as.text, key->n, quoted));
    n++;
    n_name_bytes += key->n + 1;
  }
  if (n == 0) return xci_fail(err, XCODER_FORMAT, "%s: %s: no tensors in it", file->path, file->where);
  xcoder_status status = XCI_ALLOC(&file->names, n_name_bytes, err);
  if (!status) status = XCI_ALLOC(&file->tensors, n, err);
  if (!status) status = XCI_ALLOC(&file->copies, n, err);
  return status;
}

static xcoder_status name_tensors(xci_torch *file, const xci_pickle_object *dict, xcoder_error *err) {
  char quoted[XCODER_ERROR_BYTES];
  xcoder_status status = allocate_tensors(file, dict, err);
  if (status) return status;
  char *name = file->names;
  for (size_t i = 0; !status && i < dict->n; i += 2) {
    const xci_pickle_value *key = &dict->item[i], *value = key + 1;
    if (value->kind != XCI_PICKLE_TENSOR) continue;
    size_t k = file->n_tensors++;
    file->tensors[k].name = name;
    file->tensors[k].path = file->path;
    memcpy(name, key->as.text, key->n);
    name += key->n + 1;
    status = fill_tensor(file, &file->pickle.tensor[value->as.index], &file->tensors[k], &file->copies[k], err);
  }
  if (status) return status;
  qsort(file->tensors, file->n_tensors, sizeof *file->tensors, compare_tensors);
  for (size_t i = 1; i < file->n_tensors; i++) {
    const char *text = file->tensors[i].name;
    if (strcmp(text, file->tensors[i - 1].name) == 0)
      return xci_fail(err, XCODER_FORMAT, "%s: %s: tensor '%s' is there twice", file->path, file->where,
                      quote_key(text, strlen(text), quoted));
  }
  return XCODER_OK;
}

static xcoder_status list_tensors(xci_torch *file, xcoder_error *err) {
  static const char *const wrappers[] = {"state_dict", "model"};
  const xci_pickle *p = &file->pickle;
  const xci_pickle_value *top = &p->top;
  if (top->kind == XCI_PICKLE_TENSOR) {
    xci_pickle_value pair[2] = {{.kind = XCI_PICKLE_TEXT, .as.text = ""}, *top};
    return name_tensors(file, &(xci_pickle_object){.item = pair, .n = 2}, err);
  }
  if (top->kind != XCI_PICKLE_DICT)
    return xci_fail(err, XCODER_FORMAT, "%s: %s: neither a dict of tensors nor a tensor", file->path, file->where);
  for (size_t i = 0; i < sizeof wrappers / sizeof *wrappers; i++) {
    const xci_pickle_value *inner = xci_pickle_get(p, &p->top, wrappers[i]);
    if (!inner || inner->kind != XCI_PICKLE_DICT) continue;
    top = inner;
    break;
  }
  return name_tensors(file, &p->object[top->as.index], err);
}

static xcoder_status read_container(xci_torch *file, xcoder_error *err) {
  const unsigned char *bytes = file->map.bytes;
  size_t n = file->map.n_bytes;
  if (n >= 4 && memcmp(bytes, "PK\x03\x04", 4) == 0) return read_zip(file, err);
  if (n >= sizeof LEGACY_MAGIC && memcmp(bytes, LEGACY_MAGIC, sizeof LEGACY_MAGIC) == 0) return read_legacy(file, err);
  if (n >= 8 && memcmp(bytes, "PYTORCH1", 8) == 0)
    return xci_fail(err, XCODER_UNSUPPORTED, "%s: a TorchScript archive of an early form, save the state_dict instead",
                    file->path);
  if (n >= 262 && memcmp(bytes + 257, "ustar", 5) == 0)
    return xci_fail(err, XCODER_UNSUPPORTED, "%s: a tar archive as torch wrote before 0.4: convert it first by "
                    "loading and saving it with a newer torch", file->path);
  return xci_fail(err, XCODER_FORMAT, "%s: byte 0: not a file of torch.save (neither zip nor legacy format)",
                  file->path);
}

xcoder_status xci_torch_open(const char *path, xci_torch **file, xcoder_error *err) {
  xci_torch *opened = NULL;
  *file = NULL;
  xcoder_status status = XCI_ALLOC(&opened, 1, err);
  if (status) return status;
  status = xci_copy_text(path, &opened->path, err);
  if (!status) status = xci_map_open(path, &opened->map, err);
  opened->pickle.path = opened->path;
  opened->pickle.where = opened->where;
  if (!status) status = read_container(opened, err);
  if (!status) status = check_storages(opened, err);
  if (!status) status = list_tensors(opened, err);
  if (status) {
    xci_torch_close(opened);
    return status;
  }
  /* The pickle's values are not needed any more; the tensors hold all that is. */
  xci_pickle_close(&opened->pickle);
  xci_free(opened->pickle_bytes);
  opened->pickle_bytes = NULL;
  xci_zip_close(&opened->zip);
  *file = opened;
  return XCODER_OK;
}

void xci_torch_close(xci_torch *file) {
  if (!file) return;
  for (size_t i = 0; i < file->n_tensors; i++) xci_free(file->copies[i]);
  xci_free(file->copies);
  xci_free(file->tensors);
  xci_free(file->names);
  xci_pickle_close(&file->pickle);
  xci_free(file->pickle_bytes);
  xci_zip_close(&file->zip);
  if (file->map.bytes) xci_map_close(&file->map);
  xci_free(file->path);
  xci_free(file);
}

void xci_torch_idle(const xci_torch *file) { xci_map_idle(&file->map); }

size_t xci_torch_count(const xci_torch *file) { return file->n_tensors; }

const xci_tensor *xci_torch_at(const xci_torch *file, size_t index) { return &file->tensors[index]; }

const xci_tensor *xci_torch_find(const xci_torch *file, const char *name) {
  size_t low = 0, high = file->n_tensors;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    int order = strcmp(file->tensors[middle].name, name);
    if (!order) return &file->tensors[middle];
    if (order < 0) low = middle + 1;
    else high = middle;
  }
  return NULL;
}

const char *xci_torch_path(const xci_torch *file) { return file->path; }
