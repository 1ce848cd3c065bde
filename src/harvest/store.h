/* SPDX-License-Identifier: Apache-2.0 */
/* The store on disk: activations of all positions in bf16. A folder with
 *   store.json                 what it was made from, and size and checksum of every file; written last
 *   tokens.npy, starts.npy     the text: ids [n_tokens] and where sequences begin [n_sequences + 1]
 *   shard-LLL-NNNNN.safetensors  layer LLL, shard NNNNN: "activations" BF16 [tokens, n_checkpoints, d_model]
 * A shard holds whole blocks (source.h), so that reading it back gives the bits of live models. */
#ifndef XCI_HARVEST_STORE_H
#define XCI_HARVEST_STORE_H

#include "formats/json.h"
#include "formats/safetensors.h"
#include "harvest/source.h"

enum { XCI_STORE_FORMAT = 1, XCI_STORE_LAYERS = 64, XCI_HASH_BYTES = 33 };

typedef struct xci_store_file {
  uint64_t n_bytes;
  char hash[XCI_HASH_BYTES];
} xci_store_file;

typedef struct xci_shard {
  size_t first_sequence, n_sequences, n_tokens;
  xci_store_file files[XCI_STORE_LAYERS];
} xci_shard;

/* store.json, checked. */
typedef struct xci_store {
  json_t *root;
  const json_t *inputs; /* in root: what the store was made from */
  size_t n_checkpoints, d_model, n_layers, n_sequences, n_tokens, batch_tokens;
  long layers[XCI_STORE_LAYERS];
  xci_store_file tokens, starts; /* n_bytes 0: not written yet */
  size_t n_shards, shard_capacity;
  xci_shard *shards;
  bool complete;
} xci_store;

xcoder_status xci_store_read(const char *folder, xci_store *store, xcoder_error *err);
void xci_store_free(xci_store *store);
/* `inputs` is the text of the JSON object. */
xcoder_status xci_store_write(const char *folder, const char *inputs, const xci_store *store, xcoder_error *err);
/* Path of a shard; freed with xci_free(). */
xcoder_status xci_store_shard_path(const char *folder, long layer, size_t index, char **path, xcoder_error *err);

#endif
