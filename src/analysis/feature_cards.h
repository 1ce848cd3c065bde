/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of features from a corpus and from their decoders: collected in feature_cards.c and lens.c, written in
 * features_file.c. */
#ifndef XCI_ANALYSIS_FEATURE_CARDS_H
#define XCI_ANALYSIS_FEATURE_CARDS_H

#include "analysis/contexts.h"
#include "analysis/histogram.h"
#include "analysis/token_profile.h"
#include "analysis/workbench.h"

enum { XCI_N_NEAREST = 5 };

/* Of every feature of the crosscoder. */
typedef struct xci_activity {
  uint64_t fired;
  double sum;
  float max;
} xci_activity;

typedef struct xci_logit {
  uint32_t token;
  float value;
} xci_logit;

typedef struct xci_nearest {
  uint32_t feature;
  double cosine;
} xci_nearest;

typedef struct xci_card {
  uint32_t feature;
  xci_histogram histogram;
  xci_contexts contexts;
  xci_logit *promoted, *suppressed; /* [n, n_logits] */
  size_t n_logits;                  /* as many as there are tokens, at most as asked */
  double *norm, *share, *cosine;    /* [n], [n], [n, n] of the unfolded decoder */
  xci_nearest nearest[XCI_N_NEAREST];
  size_t n_nearest;
} xci_card;

typedef struct xci_cards {
  const xci_bench *bench;
  const xcoder_tokens *corpus;
  xcoder_features_options options;
  uint64_t n_tokens;      /* unmasked positions */
  size_t n_types;         /* different tokens at unmasked positions */
  xci_activity *activity; /* [n_latents] */
  xci_token_profile profile;
  uint32_t *slot;         /* [n_latents] card of a feature, UINT32_MAX if none */
  size_t n;
  xci_card *card;
} xci_cards;

/* Norms, shares, cosines, nearest features and the logit lens of all cards. */
xcoder_status xci_cards_look(xci_cards *cards, xcoder_error *err);

/* features/features.json (the cards) and features/features.csv (every feature that fired). */
xcoder_status xci_cards_write(const xci_cards *cards, const char *run_directory, xcoder_error *err);

#endif
