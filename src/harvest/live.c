/* SPDX-License-Identifier: Apache-2.0 */
/* Live models as a source, and the residual streams of chosen sequences. */
#include "harvest/source.h"

#include "base/half.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "base/size.h"
#include "harvest/harvest.h"

enum { SCALE_SEQUENCES = 4000 }; /* METHOD: at most 1000 batches of 4 sequences for the scales */

static xcoder_status check_model(const xcoder_model_info *info, const xcoder_model_info *first, size_t index,
                                 long layer, xcoder_error *err) {
  if (info->d_model != first->d_model)
    return xci_fail(err, XCODER_MISMATCH, "checkpoint %zu has width %zu, checkpoint 0 has %zu", index, info->d_model,
                    first->d_model);
  if (layer < -1 || layer >= (long)info->n_layers)
    return xci_fail(err, XCODER_USAGE, "layer %ld does not exist: checkpoint %zu has layers -1 (embedding) to %ld",
                    layer, index, (long)info->n_layers - 1);
  return XCODER_OK;
}

/* Before any long work: every token has a row in the vocabulary and every sequence fits the context. */
static xcoder_status check_tokens(const xcoder_model_info *info, size_t index, uint32_t largest, size_t longest,
                                  xcoder_error *err) {
  if (largest >= info->n_vocab)
    return xci_fail(err, XCODER_MISMATCH, "token %lu is outside the vocabulary of %zu of checkpoint %zu "
                    "(another tokenizer?)", (unsigned long)largest, info->n_vocab, index);
  if (info->n_context && longest > info->n_context)
    return xci_fail(err, XCODER_MISMATCH,
                    "a sequence of %zu tokens is longer than the context of %zu of checkpoint %zu", longest,
                    info->n_context, index);
  return XCODER_OK;
}

xcoder_status xci_live_check(xcoder_model *const *models, size_t n_models, long layer, const xcoder_tokens *tokens,
                             xcoder_error *err) {
  const size_t *start = xcoder_tokens_start(tokens), n_sequences = xcoder_tokens_sequences(tokens);
  const uint32_t *ids = xcoder_tokens_ids(tokens);
  uint32_t largest = 0;
  size_t longest = 0;
  xcoder_status status = XCODER_OK;
  if (!n_models || n_models > XCODER_MAX_CHECKPOINTS)
    return xci_fail(err, XCODER_USAGE, "%zu checkpoints, expected 1 to %d", n_models, XCODER_MAX_CHECKPOINTS);
  for (size_t s = 0; s < n_sequences; s++) longest = xci_max_size(longest, start[s + 1] - start[s]);
  for (size_t i = start[0]; i < start[n_sequences]; i++) largest = ids[i] > largest ? ids[i] : largest;
  for (size_t m = 0; m < n_models && !status; m++) {
    const xcoder_model_info *info = xcoder_model_describe(models[m]);
    status = check_model(info, xcoder_model_describe(models[0]), m, layer, err);
    if (!status) status = check_tokens(info, m, largest, longest, err);
  }
  return status;
}

xcoder_status xci_live_open(xcoder_model *const *models, size_t n_models, const long *layers, size_t n_layers,
                            const xcoder_tokens *tokens, const xci_blocks *blocks, xci_live *live, xcoder_error *err) {
  size_t most_tokens = 0, most_sequences = 0, n_values, n_all;
  *live = (xci_live){.models = models, .n_models = n_models, .n_layers = n_layers, .ids = xcoder_tokens_ids(tokens),
                     .d_model = xcoder_model_describe(models[0])->d_model};
  for (size_t b = 0; b < blocks->n_blocks; b++) {
    size_t first = blocks->first[b], end = blocks->first[b + 1];
    most_sequences = xci_max_size(most_sequences, end - first);
    most_tokens = xci_max_size(most_tokens, blocks->start[end] - blocks->start[first]);
  }
  if (!xci_mul_size(most_tokens, live->d_model, &n_values) || !xci_mul_size(n_values, n_layers, &n_all))
    return xci_fail(err, XCODER_MEMORY, "%zu tokens of width %zu exceed the address space", most_tokens, live->d_model);
  xcoder_status status = XCI_ALLOC(&live->rebased, most_sequences + 1, err);
  if (!status) status = XCI_ALLOC(&live->layers, n_layers, err);
  if (!status) status = XCI_ALLOC(&live->hidden, n_layers, err);
  if (!status) status = XCI_ALLOC(&live->values, n_all, err);
  for (size_t l = 0; !status && l < n_layers; l++) {
    live->layers[l] = layers[l];
    live->hidden[l] = live->values + l * n_values;
  }
  if (status) xci_live_close(live);
  return status;
}

void xci_live_close(xci_live *live) {
  xci_free(live->rebased);
  xci_free(live->layers);
  xci_free(live->hidden);
  xci_free(live->values);
  *live = (xci_live){0};
}

xcoder_status xci_live_run(xci_live *live, const xci_blocks *blocks, size_t block, size_t model, xcoder_error *err) {
  const size_t first = blocks->first[block], count = blocks->first[block + 1] - first, *start = blocks->start + first;
  for (size_t s = 0; s <= count; s++) live->rebased[s] = start[s] - start[0];
  return xcoder_model_hidden_layers(live->models[model], live->ids + start[0], live->rebased, count, live->layers,
                                    live->n_layers, live->hidden, err);
}

