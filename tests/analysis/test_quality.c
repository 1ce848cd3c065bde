/* SPDX-License-Identifier: Apache-2.0 */
/* Evaluation, accuracy, ablation, feature cards and known labels on the golden scene. */
#include "analysis/csv_in.h"
#include "base/memory.h"
#include "base/text.h"
#include "formats/json.h"
#include "scene.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Activations are rounded to bf16 after fp32 arithmetic here and after float64 in the golden values: of some 2000
 * values a few differ by an ulp, 2^-8 of the value. Averages over all tokens move by far less than one such step. */
static const double tolerance = 2e-3;

static json_t *read_json(const scene *in, const char *name) {
  json_t *value = NULL;
  ck_ok(xci_json_read(scene_path(in, name), 1 << 24, &value, err));
  return value;
}

static double number(const json_t *object, const char *key) {
  const json_t *value = json_object_get(object, key);
  ck_assert_msg(json_is_number(value), "%s", key);
  return json_number_value(value);
}

static const json_t *at(const json_t *object, const char *key, size_t index) {
  return json_array_get(json_object_get(object, key), index);
}

START_TEST(evaluation_is_that_of_torch) {
  scene in;
  xcoder_verdicts verdicts;
  const xcoder_eval_options options = {30, 4};
  scene_open(&in, NULL);
  const xcoder_pairs *tasks[] = {in.pairs};
  ck_ok(xcoder_evaluate(&in.setting, in.held_out, tasks, 1, &options, in.run, &verdicts, err));
  ck_assert(verdicts.n >= 1 + N + 1 + N);
  for (size_t i = 0; i < verdicts.n; i++) ck_assert((verdicts.item[i].remedy[0] == 0) == verdicts.item[i].pass);
  xcoder_verdicts_free(&verdicts);
  json_t *eval = read_json(&in, "eval.json");
  float *l0 = scene_golden(&in, "eval.l0", NULL), *dead = scene_golden(&in, "eval.dead", NULL);
  float *pooled = scene_golden(&in, "eval.ev_pooled", NULL), *mean = scene_golden(&in, "eval.ev_mean", NULL);
  float *ce = scene_golden(&in, "eval.ce", NULL), *own = scene_golden(&in, "difference.own", NULL);
  ck_assert(number(eval, "n_batches") == 2 && number(eval, "n_tokens") == 88);
  ck_assert_double_eq_tol(number(json_object_get(eval, "l0"), "mean"), (double)*l0, tolerance * 40);
  ck_assert_double_eq_tol(number(json_object_get(eval, "dead"), "count"), (double)*dead, 0.5);
  const json_t *ev_pooled = json_object_get(eval, "ev_pooled"), *ev_mean = json_object_get(eval, "ev_mean");
  ck_assert_double_eq_tol(number(ev_pooled, "mean"), (double)pooled[N], tolerance * fabs((double)pooled[N]));
  ck_assert_double_eq_tol(number(ev_mean, "mean"), (double)mean[N], tolerance * fabs((double)mean[N]));
  for (size_t c = 0; c < N; c++) {
    static const char *const keys[] = {"clean", "spliced", "blanked"};
    const double a = json_number_value(at(ev_pooled, "per_checkpoint", c));
    const double b = json_number_value(at(ev_mean, "per_checkpoint", c));
    ck_assert_double_eq_tol(a, (double)pooled[c], tolerance * fabs((double)pooled[c]));
    ck_assert_double_eq_tol(b, (double)mean[c], tolerance * fabs((double)mean[c]));
    for (size_t k = 0; k < 3; k++)
      ck_assert_double_eq_tol(number(at(eval, "cross_entropy", c), keys[k]), (double)ce[c * 3 + k], tolerance * 10);
    ck_assert_double_eq_tol(number(at(eval, "cross_entropy", c), "clean"), (double)ce[c * 3], 1e-5 * 10); /* no bf16 */
    double difference = 0;
    for (size_t k = 0; k < E; k++) difference += (double)own[c * E + k] / E;
    const json_t *task = at(at(eval, "tasks", 0), "checkpoints", c);
    ck_assert_double_eq_tol(number(task, "logit_difference_clean"), difference, 1e-5 * 10);
  }
  uint64_t fired = 0;
  for (size_t i = 0; i < 24; i++)
    fired += (uint64_t)json_integer_value(at(json_object_get(eval, "density_histogram"), "counts", i));
  ck_assert_uint_eq(fired, 40 - (uint64_t)*dead);
  float *const all[] = {l0, dead, pooled, mean, ce, own};
  for (size_t i = 0; i < 6; i++) xci_free(all[i]);
  json_decref(eval);
  scene_close(&in);
}
END_TEST

