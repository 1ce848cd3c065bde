/* SPDX-License-Identifier: Apache-2.0 */
/* Transformer entries: the reference against finite differences, the cpu (or XCODER_TEST_DEVICE) against the reference,
 * and on the cpu equal bits at every number of threads. */
#include "tests/compute/block_test.h"

#include "base/bytes.h"
#include "base/half.h"
#include "compute/cpu/bf16.h"
#include "compute/cpu/isa.h"
#include "compute/cpu/transformer.h"
#include "compute/dtype.h"
#include "compute/reference/reference.h"

/* Sequences of odd lengths, one empty, one of a single row. */
static const size_t SHORT[] = {0, 3, 4, 4, 9};
static const xci_rows SHORT_ROWS = {4, SHORT};
/* Longer than a block of queries, so that tiles meet keys of several blocks. */
static const size_t LONG[] = {0, 131, 132, 170};
static const xci_rows LONG_ROWS = {3, LONG};

static size_t count_rows(const xci_rows *rows) { return rows->start[rows->n_sequences]; }

/* A central difference with step e errs by e^2/6 of the third derivative, about 1e-10 here, and by 1e-16/e of
 * rounding, 1e-11; 1e-7 of the result leaves room for directions with a small derivative. */
START_TEST(test_finite_differences) {
  made m;
  make_block(&variants[_i], &m);
  size_t n = count_rows(&SHORT_ROWS) * m.block.d_model;
  float *start = random_floats(900, n, 0.3, 1), *cotangent = random_floats(901, n, 0, 1);
  double *gradient = calloc(n, sizeof *gradient), *h = calloc(n, sizeof *h), *point = calloc(n, sizeof *point);
  for (size_t i = 0; i < n; i++) {
    point[i] = (double)start[i];
    gradient[i] = (double)cotangent[i];
  }
  ck_ok(xci_reference_block_gradient(&m.block, &SHORT_ROWS, point, gradient, err));
  for (uint64_t trial = 0; trial < 6; trial++) {
    float *direction = random_floats(910 + trial, n, 0, 1);
    const double step = 1e-5;
    double value[2] = {0, 0}, expected = 0, scale = 0;
    for (int side = 0; side < 2; side++) {
      for (size_t i = 0; i < n; i++) h[i] = point[i] + (side ? -step : step) * (double)direction[i];
      ck_ok(xci_reference_block(&m.block, &SHORT_ROWS, h, err));
      for (size_t i = 0; i < n; i++) value[side] += (double)cotangent[i] * h[i];
    }
    for (size_t i = 0; i < n; i++) {
      expected += gradient[i] * (double)direction[i];
      scale += fabs(gradient[i] * (double)direction[i]);
    }
    double difference = (value[0] - value[1]) / (2 * step);
    ck_assert_msg(fabs(difference - expected) <= 1e-7 * scale, "%s: derivative %.12g, difference %.12g (scale %g)",
                  variants[_i].name, expected, difference, scale);
    xci_free(direction);
  }
  free(gradient);
  free(h);
  free(point);
  xci_free(start);
  xci_free(cotangent);
  free_block(&m);
}
END_TEST

typedef struct result {
  float *h, *gradient;
} result;

static const char *computes = "fp32";

static bool on_cpu(void) { return strcmp(tested_device(), "cpu") == 0; }

