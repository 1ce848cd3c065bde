/* SPDX-License-Identifier: Apache-2.0 */
/* Trainings on an OpenCL device with windows of samples on it: the bits of a training that moves each batch; what
 * crosses the bus in a step, and how often a step waits. */
#include "support.h"

#include "base/memory.h"
#include "base/random.h"
#include <stdlib.h>
#include <string.h>

enum { STEPS = 60, WINDOW = 480, N = 3, D = 12 }; /* 15 batches a window */

static const float scales[N] = {0.5f, 1.0f, 1.5f};
static world synthetic;
static xcoder_train_options options;
static uint16_t window[WINDOW * N * D];
static uint64_t loaded; /* window + 1 */

static xcoder_status load(uint64_t which, xcoder_error *err) {
  xci_batches all = world_batches(&synthetic, 5000);
  if (loaded == which + 1) return XCODER_OK;
  loaded = which + 1;
  return all.read(all.context, which * WINDOW, WINDOW, window, err);
}

static uint32_t find_row(uint64_t sample) {
  return (uint32_t)xci_permute(7, XCI_STREAM_SAMPLES, 0, WINDOW, sample % WINDOW);
}

static xcoder_status locate(void *context, uint64_t first, size_t count, xci_window *out, uint32_t *row, size_t *taken,
                            xcoder_error *err) {
  (void)context;
  xcoder_status status = load(first / WINDOW, err);
  uint64_t left = WINDOW - first % WINDOW;
  *taken = left < count ? (size_t)left : count;
  for (size_t i = 0; i < *taken; i++) row[i] = find_row(first + i);
  *out = (xci_window){window, WINDOW, loaded};
  return status;
}

static xcoder_status read_rows(void *context, uint64_t first, size_t count, uint16_t *samples, xcoder_error *err) {
  (void)context;
  xcoder_status status = XCODER_OK;
  for (size_t i = 0; i < count && !status; i++) {
    status = load((first + i) / WINDOW, err);
    if (!status) memcpy(samples + i * N * D, window + (size_t)find_row(first + i) * N * D, N * D * sizeof *samples);
  }
  return status;
}

/* Traffic of the steps between rows of the log. */
typedef struct watch {
  xcoder_device *device;
  xcoder_traffic before;
  uint64_t step, most_up, most_waits, n_single, n_steps, n_windows;
  uint64_t launches, down; /* most of a step that waited once */
} watch;

static void watch_step(void *context, const xcoder_progress *progress) {
  watch *w = context;
  xcoder_traffic now;
  xcoder_device_traffic(w->device, &now);
  uint64_t step = progress->done / options.batch_size - 1, up = now.bytes_up - w->before.bytes_up;
  uint64_t waits = now.n_waits - w->before.n_waits;
  bool usual = step > 0 && step % options.log_every && step % options.validate_every && step != STEPS - 1 &&
               (step & (step - 1)); /* copies for the host */
  if (usual) {
    w->n_windows += up >= sizeof window;
    if (up > w->most_up && up < sizeof window) w->most_up = up;
    if (waits > w->most_waits) w->most_waits = waits;
    w->n_single += waits == 1;
    if (waits == 1 && now.n_launches - w->before.n_launches > w->launches)
      w->launches = now.n_launches - w->before.n_launches;
    if (waits == 1 && now.bytes_down - w->before.bytes_down > w->down)
      w->down = now.bytes_down - w->before.bytes_down;
    w->n_steps++;
  }
  w->before = now;
}

static void run(const char *name, bool windows, watch *w) {
  xci_batches train = world_batches(&synthetic, 5000);
  train.read = read_rows;
  train.locate = windows ? locate : NULL;
  xcoder_monitor monitor = {.context = w, .progress = watch_step};
  loaded = 0;
  *w = (watch){0};
  OK(xcoder_device_open("opencl", &w->device, &error));
  OK(xci_train(&train, NULL, scales, &options, in_folder("%s", name), false, w->device, &monitor, NULL, &error));
  xcoder_device_close(w->device);
}

START_TEST(test_same_bits) {
  watch w;
  choose_activation(&options, (xcoder_activation)_i);
  for (int bad = 0; bad < 2; bad++) { /* then a window with a batch that is left out */
    synthetic.bad_from = bad ? 600 : 0;
    synthetic.bad_to = bad ? 601 : 0;
    options.skip_nan_steps = 2;
    run("windows", true, &w);
    run("batches", false, &w);
    ck_assert(same_file(in_folder("windows/crosscoder.safetensors"), in_folder("batches/crosscoder.safetensors")));
    ck_assert(same_file(in_folder("windows/metrics.csv"), in_folder("batches/metrics.csv")));
  }
}
END_TEST

typedef struct limits { /* of a step; bytes beside the rows and the losses */
  uint64_t launches, up, down;
} limits;

/* A step sends the rows of its batch, and waits once, for the losses; twice where the number of codes turned out to ask
 * for another form, which happens when it has moved by a quarter or through the eighth of all. A window is sent
 * once. */

START_TEST(test_traffic) {
  /* Whoever needs more changes this, and doc/backends.md. batchtopk and topk: what fired, a bit a feature in words of
   * 32, and numbers of dead features, of which there are some. jumprelu: thresholds, and their gradients. */
  enum { FEATURES = 24 };
  static const limits all[] = {[XCODER_RELU] = {43, 0, 0},
                               [XCODER_BATCH_TOPK] = {92, 4 * FEATURES, 4},
                               [XCODER_TOPK] = {81, 4 * FEATURES, 4},
                               [XCODER_JUMP_RELU] = {49, 4 * FEATURES, 4 * FEATURES}};
  const limits most = all[_i];
  watch w;
  choose_activation(&options, (xcoder_activation)_i);
  ck_assert_uint_eq(options.n_latents, FEATURES);
  run("windows", true, &w);
  ck_assert_uint_gt(w.n_steps, STEPS / 2);
  ck_assert_uint_le(w.most_up, options.batch_size * sizeof(uint32_t) + most.up);
  ck_assert_uint_ge(w.most_up, options.batch_size * sizeof(uint32_t) + (most.up > 0 ? 4 : 0));
  ck_assert_uint_le(w.n_windows, STEPS * options.batch_size / WINDOW);
  ck_assert_uint_ge(w.n_single + w.n_windows + 3, w.n_steps);
  ck_assert_uint_le(w.launches, most.launches);
  ck_assert_uint_gt(w.launches, 0);
  ck_assert_uint_eq(w.down, 336 + most.down); /* the losses, and what comes with them */
  run("batches", false, &w);
  ck_assert_uint_le(w.most_up, options.batch_size * N * D * sizeof(float) + most.up);
}
END_TEST

static void set_up(void) {
  set_up_device(&synthetic, &options, STEPS);
  ck_assert(synthetic.n_checkpoints == N && synthetic.d_model == D);
  options.log_every = 10;
}

static void tear_down(void) {
  free_world(&synthetic);
  remove_test_folder();
}

int main(void) {
  Suite *suite = suite_create("window");
  TCase *tests = tcase_create("window");
  tcase_add_checked_fixture(tests, set_up, tear_down);
  tcase_set_timeout(tests, 300);
  tcase_add_loop_test(tests, test_same_bits, 0, XCODER_JUMP_RELU + 1);
  tcase_add_loop_test(tests, test_traffic, 0, XCODER_JUMP_RELU + 1);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_set_fork_status(runner, CK_NOFORK); /* fork and OpenMP do not go together */
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
