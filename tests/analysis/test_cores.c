/* SPDX-License-Identifier: Apache-2.0 */
/* The numerical cores of the analyses by themselves: statistics, quadrature, classes, bootstrap, heaps, probe. */
#include "analysis/csv_in.h"
#include "analysis/features/histogram.h"
#include "analysis/json_out.h"
#include "analysis/known/probe.h"
#include "analysis/attribution/quadrature.h"
#include "analysis/attribution/relative_effect.h"
#include "analysis/statistics.h"
#include "analysis/features/feature_types.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/random.h"
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- Statistics ---- */

START_TEST(wilson_gives_known_intervals) {
  double low, high;
  xci_wilson(8, 10, &low, &high); /* Brown, Cai, DasGupta 2001: (0.4902, 0.9433) */
  ck_assert_double_eq_tol(low, 0.4901625, 1e-6);
  ck_assert_double_eq_tol(high, 0.9433178, 1e-6);
  xci_wilson(0, 20, &low, &high);
  ck_assert(low == 0);
  ck_assert_double_eq_tol(high, 0.1611252, 1e-6); /* z^2 / (n + z^2) */
  xci_wilson(20, 20, &low, &high);
  ck_assert(high == 1);
  xci_wilson(0, 0, &low, &high);
  ck_assert(low == 0 && high == 1);
}
END_TEST

START_TEST(ranks_share_ties) {
  const double x[] = {3, 1, 3, 2, 3};
  double rank[5];
  ck_assert_int_eq(xci_ranks(x, 5, rank, NULL), XCODER_OK);
  ck_assert(rank[0] == 4 && rank[1] == 1 && rank[2] == 4 && rank[3] == 2 && rank[4] == 4);
}
END_TEST

/* Values of scipy 1.17 (stats.t.interval, ttest_ind with equal_var=False). The quantile is that of a p
 * off by up to 1e-3, where the density of t with 4 degrees of freedom is 0.03: off by 0.03 standard errors of 0.12,
 * 0.16. */
START_TEST(intervals_of_means) {
  const double x[] = {0.1, 0.4, 0.35, 0.8, 0.62}, y[] = {0.5, 0.9, 0.7, 0.95};
  double mean, low, high, p;
  xci_mean_interval(x, 5, &mean, &low, &high);
  ck_assert_double_eq_tol(mean, 0.454, 1e-12);
  ck_assert_double_eq_tol(low, 0.1217997644, 0.0036);
  ck_assert_double_eq_tol(high, 0.7862002355, 0.0036);
  xci_welch(x, 5, y, 4, &mean, &low, &high, &p);
  ck_assert_double_eq_tol(mean, 0.3085, 1e-12);
  ck_assert_double_eq_tol(low, -0.0645527434, 0.0048);
  ck_assert_double_eq_tol(high, 0.6815527434, 0.0048);
  ck_assert_double_eq_tol(p, 0.0914296401, 1e-3);
  xci_welch(x, 1, y, 4, &mean, &low, &high, &p);
  ck_assert(isnan(mean) && isnan(p));
  xci_welch(x, 5, x, 5, &mean, &low, &high, &p);
  ck_assert(mean == 0 && p > 0.99);
}
END_TEST

START_TEST(spearman_of_known_values) {
  const double x[] = {1, 2, 3, 4, 5}, up[] = {1, 8, 27, 64, 125}, down[] = {5, 4, 3, 2, 1}, flat[] = {1, 1, 1, 1, 1};
  const double tied[] = {1, 2, 2, 4, 4}, other[] = {2, 1, 3, 5, 4};
  double rho;
  ck_assert_int_eq(xci_spearman(x, up, 5, &rho, NULL), XCODER_OK);
  ck_assert_double_eq_tol(rho, 1, 1e-15);
  ck_assert_int_eq(xci_spearman(x, down, 5, &rho, NULL), XCODER_OK);
  ck_assert_double_eq_tol(rho, -1, 1e-15);
  ck_assert_int_eq(xci_spearman(x, flat, 5, &rho, NULL), XCODER_OK);
  ck_assert(isnan(rho));
  ck_assert_int_eq(xci_spearman(tied, other, 5, &rho, NULL), XCODER_OK);
  ck_assert_double_eq_tol(rho, 7.5 / sqrt(9.0 * 10.0), 1e-12); /* ranks 1 2.5 2.5 4.5 4.5 against 2 1 3 5 4 */
}
END_TEST

