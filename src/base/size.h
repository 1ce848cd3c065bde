/* SPDX-License-Identifier: Apache-2.0 */
/* Checked arithmetic: the only way from numbers in files to sizes. Each returns false on overflow. */
#ifndef XCI_BASE_SIZE_H
#define XCI_BASE_SIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool xci_mul_size(size_t a, size_t b, size_t *out) { return !__builtin_mul_overflow(a, b, out); }
static inline bool xci_add_size(size_t a, size_t b, size_t *out) { return !__builtin_add_overflow(a, b, out); }
static inline bool xci_mul_u64(uint64_t a, uint64_t b, uint64_t *out) { return !__builtin_mul_overflow(a, b, out); }
static inline bool xci_add_u64(uint64_t a, uint64_t b, uint64_t *out) { return !__builtin_add_overflow(a, b, out); }
static inline size_t xci_min_size(size_t a, size_t b) { return a < b ? a : b; }
static inline size_t xci_max_size(size_t a, size_t b) { return a > b ? a : b; }
static inline size_t xci_ceil_div(size_t a, size_t b) { return a / b + (a % b != 0); }

#endif
