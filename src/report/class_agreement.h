/* SPDX-License-Identifier: Apache-2.0 */
/* How far two runs over different checkpoints agree about the features that matter most for a task. */
#ifndef XCI_REPORT_CLASS_AGREEMENT_H
#define XCI_REPORT_CLASS_AGREEMENT_H

#include "report/page.h"

enum { XCI_AGREEMENT_TOP = 20 };

typedef struct xci_agreement {
  size_t n_top;         /* features with the largest |IE| of the first run that have a class of their own */
  size_t n_matched;     /* of them: nearest neighbours of each other by decoder, whose partner has a class, too */
  size_t n_same;        /* matched with the same class */
  double expected;      /* share of equal classes if partners were drawn at random among those matched */
  double cosine;        /* mean over matched features */
  double difference;    /* mean over matched features and checkpoints of the difference of RelIE */
} xci_agreement;

/* Classes are compared by place: the first, second, ... checkpoint of each run. Decoders are compared as a whole,
 * sum_k <W_a[i,k], W_b[j,k]> / (|W_a[i]| |W_b[j]|), which is exact where the runs share checkpoints and close where the
 * checkpoints of a place are close. Errors: XCODER_MISMATCH for runs of another shape. */
xcoder_status xci_agreement_measure(const xci_run_files *a, const xci_run_files *b, const char *task,
                                    xci_agreement *result, xcoder_error *err);

#endif
