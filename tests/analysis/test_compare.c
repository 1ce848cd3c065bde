/* SPDX-License-Identifier: Apache-2.0 */
/* Comparing: correlations and cosines by their definition, a crosscoder with its features in another order found
 * again whole, an unrelated one not. */
#include "scene.h"

#include "analysis/comparison/compare.h"
#include "analysis/csv_in.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/random.h"
#include "crosscoder/object.h"
#include "formats/json.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { D = 24, LATENTS = 40 };

/* Latent i of the copy is latent (7 i + 3) mod 40 of the original; with `noise` its weights are random instead. */
static xcoder *shuffled_copy(const xcoder *from, bool noise) {
  static const xcoder_tensor tensors[] = {XCODER_W_ENC, XCODER_B_ENC, XCODER_W_DEC, XCODER_B_DEC};
  const xcoder_info *info = xcoder_describe(from);
  xcoder *copy = NULL;
  ck_ok(xcoder_create(N, D, LATENTS, info->layer, info->labels, info->scales, &copy, err));
  for (int t = 0; t < 4; t++) {
    size_t n_values;
    const float *x = xcoder_weights((xcoder *)from, tensors[t], &n_values);
    float *y = xcoder_weights(copy, tensors[t], &n_values);
    for (size_t k = 0; k < n_values; k++) {
      size_t source = k;
      if (tensors[t] == XCODER_W_ENC) source = k / LATENTS * LATENTS + (k % LATENTS * 7 + 3) % LATENTS;
      if (tensors[t] == XCODER_B_ENC) source = (k * 7 + 3) % LATENTS;
      if (tensors[t] == XCODER_W_DEC) source = (k / (N * D) * 7 + 3) % LATENTS * (N * D) + k % (N * D);
      y[k] = noise ? (float)xci_random_normal(9, XCI_STREAM_TEST, k) * 0.5F : x[source];
    }
  }
  xcoder_changed(copy);
  return copy;
}

static void take_dense(const xci_side *side, size_t live, double *out) {
  memset(out, 0, side->n_positions * sizeof *out);
  for (size_t p = 0; p < side->n_positions; p++)
    for (size_t j = side->code[p]; j < side->code[p + 1]; j++)
      if (side->feature[j] == side->live[live]) out[p] = (double)side->value[j];
}

static double pearson(const double *x, const double *y, size_t n) {
  double mx = 0, my = 0, xx = 0, yy = 0, xy = 0;
  for (size_t k = 0; k < n; k++) mx += x[k] / (double)n, my += y[k] / (double)n;
  for (size_t k = 0; k < n; k++) {
    xx += (x[k] - mx) * (x[k] - mx);
    yy += (y[k] - my) * (y[k] - my);
    xy += (x[k] - mx) * (y[k] - my);
  }
  return xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : 0;
}

START_TEST(similarities_follow_their_definitions) {
  scene in;
  xci_side a, b;
  xci_pairing pairing;
  scene_open(&in, NULL);
  xcoder *other = shuffled_copy(in.coder, true);
  xcoder_setting second = in.setting;
  second.coder = other;
  ck_ok(xci_side_open("a", &in.setting, in.held_out, in.run, &a, err));
  ck_ok(xci_side_open("b", &second, in.held_out, in.run, &b, err));
  ck_ok(xci_pair_positions(&a, &b, &pairing, err));
  ck_assert_uint_eq(pairing.n, a.n_positions);
  for (size_t k = 0; k < pairing.n; k++) ck_assert(pairing.a[k] == k && pairing.b[k] == k); /* one tokenizer */
  ck_assert(a.n_live > 10 && b.n_live > 10);
  float *found = malloc(a.n_live * b.n_live * sizeof *found);
  double *x = malloc(a.n_positions * sizeof *x), *y = malloc(b.n_positions * sizeof *y);
  ck_ok(xci_correlations(&a, &b, &pairing, 0, found, err));
  for (size_t i = 0; i < a.n_live; i++)
    for (size_t j = 0; j < b.n_live; j++) {
      take_dense(&a, i, x);
      take_dense(&b, j, y);
      ck_assert_double_eq_tol((double)found[i * b.n_live + j], pearson(x, y, a.n_positions), 1e-6);
    }
  ck_ok(xci_cosines(&a, &b, NULL, found, err));
  for (size_t i = 0; i < a.n_live; i++)
    for (size_t j = 0; j < b.n_live; j++) {
      const float *v = a.w_dec + (size_t)a.live[i] * N * D, *w = b.w_dec + (size_t)b.live[j] * N * D;
      const double cosine = xci_dot(v, w, N * D) / sqrt(xci_dot(v, v, N * D) * xci_dot(w, w, N * D));
      ck_assert_double_eq_tol((double)found[i * b.n_live + j], cosine, 1e-5); /* 72 single-precision terms */
    }
  free(found);
  free(x);
  free(y);
  xci_free(pairing.a);
  xci_free(pairing.b);
  xci_side_close(&a);
  xci_side_close(&b);
  xcoder_free_coder(other);
  scene_close(&in);
}
END_TEST

