/* SPDX-License-Identifier: Apache-2.0 */
/* Interrupted, damaged and resumed runs end with the same bytes as one that was left alone, at any thread count. */
#include "support.h"

#include "base/memory.h"
#include "base/random.h"
#include "crosscoder/checkpoint.h"
#include "crosscoder/checkpoint_folder.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const float scales[3] = {0.5f, 1.0f, 1.5f};
static world synthetic;
static xcoder_train_options options;

/* ---- One run ---- */

typedef struct watch {
  volatile sig_atomic_t stop;
  uint64_t stop_at; /* steps; 0: never */
  uint64_t n_warnings;
  char warning[1024]; /* the first */
} watch;

static void watch_progress(void *context, const xcoder_progress *progress) {
  watch *w = context;
  if (w->stop_at && progress->done == w->stop_at * options.batch_size) w->stop = 1;
}

static void watch_warning(void *context, const char *message) {
  watch *w = context;
  if (w->n_warnings++ == 0) snprintf(w->warning, sizeof w->warning, "%s", message);
}

static xcoder_status run(const char *name, bool resume, uint64_t stop_at, int threads, watch *seen) {
  watch own = {0}, *w = seen ? seen : &own;
  *w = (watch){.stop_at = stop_at};
  xcoder_monitor monitor = {.context = w, .progress = watch_progress, .warn = watch_warning, .stop = &w->stop};
  xci_batches train = world_batches(&synthetic, 5000), held_out = world_batches(&synthetic, 70);
  xcoder_set_threads(threads);
  error.message[0] = '\0';
  xcoder_status status = xci_train(&train, &held_out, scales, &options, in_folder("%s", name), resume, NULL, &monitor,
                                   NULL, &error);
  xcoder_set_threads(0);
  return status;
}

static void check_same_as_whole(const char *name) {
  static const char *const files[] = {"crosscoder.safetensors", "metrics.csv",
                                      "checkpoints/step-60/state.safetensors"};
  for (size_t i = 0; i < 3; i++)
    ck_assert_msg(same_file(in_folder("whole/%s", files[i]), in_folder("%s/%s", name, files[i])), "%s/%s differs", name,
                  files[i]);
}

static void set_up(void) {
  make_test_folder();
  small_options(&options);
  make_world(&synthetic, 3, 12, 10, 0.2, 3);
  OK(run("whole", false, 0, 2, NULL));
}

static void tear_down(void) {
  free_world(&synthetic);
  remove_test_folder();
}

/* ---- Interruptions ---- */

START_TEST(test_interruptions) {
  static const uint64_t stops[] = {1, 5, 8, 33, 59, 60};
  for (size_t i = 0; i < sizeof stops / sizeof *stops; i++) {
    ck_assert_int_eq(run("run", false, stops[i], 1 + (int)i % 3, NULL), XCODER_INTERRUPTED);
    ck_assert(xci_exists(in_folder("run/checkpoints/step-%d/manifest.json", (int)stops[i])));
    ck_assert(!xci_exists(in_folder("run/crosscoder.safetensors")));
    OK(run("run", true, 0, 1 + (int)(i + 1) % 3, NULL));
    check_same_as_whole("run");
  }
  OK(run("run", true, 0, 1, NULL)); /* once more when all is done */
  check_same_as_whole("run");
  OK(run("run", false, 0, 3, NULL)); /* anew in the same folder */
  check_same_as_whole("run");
}
END_TEST

/* Stopped while samples are made: in the first step, behind a validation (whose row must not stand twice), within one,
 * in the middle of a step, in the validation at the end. */