/* Two blocks forward on a tape of two slots and back again; the same block twice tests the slots. */
static result run(const char *spec, const xci_block *made_block, const xci_rows *rows, bool with_tape) {
  static const float sentinel = 1234;
  size_t n = count_rows(rows) * made_block->d_model;
  float behind[2] = {0, 0};
  xcoder_device *device = open_tested(spec);
  copies c = {.device = device};
  const xci_block copied = copy_block(&c, made_block), *block = &copied;
  xci_buffer h, gradient;
  xci_tape *tape = NULL;
  result r;
  float *start = random_floats(900, n, 0.3, 1), *cotangent = random_floats(901, n, 0, 1);
  ck_ok(xcoder_device_set_compute(device, computes, err));
  const xci_backend *ops = device->ops;
  ck_ok(ops->buffer_create(device, n * sizeof(float) + 64, &h, err));
  ck_ok(ops->buffer_create(device, n * sizeof(float) + 64, &gradient, err));
  ck_ok(ops->upload(device, &h, 0, start, n * sizeof(float), err));
  ck_ok(ops->upload(device, &gradient, 0, cotangent, n * sizeof(float), err));
  ck_ok(ops->upload(device, &h, n * sizeof(float), &sentinel, sizeof sentinel, err));
  ck_ok(ops->upload(device, &gradient, n * sizeof(float), &sentinel, sizeof sentinel, err));
  if (with_tape) ck_ok(ops->tape_create(device, block, 2, count_rows(rows), &tape, err));
  for (size_t i = 0; i < 2; i++) ck_ok(ops->block_forward(device, block, rows, &h, tape, i, err));
  for (size_t i = 2; with_tape && i-- > 0;)
    ck_ok(ops->block_backward(device, block, rows, tape, i, &gradient, err));
  ck_ok(ops->download(device, &h, n * sizeof(float), &behind[0], sizeof sentinel, err));
  ck_ok(ops->download(device, &gradient, n * sizeof(float), &behind[1], sizeof sentinel, err));
  ck_assert(behind[0] == sentinel && behind[1] == sentinel);
  r.h = start;
  r.gradient = cotangent;
  ck_ok(ops->download(device, &h, 0, r.h, n * sizeof(float), err));
  ck_ok(ops->download(device, &gradient, 0, r.gradient, n * sizeof(float), err));
  ops->tape_free(device, tape);
  ops->buffer_free(device, &h);
  ops->buffer_free(device, &gradient);
  free_copies(&c);
  close_tested(device);
  return r;
}

static void free_result(result *r) {
  xci_free(r->h);
  xci_free(r->gradient);
}

/* float32 against double: products over K <= 50 terms err by sqrt(K) 2^-24 = 4e-7 of their largest terms; two blocks
 * of 4 products forward, 8 backward and the recomputed 3 add up to less than sqrt(30) times that, 2.3e-6; with the
 * widest head, K = 258, to 5.3e-6. */
static void compare(const char *name, const char *what, const float *x, const float *expected, size_t n) {
  double error = worst_error(x, expected, n);
  ck_assert_msg(error <= 1e-5, "%s: %s differs by %.3g of its largest value", name, what, error);
}

START_TEST(test_conformance) {
  const variant *v = &variants[_i % N_VARIANTS];
  const xci_rows *rows = _i < N_VARIANTS ? &SHORT_ROWS : &LONG_ROWS;
  made m;
  make_block(v, &m);
  size_t n = count_rows(rows) * m.block.d_model;
  result r = run(tested_device(), &m.block, rows, true), reference = run("reference", &m.block, rows, true);
  compare(v->name, "output", r.h, reference.h, n);
  compare(v->name, "gradient", r.gradient, reference.gradient, n);
  result plain = run(tested_device(), &m.block, rows, false);
  ck_assert_msg(memcmp(plain.h, r.h, n * sizeof(float)) == 0, "%s: a tape changes the output", v->name);
  free_result(&r);
  free_result(&reference);
  free_result(&plain);
  free_block(&m);
}
END_TEST

START_TEST(test_threads) {
  const variant *v = &variants[_i];
  made m;
  make_block(v, &m);
  size_t n = count_rows(&LONG_ROWS) * m.block.d_model;
  xcoder_set_threads(1);
  result one = run("cpu", &m.block, &LONG_ROWS, true);
  for (int threads = 2; threads <= 3; threads++) {
    xcoder_set_threads(threads);
    result more = run("cpu", &m.block, &LONG_ROWS, true);
    ck_assert_msg(memcmp(one.h, more.h, n * sizeof(float)) == 0, "%s: output, %d threads", v->name, threads);
    ck_assert_msg(memcmp(one.gradient, more.gradient, n * sizeof(float)) == 0, "%s: gradient, %d threads", v->name,
                  threads);
    free_result(&more);
  }
  xcoder_set_threads(0);
  free_result(&one);
  free_block(&m);
}
END_TEST

