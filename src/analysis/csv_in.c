/* SPDX-License-Identifier: Apache-2.0 */
/* A small reader for CSV files. Fields are unquoted in place. */
#include "analysis/csv_in.h"

#include "base/file.h"
#include "base/memory.h"
#include <locale.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_BYTES = 1 << 30 };

typedef struct scanner {
  const char *path;
  char *at, *end;
  size_t line; /* of `at` */
} scanner;

/* Reads one field, unquoting in place; *last tells whether it ends its row. */
static xcoder_status read_field(scanner *s, const char **field, bool *last, xcoder_error *err) {
  char *out = s->at, *from = s->at;
  *field = out;
  if (from < s->end && *from == '"') {
    const size_t opened = s->line;
    from++;
    for (;; from++) {
      if (from >= s->end) return xci_fail(err, XCODER_FORMAT, "%s: line %zu: a quote is not closed", s->path, opened);
      if (*from == '"' && !(from + 1 < s->end && from[1] == '"')) break;
      if (*from == '"') from++;
      s->line += *from == '\n';
      *out++ = *from;
    }
    from++;
  } else {
    while (from < s->end && *from != ',' && *from != '\n' && *from != '\r') *out++ = *from++;
  }
  const char stop = from < s->end ? *from : '\n';
  if (stop != ',' && stop != '\n' && stop != '\r')
    return xci_fail(err, XCODER_FORMAT, "%s: line %zu: text behind a closing quote", s->path, s->line);
  if (stop == '\r' && from + 1 < s->end && from[1] == '\n') from++;
  *last = stop != ',';
  s->line += *last;
  s->at = from < s->end ? from + 1 : s->end;
  *out = 0;
  return XCODER_OK;
}

static xcoder_status read_row(scanner *s, xci_csv *csv, size_t *capacity, size_t *line_capacity, size_t *n_fields,
                              xcoder_error *err) {
  size_t columns = 0;
  const size_t first = s->line;
  bool last = false;
  while (!last) {
    const char *field;
    xcoder_status status = read_field(s, &field, &last, err);
    if (!status) status = xci_grow((void **)&csv->field, capacity, *n_fields + 1, sizeof *csv->field, err);
    if (status) return status;
    csv->field[(*n_fields)++] = field;
    columns++;
    if (!last && s->at == s->end)
      return xci_fail(err, XCODER_FORMAT, "%s: line %zu: ends in a comma", s->path, first);
  }
  if (columns == 1 && csv->n_columns != 1 && !*csv->field[*n_fields - 1]) { /* an empty line */
    --*n_fields;
    return XCODER_OK;
  }
  if (csv->n_columns == 0) csv->n_columns = columns;
  else if (columns != csv->n_columns)
    return xci_fail(err, XCODER_FORMAT, "%s: line %zu: %zu fields, the header has %zu", s->path, first, columns,
                    csv->n_columns);
  xcoder_status status = xci_grow((void **)&csv->line, line_capacity, csv->n_rows + 1, sizeof *csv->line, err);
  if (!status) csv->line[csv->n_rows++] = first;
  return status;
}

xcoder_status xci_csv_open(const char *path, xci_csv *csv, xcoder_error *err) {
  size_t n_bytes, capacity = 0, line_capacity = 0, n_fields = 0;
  *csv = (xci_csv){0};
  xcoder_status status = xci_read_file(path, MAX_BYTES, &csv->bytes, &n_bytes, err);
  if (status) return status;
  const char *zero = n_bytes ? memchr(csv->bytes, 0, n_bytes) : NULL;
  scanner s = {path, csv->bytes, csv->bytes + n_bytes, 1};
  if (zero)
    status =
        xci_fail(err, XCODER_FORMAT, "%s: byte %zu: a zero byte, expected text", path, (size_t)(zero - csv->bytes));
  if (n_bytes >= 3 && memcmp(csv->bytes, "\xef\xbb\xbf", 3) == 0) s.at += 3;
  while (!status && s.at < s.end) status = read_row(&s, csv, &capacity, &line_capacity, &n_fields, err);
  if (!status && csv->n_rows == 0) status = xci_fail(err, XCODER_FORMAT, "%s: empty, expected a header line", path);
  if (status) {
    xci_csv_close(csv);
    return status;
  }
  csv->n_rows--; /* the header */
  memmove(csv->line, csv->line + 1, csv->n_rows * sizeof *csv->line);
  return XCODER_OK;
}

void xci_csv_close(xci_csv *csv) {
  xci_free(csv->field);
  xci_free(csv->line);
  xci_free(csv->bytes);
  *csv = (xci_csv){0};
}

size_t xci_csv_column(const xci_csv *csv, const char *name) {
  for (size_t i = 0; i < csv->n_columns; i++)
    if (strcmp(csv->field[i], name) == 0) return i;
  return SIZE_MAX;
}

const char *xci_csv_at(const xci_csv *csv, size_t row, size_t column) {
  if (row >= csv->n_rows || column >= csv->n_columns) return "";
  return csv->field[(row + 1) * csv->n_columns + column];
}

double xci_csv_number(const xci_csv *csv, size_t row, size_t column) {
  const char *text = xci_csv_at(csv, row, column);
  char number[64], *end;
  const size_t n = strlen(text);
  if (n == 0 || n >= sizeof number) return NAN;
  memcpy(number, text, n + 1);
  char *point = strchr(number, '.'); /* files have '.', strtod wants what the locale says */
  if (point) *point = localeconv()->decimal_point[0];
  const double value = strtod(number, &end);
  return *end ? NAN : value;
}