START_TEST(test_stopped_while_reading) {
  synthetic.n_read = 0;
  OK(run("run", false, 0, 2, NULL));
  const uint64_t all = synthetic.n_read, one = 64; /* samples of a validation */
  const uint64_t stops[] = {1, one + 1, one + 32 + 5, one + 12 * 32 + 3, 2 * one + 12 * 32 + 1, 2 * one + 16 * 32 + 1,
                            all / 2, all - 1};
  for (size_t i = 0; i < sizeof stops / sizeof *stops; i++) {
    synthetic.n_read = 0;
    synthetic.stop_at_read = stops[i];
    ck_assert_int_eq(run("run", false, 0, 1 + (int)i % 3, NULL), XCODER_INTERRUPTED);
    ck_assert(strstr(error.message, "stopped") != NULL);
    ck_assert(!xci_exists(in_folder("run/crosscoder.safetensors")));
    synthetic.stop_at_read = 0;
    OK(run("run", true, 0, 2, NULL));
    check_same_as_whole("run");
  }
}
END_TEST

START_TEST(test_chain) {
  ck_assert_int_eq(run("run", false, 3, 2, NULL), XCODER_INTERRUPTED);
  for (uint64_t step = 9; step < 60; step += 6)
    ck_assert_int_eq(run("run", true, step, 1 + (int)step % 3, NULL), XCODER_INTERRUPTED);
  OK(run("run", true, 0, 2, NULL));
  check_same_as_whole("run");
}
END_TEST

/* A run that dies between checkpoints leaves rows in its logs that the next one writes again. */
START_TEST(test_death) {
  for (uint64_t bad = 4; bad < 60; bad += 13) {
    watch seen;
    synthetic.bad_from = bad * 32, synthetic.bad_to = bad * 32 + 1;
    ck_assert_int_eq(run("run", false, 0, 2, NULL), XCODER_DIVERGED);
    synthetic.bad_from = synthetic.bad_to = 0;
    ck_assert_int_eq(mkdir(in_folder("run/checkpoints/step-99.tmp-1"), 0777), 0); /* what a kill leaves */
    OK(run("run", true, 0, 1, &seen));
    ck_assert(!xci_exists(in_folder("run/checkpoints/step-99.tmp-1")));
    ck_assert_uint_eq(seen.n_warnings, bad < 16); /* there was no checkpoint yet */
    check_same_as_whole("run");
  }
}
END_TEST

/* Skipped batches count in the schedule of Adam, so they are part of the state. */
START_TEST(test_skipped) {
  synthetic.bad_from = 32 * 10, synthetic.bad_to = 32 * 12;
  options.skip_nan_steps = 2;
  OK(run("whole", false, 0, 2, NULL));
  ck_assert_int_eq(run("run", false, 11, 2, NULL), XCODER_INTERRUPTED);
  OK(run("run", true, 0, 1, NULL));
  check_same_as_whole("run");
}
END_TEST

/* ---- Damage ---- */

static void damage(const char *path, size_t at, int flip, bool cut) {
  size_t n;
  char *bytes = read_whole(path, &n);
  ck_assert_uint_lt(at, n);
  bytes[at] = (char)(bytes[at] ^ flip);
  write_whole(path, bytes, cut ? at : n);
  xci_free(bytes);
}

START_TEST(test_bit_flips) {
  static const char *const files[] = {"state.safetensors", "manifest.json"};
  ck_assert_int_eq(run("run", false, 20, 2, NULL), XCODER_INTERRUPTED); /* checkpoints 16 and 20 */
  for (size_t i = 0; i < 2; i++) {
    char path[128];
    size_t n;
    snprintf(path, sizeof path, "%s", in_folder("run/checkpoints/step-20/%s", files[i]));
    char *good = read_whole(path, &n);
    for (uint64_t trial = 0; trial < 200; trial++) {
      uint64_t bit = xci_random_below(5, XCI_STREAM_TEST, trial, n * 8);
      bool cut = trial % 10 == 0;
      damage(path, bit / 8, cut ? 0 : 1 << bit % 8, cut);
      FAILS(xci_checkpoint_verify(in_folder("run/checkpoints/step-20"), NULL, &error), XCODER_STATE);
      write_whole(path, good, n);
    }
    xci_free(good);
  }
  OK(xci_checkpoint_verify(in_folder("run/checkpoints/step-20"), NULL, &error));

  /* The one before it is used, with a warning, and the end is the same. */
  watch seen;
  damage(in_folder("run/checkpoints/step-20/state.safetensors"), 5000, 4, false);
  OK(run("run", true, 0, 3, &seen));
  ck_assert_uint_eq(seen.n_warnings, 1);
  ck_assert_ptr_nonnull(strstr(seen.warning, "step-20/state.safetensors"));
  check_same_as_whole("run");
}
END_TEST