START_TEST(accuracy_counts_and_groups) {
  static const char *const labels[N] = {"early", "middle", "late"};
  scene in;
  xci_csv csv;
  uint8_t correct[E];
  double difference[E];
  xcoder_accuracy accuracy;
  scene_open(&in, NULL);
  float *own = scene_golden(&in, "difference.own", NULL);
  uint64_t n_correct = 0;
  ck_ok(xcoder_measure_accuracy(in.models[1], in.pairs, correct, difference, &accuracy, NULL, err));
  for (size_t k = 0; k < E; k++) {
    ck_assert_double_eq_tol(difference[k], (double)own[E + k], 1e-5 * 10);
    ck_assert(correct[k] == (own[E + k] >= 0));
    n_correct += correct[k];
  }
  ck_assert(accuracy.n == E && accuracy.n_correct == n_correct);
  ck_assert(accuracy.low <= accuracy.accuracy && accuracy.accuracy <= accuracy.high);
  const xcoder_pairs *tasks[] = {in.pairs};
  ck_ok(xci_make_folder(in.run, err));
  ck_ok(xcoder_write_accuracy(in.models, labels, N, tasks, 1, scene_path(&in, "accuracy.csv"), NULL, err));
  ck_ok(xci_csv_open(scene_path(&in, "accuracy.csv"), &csv, err));
  ck_assert_uint_eq(csv.n_rows, N * 3); /* two groups and all */
  ck_assert_str_eq(xci_csv_at(&csv, 5, 3), "all");
  ck_assert_str_eq(xci_csv_at(&csv, 5, 2), "xx");
  ck_assert_str_eq(xci_csv_at(&csv, 3, 3), "g0");
  ck_assert(xci_csv_number(&csv, 3, 4) == 3 && xci_csv_number(&csv, 5, 5) == (double)n_correct);
  xci_csv_close(&csv);
  xci_free(own);
  scene_close(&in);
}
END_TEST

START_TEST(ablation_is_that_of_torch) {
  static const uint32_t features[] = {0, 3, 7, 8, 11, 19, 20, 25, 31, 39};
  enum { F = 10 };
  scene in;
  xci_csv csv;
  xcoder_verdicts verdicts;
  char path[128];
  scene_open(&in, NULL);
  float *clean = scene_golden(&in, "difference.clean", NULL), *ablated = scene_golden(&in, "difference.ablated", NULL);
  ck_ok(xcoder_attribute(&in.setting, in.pairs, NULL, in.run, &verdicts, err));
  xcoder_verdicts_free(&verdicts);
  ck_ok(xcoder_ablate(&in.setting, in.pairs, features, F, NULL, in.run, &verdicts, err));
  xcoder_verdicts_free(&verdicts);
  snprintf(path, sizeof path, "ablation/%s.csv", xcoder_pairs_name(in.pairs));
  ck_ok(xci_csv_open(scene_path(&in, path), &csv, err));
  ck_assert_uint_eq(csv.n_rows, F * N);
  for (size_t f = 0; f < F; f++) {
    double share = 0;
    for (size_t c = 0; c < N; c++) {
      double before = 0, after = 0;
      for (size_t k = 0; k < E; k++) {
        before += (double)clean[c * E + k] / E;
        after += (double)ablated[(features[f] * N + c) * E + k] / E;
      }
      ck_assert_double_eq_tol(xci_csv_number(&csv, f * N + c, 4), before, 0.05);
      ck_assert_double_eq_tol(xci_csv_number(&csv, f * N + c, 5), after, 0.05);
      ck_assert_double_eq_tol(xci_csv_number(&csv, f * N + c, 6), after - before, 0.02);
      share += xci_csv_number(&csv, f * N + c, 7);
      ck_assert(xci_csv_number(&csv, f * N + c, 8) >= 0); /* RelIE was found */
    }
    ck_assert_double_eq_tol(share, 1, 1e-12);
  }
  snprintf(path, sizeof path, "ablation/%s.json", xcoder_pairs_name(in.pairs));
  json_t *summary = read_json(&in, path);
  ck_assert(number(at(summary, "spearman", 0), "n") == F);
  for (size_t c = 0; c < N; c++) { /* Pearson of IE and the exact change, from the numbers of the table */
    double n = 0, x = 0, y = 0, xx = 0, yy = 0, xy = 0;
    for (size_t f = 0; f < F; f++) {
      const double exact = -xci_csv_number(&csv, f * N + c, 6), ie = xci_csv_number(&csv, f * N + c, 10);
      if (isnan(ie)) continue; /* active nowhere in the task */
      n += 1;
      x += exact;
      y += ie;
      xx += exact * exact;
      yy += ie * ie;
      xy += exact * ie;
    }
    const double pearson = (n * xy - x * y) / sqrt((n * xx - x * x) * (n * yy - y * y));
    ck_assert(n >= 2 && number(at(summary, "spearman", c), "exact_n") == n);
    ck_assert_double_eq_tol(number(at(summary, "spearman", c), "exact_pearson"), pearson, 1e-9);
  }
  json_decref(summary);
  xci_csv_close(&csv);
  xci_free(clean);
  xci_free(ablated);
  const uint32_t missing = 40;
  ck_assert_int_eq(xcoder_ablate(&in.setting, in.pairs, &missing, 1, NULL, in.run, &verdicts, NULL), XCODER_USAGE);
  scene_close(&in);
}
END_TEST

