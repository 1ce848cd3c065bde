/* SPDX-License-Identifier: Apache-2.0 */
/* Latent scaling: whether a checkpoint has a feature that the norms of the decoder deny it.
 *
 * For feature i, the direction d_i,b that checkpoint b decodes it to, and a checkpoint a,
 *   beta_i(a; b) = argmin_beta sum_t || beta f_t,i d_i,b - y_t,a ||^2
 *                = sum_t f_t,i <d_i,b, y_t,a> / (sum_t f_t,i^2 ||d_i,b||^2)
 * with y_t,a either what the crosscoder leaves of checkpoint a without the feature, x - xhat + f_t,i d_i,a ("error"),
 * or its reconstruction xhat ("reconstruction"), and nu_i(a; b) = beta_i(a; b) / beta_i(b; b). Everything in the
 * normalised space, as RelDec. Source: Minder, Dumas et al., arXiv 2504.02922. */
#ifndef XCI_ANALYSIS_LATENT_SCALING_H
#define XCI_ANALYSIS_LATENT_SCALING_H

#include "analysis/workbench.h"

typedef struct xci_latent_scaling {
  size_t n, n_latents;
  uint64_t *fired;        /* [n_latents] positions */
  double *square;         /* [n_latents] sum of f^2 */
  double *error;          /* [n_latents, n, n] sum of f <d_b, x_a - xhat_a>, at [a, b] */
  double *reconstruction; /* [n_latents, n, n] sum of f <d_b, xhat_a> */
  size_t block_codes;     /* codes that the buffer below holds */
  double *block;          /* [block_codes, n, n, 2] products of a block of positions */
} xci_latent_scaling;

xcoder_status xci_latent_scaling_open(const xci_bench *bench, xci_latent_scaling *scaling, xcoder_error *err);
void xci_latent_scaling_close(xci_latent_scaling *scaling);
/* Adds the unmasked positions of a stretch with XCI_DECODED. Bits do not depend on threads. */
xcoder_status xci_latent_scaling_add(const xci_bench *bench, const xci_stretch *stretch, xci_latent_scaling *scaling,
                                     xcoder_error *err);

/* What the sums say of feature i, the checkpoint a, and the direction of b. NaN where it is undefined: nu where the
 * direction explains nothing at its own checkpoint (beta(b; b) <= 0), all of them for a direction without length. */
typedef struct xci_scaled {
  double beta_error, beta_reconstruction; /* beta(a; b) */
  double nu_error, nu_reconstruction;
  double rel_dec; /* ||d_a|| / (||d_a|| + ||d_b||) */
} xci_scaled;
xci_scaled xci_latent_scaling_at(const xci_bench *bench, const xci_latent_scaling *scaling, size_t feature, size_t a,
                                 size_t b);

/* latent-scaling.csv: every feature that fired, every ordered pair of checkpoints. */
xcoder_status xci_latent_scaling_write(const xci_bench *bench, const xci_latent_scaling *scaling,
                                       const char *run_directory, xcoder_error *err);

#endif
