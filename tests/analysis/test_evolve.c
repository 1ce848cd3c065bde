/* SPDX-License-Identifier: Apache-2.0 */
/* Life cycles that were planted are found again; every test rejects at its nominal rate where nothing was planted. */
#include "analysis/csv_in.h"
#include "analysis/evolution/evolve.h"
#include "analysis/statistics.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/random.h"
#include "base/text.h"
#include "formats/json.h"
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { N = 5, EXAMPLES = 40, FEATURES = 60 };

#define ck_ok(call)                                                                 \
  do {                                                                              \
    xcoder_error call_error = {0};                                                  \
    xcoder_error *err = &call_error;                                                \
    const xcoder_status call_status = (call);                                       \
    ck_assert_msg(call_status == XCODER_OK, "%s: %s", #call, call_error.message);   \
  } while (0)

static const xci_borders usual; /* 0: 0.7 and 0.3 */

static uint64_t counter;
static double uniform(void) { return xci_random_uniform(11, XCI_STREAM_TEST, counter++); }
static double normal(void) { return xci_random_normal(12, XCI_STREAM_TEST, counter++); }

START_TEST(cycles_follow_patterns) {
  static const struct {
    uint32_t present; /* bit 0 is the first checkpoint */
    xci_cycle cycle;
  } cases[] = {{0x00, XCI_CYCLE_NONE}, {0x1f, XCI_PERSISTING}, {0x10, XCI_EMERGING}, {0x1c, XCI_EMERGING},
               {0x01, XCI_VANISHING}, {0x07, XCI_VANISHING}, {0x04, XCI_TRANSIENT}, {0x0e, XCI_TRANSIENT},
               {0x11, XCI_REEMERGING}, {0x15, XCI_REEMERGING}, {0x0a, XCI_REEMERGING}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    ck_assert_int_eq(xci_life_cycle(cases[i].present, N), cases[i].cycle);
  ck_assert_int_eq(xci_life_cycle(1, 1), XCI_PERSISTING);
  for (uint32_t present = 1; present < 32; present++) ck_assert_int_ne(xci_life_cycle(present, N), XCI_CYCLE_NONE);
  const double share[] = {0.29, 0.41, 0.30}, five[] = {0.17, 0.18, 0.65, 0, 0};
  ck_assert_uint_eq(xci_present(usual, share, 3), 6);
  ck_assert_uint_eq(xci_present(usual, five, 5), 6);
}
END_TEST

/* n = 3: shared is persisting in the words of the classes, whoever shares; the pattern needs all three. */
START_TEST(shared_is_persisting) {
  static const struct {
    double share[3];
    xci_word word, sharing;
  } cases[] = {{{0.33, 0.33, 0.34}, XCI_WORD_PERSISTING, XCI_SHARED_BY_ALL},
               {{0.1, 0.45, 0.45}, XCI_WORD_PERSISTING, XCI_SHARED_TO_THE_END},
               {{0.45, 0.45, 0.1}, XCI_WORD_PERSISTING, XCI_SHARED_EARLY},
               {{0.45, 0.1, 0.45}, XCI_WORD_PERSISTING, XCI_SHARED_OTHERWISE},
               {{0.1, 0.1, 0.8}, XCI_WORD_EMERGING, XCI_WORD_NEITHER},
               {{0.1, 0.8, 0.1}, XCI_WORD_NEITHER, XCI_WORD_NEITHER},
               {{0.8, 0.1, 0.1}, XCI_WORD_VANISHING, XCI_WORD_NEITHER}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    ck_assert_int_eq(xci_word_of(usual, cases[i].share, 3), cases[i].word);
    ck_assert_int_eq(xci_sharing_of(usual, cases[i].share, 3), cases[i].sharing);
  }
}
END_TEST

/* Lives, words and states follow the borders of the classes; beyond three checkpoints sharing is 3 times it over n. */
START_TEST(lives_follow_the_borders) {
  const xci_borders wide = {0.55, 0.15}, narrow = {0.8, 0.4};
  const double share[] = {0.2, 0.2, 0.6}, four[] = {0.12, 0.12, 0.16, 0.6};
  ck_assert_uint_eq(xci_present(usual, share, 3), 4);
  ck_assert_uint_eq(xci_present(wide, share, 3), 7);
  ck_assert_uint_eq(xci_present(usual, four, 4), 8);
  ck_assert_uint_eq(xci_present(wide, four, 4), 15); /* from 0.1125 */
  ck_assert_int_eq(xci_word_of(wide, share, 3), XCI_WORD_EMERGING); /* specific above 0.55 */
  const double half[] = {0.1, 0.35, 0.55};
  ck_assert_int_eq(xci_sharing_of(usual, half, 3), XCI_SHARED_TO_THE_END);
  ck_assert_int_eq(xci_sharing_of(narrow, half, 3), XCI_WORD_NEITHER);
  ck_assert_int_eq(xci_word_of(narrow, half, 3), XCI_WORD_EMERGING); /* mostly of the last */
  const double two[] = {0.25, 0.75};
  xci_flow cycles[XCI_N_CYCLES], words[XCI_N_WORDS], flows[XCI_N_STATES * XCI_N_STATES];
  ck_ok(xci_flows(usual, two, 1, 2, 9, 1, cycles, words, flows, err));
  ck_assert(flows[2].observed == 1 && cycles[XCI_EMERGING].observed == 1); /* absent to dominant */
  ck_ok(xci_flows(narrow, two, 1, 2, 9, 1, cycles, words, flows, err));
  ck_assert(flows[1].observed == 1);                                       /* absent to present */
  ck_ok(xci_flows(wide, two, 1, 2, 9, 1, cycles, words, flows, err));
  ck_assert(flows[5].observed == 1 && cycles[XCI_PERSISTING].observed == 1); /* present to dominant */
}
END_TEST

/* ---- Planted features in a run directory ---- */

/* Where each kind is present: twelve features of each of five kinds. */
static const uint32_t patterns[5] = {0x1c, 0x1f, 0x03, 0x19, 0x04};
static const xci_cycle planted[5] = {XCI_EMERGING, XCI_PERSISTING, XCI_VANISHING, XCI_REEMERGING, XCI_TRANSIENT};

static void write_file(const char *path, const char *text) {
  xci_writer *writer = NULL;
  ck_ok(xci_writer_open(path, &writer, err));
  ck_ok(xci_writer_write(writer, text, strlen(text), err));
  ck_ok(xci_writer_commit(writer, err));
}

static void write_effects(const char *run, const char *task) {
  static int64_t start[EXAMPLES + 1];
  static int32_t feature[EXAMPLES * FEATURES];
  static float effect[EXAMPLES * FEATURES * N];
  const size_t n_start = EXAMPLES + 1, nnz = EXAMPLES * FEATURES, shape[] = {nnz, N};
  xci_safetensors_writer *writer = NULL;
  char path[200];
  for (size_t e = 0, j = 0; e < EXAMPLES; e++) {
    start[e + 1] = (int64_t)(e + 1) * FEATURES;
    for (size_t i = 0; i < FEATURES; i++, j++) {
      feature[j] = (int32_t)i;
      for (size_t c = 0; c < N; c++) {
        const double mean = patterns[i % 5] >> c & 1 ? 1 : 0.01;
        effect[j * N + c] = (float)(mean * (1 + 0.1 * normal()) * (i % 2 ? -1 : 1));
      }
    }
  }
  snprintf(path, sizeof path, "%s/effects", run);
  ck_ok(xci_make_folder(path, err));
  ck_ok(xci_safetensors_create(&writer, err));
  ck_ok(xci_safetensors_add(writer, "example_start", XCI_I64, 1, &n_start, start, err));
  ck_ok(xci_safetensors_add(writer, "feature", XCI_I32, 1, &nnz, feature, err));
  ck_ok(xci_safetensors_add(writer, "effect", XCI_F32, 2, shape, effect, err));
  snprintf(path, sizeof path, "%s/effects/%s.safetensors", run, task);
  ck_ok(xci_safetensors_write(writer, path, err));
  xci_safetensors_discard(writer);
  snprintf(path, sizeof path, "%s/effects/%s.json", run, task);
  write_file(path, "{\"labels\": [\"a\", \"b\", \"c\", \"d\", \"e\"]}\n");
}

START_TEST(planted_lives_are_found) {
  static const double tokens[N] = {10, 20, 40, 80, 160};
  const xcoder_evolve_options options = {.bootstrap = 200, .permutations = 200, .n_top = 10, .tokens_seen = tokens};
  char run[64], path[128];
  xci_csv csv;
  snprintf(run, sizeof run, "test-evolve-%ld", (long)getpid());
  ck_ok(xci_remove_folder(run, err));
  ck_assert_int_eq(xcoder_evolve(run, &options, NULL, NULL), XCODER_MISSING);
  write_effects(run, "one");
  write_effects(run, "two");
  ck_ok(xcoder_evolve(run, &options, NULL, err));
  snprintf(path, sizeof path, "%s/evolution.csv", run);
  ck_ok(xci_csv_open(path, &csv, err));
  ck_assert_uint_eq(csv.n_rows, 3 * FEATURES);
  const size_t support = xci_csv_column(&csv, "support"), onset = xci_csv_column(&csv, "onset_tokens");
  const size_t before = xci_csv_column(&csv, "onset_tokens_low");
  for (size_t r = 0; r < csv.n_rows; r++) {
    const size_t kind = (size_t)xci_csv_number(&csv, r, 1) % 5;
    size_t first = 0;
    while (!(patterns[kind] >> first & 1)) first++;
    ck_assert_str_eq(xci_csv_at(&csv, r, 0), r < FEATURES ? "all" : r < 2 * FEATURES ? "one" : "two");
    ck_assert_str_eq(xci_csv_at(&csv, r, 2), xci_cycle_names[planted[kind]]);
    ck_assert_double_ge(xci_csv_number(&csv, r, support), 0.95);
    ck_assert_double_eq(xci_csv_number(&csv, r, onset), tokens[first]);
    ck_assert_double_eq(xci_csv_number(&csv, r, before), first ? tokens[first - 1] : 0);
  }
  xci_csv_close(&csv);
  json_t *file = NULL;
  snprintf(path, sizeof path, "%s/evolution.json", run);
  ck_ok(xci_json_read(path, 1 << 24, &file, err));
  const json_t *cycles = json_object_get(json_array_get(json_object_get(file, "tasks"), 0), "cycles");
  ck_assert_uint_eq(json_array_size(cycles), 5);
  for (size_t k = 0; k < 5; k++) {
    ck_assert(json_number_value(json_object_get(json_array_get(cycles, k), "observed")) == FEATURES / 5);
    ck_assert(json_integer_value(json_object_get(json_array_get(cycles, k), "certain")) == FEATURES / 5);
  }
  json_decref(file);
  /* With a border below what absent features hold (0.002 to 0.01), all of them persist. */
  xcoder_evolve_options lower = options;
  lower.shared_border = 0.001;
  ck_ok(xcoder_evolve(run, &lower, NULL, err));
  ck_ok(xci_json_read(path, 1 << 24, &file, err));
  cycles = json_object_get(json_array_get(json_object_get(file, "tasks"), 0), "cycles");
  ck_assert(json_number_value(json_object_get(json_array_get(cycles, 1), "observed")) == FEATURES);
  ck_assert(json_number_value(json_object_get(file, "shared_border")) == 0.001);
  ck_assert(json_number_value(json_object_get(file, "specific_border")) == 0.7);
  json_decref(file);
  /* The same bits with other threads. */
  char *bytes[2];
  size_t n_bytes[2];
  for (int k = 0; k < 2; k++) {
    xcoder_set_threads(k ? 3 : 1);
    ck_ok(xcoder_evolve(run, &options, NULL, err));
    ck_ok(xci_read_file(path, 1 << 24, &bytes[k], &n_bytes[k], err));
  }
  xcoder_set_threads(0);
  ck_assert_uint_eq(n_bytes[0], n_bytes[1]);
  ck_assert_mem_eq(bytes[0], bytes[1], n_bytes[0]);
  xci_free(bytes[0]);
  xci_free(bytes[1]);
  ck_ok(xci_remove_folder(run, err));
}
END_TEST

/* Every allocation fails once; damaged effects are refused. */
START_TEST(failures_are_told) {
  const xcoder_evolve_options options = {.bootstrap = 3, .permutations = 3, .n_top = 3};
  char run[64], path[128];
  snprintf(run, sizeof run, "test-evolve-%ld", (long)getpid());
  write_effects(run, "one");
  for (long n = 1;; n += 1 + n / 8) {
    xci_fail_allocation(n, 0);
    const xcoder_status status = xcoder_evolve(run, &options, NULL, NULL);
    xci_fail_allocation(0, 0);
    if (status == XCODER_OK) break;
    ck_assert_int_eq(status, XCODER_MEMORY);
  }
  snprintf(path, sizeof path, "%s/effects/one.json", run);
  write_file(path, "{\"labels\": [\"a\"]}\n");
  ck_assert_int_eq(xcoder_evolve(run, &options, NULL, NULL), XCODER_FORMAT);
  snprintf(path, sizeof path, "%s/effects/one.safetensors", run);
  write_file(path, "nothing");
  ck_assert_int_eq(xcoder_evolve(run, &options, NULL, NULL), XCODER_FORMAT);
  ck_ok(xci_remove_folder(run, err));
}
END_TEST

/* ---- Nulls: shares of rejections at 5 % and their tolerance, three standard errors of the trials ---- */

static void check_rate(const char *name, size_t n_rejected, size_t n_trials, bool discrete) {
  const double rate = (double)n_rejected / (double)n_trials, error = sqrt(0.05 * 0.95 / (double)n_trials);
  printf("%s: %.2f %% rejected at 5 %%\n", name, 100 * rate);
  ck_assert_msg(rate < 0.05 + 3 * error, "%s: %g", name, rate);
  ck_assert_msg(discrete || rate > 0.05 - 3 * error, "%s: %g", name, rate); /* tests of small counts reject less */
}

/* Shares whose order means nothing: flows and cycles. */
START_TEST(flows_of_nothing_are_not_found) {
  enum { TRIALS = 400, D = 200, M = 3 };
  size_t cycles_rejected = 0, flows_rejected = 0;
  for (size_t trial = 0; trial < TRIALS; trial++) {
    double share[D * M];
    xci_flow cycles[XCI_N_CYCLES], words[XCI_N_WORDS], flows[(M - 1) * XCI_N_STATES * XCI_N_STATES];
    for (size_t i = 0; i < D; i++) {
      double sum = 0;
      for (size_t c = 0; c < M; c++) sum += share[i * M + c] = exp(normal());
      for (size_t c = 0; c < M; c++) share[i * M + c] /= sum;
    }
    ck_ok(xci_flows(usual, share, D, M, 199, trial, cycles, words, flows, err));
    cycles_rejected += cycles[XCI_EMERGING].p <= 0.05;
    flows_rejected += flows[1].p <= 0.05; /* absent to present */
  }
  check_rate("life cycles", cycles_rejected, TRIALS, false);
  check_rate("flows", flows_rejected, TRIALS, false);
}
END_TEST

/* Entropy depends on density, classes do too: the plain test finds that, the matched one must not. */
START_TEST(classes_of_nothing_do_not_differ) {
  enum { TRIALS = 400, D = 240 };
  size_t plain = 0, matched = 0, confounded = 0, covered = 0;
  for (size_t trial = 0; trial < TRIALS; trial++) {
    double value[D], density[D];
    int group[D];
    xci_contrast found;
    for (size_t i = 0; i < D; i++) {
      density[i] = uniform();
      value[i] = floor(20 * uniform()); /* with ties */
      group[i] = uniform() < 0.3;
    }
    ck_ok(xci_contrast_groups(value, density, group, D, 1, 0, 99, trial, &found, err));
    plain += found.p < 0.05;
    matched += found.matched_p <= 0.05;
    covered += found.low <= 0 && 0 <= found.high;
    for (size_t i = 0; i < D; i++) {
      const double tenth = floor(10 * (double)i / D);
      density[i] = tenth;
      value[i] = tenth + normal();
      group[i] = uniform() < 0.1 + 0.08 * tenth;
    }
    ck_ok(xci_contrast_groups(value, density, group, D, 1, 0, 99, trial, &found, err));
    confounded += found.matched_p <= 0.05;
    ck_assert_double_lt(found.p, 0.05);
  }
  check_rate("classes", plain, TRIALS, false);
  check_rate("classes, matched by density", matched, TRIALS, false);
  check_rate("classes that differ in density alone", confounded, TRIALS, false);
  check_rate("interval of Cliff's delta", TRIALS - covered, TRIALS, false);
}
END_TEST

START_TEST(a_difference_is_found) {
  enum { D = 200 };
  double value[D], density[D], pairs = 0;
  int group[D];
  xci_contrast found;
  for (size_t i = 0; i < D; i++) {
    group[i] = i % 3 == 0;
    density[i] = uniform();
    value[i] = normal() + group[i];
  }
  ck_ok(xci_contrast_groups(value, density, group, D, 1, 0, 99, 1, &found, err));
  for (size_t i = 0; i < D; i++)
    for (size_t j = 0; j < D; j++)
      if (group[i] && !group[j]) pairs += value[i] > value[j] ? 1 : value[i] < value[j] ? -1 : 0;
  ck_assert_double_eq_tol(found.delta, pairs / (double)(found.n_first * found.n_second), 1e-12);
  ck_assert(found.p < 1e-3 && found.matched_p <= 0.01 && found.low > 0 && found.low < found.delta);
  ck_assert_uint_eq(found.n_first, 67);
}
END_TEST

/* Sets of languages that have nothing to do with each other. */
START_TEST(overlaps_of_nothing_are_not_found) {
  enum { TRIALS = 500, D = 100, K = 30 };
  size_t n_rejected = 0;
  double expected = 0, sum = 0;
  for (uint64_t trial = 0; trial < TRIALS; trial++) {
    size_t common = 0;
    for (uint64_t r = 0; r < K; r++) common += xci_permute(77, XCI_STREAM_TEST, trial, D, r) < K;
    n_rejected += xci_overlap_p(D, K, K, common, 199, trial, 5, &expected) <= 0.05;
    sum += (double)common;
  }
  ck_assert_double_eq(expected, 9);
  ck_assert_double_eq_tol(sum / TRIALS, expected, 3 * 2.1 / sqrt(TRIALS)); /* sd of the hypergeometric: 2.1 */
  check_rate("overlaps", n_rejected, TRIALS, true);
}
END_TEST

/* Two languages with the same strong features, a third with its own. */
START_TEST(shared_languages_are_found) {
  enum { E = 30, D = 50, M = 2 };
  xci_example_effects task = {.n = M, .n_examples = E, .nnz = E * D};
  char *names[] = {"x", "y", "z"};
  double share[D * M];
  ck_ok(XCI_ALLOC(&task.start, E + 1, err));
  ck_ok(XCI_ALLOC(&task.feature, E * D, err));
  ck_ok(XCI_ALLOC(&task.effect, E * D * M, err));
  ck_ok(XCI_ALLOC(&task.language, E, err));
  for (size_t e = 0; e < E; e++) {
    task.language[e] = (int)(e % 3);
    task.start[e + 1] = (int64_t)(e + 1) * D;
    for (size_t i = 0; i < D; i++) {
      task.feature[e * D + i] = (int32_t)i;
      const bool strong = e % 3 == 2 ? i >= 40 : i < 10;
      for (size_t c = 0; c < M; c++)
        task.effect[(e * D + i) * M + c] = (float)(strong ? 1 + uniform() : 0.01 * uniform());
    }
  }
  for (size_t i = 0; i < D * M; i++) share[i] = uniform();
  const xci_run_effects all = {
      .n = M, .n_features = D, .n_tasks = 1, .task = &task, .n_languages = 3, .languages = names};
  xci_language_life life;
  ck_ok(xci_languages(&all, share, 10, 199, 1, &life, err));
  ck_assert_uint_eq(life.n_overlaps, 6);
  ck_assert(life.overlap[0].count == 10 && life.overlap[0].p < 0.01 && life.overlap[0].jaccard == 1);
  ck_assert(life.overlap[1].count == 0 && life.overlap[1].p == 1);
  ck_assert_uint_eq(life.n_chosen, 20);
  ck_assert(life.n_languages[0] == 2 && life.n_languages[19 * M] == 1);
  ck_assert(life.entropy[0] > 0.55 && life.entropy[0] < 0.75); /* log 2 / log 3 = 0.63 */
  ck_assert_double_lt(life.entropy[19 * M], 0.2);
  ck_assert_double_eq(life.mean_languages[0], 1.5);
  ck_assert(life.rho_p > 0 && life.rho_p <= 1);
  xci_languages_close(&life);
  xci_free(task.start);
  xci_free(task.feature);
  xci_free(task.effect);
  xci_free(task.language);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("evolve");
  TCase *tests = tcase_create("evolve");
  tcase_set_timeout(tests, 300);
  tcase_add_test(tests, cycles_follow_patterns);
  tcase_add_test(tests, shared_is_persisting);
  tcase_add_test(tests, lives_follow_the_borders);
  tcase_add_test(tests, planted_lives_are_found);
  tcase_add_test(tests, failures_are_told);
  tcase_add_test(tests, flows_of_nothing_are_not_found);
  tcase_add_test(tests, classes_of_nothing_do_not_differ);
  tcase_add_test(tests, a_difference_is_found);
  tcase_add_test(tests, overlaps_of_nothing_are_not_found);
  tcase_add_test(tests, shared_languages_are_found);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_set_fork_status(runner, CK_NOFORK); /* libgomp does not survive a fork */
  srunner_run_all(runner, CK_NORMAL);
  const int n_failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return n_failed != 0;
}
