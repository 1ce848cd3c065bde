/* SPDX-License-Identifier: Apache-2.0 */
/* The crosscoder's entries of the cpu backend against the double-precision reference, on every instruction set.
 *
 * Tolerances: every result is a polynomial of float inputs. If no path from an input to a result has more than m
 * roundings, then |computed - exact| <= gamma(m) * (the same polynomial of absolute values), where
 * gamma(m) = m u / (1 - m u), u = 2^-24 (Higham, Accuracy and Stability, section 3). The polynomials of absolute values
 * are evaluated below. */
#include "coder_pair.h"

#include "base/memory.h"
#include <check.h>
#include <math.h>

static const example examples[] = {
  {3, 10, 24, 17, 0, 2},     {1, 1, 1, 1, 0.5f, 1},    {2, 64, 64, 6, -1, 2},     {3, 96, 130, 65, -1.5f, 2},
  {32, 5, 70, 13, 0, 0.5},   {2, 65, 257, 40, 3, 2},   {1, 130, 100, 33, -9, 2},  {5, 17, 133, 514, -0.7f, 2},
  {2, 48, 500, 7, -2, 2},   {3, 33, 65, 1, 1, 2},     {2, 16, 40, 300, 0.3f, 0},
  {1, 1, 65600, 2, -1.5f, 1}, /* more rows than a GPU starts groups for at once */
};
enum { N_EXAMPLES = sizeof examples / sizeof *examples };

static double gamma_of(size_t m) {
  double mu = (double)m * 0x1p-24;
  return mu / (1 - mu);
}

/* ---- Encoding ---- */

static double pre_activation(const pair *p, size_t b, size_t i, double *absolute) {
  double s = (double)p->tensor[XCI_B_ENC][i], a = fabs(s);
  for (size_t k = 0; k < p->columns; k++) {
    double term = (double)p->x[b * p->columns + k] * (double)p->tensor[XCI_W_ENC][k * p->shape.D + i];
    s += term;
    a += fabs(term);
  }
  *absolute = a;
  return s;
}

static void check_features(const pair *p, const xci_codes *codes, const float *threshold) {
  double gamma = gamma_of(p->columns + 2);
  ck_assert_uint_eq(codes->n_samples, p->shape.B);
  ck_assert_uint_eq(codes->start[0], 0);
  for (size_t b = 0; b < p->shape.B; b++) {
    size_t at = codes->start[b];
    for (size_t i = 0; i < p->shape.D; i++) {
      double absolute, pre = pre_activation(p, b, i, &absolute), floor = threshold ? fmax(0, (double)threshold[i]) : 0;
      bool kept = at < codes->start[b + 1] && codes->index[at] == i;
      if (fabs(pre - floor) > gamma * absolute && kept != (pre > floor)) ck_abort_msg("sample %zu latent %zu", b, i);
      if (kept && !(fabs((double)codes->value[at] - pre) <= gamma * absolute))
        ck_abort_msg("sample %zu latent %zu: %.9g, expected %.9g", b, i, (double)codes->value[at], pre);
      at += kept;
    }
    ck_assert_uint_eq(at, codes->start[b + 1]);
  }
}

static void encode_cpu(pair *p, const xci_gate *gate, xci_codes *codes) {
  ck_assert_int_eq(p->backend[0]->coder_encode(p->device[0], p->coder[0], p->x, p->shape.B, gate, NULL), XCODER_OK);
  ck_assert_int_eq(p->backend[0]->coder_codes(p->device[0], p->coder[0], codes, NULL), XCODER_OK);
}

START_TEST(test_encode) {
  if (!use_set(_i % N_SETS)) return;
  pair p;
  xci_codes codes;
  open_pair(&p, examples[_i / N_SETS], false);
  encode_cpu(&p, &(xci_gate){.kind = XCI_GATE_RELU}, &codes);
  check_features(&p, &codes, NULL);
  float *threshold = make_normal(p.shape.D, 1, 0.2, 6);
  encode_cpu(&p, &(xci_gate){.kind = XCI_GATE_THRESHOLD, .threshold = threshold}, &codes);
  check_features(&p, &codes, threshold);
  xci_free(threshold);
  close_pair(&p);
}
END_TEST

