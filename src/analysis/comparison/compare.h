/* SPDX-License-Identifier: Apache-2.0 */
/* Comparing the features of several crosscoders on the same text.
 *
 * Each side is encoded once and then stands without its models. Two sides are compared on the positions that both have:
 * a position of one is paired with the position of the other whose token holds its last byte, so that tokenizers may
 * differ. */
#ifndef XCI_ANALYSIS_COMPARE_H
#define XCI_ANALYSIS_COMPARE_H

#include "analysis/attribution/relative_effect.h"
#include "analysis/json_out.h"
#include "analysis/comparison/match.h"
#include "analysis/workbench.h"

/* Effects of one task as attribution wrote them. */
typedef struct xci_task_effects {
  char *task;
  size_t n_features;
  uint32_t *feature;   /* [n_features] */
  double *ie, *rel_ie; /* [n_features, n] */
  double *low, *high;  /* [n_features, n], of RelIE over examples; NaN where the run has none */
  double *n_active;    /* [n_features], examples in which it is active */
  char (*class)[64];   /* [n_features] */
} xci_task_effects;

typedef struct xci_side {
  char *name;
  size_t n, d_model, n_latents;
  long layer;
  char **labels;            /* [n] */
  char (*fingerprint)[33];  /* [n], of the embeddings of the first document: equal for equal checkpoints alone */
  float *w_dec;             /* [n_latents, n, d_model], unfolded */
  size_t n_sequences;
  size_t *sequence;         /* [n_sequences + 1], first position of each */
  size_t n_positions;       /* unmasked ones */
  uint32_t *end_byte;       /* [n_positions], of the position's token within its document */
  size_t *code;             /* [n_positions + 1] */
  uint32_t *feature;        /* [code[n_positions]] */
  float *value;
  size_t n_live;            /* features that are active somewhere */
  uint32_t *live;           /* [n_live], ascending */
  uint32_t *rank_of;        /* [n_latents], index in live, UINT32_MAX for the others */
  size_t n_tasks;
  xci_task_effects *task;
  xci_borders borders;      /* of the run's classes */
  double *token_entropy;    /* [n_latents], NaN where the run does not say */
} xci_side;

xcoder_status xci_side_open(const char *name, const xcoder_setting *setting, const xcoder_tokens *documents,
                            const char *run_directory, xci_side *side, xcoder_error *err);
void xci_side_close(xci_side *side);
/* Reads the effects and feature tables of a run into the side (compare_tables.c). */
xcoder_status xci_side_read_tables(const char *run_directory, xci_side *side, xcoder_error *err);
/* Row of a feature, SIZE_MAX if it has no effect on the task. */
size_t xci_task_row(const xci_task_effects *task, uint32_t feature);

/* ---- Similarities of live features: [a->n_live, b->n_live] ---- */

typedef struct xci_pairing { /* positions that stand for each other */
  size_t n;
  size_t *a, *b;
} xci_pairing;
xcoder_status xci_pair_positions(const xci_side *a, const xci_side *b, xci_pairing *pairing, xcoder_error *err);

/* Pearson correlation of activations over paired positions; position k of a meets position (k + shift) mod n of b.
 * Features constant there correlate 0 with everything. */
xcoder_status xci_correlations(const xci_side *a, const xci_side *b, const xci_pairing *pairing, size_t shift,
                               float *out, xcoder_error *err);
/* Cosine of decoder directions joined over the checkpoints that both sides have. `random` (NULL: b's own):
 * seed of a dictionary of b's shape with standard normal directions. */
xcoder_status xci_cosines(const xci_side *a, const xci_side *b, const uint64_t *random, float *out, xcoder_error *err);
/* Number of checkpoints in common: the same label and the same model. */
size_t xci_shared_labels(const xci_side *a, const xci_side *b);
bool xci_same_checkpoint(const xci_side *a, size_t c, const xci_side *b, size_t e);

/* ---- A pair of sides ---- */

typedef struct xci_null { /* the same matching where nothing can match */
  double mean, high;      /* mean and 99 % quantile of the partners' similarities */
  double share;           /* of partners at or above the threshold */
} xci_null;

typedef struct xci_matching {
  const xci_side *a, *b;
  bool by_cosine;
  double threshold;
  xci_pairing pairing;
  float *cosine;         /* NULL where there is none */
  float *correlation;
  int64_t *partner;      /* [a->n_live], index in b->live */
  bool *mutual;          /* [a->n_live] */
  xci_null null;
} xci_matching;

xcoder_status xci_matching_open(const xci_side *a, const xci_side *b, const xcoder_compare_options *options,
                                xci_matching *matching, xcoder_error *err);
void xci_matching_close(xci_matching *matching);
/* Similarity of feature k of a with its partner, NaN without one. */
double xci_matching_similarity(const xci_matching *matching, size_t k);
bool xci_matching_recurs(const xci_matching *matching, size_t k);
/* Whether both are of the same checkpoints at the same layer, so that RelIE of matched features is of the same. */
bool xci_made_alike(const xci_side *a, const xci_side *b);

/* ---- RelIE over runs (compare_runs.c) ---- */

enum { XCI_MOST_SIDES = 64 };

/* RelIE of the features of the first side in every run made like it. */
typedef struct xci_over_runs {
  const xci_side *side;
  size_t n_sides, n_alike; /* n_alike: the first side and those made alike */
  double **value;          /* per task: [n_features, n, n_sides], NaN where a run does not have the feature */
} xci_over_runs;

xcoder_status xci_over_runs_open(const xci_side *first, size_t n_sides, xci_over_runs *over, xcoder_error *err);
void xci_over_runs_close(xci_over_runs *over);
/* Takes the partners of the first side's features in side number `side`; of other pairs, and of runs that were not made
 * alike, nothing. */
void xci_over_runs_add(const xci_matching *matching, size_t side, xci_over_runs *over);
void xci_over_runs_write(const xci_over_runs *over, xci_json_out *json, xci_text *csv);

/* ---- Files (compare_file.c) ---- */

/* Adds one pair's object and rows. */
xcoder_status xci_compare_write_pair(const xci_matching *matching, const xcoder_compare_options *options,
                                     xci_json_out *json, xci_text *matches, xcoder_error *err);
/* Adds the members on classes and onsets of a task to its object (compare_classes.c). */
xcoder_status xci_compare_write_classes(const xci_matching *matching, const xci_task_effects *of_a,
                                        const xci_task_effects *of_b, xci_json_out *json, xcoder_error *err);

#endif
