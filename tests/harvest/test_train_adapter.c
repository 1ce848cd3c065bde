/* SPDX-License-Identifier: Apache-2.0 */
/* The public trainer on an array of activations: it learns, in the order of the source, and refuses what does not
 * fit. */
#include "base/file.h"
#include "base/memory.h"
#include "base/random.h"
#include "crosscoder/trainer.h"
#include <check.h>
#include <crosscoder/train.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N = 2, D = 6, SAMPLES = 600 };
static char folder[64], run[128];
static xcoder_error error;
#define OK(call) ck_assert_msg((call) == XCODER_OK, "%s", error.message)

static void set_up(void) {
  strcpy(folder, "test-adapter-XXXXXX");
  ck_assert_ptr_nonnull(mkdtemp(folder));
  snprintf(run, sizeof run, "%s/run", folder);
}

static void tear_down(void) { ck_assert_int_eq(xci_remove_folder(folder, NULL), XCODER_OK); }

/* Three directions, one of them active in each sample. */
static xcoder_source *make_source(size_t width) {
  static float values[SAMPLES * N * (D + 1)];
  const xcoder_source_options options = {.seed = 5};
  xcoder_source *source;
  for (size_t b = 0; b < SAMPLES; b++)
    for (size_t k = 0; k < N * width; k++)
      values[b * N * width + k] = 2 * (float)xci_random_normal(1, XCI_STREAM_TEST, b % 3 * 100 + k);
  OK(xcoder_source_array(values, SAMPLES, N, width, &options, &source, &error));
  return source;
}

static void make_options(xcoder_train_options *options) {
  xcoder_train_defaults(options);
  options->n_latents = 12;
  options->batch_size = 50;
  options->n_tokens = 50 * 200; /* several passes over the array */
  options->learning_rate = 1e-2;
  options->l1_coefficient = 0.05;
}

static xcoder_status read_source(void *context, uint64_t first, size_t count, uint16_t *bf16, xcoder_error *err) {
  return xcoder_source_read(context, first, count, bf16, err);
}

START_TEST(test_array) {
  xcoder_source *source = make_source(D);
  xcoder_train_options options;
  xcoder *coder, *same;
  float scales[N];
  make_options(&options);
  OK(xcoder_source_scales(source, scales, NULL, NULL, &error));
  OK(xcoder_train(source, source, scales, &options, run, false, NULL, NULL, &coder, &error));
  ck_assert(xcoder_describe(coder)->d_model == D && xcoder_describe(coder)->scales[1] == scales[1]);

  /* The samples of the source, in its order. */
  xci_batches batches = {source, N, D, SAMPLES, read_source, NULL};
  OK(xci_train(&batches, &batches, scales, &options, run, false, NULL, NULL, &same, &error));
  for (int t = 0; t < 4; t++) {
    size_t n;
    const float *a = xcoder_weights(coder, (xcoder_tensor)t, &n), *b = xcoder_weights(same, (xcoder_tensor)t, NULL);
    ck_assert_int_eq(memcmp(a, b, n * sizeof *a), 0);
  }

  /* It has learnt them: reconstructions are near. */
  uint16_t raw[N * D];
  float x[N * D], xhat[N * D];
  double error_sum = 0, size = 0;
  xcoder_codes codes;
  for (uint64_t index = 0; index < 30; index++) {
    OK(xcoder_source_read(source, index, 1, raw, &error));
    for (size_t k = 0; k < N * D; k++) {
      uint32_t bits = (uint32_t)raw[k] << 16;
      memcpy(&x[k], &bits, sizeof bits);
    }
    OK(xcoder_encode_sparse(coder, NULL, x, 1, &codes, &error));
    OK(xcoder_decode(coder, NULL, &codes, xhat, &error));
    xcoder_codes_free(&codes);
    for (size_t k = 0; k < N * D; k++) {
      error_sum += ((double)x[k] - (double)xhat[k]) * ((double)x[k] - (double)xhat[k]);
      size += (double)x[k] * (double)x[k];
    }
  }
  ck_assert_msg(error_sum < 0.05 * size, "error %g of %g", error_sum, size);
  xcoder_free_coder(coder);
  xcoder_free_coder(same);
  xcoder_source_close(source);
}
END_TEST

START_TEST(test_mismatch) {
  xcoder_source *source = make_source(D), *other = make_source(D + 1);
  xcoder_train_options options;
  xcoder *coder;
  const float scales[N] = {1, 1};
  make_options(&options);
  ck_assert_int_eq(xcoder_train(source, other, scales, &options, run, false, NULL, NULL, &coder, &error),
                   XCODER_MISMATCH);
  ck_assert_ptr_null(coder);
  ck_assert(!xci_exists(run));
  xcoder_source_close(source);
  xcoder_source_close(other);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("train adapter");
  TCase *tests = tcase_create("adapter");
  tcase_add_checked_fixture(tests, set_up, tear_down);
  tcase_add_test(tests, test_array);
  tcase_add_test(tests, test_mismatch);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_set_fork_status(runner, CK_NOFORK); /* OpenMP teams do not survive a fork */
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
