/* SPDX-License-Identifier: Apache-2.0 */
/* What analysis needs from harvest beside the public stream: activations of chosen sequences, in order. */
#ifndef XCI_HARVEST_HARVEST_H
#define XCI_HARVEST_HARVEST_H

#include <crosscoder/harvest.h>

/* Residual streams of all models at `layer` for sequences first .. first+count-1 of `tokens`, rounded to bf16
 * (returned as float32): hidden [rows, n_models, d_model] with rows = start[first+count] - start[first], all
 * positions, masked ones included. */
xcoder_status xci_harvest_sequences(xcoder_model *const *models, size_t n_models, long layer,
                                    const xcoder_tokens *tokens, size_t first, size_t count, float *hidden,
                                    xcoder_error *err);

#endif
