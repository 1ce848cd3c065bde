/* SPDX-License-Identifier: Apache-2.0 */
/* bfloat16 and IEEE half precision, scalar and in bulk. Rounding is to nearest even; NaN stays NaN. */
#ifndef XCI_BASE_HALF_H
#define XCI_BASE_HALF_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline float xci_bf16_to_f32(uint16_t h) {
  uint32_t u = (uint32_t)h << 16;
  float f;
  memcpy(&f, &u, sizeof f);
  return f;
}
static inline uint16_t xci_f32_to_bf16(float f) {
  uint32_t u;
  memcpy(&u, &f, sizeof u);
  if ((u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(u >> 16 | 0x40u);
  return (uint16_t)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}
float xci_f16_to_f32(uint16_t h);
uint16_t xci_f32_to_f16(float f);

/* In bulk; the 16-bit values are little-endian bytes that need no alignment. */
void xci_f16_to_f32_array(const void *in, float *out, size_t n);
void xci_bf16_to_f32_array(const void *in, float *out, size_t n);
void xci_f32_to_bf16_array(const float *in, uint16_t *out, size_t n);

#endif
