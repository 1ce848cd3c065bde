/* SPDX-License-Identifier: Apache-2.0 */
/* Products and elementwise functions of the cpu backend: values, bits at every number of threads, edges. */
#include "tests/compute/block_test.h"

#include "compute/cpu/gemm.h"
#include "compute/cpu/vector_math.h"
#include "compute/reference/reference.h"

/* ---- Products ---- */

typedef struct product {
  size_t m, n, k;
  float alpha, beta;
} product;

static const product products[] = {
  {1, 1, 1, 1, 0},       {3, 5, 7, 1, 0},        {17, 33, 65, -2, 1},   {1, 1031, 40, 1, 0.5f}, {700, 1, 40, 1, 0},
  {513, 1025, 3, 1, 0},  {130, 70, 200, 1, 1},   {5, 4, 0, 1, 0},       {5, 4, 0, 1, 2},        {600, 1100, 33, 1, 0},
};

/* The stored arrays have three columns more than needed, filled with NaN, and so has C, filled with sentinels. */
static float *padded(uint64_t stream, size_t rows, size_t columns, size_t ld) {
  float *x = random_floats(stream, rows * ld, 0, 1);
  for (size_t r = 0; r < rows; r++)
    for (size_t c = columns; c < ld; c++) x[r * ld + c] = NAN;
  return x;
}

static void check_product(const product *p, bool ta, bool tb) {
  size_t lda = (ta ? p->m : p->k) + 3, ldb = (tb ? p->k : p->n) + 3, ldc = p->n + 3;
  size_t rows_a = ta ? p->k : p->m, rows_b = tb ? p->n : p->k;
  float *a = padded(1, rows_a, lda - 3, lda), *b = padded(2, rows_b, ldb - 3, ldb);
  float *start = random_floats(3, p->m * ldc, 0, 1), *c = random_floats(3, p->m * ldc, 0, 1);
  for (int threads = 1; threads <= 3; threads++) {
    float *again = random_floats(3, p->m * ldc, 0, 1);
    xcoder_set_threads(threads);
    xci_gemm(ta, tb, p->m, p->n, p->k, p->alpha, a, lda, b, ldb, p->beta, again, ldc);
    if (threads == 1) memcpy(c, again, p->m * ldc * sizeof *c);
    ck_assert_mem_eq(c, again, p->m * ldc * sizeof *c);
    xci_free(again);
  }
  xcoder_set_threads(0);
  for (size_t i = 0; i < p->m; i += p->m > 200 ? 97 : 1)
    for (size_t j = 0; j < ldc; j++) {
      double sum = 0, scale = 1;
      if (j >= p->n) {
        ck_assert(c[i * ldc + j] == start[i * ldc + j]);
        continue;
      }
      for (size_t l = 0; l < p->k; l++) {
        double term = (double)(ta ? a[l * lda + i] : a[i * lda + l]) * (double)(tb ? b[j * ldb + l] : b[l * ldb + j]);
        sum += term;
        scale += fabs(term);
      }
      double expected = (double)p->alpha * sum + (double)p->beta * (double)start[i * ldc + j];
      /* Any order of K float32 additions errs by at most K 2^-24 of the sum of magnitudes. */
      double bound = (double)(p->k + 3) * 0x1p-24 * scale * (fabs((double)p->alpha) + fabs((double)p->beta));
      ck_assert_double_eq_tol((double)c[i * ldc + j], expected, bound);
    }
  xci_free(a);
  xci_free(b);
  xci_free(c);
  xci_free(start);
}

START_TEST(test_products) {
  for (int transpose = 0; transpose < 4; transpose++) check_product(&products[_i], transpose & 1, transpose & 2);
}
END_TEST

START_TEST(test_own_thread) {
  /* A product inside a parallel region, also one of a single thread, must give the bits of one outside. */
  enum { M = 64, N = 96, K = 300 };
  float *a = random_floats(1, M * K, 0, 1), *b = random_floats(2, K * N, 0, 1), *c = random_floats(3, M * N, 0, 1);
  xci_gemm_serial(false, false, M, N, K, 1, a, K, b, N, 0, c, N);
  for (int threads = 1; threads <= 3; threads++) {
    float *out = random_floats(4, (size_t)threads * M * N, 0, 1);
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int i = 0; i < threads; i++)
      xci_gemm_serial(false, false, M, N, K, 1, a, K, b, N, 0, out + (size_t)i * M * N, N);
    for (int i = 0; i < threads; i++) ck_assert_mem_eq(out + (size_t)i * M * N, c, M * N * sizeof *c);
    xci_free(out);
  }
  xci_free(a);
  xci_free(b);
  xci_free(c);
}
END_TEST

/* ---- Elementwise ---- */

enum { N_SCAN = 40001 };

static void scan(float *x, float low, float high) {
  for (size_t i = 0; i < N_SCAN; i++) x[i] = low + (high - low) * (float)i / (N_SCAN - 1);
}

START_TEST(test_exponentials) {
  static float x[N_SCAN], y[N_SCAN];
  scan(x, -86, 60); /* the sum must stay below 3e38 */
  memcpy(y, x, sizeof x);
  float sum = xci_exp_minus(y, N_SCAN, 0);
  double total = 0;
  for (size_t i = 0; i < N_SCAN; i++) {
    total += exp((double)x[i]);
    ck_assert_double_eq_tol((double)y[i] / exp((double)x[i]), 1, 2.5e-7); /* fit 2e-9 and two roundings of 1.2e-7 */
  }
  ck_assert_double_eq_tol((double)sum / total, 1, 1e-6);
  ck_assert(xci_sum_exp_minus(x, N_SCAN, 0) == sum);
  float special[] = {NAN, -INFINITY, -1000, 0};
  xci_exp_minus(special, 4, 0);
  ck_assert(isnan(special[0]) && special[1] < 2e-38f && special[2] < 2e-38f && special[3] == 1);
}
END_TEST

