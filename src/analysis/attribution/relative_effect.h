/* SPDX-License-Identifier: Apache-2.0 */
/* RelIE, RelDec, the classes made of them, their bootstrap intervals (METHOD section 7). Pure functions. */
#ifndef XCI_ANALYSIS_RELATIVE_EFFECT_H
#define XCI_ANALYSIS_RELATIVE_EFFECT_H

#include "base/text.h"
#include <crosscoder/coder.h>

/* share[c] = |value[c]| / sum |value|; all NaN (and false) where the sum is 0. */
bool xci_relative(const double *value, size_t n, double *share);

typedef enum xci_class_kind {
  XCI_CLASS_NONE,      /* no effect, no RelIE */
  XCI_CLASS_SPECIFIC,  /* to the one checkpoint in `members` */
  XCI_CLASS_SHARED,    /* by those in `members` */
  XCI_CLASS_MOSTLY,    /* of the one in `members`: alone above the border of sharing, and not specific */
  XCI_CLASS_OTHER,     /* of the authors' classes only, which leave such a feature without one */
  XCI_CLASS_UNCERTAIN  /* an interval spans a border */
} xci_class_kind;

typedef struct xci_class {
  xci_class_kind kind;
  uint32_t members; /* bit c: checkpoint c */
} xci_class;

/* Where classes begin: specific above, shared from (of two and three checkpoints; 3 shared / n of more). 0 stands for
 * 0.7 and 0.3. */
typedef struct xci_borders {
  double specific, shared;
} xci_borders;

/* The borders with 0.7 and 0.3 in the place of 0, and the border of sharing among n checkpoints. */
xci_borders xci_borders_complete(xci_borders borders);
double xci_sharing_border(xci_borders borders, size_t n);

/* The class of shares [n] that sum to 1: specific above 0.7, else the set of checkpoints with at least 0.9 / n (n = 2:
 * neither below 0.3), the largest at least. Every composition of shares has one. */
xci_class xci_classify(const double *share, size_t n);
xci_class xci_classify_by(xci_borders borders, const double *share, size_t n);

/* The same, `uncertain` where an interval [low, high] spans a border that matters for it. */
xci_class xci_classify_interval(const double *share, const double *low, const double *high, size_t n);
xci_class xci_classify_interval_by(xci_borders borders, const double *share, const double *low, const double *high,
                                   size_t n);

/* The authors' classes of three: a feature that is mostly of one checkpoint is other. Their reading of a feature
 * without any effect: 0.5 in every component. Their borders are {0, 0}. */
xci_class xci_classify_authors(xci_borders borders, const double *effect, size_t n);

/* "specific:B", "mostly:B", "shared:A+B", "none", "other", "uncertain". */
void xci_class_text(xci_class class, const char *const *labels, size_t n, xci_text *text);

/* "emerging" (specific to a later checkpoint), "vanishing" (to an earlier one), "persisting" (shared), or "". With
 * more than two checkpoints later means the second half, earlier the first; the middle one of an odd number is
 * neither. A set is emerging when all of it is later and vanishing when all of it is earlier. */
const char *xci_evolution(xci_class class, size_t n);

/* Bootstrap: weight[e * n_resamples + r] is how often example e was drawn in resample r. */
void xci_bootstrap_draw(uint64_t seed, size_t n_examples, size_t n_resamples, uint16_t *weight);

/* 95 % percentile intervals of RelIE of one feature with effects [n_active, n] in examples example[n_active]; NaN
 * where no resample has an effect. The effects at checkpoint c are divided by unit[c] (NULL: 1).
 * `work`: [2 * n * n_resamples] doubles. */
void xci_bootstrap_interval(const uint16_t *weight, size_t n_resamples, const uint32_t *example, const float *effect,
                            size_t n_active, size_t n, const double *unit, double *low, double *high, double *work);

#endif
