/* SPDX-License-Identifier: Apache-2.0 */
/* Ablated sets against a dense reconstruction of their definition; the ends of the curves. */
#include "scene.h"

#include "analysis/ablation/ablation.h"
#include "analysis/csv_in.h"
#include "base/memory.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { D = 24, LATENTS = 40 };

typedef struct dense { /* features and reconstructions of the stretch by the definition, in double precision */
  double *code;        /* [n_unmasked, LATENTS] */
} dense;

static dense dense_open(const xci_stretch *s) {
  dense out = {calloc(s->n_unmasked * LATENTS, sizeof(double))};
  for (size_t k = 0; k < s->n_unmasked; k++)
    for (size_t j = s->codes.start[k]; j < s->codes.start[k + 1]; j++)
      out.code[k * LATENTS + s->codes.index[j]] = (double)s->codes.value[j];
  return out;
}

/* sum over the ablated features of (f'_i - f_i) W_dec[i,c][m] at sample k; f' of sample `other` when resampling. */
static double expected_change(const xci_ablation *a, const xci_ablated_set *set, const dense *codes, size_t k,
                              size_t other, size_t c, size_t m) {
  double sum = 0;
  for (uint32_t i = 0; i < LATENTS; i++) {
    bool member = false;
    for (size_t f = 0; f < set->n_features; f++) member |= set->features[f] == i;
    if (member == set->keep) continue;
    double target = 0;
    if (a->options.value == XCODER_ABLATE_MEAN) target = a->mean_code[i];
    if (a->options.value == XCODER_ABLATE_RESAMPLE) target = codes->code[other * LATENTS + i];
    sum += (target - codes->code[k * LATENTS + i]) * (double)xci_bench_decoder(a->bench, i, c)[m] *
           (double)a->bench->unit[c];
  }
  return sum;
}

/* Sequence 0 edited with values of sequence 1 must be the definition's. Its terms are below 100 and some 40 are summed
 * in single precision, so that 1e-3 is far above rounding and far below any feature. */
static void compare_edit(const xci_ablation *a, const xci_ablated_set *set, const xci_stretch *s, const dense *codes) {
  float *clean = malloc(s->n_rows * D * sizeof(float)), *edited = malloc(s->n_rows * D * sizeof(float));
  size_t n_first = 0, n_second = 0;
  for (size_t k = 0; k < s->n_unmasked; k++) {
    n_first += s->row[k] < s->start[1];
    n_second += s->row[k] >= s->start[1] && s->row[k] < s->start[2];
  }
  for (size_t c = 0; c < N; c++) {
    xci_edit edit;
    xci_stretch_take(a->bench, s, c, clean);
    xci_stretch_take(a->bench, s, c, edited);
    ck_ok(xci_edit_open(a, set, c, &edit, err));
    xci_edit_apply(&edit, s, 0, 1, edited);
    xci_edit_close(&edit);
    for (size_t k = 0; k < n_first; k++) {
      const size_t from_end = n_first - k, other = n_first + (from_end <= n_second ? n_second - from_end : 0);
      for (size_t m = 0; m < D; m++)
        ck_assert_double_eq_tol((double)edited[s->row[k] * D + m] - (double)clean[s->row[k] * D + m],
                                expected_change(a, set, codes, k, other, c, m), 1e-3);
    }
    for (size_t m = 0; m < D; m++) ck_assert(edited[m] == clean[m]); /* the masked position */
  }
  free(clean);
  free(edited);
}

START_TEST(edits_follow_their_definition) {
  static const uint32_t some[] = {3, 7, 11, 20, 31};
  scene in;
  xci_bench bench;
  xci_stretch s;
  xcoder_tokens *prompts;
  scene_open(&in, NULL);
  ck_ok(xci_bench_open(&in.setting, &bench, err));
  ck_ok(xci_prompts(in.pairs, NULL, E, false, &prompts, err));
  ck_ok(xci_stretch_open(&bench, prompts, 0, E, XCI_DECODED, &s, err));
  dense codes = dense_open(&s);
  double *mean = calloc(LATENTS, sizeof *mean);
  for (size_t k = 0; k < s.n_unmasked; k++)
    for (size_t i = 0; i < LATENTS; i++) mean[i] += codes.code[k * LATENTS + i] / (double)s.n_unmasked;
  for (int value = XCODER_ABLATE_ZERO; value <= XCODER_ABLATE_RESAMPLE; value++)
    for (int keep = 0; keep < 2; keep++)
      for (size_t size = 0; size <= 5; size += 5) {
        const xci_ablated_set set = {some, size, keep != 0, XCI_EVERY_CHECKPOINT};
        const xci_ablation a = {.bench = &bench, .task = in.pairs, .options = {.value = (xcoder_ablation_value)value},
                                .mean_code = value == XCODER_ABLATE_MEAN ? mean : NULL};
        compare_edit(&a, &set, &s, &codes);
      }
  free(mean);
  free(codes.code);
  xci_stretch_close(&s);
  xcoder_tokens_free(prompts);
  scene_close(&in);
}
END_TEST

/* Nothing ablated is the clean model, everything ablated is everything replaced, whatever it is replaced by. */
START_TEST(curves_end_where_they_must) {
  static const uint32_t features[] = {3, 7};
  for (int value = XCODER_ABLATE_ZERO; value <= XCODER_ABLATE_RESAMPLE; value++) {
    scene in;
    xci_csv csv;
    xcoder_verdicts verdicts;
    xcoder_ablate_options options;
    char path[128];
    scene_open(&in, NULL);
    ck_ok(xcoder_attribute(&in.setting, in.pairs, NULL, in.run, &verdicts, err));
    xcoder_verdicts_free(&verdicts);
    xcoder_ablate_defaults(&options);
    options.value = (xcoder_ablation_value)value;
    options.bootstrap = 50;
    ck_ok(xcoder_ablate(&in.setting, in.pairs, features, 2, &options, in.run, &verdicts, err));
    xcoder_verdicts_free(&verdicts);
    snprintf(path, sizeof path, "ablation/%s.curves.csv", xcoder_pairs_name(in.pairs));
    ck_ok(xci_csv_open(scene_path(&in, path), &csv, err));
    const size_t per_checkpoint = csv.n_rows / N;
    ck_assert(csv.n_rows > 0 && csv.n_rows % (2 * N) == 0);
    for (size_t c = 0; c < N; c++) {
      const size_t first = c * per_checkpoint, last = first + per_checkpoint - 2;
      ck_assert_double_eq_tol(xci_csv_number(&csv, first, 6), 0, 1e-9);     /* nothing kept */
      ck_assert_double_eq_tol(xci_csv_number(&csv, first + 1, 6), 1, 1e-9); /* nothing ablated */
      /* Features outside the effects file are inactive on the task, so that zero and resampling leave them; a mean
       * moves none of them either. The rounding of a reconstruction is 1e-6 of it. */
      ck_assert_double_eq_tol(xci_csv_number(&csv, last, 6), 1, 1e-3);
      ck_assert_double_eq_tol(xci_csv_number(&csv, last + 1, 6), 0, 1e-3);
    }
    xci_csv_close(&csv);
    scene_close(&in);
  }
}
END_TEST

int main(void) {
  Suite *suite = suite_create("ablation");
  TCase *tests = tcase_create("ablation");
  tcase_add_test(tests, edits_follow_their_definition);
  tcase_add_test(tests, curves_end_where_they_must);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_set_fork_status(runner, CK_NOFORK);
  srunner_run_all(runner, CK_NORMAL);
  const int n_failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return n_failed != 0;
}
