/* SPDX-License-Identifier: Apache-2.0 */
/* The crosscoder on the processor: bits that do not depend on threads, identities, gates, refusals, failing
 * allocations. */
#include "coder_pair.h"

#include "base/half.h"
#include "base/memory.h"
#include "base/random.h"
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define L1(lambda) {.l1_coefficient = (lambda)}
static const xci_gate relu = {.kind = XCI_GATE_RELU, .k = 0};

static void encode(pair *p, int which, const xci_gate *gate, xci_codes *codes) {
  ck_assert_int_eq(p->backend[which]->coder_encode(p->device[which], p->coder[which], p->x, p->shape.B, gate, NULL),
                   XCODER_OK);
  ck_assert_int_eq(p->backend[which]->coder_codes(p->device[which], p->coder[which], codes, NULL), XCODER_OK);
}

static float *read_cpu(pair *p, int tensor, int slot) {
  float *values = make_floats(p->n_values[tensor]);
  ck_assert_int_eq(p->backend[0]->coder_read(p->device[0], p->coder[0], (xci_coder_tensor)tensor,
                                              (xci_coder_slot)slot, values, NULL), XCODER_OK);
  check_sentinels(values, p->n_values[tensor]);
  return values;
}

/* ---- Threads ---- */

typedef struct trace {
  float *state[XCI_N_TENSORS][4];
  xci_losses losses[3];
  size_t n_codes;
  float *values;
} trace;

static void train(example e, int n_threads, trace *out) {
  pair p;
  xci_codes codes;
  xcoder_set_threads(n_threads);
  open_pair(&p, e, true);
  for (uint64_t step = 0; step < 3; step++) {
    const xci_adam adam = {step + 1, 0.01, 0.9, 0.999, 1e-8, 1};
    encode(&p, 0, &relu, &codes);
    ck_assert_int_eq(p.backend[0]->coder_backward(p.device[0], p.coder[0], &(xci_objective)L1(e.l1),
                                                    &out->losses[step], NULL), XCODER_OK);
    ck_assert_int_eq(p.backend[0]->coder_update(p.device[0], p.coder[0], &adam, NULL), XCODER_OK);
  }
  for (int t = 0; t < XCI_N_TENSORS; t++)
    for (int s = 0; s < 4; s++) out->state[t][s] = read_cpu(&p, t, s);
  encode(&p, 0, &relu, &codes);
  out->n_codes = codes.start[e.B];
  out->values = make_floats(out->n_codes);
  memcpy(out->values, codes.value, out->n_codes * sizeof *out->values);
  close_pair(&p);
  xcoder_set_threads(0);
}

static void free_trace(trace *t) {
  for (int i = 0; i < XCI_N_TENSORS; i++)
    for (int s = 0; s < 4; s++) xci_free(t->state[i][s]);
  xci_free(t->values);
}

START_TEST(test_threads) {
  /* mixtures of dense and sparse latents, several blocks of samples, several tiles */
  const example shapes[] = {{3, 96, 200, 1100, -0.3f, 2}, {2, 20, 700, 300, -2, 2}};
  const size_t n_values[2][XCI_N_TENSORS] = {{57600, 200, 57600, 288}, {28000, 700, 28000, 40}};
  if (!use_set(_i % N_SETS)) return;
  int which = _i / N_SETS;
  trace one = {0}, more = {0};
  train(shapes[which], 1, &one);
  for (int n_threads = 2; n_threads <= 3; n_threads++) {
    train(shapes[which], n_threads, &more);
    ck_assert_mem_eq(one.losses, more.losses, sizeof one.losses);
    ck_assert_uint_eq(one.n_codes, more.n_codes);
    ck_assert_mem_eq(one.values, more.values, one.n_codes * sizeof(float));
    for (int t = 0; t < XCI_N_TENSORS; t++)
      for (int s = 0; s < 4; s++)
        ck_assert_mem_eq(one.state[t][s], more.state[t][s], n_values[which][t] * sizeof(float));
    free_trace(&more);
  }
  free_trace(&one);
}
END_TEST

/* ---- Identities ---- */

