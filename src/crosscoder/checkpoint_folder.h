/* SPDX-License-Identifier: Apache-2.0 */
/* What writing and reading of checkpoints share: names, places, the end of the manifest. */
#ifndef XCI_CROSSCODER_CHECKPOINT_FOLDER_H
#define XCI_CROSSCODER_CHECKPOINT_FOLDER_H

#include "base/error.h"
#include <stdint.h>

#define XCI_MOMENT1_PREFIX "adam_m."
#define XCI_MOMENT2_PREFIX "adam_v."
/* Of jumprelu, by xci_coder_slot. */
extern const char *const xci_log_threshold_names[3];
/* How a manifest ends: its own checksum, over all bytes before this. Always of the same length. */
#define XCI_MANIFEST_END ",\n  \"checksum\": \"%s\"}\n"

/* RUN/checkpoints/step-N with a suffix. */
xcoder_status xci_checkpoint_path(const char *run, uint64_t step, const char *suffix, char **path, xcoder_error *err);
/* Steps of all checkpoint folders, ascending, good or bad; none if there is no such folder. */
xcoder_status xci_checkpoint_list(const char *run, uint64_t **steps, size_t *n_steps, xcoder_error *err);

#endif
