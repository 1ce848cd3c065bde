/* SPDX-License-Identifier: Apache-2.0 */
/* What a run says of its features already: effects per task, token entropies. */
#include "analysis/comparison/compare.h"
#include "analysis/attribution/effects_in.h"
#include "base/file.h"
#include "base/memory.h"
#include "formats/json.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_JSON = 64 << 20 };

static xcoder_status read_column(const xci_csv *csv, const char *path, const char *prefix, const xci_side *side,
                                 size_t checkpoint, double *out, xcoder_error *err) {
  xci_text name = {0};
  xci_text_format(&name, "%s%s", prefix, side->labels[checkpoint]);
  xcoder_status status = xci_text_status(&name, err);
  const size_t column = status ? SIZE_MAX : xci_csv_column(csv, name.bytes);
  if (!status && column == SIZE_MAX)
    status = xci_fail(err, XCODER_MISMATCH, "%s: line 1: no column %s, expected effects of this run's crosscoder", path,
                      name.bytes);
  for (size_t r = 0; !status && r < csv->n_rows; r++)
    out[r * side->n + checkpoint] = xci_csv_number(csv, r, column);
  xci_text_clear(&name);
  return status;
}

static xcoder_status read_effects(const char *path, const char *task, size_t n_task_name, xci_side *side,
                                  xcoder_error *err) {
  xci_csv csv;
  xcoder_status status = xci_csv_open(path, &csv, err);
  if (status) return status;
  const size_t names = xci_csv_column(&csv, "feature"), classes = xci_csv_column(&csv, "class"),
               actives = xci_csv_column(&csv, "n_active");
  xci_task_effects *out = &side->task[side->n_tasks];
  *out = (xci_task_effects){.n_features = csv.n_rows};
  side->n_tasks++; /* owned by the side from here on */
  if (names == SIZE_MAX) status = xci_fail(err, XCODER_FORMAT, "%s: line 1: no column 'feature'", path);
  if (!status) status = xci_copy_text(task, &out->task, err);
  if (!status) out->task[n_task_name] = 0;
  if (!status) status = XCI_ALLOC(&out->feature, csv.n_rows, err);
  if (!status) status = XCI_ALLOC(&out->ie, csv.n_rows * side->n, err);
  if (!status) status = XCI_ALLOC(&out->rel_ie, csv.n_rows * side->n, err);
  if (!status) status = XCI_ALLOC(&out->low, csv.n_rows * side->n, err);
  if (!status) status = XCI_ALLOC(&out->high, csv.n_rows * side->n, err);
  if (!status) status = XCI_ALLOC(&out->n_active, csv.n_rows, err);
  if (!status) status = XCI_ALLOC(&out->class, csv.n_rows, err);
  for (size_t c = 0; !status && c < side->n; c++) {
    status = read_column(&csv, path, "ie_", side, c, out->ie, err);
    if (!status) status = read_column(&csv, path, "rel_ie_", side, c, out->rel_ie, err);
    if (!status) status = read_column(&csv, path, "rel_ie_low_", side, c, out->low, err);
    if (!status) status = read_column(&csv, path, "rel_ie_high_", side, c, out->high, err);
  }
  for (size_t r = 0; !status && r < csv.n_rows; r++) {
    status = xci_csv_feature(&csv, path, r, names, &out->feature[r], err);
    out->n_active[r] = fmax(0, xci_csv_number(&csv, r, actives)); /* 0 where it is not told */
    snprintf(out->class[r], sizeof out->class[r], "%s", xci_csv_at(&csv, r, classes));
  }
  xci_csv_close(&csv);
  return status;
}

/* With which borders the run's classes were made; files that do not tell are of the usual ones. */
static xcoder_status read_borders(const char *path, xci_side *side, xcoder_error *err) {
  json_t *info = NULL;
  const xcoder_status status = xci_json_read(path, MAX_JSON, &info, err);
  const double specific = json_number_value(json_object_get(info, "specific_border"));
  const double shared = json_number_value(json_object_get(info, "shared_border"));
  if (specific > 0 && specific <= 1 && shared > 0 && shared <= 1) side->borders = (xci_borders){specific, shared};
  json_decref(info);
  return status;
}

static xcoder_status read_all_effects(const char *run_directory, xci_side *side, xcoder_error *err) {
  char *folder = NULL, **names = NULL;
  size_t n_names = 0;
  xcoder_status status = xci_join_path(run_directory, "effects", &folder, err);
  if (!status && xci_is_folder(folder)) status = xci_list_folder(folder, &names, &n_names, err);
  if (!status) status = XCI_ALLOC(&side->task, n_names, err);
  for (size_t k = 0; !status && k < n_names; k++) {
    const size_t n = strlen(names[k]);
    char *path = NULL;
    const bool table = n >= 5 && strcmp(names[k] + n - 4, ".csv") == 0;
    if (names[k][0] == '.' || (!table && (n < 6 || strcmp(names[k] + n - 5, ".json") != 0))) continue;
    status = xci_join_path(folder, names[k], &path, err);
    if (!status) status = table ? read_effects(path, names[k], n - 4, side, err) : read_borders(path, side, err);
    xci_free(path);
  }
  xci_free_names(names, n_names);
  xci_free(folder);
  return status;
}

static xcoder_status read_entropies(const char *run_directory, xci_side *side, xcoder_error *err) {
  char *path = NULL;
  xcoder_status status = XCI_ALLOC(&side->token_entropy, side->n_latents, err);
  for (size_t i = 0; !status && i < side->n_latents; i++) side->token_entropy[i] = NAN;
  if (!status) status = xci_join_path(run_directory, "features/features.csv", &path, err);
  if (!status && xci_exists(path)) {
    xci_csv csv;
    status = xci_csv_open(path, &csv, err);
    if (!status) {
      const size_t names = xci_csv_column(&csv, "feature"), column = xci_csv_column(&csv, "token_entropy");
      for (size_t r = 0; !status && names != SIZE_MAX && column != SIZE_MAX && r < csv.n_rows; r++) {
        uint32_t feature = 0;
        status = xci_csv_feature(&csv, path, r, names, &feature, err);
        if (!status && feature < side->n_latents) side->token_entropy[feature] = xci_csv_number(&csv, r, column);
      }
      xci_csv_close(&csv);
    }
  }
  xci_free(path);
  return status;
}

xcoder_status xci_side_read_tables(const char *run_directory, xci_side *side, xcoder_error *err) {
  xcoder_status status = read_all_effects(run_directory, side, err);
  if (!status) status = read_entropies(run_directory, side, err);
  return status;
}

size_t xci_task_row(const xci_task_effects *task, uint32_t feature) {
  for (size_t r = 0; r < task->n_features; r++)
    if (task->feature[r] == feature) return r;
  return SIZE_MAX;
}
