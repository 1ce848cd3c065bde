/* SPDX-License-Identifier: Apache-2.0 */
/* What a training run will need: memory, disk, floating-point work. The memory was compared with the
 * peak of whole runs on the processor at eight shapes: 0.94 to 1.16 of it was predicted. */
#include "base/parallel.h"
#include "base/size.h"
#include "crosscoder/trainer.h"
#include <math.h>

static uint64_t parameters(size_t n_checkpoints, size_t d_model, size_t n_latents) {
  uint64_t row = (uint64_t)n_checkpoints * d_model;
  return 2 * row * n_latents + row + n_latents;
}

uint64_t xci_train_state_bytes(size_t n_checkpoints, size_t d_model, size_t n_latents) {
  return 12 * parameters(n_checkpoints, d_model, n_latents) + 24 * (uint64_t)n_latents + 8192; /* 16: of jumprelu */
}

uint64_t xci_train_result_bytes(size_t n_checkpoints, size_t d_model, size_t n_latents) {
  return 4 * parameters(n_checkpoints, d_model, n_latents) + 4 * (uint64_t)n_latents + 4096;
}

uint64_t xci_train_log_bytes(size_t n_checkpoints, const xcoder_train_options *resolved) {
  uint64_t n_steps = xci_train_steps(resolved), row = 24 * (16 + (uint64_t)n_checkpoints);
  return (n_steps / resolved->log_every + 2) * (row + 100) + (n_steps / resolved->validate_every + 2) * row + 4096;
}

/* The codes are largest early on. At the first steps about half of all features fire: per sample and feature that is
 * 4 bytes of codes, 10 of the arenas they were collected in (while these grow), 8 of dense columns. When the penalty
 * has brought most features below the density at which they leave the dense columns, three in eight: lists of 20 bytes
 * for each code, and partial sums of its gradient for up to 16 groups of tiles. jumprelu has no dense columns. */
static uint64_t code_bytes(uint64_t batch, uint64_t n_latents, uint64_t n_tiles, bool jump) {
  uint64_t all = batch * n_latents, listed = jump ? all / 2 : all * 3 / 8, n_groups = n_tiles < 16 ? n_tiles : 16;
  while (n_groups > 4 && listed > ((uint64_t)64 << 20) / n_groups) n_groups /= 2;
  return all * (jump ? 14 : 22) + listed * (20 + 4 * n_groups);
}

/* Parameters, two moments and gradients, padded to whole tiles of columns; one tensor in file order while a checkpoint
 * is read or written; the batch as bf16, scaled, in tiles and reconstructed. */
static uint64_t memory_bytes(size_t n_checkpoints, size_t d_model, const xcoder_train_options *resolved) {
  uint64_t n_latents = resolved->n_latents, batch = resolved->batch_size;
  uint64_t n_tiles = xci_ceil_div(d_model, 64), width = xci_ceil_div(xci_ceil_div(d_model, n_tiles), 16) * 16;
  uint64_t row = n_checkpoints * n_tiles * width, tensor = row * n_latents;
  uint64_t exact_row = (uint64_t)n_checkpoints * d_model;
  uint64_t state = 4 * 4 * (2 * tensor + row + n_latents);
  uint64_t staging = 4 * exact_row * n_latents;
  uint64_t batches = batch * (exact_row * (2 + 4 + 4) + row * 4 + (uint64_t)n_checkpoints * 16);
  uint64_t per_latent = n_latents * (n_checkpoints * (8 + 4 + 4) + 64);
  return state + staging + batches + per_latent +
         code_bytes(batch, n_latents, n_checkpoints * n_tiles, xci_train_is_jump(resolved));
}

