/* SPDX-License-Identifier: Apache-2.0 */
/* What the features do and mean: quality, accuracy, indirect effects, RelIE, ablation, top contexts.
 *
 * The functions here compute and write files of a run directory (see doc/run-directory.md for each file); the files are
 * what report and show read, and what Python and R read. */
#ifndef CROSSCODER_ANALYSIS_H
#define CROSSCODER_ANALYSIS_H

#include <crosscoder/coder.h>
#include <crosscoder/data.h>
#include <crosscoder/model.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Everything an analysis runs on. The crosscoder is folded internally where needed; models in the order of its
 * checkpoints. */
typedef struct xcoder_setting {
  xcoder_device *device;
  const xcoder *coder;
  xcoder_model *const *models;
  const xcoder_tokenizer *tokenizer;
  const xcoder_monitor *monitor; /* may be NULL */
  const double *tokens_seen;     /* [n_checkpoints] of pretraining, NaN where unknown; may be NULL */
} xcoder_setting;

/* ---- Accuracy on minimal pairs (METHOD section 5) ---- */

typedef struct xcoder_accuracy {
  uint64_t n, n_correct;
  double accuracy, low, high;      /* Wilson 95 % interval */
  double mean_log_prob_difference; /* log p(right) - log p(wrong) */
} xcoder_accuracy;

/* One model over `pairs`; `correct` (one byte a pair) and `difference` may be NULL. Ties count as correct. */
XCODER_API xcoder_status xcoder_measure_accuracy(xcoder_model *model, const xcoder_pairs *pairs, uint8_t *correct,
                                                 double *difference, xcoder_accuracy *result,
                                                 const xcoder_monitor *monitor, xcoder_error *err);
/* What the score of a whole sentence, the sum of the log-probabilities of its tokens over the whole vocabulary, is
 * divided by. XCODER_SUM is lm-evaluation-harness's acc, XCODER_PER_CHARACTER its acc_norm, XCODER_PER_BYTE its
 * acc_bytes. */
typedef enum xcoder_normalization { XCODER_SUM, XCODER_PER_CHARACTER, XCODER_PER_BYTE, XCODER_PER_TOKEN }
  xcoder_normalization;

/* Scores of pairs that were loaded as sentences: good[n], bad[n], not divided. */
XCODER_API xcoder_status xcoder_score_sentences(xcoder_model *model, const xcoder_pairs *pairs, double *good,
                                                double *bad, const xcoder_monitor *monitor, xcoder_error *err);

/* A table of accuracies that grows model by model, so that no two need to be open at once. Its CSV has the columns
 * "checkpoint,task,language,group,n,correct,accuracy,low,high,log_prob_difference,scoring,tokens_seen"; `scoring` is
 * "next token", or "sentence" with what it is divided by. Tasks may be of both kinds. */
typedef struct xcoder_accuracies xcoder_accuracies;
XCODER_API xcoder_status xcoder_accuracies_create(xcoder_normalization normalization, xcoder_accuracies **table,
                                                  xcoder_error *err);
/* `tokens_seen`: of pretraining, NaN: unknown (an empty field). */
XCODER_API xcoder_status xcoder_accuracies_add(xcoder_accuracies *table, xcoder_model *model, const char *label,
                                               double tokens_seen, const xcoder_pairs *task,
                                               const xcoder_monitor *monitor, xcoder_error *err);
XCODER_API xcoder_status xcoder_accuracies_write(xcoder_accuracies *table, const char *csv_path, xcoder_error *err);
XCODER_API void xcoder_accuracies_free(xcoder_accuracies *table);

/* The same CSV over models and tasks,
 * a row for each (checkpoint, task, language, group) and one for each (checkpoint, task) with group "all". */
XCODER_API xcoder_status xcoder_write_accuracy(xcoder_model *const *models, const char *const *labels, size_t n_models,
                                               const xcoder_pairs *const *tasks, size_t n_tasks, const char *csv_path,
                                               const xcoder_monitor *monitor, xcoder_error *err);

/* ---- Similarity of checkpoints (METHOD section 5) ---- */

