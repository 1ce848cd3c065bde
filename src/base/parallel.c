/* SPDX-License-Identifier: Apache-2.0 */
/* The number of threads, and sums that do not depend on it. */
#include "base/parallel.h"

#include <crosscoder/device.h>
#include <stdatomic.h>
#include <time.h>

static atomic_int chosen_threads;

void xcoder_set_threads(int n_threads) {
  if (n_threads < 0) n_threads = 0;
  if (n_threads > 1024) n_threads = 1024;
  atomic_store(&chosen_threads, n_threads);
}

int xcoder_threads(void) { return xci_threads(); }

int xci_threads(void) {
  int n = atomic_load(&chosen_threads);
#if defined(_OPENMP)
  return n > 0 ? n : omp_get_max_threads();
#else
  (void)n;
  return 1;
#endif
}

int xci_thread_index(void) {
#if defined(_OPENMP)
  return omp_get_thread_num();
#else
  return 0;
#endif
}

enum { CHUNK = 4096 };

double xci_tree_f64(const double *partial, size_t n) {
  if (n == 0) return 0.0;
  if (n == 1) return partial[0];
  size_t half = 1; /* the largest power of two below n; depth is at most the number of bits of n */
  while (half < n - half) half *= 2;
  return xci_tree_f64(partial, half) + xci_tree_f64(partial + half, n - half);
}

/* The tree is folded as chunks arrive (like a binary counter), so no storage grows with n. */
typedef struct tree {
  double level[64];
  size_t n_chunks;
} tree;

static void add_chunk(tree *sums, double value) {
  size_t i = 0;
  for (size_t count = sums->n_chunks++; count & 1; count >>= 1) value = sums->level[i++] + value;
  sums->level[i] = value;
}

static double finish(const tree *sums) {
  double total = 0.0;
  size_t i = 0;
  for (size_t count = sums->n_chunks; count; count >>= 1, i++)
    if (count & 1) total = sums->level[i] + total;
  return total;
}

#define CHUNKED_SUM(term)                                          \
  tree sums = {{0}, 0};                                            \
  for (size_t first = 0; first < n; first += CHUNK) {              \
    size_t end = n - first < CHUNK ? n : first + CHUNK;            \
    double chunk = 0.0;                                            \
    for (size_t i = first; i < end; i++) chunk += (term);          \
    add_chunk(&sums, chunk);                                       \
  }                                                                \
  return finish(&sums)

double xci_sum_f32(const float *x, size_t n) { CHUNKED_SUM((double)x[i]); }

double xci_sum_f64(const double *x, size_t n) { CHUNKED_SUM(x[i]); }

double xci_sum_squares_f32(const float *x, size_t n) { CHUNKED_SUM((double)x[i] * (double)x[i]); }

double xci_seconds(void) {
  struct timespec t;
  return clock_gettime(CLOCK_MONOTONIC, &t) == 0 ? (double)t.tv_sec + (double)t.tv_nsec * 1e-9 : 0;
}
