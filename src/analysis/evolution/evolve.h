/* SPDX-License-Identifier: Apache-2.0 */
/* How features come and go over checkpoints: life cycles and flows (evolve_cycle.c), token-specificity by class
 * (evolve_classes.c), sets of languages (evolve_languages.c), read in evolve_in.c and written in evolve_file.c. */
#ifndef XCI_ANALYSIS_EVOLVE_H
#define XCI_ANALYSIS_EVOLVE_H

#include "analysis/attribution/relative_effect.h"
#include "analysis/features/feature_database.h"
#include "analysis/json_out.h"

/* ---- Life cycles ---- */

typedef enum xci_cycle {
  XCI_CYCLE_NONE, /* present nowhere */
  XCI_EMERGING, XCI_PERSISTING, XCI_VANISHING, XCI_REEMERGING, XCI_TRANSIENT, XCI_N_CYCLES
} xci_cycle;

extern const char *const xci_cycle_names[XCI_N_CYCLES];

/* Checkpoints (bits) at which a feature with these shares [n] is present: those with the share from which classes are
 * shared, 0.3 for n <= 3, else 0.9 / n. */
uint32_t xci_present(xci_borders borders, const double *share, size_t n);
/* By the pattern: 0..01..1 emerging, 1..10..0 vanishing, 1..1 persisting, 0..01..10..0 transient, anything that comes
 * back (1 0 1) re-emerging. */
xci_cycle xci_life_cycle(uint32_t present, size_t n);

/* State at one checkpoint: absent, present, dominant (above the border of specific for n <= 3, 0.7; else above 0.5,
 * more than all others together). */
enum { XCI_N_STATES = 3 };
extern const char *const xci_state_names[XCI_N_STATES];

/* The words of the classes of RelIE (shared is persisting), and of the shared ones by whom: all; others with the last
 * two checkpoints among them; with the first two and not the last two; any other set. */
typedef enum xci_word {
  XCI_WORD_NEITHER, XCI_WORD_EMERGING, XCI_WORD_VANISHING, XCI_WORD_PERSISTING,
  XCI_SHARED_BY_ALL, XCI_SHARED_TO_THE_END, XCI_SHARED_EARLY, XCI_SHARED_OTHERWISE, XCI_N_WORDS
} xci_word;
extern const char *const xci_word_names[XCI_N_WORDS];
xci_word xci_word_of(xci_borders borders, const double *share, size_t n);    /* up to XCI_WORD_PERSISTING */
xci_word xci_sharing_of(xci_borders borders, const double *share, size_t n); /* XCI_WORD_NEITHER: not shared */

typedef struct xci_flow { /* a count against its null: the order of every feature's shares is drawn anew */
  double observed, expected, low, high; /* mean and 95 % interval under the null */
  double p;                             /* two-sided */
} xci_flow;

/* Counts of cycles [XCI_N_CYCLES], of words [XCI_N_WORDS] and of flows [n - 1, XCI_N_STATES, XCI_N_STATES] over the
 * features with shares [n_features, n]; rows that start with NaN are left out. */
xcoder_status xci_flows(xci_borders borders, const double *share, size_t n_features, size_t n, uint64_t permutations,
                        uint64_t seed, xci_flow *cycles, xci_flow *words, xci_flow *flows, xcoder_error *err);

typedef struct xci_life { /* of a feature */
  xci_cycle cycle;
  double support;               /* share of resamples of the examples with the same cycle */
  size_t onset, onset_low, onset_high; /* first checkpoint at which it is present, 95 % interval; n: none */
} xci_life;

/* The life of strengths [n], with strengths of resamples [n_resamples, n]; `share` [n] is filled (NaN: no effect). */
void xci_life_of(xci_borders borders, const double *strength, const double *resampled, size_t n_resamples, size_t n,
                 double *share, xci_life *life);

/* ---- Two groups of numbers ---- */

typedef struct xci_contrast {
  size_t n_first, n_second;
  double median_first, median_second;
  double delta, low, high; /* Cliff's delta, > 0: the first group is larger; 95 % interval */
  double p;                /* Mann-Whitney, with ties, normal */
  double matched_delta, matched_p; /* within tenths of `stratum`, permutation within them */
} xci_contrast;
xcoder_status xci_contrast_groups(const double *value, const double *stratum, const int *group, size_t n, int first,
                                  int second, uint64_t permutations, uint64_t seed, xci_contrast *result,
                                  xcoder_error *err);

/* ---- Effects of a run ---- */

typedef struct xci_example_effects {
  char *name;
  size_t n, n_examples, nnz;
  int64_t *start;      /* [n_examples + 1] */
  int32_t *feature;    /* [nnz] */
  float *effect;       /* [nnz, n] */
  size_t *of;          /* [n_features + 1] entries of a feature, in by */
  uint32_t *by;        /* [nnz] entries sorted by feature */
  uint32_t *example;   /* [nnz] */
  int *language;       /* [n_examples], -1: unknown */
} xci_example_effects;

