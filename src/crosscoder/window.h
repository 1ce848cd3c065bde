/* SPDX-License-Identifier: Apache-2.0 */
/* What a training keeps on its device beside the crosscoder. */
#ifndef XCI_CROSSCODER_WINDOW_H
#define XCI_CROSSCODER_WINDOW_H

#include "crosscoder/trainer.h"

/* Encodes the batch of this step from the window on the device. *done false: it is to be read and encoded as usual. */
xcoder_status xci_window_encode(xci_trainer *trainer, bool *done, xcoder_error *err);
/* Brings last_fired up to date. */
xcoder_status xci_window_fetch_fired(xci_trainer *trainer, xcoder_error *err);

#endif
