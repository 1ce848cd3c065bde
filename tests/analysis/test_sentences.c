/* SPDX-License-Identifier: Apache-2.0 */
/* Whole sentences scored as lm-evaluation-harness does, against values that torch computed (make_sentences_golden.py,
 * which compared them with the harness itself). */
#include "bundled.h"

#include "base/memory.h"

static scene open_sentences(xcoder_pairs **pairs) {
  const xcoder_pairs_options options = {.sentences = true};
  scene s = open_scene("tests/analysis/golden/sentences.csv");
  char task[600];
  *pairs = NULL;
  snprintf(task, sizeof task, "blimp:%s", below("tests/analysis/golden/sentences.jsonl"));
  ck_ok(xcoder_pairs_load(task, s.tokenizer, &options, pairs, &error));
  ck_assert_uint_eq(xcoder_pairs_count(*pairs), s.golden.n_rows);
  return s;
}

START_TEST(test_scores) {
  xcoder_pairs *pairs;
  scene s = open_sentences(&pairs);
  const size_t n = s.golden.n_rows;
  double *good = NULL, *bad = NULL;
  ck_ok(XCI_ALLOC(&good, n, &error));
  ck_ok(XCI_ALLOC(&bad, n, &error));
  ck_ok(xcoder_score_sentences(s.model, pairs, good, bad, NULL, &error));
  for (size_t i = 0; i < n; i++) {
    const xcoder_pair *pair = xcoder_pairs_get(pairs, i);
    ck_assert_double_eq_tol(good[i], xci_csv_number(&s.golden, i, 0), MOST_TOKENS * LOGIT);
    ck_assert_double_eq_tol(bad[i], xci_csv_number(&s.golden, i, 1), MOST_TOKENS * LOGIT);
    ck_assert_double_eq((double)pair->good_characters, xci_csv_number(&s.golden, i, 2));
    ck_assert_double_eq((double)pair->bad_characters, xci_csv_number(&s.golden, i, 3));
    ck_assert_double_eq((double)pair->good_bytes, xci_csv_number(&s.golden, i, 4));
    ck_assert_double_eq((double)pair->bad_bytes, xci_csv_number(&s.golden, i, 5));
  }
  xci_free(good);
  xci_free(bad);
  xcoder_pairs_free(pairs);
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
  xcoder_pairs *pairs;
  scene s = open_sentences(&pairs);
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
    xci_csv csv;
    write_accuracies(&s, cases[k].normalization, 524288, pairs, path, &csv);
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
  xcoder_pairs_free(pairs);
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
