/* SPDX-License-Identifier: Apache-2.0 */
/* Labels: files that people and spreadsheets write, merging, agreement against scikit-learn. */
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "formats/json.h"
#include "report/labels.h"
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char folder[] = "test-labels-XXXXXX";

static char *put(const char *name, const char *content, size_t n) {
  char *path;
  xci_writer *writer;
  ck_assert_int_eq(xci_join_path(folder, name, &path, NULL), XCODER_OK);
  ck_assert_int_eq(xci_writer_open(path, &writer, NULL), XCODER_OK);
  ck_assert_int_eq(xci_writer_write(writer, content, n, NULL), XCODER_OK);
  ck_assert_int_eq(xci_writer_commit(writer, NULL), XCODER_OK);
  return path;
}

/* Reads and merges one file; the status of whichever fails. */
static xcoder_status take(xci_label_list *list, const char *name, const char *content, size_t n_features,
                          xcoder_error *err) {
  char *path = put(name, content, strlen(content));
  xcoder_status status = xci_labels_read(list, path, err);
  if (!status) status = xci_labels_merge(list, n_features, err);
  xci_free(path);
  return status;
}

START_TEST(agreement_is_that_of_others) {
  xcoder_error err;
  json_t *file, *one;
  size_t i;
  char *path;
  const char *source = getenv("srcdir");
  ck_assert_int_eq(xci_join_path(source ? source : ".", "tests/report/golden/kappa.json", &path, NULL), XCODER_OK);
  ck_assert_msg(xci_json_read(path, 1 << 20, &file, &err) == XCODER_OK, "%s", err.message);
  xci_free(path);
  ck_assert_uint_eq(json_array_size(json_object_get(file, "cases")), 6);
  json_array_foreach(json_object_get(file, "cases"), i, one) {
    const size_t items = (size_t)json_integer_value(json_object_get(one, "n_items"));
    const size_t raters = (size_t)json_integer_value(json_object_get(one, "n_raters"));
    const size_t kinds = (size_t)json_integer_value(json_object_get(one, "n_categories"));
    uint32_t *all, *a, *b;
    double agreement, kappa;
    ck_assert_int_eq(XCI_ALLOC(&all, items * raters, NULL), XCODER_OK);
    ck_assert_int_eq(XCI_ALLOC(&a, items, NULL), XCODER_OK);
    ck_assert_int_eq(XCI_ALLOC(&b, items, NULL), XCODER_OK);
    for (size_t k = 0; k < items * raters; k++)
      all[k] = (uint32_t)json_integer_value(json_array_get(json_object_get(one, "category"), k));
    for (size_t k = 0; k < items; k++) {
      a[k] = all[k * raters];
      b[k] = all[k * raters + 1];
    }
    /* Both are quotients of sums of at most 200 terms of order 1: 1e-12 is a few thousand roundings. */
    ck_assert_int_eq(xci_cohen_kappa(a, b, items, kinds, &agreement, &kappa, NULL), XCODER_OK);
    ck_assert_double_eq_tol(kappa, json_number_value(json_object_get(one, "cohen")), 1e-12);
    ck_assert_int_eq(xci_fleiss_kappa(all, items, raters, kinds, &kappa, NULL), XCODER_OK);
    ck_assert_double_eq_tol(kappa, json_number_value(json_object_get(one, "fleiss")), 1e-12);
    xci_free(all);
    xci_free(a);
    xci_free(b);
  }
  json_decref(file);
}
END_TEST

START_TEST(agreement_that_is_undefined) {
  const uint32_t same[] = {1, 1, 1, 1};
  double agreement, kappa;
  ck_assert_int_eq(xci_cohen_kappa(same, same, 4, 2, &agreement, &kappa, NULL), XCODER_OK);
  ck_assert(isnan(kappa));
  ck_assert_double_eq(agreement, 1);
  ck_assert_int_eq(xci_cohen_kappa(same, same, 0, 2, &agreement, &kappa, NULL), XCODER_OK);
  ck_assert(isnan(kappa) && isnan(agreement));
  ck_assert_int_eq(xci_fleiss_kappa(same, 2, 2, 2, &kappa, NULL), XCODER_OK);
  ck_assert(isnan(kappa));
  ck_assert_int_eq(xci_fleiss_kappa(same, 0, 2, 2, &kappa, NULL), XCODER_OK);
  ck_assert(isnan(kappa));
}
END_TEST

