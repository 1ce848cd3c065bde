/* SPDX-License-Identifier: Apache-2.0 */
/* The training loop (METHOD section 2). The state after step t is a function of the options, the samples and t alone:
 * threads, interruptions and where it was resumed do not enter. */
#include "crosscoder/trainer.h"

#include "base/half.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "base/size.h"
#include "crosscoder/checkpoint.h"
#include "crosscoder/rescue.h"
#include "crosscoder/window.h"
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void xci_train_warn(const xci_trainer *trainer, const char *format, ...) {
  char message[XCODER_ERROR_BYTES];
  if (trainer->monitor == NULL || trainer->monitor->warn == NULL) return;
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  trainer->monitor->warn(trainer->monitor->context, message);
}

bool xci_train_must_stop(const xci_trainer *trainer) {
  return trainer->monitor != NULL && trainer->monitor->stop != NULL && *trainer->monitor->stop != 0;
}

xcoder_status xci_train_read(xci_trainer *trainer, const xci_batches *batches, uint64_t first, size_t count,
                             bool *finite, xcoder_error *err) {
  size_t n = trainer->info.n_checkpoints, d = trainer->info.d_model;
  int bad = 0;
  xcoder_status status = batches->read(batches->context, first, count, trainer->raw, err);
  if (!status) status = xci_rescue_check(trainer, err); /* models share the device */
  if (status) return status;
#pragma omp parallel for num_threads(xci_threads()) reduction(| : bad)
  for (long long r = 0; r < (long long)(count * n); r++) {
    const uint16_t *from = trainer->raw + (size_t)r * d;
    float *to = trainer->x + (size_t)r * d, scale = trainer->scales[(size_t)r % n];
    for (size_t k = 0; k < d; k++) {
      to[k] = xci_bf16_to_f32(from[k]) * scale;
      bad |= (from[k] & 0x7f80) == 0x7f80;
    }
  }
  *finite = !bad;
  return XCODER_OK;
}

/* ---- One step ---- */

/* A batch that cannot be learnt from: left out if the options allow it, else the end of the run. */
static xcoder_status reject_batch(xci_trainer *trainer, const char *what, double value, xcoder_error *err) {
  if (trainer->skipped >= trainer->options.skip_nan_steps)
    return xci_fail(err, XCODER_DIVERGED, "training diverged: step %" PRIu64 ": %s is %g; the weights of the last "
                    "checkpoint are good (try a lower learning rate, or leave such batches out with on-nan=skip:N)",
                    trainer->step, what, value);
  trainer->skipped++;
  xci_train_warn(trainer, "step %" PRIu64 ": %s is %g: batch left out, %" PRIu64 " of at most %" PRIu64, trainer->step,
                 what, value, trainer->skipped, trainer->options.skip_nan_steps);
  return XCODER_OK;
}

static xcoder_status encode(xci_trainer *trainer, xcoder_error *err) {
  const xci_gate gate = xci_train_gate(trainer);
  return trainer->device->ops->coder_encode(trainer->device, trainer->coder, trainer->x, trainer->options.batch_size,
                                            &gate, err);
}

static xcoder_status mark_fired(xci_trainer *trainer, xcoder_error *err) {
  if (!xci_train_asks_fired(trainer))
    return trainer->device->ops->coder_mark(trainer->device, trainer->coder, (uint32_t)(trainer->step + 1), err);
  for (size_t i = 0; i < trainer->info.n_latents; i++)
    if (trainer->fired_now[i / 32] >> i % 32 & 1) trainer->last_fired[i] = trainer->step + 1;
  return XCODER_OK;
}

