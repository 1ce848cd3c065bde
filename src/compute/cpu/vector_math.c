/* SPDX-License-Identifier: Apache-2.0 */
/* exp, erf and sigmoid as polynomials that compilers vectorise, and the activation functions made of them.
 *
 * Coefficients are our own least-squares fits at Chebyshev nodes, weighted for relative error. No operation is
 * contracted into a fused multiply-add, so every instruction set gives the same bits. */
#include "compute/cpu/vector_math.h"

#include "base/size.h"
#include <stdint.h>
#include <string.h>

enum { LANES = 16, CHUNK = 1024 /* floats summed in lanes before they go to a double */ };

static inline float float_of_bits(uint32_t bits) {
  float f;
  memcpy(&f, &bits, sizeof f);
  return f;
}

static inline uint32_t bits_of_float(float f) {
  uint32_t bits;
  memcpy(&bits, &f, sizeof bits);
  return bits;
}

/* exp(x), relative error below 1.5e-7; x is clamped to the range of normal float32 results, NaN stays NaN. */
static inline float exp_poly(float x) {
  x = x < -87.3f ? -87.3f : x;
  x = x > 88.3f ? 88.3f : x;
  /* Adding 1.5 * 2^23 rounds x / ln 2 to a whole number k, which then stands in the low bits. */
  float t = x * 1.44269504f + 12582912.0f;
  uint32_t k = bits_of_float(t) - 0x4b400000u; /* unsigned: wraps for negative k, and for the bits of a NaN */
  t -= 12582912.0f;
  float r = x - t * 0.693145751953125f; /* ln 2 in two parts, the first with 15 bits, so t * it is exact */
  r = r - t * 1.42860682e-6f;
  float p = 1.382930204e-03f;
  p = p * r + 8.374853991e-03f;
  p = p * r + 4.166836664e-02f;
  p = p * r + 1.666641980e-01f;
  p = p * r + 4.999999106e-01f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  return p * float_of_bits((k + 127u) << 23);
}

static inline float sigmoid_poly(float x) { return 1.0f / (1.0f + exp_poly(-x)); }

/* Phi(x) = erfc(-x/sqrt 2)/2 from exp(-z^2) q(u)/(z + 2), u = (z - 2)/(z + 2), z = |x|/sqrt 2; `bell` = exp(-x^2/2).
 * Absolute error below 1.5e-7, relative error of the small tail below 6e-7 for |x| < 4. */
static inline float normal_cdf(float x, float bell) {
  float z = (x < 0.0f ? -x : x) * 0.707106781f;
  float r = 1.0f / (z + 2.0f);
  float u = (z - 2.0f) * r;
  float q = -1.519536818e-05f;
  q = q * u + -4.804004566e-04f;
  q = q * u + -7.419902831e-04f;
  q = q * u + 2.997151343e-03f;
  q = q * u + 6.433333736e-03f;
  q = q * u + -2.148916014e-02f;
  q = q * u + -3.643456101e-02f;
  q = q * u + 2.794701755e-01f;
  q = q * u + -6.871610284e-01f;
  q = q * u + 1.021582723e+00f;
  float tail = 0.5f * bell * q * r;
  return x < 0.0f ? tail : 1.0f - tail;
}

XCI_CLONES void xci_gelu_erf(const float *x, float *y, size_t n) {
#pragma omp simd
  for (size_t i = 0; i < n; i++) {
    float v = x[i];
    y[i] = v * normal_cdf(v, exp_poly(-0.5f * v * v));
  }
}

XCI_CLONES void xci_gelu_erf_backward(const float *x, const float *dy, float *dx, size_t n) {
#pragma omp simd
  for (size_t i = 0; i < n; i++) {
    float v = x[i], bell = exp_poly(-0.5f * v * v);
    dx[i] = dy[i] * (normal_cdf(v, bell) + v * 0.398942280f * bell);
  }
}

XCI_CLONES void xci_relu(const float *x, float *y, size_t n) {
#pragma omp simd
  for (size_t i = 0; i < n; i++) y[i] = x[i] < 0.0f ? 0.0f : x[i];
}

XCI_CLONES void xci_relu_backward(const float *x, const float *dy, float *dx, size_t n) {
#pragma omp simd
  for (size_t i = 0; i < n; i++) dx[i] = x[i] > 0.0f ? dy[i] : 0.0f;
}

