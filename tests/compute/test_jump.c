/* SPDX-License-Identifier: Apache-2.0 */
/* Trained thresholds (gate JUMP) against torch autograd in float64 (make_jump_golden.py): the reference and the
 * tested backend. The thresholds' own Adam is restated here; src/crosscoder/jump.c has the one that is used. */
#include "coder_pair.h"

#include "base/bytes.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "compute/compute.h"
#include "compute/reference/coder.h"
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const files[] = {"jumprelu_1.f64", "jumprelu_3.f64"};

typedef struct golden {
  xci_map map;
  size_t next, n, d, D, B, T;
  double bandwidth, l0;
  xcoder_device *device;
  xci_coder *coder;
  float *x, *values, *theta, *gradient;
  double *log_theta[3];
} golden;

static double take(golden *g) {
  if (g->next * 8 >= g->map.n_bytes) ck_abort_msg("the golden file ends too early");
  return xci_load_f64(g->map.bytes + 8 * g->next++);
}

static size_t n_values(const golden *g, int t) {
  size_t row = g->n * g->d;
  return t == XCI_B_ENC ? g->D : t == XCI_B_DEC ? row : row * g->D;
}

static float *floats(size_t n) {
  float *p = NULL;
  ck_assert_int_eq(XCI_ALLOC(&p, n, NULL), XCODER_OK);
  return p;
}

static void open_golden(golden *g, const char *name, const char *device) {
  char path[4096];
  const char *srcdir = getenv("srcdir");
  *g = (golden){0};
  snprintf(path, sizeof path, "%s/tests/compute/golden/%s", srcdir ? srcdir : ".", name);
  ck_assert_msg(xci_map_open(path, &g->map, NULL) == XCODER_OK, "cannot open %s", path);
  size_t *sizes[] = {&g->n, &g->d, &g->D, &g->B, &g->T};
  for (size_t i = 0; i < 5; i++) *sizes[i] = (size_t)take(g);
  g->bandwidth = take(g), g->l0 = take(g);
  const xci_coder_shape shape = {g->n, g->d, g->D, g->B, true, 0, false};
  ck_assert_int_eq(xcoder_device_open(device, &g->device, NULL), XCODER_OK);
  ck_assert_int_eq(g->device->ops->coder_create(g->device, &shape, &g->coder, NULL), XCODER_OK);
  g->values = floats(n_values(g, XCI_W_ENC));
  g->theta = floats(g->D), g->gradient = floats(g->D);
  for (int t = 0; t < XCI_N_TENSORS; t++) {
    for (size_t i = 0; i < n_values(g, t); i++) g->values[i] = (float)take(g);
    ck_assert_int_eq(g->device->ops->coder_write(g->device, g->coder, (xci_coder_tensor)t, XCI_VALUE, g->values, NULL),
                     XCODER_OK);
  }
  for (int s = 0; s < 3; s++) ck_assert_int_eq(XCI_ALLOC(&g->log_theta[s], g->D, NULL), XCODER_OK);
  for (size_t i = 0; i < g->D; i++) g->log_theta[0][i] = take(g);
  g->x = floats(g->T * g->B * g->n * g->d);
  for (size_t i = 0; i < g->T * g->B * g->n * g->d; i++) g->x[i] = (float)take(g);
}

static void close_golden(golden *g) {
  g->device->ops->coder_free(g->device, g->coder);
  xcoder_device_close(g->device);
  xci_map_close(&g->map);
  float *arrays[] = {g->x, g->values, g->theta, g->gradient};
  for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) xci_free(arrays[i]);
  for (int s = 0; s < 3; s++) xci_free(g->log_theta[s]);
}

static void compute(golden *g, size_t batch, xci_losses *losses) {
  const xci_backend *ops = g->device->ops;
  for (size_t i = 0; i < g->D; i++) g->theta[i] = (float)exp(g->log_theta[0][i]);
  const xci_gate gate = {.kind = XCI_GATE_JUMP, .threshold = g->theta, .half_bandwidth = g->bandwidth / 2};
  const xci_objective objective = {.l0_coefficient = g->l0, .threshold_gradient = g->gradient};
  const float *x = g->x + batch * g->B * g->n * g->d;
  ck_assert_int_eq(ops->coder_encode(g->device, g->coder, x, g->B, &gate, NULL), XCODER_OK);
  ck_assert_int_eq(ops->coder_backward(g->device, g->coder, &objective, losses, NULL), XCODER_OK);
}