/* ---- Weights of the types of files ---- */

static const xci_dtype TYPES[] = {XCI_F16, XCI_BF16, XCI_F64, XCI_F32};
enum { N_TYPES = sizeof TYPES / sizeof *TYPES };

/* The values in the bytes of a type, at an odd address. */
static unsigned char *to_bytes(const float *values, size_t n, xci_dtype dtype) {
  unsigned char *bytes = NULL;
  size_t width = xci_dtype_bytes(dtype);
  ck_ok(xci_alloc(n * width + 1, 1, (void **)&bytes, err));
  for (size_t i = 0; i < n; i++) {
    unsigned char *p = bytes + 1 + i * width;
    if (dtype == XCI_F64) xci_store_f64(p, (double)values[i]);
    else if (dtype == XCI_F32) xci_store_f32(p, values[i]);
    else xci_store_u16(p, dtype == XCI_F16 ? xci_f32_to_f16(values[i]) : xci_f32_to_bf16(values[i]));
  }
  return bytes;
}

/* Every weight of the block in two forms: as bytes of `dtype` in `typed`, and in `plain` as the float32 numbers that
 * they stand for. The bytes are returned. */
static void retype(made *plain, made *typed, xci_dtype dtype, unsigned char *bytes[MAX_MADE]) {
  for (size_t i = 0; i < plain->n; i++) {
    size_t n = plain->weight[i]->rows * plain->weight[i]->columns;
    bytes[i] = to_bytes(plain->values[i], n, dtype);
    xci_dtype_to_f32(bytes[i] + 1, dtype, n, plain->values[i]);
    size_t rows = typed->weight[i]->rows, columns = typed->weight[i]->columns;
    xci_weight *fresh;
    ck_ok(xci_backend_cpu.weight_create(NULL, bytes[i] + 1, dtype, rows, columns, &fresh, err));
    ck_assert(rows == 1 || fresh->host == NULL); /* a matrix is not copied */
    xci_weight old = *typed->weight[i]; /* the block points to it: its contents change places */
    *typed->weight[i] = *fresh;
    *fresh = old;
    xci_backend_cpu.weight_free(NULL, fresh);
  }
}

/* Conversion inside the products gives the bits of products of float32 weights, which bear the same numbers. */
START_TEST(test_types) {
  const variant *v = &variants[_i % N_VARIANTS];
  xci_dtype dtype = TYPES[_i / N_VARIANTS];
  unsigned char *bytes[MAX_MADE];
  made plain, typed;
  make_block(v, &plain);
  make_block(v, &typed);
  retype(&plain, &typed, dtype, bytes);
  size_t n = count_rows(&LONG_ROWS) * plain.block.d_model;
  for (int tape = 0; tape < 2; tape++) {
    result expected = run(tested_device(), &plain.block, &LONG_ROWS, tape), r;
    r = run(tested_device(), &typed.block, &LONG_ROWS, tape);
    ck_assert_msg(memcmp(r.h, expected.h, n * sizeof(float)) == 0, "%s: output with %s", v->name,
                  xci_dtype_name(dtype));
    ck_assert_msg(memcmp(r.gradient, expected.gradient, n * sizeof(float)) == 0, "%s: gradient with %s", v->name,
                  xci_dtype_name(dtype));
    free_result(&r);
    free_result(&expected);
  }
  for (size_t i = 0; i < plain.n; i++) xci_free(bytes[i]);
  free_block(&plain);
  free_block(&typed);
}
END_TEST

