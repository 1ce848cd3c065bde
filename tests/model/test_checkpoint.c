/* SPDX-License-Identifier: Apache-2.0 */
/* Finding checkpoints in a cache of Hugging Face's layout that is made here, inspecting, loading in part, threads. */
#include "tests/model/model_test.h"

#include "base/file.h"
#include <sys/stat.h>
#include <unistd.h>

static const char *root = "test-checkpoint.tmp";
static const char COMMIT[] = "0123456789abcdef0123456789abcdef01234567";

static void write_text(const char *path, const char *text) {
  xci_writer *writer = NULL;
  ck_ok(xci_writer_open(path, &writer, err));
  ck_ok(xci_writer_write(writer, text, strlen(text), err));
  ck_ok(xci_writer_commit(writer, err));
}

static const char *below(const char *path) {
  static char full[4][512];
  static int next;
  next = (next + 1) % 4;
  snprintf(full[next], sizeof full[next], "%s/%s", root, path);
  return full[next];
}

/* BLOOM's numbers come from a loop that takes the ramp step by step, as its training did. */
START_TEST(test_tokens_seen) {
  static const struct {
    const char *model, *revision;
    double tokens; /* < 0: not known */
  } cases[] = {{"EleutherAI/pythia-1b", "step512", 1073741824}, {"EleutherAI/pythia-1b", "main", 299892736000},
               {"cache/models--EleutherAI--pythia-70m-deduped", "step0", 0}, {"tiny-pythia", "step512", -1},
               {NULL, "step512", -1}, {"EleutherAI/pythia-1b", "step512x", -1}, {"pythia-1b", "step", -1},
               {"allenai/OLMo-1B-0724-hf", "step1454000-tokens3048B", 3048e9}, {NULL, "step0-tokens0B", 0},
               {"allenai/OLMo-2", "stage1-step1000-tokens5B", 5e9}, {"x", "stage2-ingredient1-step1000-tokens3B", -1},
               {"allenai/OLMo-1B-0724-hf", "main", -1}, {NULL, "step1-tokensB", -1}, {NULL, "step1-tokens5Bx", -1},
               {NULL, "global_step1000", 393216000}, {NULL, "global_step10000", 3932160000},
               {NULL, "global_step20000", 8103002112}, {NULL, "global_step100000", 48560603136},
               {NULL, "global_step300000", 153418203136}, {NULL, "global_step600000", 310704603136},
               {NULL, "global_step99999999999999999999", -1}, {"pythia-1b", NULL, -1}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    double tokens = -1;
    ck_assert_int_eq(xcoder_tokens_seen(cases[i].model, cases[i].revision, &tokens), cases[i].tokens >= 0);
    if (cases[i].tokens >= 0) ck_assert_double_eq(tokens, cases[i].tokens);
  }
  uint64_t step = 1;
  ck_assert(xcoder_revision_step("stage1-step17-tokens1B", &step) && step == 17);
  ck_assert(!xcoder_revision_step("main", &step) && !xcoder_revision_step(NULL, &step));
}
END_TEST

