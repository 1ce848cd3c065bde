/* SPDX-License-Identifier: Apache-2.0 */
/* A stream of activations of n checkpoints over the same text: live, stored, or from an array.
 *
 * A sample is the residual stream of all n checkpoints at one token position, [n_checkpoints, d_model], rounded
 * to bf16 (METHOD section 1), not scaled. Samples come in an order that is a stateless function of
 * (seed, index): index 0, 1, 2, ... runs through windows of shuffled blocks of sequences, the samples of a window
 * shuffled again, epoch after epoch. A block is what one forward pass runs together; the bits of a matrix product
 * depend on it, so blocks stay whole, and a store and live models give the same bits for the same index.
 * Masked positions are never samples. */
#ifndef CROSSCODER_HARVEST_H
#define CROSSCODER_HARVEST_H

#include <crosscoder/coder.h>
#include <crosscoder/data.h>
#include <crosscoder/model.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct xcoder_source xcoder_source;

typedef struct xcoder_source_options {
  uint64_t seed;
  xcoder_mask mask;
  uint64_t window_samples;   /* samples shuffled together and held in memory; 0: 128 batches of 4096 */
  size_t batch_tokens;       /* live: most tokens of a block; 0: 4096. A store keeps what it was harvested with */
  bool sequential;           /* one model at a time over a window (issue: --sequential-models); same bits */
} xcoder_source_options;

/* Live: `models` [n_checkpoints] and `tokens` must outlive the source. Errors: XCODER_MISMATCH for widths that
 * differ, XCODER_USAGE for a layer that does not exist. */
XCODER_API xcoder_status xcoder_source_live(xcoder_model *const *models, size_t n_checkpoints, long layer,
                                            const xcoder_tokens *tokens, const xcoder_source_options *options,
                                            xcoder_source **source, xcoder_error *err);
/* A store that xcoder_harvest() wrote; `layer` chooses among its layers (LONG_MIN: its only one). */
XCODER_API xcoder_status xcoder_source_store(const char *path, long layer, const xcoder_source_options *options,
                                             xcoder_source **source, xcoder_error *err);
/* An array [n_samples, n_checkpoints, d_model]; copied (as bf16). */
XCODER_API xcoder_status xcoder_source_array(const float *activations, size_t n_samples, size_t n_checkpoints,
                                             size_t d_model, const xcoder_source_options *options,
                                             xcoder_source **source, xcoder_error *err);
XCODER_API void xcoder_source_close(xcoder_source *source);

XCODER_API size_t xcoder_source_checkpoints(const xcoder_source *source);
XCODER_API size_t xcoder_source_width(const xcoder_source *source);
XCODER_API uint64_t xcoder_source_epoch(const xcoder_source *source); /* samples in one pass */

/* Samples first .. first+count-1 of the shuffled order, bf16: [count, n_checkpoints, d_model]. */
XCODER_API xcoder_status xcoder_source_read(xcoder_source *source, uint64_t first, size_t count, uint16_t *samples,
                                            xcoder_error *err);

/* scales[c] = sqrt(d_model) / mean norm of a_c, over shuffled samples until the standard error of every mean is
 * below 0.1 % of it, at most 1000 x 4 sequences' worth (or the whole epoch). `relative_error` may be NULL. */
XCODER_API xcoder_status xcoder_source_scales(xcoder_source *source, float *scales, double *relative_error,
                                              const xcoder_monitor *monitor, xcoder_error *err);

typedef struct xcoder_harvest_options {
  const long *layers;
  size_t n_layers;
  const char *const *labels;   /* [n_checkpoints] */
  xcoder_mask mask;
  size_t batch_tokens;         /* most tokens of a block; 0: 4096 */
  uint64_t shard_tokens;       /* tokens of a shard, held in memory for all layers; 0: 65536 / n_layers */
} xcoder_harvest_options;

/* Writes the activations of all positions to the store `path` (bf16, shards, checksums). An interrupted harvest
 * with the same inputs is continued; a complete one is left alone; one of other inputs is refused (XCODER_STATE). */
XCODER_API xcoder_status xcoder_harvest(xcoder_model *const *models, size_t n_checkpoints, const xcoder_tokens *tokens,
                                        const xcoder_harvest_options *options, const char *path,
                                        const xcoder_monitor *monitor, xcoder_error *err);

#ifdef __cplusplus
}
#endif
#endif
