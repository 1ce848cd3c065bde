/* SPDX-License-Identifier: Apache-2.0 */
/* Average gradients along paths that do not depend on the crosscoder, kept in a folder for the next crosscoder of the
 * same models. A file is named after the checksum of everything that its gradients depend on, so nothing in the folder
 * can be stale; removing files costs time only. */
#ifndef XCI_ANALYSIS_GRADIENT_CACHE_H
#define XCI_ANALYSIS_GRADIENT_CACHE_H

#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the average gradients of a stretch at one checkpoint are made of. The metric at both ends stands for the blocks
 * above: other weights, and other arithmetic, give other bits there. */
typedef struct xci_gradients {
  size_t n_rows, d_model, n_sequences, n_nodes;
  long layer;
  const float *clean, *target;     /* [n_rows, d_model] ends of the path */
  const size_t *start;             /* [n_sequences + 1] */
  const double *alpha, *weight;    /* [n_sequences, n_nodes] the nodes to begin with */
  const uint32_t *right, *wrong;   /* [n_sequences] */
  const double *metric;            /* [n_sequences, 2] clean, baseline */
  double tolerance;                /* with which nodes are doubled, 0: not */
} xci_gradients;

xcoder_status xci_gradients_name(const xci_gradients *of, const char *folder, char **file, xcoder_error *err);
/* True if the file is there and whole: gbar [n_rows, d_model] is filled. */
bool xci_gradients_read(const xci_gradients *of, const char *file, float *gbar);
xcoder_status xci_gradients_write(const xci_gradients *of, const char *file, const float *gbar, xcoder_error *err);

#endif
