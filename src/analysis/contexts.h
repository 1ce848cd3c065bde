/* SPDX-License-Identifier: Apache-2.0 */
/* The places where a feature is strongest: a bounded heap that keeps the top k, at most one per sequence. */
#ifndef XCI_ANALYSIS_CONTEXTS_H
#define XCI_ANALYSIS_CONTEXTS_H

#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct xci_context {
  float value;       /* activation at the peak */
  uint64_t sequence; /* of the corpus */
  size_t position;   /* of the peak in its sequence */
  size_t first, n;   /* tokens shown: positions first .. first + n - 1 */
  float *activation; /* [n], owned */
  float *share;      /* [n_checkpoints, n] pre-activations, owned */
} xci_context;

typedef struct xci_contexts {
  size_t n, capacity;
  xci_context *item; /* a heap, the weakest first */
} xci_contexts;

xcoder_status xci_contexts_create(xci_contexts *contexts, size_t capacity, xcoder_error *err);
void xci_contexts_free(xci_contexts *contexts);
/* Whether a peak of `value` in `sequence` belongs to the top k seen so far. Of equal values the earlier sequence is
 * stronger, so that the result does not depend on the order of offers. */
bool xci_contexts_accepts(const xci_contexts *contexts, float value, uint64_t sequence);
/* Takes `context` (and what it owns), dropping the weakest one when full. Only after xci_contexts_accepts(). */
void xci_contexts_push(xci_contexts *contexts, xci_context context);
/* Orders the items from strongest to weakest; no push afterwards. */
void xci_contexts_sort(xci_contexts *contexts);

#endif