START_TEST(test_no_good_checkpoint) {
  ck_assert_int_eq(run("run", false, 20, 2, NULL), XCODER_INTERRUPTED);
  damage(in_folder("run/checkpoints/step-20/state.safetensors"), 100, 1, true);
  damage(in_folder("run/checkpoints/step-16/manifest.json"), 40, 1, false);
  FAILS(run("run", true, 0, 2, NULL), XCODER_STATE);
  xcoder *coder;
  FAILS(xcoder_load(in_folder("run"), &coder, &error), XCODER_STATE);
  FAILS(xcoder_load(in_folder("run/checkpoints/step-16"), &coder, &error), XCODER_STATE);
  ck_assert(xci_exists(in_folder("run/checkpoints/step-20"))); /* nothing was thrown away */
}
END_TEST

START_TEST(test_swapped_and_odd_names) {
  watch seen;
  ck_assert_int_eq(run("run", false, 20, 2, NULL), XCODER_INTERRUPTED);
  ck_assert_int_eq(rename(in_folder("run/checkpoints/step-16"), in_folder("run/checkpoints/step-40")), 0);
  write_whole(in_folder("run/checkpoints/step-50"), "a file", 6);
  ck_assert_int_eq(mkdir(in_folder("run/checkpoints/step-070"), 0777), 0);
  ck_assert_int_eq(mkdir(in_folder("run/checkpoints/step-55"), 0777), 0); /* empty */
  ck_assert_int_eq(mkdir(in_folder("run/checkpoints/step-58"), 0777), 0);
  ck_assert_int_eq(mkfifo(in_folder("run/checkpoints/step-58/manifest.json"), 0666), 0); /* and nobody waits for it */
  OK(run("run", true, 0, 2, &seen));
  ck_assert_uint_eq(seen.n_warnings, 4); /* 40, 50, 55 and 58 */
  check_same_as_whole("run");
}
END_TEST

/* Whole, but made by a newer version: nothing older is taken instead. One that never was is damage: the one before it
 * is taken. */
START_TEST(test_other_formats) {
  ck_assert_int_eq(run("run", false, 20, 2, NULL), XCODER_INTERRUPTED);
  char path[128];
  snprintf(path, sizeof path, "%s", in_folder("run/checkpoints/step-20/manifest.json"));
  size_t n, n_end = strlen(XCI_MANIFEST_END) - 2 + 32;
  char *bytes = read_whole(path, &n), *format = strstr(bytes, "\"format\": 1"), hash[33];
  ck_assert_ptr_nonnull(format);
  for (const char *digit = "30"; *digit; digit++) {
    watch seen;
    format[strlen("\"format\": ")] = *digit;
    xci_hash_bytes(bytes, n - n_end, hash);
    memcpy(bytes + n - 3 - 32, hash, 32);
    write_whole(path, bytes, n);
    if (*digit == '3') {
      FAILS(run("run", true, 0, 2, NULL), XCODER_STATE);
      ck_assert_msg(strstr(error.message, "format 3") != NULL, "%s", error.message);
    } else {
      OK(run("run", true, 0, 2, &seen));
      ck_assert_ptr_nonnull(strstr(seen.warning, "format 0"));
      check_same_as_whole("run");
    }
  }
  xci_free(bytes);
}
END_TEST

/* ---- Another run's state ---- */