START_TEST(test_no_codes) { /* decode(nothing) = b_dec, with and without a batch */
  pair p;
  open_pair(&p, (example){3, 33, 50, 9, 0, 1}, false);
  size_t start[10] = {0}, n = p.shape.B * p.columns;
  const xci_codes none = {9, start, NULL, NULL};
  float *xhat = make_floats(n);
  ck_assert_int_eq(p.backend[0]->coder_set_codes(p.device[0], p.coder[0], &none, NULL), XCODER_OK);
  ck_assert_int_eq(p.backend[0]->coder_decode(p.device[0], p.coder[0], xhat, NULL), XCODER_OK);
  for (size_t i = 0; i < n; i++)
    if (xhat[i] != p.tensor[XCI_B_DEC][i % p.columns]) ck_abort_msg("value %zu", i);
  check_sentinels(xhat, n);
  for (int kind = XCI_GATE_RELU; kind <= XCI_GATE_JUMP; kind++) { /* nor any samples */
    xci_codes codes;
    const xci_gate gate = {.kind = (xci_gate_kind)kind, .k = 2, .threshold = p.x};
    ck_assert_int_eq(p.backend[0]->coder_encode(p.device[0], p.coder[0], p.x, 0, &gate, NULL), XCODER_OK);
    ck_assert_int_eq(p.backend[0]->coder_codes(p.device[0], p.coder[0], &codes, NULL), XCODER_OK);
    ck_assert_uint_eq(codes.n_samples, 0);
    ck_assert_int_eq(p.backend[0]->coder_decode(p.device[0], p.coder[0], xhat, NULL), XCODER_OK);
  }
  xci_free(xhat);
  close_pair(&p);
}
END_TEST

/* Reversed order of checkpoints, W [.., n, d] seen as rows of d values. */
static void reverse_checkpoints(float *values, size_t n_outer, size_t n, size_t inner) {
  for (size_t o = 0; o < n_outer; o++)
    for (size_t c = 0; c < n / 2; c++)
      for (size_t k = 0; k < inner; k++) {
        float *a = &values[(o * n + c) * inner + k], *b = &values[(o * n + n - 1 - c) * inner + k], t = *a;
        *a = *b;
        *b = t;
      }
}

START_TEST(test_permutation) { /* checkpoints in reverse order give the same losses and reversed gradients */
  pair p, q;
  xci_codes codes;
  xci_losses a, b;
  const example e = {3, 40, 64, 50, -0.2f, 2};
  open_pair(&p, e, true);
  open_pair(&q, e, true);
  reverse_checkpoints(q.x, e.B, e.n, e.d);
  reverse_checkpoints(q.tensor[XCI_W_ENC], 1, e.n, e.d * e.D);
  reverse_checkpoints(q.tensor[XCI_W_DEC], e.D, e.n, e.d);
  reverse_checkpoints(q.tensor[XCI_B_DEC], 1, e.n, e.d);
  for (int t = 0; t < XCI_N_TENSORS; t++)
    q.backend[0]->coder_write(q.device[0], q.coder[0], (xci_coder_tensor)t, XCI_VALUE, q.tensor[t], NULL);
  encode(&p, 0, &relu, &codes);
  encode(&q, 0, &relu, &codes);
  p.backend[0]->coder_backward(p.device[0], p.coder[0], &(xci_objective)L1(2), &a, NULL);
  q.backend[0]->coder_backward(q.device[0], q.coder[0], &(xci_objective)L1(2), &b, NULL);
  for (size_t c = 0; c < e.n; c++)
    ck_assert_double_eq_tol(a.squared_error[c] / b.squared_error[e.n - 1 - c], 1, 1e-5);
  ck_assert_double_eq_tol(a.gradient_norm / b.gradient_norm, 1, 1e-5);
  float *g = read_cpu(&p, XCI_W_DEC, XCI_GRADIENT), *h = read_cpu(&q, XCI_W_DEC, XCI_GRADIENT);
  reverse_checkpoints(h, e.D, e.n, e.d);
  for (size_t i = 0; i < p.n_values[XCI_W_DEC]; i++)
    if (!(fabs((double)g[i] - (double)h[i]) <= 1e-5 * a.gradient_norm)) ck_abort_msg("gradient %zu", i);
  xci_free(g);
  xci_free(h);
  close_pair(&p);
  close_pair(&q);
}
END_TEST

