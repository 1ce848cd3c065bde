/* SPDX-License-Identifier: Apache-2.0 */
/* The public trainer: an activation source as the batches that the crosscoder layer trains from. */
#include <crosscoder/train.h>

#include "crosscoder/trainer.h"
#include "harvest/source.h"

static xcoder_status read_source(void *context, uint64_t first, size_t count, uint16_t *bf16, xcoder_error *err) {
  return xcoder_source_read(context, first, count, bf16, err);
}

static xcoder_status locate(void *context, uint64_t first, size_t count, xci_window *window, uint32_t *row,
                            size_t *taken, xcoder_error *err) {
  return xci_source_locate(context, first, count, window, row, taken, err);
}

static xci_batches adapt(xcoder_source *source) {
  return (xci_batches){.context = source, .n_checkpoints = xcoder_source_checkpoints(source),
                       .d_model = xcoder_source_width(source), .n_samples = xcoder_source_epoch(source),
                       .read = read_source, .locate = locate};
}

xcoder_status xcoder_train(xcoder_source *source, xcoder_source *validation, const float *scales,
                           const xcoder_train_options *options, const char *run, bool resume, xcoder_device *device,
                           const xcoder_monitor *monitor, xcoder **coder, xcoder_error *err) {
  xci_batches train = adapt(source), held_out = {0};
  if (validation != NULL) held_out = adapt(validation);
  source->monitor = monitor;
  if (validation != NULL) validation->monitor = monitor;
  xcoder_status status = xci_train(&train, validation != NULL ? &held_out : NULL, scales, options, run, resume, device,
                                   monitor, coder, err);
  source->monitor = NULL;
  if (validation != NULL) validation->monitor = NULL;
  return status;
}
