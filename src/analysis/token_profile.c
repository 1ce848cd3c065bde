/* SPDX-License-Identifier: Apache-2.0 */
/* Counts per (feature, token) in an open-addressing table. */
#include "analysis/token_profile.h"

#include "analysis/statistics.h"
#include "base/memory.h"
#include <stdlib.h>

void xci_token_profile_free(xci_token_profile *profile) {
  xci_free(profile->entry);
  *profile = (xci_token_profile){0};
}

/* The slot of a pair, or the empty one where it belongs. Multiplying by an odd 64-bit constant near 2^64 / golden
 * ratio spreads neighbouring keys; the upper bits are the well mixed ones. */
static xci_token_entry *find_slot(const xci_token_profile *profile, uint32_t feature, uint32_t token) {
  const uint64_t key = (uint64_t)feature << 32 | token;
  size_t at = (size_t)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 20) & (profile->capacity - 1);
  for (;;) {
    xci_token_entry *entry = &profile->entry[at];
    if (entry->count == 0 || (entry->feature == feature && entry->token == token)) return entry;
    at = (at + 1) & (profile->capacity - 1);
  }
}

static xcoder_status enlarge(xci_token_profile *profile, xcoder_error *err) {
  xci_token_profile larger = {profile->n, profile->capacity ? 2 * profile->capacity : 1024, NULL};
  const xcoder_status status = XCI_ALLOC(&larger.entry, larger.capacity, err);
  if (status) return status;
  for (size_t i = 0; i < profile->capacity; i++) {
    const xci_token_entry *entry = &profile->entry[i];
    if (entry->count) *find_slot(&larger, entry->feature, entry->token) = *entry;
  }
  xci_free(profile->entry);
  *profile = larger;
  return XCODER_OK;
}

xcoder_status xci_token_profile_add(xci_token_profile *profile, uint32_t feature, uint32_t token, float activation,
                                    xcoder_error *err) {
  if (3 * (profile->n + 1) > 2 * profile->capacity) { /* at most two thirds full */
    const xcoder_status status = enlarge(profile, err);
    if (status) return status;
  }
  xci_token_entry *entry = find_slot(profile, feature, token);
  if (entry->count == 0) {
    entry->feature = feature;
    entry->token = token;
    profile->n++;
  }
  entry->count++;
  entry->mass += (double)activation;
  return XCODER_OK;
}

static int compare_entries(const void *a, const void *b) {
  const xci_token_entry *p = a, *q = b;
  if (p->feature != q->feature) return p->feature < q->feature ? -1 : 1;
  if (p->mass != q->mass) return p->mass > q->mass ? -1 : 1;
  return p->token < q->token ? -1 : p->token > q->token;
}

void xci_token_profile_finish(xci_token_profile *profile) {
  size_t n = 0;
  for (size_t i = 0; i < profile->capacity; i++)
    if (profile->entry[i].count) profile->entry[n++] = profile->entry[i];
  if (n) qsort(profile->entry, n, sizeof *profile->entry, compare_entries);
}

static size_t lower_bound(const xci_token_profile *profile, uint64_t feature) {
  size_t low = 0, high = profile->n;
  while (low < high) {
    const size_t middle = low + (high - low) / 2;
    if (profile->entry[middle].feature < feature) low = middle + 1;
    else high = middle;
  }
  return low;
}

const xci_token_entry *xci_token_profile_find(const xci_token_profile *profile, uint32_t feature, size_t *n) {
  const size_t first = lower_bound(profile, feature);
  *n = lower_bound(profile, (uint64_t)feature + 1) - first;
  return *n ? profile->entry + first : NULL;
}

xcoder_status xci_token_profile_measure(const xci_token_entry *entry, size_t n, size_t n_types, double *entropy,
                                        double *top_share, xcoder_error *err) {
  double *count = NULL, mass = 0;
  const xcoder_status status = XCI_ALLOC(&count, n, err);
  if (status) return status;
  for (size_t i = 0; i < n; i++) {
    count[i] = (double)entry[i].count;
    mass += entry[i].mass;
  }
  *entropy = xci_entropy(count, n, n_types);
  *top_share = n && mass > 0 ? entry[0].mass / mass : 0;
  xci_free(count);
  return XCODER_OK;
}
