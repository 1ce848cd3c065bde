/* SPDX-License-Identifier: Apache-2.0 */
/* What all sources share. The unit of shuffling is a block: consecutive sequences that one forward pass runs together.
 * The bits of a matrix product depend on its shape, so a sequence gives the same bits live and stored only if it is
 * always run in the same company; whole blocks are therefore shuffled, and within a window all their samples. */
#ifndef XCI_HARVEST_SOURCE_H
#define XCI_HARVEST_SOURCE_H

#include "base/error.h"
#include "crosscoder/batches.h"
#include <crosscoder/harvest.h>

enum { XCI_BATCH_TOKENS = 4096, XCI_WINDOW_BATCHES = 128, XCI_SHARD_TOKENS = 65536 };

/* Sequences cut into blocks of at most `batch_tokens` tokens (or one longer sequence). Sequence s has the positions
 * start[s] .. start[s+1]-1; block b the sequences first[b] .. first[b+1]-1. */
typedef struct xci_blocks {
  size_t n_sequences, n_blocks;
  const size_t *start;  /* [n_sequences + 1], not owned */
  size_t *first;        /* [n_blocks + 1] */
  bool keep_first;      /* whether position 0 of a sequence is a sample */
} xci_blocks;
xcoder_status xci_blocks_make(const size_t *start, size_t n_sequences, size_t batch_tokens, bool keep_first,
                              xci_blocks *blocks, xcoder_error *err);
void xci_blocks_free(xci_blocks *blocks);
size_t xci_blocks_samples(const xci_blocks *blocks, size_t block); /* unmasked positions */

typedef struct xci_source_ops {
  /* Writes the samples of the given blocks, one block after the other, to window [samples, n_checkpoints, d_model].
   * Filling takes as long as hundreds of training steps, so it reports progress and can be stopped. */
  xcoder_status (*fill)(void *context, const xci_blocks *blocks, const size_t *chosen, size_t n_chosen,
                        uint16_t *window, const xcoder_monitor *monitor, xcoder_error *err);
  void (*close)(void *context);
} xci_source_ops;

struct xcoder_source {
  const xci_source_ops *ops;
  void *context;
  size_t n_checkpoints, d_model;
  uint64_t seed, window_samples, n_samples; /* n_samples: of an epoch */
  uint64_t scale_samples;                   /* most that an estimate of scales may read */
  xci_blocks blocks;
  const xcoder_monitor *monitor;            /* of the work that reads at the moment, or NULL */

  /* The windows of one epoch: window w has the blocks of rank window_rank[w] .. and the samples window_sample[w] .. */
  uint64_t table_epoch;
  size_t n_windows; /* 0: no table yet */
  size_t *window_rank;
  uint64_t *window_sample;
  size_t window_capacity, sample_capacity;

  /* The window in memory. */
  uint16_t *window;
  size_t *chosen;
  bool loaded;
  uint64_t loaded_epoch;
  size_t loaded_window;
  uint64_t n_fills;
};

/* As `locate` of xci_batches. */
xcoder_status xci_source_locate(xcoder_source *source, uint64_t first, size_t count, xci_window *window, uint32_t *row,
                                size_t *taken, xcoder_error *err);

/* Takes over `context` (closed also on failure) and `blocks` (emptied). `label` is for messages. */
xcoder_status xci_source_make(const xci_source_ops *ops, void *context, xci_blocks *blocks, size_t n_checkpoints,
                              size_t d_model, const xcoder_source_options *options, uint64_t scale_samples,
                              const char *label, xcoder_source **source, xcoder_error *err);

/* XCODER_INTERRUPTED if the monitor asks to stop; else tells it that `done` of `total` samples of a window are
 * there. */
xcoder_status xci_fill_tick(const xcoder_monitor *monitor, uint64_t done, uint64_t total, xcoder_error *err);

/* Live models as a context of their own, also used to write stores. */
typedef struct xci_live {
  xcoder_model *const *models;
  size_t n_models, d_model;
  size_t n_layers;
  long *layers;      /* [n_layers] */
  const uint32_t *ids;
  bool sequential;
  size_t *rebased;   /* [most sequences of a block + 1] */
  float *values;
  float **hidden;    /* of each layer: [most tokens of a block, d_model] in values */
} xci_live;
xcoder_status xci_live_open(xcoder_model *const *models, size_t n_models, const long *layers, size_t n_layers,
                            const xcoder_tokens *tokens, const xci_blocks *blocks, xci_live *live, xcoder_error *err);
void xci_live_close(xci_live *live);
/* Block `block` of model `model` at all layers, in one pass: hidden (of live) [tokens of the block, d_model]. */
xcoder_status xci_live_run(xci_live *live, const xci_blocks *blocks, size_t block, size_t model, xcoder_error *err);
/* Errors where models, layer and tokens do not fit together. */
xcoder_status xci_live_check(xcoder_model *const *models, size_t n_models, long layer, const xcoder_tokens *tokens,
                             xcoder_error *err);

#endif
