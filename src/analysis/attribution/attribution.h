/* SPDX-License-Identifier: Apache-2.0 */
/* Indirect effects as a path integral over the residual stream (METHOD section 6).
 *
 * With gbar_t the average of dm/dx at position t along the straight path from the clean activation to the baseline's,
 *   IE_i = sum_t (f'_{t,i} - f_{t,i}) <gbar_t, W_dec[i,c]>,   IE_error = sum_t <gbar_t, e'_t - e_t>,
 * and for the origin, where the bias goes too, IE_bias = - sum_t <gbar_t, b_dec[c]>. The decoder is that of raw
 * activations. One integral per (example, checkpoint) serves all features. */
#ifndef XCI_ANALYSIS_ATTRIBUTION_H
#define XCI_ANALYSIS_ATTRIBUTION_H

#include "analysis/workbench.h"

typedef struct xci_path {
  xcoder_quadrature rule;
  xcoder_baseline baseline;
  size_t n_steps, n_nodes;
  double tolerance;        /* of the gap of an example, as a share; 0: as many steps as were asked for */
  const char *gradients;   /* folder of average gradients that are kept, or NULL; not owned */
  double *alpha, *weight;  /* [n_nodes] */
  double *mean_code;       /* XCODER_MEAN: [n_latents] mean features, */
  double *mean_hidden;     /* [n, d_model] mean activations, */
  double *mean_error;      /* [n, d_model] mean reconstruction errors */
} xci_path;

/* `options` NULL: the defaults. The means of XCODER_MEAN are filled by xci_path_means(). */
xcoder_status xci_path_open(const xcoder_attribute_options *options, xci_path *path, xcoder_error *err);
/* Whether the path ends at the state of another prompt. */
bool xci_path_has_counter(xcoder_baseline baseline);
void xci_path_close(xci_path *path);
/* Means over all unmasked positions of `prompts`. */
xcoder_status xci_path_means(const xci_bench *bench, const xcoder_tokens *prompts, xci_path *path, xcoder_error *err);

/* Effects of the nodes of a stretch with one question per sequence. */
typedef struct xci_node_effects {
  double *code;      /* [codes, n]: effect of going from f to 0 in this position; of a stretch's codes in order */
  double *other;     /* [codes of the counterfactual, n]: from 0 to f' */
  float *gradient;   /* XCODER_MEAN: [n_sequences, n, d_model], sum over unmasked positions of gbar */
  double *error, *bias, *clean, *baseline; /* [n_sequences, n]; clean and baseline are values of the metric */
} xci_node_effects;

/* `s` and, where the path has one, `counter` (sequences of equal lengths) have XCI_DECODED. */
xcoder_status xci_node_effects_open(const xci_bench *bench, const xci_path *path, const xci_stretch *s,
                                    const xci_stretch *counter, const uint32_t *right, const uint32_t *wrong,
                                    xci_node_effects *effects, xcoder_error *err);
void xci_node_effects_close(xci_node_effects *effects);

#endif
