/* SPDX-License-Identifier: Apache-2.0 */
/* similarity and select: golden values of numpy, known change points, ties, few revisions, activations of norm 0. */
#include "tests/analysis/scene.h"

#include "analysis/csv_in.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include <crosscoder/run.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const LABELS[N] = {"early", "middle", "late"};

static const char *golden(const char *name) {
  static char path[2][512];
  static int next;
  const char *root = getenv("top_srcdir");
  next = !next;
  snprintf(path[next], sizeof path[next], "%s/tests/analysis/golden/%s", root ? root : ".", name);
  return path[next];
}

static void read_csv(const char *path, xci_csv *csv) { ck_ok(xci_csv_open(path, csv, err)); }

static double number(const xci_csv *csv, size_t row, const char *column) {
  return xci_csv_number(csv, row, xci_csv_column(csv, column));
}

/* ---- Similarity ---- */

static xcoder_similarity_options options_of(bool keep_first) {
  return (xcoder_similarity_options){.layer = 0, .mask.keep_first = keep_first};
}

static void write_similarity(const scene *s, const xcoder_similarity_options *options, const char *path) {
  xcoder_similarity *similarity = NULL;
  ck_ok(xci_make_folder(s->run, err));
  ck_ok(xcoder_similarity_create(s->held_out, N, options, &similarity, err));
  for (size_t c = 0; c < N; c++)
    ck_ok(xcoder_similarity_add(similarity, s->models[c], LABELS[c], c ? 1000.0 * (double)c : NAN, NULL, err));
  ck_ok(xcoder_similarity_write(similarity, path, NULL, err));
  xcoder_similarity_free(similarity);
}

/* Float32 forward passes err by at most 1e-5 of a value (test_golden.c). That is 2e-5 of a cosine at most; and a value
 * within 1e-5 of a rounding border of bf16, which are 2^-8 apart, may round the other way: half a percent of them do,
 * each by 2^-8 of itself, another 2e-5. */
static const double BOUND = 5e-5;

START_TEST(similarity_is_that_of_numpy) {
  scene s;
  xci_csv expected, found;
  scene_open(&s, NULL);
  read_csv(golden("similarity.csv"), &expected);
  for (size_t keep_first = 0; keep_first < 2; keep_first++) {
    static const char *const measures[] = {"cosine", "cosine_sd", "pearson", "pearson_sd"};
    const xcoder_similarity_options options = options_of(keep_first);
    write_similarity(&s, &options, scene_path(&s, "similarity.csv"));
    read_csv(scene_path(&s, "similarity.csv"), &found);
    ck_assert_uint_eq(found.n_rows, N);
    for (size_t row = 0; row < N; row++) {
      const size_t at = keep_first * N + row;
      ck_assert_str_eq(xci_csv_at(&found, row, 0), xci_csv_at(&expected, at, 1));
      ck_assert_str_eq(xci_csv_at(&found, row, 1), xci_csv_at(&expected, at, 2));
      ck_assert_double_eq(number(&found, row, "n"), number(&expected, at, "n"));
      for (size_t k = 0; k < 4; k++)
        ck_assert_double_eq_tol(number(&found, row, measures[k]), number(&expected, at, measures[k]), BOUND);
    }
    xci_csv_close(&found);
  }
  xci_csv_close(&expected);
  scene_close(&s);
}
END_TEST

START_TEST(similarity_depends_on_neither_threads_nor_place) {
  scene s;
  xcoder_similarity_options options = options_of(false);
  char *first = NULL, *other = NULL;
  size_t n_first, n_other;
  scene_open(&s, NULL);
  write_similarity(&s, &options, scene_path(&s, "a.csv"));
  ck_ok(xci_read_file(scene_path(&s, "a.csv"), 1 << 20, &first, &n_first, err));
  options.max_memory = 1;
  options.scratch = s.run;
  for (int threads = 1; threads <= 3; threads++) {
    xcoder_set_threads(threads);
    write_similarity(&s, &options, scene_path(&s, "b.csv"));
    ck_ok(xci_read_file(scene_path(&s, "b.csv"), 1 << 20, &other, &n_other, err));
    ck_assert_uint_eq(n_first, n_other);
    ck_assert_mem_eq(first, other, n_first);
    xci_free(other);
  }
  xcoder_set_threads(0);
  xci_free(first);
  scene_close(&s);
}
END_TEST

