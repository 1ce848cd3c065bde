/* SPDX-License-Identifier: Apache-2.0 */
/* Counter-based random numbers: a pure function of (seed, stream, index), so nothing depends on threads or order.
 * Philox 4x32-10 (Salmon et al., SC 2011). */
#ifndef XCI_BASE_RANDOM_H
#define XCI_BASE_RANDOM_H

#include <stdint.h>

/* Streams, one per use, so that no two uses share numbers. */
enum {
  XCI_STREAM_INIT = 1,      /* decoder initialisation */
  XCI_STREAM_SEQUENCES,     /* order of sequences in an epoch */
  XCI_STREAM_SAMPLES,       /* order of samples in a window */
  XCI_STREAM_BOOTSTRAP,
  XCI_STREAM_SPLIT,         /* halves of a data set, shuffled labels */
  XCI_STREAM_RESAMPLE,      /* the prompt that another one's values are taken from */
  XCI_STREAM_DONOR,         /* prompts that take the place of others */
  XCI_STREAM_CONTEXTS,      /* contexts drawn for a feature */
  XCI_STREAM_SILENCE,       /* places tried where a feature may be silent */
  XCI_STREAM_EVOLUTION,     /* permutations and resamples of life cycles */
  XCI_STREAM_MIXTURE,       /* order of the sequences of a mixture of corpora */
  XCI_STREAM_NULL,          /* dictionaries and shifts where nothing can match */
  XCI_STREAM_TEST = 1000
};

void xci_random_block(uint64_t seed, uint64_t stream, uint64_t index, uint32_t out[4]);
uint64_t xci_random_u64(uint64_t seed, uint64_t stream, uint64_t index);
double xci_random_uniform(uint64_t seed, uint64_t stream, uint64_t index);  /* [0, 1), 53 bits */
double xci_random_normal(uint64_t seed, uint64_t stream, uint64_t index);   /* Box-Muller on one block */
uint64_t xci_random_below(uint64_t seed, uint64_t stream, uint64_t index, uint64_t n); /* [0, n), unbiased to 2^-64 */

/* A pseudo-random permutation of 0..n-1, evaluated at one point without storage (Feistel network with cycle
 * walking). `key` selects the permutation, e.g. an epoch or a window number. */
uint64_t xci_permute(uint64_t seed, uint64_t stream, uint64_t key, uint64_t n, uint64_t index);

#endif
