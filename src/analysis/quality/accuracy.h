/* SPDX-License-Identifier: Apache-2.0 */
/* Accuracies from differences of logits. */
#ifndef XCI_ANALYSIS_ACCURACY_H
#define XCI_ANALYSIS_ACCURACY_H

#include <crosscoder/analysis.h>

/* From difference[n] = logit(right) - logit(wrong), those with chosen[i] != 0 (NULL: all). Ties count as correct. The
 * normaliser is the same for both tokens, so differences of logits are differences of log-probabilities. */
void xci_accuracy_of(const double *difference, const uint8_t *chosen, size_t n, xcoder_accuracy *result);

/* The answers of pairs first .. first+count-1 (of the list `chosen`, or of all when it is NULL). */
void xci_answers(const xcoder_pairs *pairs, const size_t *chosen, size_t first, size_t count, uint32_t *right,
                 uint32_t *wrong);

/* difference[n] = score(good) - score(bad) of pairs that are whole sentences. */
xcoder_status xci_sentence_differences(xcoder_model *model, const xcoder_pairs *pairs,
                                       xcoder_normalization normalization, double *difference,
                                       const xcoder_monitor *monitor, xcoder_error *err);

#endif
