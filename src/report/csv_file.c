/* SPDX-License-Identifier: Apache-2.0 */
/* CSV files of a run, read back. */
#include "report/csv_file.h"

#include "base/file.h"
#include "base/memory.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_BYTES = 256 << 20 };

/* Cuts one field off the text at *cursor, unquoting it in place. *end_of_row tells what followed it. */
static bool cut_field(char **cursor, char **field, bool *end_of_row) {
  char *p = *cursor, *out = *cursor;
  *field = out;
  if (*p == '"') {
    for (p++;; p++) {
      if (*p == '\0') return false;
      if (*p == '"' && p[1] != '"') break;
      if (*p == '"') p++;
      *out++ = *p;
    }
    p++;
  } else {
    while (*p && *p != ',' && *p != '\n' && *p != '\r') p++;
    out = p;
  }
  if (*p == '\r' && p[1] == '\n') p++;
  if (*p && *p != ',' && *p != '\n') return false;
  *end_of_row = *p != ',';
  *cursor = *p ? p + 1 : p;
  *out = '\0';
  return true;
}

static xcoder_status fail_row(const char *path, size_t line, const char *what, xcoder_error *err) {
  return xci_fail(err, XCODER_FORMAT, "%s: line %zu: %s", path, line, what);
}

static xcoder_status parse(const char *path, xci_csv *csv, xcoder_error *err) {
  char *cursor = csv->bytes;
  char **all = NULL;
  size_t n = 0, capacity = 0, line = 1, in_row = 0;
  xcoder_status status = XCODER_OK;
  while (!status && *cursor) {
    char *field;
    bool end_of_row = false;
    if (!cut_field(&cursor, &field, &end_of_row)) status = fail_row(path, line, "a quote that does not close", err);
    if (!status) status = xci_grow((void **)&all, &capacity, n + 1, sizeof *all, err);
    if (status) break;
    all[n++] = field;
    in_row++;
    if (!end_of_row) continue;
    if (line == 1) csv->n_columns = in_row;
    if (in_row != csv->n_columns) status = fail_row(path, line, "not as many fields as the header", err);
    in_row = 0;
    line++;
  }
  if (!status && in_row) status = fail_row(path, line, "cut off", err);
  if (status) {
    xci_free(all);
    return status;
  }
  csv->column = all;
  csv->field = all ? all + csv->n_columns : NULL;
  csv->n_rows = csv->n_columns ? n / csv->n_columns - 1 : 0;
  return XCODER_OK;
}

xcoder_status xci_csv_read(const char *path, xci_csv *csv, xcoder_error *err) {
  *csv = (xci_csv){0};
  size_t n_bytes;
  xcoder_status status = xci_read_file(path, MAX_BYTES, &csv->bytes, &n_bytes, err);
  if (!status) status = parse(path, csv, err);
  if (status) xci_csv_free(csv);
  return status;
}

void xci_csv_free(xci_csv *csv) {
  xci_free(csv->column);
  xci_free(csv->bytes);
  *csv = (xci_csv){0};
}

size_t xci_csv_column(const xci_csv *csv, const char *name) {
  size_t c = 0;
  while (c < csv->n_columns && strcmp(csv->column[c], name) != 0) c++;
  return c;
}

const char *xci_csv_at(const xci_csv *csv, size_t row, size_t column) {
  if (row >= csv->n_rows || column >= csv->n_columns) return "";
  return csv->field[row * csv->n_columns + column];
}

double xci_csv_number(const xci_csv *csv, size_t row, size_t column) {
  const char *text = xci_csv_at(csv, row, column);
  char *end;
  double value = strtod(text, &end);
  return *text && *end == '\0' ? value : NAN;
}