static void check_value(double got, double want, double tolerance, const char *what, size_t i) {
  if (!(fabs(got - want) <= tolerance * fmax(1, fabs(want))))
    ck_abort_msg("%s [%zu]: %.9g, expected %.9g", what, i, got, want);
}

static void check_tensors(golden *g, xci_coder_slot slot, double tolerance) {
  static const char *const names[] = {"W_enc", "b_enc", "W_dec", "b_dec"};
  for (int t = 0; t < XCI_N_TENSORS; t++) {
    ck_assert_int_eq(g->device->ops->coder_read(g->device, g->coder, (xci_coder_tensor)t, slot, g->values, NULL),
                     XCODER_OK);
    for (size_t i = 0; i < n_values(g, t); i++) check_value((double)g->values[i], take(g), tolerance, names[t], i);
  }
}

static void update(golden *g, size_t t, double gradient_norm) {
  const xci_adam adam = {t + 1, 0.01, 0.9, 0.999, 1e-8, 1};
  double clip = fmin(1, 1 / (gradient_norm + 1e-6));
  for (size_t i = 0; i < g->D; i++) {
    double slope = clip * (double)g->gradient[i], *m = &g->log_theta[1][i], *v = &g->log_theta[2][i];
    *m = 0.9 * *m + 0.1 * slope;
    *v = 0.999 * *v + 0.001 * slope * slope;
    g->log_theta[0][i] -= 0.01 * *m / (1 - pow(0.9, (double)t + 1)) /
                          (sqrt(*v / (1 - pow(0.999, (double)t + 1))) + 1e-8);
  }
  ck_assert_int_eq(g->device->ops->coder_update(g->device, g->coder, &adam, NULL), XCODER_OK);
}

/* Inputs are rounded to float32 (2^-24 of values up to 4), and a gradient is a sum of at most B (D + n d) products of
 * values of order 1: 40 * 32 * 4 * 2^-24 = 3e-4 at the very worst, in truth a random walk of it: 2e-5. After 12 steps
 * of Adam of at most 0.01, which divides by the gradient's size, 1 % of a step each: 2e-3. */
START_TEST(test_against_torch) {
  const char *const devices[] = {"reference", tested_device()};
  golden g;
  xci_losses losses;
  xcoder_set_threads(1 + _i / 2);
  open_golden(&g, files[_i / 2], devices[_i % 2]);
  compute(&g, 0, &losses);
  const double got[] = {losses.loss, losses.reconstruction, losses.l0, losses.gradient_norm};
  for (int i = 0; i < 4; i++) ck_assert_double_eq_tol(got[i] / take(&g), 1, 2e-6);
  check_tensors(&g, XCI_GRADIENT, 2e-5);
  for (size_t i = 0; i < g.D; i++) check_value((double)g.gradient[i], take(&g), 2e-5, "log theta", i);
  for (size_t t = 0; t < g.T; t++) {
    compute(&g, t, &losses);
    ck_assert_double_eq_tol(losses.gradient_norm / take(&g), 1, 1e-3);
    update(&g, t, losses.gradient_norm);
  }
  check_tensors(&g, XCI_VALUE, 2e-3);
  for (size_t i = 0; i < g.D; i++) check_value(g.log_theta[0][i], take(&g), 2e-3, "log theta", i);
  ck_assert_uint_eq(g.next * 8, g.map.n_bytes);
  xcoder_set_threads(0);
  close_golden(&g);
}
END_TEST

