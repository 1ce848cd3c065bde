/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the CSV files of a run directory. */
#include "csv.h"

#include "text.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_CSV_BYTES = 1 << 30 };

/* Unquotes the cell at *at in place and moves *at behind its separator; `*end` tells that the row ends with it. */
static char *read_cell(char **at, bool *end) {
  char *s = *at, *cell = s, *to = s;
  bool quoted = *s == '"';
  if (quoted)
    s++;
  while (*s && (quoted || (*s != ',' && *s != '\n' && *s != '\r'))) {
    if (quoted && *s == '"') {
      s++;
      if (*s != '"') {
        quoted = false;
        continue;
      }
    }
    *to++ = *s++;
  }
  char stop = *s;
  if (stop == '\r' && s[1] == '\n')
    s++;
  *at = *s ? s + 1 : s;
  *to = '\0';
  *end = stop != ',';
  return cell;
}

static size_t count_rows(const char *text) {
  size_t n = 1;
  for (const char *s = text; *s; s++)
    n += *s == '\n';
  return n;
}

xcoder_status cli_csv_read(const char *path, cli_csv *csv, xcoder_error *err) {
  size_t n_bytes = 0, room = 0;
  *csv = (cli_csv){0};
  xcoder_status status = xcoder_read_file(path, MAX_CSV_BYTES, &csv->text, &n_bytes, err);
  if (status)
    return status;
  csv->n_columns = 1;
  for (const char *s = csv->text; *s && *s != '\n'; s++)
    csv->n_columns += *s == ',';
  room = count_rows(csv->text);
  csv->cells = room < SIZE_MAX / sizeof *csv->cells / csv->n_columns
    ? calloc(room * csv->n_columns, sizeof *csv->cells) : NULL;
  if (!csv->cells)
    status = cli_fail_memory(err);
  char *at = csv->text, nothing[] = "";
  size_t row = 0;
  for (; !status && *at && row < room; row++) {
    bool end = false;
    for (size_t column = 0; column < csv->n_columns || !end; column++) {
      char *cell = end ? nothing : read_cell(&at, &end);
      if (column < csv->n_columns)
        csv->cells[row * csv->n_columns + column] = *cell ? cell : csv->text + n_bytes;
    }
  }
  csv->n_rows = row ? row - 1 : 0;
  if (status)
    cli_csv_free(csv);
  return status;
}

void cli_csv_free(cli_csv *csv) {
  free(csv->cells);
  xcoder_free(csv->text);
  *csv = (cli_csv){0};
}

const char *cli_csv_cell(const cli_csv *csv, size_t row, const char *column) {
  for (size_t i = 0; i < csv->n_columns && row < csv->n_rows; i++)
    if (strcmp(csv->cells[i], column) == 0)
      return csv->cells[(row + 1) * csv->n_columns + i];
  return "";
}
