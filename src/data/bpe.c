/* SPDX-License-Identifier: Apache-2.0 */
/* Byte-pair encoding of one piece of text.
 *
 * The pair of lowest rank is merged first, among equal ones the leftmost. Words are short: there a scan for the
 * lowest rank is fastest. Long pieces go through a heap, so that a megabyte without blanks takes n log n. */
#include "data/bpe.h"

#include "base/memory.h"
#include "base/size.h"
#include <string.h>
#include <xxhash.h>

enum { CACHE_SLOTS = 1 << 15, CACHE_BYTES = 26, CACHE_IDS = 9 };

typedef struct cached { /* 64 bytes */
  uint8_t n_bytes, n_ids;
  char bytes[CACHE_BYTES];
  uint32_t ids[CACHE_IDS];
} cached;

typedef struct heap_entry {
  uint64_t key; /* rank << 32 | position: lowest rank first, then leftmost */
  uint32_t product;
} heap_entry;

struct xci_bpe_work {
  cached *cache;
  uint32_t *symbols, *previous, *next;
  size_t symbols_capacity, previous_capacity, next_capacity;
  heap_entry *heap;
  size_t n_heap, heap_capacity;
};

static const uint32_t DEAD = 0xffffffff, END = 0xffffffff;

xcoder_status xci_ids_add(xci_ids *ids, const uint32_t *more, size_t n, xcoder_error *err) {
  size_t total = 0;
  if (!xci_add_size(ids->n, n, &total)) return xci_fail(err, XCODER_MEMORY, "too many tokens");
  xcoder_status status = XCODER_OK;
  if (total > ids->capacity)
    status = xci_grow((void **)&ids->ids, &ids->capacity, total, sizeof *ids->ids, err);
  if (status) return status;
  if (n) memcpy(ids->ids + ids->n, more, n * sizeof *more);
  ids->n = total;
  return XCODER_OK;
}

xcoder_status xci_bpe_work_open(bool with_cache, xci_bpe_work **out, xcoder_error *err) {
  xci_bpe_work *work = NULL;
  *out = NULL;
  xcoder_status status = XCI_ALLOC(&work, 1, err);
  if (!status && with_cache) status = XCI_ALLOC(&work->cache, CACHE_SLOTS, err);
  if (status) xci_bpe_work_close(work);
  else *out = work;
  return status;
}

void xci_bpe_work_close(xci_bpe_work *work) {
  if (!work) return;
  xci_free(work->cache);
  xci_free(work->symbols);
  xci_free(work->previous);
  xci_free(work->next);
  xci_free(work->heap);
  xci_free(work);
}

static uint64_t pair_key(uint32_t left, uint32_t right) { return (uint64_t)left << 32 | right; }

void xci_bpe_merge_short(const xci_bpe *bpe, uint32_t *symbols, size_t *n_symbols) {
  const xci_pair_entry *merge[XCI_BPE_SHORT];
  size_t n = *n_symbols;
  for (size_t i = 0; i + 1 < n; i++) merge[i] = xci_pair_map_find(&bpe->merges, pair_key(symbols[i], symbols[i + 1]));
  while (n > 1) {
    size_t best = n;
    for (size_t i = 0; i + 1 < n; i++)
      if (merge[i] && (best == n || merge[i]->first < merge[best]->first)) best = i;
    if (best == n) break;
    symbols[best] = merge[best]->second;
    n--;
    memmove(symbols + best + 1, symbols + best + 2, (n - best - 1) * sizeof *symbols);
    if (best + 1 < n) {
      memmove(merge + best + 1, merge + best + 2, (n - best - 2) * sizeof *merge);
      merge[best] = xci_pair_map_find(&bpe->merges, pair_key(symbols[best], symbols[best + 1]));
    }
    if (best > 0) merge[best - 1] = xci_pair_map_find(&bpe->merges, pair_key(symbols[best - 1], symbols[best]));
  }
  *n_symbols = n;
}

static xcoder_status push(const xci_bpe *bpe, xci_bpe_work *work, const uint32_t *symbols, uint32_t left,
                          uint32_t right, xcoder_error *err) {
  const xci_pair_entry *merge = xci_pair_map_find(&bpe->merges, pair_key(symbols[left], symbols[right]));
  if (!merge) return XCODER_OK;
  if (work->n_heap == work->heap_capacity) {
    xcoder_status status =
      xci_grow((void **)&work->heap, &work->heap_capacity, work->n_heap + 1, sizeof *work->heap, err);
    if (status) return status;
  }
  heap_entry entry = {(uint64_t)merge->first << 32 | left, merge->second};
  size_t i = work->n_heap++;
  for (; i > 0 && work->heap[(i - 1) / 2].key > entry.key; i = (i - 1) / 2) work->heap[i] = work->heap[(i - 1) / 2];
  work->heap[i] = entry;
  return XCODER_OK;
}

static heap_entry pop(xci_bpe_work *work) {
  heap_entry *heap = work->heap, top = heap[0], last = heap[--work->n_heap];
  size_t i = 0, n = work->n_heap;
  for (size_t child; (child = 2 * i + 1) < n; i = child) {
    if (child + 1 < n && heap[child + 1].key < heap[child].key) child++;
    if (last.key <= heap[child].key) break;
    heap[i] = heap[child];
  }
  heap[i] = last;
  return top;
}

