/* SPDX-License-Identifier: Apache-2.0 */
/* Stands in for language models and token sequences, so that harvest is tested without either: activations are a
 * known function of checkpoint, layer and text, plus a little that depends on which sequences run together, as the
 * rounding of real matrix products does. */
#ifndef TESTS_HARVEST_FAKE_MODEL_H
#define TESTS_HARVEST_FAKE_MODEL_H

#include <crosscoder/data.h>
#include <crosscoder/model.h>

struct xcoder_model {
  xcoder_model_info info;
  uint32_t seed;
  size_t n_calls, n_idle;
  long fail_call; /* this call (from 1) fails; 0: none */
};

struct xcoder_tokens {
  uint32_t *ids;
  size_t *start, n_sequences;
};

void fake_model_init(xcoder_model *model, uint32_t seed, size_t d_model);
/* Sequences of lengths shortest .. longest, by turns; ids below 50. */
void fake_tokens_init(xcoder_tokens *tokens, size_t n_sequences, size_t shortest, size_t longest);
void fake_tokens_clear(xcoder_tokens *tokens);
/* The activation of model `seed` at `layer`, position `position` of the text with id `id`, before packing matters. */
float fake_value(uint32_t seed, long layer, uint32_t id, size_t position, size_t channel);

#endif
