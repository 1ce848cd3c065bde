/* SPDX-License-Identifier: Apache-2.0 */
/* Random transformer blocks of every arrangement, for the tests of the backends. */
#ifndef TESTS_COMPUTE_BLOCK_TEST_H
#define TESTS_COMPUTE_BLOCK_TEST_H

#include "base/memory.h"
#include "base/random.h"
#include "compute/compute.h"
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ck_ok(call) \
  do { \
    xcoder_error ck_error = {0}; \
    xcoder_error *err = &ck_error; \
    xcoder_status ck_status = (call); \
    ck_assert_msg(ck_status == XCODER_OK, "%s: %s", #call, ck_error.message); \
  } while (0)

typedef struct variant {
  const char *name;
  xci_residual residual;
  size_t n_heads, n_kv_heads, d_head, d_mlp, rotary_width;
  xci_activation activation;
  xci_norm_kind norm;
  bool affine, biases, fused, interleaved, gated, qk_norm, alibi, after_norm;
  float clip;
  bool transposed; /* weights stored as [in, out] */
} variant;

static const variant variants[] = {
  {"neox", XCI_PARALLEL, 2, 2, 5, 13, 2, XCI_GELU_ERF, XCI_NORM_LAYER, true, true, true, true, false, false, false,
   false, 0, false},
  {"neox sequential", XCI_SEQUENTIAL, 3, 3, 6, 17, 6, XCI_GELU_TANH, XCI_NORM_LAYER, true, false, true, true, false,
   false, false, false, 0, false},
  {"bloom", XCI_SEQUENTIAL, 3, 3, 4, 11, 0, XCI_GELU_BLOOM, XCI_NORM_LAYER, true, true, true, true, false, false, true,
   false, 0, false},
  {"bloom after norm", XCI_SEQUENTIAL, 2, 2, 4, 11, 0, XCI_GELU_BLOOM, XCI_NORM_LAYER, true, true, true, true, false,
   false, true, true, 0, false},
  {"olmo", XCI_SEQUENTIAL, 2, 2, 6, 9, 6, XCI_SILU, XCI_NORM_LAYER, false, false, false, false, true, false, false,
   false, 0.9f, false},
  {"olmo 2", XCI_POST_NORM, 2, 1, 6, 9, 6, XCI_SILU, XCI_NORM_RMS, true, false, false, false, true, true, false, false,
   0, false},
  {"llama", XCI_SEQUENTIAL, 6, 2, 4, 15, 4, XCI_SILU, XCI_NORM_RMS, true, false, false, false, true, false, false,
   false, 0, false},
  {"gpt-2", XCI_SEQUENTIAL, 2, 2, 5, 12, 0, XCI_GELU_TANH, XCI_NORM_LAYER, true, true, true, false, false, false,
   false, false, 0, true},
  {"odd mixture", XCI_PARALLEL, 4, 2, 3, 7, 2, XCI_GELU_QUICK, XCI_NORM_RMS, true, true, true, false, true, true, true,
   false, 1.1f, false},
  /* Heads wider than a tile of a device, shared by several queries and not. */
  {"wide heads", XCI_SEQUENTIAL, 2, 1, 70, 9, 34, XCI_SILU, XCI_NORM_RMS, true, false, false, false, true, false, false,
   false, 0, false},
  {"widest head", XCI_PARALLEL, 1, 1, 258, 3, 6, XCI_GELU_ERF, XCI_NORM_LAYER, true, true, true, true, false, false,
   true, false, 0, false},
  {"relu", XCI_PARALLEL, 1, 1, 1, 1, 0, XCI_RELU, XCI_NORM_LAYER, true, true, false, false, false, false, false, false,
   0, false},
};
enum { N_VARIANTS = sizeof variants / sizeof *variants, OLMO_2 = 5, WIDE_HEADS = 9, MAX_MADE = 24, MAX_HEADS = 8 };

typedef struct made {
  xci_block block;
  xci_weight *weight[MAX_MADE];
  float *values[MAX_MADE];
  size_t n;
  uint64_t stream;
  bool transposed;
  float slopes[MAX_HEADS];
} made;

static inline float *random_floats(uint64_t stream, size_t n, double mean, double deviation) {
  float *values = NULL;
  ck_ok(XCI_ALLOC(&values, n + 1, err));
  for (size_t i = 0; i < n; i++)
    values[i] = (float)(mean + deviation * xci_random_normal(7, XCI_STREAM_TEST + stream, i));
  return values;
}

static inline const xci_weight *make_weight(made *m, size_t rows, size_t columns, double mean, double deviation) {
  ck_assert(m->n < MAX_MADE);
  m->values[m->n] = random_floats(++m->stream, rows * columns, mean, deviation);
  ck_ok(xci_backend_cpu.weight_create(NULL, m->values[m->n], XCI_F32, rows, columns, &m->weight[m->n], err));
  return m->weight[m->n++];
}

static inline xci_linear make_linear(made *m, size_t out, size_t in, bool bias) {
  size_t rows = m->transposed ? in : out, columns = m->transposed ? out : in;
  xci_linear linear = {make_weight(m, rows, columns, 0, 1.2 / sqrt((double)in)), NULL, m->transposed};
  if (bias) linear.bias = make_weight(m, 1, out, 0, 0.3);
  return linear;
}

static inline xci_norm make_norm(made *m, const variant *v, size_t width) {
  xci_norm norm = {.kind = v->norm, .epsilon = 1e-5f};
  if (v->affine) norm.weight = make_weight(m, 1, width, 1, 0.3);
  if (v->affine && v->biases) norm.bias = make_weight(m, 1, width, 0, 0.3);
  return norm;
}

/* The weights are host memory that the cpu and the reference backend both read. */
static inline void make_block(const variant *v, made *m) {
  memset(m, 0, sizeof *m);
  m->transposed = v->transposed;
  xci_block *b = &m->block;
  size_t d = v->n_heads * v->d_head, kv = v->n_kv_heads * v->d_head;
  *b = (xci_block){.d_model = d, .n_heads = v->n_heads, .n_kv_heads = v->n_kv_heads, .d_head = v->d_head,
                   .d_mlp = v->d_mlp, .residual = v->residual, .residual_after_norm = v->after_norm,
                   .has_qk_norm = v->qk_norm, .qkv_fused = v->fused, .qkv_interleaved = v->interleaved,
                   .activation = v->activation, .attention_scale = 1.0f / sqrtf((float)v->d_head),
                   .clip_qkv = v->clip, .rotary_width = v->rotary_width, .rotary_base = 100};
  b->norm_attention = make_norm(m, v, d);
  b->norm_mlp = make_norm(m, v, d);
  if (v->qk_norm) {
    b->norm_q = make_norm(m, v, d);
    b->norm_k = make_norm(m, v, kv);
  }
  if (v->fused) {
    b->query = make_linear(m, d + 2 * kv, d, v->biases);
  } else {
    b->query = make_linear(m, d, d, v->biases);
    b->key = make_linear(m, kv, d, v->biases);
    b->value = make_linear(m, kv, d, v->biases);
  }
  b->output = make_linear(m, d, d, v->biases);
  b->up = make_linear(m, v->d_mlp, d, v->biases);
  if (v->gated) b->gate = make_linear(m, v->d_mlp, d, v->biases);
  b->down = make_linear(m, d, v->d_mlp, v->biases);
  for (size_t h = 0; h < v->n_heads; h++) m->slopes[h] = 0.5f / (float)(h + 1);
  if (v->alibi) b->alibi_slopes = m->slopes;
}

static inline void free_block(made *m) {
  for (size_t i = 0; i < m->n; i++) {
    xci_backend_cpu.weight_free(NULL, m->weight[i]);
    xci_free(m->values[i]);
  }
}

/* XCODER_TEST_DEVICE, else "cpu": which backend is held against the reference. */
static inline const char *tested_device(void) {
  const char *spec = getenv("XCODER_TEST_DEVICE");
  return spec != NULL ? spec : "cpu";
}

/* A device that takes seconds to open stays open for the next test; open_tested(NULL) closes it. */
static inline xcoder_device *open_tested(const char *spec) {
  static xcoder_device *kept;
  xcoder_device *device = kept;
  if (spec == NULL) {
    xcoder_device_close(kept);
    kept = NULL;
  } else if (strncmp(spec, "opencl", 6) != 0 || kept == NULL) {
    ck_ok(xcoder_device_open(spec, &device, err));
    if (strncmp(spec, "opencl", 6) == 0) kept = device;
  }
  return device;
}

static inline void close_tested(xcoder_device *device) {
  if (strcmp(device->ops->name, "opencl") != 0) xcoder_device_close(device);
}

/* Weights of a device with memory of its own; the processor and the reference take those of the test. */
typedef struct copies {
  xcoder_device *device;
  xci_weight *weight[MAX_MADE];
  size_t n;
} copies;

static inline const xci_weight *copy_weight(copies *c, const xci_weight *w) {
  const xci_backend *ops = c->device->ops;
  if (w == NULL || ops == &xci_backend_cpu || ops == &xci_backend_reference) return w;
  ck_assert(c->n < MAX_MADE);
  ck_ok(ops->weight_create(c->device, w->source, w->dtype, w->rows, w->columns, &c->weight[c->n], err));
  return c->weight[c->n++];
}

static inline xci_norm copy_norm(copies *c, xci_norm norm) {
  norm.weight = copy_weight(c, norm.weight);
  norm.bias = copy_weight(c, norm.bias);
  return norm;
}

static inline xci_block copy_block(copies *c, const xci_block *block) {
  xci_block b = *block;
  xci_linear *linear[] = {&b.query, &b.key, &b.value, &b.output, &b.up, &b.gate, &b.down};
  xci_norm *norm[] = {&b.norm_attention, &b.norm_mlp, &b.norm_q, &b.norm_k};
  for (size_t i = 0; i < sizeof linear / sizeof *linear; i++) {
    linear[i]->weight = copy_weight(c, linear[i]->weight);
    linear[i]->bias = copy_weight(c, linear[i]->bias);
  }
  for (size_t i = 0; i < sizeof norm / sizeof *norm; i++) *norm[i] = copy_norm(c, *norm[i]);
  return b;
}

static inline void free_copies(copies *c) {
  for (size_t i = 0; i < c->n; i++) c->device->ops->weight_free(c->device, c->weight[i]);
}

static inline double worst_error(const float *x, const float *expected, size_t n) {
  double worst = 0, largest = 1e-30;
  for (size_t i = 0; i < n; i++) {
    double error = fabs((double)x[i] - (double)expected[i]);
    if (!(error <= worst)) worst = error;
    largest = fmax(largest, fabs((double)expected[i]));
  }
  return worst / largest;
}

#endif