XCI_CLONES void xci_gated_sigmoid(const float *x, float *y, size_t n, float slope, float cubic) {
#pragma omp simd
  for (size_t i = 0; i < n; i++) {
    float v = x[i];
    y[i] = v * sigmoid_poly(slope * v * (1.0f + cubic * v * v));
  }
}

XCI_CLONES void xci_gated_sigmoid_backward(const float *x, const float *dy, float *dx, size_t n, float slope,
                                           float cubic) {
#pragma omp simd
  for (size_t i = 0; i < n; i++) {
    float v = x[i], s = sigmoid_poly(slope * v * (1.0f + cubic * v * v));
    dx[i] = dy[i] * (s + v * s * (1.0f - s) * slope * (1.0f + 3.0f * cubic * v * v));
  }
}

XCI_CLONES void xci_add_to(float *y, const float *x, size_t n) {
#pragma omp simd
  for (size_t i = 0; i < n; i++) y[i] += x[i];
}

XCI_CLONES void xci_multiply_to(float *y, const float *x, size_t n) {
#pragma omp simd
  for (size_t i = 0; i < n; i++) y[i] *= x[i];
}

XCI_CLONES void xci_scale_by(float *y, float factor, size_t n) {
#pragma omp simd
  for (size_t i = 0; i < n; i++) y[i] *= factor;
}

XCI_CLONES void xci_shift_multiply(float *y, float shift, const float *x, size_t n) {
#pragma omp simd
  for (size_t i = 0; i < n; i++) y[i] = (y[i] + shift) * x[i];
}

/* Not `x > m ? x : m`: a NaN must reach the result. */
XCI_CLONES float xci_max_f32(const float *x, size_t n) {
  float lane[LANES];
  for (size_t j = 0; j < LANES; j++) lane[j] = x[0];
  size_t i = 0;
  for (; i + LANES <= n; i += LANES) {
#pragma omp simd
    for (size_t j = 0; j < LANES; j++) lane[j] = lane[j] >= x[i + j] ? lane[j] : x[i + j];
  }
  for (; i < n; i++) lane[0] = lane[0] >= x[i] ? lane[0] : x[i];
  for (size_t j = 1; j < LANES; j++) lane[0] = lane[0] >= lane[j] ? lane[0] : lane[j];
  return lane[0];
}

static inline double sum_lanes(const float *lane) {
  double sum = 0;
  for (size_t j = 0; j < LANES; j++) sum += (double)lane[j];
  return sum;
}

XCI_CLONES float xci_exp_minus(float *x, size_t n, float shift) {
  double sum = 0;
  for (size_t first = 0; first < n; first += CHUNK) {
    size_t end = xci_min_size(n, first + CHUNK), i = first;
    float lane[LANES] = {0};
    for (; i + LANES <= end; i += LANES) {
#pragma omp simd
      for (size_t j = 0; j < LANES; j++) {
        float e = exp_poly(x[i + j] - shift);
        x[i + j] = e;
        lane[j] += e;
      }
    }
    for (; i < end; i++) lane[i % LANES] += x[i] = exp_poly(x[i] - shift);
    sum += sum_lanes(lane);
  }
  return (float)sum;
}

XCI_CLONES float xci_sum_exp_minus(const float *x, size_t n, float shift) {
  double sum = 0;
  for (size_t first = 0; first < n; first += CHUNK) {
    size_t end = xci_min_size(n, first + CHUNK), i = first;
    float lane[LANES] = {0};
    for (; i + LANES <= end; i += LANES) {
#pragma omp simd
      for (size_t j = 0; j < LANES; j++) lane[j] += exp_poly(x[i + j] - shift);
    }
    for (; i < end; i++) lane[i % LANES] += exp_poly(x[i] - shift);
    sum += sum_lanes(lane);
  }
  return (float)sum;
}

XCI_CLONES float xci_dot_f32(const float *x, const float *y, size_t n) {
  double sum = 0;
  for (size_t first = 0; first < n; first += CHUNK) {
    size_t end = xci_min_size(n, first + CHUNK), i = first;
    float lane[LANES] = {0};
    for (; i + LANES <= end; i += LANES) {
#pragma omp simd
      for (size_t j = 0; j < LANES; j++) lane[j] += x[i + j] * y[i + j];
    }
    for (; i < end; i++) lane[i % LANES] += x[i] * y[i];
    sum += sum_lanes(lane);
  }
  return (float)sum;
}
