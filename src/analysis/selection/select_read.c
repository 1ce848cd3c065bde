/* SPDX-License-Identifier: Apache-2.0 */
/* Reading accuracies and similarities of revisions into tables over the same revisions. */
#include "analysis/selection/select.h"

#include "analysis/csv_in.h"
#include "base/memory.h"
#include "base/size.h"
#include "base/text.h"
#include <math.h>
#include <string.h>

enum { MOST_REVISIONS = 4096, MOST_CELLS = 1 << 16 };

/* A growing list of revisions, in the order in which they are met. */
typedef struct name_list {
  const char **label;
  double *tokens;
  size_t n, capacity, tokens_capacity;
} name_list;

static size_t find_label(const name_list *list, const char *label) {
  size_t i = 0;
  while (i < list->n && strcmp(list->label[i], label) != 0) i++;
  return i;
}

static xcoder_status meet(name_list *list, const char *label, double tokens, const char *path, xcoder_error *err) {
  const size_t at = find_label(list, label);
  if (at < list->n) {
    if (!isfinite(list->tokens[at])) list->tokens[at] = tokens;
    return XCODER_OK;
  }
  if (list->n == MOST_REVISIONS)
    return xci_fail(err, XCODER_FORMAT, "%s: more than %d revisions", path, (int)MOST_REVISIONS);
  xcoder_status status = xci_grow((void **)&list->label, &list->capacity, at + 1, sizeof *list->label, err);
  if (!status) status = xci_grow((void **)&list->tokens, &list->tokens_capacity, at + 1, sizeof *list->tokens, err);
  if (status) return status;
  list->label[at] = label;
  list->tokens[at] = tokens;
  list->n++;
  return XCODER_OK;
}

static xcoder_status find_columns(const xci_csv *csv, const char *path, const char *const *names, size_t n,
                                  size_t *columns, xcoder_error *err) {
  for (size_t i = 0; i < n; i++) {
    columns[i] = xci_csv_column(csv, names[i]);
    if (columns[i] == SIZE_MAX)
      return xci_fail(err, XCODER_FORMAT, "%s: line 1: no column '%s'", path, names[i]);
  }
  return XCODER_OK;
}

/* Order of training: by tokens where all are known (equal ones as met), else as met. */
static xcoder_status sort_revisions(const name_list *list, double min_tokens, size_t *order, size_t *n,
                                    xcoder_error *err) {
  bool known = true;
  *n = 0;
  for (size_t i = 0; i < list->n; i++) known = known && isfinite(list->tokens[i]);
  for (size_t i = 0; i < list->n; i++) {
    if (isfinite(list->tokens[i]) && list->tokens[i] < min_tokens) continue;
    size_t at = (*n)++;
    for (; known && at > 0 && list->tokens[order[at - 1]] > list->tokens[i]; at--) order[at] = order[at - 1];
    order[at] = i;
  }
  if (*n < 2)
    return xci_fail(err, XCODER_MISMATCH,
                    "%zu of %zu revisions have seen the %.3g tokens asked for, expected at least 2 "
                    "(--min-tokens)",
                    *n, list->n, min_tokens);
  return XCODER_OK;
}

/* ---- Accuracy ---- */

enum { CHECKPOINT, TASK, LANGUAGE, GROUP, COUNT, CORRECT, N_WANTED };
static const char *const wanted[N_WANTED] = {"checkpoint", "task", "language", "group", "n", "correct"};

/* The row of the whole task says nothing new where its groups have rows of their own. */
static bool is_total(const xci_csv *csv, const size_t *column, size_t row) {
  if (strcmp(xci_csv_at(csv, row, column[GROUP]), "all") != 0) return false;
  for (size_t r = 0; r < csv->n_rows; r++)
    if (strcmp(xci_csv_at(csv, r, column[GROUP]), "all") != 0 &&
        strcmp(xci_csv_at(csv, r, column[TASK]), xci_csv_at(csv, row, column[TASK])) == 0)
      return true;
  return false;
}

static bool same_cell(const xci_csv *csv, const size_t *column, size_t a, size_t b) {
  for (size_t k = TASK; k <= GROUP; k++)
    if (strcmp(xci_csv_at(csv, a, column[k]), xci_csv_at(csv, b, column[k])) != 0) return false;
  return true;
}