static double number(const json_t *object, const char *key) { return json_number_value(json_object_get(object, key)); }

/* Where the copy alone has the feature, its RelIE is the same: an interval without width. */
static void check_over_runs(const char *path) {
  size_t n_of_two = 0;
  xci_csv csv;
  ck_ok(xci_csv_open(path, &csv, err));
  for (size_t r = 0; r < csv.n_rows; r++) {
    const double rel_ie = xci_csv_number(&csv, r, xci_csv_column(&csv, "rel_ie"));
    const double examples = xci_csv_number(&csv, r, xci_csv_column(&csv, "low_examples"));
    ck_assert(xci_csv_number(&csv, r, xci_csv_column(&csv, "n_runs")) >= 2);
    ck_assert(examples <= xci_csv_number(&csv, r, xci_csv_column(&csv, "high_examples")));
    if (xci_csv_number(&csv, r, xci_csv_column(&csv, "n_runs")) > 2) continue;
    n_of_two++;
    /* The copy adds up the same products in another order: float rounding of sums of 40 terms. */
    ck_assert_double_eq_tol(xci_csv_number(&csv, r, xci_csv_column(&csv, "low")), rel_ie, 1e-4);
    ck_assert_double_eq_tol(xci_csv_number(&csv, r, xci_csv_column(&csv, "high")), rel_ie, 1e-4);
  }
  ck_assert_uint_gt(n_of_two, 10);
  xci_csv_close(&csv);
}

/* Three values whose interval is known: 0.3 +- 4.302653 * 0.1 / sqrt(3). */
START_TEST(interval_over_runs_is_students) {
  uint32_t feature = 5;
  char *labels[] = {"early", "late"}, name[] = "first", task_name[] = "task";
  double ie[] = {1, 3}, rel_ie[] = {0.2, 0.8}, low[] = {0.1, 0.7}, high[] = {0.3, 0.9};
  char class[1][64] = {"shared:early+late"};
  xci_task_effects task = {.task = task_name, .n_features = 1, .feature = &feature, .ie = ie, .rel_ie = rel_ie,
                           .low = low, .high = high, .class = class};
  const xci_side side = {.name = name, .n = 2, .n_latents = 9, .labels = labels, .n_tasks = 1, .task = &task};
  xci_over_runs over;
  xci_json_out json = {0};
  xci_text csv = {0};
  ck_ok(xci_over_runs_open(&side, 4, &over, err));
  const double others[] = {0.3, NAN, 0.4}; /* one run does not have the feature */
  over.n_alike = 4;
  for (size_t k = 0; k < 3; k++) {
    over.value[0][1 + k] = others[k];
    over.value[0][4 + 1 + k] = 1 - others[k];
  }
  xci_json_open(&json, NULL, '{');
  xci_over_runs_write(&over, &json, &csv);
  xci_json_close(&json, '}');
  xci_over_runs_close(&over);
  double n, mean, from, to;
  const char *row = strstr(csv.bytes, "task,5,early,");
  ck_assert_ptr_nonnull(row);
  ck_assert_int_eq(sscanf(row, "task,5,early,%lf,0.2,0.1,0.3,%lf,%lf,%lf,", &n, &mean, &from, &to), 4);
  ck_assert(n == 3);
  ck_assert_double_eq_tol(mean, 0.3, 1e-12);
  ck_assert_double_eq_tol(from, 0.3 - 4.302653 * 0.1 / sqrt(3), 1e-9);
  ck_assert_double_eq_tol(to, 0.3 + 4.302653 * 0.1 / sqrt(3), 1e-9);
  ck_assert_ptr_nonnull(strstr(row, ",uncertain\n")); /* 0.05 to 0.55 spans the border of sharing */
  ck_assert_ptr_nonnull(strstr(json.text.bytes, "\"n_everywhere\": 0"));
  xci_text_clear(&csv);
  xci_text_clear(&json.text);
}
END_TEST