/* A card's numbers against the dense features of the same corpus. */
static void check_card(const scene *in, const json_t *card, const float *dense, size_t n_tokens) {
  const size_t feature = (size_t)number(card, "feature"), n_latents = xcoder_describe(in->coder)->n_latents;
  size_t fired = 0, counted = 0;
  float max = 0;
  for (size_t t = 0; t < n_tokens; t++) {
    fired += dense[t * n_latents + feature] > 0;
    max = fmaxf(max, dense[t * n_latents + feature]);
  }
  ck_assert_double_eq_tol(number(card, "density"), (double)fired / (double)n_tokens, 1e-12);
  ck_assert_double_eq_tol(number(card, "max"), (double)max, 1e-5 * (double)max);
  const json_t *counts = json_object_get(json_object_get(card, "histogram"), "counts");
  for (size_t i = 0; i < json_array_size(counts); i++) counted += (size_t)json_integer_value(json_array_get(counts, i));
  ck_assert_uint_eq(counted, fired);
  ck_assert_uint_eq(json_array_size(json_object_get(card, "promoted")), N);
  ck_assert_uint_eq(json_array_size(at(card, "promoted", 0)), 4);
  ck_assert(number(json_array_get(at(card, "promoted", 0), 0), "logit") >=
            number(json_array_get(at(card, "promoted", 0), 3), "logit"));
  ck_assert(number(at(card, "nearest", 0), "cosine") <= 1);
  ck_assert(number(at(card, "nearest", 0), "feature") != (double)feature);
  const json_t *contexts = json_object_get(card, "contexts");
  double before = INFINITY;
  for (size_t k = 0; k < json_array_size(contexts); k++) {
    const json_t *context = json_array_get(contexts, k);
    const double peak = json_number_value(at(context, "activation", (size_t)number(context, "peak")));
    double shares = 0;
    for (size_t c = 0; c < N; c++)
      shares += json_number_value(json_array_get(at(context, "per_checkpoint", c), (size_t)number(context, "peak")));
    size_t n;
    const float *b = xcoder_weights(in->coder, XCODER_B_ENC, &n);
    ck_assert(peak > 0 && peak <= before);
    ck_assert_double_eq_tol(peak, shares + (double)b[feature], 1e-4); /* shares and bias make the activation */
    ck_assert_uint_eq(json_array_size(json_object_get(context, "tokens")),
                      json_array_size(json_object_get(context, "activation")));
    if (k == 0) ck_assert_double_eq_tol(peak, (double)max, 1e-5 * (double)max);
    before = peak;
  }
}

