/* SPDX-License-Identifier: Apache-2.0 */
/* How far two attributions of the same dictionary agree: of a snapshot and the final crosscoder, of two baselines. */
#ifndef XCI_ANALYSIS_LIKENESS_H
#define XCI_ANALYSIS_LIKENESS_H

#include "analysis/comparison/compare.h"

typedef struct xci_estimate {
  double value, low, high; /* 95 % interval; NaN where undefined */
} xci_estimate;

/* At one checkpoint. The top features are the k of the reference with the largest |IE| there. */
typedef struct xci_likeness {
  size_t n_top, n_again;         /* top features; of them among the k of the other */
  size_t n_rel_ie, n_classes;    /* with a RelIE, with an effect (and so a class) on both sides */
  xci_estimate again;            /* n_again / n_top, Wilson */
  xci_estimate same_class;       /* Wilson */
  xci_estimate rel_ie_spearman, difference; /* over n_rel_ie; mean |dRelIE|; bootstrap over features */
  xci_estimate ie_spearman;      /* over the union of both top sets, 0 for a feature without effect; bootstrap */
  double change;                 /* mean |dRelIE| over all top features, 1 for one without a RelIE on the other side */
} xci_likeness;

/* Both tables have `n` checkpoints. `n_resamples` 0: no bootstrap. */
xcoder_status xci_likeness_measure(const xci_task_effects *reference, const xci_task_effects *other, size_t n,
                                    size_t checkpoint, size_t n_top, uint64_t n_resamples, uint64_t seed,
                                    xci_likeness *likeness, xcoder_error *err);

/* Effects of a run of this crosscoder, without its models; closed with xci_side_close(). */
xcoder_status xci_side_read_effects(const xcoder *coder, const char *run_directory, xci_side *side, xcoder_error *err);
const xci_task_effects *xci_side_task(const xci_side *side, const char *task);

/* Members "NAME", "NAME_low", "NAME_high", and the same as fields of a CSV. */
void xci_estimate_json(xci_json_out *json, const char *name, xci_estimate estimate);
void xci_estimate_csv(xci_text *csv, xci_estimate estimate);

#endif
