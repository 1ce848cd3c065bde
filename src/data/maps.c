/* SPDX-License-Identifier: Apache-2.0 */
/* Hash tables of the tokenizer: pairs of ids to merges, byte strings to ids. */
#include "data/maps.h"

#include "base/memory.h"
#include "base/size.h"
#include <string.h>
#include <xxhash.h>

static xcoder_status choose_slots(size_t max_entries, size_t *n_slots, xcoder_error *err) {
  size_t n = 16;
  while (n / 2 < max_entries)
    if (!xci_mul_size(n, 2, &n))
      return xci_fail(err, XCODER_MEMORY, "a table of %zu entries is too large", max_entries);
  *n_slots = n;
  return XCODER_OK;
}

xcoder_status xci_pair_map_open(xci_pair_map *map, size_t max_entries, xcoder_error *err) {
  size_t n_slots = 0;
  xcoder_status status = choose_slots(max_entries, &n_slots, err);
  *map = (xci_pair_map){0};
  if (!status) status = XCI_ALLOC(&map->entries, n_slots, err);
  if (status) return status;
  for (size_t i = 0; i < n_slots; i++) map->entries[i].key = UINT64_MAX;
  map->mask = n_slots - 1;
  map->seed = (uint64_t)(uintptr_t)map->entries * 0x9e3779b97f4a7c15u;
  return XCODER_OK;
}

void xci_pair_map_close(xci_pair_map *map) {
  xci_free(map->entries);
  *map = (xci_pair_map){0};
}

void xci_pair_map_set(xci_pair_map *map, uint64_t key, uint32_t first, uint32_t second) {
  size_t slot = xci_pair_slot(map, key);
  while (map->entries[slot].key != key && map->entries[slot].key != UINT64_MAX) slot = (slot + 1) & map->mask;
  map->entries[slot] = (xci_pair_entry){key, first, second};
}

xcoder_status xci_string_map_open(xci_string_map *map, size_t max_entries, xcoder_error *err) {
  size_t n_slots = 0;
  xcoder_status status = choose_slots(max_entries, &n_slots, err);
  *map = (xci_string_map){0};
  if (!status) status = XCI_ALLOC(&map->entries, n_slots, err);
  if (status) return status;
  map->mask = n_slots - 1;
  map->seed = (uint64_t)(uintptr_t)map->entries;
  return XCODER_OK;
}

void xci_string_map_close(xci_string_map *map) {
  xci_free(map->entries);
  *map = (xci_string_map){0};
}

/* The slot that holds the string or the free one where it belongs. */
static size_t find_slot(const xci_string_map *map, const char *bytes, size_t n_bytes) {
  size_t slot = (size_t)XXH3_64bits_withSeed(bytes, n_bytes, map->seed) & map->mask;
  for (;; slot = (slot + 1) & map->mask) {
    const xci_string_entry *entry = &map->entries[slot];
    if (!entry->bytes || (entry->n_bytes == n_bytes && memcmp(entry->bytes, bytes, n_bytes) == 0)) return slot;
  }
}

bool xci_string_map_add(xci_string_map *map, const char *bytes, size_t n_bytes, uint32_t value) {
  xci_string_entry *entry = &map->entries[find_slot(map, bytes, n_bytes)];
  if (entry->bytes) return false;
  *entry = (xci_string_entry){bytes, (uint32_t)n_bytes, value};
  return true;
}

bool xci_string_map_find(const xci_string_map *map, const char *bytes, size_t n_bytes, uint32_t *value) {
  const xci_string_entry *entry = &map->entries[find_slot(map, bytes, n_bytes)];
  if (!entry->bytes) return false;
  *value = entry->value;
  return true;
}
