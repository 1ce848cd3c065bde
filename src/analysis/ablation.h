/* SPDX-License-Identifier: Apache-2.0 */
/* What ablation measured: differences of log-probability, clean and without a feature. */
#ifndef XCI_ANALYSIS_ABLATION_H
#define XCI_ANALYSIS_ABLATION_H

#include "analysis/workbench.h"

typedef struct xci_ablation {
  const xci_bench *bench;
  const xcoder_pairs *task;
  const uint32_t *features;
  size_t n_features, n_pairs;
  double *clean;   /* [n, n_pairs] */
  double *ablated; /* [n_features, n, n_pairs] */
} xci_ablation;

/* ablation/TASK.csv, .json and the verdicts. */
xcoder_status xci_ablation_write(const xci_ablation *ablation, const char *run_directory, xcoder_verdicts *verdicts,
                                 xcoder_error *err);

#endif
