/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the crosscoder share: a folder of their own, a synthetic world with a known dictionary,
 * small runs. */
#ifndef TESTS_CROSSCODER_SUPPORT_H
#define TESTS_CROSSCODER_SUPPORT_H

#include "crosscoder/trainer.h"
#include <check.h>

extern xcoder_error error;
#define OK(call) ck_assert_msg((call) == XCODER_OK, "%s", error.message)
#define FAILS(call, expected)                                                        \
  do {                                                                               \
    error.message[0] = '\0';                                                         \
    ck_assert_int_eq((call), (expected));                                            \
    ck_assert_int_eq(error.status, (expected));                                      \
    ck_assert_msg(error.message[0] && !strchr(error.message, '\n'), "bad message");  \
  } while (0)

void make_test_folder(void);
void remove_test_folder(void);
const char *in_folder(const char *format, ...) XCODER_PRINTF(1, 2); /* valid for the next 8 calls */
char *read_whole(const char *path, size_t *n_bytes);                /* freed with xci_free() */
void write_whole(const char *path, const void *bytes, size_t n_bytes);
bool same_file(const char *a, const char *b);

/* Samples as sparse sums of true features. Feature j is active in a sample with probability `density`, at a value from
 * 1 to 2; it writes strength[c][j] times its direction at checkpoint c. */
typedef struct world {
  size_t n_checkpoints, d_model, n_features;
  double density;
  uint64_t seed;
  float *direction; /* [n_features, n_checkpoints, d_model], unit rows times strength */
  uint64_t bad_from, bad_to; /* samples from .. to-1 hold a NaN */
  uint64_t n_read;
  uint64_t stop_at_read; /* this read is interrupted, as the filling of a window is; 0: none */
} world;

void make_world(world *w, size_t n_checkpoints, size_t d_model, size_t n_features, double density, uint64_t seed);
void set_strength(world *w, size_t feature, size_t checkpoint, double strength);
void free_world(world *w);
xci_batches world_batches(world *w, uint64_t n_samples);
void world_sample(const world *w, uint64_t index, float *sample);

/* A small run: 3 checkpoints of width 12, 24 features, 60 steps of 32. */
void small_options(xcoder_train_options *options);
/* What an activation needs beside small_options(): k, thresholds, and features that are dead soon. */
void choose_activation(xcoder_train_options *options, xcoder_activation activation);

/* For tests of an OpenCL device, which end as skipped where there is none: the folder, a small run of n_steps that
 * saves its state at the end alone, a world of 10 features. */
void set_up_device(world *w, xcoder_train_options *options, size_t n_steps);

#endif
