/* SPDX-License-Identifier: Apache-2.0 */
/* Attribution kept and continued: tables anew from the effects, going on after a stop, kept gradients; where paths end
 * at other prompts; and the sum of effects where the model is linear. */
#include "analysis/attribution/effects_state.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "scene.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void write_file(const char *path, const char *bytes, size_t n) {
  xci_writer *writer = NULL;
  ck_ok(xci_writer_open(path, &writer, err));
  ck_ok(xci_writer_write(writer, bytes, n, err));
  ck_ok(xci_writer_commit(writer, err));
}

static const char *golden(const char *name) {
  static char path[700];
  const char *folder = getenv("srcdir");
  snprintf(path, sizeof path, "%s/tests/analysis/golden/%s", folder ? folder : ".", name);
  return path;
}

/* The golden pairs `times` over: several stretches, which is what an attribution stops between. */
static xcoder_pairs *repeat_pairs(const scene *in, size_t times) {
  const xcoder_pairs_options options = {0};
  char *bytes = NULL, task[700];
  size_t n;
  xci_text text = {0};
  xcoder_pairs *pairs = NULL;
  ck_ok(xci_read_file(golden("pairs.jsonl"), 1 << 20, &bytes, &n, err));
  for (size_t k = 0; k < times; k++) xci_text_add(&text, bytes);
  ck_ok(xci_make_folder(in->run, err));
  write_file(scene_path(in, "many.jsonl"), text.bytes, text.n_bytes);
  snprintf(task, sizeof task, "pairs:%s", scene_path(in, "many.jsonl"));
  ck_ok(xcoder_pairs_load(task, in->tokenizer, &options, &pairs, err));
  xci_text_clear(&text);
  xci_free(bytes);
  return pairs;
}

static char *read_effects(const scene *in, const xcoder_pairs *pairs, const char *suffix, size_t *n) {
  char name[200], *bytes = NULL;
  snprintf(name, sizeof name, "effects/%s%s", xcoder_pairs_name(pairs), suffix);
  ck_ok(xci_read_file(scene_path(in, name), 1 << 26, &bytes, n, err));
  return bytes;
}

typedef struct files {
  char *csv, *json, *effects;
  size_t n_csv, n_json, n_effects;
} files;

static files read_files(const scene *in, const xcoder_pairs *pairs) {
  files f;
  f.csv = read_effects(in, pairs, ".csv", &f.n_csv);
  f.json = read_effects(in, pairs, ".json", &f.n_json);
  f.effects = read_effects(in, pairs, ".safetensors", &f.n_effects);
  return f;
}

static void free_files(files *f) {
  xci_free(f->csv);
  xci_free(f->json);
  xci_free(f->effects);
}

static void same_files(files *a, files *b) {
  ck_assert(a->n_csv == b->n_csv && memcmp(a->csv, b->csv, a->n_csv) == 0);
  ck_assert(a->n_json == b->n_json && memcmp(a->json, b->json, a->n_json) == 0);
  ck_assert(a->n_effects == b->n_effects && memcmp(a->effects, b->effects, a->n_effects) == 0);
}

static void attribute(const scene *in, const xcoder_pairs *pairs, const xcoder_attribute_options *options) {
  xcoder_verdicts verdicts;
  ck_ok(xcoder_attribute(&in->setting, pairs, options, in->run, &verdicts, err));
  xcoder_verdicts_free(&verdicts);
}

static const xcoder_attribute_options ten = {.bootstrap = 10, .seed = 1};