typedef struct xcoder_similarity xcoder_similarity;

typedef struct xcoder_similarity_options {
  long layer;
  xcoder_mask mask;
  size_t max_tokens;    /* of the sample: whole sequences evenly over the text; 0: all */
  uint64_t max_memory; /* bytes of activations held in memory; more lies in a nameless file in `scratch`; 0: no limit */
  const char *scratch;  /* folder; NULL: memory only */
} xcoder_similarity_options;

/* `tokens` must outlive the object. Checkpoints are added oldest first, each model once and none beside another; their
 * activations are kept rounded to bf16. */
XCODER_API xcoder_status xcoder_similarity_create(const xcoder_tokens *tokens, size_t n_checkpoints,
                                                  const xcoder_similarity_options *options,
                                                  xcoder_similarity **similarity, xcoder_error *err);
XCODER_API xcoder_status xcoder_similarity_add(xcoder_similarity *similarity, xcoder_model *model, const char *label,
                                               double tokens_seen, const xcoder_monitor *monitor, xcoder_error *err);
/* For every pair of checkpoints the mean over tokens of cosine and Pearson correlation of a_c, with their standard
 * deviations: "a,b,tokens_seen_a,tokens_seen_b,layer,n,cosine,cosine_sd,pearson,pearson_sd". */
XCODER_API xcoder_status xcoder_similarity_write(const xcoder_similarity *similarity, const char *csv_path,
                                                 const xcoder_monitor *monitor, xcoder_error *err);
XCODER_API void xcoder_similarity_free(xcoder_similarity *similarity);

/* ---- Choosing checkpoints (doc/selecting.md) ---- */

typedef struct xcoder_select_options {
  size_t n;             /* checkpoints of a proposal, 3 */
  size_t n_proposals;   /* 3 */
  double weight;        /* of accuracy against similarity, 0 to 1: 0.5 */
  double min_tokens;    /* revisions that have seen fewer are left out, 128e6 in the paper; 0: none */
  uint64_t bootstrap;   /* resamples for the intervals of the change points, 500 */
  uint64_t seed;
} xcoder_select_options;

typedef struct xcoder_proposal {
  size_t *chosen;       /* [n] revisions */
  size_t *first;        /* [n] first revision of the block that each stands for; first[0] is 0 */
  double score, accuracy_share, similarity_share; /* of the differences that the blocks explain; NaN without that CSV */
} xcoder_proposal;

typedef struct xcoder_selection {
  size_t n_revisions, n, n_proposals;
  char **labels;        /* [n_revisions], oldest first, those left out are not among them */
  double *tokens_seen;  /* NaN where unknown */
  double *cosine, *pearson; /* [n_revisions, n_revisions], or NULL without similarities */
  size_t n_cells;           /* groups of tasks that were measured */
  char **cells;             /* [n_cells] names */
  double *n_pairs, *n_right; /* [n_cells, n_revisions] */
  xcoder_proposal *proposal;
  size_t *low, *high;   /* [n] interval of first[] of the best proposal, 95 % of the resamples */
  double *agreement;    /* [n] share of the resamples in which first[] is the same */
} xcoder_selection;

/* `accuracy_csv`, `similarity_csv`: as the commands of that name write them; one of them may be NULL. */
XCODER_API xcoder_status xcoder_select(const char *accuracy_csv, const char *similarity_csv,
                                       const xcoder_select_options *options, xcoder_selection **selection,
                                       xcoder_error *err);
XCODER_API void xcoder_selection_free(xcoder_selection *selection);

/* ---- Verdicts: PASS or WARN lines that end eval, attribute and ablate ---- */

typedef struct xcoder_verdict {
  char name[40];      /* "dead features", "dCE step512", ... */
  bool pass;
  char value[64];     /* what was measured, as text */
  char limit[64];     /* what is asked for, as text */
  char remedy[200];   /* what to do about a WARN; "" for PASS */
} xcoder_verdict;

typedef struct xcoder_verdicts {
  size_t n;
  xcoder_verdict *item; /* freed by xcoder_verdicts_free() */
} xcoder_verdicts;
XCODER_API void xcoder_verdicts_free(xcoder_verdicts *verdicts);

