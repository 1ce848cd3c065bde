/* SPDX-License-Identifier: Apache-2.0 */
/* Samples that stay on a device with memory of its own: the window they are shuffled in is moved there once, and a step
 * sends the rows of its batch alone. Which features fired stays there as well, until somebody asks, where no auxiliary
 * term asks for it in every step. */
#include "crosscoder/window.h"

#include "base/parallel.h"
#include "crosscoder/rescue.h"

static bool is_finite(const uint16_t *values, size_t n) {
  int bad = 0;
#pragma omp parallel for num_threads(xci_threads()) reduction(| : bad)
  for (long long i = 0; i < (long long)n; i++) bad |= (values[i] & 0x7f80) == 0x7f80;
  return !bad;
}

/* Batches of a window with activations that are not finite are looked at one by one, on the host. */
static xcoder_status move_window(xci_trainer *trainer, const xci_window *window, xcoder_error *err) {
  xcoder_error why = {0};
  trainer->window_version = window->version;
  trainer->window_there = false;
  if (!is_finite(window->samples, window->n_rows * trainer->info.n_checkpoints * trainer->info.d_model))
    return XCODER_OK;
  xcoder_status status = trainer->device->ops->coder_window(trainer->device, trainer->coder, window->samples,
                                                            window->n_rows, trainer->scales, &why);
  trainer->window_there = !status;
  if (status == XCODER_MEMORY) { /* then each batch is moved by itself */
    trainer->window_refused = true;
    return XCODER_OK;
  }
  if (status && err != NULL) *err = why;
  return status;
}

xcoder_status xci_window_encode(xci_trainer *trainer, bool *done, xcoder_error *err) {
  const xci_batches *train = trainer->train;
  size_t taken = 0, count = trainer->options.batch_size;
  xci_window window = {0};
  *done = false;
  if (!trainer->device->ops->remote || train->locate == NULL || trainer->window_refused) return XCODER_OK;
  xcoder_status status = train->locate(train->context, trainer->step * count, count, &window, trainer->row, &taken,
                                       err);
  if (!status) status = xci_rescue_check(trainer, err); /* models share the device */
  if (status || taken < count) return status;
  if (trainer->window_version != window.version) status = move_window(trainer, &window, err);
  if (status || !trainer->window_there) return status;
  const xci_gate gate = xci_train_gate(trainer);
  *done = true;
  return trainer->device->ops->coder_encode_rows(trainer->device, trainer->coder, trainer->row, count, &gate, err);
}

xcoder_status xci_window_fetch_fired(xci_trainer *trainer, xcoder_error *err) {
  uint32_t *mark = trainer->row;
  if (trainer->coder == NULL || xci_train_asks_fired(trainer)) return XCODER_OK;
  xcoder_status status = trainer->device->ops->coder_marks(trainer->device, trainer->coder, mark, err);
  for (size_t i = 0; !status && i < trainer->info.n_latents; i++)
    if (mark[i] > trainer->last_fired[i]) trainer->last_fired[i] = mark[i];
  return status;
}