/* More than one panel of converted weights, in both orientations. */
START_TEST(test_panels) {
  enum { M = 5, LARGE = 2500, DEPTH = 2048 };
  bool transpose = _i == 0;
  xcoder_device *device;
  made m;
  memset(&m, 0, sizeof m);
  const xci_weight *plain = transpose ? make_weight(&m, LARGE, DEPTH, 0, 1) : make_weight(&m, DEPTH, LARGE, 0, 1);
  unsigned char *bytes = to_bytes(m.values[0], (size_t)LARGE * DEPTH, XCI_BF16);
  xci_dtype_to_f32(bytes + 1, XCI_BF16, (size_t)LARGE * DEPTH, m.values[0]);
  xci_weight *typed;
  ck_ok(xci_backend_cpu.weight_create(NULL, bytes + 1, XCI_BF16, plain->rows, plain->columns, &typed, err));
  float *a = random_floats(50, M * DEPTH, 0, 1), *c[2] = {random_floats(51, M * LARGE, 0, 1),
                                                        random_floats(51, M * LARGE, 0, 1)};
  ck_ok(xcoder_device_open("cpu", &device, err));
  for (int threads = 1; threads <= 3; threads++) {
    xcoder_set_threads(threads);
    ck_ok(xci_cpu_product(device, transpose, M, a, DEPTH, plain, 1, c[0], LARGE, err));
    ck_ok(xci_cpu_product(device, transpose, M, a, DEPTH, typed, 1, c[1], LARGE, err));
    ck_assert_mem_eq(c[1], c[0], M * LARGE * sizeof(float));
  }
  xcoder_set_threads(0);
  xcoder_device_close(device);
  xci_backend_cpu.weight_free(NULL, typed);
  for (int i = 0; i < 2; i++) xci_free(c[i]);
  xci_free(a);
  xci_free(bytes);
  free_block(&m);
}
END_TEST

/* ---- Products of bfloat16 numbers ---- */

static double rounded(float x) { return (double)xci_bf16_to_f32(xci_f32_to_bf16(x)); }

/* Against sums in double of the same rounded numbers: k <= 300 additions in float32 err by at most k 2^-24 of the sum
 * of magnitudes, and the instruction rounds pairs without an intermediate result, which does not add to that. */
static void check_bf16(xcoder_device *device, size_t m, size_t n, size_t k, bool transpose, xci_dtype dtype) {
  made w;
  memset(&w, 0, sizeof w);
  make_weight(&w, transpose ? n : k, transpose ? k : n, 0, 1);
  unsigned char *bytes = to_bytes(w.values[0], n * k, dtype);
  xci_dtype_to_f32(bytes + 1, dtype, n * k, w.values[0]);
  xci_weight weight = {.rows = w.weight[0]->rows, .columns = w.weight[0]->columns, .dtype = dtype,
                       .source = bytes + 1};
  float *a = random_floats(60, m * k, 0, 1), *c = random_floats(61, m * (n + 3), 0, 1),
        *guard = random_floats(61, m * (n + 3), 0, 1);
  ck_ok(xci_cpu_product_bf16(device, transpose, m, a, k, &weight, c, n + 3, err));
  for (size_t i = 0; i < m; i++) {
    for (size_t j = 0; j < n; j++) {
      double sum = 0, size = 0;
      for (size_t l = 0; l < k; l++) {
        double term = rounded(a[i * k + l]) * rounded(w.values[0][transpose ? j * k + l : l * n + j]);
        sum += term;
        size += fabs(term);
      }
      double error = fabs((double)c[i * (n + 3) + j] - sum);
      ck_assert_msg(error <= (double)k * 0x1p-24 * size, "%zu x %zu x %zu at %zu, %zu: off by %g", m, n, k, i, j,
                    error);
    }
    ck_assert_mem_eq(c + i * (n + 3) + n, guard + i * (n + 3) + n, 3 * sizeof *c); /* nothing beside the result */
  }
  xci_free(a);
  xci_free(c);
  xci_free(guard);
  xci_free(bytes);
  free_block(&w);
}

