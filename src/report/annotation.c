/* SPDX-License-Identifier: Apache-2.0 */
/* The table of annotated features of a task, grouped by class: on the page, as CSV and as LaTeX. */
#include "report/effect_figures.h"

#include "base/memory.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STRONGEST = 10 };

/* Marks the rows of the strongest features of one checkpoint. */
static void mark_strongest(const xci_task_files *task, size_t column, bool *wanted) {
  uint32_t top[STRONGEST];
  const size_t n = xci_top_features(task, column, STRONGEST, top), id = xci_csv_column(&task->effects, "feature");
  for (size_t r = 0; r < task->effects.n_rows; r++)
    for (size_t k = 0; k < n; k++) wanted[r] = wanted[r] || xci_csv_number(&task->effects, r, id) == top[k];
}

typedef struct row {
  const char *group, *id;
  size_t index;
} row;

static int compare_rows(const void *a, const void *b) {
  const row *p = a, *q = b;
  const int order = strcmp(p->group, q->group);
  return order ? order : p->index < q->index ? -1 : p->index > q->index;
}

/* The fields of a row: class, feature, RelIE of each checkpoint, and of each annotator what he says. */
static void add_row(xci_page *page, const xci_csv *effects, const row *r, const size_t *rel, const xci_label *label,
                    xci_text *csv, xci_text *tex) {
  const char *const said[] = {label ? label->description : "", label ? label->languages : "",
                              label ? label->annotator : "", label ? label->confidence : ""};
  const size_t n = page->run->n_labels;
  xci_page_raw(page, "<tr>");
  xci_page_cell_text(page, r->group);
  xci_text_format(&page->html, "<td><a href=\"#f%d\">", atoi(r->id));
  xci_page_text(page, r->id);
  xci_page_raw(page, "</a></td>");
  xci_text_csv(csv, r->group, strlen(r->group));
  xci_text_add(csv, ",");
  xci_text_csv(csv, r->id, strlen(r->id));
  xci_text_latex(tex, r->id);
  for (size_t c = 0; c < n; c++) {
    const double share = xci_csv_number(effects, r->index, rel[c]);
    xci_page_cell(page, share);
    xci_text_add(csv, ",");
    if (isfinite(share)) {
      xci_text_number(csv, share);
      xci_text_format(tex, " & %.2f", share);
    } else {
      xci_text_add(tex, " & --");
    }
  }
  for (size_t k = 0; k < sizeof said / sizeof *said; k++) {
    if (k == 0) xci_page_tag(page, "td class=\"t w\"", said[k]);
    else xci_page_cell_text(page, said[k]);
    xci_text_add(csv, ",");
    xci_label_field(csv, said[k]);
    if (k == 3) continue; /* the paper's tables have no confidence */
    xci_text_add(tex, " & ");
    xci_text_latex(tex, said[k]);
  }
  xci_page_raw(page, "</tr>\n");
  xci_text_add(csv, "\n");
  xci_text_add(tex, " \\\\\n");
}

static void add_heads(xci_page *page, xci_text *csv, xci_text *tex) {
  const xci_run_files *run = page->run;
  xci_page_raw(page, "<details><summary>Annotation table</summary><div class=\"scroll\"><table "
                     "class=\"sortable\"><thead><tr>"
                     "<th class=\"t\">class</th><th>feature</th>");
  xci_text_add(csv, "class,feature");
  xci_text_add(tex, "% needs \\usepackage[utf8]{inputenc}, \\usepackage[T1]{fontenc}, "
                    "\\usepackage{textcomp}\n\\begin{tabular}{r");
  for (size_t c = 0; c < run->n_labels; c++) xci_text_add(tex, "r");
  xci_text_add(tex, "p{7cm}ll}\n\\hline\nFeature");
  for (size_t c = 0; c < run->n_labels; c++) {
    xci_text name = {0};
    xci_text_format(&name, "rel_ie_%s", run->labels[c]);
    xci_page_raw(page, "<th>RelIE ");
    xci_page_text(page, run->labels[c]);
    xci_page_raw(page, "</th>");
    xci_text_add(csv, ",");
    xci_text_csv(csv, name.bytes ? name.bytes : "", name.n_bytes);
    xci_text_add(tex, " & ");
    xci_text_latex(tex, run->labels[c]);
    xci_text_clear(&name);
  }
  xci_page_raw(page, "<th class=\"t\">label</th><th class=\"t\">languages</th><th class=\"t\">annotator</th><th "
                     "class=\"t\">confidence</th>"
                     "</tr></thead><tbody>\n");
  xci_text_add(csv, ",description,languages,annotator,confidence\n");
  xci_text_add(tex, " & Description & Languages & Annotator \\\\\n");
}

void xci_page_annotation(xci_page *page, const xci_task_files *task) {
  const xci_run_files *run = page->run;
  const xci_csv *effects = &task->effects;
  size_t ie[XCODER_MAX_CHECKPOINTS], rel[XCODER_MAX_CHECKPOINTS], n_rows = 0;
  bool *wanted = NULL;
  row *rows = NULL;
  if (page->status || !xci_effect_columns(run, effects, "ie", ie) || !xci_effect_columns(run, effects, "rel_ie", rel))
    return;
  page->status = XCI_ALLOC(&wanted, effects->n_rows, page->err);
  if (!page->status) page->status = XCI_ALLOC(&rows, effects->n_rows, page->err);
  for (size_t c = 0; !page->status && c < run->n_labels; c++) mark_strongest(task, ie[c], wanted);
  for (size_t r = 0; !page->status && r < effects->n_rows; r++)
    if (wanted[r])
      rows[n_rows++] = (row){xci_csv_at(effects, r, xci_csv_column(effects, "class")),
                             xci_csv_at(effects, r, xci_csv_column(effects, "feature")), r};
  if (n_rows) {
    xci_text csv = {0}, tex = {0}, name = {0};
    qsort(rows, n_rows, sizeof *rows, compare_rows);
    add_heads(page, &csv, &tex);
    for (size_t r = 0; r < n_rows; r++) {
      size_t n_said;
      const xci_label *said = xci_labels_of(&run->said, (uint32_t)atoi(rows[r].id), &n_said);
      if (r == 0 || strcmp(rows[r].group, rows[r - 1].group)) {
        xci_text_format(&tex, "\\hline\n\\multicolumn{%zu}{l}{", run->n_labels + 4);
        xci_text_latex(&tex, rows[r].group);
        xci_text_add(&tex, "} \\\\\n");
      }
      for (size_t k = 0; k < (n_said ? n_said : 1); k++)
        add_row(page, effects, &rows[r], rel, n_said ? &said[k] : NULL, &csv, &tex);
    }
    xci_page_raw(page, "</tbody></table></div></details>\n");
    xci_text_add(&tex, "\\hline\n\\end{tabular}\n");
    xci_text_format(&name, "annotation-%s", task->name);
    xci_page_table(page, name.bytes ? name.bytes : "annotation", &csv);
    xci_page_latex(page, name.bytes ? name.bytes : "annotation", &tex);
    xci_text_clear(&name);
  }
  xci_free(wanted);
  xci_free(rows);
}