START_TEST(auc_counts_pairs) {
  const double score[] = {0.1, 0.4, 0.35, 0.8, 0.35};
  const uint8_t label[] = {0, 0, 1, 1, 0}, all[] = {1, 1, 1, 1, 1};
  double auc, low, high;
  ck_assert_int_eq(xci_auc(score, label, 5, &auc, NULL), XCODER_OK);
  ck_assert_double_eq_tol(auc, 4.5 / 6, 1e-15); /* 0.8 beats 3; 0.35 beats 0.1 and ties with 0.35 */
  ck_assert_int_eq(xci_auc(score, all, 5, &auc, NULL), XCODER_OK);
  ck_assert(isnan(auc));
  xci_auc_interval(0.9, 50, 50, &low, &high);
  ck_assert(low > 0.8 && low < 0.9 && high > 0.9 && high <= 1);
}
END_TEST

START_TEST(entropy_is_normalised) {
  const double even[] = {2, 2, 2, 2}, one[] = {5, 0, 0, 0};
  ck_assert_double_eq_tol(xci_entropy(even, 4, 4), 1, 1e-15);
  ck_assert_double_eq_tol(xci_entropy(even, 4, 16), 0.5, 1e-15);
  ck_assert(xci_entropy(one, 4, 4) == 0 && xci_entropy(one, 0, 4) == 0 && xci_entropy(even, 4, 1) == 0);
}
END_TEST

START_TEST(quantiles_interpolate) {
  double x[] = {4, 1, 3, 2}, mean, sd;
  xci_mean_sd(x, 4, &mean, &sd);
  ck_assert(mean == 2.5);
  ck_assert_double_eq_tol(sd, sqrt(5.0 / 3), 1e-15);
  xci_sort_f64(x, 4);
  ck_assert(xci_quantile(x, 4, 0) == 1 && xci_quantile(x, 4, 1) == 4 && xci_quantile(x, 4, 0.5) == 2.5);
  ck_assert(isnan(xci_quantile(x, 0, 0.5)));
}
END_TEST

/* ---- Quadrature ---- */

static double integrate_power(xcoder_quadrature rule, size_t n_steps, int power) {
  double alpha[64], weight[64], sum = 0;
  xci_quadrature_nodes(rule, n_steps, alpha, weight);
  for (size_t k = 0; k < xci_quadrature_count(rule, n_steps); k++) sum += weight[k] * pow(alpha[k], power);
  return sum;
}

/* A Gauss-Legendre rule of N nodes is exact for polynomials up to degree 2N - 1. */
START_TEST(gauss_is_exact_up_to_its_degree) {
  for (size_t n = 1; n <= 32; n++)
    for (int power = 0; power < (int)(2 * n); power++)
      ck_assert_double_eq_tol(integrate_power(XCODER_LEGENDRE, n, power), 1.0 / (power + 1), 1e-14);
  ck_assert(fabs(integrate_power(XCODER_LEGENDRE, 2, 4) - 0.2) > 1e-3);
}
END_TEST

START_TEST(gauss_nodes_are_the_tabled_ones) {
  double alpha[3], weight[3];
  xci_quadrature_nodes(XCODER_GAUSS, 3, alpha, weight);
  ck_assert_double_eq_tol(alpha[0], 0.5 * (1 - sqrt(0.6)), 1e-15);
  ck_assert(alpha[1] == 0.5);
  ck_assert_double_eq_tol(weight[0], 5.0 / 18, 1e-15);
  ck_assert_double_eq_tol(weight[1], 8.0 / 18, 1e-15);
}
END_TEST

START_TEST(simple_rules_have_their_sums) {
  ck_assert_double_eq_tol(integrate_power(XCODER_LEFT, 10, 1), 0.45, 1e-15);
  ck_assert_double_eq_tol(integrate_power(XCODER_MIDPOINT, 10, 1), 0.5, 1e-15);
  ck_assert_double_eq_tol(integrate_power(XCODER_TRAPEZOID, 10, 1), 0.5, 1e-15);
  ck_assert_double_eq_tol(integrate_power(XCODER_TRAPEZOID, 10, 0), 1, 1e-15);
  ck_assert_uint_eq(xci_quadrature_count(XCODER_TRAPEZOID, 10), 11);
}
END_TEST