START_TEST(test_bf16_products) {
  static const size_t shapes[][3] = {{1, 1, 1}, {6, 64, 32}, {7, 65, 33}, {13, 130, 300}, {200, 70, 31}, {5, 3, 2}};
  const char *reason;
  xcoder_device *device;
  ck_ok(xcoder_device_open("cpu", &device, err));
  if (xci_cpu_has_bf16(&reason)) {
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
      for (size_t t = 0; t < N_TYPES; t++)
        for (int transpose = 0; transpose < 2; transpose++)
          check_bf16(device, shapes[s][0], shapes[s][1], shapes[s][2], transpose != 0, TYPES[t]);
  } else {
    printf("skipped: products of bfloat16 numbers (%s)\n", reason);
  }
  xcoder_device_close(device);
}
END_TEST

/* A block in bf16: near the float32 result, the same at every number of threads and with other sequences beside it. */
START_TEST(test_bf16_block) {
  const variant *v = &variants[_i];
  const char *reason;
  if (!xci_cpu_has_bf16(&reason)) return;
  made m;
  make_block(v, &m);
  size_t d = m.block.d_model, n = count_rows(&LONG_ROWS) * d;
  result exact = run("cpu", &m.block, &LONG_ROWS, true);
  computes = "bf16";
  result half = run("cpu", &m.block, &LONG_ROWS, true);
  /* Each number is off by 2^-9 of itself at most; 8 products of a K <= 50 with random errors stay below 0.05. */
  double error = worst_error(half.h, exact.h, n);
  ck_assert_msg(error <= 0.05 && error > 0, "%s: bf16 is off by %g of the largest value", v->name, error);
  for (int threads = 1; threads <= 3; threads++) {
    xcoder_set_threads(threads);
    result again = run("cpu", &m.block, &LONG_ROWS, true);
    ck_assert_mem_eq(again.h, half.h, n * sizeof(float));
    ck_assert_mem_eq(again.gradient, half.gradient, n * sizeof(float));
    free_result(&again);
  }
  xcoder_set_threads(0);
  computes = "fp32";
  free_result(&exact);
  free_result(&half);
  free_block(&m);
}
END_TEST

/* The same of another device, whose attention stays in float32. */
START_TEST(test_bf16_device) {
  made m;
  make_block(&variants[_i], &m);
  size_t n = count_rows(&LONG_ROWS) * m.block.d_model;
  result exact = run(tested_device(), &m.block, &LONG_ROWS, false);
  computes = "bf16";
  result half = run(tested_device(), &m.block, &LONG_ROWS, false);
  computes = "fp32";
  double error = worst_error(half.h, exact.h, n);
  ck_assert_msg(error <= 0.05 && error > 0, "%s: bf16 is off by %g of the largest value", variants[_i].name, error);
  free_result(&exact);
  free_result(&half);
  free_block(&m);
}
END_TEST

/* The same against the reference with the same factors rounded, forward and back: the gradient is that of the rounded
 * pass, by products in float32. Both sides sum the same numbers, so what compare() says holds (1e-5), unless a factor
 * lies so near a border that it is rounded the other way: float32 errs by about 1e-7 and borders are 2^-8 apart, so of
 * 200 to 14000 factors one or two in some of the variants. Such a one moves its term by 2^-8, and what follows by that
 * share of the largest value: none is off by more than 2^-7, and half of the variants have none. */
START_TEST(test_bf16_gradients) {
  int exact = 0;
  for (size_t i = 0; i < N_VARIANTS; i++) {
    made m;
    make_block(&variants[i], &m);
    size_t n = count_rows(&SHORT_ROWS) * m.block.d_model;
    computes = "bf16";
    result r = run(tested_device(), &m.block, &SHORT_ROWS, true);
    computes = "fp32";
    xci_reference_round_products(true);
    result expected = run("reference", &m.block, &SHORT_ROWS, true);
    xci_reference_round_products(false);
    double error = worst_error(r.h, expected.h, n), back = worst_error(r.gradient, expected.gradient, n);
    ck_assert_msg(error <= 0x1p-7, "%s: output differs by %.3g of its largest value", variants[i].name, error);
    ck_assert_msg(back <= 0x1p-7, "%s: gradient differs by %.3g of its largest value", variants[i].name, back);
    exact += error <= 1e-5 && back <= 1e-5;
    free_result(&r);
    free_result(&expected);
    free_block(&m);
  }
  ck_assert_msg(exact >= N_VARIANTS / 2, "only %d of %d variants agree with the reference", exact, (int)N_VARIANTS);
}
END_TEST