START_TEST(test_other_configuration) {
  const xcoder_train_options before = options;
  ck_assert_int_eq(run("run", false, 20, 2, NULL), XCODER_INTERRUPTED);
#define DIFFERS(change, name)                                                                               \
  options = before;                                                                                         \
  options.change;                                                                                           \
  FAILS(run("run", true, 0, 2, NULL), XCODER_STATE);                                                        \
  ck_assert_msg(strstr(error.message, name) != NULL, "%s", error.message)
  DIFFERS(learning_rate = 1e-4, "learning_rate = 0.003, now it is 0.0001");
  DIFFERS(seed = 8, "seed");
  DIFFERS(n_latents = 25, "n_latents");
  DIFFERS(n_tokens = 32 * 61, "n_tokens");
  DIFFERS(layer = 3, "layer");
  DIFFERS(log_every = 4, "log_every");
  DIFFERS(mask.keep_first = true, "mask");
  DIFFERS(config_hash = "0123456789abcdef0123456789abcdef", "hash");
  options = before;
  options.save_every = 7; /* how often it is saved does not matter */
  options.keep_checkpoints = 3;
  OK(run("run", true, 0, 2, NULL));
  check_same_as_whole("run");

  options = before;
  options.config_hash = "0123456789abcdef0123456789abcdef";
  ck_assert_int_eq(run("run", false, 20, 2, NULL), XCODER_INTERRUPTED);
  OK(run("run", true, 0, 2, NULL));
  check_same_as_whole("run");
}
END_TEST

START_TEST(test_lost_log) {
  watch seen;
  ck_assert_int_eq(run("run", false, 20, 2, NULL), XCODER_INTERRUPTED);
  ck_assert_int_eq(remove(in_folder("run/metrics.csv")), 0);
  OK(run("run", true, 0, 2, &seen));
  ck_assert_uint_eq(seen.n_warnings, 1);
  ck_assert(same_file(in_folder("whole/crosscoder.safetensors"), in_folder("run/crosscoder.safetensors")));
}
END_TEST

/* True if the failure that was ordered did not happen yet; takes the order back. */
static bool failure_is_left(void) {
  void *memory;
  bool left = xci_alloc(1, 1, &memory, NULL) != XCODER_OK;
  xci_free(memory);
  xci_fail_allocation(0, 0);
  return left;
}

/* A place that cannot be written for a while: warned about, tried again, and no reason to stop before the end. */
static void spoil_checkpoints(void *context, const xcoder_progress *progress) {
  const watch *w = context;
  if (progress->done == 20 * options.batch_size) { /* a file where the folder was */
    ck_assert_int_eq(rename(in_folder("run/checkpoints"), in_folder("run/aside")), 0);
    write_whole(in_folder("run/checkpoints"), "x", 1);
  }
  if (w->stop_at && progress->done == w->stop_at * options.batch_size) {
    ck_assert_int_eq(remove(in_folder("run/checkpoints")), 0);
    ck_assert_int_eq(rename(in_folder("run/aside"), in_folder("run/checkpoints")), 0);
  }
}

START_TEST(test_unwritable_for_a_while) {
  xci_batches train = world_batches(&synthetic, 5000), held_out = world_batches(&synthetic, 70);
  watch seen = {.stop_at = 50};
  xcoder_monitor monitor = {.context = &seen, .progress = spoil_checkpoints, .warn = watch_warning};
  OK(xci_train(&train, &held_out, scales, &options, in_folder("run"), false, NULL, &monitor, NULL, &error));
  ck_assert_uint_eq(seen.n_warnings, 2); /* at 32 and 48 */
  check_same_as_whole("run");

  seen = (watch){0}; /* for good */
  FAILS(xci_train(&train, &held_out, scales, &options, in_folder("run"), false, NULL, &monitor, NULL, &error),
        XCODER_IO);
  ck_assert(!xci_exists(in_folder("run/crosscoder.safetensors")));
  ck_assert_int_eq(remove(in_folder("run/checkpoints")), 0);
  ck_assert_int_eq(rename(in_folder("run/aside"), in_folder("run/checkpoints")), 0);
  OK(run("run", true, 0, 2, NULL));
  check_same_as_whole("run");
}
END_TEST

/* Every allocation of a short run fails once; what is there then resumes to the same end. Some failures do no harm
 * (looking up the free disk space, removing an old checkpoint): then the run ends as if nothing had happened. */
