/* SPDX-License-Identifier: Apache-2.0 */
/* Slopes of attention with linear biases. */
#include "model/family.h"

#include <math.h>

/* For a power of two, n, the slopes are the powers 1 to n of 2^(-8/n); the heads beyond the largest power of two take
 * the odd powers of the base for twice as many. The base is rounded to float32 first, as the models' own code does. */
void xci_alibi_slopes(size_t n_heads, float *slopes) {
  size_t n = 1;
  while (n <= n_heads / 2) n *= 2;
  const float base = (float)exp2(-8.0 / (double)n), finer = (float)exp2(-4.0 / (double)n);
  for (size_t i = 0; i < n_heads; i++)
    slopes[i] = (float)(i < n ? pow((double)base, (double)(i + 1)) : pow((double)finer, (double)(2 * (i - n) + 1)));
}
