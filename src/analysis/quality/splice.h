/* SPDX-License-Identifier: Apache-2.0 */
/* Residual streams with a part replaced. Positions under the mask stay clean. */
#ifndef XCI_ANALYSIS_SPLICE_H
#define XCI_ANALYSIS_SPLICE_H

#include "analysis/workbench.h"

/* hidden [n_rows, d_model]: the reconstruction at unmasked positions (the stretch must have XCI_DECODED). */
void xci_splice(const xci_bench *bench, const xci_stretch *stretch, size_t checkpoint, float *hidden);
/* hidden [n_rows, d_model]: zero at unmasked positions. */
void xci_blank(const xci_bench *bench, const xci_stretch *stretch, size_t checkpoint, float *hidden);
/* Sum of -log p over the next tokens of a packed run of sequences, from a residual stream at the layer of the
 * crosscoder, or the model's own when hidden is NULL. *n is how many next tokens there are. `work`: [n_rows]. */
xcoder_status xci_cross_entropy(const xci_bench *bench, const xci_stretch *stretch, size_t checkpoint,
                                const float *hidden, float *work, double *sum, size_t *n, xcoder_error *err);

#endif