START_TEST(tables_anew_are_those_of_a_new_attribution) {
  static const xcoder_attribute_options cases[] = {
      {.quadrature = XCODER_GAUSS, .n_steps = 3, .bootstrap = 100, .seed = 5},
      {.quadrature = XCODER_LEFT, .n_steps = 2, .baseline = XCODER_MEAN, .bootstrap = 0, .seed = 5},
      {.quadrature = XCODER_TRAPEZOID, .n_steps = 2, .baseline = XCODER_ORIGIN, .bootstrap = 50, .seed = 1},
      {.quadrature = XCODER_LEFT, .n_steps = 2, .bootstrap = 20, .seed = 5, .authors = true, .batch_keys = 3}};
  scene in;
  scene_open(&in, NULL);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    xcoder_attribute_options other = cases[i];
    xcoder_verdicts verdicts;
    attribute(&in, in.pairs, &cases[i]);
    files wanted = read_files(&in, in.pairs);
    other.bootstrap = 77;
    other.seed = 9;
    other.specific_border = 0.55;
    other.shared_border = 0.4;
    attribute(&in, in.pairs, &other);
    files before = read_files(&in, in.pairs);
    ck_assert(before.n_csv != wanted.n_csv || memcmp(before.csv, wanted.csv, wanted.n_csv) != 0);
    ck_ok(xcoder_retabulate(in.coder, xcoder_pairs_name(in.pairs), &cases[i], in.run, &verdicts,
                            err));
    ck_assert_uint_eq(verdicts.n, 2 * N);
    xcoder_verdicts_free(&verdicts);
    files found = read_files(&in, in.pairs);
    same_files(&found, &wanted);
    free_files(&found);
    free_files(&before);
    free_files(&wanted);
  }
  scene_close(&in);
}
END_TEST

START_TEST(other_effects_are_refused) {
  scene in;
  xcoder_verdicts verdicts;
  xcoder_error said = {0};
  size_t n, n_values;
  char name[200];
  scene_open(&in, NULL);
  const char *task = xcoder_pairs_name(in.pairs);
  ck_assert_int_eq(xcoder_retabulate(in.coder, task, &ten, in.run, &verdicts, &said), XCODER_MISSING);
  attribute(&in, in.pairs, NULL);
  char *bytes = read_effects(&in, in.pairs, ".safetensors", &n);
  snprintf(name, sizeof name, "effects/%s.safetensors", task);
  static const char *const words[][2] = {{"quadrature\\\": \\\"gauss", "quadrature\\\": \\\"gouss"},
                                         {"effect_sum_plain", "effect_sum_plaid"},
                                         {"example_start", "example_stark"},
                                         {"n_total\\\": 6", "n_total\\\": 7"},
                                         {"\"attribution", "\"attributiom"}};
  for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
    char *changed = NULL, *place = NULL;
    const size_t length = strlen(words[i][0]);
    ck_ok(xci_alloc(n + 1, 1, (void **)&changed, err));
    memcpy(changed, bytes, n);
    for (size_t at = 0; !place && at + length <= n; at++)
      if (memcmp(changed + at, words[i][0], length) == 0) place = changed + at;
    ck_assert_msg(place != NULL, "%s", words[i][0]);
    memcpy(place, words[i][1], length);
    write_file(scene_path(&in, name), changed, n);
    ck_assert_msg(xcoder_retabulate(in.coder, task, &ten, in.run, &verdicts, &said) == XCODER_FORMAT, "%s: %s",
                  words[i][0], said.message);
    xci_free(changed);
  }
  for (size_t at = n - 1; at > n - 400; at -= 37) { /* whatever the numbers are, nothing breaks */
    char kept = bytes[at];
    bytes[at] = (char)0xff;
    write_file(scene_path(&in, name), bytes, n);
    if (!xcoder_retabulate(in.coder, task, &ten, in.run, &verdicts, &said)) xcoder_verdicts_free(&verdicts);
    bytes[at] = kept;
  }
  write_file(scene_path(&in, name), bytes, n);
  ck_ok(xcoder_retabulate(in.coder, task, &ten, in.run, &verdicts, err));
  xcoder_verdicts_free(&verdicts);
  xcoder_weights(in.coder, XCODER_W_DEC, &n_values)[0] += 1;
  xcoder_changed(in.coder);
  ck_assert_int_eq(xcoder_retabulate(in.coder, task, &ten, in.run, &verdicts, &said), XCODER_MISMATCH);
  xci_free(bytes);
  scene_close(&in);
}
END_TEST

/* Stops the attribution when `after` examples are done. */
typedef struct stopper {
  uint64_t after;
  size_t n_warned;
  volatile sig_atomic_t stop;
} stopper;