/* Symbols as a linked list by position; a merged-away right symbol is dead. */
static xcoder_status link_symbols(const xci_bpe *bpe, xci_bpe_work *work, const uint32_t *symbols, size_t n,
                                  xcoder_error *err) {
  xcoder_status status = xci_grow((void **)&work->previous, &work->previous_capacity, n, sizeof(uint32_t), err);
  if (!status) status = xci_grow((void **)&work->next, &work->next_capacity, n, sizeof(uint32_t), err);
  work->n_heap = 0;
  for (size_t i = 0; i < n && !status; i++) {
    work->previous[i] = i ? (uint32_t)(i - 1) : END;
    work->next[i] = i + 1 < n ? (uint32_t)(i + 1) : END;
    if (i + 1 < n) status = push(bpe, work, symbols, (uint32_t)i, (uint32_t)(i + 1), err);
  }
  return status;
}

xcoder_status xci_bpe_merge_long(const xci_bpe *bpe, xci_bpe_work *work, uint32_t *symbols, size_t *n_symbols,
                                 xcoder_error *err) {
  size_t n = *n_symbols, kept = 0;
  xcoder_status status = link_symbols(bpe, work, symbols, n, err);
  uint32_t *previous = work->previous, *next = work->next;
  while (!status && work->n_heap) {
    heap_entry entry = pop(work);
    uint32_t left = (uint32_t)entry.key;
    if (symbols[left] == DEAD || next[left] == END) continue;
    uint32_t right = next[left];
    const xci_pair_entry *merge = xci_pair_map_find(&bpe->merges, pair_key(symbols[left], symbols[right]));
    if (!merge || merge->second != entry.product) continue; /* stale: a neighbour has changed since */
    symbols[left] = merge->second;
    symbols[right] = DEAD;
    next[left] = next[right];
    if (next[left] != END) previous[next[left]] = left;
    if (previous[left] != END) status = push(bpe, work, symbols, previous[left], left, err);
    if (!status && next[left] != END) status = push(bpe, work, symbols, left, next[left], err);
  }
  if (status) return status;
  for (size_t i = 0; i < n; i++)
    if (symbols[i] != DEAD) symbols[kept++] = symbols[i];
  *n_symbols = kept;
  return XCODER_OK;
}

/* The tokens of the single bytes. */
static size_t look_up_bytes(const xci_bpe *bpe, const char *piece, size_t n_bytes, uint32_t *symbols) {
  size_t n = 0;
  bool after_unknown = false;
  for (size_t i = 0; i < n_bytes; i++) {
    uint32_t id = bpe->byte_token[(unsigned char)piece[i]];
    bool unknown = id == XCI_NO_TOKEN;
    if (unknown && !(after_unknown && bpe->fuse_unknown)) id = bpe->unknown;
    if (id != XCI_NO_TOKEN) symbols[n++] = id;
    after_unknown = unknown;
  }
  return n;
}

static xcoder_status merge_piece(const xci_bpe *bpe, xci_bpe_work *work, const char *piece, size_t n_bytes,
                                 xci_ids *out, xcoder_error *err) {
  uint32_t few[XCI_BPE_SHORT];
  if (n_bytes <= XCI_BPE_SHORT) {
    size_t n = look_up_bytes(bpe, piece, n_bytes, few);
    xci_bpe_merge_short(bpe, few, &n);
    return xci_ids_add(out, few, n, err);
  }
  if (n_bytes >= END)
    return xci_fail(err, XCODER_UNSUPPORTED, "a word of %zu bytes is too long to be tokenized", n_bytes);
  xcoder_status status =
    xci_grow((void **)&work->symbols, &work->symbols_capacity, n_bytes, sizeof *work->symbols, err);
  if (status) return status;
  size_t n = look_up_bytes(bpe, piece, n_bytes, work->symbols);
  status = xci_bpe_merge_long(bpe, work, work->symbols, &n, err);
  return status ? status : xci_ids_add(out, work->symbols, n, err);
}

xcoder_status xci_bpe_encode(const xci_bpe *bpe, xci_bpe_work *work, const char *piece, size_t n_bytes, xci_ids *out,
                             xcoder_error *err) {
  uint32_t id;
  if (n_bytes == 0) return XCODER_OK;
  if (bpe->whole_first && xci_string_map_find(&bpe->whole, piece, n_bytes, &id)) return xci_ids_add(out, &id, 1, err);
  if (!work->cache || n_bytes > CACHE_BYTES) return merge_piece(bpe, work, piece, n_bytes, out, err);
  cached *slot = &work->cache[XXH3_64bits(piece, n_bytes) & (CACHE_SLOTS - 1)];
  if (slot->n_bytes == n_bytes && memcmp(slot->bytes, piece, n_bytes) == 0)
    return xci_ids_add(out, slot->ids, slot->n_ids, err);
  size_t before = out->n;
  xcoder_status status = merge_piece(bpe, work, piece, n_bytes, out, err);
  if (status || out->n - before > CACHE_IDS) return status;
  slot->n_bytes = (uint8_t)n_bytes;
  slot->n_ids = (uint8_t)(out->n - before);
  memcpy(slot->bytes, piece, n_bytes);
  if (slot->n_ids) memcpy(slot->ids, out->ids + before, slot->n_ids * sizeof *slot->ids);
  return XCODER_OK;
}
