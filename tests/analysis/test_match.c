/* SPDX-License-Identifier: Apache-2.0 */
/* Assignments against all permutations, against a certificate of optimality, and on degenerate matrices. */
#include "analysis/comparison/match.h"
#include "base/random.h"
#include <check.h>
#include <math.h>
#include <stdlib.h>

static double total(const float *similarity, size_t n_rows, size_t n_columns, const int64_t *partner) {
  double sum = 0;
  size_t n = 0;
  unsigned char *taken = calloc(n_columns + 1, 1);
  for (size_t i = 0; i < n_rows; i++) {
    if (partner[i] == XCI_UNMATCHED) continue;
    ck_assert(partner[i] >= 0 && (size_t)partner[i] < n_columns && !taken[partner[i]]);
    taken[partner[i]] = 1;
    sum += (double)similarity[i * n_columns + (size_t)partner[i]];
    n++;
  }
  ck_assert_uint_eq(n, n_rows < n_columns ? n_rows : n_columns);
  free(taken);
  return sum;
}

/* The largest sum over all ways to give rows row.. distinct columns (or none, as often as rows are too many). */
static double best_of_all(const float *similarity, size_t n_rows, size_t n_columns) {
  double best[1 << 7];
  const size_t n_sets = (size_t)1 << n_columns;
  for (size_t set = 0; set < n_sets; set++) best[set] = set ? -INFINITY : 0;
  for (size_t i = 0; i < n_rows; i++)
    for (size_t set = n_sets; set-- > 0;) {
      double found = n_rows > n_columns ? best[set] : -INFINITY; /* this row without a column */
      for (size_t j = 0; j < n_columns; j++)
        if (set >> j & 1) found = fmax(found, best[set ^ (size_t)1 << j] + (double)similarity[i * n_columns + j]);
      best[set] = found;
    }
  double most = -INFINITY;
  const size_t wanted = n_rows < n_columns ? n_rows : n_columns;
  for (size_t set = 0; set < n_sets; set++)
    if ((size_t)__builtin_popcountll(set) == wanted) most = fmax(most, best[set]);
  return most;
}

/* Values in steps of 1/levels, so that few levels make many ties. */
static void fill(float *similarity, size_t n, uint64_t seed, uint64_t levels) {
  for (size_t k = 0; k < n; k++)
    similarity[k] = (float)xci_random_below(seed, XCI_STREAM_TEST, k, levels) / (float)levels - 0.5F;
}

START_TEST(small_ones_are_the_best_of_all) {
  float similarity[7 * 7];
  int64_t partner[7];
  uint64_t seed = 0;
  for (size_t n_rows = 1; n_rows <= 7; n_rows++)
    for (size_t n_columns = 1; n_columns <= 7; n_columns++)
      for (int round = 0; round < 20; round++) {
        const uint64_t levels[] = {2, 5, 1000003};
        fill(similarity, n_rows * n_columns, seed++, levels[round % 3]);
        xcoder_error err;
        ck_assert_int_eq(xci_assign(similarity, n_rows, n_columns, partner, &err), XCODER_OK);
        ck_assert_double_eq_tol(total(similarity, n_rows, n_columns, partner),
                                best_of_all(similarity, n_rows, n_columns), 1e-6);
      }
}
END_TEST

/* No exchange of two partners, and no move to a free column, is better: necessary for an optimum; and a planted
 * permutation that is optimal by construction is found whole. */
START_TEST(large_ones_find_what_was_planted) {
  enum { ROWS = 300, COLUMNS = 400 };
  float *similarity = malloc(ROWS * COLUMNS * sizeof *similarity);
  int64_t partner[ROWS];
  fill(similarity, ROWS * COLUMNS, 5, 1000003);
  for (size_t i = 0; i < ROWS; i++) similarity[i * COLUMNS + (i * 7 + 3) % COLUMNS] += 2; /* above every other sum */
  xcoder_error err;
  ck_assert_int_eq(xci_assign(similarity, ROWS, COLUMNS, partner, &err), XCODER_OK);
  for (size_t i = 0; i < ROWS; i++) ck_assert_int_eq(partner[i], (int64_t)((i * 7 + 3) % COLUMNS));
  fill(similarity, ROWS * COLUMNS, 6, 50);
  ck_assert_int_eq(xci_assign(similarity, ROWS, COLUMNS, partner, &err), XCODER_OK);
  total(similarity, ROWS, COLUMNS, partner);
  for (size_t i = 0; i < ROWS; i++)
    for (size_t k = 0; k < i; k++) {
      const float now = similarity[i * COLUMNS + (size_t)partner[i]] + similarity[k * COLUMNS + (size_t)partner[k]];
      ck_assert(now + 1e-6F >=
                similarity[i * COLUMNS + (size_t)partner[k]] + similarity[k * COLUMNS + (size_t)partner[i]]);
    }
  free(similarity);
}
END_TEST

START_TEST(degenerate_ones_end) {
  float same[30 * 30] = {0};
  int64_t partner[30], best_row[30], best_column[30];
  xcoder_error err;
  ck_assert_int_eq(xci_assign(same, 30, 30, partner, &err), XCODER_OK);
  total(same, 30, 30, partner);
  ck_assert_int_eq(xci_assign(same, 3, 0, partner, &err), XCODER_OK);
  ck_assert_int_eq(partner[2], XCI_UNMATCHED);
  ck_assert_int_eq(xci_assign(same, 0, 3, partner, &err), XCODER_OK);
  const float few[] = {0.1F, 0.9F, 0.8F, 0.7F};
  xci_nearest(few, 2, 2, best_column, best_row);
  ck_assert(best_column[0] == 1 && best_column[1] == 0 && best_row[0] == 1 && best_row[1] == 0);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("match");
  TCase *tests = tcase_create("match");
  tcase_add_test(tests, small_ones_are_the_best_of_all);
  tcase_add_test(tests, large_ones_find_what_was_planted);
  tcase_add_test(tests, degenerate_ones_end);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_set_fork_status(runner, CK_NOFORK);
  srunner_run_all(runner, CK_NORMAL);
  const int n_failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return n_failed != 0;
}