static void watch(void *context, const xcoder_progress *progress) {
  stopper *s = context;
  if (progress->done >= s->after) s->stop = 1;
}

static void count_warning(void *context, const char *message) {
  stopper *s = context;
  s->n_warned += strstr(message, "goes on behind the first") != NULL;
}

static char watched[400];
static char *kept; /* the watched file as it was when the attribution was stopped */
static size_t n_kept;

static void watch_for_file(void *context, const xcoder_progress *progress) {
  stopper *s = context;
  if (s->stop || progress->done < s->after || s->after == UINT64_MAX) return;
  ck_ok(xci_read_file(watched, 1 << 24, &kept, &n_kept, err));
  s->stop = 1;
}

START_TEST(a_stopped_attribution_goes_on) {
  static const xcoder_attribute_options cases[] = {
      {.quadrature = XCODER_GAUSS, .n_steps = 2, .bootstrap = 10, .seed = 5},
      {.quadrature = XCODER_LEFT, .n_steps = 1, .baseline = XCODER_RESAMPLED, .seed = 5},
      {.quadrature = XCODER_LEFT, .n_steps = 1, .authors = true}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    scene in;
    xcoder_verdicts verdicts;
    char partial[200];
    scene_open(&in, NULL);
    xcoder_pairs *pairs = repeat_pairs(&in, 60);
    snprintf(partial, sizeof partial, "effects/%s.partial.safetensors", xcoder_pairs_name(pairs));
    attribute(&in, pairs, &cases[i]);
    files wanted = read_files(&in, pairs);
    ck_ok(xci_remove_folder(scene_path(&in, "effects"), err));
    stopper s = {.after = 1};
    const xcoder_monitor monitor = {&s, watch, count_warning, &s.stop};
    in.setting.monitor = &monitor;
    ck_assert_int_eq(xcoder_attribute(&in.setting, pairs, &cases[i], in.run, &verdicts, NULL), XCODER_INTERRUPTED);
    ck_assert(xci_exists(scene_path(&in, partial)));
    s.stop = 0; /* a second stop, one stretch further */
    ck_assert_int_eq(xcoder_attribute(&in.setting, pairs, &cases[i], in.run, &verdicts, NULL), XCODER_INTERRUPTED);
    s = (stopper){.after = UINT64_MAX};
    attribute(&in, pairs, &cases[i]);
    ck_assert_uint_eq(s.n_warned, 1);
    ck_assert(!xci_exists(scene_path(&in, partial)));
    files found = read_files(&in, pairs);
    same_files(&found, &wanted);
    /* With other options what is there is of another attribution. */
    xcoder_attribute_options other = cases[i];
    other.n_steps++;
    s = (stopper){.after = 1};
    ck_assert_int_eq(xcoder_attribute(&in.setting, pairs, &other, in.run, &verdicts, NULL), XCODER_INTERRUPTED);
    s = (stopper){.after = UINT64_MAX};
    attribute(&in, pairs, &cases[i]);
    ck_assert_uint_eq(s.n_warned, 0);
    free_files(&found);
    found = read_files(&in, pairs);
    same_files(&found, &wanted);
    free_files(&found);
    free_files(&wanted);
    xcoder_pairs_free(pairs);
    scene_close(&in);
  }
}
END_TEST

/* Another crosscoder of the same models: a share of its features is another. */
static void change_coder(xcoder *coder) {
  size_t n;
  float *w = xcoder_weights(coder, XCODER_W_DEC, &n);
  for (size_t j = 0; j < n / 2; j++) w[j] *= 1.5F;
  xcoder_changed(coder);
}

