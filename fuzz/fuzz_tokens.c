/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes files of tokens: the first byte says how long the index of a pair is, the rest of the input is its .bin; and
 * the whole as a file without a name. What is accepted has the shape that was asked for. */
#include "fuzz_file.h"

#include <crosscoder.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static void read_tokens(const char *path, const xcoder_tokens_options *options) {
  xcoder_tokens *tokens = NULL;
  xcoder_error err = {0};
  xcoder_status status = xcoder_tokens_read(path, options, &tokens, &err);
  if (status) {
    if (tokens || !err.message[0] || strchr(err.message, '\n')) abort();
    return;
  }
  size_t n = xcoder_tokens_sequences(tokens);
  const size_t *start = xcoder_tokens_start(tokens);
  const uint32_t *ids = xcoder_tokens_ids(tokens);
  if (n == 0) abort();
  for (size_t s = 0; s < n; s++)
    if (options->length && start[s + 1] - start[s] != options->length) abort();
  for (size_t i = 0; i < start[n]; i++)
    if (ids[i] > INT32_MAX) abort();
  if (options->max_tokens && start[n] > options->max_tokens) abort();
  xcoder_tokens_free(tokens);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
  read_tokens(fuzz_file("input", data, n_bytes), &(xcoder_tokens_options){.length = 2});
  read_tokens(fuzz_file("input.npy", data, n_bytes), &(xcoder_tokens_options){.length = 3, .max_tokens = 9});
  size_t n_index = n_bytes ? (size_t)data[0] * 2 : 0;
  if (n_bytes < 1 || n_index > n_bytes - 1) return 0;
  fuzz_file("input.bin", data + 1 + n_index, n_bytes - 1 - n_index);
  read_tokens(fuzz_file("input.idx", data + 1, n_index), &(xcoder_tokens_options){.length = 2});
  read_tokens(fuzz_file("input.idx", data + 1, n_index), &(xcoder_tokens_options){.length = 1, .max_tokens = 3});
  return 0;
}
