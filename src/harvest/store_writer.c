/* SPDX-License-Identifier: Apache-2.0 */
/* Writing a store: shard by shard, each complete before store.json mentions it, so that it can be interrupted at any
 * time and continued. */
#include "harvest/store.h"

#include "base/half.h"
#include "base/memory.h"
#include "base/size.h"
#include "base/text.h"
#include "formats/npy.h"
#include <crosscoder/run.h>
#include <stdio.h>
#include <string.h>

typedef struct harvest {
  xcoder_model *const *models;
  size_t n_checkpoints, d_model;
  const xcoder_tokens *tokens;
  const xcoder_harvest_options *options;
  size_t shard_tokens, batch_tokens, layer_values; /* layer_values: of a layer in buffer */
  const char *path;
  const xcoder_monitor *monitor;
  xci_blocks blocks;
  xci_live live;
  xci_text inputs; /* JSON: what the store is made from */
  xci_store store;
  uint16_t *buffer; /* [n_layers, most tokens of a shard, n_checkpoints, d_model] */
  uint64_t done;    /* tokens x layers */
} harvest;

static xcoder_status check_request(const harvest *h, xcoder_error *err) {
  const xcoder_harvest_options *options = h->options;
  xcoder_status status = XCODER_OK;
  if (!options->n_layers || options->n_layers > XCI_STORE_LAYERS || !options->labels)
    return xci_fail(err, XCODER_USAGE, "%s: a store needs labels and 1 to %d layers, not %zu", h->path,
                    XCI_STORE_LAYERS, options->n_layers);
  if (!xcoder_tokens_sequences(h->tokens)) return xci_fail(err, XCODER_MISMATCH, "%s: no sequences", h->path);
  for (size_t i = 0; i < options->n_layers && !status; i++) {
    for (size_t j = 0; j < i; j++)
      if (options->layers[i] == options->layers[j])
        return xci_fail(err, XCODER_USAGE, "%s: layer %ld is named twice", h->path, options->layers[i]);
    status = xci_live_check(h->models, h->n_checkpoints, options->layers[i], h->tokens, err);
  }
  return status;
}

/* A fingerprint of a checkpoint: what it makes of the first block at every layer. It tells apart weights and kinds of
 * arithmetic, either of which must not be mixed in one store. */
static xcoder_status probe_model(harvest *h, size_t model, char hex[XCI_HASH_BYTES], xcoder_error *err) {
  xci_hash *hash = NULL;
  const xci_blocks *blocks = &h->blocks;
  const size_t n_values = (blocks->start[blocks->first[1]] - blocks->start[0]) * h->d_model;
  xcoder_status status = xci_hash_open(&hash, err);
  if (!status) status = xci_live_run(&h->live, blocks, 0, model, err);
  for (size_t l = 0; l < h->options->n_layers && !status; l++)
    for (size_t i = 0; i < n_values; i++) {
      uint16_t rounded = xci_f32_to_bf16(h->live.hidden[l][i]);
      const unsigned char bytes[2] = {(unsigned char)rounded, (unsigned char)(rounded >> 8)};
      xci_hash_add(hash, bytes, sizeof bytes);
    }
  if (hash) xci_hash_close(hash, hex);
  return status;
}

static xcoder_status add_checkpoint(harvest *h, size_t model, xcoder_error *err) {
  const xcoder_model_info *info = xcoder_model_describe(h->models[model]);
  const char *label = h->options->labels[model];
  char probe[XCI_HASH_BYTES];
  xcoder_status status = probe_model(h, model, probe, err);
  if (status) return status;
  xci_text_add(&h->inputs, model ? ",\n{\"label\": \"" : "\n{\"label\": \"");
  xci_text_json(&h->inputs, label, strlen(label));
  xci_text_format(&h->inputs, "\", \"family\": \"%s\", \"n_layers\": %zu, \"n_parameters\": %llu, \"dtype\": \"%s\", "
                  "\"probe\": \"%s\"}", info->family, info->n_layers, (unsigned long long)info->n_parameters,
                  info->dtype, probe);
  return XCODER_OK;
}

