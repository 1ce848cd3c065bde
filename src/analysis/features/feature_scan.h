/* SPDX-License-Identifier: Apache-2.0 */
/* What a pass over a corpus keeps of each feature while it runs. */
#ifndef XCI_ANALYSIS_FEATURE_SCAN_H
#define XCI_ANALYSIS_FEATURE_SCAN_H

#include "analysis/features/feature_database.h"
#include "analysis/features/feature_types.h"

/* A context kept: the strongest have their activation as order, drawn ones a random number. */
typedef struct xci_scan_slot {
  bool used;
  float value;
  uint64_t order, sequence;
  uint32_t position;
} xci_scan_slot;

typedef struct xci_scan_row { /* of a feature that fired */
  uint64_t fired;
  double sum;
  float max;
  xci_histogram histogram;
  xci_types types;
  xci_scan_slot *slot;         /* [slots] strongest, drawn, silent on its own token, silent anywhere */
  int32_t *token;     /* [slots, width] */
  float *activation;  /* [slots, width] */
  float *share;       /* [slots, n] */
  float *window;      /* [n_top, n, width] shares of every token shown; NULL unless a card was asked for */
  double *origin;     /* [n] activation mass by checkpoint */
} xci_scan_row;

typedef struct xci_scan_event { /* a feature fires at a sample of the stretch */
  uint32_t sample;
  float value;
} xci_scan_event;

typedef struct xci_scan {
  const xci_bench *bench;
  const xcoder_tokens *corpus;
  xci_sizes size;
  size_t type_limit;
  xci_scan_row *rows;           /* [n_latents], slot == NULL: did not fire yet */
  const uint8_t *chosen; /* [n_latents] a card was asked for */
  uint8_t *seen;       /* [n_vocab] tokens met */
  size_t n_vocab;
  uint64_t n_tokens, first_sequence;
  /* The stretch in hand. */
  xci_stretch s;
  size_t *start;       /* [n_latents + 1] events of a feature */
  xci_scan_event *events;
  size_t capacity;
  uint32_t *sequence;  /* [samples] of the stretch */
  uint32_t *by_token;  /* [samples] sorted by token, then place */
  size_t n_sequence, n_by_token;
  float *columns;      /* [threads, BLOCK, n * d] of the encoder */
} xci_scan;

/* The events of one feature in the stretch in hand: counts, sums, and the contexts that are kept (feature_contexts.c).
 * `encoder` [n, d] of this feature, in terms of raw activations. Errors: XCODER_MEMORY. */
xcoder_status xci_scan_read_feature(xci_scan *scan, uint32_t feature, const float *encoder);
/* From rows to arrays (feature_arrays.c). */
xcoder_status xci_scan_copy(const xci_scan *scan, xci_database *database, xcoder_error *err);

#endif