static void setup(void) {
  static const char *const cleared[] = {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"};
  char path[256];
  for (size_t i = 0; i < 4; i++) unsetenv(cleared[i]);
  ck_ok(xci_remove_folder(root, err));
  ck_ok(xci_make_folder(below("hub/models--org--net/refs/nested"), err));
  snprintf(path, sizeof path, "hub/models--org--net/snapshots/%s", COMMIT);
  ck_ok(xci_make_folder(below(path), err));
  write_text(below("hub/models--org--net/refs/main"), COMMIT);
  write_text(below("hub/models--org--net/refs/nested/tag"), "0123456789abcdef0123456789abcdef01234567\n");
  write_text(below("hub/models--org--net/refs/gone"), "ffffffffffffffffffffffffffffffffffffffff");
  write_text(below("hub/models--org--net/refs/bad"), "../../../etc");
}

static void teardown(void) {
  unsetenv("HF_HUB_CACHE");
  ck_ok(xci_remove_folder(root, err));
}

START_TEST(test_find) {
  static const struct {
    const char *spec;
    xcoder_status expected;
  } cases[] = {
    {"org/net", XCODER_OK},
    {"org/net@main", XCODER_OK},
    {"org/net@nested/tag", XCODER_OK},
    {"org/net@0123456789abcdef0123456789abcdef01234567", XCODER_OK},
    {"org/net@step1", XCODER_MISSING},
    {"org/net@gone", XCODER_MISSING},
    {"org/net@bad", XCODER_FORMAT},
    {"org/net@", XCODER_MISSING},
    {"org/net@../../x", XCODER_MISSING},
    {"org/other", XCODER_MISSING},
    {"other", XCODER_MISSING},
    {"", XCODER_MISSING},
    {"../org", XCODER_MISSING},
    {"/no/such/folder", XCODER_MISSING},
    {"a/b/c", XCODER_MISSING},
  };
  setenv("HF_HUB_CACHE", below("hub"), 1);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char *path = NULL;
    xcoder_error err = {0};
    xcoder_status status = xcoder_checkpoint_find(cases[i].spec, &path, &err);
    ck_assert_msg(status == cases[i].expected, "%s: %s (%s)", cases[i].spec, xcoder_status_name(status), err.message);
    if (status) ck_assert(path == NULL && err.message[0] != '\0');
    else ck_assert(strstr(path, COMMIT) != NULL && xci_is_folder(path));
    xcoder_free(path);
  }
}
END_TEST

START_TEST(test_roots) {
  static const struct {
    const char *variable, *value;
  } cases[] = {{"HF_HUB_CACHE", "$XCODER_TEST_ROOT/hub"},
               {"HUGGINGFACE_HUB_CACHE", "$XCODER_TEST_ROOT/hub"},
               {"HF_HOME", "~"},
               {"XDG_CACHE_HOME", "$XCODER_TEST_ROOT/cache"}};
  char *home = getenv("HOME") != NULL ? strdup(getenv("HOME")) : NULL, *path = NULL;
  setenv("XCODER_TEST_ROOT", root, 1);
  setenv("HOME", root, 1);
  ck_ok(xci_make_folder(below("cache/huggingface"), err));
  ck_assert_int_eq(symlink("../../hub", below("cache/huggingface/hub")), 0);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    setenv(cases[i].variable, cases[i].value, 1);
    ck_ok(xcoder_checkpoint_find("org/net", &path, err));
    xcoder_free(path);
    unsetenv(cases[i].variable);
  }
  ck_assert_int_eq(xcoder_checkpoint_find("org/net", &path, NULL), XCODER_MISSING);
  /* Each variable wins over those behind it, also where its cache lacks the model; an empty one counts as unset. */
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
      if (k < i) setenv(cases[k].variable, "", 1);
      else setenv(cases[k].variable, k == i ? below("nowhere") : cases[k].value, 1);
    }
    ck_assert_int_eq(xcoder_checkpoint_find("org/net", &path, NULL), XCODER_MISSING);
    setenv(cases[i].variable, cases[i].value, 1);
    for (size_t k = i + 1; k < sizeof cases / sizeof *cases; k++) setenv(cases[k].variable, below("nowhere"), 1);
    ck_ok(xcoder_checkpoint_find("org/net", &path, err));
    xcoder_free(path);
  }
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) unsetenv(cases[i].variable);
  ck_ok(xci_make_folder(below(".cache/huggingface"), err)); /* and without any of them */
  ck_assert_int_eq(symlink("../../hub", below(".cache/huggingface/hub")), 0);
  ck_ok(xcoder_checkpoint_find("org/net@nested/tag", &path, err));
  xcoder_free(path);
  if (home != NULL) setenv("HOME", home, 1);
  free(home);
}
END_TEST