START_TEST(cards_describe_features) {
  static const uint32_t features[] = {3, 17, 3};
  const xcoder_features_options options = {.n_contexts = 5, .context_before = 3, .context_after = 2, .n_logits = 4};
  scene in;
  xci_bench bench;
  xci_stretch s;
  xci_csv csv;
  float *dense = NULL;
  scene_open(&in, NULL);
  ck_ok(xcoder_describe_features(&in.setting, in.held_out, features, 3, &options, in.run, err));
  json_t *file = read_json(&in, "features/features.json");
  ck_assert_uint_eq(json_array_size(json_object_get(file, "features")), 2); /* one was named twice */
  ck_ok(xci_bench_open(&in.setting, &bench, err));
  ck_ok(xci_stretch_open(&bench, in.held_out, 0, 8, XCI_CODES, &s, err));
  ck_ok(XCI_ALLOC(&dense, s.n_unmasked * bench.n_latents, err));
  for (size_t k = 0; k < s.n_unmasked; k++)
    for (size_t j = s.codes.start[k]; j < s.codes.start[k + 1]; j++)
      dense[k * bench.n_latents + s.codes.index[j]] = s.codes.value[j];
  for (size_t k = 0; k < 2; k++) check_card(&in, at(file, "features", k), dense, s.n_unmasked);
  ck_ok(xci_csv_open(scene_path(&in, "features/features.csv"), &csv, err));
  ck_assert(csv.n_rows > 2 && csv.n_columns == 7 + 5 * N);
  xci_csv_close(&csv);
  xci_free(dense);
  xci_stretch_close(&s);
  json_decref(file);
  scene_close(&in);
}
END_TEST

START_TEST(known_labels_are_found) {
  static const uint32_t features[] = {5, 9};
  scene in;
  xci_csv csv;
  scene_open(&in, NULL);
  ck_ok(xcoder_compare_known(&in.setting, in.gold_path, features, 2, 3, in.run, err));
  json_t *file = read_json(&in, "known.json");
  ck_assert(number(file, "n_sentences") == 64);
  for (size_t c = 0; c < N; c++) { /* the label is in the token at the position itself: a probe cannot miss it */
    const json_t *checkpoint = at(file, "checkpoints", c);
    ck_assert(number(checkpoint, "probe") == 1);
    ck_assert(number(json_object_get(checkpoint, "single"), "auc") > 0.9);
    ck_assert(number(checkpoint, "floor") > 0.35 && number(checkpoint, "floor") < 0.65);
    ck_assert_uint_eq(json_array_size(json_object_get(checkpoint, "conditions")),
                      6); /* two of all, two parts of two languages */
    ck_assert_str_eq(json_string_value(json_object_get(at(checkpoint, "conditions", 3), "condition")), "yy");
    const json_t *heldout = at(checkpoint, "conditions", 5); /* half of 32 sentences; all of them are measured */
    ck_assert_str_eq(json_string_value(json_object_get(heldout, "condition")), "yy, heldout nouns");
    ck_assert(number(heldout, "n") == 16);
    ck_assert(number(heldout, "low") <= number(heldout, "single") && number(heldout, "single") <= number(heldout, "hig"
                                                                                                                  "h"));
  }
  ck_ok(xci_csv_open(scene_path(&in, "known.csv"), &csv, err));
  ck_assert_uint_eq(csv.n_rows, N * (7 * 5 + 1));
  xci_csv_close(&csv);
  json_decref(file);
  scene_close(&in);
}
END_TEST

static xcoder_status read_gold(const scene *in, const char *line, xcoder_error *error) {
  xci_text text = {0};
  xci_writer *writer = NULL;
  for (int k = 0; k < 8; k++) xci_text_format(&text, "%s\n", line);
  ck_ok(xci_make_folder(in->run, err));
  ck_ok(xci_writer_open(scene_path(in, "gold.jsonl"), &writer, err));
  ck_ok(xci_writer_write(writer, text.bytes, text.n_bytes, err));
  ck_ok(xci_writer_commit(writer, err));
  xci_text_clear(&text);
  return xcoder_compare_known(&in->setting, scene_path(in, "gold.jsonl"), NULL, 0, 3, in->run, error);
}

START_TEST(bad_labels_are_refused) {
  static const struct {
    const char *line;
    xcoder_status status;
    const char *word;
  } cases[] = {
      {"{\"ids\":[5,6],\"predict_index\":1,\"subject_number\":\"sg\"}", XCODER_OK, ""}, /* a valid control */
      {"{\"tokens\":[\"a\",\"b\"],\"predict_index\":1,\"subject_number\":\"pl\"}", XCODER_OK, ""},
      {"{\"ids\":[5,6],\"predict_index\":2,\"subject_number\":\"sg\"}", XCODER_FORMAT, "predict_index"},
      {"{\"ids\":[5,-6],\"predict_index\":1,\"subject_number\":\"sg\"}", XCODER_FORMAT, "ids"},
      {"{\"ids\":[5,6],\"predict_index\":1,\"subject_number\":\"dual\"}", XCODER_FORMAT, "sg"},
      {"{\"ids\":[5,6],\"predict_index\":1}", XCODER_FORMAT, "subject_number"},
      {"{\"predict_index\":1,\"subject_number\":\"sg\"}", XCODER_FORMAT, "ids"},
      {"{\"tokens\":[\"ab\",\"b\"],\"predict_index\":1,\"subject_number\":\"pl\"}", XCODER_MISMATCH, "tokens"},
      {"{\"ids\":[5,600],\"predict_index\":1,\"subject_number\":\"sg\"}", XCODER_MISMATCH, "600"},
      {"[1]", XCODER_FORMAT, "object"},
      {"{", XCODER_FORMAT, "line 1"},
  };
  scene in;
  scene_open(&in, NULL);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    xcoder_error err = {0};
    const xcoder_status status = read_gold(&in, cases[i].line, &err);
    ck_assert_msg(status == cases[i].status, "%s: %d %s", cases[i].line, (int)status, err.message);
    ck_assert_msg(strstr(err.message, cases[i].word) != NULL, "%s: %s", cases[i].line, err.message);
  }
  scene_close(&in);
}
END_TEST

