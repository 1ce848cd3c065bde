/* SPDX-License-Identifier: Apache-2.0 */
/* Hash tables of the tokenizer: pairs of ids to merges, byte strings to ids. */
#ifndef XCI_DATA_MAPS_H
#define XCI_DATA_MAPS_H

#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Keys are any uint64 but UINT64_MAX, values two numbers (BPE: rank and product). Open addressing, at most half
 * full; the hash is seeded by an address, so that a file cannot choose keys that collide. */
typedef struct xci_pair_entry {
  uint64_t key;
  uint32_t first, second;
} xci_pair_entry;

typedef struct xci_pair_map {
  xci_pair_entry *entries;
  size_t mask;
  uint64_t seed;
} xci_pair_map;

xcoder_status xci_pair_map_open(xci_pair_map *map, size_t max_entries, xcoder_error *err);
void xci_pair_map_close(xci_pair_map *map);

static inline size_t xci_pair_slot(const xci_pair_map *map, uint64_t key) {
  uint64_t h = (key ^ map->seed) * 0xff51afd7ed558ccdu;
  h ^= h >> 32;
  h *= 0xc4ceb9fe1a85ec53u;
  return (size_t)(h >> 29) & map->mask;
}

/* NULL if absent. */
static inline const xci_pair_entry *xci_pair_map_find(const xci_pair_map *map, uint64_t key) {
  for (size_t slot = xci_pair_slot(map, key);; slot = (slot + 1) & map->mask) {
    if (map->entries[slot].key == key) return &map->entries[slot];
    if (map->entries[slot].key == UINT64_MAX) return NULL;
  }
}

/* Adds a key or replaces its values. At most max_entries different keys. */
void xci_pair_map_set(xci_pair_map *map, uint64_t key, uint32_t first, uint32_t second);

/* Byte strings, which the caller owns, to numbers. */
typedef struct xci_string_entry {
  const char *bytes;
  uint32_t n_bytes, value;
} xci_string_entry;

typedef struct xci_string_map {
  xci_string_entry *entries;
  size_t mask;
  uint64_t seed;
} xci_string_map;

xcoder_status xci_string_map_open(xci_string_map *map, size_t max_entries, xcoder_error *err);
void xci_string_map_close(xci_string_map *map);
/* False (and nothing changed) if the string is there already. */
bool xci_string_map_add(xci_string_map *map, const char *bytes, size_t n_bytes, uint32_t value);
bool xci_string_map_find(const xci_string_map *map, const char *bytes, size_t n_bytes, uint32_t *value);

#endif