START_TEST(gradient_is_one_node_at_the_start) {
  double alpha, weight;
  ck_assert_uint_eq(xci_quadrature_count(XCODER_GRADIENT, 10), 1);
  xci_quadrature_nodes(XCODER_GRADIENT, 10, &alpha, &weight);
  ck_assert(alpha == 0 && weight == 1);
}
END_TEST

/* Along a line that passes the origin at (closest, distance), what normalisation sees is a function of the angle. Its
 * derivative by alpha, and a constant, are integrated by ten nodes to 1e-7 where the line stays farther than 0.3 of its
 * length, and to 2e-3 where it passes as near as a tenth. */
START_TEST(turned_nodes_integrate_what_turns) {
  enum { STEPS = 10 };
  for (int i = 0; i < 60; i++) {
    const double closest = -0.5 + 0.04 * i, distance = 0.1 * pow(1.1, i % 30), tolerance = distance > 0.3 ? 1e-7 : 2e-3;
    const double wanted = sin(atan((1 - closest) / distance)) - sin(atan(-closest / distance));
    double alpha[STEPS], weight[STEPS], sum = 0, sines = 0;
    xci_quadrature_nodes(XCODER_GAUSS, STEPS, alpha, weight);
    xci_quadrature_turn(closest, distance, STEPS, alpha, weight, alpha, weight);
    for (size_t k = 0; k < STEPS; k++) {
      const double x = (alpha[k] - closest) / distance;
      ck_assert(alpha[k] > 0 && alpha[k] < 1 && weight[k] > 0 && (k == 0 || alpha[k] > alpha[k - 1]));
      sum += weight[k];
      sines += weight[k] * pow(1 + x * x, -1.5) / distance;
    }
    ck_assert_double_eq_tol(sum, 1, (tolerance));
    ck_assert_double_eq_tol(sines, wanted, (tolerance));
  }
  const float clean[] = {3, 1, 2, 2}, target[] = {0, 4, 2, 2}; /* without means (1, -1, 0, 0) and (-2, 2, 0, 0) */
  double closest, distance, length;
  ck_assert(xci_quadrature_line(clean, target, 4, &closest, &distance, &length));
  ck_assert_double_eq_tol(closest, 1.0 / 3, 1e-15);
  ck_assert_double_eq_tol(distance, 0, 1e-7);
  ck_assert_double_eq_tol(length, 3 / sqrt(2), 1e-15); /* of (-3, 3, 0, 0) */
  ck_assert(!xci_quadrature_line(clean, clean, 4, &closest, &distance, &length));
}
END_TEST

/* A line that ends in a point: what a normalisation with an epsilon makes of b = 1 - alpha is b / sqrt(b^2 + s^2).
 * Twenty nodes integrate its derivative, and a constant, to 1e-3 for every s between a third and ten times the distance
 * that they were placed for; plain Gauss nodes miss most of it. */
START_TEST(graded_nodes_integrate_into_a_point) {
  enum { STEPS = 20 };
  for (int i = 0; i < 31; i++) {
    const double distance = 1e-3, s = distance * pow(10, -0.5 + 0.05 * i), wanted = 1 / sqrt(1 + s * s);
    double alpha[STEPS], weight[STEPS], u[STEPS], w[STEPS], sum = 0, found = 0, plain = 0;
    xci_quadrature_nodes(XCODER_GAUSS, STEPS, u, w);
    xci_quadrature_grade(1, distance, STEPS, u, w, alpha, weight);
    for (size_t k = 0; k < STEPS; k++) {
      const double b = 1 - alpha[k], c = 1 - u[k];
      ck_assert(alpha[k] >= 0 && alpha[k] <= 1 && weight[k] > 0 && (k == 0 || alpha[k] > alpha[k - 1]));
      sum += weight[k];
      found += weight[k] * s * s * pow(b * b + s * s, -1.5);
      plain += w[k] * s * s * pow(c * c + s * s, -1.5);
    }
    ck_assert_double_eq_tol(sum, 1, 1e-9);
    ck_assert_double_eq_tol(found, wanted, 1e-3);
    if (s < 2e-3) ck_assert(fabs(plain - wanted) > 0.1);
  }
}
END_TEST