START_TEST(test_round_trip) { /* what is written is read, for every tensor and slot */
  pair p;
  open_pair(&p, (example){3, 70, 37, 4, 0, 1}, true);
  for (int t = 0; t < XCI_N_TENSORS; t++)
    for (int s = 0; s < 3; s++) {
      float *values = make_normal(p.n_values[t], 1, 0, (uint64_t)(10 * t + s));
      ck_assert_int_eq(p.backend[0]->coder_write(p.device[0], p.coder[0], (xci_coder_tensor)t, (xci_coder_slot)s,
                                                   values, NULL), XCODER_OK);
      float *back = read_cpu(&p, t, s);
      ck_assert_mem_eq(values, back, p.n_values[t] * sizeof *back);
      xci_free(values);
      xci_free(back);
    }
  close_pair(&p);
}
END_TEST

/* Losses and gradients of the first n samples; the batch before was full of NaN if `dirty`. */
static void run_after(bool dirty, size_t n, float *gradient[XCI_N_TENSORS], xci_losses *losses) {
  pair p;
  open_pair(&p, (example){2, 65, 75, 50, -0.2f, 2}, true);
  if (dirty) {
    float *nan = make_floats(50 * p.columns);
    for (size_t i = 0; i < 50 * p.columns; i++) nan[i] = NAN;
    ck_assert_int_eq(p.backend[0]->coder_encode(p.device[0], p.coder[0], nan, 50, &relu, NULL), XCODER_OK);
    p.backend[0]->coder_backward(p.device[0], p.coder[0], &(xci_objective)L1(2), losses, NULL);
    ck_assert(isnan(losses->loss));
    xci_free(nan);
  }
  ck_assert_int_eq(p.backend[0]->coder_encode(p.device[0], p.coder[0], p.x, n, &relu, NULL), XCODER_OK);
  ck_assert_int_eq(p.backend[0]->coder_backward(p.device[0], p.coder[0], &(xci_objective)L1(2), losses, NULL),
                   XCODER_OK);
  for (int t = 0; t < XCI_N_TENSORS; t++) gradient[t] = read_cpu(&p, t, XCI_GRADIENT);
  close_pair(&p);
}

START_TEST(test_reuse) { /* nothing of an earlier batch is left in padding or work space */
  float *fresh[XCI_N_TENSORS], *reused[XCI_N_TENSORS];
  const size_t n_values[XCI_N_TENSORS] = {130 * 75, 75, 130 * 75, 130};
  xci_losses a, b;
  const size_t sizes[] = {50, 7};
  for (int i = 0; i < 2; i++) {
    run_after(false, sizes[i], fresh, &a);
    run_after(true, sizes[i], reused, &b);
    ck_assert_mem_eq(&a, &b, sizeof a);
    for (int t = 0; t < XCI_N_TENSORS; t++) {
      ck_assert_mem_eq(fresh[t], reused[t], n_values[t] * sizeof(float));
      xci_free(fresh[t]);
      xci_free(reused[t]);
    }
  }
}
END_TEST

START_TEST(test_norms) { /* squares of at most 64 columns in float, the rest in double: relative error below 66 u */
  pair p;
  open_pair(&p, (example){3, 130, 600, 4, 0, 1}, false);
  float *norms[2];
  for (int i = 0; i < 2; i++) {
    norms[i] = make_floats(1800);
    ck_assert_int_eq(p.backend[i]->coder_norms(p.device[i], p.coder[i], norms[i], NULL), XCODER_OK);
    check_sentinels(norms[i], 1800);
  }
  for (size_t i = 0; i < 1800; i++)
    if (!(fabs((double)norms[0][i] - (double)norms[1][i]) <= 66 * 0x1p-24 * (double)norms[1][i]))
      ck_abort_msg("norm %zu", i);
  xci_free(norms[0]);
  xci_free(norms[1]);
  close_pair(&p);
}
END_TEST

/* ---- Gates ---- */

