/* SPDX-License-Identifier: Apache-2.0 */
/* A table written once for the page, for CSV and, where wanted, for LaTeX. */
#ifndef XCI_REPORT_GRID_H
#define XCI_REPORT_GRID_H

#include "report/page.h"

typedef enum xci_cell {
  XCI_CELL_TEXT,
  XCI_CELL_NUMBER,
  XCI_CELL_INTERVAL /* one cell of the page, three columns of the CSV: KEY, KEY_low, KEY_high */
} xci_cell;

typedef struct xci_head {
  xci_cell kind;
  const char *title; /* on the page and in LaTeX */
  const char *key;   /* in the CSV */
} xci_head;

typedef struct xci_grid {
  xci_page *page;
  bool latex;
  size_t column; /* of the next cell */
  xci_text csv, tex;
} xci_grid;

void xci_grid_open(xci_grid *grid, xci_page *page, const xci_head *heads, size_t n_heads, bool latex);
void xci_grid_text(xci_grid *grid, const char *text);
void xci_grid_number(xci_grid *grid, double value);
void xci_grid_interval(xci_grid *grid, double value, double low, double high);
void xci_grid_end_row(xci_grid *grid);
/* Ends the table and writes tables/NAME.csv (and NAME.tex). */
void xci_grid_close(xci_grid *grid, const char *name);

#endif
