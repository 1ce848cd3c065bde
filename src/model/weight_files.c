/* SPDX-License-Identifier: Apache-2.0 */
/* Opening weight files; shard names in an index are data from strangers, so each must be one plain file name. */
#include "model/weight_files.h"

#include "base/memory.h"
#include "base/parallel.h"
#include "base/size.h"
#include "formats/json.h"
#include <math.h>
#include <string.h>

static const size_t MAX_INDEX_BYTES = (size_t)100 << 20;
enum { MAX_SHARDS = 4096, CHUNK_VALUES = 4096 };

/* In the order in which they are looked for. */
static const struct {
  const char *name;
  bool is_index, is_torch;
} kinds[] = {
    {"model.safetensors", false, false},
    {"model.safetensors.index.json", true, false},
    {"pytorch_model.bin", false, true},
    {"pytorch_model.bin.index.json", true, true},
};

void xci_weight_files_close(xci_weight_files *files) {
  for (size_t i = 0; i < files->n_files; i++) {
    xci_safetensors_close(files->file[i].safetensors);
    xci_torch_close(files->file[i].torch);
  }
  xci_free(files->file);
  xci_free(files->folder);
  xci_free(files->source);
  *files = (xci_weight_files){0};
}

static bool is_plain_name(const char *name) {
  return name[0] != '\0' && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && strchr(name, '/') == NULL &&
         strchr(name, '\\') == NULL;
}

static xcoder_status open_file(xci_weight_files *files, const char *name, bool is_torch, xcoder_error *err) {
  char *path = NULL;
  xci_weight_file *file = &files->file[files->n_files];
  xcoder_status status = xci_join_path(files->folder, name, &path, err);
  if (!status)
    status = is_torch ? xci_torch_open(path, &file->torch, err) : xci_safetensors_open(path, &file->safetensors, err);
  if (!status) files->n_files++;
  xci_free(path);
  return status;
}

size_t xci_weight_file_count(const xci_weight_file *file) {
  return file->torch ? xci_torch_count(file->torch) : xci_safetensors_count(file->safetensors);
}

const xci_tensor *xci_weight_file_at(const xci_weight_file *file, size_t index) {
  return file->torch ? xci_torch_at(file->torch, index) : xci_safetensors_at(file->safetensors, index);
}

const char *xci_weight_file_path(const xci_weight_file *file) {
  return file->torch ? xci_torch_path(file->torch) : xci_safetensors_path(file->safetensors);
}

static const xci_tensor *find_tensor(const xci_weight_file *file, const char *name) {
  return file->torch ? xci_torch_find(file->torch, name) : xci_safetensors_find(file->safetensors, name);
}

static int compare_names(const void *a, const void *b) {
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The different shard names of the index, sorted. */
static xcoder_status list_shards(const json_t *map, const char *path, const char ***names, size_t *n_names,
                                 xcoder_error *err) {
  const char *tensor;
  json_t *value;
  char quoted[XCODER_ERROR_BYTES];
  size_t n = 0;
  xcoder_status status = XCI_ALLOC(names, json_object_size(map), err);
  if (status) return status;
  json_object_foreach((json_t *)map, tensor, value) {
    const char *name = json_string_value(value);
    if (name == NULL || strlen(name) != json_string_length(value) || !is_plain_name(name))
      return xci_fail(err, XCODER_FORMAT, "%s: tensor '%s': expected the plain name of a file in the same folder", path,
                      xci_quote(quoted, sizeof quoted, tensor, strlen(tensor)));
    (*names)[n++] = name;
  }
  qsort(*names, n, sizeof **names, compare_names);
  *n_names = 0;
  for (size_t i = 0; i < n; i++)
    if (i == 0 || strcmp((*names)[i], (*names)[i - 1]) != 0) (*names)[(*n_names)++] = (*names)[i];
  if (*n_names > MAX_SHARDS)
    return xci_fail(err, XCODER_FORMAT, "%s: %zu shards, at most %d are read", path, *n_names, (int)MAX_SHARDS);
  return XCODER_OK;
}

/* Every tensor must be in the shard that the index names. */
static xcoder_status check_index(const xci_weight_files *files, const json_t *map, const char *const *names,
                                 xcoder_error *err) {
  const char *tensor;
  json_t *value;
  char quoted[XCODER_ERROR_BYTES];
  json_object_foreach((json_t *)map, tensor, value) {
    const char *name = json_string_value(value);
    const char **at = bsearch(&name, names, files->n_files, sizeof *names, compare_names);
    if (at == NULL || find_tensor(&files->file[at - (const char **)names], tensor) == NULL)
      return xci_fail(err, XCODER_FORMAT, "%s: tensor '%s' is not in the file that the index names", files->source,
                      xci_quote(quoted, sizeof quoted, tensor, strlen(tensor)));
  }
  return XCODER_OK;
}

/* A tensor that also lies in a shard other than its own would be read from whichever comes first. */
static xcoder_status check_shards(const xci_weight_files *files, const json_t *map, const char *const *names,
                                  xcoder_error *err) {
  char quoted[3][256];
  for (size_t i = 0; i < files->n_files; i++)
    for (size_t k = 0; k < xci_weight_file_count(&files->file[i]); k++) {
      const xci_tensor *tensor = xci_weight_file_at(&files->file[i], k);
      const char *named = json_string_value(json_object_get(map, tensor->name));
      if (named == NULL || strcmp(named, names[i]) == 0) continue;
      return xci_fail(err, XCODER_FORMAT, "%s: tensor '%s' is in the file '%s' and in '%s', expected one place",
                      files->source, xci_quote(quoted[0], 256, tensor->name, strlen(tensor->name)),
                      xci_quote(quoted[1], 256, named, strlen(named)),
                      xci_quote(quoted[2], 256, names[i], strlen(names[i])));
    }
  return XCODER_OK;
}

static xcoder_status open_shards(xci_weight_files *files, bool is_torch, xcoder_error *err) {
  json_t *index = NULL;
  const char **names = NULL;
  size_t n_names = 0;
  xcoder_status status = xci_json_read(files->source, MAX_INDEX_BYTES, &index, err);
  const json_t *map = json_object_get(index, "weight_map");
  if (!status && (!json_is_object(map) || json_object_size(map) == 0))
    status = xci_fail(err, XCODER_FORMAT, "%s: expected an object 'weight_map' with tensors", files->source);
  if (!status) status = list_shards(map, files->source, &names, &n_names, err);
  if (!status) status = XCI_ALLOC(&files->file, n_names, err);
  for (size_t i = 0; !status && i < n_names; i++) status = open_file(files, names[i], is_torch, err);
  if (!status) status = check_index(files, map, names, err);
  if (!status) status = check_shards(files, map, names, err);
  xci_free(names);
  json_decref(index);
  return status;
}

static xcoder_status explain_absence(const char *folder, xcoder_error *err) {
  static const char *const others[] = {"tf_model.h5", "flax_model.msgpack"};
  for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
    char *path = NULL;
    xcoder_status status = xci_join_path(folder, others[i], &path, err);
    if (status) return status;
    bool there = xci_exists(path);
    xci_free(path);
    if (there)
      return xci_fail(err, XCODER_UNSUPPORTED, "%s: the weights are in %s, only safetensors and pytorch_model.bin are "
                      "read (convert them with save_pretrained)", folder, others[i]);
  }
  return xci_fail(err, XCODER_MISSING, "%s: no weights (%s, %s, %s or %s)", folder, kinds[0].name, kinds[1].name,
                  kinds[2].name, kinds[3].name);
}

