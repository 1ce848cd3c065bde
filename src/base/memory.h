/* SPDX-License-Identifier: Apache-2.0 */
/* Allocation: checked, zeroed, aligned, and able to fail on purpose in tests. */
#ifndef XCI_BASE_MEMORY_H
#define XCI_BASE_MEMORY_H

#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>

enum { XCI_ALIGNMENT = 64 };

/* count x bytes of zeroed memory aligned to XCI_ALIGNMENT; count*bytes == 0 gives a valid pointer.
 * *out is NULL on failure (XCODER_MEMORY, message says how much). Free with xcoder_free() or xci_free(). */
xcoder_status xci_alloc(size_t count, size_t bytes, void **out, xcoder_error *err);
/* Grows *memory (which may be NULL) from `old_count` to at least `count` elements, keeping contents; the capacity
 * reached is written to *capacity (geometric growth). On failure *memory is unchanged. */
xcoder_status xci_grow(void **memory, size_t *capacity, size_t count, size_t bytes, xcoder_error *err);
void xci_free(void *memory);
/* Copy of a zero-terminated text. */
xcoder_status xci_copy_text(const char *text, char **out, xcoder_error *err);

/* Tests: the n-th next allocation fails (1 = the next one), once, or with `onwards` all from there; 0 switches off. */
void xci_fail_allocation(long n, int onwards);

/* Whether an allocation that is made elsewhere must fail; counts as one. */
bool xci_allocation_fails(void);

/* Typed convenience: XCI_ALLOC(&pointer, count, err). */
#define XCI_ALLOC(pointer, count, err) xci_alloc((count), sizeof **(pointer), (void **)(pointer), (err))

#endif
