/* SPDX-License-Identifier: Apache-2.0 */
/* What jumprelu adds to training: a threshold for every feature, learnt as its logarithm beside the four tensors, and a
 * penalty on the number of features that fire (Rajamanoharan et al., arXiv 2407.14435).
 *
 * Thresholds theta_i are in units of f, as in the result. Bandwidth and first threshold are given in units of the score
 * f_i sum_c ||W_dec[i,c]||, so that nothing changes when a feature is scaled up and its decoder row down. The norms in
 * them count as constants; the device takes those of now for the bandwidth. Thresholds and their moments are kept here,
 * in the host's memory: a step sends the thresholds and gets their gradient with its losses. */
#include "base/memory.h"
#include "crosscoder/trainer.h"
#include <math.h>

bool xci_train_is_jump(const xcoder_train_options *o) { return o->activation == XCODER_JUMP_RELU; }

xcoder_status xci_jump_create(xci_trainer *trainer, xcoder_error *err) {
  xcoder_status status = XCODER_OK;
  if (!xci_train_is_jump(&trainer->options)) return XCODER_OK;
  for (int slot = XCI_VALUE; slot <= XCI_GRADIENT && !status; slot++)
    status = XCI_ALLOC(&trainer->log_theta[slot], trainer->info.n_latents, err);
  return status;
}

void xci_jump_free(xci_trainer *trainer) {
  for (int slot = XCI_VALUE; slot <= XCI_GRADIENT; slot++) xci_free(trainer->log_theta[slot]);
}

void xci_jump_init(xci_trainer *trainer) {
  const xcoder_train_options *o = &trainer->options;
  if (!xci_train_is_jump(o)) return;
  double norms = (double)trainer->info.n_checkpoints * o->decoder_init_norm;
  for (size_t i = 0; i < trainer->info.n_latents; i++) {
    trainer->log_theta[XCI_VALUE][i] = (float)log(o->initial_threshold / norms);
    trainer->log_theta[XCI_MOMENT1][i] = trainer->log_theta[XCI_MOMENT2][i] = 0;
  }
}

void xci_jump_thresholds(const xci_trainer *trainer, float *theta) {
  for (size_t i = 0; i < trainer->info.n_latents; i++) theta[i] = expf(trainer->log_theta[XCI_VALUE][i]);
}

void xci_jump_objective(xci_trainer *trainer, xci_objective *objective) {
  if (!xci_train_is_jump(&trainer->options)) return;
  objective->l0_coefficient = objective->l1_coefficient;
  objective->l1_coefficient = 0;
  objective->threshold_gradient = trainer->log_theta[XCI_GRADIENT];
}

/* As the backends' coder_update does with the other tensors. */
void xci_jump_update(xci_trainer *trainer, const xci_adam *adam, double gradient_norm) {
  double clip = 1, t = (double)adam->step;
  if (!xci_train_is_jump(&trainer->options)) return;
  if (adam->clip_norm > 0) clip = fmin(1, adam->clip_norm / (gradient_norm + 1e-6));
  double rate = adam->learning_rate / (1 - pow(adam->beta1, t)), root = sqrt(1 - pow(adam->beta2, t));
  float *const *slot = trainer->log_theta;
  for (size_t i = 0; i < trainer->info.n_latents; i++) {
    double g = clip * (double)slot[XCI_GRADIENT][i];
    double m = adam->beta1 * (double)slot[XCI_MOMENT1][i] + (1 - adam->beta1) * g;
    double v = adam->beta2 * (double)slot[XCI_MOMENT2][i] + (1 - adam->beta2) * g * g;
    slot[XCI_MOMENT1][i] = (float)m;
    slot[XCI_MOMENT2][i] = (float)v;
    slot[XCI_VALUE][i] -= (float)(rate * m / (sqrt(v) / root + adam->epsilon));
  }
}

static xcoder_status check_number(const char *name, double value, bool zero, xcoder_error *err) {
  if ((value > 0 || (zero && value == 0)) && value <= 1e9) return XCODER_OK;
  return xci_fail(err, XCODER_USAGE, "train: %s is %g, expected %s 0 to 1e9", name, value, zero ? "" : "above");
}

/* From shares of what scaled activations have to absolute numbers: a checkpoint's norm is sqrt(d) in the mean. */
xcoder_status xci_jump_resolve(xcoder_train_options *o, size_t n_checkpoints, size_t d_model, xcoder_error *err) {
  xcoder_status status = check_number("the bandwidth of jumprelu", o->bandwidth, false, err);
  if (!status) status = check_number("the first threshold of jumprelu", o->initial_threshold, false, err);
  if (!status) status = check_number("the weight of L0", o->l0_coefficient, true, err);
  if (status) return status;
  double norm = (double)n_checkpoints * sqrt((double)d_model);
  o->bandwidth *= norm;
  o->initial_threshold *= norm;
  o->l0_coefficient *= (double)n_checkpoints * (double)d_model;
  o->l1_coefficient = 0;
  return XCODER_OK;
}
