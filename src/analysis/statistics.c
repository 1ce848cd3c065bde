/* SPDX-License-Identifier: Apache-2.0 */
/* Intervals, ranks, correlations, areas under curves, entropies. */
#include "analysis/statistics.h"

#include "base/memory.h"
#include <math.h>
#include <stdlib.h>

static const double normal_975 = 1.959963984540054; /* 97.5 % quantile of the normal distribution */

void xci_wilson(uint64_t n_correct, uint64_t n, double *low, double *high) {
  *low = 0;
  *high = 1;
  if (n == 0) return;
  const double count = (double)n, share = (double)n_correct / count, z = normal_975, z2 = z * z;
  const double centre = (share + z2 / (2 * count)) / (1 + z2 / count);
  const double half = z / (1 + z2 / count) * sqrt(share * (1 - share) / count + z2 / (4 * count * count));
  /* At the ends the exact value is 0 or 1; rounding must not leave the interval short of it. */
  *low = n_correct == 0 ? 0 : fmax(0, centre - half);
  *high = n_correct == n ? 1 : fmin(1, centre + half);
}

void xci_mean_sd(const double *x, size_t n, double *mean, double *sd) {
  double sum = 0, squares = 0;
  for (size_t i = 0; i < n; i++) sum += x[i];
  *mean = n ? sum / (double)n : NAN;
  for (size_t i = 0; i < n; i++) squares += (x[i] - *mean) * (x[i] - *mean);
  *sd = n > 1 ? sqrt(squares / (double)(n - 1)) : 0;
}

typedef struct keyed {
  double value;
  size_t index;
} keyed;

static int compare_keyed(const void *a, const void *b) {
  const keyed *p = a, *q = b;
  if (p->value != q->value) return p->value < q->value ? -1 : 1;
  return p->index < q->index ? -1 : p->index > q->index;
}

xcoder_status xci_ranks(const double *x, size_t n, double *rank, xcoder_error *err) {
  keyed *order = NULL;
  const xcoder_status status = XCI_ALLOC(&order, n, err);
  if (status) return status;
  for (size_t i = 0; i < n; i++) order[i] = (keyed){x[i], i};
  if (n) qsort(order, n, sizeof *order, compare_keyed);
  for (size_t first = 0; first < n;) {
    size_t last = first;
    while (last + 1 < n && order[last + 1].value == order[first].value) last++;
    for (size_t i = first; i <= last; i++) rank[order[i].index] = 0.5 * (double)(first + last) + 1;
    first = last + 1;
  }
  xci_free(order);
  return XCODER_OK;
}

xcoder_status xci_order_descending(const double *x, size_t n, size_t *order, xcoder_error *err) {
  keyed *item = NULL;
  const xcoder_status status = XCI_ALLOC(&item, n, err);
  if (status) return status;
  for (size_t i = 0; i < n; i++) item[i] = (keyed){-x[i], i};
  if (n) qsort(item, n, sizeof *item, compare_keyed);
  for (size_t i = 0; i < n; i++) order[i] = item[i].index;
  xci_free(item);
  return XCODER_OK;
}

static double correlate(const double *x, const double *y, size_t n) {
  double mean_x = 0, mean_y = 0, xx = 0, yy = 0, xy = 0;
  for (size_t i = 0; i < n; i++) {
    mean_x += x[i];
    mean_y += y[i];
  }
  mean_x /= (double)n;
  mean_y /= (double)n;
  for (size_t i = 0; i < n; i++) {
    xx += (x[i] - mean_x) * (x[i] - mean_x);
    yy += (y[i] - mean_y) * (y[i] - mean_y);
    xy += (x[i] - mean_x) * (y[i] - mean_y);
  }
  return xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : NAN;
}

xcoder_status xci_spearman(const double *x, const double *y, size_t n, double *rho, xcoder_error *err) {
  double *rank = NULL;
  *rho = NAN;
  if (n < 2) return XCODER_OK;
  xcoder_status status = XCI_ALLOC(&rank, 2 * n, err);
  if (!status) status = xci_ranks(x, n, rank, err);
  if (!status) status = xci_ranks(y, n, rank + n, err);
  if (!status) *rho = correlate(rank, rank + n, n);
  xci_free(rank);
  return status;
}

double xci_auc_of_ranks(const double *rank, const uint8_t *label, size_t n) {
  double sum = 0;
  size_t n_positive = 0;
  for (size_t i = 0; i < n; i++) {
    if (!label[i]) continue;
    sum += rank[i];
    n_positive++;
  }
  if (n_positive == 0 || n_positive == n) return NAN;
  const double positive = (double)n_positive, negative = (double)(n - n_positive);
  return (sum - positive * (positive + 1) / 2) / (positive * negative);
}

