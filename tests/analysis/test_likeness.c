/* SPDX-License-Identifier: Apache-2.0 */
/* Agreement of two attributions of one dictionary: the same one, one without what the other has, the opposite order. */
#include "analysis/attribution/likeness.h"
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { N = 2, FEATURES = 6 };
static xcoder_error err;

typedef struct table {
  uint32_t feature[FEATURES];
  double ie[FEATURES * N], rel_ie[FEATURES * N];
  char class[FEATURES][64];
  xci_task_effects effects;
} table;

/* Feature i has IE i + 1 at checkpoint 0 and 1 at checkpoint 1; so its RelIE there is (i + 1) / (i + 2). */
static void fill(table *t, size_t n_features, bool turned) {
  *t = (table){0};
  for (size_t i = 0; i < n_features; i++) {
    const double a = (double)(turned ? n_features - i : i + 1);
    t->feature[i] = (uint32_t)(10 * i);
    t->ie[i * N] = i % 2 ? -a : a; /* the sign does not count for the order */
    t->ie[i * N + 1] = 1;
    t->rel_ie[i * N] = a / (a + 1);
    t->rel_ie[i * N + 1] = 1 / (a + 1);
    snprintf(t->class[i], sizeof t->class[i], "%s", a > 3 ? "specific:a" : "shared:a+b");
  }
  t->effects = (xci_task_effects){.n_features = n_features, .feature = t->feature, .ie = t->ie, .rel_ie = t->rel_ie,
                                  .class = t->class};
}

START_TEST(the_same_agrees_in_all) {
  table t;
  xci_likeness found;
  fill(&t, FEATURES, false);
  for (size_t k = 1; k <= 10; k++) {
    ck_assert_int_eq(xci_likeness_measure(&t.effects, &t.effects, N, 0, k, 100, 1, &found, &err), XCODER_OK);
    ck_assert_uint_eq(found.n_top, k < FEATURES ? k : FEATURES);
    ck_assert_uint_eq(found.n_again, found.n_top);
    ck_assert_double_eq(found.again.value, 1);
    ck_assert_double_eq(found.same_class.value, 1);
    ck_assert_double_eq(found.change, 0);
    if (k < 2) continue;
    ck_assert_double_eq(found.difference.low, 0);
    ck_assert_double_eq(found.difference.high, 0);
    ck_assert_double_eq_tol(found.rel_ie_spearman.value, 1, 1e-15); /* one rounding of a quotient of equal sums */
    ck_assert_double_eq_tol(found.ie_spearman.value, 1, 1e-15);
  }
}
END_TEST

START_TEST(what_is_absent_counts_as_change) {
  table t, less;
  xci_likeness found;
  fill(&t, FEATURES, false);
  fill(&less, 3, false); /* the strongest three are gone */
  ck_assert_int_eq(xci_likeness_measure(&t.effects, &less.effects, N, 0, 3, 0, 1, &found, &err), XCODER_OK);
  ck_assert_uint_eq(found.n_top, 3);
  ck_assert_uint_eq(found.n_again, 0);
  ck_assert_uint_eq(found.n_rel_ie, 0);
  ck_assert_double_eq(found.change, 1);
  ck_assert(isnan(found.difference.value) && isnan(found.same_class.value));
  ck_assert_int_eq(xci_likeness_measure(&t.effects, &less.effects, N, 0, FEATURES, 0, 1, &found, &err), XCODER_OK);
  ck_assert_uint_eq(found.n_rel_ie, 3);
  ck_assert_double_eq(found.difference.value, 0);
  ck_assert_double_eq(found.change, 0.5);
  ck_assert_double_eq(found.again.value, 0.5);
}
END_TEST

START_TEST(the_opposite_order_disagrees) {
  table t, turned;
  xci_likeness found, other;
  fill(&t, FEATURES, false);
  fill(&turned, FEATURES, true);
  ck_assert_int_eq(xci_likeness_measure(&t.effects, &turned.effects, N, 0, FEATURES, 200, 1, &found, &err), XCODER_OK);
  ck_assert_double_eq_tol(found.rel_ie_spearman.value, -1, 1e-15);
  ck_assert(found.rel_ie_spearman.low <= -1 + 1e-12 && found.rel_ie_spearman.high <= -1 + 1e-12); /* every resample */
  ck_assert(found.difference.low <= found.difference.value && found.difference.value <= found.difference.high);
  ck_assert_uint_eq(found.n_classes, FEATURES);
  ck_assert_double_eq(found.same_class.value, 0); /* each is above 3 on one side alone */
  ck_assert_int_eq(xci_likeness_measure(&turned.effects, &t.effects, N, 0, FEATURES, 200, 1, &other, &err), XCODER_OK);
  ck_assert_double_eq(found.difference.value, other.difference.value);
  ck_assert_double_eq_tol(found.ie_spearman.value, other.ie_spearman.value, 1e-15);
}
END_TEST

START_TEST(nothing_to_compare) {
  table t;
  xci_likeness found;
  fill(&t, 0, false);
  ck_assert_int_eq(xci_likeness_measure(&t.effects, &t.effects, N, 0, 100, 100, 1, &found, &err), XCODER_OK);
  ck_assert_uint_eq(found.n_top, 0);
  ck_assert(isnan(found.change) && isnan(found.again.value) && isnan(found.ie_spearman.value));
}
END_TEST

int main(void) {
  Suite *suite = suite_create("likeness");
  TCase *tests = tcase_create("likeness");
  tcase_add_test(tests, the_same_agrees_in_all);
  tcase_add_test(tests, what_is_absent_counts_as_change);
  tcase_add_test(tests, the_opposite_order_disagrees);
  tcase_add_test(tests, nothing_to_compare);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  const int n_failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return n_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
