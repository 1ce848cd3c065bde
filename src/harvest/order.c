/* SPDX-License-Identifier: Apache-2.0 */
/* The order of samples: blocks of sequences, windows of shuffled blocks, shuffled samples of a window. */
#include "harvest/source.h"

#include "base/memory.h"
#include "base/parallel.h"
#include "base/random.h"
#include "base/size.h"
#include <string.h>

static size_t count_samples(const xci_blocks *blocks, size_t sequence) {
  size_t length = blocks->start[sequence + 1] - blocks->start[sequence];
  return blocks->keep_first || !length ? length : length - 1;
}

/* Fills first[] (if not NULL) and returns the number of blocks. */
static size_t cut_blocks(const size_t *start, size_t n_sequences, size_t batch_tokens, size_t *first) {
  size_t n_blocks = 0, begin = 0;
  while (begin < n_sequences) {
    size_t end = begin + 1;
    while (end < n_sequences && start[end + 1] - start[begin] <= batch_tokens) end++;
    if (first) first[n_blocks] = begin;
    n_blocks++;
    begin = end;
  }
  if (first) first[n_blocks] = n_sequences;
  return n_blocks;
}

xcoder_status xci_blocks_make(const size_t *start, size_t n_sequences, size_t batch_tokens, bool keep_first,
                              xci_blocks *blocks, xcoder_error *err) {
  size_t *first = NULL;
  size_t n_blocks = cut_blocks(start, n_sequences, batch_tokens, NULL);
  *blocks = (xci_blocks){0};
  xcoder_status status = XCI_ALLOC(&first, n_blocks + 1, err);
  if (status) return status;
  cut_blocks(start, n_sequences, batch_tokens, first);
  *blocks = (xci_blocks){n_sequences, n_blocks, start, first, keep_first};
  return XCODER_OK;
}

void xci_blocks_free(xci_blocks *blocks) {
  xci_free(blocks->first);
  *blocks = (xci_blocks){0};
}

size_t xci_blocks_samples(const xci_blocks *blocks, size_t block) {
  size_t n = 0;
  for (size_t s = blocks->first[block]; s < blocks->first[block + 1]; s++) n += count_samples(blocks, s);
  return n;
}

xcoder_status xci_source_make(const xci_source_ops *ops, void *context, xci_blocks *blocks, size_t n_checkpoints,
                              size_t d_model, const xcoder_source_options *options, uint64_t scale_samples,
                              const char *label, xcoder_source **source, xcoder_error *err) {
  xcoder_source *made = NULL;
  *source = NULL;
  xcoder_status status = XCI_ALLOC(&made, 1, err);
  if (status) {
    ops->close(context);
    xci_blocks_free(blocks);
    return status;
  }
  made->ops = ops;
  made->context = context;
  made->blocks = *blocks;
  *blocks = (xci_blocks){0};
  made->n_checkpoints = n_checkpoints;
  made->d_model = d_model;
  made->seed = options ? options->seed : 0;
  made->window_samples = options && options->window_samples ? options->window_samples
                                                            : (uint64_t)XCI_WINDOW_BATCHES * XCI_BATCH_TOKENS;
  for (size_t b = 0; b < made->blocks.n_blocks; b++) made->n_samples += xci_blocks_samples(&made->blocks, b);
  made->scale_samples = scale_samples && scale_samples < made->n_samples ? scale_samples : made->n_samples;
  if (made->n_samples) {
    *source = made;
    return XCODER_OK;
  }
  xcoder_source_close(made);
  return xci_fail(err, XCODER_MISMATCH, "%s: no position is left after masking", label);
}

void xcoder_source_close(xcoder_source *source) {
  if (!source) return;
  source->ops->close(source->context);
  xci_blocks_free(&source->blocks);
  xci_free(source->window_rank);
  xci_free(source->window_sample);
  xci_free(source->window);
  xci_free(source->chosen);
  xci_free(source);
}

size_t xcoder_source_checkpoints(const xcoder_source *source) { return source->n_checkpoints; }

size_t xcoder_source_width(const xcoder_source *source) { return source->d_model; }

uint64_t xcoder_source_epoch(const xcoder_source *source) { return source->n_samples; }

