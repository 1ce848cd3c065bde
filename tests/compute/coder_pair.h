/* SPDX-License-Identifier: Apache-2.0 */
/* For tests: the same crosscoder on the cpu backend and on the reference. */
#ifndef TESTS_COMPUTE_CODER_PAIR_H
#define TESTS_COMPUTE_CODER_PAIR_H

#include "compute/compute.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { N_SETS = 3, SENTINELS = 16 }; /* baseline, avx2, avx512; floats behind every array */

typedef struct example {
  size_t n, d, D, B; /* checkpoints, width, latents, samples */
  float bias;        /* of the encoder: its sign and size set the density */
  double l1;
} example;

typedef struct pair {
  example shape;
  size_t columns;
  const xci_backend *backend[2]; /* the tested one, reference */
  xcoder_device *device[2];
  xci_coder *coder[2];
  float *x, *tensor[XCI_N_TENSORS];
  size_t n_values[XCI_N_TENSORS];
} pair;

float *make_floats(size_t n); /* zeros, and sentinels behind them */
float *make_normal(size_t n, double scale, double mean, uint64_t seed);
void check_sentinels(const float *p, size_t n);
/* XCODER_TEST_DEVICE, else "cpu": which backend is held against the reference. */
const char *tested_device(void);
void open_pair(pair *p, example e, bool training);
void close_pair(pair *p);
/* Selects an instruction set for crosscoders made from now on; false if this processor lacks it. */
bool use_set(int index);

#endif