START_TEST(test_compute_refuses) {
  xcoder_device *device;
  xcoder_error error;
  ck_ok(xcoder_device_open("reference", &device, err));
  ck_ok(xcoder_device_set_compute(device, "fp32", err));
  ck_assert_int_eq(xcoder_device_set_compute(device, "bf16", &error), XCODER_DEVICE);
  ck_assert_int_eq(xcoder_device_set_compute(device, "fp64", &error), XCODER_USAGE);
  ck_assert_ptr_nonnull(strstr(error.message, "'fp64'"));
  xcoder_device_close(device);
  ck_assert_int_eq(setenv("XCODER_ISA", "avx2", 1), 0);
  ck_ok(xcoder_device_open("cpu", &device, err));
  ck_assert_ptr_null(strstr(xcoder_device_kernels(device), "avx512")); /* the environment's limit is told */
  ck_assert_int_eq(xcoder_device_set_compute(device, "bf16", &error), XCODER_DEVICE);
  ck_assert_ptr_nonnull(strstr(error.message, "bf16"));
  xcoder_device_close(device);
  unsetenv("XCODER_ISA");
}
END_TEST

START_TEST(test_empty) {
  static const size_t none[] = {0, 0};
  static const xci_rows cases[] = {{0, none}, {1, none}};
  made m;
  make_block(&variants[0], &m);
  for (int c = 0; c < 2; c++)
    for (int spec = 0; spec < 2; spec++) {
      result r = run(spec ? tested_device() : "reference", &m.block, &cases[c], true);
      free_result(&r);
    }
  free_block(&m);
}
END_TEST

/* ---- Head and embedding ---- */

enum { D = 7, MAX_ROWS = 300, N_TOKENS = 3 };

typedef struct head_result {
  float embedded[MAX_ROWS * D], logits[MAX_ROWS * N_TOKENS], normalizer[MAX_ROWS], log_probs[MAX_ROWS];
  float gradient[MAX_ROWS * D];
  float *projected;
} head_result;

