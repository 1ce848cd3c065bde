/* SPDX-License-Identifier: Apache-2.0 */
/* effects/TASK.safetensors: all effects example by example, enough to go on with an attribution that was interrupted
 * and to make its tables anew without the models. */
#ifndef XCI_ANALYSIS_EFFECTS_STATE_H
#define XCI_ANALYSIS_EFFECTS_STATE_H

#include "analysis/attribution/effects.h"

/* What effects are of. */
typedef struct xci_effects_origin {
  char coder[33]; /* checksum of the crosscoder */
  char key[33];   /* of everything that the effects depend on, in an unfinished file; else empty */
  size_t n_total; /* examples when finished */
} xci_effects_origin;

/* Of the parameters as they are stored, labels, scales, and the mask. */
xcoder_status xci_effects_hash_coder(const xci_bench *bench, char hex[33], xcoder_error *err);

xcoder_status xci_effects_save(const xci_effects *effects, const xci_path *path, const xci_effects_origin *origin,
                               const char *file, xcoder_error *err);
/* Reads the path's rule, steps and baseline into `options` and the effects into `effects`, which is opened for as many
 * examples as it is to have: `n_total`, or 0 for a finished file. Errors: XCODER_MISSING, XCODER_FORMAT (unfinished
 * where it should not be, too), XCODER_MISMATCH for another shape of crosscoder. */
xcoder_status xci_effects_load(const xci_bench *bench, const char *file, size_t n_total,
                               xcoder_attribute_options *options, xci_effects_origin *origin, xci_effects *effects,
                               xcoder_error *err);

#endif
