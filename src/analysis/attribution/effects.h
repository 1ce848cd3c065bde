/* SPDX-License-Identifier: Apache-2.0 */
/* The effects of a task: sparse per example, and their means. */
#ifndef XCI_ANALYSIS_EFFECTS_H
#define XCI_ANALYSIS_EFFECTS_H

#include "analysis/attribution/attribution.h"

typedef struct xci_effects {
  size_t n, n_latents, n_examples, capacity_examples;
  size_t *start;              /* [n_examples + 1] */
  uint32_t *feature;          /* [nnz], ascending within an example */
  float *effect;              /* [nnz, n] */
  size_t nnz, capacity_feature, capacity_effect;
  float *error, *bias, *clean, *baseline; /* [n_examples, n] */
  double *gap;                /* [n_examples, n]: sum of all effects - change of the metric */
  double *sum;                /* [n_latents, n] over examples, as they are averaged for the table */
  double *plain;              /* [n_latents, n] over examples, of all effects as they are */
  double threshold;           /* effects of single positions up to this are not averaged; < 0: none */
  bool authors;               /* averaged as the authors do */
  double *share;              /* [n_examples] factor of each example in `sum` and `effect`; NULL: 1 */
  uint32_t *n_active;         /* [n_latents] examples with an entry */
  double *scratch;            /* [n_latents, n], zero between examples */
  uint8_t *seen;              /* [n_latents], zero between examples */
} xci_effects;

xcoder_status xci_effects_open(const xci_bench *bench, size_t n_examples, xci_effects *effects, xcoder_error *err);
void xci_effects_close(xci_effects *effects);
/* Adds the examples of a stretch, in order. */
xcoder_status xci_effects_add(const xci_bench *bench, const xci_path *path, const xci_stretch *s,
                              const xci_stretch *counter, const xci_node_effects *nodes, xci_effects *effects,
                              xcoder_error *err);

/* Per checkpoint, from all examples. Both gaps are given as shares of the mean |change of the metric|. */
typedef struct xci_effects_summary {
  double metric_clean, metric_baseline, sum_effects, error_effect, bias_effect;
  double gap, gap_share;                   /* |sum of effects - change of the metric| of the means above */
  double gap_examples, gap_examples_share; /* the mean over examples of the same, so that errors do not cancel */
  double error_share; /* |error effect| / sum of |mean effects| of all nodes */
} xci_effects_summary;
void xci_effects_summarise(const xci_effects *effects, size_t checkpoint, xci_effects_summary *summary);

/* effects/TASK.csv and .json and the verdicts. */
xcoder_status xci_effects_write(const xci_bench *bench, const xci_path *path, const char *task,
                                const xci_effects *effects, const xcoder_attribute_options *options,
                                const char *run_directory, xcoder_verdicts *verdicts, xcoder_error *err);

/* ---- Where paths end at other prompts (donors.c). Lists are freed by the caller, [*n] of xcoder_pairs_count().
 * ---- */

/* The pairs that have a counterfactual prompt. */
xcoder_status xci_choose_counterfactuals(const xcoder_pairs *task, size_t **chosen, size_t *n, xcoder_error *err);
/* For every prompt another one of its length, drawn by the seed: their order is rotated by a random number of places
 * within each length, so that every prompt serves once. Prompts without a peer are left out. */
xcoder_status xci_draw_donors(const xcoder_pairs *task, uint64_t seed, size_t **chosen, size_t **donor, size_t *n,
                              xcoder_error *err);

/* "zero", "origin", "mean", "counterfactual", "resampled". */
const char *xci_baseline_name(xcoder_baseline baseline);

#endif