START_TEST(test_allocation_failures) {
  options.n_tokens = 32 * 3;
  options.save_every = 1;
  options.log_every = 2;
  OK(run("whole", false, 0, 1, NULL));
  bool left = false;
  size_t n_failed = 0;
  for (long n = 1; !left; n++) {
    xci_fail_allocation(n, 0);
    xcoder_status status = run("run", false, 0, 1, NULL);
    left = failure_is_left();
    ck_assert_msg(status == XCODER_MEMORY || status == XCODER_OK, "%ld: %d %s", n, (int)status, error.message);
    n_failed += status != XCODER_OK;
    if (status && n % 8 == 0) OK(run("run", true, 0, 1, NULL));
    if (!status || n % 8 == 0) {
      ck_assert(same_file(in_folder("whole/crosscoder.safetensors"), in_folder("run/crosscoder.safetensors")));
      ck_assert(same_file(in_folder("whole/metrics.csv"), in_folder("run/metrics.csv")));
    }
    if (xci_exists(in_folder("run"))) OK(xci_remove_folder(in_folder("run"), &error));
  }
  ck_assert_uint_gt(n_failed, 100);
}
END_TEST

/* k that falls, the threshold's average, dead features and their term are all part of the state. */
static void use_ranked(xcoder_activation activation) {
  options.activation = activation;
  options.k = 2;
  options.k_start = 5;
  options.anneal_steps = 40;
  options.threshold_start = 1;
  options.dead_tokens = 32;
  options.n_auxiliary = 3;
}

START_TEST(test_ranked) {
  static const xcoder_activation kinds[] = {XCODER_BATCH_TOPK, XCODER_TOPK};
  static const int stops[] = {1, 7, 33};
  const xcoder_train_options before = options;
  for (size_t a = 0; a < 2; a++) {
    options = before;
    use_ranked(kinds[a]);
    OK(run("whole", false, 0, 2, NULL));
    for (size_t i = 0; i < 3; i++) {
      ck_assert_int_eq(run("run", false, (uint64_t)stops[i], 1 + (int)i, NULL), XCODER_INTERRUPTED);
      OK(run("run", true, 0, 3 - (int)i, NULL));
      check_same_as_whole("run");
    }
    ck_assert_int_eq(run("run", false, 20, 2, NULL), XCODER_INTERRUPTED);
    options.k = 3;
    FAILS(run("run", true, 0, 2, NULL), XCODER_STATE);
    options = before;
    FAILS(run("run", true, 0, 2, NULL), XCODER_STATE);
  }
}
END_TEST

/* Thresholds of jumprelu and their moments are part of the state. */
START_TEST(test_jump) {
  static const int stops[] = {1, 7, 33, 59};
  options.activation = XCODER_JUMP_RELU;
  options.bandwidth = options.initial_threshold = 0.05;
  options.l0_coefficient = 0.02;
  OK(run("whole", false, 0, 2, NULL));
  for (size_t i = 0; i < 4; i++) {
    ck_assert_int_eq(run("run", false, (uint64_t)stops[i], 1 + (int)i, NULL), XCODER_INTERRUPTED);
    OK(run("run", true, 0, 4 - (int)i, NULL));
    check_same_as_whole("run");
  }
  ck_assert_int_eq(run("run", false, 20, 2, NULL), XCODER_INTERRUPTED);
  options.bandwidth = 0.04;
  FAILS(run("run", true, 0, 2, NULL), XCODER_STATE);
}
END_TEST

/* ---- Snapshots ---- */

static const double shares[] = {0.01, 0.25, 0.5};
typedef struct hook {
  size_t n_calls, stop_at; /* the snapshot that ends the run, n: none */
} hook;

static xcoder_status see_snapshot(void *context, size_t index, const char *folder, bool *stop, xcoder_error *err) {
  hook *h = context;
  (void)err;
  ck_assert(strstr(folder, "/snapshots/share-") != NULL);
  h->n_calls++;
  *stop = index == h->stop_at;
  return XCODER_OK;
}