static xcoder_status update(xci_trainer *trainer, double gradient_norm, xcoder_error *err) {
  const xcoder_train_options *o = &trainer->options;
  const xci_adam adam = {.step = trainer->step + 1 - trainer->skipped,
                         .learning_rate = xci_train_rate(o, trainer->step),
                         .beta1 = o->beta1, .beta2 = o->beta2, .epsilon = o->epsilon, .clip_norm = o->clip_norm};
  xcoder_status status = trainer->device->ops->coder_update(trainer->device, trainer->coder, &adam, err);
  if (!status) xci_jump_update(trainer, &adam, gradient_norm);
  return status;
}

static bool is_row(const xci_trainer *trainer) {
  return trainer->step % trainer->options.log_every == 0 || trainer->step + 1 == trainer->n_steps;
}

/* The batch's features and losses; the row of metrics.csv where one is due; then the update. */
static xcoder_status learn(xci_trainer *trainer, bool encoded, xci_losses *losses, xcoder_error *err) {
  xcoder_device *device = trainer->device;
  xci_quality quality;
  bool row = is_row(trainer);
  xci_objective objective = {.l1_coefficient = xci_train_lambda(&trainer->options, trainer->step)};
  xcoder_status status = encoded ? XCODER_OK : encode(trainer, err);
  xci_train_find_dead(trainer, &objective);
  xci_jump_objective(trainer, &objective);
  if (xci_train_asks_fired(trainer)) objective.fired = trainer->fired_now;
  if (!status && row) status = device->ops->coder_decode(device, trainer->coder, trainer->xhat, err);
  if (!status && row)
    xci_spread_measure(&trainer->spread, trainer->x, trainer->xhat, trainer->options.batch_size, &quality);
  if (!status) status = device->ops->coder_backward(device, trainer->coder, &objective, losses, err);
  if (status) return status;
  if (!isfinite(losses->loss)) return reject_batch(trainer, "the loss", losses->loss, err);
  if (!isfinite(losses->gradient_norm)) return reject_batch(trainer, "the gradient's norm", losses->gradient_norm, err);
  status = mark_fired(trainer, err);
  if (!status) xci_train_move_threshold(trainer, losses);
  if (!status && row) status = xci_window_fetch_fired(trainer, err);
  if (!status && row) status = xci_log_train(trainer, losses, &quality, err);
  return status ? status : update(trainer, losses->gradient_norm, err);
}

static void show_progress(const xci_trainer *trainer, const xci_losses *losses) {
  char detail[96];
  if (trainer->monitor == NULL || trainer->monitor->progress == NULL) return;
  int n = snprintf(detail, sizeof detail, "loss %.4g L0 %.1f", losses->loss, losses->l0);
  if (!isnan(trainer->last_ev)) snprintf(detail + n, sizeof detail - (size_t)n, " EV %.3f", trainer->last_ev);
  xcoder_progress progress = {.stage = "train", .unit = "tokens", .done = trainer->step * trainer->options.batch_size,
                              .total = trainer->n_steps * trainer->options.batch_size, .detail = detail};
  trainer->monitor->progress(trainer->monitor->context, &progress);
}

static xcoder_status run_step(xci_trainer *trainer, xcoder_error *err) {
  bool finite = true, encoded = false;
  xci_losses losses = {0};
  size_t count = trainer->options.batch_size;
  xcoder_status status = XCODER_OK;
  /* Rows compare with the batch on the host. */
  if (!is_row(trainer)) status = xci_window_encode(trainer, &encoded, err);
  if (!status && !encoded)
    status = xci_train_read(trainer, trainer->train, trainer->step * count, count, &finite, err);
  if (!status) status = xci_log_release(trainer, err);
  if (!status)
    status = finite ? learn(trainer, encoded, &losses, err) : reject_batch(trainer, "an activation", NAN, err);
  if (status) return status;
  trainer->step++;
  show_progress(trainer, &losses);
  return XCODER_OK;
}

/* ---- The loop ---- */

/* Saves where it is due. A disk that is full for a while does not end a run whose state is in memory: that is tried
 * again at the next interval, and must work at the end. */
