/* SPDX-License-Identifier: Apache-2.0 */
/* What people called the features: reading, merging, agreement, and the rows of labels.csv. */
#ifndef XCI_REPORT_LABELS_H
#define XCI_REPORT_LABELS_H

#include "analysis/csv_in.h"
#include "base/text.h"
#include <stdint.h>

typedef struct xci_label {
  uint32_t feature;
  const char *description, *languages, *annotator;
  const char *confidence; /* "low", "medium", "high" or "" */
  size_t file, line;      /* where it stood */
} xci_label;

typedef struct xci_label_file {
  char *path;
  xci_csv csv;
} xci_label_file;

typedef struct xci_label_list {
  size_t n, capacity;
  xci_label *label;
  size_t n_files, file_capacity;
  xci_label_file *file; /* the texts of the labels lie here */
  size_t n_empty, n_repeated, n_replaced;
} xci_label_list;

/* Appends the labels of a file. Needed are the columns feat_id and description; languages, annotator and confidence
 * may be missing, others are passed over. A row without an annotator belongs to the one the file is named after.
 * Errors: XCODER_FORMAT naming the line. */
xcoder_status xci_labels_read(xci_label_list *list, const char *path, xcoder_error *err);
/* Sorts by feature and annotator and keeps one label of each: of equal ones the first, of those in several files the
 * last file's. Errors: XCODER_FORMAT for two different ones in one file, and for a feature that is not below
 * `n_features` (0: unknown). */
xcoder_status xci_labels_merge(xci_label_list *list, size_t n_features, xcoder_error *err);
void xci_labels_clear(xci_label_list *list);

/* The labels of a feature in a merged list: the first of `*n`. */
const xci_label *xci_labels_of(const xci_label_list *list, uint32_t feature, size_t *n);
/* The description that stands for a feature in figures and tables: what most annotators wrote, the first of them if
 * they differ; "" without one. */
const char *xci_label_shown(const xci_label_list *list, uint32_t feature);

/* A field for a file that spreadsheets open: no formula, and what xci_labels_read() gives back is the same text. */
void xci_label_field(xci_text *csv, const char *text);

/* The columns of the authors' annotation files up to the description, and the values of a feature in them. */
struct xci_run_files;
void xci_label_header(const struct xci_run_files *run, xci_text *csv);
void xci_label_row(const struct xci_run_files *run, uint32_t feature, xci_text *csv);

/* Agreement beyond chance on nominal categories 0 .. n_categories - 1; NaN where it is undefined (no items, or all in
 * one category). Cohen, J. (1960), Educ. Psychol. Meas. 20, 37: kappa = (p_o - p_e) / (1 - p_e) with
 * p_e = sum_k p_a(k) p_b(k); `*agreement` is p_o. */
xcoder_status xci_cohen_kappa(const uint32_t *a, const uint32_t *b, size_t n, size_t n_categories, double *agreement,
                              double *kappa, xcoder_error *err);
/* Fleiss, J. L. (1971), Psychol. Bull. 76, 378, for category[i * n_raters + r]: every rater judged every item.
 * kappa = (P - P_e) / (1 - P_e), P the mean over items of (sum_k n_ik^2 - m) / (m (m - 1)), P_e = sum_k p_k^2. */
xcoder_status xci_fleiss_kappa(const uint32_t *category, size_t n_items, size_t n_raters, size_t n_categories,
                               double *kappa, xcoder_error *err);

/* labels.json: who labelled how much, agreement of pairs and of all, disagreements. */
xcoder_status xci_labels_json(const xci_label_list *list, xci_text *json, xcoder_error *err);

#endif
