/* SPDX-License-Identifier: Apache-2.0 */
/* Windows of checkpoints that overlap, one crosscoder each, joined into lives over the whole of training: features of
 * neighbouring windows are matched one to one by decoder at the checkpoints in common (chain.c), what they hold is
 * put on one axis (chain_life.c), and written (chain_file.c). */
#ifndef XCI_ANALYSIS_CHAIN_H
#define XCI_ANALYSIS_CHAIN_H

#include "analysis/comparison/compare.h"

/* By what a feature's share of a checkpoint is told: |IE|, |IE| over the checkpoint's total, norm of the decoder. */
enum { XCI_CHAIN_EFFECT, XCI_CHAIN_NORM, XCI_CHAIN_DECODER, XCI_N_CHAIN_BASES };

typedef struct xci_chain_link { /* window k to window k + 1; ranks in the lists of live features */
  int64_t *partner;             /* [a->n_live], XCI_UNMATCHED: none */
  float *similarity;            /* [a->n_live] with the partner, NaN without one */
  bool *mutual, *above;         /* nearest neighbours of each other; above the null */
  size_t n_pairs, n_above, n_mutual;
  double mean_above;            /* similarity of the pairs above the null */
  double null_mean, null_high;  /* of partners where none can be right: mean, 99 % quantile */
} xci_chain_link;

typedef struct xci_chain {
  size_t n_sides, n;            /* windows; checkpoints of the axis */
  const xci_side *side;
  const char **label;           /* [n] */
  double *tokens;               /* [n], NaN where unknown */
  size_t *place;                /* [n_sides, XCODER_MAX_CHECKPOINTS] on the axis */
  xci_chain_link *link;         /* [n_sides - 1] */
  size_t n_trajectories;
  int64_t *rank;                /* [n_trajectories, n_sides] of its feature in each window, XCI_UNMATCHED: none */
  xci_borders borders;          /* of the lives */
  size_t n_tasks;               /* tasks that all windows have effects of */
  double *share[XCI_N_CHAIN_BASES]; /* [n_trajectories, n], NaN: nothing to share */
  double *size;                 /* [n_trajectories] sum of |IE| over the axis; of decoder norms without effects */
} xci_chain;

/* The side with every live feature's decoder replaced by a random mixture of all of them: the same space and the same
 * covariance, and nothing that could be found again. `out` borrows the rest; xci_free(out->w_dec). */
xcoder_status xci_mix_decoder(const xci_side *side, uint64_t seed, xci_side *out, xcoder_error *err);

/* tokens[k][c] of side k, or NULL. Errors: XCODER_USAGE where neighbours share no checkpoint, XCODER_MISMATCH where
 * one label stands for two models. Sides must outlive the chain. */
xcoder_status xci_chain_open(const xci_side *side, size_t n_sides, const double *const *tokens, uint64_t seed,
                             xci_chain *chain, xcoder_error *err);
void xci_chain_close(xci_chain *chain);

/* Fills share[] (chain_life.c). */
xcoder_status xci_chain_shares(xci_chain *chain, xcoder_error *err);
/* chain.csv, chain-links.csv, chain.json in `folder`. */
xcoder_status xci_chain_write(const xci_chain *chain, uint64_t permutations, uint64_t seed, const char *folder,
                              xcoder_error *err);

#endif