START_TEST(kept_gradients_give_the_same_bits) {
  static const xcoder_baseline baselines[] = {XCODER_ORIGIN, XCODER_RESAMPLED, XCODER_ZERO};
  for (size_t i = 0; i < 3; i++) {
    xcoder_attribute_options options = {.n_steps = 2, .baseline = baselines[i], .bootstrap = 10, .seed = 3};
    scene in;
    char folder[200], **names = NULL;
    size_t n_names = 0, n_again = 0;
    scene_open(&in, NULL);
    xcoder_pairs *pairs = repeat_pairs(&in, 40);
    snprintf(folder, sizeof folder, "%s/gradients", in.run);
    options.gradients = folder;
    attribute(&in, pairs, &options); /* of the first crosscoder: makes them */
    if (baselines[i] == XCODER_ZERO) {
      ck_assert(!xci_exists(folder)); /* they would serve nobody */
    } else {
      ck_ok(xci_list_folder(folder, &names, &n_names, err));
      ck_assert(n_names >= 2 * N && n_names % N == 0); /* stretches times checkpoints */
      change_coder(in.coder);
      attribute(&in, pairs, &options); /* of the second: takes them */
      files found = read_files(&in, pairs);
      options.gradients = NULL;
      attribute(&in, pairs, &options);
      files wanted = read_files(&in, pairs);
      same_files(&found, &wanted);
      free_files(&found);
      options.gradients = folder; /* a file that is broken, and one of another quadrature */
      snprintf(folder + strlen(folder), 60, "/%s", names[0]);
      write_file(folder, "broken", 6);
      *strrchr(folder, '/') = '\0';
      attribute(&in, pairs, &options);
      found = read_files(&in, pairs);
      same_files(&found, &wanted);
      xci_free_names(names, n_names);
      ck_ok(xci_list_folder(folder, &names, &n_again, err));
      ck_assert_uint_eq(n_again, n_names);
      xci_free_names(names, n_again);
      options.tolerance = 5; /* other gradients than those of two nodes for all */
      attribute(&in, pairs, &options);
      ck_ok(xci_list_folder(folder, &names, &n_again, err));
      ck_assert_uint_eq(n_again, 2 * n_names);
      xci_free_names(names, n_again);
      free_files(&found);
      free_files(&wanted);
    }
    xcoder_pairs_free(pairs);
    scene_close(&in);
  }
}
END_TEST

/* A process that is killed cannot say so: what it wrote in between is enough. */
START_TEST(effects_are_written_in_between) {
  const xcoder_attribute_options options = {.n_steps = 2, .bootstrap = 10, .seed = 5, .save_seconds = 1e-9};
  scene in;
  xcoder_verdicts verdicts;
  char partial[200], *bytes;
  size_t n_bytes;
  scene_open(&in, NULL);
  xcoder_pairs *pairs = repeat_pairs(&in, 60);
  attribute(&in, pairs, &options);
  files wanted = read_files(&in, pairs);
  ck_ok(xci_remove_folder(scene_path(&in, "effects"), err));
  snprintf(partial, sizeof partial, "effects/%s.partial.safetensors", xcoder_pairs_name(pairs));
  stopper s = {.after = 130}; /* the file that is there before the stop's own is taken away with the process */
  const xcoder_monitor monitor = {&s, watch_for_file, count_warning, &s.stop};
  snprintf(watched, sizeof watched, "%s", scene_path(&in, partial));
  in.setting.monitor = &monitor;
  ck_assert_int_eq(xcoder_attribute(&in.setting, pairs, &options, in.run, &verdicts, NULL), XCODER_INTERRUPTED);
  ck_assert_ptr_nonnull(kept);
  bytes = kept, n_bytes = n_kept;
  write_file(scene_path(&in, partial), bytes, n_bytes);
  s = (stopper){.after = UINT64_MAX};
  attribute(&in, pairs, &options);
  ck_assert_uint_eq(s.n_warned, 1);
  ck_assert(!xci_exists(scene_path(&in, partial)));
  files found = read_files(&in, pairs);
  same_files(&found, &wanted);
  free_files(&found);
  free_files(&wanted);
  xci_free(kept);
  xcoder_pairs_free(pairs);
  scene_close(&in);
}
END_TEST

