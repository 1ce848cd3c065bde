/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of effects/TASK.csv. */
#ifndef XCI_ANALYSIS_EFFECT_TABLE_H
#define XCI_ANALYSIS_EFFECT_TABLE_H

#include "analysis/attribution/effects.h"
#include "analysis/attribution/relative_effect.h"

typedef struct xci_effect_row {
  uint32_t feature;
  uint32_t n_active;
  bool defined;     /* has a RelIE */
  bool has_interval;
  double largest;   /* largest |IE| over checkpoints */
  double ie[XCODER_MAX_CHECKPOINTS], rel_ie[XCODER_MAX_CHECKPOINTS];
  double low[XCODER_MAX_CHECKPOINTS], high[XCODER_MAX_CHECKPOINTS], rel_dec[XCODER_MAX_CHECKPOINTS];
  /* of shares of each checkpoint's total effect, sum over features of |IE| */
  double norm_rel_ie[XCODER_MAX_CHECKPOINTS];
  xci_class class, class_authors, class_norm;
} xci_effect_row;

/* Rows in descending order of the largest |IE| (ties: lower feature first), freed by the caller. Intervals with
 * `n_resamples` > 0. */
xcoder_status xci_effect_rows(const xci_bench *bench, const xci_effects *effects,
                              const xcoder_attribute_options *options, xci_effect_row **rows, size_t *n_rows,
                              xcoder_error *err);

#endif
