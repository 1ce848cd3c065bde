/* SPDX-License-Identifier: Apache-2.0 */
/* batchtopk with its auxiliary term against torch autograd in float64 (make_auxiliary_golden.py): the reference to
 * rounding of double precision, the processor's backend to that of single precision. */
#include "base/bytes.h"
#include "base/file.h"
#include "base/memory.h"
#include "compute/compute.h"
#include "base/parallel.h"
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct golden {
  xci_map map;
  size_t next, n, d, D, B, T, k, m, n_dead;
  uint32_t dead[64];
  xcoder_device *device;
  xci_coder *coder;
  float *values;
} golden;

static double take(golden *g) {
  if (g->next * 8 >= g->map.n_bytes) ck_abort_msg("the golden file ends too early");
  return xci_load_f64(g->map.bytes + 8 * g->next++);
}

static size_t n_values(const golden *g, int t) {
  size_t row = g->n * g->d;
  return t == XCI_B_ENC ? g->D : t == XCI_B_DEC ? row : row * g->D;
}

static void open_golden(golden *g, const char *device) {
  char path[4096];
  const char *srcdir = getenv("srcdir");
  *g = (golden){0};
  snprintf(path, sizeof path, "%s/tests/compute/golden/batchtopk.f64", srcdir ? srcdir : ".");
  ck_assert_msg(xci_map_open(path, &g->map, NULL) == XCODER_OK, "cannot open %s", path);
  size_t *sizes[] = {&g->n, &g->d, &g->D, &g->B, &g->T, &g->k, &g->m, &g->n_dead};
  for (size_t i = 0; i < 8; i++) *sizes[i] = (size_t)take(g);
  ck_assert_uint_le(g->n_dead, 64);
  for (size_t i = 0; i < g->n_dead; i++) g->dead[i] = (uint32_t)take(g);
  const xci_coder_shape shape = {g->n, g->d, g->D, g->B, true, 0, false};
  ck_assert_int_eq(xcoder_device_open(device, &g->device, NULL), XCODER_OK);
  ck_assert_int_eq(g->device->ops->coder_create(g->device, &shape, &g->coder, NULL), XCODER_OK);
  ck_assert_int_eq(XCI_ALLOC(&g->values, g->n * g->d * (g->D + g->T * g->B), NULL), XCODER_OK);
  for (int t = 0; t < XCI_N_TENSORS; t++) {
    for (size_t i = 0; i < n_values(g, t); i++) g->values[i] = (float)take(g);
    ck_assert_int_eq(g->device->ops->coder_write(g->device, g->coder, (xci_coder_tensor)t, XCI_VALUE, g->values, NULL),
                     XCODER_OK);
  }
}

static void close_golden(golden *g) {
  g->device->ops->coder_free(g->device, g->coder);
  xcoder_device_close(g->device);
  xci_map_close(&g->map);
  xci_free(g->values);
}

static void compute(golden *g, const float *x, xci_losses *losses) {
  const xci_gate gate = {.kind = XCI_GATE_BATCH_TOPK, .k = g->k};
  const xci_objective objective = {.auxiliary_coefficient = 1.0 / 32, .dead = g->dead, .n_dead = g->n_dead,
                                   .n_auxiliary = g->m};
  ck_assert_int_eq(g->device->ops->coder_encode(g->device, g->coder, x, g->B, &gate, NULL), XCODER_OK);
  ck_assert_int_eq(g->device->ops->coder_backward(g->device, g->coder, &objective, losses, NULL), XCODER_OK);
}

static void check_tensors(golden *g, xci_coder_slot slot, double tolerance) {
  for (int t = 0; t < XCI_N_TENSORS; t++) {
    float *values = NULL;
    ck_assert_int_eq(XCI_ALLOC(&values, n_values(g, t), NULL), XCODER_OK);
    ck_assert_int_eq(g->device->ops->coder_read(g->device, g->coder, (xci_coder_tensor)t, slot, values, NULL),
                     XCODER_OK);
    for (size_t i = 0; i < n_values(g, t); i++) {
      double want = take(g);
      if (!(fabs((double)values[i] - want) <= tolerance * fmax(1, fabs(want))))
        ck_abort_msg("%s, tensor %d [%zu]: %.9g, expected %.9g", g->device->ops->name, t, i, (double)values[i], want);
    }
    xci_free(values);
  }
}

/* Inputs are rounded to float32 (2^-24 of values up to 4), and a gradient is a sum of at most B (D + n d) products of
 * values of order 1: 12 * 64 * 4 * 2^-24 = 2e-4 at the very worst, in truth a random walk of it: 2e-5. After 20 steps
 * of Adam of at most 0.01, which divides by the gradient's size, 1 % of a step each: 2e-3. */
START_TEST(test_against_torch) {
  const char *tested = getenv("XCODER_TEST_DEVICE"), *const devices[] = {"reference", tested != NULL ? tested : "cpu"};
  golden g;
  xci_losses losses;
  xcoder_set_threads(1 + _i);
  open_golden(&g, devices[_i]);
  size_t per_batch = g.B * g.n * g.d;
  float *x = g.values;
  for (size_t i = 0; i < g.T * per_batch; i++) x[i] = (float)take(&g);
  compute(&g, x, &losses);
  const double got[] = {losses.loss, losses.reconstruction, losses.auxiliary, losses.l0, losses.gradient_norm};
  for (int i = 0; i < 5; i++) ck_assert_double_eq_tol(got[i] / take(&g), 1, 2e-6);
  check_tensors(&g, XCI_GRADIENT, 2e-5);
  for (size_t t = 0; t < g.T; t++) {
    compute(&g, x + t * per_batch, &losses);
    ck_assert_double_eq_tol(losses.gradient_norm / take(&g), 1, 1e-3);
    const xci_adam adam = {t + 1, 0.01, 0.9, 0.999, 1e-8, 1};
    ck_assert_int_eq(g.device->ops->coder_update(g.device, g.coder, &adam, NULL), XCODER_OK);
  }
  check_tensors(&g, XCI_VALUE, 2e-3);
  ck_assert_uint_eq(g.next * 8, g.map.n_bytes);
  xcoder_set_threads(0);
  close_golden(&g);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("batchtopk");
  TCase *tests = tcase_create("torch");
  tcase_add_loop_test(tests, test_against_torch, 0, 2);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_set_fork_status(runner, CK_NOFORK); /* OpenMP teams do not survive a fork */
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