/* cell[row], SIZE_MAX for rows that do not count. */
static xcoder_status number_cells(const xci_csv *csv, const char *path, const size_t *column, size_t *cell,
                                  size_t *n_cells, xcoder_error *err) {
  size_t *first = NULL, capacity = 0;
  xcoder_status status = XCODER_OK;
  *n_cells = 0;
  for (size_t row = 0; !status && row < csv->n_rows; row++) {
    cell[row] = SIZE_MAX;
    if (is_total(csv, column, row)) continue;
    size_t k = 0;
    while (k < *n_cells && !same_cell(csv, column, first[k], row)) k++;
    cell[row] = k;
    if (k < *n_cells) continue;
    if (k == MOST_CELLS) status = xci_fail(err, XCODER_FORMAT, "%s: more than %d groups", path, (int)MOST_CELLS);
    if (!status) status = xci_grow((void **)&first, &capacity, k + 1, sizeof *first, err);
    if (!status) first[(*n_cells)++] = row;
  }
  xci_free(first);
  return status;
}

/* "TASK", or "TASK: GROUP (LANGUAGE)" where a task has several cells. */
static xcoder_status name_cells(const xci_csv *csv, const size_t *column, const size_t *cell, xci_evidence *e,
                                xcoder_error *err) {
  xcoder_status status = XCI_ALLOC(&e->cells, e->n_cells, err);
  for (size_t row = 0; !status && row < csv->n_rows; row++) {
    if (cell[row] == SIZE_MAX || e->cells[cell[row]]) continue;
    const char *task = xci_csv_at(csv, row, column[TASK]), *language = xci_csv_at(csv, row, column[LANGUAGE]);
    bool several = false;
    for (size_t r = 0; r < csv->n_rows && !several; r++)
      several = cell[r] != SIZE_MAX && cell[r] != cell[row] && strcmp(xci_csv_at(csv, r, column[TASK]), task) == 0;
    xci_text name = {0};
    xci_text_add(&name, task);
    if (several) xci_text_format(&name, ": %s", xci_csv_at(csv, row, column[GROUP]));
    if (several && *language) xci_text_format(&name, " (%s)", language);
    status = xci_text_status(&name, err);
    if (!status) status = xci_copy_text(name.bytes, &e->cells[cell[row]], err);
    xci_text_clear(&name);
  }
  return status;
}

static xcoder_status fill_counts(const xci_csv *csv, const char *path, const size_t *column, const size_t *cell,
                                 xci_evidence *e, xcoder_error *err) {
  for (size_t row = 0; row < csv->n_rows; row++) {
    if (cell[row] == SIZE_MAX) continue;
    const double n = xci_csv_number(csv, row, column[COUNT]), right = xci_csv_number(csv, row, column[CORRECT]);
    if (!(n >= 0 && n <= 1e12 && right >= 0 && right <= n))
      return xci_fail(err, XCODER_FORMAT, "%s: line %zu: %s right of %s is no count", path, row + 2,
                      xci_csv_at(csv, row, column[CORRECT]), xci_csv_at(csv, row, column[COUNT]));
    for (size_t c = 0; c < e->n_revisions; c++)
      if (strcmp(e->labels[c], xci_csv_at(csv, row, column[CHECKPOINT])) == 0) {
        e->n[cell[row] * e->n_revisions + c] = n;
        e->right[cell[row] * e->n_revisions + c] = right;
      }
  }
  return XCODER_OK;
}

static xcoder_status read_counts(const xci_csv *csv, const char *path, xci_evidence *e, xcoder_error *err) {
  size_t column[N_WANTED], *cell = NULL, n_values;
  xcoder_status status = find_columns(csv, path, wanted, N_WANTED, column, err);
  if (!status) status = XCI_ALLOC(&cell, csv->n_rows, err);
  if (!status) status = number_cells(csv, path, column, cell, &e->n_cells, err);
  if (!status && !xci_mul_size(e->n_cells, e->n_revisions, &n_values))
    status = xci_fail(err, XCODER_MEMORY, "%s: too many groups", path);
  if (!status) status = XCI_ALLOC(&e->n, n_values, err);
  if (!status) status = XCI_ALLOC(&e->right, n_values, err);
  if (!status) status = name_cells(csv, column, cell, e, err);
  if (!status) status = fill_counts(csv, path, column, cell, e, err);
  xci_free(cell);
  return status;
}

/* ---- Similarity ---- */

static const char *const pair_columns[] = {"a", "b", "cosine", "pearson", "tokens_seen_a", "tokens_seen_b"};

