/* SPDX-License-Identifier: Apache-2.0 */
/* Where the trainer gets its samples from. The crosscoder knows neither models nor stores, so it trains from
 * anything that fills a batch; harvest adapts its sources to this. */
#ifndef XCI_CROSSCODER_BATCHES_H
#define XCI_CROSSCODER_BATCHES_H

#include <crosscoder/status.h>
#include <stddef.h>
#include <stdint.h>

/* Samples in the host's memory, out of which those of a pass are drawn. */
typedef struct xci_window {
  const uint16_t *samples; /* bf16 [n_rows, n_checkpoints, d_model], not scaled */
  size_t n_rows;
  uint64_t version;        /* from 1; another one, other samples */
} xci_window;

typedef struct xci_batches {
  void *context;
  size_t n_checkpoints, d_model;
  uint64_t n_samples; /* in one pass; any index may be read, later passes follow the first */
  /* Samples first .. first+count-1 as bf16, [count, n_checkpoints, d_model], not scaled: a function of the index. */
  xcoder_status (*read)(void *context, uint64_t first, size_t count, uint16_t *bf16, xcoder_error *err);
  /* Where samples first .. first+*taken-1 lie: in rows row[..] of the window, which is good until the next call. Fewer
   * than count where the rest is in another window. NULL: there are no windows. */
  xcoder_status (*locate)(void *context, uint64_t first, size_t count, xci_window *window, uint32_t *row,
                          size_t *taken, xcoder_error *err);
} xci_batches;

#endif