/* ---- Quality (METHOD section 4) -> eval.json, eval.csv, latent-scaling.csv ---- */

typedef struct xcoder_eval_options {
  size_t n_batches;       /* 30 */
  size_t batch_sequences; /* 4 */
} xcoder_eval_options;

XCODER_API xcoder_status xcoder_evaluate(const xcoder_setting *setting, const xcoder_tokens *held_out,
                                         const xcoder_pairs *const *tasks, size_t n_tasks,
                                         const xcoder_eval_options *options, const char *run_directory,
                                         xcoder_verdicts *verdicts, xcoder_error *err);

/* ---- Indirect effects (METHOD sections 6, 7) -> effects/TASK.safetensors, effects/TASK.csv, effects/TASK.json ---- */

/* Gauss-Legendre nodes in the angle by which the state at the last position turns along the path (XCODER_GAUSS) or in
 * the path's own parameter (XCODER_LEGENDRE); the left sum of the authors; midpoint; trapezoid; the plain gradient at
 * the clean state, whatever the number of steps (attribution patching). See doc/mathematics.md. */
typedef enum xcoder_quadrature {
  XCODER_GAUSS, XCODER_LEFT, XCODER_MIDPOINT, XCODER_TRAPEZOID, XCODER_LEGENDRE, XCODER_GRADIENT
} xcoder_quadrature;
/* XCODER_RESAMPLED: the state of another prompt of the same task and length, drawn by the seed. */
typedef enum xcoder_baseline {
  XCODER_ZERO, XCODER_ORIGIN, XCODER_MEAN, XCODER_COUNTERFACTUAL, XCODER_RESAMPLED
} xcoder_baseline;

typedef struct xcoder_attribute_options {
  xcoder_quadrature quadrature; /* XCODER_GAUSS */
  size_t n_steps;               /* 10 */
  xcoder_baseline baseline;     /* XCODER_ZERO */
  uint64_t bootstrap;           /* resamples for the intervals of RelIE, 1000 */
  uint64_t seed;
  /* The authors' average instead of the mean over examples of sums over positions: effects of single tokens up to 0.1
   * are dropped, the rest is averaged over all positions of each batch of four prompts, padding included, the averages
   * are multiplied by `batch_keys`, added up, and divided by the number of prompts. */
  bool authors;
  size_t batch_keys;            /* columns of their data set; 0: 17 for BLiMP, 6 for CLAMS, else 1 */
  /* A folder in which average gradients are kept, found by what they depend on: another crosscoder of the same models
   * and layer reads them instead of integrating again, with the same bits. Used where the path does not depend on the
   * crosscoder (XCODER_ORIGIN, _COUNTERFACTUAL, _RESAMPLED); NULL: none. */
  const char *gradients;
  /* > 0: n_steps are doubled, up to 320, for every example whose effects miss the change of the metric by more than
   * this share of it (or of the mean |metric| at both ends, where that is larger). 0: n_steps for all. */
  double tolerance;
  /* What is done is written to effects/TASK.partial.safetensors when as many seconds have passed, so that a process
   * that is killed loses no more; less often where writing takes long. 0: when stopped only. */
  double save_seconds;
  /* Of the classes in the tables: specific above this share, 0.7; shared from this share, 0.3 (3 times it / n for more
   * than three checkpoints). 0: these. The authors' classes keep theirs unless `authors` is set, too. */
  double specific_border, shared_border;
} xcoder_attribute_options;

XCODER_API xcoder_status xcoder_attribute(const xcoder_setting *setting, const xcoder_pairs *task,
                                          const xcoder_attribute_options *options, const char *run_directory,
                                          xcoder_verdicts *verdicts, xcoder_error *err);

/* When stopped (and every save_seconds), the examples that are done are kept in effects/TASK.partial.safetensors, and
 * the next call with the same setting, task and options goes on behind them, with the same bits as without the stop.
 *
 * effects/TASK.csv and .json anew from effects/TASK.safetensors, without the models: with the bootstrap, seed and
 * borders of classes of `options`, equal to a new attribution with these. Errors: XCODER_MISSING, XCODER_FORMAT,
 * XCODER_MISMATCH (of another crosscoder). */
