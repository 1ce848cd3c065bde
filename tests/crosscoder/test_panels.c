/* SPDX-License-Identifier: Apache-2.0 */
/* Crosscoders that an OpenCL device does not take whole: a driver that gives little at once, or has little memory in
 * all. Trainings, features and reconstructions are those of a device that has room; what cannot be cut is refused. */
#include "support.h"

#include "../compute/opencl_faults.h"
#include "base/memory.h"
#include "base/random.h"
#include "compute/opencl/opencl.h"
#include "crosscoder/object.h"
#include <crosscoder.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 40, BATCH = 8, N = 3, D = 12, LATENTS = 200, WINDOW = 400, SAMPLES = 30 };
/* Bytes: a tensor of weights has 28800, a batch's features 6400, a window of samples 28800; everything 290000. */
enum { LITTLE_AT_ONCE = 10000, LITTLE_IN_ALL = 200000 };

static const float scales[N] = {0.5f, 1.0f, 1.5f};
static world synthetic;
static xcoder_train_options options;
static uint16_t window[WINDOW * N * D];
static int n_remarks;

static xcoder_status locate(void *context, uint64_t first, size_t count, xci_window *out, uint32_t *row, size_t *taken,
                            xcoder_error *err) {
  (void)context;
  (void)err;
  *taken = count;
  for (size_t i = 0; i < count; i++)
    row[i] = (uint32_t)xci_permute(7, XCI_STREAM_SAMPLES, 0, WINDOW, (first + i) % WINDOW);
  *out = (xci_window){window, WINDOW, 1};
  return XCODER_OK;
}

static xcoder_status read_rows(void *context, uint64_t first, size_t count, uint16_t *samples, xcoder_error *err) {
  uint32_t row[BATCH];
  size_t taken;
  xci_window ignored;
  xcoder_status status = locate(context, first, count, &ignored, row, &taken, err);
  for (size_t i = 0; i < count; i++)
    memcpy(samples + i * N * D, window + (size_t)row[i] * N * D, N * D * sizeof *samples);
  return status;
}

static void count_remarks(void *context, const char *message) {
  (void)context;
  n_remarks += strstr(message, "stay in the host's memory") != NULL;
}

/* What each usual step sends, least and most; of the whole of a device's memory, the most that was held. */
typedef struct counts {
  xcoder_device *device;
  xcoder_traffic before;
  uint64_t least_up, most_up, least_down, most_down;
  size_t n_steps;
} counts;
static counts seen;
static size_t peak;
static bool told; /* whether devices know what they are going to hold */

static void watch_step(void *context, const xcoder_progress *progress) {
  xcoder_traffic now;
  (void)context;
  xcoder_device_traffic(seen.device, &now);
  const uint64_t step = progress->done / options.batch_size - 1;
  const uint64_t up = now.bytes_up - seen.before.bytes_up, down = now.bytes_down - seen.before.bytes_down;
  seen.before = now;
  if (step == 0 || step % options.log_every == 0 || (step & (step - 1)) == 0 || step == STEPS - 1) return;
  if (seen.n_steps++ == 0) {
    seen.least_up = seen.most_up = up;
    seen.least_down = seen.most_down = down;
  }
  if (up < seen.least_up) seen.least_up = up;
  if (up > seen.most_up) seen.most_up = up;
  if (down < seen.least_down) seen.least_down = down;
  if (down > seen.most_down) seen.most_down = down;
}

static xcoder_status train(const char *name, bool windows) {
  xcoder_device *device = NULL;
  xci_batches batches = world_batches(&synthetic, 5000);
  batches.read = read_rows;
  batches.locate = windows ? locate : NULL;
  xcoder_monitor monitor = {.warn = count_remarks, .progress = watch_step};
  n_remarks = 0;
  OK(xcoder_device_open("opencl", &device, &error));
  seen = (counts){.device = device};
  xcoder_device_plan plan = {0};
  OK(xcoder_train_device_plan(N, D, &options, &plan, &error));
  if (told) OK(xcoder_device_fit(device, &plan, &error));
  xcoder_status status = xci_train(&batches, NULL, scales, &options, in_folder("%s", name), false, device, &monitor,
                                   NULL, &error);
  peak = xci_cl_of(device)->peak;
  xcoder_device_close(device);
  return status;
}