/* Bits of one gradient at 1, 2 and 5 threads; codes at 0 are no features; nothing is left of them behind set_codes. */
START_TEST(test_threads_and_codes) {
  golden g;
  xci_losses losses[3];
  float first[64] = {0};
  open_golden(&g, files[1], tested_device());
  ck_assert_uint_le(g.D, 64);
  for (int k = 0; k < 3; k++) {
    xcoder_set_threads(k == 2 ? 5 : k + 1);
    compute(&g, 1, &losses[k]);
    if (k == 0) memcpy(first, g.gradient, g.D * sizeof *first);
    ck_assert_int_eq(memcmp(first, g.gradient, g.D * sizeof *first), 0);
    ck_assert_int_eq(memcmp(&losses[0], &losses[k], sizeof *losses), 0);
  }
  xci_codes codes;
  size_t n_zero = 0, n_codes;
  ck_assert_int_eq(g.device->ops->coder_codes(g.device, g.coder, &codes, NULL), XCODER_OK);
  n_codes = codes.start[g.B];
  for (size_t p = 0; p < n_codes; p++) n_zero += codes.value[p] == 0;
  ck_assert_uint_gt(n_zero, 0);
  ck_assert_double_eq_tol(losses[0].l0 * (double)g.B, (double)(n_codes - n_zero), 1e-9);
  const xci_gate relu = {.kind = XCI_GATE_RELU};
  ck_assert_int_eq(g.device->ops->coder_encode(g.device, g.coder, g.x, g.B, &relu, NULL), XCODER_OK);
  ck_assert_int_eq(g.device->ops->coder_codes(g.device, g.coder, &codes, NULL), XCODER_OK);
  for (size_t p = 0; p < codes.start[g.B]; p++) ck_assert(codes.value[p] > 0);
  xcoder_set_threads(0);
  close_golden(&g);
}
END_TEST

/* ---- Against the reference ---- */

enum { MARGIN_TRIES = 64 };

/* Thresholds above the mean of a latent's values, moved so that no value lies so near to the edges of the ramp that
 * rounding decides; pre: of the reference. */
static void choose_thresholds(const pair *p, double half_bandwidth, const double *pre, float *theta) {
  const example e = p->shape;
  for (size_t i = 0; i < e.D; i++) {
    double norm = 0;
    for (size_t c = 0; c < e.n; c++) {
      double square = 0;
      for (size_t k = 0; k < e.d; k++) {
        double w = (double)p->tensor[XCI_W_DEC][(i * e.n + c) * e.d + k];
        square += w * w;
      }
      norm += sqrt(square);
    }
    bool clear = false;
    for (int t = 0; t < MARGIN_TRIES && !clear; t++) {
      theta[i] = 0.4f + 0.001f * (float)t;
      double margin = half_bandwidth / norm, edges[3] = {(double)theta[i] - margin, (double)theta[i],
                                                         (double)theta[i] + margin};
      clear = true;
      for (size_t b = 0; b < e.B; b++)
        for (int k = 0; k < 3; k++) clear = clear && fabs(pre[b * e.D + i] - edges[k]) > 1e-5;
    }
    ck_assert_msg(clear, "latent %zu has no free threshold", i);
  }
}

/* Largest difference as a share of the largest value. */
static double worst(const float *got, const float *want, size_t n) {
  double most = 0, largest = 1e-30;
  for (size_t i = 0; i < n; i++) {
    double error = fabs((double)got[i] - (double)want[i]);
    if (!(error <= most)) most = error;
    largest = fmax(largest, fabs((double)want[i]));
  }
  return most / largest;
}

/* Two in five features fire, or one in a hundred: a device may treat the two in different forms. Sums have at most
 * 40 terms of a column, 150 of a batch and 130 codes, 320 in all: 320 * 2^-24 = 2e-5 of their magnitudes; a sum with
 * signs is smaller than those by about the root of its number of terms, 20: 4e-4 of it. The largest value of an array
 * is what that is held against. */