static xcoder_status read_similarities(const xci_csv *csv, const char *path, xci_evidence *e, xcoder_error *err) {
  const size_t n = e->n_revisions;
  size_t column[4];
  xcoder_status status = find_columns(csv, path, pair_columns, 4, column, err);
  if (!status) status = XCI_ALLOC(&e->cosine, n * n, err);
  if (!status) status = XCI_ALLOC(&e->pearson, n * n, err);
  for (size_t i = 0; !status && i < n * n; i++) e->cosine[i] = e->pearson[i] = i % (n + 1) == 0 ? 1 : NAN;
  for (size_t row = 0; !status && row < csv->n_rows; row++) {
    size_t at[2] = {n, n};
    for (size_t k = 0; k < 2; k++)
      for (size_t c = 0; c < n; c++)
        if (strcmp(e->labels[c], xci_csv_at(csv, row, column[k])) == 0) at[k] = c;
    if (at[0] == n || at[1] == n) continue;
    for (size_t k = 0; k < 2; k++) {
      e->cosine[at[k] * n + at[1 - k]] = xci_csv_number(csv, row, column[2]);
      e->pearson[at[k] * n + at[1 - k]] = xci_csv_number(csv, row, column[3]);
    }
  }
  for (size_t i = 0; !status && i < n * n; i++)
    if (!(e->cosine[i] >= -1.001 && e->cosine[i] <= 1.001))
      status = xci_fail(err, XCODER_FORMAT, "%s: no similarity of %s and %s", path, e->labels[i / n], e->labels[i % n]);
  return status;
}

/* ---- Both ---- */

static xcoder_status list_revisions(const xci_csv *accuracy, const char *accuracy_csv, const xci_csv *similarity,
                                    const char *similarity_csv, name_list *list, xcoder_error *err) {
  xcoder_status status = XCODER_OK;
  if (accuracy_csv) {
    const size_t tokens = xci_csv_column(accuracy, "tokens_seen"), label = xci_csv_column(accuracy, "checkpoint");
    if (label == SIZE_MAX) return xci_fail(err, XCODER_FORMAT, "%s: line 1: no column 'checkpoint'", accuracy_csv);
    for (size_t row = 0; !status && row < accuracy->n_rows; row++)
      status = meet(list, xci_csv_at(accuracy, row, label), xci_csv_number(accuracy, row, tokens), accuracy_csv, err);
  }
  const size_t n_accuracy = list->n;
  size_t column[6];
  for (size_t k = 0; similarity_csv && k < 6; k++) column[k] = xci_csv_column(similarity, pair_columns[k]);
  if (!status && similarity_csv && (column[0] == SIZE_MAX || column[1] == SIZE_MAX))
    return xci_fail(err, XCODER_FORMAT, "%s: line 1: no columns 'a' and 'b'", similarity_csv);
  for (size_t row = 0; !status && similarity_csv && row < similarity->n_rows; row++)
    for (size_t k = 0; !status && k < 2; k++)
      status = meet(list, xci_csv_at(similarity, row, column[k]), xci_csv_number(similarity, row, column[4 + k]),
                    similarity_csv, err);
  if (!status && accuracy_csv && list->n > n_accuracy)
    return xci_fail(err, XCODER_MISMATCH, "%s: '%s' is not in %s", similarity_csv, list->label[n_accuracy],
                    accuracy_csv);
  return status;
}

xcoder_status xci_evidence_read(const char *accuracy_csv, const char *similarity_csv, double min_tokens,
                                xci_evidence *e, xcoder_error *err) {
  xci_csv accuracy = {0}, similarity = {0};
  name_list list = {0};
  size_t *order = NULL;
  *e = (xci_evidence){0};
  xcoder_status status = accuracy_csv ? xci_csv_open(accuracy_csv, &accuracy, err) : XCODER_OK;
  if (!status && similarity_csv) status = xci_csv_open(similarity_csv, &similarity, err);
  if (!status) status = list_revisions(&accuracy, accuracy_csv, &similarity, similarity_csv, &list, err);
  if (!status) status = XCI_ALLOC(&order, list.n, err);
  if (!status) status = sort_revisions(&list, min_tokens, order, &e->n_revisions, err);
  if (!status) status = XCI_ALLOC(&e->labels, e->n_revisions, err);
  if (!status) status = XCI_ALLOC(&e->tokens_seen, e->n_revisions, err);
  for (size_t c = 0; !status && c < e->n_revisions; c++) {
    e->tokens_seen[c] = list.tokens[order[c]];
    status = xci_copy_text(list.label[order[c]], &e->labels[c], err);
  }
  if (!status && accuracy_csv) status = read_counts(&accuracy, accuracy_csv, e, err);
  if (!status && similarity_csv) status = read_similarities(&similarity, similarity_csv, e, err);
  xci_free(order);
  xci_free(list.label);
  xci_free(list.tokens);
  xci_csv_close(&accuracy);
  xci_csv_close(&similarity);
  if (status) xci_evidence_free(e);
  return status;
}

void xci_evidence_free(xci_evidence *e) {
  for (size_t c = 0; e->labels && c < e->n_revisions; c++) xci_free(e->labels[c]);
  for (size_t k = 0; e->cells && k < e->n_cells; k++) xci_free(e->cells[k]);
  xci_free(e->cells);
  xci_free(e->labels);
  xci_free(e->tokens_seen);
  xci_free(e->n);
  xci_free(e->right);
  xci_free(e->cosine);
  xci_free(e->pearson);
  *e = (xci_evidence){0};
}