static xcoder_status save_if_due(xci_trainer *trainer, bool stop, xcoder_error *err) {
  xcoder_error why = {0};
  bool last = stop || trainer->step == trainer->n_steps;
  if (!last && trainer->step % trainer->options.save_every != 0) return XCODER_OK;
  xcoder_status status = xci_checkpoint_save(trainer, &why);
  if (!status) trainer->saved_step = trainer->step;
  if (status == XCODER_IO && !last) {
    xci_train_warn(trainer, "no checkpoint at step %" PRIu64 ", trying again later: %s", trainer->step, why.message);
    return XCODER_OK;
  }
  if (status && err != NULL) *err = why;
  return status;
}

/* Stopped while samples were made, before any of the step was done: the state is that after the step before. */
static xcoder_status stop_between(xci_trainer *trainer, xcoder_error *err) {
  xcoder_status status = trainer->step > trainer->saved_step ? xci_checkpoint_save(trainer, err) : XCODER_OK;
  if (status) return status;
  return xci_fail(err, XCODER_INTERRUPTED, "stopped after step %" PRIu64 " of %" PRIu64 "%s", trainer->step,
                  trainer->n_steps, trainer->step > 0 ? ", state saved" : "");
}

static xcoder_status run_steps(xci_trainer *trainer, xcoder_error *err) {
  xcoder_status status = XCODER_OK;
  while (trainer->step < trainer->n_steps && !trainer->settled && !status) {
    status = xci_rescue_copy_if_due(trainer, err);
    if (!status && trainer->step % trainer->options.validate_every == 0) status = xci_log_validation(trainer, err);
    if (!status) status = run_step(trainer, err);
    if (status == XCODER_INTERRUPTED) status = stop_between(trainer, err);
    if (!status) status = xci_snapshot_if_due(trainer, err);
    if (!status) status = xci_rescue_check(trainer, err);
    /* A state saved where the training was ended would be continued past it. */
    if (status || trainer->settled) break;
    bool stop = xci_train_must_stop(trainer);
    status = save_if_due(trainer, stop, err);
    if (!status && stop)
      status = xci_fail(err, XCODER_INTERRUPTED, "stopped after step %" PRIu64 " of %" PRIu64 ", state saved",
                        trainer->step, trainer->n_steps);
  }
  return status;
}

static xcoder_status finish(xci_trainer *trainer, xcoder_error *err) {
  xcoder_status status = xci_log_validation(trainer, err);
  if (!status) status = xci_log_release(trainer, err);
  if (!status) status = xci_log_sync(trainer, NULL, NULL, err);
  return status ? status : xci_checkpoint_result(trainer, trainer->run, err);
}

/* ---- Setting up ---- */

static xcoder_status check_streams(const xci_batches *train, const xci_batches *validation, const float *scales,
                                   xcoder_error *err) {
  if (train->n_samples == 0) return xci_fail(err, XCODER_USAGE, "train: no samples to train on");
  for (size_t c = 0; c < train->n_checkpoints; c++)
    if (!isfinite(scales[c]) || scales[c] <= 0)
      return xci_fail(err, XCODER_USAGE, "train: scale %zu is %g, expected a positive number", c, (double)scales[c]);
  if (validation == NULL) return XCODER_OK;
  if (validation->n_samples == 0) return xci_fail(err, XCODER_USAGE, "train: no samples to validate on");
  if (validation->n_checkpoints != train->n_checkpoints || validation->d_model != train->d_model)
    return xci_fail(err, XCODER_MISMATCH, "validation: %zu checkpoints of width %zu, expected %zu of width %zu as in "
                    "training", validation->n_checkpoints, validation->d_model, train->n_checkpoints, train->d_model);
  return XCODER_OK;
}