START_TEST(similarity_needs_two_checkpoints) {
  scene s;
  const xcoder_similarity_options options = options_of(false);
  xcoder_similarity *similarity = NULL;
  xcoder_error error;
  scene_open(&s, NULL);
  ck_ok(xci_make_folder(s.run, err));
  ck_assert_int_eq(xcoder_similarity_create(s.held_out, 1, &options, &similarity, &error), XCODER_USAGE);
  ck_assert_ptr_null(similarity);
  ck_ok(xcoder_similarity_create(s.held_out, 2, &options, &similarity, err));
  ck_ok(xcoder_similarity_add(similarity, s.models[0], "a", NAN, NULL, err));
  ck_assert_int_eq(xcoder_similarity_write(similarity, scene_path(&s, "a.csv"), NULL, &error), XCODER_USAGE);
  ck_ok(xcoder_similarity_add(similarity, s.models[0], "b", NAN, NULL, err));
  ck_assert_int_eq(xcoder_similarity_add(similarity, s.models[1], "c", NAN, NULL, &error), XCODER_USAGE);
  ck_ok(xcoder_similarity_write(similarity, scene_path(&s, "a.csv"), NULL, err));
  xcoder_similarity_free(similarity);
  xci_csv csv; /* a model is like itself: sums of 24 terms rounded in different orders */
  read_csv(scene_path(&s, "a.csv"), &csv);
  ck_assert_double_eq_tol(number(&csv, 0, "cosine"), 1, 1e-12);
  ck_assert_double_eq_tol(number(&csv, 0, "pearson"), 1, 1e-12);
  xci_csv_close(&csv);
  scene_close(&s);
}
END_TEST

/* A copy of a model whose embedding is 0 for ids below `n_rows`. */
static void zero_embedding(const char *from, size_t n_rows, const char *folder) {
  char *bytes = NULL, *config = NULL, path[700];
  size_t n = 0, n_config = 0;
  xci_safetensors *file = NULL;
  snprintf(path, sizeof path, "%s/model.safetensors", from);
  ck_ok(xci_read_file(path, 1 << 24, &bytes, &n, err));
  ck_ok(xci_safetensors_open(path, &file, err));
  const xci_tensor *t = xci_safetensors_find(file, "gpt_neox.embed_in.weight");
  ck_assert_ptr_nonnull(t);
  char *at = memmem(bytes, n, t->bytes, t->n_bytes); /* random weights: nothing else is like it */
  ck_assert_ptr_nonnull(at);
  ck_assert_uint_le(n_rows, t->shape[0]);
  memset(at, 0, t->n_bytes / t->shape[0] * n_rows);
  xci_safetensors_close(file);
  ck_ok(xci_make_folder(folder, err));
  snprintf(path, sizeof path, "%s/model.safetensors", folder);
  ck_ok(xcoder_write_file(path, bytes, n, err));
  snprintf(path, sizeof path, "%s/config.json", from);
  ck_ok(xci_read_file(path, 1 << 20, &config, &n_config, err));
  snprintf(path, sizeof path, "%s/config.json", folder);
  ck_ok(xcoder_write_file(path, config, n_config, err));
  xci_free(bytes);
  xci_free(config);
}

/* Embeddings of the model and of a copy with some of them 0, compared: n counts what has a direction. */
static void compare_zeroed(const scene *s, size_t n_rows, xci_csv *csv) {
  const xcoder_similarity_options options = {.layer = -1, .mask.keep_first = true};
  xcoder_similarity *similarity = NULL;
  xcoder_model *zeroed = NULL;
  char folder[256];
  snprintf(folder, sizeof folder, "%s", scene_path(s, "zeroed"));
  zero_embedding(golden("early"), n_rows, folder);
  ck_ok(xcoder_model_open(folder, s->device, 0, &zeroed, err));
  ck_ok(xcoder_similarity_create(s->held_out, 2, &options, &similarity, err));
  ck_ok(xcoder_similarity_add(similarity, s->models[0], "r0", 1, NULL, err));
  ck_ok(xcoder_similarity_add(similarity, zeroed, "r1", 2, NULL, err));
  ck_ok(xcoder_similarity_write(similarity, scene_path(s, "zeroed.csv"), NULL, err));
  xcoder_similarity_free(similarity);
  xcoder_model_close(zeroed);
  read_csv(scene_path(s, "zeroed.csv"), csv);
}