START_TEST(a_setting_must_fit) {
  scene in;
  xcoder_verdicts verdicts;
  xcoder *narrow;
  scene_open(&in, NULL);
  ck_ok(xcoder_create(N, 12, 8, 0, NULL, NULL, &narrow, err));
  in.setting.coder = narrow;
  ck_assert_int_eq(xcoder_attribute(&in.setting, in.pairs, NULL, in.run, &verdicts, NULL), XCODER_MISMATCH);
  xcoder_free_coder(narrow);
  ck_ok(xcoder_create(N, 24, 8, 3, NULL, NULL, &narrow, err));
  in.setting.coder = narrow;
  ck_assert_int_eq(xcoder_attribute(&in.setting, in.pairs, NULL, in.run, &verdicts, NULL), XCODER_USAGE);
  xcoder_free_coder(narrow);
  in.setting.coder = in.coder;
  const xcoder_attribute_options many = {.quadrature = XCODER_LEFT, .n_steps = 100000};
  ck_assert_int_eq(xcoder_attribute(&in.setting, in.pairs, &many, in.run, &verdicts, NULL), XCODER_USAGE);
  scene_close(&in);
}
END_TEST

/* Each allocation of an analysis fails once: the call says so and leaves no file. */
START_TEST(allocations_may_fail) {
  static const uint32_t features[] = {3, 17};
  const xcoder_attribute_options options = {
      .quadrature = XCODER_LEFT, .n_steps = 2, .baseline = XCODER_MEAN, .bootstrap = 5};
  scene in;
  scene_open(&in, NULL);
  const xcoder_pairs *tasks[] = {in.pairs};
  for (int what = 0; what < 5; what++)
    for (long n = 1;; n += 1 + n / 2) {
      xcoder_verdicts verdicts = {0};
      xcoder_status status;
      xci_fail_allocation(n, 0);
      if (what == 0) status = xcoder_attribute(&in.setting, in.pairs, &options, in.run, &verdicts, NULL);
      else if (what == 1) status = xcoder_evaluate(&in.setting, in.held_out, tasks, 1, NULL, in.run, &verdicts, NULL);
      else if (what == 2) status = xcoder_ablate(&in.setting, in.pairs, features, 2, NULL, in.run, &verdicts, NULL);
      else if (what == 3)
        status = xcoder_describe_features(&in.setting, in.held_out, features, 2, NULL, in.run, NULL);
      else status = xcoder_compare_known(&in.setting, in.gold_path, features, 2, 0, in.run, NULL);
      xci_fail_allocation(0, 0);
      xcoder_verdicts_free(&verdicts);
      if (status == XCODER_OK) break;
      ck_assert_msg(status == XCODER_MEMORY, "analysis %d, allocation %ld: %d", what, n, (int)status);
    }
  scene_close(&in);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("quality");
  TCase *tests = tcase_create("quality");
  tcase_add_test(tests, evaluation_is_that_of_torch);
  tcase_add_test(tests, accuracy_counts_and_groups);
  tcase_add_test(tests, ablation_is_that_of_torch);
  tcase_add_test(tests, cards_describe_features);
  tcase_add_test(tests, known_labels_are_found);
  tcase_add_test(tests, bad_labels_are_refused);
  tcase_add_test(tests, a_setting_must_fit);
  tcase_add_test(tests, allocations_may_fail);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_set_fork_status(runner, CK_NOFORK); /* libgomp does not survive a fork */
  srunner_run_all(runner, CK_NORMAL);
  const int n_failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return n_failed != 0;
}
