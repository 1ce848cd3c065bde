/* SPDX-License-Identifier: Apache-2.0 */
/* A table written once for the page, for CSV and for LaTeX. */
#include "report/grid.h"

#include "report/figure.h"
#include <math.h>
#include <string.h>

void xci_grid_open(xci_grid *grid, xci_page *page, const xci_head *heads, size_t n_heads, bool latex) {
  *grid = (xci_grid){.page = page, .latex = latex};
  xci_page_raw(page, "<div class=\"scroll\"><table class=\"sortable\"><thead><tr>");
  xci_text_add(&grid->tex, "\\begin{tabular}{");
  for (size_t i = 0; i < n_heads; i++) xci_text_add(&grid->tex, heads[i].kind == XCI_CELL_TEXT ? "l" : "r");
  xci_text_add(&grid->tex, "}\n\\hline\n");
  for (size_t i = 0; i < n_heads; i++) {
    xci_page_tag(page, heads[i].kind == XCI_CELL_TEXT ? "th class=\"t\"" : "th", heads[i].title);
    if (i) xci_text_add(&grid->tex, " & ");
    xci_text_latex(&grid->tex, heads[i].title);
    if (i) xci_text_add(&grid->csv, ",");
    xci_text_csv(&grid->csv, heads[i].key, strlen(heads[i].key));
    if (heads[i].kind == XCI_CELL_INTERVAL) xci_text_format(&grid->csv, ",%s_low,%s_high", heads[i].key, heads[i].key);
  }
  xci_page_raw(page, "</tr></thead><tbody>\n");
  xci_text_add(&grid->csv, "\n");
  xci_text_add(&grid->tex, " \\\\\n\\hline\n");
}

static void begin_cell(xci_grid *grid) {
  if (grid->column++ == 0) {
    xci_page_raw(grid->page, "<tr>");
    return;
  }
  xci_text_add(&grid->csv, ",");
  xci_text_add(&grid->tex, " & ");
}

static void add_number(xci_grid *grid, double value) {
  if (isfinite(value)) xci_text_number(&grid->csv, value);
}

void xci_grid_text(xci_grid *grid, const char *text) {
  begin_cell(grid);
  xci_page_cell_text(grid->page, text);
  xci_text_csv(&grid->csv, text, strlen(text));
  xci_text_latex(&grid->tex, text);
}

void xci_grid_number(xci_grid *grid, double value) {
  begin_cell(grid);
  xci_page_cell(grid->page, value);
  add_number(grid, value);
  if (isfinite(value)) xci_text_short(&grid->tex, value);
  else xci_text_add(&grid->tex, "--");
}

void xci_grid_interval(xci_grid *grid, double value, double low, double high) {
  xci_text *html = &grid->page->html;
  begin_cell(grid);
  xci_text_format(html, "<td data-v=\"%.9g\">", value);
  xci_text_short(html, value);
  add_number(grid, value);
  xci_text_add(&grid->csv, ",");
  add_number(grid, low);
  xci_text_add(&grid->csv, ",");
  add_number(grid, high);
  if (isfinite(value)) xci_text_short(&grid->tex, value);
  else xci_text_add(&grid->tex, "--");
  if (isfinite(value) && isfinite(low) && isfinite(high)) {
    xci_text_format(html, " <span class=\"muted\">[%.2f, %.2f]</span>", low, high);
    xci_text_format(&grid->tex, " [%.2f, %.2f]", low, high);
  }
  xci_text_add(html, "</td>");
}

void xci_grid_end_row(xci_grid *grid) {
  grid->column = 0;
  xci_page_raw(grid->page, "</tr>\n");
  xci_text_add(&grid->csv, "\n");
  xci_text_add(&grid->tex, " \\\\\n");
}

void xci_grid_close(xci_grid *grid, const char *name) {
  xci_page_raw(grid->page, "</tbody></table></div>\n");
  xci_text_add(&grid->tex, "\\hline\n\\end{tabular}\n");
  xci_page_table(grid->page, name, &grid->csv);
  if (grid->latex) xci_page_latex(grid->page, name, &grid->tex);
  xci_text_clear(&grid->tex);
}
