/* SPDX-License-Identifier: Apache-2.0 */
/* Training on a device that may fail: a copy of the state in the host's memory, taken now and then, and going on from
 * it (or from a newer one on disk) with the processor, or saving it where that is not allowed. Nothing is read from a
 * device after it has failed: its context may be poisoned. */
#include "crosscoder/rescue.h"

#include "base/memory.h"
#include "crosscoder/checkpoint.h"
#include "crosscoder/window.h"
#include <inttypes.h>
#include <string.h>

/* A copy moves 12 bytes a parameter: 2.4 GB with 16384 features of three checkpoints of width 2048, which takes as long
 * as several steps there. So one in 256 steps, and earlier at powers of two, for short runs. Step 0 needs none: it is a
 * function of the seed. */
enum { COPY_STEPS = 256 };

struct xci_host_copy {
  float *values[XCI_N_TENSORS][XCI_MOMENT2 + 1]; /* in file order */
  float *log_theta[XCI_MOMENT2 + 1]; /* of jumprelu; else NULL */
  uint64_t *last_fired;
  uint64_t step, skipped, metrics_bytes, timing_bytes;
  float threshold;
  bool whole; /* false while it is taken */
};

static void leave_device(xci_guest *guest) {
  xci_trainer *trainer = (xci_trainer *)guest;
  trainer->device->ops->coder_free(trainer->device, trainer->coder);
  trainer->coder = NULL;
}

static void free_copy(xci_trainer *trainer) {
  xci_host_copy *copy = trainer->copy;
  if (copy == NULL) return;
  for (int t = 0; t < XCI_N_TENSORS; t++)
    for (int s = XCI_VALUE; s <= XCI_MOMENT2; s++) xci_free(copy->values[t][s]);
  for (int s = XCI_VALUE; s <= XCI_MOMENT2; s++) xci_free(copy->log_theta[s]);
  xci_free(copy->last_fired);
  xci_free(copy);
  trainer->copy = NULL;
}

static xcoder_status create_copy(xci_trainer *trainer, xcoder_error *err) {
  const xcoder_info *info = &trainer->info;
  size_t n_values[XCI_N_TENSORS];
  if (!trainer->device->ops->remote || trainer->copy != NULL) return XCODER_OK;
  xcoder_status status = XCI_ALLOC(&trainer->copy, 1, err);
  if (!status) status = xci_coder_sizes(info->n_checkpoints, info->d_model, info->n_latents, n_values, err);
  for (int t = 0; t < XCI_N_TENSORS && !status; t++)
    for (int s = XCI_VALUE; s <= XCI_MOMENT2 && !status; s++)
      status = XCI_ALLOC(&trainer->copy->values[t][s], n_values[t], err);
  for (int s = XCI_VALUE; s <= XCI_MOMENT2 && !status && xci_train_is_jump(&trainer->options); s++)
    status = XCI_ALLOC(&trainer->copy->log_theta[s], info->n_latents, err);
  if (!status) status = XCI_ALLOC(&trainer->copy->last_fired, info->n_latents, err);
  return status;
}

xcoder_status xci_rescue_open(xci_trainer *trainer, xcoder_error *err) {
  const xcoder_info *info = &trainer->info;
  const xci_coder_shape shape = xci_train_shape(info->n_checkpoints, info->d_model, &trainer->options);
  xcoder_status status = create_copy(trainer, err);
  if (!status) status = trainer->device->ops->coder_create(trainer->device, &shape, &trainer->coder, err);
  if (status) return status;
  if (trainer->device->remark[0] != '\0') xci_train_warn(trainer, "train: %s", trainer->device->remark);
  trainer->guest.leave = leave_device;
  xci_device_enter(trainer->device, &trainer->guest);
  return XCODER_OK;
}

void xci_rescue_close(xci_trainer *trainer) {
  if (trainer->coder != NULL) {
    xci_device_leave(trainer->device, &trainer->guest);
    leave_device(&trainer->guest);
  }
  free_copy(trainer);
}

/* ---- The copy ---- */

static bool is_due(uint64_t step) { return step > 0 && (step % COPY_STEPS == 0 || (step & (step - 1)) == 0); }

xcoder_status xci_rescue_copy_if_due(xci_trainer *trainer, xcoder_error *err) {
  xci_host_copy *copy = trainer->copy;
  if (copy == NULL || !is_due(trainer->step) || (copy->whole && copy->step == trainer->step)) return XCODER_OK;
  xcoder_status status = XCODER_OK;
  copy->whole = false;
  for (int t = 0; t < XCI_N_TENSORS; t++)
    for (int s = XCI_VALUE; s <= XCI_MOMENT2 && !status; s++)
      status = trainer->device->ops->coder_read(trainer->device, trainer->coder, (xci_coder_tensor)t,
                                                (xci_coder_slot)s, copy->values[t][s], err);
  if (!status) status = xci_window_fetch_fired(trainer, err);
  if (!status) status = xci_log_sync(trainer, &copy->metrics_bytes, &copy->timing_bytes, err);
  if (status) return status;
  memcpy(copy->last_fired, trainer->last_fired, trainer->info.n_latents * sizeof *copy->last_fired);
  for (int s = XCI_VALUE; s <= XCI_MOMENT2 && copy->log_theta[s] != NULL; s++)
    memcpy(copy->log_theta[s], trainer->log_theta[s], trainer->info.n_latents * sizeof **copy->log_theta);
  copy->step = trainer->step;
  copy->skipped = trainer->skipped;
  copy->threshold = trainer->info.threshold;
  copy->whole = true;
  return XCODER_OK;
}

