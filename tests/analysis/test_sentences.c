/* SPDX-License-Identifier: Apache-2.0 */
/* Whole sentences scored as lm-evaluation-harness does, against values that torch computed (make_sentences_golden.py,
 * which compared them with the harness itself). */
#include "analysis/csv_in.h"
#include "base/file.h"
#include "base/memory.h"
#include <check.h>
#include <crosscoder/analysis.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static xcoder_error error;
#define ck_ok(call) ck_assert_msg((call) == XCODER_OK, "%s", error.message)

/* A path below the folder of the sources. */
static const char *below(const char *name) {
  static char path[4][512];
  static int next;
  const char *root = getenv("top_srcdir");
  next = (next + 1) % 4;
  snprintf(path[next], sizeof path[next], "%s/%s", root ? root : ".", name);
  return path[next];
}

typedef struct scene {
  xcoder_device *device;
  xcoder_tokenizer *tokenizer;
  xcoder_model *model;
  xcoder_pairs *pairs;
  xci_csv golden;
} scene;

static scene open_scene(void) {
  scene s = {0};
  xcoder_pairs_options options = {.sentences = true};
  char task[600];
  const char *folder = below("examples/tiny-pythia/step256");
  snprintf(task, sizeof task, "blimp:%s", below("tests/analysis/golden/sentences.jsonl"));
  ck_ok(xcoder_device_open("cpu", &s.device, &error));
  ck_ok(xcoder_tokenizer_open(folder, &s.tokenizer, &error));
  ck_ok(xcoder_model_open(folder, s.device, -1, &s.model, &error));
  ck_ok(xcoder_pairs_load(task, s.tokenizer, &options, &s.pairs, &error));
  ck_ok(xci_csv_open(below("tests/analysis/golden/sentences.csv"), &s.golden, &error));
  ck_assert_uint_eq(xcoder_pairs_count(s.pairs), s.golden.n_rows);
  return s;
}

static void close_scene(scene *s) {
  xci_csv_close(&s->golden);
  xcoder_pairs_free(s->pairs);
  xcoder_model_close(s->model);
  xcoder_tokenizer_close(s->tokenizer);
  xcoder_device_close(s->device);
}

START_TEST(test_scores) {
  scene s = open_scene();
  const size_t n = s.golden.n_rows;
  double *good = NULL, *bad = NULL;
  ck_ok(XCI_ALLOC(&good, n, &error));
  ck_ok(XCI_ALLOC(&bad, n, &error));
  ck_ok(xcoder_score_sentences(s.model, s.pairs, good, bad, NULL, &error));
  for (size_t i = 0; i < n; i++) {
    const xcoder_pair *pair = xcoder_pairs_get(s.pairs, i);
    /* Logits of float32 models differ by some 1e-5 between implementations; a score adds at most 40 of them. */
    ck_assert_double_eq_tol(good[i], xci_csv_number(&s.golden, i, 0), 40 * 2e-5);
    ck_assert_double_eq_tol(bad[i], xci_csv_number(&s.golden, i, 1), 40 * 2e-5);
    ck_assert_double_eq((double)pair->good_characters, xci_csv_number(&s.golden, i, 2));
    ck_assert_double_eq((double)pair->bad_characters, xci_csv_number(&s.golden, i, 3));
    ck_assert_double_eq((double)pair->good_bytes, xci_csv_number(&s.golden, i, 4));
    ck_assert_double_eq((double)pair->bad_bytes, xci_csv_number(&s.golden, i, 5));
  }
  xci_free(good);
  xci_free(bad);
  close_scene(&s);
}
END_TEST

/* The share of golden items whose first sentence wins, with scores divided by golden columns 2+k and 3+k (k < 0:
 * not). */
static double golden_accuracy(const xci_csv *golden, int k) {
  size_t n_right = 0;
  for (size_t i = 0; i < golden->n_rows; i++) {
    const double good = xci_csv_number(golden, i, 0), bad = xci_csv_number(golden, i, 1);
    const double by_good = k < 0 ? 1 : xci_csv_number(golden, i, (size_t)(2 + k));
    const double by_bad = k < 0 ? 1 : xci_csv_number(golden, i, (size_t)(3 + k));
    n_right += good / by_good >= bad / by_bad;
  }
  return (double)n_right / (double)golden->n_rows;
}

START_TEST(test_accuracies) {
  static const struct {
    xcoder_normalization normalization;
    int column;
    const char *scoring;
  } cases[] = {{XCODER_SUM, -1, "sentence"}, {XCODER_PER_CHARACTER, 0, "sentence / characters"},
               {XCODER_PER_BYTE, 2, "sentence / bytes"}};
  static const char *const path = "test-sentences.csv";
  scene s = open_scene();
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
    xcoder_accuracies *table = NULL;
    xci_csv csv;
    ck_ok(xcoder_accuracies_create(cases[k].normalization, &table, &error));
    ck_ok(xcoder_accuracies_add(table, s.model, "step256", 524288, s.pairs, NULL, &error));
    ck_ok(xcoder_accuracies_write(table, path, &error));
    xcoder_accuracies_free(table);
    ck_ok(xci_csv_open(path, &csv, &error));
    const size_t last = csv.n_rows - 1;
    ck_assert_str_eq(xci_csv_at(&csv, last, xci_csv_column(&csv, "group")), "all");
    ck_assert_str_eq(xci_csv_at(&csv, last, xci_csv_column(&csv, "scoring")), cases[k].scoring);
    ck_assert_double_eq(xci_csv_number(&csv, last, xci_csv_column(&csv, "tokens_seen")), 524288);
    ck_assert_double_eq(xci_csv_number(&csv, last, xci_csv_column(&csv, "accuracy")),
                        golden_accuracy(&s.golden, cases[k].column));
    xci_csv_close(&csv);
  }
  /* The three measures differ on these items, or the test would not tell them apart. */
  ck_assert(golden_accuracy(&s.golden, -1) != golden_accuracy(&s.golden, 0));
  remove(path);
  close_scene(&s);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("sentences");
  TCase *tcase = tcase_create("sentences");
  tcase_add_test(tcase, test_scores);
  tcase_add_test(tcase, test_accuracies);
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_set_fork_status(runner, CK_NOFORK); /* threads of OpenMP do not survive a fork */
  srunner_run_all(runner, CK_NORMAL);
  const int n_failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return n_failed != 0;
}