START_TEST(another_order_is_found_again) {
  scene in;
  xcoder_comparison *comparison;
  xcoder_verdicts verdicts;
  char *bytes;
  size_t n_bytes;
  for (int match = XCODER_MATCH_COSINE; match <= XCODER_MATCH_CORRELATION; match++) {
    scene_open(&in, NULL);
    xcoder *same = shuffled_copy(in.coder, false), *noise = shuffled_copy(in.coder, true);
    xcoder_setting second = in.setting, third = in.setting;
    xcoder_compare_options options;
    second.coder = same;
    third.coder = noise;
    xcoder_compare_defaults(&options);
    options.match = (xcoder_match)match;
    ck_ok(xcoder_attribute(&second, in.pairs, NULL, scene_path(&in, "second"), &verdicts, err));
    xcoder_verdicts_free(&verdicts);
    ck_ok(xcoder_attribute(&in.setting, in.pairs, NULL, in.run, &verdicts, err));
    xcoder_verdicts_free(&verdicts);
    ck_ok(xcoder_comparison_open(&comparison, err));
    ck_ok(xcoder_comparison_add(comparison, "first", &in.setting, in.held_out, in.run, err));
    ck_ok(xcoder_comparison_add(comparison, "second", &second, in.held_out, scene_path(&in, "second"), err));
    ck_assert_int_eq(xcoder_comparison_add(comparison, "second", &second, in.held_out, in.run, NULL), XCODER_USAGE);
    ck_ok(xcoder_comparison_add(comparison, "third", &third, in.held_out, scene_path(&in, "third"), err));
    ck_ok(xcoder_comparison_write(comparison, &options, in.run, err));
    xcoder_comparison_close(comparison);
    ck_ok(xci_read_file(scene_path(&in, "compare.json"), 1 << 24, &bytes, &n_bytes, err));
    json_t *whole = json_loadb(bytes, n_bytes, 0, NULL), *pairs = json_object_get(whole, "pairs");
    const json_t *pair = json_array_get(pairs, 0), *random = json_array_get(pairs, 1);
    ck_assert_double_eq_tol(number(pair, "share_recurring"), 1, 1e-12);
    ck_assert_double_eq_tol(number(pair, "mean_similarity"), 1, 1e-5);
    ck_assert(number(random, "share_recurring") < 0.3); /* forty directions of a random dictionary */
    const json_t *task = json_array_get(json_object_get(pair, "tasks"), 0);
    for (size_t c = 0; c < N; c++) {
      const json_t *row = json_array_get(json_object_get(task, "checkpoints"), c);
      ck_assert_double_eq_tol(number(row, "rel_ie_spearman"), 1, 1e-6);
      ck_assert(number(row, "share") == 1);
    }
    json_decref(whole);
    xci_free(bytes);
    check_over_runs(scene_path(&in, "seeds.csv"));
    xcoder_free_coder(same);
    xcoder_free_coder(noise);
    scene_close(&in);
  }
}
END_TEST

