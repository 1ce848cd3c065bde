/* SPDX-License-Identifier: Apache-2.0 */
/* Bounded tables of token types: open addressing; a full table gives up its lighter half. */
#include "analysis/features/feature_types.h"

#include "analysis/statistics.h"
#include "base/memory.h"
#include "base/size.h"
#include <math.h>
#include <stdbool.h>
#include <string.h>

enum { SMALLEST = 8, LEAST_LIMIT = 256, MOST_LIMIT = 4096 };

size_t xci_types_limit(size_t n_features, size_t n_parts) {
  const size_t slot = sizeof(xci_type) + n_parts * sizeof(double), budget = (size_t)512 << 20;
  size_t limit = MOST_LIMIT;
  while (limit > LEAST_LIMIT && n_features > budget / slot / limit) limit /= 2;
  return limit;
}

void xci_types_free(xci_types *types) {
  xci_free(types->type);
  xci_free(types->part);
  xci_free(types->merged_part);
  *types = (xci_types){0};
}

/* The odd multiplier near 2^32 / golden ratio spreads neighbouring ids; upper bits are the well mixed ones. */
static size_t find_slot(const xci_types *types, uint32_t token) {
  size_t at = (size_t)((token * UINT32_C(0x9e3779b1)) >> 16) & (types->capacity - 1);
  while (types->type[at].count && types->type[at].token != token) at = (at + 1) & (types->capacity - 1);
  return at;
}

static void copy_slot(const xci_types *from, size_t i, xci_types *to) {
  const size_t at = find_slot(to, from->type[i].token);
  to->type[at] = from->type[i];
  memcpy(to->part + at * to->n_parts, from->part + i * to->n_parts, to->n_parts * sizeof *to->part);
  to->n++;
}

static xcoder_status open_table(size_t capacity, size_t n_parts, xci_types *table, xcoder_error *err) {
  *table = (xci_types){.capacity = capacity, .n_parts = n_parts};
  xcoder_status status = XCI_ALLOC(&table->type, capacity, err);
  if (!status) status = XCI_ALLOC(&table->part, capacity * n_parts, err);
  if (status) xci_types_free(table);
  return status;
}

static void merge_slot(xci_types *types, size_t i) {
  const double count = (double)types->type[i].count;
  types->merged.n++;
  types->merged.count += types->type[i].count;
  types->merged.mass += types->type[i].mass;
  types->merged.count_log += count * log(count);
  for (size_t c = 0; c < types->n_parts; c++) {
    const double mass = types->part[i * types->n_parts + c];
    types->merged_part[c] += mass;
    if (mass > 0) types->merged_part[types->n_parts + c] += mass * log(mass);
  }
}

/* The table anew with `capacity` slots; of a table at its limit the entries above the median mass stay. */
static xcoder_status rebuild(xci_types *types, size_t capacity, bool thin, xcoder_error *err) {
  xci_types next;
  double *mass = NULL, median = -1;
  size_t n = 0;
  xcoder_status status = open_table(capacity, types->n_parts, &next, err);
  if (!status && thin) status = XCI_ALLOC(&mass, types->n, err);
  if (status) {
    xci_types_free(&next);
    return status;
  }
  if (thin) {
    for (size_t i = 0; i < types->capacity; i++)
      if (types->type[i].count) mass[n++] = types->type[i].mass;
    xci_sort_f64(mass, n);
    median = mass[n / 2];
  }
  for (size_t i = 0; i < types->capacity; i++) {
    if (types->type[i].count == 0) continue;
    if (thin && types->type[i].mass <= median && types->type[i].token != types->top) merge_slot(types, i);
    else copy_slot(types, i, &next);
  }
  xci_free(mass);
  xci_free(types->type);
  xci_free(types->part);
  types->type = next.type;
  types->part = next.part;
  types->n = next.n;
  types->capacity = capacity;
  return XCODER_OK;
}