/* ---- Decoding, losses, gradients ---- */

static void check_close(const float *got, const float *want, const double *bound, size_t n, double gamma,
                        const char *what) {
  check_sentinels(got, n);
  for (size_t i = 0; i < n; i++)
    if (!(fabs((double)got[i] - (double)want[i]) <= gamma * bound[i] + 1e-37)) /* Check writes a file per assertion */
      ck_abort_msg("%s[%zu]: %.9g, expected %.9g, bound %g", what, i, (double)got[i], (double)want[i],
                   gamma * bound[i]);
}

static double *make_doubles(size_t n) {
  double *p = NULL;
  ck_assert_int_eq(XCI_ALLOC(&p, n, NULL), XCODER_OK);
  return p;
}

/* |b_dec| + sum f |W_dec|, [B, columns]. */
static double *absolute_decode(const pair *p, const xci_codes *codes) {
  double *r = make_doubles(p->shape.B * p->columns);
  for (size_t b = 0; b < p->shape.B; b++)
    for (size_t k = 0; k < p->columns; k++) {
      double s = fabs((double)p->tensor[XCI_B_DEC][k]);
      for (size_t q = codes->start[b]; q < codes->start[b + 1]; q++)
        s += fabs((double)codes->value[q] * (double)p->tensor[XCI_W_DEC][codes->index[q] * p->columns + k]);
      r[b * p->columns + k] = s;
    }
  return r;
}

static size_t most_codes(const xci_codes *codes) {
  size_t most = 0;
  for (size_t b = 0; b < codes->n_samples; b++) {
    size_t n = codes->start[b + 1] - codes->start[b];
    if (n > most) most = n;
  }
  return most;
}

/* Both backends get the codes of the first, so that nothing depends on the sign of a pre-activation near 0. */
static void share_codes(pair *p, const xci_codes *codes) {
  const xci_gate gate = {.kind = XCI_GATE_RELU, .k = 0};
  ck_assert_int_eq(p->backend[1]->coder_encode(p->device[1], p->coder[1], p->x, p->shape.B, &gate, NULL), XCODER_OK);
  ck_assert_int_eq(p->backend[1]->coder_set_codes(p->device[1], p->coder[1], codes, NULL), XCODER_OK);
}

static void read_both(pair *p, xci_coder_tensor t, xci_coder_slot slot, float *out[2]) {
  for (int i = 0; i < 2; i++) {
    out[i] = make_floats(p->n_values[t]);
    ck_assert_int_eq(p->backend[i]->coder_read(p->device[i], p->coder[i], t, slot, out[i], NULL), XCODER_OK);
  }
}
static void free_both(float *out[2]) {
  xci_free(out[0]);
  xci_free(out[1]);
}

static void check_decode(pair *p, const xci_codes *codes) {
  size_t n = p->shape.B * p->columns;
  double *bound = absolute_decode(p, codes);
  float *xhat[2];
  for (int i = 0; i < 2; i++) {
    xhat[i] = make_floats(n);
    ck_assert_int_eq(p->backend[i]->coder_decode(p->device[i], p->coder[i], xhat[i], NULL), XCODER_OK);
  }
  check_close(xhat[0], xhat[1], bound, n, gamma_of(most_codes(codes) + 2), "xhat");
  free_both(xhat);
  xci_free(bound);
}

