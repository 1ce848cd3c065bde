/* SPDX-License-Identifier: Apache-2.0 */
/* Models saved by transformers against values that it computed from the same weights in float64 (make_golden.py). */
#include "tests/model/model_test.h"

/* Where the bound comes from. Every result is a chain of at most 3 blocks with 4 products each. A product over K
 * terms in float32 errs by about sqrt(K) u of its largest terms (u = 2^-24, K <= 320): 1.1e-6 at worst. Independent
 * errors of 12 products add to sqrt(12) times that, 3.7e-6, and the norms' and softmax's own roundings are smaller.
 * 1e-5 leaves a factor of 2.7; a wrong rotation, mask, scale or activation shows as 1e-4 (erf against tanh) or more. */
static const double BOUND = 1e-5;

static const char *const models[] = {"tiny-neox",  "sequential-f32", "bare-bf16",
                                     "newer-f32", "sharded-f16",    "tied-f32",
                                     "olmo-clip-f16", "olmo-tied-bf16", "bloom-f16", "bloom-bare-bf16",
                                     "llama-bf16", "llama-heads-f32", "olmo2-f16", "torch-single", "torch-sharded",
                                     "gpt2-f16", "gpt2-bare-bf16", "bloom-heads-8-f32", "bloom-heads-16-f32"};
static const char *const padded[] = {"tiny-neox",          "sequential-f32", "olmo-clip-f16", "bloom-f16",
                                     "bloom-heads-16-f32", "llama-bf16",     "gpt2-f16"};

typedef struct golden {
  xci_safetensors *file;
  xcoder_device *device;
  xcoder_model *model;
  const xcoder_model_info *info;
  uint32_t *ids, *right, *wrong;
  size_t *start, n_sequences, n_rows;
} golden;

static uint32_t *read_ids(const xci_safetensors *file, const char *name, size_t *n) {
  int64_t *wide = read_integers(file, name, n);
  uint32_t *ids = NULL;
  ck_ok(XCI_ALLOC(&ids, *n, err));
  for (size_t i = 0; i < *n; i++) ids[i] = (uint32_t)wide[i];
  xci_free(wide);
  return ids;
}

/* XCODER_TEST_DEVICE, else "cpu": which backend is held against the golden values. It stays open between the models. */
static xcoder_device *tested_device(void) {
  static xcoder_device *device;
  const char *spec = getenv("XCODER_TEST_DEVICE");
  if (device == NULL) ck_ok(xcoder_device_open(spec != NULL ? spec : "cpu", &device, err));
  return device;
}

static void open_golden(const char *name, golden *g) {
  size_t n;
  const char *origin = strncmp(name, "torch-", 6) == 0 ? "tiny-neox" : name; /* the same weights in other files */
  ck_ok(xci_safetensors_open(golden_path(origin, "expected.safetensors"), &g->file, err));
  g->device = tested_device();
  ck_ok(xcoder_model_open(golden_path(name, ""), g->device, -1, &g->model, err));
  g->info = xcoder_model_describe(g->model);
  g->ids = read_ids(g->file, "ids", &g->n_rows);
  g->right = read_ids(g->file, "right", &g->n_sequences);
  g->wrong = read_ids(g->file, "wrong", &g->n_sequences);
  int64_t *start = read_integers(g->file, "start", &n);
  ck_ok(XCI_ALLOC(&g->start, n, err));
  for (size_t i = 0; i < n; i++) g->start[i] = (size_t)start[i];
  xci_free(start);
}

static void close_golden(golden *g) {
  xcoder_model_close(g->model);
  xci_safetensors_close(g->file);
  xci_free(g->ids);
  xci_free(g->right);
  xci_free(g->wrong);
  xci_free(g->start);
}

static float *floats(size_t n) {
  float *values = NULL;
  ck_ok(XCI_ALLOC(&values, n, err));
  return values;
}

static void compare(const char *model, const char *what, const float *x, const float *expected, size_t n) {
  double error = relative_error(x, expected, n);
  ck_assert_msg(error <= BOUND, "%s: %s differs by %.3g of its largest value", model, what, error);
}

static void check_hidden(const char *name, golden *g) {
  size_t n = g->n_rows * g->info->d_model;
  float *hidden = floats(n);
  for (long layer = -1; layer < (long)g->info->n_layers; layer++) {
    char key[40];
    snprintf(key, sizeof key, "hidden_%ld", layer + 1);
    float *expected = read_floats(g->file, key);
    ck_ok(xcoder_model_hidden(g->model, g->ids, g->start, g->n_sequences, layer, hidden, err));
    compare(name, key, hidden, expected, n);
    xci_free(expected);
  }
  xci_free(hidden);
}

/* All layers in one pass, in an order of their own and one twice, before and after the model was idle. */
static void check_layers(const char *name, golden *g) {
  size_t n = g->n_rows * g->info->d_model, n_layers = g->info->n_layers + 2;
  long layers[16];
  float *hidden[16], *one = floats(n);
  for (size_t i = 0; i < n_layers; i++) {
    layers[i] = i + 1 < n_layers ? (long)(i * 5 % (n_layers - 1)) - 1 : 0;
    hidden[i] = floats(n);
  }
  ck_ok(xcoder_model_hidden_layers(g->model, g->ids, g->start, g->n_sequences, layers, n_layers, hidden, err));
  xcoder_model_idle(g->model);
  for (size_t i = 0; i < n_layers; i++) {
    ck_ok(xcoder_model_hidden(g->model, g->ids, g->start, g->n_sequences, layers[i], one, err));
    ck_assert_msg(memcmp(hidden[i], one, n * sizeof *one) == 0, "%s: layer %ld differs", name, layers[i]);
    xci_free(hidden[i]);
  }
  layers[0] = (long)g->info->n_layers;
  ck_assert_int_eq(xcoder_model_hidden_layers(g->model, g->ids, g->start, g->n_sequences, layers, 1, &one, NULL),
                   XCODER_USAGE);
  xci_free(one);
}