XCODER_API xcoder_status xcoder_retabulate(const xcoder *coder, const char *task,
                                           const xcoder_attribute_options *options, const char *run_directory,
                                           xcoder_verdicts *verdicts, xcoder_error *err);

/* One attribution of the task for each baseline that it has, and how far their IE agree ->
 * baselines/TASK.csv, baselines/TASK.json; the effects with baseline B go to baselines/B/effects/. Those of
 * options->baseline are read from effects/. `n_top`: features with the largest |IE| that are compared. */
XCODER_API xcoder_status xcoder_compare_baselines(const xcoder_setting *setting, const xcoder_pairs *task,
                                                  const xcoder_attribute_options *options, size_t n_top,
                                                  const char *run_directory, xcoder_verdicts *verdicts,
                                                  xcoder_error *err);

typedef struct xcoder_convergence_options {
  size_t n_top;                /* features with the largest |IE| at the end that are followed, 100 */
  double n_tokens;             /* budget of the training */
  double stopped, tolerance;   /* share at which the training was ended because it was stable, and its criterion; NaN */
  uint64_t bootstrap, seed;    /* resamples for the intervals, over features */
} xcoder_convergence_options;

/* RelIE, classes and top features of the snapshots (RUN/snapshots/share-S/effects/) against those of the run
 * (RUN/effects/) -> convergence.csv, convergence.json. `coder`: the run's, or any snapshot's. Snapshots that are not
 * there are passed over. */
XCODER_API xcoder_status xcoder_write_convergence(const xcoder *coder, const char *run, const double *shares,
                                                  size_t n_shares, const xcoder_convergence_options *options,
                                                  xcoder_error *err);
/* Mean over tasks, checkpoints and the `n_top` features of `run` with the largest |IE| there of |RelIE - RelIE in
 * `other`|, where a feature without a RelIE in `other` counts 1. NaN where there is nothing to compare. */
XCODER_API xcoder_status xcoder_attribution_change(const xcoder *coder, const char *run, const char *other,
                                                   size_t n_top, double *change, xcoder_error *err);
/* Effects of one prompt on every feature, for `show --text`: JSON text, freed with xcoder_free(). */
XCODER_API xcoder_status xcoder_explain(const xcoder_setting *setting, const uint32_t *ids, size_t n_ids,
                                        const uint32_t *right, const uint32_t *wrong, size_t n_top, char **json,
                                        xcoder_error *err);

/* The union over checkpoints of the k features with the largest |IE| of effects/TASK.csv (all tasks there when
 * `task` is NULL), in order of their largest |IE|. Freed with xcoder_free(). */
XCODER_API xcoder_status xcoder_top_features(const char *run_directory, const char *task, size_t k,
                                             uint32_t **features, size_t *n_features, xcoder_error *err);

/* ---- Ablation (METHOD section 8) -> ablation/TASK.csv, ablation/TASK.json, ablation/TASK.curves.csv ---- */

typedef enum xcoder_ablation_value {
  XCODER_ABLATE_ZERO,    /* f_i = 0 */
  XCODER_ABLATE_MEAN,    /* the mean of f_i over the positions of the task's prompts */
  XCODER_ABLATE_RESAMPLE /* f_i of another prompt of the task, positions counted from the end */
} xcoder_ablation_value;

typedef struct xcoder_ablate_options {
  xcoder_ablation_value value; /* XCODER_ABLATE_ZERO */
  bool curves;                 /* true: faithfulness and completeness over k, from effects/TASK.csv where it is */
  uint64_t bootstrap;          /* resamples for the intervals, 1000 */
  uint64_t seed;
} xcoder_ablate_options;
XCODER_API void xcoder_ablate_defaults(xcoder_ablate_options *options);

/* Replaces each of `features` alone, then all of them together, at every unmasked position; the reconstruction error
 * stays. Rank correlations of |change| / sum |change| with RelIE and RelDec have intervals from a bootstrap over
 * features. The curves ablate the k features of largest |IE| of each checkpoint, and all others. `options` may be NULL.
 */