/* With other sums, rounded otherwise, a training stays near: the project's own bound after 100 steps is 1e-3. */
static void check_near(const char *name, const char *reference) {
  size_t n[2];
  char *text[2] = {read_whole(in_folder("%s/metrics.csv", name), &n[0]),
                   read_whole(in_folder("%s/metrics.csv", reference), &n[1])};
  char *at[2] = {text[0], text[1]};
  for (size_t i = 0; *at[0] && *at[1]; i++) {
    char *end[2];
    double x = strtod(at[0], &end[0]), y = strtod(at[1], &end[1]);
    if (end[1] == at[1]) { /* a word or a separator */
      ck_assert_msg(*at[0] == *at[1], "%s: metrics.csv has other columns", name);
      at[0]++, at[1]++;
      continue;
    }
    ck_assert_msg(isnan(y) || fabs(x - y) <= 1e-3 * fabs(y) + 1e-3, "%s: number %zu of metrics.csv is %g, not %g", name,
                  i, x, y);
    memcpy(at, end, sizeof at);
  }
  ck_assert(*at[0] == *at[1]);
  xci_free(text[0]);
  xci_free(text[1]);
}

static void set_limits(unsigned long long at_once, unsigned long long in_all) {
  fault_largest = at_once;
  fault_memory = in_all;
}

START_TEST(test_trainings) {
  choose_activation(&options, (xcoder_activation)_i);
  options.k = 12;
  options.dead_tokens = 40; /* soon, so that the auxiliary term has many features */
  options.n_auxiliary = 20;
  set_limits(0, 0);
  OK(train("whole", true));
  ck_assert_int_eq(n_remarks, 0);
  set_limits(LITTLE_AT_ONCE, 0);
  OK(train("cut", true));
  ck_assert_int_eq(n_remarks, 0);
  check_near("cut", "whole");
  set_limits(0, LITTLE_IN_ALL);
  OK(train("brought", true));
  ck_assert_int_eq(n_remarks, 1);
  check_near("brought", "whole");
  set_limits(LITTLE_AT_ONCE, LITTLE_IN_ALL);
  OK(train("both", false));
  ck_assert_int_eq(n_remarks, 1);
  check_near("both", "whole");
}
END_TEST

/* ---- The plan ---- */

static xcoder_status find_room(unsigned long long in_all, xcoder_device_room *room) {
  xcoder_device *device = NULL;
  xcoder_device_plan plan = {0};
  set_limits(0, in_all);
  OK(xcoder_device_open("opencl", &device, &error));
  OK(xcoder_train_device_plan(N, D, &options, &plan, &error));
  xcoder_status status = xcoder_device_find_room(device, &plan, room, &error);
  xcoder_device_close(device);
  return status;
}

static void choose_kind(int kind) {
  options.activation = kind == 0 ? XCODER_RELU : XCODER_BATCH_TOPK;
  options.k = kind == 0 ? 0 : kind == 1 ? 12 : 60; /* 60 of 200: gradients by dense products */
  options.auxiliary_coefficient = kind == 2 ? 0 : 1.0 / 32;
  options.dead_tokens = 40;
  options.n_auxiliary = kind == 0 ? 0 : 20;
}

/* What is needed is known to the byte: with exactly that a training has all on the device, with a byte less it works in
 * panels, and at no limit does one begin that cannot end. 4 bytes are those that a gate takes in passing. */
START_TEST(test_border) {
  enum { PASSING = 4, STRIDE = 13007 };
  xcoder_device_room room;
  choose_kind(_i);
  OK(find_room(0, &room));
  const unsigned long long exact = room.coder_bytes + PASSING, least = room.batch_bytes;
  ck_assert_uint_eq(room.n_host_panels, 0);
  set_limits(0, exact);
  OK(train("exact", _i == 1)); /* no room for a window: batches go up one by one */
  ck_assert_int_eq(n_remarks, 0);
  ck_assert_uint_le(peak, exact);
  ck_assert_uint_ge(peak, room.coder_bytes);
  set_limits(0, exact - 1);
  OK(train("below", false));
  ck_assert_int_eq(n_remarks, 1);
  check_near("below", "exact");
  size_t n_refused = 0;
  for (unsigned long long all = exact; all > least - STRIDE; all -= STRIDE) {
    xcoder_status planned = find_room(all, &room), status = train("some", true);
    ck_assert_msg(status == planned, "%llu bytes: %s", all, error.message);
    ck_assert_msg(status == XCODER_OK || strstr(error.message, "a crosscoder of 200 features needs") != NULL, "%s",
                  error.message);
    ck_assert(status || n_remarks == (room.n_host_panels > 0));
    ck_assert_uint_le(peak, all);
    n_refused += status != XCODER_OK;
  }
  ck_assert_uint_ge(n_refused, 1);
}
END_TEST

/* The bytes that cross the bus in a step are those that are foretold, and what a step sends without panels: the batch,
 * and the losses. */