/* Rounds the samples of a block to bf16 and puts those of model `model` in their place in the window. */
static void store_samples(const xci_live *live, const xci_blocks *blocks, size_t block, size_t model,
                          uint16_t *window) {
  const size_t d = live->d_model, stride = live->n_models * d, first = blocks->first[block];
  const size_t *start = blocks->start;
  const float *hidden = live->hidden[0];
  window += model * d;
  for (size_t s = first; s < blocks->first[block + 1]; s++) {
    size_t length = start[s + 1] - start[s], skipped = !blocks->keep_first && length;
    const float *from = hidden + (start[s] - start[first] + skipped) * d;
#pragma omp parallel for num_threads(xci_threads()) schedule(static) if (length > 64)
    for (size_t i = 0; i < length - skipped; i++) xci_f32_to_bf16_array(from + i * d, window + i * stride, d);
    window += (length - skipped) * stride;
  }
}

static xcoder_status fill_block(xci_live *live, const xci_blocks *blocks, size_t block, size_t model,
                                uint16_t *window, xcoder_error *err) {
  xcoder_status status = xci_live_run(live, blocks, block, model, err);
  if (!status) store_samples(live, blocks, block, model, window);
  return status;
}

/* One model at a time needs the memory of one, all at a time keep the text in the caches; the bits are the same. */
static xcoder_status fill_live(void *context, const xci_blocks *blocks, const size_t *chosen, size_t n_chosen,
                               uint16_t *window, const xcoder_monitor *monitor, xcoder_error *err) {
  xci_live *live = context;
  const size_t n_outer = live->sequential ? live->n_models : 1, n_inner = live->sequential ? 1 : live->n_models;
  uint64_t done = 0, total = 0;
  xcoder_status status = XCODER_OK;
  for (size_t i = 0; i < n_chosen; i++) total += xci_blocks_samples(blocks, chosen[i]);
  for (size_t outer = 0; outer < n_outer; outer++) {
    uint16_t *at = window;
    for (size_t i = 0; i < n_chosen; i++) {
      const size_t n_samples = xci_blocks_samples(blocks, chosen[i]);
      for (size_t inner = 0; inner < n_inner && !status; inner++) {
        status = xci_fill_tick(monitor, done / live->n_models, total, err);
        if (!status) status = fill_block(live, blocks, chosen[i], outer + inner, at, err);
        done += n_samples; /* of one model */
      }
      if (status) return status;
      at += n_samples * live->n_models * live->d_model;
    }
    if (live->sequential) xcoder_model_idle(live->models[outer]);
  }
  return xci_fill_tick(monitor, total, total, err);
}

static void close_live(void *context) {
  xci_live_close(context);
  xci_free(context);
}

static const xci_source_ops live_ops = {fill_live, close_live};

xcoder_status xcoder_source_live(xcoder_model *const *models, size_t n_checkpoints, long layer,
                                 const xcoder_tokens *tokens, const xcoder_source_options *options,
                                 xcoder_source **source, xcoder_error *err) {
  const size_t batch = options && options->batch_tokens ? options->batch_tokens : XCI_BATCH_TOKENS;
  const size_t n_sequences = xcoder_tokens_sequences(tokens), *start = xcoder_tokens_start(tokens);
  xci_blocks blocks = {0};
  xci_live *live = NULL;
  *source = NULL;
  xcoder_status status = xci_live_check(models, n_checkpoints, layer, tokens, err);
  if (!status) status = xci_blocks_make(start, n_sequences, batch, options && options->mask.keep_first, &blocks, err);
  if (!status) status = XCI_ALLOC(&live, 1, err);
  if (!status) status = xci_live_open(models, n_checkpoints, &layer, 1, tokens, &blocks, live, err);
  if (status) {
    xci_blocks_free(&blocks);
    xci_free(live);
    return status;
  }
  live->sequential = options && options->sequential;
  const size_t d_model = live->d_model;
  const uint64_t scale_samples = n_sequences > SCALE_SEQUENCES ? start[SCALE_SEQUENCES] - start[0] : 0;
  return xci_source_make(&live_ops, live, &blocks, n_checkpoints, d_model, options, scale_samples, "tokens", source,
                         err);
}

xcoder_status xci_harvest_sequences(xcoder_model *const *models, size_t n_models, long layer,
                                    const xcoder_tokens *tokens, size_t first, size_t count, float *hidden,
                                    xcoder_error *err) {
  const size_t *start = xcoder_tokens_start(tokens);
  xci_blocks blocks = {0};
  xci_live live = {0};
  if (first > xcoder_tokens_sequences(tokens) || count > xcoder_tokens_sequences(tokens) - first)
    return xci_fail(err, XCODER_USAGE, "sequences %zu to %zu: there are %zu", first, first + count,
                    xcoder_tokens_sequences(tokens));
  xcoder_status status = xci_live_check(models, n_models, layer, tokens, err);
  if (!status) status = xci_blocks_make(start + first, count, XCI_BATCH_TOKENS, true, &blocks, err);
  if (!status) status = xci_live_open(models, n_models, &layer, 1, tokens, &blocks, &live, err);
  const size_t d = live.d_model;
  for (size_t b = 0; b < blocks.n_blocks && !status; b++) {
    const size_t begin = start[first + blocks.first[b]], end = start[first + blocks.first[b + 1]];
    for (size_t m = 0; m < n_models && !status; m++) {
      status = xci_live_run(&live, &blocks, b, m, err);
      for (size_t row = begin; row < end && !status; row++)
        for (size_t j = 0; j < d; j++)
          hidden[((row - start[first]) * n_models + m) * d + j] =
              xci_bf16_to_f32(xci_f32_to_bf16(live.hidden[0][(row - begin) * d + j]));
    }
  }
  xci_live_close(&live);
  xci_blocks_free(&blocks);
  return status;
}
