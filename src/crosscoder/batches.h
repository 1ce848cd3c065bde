/* SPDX-License-Identifier: Apache-2.0 */
/* Where the trainer gets its samples from. The crosscoder knows neither models nor stores, so it trains from
 * anything that fills a batch; harvest adapts its sources to this. */
#ifndef XCI_CROSSCODER_BATCHES_H
#define XCI_CROSSCODER_BATCHES_H

#include <crosscoder/status.h>
#include <stddef.h>
#include <stdint.h>

typedef struct xci_batches {
  void *context;
  size_t n_checkpoints, d_model;
  uint64_t n_samples; /* in one pass; any index may be read, later passes follow the first */
  /* Samples first .. first+count-1 as bf16, [count, n_checkpoints, d_model], not scaled: a function of the index. */
  xcoder_status (*read)(void *context, uint64_t first, size_t count, uint16_t *bf16, xcoder_error *err);
} xci_batches;

#endif