START_TEST(donors_are_other_prompts_of_equal_length) {
  scene in;
  scene_open(&in, NULL);
  xcoder_pairs *pairs = repeat_pairs(&in, 5); /* five of each of six lengths */
  size_t first_list[30] = {0}, n_differ = 0;
  for (uint64_t seed = 0; seed < 20; seed++) {
    size_t *chosen, *donor, *chosen_again, *donor_again, n, n_again, served[30] = {0};
    ck_ok(xci_draw_donors(pairs, seed, &chosen, &donor, &n, err));
    ck_ok(xci_draw_donors(pairs, seed, &chosen_again, &donor_again, &n_again, err));
    ck_assert(n == 30 && n_again == 30);
    ck_assert_mem_eq(donor, donor_again, n * sizeof *donor);
    for (size_t k = 0; k < n; k++) {
      ck_assert_uint_eq(chosen[k], k);
      ck_assert_uint_ne(donor[k], k);
      ck_assert_uint_eq(xcoder_pairs_get(pairs, donor[k])->n_prefix, xcoder_pairs_get(pairs, k)->n_prefix);
      served[donor[k]]++;
      if (seed == 0) first_list[k] = donor[k];
      n_differ += donor[k] != first_list[k];
    }
    for (size_t k = 0; k < n; k++) ck_assert_uint_eq(served[k], 1);
    xci_free(chosen);
    xci_free(donor);
    xci_free(chosen_again);
    xci_free(donor_again);
  }
  ck_assert(n_differ > 19 * 30 / 2); /* of 4 rotations 3 differ from the first */
  xcoder_pairs_free(pairs);
  size_t *chosen, *donor, n; /* six prompts of six lengths: none has another */
  ck_assert_int_eq(xci_draw_donors(in.pairs, 0, &chosen, &donor, &n, NULL), XCODER_MISMATCH);
  xci_free(chosen);
  xci_free(donor);
  scene_close(&in);
}
END_TEST

/* The model of folder NAME with an epsilon of 1 and everything that is written to the residual stream 2^-8 as large. */
static void write_linear(const scene *in, const char *name) {
  char path[200], *bytes;
  size_t n;
  xci_text config = {0};
  xci_safetensors *file;
  xci_safetensors_writer *writer;
  snprintf(path, sizeof path, "%s/%s", in->run, name);
  ck_ok(xci_make_folder(path, err));
  snprintf(path, sizeof path, "%s/config.json", name);
  ck_ok(xci_read_file(golden(path), 1 << 20, &bytes, &n, err));
  char *place = strstr(bytes, "\"layer_norm_eps\":");
  ck_assert_ptr_nonnull(place);
  xci_text_append(&config, bytes, (size_t)(place - bytes));
  xci_text_add(&config, "\"layer_norm_eps\": 1");
  xci_text_add(&config, strchr(place, ','));
  write_file(scene_path(in, path), config.bytes, config.n_bytes);
  xci_text_clear(&config);
  xci_free(bytes);
  snprintf(path, sizeof path, "%s/model.safetensors", name);
  ck_ok(xci_safetensors_open(golden(path), &file, err));
  ck_ok(xci_safetensors_create(&writer, err));
  float *values[200] = {0};
  ck_assert(xci_safetensors_count(file) <= 200);
  for (size_t i = 0; i < xci_safetensors_count(file); i++) {
    static const char *const written[] = {"embed_in", "attention.dense", "dense_4h_to_h"};
    const xci_tensor *tensor = xci_safetensors_at(file, i);
    float factor = 1;
    for (size_t k = 0; k < 3; k++)
      if (strstr(tensor->name, written[k])) factor = 1.0F / 256;
    ck_ok(XCI_ALLOC(&values[i], tensor->n_values, err));
    ck_ok(xci_tensor_to_f32(tensor, values[i], err));
    for (size_t j = 0; j < tensor->n_values; j++) values[i][j] *= factor;
    ck_ok(xci_safetensors_add(writer, tensor->name, XCI_F32, tensor->rank, tensor->shape, values[i], err));
  }
  ck_ok(xci_safetensors_write(writer, scene_path(in, path), err));
  xci_safetensors_discard(writer);
  for (size_t i = 0; i < 200; i++) xci_free(values[i]);
  xci_safetensors_close(file);
}

