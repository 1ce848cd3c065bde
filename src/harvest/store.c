/* SPDX-License-Identifier: Apache-2.0 */
/* A store as a source: sizes are checked on opening, the checksum of a shard when it is first needed. */
#include "harvest/store.h"

#include "base/bytes.h"
#include "base/memory.h"
#include "base/size.h"
#include "formats/npy.h"
#include <crosscoder/run.h>
#include <limits.h>
#include <string.h>

typedef struct store_context {
  char *folder;
  xci_store store;
  size_t layer_index;
  size_t *start;           /* [n_sequences + 1] */
  xci_safetensors **files; /* [n_shards], NULL until needed */
} store_context;

static void close_store(void *context) {
  store_context *c = context;
  for (size_t i = 0; c->files && i < c->store.n_shards; i++) xci_safetensors_close(c->files[i]);
  xci_free(c->files);
  xci_free(c->start);
  xci_free(c->folder);
  xci_store_free(&c->store);
  xci_free(c);
}

/* The whole content of a file against its entry in store.json. */
static xcoder_status check_content(const char *path, const xci_map *map, const xci_store_file *expected,
                                   xcoder_error *err) {
  char hash[XCI_HASH_BYTES];
  if (map->n_bytes != expected->n_bytes)
    return xci_fail(err, XCODER_STATE, "%s: %zu bytes, store.json says %llu", path, map->n_bytes,
                    (unsigned long long)expected->n_bytes);
  xci_hash_bytes(map->bytes, map->n_bytes, hash);
  if (strcmp(hash, expected->hash))
    return xci_fail(err, XCODER_STATE, "%s: checksum %s, store.json says %s (the file was changed or damaged)", path,
                    hash, expected->hash);
  return XCODER_OK;
}

static xcoder_status read_starts(store_context *c, xcoder_error *err) {
  char *path = NULL;
  xci_npy npy = {0};
  const size_t n = c->store.n_sequences;
  xcoder_status status = xci_join_path(c->folder, "starts.npy", &path, err);
  if (!status) status = xci_npy_open(path, &npy, err);
  if (!status) status = check_content(path, &npy.map, &c->store.starts, err);
  if (!status && (npy.dtype != XCI_I64 || npy.rank != 1 || npy.n_values != n + 1))
    status = xci_fail(err, XCODER_STATE, "%s: not %zu integers of 64 bits", path, n + 1);
  if (!status) status = XCI_ALLOC(&c->start, n + 1, err);
  for (size_t i = 0; i <= n && !status; i++) {
    uint64_t value = xci_load_u64(npy.bytes + 8 * i);
    if (value > c->store.n_tokens || (i ? value < c->start[i - 1] : value != 0))
      status = xci_fail(err, XCODER_STATE, "%s: entry %zu is %llu, out of order", path, i, (unsigned long long)value);
    else c->start[i] = (size_t)value;
  }
  if (!status && c->start[n] != c->store.n_tokens)
    status = xci_fail(err, XCODER_STATE, "%s: ends at %zu, store.json has %zu tokens", path, c->start[n],
                      c->store.n_tokens);
  xci_npy_close(&npy);
  xci_free(path);
  return status;
}

static xcoder_status choose_layer(store_context *c, long layer, xcoder_error *err) {
  const xci_store *store = &c->store;
  if (layer == LONG_MIN) {
    if (store->n_layers == 1) return XCODER_OK;
    return xci_fail(err, XCODER_USAGE, "%s: the store has %zu layers, one must be chosen", c->folder, store->n_layers);
  }
  for (c->layer_index = 0; c->layer_index < store->n_layers; c->layer_index++)
    if (store->layers[c->layer_index] == layer) return XCODER_OK;
  return xci_fail(err, XCODER_USAGE, "%s: layer %ld is not in the store (its first is %ld)", c->folder, layer,
                  store->layers[0]);
}

/* Sizes of all shards of the layer, without reading them. */
static xcoder_status check_sizes(const store_context *c, xcoder_error *err) {
  xcoder_status status = XCODER_OK;
  for (size_t i = 0; i < c->store.n_shards && !status; i++) {
    const xci_shard *shard = &c->store.shards[i];
    size_t n_tokens = c->start[shard->first_sequence + shard->n_sequences] - c->start[shard->first_sequence];
    const uint64_t expected = shard->files[c->layer_index].n_bytes;
    char *path = NULL;
    xci_map map = {0};
    if (shard->n_tokens != n_tokens)
      return xci_fail(err, XCODER_STATE, "%s: shard %zu has %zu tokens, its sequences have %zu", c->folder, i,
                      shard->n_tokens, n_tokens);
    status = xci_store_shard_path(c->folder, c->store.layers[c->layer_index], i, &path, err);
    if (!status) status = xci_map_open(path, &map, err);
    if (!status && map.n_bytes != expected)
      status = xci_fail(err, XCODER_STATE, "%s: %zu bytes, store.json says %llu", path, map.n_bytes,
                        (unsigned long long)expected);
    xci_map_close(&map);
    xci_free(path);
  }
  return status;
}

