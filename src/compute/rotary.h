/* SPDX-License-Identifier: Apache-2.0 */
/* The angle of rotary embeddings, one definition for all backends. */
#ifndef XCI_COMPUTE_ROTARY_H
#define XCI_COMPUTE_ROTARY_H

#include <math.h>
#include <stddef.h>

/* Angle of pair j at `position`: every step is rounded to float32 as in the models' own code, because at position
 * 1000 an error of one unit in the last place of the frequency is 6e-5 of a radian. */
static inline float xci_rotary_angle(float base, size_t width, size_t pair, size_t position) {
  float exponent = (float)(2 * pair) / (float)width;
  float frequency = 1.0f / (float)pow((double)base, (double)exponent);
  return (float)position * frequency;
}

#endif
