/* SPDX-License-Identifier: Apache-2.0 */
/* On which token types a feature fires: counts and activation mass per (feature, token). */
#ifndef XCI_ANALYSIS_TOKEN_PROFILE_H
#define XCI_ANALYSIS_TOKEN_PROFILE_H

#include "base/error.h"
#include <stddef.h>
#include <stdint.h>

typedef struct xci_token_entry {
  uint32_t feature, token;
  uint64_t count; /* 0: an empty slot of the table */
  double mass;    /* sum of activations */
} xci_token_entry;

typedef struct xci_token_profile { /* initialise with {0} */
  size_t n, capacity; /* capacity is a power of two */
  xci_token_entry *entry;
} xci_token_profile;

void xci_token_profile_free(xci_token_profile *profile);
xcoder_status xci_token_profile_add(xci_token_profile *profile, uint32_t feature, uint32_t token, float activation,
                                    xcoder_error *err);
/* Turns the table into a list of n entries: by feature, and in a feature by falling mass, then rising token. No more
 * additions afterwards. */
void xci_token_profile_finish(xci_token_profile *profile);
/* After finish: the entries of `feature` are first .. first + *n - 1. */
const xci_token_entry *xci_token_profile_find(const xci_token_profile *profile, uint32_t feature, size_t *n);

/* Entropy of the counts over token types, divided by log(n_types), and the share of the mass on the strongest type. */
xcoder_status xci_token_profile_measure(const xci_token_entry *entry, size_t n, size_t n_types, double *entropy,
                                        double *top_share, xcoder_error *err);

#endif
