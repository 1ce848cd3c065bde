/* SPDX-License-Identifier: Apache-2.0 */
/* store.json: reading with checks, writing, names of shards. */
#include "harvest/store.h"

#include "base/memory.h"
#include "base/text.h"
#include <crosscoder/run.h>
#include <stdio.h>
#include <string.h>

static const size_t max_store_json_bytes = (size_t)256 << 20;

xcoder_status xci_store_shard_path(const char *folder, long layer, size_t index, char **path, xcoder_error *err) {
  char name[64];
  if (layer < 0) snprintf(name, sizeof name, "shard-emb-%05zu.safetensors", index);
  else snprintf(name, sizeof name, "shard-%03ld-%05zu.safetensors", layer, index);
  return xci_join_path(folder, name, path, err);
}

static xcoder_status read_hash(const json_t *object, const char *path, xci_store_file *file, xcoder_error *err) {
  const char *hash;
  size_t n_bytes;
  xcoder_status status = xci_json_get_size(object, path, "bytes", NULL, &n_bytes, err);
  if (!status) status = xci_json_get_text(object, path, "xxh3", NULL, &hash, err);
  if (status) return status;
  if (strlen(hash) != XCI_HASH_BYTES - 1 || strspn(hash, "0123456789abcdef") != XCI_HASH_BYTES - 1)
    return xci_fail(err, XCODER_STATE, "%s: a checksum is not 32 hexadecimal digits", path);
  file->n_bytes = n_bytes;
  memcpy(file->hash, hash, XCI_HASH_BYTES);
  return XCODER_OK;
}

static xcoder_status read_layers(const json_t *layers, const char *path, xci_store *store, xcoder_error *err) {
  store->n_layers = json_array_size(layers);
  if (!store->n_layers || store->n_layers > XCI_STORE_LAYERS)
    return xci_fail(err, XCODER_STATE, "%s: 'layers' is not a list of 1 to %d layers", path, XCI_STORE_LAYERS);
  for (size_t i = 0; i < store->n_layers; i++) {
    const json_t *layer = json_array_get(layers, i);
    json_int_t value = json_integer_value(layer);
    if (!json_is_integer(layer) || value < -1 || value > 100000)
      return xci_fail(err, XCODER_STATE, "%s: entry %zu of 'layers' is not a layer", path, i);
    store->layers[i] = (long)value;
  }
  return XCODER_OK;
}

static xcoder_status read_inputs(const char *path, xci_store *store, xcoder_error *err) {
  static const struct {
    const char *key;
    size_t offset, least, most;
  } sizes[] = {
      {"n_checkpoints", offsetof(xci_store, n_checkpoints), 1, XCODER_MAX_CHECKPOINTS},
      {"d_model", offsetof(xci_store, d_model), 1, (size_t)1 << 24},
      {"n_sequences", offsetof(xci_store, n_sequences), 1, SIZE_MAX - 1},
      {"n_tokens", offsetof(xci_store, n_tokens), 1, SIZE_MAX},
      {"batch_tokens", offsetof(xci_store, batch_tokens), 1, SIZE_MAX},
  };
  xcoder_status status = XCODER_OK;
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes && !status; i++) {
    size_t *value = (size_t *)(void *)((char *)store + sizes[i].offset);
    status = xci_json_get_size(store->inputs, path, sizes[i].key, NULL, value, err);
    if (!status && (*value < sizes[i].least || *value > sizes[i].most))
      status = xci_fail(err, XCODER_STATE, "%s: key '%s' is %zu, out of range", path, sizes[i].key, *value);
  }
  return status ? status : read_layers(json_object_get(store->inputs, "layers"), path, store, err);
}

static xcoder_status read_shard(const json_t *entry, const char *path, xci_store *store, size_t *next_sequence,
                                xcoder_error *err) {
  xci_shard *shard = &store->shards[store->n_shards];
  const json_t *files = json_object_get(entry, "files");
  xcoder_status status = xci_json_get_size(entry, path, "first_sequence", NULL, &shard->first_sequence, err);
  if (!status) status = xci_json_get_size(entry, path, "n_sequences", NULL, &shard->n_sequences, err);
  if (!status) status = xci_json_get_size(entry, path, "n_tokens", NULL, &shard->n_tokens, err);
  if (status) return status;
  if (shard->first_sequence != *next_sequence || shard->n_sequences > store->n_sequences - *next_sequence)
    return xci_fail(err, XCODER_STATE, "%s: shard %zu does not continue shard %zu", path, store->n_shards,
                    store->n_shards - 1);
  if (json_array_size(files) != store->n_layers)
    return xci_fail(err, XCODER_STATE, "%s: shard %zu does not list one file a layer", path, store->n_shards);
  for (size_t i = 0; i < store->n_layers && !status; i++)
    status = read_hash(json_array_get(files, i), path, &shard->files[i], err);
  *next_sequence += shard->n_sequences;
  store->n_shards++;
  return status;
}