static const char *const snapshot_files[] = {"snapshots/share-0.01/crosscoder.safetensors",
                                             "snapshots/share-0.25/crosscoder.safetensors",
                                             "snapshots/share-0.5/crosscoder.safetensors"};

START_TEST(test_snapshots) {
  hook h = {0, 3};
  options.snapshots = shares;
  options.n_snapshots = 3;
  options.on_snapshot = see_snapshot;
  options.snapshot_context = &h;
  OK(run("kept", false, 0, 1, NULL));
  ck_assert_uint_eq(h.n_calls, 3);
  check_same_as_whole("kept"); /* they change no bit of the run */
  ck_assert(!xci_exists(in_folder("whole/snapshots")));
  ck_assert_int_eq(run("cut", false, 20, 2, NULL), XCODER_INTERRUPTED); /* behind the second, step 15 of 60 */
  OK(run("cut", true, 0, 3, NULL));
  check_same_as_whole("cut");
  for (size_t i = 0; i < 3; i++)
    ck_assert_msg(same_file(in_folder("kept/%s", snapshot_files[i]), in_folder("cut/%s", snapshot_files[i])), "%s",
                  snapshot_files[i]);
  xcoder *coder = NULL;
  OK(xcoder_load(in_folder("cut/%s", snapshot_files[0]), &coder, &error));
  xcoder_free_coder(coder);
  /* A run that starts anew without snapshots keeps none. */
  options.n_snapshots = 0;
  OK(run("cut", false, 0, 2, NULL));
  ck_assert(!xci_exists(in_folder("cut/snapshots")));
}
END_TEST

START_TEST(test_settled) {
  hook h = {0, 1};
  options.snapshots = shares;
  options.n_snapshots = 3;
  options.on_snapshot = see_snapshot;
  options.snapshot_context = &h;
  OK(run("short", false, 0, 2, NULL));
  ck_assert_uint_eq(h.n_calls, 2);
  ck_assert(same_file(in_folder("short/%s", snapshot_files[1]), in_folder("short/crosscoder.safetensors")));
  ck_assert(!xci_exists(in_folder("short/snapshots/share-0.5")));
  ck_assert(!xci_exists(in_folder("short/checkpoints/step-15")));
  OK(run("short", true, 0, 1, NULL)); /* resuming comes to the same end */
  ck_assert(same_file(in_folder("short/%s", snapshot_files[1]), in_folder("short/crosscoder.safetensors")));
}
END_TEST

START_TEST(test_bad_shares) {
  static const double bad[][2] = {{0, 0.5}, {0.5, 1}, {0.5, 0.5}, {0.5, 0.25}};
  for (size_t i = 0; i < 4; i++) {
    options.snapshots = bad[i];
    options.n_snapshots = 2;
    FAILS(run("bad", false, 0, 1, NULL), XCODER_USAGE);
  }
}
END_TEST

int main(void) {
  Suite *suite = suite_create("crosscoder resume");
  TCase *tests = tcase_create("resume");
  tcase_add_checked_fixture(tests, set_up, tear_down);
  tcase_add_test(tests, test_interruptions);
  tcase_add_test(tests, test_stopped_while_reading);
  tcase_add_test(tests, test_chain);
  tcase_add_test(tests, test_death);
  tcase_add_test(tests, test_skipped);
  tcase_add_test(tests, test_bit_flips);
  tcase_add_test(tests, test_no_good_checkpoint);
  tcase_add_test(tests, test_swapped_and_odd_names);
  tcase_add_test(tests, test_other_formats);
  tcase_add_test(tests, test_other_configuration);
  tcase_add_test(tests, test_lost_log);
  tcase_add_test(tests, test_unwritable_for_a_while);
  tcase_add_test(tests, test_ranked);
  tcase_add_test(tests, test_jump);
  tcase_add_test(tests, test_snapshots);
  tcase_add_test(tests, test_settled);
  tcase_add_test(tests, test_bad_shares);
  tcase_add_test(tests, test_allocation_failures);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_set_fork_status(runner, CK_NOFORK); /* OpenMP teams do not survive a fork */
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
