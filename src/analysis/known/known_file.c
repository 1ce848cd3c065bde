/* SPDX-License-Identifier: Apache-2.0 */
/* known.json and known.csv. */
#include "analysis/json_out.h"
#include "analysis/known/known.h"
#include "base/memory.h"
#include <math.h>
#include <string.h>

static void write_checkpoint(xci_json_out *out, const xci_known *known, size_t c) {
  const xci_known_cell *cell = &known->cell[c * known->n_conditions];
  xci_json_line(out);
  xci_json_open(out, NULL, '{');
  xci_json_text(out, "label", known->bench->info->labels[c]);
  xci_json_open(out, "single", '{');
  xci_json_count(out, "feature", cell->feature);
  xci_json_number(out, "auc", cell->single);
  xci_json_number(out, "low", cell->low);
  xci_json_number(out, "high", cell->high);
  xci_json_close(out, '}');
  xci_json_open(out, "top_features", '[');
  for (size_t f = 0; f < known->n_features; f++) {
    xci_json_open(out, NULL, '{');
    xci_json_count(out, "feature", known->features[f]);
    xci_json_number(out, "auc", cell->top[f]);
    xci_json_close(out, '}');
  }
  xci_json_close(out, ']');
  xci_json_number(out, "top_joint", cell->top_joint);
  xci_json_count(out, "n", cell->n);
  xci_json_number(out, "probe", cell->probe);
  xci_json_number(out, "floor", known->floor[c]);
  xci_json_open(out, "conditions", '[');
  for (size_t k = 1; k < known->n_conditions; k++) {
    xci_json_line(out);
    xci_json_open(out, NULL, '{');
    xci_json_text(out, "condition", cell[k].name);
    xci_json_count(out, "n", cell[k].n);
    xci_json_number(out, "single", cell[k].single);
    xci_json_number(out, "low", cell[k].low);
    xci_json_number(out, "high", cell[k].high);
    xci_json_number(out, "probe", cell[k].probe);
    xci_json_count(out, "feature", cell[k].feature);
    xci_json_number(out, "top_joint", cell[k].top_joint);
    xci_json_close(out, '}');
  }
  xci_json_close(out, ']');
  xci_json_close(out, '}');
}

static void write_summary(xci_json_out *out, const xci_known *known) {
  xci_json_open(out, NULL, '{');
  xci_json_count(out, "format", 1);
  xci_json_count(out, "n_sentences", known->n_sentences);
  xci_json_text(out, "question", "number of the subject at the verb");
  xci_json_open(out, "checkpoints", '[');
  for (size_t c = 0; c < known->bench->n; c++) write_checkpoint(out, known, c);
  xci_json_close(out, ']');
  xci_json_close(out, '}');
}

static void add_row(xci_text *text, const char *label, const char *condition, size_t n, const char *kind,
                    const uint32_t *feature, const double auc[3]) {
  xci_text_csv(text, label, strlen(label));
  xci_text_add(text, ",");
  xci_text_csv(text, condition, strlen(condition));
  xci_text_format(text, ",%zu,%s,", n, kind);
  if (feature) xci_text_format(text, "%u", *feature);
  xci_text_add(text, ",");
  for (size_t i = 0; i < 3; i++) {
    if (i) xci_text_add(text, ",");
    if (!isnan(auc[i])) xci_text_number(text, auc[i]);
  }
  xci_text_add(text, "\n");
}

static void write_table(xci_text *text, const xci_known *known) {
  xci_text_add(text, "checkpoint,condition,n,kind,feature,auc,low,high\n");
  for (size_t c = 0; c < known->bench->n; c++)
    for (size_t k = 0; k < known->n_conditions; k++) {
      const xci_known_cell *cell = &known->cell[c * known->n_conditions + k];
      const char *label = known->bench->info->labels[c];
      add_row(text, label, cell->name, cell->n, "single", &cell->feature,
              (double[]){cell->single, cell->low, cell->high});
      for (size_t f = 0; f < known->n_features; f++)
        add_row(text, label, cell->name, cell->n, "top", &known->features[f],
                (double[]){cell->top[f], NAN, NAN});
      if (known->n_features) add_row(text, label, cell->name, cell->n, "top_joint", NULL,
                (double[]){cell->top_joint, NAN, NAN});
      add_row(text, label, cell->name, cell->n, "probe", NULL, (double[]){cell->probe, NAN, NAN});
      if (k == 0)
        add_row(text, label, cell->name, cell->n, "floor", NULL, (double[]){known->floor[c], NAN, NAN});
    }
}

xcoder_status xci_known_write(const xci_known *known, const char *run_directory, xcoder_error *err) {
  xci_json_out out = {0};
  xci_text table = {0};
  char *json_path = NULL, *csv_path = NULL;
  xcoder_status status = xci_run_path(run_directory, NULL, "known", ".json", &json_path, err);
  if (!status) status = xci_run_path(run_directory, NULL, "known", ".csv", &csv_path, err);
  if (!status) {
    write_table(&table, known);
    status = xci_write_text(csv_path, &table, err);
  }
  if (!status) {
    write_summary(&out, known);
    status = xci_write_text(json_path, &out.text, err);
  }
  xci_text_clear(&table);
  xci_text_clear(&out.text);
  xci_free(json_path);
  xci_free(csv_path);
  return status;
}
