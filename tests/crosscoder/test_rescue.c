/* SPDX-License-Identifier: Apache-2.0 */
/* Trainings whose OpenCL device fails at the n-th allocation or command, or is lost for good then. Where the processor
 * may go on, the result is, bit for bit, that of a training on the device which was stopped after the step that the
 * warning names and resumed on the processor; where it may not, that state is on disk and leads to the same result. */
#include "support.h"

#include "../compute/opencl_faults.h"
#include "base/memory.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 20 }; /* copies after steps 1, 2, 4, 8, 16 */

static const float scales[3] = {0.5f, 1.0f, 1.5f};
static world synthetic;
static xcoder_train_options options;
static bool made[STEPS + 1]; /* expected results */

typedef struct watch {
  volatile sig_atomic_t stop;
  uint64_t stop_at; /* steps; 0: never */
  int n_notices, n_warnings;
  unsigned long from; /* step that the warning names */
} watch;

static void watch_progress(void *context, const xcoder_progress *progress) {
  watch *w = context;
  if (w->stop_at && progress->done == w->stop_at * options.batch_size) w->stop = 1;
}

static void watch_warning(void *context, const char *message) {
  watch *w = context;
  w->n_warnings += sscanf(message, "train: the processor goes on after step %lu,", &w->from) == 1;
}

static void notice(void *context, const char *message) {
  ck_assert_msg(strstr(message, "going on with the processor") != NULL, "%s", message);
  ((watch *)context)->n_notices++;
}

static xcoder_status run(const char *name, bool resume, xcoder_device *device, watch *w) {
  xcoder_monitor monitor = {.context = w, .progress = watch_progress, .warn = watch_warning, .stop = &w->stop};
  xci_batches train = world_batches(&synthetic, 5000), held_out = world_batches(&synthetic, 70);
  error.message[0] = '\0';
  return xci_train(&train, &held_out, scales, &options, in_folder("%s", name), resume, device, &monitor, NULL, &error);
}

/* What a training must end with that was taken over after step n: made when it is first asked for. */
static const char *expected(unsigned long n) {
  static char name[24];
  snprintf(name, sizeof name, "expected-%lu", n);
  if (made[n]) return name;
  made[n] = true;
  fault_reset();
  watch w = {.stop_at = n};
  xcoder_device *device = NULL;
  if (n > 0) {
    OK(xcoder_device_open("opencl", &device, &error));
    ck_assert_int_eq(run(name, false, device, &w), XCODER_INTERRUPTED);
    xcoder_device_close(device);
  }
  w = (watch){0};
  OK(run(name, n > 0, NULL, &w));
  return name;
}

static void check_result(const char *name, unsigned long from, const char *what, int n) {
  const char *right = expected(from);
  ck_assert_msg(same_file(in_folder("%s/crosscoder.safetensors", name), in_folder("%s/crosscoder.safetensors", right)),
                "%s %d: the crosscoder is not that of a training taken over after step %lu", what, n, from);
  ck_assert_msg(same_file(in_folder("%s/metrics.csv", name), in_folder("%s/metrics.csv", right)),
                "%s %d: metrics.csv is not that of a training taken over after step %lu", what, n, from);
}

/* The processor goes on. Returns whether the fault was reached. */
static bool try_going_on(int kind, int n) {
  watch w = {0};
  xcoder_device *device = NULL;
  fault_reset();
  fault_is_lost = n % 2;
  OK(xcoder_device_open("opencl", &device, &error));
  xcoder_device_set_fallback(device, notice, &w);
  fault_left[kind] = n;
  OK(run("going-on", false, device, &w));
  bool reached = w.n_notices > 0;
  ck_assert_int_le(w.n_notices, 1);
  ck_assert_str_eq(xcoder_device_name(device), reached ? "cpu" : xcoder_device_name(device));
  fault_reset();
  xcoder_device_close(device);
  if (reached) check_result("going-on", w.n_warnings ? w.from : 0, fault_names[kind], n);
  return reached;
}

/* The training ends, and is resumed on the processor. */
static void try_ending(int kind, int n) {
  watch w = {0};
  unsigned long from = 0;
  char name[32];
  snprintf(name, sizeof name, "ending-%d-%d", kind, n);
  xcoder_device *device = NULL;
  fault_reset();
  fault_is_lost = n % 2;
  OK(xcoder_device_open("opencl", &device, &error));
  fault_left[kind] = n;
  FAILS(run(name, false, device, &w), XCODER_DEVICE);
  ck_assert_int_eq(w.n_notices, 0);
  const char *at = strstr(error.message, "the state after step ");
  if (at != NULL) ck_assert_int_eq(sscanf(at, "the state after step %lu is saved", &from), 1);
  fault_reset();
  xcoder_device_close(device);
  ck_assert(from == 0 || xci_exists(in_folder("%s/checkpoints/step-%lu/manifest.json", name, from)));
  OK(run(name, true, NULL, &w));
  check_result(name, from, fault_names[kind], n);
}

static void set_up(void) {
  memset(made, 0, sizeof made);
  set_up_device(&synthetic, &options, STEPS); /* copies are newer than what is saved */
  options.log_every = 3;
}

static void tear_down(void) {
  free_world(&synthetic);
  remove_test_folder();
}

START_TEST(test_every_early_fault) {
  for (int n = 1; n <= 50; n++) {
    ck_assert(try_going_on(FAULT_ENQUEUE, n));
    ck_assert(try_going_on(FAULT_ALLOCATE, n) || n > 30);
  }
}
END_TEST

/* To the end of the training, at distances that share no factor with the calls of a step. */
START_TEST(test_deep_faults) {
  int n = 51;
  while (try_going_on(FAULT_ENQUEUE, n)) n += 67;
  ck_assert_int_gt(n, 50 * STEPS);
}
END_TEST

START_TEST(test_endings) {
  static const int at[] = {1, 2, 3, 20, 50, 77, 130, 250, 391, 600, 777, 900};
  for (size_t i = 0; i < sizeof at / sizeof *at; i++) try_ending(FAULT_ENQUEUE, at[i]);
  for (int n = 1; n < 24; n += 5) try_ending(FAULT_ALLOCATE, n);
}
END_TEST

/* States on disk that are newer than the copy are taken. */
START_TEST(test_newer_states) {
  options.save_every = 5;
  for (int n = 300; n < 1000; n += 171) ck_assert(try_going_on(FAULT_ENQUEUE, n));
  for (int n = 290; n < 1000; n += 171) try_ending(FAULT_ENQUEUE, n);
}
END_TEST

/* Thresholds and their moments, which no device has, go back with the rest; and what topk and batchtopk keep. */
START_TEST(test_activations) {
  choose_activation(&options, (xcoder_activation)(_i + 1));
  for (int n = 2; n < 1000; n += 97) ck_assert(try_going_on(FAULT_ENQUEUE, n));
  for (int n = 60; n < 1000; n += 231) try_ending(FAULT_ENQUEUE, n);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("rescue");
  TCase *tests = tcase_create("rescue");
  tcase_add_checked_fixture(tests, set_up, tear_down);
  tcase_set_timeout(tests, 300);
  tcase_add_test(tests, test_every_early_fault);
  tcase_add_test(tests, test_deep_faults);
  tcase_add_test(tests, test_endings);
  tcase_add_test(tests, test_newer_states);
  tcase_add_loop_test(tests, test_activations, 0, XCODER_JUMP_RELU);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_set_fork_status(runner, CK_NOFORK); /* fork and OpenMP do not go together */
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