static xcoder_status describe_inputs(harvest *h, xcoder_error *err) {
  char hash[XCI_HASH_BYTES];
  const size_t n = h->blocks.n_sequences;
  xcoder_status status = XCODER_OK;
  xcoder_tokens_hash(h->tokens, hash);
  xci_text_format(&h->inputs, "{\"n_checkpoints\": %zu, \"d_model\": %zu, \"n_sequences\": %zu, \"n_tokens\": %zu,\n"
                  "\"tokens\": \"%s\", \"batch_tokens\": %zu, \"shard_tokens\": %zu, \"layers\": [", h->n_checkpoints,
                  h->d_model, n, h->blocks.start[n] - h->blocks.start[0], hash, h->batch_tokens, h->shard_tokens);
  for (size_t l = 0; l < h->options->n_layers; l++)
    xci_text_format(&h->inputs, l ? ", %ld" : "%ld", h->options->layers[l]);
  xci_text_add(&h->inputs, "],\n\"checkpoints\": [");
  for (size_t m = 0; m < h->n_checkpoints && !status; m++) status = add_checkpoint(h, m, err);
  xci_text_add(&h->inputs, "]}");
  return status ? status : xci_text_status(&h->inputs, err);
}

/* An existing store must have been made from the same inputs; the first that differs is named. */
static xcoder_status compare_inputs(const harvest *h, const json_t *found, xcoder_error *err) {
  json_t *ours = NULL, *value;
  const char *key;
  xcoder_status status = xci_json_parse(h->inputs.bytes, h->inputs.n_bytes, h->path, 0, &ours, err);
  if (status) return status;
  json_object_foreach(ours, key, value) {
    if (json_equal(value, json_object_get(found, key))) continue;
    status = xci_fail(err, XCODER_STATE, "%s: holds a store made from other inputs ('%s' differs)", h->path, key);
    break;
  }
  json_decref(ours);
  return status;
}

static xcoder_status start_store(harvest *h, xcoder_error *err) {
  char **names = NULL;
  size_t n_names = 0, n_foreign = 0;
  xcoder_status status = xci_list_folder(h->path, &names, &n_names, err);
  for (size_t i = 0; i < n_names; i++) n_foreign += names[i][0] != '.';
  xci_free_names(names, n_names);
  if (!status && n_foreign)
    status = xci_fail(err, XCODER_STATE, "%s: is neither empty nor a store", h->path);
  h->store.n_layers = h->options->n_layers;
  return status ? status : xci_store_write(h->path, h->inputs.bytes, &h->store, err);
}

/* True if the files of a shard are there in the sizes that store.json gives. */
static bool shard_is_there(const harvest *h, size_t index) {
  bool there = true;
  for (size_t l = 0; l < h->store.n_layers && there; l++) {
    char *path = NULL;
    xci_map map;
    there = !xci_store_shard_path(h->path, h->store.layers[l], index, &path, NULL) && !xci_map_open(path, &map, NULL);
    if (there) {
      there = map.n_bytes == h->store.shards[index].files[l].n_bytes;
      xci_map_close(&map);
    }
    xci_free(path);
  }
  return there;
}

static xcoder_status open_store(harvest *h, xcoder_error *err) {
  char *path = NULL;
  xcoder_status status = xci_join_path(h->path, "store.json", &path, err);
  if (status) return status;
  bool exists = xci_exists(path);
  xci_free(path);
  if (!exists) return start_store(h, err);
  status = xci_store_read(h->path, &h->store, err);
  if (!status) status = compare_inputs(h, h->store.inputs, err);
  if (status) return status;
  size_t n_kept = 0;
  while (n_kept < h->store.n_shards && shard_is_there(h, n_kept)) n_kept++;
  h->store.complete = h->store.complete && n_kept == h->store.n_shards;
  h->store.n_shards = n_kept;
  return XCODER_OK;
}

static xcoder_status write_array(const harvest *h, const char *name, xci_dtype dtype, size_t n, const void *values,
                                 xci_store_file *file, xcoder_error *err) {
  char *path = NULL;
  xci_map map;
  xcoder_status status = xci_join_path(h->path, name, &path, err);
  if (!status) status = xci_npy_write(path, dtype, 1, &n, values, err);
  if (!status) status = xci_map_open(path, &map, err);
  if (!status) {
    file->n_bytes = map.n_bytes;
    xci_hash_bytes(map.bytes, map.n_bytes, file->hash);
    xci_map_close(&map);
  }
  xci_free(path);
  return status;
}

