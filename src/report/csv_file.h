/* SPDX-License-Identifier: Apache-2.0 */
/* CSV files of a run, read back: a header and rows of fields (RFC 4180). */
#ifndef XCI_REPORT_CSV_FILE_H
#define XCI_REPORT_CSV_FILE_H

#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>

typedef struct xci_csv {
  char *bytes;         /* fields point into it */
  char **field;        /* [n_rows][n_columns], header excluded */
  char **column;       /* [n_columns] */
  size_t n_rows, n_columns;
} xci_csv;

/* Rows must have as many fields as the header. A missing file is XCODER_MISSING. */
xcoder_status xci_csv_read(const char *path, xci_csv *csv, xcoder_error *err);
void xci_csv_free(xci_csv *csv);
/* Index of a column, or n_columns if it is not there. */
size_t xci_csv_column(const xci_csv *csv, const char *name);
const char *xci_csv_at(const xci_csv *csv, size_t row, size_t column); /* "" outside */
double xci_csv_number(const xci_csv *csv, size_t row, size_t column);  /* NaN for an empty or foreign field */

#endif
