/* SPDX-License-Identifier: Apache-2.0 */
/* Thresholds that are trained (gate JUMP): the gate, and the gradient of what it jumps by.
 *
 *   f = z where z > theta, else 0        H = 1 where z > theta, else 0
 *
 * have no useful derivative with respect to theta. In its place stands that of a ramp from theta - m to theta + m:
 * -theta / (2 m) and -1 / (2 m) inside, 0 outside (Rajamanoharan et al., arXiv 2407.14435, with bandwidth 2 m). */
#include "base/parallel.h"
#include "compute/cpu/coder.h"
#include <math.h>
#include <string.h>

xcoder_status xci_coder_take_thresholds(xci_coder *coder, const xci_gate *gate, xcoder_error *err) {
  size_t n = coder->shape.n_latents, n_checkpoints = coder->shape.n_checkpoints;
  xcoder_status status = xci_reserve(&coder->jump, 2 * n, sizeof(float), err);
  if (status) return status;
  float *threshold = coder->jump.memory, *margin = threshold + n;
  memcpy(threshold, gate->threshold, n * sizeof *threshold);
  xci_coder_fill_norms(coder);
  for (size_t i = 0; i < n; i++) {
    double sum = 0; /* of norms as coder_norms gives them */
    for (size_t c = 0; c < n_checkpoints; c++) sum += (double)(float)coder->norm[i * n_checkpoints + c];
    margin[i] = sum > 0 ? (float)(gate->half_bandwidth / sum) : 0;
    if (!isfinite(margin[i])) margin[i] = 0;
  }
  return XCODER_OK;
}

void xci_coder_shut(xci_coder *coder) {
  xci_lists codes = xci_coder_by_sample(coder);
  const float *threshold = coder->jump.memory;
  float *value = coder->codes.value.memory;
#pragma omp parallel for schedule(static) num_threads(xci_threads())
  for (size_t b = 0; b < coder->n_samples; b++)
    for (size_t p = codes.start[b]; p < codes.start[b + 1]; p++)
      if (value[p] <= threshold[codes.index[p]]) value[p] = 0; /* NaN stays */
}

void xci_coder_jump(xci_coder *coder, const xci_objective *objective) {
  xci_lists lists = xci_coder_by_latent(coder);
  float *df = coder->latent_df.memory, *bias_gradient = coder->tensor[XCI_B_ENC][XCI_GRADIENT];
  const float *thresholds = coder->jump.memory, *margins = thresholds + coder->shape.n_latents;
  double share = objective->l0_coefficient / (double)coder->n_samples;
#pragma omp parallel for schedule(dynamic, 64) num_threads(xci_threads())
  for (size_t i = 0; i < coder->shape.n_latents; i++) {
    float theta = thresholds[i], margin = margins[i], last = theta + margin;
    double near = 0, n_near = 0, open = 0;
    for (size_t p = lists.start[i]; p < lists.start[i + 1]; p++) {
      bool shut = lists.value[p] == 0;
      if (shut || lists.value[p] <= last) {
        near += (double)df[p];
        n_near++;
      }
      if (shut) df[p] = 0;
      else open += (double)df[p];
    }
    bias_gradient[i] = (float)open;
    double slope = margin > 0 ? (double)theta / (2 * (double)margin) : 0;
    if (objective->threshold_gradient == NULL) continue;
    objective->threshold_gradient[i] = (float)(-slope * ((double)theta * near + share * n_near));
  }
}