XCODER_API xcoder_status xcoder_ablate(const xcoder_setting *setting, const xcoder_pairs *task,
                                       const uint32_t *features, size_t n_features,
                                       const xcoder_ablate_options *options, const char *run_directory,
                                       xcoder_verdicts *verdicts, xcoder_error *err);

/* ---- Features (METHOD section 9) -> features/database.safetensors, features.csv, features.json ---- */

typedef struct xcoder_features_options {
  size_t n_contexts;     /* top contexts kept, 12 */
  size_t context_before, context_after; /* tokens shown around the peak, 20 and 10 */
  size_t n_logits;       /* promoted and suppressed tokens, 10 */
  size_t n_quantiles;    /* contexts drawn from all places where a feature fires, 10 */
  size_t n_negatives;    /* contexts in which it is silent, 4 */
  const xcoder_pairs *const *tasks; /* [n_tasks] prompts on which activity is counted, by task and language */
  size_t n_tasks;
  const char *token_labels; /* JSONL or CoNLL-U with labels of tokens, NULL: none */
} xcoder_features_options;

/* One pass over the corpus describes every feature that fires (the database); `features` get cards in features.json.
 * With token labels also features/token-labels.csv. */

XCODER_API xcoder_status xcoder_describe_features(const xcoder_setting *setting, const xcoder_tokens *corpus,
                                                  const uint32_t *features, size_t n_features,
                                                  const xcoder_features_options *options, const char *run_directory,
                                                  xcoder_error *err);

/* The card of one feature as JSON {"labels": [...], "card": {...}} from the database of a run; freed with
 * xcoder_free(). Errors: XCODER_MISSING when there is no database or the feature did not fire. */
XCODER_API xcoder_status xcoder_feature_card(const char *run_directory, uint32_t feature, char **json,
                                             xcoder_error *err);

/* ---- Evolution (METHOD section 9) -> evolution.csv, evolution.json, evolution-languages.csv ---- */

typedef struct xcoder_evolve_options {
  uint64_t bootstrap;    /* resamples of the examples, 1000 */
  uint64_t permutations; /* 1000 */
  uint64_t seed;
  size_t n_top;          /* features in the set of a language, 10 */
  const xcoder_pairs *const *tasks; /* [n_tasks], for the languages of examples; may be NULL */
  size_t n_tasks;
  const double *tokens_seen; /* [n_checkpoints], NaN where unknown; may be NULL */
  double specific_border, shared_border; /* of classes and lives, as in xcoder_attribute_options; 0: 0.7, 0.3 */
} xcoder_evolve_options;

/* Life cycles of all features that have effects, flows between their states against a null, token-specificity by class
 * (where features/database.safetensors is there), and overlaps of languages. Reads the run directory only. Errors:
 * XCODER_MISSING without effects; XCODER_FORMAT, XCODER_MISMATCH for files that do not fit. */
XCODER_API xcoder_status xcoder_evolve(const char *run_directory, const xcoder_evolve_options *options,
                                       const xcoder_monitor *monitor, xcoder_error *err);

/* ---- Found against known: labels of a corpus that are known in advance -> known.json, known.csv ---- */

/* `gold_path`: JSONL with "ids" (or "tokens"), "predict_index", "subject_number" ("sg"/"pl"), "construction",
 * "language", "noun_heldout". For every checkpoint: AUC of the best single feature by its pre-activation
 * x_c W_enc[c,:,i] (chosen on one half of the sentences, measured on the other), of the `n_top` features in
 * `features`, of a linear probe on a_c (ceiling), and of shuffled labels (floor). */
XCODER_API xcoder_status xcoder_compare_known(const xcoder_setting *setting, const char *gold_path,
                                              const uint32_t *features, size_t n_features, uint64_t seed,
                                              const char *run_directory, xcoder_error *err);

/* ---- Comparing crosscoders (METHOD section 10) -> compare.json, matches.csv, stability.csv ---- */

typedef struct xcoder_comparison xcoder_comparison;