/* A window that holds a whole epoch is filled once and serves every epoch: its blocks stay in their own order, since
 * its samples are shuffled among all of them anyway. */
static bool holds_epoch(const xcoder_source *source) { return source->window_samples >= source->n_samples; }

static size_t block_at_rank(const xcoder_source *source, uint64_t epoch, size_t rank) {
  if (holds_epoch(source)) return rank;
  return (size_t)xci_permute(source->seed, XCI_STREAM_SEQUENCES, epoch, source->blocks.n_blocks, rank);
}

static xcoder_status add_window(xcoder_source *source, size_t rank, uint64_t sample, xcoder_error *err) {
  xcoder_status status = xci_grow((void **)&source->window_rank, &source->window_capacity, source->n_windows + 1,
                                  sizeof *source->window_rank, err);
  if (!status)
    status = xci_grow((void **)&source->window_sample, &source->sample_capacity, source->n_windows + 1,
                      sizeof *source->window_sample, err);
  if (status) return status;
  source->window_rank[source->n_windows] = rank;
  source->window_sample[source->n_windows++] = sample;
  return XCODER_OK;
}

/* Cuts an epoch into windows of at least window_samples samples; the last one may be smaller. The tables end with
 * one entry more than there are windows. */
static xcoder_status make_table(xcoder_source *source, uint64_t epoch, xcoder_error *err) {
  uint64_t sample = 0, window_begin = 0;
  if (source->n_windows && source->table_epoch == epoch) return XCODER_OK;
  source->n_windows = 0;
  xcoder_status status = add_window(source, 0, 0, err);
  for (size_t rank = 0; rank < source->blocks.n_blocks && !status; rank++) {
    sample += xci_blocks_samples(&source->blocks, block_at_rank(source, epoch, rank));
    if (sample - window_begin < source->window_samples || sample == source->n_samples) continue;
    window_begin = sample;
    status = add_window(source, rank + 1, sample, err);
  }
  if (!status) status = add_window(source, source->blocks.n_blocks, source->n_samples, err);
  if (status) {
    source->n_windows = 0;
    return status;
  }
  source->n_windows--;
  source->table_epoch = epoch;
  return XCODER_OK;
}

/* Room for the largest window of any order: it is full before its last block, which may be the largest. */
static xcoder_status allocate_window(xcoder_source *source, xcoder_error *err) {
  size_t largest = 0, n_values;
  if (source->window) return XCODER_OK;
  for (size_t b = 0; b < source->blocks.n_blocks; b++)
    largest = xci_max_size(largest, xci_blocks_samples(&source->blocks, b));
  uint64_t samples = source->n_samples;
  if (source->window_samples < samples - xci_min_size(largest, (size_t)samples))
    samples = source->window_samples + largest - 1;
  if (samples > SIZE_MAX || !xci_mul_size((size_t)samples, source->n_checkpoints, &n_values) ||
      !xci_mul_size(n_values, source->d_model, &n_values))
    return xci_fail(err, XCODER_MEMORY, "a shuffle window of %llu samples exceeds the address space",
                    (unsigned long long)samples);
  xcoder_status status = XCODER_OK;
  if (!source->chosen) status = XCI_ALLOC(&source->chosen, source->blocks.n_blocks, err);
  if (!status && XCI_ALLOC(&source->window, n_values, NULL))
    status = xci_fail(err, XCODER_MEMORY, "%zu bytes for a shuffle window of %llu samples could not be allocated "
                      "(a smaller window needs less)", n_values * sizeof *source->window, (unsigned long long)samples);
  return status;
}

xcoder_status xci_fill_tick(const xcoder_monitor *monitor, uint64_t done, uint64_t total, xcoder_error *err) {
  if (monitor == NULL) return XCODER_OK;
  if (monitor->stop != NULL && *monitor->stop != 0) return xci_fail(err, XCODER_INTERRUPTED, "stopped");
  const xcoder_progress progress = {.stage = "fill", .unit = "samples", .done = done, .total = total};
  if (monitor->progress != NULL) monitor->progress(monitor->context, &progress);
  return XCODER_OK;
}

