/* SPDX-License-Identifier: Apache-2.0 */
/* The double-precision reference crosscoder against torch autograd in float64 (make_coder_golden.py). */
#include "base/bytes.h"
#include "base/file.h"
#include "base/memory.h"
#include "compute/reference/coder.h"
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const files[] = {"coder_3.f64", "coder_1.f64", "coder_5.f64"};
enum { N_FILES = 3, HEADER = 5 };

typedef struct golden {
  xci_map map;
  size_t next, n, d, D, B, T;
  xcoder_device *device;
  xci_coder *coder;
} golden;

static double take(golden *g) {
  if (g->next * 8 >= g->map.n_bytes) ck_abort_msg("the golden file ends too early");
  return xci_load_f64(g->map.bytes + 8 * g->next++);
}

static void take_tensors(golden *g, xci_coder_slot slot) {
  for (int t = 0; t < XCI_N_TENSORS; t++) {
    size_t n;
    double *values = xci_reference_coder_values(g->coder, (xci_coder_tensor)t, slot, &n);
    for (size_t i = 0; i < n; i++) values[i] = take(g);
  }
}

/* Sums of at most a few hundred terms of order 1 in double: 1e-13 relative to the largest value. */
static void check_tensors(golden *g, xci_coder_slot slot, double tolerance) {
  for (int t = 0; t < XCI_N_TENSORS; t++) {
    size_t n;
    const double *values = xci_reference_coder_values(g->coder, (xci_coder_tensor)t, slot, &n);
    for (size_t i = 0; i < n; i++) {
      double want = take(g);
      if (!(fabs(values[i] - want) <= tolerance * fmax(1, fabs(want))))
        ck_abort_msg("tensor %d [%zu]: %.17g, expected %.17g", t, i, values[i], want);
    }
  }
}

static void open_golden(golden *g, const char *name) {
  char path[4096];
  const char *srcdir = getenv("srcdir");
  *g = (golden){0};
  snprintf(path, sizeof path, "%s/tests/compute/golden/%s", srcdir ? srcdir : ".", name);
  ck_assert_msg(xci_map_open(path, &g->map, NULL) == XCODER_OK, "cannot open %s", path);
  g->n = (size_t)take(g), g->d = (size_t)take(g), g->D = (size_t)take(g);
  g->B = (size_t)take(g), g->T = (size_t)take(g);
  xci_coder_shape shape = {g->n, g->d, g->D, g->B, true, 0, false};
  ck_assert_int_eq(xcoder_device_open("reference", &g->device, NULL), XCODER_OK);
  ck_assert_int_eq(xci_reference_coder_create(g->device, &shape, &g->coder, NULL), XCODER_OK);
  take_tensors(g, XCI_VALUE);
}

static void close_golden(golden *g) {
  xci_reference_coder_free(g->device, g->coder);
  xcoder_device_close(g->device);
  xci_map_close(&g->map);
}

static void compute(golden *g, const double *x, double l1, xci_losses *losses) {
  const xci_gate gate = {.kind = XCI_GATE_RELU, .k = 0};
  ck_assert_int_eq(xci_reference_coder_encode_f64(g->coder, x, g->B, &gate, NULL), XCODER_OK);
  const xci_objective objective = {.l1_coefficient = l1};
  ck_assert_int_eq(xci_reference_coder_backward(g->device, g->coder, &objective, losses, NULL), XCODER_OK);
}

static void check_first(golden *g, const double *x) {
  xci_losses losses;
  compute(g, x, 2, &losses);
  const double got[] = {losses.loss, losses.reconstruction, losses.sparsity, losses.l0, losses.gradient_norm};
  for (int i = 0; i < 5; i++) ck_assert_double_eq_tol(got[i] / take(g), 1, 1e-13);
  for (size_t c = 0; c < g->n; c++) ck_assert_double_eq_tol(losses.squared_error[c] / take(g), 1, 1e-13);
  check_tensors(g, XCI_GRADIENT, 1e-13);
}

START_TEST(test_against_torch) {
  golden g;
  open_golden(&g, files[_i]);
  size_t per_batch = g.B * g.n * g.d;
  double *x;
  ck_assert_int_eq(XCI_ALLOC(&x, g.T * per_batch, NULL), XCODER_OK);
  for (size_t i = 0; i < g.T * per_batch; i++) x[i] = take(&g);
  check_first(&g, x);
  for (size_t t = 0; t < g.T; t++) {
    xci_losses losses;
    compute(&g, x + t * per_batch, 2 * fmin(1, (double)t / (0.05 * (double)g.T)), &losses);
    /* Adam divides by |gradient|: an error of 1e-15 in a gradient of 1e-8 moves a weight by 1e-9 a step. */
    ck_assert_double_eq_tol(losses.gradient_norm / take(&g), 1, 1e-9);
    const xci_adam adam = {t + 1, 0.01, 0.9, 0.999, 1e-8, 1};
    ck_assert_int_eq(xci_reference_coder_update(g.device, g.coder, &adam, NULL), XCODER_OK);
  }
  check_tensors(&g, XCI_VALUE, 1e-9);
  ck_assert_uint_eq(g.next * 8, g.map.n_bytes);
  xci_free(x);
  close_golden(&g);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("coder-golden");
  TCase *golden_case = tcase_create("torch");
  tcase_add_loop_test(golden_case, test_against_torch, 0, N_FILES);
  suite_add_tcase(suite, golden_case);
  SRunner *runner = srunner_create(suite);
  srunner_set_fork_status(runner, CK_NOFORK);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
