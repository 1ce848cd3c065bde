/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at one revision before anything is computed with it: which files, which values, do they fit its config. */
#include "model/model.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "base/size.h"
#include "compute/dtype.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CHUNK_VALUES = 1 << 18, MOST_TENSORS = 1 << 20, HEX = 33 };

static bool is_ignored(const xci_family *family, const char *name) {
  const size_t n = strlen(name);
  for (const char *const *ending = family->ignored; *ending != NULL; ending++) {
    const size_t m = strlen(*ending);
    if (n >= m && strcmp(name + n - m, *ending) == 0) return true;
  }
  return false;
}

/* The name without the family's prefix, which some files leave out. */
static const char *bare_name(const xci_family *family, const char *name) {
  const size_t n = strlen(family->prefix);
  return strncmp(name, family->prefix, n) == 0 ? name + n : name;
}

typedef struct entry {
  const char *name;
  const xci_tensor *tensor;
} entry;

static int compare_entries(const void *a, const void *b) {
  return strcmp(((const entry *)a)->name, ((const entry *)b)->name);
}

/* All tensors that are weights, by name. */
static xcoder_status list_weights(const xci_family *family, const xci_weight_files *files, entry **list, size_t *n,
                                  xcoder_error *err) {
  size_t capacity = 0;
  *n = 0;
  for (size_t i = 0; i < files->n_files; i++)
    for (size_t k = 0; k < xci_weight_file_count(&files->file[i]); k++) {
      const xci_tensor *tensor = xci_weight_file_at(&files->file[i], k);
      if (!xci_dtype_is_float(tensor->dtype) || is_ignored(family, tensor->name)) continue;
      if (*n == MOST_TENSORS) return xci_fail(err, XCODER_FORMAT, "%s: too many tensors", files->source);
      const xcoder_status status = xci_grow((void **)list, &capacity, *n + 1, sizeof **list, err);
      if (status) return status;
      (*list)[(*n)++] = (entry){bare_name(family, tensor->name), tensor};
    }
  if (*n) qsort(*list, *n, sizeof **list, compare_entries);
  return XCODER_OK;
}

/* Hash and number of bad values of one chunk, both of the values as float32, so that the same weights in another type
 * or in other shards count as the same. */
static uint64_t scan_chunk(const xci_tensor *tensor, size_t first, size_t n, float *values, char hex[HEX]) {
  uint64_t n_bad = 0;
  xci_convert_to_f32(tensor->bytes + first * xci_dtype_bytes(tensor->dtype), tensor->dtype, n, values);
  for (size_t i = 0; i < n; i++) n_bad += !isfinite(values[i]);
  xci_hash_bytes(values, n * sizeof *values, hex);
  return n_bad;
}

static xcoder_status scan_tensor(const entry *e, xci_hash *hash, xcoder_model_audit *audit, xcoder_error *err) {
  const xci_tensor *tensor = e->tensor;
  const size_t n_chunks = xci_ceil_div(tensor->n_values, CHUNK_VALUES);
  char(*hex)[HEX] = NULL;
  uint64_t *bad = NULL;
  float *values = NULL;
  xcoder_status status = xci_alloc(n_chunks, HEX, (void **)&hex, err);
  if (!status) status = XCI_ALLOC(&bad, n_chunks, err);
  if (!status) status = XCI_ALLOC(&values, (size_t)xci_threads() * CHUNK_VALUES, err);
#pragma omp parallel for num_threads(xci_threads()) schedule(dynamic) if (!status)
  for (size_t chunk = 0; chunk < (status ? 0 : n_chunks); chunk++) {
    const size_t first = chunk * CHUNK_VALUES;
    bad[chunk] = scan_chunk(tensor, first, xci_min_size(CHUNK_VALUES, tensor->n_values - first),
                            values + (size_t)xci_thread_index() * CHUNK_VALUES, hex[chunk]);
  }
  uint64_t n_bad = 0;
  if (!status) {
    xci_hash_add(hash, e->name, strlen(e->name) + 1);
    for (size_t i = 0; i < tensor->rank; i++) xci_hash_add(hash, &tensor->shape[i], sizeof tensor->shape[i]);
    for (size_t chunk = 0; chunk < n_chunks; chunk++) {
      xci_hash_add(hash, hex[chunk], HEX - 1);
      n_bad += bad[chunk];
    }
  }
  if (n_bad && !audit->n_bad) snprintf(audit->bad_tensor, sizeof audit->bad_tensor, "%.120s", tensor->name);
  audit->n_bad += n_bad;
  audit->n_values += tensor->n_values;
  xci_free(hex);
  xci_free(bad);
  xci_free(values);
  return status;
}

/* Where the cache's links point: the names of the blobs of all weight files, joined and hashed. Equal names are equal
 * bytes. Left empty where a file is no link. */
static void name_blobs(const xci_weight_files *files, char blob[HEX]) {
  xci_hash *hash = NULL;
  bool all = files->n_files > 0;
  blob[0] = '\0';
  if (xci_hash_open(&hash, NULL)) return;
  for (size_t i = 0; all && i < files->n_files; i++) {
    char target[1024];
    const ssize_t n = readlink(xci_weight_file_path(&files->file[i]), target, sizeof target - 1);
    all = n > 0;
    if (!all) break;
    target[n] = '\0';
    const char *slash = strrchr(target, '/');
    const char *name = slash ? slash + 1 : target;
    xci_hash_add(hash, name, strlen(name) + 1);
  }
  xci_hash_close(hash, all ? blob : NULL);
}

xcoder_status xcoder_model_audit_weights(const char *path, xcoder_model_audit *audit, xcoder_error *err) {
  xci_weight_files files = {0};
  xci_config config;
  entry *list = NULL;
  xci_hash *hash = NULL;
  size_t n = 0;
  *audit = (xcoder_model_audit){0};
  xcoder_status status = xci_config_read(path, &config, err);
  if (!status) status = xci_weight_files_open(path, &files, err);
  if (!status) name_blobs(&files, audit->blob);
  if (!status) status = list_weights(config.family, &files, &list, &n, err);
  if (!status) status = xci_hash_open(&hash, err);
  for (size_t i = 0; !status && i < n; i++) status = scan_tensor(&list[i], hash, audit, err);
  xci_hash_close(hash, audit->hash);
  if (!status) { /* the shapes come last: what does not fit is still compared with other revisions */
    xcoder_error shapes;
    if (xci_model_check(&config, &files, &audit->info, &shapes))
      snprintf(audit->mismatch, sizeof audit->mismatch, "%s", shapes.message);
  }
  xci_free(list);
  xci_weight_files_close(&files);
  if (status) *audit = (xcoder_model_audit){0};
  return status;
}
