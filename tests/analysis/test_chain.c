/* SPDX-License-Identifier: Apache-2.0 */
/* Three windows with planted features, each window's in another order: long lives are joined, what comes and goes does
 * so where it was planted, and what is in one window alone stays alone. */
#include "analysis/evolution/chain.h"
#include "analysis/csv_in.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/parallel.h"

#include "base/random.h"
#include "formats/json.h"
#include <check.h>
#include <crosscoder/device.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { D = 48, LATENTS = 90, WINDOWS = 3, WIDTH = 3, AXIS = 7, PLANTED = 40, N_KINDS = 4 };

#define ck_ok(call)                                                                 \
  do {                                                                              \
    xcoder_error call_error = {0};                                                  \
    xcoder_error *err = &call_error;                                                \
    const xcoder_status call_status = (call);                                       \
    ck_assert_msg(call_status == XCODER_OK, "%s: %s", #call, call_error.message);   \
  } while (0)

static const char *const axis[AXIS] = {"step0", "step8", "step32", "step64", "step128", "step256", "step2048"};
static const double tokens[AXIS] = {0, 8, 32, 64, 128, 256, 2048};
/* Present at: all; the last three; the first three; the one in the middle. Planted feature i is of kind i % 4. Every
 * checkpoint has twenty, so that normalised effects tell the same. */
static const uint32_t patterns[N_KINDS] = {0x7f, 0x70, 0x07, 0x08};
static const char *const cycles[N_KINDS] = {"persisting", "emerging", "vanishing", "transient"};
static const size_t lengths[N_KINDS] = {3, 2, 2, 1}; /* windows; the middle one reaches both others */
static uint64_t counter;

static double normal(void) { return xci_random_normal(5, XCI_STREAM_TEST, counter++); }

static double strength(size_t planted, size_t place) { return patterns[planted % N_KINDS] >> place & 1 ? 1 : 0.02; }

/* Window k covers places 2 k to 2 k + 2. A planted feature that is nowhere in a window has no latent there. */
static bool is_in(size_t planted, size_t k) { return (patterns[planted % N_KINDS] >> (2 * k) & 7) != 0; }

/* Latent of planted feature i in window k, in an order of the window's own. */
static size_t latent_of(size_t i, size_t k) { return (i * 7 + k * 31 + 3) % LATENTS; }

/* Noise of 0.03 on every coordinate of a direction of about length 1: cosine about 1 / (1 + 48 * 0.03^2) = 0.96. */
static void make_side(size_t k, xci_side *side) {
  char name[8];
  *side = (xci_side){.n = WIDTH, .d_model = D, .n_latents = LATENTS, .n_live = LATENTS, .n_tasks = 1};
  snprintf(name, sizeof name, "w%zu", k);
  side->name = strdup(name);
  side->labels = calloc(WIDTH, sizeof *side->labels);
  ck_ok(XCI_ALLOC(&side->fingerprint, WIDTH, err));
  ck_ok(XCI_ALLOC(&side->w_dec, LATENTS * WIDTH * D, err));
  ck_ok(XCI_ALLOC(&side->live, LATENTS, err));
  ck_ok(XCI_ALLOC(&side->rank_of, LATENTS, err));
  ck_ok(XCI_ALLOC(&side->task, 1, err));
  ck_ok(XCI_ALLOC(&side->task->feature, LATENTS, err));
  ck_ok(XCI_ALLOC(&side->task->ie, LATENTS * WIDTH, err));
  side->task->task = strdup("task");
  side->task->n_features = LATENTS;
  for (size_t c = 0; c < WIDTH; c++) {
    side->labels[c] = strdup(axis[2 * k + c]);
    snprintf(side->fingerprint[c], sizeof side->fingerprint[c], "%s", axis[2 * k + c]);
  }
  for (size_t i = 0; i < LATENTS; i++) {
    side->live[i] = side->rank_of[i] = side->task->feature[i] = (uint32_t)i;
    for (size_t j = 0; j < WIDTH * D; j++) side->w_dec[i * WIDTH * D + j] = (float)normal() * 0.1F;
    for (size_t c = 0; c < WIDTH; c++) side->task->ie[i * WIDTH + c] = 1e-3 * normal();
  }
  for (size_t i = 0; i < PLANTED; i++)
    for (size_t c = 0; is_in(i, k) && c < WIDTH; c++) {
      const size_t place = 2 * k + c, latent = latent_of(i, k);
      side->task->ie[latent * WIDTH + c] = strength(i, place) * (i % 2 ? -1 : 1);
      float *row = side->w_dec + (latent * WIDTH + c) * D;
      for (size_t j = 0; j < D; j++)
        row[j] = (float)(xci_random_normal(6, XCI_STREAM_TEST, (i * AXIS + place) * D + j) / sqrt(D) + 0.03 * normal());
      const double norm = sqrt(xci_dot(row, row, D));
      for (size_t j = 0; j < D; j++) row[j] = (float)((double)row[j] / norm * strength(i, place));
    }
}

static void free_side(xci_side *side) {
  free(side->name);
  for (size_t c = 0; c < WIDTH; c++) free(side->labels[c]);
  free(side->labels);
  free(side->task->task);
  xci_free(side->task->feature);
  xci_free(side->task->ie);
  xci_free(side->task);
  xci_free(side->fingerprint);
  xci_free(side->w_dec);
  xci_free(side->live);
  xci_free(side->rank_of);
}

static void open_chain(xci_side *side, xci_chain *chain) {
  static double seen[WINDOWS][WIDTH];
  const double *each[WINDOWS] = {seen[0], seen[1], seen[2]};
  for (size_t k = 0; k < WINDOWS; k++) {
    make_side(k, &side[k]);
    for (size_t c = 0; c < WIDTH; c++) seen[k][c] = tokens[2 * k + c];
  }
  ck_ok(xci_chain_open(side, WINDOWS, each, 1, chain, err));
}

static void close_chain(xci_side *side, xci_chain *chain) {
  xci_chain_close(chain);
  for (size_t k = 0; k < WINDOWS; k++) free_side(&side[k]);
}

/* The row that holds `latent` in window k. */
static size_t find_row(const xci_csv *csv, size_t k, size_t latent) {
  char name[16];
  snprintf(name, sizeof name, "feature_w%zu", k);
  const size_t column = xci_csv_column(csv, name);
  for (size_t r = 0; r < csv->n_rows; r++)
    if (xci_csv_number(csv, r, column) == (double)latent) return r;
  return SIZE_MAX;
}

static void check_life(const xci_csv *csv, size_t i) {
  static const char *const prefixes[] = {"", "norm_", "decoder_"};
  size_t first_window = 0, first = 0, n_windows = 0;
  while (!is_in(i, first_window)) first_window++;
  while (!(patterns[i % N_KINDS] >> first & 1)) first++;
  const size_t r = find_row(csv, first_window, latent_of(i, first_window));
  for (size_t k = 0; k < WINDOWS; k++) {
    n_windows += is_in(i, k);
    if (is_in(i, k)) ck_assert_uint_eq(find_row(csv, k, latent_of(i, k)), r);
  }
  ck_assert_uint_eq(n_windows, lengths[i % N_KINDS]);
  ck_assert_double_eq(xci_csv_number(csv, r, xci_csv_column(csv, "windows")), (double)n_windows);
  if (n_windows > 1) ck_assert_double_gt(xci_csv_number(csv, r, xci_csv_column(csv, "least_similarity")), 0.9);
  for (size_t p = 0; p < 3; p++) {
    char name[40];
    snprintf(name, sizeof name, "%scycle", prefixes[p]);
    ck_assert_str_eq(xci_csv_at(csv, r, xci_csv_column(csv, name)), cycles[i % N_KINDS]);
    snprintf(name, sizeof name, "%sonset_tokens", prefixes[p]);
    ck_assert_double_eq(xci_csv_number(csv, r, xci_csv_column(csv, name)), tokens[first]);
    snprintf(name, sizeof name, "%sonset_tokens_low", prefixes[p]);
    ck_assert_double_eq(xci_csv_number(csv, r, xci_csv_column(csv, name)), first ? tokens[first - 1] : 0);
  }
}

START_TEST(planted_lives_are_joined) {
  xci_side side[WINDOWS];
  xci_chain chain;
  xci_csv csv;
  json_t *whole = NULL;
  char folder[64], path[128];
  open_chain(side, &chain);
  ck_assert_uint_eq(chain.n, AXIS);
  for (size_t c = 0; c < AXIS; c++) {
    ck_assert_str_eq(chain.label[c], axis[c]);
    ck_assert_double_eq(chain.tokens[c], tokens[c]);
  }
  snprintf(folder, sizeof folder, "test-chain-%ld", (long)getpid());
  ck_ok(xci_make_folder(folder, err));
  ck_ok(xci_chain_write(&chain, 100, 1, folder, err));
  snprintf(path, sizeof path, "%s/chain.csv", folder);
  ck_ok(xci_csv_open(path, &csv, err));
  ck_assert_uint_eq(csv.n_rows, chain.n_trajectories);
  for (size_t i = 0; i < PLANTED; i++) check_life(&csv, i);
  xci_csv_close(&csv);
  snprintf(path, sizeof path, "%s/chain.json", folder);
  ck_ok(xci_json_read(path, 1 << 24, &whole, err));
  ck_assert_uint_eq(json_array_size(json_object_get(whole, "links")), WINDOWS - 1);
  ck_assert_uint_eq(json_array_size(json_object_get(whole, "strongest")), 8);
  json_decref(whole);
  ck_ok(xci_remove_folder(folder, err));
  close_chain(side, &chain);
}
END_TEST

/* 70 and 50 latents of the first windows are noise of their own. Above the 99 % quantile of the null are 1 % of them; 5
 * and more of 120 at 1 % have a chance below 0.02, and the numbers are fixed. */
START_TEST(noise_is_not_joined) {
  xci_side side[WINDOWS];
  xci_chain chain;
  size_t n_joined = 0, n_noise = 0;
  open_chain(side, &chain);
  for (size_t k = 0; k + 1 < WINDOWS; k++)
    for (size_t i = 0; i < LATENTS; i++) {
      bool planted = false;
      for (size_t p = 0; p < PLANTED; p++) planted = planted || (is_in(p, k) && latent_of(p, k) == i);
      if (planted) continue;
      n_noise++;
      n_joined += chain.link[k].above[i];
    }
  ck_assert_uint_ge(n_noise, 120);
  ck_assert_uint_lt(n_joined, 5);
  close_chain(side, &chain);
}
END_TEST

START_TEST(threads_do_not_matter) {
  xci_side side[2][WINDOWS];
  xci_chain chain[2];
  for (int t = 0; t < 2; t++) {
    counter = 0;
    xcoder_set_threads(t ? 3 : 1);
    open_chain(side[t], &chain[t]);
  }
  ck_assert_uint_eq(chain[0].n_trajectories, chain[1].n_trajectories);
  for (size_t k = 0; k + 1 < WINDOWS; k++)
    ck_assert_mem_eq(chain[0].link[k].similarity, chain[1].link[k].similarity, LATENTS * sizeof(float));
  for (size_t b = 0; b < XCI_N_CHAIN_BASES; b++)
    ck_assert_mem_eq(chain[0].share[b], chain[1].share[b], chain[0].n_trajectories * AXIS * sizeof(double));
  for (int t = 0; t < 2; t++) close_chain(side[t], &chain[t]);
}
END_TEST

START_TEST(windows_must_meet) {
  xci_side side[WINDOWS];
  xci_chain chain;
  xcoder_error error = {0};
  for (size_t k = 0; k < WINDOWS; k++) make_side(k, &side[k]);
  const xci_side apart[] = {side[0], side[2]};
  ck_assert_int_eq(xci_chain_open(apart, 2, NULL, 1, &chain, &error), XCODER_USAGE);
  ck_assert_msg(strstr(error.message, "share no checkpoint") != NULL, "%s", error.message);
  ck_assert_int_eq(xci_chain_open(side, 1, NULL, 1, &chain, &error), XCODER_USAGE);
  char *const kept = side[2].labels[2];
  side[2].labels[2] = side[0].labels[0]; /* another model under a name that is taken */
  ck_assert_int_eq(xci_chain_open(side, WINDOWS, NULL, 1, &chain, &error), XCODER_MISMATCH);
  side[2].labels[2] = kept;
  for (size_t k = 0; k < WINDOWS; k++) free_side(&side[k]);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("chain");
  TCase *tests = tcase_create("chain");
  tcase_add_test(tests, planted_lives_are_joined);
  tcase_add_test(tests, noise_is_not_joined);
  tcase_add_test(tests, threads_do_not_matter);
  tcase_add_test(tests, windows_must_meet);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_set_fork_status(runner, CK_NOFORK);
  srunner_run_all(runner, CK_NORMAL);
  const int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
