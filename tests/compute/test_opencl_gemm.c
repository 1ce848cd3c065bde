/* SPDX-License-Identifier: Apache-2.0 */
/* Dense products of the OpenCL backend, in float32 and of bfloat16, against sums in double precision: sizes that are
 * multiples of nothing, offsets, strides, transposes, factors. The way that products go is XCODER_OPENCL_GEMM's. */
#include "base/half.h"
#include "compute/opencl/opencl.h"
#include "tests/compute/block_test.h"

typedef struct product {
  size_t m, n, k, first;
  float alpha, beta;
} product;

static const product products[] = {{1, 1, 1, 0, 1, 0},      {3, 5, 7, 11, 1, 0},      {64, 64, 16, 0, -2, 1},
                                   {65, 130, 17, 3, 1, 1},  {129, 127, 33, 1, 1, 0},  {1, 300, 40, 0, 1, 0.5f},
                                   {257, 2, 31, 0, 0.5f, 0}, {5, 4, 0, 2, 1, 2},       {5, 4, 0, 0, 1, 0},
                                   {140, 150, 15, 7, 1, 0}};

static xcoder_device *device;
static bool three_products;

/* Stored arrays have three columns more than needed, of NaN, and `first` values before them. */
static float *padded(uint64_t stream, size_t first, size_t rows, size_t columns) {
  size_t ld = columns + 3;
  float *x = random_floats(stream, first + rows * ld, 0, 1);
  for (size_t i = 0; i < first; i++) x[i] = NAN;
  for (size_t r = 0; r < rows; r++)
    for (size_t c = columns; c < ld; c++) x[first + r * ld + c] = NAN;
  return x;
}

static cl_mem send(const float *values, size_t n) {
  cl_mem memory;
  ck_assert(xci_cl_alloc(device, n, sizeof *values, &memory, NULL) == XCODER_OK);
  ck_assert(xci_cl_write(device, memory, 0, values, n * sizeof *values, NULL) == XCODER_OK);
  return memory;
}

static double operand(const float *x, size_t first, size_t ld, size_t row, size_t column, bool transposed, bool bf16) {
  float value = x[first + (transposed ? column * ld + row : row * ld + column)];
  return (double)(bf16 ? xci_bf16_to_f32(xci_f32_to_bf16(value)) : value);
}

static void check(const product *p, bool ta, bool tb, bool bf16) {
  size_t rows_a = ta ? p->k : p->m, lda = (ta ? p->m : p->k) + 3, rows_b = tb ? p->n : p->k;
  size_t ldb = (tb ? p->k : p->n) + 3, ldc = p->n + 3, n_c = p->first + p->m * ldc;
  float *a = padded(1, p->first, rows_a, lda - 3), *b = padded(2, p->first, rows_b, ldb - 3);
  float *start = random_floats(3, n_c, 0, 1), *c = random_floats(4, n_c, 0, 1);
  cl_mem ma = send(a, p->first + rows_a * lda), mb = send(b, p->first + rows_b * ldb), mc = send(start, n_c);
  ck_assert(xci_cl_gemm_as(device, bf16 ? XCI_COMPUTE_BF16 : XCI_COMPUTE_FP32, p->m, p->n, p->k, p->alpha,
                           (xci_cl_matrix){ma, p->first, lda, ta}, (xci_cl_matrix){mb, p->first, ldb, tb}, p->beta,
                           (xci_cl_matrix){mc, p->first, ldc, false}, NULL) == XCODER_OK);
  ck_assert(xci_cl_read(device, mc, 0, c, n_c * sizeof *c, NULL) == XCODER_OK);
  for (size_t i = 0; i < p->first; i++) ck_assert(c[i] == start[i]);
  for (size_t i = 0; i < p->m; i++)
    for (size_t j = 0; j < ldc; j++) {
      size_t at = p->first + i * ldc + j;
      if (j >= p->n) {
        ck_assert(c[at] == start[at]);
        continue;
      }
      double sum = (double)p->beta * (double)start[at], scale = fabs(sum);
      for (size_t l = 0; l < p->k; l++) {
        double term = (double)p->alpha * operand(a, p->first, lda, i, l, ta, bf16) *
                      operand(b, p->first, ldb, l, j, tb, bf16);
        sum += term;
        scale += fabs(term);
      }
      /* K additions err by 2^-23 of the sum of magnitudes each where they may truncate, as on tensor cores (six for
       * each k there); float32 taken apart into two bfloat16 numbers leaves out less than 2^-16 of each term. */
      double bound = ((double)(6 * p->k + 3) * 0x1p-23 + (three_products && !bf16 ? 0x1p-16 : 0)) * scale;
      ck_assert_msg(fabs((double)c[at] - sum) <= bound, "%zux%zux%zu%s%s%s [%zu, %zu]: %g, expected %g", p->m, p->n,
                    p->k, ta ? " A^T" : "", tb ? " B^T" : "", bf16 ? " bf16" : "", i, j, (double)c[at], sum);
    }
  xci_cl_free(device, &ma);
  xci_cl_free(device, &mb);
  xci_cl_free(device, &mc);
  xci_free(a);
  xci_free(b);
  xci_free(start);
  xci_free(c);
}

START_TEST(test_products) {
  for (int kind = 0; kind < 8; kind++) check(&products[_i], kind & 1, kind & 2, kind & 4);
}
END_TEST

/* What crosses the bus and what is launched is counted. */
START_TEST(test_traffic) {
  xcoder_traffic before, after;
  ck_assert(xcoder_device_traffic(device, &before));
  check(&products[0], false, false, false);
  ck_assert(xcoder_device_traffic(device, &after));
  ck_assert_uint_eq(after.n_up - before.n_up, 3);
  ck_assert_uint_eq(after.bytes_up - before.bytes_up, 3 * 4 * 4);
  ck_assert_uint_eq(after.n_down - before.n_down, 1);
  ck_assert_uint_eq(after.bytes_down - before.bytes_down, 4 * 4);
  ck_assert_uint_eq(after.n_launches - before.n_launches, 1);
  ck_assert_uint_eq(after.n_waits - before.n_waits, 4);
  ck_assert(after.wait_seconds >= before.wait_seconds && after.host_seconds >= after.idle_seconds);
}
END_TEST

int main(void) {
  xcoder_error err = {0};
  if (xcoder_device_open("opencl", &device, &err)) {
    printf("skipped: %s\n", err.message);
    return 77;
  }
  three_products = strstr(xcoder_device_kernels(device), "three products") != NULL;
  printf("%s\n", xcoder_device_kernels(device));
  Suite *suite = suite_create("opencl gemm");
  TCase *tcase = tcase_create("products");
  tcase_add_loop_test(tcase, test_products, 0, (int)(sizeof products / sizeof *products));
  tcase_add_test(tcase, test_traffic);
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_set_fork_status(runner, CK_NOFORK);
  srunner_run_all(runner, CK_NORMAL);
  int n_failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  xcoder_device_close(device);
  return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