static xcoder_status read_shards(const char *path, xci_store *store, xcoder_error *err) {
  const json_t *shards = json_object_get(store->root, "shards");
  size_t next_sequence = 0, n_shards = json_array_size(shards);
  if (!json_is_array(shards)) return xci_fail(err, XCODER_STATE, "%s: 'shards' is not a list", path);
  xcoder_status status =
      xci_grow((void **)&store->shards, &store->shard_capacity, n_shards, sizeof *store->shards, err);
  for (size_t i = 0; i < n_shards && !status; i++)
    status = read_shard(json_array_get(shards, i), path, store, &next_sequence, err);
  if (!status && store->complete && next_sequence != store->n_sequences)
    status = xci_fail(err, XCODER_STATE, "%s: %zu sequences in shards, expected %zu", path, next_sequence,
                      store->n_sequences);
  return status;
}

static xcoder_status read_root(const char *path, xci_store *store, xcoder_error *err) {
  size_t format;
  const json_t *tokens = json_object_get(store->root, "tokens"), *starts = json_object_get(store->root, "starts");
  xcoder_status status = xci_json_get_size(store->root, path, "format", NULL, &format, err);
  if (status) return status;
  if (format != XCI_STORE_FORMAT)
    return xci_fail(err, XCODER_STATE, "%s: made by store format %zu, this version reads %d", path, format,
                    XCI_STORE_FORMAT);
  store->inputs = json_object_get(store->root, "inputs");
  status = xci_json_get_bool(store->root, path, "complete", NULL, &store->complete, err);
  if (!status) status = read_inputs(path, store, err);
  if (!status && (tokens || store->complete)) status = read_hash(tokens, path, &store->tokens, err);
  if (!status && (starts || store->complete)) status = read_hash(starts, path, &store->starts, err);
  return status ? status : read_shards(path, store, err);
}

xcoder_status xci_store_read(const char *folder, xci_store *store, xcoder_error *err) {
  char *path = NULL;
  *store = (xci_store){0};
  xcoder_status status = xci_join_path(folder, "store.json", &path, err);
  if (!status) status = xci_json_read(path, max_store_json_bytes, &store->root, err);
  if (!status) status = read_root(path, store, err);
  if (status) xci_store_free(store);
  xci_free(path);
  return status;
}

void xci_store_free(xci_store *store) {
  json_decref(store->root);
  xci_free(store->shards);
  *store = (xci_store){0};
}

static void add_file(xci_text *text, const xci_store_file *file) {
  xci_text_format(text, "{\"bytes\": %llu, \"xxh3\": \"%s\"}", (unsigned long long)file->n_bytes, file->hash);
}

xcoder_status xci_store_write(const char *folder, const char *inputs, const xci_store *store, xcoder_error *err) {
  xci_text text = {0};
  char *path = NULL;
  xci_text_format(&text, "{\"format\": %d,\n\"inputs\": ", XCI_STORE_FORMAT);
  xci_text_add(&text, inputs);
  if (store->tokens.n_bytes) {
    xci_text_add(&text, ",\n\"tokens\": ");
    add_file(&text, &store->tokens);
  }
  if (store->starts.n_bytes) {
    xci_text_add(&text, ",\n\"starts\": ");
    add_file(&text, &store->starts);
  }
  xci_text_add(&text, ",\n\"shards\": [");
  for (size_t i = 0; i < store->n_shards; i++) {
    const xci_shard *shard = &store->shards[i];
    xci_text_format(&text, "%s\n{\"first_sequence\": %zu, \"n_sequences\": %zu, \"n_tokens\": %zu, \"files\": [",
                    i ? "," : "", shard->first_sequence, shard->n_sequences, shard->n_tokens);
    for (size_t l = 0; l < store->n_layers; l++) {
      if (l) xci_text_add(&text, ", ");
      add_file(&text, &shard->files[l]);
    }
    xci_text_add(&text, "]}");
  }
  xci_text_format(&text, "],\n\"complete\": %s}\n", store->complete ? "true" : "false");
  xcoder_status status = xci_text_status(&text, err);
  if (!status) status = xci_join_path(folder, "store.json", &path, err);
  if (!status) status = xcoder_write_file(path, text.bytes, text.n_bytes, err);
  xci_free(path);
  xci_text_clear(&text);
  return status;
}