/* Printed values of the functions, to 12 digits, at -3, -1, -0.5, 0.5, 1, 3. */
START_TEST(test_activation_values) {
  static const struct {
    xci_activation activation;
    double y[6];
  } cases[] = {
    {XCI_GELU_ERF, {-0.004049694095, -0.158655253931, -0.154268769363, 0.345731230637, 0.841344746069, 2.995950305905}},
    {XCI_GELU_TANH,
     {-0.003637392082, -0.158808009392, -0.154285990175, 0.345714009825, 0.841191990608, 2.996362607918}},
    {XCI_SILU, {-0.142277619533, -0.268941421370, -0.188770334399, 0.311229665601, 0.731058578630, 2.857722380467}},
    {XCI_RELU, {0, 0, 0, 0.5, 1, 3}},
  };
  static const double x[6] = {-3, -1, -0.5, 0.5, 1, 3};
  for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
    for (size_t i = 0; i < 6; i++)
      ck_assert_double_eq_tol(xci_reference_activation(cases[c].activation, x[i]), cases[c].y[i], 1e-12);
  ck_assert_double_eq_tol(xci_reference_activation(XCI_GELU_BLOOM, -3), -0.003637392106, 1e-12);
}
END_TEST

/* The two families of functions with the constants that activation.c gives them. */
typedef void (*function)(const float *x, float *y, size_t n);
typedef void (*slope)(const float *x, const float *dy, float *dx, size_t n);

static void gelu_tanh(const float *x, float *y, size_t n) { xci_gated_sigmoid(x, y, n, 1.5957691216f, 0.044715f); }
static void gelu_tanh_backward(const float *x, const float *dy, float *dx, size_t n) {
  xci_gated_sigmoid_backward(x, dy, dx, n, 1.5957691216f, 0.044715f);
}
static void silu(const float *x, float *y, size_t n) { xci_gated_sigmoid(x, y, n, 1, 0); }
static void silu_backward(const float *x, const float *dy, float *dx, size_t n) {
  xci_gated_sigmoid_backward(x, dy, dx, n, 1, 0);
}

START_TEST(test_activations) {
  static const struct {
    xci_activation activation;
    function f;
    slope df;
  } cases[] = {{XCI_GELU_ERF, xci_gelu_erf, xci_gelu_erf_backward},
               {XCI_GELU_TANH, gelu_tanh, gelu_tanh_backward},
               {XCI_SILU, silu, silu_backward},
               {XCI_RELU, xci_relu, xci_relu_backward}};
  static float x[N_SCAN], y[N_SCAN], dy[N_SCAN], dx[N_SCAN];
  scan(x, -30, 30);
  for (size_t i = 0; i < N_SCAN; i++) dy[i] = 1 + (float)(i % 7);
  cases[_i].f(x, y, N_SCAN);
  cases[_i].df(x, dy, dx, N_SCAN);
  for (size_t i = 0; i < N_SCAN; i++) {
    double v = (double)x[i];
    /* 4e-7 of |x|: the function's own bound of 1.5e-7 and two roundings. */
    ck_assert_double_eq_tol((double)y[i], xci_reference_activation(cases[_i].activation, v), 4e-7 * fmax(0.1, fabs(v)));
    double slope_wanted = xci_reference_activation_slope(cases[_i].activation, v);
    ck_assert_double_eq_tol((double)dx[i] / (double)dy[i], slope_wanted, 2e-6);
  }
  float special[5] = {NAN, 100, -100, 0, -0.0f};
  cases[_i].f(special, special, 5);
  ck_assert(isnan(special[0]) && special[1] == 100 && special[2] <= 0 && special[2] > -1e-30f && special[3] == 0);
}
END_TEST

START_TEST(test_reductions) {
  for (size_t n = 1; n < 70; n++) {
    float *x = random_floats(n, n, 0, 1), *y = random_floats(n + 100, n, 0, 1);
    float largest = x[0];
    double dot = 0;
    for (size_t i = 0; i < n; i++) {
      largest = fmaxf(largest, x[i]);
      dot += (double)x[i] * (double)y[i];
    }
    ck_assert(xci_max_f32(x, n) == largest);
    ck_assert_double_eq_tol((double)xci_dot_f32(x, y, n), dot, (double)n * 1e-7 * 9);
    xci_free(x);
    xci_free(y);
  }
}
END_TEST

int main(void) {
  Suite *suite = suite_create("kernels");
  TCase *tcase = tcase_create("cpu");
  tcase_add_loop_test(tcase, test_products, 0, (int)(sizeof products / sizeof *products));
  tcase_add_test(tcase, test_own_thread);
  tcase_add_test(tcase, test_exponentials);
  tcase_add_test(tcase, test_activation_values);
  tcase_add_loop_test(tcase, test_activations, 0, 4);
  tcase_add_test(tcase, test_reductions);
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_set_fork_status(runner, CK_NOFORK);
  srunner_run_all(runner, CK_NORMAL);
  int n_failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