static xcoder_status describe_run(xci_trainer *trainer, const float *scales, xcoder_error *err) {
  size_t n = trainer->train->n_checkpoints;
  xcoder_status status = xci_copy_labels(trainer->options.labels, n, &trainer->labels, err);
  if (!status) status = XCI_ALLOC(&trainer->scales, n, err);
  if (status) return status;
  memcpy(trainer->scales, scales, n * sizeof *scales);
  trainer->info = (xcoder_info){.n_checkpoints = n, .d_model = trainer->train->d_model,
                                .n_latents = trainer->options.n_latents, .layer = trainer->options.layer,
                                .labels = (const char *const *)trainer->labels, .scales = trainer->scales,
                                .threshold = -1, .mask = trainer->options.mask,
                                .activation = trainer->options.activation,
                                .k = xci_train_is_ranked(&trainer->options) ? trainer->options.k : 0};
  trainer->n_steps = xci_train_steps(&trainer->options);
  trainer->last_ev = NAN;
  return xci_config_make(trainer, &trainer->config, err);
}

/* Two checkpoints, the result and the logs must fit before anything starts; when resuming, most of it is there. */
static xcoder_status check_disk(const xci_trainer *trainer, bool resume, xcoder_error *err) {
  const xcoder_info *info = &trainer->info;
  uint64_t state = xci_train_state_bytes(info->n_checkpoints, info->d_model, info->n_latents);
  uint64_t needed = (resume ? 1 : 2) * state + xci_train_log_bytes(info->n_checkpoints, &trainer->options) +
                    (1 + trainer->options.n_snapshots) *
                        xci_train_result_bytes(info->n_checkpoints, info->d_model, info->n_latents);
  uint64_t available = xci_free_disk_bytes(trainer->run);
  if (available >= needed) return XCODER_OK;
  return xci_fail(err, XCODER_MEMORY, "%s: %" PRIu64 " MB free, expected at least %" PRIu64 " MB for checkpoints, logs "
                  "and result (fewer features need less)", trainer->run, available >> 20, (needed >> 20) + 1);
}

static xcoder_status create_workspace(xci_trainer *trainer, xcoder_device *device, xcoder_error *err) {
  const xcoder_info *info = &trainer->info;
  size_t n = info->n_checkpoints, d = info->d_model, batch = trainer->options.batch_size;
  xcoder_status status = device != NULL ? XCODER_OK : xcoder_device_open("cpu", &trainer->own, err);
  trainer->device = device != NULL ? device : trainer->own;
  if (!status) status = XCI_ALLOC(&trainer->raw, batch * n * d, err);
  if (!status) status = XCI_ALLOC(&trainer->x, batch * n * d, err);
  if (!status) status = XCI_ALLOC(&trainer->xhat, batch * n * d, err);
  if (!status) status = xci_spread_create(n, d, batch, &trainer->spread, err);
  if (!status) status = XCI_ALLOC(&trainer->norms, info->n_latents * n, err);
  if (!status) status = XCI_ALLOC(&trainer->fired, info->n_latents, err);
  if (!status) status = XCI_ALLOC(&trainer->theta, info->n_latents, err);
  if (!status) status = xci_jump_create(trainer, err);
  if (!status) status = XCI_ALLOC(&trainer->dead, info->n_latents, err);
  if (!status) status = XCI_ALLOC(&trainer->fired_now, xci_ceil_div(info->n_latents, 32), err);
  if (!status) status = XCI_ALLOC(&trainer->row, xci_max_size(batch, info->n_latents), err);
  if (!status) status = XCI_ALLOC(&trainer->last_fired, info->n_latents, err);
  return status;
}

/* A new run must not be mistaken for what an older one left in the same folder. */
static xcoder_status start_anew(xci_trainer *trainer, xcoder_error *err) {
  char *result = NULL;
  xcoder_status status = xci_checkpoint_clear(trainer->run, true, err);
  if (!status) status = xci_join_path(trainer->run, "crosscoder.safetensors", &result, err);
  if (!status) status = xci_remove_folder(result, err); /* also removes a file */
  if (!status) status = xci_train_init(trainer, err);
  xci_free(result);
  return status;
}

