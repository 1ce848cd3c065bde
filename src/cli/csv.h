/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the CSV files of a run directory (RFC 4180 with a header line). */
#ifndef CLI_CSV_H
#define CLI_CSV_H

#include <crosscoder.h>
#include <stddef.h>

typedef struct cli_csv {
  size_t n_rows, n_columns;
  char **cells; /* [n_rows + 1, n_columns], the header first; point into `text` */
  char *text;
} cli_csv;

xcoder_status cli_csv_read(const char *path, cli_csv *csv, xcoder_error *err);
void cli_csv_free(cli_csv *csv);
/* The cell of a row (0 is the first behind the header) by the name of its column; "" where there is none. */
const char *cli_csv_cell(const cli_csv *csv, size_t row, const char *column);

#endif
