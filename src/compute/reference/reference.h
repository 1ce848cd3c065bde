/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the reference backend share. The double forms are there for finite differences, which float32
 * buffers would drown in rounding. */
#ifndef XCI_COMPUTE_REFERENCE_REFERENCE_H
#define XCI_COMPUTE_REFERENCE_REFERENCE_H

#include "compute/compute.h"

/* layers.c. One row: y = norm(x); dx = J^T dy. `y` and `dx` must be other arrays than the inputs. */
void xci_reference_norm(const xci_norm *norm, const double *x, size_t width, double *y);
void xci_reference_norm_backward(const xci_norm *norm, const double *x, const double *dy, size_t width, double *dx);
/* For tests of --compute=bf16, not for several threads: whether xci_reference_linear rounds x and W to bfloat16. */
void xci_reference_round_products(bool on);
/* y [n_rows, out] = x W^T + b; dx += dy W. Rows of y and dy are `stride` apart. */
void xci_reference_linear(const xci_linear *linear, const double *x, size_t n_rows, double *y, size_t stride);
void xci_reference_linear_backward(const xci_linear *linear, const double *dy, size_t stride, size_t n_rows,
                                   double *dx);
double xci_reference_activation(xci_activation activation, double x);
double xci_reference_activation_slope(xci_activation activation, double x);

/* attention.c. x [n_rows, d_model] -> y, and dx = J^T dy at x. */
xcoder_status xci_reference_attention(const xci_block *block, const xci_rows *rows, const double *x, double *y,
                                      xcoder_error *err);
xcoder_status xci_reference_attention_backward(const xci_block *block, const xci_rows *rows, const double *x,
                                               const double *dy, double *dx, xcoder_error *err);

/* block.c. In place: h <- block(h); gradient <- J^T gradient at the block input h. */
xcoder_status xci_reference_block(const xci_block *block, const xci_rows *rows, double *h, xcoder_error *err);
xcoder_status xci_reference_block_gradient(const xci_block *block, const xci_rows *rows, const double *h,
                                           double *gradient, xcoder_error *err);

/* Entries of the table. */
xcoder_status xci_reference_tape_create(xcoder_device *device, const xci_block *block, size_t n_blocks, size_t n_rows,
                                        xci_tape **tape, xcoder_error *err);
void xci_reference_tape_free(xcoder_device *device, xci_tape *tape);
xcoder_status xci_reference_block_forward(xcoder_device *device, const xci_block *block, const xci_rows *rows,
                                          xci_buffer *h, xci_tape *tape, size_t slot, xcoder_error *err);
xcoder_status xci_reference_block_backward(xcoder_device *device, const xci_block *block, const xci_rows *rows,
                                           xci_tape *tape, size_t slot, xci_buffer *gradient, xcoder_error *err);
xcoder_status xci_reference_embed(xcoder_device *device, const xci_embedding *embedding, const uint32_t *ids,
                                  const xci_rows *rows, xci_buffer *h, xcoder_error *err);
xcoder_status xci_reference_head_logits(xcoder_device *device, const xci_head *head, const xci_buffer *h,
                                        const size_t *row, size_t n_rows, const uint32_t *token, size_t n_tokens,
                                        float *out, float *log_normalizer, xcoder_error *err);
xcoder_status xci_reference_head_backward(xcoder_device *device, const xci_head *head, const xci_buffer *h,
                                          size_t total_rows, const size_t *row, size_t n_rows, const uint32_t *token,
                                          size_t n_tokens, const float *weight, xci_buffer *gradient,
                                          xcoder_error *err);
xcoder_status xci_reference_head_log_probs(xcoder_device *device, const xci_head *head, const xci_buffer *h,
                                           const size_t *row, size_t n_rows, const uint32_t *target, float *out,
                                           xcoder_error *err);
xcoder_status xci_reference_head_project(xcoder_device *device, const xci_head *head, const xci_buffer *h,
                                         const size_t *row, size_t n_rows, bool apply_norm, float *out,
                                         xcoder_error *err);

#endif