START_TEST(tokens_without_direction_do_not_count) {
  scene s;
  xci_csv csv;
  xcoder_selection *selection = NULL;
  xcoder_error error;
  const xcoder_select_options options = {.n = 2, .n_proposals = 1, .weight = 0.5};
  scene_open(&s, NULL);
  const uint32_t *ids = xcoder_tokens_ids(s.held_out);
  const size_t n = xcoder_tokens_start(s.held_out)[xcoder_tokens_sequences(s.held_out)];
  const size_t n_vocab = xcoder_model_describe(s.models[0])->n_vocab;
  size_t n_kept = 0;
  for (size_t i = 0; i < n; i++) n_kept += ids[i] >= 100;
  ck_assert(n_kept > 0 && n_kept < n);
  compare_zeroed(&s, 100, &csv);
  ck_assert_double_eq(number(&csv, 0, "n"), (double)n_kept);
  ck_assert_double_eq_tol(number(&csv, 0, "cosine"), 1, 1e-12);
  xci_csv_close(&csv);
  compare_zeroed(&s, n_vocab, &csv);
  ck_assert_double_eq(number(&csv, 0, "n"), 0);
  ck_assert_double_nan(number(&csv, 0, "cosine"));
  ck_assert_double_nan(number(&csv, 0, "pearson_sd"));
  xci_csv_close(&csv);
  /* Nothing can be chosen by similarities that are not there. */
  ck_assert_int_eq(xcoder_select(NULL, scene_path(&s, "zeroed.csv"), &options, &selection, &error), XCODER_FORMAT);
  ck_assert_ptr_nonnull(strstr(error.message, "no similarity of r0 and r1"));
  ck_assert_ptr_null(selection);
  scene_close(&s);
}
END_TEST

/* ---- Selection ---- */

static const char FOLDER[] = "test-selection.tmp";

static const char *in_folder(const char *name) {
  static char path[2][256];
  static int next;
  next = !next;
  snprintf(path[next], sizeof path[next], "%s/%s", FOLDER, name);
  return path[next];
}

static void make_folder(void) {
  ck_ok(xci_remove_folder(FOLDER, err));
  ck_ok(xci_make_folder(FOLDER, err));
}

static void remove_folder(void) { ck_ok(xci_remove_folder(FOLDER, err)); }

/* One task, 1000 pairs a revision. */
static const char *write_accuracy(const double *right, size_t m) {
  xci_text text = {0};
  xci_text_add(&text, "checkpoint,tokens_seen,task,language,group,n,correct\n");
  for (size_t c = 0; c < m; c++) xci_text_format(&text, "r%zu,%zu,t,,all,1000,%.0f\n", c, 100 * (c + 1), right[c]);
  ck_ok(xcoder_write_file(in_folder("accuracy.csv"), text.bytes, text.n_bytes, err));
  xci_text_clear(&text);
  return in_folder("accuracy.csv");
}

/* Cosine 0.9 within `block[c]`, 0.1 between. */
static const char *write_blocks(const int *block, size_t m) {
  xci_text text = {0};
  xci_text_add(&text, "a,b,tokens_seen_a,tokens_seen_b,layer,n,cosine,cosine_sd,pearson,pearson_sd\n");
  for (size_t a = 0; a < m; a++)
    for (size_t b = a + 1; b < m; b++)
      xci_text_format(&text, "r%zu,r%zu,%zu,%zu,0,10,%s,0,0.5,0\n", a, b, 100 * (a + 1), 100 * (b + 1),
                      block[a] == block[b] ? "0.9" : "0.1");
  ck_ok(xcoder_write_file(in_folder("similarity.csv"), text.bytes, text.n_bytes, err));
  xci_text_clear(&text);
  return in_folder("similarity.csv");
}