START_TEST(test_inspect) {
  xcoder_model_info info;
  char *path = NULL;
  ck_ok(xcoder_checkpoint_find(golden_path("tiny-neox", ""), &path, err));
  ck_ok(xcoder_model_inspect(path, &info, err));
  ck_assert_str_eq(info.family, "gpt_neox");
  ck_assert_str_eq(info.dtype, "F16");
  ck_assert_uint_eq(info.n_layers, 3);
  ck_assert_uint_eq(info.d_model, 16);
  ck_assert_uint_eq(info.n_heads, 2);
  ck_assert_uint_eq(info.d_head, 8);
  ck_assert_uint_eq(info.d_mlp, 32);
  ck_assert_uint_eq(info.n_vocab, 320);
  ck_assert_uint_eq(info.n_context, 64);
  /* 2 V d + 2 d + L (4 d + 3 d d + 3 d + d d + d + 2 d F + F + d) */
  ck_assert_uint_eq(info.n_parameters, 2 * 320 * 16 + 32 + 3 * (64 + 768 + 48 + 256 + 16 + 1024 + 32 + 16));
  xcoder_free(path);
  ck_assert_int_eq(xcoder_model_inspect(root, &info, NULL), XCODER_MISSING);
}
END_TEST

enum { N_SEQUENCES = 5, N_ROWS = 120, D = 16 };
static const size_t START[N_SEQUENCES + 1] = {0, 40, 41, 80, 93, N_ROWS};

static void fill_ids(uint32_t *ids) {
  for (uint32_t i = 0; i < N_ROWS; i++) ids[i] = i * 37 % 320;
}

START_TEST(test_partial) {
  static uint32_t ids[N_ROWS];
  static float all[N_ROWS * D], part[N_ROWS * D];
  xcoder_device *device = NULL;
  xcoder_model *whole = NULL, *lower = NULL;
  fill_ids(ids);
  ck_ok(xcoder_device_open("cpu", &device, err));
  ck_ok(xcoder_model_open(golden_path("tiny-neox", ""), device, -1, &whole, err));
  ck_ok(xcoder_model_open(golden_path("tiny-neox", ""), device, 1, &lower, err));
  ck_ok(xcoder_model_hidden(whole, ids, START, N_SEQUENCES, 1, all, err));
  ck_ok(xcoder_model_hidden(lower, ids, START, N_SEQUENCES, 1, part, err));
  ck_assert_mem_eq(all, part, sizeof all);
  xcoder_model_close(whole);
  xcoder_model_close(lower);
  xcoder_device_close(device);
}
END_TEST

typedef struct outputs {
  float hidden[N_ROWS * D], gradient[N_ROWS * D], log_probs[N_ROWS], from[N_ROWS], unembedded[2 * 320];
  double metric[N_SEQUENCES];
} outputs;

static void compute(const char *spec, outputs *out) {
  static uint32_t ids[N_ROWS];
  static const uint32_t right[N_SEQUENCES] = {1, 2, 3, 4, 5}, wrong[N_SEQUENCES] = {9, 8, 7, 6, 300};
  xcoder_device *device = NULL;
  xcoder_model *model = NULL;
  memset(out, 0, sizeof *out);
  fill_ids(ids);
  ck_ok(xcoder_device_open(spec, &device, err));
  ck_ok(xcoder_model_open(golden_path("tiny-neox", ""), device, -1, &model, err));
  ck_ok(xcoder_model_hidden(model, ids, START, N_SEQUENCES, 0, out->hidden, err));
  ck_ok(xcoder_model_metric(model, 0, out->hidden, START, N_SEQUENCES, right, wrong, out->metric, out->gradient, err));
  ck_ok(xcoder_model_log_probs(model, ids, START, N_SEQUENCES, out->log_probs, err));
  ck_ok(xcoder_model_log_probs_from(model, 0, out->hidden, ids, START, N_SEQUENCES, out->from, err));
  ck_ok(xcoder_model_unembed(model, out->hidden, 2, out->unembedded, err));
  xcoder_model_close(model);
  xcoder_device_close(device);
}