START_TEST(test_foretold) {
  xcoder_device_room room;
  choose_kind(0);
  OK(find_room(0, &room));
  set_limits(0, room.coder_bytes + 4);
  told = true;
  OK(train("whole", false));
  const uint64_t up = seen.least_up, down = seen.least_down;
  ck_assert_uint_eq(up, BATCH * N * D * sizeof(float));
  for (unsigned long long all = room.batch_bytes + 40000; all < room.coder_bytes; all += 30000) {
    OK(find_room(all, &room));
    OK(train("panels", false));
    ck_assert_uint_gt(room.n_host_panels, 1);
    ck_assert_uint_gt(seen.n_steps, STEPS / 2);
    ck_assert_uint_eq(seen.least_up, up + room.step_up);
    ck_assert_uint_eq(seen.least_down, down + room.step_down);
  }
}
END_TEST

/* Features of a sample are sums over the same terms in the same order, whatever the panels are. 1000 features of width
 * 600 have 4.8 MB of weights, blocks of 1024 samples take 10.2 MB beside them. */
START_TEST(test_features) {
  enum { WIDE = 200, MANY = 1000, ALL = 14000000 };
  static float samples[SAMPLES * N * WIDE], features[2][SAMPLES * MANY], back[2][SAMPLES * N * WIDE];
  xcoder *coder = NULL;
  xcoder_device *device = NULL;
  OK(xcoder_create(N, WIDE, MANY, 0, NULL, NULL, &coder, &error));
  for (uint64_t t = 0; t < XCI_N_TENSORS; t++)
    for (size_t i = 0; i < coder->n_values[t]; i++)
      coder->weights[t][i] = 0.05f * (float)xci_random_normal(6, XCI_STREAM_TEST + t, i);
  for (size_t i = 0; i < sizeof samples / sizeof *samples; i++)
    samples[i] = (float)xci_random_normal(5, XCI_STREAM_TEST, i);
  for (int little = 0; little < 2; little++) {
    xcoder_codes codes;
    set_limits(0, little ? ALL : 0);
    OK(xcoder_device_open("opencl", &device, &error));
    OK(xcoder_encode(coder, device, samples, SAMPLES, features[little], &error));
    OK(xcoder_encode_sparse(coder, NULL, samples, SAMPLES, &codes, &error));
    OK(xcoder_decode(coder, device, &codes, back[little], &error));
    ck_assert_int_eq(device->remark[0] != '\0', little);
    xcoder_codes_free(&codes);
    xcoder_device_close(device);
  }
  ck_assert(memcmp(features[0], features[1], sizeof features[0]) == 0);
  /* Half of all features fire: dense products, whose sums, of at most 1000 terms of magnitudes below 0.2 in the mean,
   * start anew with each panel. */
  for (size_t i = 0; i < sizeof back[0] / sizeof *back[0]; i++)
    ck_assert_msg(fabsf(back[0][i] - back[1][i]) <= 2 * 1000 * 0x1p-24f * 200, "reconstruction %zu", i);
  xcoder_free_coder(coder);
}
END_TEST

START_TEST(test_refusals) {
  set_limits(6000, 0); /* less than a batch's features, which are not cut */
  FAILS(train("none", false), XCODER_DEVICE);
  ck_assert_msg(strstr(error.message, "a crosscoder of 200 features needs") != NULL, "%s", error.message);
  set_limits(0, 40000); /* less than what is needed beside the weights */
  FAILS(train("none", false), XCODER_DEVICE);
  ck_assert_msg(strstr(error.message, "are free") != NULL, "%s", error.message);
}
END_TEST

static void set_up(void) {
  told = false;
  set_limits(0, 0);
  set_up_device(&synthetic, &options, STEPS);
  options.batch_size = BATCH;
  options.n_latents = LATENTS;
  options.n_tokens = STEPS * BATCH;
  options.log_every = 10;
  xci_batches all = world_batches(&synthetic, 5000);
  OK(all.read(all.context, 0, WINDOW, window, &error));
}

static void tear_down(void) {
  set_limits(0, 0);
  free_world(&synthetic);
  remove_test_folder();
}

int main(void) {
  Suite *suite = suite_create("panels");
  TCase *tests = tcase_create("panels");
  tcase_add_checked_fixture(tests, set_up, tear_down);
  tcase_set_timeout(tests, 300);
  tcase_add_loop_test(tests, test_trainings, 0, XCODER_JUMP_RELU + 1);
  tcase_add_loop_test(tests, test_border, 0, 3);
  tcase_add_test(tests, test_foretold);
  tcase_add_test(tests, test_features);
  tcase_add_test(tests, test_refusals);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_set_fork_status(runner, CK_NOFORK); /* fork and OpenMP do not go together */
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
