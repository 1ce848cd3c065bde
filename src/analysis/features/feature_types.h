/* SPDX-License-Identifier: Apache-2.0 */
/* On which token types one feature fires: activation mass per type, as a whole and per checkpoint of origin, in a table
 * of bounded size. */
#ifndef XCI_ANALYSIS_FEATURE_TYPES_H
#define XCI_ANALYSIS_FEATURE_TYPES_H

#include "base/error.h"
#include <stddef.h>
#include <stdint.h>

typedef struct xci_type { /* followed in the table by the masses of the checkpoints */
  uint32_t token;
  uint64_t count; /* 0: an empty slot */
  double mass;    /* sum of activations */
} xci_type;

/* Masses that left the table: each entry that was merged counts as a type of its own in entropies, which makes them too
 * large by at most what reappearing types add. */
typedef struct xci_merged {
  uint64_t n, count;
  double mass, count_log; /* count_log: sum of count log count */
} xci_merged;

typedef struct xci_types { /* initialise with {0} */
  size_t n, capacity;      /* a power of two */
  size_t n_parts;          /* checkpoints */
  xci_type *type;
  double *part;            /* [capacity, n_parts] mass by checkpoint of origin */
  xci_merged merged;
  double *merged_part;     /* [2, n_parts] sum of mass, sum of mass log mass */
  uint32_t top;            /* token with the largest mass so far */
  double top_mass;
} xci_types;

/* The largest power of two, 256 to 4096, with which the tables of `n_features` stay within 512 MiB. */
size_t xci_types_limit(size_t n_features, size_t n_parts);
void xci_types_free(xci_types *types);
/* One activation on `token`; share[n_parts] of it come from the checkpoints. `limit` slots at most. */
xcoder_status xci_types_add(xci_types *types, size_t n_parts, size_t limit, uint32_t token, float activation,
                            const double *share, xcoder_error *err);

/* Entropy of the counts over token types, divided by log(n_types); share of the mass on the strongest type. With
 * `part` < n_parts both of the mass that comes from this checkpoint. NaN where there is no mass. */
xcoder_status xci_types_measure(const xci_types *types, size_t part, size_t n_types, double *entropy,
                                double *top_share, xcoder_error *err);
/* The `k` tokens with the most mass, strongest first; returns how many there are. */
size_t xci_types_top(const xci_types *types, size_t k, uint32_t *token);

#endif
