/* SPDX-License-Identifier: Apache-2.0 */
/* Indirect effects against torch autograd in float64 through whole models (make_golden.py), and their identities. */
#include "analysis/quality/accuracy.h"
#include "analysis/attribution/effects.h"
#include "analysis/csv_in.h"
#include "base/memory.h"
#include "scene.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* The two stretches from the activations that the golden values start from. */
typedef struct prompts {
  xci_bench bench;
  xci_stretch s, counter;
  uint32_t right[E], wrong[E];
} prompts;

static void open_prompts(scene *in, prompts *p) {
  size_t start[E + 1] = {0};
  float *hidden = scene_golden(in, "hidden.prompts", NULL), *others = scene_golden(in, "hidden.others", NULL);
  for (size_t k = 0; k < E; k++) start[k + 1] = start[k] + xcoder_pairs_get(in->pairs, k)->n_prefix;
  ck_ok(xci_bench_open(&in->setting, &p->bench, err));
  ck_ok(xci_stretch_from(&p->bench, start, E, hidden, XCI_DECODED, &p->s, err));
  ck_ok(xci_stretch_from(&p->bench, start, E, others, XCI_DECODED, &p->counter, err));
  xci_answers(in->pairs, NULL, 0, E, p->right, p->wrong);
  xci_free(hidden);
  xci_free(others);
}

static void close_prompts(prompts *p) {
  xci_stretch_close(&p->s);
  xci_stretch_close(&p->counter);
}

/* Means over the golden activations themselves. */
static void set_means(const prompts *p, xci_path *path) {
  const size_t width = p->bench.n * p->bench.d_model;
  const double n = (double)p->s.n_unmasked;
  ck_ok(XCI_ALLOC(&path->mean_code, p->bench.n_latents, err));
  ck_ok(XCI_ALLOC(&path->mean_hidden, width, err));
  ck_ok(XCI_ALLOC(&path->mean_error, width, err));
  for (size_t k = 0; k < p->s.n_unmasked; k++) {
    for (size_t j = 0; j < width; j++) {
      const double x = (double)p->s.hidden[p->s.row[k] * width + j];
      path->mean_hidden[j] += x / n;
      path->mean_error[j] += (x - (double)p->s.decoded[k * width + j]) / n;
    }
    for (size_t j = p->s.codes.start[k]; j < p->s.codes.start[k + 1]; j++)
      path->mean_code[p->s.codes.index[j]] += (double)p->s.codes.value[j] / n;
  }
}

static void attribute(const prompts *p, xcoder_quadrature rule, xcoder_baseline baseline, xci_effects *effects) {
  const xcoder_attribute_options options = {.quadrature = rule, .n_steps = 10, .baseline = baseline};
  const xci_stretch *counter = xci_path_has_counter(baseline) ? &p->counter : NULL;
  xci_path path;
  xci_node_effects nodes;
  ck_ok(xci_path_open(&options, &path, err));
  if (baseline == XCODER_MEAN) set_means(p, &path);
  ck_ok(xci_effects_open(&p->bench, E, effects, err));
  ck_ok(xci_node_effects_open(&p->bench, &path, &p->s, counter, p->right, p->wrong, &nodes, err));
  ck_ok(xci_effects_add(&p->bench, &path, &p->s, counter, &nodes, effects, err));
  xci_node_effects_close(&nodes);
  xci_path_close(&path);
}

/* Errors of fp32 act at the scale of the products: sum_t |f| |gbar| |W|. The bound is that of METHOD section 6. */
static void compare_features(const scene *in, const char *name, const xci_effects *e) {
  char key[64];
  snprintf(key, sizeof key, "%s.ie", name);
  float *wanted = scene_golden(in, key, NULL);
  snprintf(key, sizeof key, "%s.scale", name);
  float *scale = scene_golden(in, key, NULL);
  double worst = 0;
  for (size_t k = 0; k < E; k++) {
    size_t j = e->start[k];
    for (size_t i = 0; i < e->n_latents; i++) {
      const bool stored = j < e->start[k + 1] && e->feature[j] == i;
      for (size_t c = 0; c < N; c++) {
        const size_t at = (k * e->n_latents + i) * N + c;
        const double found = stored ? (double)e->effect[j * N + c] : 0;
        const double error = fabs(found - (double)wanted[at]);
        ck_assert_msg(error <= 1e-5 * (double)scale[at], "%s: example %zu feature %zu checkpoint %zu: %g, expected %g "
                      "(scale %g)", name, k, i, c, found, (double)wanted[at], (double)scale[at]);
        if (scale[at] > 0) worst = fmax(worst, error / (double)scale[at]);
      }
      j += stored;
    }
    ck_assert_uint_eq(j, e->start[k + 1]);
  }
  ck_assert(worst > 0); /* something was compared */
  xci_free(wanted);
  xci_free(scale);
}