static xcoder_status write_text(harvest *h, xcoder_error *err) {
  const size_t n = h->blocks.n_sequences, *start = h->blocks.start;
  int64_t *starts = NULL;
  xcoder_status status = XCI_ALLOC(&starts, n + 1, err);
  for (size_t i = 0; i <= n && !status; i++) starts[i] = (int64_t)(start[i] - start[0]);
  if (!status) status = write_array(h, "starts.npy", XCI_I64, n + 1, starts, &h->store.starts, err);
  if (!status)
    status = write_array(h, "tokens.npy", XCI_U32, start[n] - start[0], xcoder_tokens_ids(h->tokens) + start[0],
                         &h->store.tokens, err);
  if (!status) status = xci_store_write(h->path, h->inputs.bytes, &h->store, err);
  xci_free(starts);
  return status;
}

static void report(const harvest *h) {
  const xcoder_progress progress = {
      .stage = "harvest", .unit = "tokens", .done = h->done,
      .total = (uint64_t)h->store.n_layers * (h->blocks.start[h->blocks.n_sequences] - h->blocks.start[0])};
  if (h->monitor && h->monitor->progress) h->monitor->progress(h->monitor->context, &progress);
}

/* The block behind the last one of a shard that begins with block `first`. */
static size_t end_of_shard(const harvest *h, size_t first) {
  const xci_blocks *b = &h->blocks;
  size_t end = first;
  while (end < b->n_blocks && b->start[b->first[end]] - b->start[b->first[first]] < h->shard_tokens) end++;
  return end;
}

/* All layers of the blocks first .. end-1, each model run once over a block. */
static xcoder_status fill_shard(harvest *h, size_t first, size_t end, xcoder_error *err) {
  const xci_blocks *b = &h->blocks;
  const size_t d = h->d_model;
  uint16_t *out = h->buffer;
  for (size_t block = first; block < end; block++) {
    const size_t n_tokens = b->start[b->first[block + 1]] - b->start[b->first[block]];
    if (h->monitor && h->monitor->stop && *h->monitor->stop)
      return xci_fail(err, XCODER_INTERRUPTED, "%s: stopped after %zu shards", h->path, h->store.n_shards);
    for (size_t m = 0; m < h->n_checkpoints; m++) {
      xcoder_status status = xci_live_run(&h->live, b, block, m, err);
      if (status) return status;
      for (size_t l = 0; l < h->store.n_layers; l++)
        for (size_t i = 0; i < n_tokens; i++)
          xci_f32_to_bf16_array(h->live.hidden[l] + i * d,
                                out + l * h->layer_values + (i * h->n_checkpoints + m) * d, d);
    }
    out += n_tokens * h->n_checkpoints * d;
    h->done += h->store.n_layers * n_tokens;
    report(h);
  }
  return XCODER_OK;
}

static xcoder_status write_shard_file(harvest *h, long layer, const uint16_t *values, const xci_shard *shard,
                                      xci_store_file *file, xcoder_error *err) {
  const size_t shape[3] = {shard->n_tokens, h->n_checkpoints, h->d_model};
  char *path = NULL, number[24];
  xci_map map;
  xci_safetensors_writer *writer = NULL;
  snprintf(number, sizeof number, "%ld", layer);
  xcoder_status status = xci_store_shard_path(h->path, layer, h->store.n_shards, &path, err);
  if (!status) status = xci_safetensors_create(&writer, err);
  if (!status) status = xci_safetensors_add(writer, "activations", XCI_BF16, 3, shape, values, err);
  if (!status) status = xci_safetensors_add_metadata(writer, "layer", number, err);
  if (!status) status = xci_safetensors_write(writer, path, err);
  if (!status) status = xci_map_open(path, &map, err);
  if (!status) {
    file->n_bytes = map.n_bytes;
    xci_hash_bytes(map.bytes, map.n_bytes, file->hash);
    xci_map_close(&map);
  }
  xci_safetensors_discard(writer);
  xci_free(path);
  return status;
}

static xcoder_status write_shard(harvest *h, size_t first, size_t end, xcoder_error *err) {
  const xci_blocks *b = &h->blocks;
  xcoder_status status = xci_grow((void **)&h->store.shards, &h->store.shard_capacity, h->store.n_shards + 1,
                                  sizeof *h->store.shards, err);
  if (status) return status;
  xci_shard *shard = &h->store.shards[h->store.n_shards];
  shard->first_sequence = b->first[first];
  shard->n_sequences = b->first[end] - b->first[first];
  shard->n_tokens = b->start[b->first[end]] - b->start[b->first[first]];
  status = fill_shard(h, first, end, err);
  for (size_t l = 0; l < h->store.n_layers && !status; l++)
    status = write_shard_file(h, h->options->layers[l], h->buffer + l * h->layer_values, shard, &shard->files[l], err);
  if (status) return status;
  h->store.n_shards++;
  h->store.complete = end == b->n_blocks;
  return xci_store_write(h->path, h->inputs.bytes, &h->store, err);
}

