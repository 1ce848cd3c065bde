/* SPDX-License-Identifier: Apache-2.0 */
/* Elementwise mathematics over arrays. Every sum runs in a fixed number of lanes, so that the bits depend neither on
 * the vector width nor on threads; nothing here starts threads. */
#ifndef XCI_COMPUTE_CPU_VECTOR_MATH_H
#define XCI_COMPUTE_CPU_VECTOR_MATH_H

#include "base/clones.h"
#include <stddef.h>

float xci_max_f32(const float *x, size_t n);                     /* of n >= 1 values */
float xci_exp_minus(float *x, size_t n, float shift);            /* x <- exp(x - shift); returns the sum */
float xci_sum_exp_minus(const float *x, size_t n, float shift);  /* sum of exp(x - shift) */
float xci_dot_f32(const float *x, const float *y, size_t n);

/* y = act(x) and dx = dy act'(x); arrays may coincide. One pair for each xci_activation. */
void xci_gelu_erf(const float *x, float *y, size_t n);
void xci_gelu_erf_backward(const float *x, const float *dy, float *dx, size_t n);
void xci_relu(const float *x, float *y, size_t n);
void xci_relu_backward(const float *x, const float *dy, float *dx, size_t n);
/* x sigmoid(slope x (1 + cubic x^2)): the tanh form of GELU has slope = 2 sqrt(2/pi), quick GELU and SiLU cubic = 0. */
void xci_gated_sigmoid(const float *x, float *y, size_t n, float slope, float cubic);
void xci_gated_sigmoid_backward(const float *x, const float *dy, float *dx, size_t n, float slope, float cubic);

void xci_add_to(float *y, const float *x, size_t n);      /* y += x */
void xci_multiply_to(float *y, const float *x, size_t n); /* y *= x */
void xci_scale_by(float *y, float factor, size_t n);
void xci_shift_multiply(float *y, float shift, const float *x, size_t n); /* y <- (y + shift) x */

#endif