const float *xci_rescue_tensor(const xci_trainer *trainer, xci_coder_tensor tensor, xci_coder_slot slot) {
  return trainer->copy->values[tensor][slot];
}

/* Everything but the tensors. */
static void return_to_copy(xci_trainer *trainer) {
  const xci_host_copy *copy = trainer->copy;
  memcpy(trainer->last_fired, copy->last_fired, trainer->info.n_latents * sizeof *copy->last_fired);
  for (int s = XCI_VALUE; s <= XCI_MOMENT2 && copy->log_theta[s] != NULL; s++)
    memcpy(trainer->log_theta[s], copy->log_theta[s], trainer->info.n_latents * sizeof **copy->log_theta);
  trainer->step = copy->step;
  trainer->skipped = copy->skipped;
  trainer->info.threshold = copy->threshold;
  trainer->metrics_bytes = copy->metrics_bytes;
  trainer->timing_bytes = copy->timing_bytes;
}

static xcoder_status write_copy(xci_trainer *trainer, xcoder_error *err) {
  xcoder_status status = XCODER_OK;
  for (int t = 0; t < XCI_N_TENSORS; t++)
    for (int s = XCI_VALUE; s <= XCI_MOMENT2 && !status; s++)
      status = trainer->device->ops->coder_write(trainer->device, trainer->coder, (xci_coder_tensor)t,
                                                 (xci_coder_slot)s, trainer->copy->values[t][s], err);
  return_to_copy(trainer);
  return status;
}

static xcoder_status start_again(xci_trainer *trainer, xcoder_error *err) {
  memset(trainer->last_fired, 0, trainer->info.n_latents * sizeof *trainer->last_fired);
  trainer->step = trainer->skipped = trainer->metrics_bytes = trainer->timing_bytes = 0;
  trainer->info.threshold = -1;
  return xci_train_init(trainer, err);
}

/* Rows of steps that will be done again, or were not saved, go. */
static xcoder_status rewind_logs(xci_trainer *trainer, double seconds, xcoder_error *err) {
  xcoder_status status = xci_log_close(trainer, err);
  xci_text_clear(&trainer->held);
  trainer->seconds_before = seconds;
  return status ? status : xci_log_open(trainer, err);
}

/* ---- After a failure ---- */

xcoder_status xci_rescue_check(const xci_trainer *trainer, xcoder_error *err) {
  if (trainer->coder != NULL) return XCODER_OK;
  return xci_fail(err, XCODER_DEVICE, "the device failed and was replaced");
}

static bool has_copy(const xci_trainer *trainer) { return trainer->copy != NULL && trainer->copy->whole; }

/* The device is the processor now. */
static xcoder_status go_on(xci_trainer *trainer, xcoder_error *err) {
  uint64_t reached = trainer->step;
  double seconds = xci_log_seconds(trainer);
  bool found = false;
  xcoder_status status = xci_rescue_open(trainer, err);
  if (!status && has_copy(trainer) && trainer->copy->step >= trainer->saved_step) {
    status = write_copy(trainer, err);
  } else if (!status) {
    if (trainer->saved_step > 0) status = xci_checkpoint_restore(trainer, &found, err);
    if (!status && !found) status = start_again(trainer, err);
  }
  if (!status) status = rewind_logs(trainer, seconds, err);
  if (status) return status;
  free_copy(trainer);
  trainer->settled = false;
  xci_train_warn(trainer, "train: the processor goes on after step %" PRIu64 ", the device had reached step %" PRIu64,
                 trainer->step, reached);
  return XCODER_OK;
}

/* The device failed and must not be replaced: the newest state that the host has is to be on disk. */
static xcoder_status save_and_end(xci_trainer *trainer, xcoder_error *err) {
  xcoder_error device = {0}, why = {0};
  xcoder_status status = XCODER_OK;
  if (err != NULL) device = *err;
  xci_device_leave(trainer->device, &trainer->guest);
  leave_device(&trainer->guest);
  if (has_copy(trainer) && trainer->copy->step > trainer->saved_step) {
    double seconds = xci_log_seconds(trainer);
    return_to_copy(trainer);
    status = rewind_logs(trainer, seconds, &why);
    if (!status) status = xci_checkpoint_save(trainer, &why);
    if (!status) trainer->saved_step = trainer->step;
  }
  if (status)
    return xci_fail(err, XCODER_DEVICE, "%s; the state of step %" PRIu64 " could not be saved: %s", device.message,
                    trainer->copy->step, why.message);
  if (trainer->saved_step == 0) return xci_fail(err, XCODER_DEVICE, "%s; no step is saved", device.message);
  return xci_fail(err, XCODER_DEVICE, "%s; the state after step %" PRIu64 " is saved (go on with --device=cpu, or let "
                  "--fallback=cpu do so)", device.message, trainer->saved_step);
}

bool xci_rescue(xci_trainer *trainer, xcoder_status *status, xcoder_error *err) {
  if (*status != XCODER_DEVICE) return false;
  if (trainer->coder != NULL && !xci_device_replace(trainer->device, *status, err)) {
    *status = save_and_end(trainer, err);
    return false;
  }
  *status = go_on(trainer, err);
  return !*status;
}
