/* SPDX-License-Identifier: Apache-2.0 */
/* Allocation: checked sizes, zeroed and aligned memory, failures on purpose for tests. */
#include "base/memory.h"

#include "base/size.h"
#include <crosscoder/device.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static atomic_long fail_countdown; /* 0: off; 1: the next allocation fails */
static atomic_int fail_onwards;

void xci_fail_allocation(long n, int onwards) {
  atomic_store(&fail_onwards, onwards);
  atomic_store(&fail_countdown, n);
}

bool xci_allocation_fails(void) {
  long left = atomic_load(&fail_countdown);
  if (left == 0) return false;
  if (left > 1) {
    atomic_fetch_sub(&fail_countdown, 1);
    return false;
  }
  if (!atomic_load(&fail_onwards)) atomic_store(&fail_countdown, 0);
  return true;
}

static xcoder_status fail_memory(size_t count, size_t bytes, xcoder_error *err) {
  size_t total;
  if (!xci_mul_size(count, bytes, &total))
    return xci_fail(err, XCODER_MEMORY, "memory: %zu elements of %zu bytes exceed the address space", count, bytes);
  return xci_fail(err, XCODER_MEMORY, "memory: %zu bytes could not be allocated", total);
}

xcoder_status xci_alloc(size_t count, size_t bytes, void **out, xcoder_error *err) {
  *out = NULL;
  size_t total, rounded;
  if (!xci_mul_size(count, bytes, &total) || !xci_add_size(total, XCI_ALIGNMENT, &rounded))
    return fail_memory(count, bytes, err);
  rounded = (total ? rounded - 1 : XCI_ALIGNMENT) / XCI_ALIGNMENT * XCI_ALIGNMENT;
  void *memory = xci_allocation_fails() ? NULL : aligned_alloc(XCI_ALIGNMENT, rounded);
  if (!memory) return fail_memory(count, bytes, err);
  *out = memset(memory, 0, rounded);
  return XCODER_OK;
}

xcoder_status xci_grow(void **memory, size_t *capacity, size_t count, size_t bytes, xcoder_error *err) {
  if (*memory && count <= *capacity) return XCODER_OK;
  size_t wanted = *capacity + *capacity / 2;
  if (wanted < count || wanted < *capacity) wanted = count;
  if (wanted < 16) wanted = 16;
  void *grown;
  xcoder_status status = xci_alloc(wanted, bytes, &grown, err);
  if (status) return status;
  if (*memory) memcpy(grown, *memory, *capacity * bytes);
  free(*memory);
  *memory = grown;
  *capacity = wanted;
  return XCODER_OK;
}

void xci_free(void *memory) { free(memory); }

void xcoder_free(void *memory) { free(memory); }

xcoder_status xci_copy_text(const char *text, char **out, xcoder_error *err) {
  size_t length = strlen(text);
  xcoder_status status = xci_alloc(length + 1, 1, (void **)out, err);
  if (!status) memcpy(*out, text, length + 1);
  return status;
}
