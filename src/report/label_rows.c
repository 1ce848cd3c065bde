/* SPDX-License-Identifier: Apache-2.0 */
/* The columns of the authors' annotation files: what a feature is, beside what people say about it. */
#include "report/labels.h"

#include "report/page.h"
#include <math.h>
#include <string.h>

/* "A" .. "Z", then "27" and so on: the authors' names of the checkpoints. */
static void add_letter(xci_text *csv, size_t c) {
  if (c < 26) xci_text_format(csv, "%c", (char)('A' + c));
  else xci_text_format(csv, "%zu", c + 1);
}

void xci_label_header(const xci_run_files *run, xci_text *csv) {
  static const char *const kinds[] = {"rel_dec_norm", "rel_ie"};
  xci_text_add(csv, "feat_id,task,layer,version,comparison,seed,task_category,selection_source,activation_dataset");
  for (size_t c = 0; c < run->n_labels; c++) {
    xci_text_add(csv, ",ie_value_");
    add_letter(csv, c);
  }
  for (size_t k = 0; run->n_labels && k < 2; k++) {
    xci_text_format(csv, ",%s_value,%s_class", kinds[k], kinds[k]);
    if (run->n_labels == 3) xci_text_format(csv, ",%s_value_pair,%s_class_pair", kinds[k], kinds[k]);
  }
}

/* The task in which the feature matters most, and its row there; NULL if it is in none. */
static const xci_task_files *strongest_task(const xci_run_files *run, uint32_t feature, size_t *row) {
  const xci_task_files *found = NULL;
  double most = -1;
  for (size_t t = 0; t < run->n_tasks; t++) {
    const xci_csv *csv = &run->task[t].effects;
    const size_t column = xci_csv_column(csv, "feature"), share = xci_csv_column(csv, "abs_share");
    for (size_t r = 0; r < csv->n_rows; r++) {
      if (xci_csv_number(csv, r, column) != (double)feature) continue;
      const double value = xci_csv_number(csv, r, share);
      if (value > most) {
        most = value;
        found = &run->task[t];
        *row = r;
      }
      break;
    }
  }
  return found;
}

static double value_at(const xci_csv *csv, size_t row, const char *prefix, const char *label) {
  xci_text name = {0};
  xci_text_format(&name, "%s_%s", prefix, label);
  const double value = name.bytes ? xci_csv_number(csv, row, xci_csv_column(csv, name.bytes)) : NAN;
  xci_text_clear(&name);
  return value;
}

/* The authors' class of a share: 0, 0.5 or 1. */
static double class_of(double share) { return share > 0.7 ? 1 : share < 0.3 ? 0 : 0.5; }

/* A number, or for several the text "[0.1 0.2 0.7]" that the authors' scripts read; nothing for what is undefined. */
static void add_shares(xci_text *csv, const double *share, size_t n, bool classes) {
  bool defined = true;
  for (size_t i = 0; i < n; i++) defined = defined && isfinite(share[i]);
  xci_text_add(csv, n > 1 && defined ? ",[" : ",");
  for (size_t i = 0; defined && i < n; i++) {
    xci_text_add(csv, i ? " " : "");
    xci_text_number(csv, classes ? class_of(share[i]) : share[i]);
  }
  xci_text_add(csv, n > 1 && defined ? "]" : "");
}

static void add_kind(const xci_run_files *run, const xci_csv *effects, size_t row, const char *prefix, xci_text *csv) {
  double share[XCODER_MAX_CHECKPOINTS] = {0}, pair[3];
  const size_t n = run->n_labels;
  for (size_t c = 0; c < n; c++) share[c] = effects ? value_at(effects, row, prefix, run->labels[c]) : NAN;
  const double *shown = n == 2 ? share + 1 : share;
  for (int classes = 0; classes < 2; classes++) add_shares(csv, shown, n == 2 ? 1 : n, classes);
  if (n != 3) return;
  static const size_t of[3][2] = {{1, 0}, {2, 1}, {2, 0}}; /* B/(A+B), C/(B+C), C/(A+C) */
  for (size_t p = 0; p < 3; p++) {
    const double sum = share[of[p][0]] + share[of[p][1]];
    pair[p] = sum > 0 ? share[of[p][0]] / sum : NAN;
  }
  for (int classes = 0; classes < 2; classes++) add_shares(csv, pair, 3, classes);
}

static void add_comparison(const xci_run_files *run, xci_text *csv) {
  xci_text text = {0};
  for (size_t c = 0; c < run->n_labels; c++) xci_text_format(&text, "%s%s", c ? " vs. " : "", run->labels[c]);
  xci_text_csv(csv, text.bytes ? text.bytes : "", text.n_bytes);
  xci_text_clear(&text);
}

void xci_label_row(const xci_run_files *run, uint32_t feature, xci_text *csv) {
  size_t row = 0;
  const xci_task_files *task = strongest_task(run, feature, &row);
  const xci_csv *effects = task ? &task->effects : NULL;
  const char *name = task ? task->name : "";
  /* The public sets of minimal pairs test form; what users' own pairs test is theirs to say. */
  const bool formal = !strncmp(name, "blimp", 5) || !strncmp(name, "clams", 5) || !strncmp(name, "multiblimp", 10);
  xci_text_format(csv, "%u,", feature);
  xci_text_csv(csv, name, strlen(name));
  xci_text_add(csv, ",");
  if (run->layer >= 0) xci_text_format(csv, "%ld", run->layer);
  xci_text_format(csv, ",%s,", run->identity);
  add_comparison(run, csv);
  xci_text_format(csv, ",%s,%s,ie,task", run->seed, formal ? "formal" : "");
  for (size_t c = 0; c < run->n_labels; c++) {
    const double value = effects ? value_at(effects, row, "ie", run->labels[c]) : NAN;
    xci_text_add(csv, ",");
    if (isfinite(value)) xci_text_number(csv, value);
  }
  if (run->n_labels == 0) return;
  add_kind(run, effects, row, "rel_dec", csv);
  add_kind(run, effects, row, "rel_ie", csv);
}