START_TEST(test_topk) { /* scores of normal numbers are far apart compared with rounding: the same choice in both */
  const xci_gate gates[] = {{.kind = XCI_GATE_TOPK, .k = 5},
                            {.kind = XCI_GATE_TOPK, .k = 0},
                            {.kind = XCI_GATE_TOPK, .k = 1000},
                            {.kind = XCI_GATE_BATCH_TOPK, .k = 5},
                            {.kind = XCI_GATE_BATCH_TOPK, .k = SIZE_MAX / 2}};
  pair p;
  xci_codes codes[2];
  if (!use_set(_i % N_SETS)) return;
  open_pair(&p, (example){2, 30, 90, 21, 0, 1}, false);
  for (int i = 0; i < 2; i++) encode(&p, i, &gates[_i / N_SETS], &codes[i]);
  ck_assert_mem_eq(codes[0].start, codes[1].start, 22 * sizeof(size_t));
  if (gates[_i / N_SETS].k == 5 && gates[_i / N_SETS].kind == XCI_GATE_BATCH_TOPK)
    ck_assert_uint_eq(codes[0].start[21], 5 * 21);
  if (codes[0].start[21] > 0) ck_assert_mem_eq(codes[0].index, codes[1].index, codes[0].start[21] * sizeof(uint32_t));
  close_pair(&p);
}
END_TEST

/* Bits of what fired and the least score, behind each gate; none of the latter for codes that nobody has ranked. Scores
 * are a feature times a sum of three norms: four roundings, of 2^-24 each, on either side. */
START_TEST(test_beside_the_losses) {
  const xci_gate gates[] = {relu, {.kind = XCI_GATE_TOPK, .k = 3}, {.kind = XCI_GATE_BATCH_TOPK, .k = 3}};
  enum { D = 70 };
  pair p;
  xci_codes codes;
  open_pair(&p, (example){3, 20, D, 40, -0.5f, 1}, true);
  float norms[3 * D];
  for (int which = 0; which < 2; which++)
    for (int k = 0; k < 4; k++) {
      uint32_t fired[3] = {~0u, ~0u, ~0u}, expected[3] = {0};
      xci_losses losses;
      double least = HUGE_VAL;
      const xci_objective objective = {.l1_coefficient = 1, .fired = fired};
      if (k < 3) encode(&p, which, &gates[k], &codes);
      ck_assert_int_eq(p.backend[which]->coder_norms(p.device[which], p.coder[which], norms, NULL), XCODER_OK);
      for (size_t q = 0; q < codes.start[codes.n_samples] && k < 3; q++) {
        uint32_t i = codes.index[q];
        double score = (double)codes.value[q] * ((double)norms[3 * i] + (double)norms[3 * i + 1] +
                                                 (double)norms[3 * i + 2]);
        expected[i / 32] |= (uint32_t)1 << i % 32;
        if (score > 0 && score < least) least = score;
      }
      if (k == 3) { /* one code, of the host */
        size_t start[41] = {0};
        for (size_t b = 1; b <= 40; b++) start[b] = 1;
        const xci_codes one = {40, start, &(uint32_t){D - 1}, &(float){2}};
        ck_assert_int_eq(p.backend[which]->coder_set_codes(p.device[which], p.coder[which], &one, NULL), XCODER_OK);
        expected[2] = (uint32_t)1 << (D - 1) % 32;
      }
      ck_assert_int_eq(p.backend[which]->coder_backward(p.device[which], p.coder[which], &objective, &losses, NULL),
                       XCODER_OK);
      ck_assert_mem_eq(fired, expected, sizeof fired);
      if (k == 1 || k == 2) ck_assert_double_eq_tol(losses.least_score / least, 1, 8 * 0x1p-24);
      else ck_assert(losses.least_score == 0);
    }
  close_pair(&p);
}
END_TEST

START_TEST(test_ties) { /* equal scores: the lowest index, then the lowest sample */
  pair p;
  xci_codes codes;
  open_pair(&p, (example){1, 4, 100, 10, 0, 1}, false);
  for (int which = 0; which < 2; which++) {
    for (int t = 0; t < XCI_N_TENSORS; t++) {
      for (size_t i = 0; i < p.n_values[t]; i++) p.tensor[t][i] = t == XCI_W_ENC ? 0 : 1;
      p.backend[which]->coder_write(p.device[which], p.coder[which], (xci_coder_tensor)t, XCI_VALUE, p.tensor[t], NULL);
    }
    encode(&p, which, &(xci_gate){.kind = XCI_GATE_TOPK, .k = 3}, &codes);
    for (size_t b = 0; b < 10; b++)
      for (size_t j = 0; j < 3; j++) ck_assert_uint_eq(codes.index[codes.start[b] + j], j);
    encode(&p, which, &(xci_gate){.kind = XCI_GATE_BATCH_TOPK, .k = 15}, &codes);
    const size_t want[] = {0, 100, 150, 150};
    for (size_t b = 0; b < 4; b++) ck_assert_uint_eq(codes.start[b], want[b]);
    ck_assert_uint_eq(codes.start[10], 150);
  }
  close_pair(&p);
}
END_TEST