/* ---- Classes ---- */

static void expect_class(size_t n, const double *share, const char *wanted, const char *evolution) {
  static const char *const labels[] = {"A", "B", "C", "D", "E"};
  xci_text text = {0};
  const xci_class class = xci_classify(share, n);
  xci_class_text(class, labels, n, &text);
  ck_assert_str_eq(text.bytes, wanted);
  ck_assert_str_eq(xci_evolution(class, n), evolution);
  xci_text_clear(&text);
}

START_TEST(classes_of_two) {
  expect_class(2, (double[]){0.71, 0.29}, "specific:A", "vanishing");
  expect_class(2, (double[]){0.7, 0.3}, "shared:A+B", "persisting");
  expect_class(2, (double[]){0.5, 0.5}, "shared:A+B", "persisting");
  expect_class(2, (double[]){0.3, 0.7}, "shared:A+B", "persisting");
  expect_class(2, (double[]){0.29, 0.71}, "specific:B", "emerging");
}
END_TEST

START_TEST(classes_of_three) {
  expect_class(3, (double[]){0.8, 0.1, 0.1}, "specific:A", "vanishing");
  expect_class(3, (double[]){0.1, 0.8, 0.1}, "specific:B", "");
  expect_class(3, (double[]){0.1, 0.1, 0.8}, "specific:C", "emerging");
  expect_class(3, (double[]){0.34, 0.33, 0.33}, "shared:A+B+C", "persisting");
  expect_class(3, (double[]){0.4, 0.4, 0.2}, "shared:A+B", "persisting");
  expect_class(3, (double[]){0.4, 0.2, 0.4}, "shared:A+C", "persisting");
  expect_class(3, (double[]){0.2, 0.4, 0.4}, "shared:B+C", "persisting");
  expect_class(3, (double[]){0.6, 0.2, 0.2}, "mostly:A", "vanishing");
  expect_class(3, (double[]){0.7, 0.15, 0.15}, "mostly:A", "vanishing");
}
END_TEST

START_TEST(classes_of_more) {
  expect_class(4, (double[]){0.25, 0.25, 0.25, 0.25}, "shared:A+B+C+D", "persisting");
  expect_class(4, (double[]){0.1, 0.1, 0.4, 0.4}, "shared:C+D", "emerging");
  expect_class(4, (double[]){0.1, 0.05, 0.05, 0.8}, "specific:D", "emerging");
  expect_class(5, (double[]){0.5, 0.125, 0.125, 0.125, 0.125}, "mostly:A", "vanishing");
  expect_class(1, (double[]){1}, "shared:A", "");
}
END_TEST

/* Every composition of shares has a class, for every number of checkpoints, and it does not depend on their order
 * beyond the names. */
START_TEST(classes_are_exhaustive) {
  for (size_t n = 1; n <= XCODER_MAX_CHECKPOINTS; n++)
    for (uint64_t trial = 0; trial < 200; trial++) {
      double value[XCODER_MAX_CHECKPOINTS], share[XCODER_MAX_CHECKPOINTS], turned[XCODER_MAX_CHECKPOINTS];
      for (size_t c = 0; c < n; c++)
        value[c] = pow(xci_random_uniform(7, XCI_STREAM_TEST, (n * 200 + trial) * 32 + c), 1 + (double)(trial % 6));
      ck_assert(xci_relative(value, n, share));
      for (size_t c = 0; c < n; c++) turned[c] = share[(c + 1) % n];
      const xci_class a = xci_classify(share, n), b = xci_classify(turned, n);
      const uint32_t all = n == 32 ? UINT32_MAX : ((uint32_t)1 << n) - 1;
      ck_assert_int_eq(a.kind, b.kind);
      ck_assert_uint_eq(a.members, ((b.members << 1) | (b.members >> (n - 1))) & all);
      ck_assert(a.kind == XCI_CLASS_SHARED || a.kind == XCI_CLASS_SPECIFIC || a.kind == XCI_CLASS_MOSTLY);
    }
}
END_TEST

