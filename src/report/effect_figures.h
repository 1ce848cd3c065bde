/* SPDX-License-Identifier: Apache-2.0 */
/* Figures and tables of effects beside those that each task opens with. */
#ifndef XCI_REPORT_EFFECT_FIGURES_H
#define XCI_REPORT_EFFECT_FIGURES_H

#include "report/page.h"
#include <stdbool.h>

/* Columns PREFIX_LABEL of every checkpoint; false if one is missing. */
bool xci_effect_columns(const xci_run_files *run, const xci_csv *csv, const char *prefix,
                        size_t column[XCODER_MAX_CHECKPOINTS]);
/* The features with the k (at most XCI_MOST_TOP) largest |IE| of one column, falling; returns how many there are. */
enum { XCI_MOST_TOP = 100 };
size_t xci_top_features(const xci_task_files *task, size_t column, size_t k, uint32_t *top);
/* Distributions of |IE| and RelIE, RelIE against RelDec as points and as classes. */
void xci_page_effect_figures(xci_page *page, const xci_task_files *task);
/* How many of the strongest features two tasks share, per checkpoint; nothing for a single task. */
void xci_page_overlap(xci_page *page);
/* Table of the features to annotate (the 10 strongest of each checkpoint) by class, as CSV and LaTeX. */
void xci_page_annotation(xci_page *page, const xci_task_files *task);

#endif