START_TEST(test_nan) { /* a NaN in a batch or in a weight must reach the losses, never vanish */
  for (int where = 0; where < 3; where++) {
    pair p;
    xci_codes codes;
    xci_losses losses;
    open_pair(&p, (example){2, 20, 70, 12, -3, 1}, true);
    if (where == 0) p.x[37] = NAN;
    else p.tensor[where == 1 ? XCI_W_ENC : XCI_W_DEC][37] = NAN;
    for (int i = 0; i < 2; i++) {
      for (int t = 0; t < XCI_N_TENSORS; t++)
        p.backend[i]->coder_write(p.device[i], p.coder[i], (xci_coder_tensor)t, XCI_VALUE, p.tensor[t], NULL);
      encode(&p, i, &relu, &codes);
      ck_assert_int_eq(p.backend[i]->coder_backward(p.device[i], p.coder[i], &(xci_objective)L1(2), &losses, NULL),
                       XCODER_OK);
      ck_assert_msg(isnan(losses.loss) || where == 2, "backend %d", i);
    }
    close_pair(&p);
  }
}
END_TEST

/* ---- Refusals ---- */

START_TEST(test_refusals) {
  pair p;
  xci_coder *coder;
  xci_codes codes;
  xci_losses losses;
  xcoder_error err;
  const xci_coder_shape bad[] = {{0, 4, 4, 4, true, 0, false}, {33, 4, 4, 4, true, 0, false},
                                 {1, 0, 4, 4, true, 0, false}, {1, 4, 0, 4, false, 0, false},
                                 {1, 4, 4, 0, false, 0, false}, {32, SIZE_MAX / 64, 1u << 31, 1, false, 0, false}};
  open_pair(&p, (example){2, 3, 4, 5, 0, 1}, false);
  for (int i = 0; i < 2; i++) {
    xcoder_device *device = p.device[i];
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
      coder = (xci_coder *)&p;
      ck_assert_int_ne(p.backend[i]->coder_create(device, &bad[k], &coder, &err), XCODER_OK);
      ck_assert_ptr_null(coder);
    }
    ck_assert_int_eq(p.backend[i]->coder_codes(device, p.coder[i], &codes, &err), XCODER_USAGE);
    ck_assert_int_eq(p.backend[i]->coder_decode(device, p.coder[i], p.x, &err), XCODER_USAGE);
    ck_assert_int_eq(p.backend[i]->coder_encode(device, p.coder[i], p.x, 6, &relu, &err), XCODER_USAGE);
    ck_assert_int_eq(p.backend[i]->coder_backward(device, p.coder[i], &(xci_objective)L1(1), &losses, &err),
                     XCODER_USAGE);
    ck_assert_int_eq(p.backend[i]->coder_read(device, p.coder[i], XCI_W_ENC, XCI_MOMENT1, p.x, &err), XCODER_USAGE);
    size_t start[] = {0, 2}, backward_start[] = {2, 0};
    const uint32_t beyond[] = {1, 4}, twice[] = {1, 1};
    const float values[] = {1, 1};
    const xci_codes wrong[] = {{1, start, beyond, values}, {1, start, twice, values},
                               {1, backward_start, beyond, values}, {6, start, beyond, values}};
    for (size_t k = 0; k < 4; k++)
      ck_assert_int_eq(p.backend[i]->coder_set_codes(device, p.coder[i], &wrong[k], &err), XCODER_USAGE);
    ck_assert_int_eq(p.backend[i]->coder_encode(device, p.coder[i], p.x, 0, &relu, &err), XCODER_OK);
    ck_assert_int_eq(p.backend[i]->coder_codes(device, p.coder[i], &codes, &err), XCODER_OK);
    ck_assert_uint_eq(codes.start[0], 0);
  }
  close_pair(&p);
}
END_TEST