START_TEST(what_spreadsheets_write) {
  xci_label_list list = {0};
  xcoder_error err = {0};
  size_t n;
  ck_assert_msg(take(&list, "anna.csv",
                     "\xef\xbb\xbf"
                     "Description , FEAT_ID,confidence,notes\r\n"
                     "\"plural, \"\"subject\"\"\r\nof verbs\",17.0,High,x\r\n\r\n"
                     "'=1+1,3,2,\r\n,5,,only notes\r\n  spaced \t out ,4,,\r\n",
                     100, &err) == XCODER_OK,
                "%s", err.message);
  ck_assert_uint_eq(list.n, 3);
  ck_assert_uint_eq(list.n_empty, 1);
  const xci_label *label = xci_labels_of(&list, 17, &n);
  ck_assert_uint_eq(n, 1);
  ck_assert_str_eq(label->description, "plural, \"subject\" of verbs");
  ck_assert_str_eq(label->annotator, "anna");
  ck_assert_str_eq(label->confidence, "high");
  ck_assert_uint_eq(label->line, 2);
  ck_assert_str_eq(xci_labels_of(&list, 3, &n)->description, "=1+1");
  ck_assert_uint_eq(xci_labels_of(&list, 3, &n)->line, 5); /* the quoted field of the first has two lines */
  ck_assert_str_eq(xci_label_shown(&list, 4), "spaced out");
  ck_assert_ptr_null(xci_labels_of(&list, 5, &n));
  ck_assert_str_eq(xci_label_shown(&list, 5), "");
  xci_labels_clear(&list);
}
END_TEST

