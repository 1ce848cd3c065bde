/* SPDX-License-Identifier: Apache-2.0 */
/* Choosing features by the effects that were written. */
#include "analysis/csv_in.h"
#include "analysis/attribution/effects_in.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Features with their largest |IE|, of one or several tables. */
typedef struct candidates {
  size_t n, capacity;
  struct candidate {
    uint32_t feature;
    double largest;
  } *item;
} candidates;

static int compare_largest(const void *a, const void *b) {
  const struct candidate *p = a, *q = b;
  if (p->largest != q->largest) return p->largest > q->largest ? -1 : 1;
  return p->feature < q->feature ? -1 : p->feature > q->feature;
}

static xcoder_status add_candidate(candidates *all, uint32_t feature, double value, xcoder_error *err) {
  for (size_t i = 0; i < all->n; i++) {
    if (all->item[i].feature != feature) continue;
    all->item[i].largest = fmax(all->item[i].largest, value);
    return XCODER_OK;
  }
  const xcoder_status status = xci_grow((void **)&all->item, &all->capacity, all->n + 1, sizeof *all->item, err);
  if (!status) all->item[all->n++] = (struct candidate){feature, value};
  return status;
}

xcoder_status xci_csv_feature(const xci_csv *csv, const char *path, size_t row, size_t column, uint32_t *feature,
                              xcoder_error *err) {
  const double value = xci_csv_number(csv, row, column);
  if (!(value >= 0 && value <= UINT32_MAX && value == floor(value)))
    return xci_fail(err, XCODER_FORMAT, "%s: row %zu: '%s' is no feature number", path, row + 1,
                    xci_csv_at(csv, row, column));
  *feature = (uint32_t)value;
  return XCODER_OK;
}

/* The k rows with the largest |value| of one column. */
static xcoder_status add_column(const xci_csv *csv, const char *path, size_t names, size_t column, size_t k,
                                candidates *all, xcoder_error *err) {
  struct candidate *row = NULL;
  xcoder_status status = XCI_ALLOC(&row, csv->n_rows, err);
  for (size_t r = 0; !status && r < csv->n_rows; r++) {
    const double value = fabs(xci_csv_number(csv, r, column));
    row[r].largest = isnan(value) ? 0 : value;
    status = xci_csv_feature(csv, path, r, names, &row[r].feature, err);
  }
  if (!status && csv->n_rows) qsort(row, csv->n_rows, sizeof *row, compare_largest);
  for (size_t r = 0; !status && r < k && r < csv->n_rows && row[r].largest > 0; r++)
    status = add_candidate(all, row[r].feature, row[r].largest, err);
  xci_free(row);
  return status;
}

static xcoder_status add_table(const char *path, size_t k, candidates *all, xcoder_error *err) {
  xci_csv csv;
  xcoder_status status = xci_csv_open(path, &csv, err);
  if (status) return status;
  const size_t names = xci_csv_column(&csv, "feature");
  if (names == SIZE_MAX) status = xci_fail(err, XCODER_FORMAT, "%s: line 1: no column 'feature'", path);
  for (size_t column = 0; !status && column < csv.n_columns; column++)
    if (strncmp(csv.field[column], "ie_", 3) == 0) status = add_column(&csv, path, names, column, k, all, err);
  xci_csv_close(&csv);
  return status;
}

static bool is_table(const char *name) {
  const size_t n = strlen(name);
  return n > 4 && strcmp(name + n - 4, ".csv") == 0;
}

static xcoder_status add_folder(const char *folder, size_t k, candidates *all, xcoder_error *err) {
  char **names = NULL;
  size_t n_names = 0, n_tables = 0;
  xcoder_status status = xci_list_folder(folder, &names, &n_names, err);
  for (size_t i = 0; !status && i < n_names; i++) {
    char *path = NULL;
    if (!is_table(names[i])) continue;
    status = xci_join_path(folder, names[i], &path, err);
    if (!status) status = add_table(path, k, all, err);
    xci_free(path);
    n_tables++;
  }
  xci_free_names(names, n_names);
  if (!status && n_tables == 0)
    status = xci_fail(err, XCODER_MISSING, "%s: no effects there (run attribute first)", folder);
  return status;
}

xcoder_status xcoder_top_features(const char *run_directory, const char *task, size_t k, uint32_t **features,
                                  size_t *n_features, xcoder_error *err) {
  candidates all = {0};
  xci_text path = {0};
  *features = NULL;
  *n_features = 0;
  xci_text_format(&path, "%s/effects", run_directory);
  if (task) xci_text_format(&path, "/%s.csv", task);
  xcoder_status status = xci_text_status(&path, err);
  if (!status) status = task ? add_table(path.bytes, k, &all, err) : add_folder(path.bytes, k, &all, err);
  if (!status) status = XCI_ALLOC(features, all.n, err);
  if (!status) {
    if (all.n) qsort(all.item, all.n, sizeof *all.item, compare_largest);
    for (size_t i = 0; i < all.n; i++) (*features)[i] = all.item[i].feature;
    *n_features = all.n;
  }
  xci_text_clear(&path);
  xci_free(all.item);
  return status;
}
