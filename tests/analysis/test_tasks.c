/* SPDX-License-Identifier: Apache-2.0 */
/* CLAMS and MultiBLiMP from their files to accuracy, by sentence and by next token, against values that torch computed
 * with the rules restated (make_tasks_golden.py). */
#include "bundled.h"

#include "base/memory.h"

/* log p(right) - log p(wrong) behind the prompt. */
static double next_token_difference(const scene *s, const xcoder_pair *pair) {
  const xcoder_model_info *info = xcoder_model_describe(s->model);
  const size_t start[2] = {0, pair->n_prefix};
  const long last = (long)info->n_layers - 1;
  float *hidden = NULL;
  double metric = NAN;
  ck_ok(XCI_ALLOC(&hidden, pair->n_prefix * info->d_model, &error));
  ck_ok(xcoder_model_hidden(s->model, pair->prefix, start, 1, last, hidden, &error));
  ck_ok(xcoder_model_metric(s->model, last, hidden, start, 1, &pair->right, &pair->wrong, &metric, NULL, &error));
  xci_free(hidden);
  return -metric;
}

static void check_item(const scene *s, const xcoder_pair *pair, size_t row, const double scores[2]) {
  const xci_csv *golden = &s->golden;
  const double good = xci_csv_number(golden, row, 6), bad = xci_csv_number(golden, row, 7);
  if (scores != NULL) {
    ck_assert_double_eq_tol(scores[0], good, MOST_TOKENS * LOGIT);
    ck_assert_double_eq_tol(scores[1], bad, MOST_TOKENS * LOGIT);
    return;
  }
  ck_assert_double_eq((double)pair->n_prefix, xci_csv_number(golden, row, 3));
  ck_assert_double_eq((double)pair->right, xci_csv_number(golden, row, 4));
  ck_assert_double_eq((double)pair->wrong, xci_csv_number(golden, row, 5));
  ck_assert_double_eq_tol(next_token_difference(s, pair), good - bad, 2 * LOGIT);
}

static double written_accuracy(const scene *s, const xcoder_pairs *pairs) {
  static const char *const path = "test-tasks.csv";
  xci_csv csv;
  write_accuracies(s, XCODER_SUM, NAN, pairs, path, &csv);
  const double accuracy = xci_csv_number(&csv, csv.n_rows - 1, xci_csv_column(&csv, "accuracy"));
  xci_csv_close(&csv);
  remove(path);
  return accuracy;
}

/* All items that the golden file has of a task and a scoring, in order, and no others. */
static void check_task(const char *task, const char *path, const char *scoring, size_t n_wanted) {
  scene s = open_scene("tests/analysis/golden/tasks.csv");
  char spec[600];
  double *good = NULL, *bad = NULL;
  xcoder_pairs *pairs = NULL;
  const bool authors = strcmp(scoring, "authors") == 0, whole = strcmp(scoring, "sentence") == 0;
  const xcoder_pairs_options options = {.sentences = whole, .authors_rule = authors, .no_prepend = authors};
  snprintf(spec, sizeof spec, "%s:%s", task, below(path));
  ck_ok(xcoder_pairs_load(spec, s.tokenizer, &options, &pairs, &error));
  const size_t n = xcoder_pairs_count(pairs);
  ck_ok(XCI_ALLOC(&good, n, &error));
  ck_ok(XCI_ALLOC(&bad, n, &error));
  if (whole) ck_ok(xcoder_score_sentences(s.model, pairs, good, bad, NULL, &error));
  size_t i = 0, n_right = 0;
  for (size_t row = 0; row < s.golden.n_rows; row++) {
    if (strcmp(xci_csv_at(&s.golden, row, 0), task) != 0) continue;
    if (strcmp(xci_csv_at(&s.golden, row, 1), scoring) != 0) continue;
    ck_assert_msg(i < n, "%s, %s: %zu items: %s", task, scoring, n, xcoder_pairs_summary(pairs));
    check_item(&s, xcoder_pairs_get(pairs, i), row, whole ? (const double[]){good[i], bad[i]} : NULL);
    n_right += xci_csv_number(&s.golden, row, 6) >= xci_csv_number(&s.golden, row, 7);
    i++;
  }
  ck_assert_uint_eq(i, n);
  ck_assert_uint_eq(n, n_wanted);
  ck_assert(n_right > n / 4 && n_right < n); /* or it would not tell right from wrong */
  ck_assert_double_eq(written_accuracy(&s, pairs), (double)n_right / (double)n);
  xci_free(good);
  xci_free(bad);
  xcoder_pairs_free(pairs);
  close_scene(&s);
}

START_TEST(test_clams) {
  check_task("clams", "tests/analysis/golden/fr_evalset/agreement.txt", "sentence", 43);
  check_task("clams", "tests/analysis/golden/fr_evalset/agreement.txt", "next token", 40);
  check_task("clams", "tests/analysis/golden/fr_evalset/agreement.txt", "authors", 40);
}
END_TEST

START_TEST(test_multiblimp) {
  check_task("multiblimp", "tests/analysis/golden/fra/data.tsv", "sentence", 44);
  check_task("multiblimp", "tests/analysis/golden/fra/data.tsv", "next token", 40);
  check_task("multiblimp", "tests/analysis/golden/fra/data.tsv", "authors", 40);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("tasks");
  TCase *tcase = tcase_create("tasks");
  tcase_add_test(tcase, test_clams);
  tcase_add_test(tcase, test_multiblimp);
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_set_fork_status(runner, CK_NOFORK); /* threads of OpenMP do not survive a fork */
  srunner_run_all(runner, CK_NORMAL);
  const int n_failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return n_failed != 0;
}