/* A feature is dead when it did not fire in dead_tokens tokens before a step (gates.c): at the last at the latest. */
xci_coder_shape xci_train_shape(size_t n_checkpoints, size_t d_model, const xcoder_train_options *resolved) {
  const uint64_t before_last = (xci_train_steps(resolved) - 1) * resolved->batch_size;
  xci_coder_shape shape = {n_checkpoints, d_model, resolved->n_latents, resolved->batch_size, true, 0, false};
  if (!xci_train_is_ranked(resolved)) return shape;
  shape.max_codes = xci_train_k(resolved, 0);
  shape.auxiliary = resolved->auxiliary_coefficient > 0 && before_last > 0 && before_last >= resolved->dead_tokens;
  return shape;
}

xcoder_status xcoder_train_device_plan(size_t n_checkpoints, size_t d_model, const xcoder_train_options *options,
                                       xcoder_device_plan *plan, xcoder_error *err) {
  xcoder_train_options resolved;
  xcoder_status status = xci_train_resolve(options, n_checkpoints, d_model, &resolved, err);
  if (status) return status;
  const xci_coder_shape shape = xci_train_shape(n_checkpoints, d_model, &resolved);
  plan->n_checkpoints = n_checkpoints;
  plan->d_model = d_model;
  plan->n_latents = shape.n_latents;
  plan->batch_size = shape.max_batch;
  plan->training = true;
  plan->max_codes = shape.max_codes;
  plan->auxiliary = shape.auxiliary;
  return XCODER_OK;
}

/* Dead features that work on a sample by the auxiliary term, in the mean over the steps. There are none before
 * dead_tokens have passed; then as many as can be, though in a good run few features die. */
static double auxiliary_features(const xcoder_train_options *resolved) {
  if (!xci_train_is_ranked(resolved) || resolved->auxiliary_coefficient <= 0) return 0;
  double left = 1 - (double)resolved->dead_tokens / (double)resolved->n_tokens;
  return fmax(0, left) * (double)xci_min_size(resolved->n_auxiliary, resolved->n_latents);
}

xcoder_status xcoder_train_cost(size_t n_checkpoints, size_t d_model, const xcoder_train_options *options,
                                xcoder_cost *cost, xcoder_error *err) {
  xcoder_train_options resolved;
  xcoder_status status = xci_train_resolve(options, n_checkpoints, d_model, &resolved, err);
  if (status) return status;
  uint64_t batch = resolved.batch_size, n_latents = resolved.n_latents;
  cost->memory_bytes = memory_bytes(n_checkpoints, d_model, &resolved);
  if (auxiliary_features(&resolved) > 0) /* the residual, its gradient, and a list of codes */
    cost->memory_bytes += batch * (8 * (uint64_t)n_checkpoints * d_model + 32 * (uint64_t)resolved.n_auxiliary);
  cost->disk_bytes = (resolved.keep_checkpoints + 1) *
                         xci_train_state_bytes(n_checkpoints, d_model, resolved.n_latents) +
                     (1 + resolved.n_snapshots) *
                         xci_train_result_bytes(n_checkpoints, d_model, resolved.n_latents) +
                     xci_train_log_bytes(n_checkpoints, &resolved);
  double n_saves = ceil((double)xci_train_steps(&resolved) / (double)resolved.save_every);
  cost->written_bytes = n_saves * (double)xci_train_state_bytes(n_checkpoints, d_model, resolved.n_latents) +
                        (double)(1 + resolved.n_snapshots) *
                            (double)xci_train_result_bytes(n_checkpoints, d_model, resolved.n_latents);
  /* The encoder is dense. What follows it works on active features only: four passes over about 64 of them a sample
   * (all of them at the start). The optimizer touches every parameter. */
  double row = (double)n_checkpoints * (double)d_model, n_steps = (double)xci_train_steps(&resolved);
  double active = n_latents < 64 ? (double)n_latents : 64;
  if (xci_train_is_ranked(&resolved)) active = (double)resolved.k + auxiliary_features(&resolved);
  cost->flops = n_steps * (2 * (double)batch * row * ((double)n_latents + 4 * active) +
                           12 * (double)parameters(n_checkpoints, d_model, resolved.n_latents));
  return XCODER_OK;
}
