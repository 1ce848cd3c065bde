/* SPDX-License-Identifier: Apache-2.0 */
/* Dense products of the OpenCL backend, in float32 and of bfloat16, with b in every type of a weight, against sums in
 * double precision: sizes that are multiples of nothing, offsets, strides, transposes, factors. The way that products
 * go is XCODER_OPENCL_GEMM's. */
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
                                   {140, 150, 15, 7, 1, 0},    {1030, 260, 5, 0, 1, 0}};

enum { N_PRODUCTS = sizeof products / sizeof *products, N_TYPES = 3 };

static xcoder_device *device;
static bool three_products;

/* One way to compute a product. aligned: rows begin at multiples of 4 values, so kernels load several at a time. */
typedef struct way {
  bool ta, tb, bf16, aligned;
  xci_cl_type type; /* of b */
} way;

/* A matrix as it is stored: more columns than needed, of NaN, and values before it. */
typedef struct stored {
  size_t first, rows, columns, ld, n;
  float *x;
} stored;

static stored pad(uint64_t stream, const product *p, const way *w, size_t rows, size_t columns) {
  stored s = {.first = p->first, .rows = rows, .columns = columns, .ld = columns + 3};
  if (w->aligned) {
    s.first = (s.first + 3) / 4 * 4;
    s.ld = (columns + 4) / 4 * 4;
  }
  s.n = s.first + rows * s.ld;
  s.x = random_floats(stream, s.n, 0, 1);
  return s;
}

static void guard(stored *s) {
  for (size_t i = 0; i < s->first; i++) s->x[i] = NAN;
  for (size_t r = 0; r < s->rows; r++)
    for (size_t c = s->columns; c < s->ld; c++) s->x[s->first + r * s->ld + c] = NAN;
}

static cl_mem send(const void *values, size_t n, size_t bytes) {
  cl_mem memory;
  ck_assert(xci_cl_alloc(device, n, bytes, &memory, NULL) == XCODER_OK);
  ck_assert(xci_cl_write(device, memory, 0, values, n * bytes, NULL) == XCODER_OK);
  return memory;
}

/* s in the given type; s->x becomes what that holds. Every fifth number is so small that float16 has few bits. */
static cl_mem send_as(stored *s, xci_cl_type type) {
  if (type == XCI_CL_F32) return send(s->x, s->n, sizeof *s->x);
  uint16_t *bits = calloc(s->n, sizeof *bits);
  for (size_t i = 0; i < s->n; i++) {
    float x = i % 5 == 0 ? s->x[i] * 0x1p-18f : s->x[i];
    bits[i] = type == XCI_CL_F16 ? xci_f32_to_f16(x) : xci_f32_to_bf16(x);
    s->x[i] = type == XCI_CL_F16 ? xci_f16_to_f32(bits[i]) : xci_bf16_to_f32(bits[i]);
  }
  cl_mem memory = send(bits, s->n, sizeof *bits);
  free(bits);
  return memory;
}

/* c of `start` after the product, on the host. */
static float *multiply(const product *p, const way *w, xci_cl_type type, cl_mem ma, const stored *a, cl_mem mb,
                       const stored *b, const stored *start) {
  float *c = random_floats(4, start->n, 0, 1);
  cl_mem mc = send(start->x, start->n, sizeof *c);
  ck_assert(xci_cl_gemm_of(device, w->bf16 ? XCI_COMPUTE_BF16 : XCI_COMPUTE_FP32, p->m, p->n, p->k, p->alpha,
                           (xci_cl_matrix){ma, a->first, a->ld, w->ta}, (xci_cl_matrix){mb, b->first, b->ld, w->tb},
                           type, p->beta, (xci_cl_matrix){mc, start->first, start->ld, false}, NULL) == XCODER_OK);
  ck_assert(xci_cl_read(device, mc, 0, c, start->n * sizeof *c, NULL) == XCODER_OK);
  xci_cl_free(device, &mc);
  return c;
}

static double operand(const stored *s, size_t row, size_t column, bool transposed, bool bf16) {
  float value = s->x[s->first + (transposed ? column * s->ld + row : row * s->ld + column)];
  return (double)(bf16 ? xci_bf16_to_f32(xci_f32_to_bf16(value)) : value);
}