/* A crosscoder with its weights, `scale` in slot 2, called `label`, with thresholds of single features or without. */
static xcoder *gated_copy(const xcoder *from, const char *label, const float *theta, float scale) {
  xcoder *copy = NULL;
  const xcoder_info *info = xcoder_describe(from);
  const char *labels[N] = {info->labels[0], info->labels[1], label};
  const float scales[N] = {info->scales[0], info->scales[1], scale};
  static const xcoder_tensor tensors[] = {XCODER_W_ENC, XCODER_B_ENC, XCODER_W_DEC, XCODER_B_DEC};
  ck_ok(xcoder_create(N, D, LATENTS, info->layer, labels, scales, &copy, err));
  for (int t = 0; t < 4; t++) {
    size_t n;
    const float *x = xcoder_weights((xcoder *)from, tensors[t], &n);
    memcpy(xcoder_weights(copy, tensors[t], &n), x, n * sizeof *x);
  }
  xcoder_changed(copy);
  if (theta) ck_ok(xci_coder_set_activation(copy, XCODER_JUMP_RELU, 0, -1, theta, NULL, err));
  return copy;
}

static char *effects_of(const scene *in, const char *folder, size_t *n) {
  char name[200], *bytes;
  snprintf(name, sizeof name, "%s/effects/%s.csv", folder, xcoder_pairs_name(in->pairs));
  ck_ok(xci_read_file(scene_path(in, name), 1 << 24, &bytes, n, err));
  return bytes;
}

/* Thresholds of single features stay in a transfer: its effects are those of the same crosscoder with the scale that
 * the transfer names, and others than those without thresholds. */
START_TEST(a_transfer_keeps_thresholds) {
  scene in;
  xcoder_verdicts verdicts;
  float theta[LATENTS];
  size_t n[3];
  scene_open(&in, NULL);
  for (size_t i = 0; i < LATENTS; i++) theta[i] = 0.05F * (float)(i % 7);
  xcoder_setting gated = in.setting;
  xcoder *own = gated_copy(in.coder, "late", theta, xcoder_describe(in.coder)->scales[2]);
  gated.coder = own;
  ck_ok(xcoder_attribute(&gated, in.pairs, NULL, in.run, &verdicts, err));
  xcoder_verdicts_free(&verdicts);
  const xcoder_pairs *const tasks[] = {in.pairs};
  char folder[600];
  snprintf(folder, sizeof folder, "%s", scene_path(&in, "moved"));
  ck_ok(xcoder_transfer(&gated, 2, in.models[0], "other", in.held_out, tasks, 1, NULL, 10, in.run, folder, err));
  json_t *whole = NULL;
  ck_ok(xci_json_read(scene_path(&in, "moved/transfer.json"), 1 << 24, &whole, err));
  const float scale = (float)number(whole, "scale");
  ck_assert(scale > 0);
  json_decref(whole);
  xcoder_model *models[N] = {in.models[0], in.models[1], in.models[0]};
  char *bytes[3] = {effects_of(&in, "moved", &n[0]), NULL, NULL};
  for (int gate = 1; gate >= 0; gate--) {
    xcoder *by_hand = gated_copy(in.coder, "other", gate ? theta : NULL, scale);
    const char *name = gate ? "by-hand" : "open";
    xcoder_setting setting = in.setting;
    setting.coder = by_hand;
    setting.models = models;
    snprintf(folder, sizeof folder, "%s", scene_path(&in, name));
    ck_ok(xcoder_attribute(&setting, in.pairs, NULL, folder, &verdicts, err));
    xcoder_verdicts_free(&verdicts);
    bytes[2 - gate] = effects_of(&in, name, &n[2 - gate]);
    xcoder_free_coder(by_hand);
  }
  ck_assert_uint_eq(n[0], n[1]);
  ck_assert_mem_eq(bytes[0], bytes[1], n[0]);
  ck_assert(n[0] != n[2] || memcmp(bytes[0], bytes[2], n[0]) != 0);
  for (size_t k = 0; k < 3; k++) xci_free(bytes[k]);
  xcoder_free_coder(own);
  scene_close(&in);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("compare");
  TCase *tests = tcase_create("compare");
  tcase_add_test(tests, similarities_follow_their_definitions);
  tcase_add_test(tests, another_order_is_found_again);
  tcase_add_test(tests, interval_over_runs_is_students);
  tcase_add_test(tests, a_transfer_keeps_thresholds);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_set_fork_status(runner, CK_NOFORK);
  srunner_run_all(runner, CK_NORMAL);
  const int n_failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return n_failed != 0;
}
