/* SPDX-License-Identifier: Apache-2.0 */
/* Quality of several runs (seeds) beside each other: one row each, their mean and standard deviation. */
#include "report/page.h"

#include "base/file.h"
#include "base/memory.h"
#include "report/figure.h"
#include <math.h>
#include <string.h>

enum { MAX_BYTES = 64 << 20, FIRST = 3, MOST_COLUMNS = FIRST + XCODER_MAX_CHECKPOINTS };

/* Text for LaTeX: its special characters become what prints them, control characters a space. */
void xci_text_latex(xci_text *tex, const char *text) {
  static const struct {
    char c;
    const char *print;
  } special[] = {{'\\', "\\textbackslash{}"},
                 {'{', "\\{"},
                 {'}', "\\}"},
                 {'$', "\\$"},
                 {'&', "\\&"},
                 {'#', "\\#"},
                 {'_', "\\_"},
                 {'%', "\\%"},
                 {'~', "\\textasciitilde{}"},
                 {'^', "\\textasciicircum{}"},
                 {'<', "\\textless{}"},
                 {'>', "\\textgreater{}"},
                 {'"', "\\textquotedbl{}"},
                 {'|', "\\textbar{}"}};
  const size_t n = strlen(text);
  for (size_t i = 0; i < n;) {
    uint32_t point;
    const size_t length = xci_utf8_decode(text + i, n - i, &point);
    size_t k = 0;
    while (k < sizeof special / sizeof *special && special[k].c != text[i]) k++;
    if (k < sizeof special / sizeof *special) xci_text_add(tex, special[k].print);
    else if (length == 0 || point < 0x20 || (point >= 0x7f && point < 0xa0)) xci_text_add(tex, " ");
    else xci_text_append(tex, text + i, length);
    i += length ? length : 1;
  }
}

static void read_row(const json_t *eval, size_t n_labels, double *value) {
  value[0] = xci_json_number_at(json_object_get(eval, "l0"), "mean");
  value[1] = xci_json_number_at(json_object_get(eval, "dead"), "share");
  value[2] = xci_json_number_at(json_object_get(eval, "ev_pooled"), "mean");
  const json_t *entropy = json_object_get(eval, "cross_entropy");
  for (size_t c = 0; c < n_labels; c++) value[FIRST + c] = xci_json_number_at(json_array_get(entropy, c), "delta");
}

static void add_row(xci_page *page, const char *name, const double *value, size_t n, xci_text *csv, xci_text *tex) {
  xci_page_raw(page, "<tr>");
  xci_page_cell_text(page, name);
  xci_text_csv(csv, name, strlen(name));
  xci_text_latex(tex, name);
  for (size_t i = 0; i < n; i++) {
    xci_page_cell(page, value[i]);
    xci_text_add(csv, ",");
    if (isfinite(value[i])) xci_text_number(csv, value[i]);
    xci_text_add(tex, " & ");
    if (isfinite(value[i])) xci_text_short(tex, value[i]);
    else xci_text_add(tex, "--");
  }
  xci_page_raw(page, "</tr>\n");
  xci_text_add(csv, "\n");
  xci_text_add(tex, " \\\\\n");
}

static void add_heads(xci_page *page, xci_text *csv, xci_text *tex) {
  const xci_run_files *run = page->run;
  xci_page_raw(page, "<h3>Several runs</h3>\n<div class=\"scroll\"><table class=\"sortable\"><thead><tr><th "
                     "class=\"t\">run</th><th>L0</th>"
                     "<th>dead</th><th>EV pooled</th>");
  xci_text_add(csv, "run,l0,dead_share,ev_pooled");
  xci_text_add(tex, "\\begin{tabular}{lrrr");
  for (size_t c = 0; c < run->n_labels; c++) xci_text_add(tex, "r");
  xci_text_add(tex, "}\n\\hline\nRun & L0 & Dead & EV");
  for (size_t c = 0; c < run->n_labels; c++) {
    xci_text name = {0};
    xci_text_format(&name, "delta_ce_%s", run->labels[c]);
    xci_page_raw(page, "<th>dCE ");
    xci_page_text(page, run->labels[c]);
    xci_page_raw(page, "</th>");
    xci_text_add(csv, ",");
    xci_text_csv(csv, name.bytes ? name.bytes : "", name.n_bytes);
    xci_text_add(tex, " & $\\Delta$CE ");
    xci_text_latex(tex, run->labels[c]);
    xci_text_clear(&name);
  }
  xci_page_raw(page, "</tr></thead><tbody>\n");
  xci_text_add(csv, "\n");
  xci_text_add(tex, " \\\\\n\\hline\n");
}