static xcoder_status load_window(xcoder_source *source, size_t window, xcoder_error *err) {
  if (source->loaded && holds_epoch(source)) source->loaded_epoch = source->table_epoch;
  if (source->loaded && source->loaded_epoch == source->table_epoch && source->loaded_window == window)
    return XCODER_OK;
  xcoder_status status = allocate_window(source, err);
  if (status) return status;
  source->loaded = false;
  size_t first = source->window_rank[window], count = source->window_rank[window + 1] - first;
  for (size_t i = 0; i < count; i++) source->chosen[i] = block_at_rank(source, source->table_epoch, first + i);
  status = source->ops->fill(source->context, &source->blocks, source->chosen, count, source->window,
                                       source->monitor, err);
  if (status) return status;
  source->loaded = true;
  source->n_fills++;
  source->loaded_epoch = source->table_epoch;
  source->loaded_window = window;
  return XCODER_OK;
}

/* The window of the table that holds sample `sample` of the epoch. */
static size_t find_window(const xcoder_source *source, uint64_t sample) {
  size_t low = 0, high = source->n_windows;
  while (high - low > 1) {
    size_t middle = low + (high - low) / 2;
    if (source->window_sample[middle] <= sample) low = middle;
    else high = middle;
  }
  return low;
}

static uint64_t count_loaded(const xcoder_source *source) {
  return source->window_sample[source->loaded_window + 1] - source->window_sample[source->loaded_window];
}

/* Where sample `index` of the shuffled order of the loaded window lies in it. */
static uint64_t find_row(const xcoder_source *source, uint64_t index) {
  return xci_permute(source->seed, XCI_STREAM_SAMPLES, source->loaded_epoch << 32 ^ source->loaded_window,
                     count_loaded(source), index);
}

/* Copies samples first .. first+count-1 (of the shuffled order of the loaded window). */
static void copy_samples(const xcoder_source *source, uint64_t first, size_t count, uint16_t *samples) {
  const size_t width = source->n_checkpoints * source->d_model;
#pragma omp parallel for num_threads(xci_threads()) schedule(static)
  for (size_t i = 0; i < count; i++) {
    uint64_t row = find_row(source, first + i);
    memcpy(samples + i * width, source->window + (size_t)row * width, width * sizeof *samples);
  }
}

/* Loads the window of sample `first`: there it is number *at, and with it come *taken of `count`. */
static xcoder_status load_sample(xcoder_source *source, uint64_t first, size_t count, uint64_t *at, size_t *taken,
                                 xcoder_error *err) {
  uint64_t epoch = first / source->n_samples, sample = first % source->n_samples;
  xcoder_status status = make_table(source, epoch, err);
  if (status) return status;
  size_t window = find_window(source, sample);
  status = load_window(source, window, err);
  uint64_t left = source->window_sample[window + 1] - sample;
  *taken = left < count ? (size_t)left : count;
  *at = sample - source->window_sample[window];
  return status;
}

xcoder_status xcoder_source_read(xcoder_source *source, uint64_t first, size_t count, uint16_t *samples,
                                 xcoder_error *err) {
  const size_t width = source->n_checkpoints * source->d_model;
  if (first > UINT64_MAX - count)
    return xci_fail(err, XCODER_USAGE, "sample %llu is beyond the last one", (unsigned long long)first);
  while (count) {
    uint64_t at;
    size_t taken;
    xcoder_status status = load_sample(source, first, count, &at, &taken, err);
    if (status) return status;
    copy_samples(source, at, taken, samples);
    samples += taken * width;
    first += taken;
    count -= taken;
  }
  return XCODER_OK;
}

xcoder_status xci_source_locate(xcoder_source *source, uint64_t first, size_t count, xci_window *window, uint32_t *row,
                                size_t *taken, xcoder_error *err) {
  uint64_t at;
  xcoder_status status = load_sample(source, first, count, &at, taken, err);
  if (status) return status;
  if (count_loaded(source) > UINT32_MAX) *taken = 0;
#pragma omp parallel for num_threads(xci_threads()) schedule(static)
  for (size_t i = 0; i < *taken; i++) row[i] = (uint32_t)find_row(source, at + i);
  *window = (xci_window){source->window, (size_t)count_loaded(source), source->n_fills};
  return XCODER_OK;
}
