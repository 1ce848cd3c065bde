/* SPDX-License-Identifier: Apache-2.0 */
/* Statistics of analyses: intervals, ranks, correlations, areas under curves, entropies. Pure functions. */
#ifndef XCI_ANALYSIS_STATISTICS_H
#define XCI_ANALYSIS_STATISTICS_H

#include "base/error.h"
#include <stddef.h>
#include <stdint.h>

/* Wilson's 95 % interval of a share; [0, 1] for n == 0. */
void xci_wilson(uint64_t n_correct, uint64_t n, double *low, double *high);

/* Mean and standard deviation (n - 1) of n values; sd is 0 for n < 2, the mean NaN for n == 0. */
void xci_mean_sd(const double *x, size_t n, double *mean, double *sd);

/* Ranks 1..n in ascending order; equal values share the average of their ranks. No value may be NaN. */
xcoder_status xci_ranks(const double *x, size_t n, double *rank, xcoder_error *err);

/* Indices 0..n-1 in descending order of their values, of equal values the lower first. No value may be NaN. */
xcoder_status xci_order_descending(const double *x, size_t n, size_t *order, xcoder_error *err);

/* Spearman's rank correlation with average ranks. NaN where either side is constant or n < 2. */
xcoder_status xci_spearman(const double *x, const double *y, size_t n, double *rho, xcoder_error *err);

/* Area under the ROC curve from ranks (xci_ranks): the chance that a value of a labelled element exceeds one of an
 * unlabelled element, ties counting half. NaN where one of the two classes is empty. */
double xci_auc_of_ranks(const double *rank, const uint8_t *label, size_t n);
xcoder_status xci_auc(const double *score, const uint8_t *label, size_t n, double *auc, xcoder_error *err);

/* 95 % interval of an area under the curve (Hanley and McNeil 1982), cut to [0, 1]. */
void xci_auc_interval(double auc, size_t n_positive, size_t n_negative, double *low, double *high);

/* Two-sided p of Student's t with `df` degrees of freedom, and the 97.5 % quantile: Wallace's transformation to a
 * normal value (Annals of Mathematical Statistics 30, 1959), good to 1e-3 from df = 3 on; the quantile is exact for df
 * = 1 to 5. df < 1 counts as 1. */
double xci_student_p(double t, double df);
double xci_student_975(double df);

/* Mean of x with Student's 95 % interval; NaN for n == 0, NaN limits for n < 2. */
void xci_mean_interval(const double *x, size_t n, double *mean, double *low, double *high);

/* Difference of the means of y and x, its 95 % interval and two-sided p after Welch (Biometrika 34, 1947), which does
 * not ask for equal variances. NaN for fewer than two values on a side. */
void xci_welch(const double *x, size_t n_x, const double *y, size_t n_y, double *difference, double *low, double *high,
               double *p);

/* Entropy of non-negative weights divided by log(n_types), in [0, 1]; 0 for n_types < 2 or no weight. */
double xci_entropy(const double *weight, size_t n, size_t n_types);

/* The q-quantile (0..1) of sorted values, linear between neighbours; NaN for n == 0. */
double xci_quantile(const double *sorted, size_t n, double q);
void xci_sort_f64(double *x, size_t n);

#endif
