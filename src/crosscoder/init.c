/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters before the first step: decoder rows of random direction and fixed norm, the encoder their transpose. */
#include "base/memory.h"
#include "base/parallel.h"
#include "base/random.h"
#include "base/size.h"
#include "crosscoder/trainer.h"
#include <math.h>

enum { ROWS = 16 }; /* decoder rows transposed together */

/* Row [i, c] of W_dec: a pure function of (seed, i, c), so the encoder can be made without the decoder at hand. */
static void make_row(const xci_trainer *trainer, size_t i, size_t c, float *row) {
  size_t d = trainer->info.d_model;
  uint64_t first = ((uint64_t)i * trainer->info.n_checkpoints + c) * d;
  double sum = 0;
  for (size_t k = 0; k < d; k++) {
    row[k] = (float)xci_random_normal(trainer->options.seed, XCI_STREAM_INIT, first + k);
    sum += (double)row[k] * (double)row[k];
  }
  double factor = sum > 0 ? trainer->options.decoder_init_norm / sqrt(sum) : 0;
  for (size_t k = 0; k < d; k++) row[k] = (float)((double)row[k] * factor);
}

static xcoder_status write_decoder(xci_trainer *trainer, size_t n_values, xcoder_error *err) {
  size_t n = trainer->info.n_checkpoints, d = trainer->info.d_model;
  float *values = NULL;
  xcoder_status status = XCI_ALLOC(&values, n_values, err);
  if (status) return status;
#pragma omp parallel for num_threads(xci_threads())
  for (long long r = 0; r < (long long)(trainer->info.n_latents * n); r++)
    make_row(trainer, (size_t)r / n, (size_t)r % n, values + (size_t)r * d);
  status = trainer->device->ops->coder_write(trainer->device, trainer->coder, XCI_W_DEC, XCI_VALUE, values, err);
  xci_free(values);
  return status;
}

/* Rows first .. of checkpoint c, as columns of W_enc[c]. */
static void fill_columns(const xci_trainer *trainer, size_t c, size_t first, float *rows, float *w_enc) {
  size_t d = trainer->info.d_model, n_latents = trainer->info.n_latents;
  size_t count = xci_min_size(ROWS, n_latents - first);
  for (size_t i = 0; i < count; i++) make_row(trainer, first + i, c, rows + i * d);
  for (size_t k = 0; k < d; k++)
    for (size_t i = 0; i < count; i++) w_enc[(c * d + k) * n_latents + first + i] = rows[i * d + k];
}

static xcoder_status write_encoder(xci_trainer *trainer, size_t n_values, xcoder_error *err) {
  size_t n = trainer->info.n_checkpoints, d = trainer->info.d_model;
  size_t n_blocks = xci_ceil_div(trainer->info.n_latents, ROWS), n_threads = (size_t)xci_threads();
  float *values = NULL, *rows = NULL;
  xcoder_status status = XCI_ALLOC(&values, n_values, err);
  if (!status) status = XCI_ALLOC(&rows, n_threads * ROWS * d, err);
  if (!status) {
#pragma omp parallel for num_threads((int)n_threads)
    for (long long task = 0; task < (long long)(n * n_blocks); task++)
      fill_columns(trainer, (size_t)task / n_blocks, (size_t)task % n_blocks * ROWS,
                   rows + (size_t)xci_thread_index() * ROWS * d, values);
    status = trainer->device->ops->coder_write(trainer->device, trainer->coder, XCI_W_ENC, XCI_VALUE, values, err);
  }
  xci_free(values);
  xci_free(rows);
  return status;
}

static xcoder_status write_zeros(xci_trainer *trainer, xci_coder_tensor tensor, xci_coder_slot slot, size_t n_values,
                                 xcoder_error *err) {
  float *values = NULL;
  xcoder_status status = XCI_ALLOC(&values, n_values, err);
  if (!status) status = trainer->device->ops->coder_write(trainer->device, trainer->coder, tensor, slot, values, err);
  xci_free(values);
  return status;
}

xcoder_status xci_train_init(xci_trainer *trainer, xcoder_error *err) {
  const xcoder_info *info = &trainer->info;
  size_t n_values[XCI_N_TENSORS];
  xcoder_status status = xci_coder_sizes(info->n_checkpoints, info->d_model, info->n_latents, n_values, err);
  if (!status) status = write_decoder(trainer, n_values[XCI_W_DEC], err);
  if (!status) status = write_encoder(trainer, n_values[XCI_W_ENC], err);
  if (!status) status = write_zeros(trainer, XCI_B_ENC, XCI_VALUE, n_values[XCI_B_ENC], err);
  if (!status) status = write_zeros(trainer, XCI_B_DEC, XCI_VALUE, n_values[XCI_B_DEC], err);
  xci_jump_init(trainer);
  for (int t = 0; t < XCI_N_TENSORS && !status; t++) {
    status = write_zeros(trainer, (xci_coder_tensor)t, XCI_MOMENT1, n_values[t], err);
    if (!status) status = write_zeros(trainer, (xci_coder_tensor)t, XCI_MOMENT2, n_values[t], err);
  }
  return status;
}