/* Nodes that sum over all d_model products and metrics themselves: 1e-5 of the largest of their kind. */
static void compare_cells(const scene *in, const char *name, const char *kind, const float *found) {
  char key[64];
  snprintf(key, sizeof key, "%s.%s", name, kind);
  float *wanted = scene_golden(in, key, NULL);
  double largest = 0;
  for (size_t k = 0; k < E * N; k++) largest = fmax(largest, fabs((double)wanted[k]));
  for (size_t k = 0; k < E * N; k++)
    ck_assert_msg(fabs((double)found[k] - (double)wanted[k]) <= 1e-5 * (1 + largest), "%s %zu: %g, expected %g", key, k,
                  (double)found[k], (double)wanted[k]);
  xci_free(wanted);
}

START_TEST(effects_are_those_of_autograd) {
  static const struct {
    const char *name;
    xcoder_quadrature rule;
    xcoder_baseline baseline;
  } cases[] = {{"left", XCODER_LEFT, XCODER_ZERO},
               {"midpoint", XCODER_MIDPOINT, XCODER_ZERO},
               {"trapezoid", XCODER_TRAPEZOID, XCODER_ZERO},
               {"legendre", XCODER_LEGENDRE, XCODER_ZERO},
               {"gradient", XCODER_GRADIENT, XCODER_ZERO},
               {"gauss", XCODER_GAUSS, XCODER_ZERO},
               {"origin", XCODER_GAUSS, XCODER_ORIGIN},
               {"mean", XCODER_GAUSS, XCODER_MEAN},
               {"counterfactual", XCODER_GAUSS, XCODER_COUNTERFACTUAL},
               {"counterfactual", XCODER_GAUSS, XCODER_RESAMPLED}}; /* the same path, to other prompts */
  scene in;
  prompts p;
  scene_open(&in, NULL);
  for (int folded = 0; folded < 2; folded++) {
    if (folded) ck_ok(xcoder_fold(in.coder, err));
    open_prompts(&in, &p);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
      xci_effects e;
      attribute(&p, cases[i].rule, cases[i].baseline, &e);
      compare_features(&in, cases[i].name, &e);
      compare_cells(&in, cases[i].name, "error", e.error);
      compare_cells(&in, cases[i].name, "bias", e.bias);
      compare_cells(&in, cases[i].name, "clean", e.clean);
      compare_cells(&in, cases[i].name, "baseline", e.baseline);
      xci_effects_close(&e);
    }
    close_prompts(&p);
  }
  scene_close(&in);
}
END_TEST

/* Of the whole path from models to the table, whose activations differ by an ulp of bf16 here and there. A single
 * effect that crosses 0.1 by that changes its average by more than that, so two may. */
START_TEST(the_average_of_the_authors) {
  scene in;
  xcoder_verdicts verdicts;
  xci_csv csv;
  char path[128];
  const xcoder_attribute_options options = {
      .quadrature = XCODER_LEFT, .n_steps = 10, .authors = true, .batch_keys = 17};
  scene_open(&in, NULL);
  ck_ok(xcoder_attribute(&in.setting, in.pairs, &options, in.run, &verdicts, err));
  snprintf(path, sizeof path, "effects/%s.csv", xcoder_pairs_name(in.pairs));
  ck_ok(xci_csv_open(scene_path(&in, path), &csv, err));
  float *wanted = scene_golden(&in, "authors.ie", NULL), *scale = scene_golden(&in, "left.scale", NULL);
  const size_t n_latents = xcoder_describe(in.coder)->n_latents;
  size_t n_zero = 0, n_far = 0;
  for (size_t r = 0; r < csv.n_rows; r++)
    for (size_t c = 0; c < N; c++) {
      const size_t i = (size_t)xci_csv_number(&csv, r, 0);
      const double found = xci_csv_number(&csv, r, 1 + c);
      double size = 0;
      for (size_t k = 0; k < E; k++) size += (double)scale[(k * n_latents + i) * N + c] / E;
      n_zero += wanted[i * N + c] == 0 && found == 0;
      n_far += fabs(found - (double)wanted[i * N + c]) > ldexp(size, -8);
    }
  ck_assert(n_zero > 0 && n_zero < csv.n_rows * N);
  ck_assert_uint_le(n_far, 2);
  xci_free(wanted);
  xci_free(scale);
  xci_csv_close(&csv);
  xcoder_verdicts_free(&verdicts);
  scene_close(&in);
}
END_TEST

