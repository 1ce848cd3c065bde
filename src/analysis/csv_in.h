/* SPDX-License-Identifier: Apache-2.0 */
/* Reading CSV files (RFC 4180, a header line): those of an analysis, and those that people and spreadsheets wrote. */
#ifndef XCI_ANALYSIS_CSV_IN_H
#define XCI_ANALYSIS_CSV_IN_H

#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>

typedef struct xci_csv {
  size_t n_columns, n_rows;  /* rows without the header */
  const char **field;        /* [1 + n_rows, n_columns], the header first */
  char *bytes;               /* owned */
  size_t *line;              /* [n_rows] the line of the file on which each row begins, from 1 */
} xci_csv;

/* A byte order mark, CRLF and empty lines are fine. Errors: XCODER_FORMAT naming the line for a row of another length,
 * an open quote, a zero byte. */
xcoder_status xci_csv_open(const char *path, xci_csv *csv, xcoder_error *err);
void xci_csv_close(xci_csv *csv);
/* Index of a column, or SIZE_MAX. */
size_t xci_csv_column(const xci_csv *csv, const char *name);
/* "" outside the table. */
const char *xci_csv_at(const xci_csv *csv, size_t row, size_t column);
/* NaN for an empty field or one that is no number. */
double xci_csv_number(const xci_csv *csv, size_t row, size_t column);

#endif