/* Disk for what is still to be written; headers are small beside a tenth of a per cent. */
static xcoder_status check_disk(const harvest *h, size_t n_tokens, xcoder_error *err) {
  const double needed = 1.001 * (double)n_tokens * (double)h->n_checkpoints * (double)h->d_model * 2 *
                        (double)h->options->n_layers;
  const uint64_t available = xci_free_disk_bytes(h->path);
  if (available == UINT64_MAX || needed <= (double)available) return XCODER_OK;
  return xci_fail(err, XCODER_MEMORY, "%s: the store needs %.3g GB of disk, %.3g GB are free", h->path, needed / 1e9,
                  (double)available / 1e9);
}

static xcoder_status write_shards(harvest *h, xcoder_error *err) {
  const xci_blocks *b = &h->blocks;
  size_t first = 0, n_values, largest = 0;
  for (size_t i = 0; i < h->store.n_shards; i++) first = end_of_shard(h, first);
  h->done = (uint64_t)h->store.n_layers * (b->start[b->first[first]] - b->start[0]);
  xcoder_status status = check_disk(h, b->start[b->n_sequences] - b->start[b->first[first]], err);
  for (size_t begin = first, end; begin < b->n_blocks; begin = end) {
    end = end_of_shard(h, begin);
    largest = xci_max_size(largest, b->start[b->first[end]] - b->start[b->first[begin]]);
  }
  if (!status &&
      (!xci_mul_size(largest, h->n_checkpoints, &n_values) ||
       !xci_mul_size(n_values, h->d_model, &h->layer_values) ||
       !xci_mul_size(h->layer_values, h->options->n_layers, &n_values)))
    status = xci_fail(err, XCODER_MEMORY, "%s: a shard of %zu tokens exceeds the address space", h->path, largest);
  if (!status) status = XCI_ALLOC(&h->buffer, n_values, err);
  while (first < b->n_blocks && !status) {
    size_t end = end_of_shard(h, first);
    status = write_shard(h, first, end, err);
    first = end;
  }
  return status;
}

static xcoder_status run_harvest(harvest *h, xcoder_error *err) {
  const size_t *start = xcoder_tokens_start(h->tokens), n = xcoder_tokens_sequences(h->tokens);
  xcoder_status status = xci_blocks_make(start, n, h->batch_tokens, true, &h->blocks, err);
  if (!status)
    status = xci_live_open(h->models, h->n_checkpoints, h->options->layers, h->options->n_layers, h->tokens,
                           &h->blocks, &h->live, err);
  if (!status) status = describe_inputs(h, err);
  if (!status) status = open_store(h, err);
  if (status || h->store.complete) return status;
  if (!h->store.tokens.n_bytes || !h->store.starts.n_bytes) status = write_text(h, err);
  return status ? status : write_shards(h, err);
}

xcoder_status xcoder_harvest(xcoder_model *const *models, size_t n_checkpoints, const xcoder_tokens *tokens,
                             const xcoder_harvest_options *options, const char *path, const xcoder_monitor *monitor,
                             xcoder_error *err) {
  harvest h = {.models = models, .n_checkpoints = n_checkpoints, .tokens = tokens, .options = options, .path = path,
               .monitor = monitor,
               .batch_tokens = options->batch_tokens ? options->batch_tokens : XCI_BATCH_TOKENS};
  /* The shards of all layers are filled together; by default that takes no more memory than one layer would. */
  const uint64_t shard_tokens = options->shard_tokens ? options->shard_tokens
                                                      : XCI_SHARD_TOKENS / xci_max_size(options->n_layers, 1);
  xcoder_run *run = NULL;
  h.shard_tokens = shard_tokens < SIZE_MAX ? (size_t)shard_tokens : SIZE_MAX;
  xcoder_status status = check_request(&h, err);
  if (!status) h.d_model = xcoder_model_describe(models[0])->d_model;
  if (!status) status = xcoder_run_open(path, &run, err);
  if (!status) status = run_harvest(&h, err);
  xci_blocks_free(&h.blocks);
  xci_live_close(&h.live);
  xci_text_clear(&h.inputs);
  xci_store_free(&h.store);
  xci_free(h.buffer);
  xcoder_run_close(run);
  return status;
}