static void check_logits(const char *name, golden *g) {
  size_t v = g->info->n_vocab;
  float *logits = floats(g->n_rows * v), *expected = read_floats(g->file, "logits");
  float *log_probs = floats(g->n_rows);
  ck_ok(xcoder_model_logits(g->model, g->ids, g->start, g->n_sequences, logits, err));
  compare(name, "logits", logits, expected, g->n_rows * v);
  ck_ok(xcoder_model_log_probs(g->model, g->ids, g->start, g->n_sequences, log_probs, err));
  for (size_t s = 0; s < g->n_sequences; s++)
    for (size_t r = g->start[s]; r < g->start[s + 1]; r++) {
      double wanted = 0, sum = 0;
      if (r > g->start[s]) {
        const float *row = expected + (r - 1) * v;
        for (size_t t = 0; t < v; t++) sum += exp((double)row[t]);
        wanted = (double)row[g->ids[r]] - log(sum);
      }
      ck_assert_msg(fabs((double)log_probs[r] - wanted) <= 4 * BOUND * (1 + fabs(wanted)), "%s: log p at %zu: %g, %g",
                    name, r, (double)log_probs[r], wanted);
    }
  xci_free(log_probs);
  xci_free(logits);
  xci_free(expected);
}

static void check_gradients(const char *name, golden *g) {
  size_t d = g->info->d_model, n = g->n_rows * d, v = g->info->n_vocab;
  float *gradient = floats(n), *logits = read_floats(g->file, "logits"), *out = floats(2 * g->n_sequences);
  float *normalizer = floats(g->n_sequences);
  double metric[16];
  uint32_t tokens[32];
  for (long layer = -1; layer < (long)g->info->n_layers; layer++) {
    char key[40], hidden_key[40];
    snprintf(key, sizeof key, "gradient_%ld", layer + 1);
    snprintf(hidden_key, sizeof hidden_key, "hidden_%ld", layer + 1);
    float *expected = read_floats(g->file, key), *hidden = read_floats(g->file, hidden_key);
    ck_ok(xcoder_model_metric(g->model, layer, hidden, g->start, g->n_sequences, g->right, g->wrong, metric, gradient,
                              err));
    compare(name, key, gradient, expected, n);
    for (size_t s = 0; s < g->n_sequences; s++) {
      const float *last = logits + (g->start[s + 1] - 1) * v;
      double wanted = (double)last[g->wrong[s]] - (double)last[g->right[s]];
      ck_assert_msg(fabs(metric[s] - wanted) <= 2 * BOUND * 20, "%s: metric %g, expected %g", name, metric[s], wanted);
      tokens[2 * s] = g->wrong[s];
      tokens[2 * s + 1] = g->right[s];
    }
    ck_ok(xcoder_model_logits_from(g->model, layer, hidden, g->start, g->n_sequences, tokens, 2, out, normalizer, err));
    for (size_t s = 0; s < g->n_sequences; s++)
      ck_assert_double_eq_tol((double)out[2 * s] - (double)out[2 * s + 1], metric[s], 1e-6);
    xci_free(expected);
    xci_free(hidden);
  }
  xci_free(gradient);
  xci_free(logits);
  xci_free(out);
  xci_free(normalizer);
}

START_TEST(test_models) {
  golden g = {0};
  const char *name = models[_i];
  open_golden(name, &g);
  check_hidden(name, &g);
  check_layers(name, &g);
  check_logits(name, &g);
  check_gradients(name, &g);
  close_golden(&g);
}
END_TEST

/* A batch of transformers that is padded on the left, with its mask, gives on the real tokens what packed sequences
 * give here. The expected values are float32 results for some families (see the script), so both sides err. */
START_TEST(test_padded) {
  golden g = {0};
  xci_safetensors *file;
  const char *name = padded[_i];
  open_golden(name, &g);
  ck_ok(xci_safetensors_open(golden_path(name, "padded.safetensors"), &file, err));
  size_t n_hidden = g.n_rows * g.info->d_model, n_logits = g.n_rows * g.info->n_vocab;
  float *hidden = floats(n_hidden), *logits = floats(n_logits);
  float *expected_hidden = read_floats(file, "hidden"), *expected_logits = read_floats(file, "logits");
  ck_ok(xcoder_model_hidden(g.model, g.ids, g.start, g.n_sequences, (long)g.info->n_layers - 1, hidden, err));
  ck_ok(xcoder_model_logits(g.model, g.ids, g.start, g.n_sequences, logits, err));
  compare(name, "hidden of the padded batch", hidden, expected_hidden, n_hidden);
  compare(name, "logits of the padded batch", logits, expected_logits, n_logits);
  xci_free(hidden);
  xci_free(logits);
  xci_free(expected_hidden);
  xci_free(expected_logits);
  xci_safetensors_close(file);
  close_golden(&g);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("golden models");
  TCase *tcase = tcase_create("models");
  tcase_add_loop_test(tcase, test_models, 0, (int)(sizeof models / sizeof *models));
  tcase_add_loop_test(tcase, test_padded, 0, (int)(sizeof padded / sizeof *padded));
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_set_fork_status(runner, CK_NOFORK);
  srunner_run_all(runner, CK_NORMAL);
  int n_failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  xcoder_device_close(tested_device());
  return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