static xcoder_status make_room(xci_types *types, size_t n_parts, size_t limit, xcoder_error *err) {
  if (types->capacity == 0) {
    xcoder_status status = open_table(SMALLEST, n_parts, types, err);
    if (!status) status = XCI_ALLOC(&types->merged_part, 2 * n_parts, err);
    if (status) xci_types_free(types);
    return status;
  }
  if (3 * (types->n + 1) <= 2 * types->capacity) return XCODER_OK; /* at most two thirds full */
  const bool thin = 2 * types->capacity > limit;
  return rebuild(types, thin ? types->capacity : 2 * types->capacity, thin, err);
}

xcoder_status xci_types_add(xci_types *types, size_t n_parts, size_t limit, uint32_t token, float activation,
                            const double *share, xcoder_error *err) {
  const xcoder_status status = make_room(types, n_parts, limit, err);
  if (status) return status;
  const size_t at = find_slot(types, token);
  xci_type *type = &types->type[at];
  if (type->count == 0) {
    type->token = token;
    types->n++;
  }
  type->count++;
  type->mass += (double)activation;
  for (size_t c = 0; c < n_parts; c++) types->part[at * n_parts + c] += (double)activation * share[c];
  if (type->mass > types->top_mass) {
    types->top_mass = type->mass;
    types->top = token;
  }
  return XCODER_OK;
}

/* H = log T - (sum of w log w) / T for weights w with sum T. */
static double entropy_of(double total, double sum_log, size_t n_types) {
  if (!(total > 0)) return NAN;
  if (n_types < 2) return 0;
  return fmin(1, fmax(0, (log(total) - sum_log / total) / log((double)n_types)));
}

xcoder_status xci_types_measure(const xci_types *types, size_t part, size_t n_types, double *entropy,
                                double *top_share, xcoder_error *err) {
  const bool whole = part >= types->n_parts;
  double *weight = NULL, total = 0, sum_log = 0, largest = 0, mass = 0;
  size_t n = 0;
  *entropy = *top_share = NAN;
  const xcoder_status status = XCI_ALLOC(&weight, types->n, err);
  if (status) return status;
  for (size_t i = 0; i < types->capacity; i++) {
    const double held = types->capacity && types->type[i].count
                            ? whole ? types->type[i].mass : types->part[i * types->n_parts + part] : 0;
    if (held <= 0) continue;
    weight[n++] = whole ? (double)types->type[i].count : held;
    mass += held;
    largest = fmax(largest, held);
  }
  xci_sort_f64(weight, n); /* the sum must not depend on the order of the slots, which depends on the limit */
  for (size_t i = 0; i < n; i++) {
    total += weight[i];
    sum_log += weight[i] * log(weight[i]);
  }
  if (whole && types->merged.n) {
    total += (double)types->merged.count;
    sum_log += types->merged.count_log;
    mass += types->merged.mass;
  } else if (!whole && types->merged.n) {
    total += types->merged_part[part];
    sum_log += types->merged_part[types->n_parts + part];
    mass += types->merged_part[part];
  }
  *entropy = entropy_of(total, sum_log, n_types);
  if (mass > 0) *top_share = largest / mass;
  xci_free(weight);
  return XCODER_OK;
}

static bool is_stronger(const xci_type *a, const xci_type *b) {
  return a->mass != b->mass ? a->mass > b->mass : a->token < b->token;
}

size_t xci_types_top(const xci_types *types, size_t k, uint32_t *token) {
  size_t n = 0, place[16];
  k = xci_min_size(k, sizeof place / sizeof *place);
  for (size_t i = 0; k && i < types->capacity; i++) {
    if (types->type[i].count == 0) continue;
    if (n == k && !is_stronger(&types->type[i], &types->type[place[k - 1]])) continue;
    size_t at = n < k ? n++ : k - 1;
    for (; at > 0 && is_stronger(&types->type[i], &types->type[place[at - 1]]); at--) place[at] = place[at - 1];
    place[at] = i;
  }
  for (size_t j = 0; j < n; j++) token[j] = types->type[place[j]].token;
  return n;
}