static xcoder_status start(xci_trainer *trainer, bool resume, xcoder_error *err) {
  bool found = false;
  char *checkpoints = NULL;
  xcoder_status status = xci_join_path(trainer->run, "checkpoints", &checkpoints, err);
  if (!status && resume) status = xci_checkpoint_clear(trainer->run, false, err);
  if (!status && resume) status = xci_checkpoint_restore(trainer, &found, err);
  if (!status && found) trainer->saved_step = trainer->step;
  if (!status && resume && !found)
    xci_train_warn(trainer, "%s: no checkpoint yet, starting from the first step", trainer->run);
  if (!status && !found) status = start_anew(trainer, err);
  if (!status) status = xci_snapshot_start(trainer, !found, err);
  if (!status) status = xci_make_folder(checkpoints, err);
  if (!status) status = xci_log_open(trainer, err);
  xci_free(checkpoints);
  return status;
}

/* A device that fails before the first step may be replaced as well; then all starts on the other. */
static xcoder_status open_and_start(xci_trainer *trainer, bool resume, xcoder_error *err) {
  xcoder_status status;
  do {
    status = xci_rescue_open(trainer, err);
    if (!status) status = start(trainer, resume, err);
    if (status) xci_log_close(trainer, NULL);
  } while (xci_device_replace(trainer->device, status, err));
  return status;
}

static xcoder_status run_all(xci_trainer *trainer, xcoder_error *err) {
  xcoder_status status;
  do {
    status = run_steps(trainer, err);
    if (!status) status = finish(trainer, err);
  } while (xci_rescue(trainer, &status, err));
  return status;
}

static void free_trainer(xci_trainer *trainer) {
  xci_rescue_close(trainer);
  xcoder_device_close(trainer->own);
  xci_spread_free(&trainer->spread);
  xci_config_free(&trainer->config);
  xci_text_clear(&trainer->held);
  xci_free_labels(trainer->labels, trainer->train->n_checkpoints);
  xci_free(trainer->scales);
  xci_free(trainer->raw);
  xci_free(trainer->x);
  xci_free(trainer->xhat);
  xci_free(trainer->norms);
  xci_free(trainer->fired);
  xci_free(trainer->theta);
  xci_jump_free(trainer);
  xci_free(trainer->dead);
  xci_free(trainer->fired_now);
  xci_free(trainer->row);
  xci_free(trainer->last_fired);
}

static xcoder_status load_result(const char *run, xcoder **coder, xcoder_error *err) {
  char *path = NULL;
  xcoder_status status = xci_join_path(run, "crosscoder.safetensors", &path, err);
  if (!status) status = xci_coder_load_file(path, coder, err);
  xci_free(path);
  return status;
}

xcoder_status xci_train(const xci_batches *train, const xci_batches *validation, const float *scales,
                        const xcoder_train_options *options, const char *run, bool resume, xcoder_device *device,
                        const xcoder_monitor *monitor, xcoder **coder, xcoder_error *err) {
  xci_trainer trainer = {.train = train, .validation = validation, .monitor = monitor, .run = run};
  if (coder != NULL) *coder = NULL;
  xcoder_status status = xci_train_resolve(options, train->n_checkpoints, train->d_model, &trainer.options, err);
  if (status) return status;
  status = check_streams(train, validation, scales, err);
  if (!status) status = describe_run(&trainer, scales, err);
  if (!status) status = check_disk(&trainer, resume, err);
  if (!status) status = xci_make_folder(run, err);
  if (!status) status = create_workspace(&trainer, device, err);
  if (!status) status = open_and_start(&trainer, resume, err);
  if (!status) status = run_all(&trainer, err);
  xcoder_status closed = xci_log_close(&trainer, status ? NULL : err);
  if (!status) status = closed;
  free_trainer(&trainer); /* before loading, so that the two do not share the memory */
  return !status && coder != NULL ? load_result(run, coder, err) : status;
}
