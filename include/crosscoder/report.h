/* SPDX-License-Identifier: Apache-2.0 */
/* One self-contained offline page of a run, its figures (SVG) and its tables (CSV). */
#ifndef CROSSCODER_REPORT_H
#define CROSSCODER_REPORT_H

#include <crosscoder/analysis.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct xcoder_report_options {
  const char *title;  /* NULL: made from the run */
  size_t n_cards;     /* cards of the top features of each task and checkpoint; 0: all that were made */
  const char *const *beside; /* further run directories, such as other seeds, for the table of quality; may be NULL */
  size_t n_beside;
} xcoder_report_options;

/* Reads the files of the run directory `run` (also of an unfinished run: what is missing is said on the page) and
 * writes `out`/index.html, `out`/figures/NAME.svg, `out`/tables/NAME.csv; `out` NULL: run/report.
 * Text from files is never markup (doc/interpreting.md, RELIABILITY H01-H12). */
XCODER_API xcoder_status xcoder_report(const char *run, const xcoder_report_options *options, const char *out,
                                       const xcoder_monitor *monitor, xcoder_error *err);

/* What one merge of labels met. */
typedef struct xcoder_labels_counts {
  size_t n_read;     /* labels in the given files */
  size_t n_before;   /* labels that the run had */
  size_t n_labels;   /* labels that it has now */
  size_t n_empty;    /* rows without any label, passed over */
  size_t n_repeated; /* labels that were there already */
  size_t n_replaced; /* labels of the same feature and annotator that a later file says otherwise */
} xcoder_labels_counts;

/* Merges files of labels (CSV with the columns feat_id and description, and if there languages, annotator, confidence)
 * into run/labels.csv, one row a feature and annotator, and writes run/labels.json: Cohen's kappa of each pair of
 * annotators, Fleiss' kappa over the features that all have labelled, and the features on which they differ. With
 * `n_files` = 0 only the latter. Reports made afterwards show the labels. Nothing is written unless all files are fine.
 * Errors: XCODER_FORMAT naming file and line; XCODER_MISSING for a run without labels. */
XCODER_API xcoder_status xcoder_labels(const char *run, const char *const *files, size_t n_files,
                                       xcoder_labels_counts *counts, const xcoder_monitor *monitor, xcoder_error *err);

/* The report of a selection (xcoder_select): `out`/report/ with index.html, figures/ and tables/: accuracy over tokens
 * with the chosen checkpoints, heat maps of cosine and Pearson correlation, the curve of adjacent revisions, and how
 * far the classes of features agree between `runs` (of different proposals, the same tasks; may be none). */
XCODER_API xcoder_status xcoder_selection_report(const xcoder_selection *selection, const char *const *runs,
                                                 size_t n_runs, const char *out, const xcoder_monitor *monitor,
                                                 xcoder_error *err);

#ifdef __cplusplus
}
#endif
#endif