START_TEST(intervals_make_uncertain) {
  const double near[] = {0.72, 0.28}, low[] = {0.66, 0.22}, high[] = {0.78, 0.34};
  ck_assert_int_eq(xci_classify_interval(near, low, high, 2).kind, XCI_CLASS_UNCERTAIN);
  const double far[] = {0.9, 0.06, 0.04}, far_low[] = {0.85, 0.01, 0.01}, far_high[] = {0.95, 0.1, 0.1};
  ck_assert_int_eq(xci_classify_interval(far, far_low, far_high, 3).kind, XCI_CLASS_SPECIFIC);
  const double most[] = {0.6, 0.2, 0.2}; /* the authors have no class for it */
  const double middle[] = {0.65, 0.2, 0.15};
  ck_assert_int_eq(xci_classify(middle, 3).kind, XCI_CLASS_MOSTLY);
  ck_assert_int_eq(xci_classify_by((xci_borders){0.6, 0}, middle, 3).kind, XCI_CLASS_SPECIFIC);
  ck_assert_int_eq(xci_classify_by((xci_borders){0, 0.2}, middle, 3).kind, XCI_CLASS_SHARED);
  ck_assert_uint_eq(xci_classify_by((xci_borders){0, 0.2}, middle, 3).members, 3);
  ck_assert_int_eq(xci_classify_authors((xci_borders){0, 0}, most, 3).kind, XCI_CLASS_OTHER);
  const double zero[] = {0, 0, 0};
  /* 0.5 everywhere, as they print it. */
  ck_assert_int_eq(xci_classify_authors((xci_borders){0, 0}, zero, 3).kind, XCI_CLASS_SHARED);
  ck_assert_int_eq(xci_classify_authors((xci_borders){0.55, 0}, most, 3).kind, XCI_CLASS_SPECIFIC);
  /* Borders of two that do not mirror each other: one rule for both checkpoints. */
  const double early[] = {0.75, 0.25}, late[] = {0.25, 0.75}, early_most[] = {0.85, 0.15};
  ck_assert_int_eq(xci_classify_by((xci_borders){0.8, 0.2}, early, 2).kind, XCI_CLASS_SHARED);
  ck_assert_int_eq(xci_classify_by((xci_borders){0.8, 0}, early, 2).kind, XCI_CLASS_MOSTLY);
  ck_assert_uint_eq(xci_classify_by((xci_borders){0.8, 0}, early, 2).members, 1);
  ck_assert_int_eq(xci_classify_by((xci_borders){0.8, 0}, late, 2).kind, XCI_CLASS_MOSTLY);
  ck_assert_int_eq(xci_classify_by((xci_borders){0.8, 0}, early_most, 2).kind, XCI_CLASS_SPECIFIC);
  const double even[] = {0.34, 0.33, 0.33}; /* none reaches the border */
  ck_assert_int_eq(xci_classify_by((xci_borders){0, 0.4}, even, 3).kind, XCI_CLASS_MOSTLY);
  ck_assert_uint_eq(xci_classify_by((xci_borders){0, 0.4}, even, 3).members, 1);
  double share[3];
  ck_assert(!xci_relative(zero, 3, share));
  ck_assert(isnan(share[0]));
}
END_TEST

/* ---- Bootstrap ---- */

START_TEST(bootstrap_draws_n_each_time) {
  uint16_t weight[20 * 50];
  xci_bootstrap_draw(3, 20, 50, weight);
  for (size_t r = 0; r < 50; r++) {
    unsigned sum = 0;
    for (size_t e = 0; e < 20; e++) sum += weight[e * 50 + r];
    ck_assert_uint_eq(sum, 20);
  }
}
END_TEST

START_TEST(bootstrap_of_identical_examples_has_no_width) {
  enum { E = 40, R = 200 };
  uint16_t weight[E * R];
  uint32_t example[E];
  float effect[E * 3];
  double low[3], high[3], share[3], work[2 * 3 * R];
  const double value[] = {0.1f, -0.37f, 2.7f};
  for (uint32_t e = 0; e < E; e++) {
    example[e] = e;
    for (size_t c = 0; c < 3; c++) effect[3 * e + c] = (float)value[c];
  }
  xci_bootstrap_draw(11, E, R, weight);
  xci_bootstrap_interval(weight, R, example, effect, E, 3, NULL, low, high, work);
  xci_relative(value, 3, share);
  for (size_t c = 0; c < 3; c++) {
    ck_assert(low[c] == high[c]);
    ck_assert_double_eq_tol(low[c], share[c], 1e-12);
  }
  const double unit[] = {2, 0.5, 4}, scaled[] = {value[0] / 2, value[1] / 0.5, value[2] / 4};
  xci_bootstrap_interval(weight, R, example, effect, E, 3, unit, low, high, work);
  xci_relative(scaled, 3, share);
  for (size_t c = 0; c < 3; c++) ck_assert(low[c] == high[c] && fabs(low[c] - share[c]) < 1e-12);
  effect[0] = 9; /* one example differs: now there is a width, and it holds the estimate */
  xci_bootstrap_interval(weight, R, example, effect, E, 3, NULL, low, high, work);
  ck_assert(low[0] < high[0]);
}
END_TEST

