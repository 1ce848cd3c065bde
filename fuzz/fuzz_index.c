/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes the index of sharded weights, beside one good shard: what it accepts names tensors that are there. */
#include "fuzz_file.h"

#include "model/weight_files.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static const char shard[] = "\x38\0\0\0\0\0\0\0" /* a letter would join the number */
                            "{\"x\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}   " "ab";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
  static bool has_shard;
  if (!has_shard) fuzz_file("a.safetensors", (const uint8_t *)shard, sizeof shard - 1);
  has_shard = true;
  fuzz_file("model.safetensors.index.json", data, n_bytes);
  xci_weight_files files = {0};
  xcoder_error err = {0};
  xcoder_status status = xci_weight_files_open(fuzz_folder, &files, &err);
  if (status && (!err.message[0] || strchr(err.message, '\n'))) abort();
  if (!status && (files.n_files != 1 || !xci_weight_files_find(&files, "x", NULL))) abort();
  xci_weight_files_close(&files);
  return 0;
}