START_TEST(change_points_are_found) {
  static const double right[] = {500, 500, 500, 900, 900, 900, 900};
  xcoder_select_options options = {.n = 2, .n_proposals = 2, .weight = 0.5, .bootstrap = 200};
  xcoder_selection *s = NULL;
  ck_ok(xcoder_select(write_accuracy(right, 7), NULL, &options, &s, err));
  ck_assert_uint_eq(s->n_revisions, 7);
  ck_assert_uint_eq(s->proposal[0].first[0], 0);
  ck_assert_uint_eq(s->proposal[0].first[1], 3);
  ck_assert_double_eq_tol(s->proposal[0].accuracy_share, 1, 1e-12);
  ck_assert_double_eq_tol(s->proposal[0].score, 1, 1e-12);
  ck_assert_double_nan(s->proposal[0].similarity_share);
  /* A step of 0.4 at 1000 pairs is 17 standard deviations: no resample sees it elsewhere. */
  ck_assert_uint_eq(s->low[1], 3);
  ck_assert_uint_eq(s->high[1], 3);
  ck_assert_double_eq(s->agreement[1], 1);
  /* Of equals the last one stands for a block. */
  ck_assert_uint_eq(s->proposal[0].chosen[0], 2);
  ck_assert_uint_eq(s->proposal[0].chosen[1], 6);
  ck_assert(s->n_proposals == 2 && s->proposal[1].score < s->proposal[0].score);
  xcoder_selection_free(s);
  options.min_tokens = 250; /* the first two are left out */
  ck_ok(xcoder_select(in_folder("accuracy.csv"), NULL, &options, &s, err));
  ck_assert_uint_eq(s->n_revisions, 5);
  ck_assert_str_eq(s->labels[0], "r2");
  ck_assert_uint_eq(s->proposal[0].first[1], 1);
  xcoder_selection_free(s);
}
END_TEST

START_TEST(blocks_of_activations_are_found) {
  static const int block[] = {0, 0, 1, 1, 1, 1, 2, 2};
  const xcoder_select_options options = {.n = 3, .n_proposals = 1, .weight = 0.5, .bootstrap = 50};
  xcoder_selection *s = NULL;
  ck_ok(xcoder_select(NULL, write_blocks(block, 8), &options, &s, err));
  const xcoder_proposal *p = &s->proposal[0];
  ck_assert_uint_eq(p->first[1], 2);
  ck_assert_uint_eq(p->first[2], 6);
  ck_assert_uint_eq(p->chosen[0], 1);
  ck_assert_uint_eq(p->chosen[1], 5);
  ck_assert_uint_eq(p->chosen[2], 7);
  /* Whole: 8 - (8 + 2 * (8 * 0.9 + 20 * 0.1)) / 8 = 4.7. Blocks of 2, 4, 2: size - (size + size (size - 1) 0.9) / size
   * = 0.1 (size - 1), 0.5 together. */
  ck_assert_double_eq_tol(p->similarity_share, 1 - 0.5 / 4.7, 1e-12);
  ck_assert_double_nan(p->accuracy_share);
  ck_assert_double_nan(s->agreement[1]); /* nothing is drawn anew without accuracies */
  ck_assert(s->low[2] == 6 && s->high[2] == 6);
  xcoder_selection_free(s);
}
END_TEST

START_TEST(ties_are_settled_in_order) {
  static const double right[] = {500, 600, 500, 600};
  const xcoder_select_options options = {.n = 3, .n_proposals = 3, .weight = 1, .bootstrap = 0};
  xcoder_selection *s = NULL;
  ck_ok(xcoder_select(write_accuracy(right, 4), NULL, &options, &s, err));
  /* Each of the three cuts into three blocks leaves one pair of neighbours together, at the same cost: all are
   * proposed, the one whose last block begins first before the others. */
  ck_assert_uint_eq(s->n_proposals, 3);
  ck_assert_double_eq_tol(s->proposal[0].score, s->proposal[2].score, 1e-12);
  ck_assert_uint_eq(s->proposal[0].first[2], 2);
  ck_assert_uint_eq(s->proposal[0].chosen[2], 3);
  ck_assert_double_nan(s->agreement[1]);
  xcoder_selection *again = NULL;
  xcoder_set_threads(3);
  ck_ok(xcoder_select(in_folder("accuracy.csv"), NULL, &options, &again, err));
  xcoder_set_threads(0);
  for (size_t k = 0; k < 3; k++)
    ck_assert_mem_eq(s->proposal[k].chosen, again->proposal[k].chosen, 3 * sizeof(size_t));
  xcoder_selection_free(s);
  xcoder_selection_free(again);
}
END_TEST