/* ---- Histograms, contexts, token profiles ---- */

START_TEST(histogram_keeps_counts_while_it_grows) {
  xci_histogram h = {0}, reversed = {0};
  for (int i = 1; i <= 1000; i++) xci_histogram_add(&h, 0.001 * i);
  for (int i = 1000; i >= 1; i--) xci_histogram_add(&reversed, 0.001 * i);
  xci_histogram_add(&h, -1);
  xci_histogram_add(&h, NAN);
  uint64_t sum = 0;
  for (size_t i = 0; i < XCI_HISTOGRAM_BINS; i++) sum += h.count[i];
  ck_assert_uint_eq(sum, 1000);
  ck_assert(h.range == 1);
  ck_assert_mem_eq(&h, &reversed, sizeof h);
  ck_assert_uint_eq(xci_histogram_used(&h), XCI_HISTOGRAM_BINS);
}
END_TEST

START_TEST(densities_fall_into_their_bins) {
  ck_assert_uint_eq(xci_density_bin(1, 1), XCI_DENSITY_BINS - 1);
  ck_assert_uint_eq(xci_density_bin(1, 100000000), 0);
  ck_assert_uint_eq(xci_density_bin(5, 100), 18); /* log10 0.05 = -1.30 in [-1.5, -1.25) */
  ck_assert(xci_density_edge(0) == -6 && xci_density_edge(XCI_DENSITY_BINS) == 0);
}
END_TEST

/* Feature-wise: ten tokens, of which the first has most of the mass; two checkpoints that fire on different tokens. */
START_TEST(types_are_measured_by_origin) {
  xci_types types = {0};
  double entropy, top;
  uint32_t best[5];
  for (uint32_t k = 0; k < 80; k++) {
    const uint32_t token = k % 10;
    const double share[2] = {token < 5, token >= 5};
    ck_assert_int_eq(xci_types_add(&types, 2, 256, 100 + token, token ? 1 : 11, share, NULL), XCODER_OK);
  }
  ck_assert_int_eq(xci_types_measure(&types, SIZE_MAX, 100, &entropy, &top, NULL), XCODER_OK);
  ck_assert_double_eq_tol(entropy, log(10) / log(100), 1e-12); /* each token was met eight times */
  ck_assert_double_eq_tol(top, 88.0 / 160, 1e-12);
  ck_assert_int_eq(xci_types_measure(&types, 0, 100, &entropy, &top, NULL), XCODER_OK);
  ck_assert_double_eq_tol(top, 88.0 / 120, 1e-12);
  ck_assert_int_eq(xci_types_measure(&types, 1, 100, &entropy, &top, NULL), XCODER_OK);
  ck_assert_double_eq_tol(entropy, log(5) / log(100), 1e-12);
  ck_assert_double_eq_tol(top, 0.2, 1e-12);
  ck_assert_uint_eq(xci_types_top(&types, 5, best), 5);
  ck_assert_uint_eq(best[0], 100);
  xci_types_free(&types);
}
END_TEST

