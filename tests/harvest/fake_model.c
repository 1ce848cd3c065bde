/* SPDX-License-Identifier: Apache-2.0 */
/* The functions of the model and data layers that harvest calls, over made-up activations. */
#include "fake_model.h"

#include "base/error.h"
#include "base/file.h"
#include <stdlib.h>
#include <string.h>

void fake_model_init(xcoder_model *model, uint32_t seed, size_t d_model) {
  *model = (xcoder_model){.seed = seed};
  model->info = (xcoder_model_info){"fake", 4, d_model, 1, d_model, 1, 50, 64, 1000, "F32"};
}

void fake_tokens_init(xcoder_tokens *tokens, size_t n_sequences, size_t shortest, size_t longest) {
  tokens->n_sequences = n_sequences;
  tokens->start = calloc(n_sequences + 1, sizeof *tokens->start);
  for (size_t s = 0; s < n_sequences; s++)
    tokens->start[s + 1] = tokens->start[s] + shortest + s % (longest - shortest + 1);
  tokens->ids = calloc(tokens->start[n_sequences] + 1, sizeof *tokens->ids);
  for (size_t i = 0; i < tokens->start[n_sequences]; i++) tokens->ids[i] = (uint32_t)(i * 7 + i / 13) % 50;
}

void fake_tokens_clear(xcoder_tokens *tokens) {
  free(tokens->ids);
  free(tokens->start);
}

float fake_value(uint32_t seed, long layer, uint32_t id, size_t position, size_t channel) {
  uint32_t x = seed * 2654435761u + (uint32_t)(layer + 2) * 40503u + id * 9973u + (uint32_t)position * 104729u +
               (uint32_t)channel * 15485863u;
  x = (x ^ x >> 15) * 2246822519u;
  x = (x ^ x >> 13) * 3266489917u;
  return (float)(x >> 8) * 0x1p-24f + 0.5f;
}

static void run_layer(const xcoder_model *model, const uint32_t *ids, const size_t *start, size_t n_sequences,
                      long layer, float *hidden) {
  const size_t d = model->info.d_model;
  const float packing = 1 + (float)(start[n_sequences] % 31) / 64; /* exaggerated, so that bf16 shows it */
  for (size_t s = 0; s < n_sequences; s++)
    for (size_t i = start[s]; i < start[s + 1]; i++)
      for (size_t j = 0; j < d; j++)
        hidden[i * d + j] = packing * fake_value(model->seed, layer, ids[i], i - start[s], j);
}

xcoder_status xcoder_model_hidden_layers(xcoder_model *model, const uint32_t *ids, const size_t *start,
                                         size_t n_sequences, const long *layers, size_t n_layers, float *const *hidden,
                                         xcoder_error *err) {
  if ((long)++model->n_calls == model->fail_call) return xci_fail(err, XCODER_DEVICE, "the fake model failed");
  for (size_t l = 0; l < n_layers; l++) run_layer(model, ids, start, n_sequences, layers[l], hidden[l]);
  return XCODER_OK;
}

void xcoder_model_idle(xcoder_model *model) { model->n_idle++; }

const xcoder_model_info *xcoder_model_describe(const xcoder_model *model) { return &model->info; }

size_t xcoder_tokens_sequences(const xcoder_tokens *tokens) { return tokens->n_sequences; }

const uint32_t *xcoder_tokens_ids(const xcoder_tokens *tokens) { return tokens->ids; }

const size_t *xcoder_tokens_start(const xcoder_tokens *tokens) { return tokens->start; }

void xcoder_tokens_hash(const xcoder_tokens *tokens, char hex[33]) {
  xci_hash_bytes(tokens->ids, tokens->start[tokens->n_sequences] * sizeof *tokens->ids, hex);
}