static void run_head(const char *spec, size_t n_vocab, size_t n_rows, xci_norm_kind kind, head_result *out) {
  static uint32_t token[MAX_ROWS * N_TOKENS];
  static float weight[MAX_ROWS * N_TOKENS];
  static size_t row[MAX_ROWS];
  xci_buffer h, gradient;
  made m;
  memset(&m, 0, sizeof m);
  memset(out, 0, sizeof *out);
  xcoder_device *device = open_tested(spec);
  copies c = {.device = device};
  variant v = {.norm = kind, .affine = true, .biases = kind == XCI_NORM_LAYER};
  xci_norm norm = copy_norm(&c, make_norm(&m, &v, D));
  const xci_weight *table = copy_weight(&c, make_weight(&m, n_vocab, D, 0, 1));
  xci_head head = {D, n_vocab, norm, table};
  for (size_t i = 0; i < n_rows * N_TOKENS; i++) {
    token[i] = (uint32_t)xci_random_below(1, XCI_STREAM_TEST, i, n_vocab);
    weight[i] = (float)xci_random_normal(2, XCI_STREAM_TEST, i);
  }
  for (size_t i = 0; i < n_rows; i++) row[i] = (i * 7 + 3) % n_rows; /* repeats rows where 7 divides n_rows */
  const xci_backend *ops = device->ops;
  ck_ok(ops->buffer_create(device, n_rows * D * sizeof(float), &h, err));
  ck_ok(ops->buffer_create(device, n_rows * D * sizeof(float), &gradient, err));
  const size_t start[] = {0, n_rows / 3, n_rows};
  const xci_rows rows = {2, start};
  const xci_weight *positions = copy_weight(&c, make_weight(&m, n_rows + 1, D, 0, 1));
  ck_ok(ops->embed(device, &(xci_embedding){table, positions, &norm}, token, &rows, &h, err));
  ck_ok(ops->download(device, &h, 0, out->embedded, n_rows * D * sizeof(float), err));
  ck_ok(ops->embed(device, &(xci_embedding){table, NULL, NULL}, token, &rows, &h, err));
  ck_ok(ops->head_logits(device, &head, &h, row, n_rows, token, N_TOKENS, out->logits, out->normalizer, err));
  ck_ok(ops->head_log_probs(device, &head, &h, row, n_rows, token, out->log_probs, err));
  ck_ok(ops->head_backward(device, &head, &h, n_rows, row, n_rows, token, N_TOKENS, weight, &gradient, err));
  ck_ok(ops->download(device, &gradient, 0, out->gradient, n_rows * D * sizeof(float), err));
  out->projected = random_floats(1, n_rows * n_vocab, 0, 1);
  ck_ok(ops->head_project(device, &head, &h, row, n_rows, kind == XCI_NORM_RMS, out->projected, err));
  ops->buffer_free(device, &h);
  ops->buffer_free(device, &gradient);
  free_copies(&c);
  close_tested(device);
  free_block(&m);
}

START_TEST(test_head) {
  /* Vocabulary and rows beyond one piece of each; a single row and a single token; no rows. */
  static const struct {
    size_t n_vocab, n_rows;
  } cases[] = {{4099, 5}, {13, 280}, {1, 1}, {5, 0}, {3, 1}};
  static head_result tested, reference, again;
  size_t n_vocab = cases[_i].n_vocab, n = cases[_i].n_rows;
  xci_norm_kind kind = _i % 2 == 0 ? XCI_NORM_LAYER : XCI_NORM_RMS;
  run_head(tested_device(), n_vocab, n, kind, &tested);
  run_head("reference", n_vocab, n, kind, &reference);
  compare("head", "embedding", tested.embedded, reference.embedded, n * D);
  compare("head", "logits", tested.logits, reference.logits, n * N_TOKENS);
  compare("head", "gradient", tested.gradient, reference.gradient, n * D);
  compare("head", "projection", tested.projected, reference.projected, n * n_vocab);
  for (size_t i = 0; i < n; i++) { /* a logarithm errs by the relative error of its argument: absolute */
    ck_assert_double_eq_tol((double)tested.normalizer[i], (double)reference.normalizer[i], 1e-5);
    ck_assert_double_eq_tol((double)tested.log_probs[i], (double)reference.log_probs[i], 1e-5);
  }
  for (int threads = 1; threads <= 3 && on_cpu(); threads++) {
    xcoder_set_threads(threads);
    run_head("cpu", n_vocab, n, kind, &again);
    ck_assert_mem_eq(again.log_probs, tested.log_probs, sizeof tested.log_probs);
    ck_assert_mem_eq(again.normalizer, tested.normalizer, sizeof tested.normalizer);
    ck_assert_mem_eq(again.gradient, tested.gradient, sizeof tested.gradient);
    if (n > 0) ck_assert_mem_eq(again.projected, tested.projected, n * n_vocab * sizeof(float));
    xci_free(again.projected);
  }
  xcoder_set_threads(0);
  xci_free(tested.projected);
  xci_free(reference.projected);
}
END_TEST