/* Ten thousand types in a table of 256 slots: bounded, the strongest kept, counts and masses whole. */
START_TEST(types_are_bounded) {
  xci_types types = {0};
  const double share[1] = {1};
  double entropy, top;
  uint32_t best[1];
  for (uint32_t k = 0; k < 20000; k++)
    ck_assert_int_eq(xci_types_add(&types, 1, 256, k & 1 ? 7 : 10 + k, 1, share, NULL), XCODER_OK);
  ck_assert_uint_le(types.capacity, 256);
  ck_assert_uint_eq(types.n + types.merged.n, 10001);
  ck_assert_int_eq(xci_types_measure(&types, SIZE_MAX, 10001, &entropy, &top, NULL), XCODER_OK);
  ck_assert_double_eq_tol(top, 0.5, 1e-12);
  /* Half the counts on one type, the others each on its own: the entropy is that of the unbounded table. */
  ck_assert_double_eq_tol(entropy, (0.5 * log(2) + 0.5 * log(20000)) / log(10001), 1e-12);
  ck_assert_int_eq(xci_types_measure(&types, 0, 10001, &entropy, &top, NULL), XCODER_OK);
  ck_assert_double_eq_tol(top, 0.5, 1e-12);
  ck_assert_uint_eq(xci_types_top(&types, 1, best), 1);
  ck_assert_uint_eq(best[0], 7);
  xci_types_free(&types);
  ck_assert_uint_eq(xci_types_limit(768, 3), 4096);
  ck_assert_uint_le(16384 * xci_types_limit(16384, 3) * (sizeof(xci_type) + 24), (size_t)512 << 20);
}
END_TEST

/* ---- Probe ---- */

START_TEST(solver_solves) {
  double a[] = {4, 2, 0.4, 2, 5, 1, 0.4, 1, 3}, b[] = {1, 2, 3}; /* A and b */
  const double kept[] = {4, 2, 0.4, 2, 5, 1, 0.4, 1, 3};
  ck_assert_int_eq(xci_solve_spd(a, b, 3, NULL), XCODER_OK);
  for (size_t i = 0; i < 3; i++) {
    double sum = 0;
    for (size_t j = 0; j < 3; j++) sum += kept[i * 3 + j] * b[j];
    ck_assert_double_eq_tol(sum, (double)i + 1, 1e-14);
  }
  double bad[] = {1, 2, 2, 1}, side[] = {0, 0};
  ck_assert_int_eq(xci_solve_spd(bad, side, 2, NULL), XCODER_INTERNAL);
}
END_TEST

/* A planted direction in noise is found from one half, in the primal (d < n) and in the dual (d > n), and shuffled
 * labels are not. */
START_TEST(probe_finds_a_planted_direction) {
  enum { ROWS = 200 };
  static const size_t widths[] = {8, 150};
  for (size_t w = 0; w < 2; w++) {
    const size_t d = widths[w];
    static float x[ROWS * 150];
    uint8_t label[ROWS], shuffled[ROWS], truth[ROWS];
    size_t train[ROWS / 2];
    double score[ROWS], auc;
    for (size_t r = 0; r < ROWS; r++) {
      label[r] = xci_random_uniform(1, XCI_STREAM_TEST, r) < 0.5;
      for (size_t j = 0; j < d; j++) x[r * d + j] = (float)xci_random_normal(2, XCI_STREAM_TEST, r * d + j);
      x[r * d + 3] += label[r] ? 3 : -3;
    }
    for (size_t r = 0; r < ROWS; r++) shuffled[r] = label[xci_permute(9, XCI_STREAM_TEST, 0, ROWS, r)];
    for (size_t k = 0; k < ROWS / 2; k++) train[k] = 2 * k;
    for (int shuffle = 0; shuffle < 2; shuffle++) {
      const uint8_t *used = shuffle ? shuffled : label;
      double out[ROWS / 2];
      ck_assert_int_eq(xci_probe(x, ROWS, d, used, train, ROWS / 2, score, NULL), XCODER_OK);
      for (size_t k = 0; k < ROWS / 2; k++) {
        out[k] = score[2 * k + 1];
        truth[k] = used[2 * k + 1];
      }
      ck_assert_int_eq(xci_auc(out, truth, ROWS / 2, &auc, NULL), XCODER_OK);
      if (shuffle) ck_assert(auc > 0.3 && auc < 0.7);
      else ck_assert(auc > 0.98);
    }
  }
}
END_TEST

/* ---- JSON out, CSV in ---- */