/* The same crosscoder for the state behind the last block. */
static xcoder *move_to_last(const scene *in) {
  const xcoder_info *info = xcoder_describe(in->coder);
  size_t n_values;
  xcoder *last;
  ck_ok(xcoder_create(N, info->d_model, info->n_latents, 2, NULL, info->scales, &last, err));
  for (int tensor = XCODER_W_ENC; tensor <= XCODER_B_DEC; tensor++) {
    const float *from = xcoder_weights(in->coder, (xcoder_tensor)tensor, &n_values);
    memcpy(xcoder_weights(last, (xcoder_tensor)tensor, &n_values), from, n_values * sizeof *from);
  }
  xcoder_changed(last);
  return last;
}

/* A model is linear behind its last block where the epsilon of normalisation is large against every variance v on the
 * path, for 1 / sqrt(v + epsilon) varies by v / (2 epsilon) only. Here epsilon is 1, states have entries below some
 * 20 / 256, so v is below 0.006 and a gradient along the path to the origin varies by less than 0.3 %. Then one
 * gradient, at any node, gives the whole change: effects of features, error and bias sum to it, whatever the rule whose
 * weights sum to 1 (those of gauss do with more nodes), while the same rules leave most of it open in the model as it
 * was. */
START_TEST(effects_of_a_linear_model_sum_exactly) {
  static const xcoder_quadrature rules[] = {XCODER_GRADIENT, XCODER_LEFT, XCODER_MIDPOINT,
                                             XCODER_LEGENDRE};
  static const char *const names[N] = {"early", "middle", "late"};
  scene in;
  xcoder_model *models[N];
  char folder[100];
  scene_open(&in, NULL);
  xcoder *last = move_to_last(&in);
  for (size_t c = 0; c < N; c++) {
    write_linear(&in, names[c]);
    snprintf(folder, sizeof folder, "%s/%s", in.run, names[c]);
    ck_ok(xcoder_model_open(folder, in.device, -1, &models[c], err));
  }
  for (int linear = 0; linear < 2; linear++) {
    xcoder_setting setting = in.setting;
    setting.coder = last;
    if (linear) setting.models = models;
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
      const xcoder_attribute_options options = {.quadrature = rules[i], .n_steps = 1, .baseline = XCODER_ORIGIN};
      xcoder_verdicts verdicts;
      double worst = 0, best = INFINITY;
      ck_ok(xcoder_attribute(&setting, in.pairs, &options, in.run, &verdicts, err));
      for (size_t k = 0; k < verdicts.n; k++) /* "0.12 % (of means ...)" */
        if (strstr(verdicts.item[k].name, "completeness gap")) {
          worst = fmax(worst, atof(verdicts.item[k].value));
          best = fmin(best, atof(verdicts.item[k].value));
        }
      if (linear) {
        ck_assert_msg(worst <= 0.3, "linear, rule %d: %g %%", (int)rules[i], worst);
      } else {
        ck_assert_msg(best > 10, "rule %d: %g %%", (int)rules[i], best);
      }
      xcoder_verdicts_free(&verdicts);
    }
  }
  for (size_t c = 0; c < N; c++) xcoder_model_close(models[c]);
  xcoder_free_coder(last);
  scene_close(&in);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("attribution kept");
  TCase *tests = tcase_create("attribution kept");
  tcase_set_timeout(tests, 0);
  tcase_add_test(tests, tables_anew_are_those_of_a_new_attribution);
  tcase_add_test(tests, other_effects_are_refused);
  tcase_add_test(tests, a_stopped_attribution_goes_on);
  tcase_add_test(tests, kept_gradients_give_the_same_bits);
  tcase_add_test(tests, effects_are_written_in_between);
  tcase_add_test(tests, donors_are_other_prompts_of_equal_length);
  tcase_add_test(tests, effects_of_a_linear_model_sum_exactly);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_set_fork_status(runner, CK_NOFORK); /* libgomp does not survive a fork */
  srunner_run_all(runner, CK_NORMAL);
  const int n_failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return n_failed != 0;
}