xcoder_status xci_auc(const double *score, const uint8_t *label, size_t n, double *auc, xcoder_error *err) {
  double *rank = NULL;
  *auc = NAN;
  xcoder_status status = XCI_ALLOC(&rank, n, err);
  if (!status) status = xci_ranks(score, n, rank, err);
  if (!status) *auc = xci_auc_of_ranks(rank, label, n);
  xci_free(rank);
  return status;
}

void xci_auc_interval(double auc, size_t n_positive, size_t n_negative, double *low, double *high) {
  *low = *high = NAN;
  if (!(auc >= 0 && auc <= 1) || n_positive == 0 || n_negative == 0) return;
  const double positive = (double)n_positive, negative = (double)n_negative;
  const double q1 = auc / (2 - auc), q2 = 2 * auc * auc / (1 + auc);
  const double variance = (auc * (1 - auc) + (positive - 1) * (q1 - auc * auc) + (negative - 1) * (q2 - auc * auc)) /
                          (positive * negative);
  const double half = normal_975 * sqrt(fmax(0, variance));
  *low = fmax(0, auc - half);
  *high = fmin(1, auc + half);
}

double xci_student_p(double t, double df) {
  df = fmax(1, df);
  const double z = (8 * df + 1) / (8 * df + 3) * sqrt(df * log1p(t * t / df));
  return erfc(z / sqrt(2));
}

double xci_student_975(double df) {
  /* Wallace is off by 39 % at df = 1 and by 0.3 % at 5: exact values below, and lines over 1 / df between them. */
  static const double few[] = {12.706205, 4.302653, 3.182446, 2.776445, 2.570582};
  df = fmax(1, df);
  for (size_t k = 1; k < sizeof few / sizeof *few; k++)
    if (df <= (double)k + 1) {
      const double left = 1 / (double)k, right = 1 / (double)(k + 1);
      return few[k] + (few[k - 1] - few[k]) * (1 / df - right) / (left - right);
    }
  const double z = normal_975 * (8 * df + 3) / (8 * df + 1);
  return sqrt(df * expm1(z * z / df));
}

void xci_mean_interval(const double *x, size_t n, double *mean, double *low, double *high) {
  double sd;
  xci_mean_sd(x, n, mean, &sd);
  const double half = n < 2 ? NAN : xci_student_975((double)n - 1) * sd / sqrt((double)n);
  *low = *mean - half;
  *high = *mean + half;
}

void xci_welch(const double *x, size_t n_x, const double *y, size_t n_y, double *difference, double *low, double *high,
               double *p) {
  double mean_x, mean_y, sd_x, sd_y;
  *difference = *low = *high = *p = NAN;
  if (n_x < 2 || n_y < 2) return;
  xci_mean_sd(x, n_x, &mean_x, &sd_x);
  xci_mean_sd(y, n_y, &mean_y, &sd_y);
  const double a = sd_x * sd_x / (double)n_x, b = sd_y * sd_y / (double)n_y, error = sqrt(a + b);
  const double df = a + b > 0 ? (a + b) * (a + b) / (a * a / ((double)n_x - 1) + b * b / ((double)n_y - 1)) : 1;
  *difference = mean_y - mean_x;
  *low = *difference - xci_student_975(df) * error;
  *high = *difference + xci_student_975(df) * error;
  *p = error > 0 ? xci_student_p(*difference / error, df) : *difference == 0 ? 1 : 0;
}

double xci_entropy(const double *weight, size_t n, size_t n_types) {
  double total = 0, sum = 0;
  for (size_t i = 0; i < n; i++) total += weight[i];
  if (n_types < 2 || !(total > 0)) return 0;
  for (size_t i = 0; i < n; i++)
    if (weight[i] > 0) sum -= weight[i] / total * log(weight[i] / total);
  return fmin(1, fmax(0, sum / log((double)n_types)));
}

static int compare_f64(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

void xci_sort_f64(double *x, size_t n) {
  if (n) qsort(x, n, sizeof *x, compare_f64);
}

double xci_quantile(const double *sorted, size_t n, double q) {
  if (n == 0) return NAN;
  const double place = q * (double)(n - 1);
  const size_t below = (size_t)place;
  if (below + 1 >= n) return sorted[n - 1];
  if (sorted[below] == sorted[below + 1]) return sorted[below]; /* no rounding between equal neighbours */
  return sorted[below] + (place - (double)below) * (sorted[below + 1] - sorted[below]);
}
