/* SPDX-License-Identifier: Apache-2.0 */
/* Saved states of a run: RUN/checkpoints/step-N/ with state.safetensors and manifest.json. */
#ifndef XCI_CROSSCODER_CHECKPOINT_H
#define XCI_CROSSCODER_CHECKPOINT_H

#include "crosscoder/trainer.h"

/* Checks a checkpoint folder: manifest, its own checksum, lengths and checksums of all files. XCODER_STATE if
 * anything is wrong, XCODER_UNSUPPORTED if it is whole but of a newer format. `manifest` may be NULL; else it is
 * the caller's (json_decref). */
xcoder_status xci_checkpoint_verify(const char *folder, json_t **manifest, xcoder_error *err);
/* The newest good checkpoint of a run. XCODER_MISSING if there is no checkpoint, XCODER_STATE if none is good. */
xcoder_status xci_checkpoint_newest(const char *run, char **folder, xcoder_error *err);

/* Writes RUN/checkpoints/step-N durably, then removes all but the newest ones. A non-finite value is
 * XCODER_DIVERGED, and nothing is left of that checkpoint. */
xcoder_status xci_checkpoint_save(xci_trainer *trainer, xcoder_error *err);
/* Continues from the newest good checkpoint; bad ones that are newer are warned about and removed. *found is false
 * (and all is untouched) if the run has none at all. */
xcoder_status xci_checkpoint_restore(xci_trainer *trainer, bool *found, xcoder_error *err);
/* Removes RUN/checkpoints, or only what an interrupted save left in it. */
xcoder_status xci_checkpoint_clear(const char *run, bool everything, xcoder_error *err);
/* Writes FOLDER/crosscoder.safetensors from the device. */
xcoder_status xci_checkpoint_result(xci_trainer *trainer, const char *folder, xcoder_error *err);

#endif