START_TEST(test_stop) {
  xcoder_device *device;
  xcoder_model *model;
  const uint32_t ids[3] = {1, 2, 3}, right = 4, wrong = 5;
  const size_t start[2] = {0, 3};
  static float hidden[3 * 64], gradient[3 * 64];
  float log_probs[3];
  double metric;
  volatile sig_atomic_t stop = 0;
  xcoder_error error;
  ck_ok(xcoder_device_open("cpu", &device, err));
  ck_ok(xcoder_model_open(golden_path("tiny-neox", ""), device, -1, &model, err));
  ck_assert_uint_le(xcoder_model_describe(model)->d_model, 64);
  xcoder_model_set_stop(model, &stop);
  ck_ok(xcoder_model_hidden(model, ids, start, 1, 1, hidden, err));
  stop = 1;
  ck_assert_int_eq(xcoder_model_hidden(model, ids, start, 1, 1, hidden, &error), XCODER_INTERRUPTED);
  ck_assert_int_eq(xcoder_model_log_probs(model, ids, start, 1, log_probs, &error), XCODER_INTERRUPTED);
  ck_assert_int_eq(xcoder_model_metric(model, 0, hidden, start, 1, &right, &wrong, &metric, gradient, &error),
                   XCODER_INTERRUPTED);
  stop = 0;
  ck_ok(xcoder_model_log_probs(model, ids, start, 1, log_probs, err));
  xcoder_model_close(model);
  xcoder_device_close(device);
}
END_TEST

START_TEST(test_threads) {
  static outputs one, more;
  xcoder_set_threads(1);
  compute("cpu", &one);
  ck_assert_mem_eq(one.log_probs, one.from, sizeof one.from); /* going on from a layer is the same computation */
  for (int threads = 2; threads <= 3; threads++) {
    xcoder_set_threads(threads);
    compute("cpu", &more);
    ck_assert_mem_eq(&one, &more, sizeof one);
  }
  xcoder_set_threads(0);
}
END_TEST

START_TEST(test_reference_device) {
  static outputs cpu, reference;
  compute("cpu", &cpu);
  compute("reference", &reference);
  ck_assert(relative_error(cpu.hidden, reference.hidden, N_ROWS * D) <= 1e-5); /* test_golden.c says why 1e-5 */
  ck_assert(relative_error(cpu.gradient, reference.gradient, N_ROWS * D) <= 1e-5);
  ck_assert(relative_error(cpu.log_probs, reference.log_probs, N_ROWS) <= 1e-5);
  ck_assert(relative_error(cpu.unembedded, reference.unembedded, 640) <= 1e-5);
}
END_TEST

START_TEST(test_devices) {
  xcoder_device *device = NULL;
  char *json = NULL;
  ck_assert_int_eq(xcoder_device_open("gpu", &device, NULL), XCODER_USAGE);
  ck_assert_int_eq(xcoder_device_open("cpu:1", &device, NULL), XCODER_USAGE);
  ck_assert_int_eq(xcoder_device_open("", &device, NULL), XCODER_USAGE);
  ck_assert_int_eq(xcoder_device_open("opencl:99", &device, NULL),
                   XCODER_DEVICE); /* with OpenCL too: so many there are not */
  ck_assert(device == NULL);
  ck_ok(xcoder_device_open(NULL, &device, err));
  ck_assert_str_eq(xcoder_device_name(device), "cpu");
  ck_assert(strlen(xcoder_device_kernels(device)) > 4);
  ck_ok(xcoder_device_self_test(device, err));
  xcoder_device_close(device);
  ck_ok(xcoder_device_list(&json, err));
  ck_assert(strstr(json, "\"reference\"") != NULL && strstr(json, "\"blas\"") != NULL);
  xcoder_free(json);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("checkpoints");
  TCase *tcase = tcase_create("checkpoints");
  tcase_add_checked_fixture(tcase, setup, teardown);
  tcase_add_test(tcase, test_find);
  tcase_add_test(tcase, test_tokens_seen);
  tcase_add_test(tcase, test_roots);
  tcase_add_test(tcase, test_inspect);
  tcase_add_test(tcase, test_partial);
  tcase_add_test(tcase, test_stop);
  tcase_add_test(tcase, test_threads);
  tcase_add_test(tcase, test_reference_device);
  tcase_add_test(tcase, test_devices);
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_set_fork_status(runner, CK_NOFORK);
  srunner_run_all(runner, CK_NORMAL);
  int n_failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