static double mean_gap(const xci_effects *e) {
  double sum = 0;
  for (size_t c = 0; c < N; c++) {
    xci_effects_summary summary;
    xci_effects_summarise(e, c, &summary);
    ck_assert(summary.gap <= summary.gap_examples);
    sum += summary.gap_examples;
  }
  return sum;
}

/* These random models are far less smooth along the path than trained ones, and still: */
START_TEST(gauss_closes_the_gap) {
  scene in;
  prompts p;
  xci_effects left, gauss, fine;
  xci_path path;
  xci_node_effects nodes;
  const xcoder_attribute_options options = {.quadrature = XCODER_GAUSS, .n_steps = 60};
  scene_open(&in, NULL);
  open_prompts(&in, &p);
  attribute(&p, XCODER_LEFT, XCODER_ZERO, &left);
  attribute(&p, XCODER_GAUSS, XCODER_ZERO, &gauss);
  ck_assert(mean_gap(&gauss) <= 0.1 * mean_gap(&left));
  ck_ok(xci_path_open(&options, &path, err));
  ck_ok(xci_effects_open(&p.bench, E, &fine, err));
  ck_ok(xci_node_effects_open(&p.bench, &path, &p.s, NULL, p.right, p.wrong, &nodes, err));
  ck_ok(xci_effects_add(&p.bench, &path, &p.s, NULL, &nodes, &fine, err));
  ck_assert(mean_gap(&fine) <= 1e-3 * mean_gap(&left)); /* effects sum to the whole change of the metric */
  xci_node_effects_close(&nodes);
  xci_path_close(&path);
  xci_effects_close(&fine);
  xci_effects_close(&left);
  xci_effects_close(&gauss);
  close_prompts(&p);
  scene_close(&in);
}
END_TEST

/* With a tolerance the gap of every example closes, where the rule is poor and the path ends in a point, too. */
START_TEST(doubled_nodes_close_every_gap) {
  static const xcoder_attribute_options cases[] = {
      {.quadrature = XCODER_GAUSS, .n_steps = 4, .baseline = XCODER_ORIGIN, .tolerance = 0.01},
      {.quadrature = XCODER_MIDPOINT, .n_steps = 10, .tolerance = 0.02}};
  scene in;
  prompts p;
  scene_open(&in, NULL);
  open_prompts(&in, &p);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    size_t n_open = 0;
    for (int fixed = 0; fixed < 2; fixed++) {
      xcoder_attribute_options options = cases[i];
      if (fixed) options.tolerance = 0;
      xci_effects e;
      xci_path path;
      xci_node_effects nodes;
      ck_ok(xci_path_open(&options, &path, err));
      ck_ok(xci_effects_open(&p.bench, E, &e, err));
      ck_ok(xci_node_effects_open(&p.bench, &path, &p.s, NULL, p.right, p.wrong, &nodes, err));
      ck_ok(xci_effects_add(&p.bench, &path, &p.s, NULL, &nodes, &e, err));
      for (size_t k = 0; k < E * N; k++) {
        const double clean = nodes.clean[k], baseline = nodes.baseline[k];
        const double size = fmax(fabs(baseline - clean), (fabs(clean) + fabs(baseline)) / 2);
        /* The gap of the gradient's integral, less what rounding adds to the sum over features. */
        if (fixed) n_open += fabs(e.gap[k]) > cases[i].tolerance * size;
        else ck_assert_double_le(fabs(e.gap[k]), (cases[i].tolerance + 1e-4) * size);
      }
      xci_node_effects_close(&nodes);
      xci_path_close(&path);
      xci_effects_close(&e);
    }
    ck_assert_uint_gt(n_open, 0);
  }
  close_prompts(&p);
  scene_close(&in);
}
END_TEST

/* ---- Files ---- */

