/* SPDX-License-Identifier: Apache-2.0 */
/* Bounded heaps of top contexts. */
#include "analysis/contexts.h"

#include "base/memory.h"
#include <stdlib.h>

static bool is_weaker(const xci_context *a, const xci_context *b) {
  return a->value != b->value ? a->value < b->value : a->sequence > b->sequence;
}

static void release(xci_context *context) {
  xci_free(context->activation);
  xci_free(context->share);
}

xcoder_status xci_contexts_create(xci_contexts *contexts, size_t capacity, xcoder_error *err) {
  *contexts = (xci_contexts){0, capacity, NULL};
  return XCI_ALLOC(&contexts->item, capacity, err);
}

void xci_contexts_free(xci_contexts *contexts) {
  for (size_t i = 0; i < contexts->n; i++) release(&contexts->item[i]);
  xci_free(contexts->item);
  *contexts = (xci_contexts){0};
}

bool xci_contexts_accepts(const xci_contexts *contexts, float value, uint64_t sequence) {
  const xci_context offer = {.value = value, .sequence = sequence};
  if (contexts->n < contexts->capacity) return true;
  return contexts->capacity > 0 && is_weaker(&contexts->item[0], &offer);
}

static void exchange(xci_context *a, xci_context *b) {
  const xci_context kept = *a;
  *a = *b;
  *b = kept;
}

static void sift_down(xci_context *item, size_t n) {
  for (size_t at = 0;;) {
    size_t weakest = at;
    for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < n; child++)
      if (is_weaker(&item[child], &item[weakest])) weakest = child;
    if (weakest == at) return;
    exchange(&item[at], &item[weakest]);
    at = weakest;
  }
}

void xci_contexts_push(xci_contexts *contexts, xci_context context) {
  xci_context *item = contexts->item;
  if (contexts->n == contexts->capacity) {
    release(&item[0]);
    item[0] = context;
    sift_down(item, contexts->n);
    return;
  }
  size_t at = contexts->n++;
  item[at] = context;
  while (at > 0 && is_weaker(&item[at], &item[(at - 1) / 2])) {
    exchange(&item[at], &item[(at - 1) / 2]);
    at = (at - 1) / 2;
  }
}

static int compare_strongest_first(const void *a, const void *b) {
  return is_weaker(a, b) ? 1 : is_weaker(b, a) ? -1 : 0;
}

void xci_contexts_sort(xci_contexts *contexts) {
  if (contexts->n) qsort(contexts->item, contexts->n, sizeof *contexts->item, compare_strongest_first);
}