typedef enum xcoder_match {
  XCODER_MATCH_AUTO,        /* by cosine where layer and all checkpoints are the same, else by correlation */
  XCODER_MATCH_COSINE,      /* of decoder directions joined over the checkpoints in common */
  XCODER_MATCH_CORRELATION  /* of activations on the same text */
} xcoder_match;

typedef struct xcoder_compare_options {
  xcoder_match match;
  double threshold;  /* a feature recurs if its partner is at least this similar, 0.7 */
  size_t n_top;      /* features of largest |IE| looked for in the other run, 10 */
  uint64_t seed;     /* of the null: a random dictionary, or text moved along */
} xcoder_compare_options;
XCODER_API void xcoder_compare_defaults(xcoder_compare_options *options);

/* Features of crosscoders of other seeds, layers, checkpoints or models are matched one to one on the same text
 * (optimal assignment), and their RelIE and classes compared. `documents`: one document a sequence (XCODER_DOCUMENTS),
 * the same ones for every run, in the tokens of that run; positions meet by the bytes of text. Effects and features are
 * read from `run_directory`. The setting is not needed after the call. Errors: XCODER_MISMATCH, XCODER_USAGE. */
XCODER_API xcoder_status xcoder_comparison_open(xcoder_comparison **comparison, xcoder_error *err);
XCODER_API xcoder_status xcoder_comparison_add(xcoder_comparison *comparison, const char *name,
                                               const xcoder_setting *setting, const xcoder_tokens *documents,
                                               const char *run_directory, xcoder_error *err);
/* Writes the three files of every pair of runs into `folder`; `options` may be NULL. */
XCODER_API xcoder_status xcoder_comparison_write(const xcoder_comparison *comparison,
                                                 const xcoder_compare_options *options, const char *folder,
                                                 xcoder_error *err);
XCODER_API void xcoder_comparison_close(xcoder_comparison *comparison);

typedef struct xcoder_chain_options {
  const double *const *tokens_seen; /* of each run in order, [n_checkpoints], NaN where unknown; entries may be NULL */
  uint64_t permutations;            /* behind the null of the lives, 1000 */
  uint64_t seed;
  double shared_border;             /* a feature is present from this share, 0.3; 3 times it / n beyond 3; 0: 0.3 */
} xcoder_chain_options;

/* Runs over overlapping windows of checkpoints, added in the order of training, as one chain -> chain.csv,
 * chain-links.csv, chain.json in `folder`. Features of neighbours are matched one to one by the cosine of their
 * decoders at the checkpoints in common; a pair above the 99 % quantile of such pairs among random mixtures of the
 * decoders is a link. The shares of a trajectory are |IE| (raw, and over each checkpoint's total) and decoder norms,
 * the mean of both windows where they meet, 0 where no window has the feature. `options` may be NULL. Errors:
 * XCODER_USAGE for windows that do not meet, XCODER_MISMATCH for a label of two models. */
XCODER_API xcoder_status xcoder_comparison_chain(const xcoder_comparison *comparison,
                                                 const xcoder_chain_options *options, const char *folder,
                                                 xcoder_error *err);

/* Transfer -> FOLDER/transfer.json, FOLDER/effects/: the activations of `other`, called `label`, take slot `checkpoint`
 * of the crosscoder; its scale is estimated anew on `tokens`, the other slots and all weights stay. Effects of `tasks`
 * are taken as in xcoder_attribute() and compared with those of `run_directory`: rank correlation of |IE| over features
 * with an effect in either, the share of the `n_top` strongest that stay, and that share for random features of about
 * their density. Errors: XCODER_UNSUPPORTED for a folded crosscoder. */
XCODER_API xcoder_status xcoder_transfer(const xcoder_setting *setting, size_t checkpoint, xcoder_model *other,
                                         const char *label, const xcoder_tokens *tokens,
                                         const xcoder_pairs *const *tasks, size_t n_tasks,
                                         const xcoder_attribute_options *options, size_t n_top,
                                         const char *run_directory, const char *folder, xcoder_error *err);

#ifdef __cplusplus
}
#endif
#endif