static void attribute_to_files(scene *in, xci_csv *csv) {
  const xcoder_attribute_options options = {.quadrature = XCODER_GAUSS, .n_steps = 10, .bootstrap = 100, .seed = 5};
  char path[128];
  xcoder_verdicts verdicts;
  ck_ok(xcoder_attribute(&in->setting, in->pairs, &options, in->run, &verdicts, err));
  ck_assert_uint_eq(verdicts.n, 2 * N);
  xcoder_verdicts_free(&verdicts);
  snprintf(path, sizeof path, "effects/%s.csv", xcoder_pairs_name(in->pairs));
  ck_ok(xci_csv_open(scene_path(in, path), csv, err));
}

static size_t row_of(const xci_csv *csv, double feature) {
  for (size_t r = 0; r < csv->n_rows; r++)
    if (xci_csv_number(csv, r, 0) == feature) return r;
  return SIZE_MAX;
}

/* The table of the whole path from models to files. Activations are rounded to bf16 after fp32 arithmetic here and
 * after float64 in the golden values, so that some differ by an ulp of bf16, 2^-8, and effects by that share of their
 * scale. */
START_TEST(files_hold_the_effects) {
  scene in;
  xci_csv csv;
  scene_open(&in, NULL);
  attribute_to_files(&in, &csv);
  float *wanted = scene_golden(&in, "gauss.ie", NULL), *scale = scene_golden(&in, "gauss.scale", NULL);
  const size_t n_latents = xcoder_describe(in.coder)->n_latents;
  double before = INFINITY;
  for (size_t r = 0; r < csv.n_rows; r++) {
    const size_t i = (size_t)xci_csv_number(&csv, r, 0);
    double largest = 0, rel = 0;
    for (size_t c = 0; c < N; c++) {
      double mean = 0, size = 0;
      for (size_t k = 0; k < E; k++) {
        mean += (double)wanted[(k * n_latents + i) * N + c] / E;
        size += (double)scale[(k * n_latents + i) * N + c] / E;
      }
      const double found = xci_csv_number(&csv, r, 1 + c);
      ck_assert_double_eq_tol(found, mean, ldexp(size, -8));
      largest = fmax(largest, fabs(found));
      rel += xci_csv_number(&csv, r, 2 + N + c);
      const double low = xci_csv_number(&csv, r, 2 + 2 * N + c), high = xci_csv_number(&csv, r, 2 + 3 * N + c);
      ck_assert(low >= 0 && low <= high && high <= 1);
    }
    ck_assert(largest <= before);
    ck_assert_double_eq_tol(rel, 1, 1e-12);
    before = largest;
  }
  ck_assert_str_eq(csv.field[1], "ie_early");
  ck_assert_str_eq(csv.field[csv.n_columns - 1], "n_active");
  xci_free(wanted);
  xci_free(scale);
  xci_csv_close(&csv);
  scene_close(&in);
}
END_TEST

START_TEST(permuting_checkpoints_permutes_results) {
  static const size_t order[N] = {2, 0, 1};
  scene in;
  xci_csv straight, turned;
  scene_open(&in, NULL);
  attribute_to_files(&in, &straight);
  scene_close(&in);
  scene_open(&in, order);
  attribute_to_files(&in, &turned);
  scene_close(&in);
  ck_assert_uint_eq(straight.n_rows, turned.n_rows);
  for (size_t r = 0; r < straight.n_rows; r++) {
    const size_t other = row_of(&turned, xci_csv_number(&straight, r, 0));
    ck_assert_uint_ne(other, SIZE_MAX);
    for (size_t c = 0; c < N; c++) /* the sum over checkpoints in the encoder is in another order: fp32 */
      ck_assert_double_eq_tol(xci_csv_number(&turned, other, 2 + N + c), xci_csv_number(&straight, r, 2 + N + order[c]),
                              1e-4);
  }
  xci_csv_close(&straight);
  xci_csv_close(&turned);
}
END_TEST

START_TEST(top_features_are_a_union) {
  scene in;
  xci_csv csv;
  uint32_t *features, *again;
  size_t n, n_again;
  scene_open(&in, NULL);
  ck_assert_int_eq(xcoder_top_features(in.run, NULL, 3, &features, &n, NULL), XCODER_MISSING);
  attribute_to_files(&in, &csv);
  ck_ok(xcoder_top_features(in.run, xcoder_pairs_name(in.pairs), 3, &features, &n, err));
  ck_ok(xcoder_top_features(in.run, NULL, 3, &again, &n_again, err));
  ck_assert(n >= 3 && n <= 9 && n == n_again);
  ck_assert_mem_eq(features, again, n * sizeof *features);
  ck_assert_uint_eq(features[0], (uint32_t)xci_csv_number(&csv, 0, 0));
  for (size_t i = 1; i < n; i++) ck_assert(row_of(&csv, features[i]) > row_of(&csv, features[i - 1]));
  xcoder_free(features);
  xcoder_free(again);
  xci_csv_close(&csv);
  scene_close(&in);
}
END_TEST

