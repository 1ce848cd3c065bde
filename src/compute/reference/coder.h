/* SPDX-License-Identifier: Apache-2.0 */
/* The crosscoder in plain double precision loops: the oracle of the tests. */
#ifndef XCI_COMPUTE_REFERENCE_CODER_H
#define XCI_COMPUTE_REFERENCE_CODER_H

#include "compute/compute.h"

/* Tests: a tensor in double, in file order; lives as long as the crosscoder. After writing to W_dec nothing else need
 * be called. NULL for moments and gradients of a crosscoder that was not opened for training. */
double *xci_reference_coder_values(xci_coder *coder, xci_coder_tensor tensor, xci_coder_slot slot, size_t *n_values);
/* Tests: encoding a batch given in double. */
xcoder_status xci_reference_coder_encode_f64(xci_coder *coder, const double *x, size_t n_samples, const xci_gate *gate,
                                             xcoder_error *err);
/* Tests: pre-activations and features of the current batch, [n_samples, n_latents]. */
const double *xci_reference_coder_pre(const xci_coder *coder);
const double *xci_reference_coder_features(const xci_coder *coder);

xcoder_status xci_reference_coder_create(xcoder_device *device, const xci_coder_shape *shape, xci_coder **coder,
                                         xcoder_error *err);
void xci_reference_coder_free(xcoder_device *device, xci_coder *coder);
xcoder_status xci_reference_coder_write(xcoder_device *device, xci_coder *coder, xci_coder_tensor tensor,
                                        xci_coder_slot slot, const float *values, xcoder_error *err);
xcoder_status xci_reference_coder_read(xcoder_device *device, const xci_coder *coder, xci_coder_tensor tensor,
                                       xci_coder_slot slot, float *values, xcoder_error *err);
xcoder_status xci_reference_coder_norms(xcoder_device *device, xci_coder *coder, float *norms, xcoder_error *err);
xcoder_status xci_reference_coder_encode(xcoder_device *device, xci_coder *coder, const float *x, size_t n_samples,
                                         const xci_gate *gate, xcoder_error *err);
xcoder_status xci_reference_coder_window(xcoder_device *device, xci_coder *coder, const uint16_t *samples,
                                         size_t n_rows, const float *scales, xcoder_error *err);
xcoder_status xci_reference_coder_encode_rows(xcoder_device *device, xci_coder *coder, const uint32_t *row,
                                              size_t n_samples, const xci_gate *gate, xcoder_error *err);
xcoder_status xci_reference_coder_mark(xcoder_device *device, xci_coder *coder, uint32_t stamp, xcoder_error *err);
xcoder_status xci_reference_coder_marks(xcoder_device *device, xci_coder *coder, uint32_t *marks, xcoder_error *err);
xcoder_status xci_reference_coder_codes(xcoder_device *device, xci_coder *coder, xci_codes *codes, xcoder_error *err);
xcoder_status xci_reference_coder_set_codes(xcoder_device *device, xci_coder *coder, const xci_codes *codes,
                                            xcoder_error *err);
xcoder_status xci_reference_coder_decode(xcoder_device *device, xci_coder *coder, float *xhat, xcoder_error *err);
xcoder_status xci_reference_coder_backward(xcoder_device *device, xci_coder *coder, const xci_objective *objective,
                                           xci_losses *losses, xcoder_error *err);
xcoder_status xci_reference_coder_update(xcoder_device *device, xci_coder *coder, const xci_adam *adam,
                                         xcoder_error *err);

#endif
