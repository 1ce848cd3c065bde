/* SPDX-License-Identifier: Apache-2.0 */
/* What keeps a training alive, or at least saved, when its device fails. */
#ifndef XCI_CROSSCODER_RESCUE_H
#define XCI_CROSSCODER_RESCUE_H

#include "crosscoder/trainer.h"

/* Makes the crosscoder on the trainer's device, and room for a copy where the device's memory is not the host's. */
xcoder_status xci_rescue_open(xci_trainer *trainer, xcoder_error *err);
void xci_rescue_close(xci_trainer *trainer);

/* Takes a copy of the state between two steps. */
xcoder_status xci_rescue_copy_if_due(xci_trainer *trainer, xcoder_error *err);
/* A tensor of the copy, while the trainer has no crosscoder. */
const float *xci_rescue_tensor(const xci_trainer *trainer, xci_coder_tensor tensor, xci_coder_slot slot);
/* XCODER_DEVICE where the crosscoder is gone because somebody else's work made the device be replaced. */
xcoder_status xci_rescue_check(const xci_trainer *trainer, xcoder_error *err);
/* Asked when the training has ended, with its status. True: the device failed, the processor holds the newest state
 * that was kept, and the training is to go on. Else where the device failed *status becomes what is to be reported, and
 * that state is saved. */
bool xci_rescue(xci_trainer *trainer, xcoder_status *status, xcoder_error *err);

#endif