/* Gradients of absolute values, in file order; see the head of this file. */
static void absolute_gradients(const pair *p, const xci_codes *codes, double *r, double *g[XCI_N_TENSORS]) {
  size_t columns = p->columns, d = p->shape.d, D = p->shape.D;
  double B = (double)p->shape.B;
  for (int t = 0; t < XCI_N_TENSORS; t++) g[t] = make_doubles(p->n_values[t]);
  for (size_t b = 0; b < p->shape.B; b++) {
    for (size_t k = 0; k < columns; k++) {
      r[b * columns + k] += fabs((double)p->x[b * columns + k]);
      g[XCI_B_DEC][k] += 2 / B * r[b * columns + k];
    }
    for (size_t q = codes->start[b]; q < codes->start[b + 1]; q++) {
      size_t i = codes->index[q];
      double f = (double)codes->value[q], df = 0, norms = 0;
      const float *w = p->tensor[XCI_W_DEC] + i * columns;
      for (size_t c = 0; c < p->shape.n; c++) {
        double norm = 0;
        for (size_t k = c * d; k < (c + 1) * d; k++) norm += (double)w[k] * (double)w[k];
        norm = sqrt(norm);
        norms += norm;
        for (size_t k = c * d; k < (c + 1) * d; k++) {
          df += 2 / B * r[b * columns + k] * fabs((double)w[k]);
          g[XCI_W_DEC][i * columns + k] += 2 / B * f * r[b * columns + k];
          if (norm > 0) g[XCI_W_DEC][i * columns + k] += p->shape.l1 / B * f * fabs((double)w[k]) / norm;
        }
      }
      df += p->shape.l1 / B * norms;
      g[XCI_B_ENC][i] += df;
      for (size_t k = 0; k < columns; k++) g[XCI_W_ENC][k * D + i] += df * fabs((double)p->x[b * columns + k]);
    }
  }
}

static void check_losses(const pair *p, const xci_losses *got, const xci_losses *want, const double *r, double gamma,
                         double gradient_bound) {
  double total = 0;
  for (size_t i = 0; i < p->shape.B * p->columns; i++) total += r[i] * r[i] / (double)p->shape.B;
  ck_assert_double_le(fabs(got->reconstruction - want->reconstruction), 3 * gamma * total);
  for (size_t c = 0; c < p->shape.n; c++)
    ck_assert_double_le(fabs(got->squared_error[c] - want->squared_error[c]), 3 * gamma * total);
  ck_assert_double_le(fabs(got->sparsity - want->sparsity), gamma * want->sparsity);
  ck_assert_double_le(fabs(got->loss - want->loss), 3 * gamma * (total + p->shape.l1 * want->sparsity));
  ck_assert_double_eq_tol(got->l0, want->l0, 1e-9);
  ck_assert_double_le(fabs(got->gradient_norm - want->gradient_norm), gamma * gradient_bound);
}

static void backward_both(pair *p, xci_losses losses[2]) {
  const xci_objective objective = {.l1_coefficient = p->shape.l1};
  for (int i = 0; i < 2; i++)
    ck_assert_int_eq(p->backend[i]->coder_backward(p->device[i], p->coder[i], &objective, &losses[i], NULL), XCODER_OK);
}

static void check_backward(pair *p, const xci_codes *codes) {
  xci_losses losses[2];
  double *r = absolute_decode(p, codes), *bound[XCI_N_TENSORS], square = 0;
  absolute_gradients(p, codes, r, bound);
  /* residual (codes + 2), dot with W_dec (columns, 16 groups), factors (6), sum over samples */
  double gamma = gamma_of(most_codes(codes) + p->columns + p->shape.B + 32);
  backward_both(p, losses);
  for (int t = 0; t < XCI_N_TENSORS; t++) {
    const char *names[] = {"dW_enc", "db_enc", "dW_dec", "db_dec"};
    float *g[2];
    read_both(p, (xci_coder_tensor)t, XCI_GRADIENT, g);
    check_close(g[0], g[1], bound[t], p->n_values[t], gamma, names[t]);
    for (size_t i = 0; i < p->n_values[t]; i++) square += bound[t][i] * bound[t][i];
    free_both(g);
  }
  check_losses(p, &losses[0], &losses[1], r, gamma, sqrt(square));
  for (int t = 0; t < XCI_N_TENSORS; t++) xci_free(bound[t]);
  xci_free(r);
}

