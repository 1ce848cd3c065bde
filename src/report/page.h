/* SPDX-License-Identifier: Apache-2.0 */
/* The page under construction, and what its sections share. */
#ifndef XCI_REPORT_PAGE_H
#define XCI_REPORT_PAGE_H

#include "base/text.h"
#include "formats/json.h"
#include "analysis/attribution/relative_effect.h"
#include "analysis/csv_in.h"
#include "report/labels.h"
#include <crosscoder/coder.h>

/* A transfer by the name of its folder. */
typedef struct xci_named_json {
  char *name;
  json_t *value;
} xci_named_json;

/* Everything of the run directory that the report shows; what is missing stays NULL or empty. */
typedef struct xci_task_files {
  char *name;
  xci_csv effects, ablation, curves;
  json_t *effects_info, *ablation_info, *baselines;
} xci_task_files;

typedef struct xci_run_files {
  const char *path;
  size_t n_labels;
  char **labels;               /* of the checkpoints, oldest first */
  double tokens_seen[32];      /* of each, NaN where unknown */
  xci_csv metrics, accuracy, evolution_csv, scaling; /* scaling: latent-scaling.csv */
  xci_label_list said;         /* labels.csv, merged */
  json_t *eval, *known, *features, *evolution, *convergence;
  xci_csv sweep;               /* sweep/sweep.csv */
  json_t *manifest;
  json_t *chain;               /* chain/chain.json */
  json_t *compare, *compare_layers; /* compare.json of the folders of these names */
  xci_csv stability, seeds;         /* compare/stability.csv, compare/seeds.csv */
  size_t n_transfers;
  xci_named_json *transfer;
  size_t n_tasks;
  xci_task_files *task;
  char *coder_summary;         /* "3 checkpoints, d = 64, 1024 features, layer 2" */
  size_t n_features;           /* of the crosscoder, 0 if there is none yet */
  long layer;                  /* -1: unknown */
  char identity[33]; /* checksum of the crosscoder: the same for copies of a run, another for every other run */
  char seed[24];               /* "" if run.yaml does not tell */
} xci_run_files;

xcoder_status xci_run_files_read(const char *run, xci_run_files *files, xcoder_error *err);
void xci_run_files_free(xci_run_files *files);

/* The borders of classes that a JSON file of the run names (effects/TASK.json, evolution.json); the usual ones where it
 * names none. */
xci_borders xci_run_borders(const json_t *info);

typedef struct xci_page {
  const xci_run_files *run;
  xci_text html;
  const char *out;             /* folder of the report */
  size_t n_cards;
  xcoder_status status;        /* the first failure of writing a figure or table */
  xcoder_error *err;
} xci_page;

/* Adds escaped text; a tag with escaped text; raw markup. */
void xci_page_text(xci_page *page, const char *text);
void xci_page_tag(xci_page *page, const char *tag, const char *text);
void xci_page_raw(xci_page *page, const char *markup);
void xci_page_number(xci_page *page, double value);
/* A table cell with a number (data for sorting in the attribute) or a text. */
void xci_page_cell(xci_page *page, double value);
void xci_page_cell_text(xci_page *page, const char *text);
/* Puts the figure into the page and into figures/NAME.svg; frees `svg`. The name is made safe for files. */
void xci_page_figure(xci_page *page, const char *name, xci_text *svg, const char *caption);
/* Writes tables/NAME.csv; frees `csv`. */
void xci_page_table(xci_page *page, const char *name, xci_text *csv);
/* Writes a table that was read once more, as tables/NAME.csv. */
void xci_page_copy_table(xci_page *page, const char *name, const xci_csv *csv);
/* Writes tables/NAME.tex; frees `tex`. */
void xci_page_latex(xci_page *page, const char *name, xci_text *tex);

/* Text for LaTeX: its special characters become what prints them, control characters a space. */
void xci_text_latex(xci_text *tex, const char *text);

/* JSON members for display: NaN or "" when absent. */
double xci_json_number_at(const json_t *object, const char *key);
const char *xci_json_text_at(const json_t *object, const char *key);

/* The tools of labelling above the cards, and the part of a card. */
void xci_page_label_tools(xci_page *page);
void xci_page_card_label(xci_page *page, uint32_t feature);

/* The sections, in the order of the page. */
void xci_page_begin(xci_page *page, const char *title);
void xci_page_summary(xci_page *page);
void xci_page_training(xci_page *page);
void xci_page_quality(xci_page *page);
/* Quality of this run and of others, their mean and standard deviation, as a table, CSV and LaTeX. */
void xci_page_quality_runs(xci_page *page, const char *const *others, size_t n_others);
/* Latent scaling beside RelDec, and the part of a card. */
void xci_page_scaling(xci_page *page);
void xci_page_card_scaling(xci_page *page, uint32_t feature);
void xci_page_accuracy(xci_page *page);
void xci_page_task(xci_page *page, size_t task);
void xci_page_cards(xci_page *page);
void xci_page_known(xci_page *page);
void xci_page_evolution(xci_page *page);
/* Chains of windows (chain.c). */
void xci_page_chain(xci_page *page);
/* Snapshots, baselines, sweep. */
void xci_page_cost(xci_page *page);
void xci_page_ablation(xci_page *page);
/* Links to the sections between effects and cards that the page will have (checks.c). */
void xci_page_check_links(xci_page *page);
void xci_page_end(xci_page *page);
/* The script and the end of the page, without the words on runs. */
void xci_page_close(xci_page *page);

/* report.c: OUT/figures and OUT/tables; OUT/index.html. */
xcoder_status xci_page_make_folders(const char *out, xcoder_error *err);
xcoder_status xci_page_write(xci_page *page, xcoder_error *err);

/* Parts of a card from the database of features (card_features.c): numbers, and contexts that were drawn. */
void xci_page_card_features(xci_page *page, const json_t *feature);
void xci_page_card_samples(xci_page *page, const json_t *feature);
/* A row of tokens with their activations (card.c); the token `peak` is underlined, SIZE_MAX: none. */
void xci_page_context(xci_page *page, const char *who, const json_t *tokens, const json_t *values, double scale,
                      size_t peak);

#endif
