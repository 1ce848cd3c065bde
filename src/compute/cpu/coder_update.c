/* SPDX-License-Identifier: Apache-2.0 */
/* Clipping and Adam over all parameters. Rows without a gradient still decay their moments and move, exactly. */
#include "base/parallel.h"
#include "base/size.h"
#include "compute/cpu/coder.h"
#include <math.h>

enum { ROWS_PER_TASK = 512 };

static xci_adam_factors adam_factors(const xci_adam *adam, double gradient_norm) {
  double clip = 1;
  if (adam->clip_norm > 0 && !(adam->clip_norm / (gradient_norm + 1e-6) >= 1)) /* so that NaN spreads */
    clip = adam->clip_norm / (gradient_norm + 1e-6);
  return (xci_adam_factors){
    .clip = (float)clip,
    .keep1 = (float)adam->beta1, .add1 = (float)(1 - adam->beta1),
    .keep2 = (float)adam->beta2, .add2 = (float)(1 - adam->beta2),
    .rate = (float)(adam->learning_rate / (1 - pow(adam->beta1, (double)adam->step))),
    .root = (float)(1 / sqrt(1 - pow(adam->beta2, (double)adam->step))),
    .epsilon = (float)adam->epsilon,
  };
}

xcoder_status xci_cpu_coder_update(xcoder_device *device, xci_coder *coder, const xci_adam *adam, xcoder_error *err) {
  (void)device;
  if (!coder->has_gradient) return xci_fail(err, XCODER_USAGE, "crosscoder: an update without a gradient");
  if (adam->step == 0 || !(adam->epsilon > 0))
    return xci_fail(err, XCODER_USAGE, "crosscoder: Adam needs a step from 1 and a positive epsilon");
  const xci_adam_factors factors = adam_factors(adam, coder->gradient_norm);
  const xci_coder_tensor matrices[2] = {XCI_W_ENC, XCI_W_DEC};
  size_t n_latents = coder->shape.n_latents, width = coder->width, n_chunks = xci_ceil_div(n_latents, ROWS_PER_TASK);
#pragma omp parallel for schedule(static) num_threads(xci_threads())
  for (size_t task = 0; task < 2 * coder->n_tiles * n_chunks; task++) {
    size_t first = task % n_chunks * ROWS_PER_TASK, t = task / n_chunks % coder->n_tiles;
    float *const *tensor = coder->tensor[matrices[task / n_chunks / coder->n_tiles]];
    size_t at = (t * n_latents + first) * width;
    coder->kernels->adam(width, xci_min_size(ROWS_PER_TASK, n_latents - first), coder->active + first, &factors,
                         tensor[XCI_VALUE] + at, tensor[XCI_MOMENT1] + at, tensor[XCI_MOMENT2] + at,
                         tensor[XCI_GRADIENT] + at);
  }
  float *const *b_enc = coder->tensor[XCI_B_ENC], *const *b_dec = coder->tensor[XCI_B_DEC];
  coder->kernels->adam(n_latents, 1, NULL, &factors, b_enc[0], b_enc[1], b_enc[2], b_enc[3]);
  coder->kernels->adam(coder->n_tiles * width, 1, NULL, &factors, b_dec[0], b_dec[1], b_dec[2], b_dec[3]);
  coder->norm_valid = false;
  return XCODER_OK;
}