/* The same checkpoints in the same order; otherwise the columns would mean different things. */
static bool has_labels(const json_t *eval, const xci_run_files *run) {
  const json_t *labels = json_object_get(eval, "labels");
  bool same = json_array_size(labels) == run->n_labels;
  for (size_t c = 0; same && c < run->n_labels; c++) {
    const char *label = json_string_value(json_array_get(labels, c));
    same = label && strcmp(label, run->labels[c]) == 0;
  }
  return same;
}

static void add_runs(xci_page *page, const char *const *others, size_t n_others, double *values, xci_text *csv,
                     xci_text *tex) {
  const size_t n = FIRST + page->run->n_labels;
  double summary[2][MOST_COLUMNS];
  for (size_t r = 0; r <= n_others; r++) add_row(page, r ? others[r - 1] : "this run", values + r * n, n, csv, tex);
  for (size_t i = 0; i < n; i++) {
    double sum = 0, squares = 0;
    for (size_t r = 0; r <= n_others; r++) sum += values[r * n + i];
    summary[0][i] = sum / (double)(n_others + 1);
    for (size_t r = 0; r <= n_others; r++) squares += pow(values[r * n + i] - summary[0][i], 2);
    summary[1][i] = sqrt(squares / (double)n_others); /* of a sample: n - 1 runs */
  }
  xci_text_add(tex, "\\hline\n");
  add_row(page, "mean", summary[0], n, csv, tex);
  add_row(page, "sd", summary[1], n, csv, tex);
}

void xci_page_quality_runs(xci_page *page, const char *const *others, size_t n_others) {
  const size_t n = FIRST + page->run->n_labels;
  double *values = NULL;
  if (n_others == 0 || page->status) return;
  if (!page->run->eval || page->run->n_labels == 0) {
    page->status = xci_fail(page->err, XCODER_MISSING, "%s/eval.json: not there yet, other runs are compared with it",
                            page->run->path);
    return;
  }
  page->status = XCI_ALLOC(&values, (n_others + 1) * n, page->err);
  if (!page->status) read_row(page->run->eval, page->run->n_labels, values);
  for (size_t r = 0; !page->status && r < n_others; r++) {
    json_t *eval = NULL;
    char *path;
    page->status = xci_join_path(others[r], "eval.json", &path, page->err);
    if (!page->status) page->status = xci_json_read(path, MAX_BYTES, &eval, page->err);
    if (!page->status && !has_labels(eval, page->run))
      page->status =
          xci_fail(page->err, XCODER_FORMAT, "%s: labels: other checkpoints than in %s", path, page->run->path);
    if (!page->status) read_row(eval, page->run->n_labels, values + (r + 1) * n);
    json_decref(eval);
    xci_free(path);
  }
  if (!page->status) {
    xci_text csv = {0}, tex = {0};
    add_heads(page, &csv, &tex);
    add_runs(page, others, n_others, values, &csv, &tex);
    xci_page_raw(page, "</tbody></table></div>\n");
    xci_text_add(&tex, "\\hline\n\\end{tabular}\n");
    xci_page_table(page, "quality-runs", &csv);
    xci_page_latex(page, "quality-runs", &tex);
  }
  xci_free(values);
}
