/* SPDX-License-Identifier: Apache-2.0 */
/* Latent scaling against numpy's least squares (make_scaling_golden.py), and where the answer is known. */
#include "analysis/csv_in.h"
#include "analysis/quality/latent_scaling.h"
#include "base/file.h"
#include "base/memory.h"
#include "scene.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void open_prompts(const scene *in, xci_bench *bench, xci_stretch *s) {
  size_t start[E + 1] = {0};
  float *hidden = scene_golden(in, "hidden.prompts", NULL);
  for (size_t k = 0; k < E; k++) start[k + 1] = start[k] + xcoder_pairs_get(in->pairs, k)->n_prefix;
  ck_ok(xci_bench_open(&in->setting, bench, err));
  ck_ok(xci_stretch_from(bench, start, E, hidden, XCI_DECODED, s, err));
  xci_free(hidden);
}

/* Sums of products of fp32 values: features, reconstructions and so their products are off by 1e-6 of their largest
 * parts, which cancel in the betas; those are of order 1, and so is the bound's unit. nu divides by a beta. */
static void check_value(const xci_csv *csv, size_t row, size_t column, double found, double own) {
  const double wanted = xci_csv_number(csv, row, column);
  ck_assert_msg(isnan(wanted) == isnan(found), "row %zu column %zu: %g, expected %g", row, column, found, wanted);
  if (!isnan(wanted))
    ck_assert_double_eq_tol(found, wanted, 2e-5 * (1 + fabs(wanted)) / fmin(1, own));
}

START_TEST(factors_are_those_of_least_squares) {
  scene in;
  xci_bench bench;
  xci_stretch s;
  xci_csv csv;
  char path[700];
  const char *folder = getenv("srcdir");
  scene_open(&in, NULL);
  snprintf(path, sizeof path, "%s/tests/analysis/golden/scaling.csv", folder ? folder : ".");
  ck_ok(xci_csv_open(path, &csv, err));
  for (int folded = 0; folded < 2; folded++) {
    xci_latent_scaling scaling;
    if (folded) ck_ok(xcoder_fold(in.coder, err));
    open_prompts(&in, &bench, &s);
    ck_ok(xci_latent_scaling_open(&bench, &scaling, err));
    ck_ok(xci_latent_scaling_add(&bench, &s, &scaling, err));
    for (size_t r = 0; r < csv.n_rows; r++) {
      const size_t i = (size_t)xci_csv_number(&csv, r, 0), b = (size_t)xci_csv_number(&csv, r, 1);
      const size_t a = (size_t)xci_csv_number(&csv, r, 2);
      const xci_scaled at = xci_latent_scaling_at(&bench, &scaling, i, a, b);
      const xci_scaled own = xci_latent_scaling_at(&bench, &scaling, i, b, b);
      ck_assert(scaling.fired[i] == (uint64_t)xci_csv_number(&csv, r, 3));
      check_value(&csv, r, 4, at.rel_dec, 1);
      check_value(&csv, r, 5, at.beta_error, 1);
      check_value(&csv, r, 6, at.nu_error, own.beta_error);
      check_value(&csv, r, 7, at.beta_reconstruction, 1);
      check_value(&csv, r, 8, at.nu_reconstruction, own.beta_reconstruction);
    }
    ck_assert_uint_eq(csv.n_rows % (N * (N - 1)), 0);
    xci_latent_scaling_close(&scaling);
    xci_stretch_close(&s);
  }
  xci_csv_close(&csv);
  scene_close(&in);
}
END_TEST

/* A feature that the activations hold whatever its decoder says: x_a = f (c_a d), and the decoder of checkpoint 0 is 0
 * as after complete shrinkage, that of 1 is d. Then xhat_0 = 0, beta_error(0; 1) = c_0 / c_1 = nu_error, while RelDec
 * is 0. */