START_TEST(test_against_reference) {
  const example shapes[] = {{2, 20, 130, 150, 0.1f, 0}, {2, 20, 700, 150, -2.2f, 0.01}};
  const double half_bandwidth = 0.15;
  pair p;
  xci_losses losses[2];
  open_pair(&p, shapes[_i], true);
  size_t D = p.shape.D;
  float *theta = make_floats(D), *gradient[2] = {make_floats(D), make_floats(D)};
  const xci_gate relu = {.kind = XCI_GATE_RELU};
  ck_assert_int_eq(p.backend[1]->coder_encode(p.device[1], p.coder[1], p.x, p.shape.B, &relu, NULL), XCODER_OK);
  choose_thresholds(&p, half_bandwidth, xci_reference_coder_pre(p.coder[1]), theta);
  const xci_gate gate = {.kind = XCI_GATE_JUMP, .threshold = theta, .half_bandwidth = half_bandwidth};
  for (int i = 0; i < 2; i++) {
    const xci_objective o = {.l1_coefficient = p.shape.l1, .l0_coefficient = 0.3, .threshold_gradient = gradient[i]};
    ck_assert_int_eq(p.backend[i]->coder_encode(p.device[i], p.coder[i], p.x, p.shape.B, &gate, NULL), XCODER_OK);
    ck_assert_int_eq(p.backend[i]->coder_backward(p.device[i], p.coder[i], &o, &losses[i], NULL), XCODER_OK);
  }
  ck_assert_double_eq_tol(losses[0].l0, losses[1].l0, 1e-9);
  ck_assert_double_eq_tol(losses[0].loss / losses[1].loss, 1, 4e-4);
  ck_assert_double_eq_tol(losses[0].gradient_norm / losses[1].gradient_norm, 1, 4e-4);
  ck_assert_double_le(worst(gradient[0], gradient[1], D), 4e-4);
  check_sentinels(gradient[0], D);
  for (int t = 0; t < XCI_N_TENSORS; t++) {
    float *g[2] = {make_floats(p.n_values[t]), make_floats(p.n_values[t])};
    for (int i = 0; i < 2; i++)
      ck_assert_int_eq(p.backend[i]->coder_read(p.device[i], p.coder[i], (xci_coder_tensor)t, XCI_GRADIENT, g[i], NULL),
                       XCODER_OK);
    double off = worst(g[0], g[1], p.n_values[t]);
    ck_assert_msg(off <= 4e-4, "gradient of tensor %d: %g", t, off);
    for (int i = 0; i < 2; i++) xci_free(g[i]);
  }
  xci_free(theta);
  for (int i = 0; i < 2; i++) xci_free(gradient[i]);
  close_pair(&p);
}
END_TEST

/* Gradients of thresholds without the gate that has them; a threshold of a latent of no effect has none. */
START_TEST(test_refusals) {
  golden g;
  xci_losses losses;
  xcoder_error err = {0};
  open_golden(&g, files[0], tested_device());
  const xci_backend *ops = g.device->ops;
  const xci_gate relu = {.kind = XCI_GATE_RELU};
  const xci_objective objective = {.l0_coefficient = g.l0, .threshold_gradient = g.gradient};
  ck_assert_int_eq(ops->coder_encode(g.device, g.coder, g.x, g.B, &relu, NULL), XCODER_OK);
  ck_assert_int_eq(ops->coder_backward(g.device, g.coder, &objective, &losses, &err), XCODER_USAGE);
  ck_assert_msg(strstr(err.message, "gate") != NULL, "%s", err.message);
  memset(g.values, 0, n_values(&g, XCI_W_DEC) * sizeof *g.values);
  ck_assert_int_eq(ops->coder_write(g.device, g.coder, XCI_W_DEC, XCI_VALUE, g.values, NULL), XCODER_OK);
  compute(&g, 0, &losses);
  for (size_t i = 0; i < g.D; i++) ck_assert(g.gradient[i] == 0);
  xci_codes codes;
  ck_assert_int_eq(ops->coder_codes(g.device, g.coder, &codes, NULL), XCODER_OK);
  ck_assert_int_eq(ops->coder_set_codes(g.device, g.coder, &codes, NULL), XCODER_OK);
  ck_assert_int_eq(ops->coder_backward(g.device, g.coder, &objective, &losses, NULL), XCODER_USAGE);
  close_golden(&g);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("jumprelu");
  TCase *tests = tcase_create("torch");
  tcase_add_loop_test(tests, test_against_torch, 0, 4);
  tcase_add_test(tests, test_threads_and_codes);
  tcase_add_loop_test(tests, test_against_reference, 0, 2);
  tcase_add_test(tests, test_refusals);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_set_fork_status(runner, CK_NOFORK); /* OpenMP teams do not survive a fork */
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