/* Sets files->source to the first kind that is there; its number is n_kinds if none is. */
static xcoder_status choose_kind(xci_weight_files *files, size_t n_kinds, size_t *chosen, xcoder_error *err) {
  xcoder_status status = XCODER_OK;
  for (*chosen = 0; *chosen < n_kinds; ++*chosen) {
    status = xci_join_path(files->folder, kinds[*chosen].name, &files->source, err);
    if (status || xci_exists(files->source)) return status;
    xci_free(files->source);
    files->source = NULL;
  }
  return explain_absence(files->folder, err);
}

xcoder_status xci_weight_files_open(const char *folder, xci_weight_files *files, xcoder_error *err) {
  size_t kind = 0;
  *files = (xci_weight_files){0};
  xcoder_status status = xci_copy_text(folder, &files->folder, err);
  if (!status) status = choose_kind(files, sizeof kinds / sizeof *kinds, &kind, err);
  if (!status && kinds[kind].is_index) {
    status = open_shards(files, kinds[kind].is_torch, err);
  } else if (!status) {
    status = XCI_ALLOC(&files->file, 1, err);
    if (!status) status = open_file(files, kinds[kind].name, kinds[kind].is_torch, err);
  }
  if (status) xci_weight_files_close(files);
  return status;
}

void xci_weight_files_idle(const xci_weight_files *files) {
  for (size_t i = 0; i < files->n_files; i++)
    if (files->file[i].safetensors != NULL) xci_safetensors_idle(files->file[i].safetensors);
    else xci_torch_idle(files->file[i].torch);
}

const xci_tensor *xci_weight_files_find(const xci_weight_files *files, const char *name, const char **path) {
  for (size_t i = 0; i < files->n_files; i++) {
    const xci_tensor *tensor = find_tensor(&files->file[i], name);
    if (tensor == NULL) continue;
    if (path != NULL) *path = xci_weight_file_path(&files->file[i]);
    return tensor;
  }
  return NULL;
}

/* First value of the chunk that is not finite, or its length. */
static size_t find_bad(const xci_tensor *tensor, size_t first, size_t n) {
  float values[CHUNK_VALUES];
  xci_convert_to_f32(tensor->bytes + first * xci_dtype_bytes(tensor->dtype), tensor->dtype, n, values);
  float sum = 0; /* stays finite: each term is 0, NaN for NaN and infinity */
  for (size_t i = 0; i < n; i++) sum += values[i] * 0.0f;
  if (sum == 0.0f) return n;
  for (size_t i = 0; i < n; i++) if (!isfinite(values[i])) return i;
  return n;
}

xcoder_status xci_check_finite(const xci_tensor *tensor, const char *path, xcoder_error *err) {
  size_t n_chunks = xci_ceil_div(tensor->n_values, CHUNK_VALUES), first_bad = tensor->n_values;
  char quoted[XCODER_ERROR_BYTES];
#pragma omp parallel for num_threads(xci_threads()) schedule(static)
  for (size_t chunk = 0; chunk < n_chunks; chunk++) {
    size_t first = chunk * CHUNK_VALUES, n = xci_min_size(CHUNK_VALUES, tensor->n_values - first);
    size_t bad = find_bad(tensor, first, n);
    if (bad < n) {
#pragma omp critical(xci_first_bad)
      first_bad = xci_min_size(first_bad, first + bad);
    }
  }
  if (first_bad == tensor->n_values) return XCODER_OK;
  return xci_fail(err, XCODER_FORMAT, "%s: tensor '%s': value %zu is NaN or infinite", path,
                  xci_quote(quoted, sizeof quoted, tensor->name, strlen(tensor->name)), first_bad);
}