START_TEST(test_backward) {
  if (!use_set(_i % N_SETS)) return;
  pair p;
  xci_codes codes;
  open_pair(&p, examples[_i / N_SETS], true);
  encode_cpu(&p, &(xci_gate){.kind = XCI_GATE_RELU}, &codes);
  share_codes(&p, &codes);
  check_decode(&p, &codes);
  check_backward(&p, &codes);
  close_pair(&p);
}
END_TEST

/* ---- Update ---- */

/* One update from the same state and gradient; tolerance: twelve roundings of the step and one of the sum. */
static void check_update(pair *p, uint64_t step, double clip_norm) {
  xci_losses losses[2];
  const xci_adam adam = {step, 1e-2, 0.9, 0.999, 1e-8, clip_norm};
  float *before[XCI_N_TENSORS][4], *after;
  for (int t = 0; t < XCI_N_TENSORS; t++)
    for (int s = 0; s < 3; s++) {
      before[t][s] = make_floats(p->n_values[t]);
      p->backend[0]->coder_read(p->device[0], p->coder[0], (xci_coder_tensor)t, (xci_coder_slot)s, before[t][s], NULL);
    }
  backward_both(p, losses);
  for (int t = 0; t < XCI_N_TENSORS; t++) {
    before[t][3] = make_floats(p->n_values[t]);
    p->backend[0]->coder_read(p->device[0], p->coder[0], (xci_coder_tensor)t, XCI_GRADIENT, before[t][3], NULL);
  }
  ck_assert_int_eq(p->backend[0]->coder_update(p->device[0], p->coder[0], &adam, NULL), XCODER_OK);
  double clip = clip_norm > 0 ? fmin(1, clip_norm / (losses[0].gradient_norm + 1e-6)) : 1, u = 0x1p-24;
  for (int t = 0; t < XCI_N_TENSORS; t++) {
    after = make_floats(p->n_values[t]);
    p->backend[0]->coder_read(p->device[0], p->coder[0], (xci_coder_tensor)t, XCI_VALUE, after, NULL);
    for (size_t i = 0; i < p->n_values[t]; i++) {
      double g = clip * (double)before[t][3][i], m0 = 0.9 * (double)before[t][1][i];
      double m = m0 + 0.1 * g, m_abs = fabs(m0) + fabs(0.1 * g), v = 0.999 * (double)before[t][2][i] + 0.001 * g * g;
      double root = sqrt(v / (1 - pow(0.999, (double)step))) + 1e-8, rate = 1e-2 / (1 - pow(0.9, (double)step));
      double want = (double)before[t][0][i] - rate * m / root;
      if (!(fabs((double)after[i] - want) <= u * fabs(want) + 12 * u * rate * m_abs / root))
        ck_abort_msg("tensor %d [%zu]: %.9g, expected %.9g", t, i, (double)after[i], want);
    }
    xci_free(after);
    for (int s = 0; s < 4; s++) xci_free(before[t][s]);
  }
}

START_TEST(test_update) {
  if (!use_set(_i % N_SETS)) return;
  pair p;
  xci_codes codes;
  open_pair(&p, examples[_i / N_SETS], true);
  for (uint64_t step = 1; step <= 3; step++) {
    encode_cpu(&p, &(xci_gate){.kind = XCI_GATE_RELU}, &codes);
    share_codes(&p, &codes);
    check_update(&p, step, step == 2 ? 0 : 0.5);
  }
  close_pair(&p);
}
END_TEST

static Suite *make_suite(void) {
  Suite *suite = suite_create("coder");
  TCase *conformance = tcase_create("conformance");
  tcase_add_loop_test(conformance, test_encode, 0, N_SETS * N_EXAMPLES);
  tcase_add_loop_test(conformance, test_backward, 0, N_SETS * N_EXAMPLES);
  tcase_add_loop_test(conformance, test_update, 0, N_SETS * N_EXAMPLES);
  suite_add_tcase(suite, conformance);
  return suite;
}

int main(void) {
  SRunner *runner = srunner_create(make_suite());
  srunner_set_fork_status(runner, CK_NOFORK); /* libgomp does not survive a fork */
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
