/* SPDX-License-Identifier: Apache-2.0 */
/* Sections from compare.json: this run beside others of other seeds, layers or models. */
#ifndef XCI_REPORT_COMPARISON_H
#define XCI_REPORT_COMPARISON_H

#include "report/page.h"

enum { XCI_MOST_RUNS = 12, XCI_MOST_TASKS = 16 };

/* Whether the runs are of the same checkpoints at one layer, of several layers, or of other checkpoints or models. */
typedef enum xci_comparison_kind { XCI_OTHER_SEEDS, XCI_OTHER_LAYERS, XCI_OTHER_MODELS } xci_comparison_kind;
xci_comparison_kind xci_comparison_find_kind(const json_t *compare);

/* Figure and table of recurring features; the top again, RelIE and classes. `prefix` begins the names of all files. */
void xci_page_recurring(xci_page *page, const json_t *compare, const char *prefix);
void xci_page_agreement(xci_page *page, const json_t *compare, const char *prefix);
/* Shares of classes, the specificity of their tokens and onsets, runs side by side (class_shares.c). */
void xci_page_class_shares(xci_page *page, const json_t *compare, const char *prefix);

/* RelIE of the strongest features over examples and over seeds (over_runs.c). */
void xci_page_over_runs(xci_page *page);

/* Name of run r: "layer 3" where layers are compared. */
void xci_comparison_name(const json_t *compare, xci_comparison_kind kind, const char *name, char out[64]);
/* "en_simple" of "pairs-en_simple". */
const char *xci_task_short(const char *task);

/* The sections. */
void xci_page_seeds(xci_page *page);
void xci_page_layers(xci_page *page);
void xci_page_models(xci_page *page);
void xci_page_transfers(xci_page *page);

#endif