typedef struct xci_run_effects {
  size_t n, n_features, n_tasks;
  xci_example_effects *task;
  char **labels;
  size_t n_languages, language_capacity;
  char **languages;
} xci_run_effects;

/* effects/TASK.safetensors of a run; all with the same checkpoints. XCODER_MISSING without any. Languages are taken
 * from `tasks` of the same names and sizes. */
xcoder_status xci_run_effects_open(const char *run_directory, const xcoder_pairs *const *tasks, size_t n_tasks,
                                   xci_run_effects *effects, xcoder_error *err);
void xci_run_effects_close(xci_run_effects *effects);
/* Mean |mean effect| over tasks, [n_features, n]. */
xcoder_status xci_run_strengths(const xci_run_effects *effects, double **strength, xcoder_error *err);

/* ---- Languages ---- */

typedef struct xci_overlap { /* of the top-k sets of two languages at a checkpoint */
  size_t a, b, checkpoint, count, n_candidates;
  double jaccard, expected, p; /* p: as many or more in common when features are drawn by chance */
} xci_overlap;
/* The chance that two sets of k drawn from n have `count` or more in common, by `permutations` draws. */
double xci_overlap_p(size_t n, size_t k_a, size_t k_b, size_t count, uint64_t permutations, uint64_t seed,
                     uint64_t stream_index, double *expected);

typedef struct xci_language_life {
  size_t n_overlaps;
  xci_overlap *overlap;
  size_t n_chosen;          /* union of all sets */
  uint32_t *feature;        /* [n_chosen] */
  uint32_t *n_languages;    /* [n_chosen, n] languages in whose set it is */
  double *entropy;          /* [n_chosen, n] of its effect over languages, 0..1; NaN: no effect */
  double mean_languages[XCODER_MAX_CHECKPOINTS], mean_languages_low[XCODER_MAX_CHECKPOINTS],
      mean_languages_high[XCODER_MAX_CHECKPOINTS];
  double mean_entropy[XCODER_MAX_CHECKPOINTS], mean_entropy_low[XCODER_MAX_CHECKPOINTS],
      mean_entropy_high[XCODER_MAX_CHECKPOINTS];
  double rho, rho_p;        /* Spearman of entropy (mean over checkpoints) and RelIE at the last one; permutation */
} xci_language_life;
xcoder_status xci_languages(const xci_run_effects *effects, const double *share, size_t k, uint64_t permutations,
                            uint64_t seed, xci_language_life *life, xcoder_error *err);
void xci_languages_close(xci_language_life *life);

/* ---- All of it ---- */

enum { XCI_N_BASES = 4, XCI_N_VIEWS = 2, XCI_N_MEASURES = 2, XCI_N_CONTRASTS = 3, XCI_N_GROUPS = 3 };

typedef struct xci_specificity { /* of one way to class features */
  size_t n_group[XCI_N_GROUPS];  /* early-specific, shared, late-specific */
  double median[XCI_N_MEASURES][XCI_N_GROUPS], low[XCI_N_MEASURES][XCI_N_GROUPS], high[XCI_N_MEASURES][XCI_N_GROUPS];
  xci_contrast contrast[XCI_N_MEASURES][XCI_N_CONTRASTS]; /* late - early, shared - early, late - shared */
  size_t n_telling[XCI_N_GROUPS];                         /* of them tell a label: AUC >= 0.75, corrected p < 0.05 */
  double mean_auc[XCI_N_GROUPS];                          /* of the best label at the best checkpoint */
} xci_specificity;
/* share [rows, n] classes the rows; basis of database rows. */
xcoder_status xci_specificity_measure(xci_borders borders, const xci_database *database, const double *share,
                                      uint64_t permutations, uint64_t seed, xci_specificity *result,
                                      xcoder_error *err);

typedef struct xci_view {
  double *share;          /* [n_tasks + 1, n_features, n], the last of all tasks together */
  xci_life *life;         /* [n_tasks + 1, n_features] */
  xci_flow *cycles, *words, *flows; /* [n_tasks + 1, ...] */
} xci_view;

typedef struct xci_evolution_data {
  const char *run_directory;
  const xcoder_evolve_options *options;
  xci_borders borders;    /* of the options */
  xci_run_effects effects;
  size_t n;               /* checkpoints */
  xci_view
      view[XCI_N_VIEWS]; /* effects as they are; divided by the checkpoint's total, the sum over features of |IE| */
  bool has_database;
  xci_database database;
  xci_specificity specificity[XCI_N_BASES]; /* decoder, activation, effect, normalised effect */
  xci_language_life languages;
} xci_evolution_data;

xcoder_status xci_evolution_write(const xci_evolution_data *data, xcoder_error *err);

#endif
