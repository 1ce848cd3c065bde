/* SPDX-License-Identifier: Apache-2.0 */
/* Windows of samples and marks of latents for backends whose memory is the host's: their entries of the table. */
#ifndef XCI_COMPUTE_HOST_SAMPLES_H
#define XCI_COMPUTE_HOST_SAMPLES_H

#include "compute/compute.h"

typedef struct xci_host_samples { /* a member of a crosscoder; zeroed to start with */
  const uint16_t *window; /* the caller's */
  size_t n_rows;
  float *scale, *x;       /* [n_checkpoints], [max_batch, n_checkpoints, d_model] */
  uint32_t *mark;         /* [n_latents] */
} xci_host_samples;

xcoder_status xci_host_window(xci_host_samples *samples, const xci_coder_shape *shape, const uint16_t *window,
                              size_t n_rows, const float *scales, xcoder_error *err);
/* *x: the scaled samples of the rows. */
xcoder_status xci_host_gather(xci_host_samples *samples, const xci_coder_shape *shape, const uint32_t *row,
                              size_t n_samples, const float **x, xcoder_error *err);
/* codes NULL: only makes sure that there are marks. */
xcoder_status xci_host_mark(xci_host_samples *samples, const xci_coder_shape *shape, const xci_codes *codes,
                            uint32_t stamp, xcoder_error *err);
void xci_host_samples_free(xci_host_samples *samples);
/* XCODER_USAGE where a row is not of the window, or there are more than a batch. */
xcoder_status xci_check_rows(const xci_coder_shape *shape, size_t n_rows, const uint32_t *row, size_t n_samples,
                             xcoder_error *err);

#endif