/* A batch out of a window has the codes of the batch itself, bit for bit; latents that fired bear the last stamp. */
START_TEST(test_window) {
  static const size_t rows = 70;
  pair p;
  open_pair(&p, (example){3, 33, 65, 40, 0, 1}, true);
  const xci_gate gate = {.kind = XCI_GATE_RELU};
  const xci_objective objective = {.l1_coefficient = 1};
  float scales[3] = {0.5f, 1.7f, 3.0f}, *values = make_normal(rows * p.columns, 1, 0, 90);
  uint16_t *window = malloc(rows * p.columns * sizeof *window);
  uint32_t row[40], marks[65];
  for (size_t i = 0; i < rows * p.columns; i++) window[i] = xci_f32_to_bf16(values[i]);
  for (int which = 0; which < 2; which++) {
    const xci_backend *ops = p.backend[which];
    xcoder_device *device = p.device[which];
    xci_coder *coder = p.coder[which];
    bool fired[2][65] = {{false}};
    xci_losses losses;
    xci_codes codes;
    row[0] = 0;
    ck_assert_int_eq(ops->coder_encode_rows(device, coder, row, 1, &gate, NULL), XCODER_USAGE); /* no window yet */
    ck_assert_int_eq(ops->coder_window(device, coder, window, rows, scales, NULL), XCODER_OK);
    ck_assert_int_eq(ops->coder_marks(device, coder, marks, NULL), XCODER_OK);
    for (size_t i = 0; i < 65; i++) ck_assert_uint_eq(marks[i], 0);
    for (size_t batch = 0; batch < 2; batch++) {
      size_t n = batch == 0 ? 40 : 3;
      for (size_t b = 0; b < n; b++) row[b] = (uint32_t)((b * 31 + 7 * batch) % rows);
      for (size_t b = 0; b < n; b++)
        for (size_t k = 0; k < p.columns; k++)
          p.x[b * p.columns + k] = xci_bf16_to_f32(window[row[b] * p.columns + k]) * scales[k / 33];
      ck_assert_int_eq(ops->coder_encode(device, coder, p.x, n, &gate, NULL), XCODER_OK);
      ck_assert_int_eq(ops->coder_codes(device, coder, &codes, NULL), XCODER_OK);
      size_t n_codes = codes.start[n];
      uint32_t *index = malloc((n_codes + 1) * sizeof *index);
      float *value = malloc((n_codes + 1) * sizeof *value);
      memcpy(index, codes.index, n_codes * sizeof *index);
      memcpy(value, codes.value, n_codes * sizeof *value);
      for (size_t j = 0; j < n_codes; j++) fired[batch][index[j]] = true;
      ck_assert_int_eq(ops->coder_encode_rows(device, coder, row, n, &gate, NULL), XCODER_OK);
      ck_assert_int_eq(ops->coder_codes(device, coder, &codes, NULL), XCODER_OK);
      ck_assert_uint_eq(codes.start[n], n_codes);
      ck_assert_mem_eq(codes.index, index, n_codes * sizeof *index);
      ck_assert_mem_eq(codes.value, value, n_codes * sizeof *value);
      ck_assert_int_eq(ops->coder_backward(device, coder, &objective, &losses, NULL), XCODER_OK);
      ck_assert_int_eq(ops->coder_mark(device, coder, 5 + (uint32_t)batch, NULL), XCODER_OK);
      free(index);
      free(value);
    }
    ck_assert_int_eq(ops->coder_marks(device, coder, marks, NULL), XCODER_OK);
    for (size_t i = 0; i < 65; i++) ck_assert_uint_eq(marks[i], fired[1][i] ? 6 : fired[0][i] ? 5 : 0);
    row[1] = rows;
    ck_assert_int_eq(ops->coder_encode_rows(device, coder, row, 2, &gate, NULL), XCODER_USAGE);
    ck_assert_int_eq(ops->coder_encode_rows(device, coder, row, 41, &gate, NULL), XCODER_USAGE);
  }
  free(window);
  xci_free(values);
  close_pair(&p);
}
END_TEST

