/* SPDX-License-Identifier: Apache-2.0 */
/* Latent scaling beside RelDec: what decoder norms call specific to a checkpoint, and what others hold of it. */
#include "report/page.h"

#include "analysis/statistics.h"
#include "base/memory.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* A share of 0.3 of two norms, the border of the classes of RelDec, is a ratio of 3 to 7, which is what nu is. */
static const double share_border = 0.3, ratio_border = 3.0 / 7.0;

enum { DIRECTION = 1, CHECKPOINT, FIRED, REL_DEC, BETA_ERROR, NU_ERROR, BETA_RECONSTRUCTION, NU_RECONSTRUCTION,
       COLUMNS };

typedef struct ratios {
  size_t n_features, n_specific, n_confirmed, n_error, n_reconstruction;
  double *error, *reconstruction; /* of the specific ones, sorted */
} ratios;

static bool is_pair(const xci_csv *csv, size_t row, const char *direction, const char *checkpoint) {
  return strcmp(xci_csv_at(csv, row, DIRECTION), direction) == 0 &&
         strcmp(xci_csv_at(csv, row, CHECKPOINT), checkpoint) == 0;
}

static void collect(const xci_csv *csv, const char *direction, const char *checkpoint, ratios *r) {
  r->n_features = r->n_specific = r->n_confirmed = r->n_error = r->n_reconstruction = 0;
  for (size_t row = 0; row < csv->n_rows; row++) {
    if (!is_pair(csv, row, direction, checkpoint)) continue;
    r->n_features++;
    if (!(xci_csv_number(csv, row, REL_DEC) < share_border)) continue;
    const double error = xci_csv_number(csv, row, NU_ERROR), whole = xci_csv_number(csv, row, NU_RECONSTRUCTION);
    r->n_specific++;
    r->n_confirmed += error < ratio_border && whole < ratio_border;
    if (isfinite(error)) r->error[r->n_error++] = error;
    if (isfinite(whole)) r->reconstruction[r->n_reconstruction++] = whole;
  }
  xci_sort_f64(r->error, r->n_error);
  xci_sort_f64(r->reconstruction, r->n_reconstruction);
}

static void add_row(xci_page *page, xci_text *csv, const char *direction, const char *checkpoint, const ratios *r) {
  const double value[] = {(double)r->n_features, (double)r->n_specific, xci_quantile(r->error, r->n_error, 0.5),
                          xci_quantile(r->reconstruction, r->n_reconstruction, 0.5),
                          r->n_specific ? (double)r->n_confirmed / (double)r->n_specific : NAN};
  xci_page_raw(page, "<tr>");
  xci_page_cell_text(page, direction);
  xci_page_cell_text(page, checkpoint);
  xci_text_csv(csv, direction, strlen(direction));
  xci_text_add(csv, ",");
  xci_text_csv(csv, checkpoint, strlen(checkpoint));
  for (size_t k = 0; k < sizeof value / sizeof *value; k++) {
    xci_page_cell(page, value[k]);
    xci_text_add(csv, ",");
    if (isfinite(value[k])) xci_text_number(csv, value[k]);
  }
  xci_page_raw(page, "</tr>\n");
  xci_text_add(csv, "\n");
}

void xci_page_scaling(xci_page *page) {
  const xci_run_files *run = page->run;
  const xci_csv *csv = &run->scaling;
  xci_text table = {0};
  ratios r = {0};
  if (page->status || csv->n_columns != COLUMNS || csv->n_rows == 0) return;
  page->status = XCI_ALLOC(&r.error, csv->n_rows, page->err);
  if (!page->status) page->status = XCI_ALLOC(&r.reconstruction, csv->n_rows, page->err);
  if (!page->status) {
    xci_page_raw(page, "<h3 id=\"scaling\">Latent scaling: is what the decoder calls specific?</h3>\n"
                       "<p>A decoder that the sparsity "
                       "penalty has shrunk says nothing about whether a checkpoint has the feature. For features whose "
                       "decoder at the other checkpoint has less than 0.3 of the two norms (RelDec), &nu; tells how "
                       "much "
                       "of "
                       "the feature's direction that checkpoint holds, 1 being as much as where it belongs: in what "
                       "the "
                       "crosscoder leaves unexplained there (error), and in what its other features explain there "
                       "(reconstruction). Specific are those for which both are below 3/7, the same border as a "
                       "ratio.</p>\n"
                       "<div class=\"scroll\"><table><thead><tr><th class=\"t\">direction of</th>"
                       "<th class=\"t\">looked for in</th>"
                       "<th>features</th><th>specific by RelDec</th><th>their median &nu; error</th>"
                       "<th>median &nu; reconstruction</th><th>share specific by &nu;, too</th></tr></thead><tbody>\n");
    xci_text_add(&table, "direction,checkpoint,n_features,n_specific_rel_dec,median_nu_error,median_nu_reconstruction,"
                         "share_confirmed\n");
    for (size_t b = 0; b < run->n_labels; b++)
      for (size_t a = 0; a < run->n_labels; a++) {
        if (a == b) continue;
        collect(csv, run->labels[b], run->labels[a], &r);
        if (r.n_features) add_row(page, &table, run->labels[b], run->labels[a], &r);
      }
    xci_page_raw(page, "</tbody></table></div>\n");
    xci_page_table(page, "latent-scaling", &table);
  }
  xci_free(r.error);
  xci_free(r.reconstruction);
}

/* The part of a card. */
void xci_page_card_scaling(xci_page *page, uint32_t feature) {
  const xci_csv *csv = &page->run->scaling;
  bool open = false;
  if (csv->n_columns != COLUMNS) return;
  for (size_t row = 0; row < csv->n_rows; row++) {
    if (xci_csv_number(csv, row, 0) != (double)feature) continue;
    if (!open)
      xci_page_raw(page, "<div><span class=\"who\" title=\"latent scaling: error / reconstruction\">&nu;</span>");
    xci_page_raw(page, open ? " &middot; " : " ");
    open = true;
    xci_page_text(page, xci_csv_at(csv, row, DIRECTION));
    xci_page_raw(page, " in ");
    xci_page_text(page, xci_csv_at(csv, row, CHECKPOINT));
    for (int k = 0; k < 2; k++) {
      const double nu = xci_csv_number(csv, row, k ? NU_RECONSTRUCTION : NU_ERROR);
      if (isfinite(nu)) xci_text_format(&page->html, "%s<b>%.2f</b>", k ? " / " : " ", nu);
      else xci_page_raw(page, k ? " / –" : " –");
    }
  }
  if (open) xci_page_raw(page, "</div>\n");
}
