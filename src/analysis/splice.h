/* SPDX-License-Identifier: Apache-2.0 */
/* Residual streams with a part replaced. Positions under the mask stay clean. */
#ifndef XCI_ANALYSIS_SPLICE_H
#define XCI_ANALYSIS_SPLICE_H

#include "analysis/workbench.h"

/* hidden [n_rows, d_model]: the reconstruction at unmasked positions (the stretch must have XCI_DECODED). */
void xci_splice(const xci_bench *bench, const xci_stretch *stretch, size_t checkpoint, float *hidden);
/* hidden [n_rows, d_model]: zero at unmasked positions. */
void xci_blank(const xci_bench *bench, const xci_stretch *stretch, size_t checkpoint, float *hidden);
/* Takes feature `feature` out of `hidden`, which holds sequence `sequence` of the stretch only: f_i is 0 at every
 * unmasked position, the error stays. False if it is active nowhere there. */
bool xci_take_out(const xci_bench *bench, const xci_stretch *stretch, size_t checkpoint, size_t sequence,
                  uint32_t feature, float *hidden);
/* Value of a feature in sample k of the codes, 0 if inactive. */
float xci_code_value(const xcoder_codes *codes, size_t k, uint32_t feature);

/* Sum of -log p over the next tokens of a packed run of sequences, from a residual stream at the layer of the
 * crosscoder, or the model's own when hidden is NULL. *n is how many next tokens there are. `work`: [n_rows]. */
xcoder_status xci_cross_entropy(const xci_bench *bench, const xci_stretch *stretch, size_t checkpoint,
                                const float *hidden, float *work, double *sum, size_t *n, xcoder_error *err);

#endif