START_TEST(few_revisions) {
  static const double right[] = {500, 900}, same[] = {500, 500, 500};
  xcoder_select_options options = {.n = 2, .n_proposals = 3, .weight = 0.5, .bootstrap = 20};
  xcoder_selection *s = NULL;
  xcoder_error error;
  ck_assert_int_eq(xcoder_select(write_accuracy(right, 1), NULL, &options, &s, &error), XCODER_MISMATCH);
  ck_assert_ptr_null(s);
  ck_ok(xcoder_select(write_accuracy(right, 2), NULL, &options, &s, err));
  ck_assert_uint_eq(s->n_proposals, 1);
  ck_assert(s->proposal[0].chosen[0] == 0 && s->proposal[0].chosen[1] == 1);
  ck_assert_double_eq(s->proposal[0].score, 1);
  xcoder_selection_free(s);
  options.n = 3;
  ck_assert_int_eq(xcoder_select(in_folder("accuracy.csv"), NULL, &options, &s, &error), XCODER_MISMATCH);
  ck_assert_ptr_nonnull(strstr(error.message, "2 revisions are left, expected at least 3"));
  ck_assert_int_eq(xcoder_select(write_accuracy(same, 3), NULL, &options, &s, &error), XCODER_MISMATCH);
  ck_assert_ptr_nonnull(strstr(error.message, "differ"));
  ck_assert_int_eq(xcoder_select(NULL, NULL, &options, &s, &error), XCODER_USAGE);
}
END_TEST

/* The best cuts of random tables, found by trying all of them. */
START_TEST(proposals_are_the_best_of_all) {
  const xcoder_select_options options = {.n = 3, .n_proposals = 5, .weight = 0.5, .bootstrap = 0};
  xcoder_selection *s = NULL;
  xci_csv expected;
  read_csv(golden("select.csv"), &expected);
  char accuracy[512];
  snprintf(accuracy, sizeof accuracy, "%s", golden("select-accuracy.csv"));
  ck_ok(xcoder_select(accuracy, golden("select-similarity.csv"), &options, &s, err));
  ck_assert_uint_eq(s->n_proposals, expected.n_rows);
  for (size_t k = 0; k < s->n_proposals; k++) {
    const xcoder_proposal *p = &s->proposal[k];
    /* Costs are differences of sums of some thousand: 1e-13 of them, 1e-9 of what is left. */
    ck_assert_double_eq_tol(p->score, number(&expected, k, "score"), 1e-9);
    ck_assert_double_eq_tol(p->accuracy_share, number(&expected, k, "accuracy_share"), 1e-9);
    ck_assert_double_eq_tol(p->similarity_share, number(&expected, k, "similarity_share"), 1e-9);
    ck_assert_double_eq((double)p->first[1], number(&expected, k, "first_1"));
    ck_assert_double_eq((double)p->first[2], number(&expected, k, "first_2"));
    ck_assert_double_eq((double)p->chosen[0], number(&expected, k, "chosen_0"));
    ck_assert_double_eq((double)p->chosen[1], number(&expected, k, "chosen_1"));
    ck_assert_double_eq((double)p->chosen[2], number(&expected, k, "chosen_2"));
  }
  xcoder_selection_free(s);
  xci_csv_close(&expected);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("selection");
  TCase *similarity = tcase_create("similarity"), *selection = tcase_create("select");
  tcase_set_timeout(similarity, 60);
  tcase_add_test(similarity, similarity_is_that_of_numpy);
  tcase_add_test(similarity, similarity_depends_on_neither_threads_nor_place);
  tcase_add_test(similarity, similarity_needs_two_checkpoints);
  tcase_add_test(similarity, tokens_without_direction_do_not_count);
  tcase_add_checked_fixture(selection, make_folder, remove_folder);
  tcase_add_test(selection, change_points_are_found);
  tcase_add_test(selection, blocks_of_activations_are_found);
  tcase_add_test(selection, ties_are_settled_in_order);
  tcase_add_test(selection, few_revisions);
  tcase_add_test(selection, proposals_are_the_best_of_all);
  suite_add_tcase(suite, similarity);
  suite_add_tcase(suite, selection);
  SRunner *runner = srunner_create(suite);
  srunner_set_fork_status(runner, CK_NOFORK); /* OpenMP */
  srunner_run_all(runner, CK_ENV);
  const int n_failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
