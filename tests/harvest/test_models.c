/* SPDX-License-Identifier: Apache-2.0 */
/* Real (tiny) models: live sources and a store agree bit for bit, whatever the number of threads. */
#include "base/file.h"
#include "base/half.h"
#include "harvest/harvest.h"

#include <check.h>
#include <crosscoder/harvest.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_SEQUENCES = 37, BATCH = 48 };

static char folder[64];
static xcoder_error error;
static xcoder_device *device;
static xcoder_model *models[2];
static xcoder_tokens *tokens;
static size_t d_model;

#define OK(call) ck_assert_msg((call) == XCODER_OK, "%s", error.message)

/* The same checkpoint for the first layers only and in full: the second model has other work, not other values. */
static void set_up(void) {
  const char *source = getenv("srcdir");
  char path[512];
  strcpy(folder, "test-models-XXXXXX");
  ck_assert_ptr_nonnull(mkdtemp(folder));
  snprintf(path, sizeof path, "%s/tests/model/golden/sequential-f32", source ? source : ".");
  OK(xcoder_device_open("cpu", &device, &error));
  OK(xcoder_model_open(path, device, 0, &models[0], &error));
  OK(xcoder_model_open(path, device, -1, &models[1], &error));
  d_model = xcoder_model_describe(models[0])->d_model;
  static uint32_t ids[N_SEQUENCES * 16];
  static size_t start[N_SEQUENCES + 1];
  for (size_t s = 0; s < N_SEQUENCES; s++) start[s + 1] = start[s] + 1 + s * 5 % 13;
  for (size_t i = 0; i < start[N_SEQUENCES]; i++)
    ids[i] = (uint32_t)(i * 31 % xcoder_model_describe(models[0])->n_vocab);
  OK(xcoder_tokens_from_array(ids, start, N_SEQUENCES, &tokens, &error));
}

static void tear_down(void) {
  xcoder_tokens_free(tokens);
  xcoder_model_close(models[0]);
  xcoder_model_close(models[1]);
  xcoder_device_close(device);
  xcoder_set_threads(0);
  ck_assert_int_eq(xci_remove_folder(folder, NULL), XCODER_OK);
}

/* All samples of an epoch and a bit of the next. */
static uint16_t *read_all(xcoder_source *source, size_t *n) {
  *n = (size_t)xcoder_source_epoch(source) + 20;
  uint16_t *samples = calloc(*n, 2 * d_model * sizeof *samples);
  ck_assert_ptr_nonnull(samples);
  for (size_t i = 0; i < *n; i += 33)
    OK(xcoder_source_read(source, i, *n - i < 33 ? *n - i : 33, samples + i * 2 * d_model, &error));
  return samples;
}

START_TEST(threads_and_stores_do_not_change_a_bit) {
  const long layers[2] = {-1, 0};
  const char *const labels[2] = {"a", "b"};
  const xcoder_harvest_options harvest = {
      .layers = layers, .n_layers = 2, .labels = labels, .batch_tokens = BATCH, .shard_tokens = 100};
  char path[128];
  uint16_t *expected = NULL;
  for (int threads = 1; threads <= 3; threads++) {
    xcoder_set_threads(threads);
    snprintf(path, sizeof path, "%s/store%d", folder, threads);
    OK(xcoder_harvest(models, 2, tokens, &harvest, path, NULL, &error));
    for (int variant = 0; variant < 3; variant++) {
      const xcoder_source_options options = {
          .seed = 4, .window_samples = 90, .batch_tokens = BATCH, .sequential = variant == 1};
      xcoder_source *source;
      if (variant < 2) OK(xcoder_source_live(models, 2, 0, tokens, &options, &source, &error));
      else OK(xcoder_source_store(path, 0, &options, &source, &error));
      size_t n;
      uint16_t *samples = read_all(source, &n);
      if (!expected) expected = samples;
      else ck_assert_mem_eq(samples, expected, n * 2 * d_model * sizeof *samples);
      if (samples != expected) free(samples);
      xcoder_source_close(source);
    }
  }
  free(expected);
}
END_TEST

/* Sequences in order are what the model says, rounded. */
START_TEST(sequences_are_those_of_the_model) {
  static float hidden[500 * 2 * 64], direct[500 * 64];
  const size_t *start = xcoder_tokens_start(tokens), first = 4, count = 3, rows = start[7] - start[4];
  size_t rebased[4];
  ck_assert_uint_le(d_model, 64);
  OK(xci_harvest_sequences(models, 2, 0, tokens, first, count, hidden, &error));
  for (size_t s = 0; s <= count; s++) rebased[s] = start[first + s] - start[first];
  OK(xcoder_model_hidden(models[1], xcoder_tokens_ids(tokens) + start[first], rebased, count, 0, direct, &error));
  for (size_t i = 0; i < rows * d_model; i++) {
    const float rounded = xci_bf16_to_f32(xci_f32_to_bf16(direct[i]));
    const size_t row = i / d_model, j = i % d_model;
    ck_assert(hidden[row * 2 * d_model + j] == rounded && hidden[(row * 2 + 1) * d_model + j] == rounded);
  }
}
END_TEST

int main(void) {
  Suite *suite = suite_create("harvest of models");
  TCase *real = tcase_create("models");
  tcase_add_checked_fixture(real, set_up, tear_down);
  tcase_add_test(real, threads_and_stores_do_not_change_a_bit);
  tcase_add_test(real, sequences_are_those_of_the_model);
  suite_add_tcase(suite, real);
  SRunner *runner = srunner_create(suite);
  srunner_set_fork_status(runner, CK_NOFORK); /* OpenMP does not survive a fork */
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
