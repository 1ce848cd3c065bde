/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the crosscoder share. */
#include "support.h"

#include "base/half.h"
#include "base/memory.h"
#include "base/random.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

xcoder_error error;
static char folder[64];

void make_test_folder(void) {
  /* Hundreds of synced checkpoints: in memory where the system offers that. */
  const char *place = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : ".";
  snprintf(folder, sizeof folder, "%s/test-crosscoder-XXXXXX", place);
  ck_assert_ptr_nonnull(mkdtemp(folder));
}

void remove_test_folder(void) { ck_assert_int_eq(xci_remove_folder(folder, NULL), XCODER_OK); }

const char *in_folder(const char *format, ...) {
  static char path[8][256];
  static int turn;
  turn = (turn + 1) % 8;
  int n = snprintf(path[turn], sizeof path[turn], "%s/", folder);
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(path[turn] + n, sizeof path[turn] - (size_t)n, format, arguments);
  va_end(arguments);
  return path[turn];
}

char *read_whole(const char *path, size_t *n_bytes) {
  char *bytes;
  OK(xci_read_file(path, (size_t)1 << 30, &bytes, n_bytes, &error));
  return bytes;
}

void write_whole(const char *path, const void *bytes, size_t n_bytes) {
  FILE *file = fopen(path, "wb");
  ck_assert_ptr_nonnull(file);
  ck_assert_uint_eq(fwrite(bytes, 1, n_bytes, file), n_bytes);
  ck_assert_int_eq(fclose(file), 0);
}

bool same_file(const char *a, const char *b) {
  size_t n_a, n_b;
  char *x = read_whole(a, &n_a), *y = read_whole(b, &n_b);
  bool same = n_a == n_b && memcmp(x, y, n_a) == 0;
  xci_free(x);
  xci_free(y);
  return same;
}

/* ---- The world ---- */

void make_world(world *w, size_t n_checkpoints, size_t d_model, size_t n_features, double density, uint64_t seed) {
  *w = (world){n_checkpoints, d_model, n_features, density, seed, NULL, 0, 0, 0, 0};
  size_t n_rows = n_features * n_checkpoints;
  OK(XCI_ALLOC(&w->direction, n_rows * d_model, &error));
  for (size_t r = 0; r < n_rows; r++) {
    double sum = 0;
    float *row = w->direction + r * d_model;
    for (size_t k = 0; k < d_model; k++) {
      row[k] = (float)xci_random_normal(seed, XCI_STREAM_TEST, r * d_model + k);
      sum += (double)row[k] * (double)row[k];
    }
    for (size_t k = 0; k < d_model; k++) row[k] = (float)((double)row[k] / sqrt(sum));
  }
}

void set_strength(world *w, size_t feature, size_t checkpoint, double strength) {
  float *row = w->direction + (feature * w->n_checkpoints + checkpoint) * w->d_model;
  for (size_t k = 0; k < w->d_model; k++) row[k] = (float)((double)row[k] * strength);
}

void free_world(world *w) { xci_free(w->direction); }

void world_sample(const world *w, uint64_t index, float *sample) {
  size_t row = w->n_checkpoints * w->d_model;
  memset(sample, 0, row * sizeof *sample);
  for (size_t j = 0; j < w->n_features; j++) {
    uint64_t draw = xci_random_u64(w->seed, XCI_STREAM_TEST + 1, index * w->n_features + j);
    if ((double)(draw >> 40) / (1 << 24) >= w->density) continue;
    float value = 1.0f + (float)(draw & 0xffff) / 65536.0f;
    for (size_t k = 0; k < row; k++) sample[k] += value * w->direction[j * row + k];
  }
}

static xcoder_status read_world(void *context, uint64_t first, size_t count, uint16_t *bf16, xcoder_error *err) {
  world *w = context;
  size_t row = w->n_checkpoints * w->d_model;
  float *sample;
  xcoder_status status = XCI_ALLOC(&sample, row, err);
  for (size_t b = 0; b < count && !status; b++) {
    uint64_t index = first + b;
    if (w->n_read + 1 == w->stop_at_read) status = xci_fail(err, XCODER_INTERRUPTED, "stopped");
    world_sample(w, index, sample);
    if (index >= w->bad_from && index < w->bad_to) sample[row / 2] = NAN;
    xci_f32_to_bf16_array(sample, bf16 + b * row, row);
    w->n_read++;
  }
  xci_free(sample);
  return status;
}

xci_batches world_batches(world *w, uint64_t n_samples) {
  return (xci_batches){.context = w, .n_checkpoints = w->n_checkpoints, .d_model = w->d_model,
                       .n_samples = n_samples, .read = read_world};
}

void small_options(xcoder_train_options *options) {
  xcoder_train_defaults(options);
  options->n_latents = 24;
  options->batch_size = 32;
  options->n_tokens = 60 * 32;
  options->learning_rate = 3e-3;
  options->l1_coefficient = 0.05;
  options->seed = 7;
  options->layer = 2;
  options->log_every = 5;
  options->validate_every = 12;
  options->validation_batches = 2;
  options->save_every = 16;
}

void choose_activation(xcoder_train_options *options, xcoder_activation activation) {
  options->activation = activation;
  options->k = 6;
  options->dead_tokens = options->batch_size * 3;
  options->n_auxiliary = 4;
  options->bandwidth = options->initial_threshold = 0.05;
  options->l0_coefficient = 0.02;
}

void set_up_device(world *w, xcoder_train_options *options, size_t n_steps) {
  xcoder_device *device = NULL;
  if (xcoder_device_open("opencl", &device, &error)) {
    printf("skipped: %s\n", error.message);
    exit(77);
  }
  xcoder_device_close(device);
  make_test_folder();
  small_options(options);
  options->n_tokens = n_steps * options->batch_size;
  options->save_every = n_steps;
  make_world(w, 3, 12, 10, 0.2, 3);
}