START_TEST(a_feature_that_shrank_is_seen) {
  enum { D = 24, T = 5 }; /* the width of the models, which are not asked here */
  static const char *const labels[] = {"a", "b"};
  static const float direction[D] = {0.5F, -1, 2, 0.25F}; /* and 0 */
  float hidden[T * 2 * D], scales[2] = {2, 1};
  const size_t start[] = {0, T};
  xcoder *coder;
  scene in;
  size_t n;
  xci_stretch s;
  xci_latent_scaling scaling;
  scene_open(&in, NULL);
  ck_ok(xcoder_create(2, D, 1, 0, labels, scales, &coder, err));
  memset(xcoder_weights(coder, XCODER_B_DEC, &n), 0, sizeof(float) * 2 * D);
  memset(xcoder_weights(coder, XCODER_W_ENC, &n), 0, sizeof(float) * 2 * D);
  float *w_dec = xcoder_weights(coder, XCODER_W_DEC, &n), *w_enc = xcoder_weights(coder, XCODER_W_ENC, &n);
  *xcoder_weights(coder, XCODER_B_ENC, &n) = 0;
  memset(w_dec, 0, sizeof(float) * D);
  memcpy(w_dec + D, direction, sizeof direction);
  w_enc[D] = 2; /* f = 2 * 0.5 * strength at checkpoint b */
  for (size_t t = 0; t < T; t++)
    for (size_t j = 0; j < D; j++) { /* normalised: 0.8 strength d at a, strength d at b */
      hidden[(t * 2 + 0) * D + j] = 0.8F * (float)t * direction[j] / scales[0];
      hidden[(t * 2 + 1) * D + j] = (float)t * direction[j];
    }
  xci_bench bench = {.setting = &in.setting};
  in.setting.coder = coder;
  ck_ok(xci_bench_open(&in.setting, &bench, err));
  ck_ok(xci_stretch_from(&bench, start, 1, hidden, XCI_DECODED, &s, err));
  ck_ok(xci_latent_scaling_open(&bench, &scaling, err));
  ck_ok(xci_latent_scaling_add(&bench, &s, &scaling, err));
  ck_assert(scaling.fired[0] == T - 1);
  const xci_scaled at = xci_latent_scaling_at(&bench, &scaling, 0, 0, 1);
  ck_assert(at.rel_dec == 0 && at.beta_reconstruction == 0 && at.nu_reconstruction == 0);
  ck_assert_double_eq_tol(at.beta_error, 0.8, 1e-6);
  ck_assert_double_eq_tol(at.nu_error, 0.8, 1e-6);
  const xci_scaled own = xci_latent_scaling_at(&bench, &scaling, 0, 1, 1);
  ck_assert_double_eq_tol(own.beta_error, 1, 1e-6);
  ck_assert_double_eq_tol(own.beta_reconstruction, 1, 1e-6);
  ck_assert(isnan(xci_latent_scaling_at(&bench, &scaling, 0, 1, 0).beta_error)); /* a direction without length */
  xci_latent_scaling_close(&scaling);
  xci_stretch_close(&s);
  xcoder_free_coder(coder);
  in.setting.coder = in.coder;
  scene_close(&in);
}
END_TEST

START_TEST(evaluation_writes_the_table) {
  char *first = NULL;
  size_t n_first = 0;
  for (int threads = 1; threads <= 3; threads++) {
    scene in;
    xcoder_verdicts verdicts;
    xci_csv csv;
    char *bytes;
    size_t n;
    xcoder_set_threads(threads);
    scene_open(&in, NULL);
    ck_ok(xcoder_evaluate(&in.setting, in.held_out, NULL, 0, NULL, in.run, &verdicts, err));
    xcoder_verdicts_free(&verdicts);
    ck_ok(xci_csv_open(scene_path(&in, "latent-scaling.csv"), &csv, err));
    ck_assert(csv.n_rows > 0 && csv.n_rows % (N * (N - 1)) == 0 && csv.n_columns == 9);
    ck_assert_str_eq(xci_csv_at(&csv, 0, 1), "early");
    ck_assert_str_eq(xci_csv_at(&csv, 0, 2), "middle");
    xci_csv_close(&csv);
    ck_ok(xci_read_file(scene_path(&in, "latent-scaling.csv"), 1 << 24, &bytes, &n, err));
    if (first) {
      ck_assert_uint_eq(n, n_first);
      ck_assert_mem_eq(bytes, first, n);
      xci_free(bytes);
    } else {
      first = bytes;
      n_first = n;
    }
    scene_close(&in);
  }
  xci_free(first);
  xcoder_set_threads(0);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("latent scaling");
  TCase *tests = tcase_create("latent scaling");
  tcase_add_test(tests, factors_are_those_of_least_squares);
  tcase_add_test(tests, a_feature_that_shrank_is_seen);
  tcase_add_test(tests, evaluation_writes_the_table);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_set_fork_status(runner, CK_NOFORK); /* libgomp does not survive a fork */
  srunner_run_all(runner, CK_NORMAL);
  const int n_failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return n_failed != 0;
}
