/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots: the crosscoder as it is after chosen shares of the training, to see what it would have said earlier. They
 * change no bit of the run, unless the caller ends it at one. */
#include "base/memory.h"
#include "crosscoder/checkpoint.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { MAX_SNAPSHOTS = 1000 };

xcoder_status xci_snapshot_check(const xcoder_train_options *options, xcoder_error *err) {
  if (options->n_snapshots > MAX_SNAPSHOTS)
    return xci_fail(err, XCODER_USAGE, "train: %zu snapshots, at most %d are kept", options->n_snapshots,
                    MAX_SNAPSHOTS);
  for (size_t i = 0; i < options->n_snapshots; i++) {
    const double share = options->snapshots[i];
    if (!(share > 0 && share < 1))
      return xci_fail(err, XCODER_USAGE, "train: snapshot at a share of %g, expected above 0 and below 1", share);
    if (i > 0 && !(share > options->snapshots[i - 1]))
      return xci_fail(err, XCODER_USAGE, "train: snapshot at a share of %g behind one at %g, expected rising shares",
                      share, options->snapshots[i - 1]);
  }
  return XCODER_OK;
}

uint64_t xci_snapshot_step(const xcoder_train_options *options, size_t index) {
  const uint64_t n_steps = xci_train_steps(options);
  double step = ceil(options->snapshots[index] * (double)n_steps);
  /* Before its average has begun there is no threshold, and the crosscoder cannot be used. */
  if (options->activation == XCODER_BATCH_TOPK) step = fmax(step, (double)options->threshold_start + 1);
  step = fmax(1, fmin(step, (double)n_steps));
  return (uint64_t)step;
}

xcoder_status xcoder_snapshot_folder(const char *run, double share, char **folder, xcoder_error *err) {
  xci_text path = {0};
  *folder = NULL;
  xci_text_format(&path, "%s/snapshots/share-", run);
  xci_text_number(&path, share);
  xcoder_status status = xci_text_status(&path, err);
  if (!status) status = xci_copy_text(path.bytes, folder, err);
  xci_text_clear(&path);
  return status;
}

static xcoder_status write_snapshot(xci_trainer *trainer, size_t index, xcoder_error *err) {
  const xcoder_train_options *options = &trainer->options;
  char *parent = NULL, *folder = NULL;
  bool stop = false;
  xcoder_status status = xci_join_path(trainer->run, "snapshots", &parent, err);
  if (!status) status = xci_make_folder(parent, err);
  if (!status) status = xcoder_snapshot_folder(trainer->run, options->snapshots[index], &folder, err);
  if (!status) status = xci_make_folder(folder, err);
  if (!status) status = xci_checkpoint_result(trainer, folder, err);
  if (!status && options->on_snapshot)
    status = options->on_snapshot(options->snapshot_context, index, folder, &stop, err);
  trainer->settled = trainer->settled || stop;
  xci_free(parent);
  xci_free(folder);
  return status;
}

xcoder_status xci_snapshot_if_due(xci_trainer *trainer, xcoder_error *err) {
  xcoder_status status = XCODER_OK;
  for (size_t i = 0; !status && i < trainer->options.n_snapshots; i++)
    if (xci_snapshot_step(&trainer->options, i) == trainer->step) status = write_snapshot(trainer, i, err);
  return status;
}

xcoder_status xci_snapshot_start(xci_trainer *trainer, bool anew, xcoder_error *err) {
  char *parent = NULL;
  xcoder_status status = xci_join_path(trainer->run, "snapshots", &parent, err);
  if (!status && anew) status = xci_remove_folder(parent, err);
  xci_free(parent);
  for (size_t i = 0; !status && !anew && i < trainer->options.n_snapshots; i++) {
    char *folder = NULL, *path = NULL;
    if (xci_snapshot_step(&trainer->options, i) > trainer->step) break;
    status = xcoder_snapshot_folder(trainer->run, trainer->options.snapshots[i], &folder, err);
    if (!status) status = xci_join_path(folder, "crosscoder.safetensors", &path, err);
    if (!status && !xci_exists(path))
      xci_train_warn(trainer, "%s: absent, and step %" PRIu64 " is past it", path, trainer->step);
    xci_free(folder);
    xci_free(path);
  }
  return status;
}
