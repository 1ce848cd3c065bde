/* SPDX-License-Identifier: Apache-2.0 */
/* Conversions between float32 and the two 16-bit formats. */
#include "base/half.h"

#include "base/bytes.h"
#include "base/clones.h"

/* On a little-endian processor a plain load, which compilers vectorise. */
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
static inline uint16_t load_native(const unsigned char *p) {
  uint16_t h;
  memcpy(&h, p, sizeof h);
  return h;
}
#define LOAD load_native
#else
#define LOAD xci_load_u16
#endif

float xci_f16_to_f32(uint16_t h) {
  uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
  uint32_t exponent = h >> 10 & 0x1fu;
  uint32_t mantissa = h & 0x3ffu;
  uint32_t bits;
  if (exponent == 0x1f) {
    bits = sign | 0x7f800000u | mantissa << 13;
  } else if (exponent != 0) {
    bits = sign | (exponent + 112) << 23 | mantissa << 13;
  } else { /* zero or subnormal: value is mantissa * 2^-24, exact in float32 */
    float magnitude = (float)mantissa * 0x1p-24f;
    memcpy(&bits, &magnitude, sizeof bits);
    bits |= sign;
  }
  float f;
  memcpy(&f, &bits, sizeof f);
  return f;
}

uint16_t xci_f32_to_f16(float f) {
  uint32_t bits;
  memcpy(&bits, &f, sizeof bits);
  uint32_t sign = bits >> 16 & 0x8000u;
  bits &= 0x7fffffffu;
  if (bits > 0x7f800000u) return (uint16_t)(sign | 0x7e00u);
  if (bits >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u); /* rounds to 65536 or more */
  if (bits < 0x38800000u) {                                   /* below 2^-14: subnormal half or zero */
    float magnitude;
    memcpy(&magnitude, &bits, sizeof magnitude);
    float shifted = magnitude + 0.5f; /* ulp of [0.5, 1) is 2^-24, so this rounds to nearest even */
    uint32_t rounded;
    memcpy(&rounded, &shifted, sizeof rounded);
    return (uint16_t)(sign | (rounded - 0x3f000000u));
  }
  bits += 0xfffu + (bits >> 13 & 1u);
  return (uint16_t)(sign | (bits - 0x38000000u) >> 13);
}

/* Without branches, so that it vectorises; the same bits as xci_f16_to_f32(). */
static inline uint32_t widen(uint16_t h) {
  uint32_t magnitude = h & 0x7fffu, large = (magnitude << 13) + 0x38000000u;
  float tiny = (float)(int32_t)magnitude * 0x1p-24f; /* of subnormals */
  uint32_t small;
  memcpy(&small, &tiny, sizeof small);
  large += magnitude >= 0x7c00u ? 0x38000000u : 0; /* infinity, NaN: the exponent's upper end */
  return (magnitude < 0x400u ? small : large) | (uint32_t)(h & 0x8000u) << 16;
}

XCI_CLONES void xci_f16_to_f32_array(const void *in, float *out, size_t n) {
  const unsigned char *p = in;
#pragma omp simd
  for (size_t i = 0; i < n; i++) {
    uint32_t bits = widen(LOAD(p + 2 * i));
    memcpy(out + i, &bits, sizeof bits);
  }
}

XCI_CLONES void xci_bf16_to_f32_array(const void *in, float *out, size_t n) {
  const unsigned char *p = in;
#pragma omp simd
  for (size_t i = 0; i < n; i++) {
    uint32_t bits = (uint32_t)LOAD(p + 2 * i) << 16;
    memcpy(out + i, &bits, sizeof bits);
  }
}

XCI_CLONES void xci_f32_to_bf16_array(const float *in, uint16_t *out, size_t n) {
#pragma omp simd
  for (size_t i = 0; i < n; i++) out[i] = xci_f32_to_bf16(in[i]);
}