START_TEST(what_is_refused) {
  static const struct {
    const char *content, *words;
  } bad[] = {
      {"", "empty"},
      {"feat_id;description\n1;x\n", "separated by ';'"},
      {"feature,description\n1,x\n", "no column feat_id"},
      {"feat_id,label\n1,x\n", "no column description"},
      {"feat_id,description\n1,\"x\n", "line 2: a quote is not closed"},
      {"feat_id,description\n1,\"x\"y\n", "behind a closing quote"},
      {"feat_id,description\n1,x,3\n", "line 2: 3 fields"},
      {"feat_id,description\n-1,x\n", "line 2: feat_id '-1'"},
      {"feat_id,description\n1.5,x\n", "feat_id '1.5'"},
      {"feat_id,description\n1e99,x\n", "feat_id '1e99'"},
      {"feat_id,description\nseven,x\n", "feat_id 'seven'"},
      {"feat_id,description\n1,x\n100,x\n", "line 3: feature 100 was found"},
      {"feat_id,description\n1,x\n1,y\n", "line 3: feature 1 by 'bad' is 'y' here and 'x' on line 2"},
      {"feat_id,description,confidence\n1,x,sure\n", "confidence 'sure'"},
      {"feat_id,description\n1,\xff\n", "not UTF-8"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    xci_label_list list = {0};
    xcoder_error err = {0};
    ck_assert_msg(take(&list, "bad.csv", bad[i].content, 100, &err) == XCODER_FORMAT, "%s", bad[i].words);
    ck_assert_msg(strstr(err.message, bad[i].words) != NULL, "%s: %s", bad[i].words, err.message);
    xci_labels_clear(&list);
  }
  xci_label_list list = {0};
  xcoder_error err = {0};
  ck_assert_int_eq(take(&list, "labels.csv", "feat_id,description\n1,x\n", 0, &err), XCODER_FORMAT);
  ck_assert_msg(strstr(err.message, "no annotator") != NULL, "%s", err.message);
  char *path = put("zero.csv", "feat_id,description\n1,x\0y\n", 26);
  ck_assert_int_eq(xci_labels_read(&list, path, &err), XCODER_FORMAT);
  ck_assert_msg(strstr(err.message, "zero byte") != NULL, "%s", err.message);
  xci_free(path);
  xci_labels_clear(&list);
}
END_TEST

START_TEST(the_last_file_counts) {
  xci_label_list list = {0};
  size_t n;
  ck_assert_int_eq(take(&list, "anna.csv", "feat_id,description\n1,x\n1,x\n2,y\n", 0, NULL), XCODER_OK);
  ck_assert_uint_eq(list.n_repeated, 1);
  ck_assert_int_eq(
      take(&list, "later.csv", "feat_id,description,annotator\n1,z,anna\n2,y,anna\n1,w,ben\n1,w,cem\n", 0, NULL),
      XCODER_OK);
  ck_assert_uint_eq(list.n, 4);
  ck_assert_uint_eq(list.n_replaced, 1);
  ck_assert_uint_eq(list.n_repeated, 2);
  ck_assert_str_eq(xci_labels_of(&list, 1, &n)->description, "z");
  ck_assert_uint_eq(n, 3);
  ck_assert_str_eq(xci_label_shown(&list, 1), "w"); /* two of three */
  xci_labels_clear(&list);
}
END_TEST

START_TEST(no_formula_and_the_same_text_again) {
  static const char *const texts[] = {"=1+1",     "+a",  "-a", "@a", "'=1", "''-b",
                                      "'quoted'", "a,b", "\"", "-1", "'-1", "plain"};
  enum { N = sizeof texts / sizeof *texts };
  xci_text csv = {0};
  xci_label_list list = {0};
  size_t n;
  xci_text_add(&csv, "feat_id,description\n");
  for (size_t i = 0; i < N; i++) {
    xci_text_format(&csv, "%zu,", i);
    const size_t at = csv.n_bytes;
    xci_label_field(&csv, texts[i]);
    const char *field = csv.bytes + at + (csv.bytes[at] == '"');
    ck_assert_msg(!strchr("=+@", *field) && (*field != '-' || !strcmp(texts[i], "-1")), "%s", field);
    xci_text_add(&csv, "\n");
  }
  ck_assert_int_eq(take(&list, "anna.csv", csv.bytes, 0, NULL), XCODER_OK);
  for (size_t i = 0; i < N; i++) ck_assert_str_eq(xci_labels_of(&list, (uint32_t)i, &n)->description, texts[i]);
  xci_labels_clear(&list);
  xci_text_clear(&csv);
}
END_TEST

START_TEST(agreement_file) {
  xci_label_list list = {0};
  xci_text json = {0};
  ck_assert_int_eq(
      take(&list, "anna.csv", "feat_id,description,languages\n1,Plural Noun,en;fr\n2,verb,en\n3,x,\n", 0, NULL),
      XCODER_OK);
  ck_assert_int_eq(
      take(&list, "ben.csv", "feat_id,description,languages\n1,plural noun,\"fr, en\"\n2,name,en\n4,y,\n", 0, NULL),
      XCODER_OK);
  ck_assert_int_eq(xci_labels_json(&list, &json, NULL), XCODER_OK);
  json_t *file = json_loads(json.bytes, 0, NULL), *pair = json_array_get(json_object_get(file, "cohen"), 1);
  ck_assert_ptr_nonnull(file);
  ck_assert_str_eq(json_string_value(json_object_get(pair, "field")), "description");
  ck_assert_int_eq(json_integer_value(json_object_get(pair, "n")), 2);
  ck_assert_double_eq(json_number_value(json_object_get(pair, "agreement")), 0.5);
  /* by hand: p_o 1/2, p_e 1/4 */
  ck_assert_double_eq_tol(json_number_value(json_object_get(pair, "kappa")), 1.0 / 3, 1e-15);
  pair = json_array_get(json_object_get(file, "cohen"), 0);
  ck_assert_double_eq(json_number_value(json_object_get(pair, "agreement")), 1); /* languages, in another order */
  ck_assert_uint_eq(json_array_size(json_object_get(file, "disagreements")), 1);
  json_decref(file);
  xci_text_clear(&json);
  xci_labels_clear(&list);
}
END_TEST

int main(void) {
  if (!mkdtemp(folder)) return 99;
  Suite *suite = suite_create("labels");
  TCase *tests = tcase_create("labels");
  tcase_add_test(tests, agreement_is_that_of_others);
  tcase_add_test(tests, agreement_that_is_undefined);
  tcase_add_test(tests, what_spreadsheets_write);
  tcase_add_test(tests, what_is_refused);
  tcase_add_test(tests, the_last_file_counts);
  tcase_add_test(tests, no_formula_and_the_same_text_again);
  tcase_add_test(tests, agreement_file);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_set_fork_status(runner, CK_NOFORK);
  srunner_run_all(runner, CK_NORMAL);
  const int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  xci_remove_folder(folder, NULL);
  return failed ? 1 : 0;
}
