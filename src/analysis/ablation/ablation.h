/* SPDX-License-Identifier: Apache-2.0 */
/* Ablation of features, alone and together (METHOD section 8).
 *
 * An ablated set S replaces f_i by f'_i for all i in S at every unmasked position; the error stays:
 *   x'_t = x_t + sum_{i in S} (f'_{t,i} - f_{t,i}) W_dec[i,c]          (decoder of raw activations)
 * f' is 0, the mean of f_i over the task's positions, or the value at the position counted from the end in another
 * prompt. A set that is kept ablates every feature outside it:
 *   x'_t = x_t + (xhat'_t - xhat_t) - sum_{i in S} (f'_{t,i} - f_{t,i}) W_dec[i,c]. */
#ifndef XCI_ANALYSIS_ABLATION_H
#define XCI_ANALYSIS_ABLATION_H

#include "analysis/workbench.h"

enum { XCI_EVERY_CHECKPOINT = -1 };

typedef struct xci_ablated_set {
  const uint32_t *features;
  size_t n_features;
  bool keep;        /* ablates all others */
  long checkpoint;  /* the one it is run at, or XCI_EVERY_CHECKPOINT */
} xci_ablated_set;

typedef struct xci_ablation {
  const xci_bench *bench;
  const xcoder_pairs *task;
  xcoder_ablate_options options;
  const xci_ablated_set *sets;
  size_t n_sets, n_pairs;
  double *clean;       /* [n, n_pairs], differences of log-probability */
  double *ablated;     /* [n_sets, n, n_pairs]; clean values where a set is not run */
  double *mean_code;   /* XCODER_ABLATE_MEAN: [n_latents] */
} xci_ablation;

/* Fills clean and ablated. `sets` must stay; freed by xci_ablation_close(). */
xcoder_status xci_ablation_run(const xci_bench *bench, const xcoder_pairs *task, const xcoder_ablate_options *options,
                               const xci_ablated_set *sets, size_t n_sets, xci_ablation *a, xcoder_error *err);
void xci_ablation_close(xci_ablation *a);

/* ---- One prompt edited (ablation_edit.c) ---- */

/* What a set adds at one checkpoint, prepared once. */
typedef struct xci_edit {
  const xci_ablation *a;
  const xci_ablated_set *set;
  size_t checkpoint;
  uint8_t *member;   /* [n_latents] */
  double *mean;      /* XCODER_ABLATE_MEAN: [d_model], sum of f'_i W over the set */
  double *mean_all;  /* and over all features (a kept set) */
} xci_edit;

xcoder_status xci_edit_open(const xci_ablation *a, const xci_ablated_set *set, size_t checkpoint, xci_edit *edit,
                            xcoder_error *err);
void xci_edit_close(xci_edit *edit);
/* Edits `hidden`, which holds sequence `sequence` of the stretch only; `partner` is the sequence that resampling takes
 * values from. False if nothing changed. */
bool xci_edit_apply(const xci_edit *edit, const xci_stretch *stretch, size_t sequence, size_t partner, float *hidden);

/* ---- Curves over k (ablation_curves.c) ---- */

typedef struct xci_curves {
  size_t n_points, n_sets;     /* points: values of k per checkpoint; sets: all of them, see ablation_curves.c */
  size_t *k;                   /* [n_points] */
  uint32_t *ranked;            /* [n, n_ranked], features by |IE| at that checkpoint, largest first */
  size_t n_ranked;
  xci_ablated_set *sets;
} xci_curves;

/* The sets of the curves: none where the run has no effects of the task (n_sets is 0 then). */
xcoder_status xci_curves_open(const xci_bench *bench, const char *effects_path, xci_curves *curves, xcoder_error *err);
void xci_curves_close(xci_curves *curves);
/* ablation/TASK.curves.csv; the curves' sets follow those of `n_features` single features and their union. */
xcoder_status xci_curves_write(const xci_ablation *a, size_t n_features, const xci_curves *curves,
                               const char *run_directory, xcoder_error *err);

/* ---- Files (ablation_file.c) ---- */

/* ablation/TASK.csv, .json and the verdicts; the first `n_features` sets are single features. */
xcoder_status xci_ablation_write(const xci_ablation *a, size_t n_features, const char *run_directory,
                                 xcoder_verdicts *verdicts, xcoder_error *err);

#endif