START_TEST(json_nests_and_separates) {
  xci_json_out out = {0};
  xci_json_open(&out, NULL, '{');
  xci_json_count(&out, "a", 1);
  xci_json_numbers(&out, "b", (double[]){0.5, NAN}, 2);
  xci_json_open(&out, "c", '[');
  xci_json_close(&out, ']');
  xci_json_line(&out);
  xci_json_text(&out, "d\"", "<x>");
  xci_json_flag(&out, "e", true);
  xci_json_close(&out, '}');
  ck_assert_str_eq(out.text.bytes, "{\"a\": 1, \"b\": [0.5, null], \"c\": [],\n"
                                   " \"d\\\"\": \"\\u003cx\\u003e\", \"e\": true}");
  xci_text_clear(&out.text);
}
END_TEST

static xcoder_status read_csv(const char *text, xci_csv *csv) {
  char path[64];
  xci_text content = {0};
  snprintf(path, sizeof path, "test_cores-%ld.csv", (long)getpid());
  xci_text_add(&content, text);
  ck_assert_int_eq(xci_write_text(path, &content, NULL), XCODER_OK);
  const xcoder_status status = xci_csv_open(path, csv, NULL);
  unlink(path);
  return status;
}

START_TEST(csv_reads_quotes) {
  xci_csv csv;
  ck_assert_int_eq(read_csv("a,\"b,\"\"x\"\"\",c\r\n1,,\"two\nlines\"\n-2.5e-3,x,\n", &csv), XCODER_OK);
  ck_assert_uint_eq(csv.n_columns, 3);
  ck_assert_uint_eq(csv.n_rows, 2);
  ck_assert_uint_eq(xci_csv_column(&csv, "b,\"x\""), 1);
  ck_assert_uint_eq(xci_csv_column(&csv, "d"), SIZE_MAX);
  ck_assert_str_eq(xci_csv_at(&csv, 0, 2), "two\nlines");
  ck_assert(xci_csv_number(&csv, 1, 0) == -2.5e-3 && isnan(xci_csv_number(&csv, 0, 1)));
  xci_csv_close(&csv);
  ck_assert_int_eq(read_csv("a,b\n1\n", &csv), XCODER_FORMAT);
  ck_assert_int_eq(read_csv("a,\"b\n1\n", &csv), XCODER_FORMAT);
  ck_assert_int_eq(read_csv("a,\"b\"c\n", &csv), XCODER_FORMAT);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("analysis cores");
  TCase *cores = tcase_create("cores");
  tcase_add_test(cores, wilson_gives_known_intervals);
  tcase_add_test(cores, ranks_share_ties);
  tcase_add_test(cores, intervals_of_means);
  tcase_add_test(cores, spearman_of_known_values);
  tcase_add_test(cores, auc_counts_pairs);
  tcase_add_test(cores, entropy_is_normalised);
  tcase_add_test(cores, quantiles_interpolate);
  tcase_add_test(cores, gauss_is_exact_up_to_its_degree);
  tcase_add_test(cores, gauss_nodes_are_the_tabled_ones);
  tcase_add_test(cores, simple_rules_have_their_sums);
  tcase_add_test(cores, gradient_is_one_node_at_the_start);
  tcase_add_test(cores, turned_nodes_integrate_what_turns);
  tcase_add_test(cores, graded_nodes_integrate_into_a_point);
  tcase_add_test(cores, classes_of_two);
  tcase_add_test(cores, classes_of_three);
  tcase_add_test(cores, classes_of_more);
  tcase_add_test(cores, classes_are_exhaustive);
  tcase_add_test(cores, intervals_make_uncertain);
  tcase_add_test(cores, bootstrap_draws_n_each_time);
  tcase_add_test(cores, bootstrap_of_identical_examples_has_no_width);
  tcase_add_test(cores, histogram_keeps_counts_while_it_grows);
  tcase_add_test(cores, densities_fall_into_their_bins);
  tcase_add_test(cores, types_are_measured_by_origin);
  tcase_add_test(cores, types_are_bounded);
  tcase_add_test(cores, solver_solves);
  tcase_add_test(cores, probe_finds_a_planted_direction);
  tcase_add_test(cores, json_nests_and_separates);
  tcase_add_test(cores, csv_reads_quotes);
  suite_add_tcase(suite, cores);
  SRunner *runner = srunner_create(suite);
  srunner_set_fork_status(runner, CK_NOFORK); /* libgomp does not survive a fork */
  srunner_run_all(runner, CK_NORMAL);
  const int n_failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return n_failed != 0;
}