START_TEST(test_order) { /* gradients need a batch, updates need gradients; gradients cannot be written */
  pair p;
  xci_losses losses;
  xcoder_error err;
  const xci_adam adam = {1, 0.01, 0.9, 0.999, 1e-8, 1};
  open_pair(&p, (example){2, 3, 4, 5, 0, 1}, true);
  for (int i = 0; i < 2; i++) {
    const xci_backend *ops = p.backend[i];
    size_t start[3] = {0};
    const xci_codes two = {2, start, NULL, NULL};
    ck_assert_int_eq(ops->coder_backward(p.device[i], p.coder[i], &(xci_objective)L1(1), &losses, &err), XCODER_USAGE);
    ck_assert_int_eq(ops->coder_update(p.device[i], p.coder[i], &adam, &err), XCODER_USAGE);
    ck_assert_int_eq(ops->coder_write(p.device[i], p.coder[i], XCI_B_ENC, XCI_GRADIENT, p.x, &err), XCODER_USAGE);
    ck_assert_int_eq(ops->coder_encode(p.device[i], p.coder[i], p.x, 5, &relu, &err), XCODER_OK);
    ck_assert_int_eq(ops->coder_set_codes(p.device[i], p.coder[i], &two, &err), XCODER_OK); /* of another batch */
    ck_assert_int_eq(ops->coder_backward(p.device[i], p.coder[i], &(xci_objective)L1(1), &losses, &err), XCODER_USAGE);
  }
  close_pair(&p);
}
END_TEST

/* ---- Failing allocations: an error each time, and afterwards it works ---- */

static xcoder_status step_and_free(xcoder_device *device, const float *x, float *const *tensor, xcoder_error *err) {
  const xci_coder_shape shape = {2, 20, 40, 30, true, 0, false};
  const xci_gate gate = {.kind = XCI_GATE_TOPK, .k = 30};
  const xci_adam adam = {1, 0.01, 0.9, 0.999, 1e-8, 1};
  xci_coder *coder = NULL;
  xci_losses losses;
  xcoder_status status = device->ops->coder_create(device, &shape, &coder, err);
  for (int t = 0; t < XCI_N_TENSORS && !status; t++)
    status = device->ops->coder_write(device, coder, (xci_coder_tensor)t, XCI_VALUE, tensor[t], err);
  if (!status) status = device->ops->coder_encode(device, coder, x, 30, &gate, err);
  if (!status) status = device->ops->coder_backward(device, coder, &(xci_objective)L1(2), &losses, err);
  if (!status) status = device->ops->coder_update(device, coder, &adam, err);
  device->ops->coder_free(device, coder);
  return status;
}

START_TEST(test_failing_allocations) {
  pair p;
  xcoder_error err;
  open_pair(&p, (example){2, 20, 40, 30, 1, 2}, false);
  long n = 1;
  for (;; n++) {
    xci_fail_allocation(n, 0);
    xcoder_status status = step_and_free(p.device[0], p.x, p.tensor, &err);
    xci_fail_allocation(0, 0);
    if (status == XCODER_OK) break;
    ck_assert_int_eq(status, XCODER_MEMORY);
  }
  /* On the processor: 16 tensors and more than 24 arrays. On a device most are not the host's. */
  ck_assert_int_gt(n, strcmp(tested_device(), "cpu") == 0 ? 40 : 3);
  close_pair(&p);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("coder-properties");
  TCase *properties = tcase_create("properties");
  tcase_add_loop_test(properties, test_threads, 0, 2 * N_SETS);
  tcase_add_test(properties, test_permutation);
  tcase_add_test(properties, test_round_trip);
  tcase_add_test(properties, test_reuse);
  tcase_add_test(properties, test_norms);
  tcase_add_loop_test(properties, test_topk, 0, 5 * N_SETS);
  tcase_add_test(properties, test_beside_the_losses);
  tcase_add_test(properties, test_ties);
  tcase_add_test(properties, test_nan);
  tcase_add_test(properties, test_refusals);
  tcase_add_test(properties, test_order);
  tcase_add_test(properties, test_window);
  tcase_add_test(properties, test_failing_allocations);
  suite_add_tcase(suite, properties);
  TCase *few = tcase_create("few"); /* of its own for tests/oclgrind.sh */
  tcase_add_test(few, test_no_codes);
  suite_add_tcase(suite, few);
  SRunner *runner = srunner_create(suite);
  srunner_set_fork_status(runner, CK_NOFORK); /* libgomp does not survive a fork */
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