START_TEST(test_head_refuses) {
  static const uint32_t bad = 5;
  static const size_t row = 0;
  const char *const specs[] = {tested_device(), "reference"};
  made m;
  memset(&m, 0, sizeof m);
  const xci_weight *plain = make_weight(&m, 5, D, 0, 1);
  for (int s = 0; s < 2; s++) {
    xcoder_device *device = open_tested(specs[s]);
    copies c = {.device = device};
    const xci_weight *table = copy_weight(&c, plain);
    xci_head head = {D, 5, {.kind = XCI_NORM_LAYER, .epsilon = 1e-5f}, table};
    xci_buffer h;
    float out;
    ck_ok(device->ops->buffer_create(device, D * sizeof(float), &h, err));
    static const size_t start[] = {0, 1}, two[] = {0, 2};
    static const uint32_t good[2] = {0};
    xci_embedding embedding = {table, NULL, NULL};
    ck_assert_int_eq(device->ops->embed(device, &embedding, &bad, &(xci_rows){1, start}, &h, NULL), XCODER_USAGE);
    embedding.positions = table; /* of 5 rows */
    ck_ok(device->ops->embed(device, &embedding, good, &(xci_rows){1, start}, &h, err));
    ck_assert_int_eq(device->ops->embed(device, &embedding, good, &(xci_rows){1, two}, &h, NULL), XCODER_INTERNAL);
    const xci_weight *one = copy_weight(&c, make_weight(&m, 1, D / 2, 0, 1));
    const xci_weight *table_of_one = copy_weight(&c, make_weight(&m, 5, D / 2, 0, 1));
    embedding = (xci_embedding){table_of_one, one, NULL};
    ck_assert_int_eq(device->ops->embed(device, &embedding, good, &(xci_rows){1, two}, &h, NULL), XCODER_USAGE);
    ck_assert_int_eq(device->ops->head_logits(device, &head, &h, &row, 1, &bad, 1, &out, NULL, NULL), XCODER_USAGE);
    ck_assert_int_eq(device->ops->head_log_probs(device, &head, &h, &row, 1, &bad, &out, NULL), XCODER_USAGE);
    device->ops->buffer_free(device, &h);
    free_copies(&c);
    close_tested(device);
  }
  free_block(&m);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("transformer entries");
  TCase *tcase = tcase_create("block");
  tcase_add_loop_test(tcase, test_conformance, 0, OLMO_2);
  tcase_add_loop_test(tcase, test_conformance, OLMO_2 + 1, WIDE_HEADS);
  tcase_add_loop_test(tcase, test_conformance, WIDE_HEADS + 1, 2 * N_VARIANTS);
  tcase_add_loop_test(tcase, test_types, 1, N_TYPES * N_VARIANTS);
  tcase_add_loop_test(tcase, test_head, 0, 5);
  tcase_add_test(tcase, test_head_refuses);
  if (on_cpu()) {
    tcase_add_loop_test(tcase, test_finite_differences, 0, N_VARIANTS);
    tcase_add_loop_test(tcase, test_threads, 0, N_VARIANTS);
    tcase_add_loop_test(tcase, test_panels, 0, 2);
    tcase_add_test(tcase, test_bf16_products);
    tcase_add_loop_test(tcase, test_bf16_block, 0, N_VARIANTS);
    tcase_add_test(tcase, test_compute_refuses);
  } else {
    tcase_add_loop_test(tcase, test_bf16_device, 0, N_VARIANTS);
    tcase_add_test(tcase, test_bf16_gradients);
  }
  suite_add_tcase(suite, tcase);
  TCase *few = tcase_create("few"); /* for tests/oclgrind.sh: no rows, and kernels that the self-test spares */
  tcase_add_test(few, test_empty);
  tcase_add_loop_test(few, test_conformance, OLMO_2, OLMO_2 + 1);
  tcase_add_loop_test(few, test_conformance, WIDE_HEADS, WIDE_HEADS + 1);
  tcase_add_loop_test(few, test_types, 0, 1);
  suite_add_tcase(suite, few);
  SRunner *runner = srunner_create(suite);
  srunner_set_fork_status(runner, CK_NOFORK);
  srunner_run_all(runner, CK_NORMAL);
  int n_failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  open_tested(NULL);
  return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
