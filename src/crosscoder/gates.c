/* SPDX-License-Identifier: Apache-2.0 */
/* What batchtopk and topk add to training (METHOD section 3): k that falls, the average of thresholds, dead
 * features. */
#include "base/memory.h"
#include "base/size.h"
#include "crosscoder/trainer.h"
#include <math.h>
#include <string.h>

bool xci_train_is_ranked(const xcoder_train_options *o) {
  return o->activation == XCODER_BATCH_TOPK || o->activation == XCODER_TOPK;
}

size_t xci_train_k(const xcoder_train_options *o, uint64_t step) {
  if (step >= o->anneal_steps || o->k_start <= o->k) return o->k;
  return o->k_start - (size_t)((double)(o->k_start - o->k) * ((double)step / (double)o->anneal_steps));
}

xci_gate xci_train_gate(const xci_trainer *trainer) {
  const xcoder_train_options *o = &trainer->options;
  if (xci_train_is_jump(o)) {
    xci_jump_thresholds(trainer, trainer->theta);
    return (xci_gate){.kind = XCI_GATE_JUMP, .threshold = trainer->theta, .half_bandwidth = o->bandwidth / 2};
  }
  if (!xci_train_is_ranked(o)) return (xci_gate){.kind = XCI_GATE_RELU};
  return (xci_gate){.kind = o->activation == XCODER_TOPK ? XCI_GATE_TOPK : XCI_GATE_BATCH_TOPK,
                    .k = xci_train_k(o, trainer->step)};
}

static double norm_sum(const xci_trainer *trainer, size_t i) {
  size_t n = trainer->info.n_checkpoints;
  double sum = 0;
  for (size_t c = 0; c < n; c++) sum += (double)trainer->norms[i * n + c];
  return sum;
}

/* The gate of inference with the parameters of now. */
xcoder_status xci_train_validation_gate(xci_trainer *trainer, xci_gate *gate, xcoder_error *err) {
  const xcoder_train_options *o = &trainer->options;
  (void)err;
  *gate = (xci_gate){.kind = XCI_GATE_RELU};
  if (o->activation == XCODER_TOPK) *gate = (xci_gate){.kind = XCI_GATE_TOPK, .k = o->k};
  if (xci_train_is_jump(o)) {
    xci_jump_thresholds(trainer, trainer->theta);
    *gate = (xci_gate){.kind = XCI_GATE_THRESHOLD, .threshold = trainer->theta};
  }
  if (o->activation != XCODER_BATCH_TOPK || trainer->info.threshold < 0) return XCODER_OK;
  for (size_t i = 0; i < trainer->info.n_latents; i++) {
    double norm = norm_sum(trainer, i);
    trainer->theta[i] = norm > 0 ? (float)((double)trainer->info.threshold / norm) : HUGE_VALF;
  }
  *gate = (xci_gate){.kind = XCI_GATE_THRESHOLD, .threshold = trainer->theta};
  return XCODER_OK;
}

/* The average of the smallest positive kept scores; the first one starts it. Called before the batch's update. */
void xci_train_move_threshold(xci_trainer *trainer, const xci_losses *losses) {
  const xcoder_train_options *o = &trainer->options;
  double least = losses->least_score, old = (double)trainer->info.threshold, keep = o->threshold_decay;
  if (o->activation != XCODER_BATCH_TOPK || trainer->step < o->threshold_start || !(least > 0)) return;
  trainer->info.threshold = (float)(old < 0 ? least : keep * old + (1 - keep) * least);
}

/* An auxiliary term asks for dead features in every step; marks of a device count steps in 32 bits. */
bool xci_train_asks_fired(const xci_trainer *trainer) {
  const xcoder_train_options *o = &trainer->options;
  return (xci_train_is_ranked(o) && o->auxiliary_coefficient > 0) || trainer->n_steps >= UINT32_MAX;
}

/* A feature is dead when it did not fire in the last dead_tokens tokens before this batch. */
void xci_train_find_dead(xci_trainer *trainer, xci_objective *objective) {
  const xcoder_train_options *o = &trainer->options;
  size_t n = 0;
  if (!xci_train_is_ranked(o) || o->auxiliary_coefficient <= 0) return;
  for (size_t i = 0; i < trainer->info.n_latents; i++)
    if ((trainer->step - trainer->last_fired[i]) * o->batch_size >= o->dead_tokens && trainer->step > 0)
      trainer->dead[n++] = (uint32_t)i;
  objective->auxiliary_coefficient = o->auxiliary_coefficient;
  objective->dead = trainer->dead;
  objective->n_dead = n;
  objective->n_auxiliary = o->n_auxiliary;
}

/* min(constant, share of the run), at least `least`. */
static uint64_t at_most(uint64_t constant, double share, uint64_t of, uint64_t least) {
  double limit = share * (double)of;
  uint64_t value = (double)constant <= limit ? constant : (uint64_t)limit;
  return value < least ? least : value;
}

xcoder_status xci_train_resolve_gate(xcoder_train_options *o, size_t n_checkpoints, size_t d_model,
                                     xcoder_error *err) {
  uint64_t n_steps = xci_train_steps(o);
  if ((int)o->activation < 0 || o->activation > XCODER_JUMP_RELU)
    return xci_fail(err, XCODER_USAGE, "train: activation %d: relu, batchtopk, topk and jumprelu can be trained",
                    (int)o->activation);
  if (o->decoder_init_norm == 0) o->decoder_init_norm = o->activation == XCODER_RELU ? 0.08 : 1;
  if (xci_train_is_jump(o)) return xci_jump_resolve(o, n_checkpoints, d_model, err);
  if (!xci_train_is_ranked(o)) return XCODER_OK;
  if (o->k < 1 || o->k > o->n_latents)
    return xci_fail(err, XCODER_USAGE, "train: k is %zu, expected 1 to %zu, the number of features", o->k,
                    o->n_latents);
  if (!(o->auxiliary_coefficient >= 0 && o->auxiliary_coefficient <= 1e9))
    return xci_fail(err, XCODER_USAGE, "train: the auxiliary coefficient is %g, expected 0 to 1e9",
                    o->auxiliary_coefficient);
  if (!(o->threshold_decay >= 0 && o->threshold_decay < 1))
    return xci_fail(err, XCODER_USAGE, "train: the decay of the threshold's average is %g, expected 0 to below 1",
                    o->threshold_decay);
  o->l1_coefficient = 0;
  o->k_start = (size_t)at_most(o->k_start, 1.0 / 16, o->n_latents, o->k);
  o->anneal_steps = at_most(o->anneal_steps, 0.05, n_steps, 0);
  o->threshold_start = at_most(o->threshold_start, 0.01, n_steps, 0);
  double memory = fmax(1, fmin(1 / (1 - o->threshold_decay), 0.02 * (double)n_steps));
  if (memory < 1 / (1 - o->threshold_decay)) o->threshold_decay = 1 - 1 / memory;
  o->dead_tokens = at_most(o->dead_tokens, 0.025, o->n_tokens, 1);
  if (o->n_auxiliary == 0) o->n_auxiliary = d_model / 2 > 0 ? d_model / 2 : 1;
  return XCODER_OK;
}
