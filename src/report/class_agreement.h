/* SPDX-License-Identifier: Apache-2.0 */
/* How far two runs over different checkpoints agree about the features that matter most for a task. */
#ifndef XCI_REPORT_CLASS_AGREEMENT_H
#define XCI_REPORT_CLASS_AGREEMENT_H

#include "analysis/comparison/compare.h"
#include "report/page.h"

enum { XCI_AGREEMENT_TOP = 20 };

/* Features of two runs matched one to one by the optimal assignment (xci_assign, as compare does). Checkpoints stand
 * for each other by place, and decoders are compared over all of them, the parts of each checkpoint one after the
 * other: <W_a[i], W_b[j]> / (|W_a[i]| |W_b[j]|), which is exact where the runs share checkpoints and close where the
 * checkpoints of a place are close. */
typedef struct xci_agreement_match {
  size_t n_latents;
  int64_t *partner;     /* [n_latents] */
  double *cosine;       /* [n_latents], NaN without a partner */
  double null_high;     /* 99 % of the partners in a random dictionary are below */
} xci_agreement_match;

/* Errors: XCODER_MISMATCH for runs of another shape. */
xcoder_status xci_agreement_match_runs(const xci_run_files *a, const xci_run_files *b, xci_agreement_match *match,
                                       xcoder_error *err);
void xci_agreement_match_free(xci_agreement_match *match);

typedef struct xci_agreement {
  size_t n_top;         /* features with the largest |IE| of the first run that have a class of their own */
  size_t n_matched;     /* of them: with a partner more alike than chance gives, which has a class, too */
  size_t n_same;        /* matched with the same class */
  double expected;      /* share of equal classes if partners were drawn at random among those matched */
  double cosine;        /* mean over matched features */
  double difference;    /* mean over matched features and checkpoints of the difference of RelIE */
} xci_agreement;

/* Classes are compared by place: the first, second, ... checkpoint of each run. */
xcoder_status xci_agreement_measure(const xci_agreement_match *match, const xci_run_files *a, const xci_run_files *b,
                                    const char *task, xci_agreement *result, xcoder_error *err);

#endif