/* Opens and verifies a shard and returns its activations. */
static xcoder_status open_shard(store_context *c, size_t index, const xci_tensor **tensor, xcoder_error *err) {
  char *path = NULL;
  const xci_shard *shard = &c->store.shards[index];
  if (!c->files[index]) {
    xci_map map;
    xcoder_status status = xci_store_shard_path(c->folder, c->store.layers[c->layer_index], index, &path, err);
    if (!status) status = xci_map_open(path, &map, err);
    if (!status) {
      status = check_content(path, &map, &shard->files[c->layer_index], err);
      xci_map_close(&map);
    }
    if (!status) status = xci_safetensors_open(path, &c->files[index], err);
    xci_free(path);
    if (status) return status;
  }
  const xci_tensor *found = xci_safetensors_find(c->files[index], "activations");
  if (!found || found->dtype != XCI_BF16 || found->rank != 3 || found->shape[0] != shard->n_tokens ||
      found->shape[1] != c->store.n_checkpoints || found->shape[2] != c->store.d_model)
    return xci_fail(err, XCODER_STATE, "%s: no BF16 tensor 'activations' [%zu, %zu, %zu]",
                    xci_safetensors_path(c->files[index]), shard->n_tokens, c->store.n_checkpoints, c->store.d_model);
  *tensor = found;
  return XCODER_OK;
}

static size_t find_shard(const xci_store *store, size_t sequence) {
  size_t low = 0, high = store->n_shards;
  while (high - low > 1) {
    size_t middle = low + (high - low) / 2;
    if (store->shards[middle].first_sequence <= sequence) low = middle;
    else high = middle;
  }
  return low;
}

/* Copies the samples of one sequence and returns how many values those are. */
static size_t copy_sequence(const store_context *c, const xci_blocks *blocks, const xci_tensor *tensor,
                            size_t first_sequence, size_t sequence, uint16_t *out) {
  const size_t width = c->store.n_checkpoints * c->store.d_model;
  const size_t begin = blocks->start[sequence], length = blocks->start[sequence + 1] - begin;
  const size_t skipped = !blocks->keep_first && length;
  const size_t n_values = (length - skipped) * width;
  const unsigned char *from = tensor->bytes + (begin + skipped - blocks->start[first_sequence]) * width * 2;
  for (size_t i = 0; i < n_values; i++) out[i] = xci_load_u16(from + 2 * i);
  return n_values;
}

static xcoder_status fill_store(void *context, const xci_blocks *blocks, const size_t *chosen, size_t n_chosen,
                                uint16_t *window, const xcoder_monitor *monitor, xcoder_error *err) {
  store_context *c = context;
  for (size_t i = 0; i < n_chosen; i++) {
    xcoder_status stopped = xci_fill_tick(monitor, i, n_chosen, err);
    if (stopped) return stopped;
    for (size_t s = blocks->first[chosen[i]]; s < blocks->first[chosen[i] + 1]; s++) {
      const xci_tensor *tensor = NULL;
      size_t shard = find_shard(&c->store, s);
      xcoder_status status = open_shard(c, shard, &tensor, err);
      if (status) return status;
      window += copy_sequence(c, blocks, tensor, c->store.shards[shard].first_sequence, s, window);
    }
  }
  return XCODER_OK;
}

static const xci_source_ops store_ops = {fill_store, close_store};

static xcoder_status open_context(const char *path, long layer, store_context *c, xcoder_error *err) {
  xcoder_status status = xci_copy_text(path, &c->folder, err);
  if (!status) status = xci_store_read(path, &c->store, err);
  if (!status && !c->store.complete)
    status = xci_fail(err, XCODER_STATE, "%s: the harvest was interrupted after %zu shards (harvest again to continue)",
                      path, c->store.n_shards);
  if (!status) status = choose_layer(c, layer, err);
  if (!status) status = read_starts(c, err);
  if (!status) status = check_sizes(c, err);
  if (!status) status = XCI_ALLOC(&c->files, c->store.n_shards, err);
  return status;
}

xcoder_status xcoder_source_store(const char *path, long layer, const xcoder_source_options *options,
                                  xcoder_source **source, xcoder_error *err) {
  enum { SCALE_SEQUENCES = 4000 };
  store_context *c = NULL;
  xci_blocks blocks = {0};
  *source = NULL;
  xcoder_status status = XCI_ALLOC(&c, 1, err);
  if (status) return status;
  status = open_context(path, layer, c, err);
  const xci_store *store = &c->store;
  if (!status)
    status = xci_blocks_make(c->start, store->n_sequences, store->batch_tokens, options && options->mask.keep_first,
                             &blocks, err);
  if (status) {
    close_store(c);
    return status;
  }
  const uint64_t scale_samples = store->n_sequences > SCALE_SEQUENCES ? c->start[SCALE_SEQUENCES] : 0;
  return xci_source_make(&store_ops, c, &blocks, store->n_checkpoints, store->d_model, options, scale_samples, path,
                         source, err);
}