static void compare(const product *p, const way *w, const stored *a, const stored *b, const stored *start,
                    const float *c) {
  bool outside = memcmp(c, start->x, start->first * sizeof *c) == 0; /* nothing beside the result changes */
  for (size_t i = 0; i < p->m; i++)
    for (size_t j = 0; j < start->ld; j++) {
      size_t at = start->first + i * start->ld + j;
      if (j >= p->n) {
        outside = outside && c[at] == start->x[at];
        continue;
      }
      double sum = (double)p->beta * (double)start->x[at], scale = fabs(sum);
      for (size_t l = 0; l < p->k; l++) {
        double term = (double)p->alpha * operand(a, i, l, w->ta, w->bf16) * operand(b, l, j, w->tb, w->bf16);
        sum += term;
        scale += fabs(term);
      }
      /* K additions err by 2^-23 of the sum of magnitudes each where they may truncate, as on tensor cores (six for
       * each k there). Two parts leave 2^-17 of each factor, and their smaller halves, 2^-8 each, are not multiplied:
       * 2^-15 of each term. */
      double bound = ((double)(6 * p->k + 3) * 0x1p-23 + (three_products && !w->bf16 ? 0x1p-15 : 0)) * scale;
      if (!(fabs((double)c[at] - sum) <= bound)) /* an assertion each would write to a file each */
        ck_abort_msg("%zux%zux%zu%s%s%s, type %d%s [%zu, %zu]: %g, expected %g", p->m, p->n, p->k, w->ta ? " A^T" : "",
                     w->tb ? " B^T" : "", w->bf16 ? " bf16" : "", (int)w->type, w->aligned ? " aligned" : "", i, j,
                     (double)c[at], sum);
    }
  ck_assert(outside);
}

/* Numbers of 16 bits give the bits of the float32 numbers that they are: parts that these have none of add nothing. */
static void check(const product *p, const way *w) {
  stored a = pad(1, p, w, w->ta ? p->k : p->m, w->ta ? p->m : p->k);
  stored b = pad(2, p, w, w->tb ? p->n : p->k, w->tb ? p->k : p->n), start = pad(3, p, w, p->m, p->n);
  guard(&a);
  guard(&b);
  cl_mem ma = send(a.x, a.n, sizeof *a.x), mb = send_as(&b, w->type);
  float *c = multiply(p, w, w->type, ma, &a, mb, &b, &start);
  compare(p, w, &a, &b, &start, c);
  if (w->type != XCI_CL_F32 && !three_products) {
    cl_mem wide = send(b.x, b.n, sizeof *b.x);
    float *widened = multiply(p, w, XCI_CL_F32, ma, &a, wide, &b, &start);
    ck_assert_mem_eq(c, widened, start.n * sizeof *c);
    xci_cl_free(device, &wide);
    xci_free(widened);
  }
  xci_cl_free(device, &ma);
  xci_cl_free(device, &mb);
  xci_free(a.x);
  xci_free(b.x);
  xci_free(start.x);
  xci_free(c);
}

START_TEST(test_products) {
  const product *p = &products[_i % N_PRODUCTS];
  for (int kind = 0; kind < 16; kind++) {
    way w = {kind & 1, kind & 2, kind & 4, kind & 8, (xci_cl_type)(_i / N_PRODUCTS)};
    if (xci_cl_reads(device, w.bf16 ? XCI_COMPUTE_BF16 : XCI_COMPUTE_FP32, w.type)) check(p, &w);
  }
}
END_TEST

/* A small one by every kernel: what a simulator has the time for (tests/oclgrind.sh). */
START_TEST(test_few) {
  const product small = {5, 7, 20, 3, 1, 0.5f};
  const char *chosen = xci_cl_of(device)->tensor_fp32;
  for (int kind = 0; kind < 2 * N_TYPES; kind++) {
    way w = {.bf16 = kind & 1, .type = (xci_cl_type)(kind / 2)};
    if (xci_cl_reads(device, w.bf16 ? XCI_COMPUTE_BF16 : XCI_COMPUTE_FP32, w.type)) check(&small, &w);
  }
  if (xci_cl_of(device)->tensor == NULL || three_products) return;
  xci_cl_of(device)->tensor_fp32 = "gemm_bf16x3";
  three_products = true;
  check(&small, &(way){.type = XCI_CL_F32});
  three_products = false;
  xci_cl_of(device)->tensor_fp32 = chosen;
}
END_TEST

/* What crosses the bus and what is launched is counted. */
START_TEST(test_traffic) {
  xcoder_traffic before, after;
  ck_assert(xcoder_device_traffic(device, &before));
  check(&products[0], &(way){.type = XCI_CL_F32});
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
  tcase_add_loop_test(tcase, test_products, 0, N_PRODUCTS * N_TYPES);
  tcase_add_test(tcase, test_traffic);
  suite_add_tcase(suite, tcase);
  tcase = tcase_create("few");
  tcase_add_test(tcase, test_few);
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_set_fork_status(runner, CK_NOFORK);
  srunner_run_all(runner, CK_NORMAL);
  int n_failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  xcoder_device_close(device);
  return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