static char *read_all(const scene *in, const char *suffix, size_t *n) {
  char path[128], *bytes = NULL;
  snprintf(path, sizeof path, "effects/%s%s", xcoder_pairs_name(in->pairs), suffix);
  ck_ok(xci_read_file(scene_path(in, path), 1 << 24, &bytes, n, err));
  return bytes;
}

START_TEST(bits_do_not_depend_on_threads) {
  static const char *const suffixes[] = {".csv", ".json", ".safetensors"};
  for (size_t f = 0; f < 3; f++) {
    char *first = NULL;
    size_t n_first = 0;
    for (int threads = 1; threads <= 3; threads++) {
      scene in;
      xci_csv csv;
      size_t n;
      xcoder_set_threads(threads);
      scene_open(&in, NULL);
      attribute_to_files(&in, &csv);
      char *bytes = read_all(&in, suffixes[f], &n);
      if (first) {
        ck_assert_uint_eq(n, n_first);
        ck_assert_mem_eq(bytes, first, n);
        xci_free(bytes);
      } else {
        first = bytes;
        n_first = n;
      }
      xci_csv_close(&csv);
      scene_close(&in);
    }
    xci_free(first);
  }
  xcoder_set_threads(0);
}
END_TEST

START_TEST(a_stop_leaves_nothing) {
  const volatile sig_atomic_t stop = 1;
  const xcoder_monitor monitor = {NULL, NULL, NULL, &stop};
  xcoder_verdicts verdicts;
  scene in;
  scene_open(&in, NULL);
  in.setting.monitor = &monitor;
  ck_assert_int_eq(xcoder_attribute(&in.setting, in.pairs, NULL, in.run, &verdicts, NULL), XCODER_INTERRUPTED);
  ck_assert_int_eq(xcoder_evaluate(&in.setting, in.held_out, NULL, 0, NULL, in.run, &verdicts, NULL),
                   XCODER_INTERRUPTED);
  ck_assert(!xci_exists(in.run) && verdicts.n == 0);
  scene_close(&in);
}
END_TEST

START_TEST(a_prompt_is_explained) {
  scene in;
  char *json;
  scene_open(&in, NULL);
  const xcoder_pair *pair = xcoder_pairs_get(in.pairs, 2);
  ck_ok(xcoder_explain(&in.setting, pair->prefix, pair->n_prefix, &pair->right, &pair->wrong, 3, &json, err));
  ck_assert(strstr(json, "\"metric_clean\"") && strstr(json, "\"effect\""));
  xcoder_free(json);
  ck_ok(xcoder_explain(&in.setting, pair->prefix, pair->n_prefix, NULL, NULL, 3, &json, err));
  ck_assert(!strstr(json, "\"effect\"") && strstr(json, "\"activation\""));
  xcoder_free(json);
  ck_assert_int_eq(xcoder_explain(&in.setting, pair->prefix, 0, NULL, NULL, 3, &json, NULL), XCODER_USAGE);
  ck_assert_ptr_null(json);
  scene_close(&in);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("attribution");
  TCase *tests = tcase_create("attribution");
  tcase_add_test(tests, effects_are_those_of_autograd);
  tcase_add_test(tests, the_average_of_the_authors);
  tcase_add_test(tests, gauss_closes_the_gap);
  tcase_add_test(tests, doubled_nodes_close_every_gap);
  tcase_add_test(tests, files_hold_the_effects);
  tcase_add_test(tests, permuting_checkpoints_permutes_results);
  tcase_add_test(tests, top_features_are_a_union);
  tcase_add_test(tests, bits_do_not_depend_on_threads);
  tcase_add_test(tests, a_stop_leaves_nothing);
  tcase_add_test(tests, a_prompt_is_explained);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_set_fork_status(runner, CK_NOFORK); /* libgomp does not survive a fork */
  srunner_run_all(runner, CK_NORMAL);
  const int n_failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return n_failed != 0;
}
