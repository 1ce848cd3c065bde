/* SPDX-License-Identifier: Apache-2.0 */
/* The frame of the page: head, style, script, and the ways in which text gets into it. */
#include "report/page.h"

#include "base/file.h"
#include "base/memory.h"
#include "report/figure.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static const char style[] =
    "body{font:15px/1.5 Helvetica,Arial,'Liberation Sans',sans-serif;color:#1a1a1a;background:#fff;margin:0 auto;"
    "max-width:1120px;padding:0 20px 60px}\n"
    "h1{font-size:26px;margin:28px 0 4px}h2{font-size:20px;margin:40px 0 8px;border-top:1px solid "
    "#ddd;padding-top:18px}"
    "h3{font-size:16px;margin:22px 0 6px}p{max-width:46em;margin:6px 0 10px}\n"
    ".figures{display:flex;flex-wrap:wrap;gap:14px;align-items:flex-start}figure{margin:0;max-width:100%}"
    "figure svg{max-width:100%;height:auto;display:block}figcaption{font-size:12px;color:#555;max-width:520px}\n"
    ".scroll{overflow-x:auto;margin:8px 0 14px}table{border-collapse:collapse;font-size:13px}"
    "th,td{padding:3px 9px;text-align:right;border-bottom:1px solid #eee;white-space:nowrap}"
    "th{background:#f6f6f6;border-bottom:1px solid "
    "#bbb}td.t,th.t{text-align:left}td.w{white-space:normal;min-width:14em}"
    "table.sortable th{cursor:pointer}\n"
    ".pass{color:#0a6b3d;font-weight:bold}.warn{color:#b04a00;font-weight:bold}.muted{color:#666}"
    ".card{border:1px solid #ccc;border-radius:6px;padding:10px 14px;margin:14px 0;break-inside:avoid}"
    ".card h3{margin:0 0 6px}.grid{display:flex;flex-wrap:wrap;gap:6px 26px}\n"
    ".context{font:13px/1.9 'DejaVu Sans Mono',Menlo,Consolas,monospace;margin:3px 0;overflow-wrap:anywhere;"
    "padding-left:6em;text-indent:-6em}"
    ".context i{font-style:normal;white-space:pre-wrap;border-radius:2px;padding:1px 0}"
    ".who{display:inline-block;min-width:7em;padding-right:.5em;text-indent:0;"
    "font:11px Helvetica,Arial,sans-serif;color:#555}\n"
    ".paper{display:none}.tool{margin:10px 0}.tool input{font:inherit;padding:3px 8px;width:22em;max-width:90%}"
    "#bar{position:sticky;top:0;z-index:2;background:#fff;border:1px solid #999;border-radius:6px;padding:8px "
    "14px;margin:12px 0;"
    "display:flex;flex-wrap:wrap;gap:6px 16px;align-items:center}#bar[hidden]{display:none}"
    "#bar p{margin:0;max-width:none;flex-basis:100%;font-size:13px}#bar input{width:11em}#progress{font-weight:bold}"
    "#bar input,#bar button,.label input{font:inherit;padding:3px 8px;color:#1a1a1a;border:1px solid "
    "#767676;border-radius:4px}"
    "#bar button{background:#f2f2f2;cursor:pointer}meter,progress{vertical-align:middle;width:9em}"
    "kbd{font:12px 'DejaVu Sans Mono',Menlo,Consolas,monospace;border:1px solid #999;border-radius:3px;padding:0 "
    "4px;background:#f7f7f7}\n"
    ".card{scroll-margin-top:calc(var(--bar,0px) + 10px)}.card.current{border-color:#0b5394;box-shadow:0 0 0 2px "
    "#0b5394}"
    ".card.done h3::after{content:' \\2713  labelled';color:#0a6b3d;font-size:12px;font-weight:normal}"
    ".label form{display:flex;flex-wrap:wrap;gap:4px 16px;align-items:center;background:#f5f8fb;border-radius:4px;"
    "padding:6px 10px;margin:4px 0 8px}.label label{white-space:nowrap}.label .wide{flex:1 1 "
    "20em;display:flex;gap:6px;align-items:center}"
    ".label .wide input{flex:1;min-width:6em}.label .few input{width:7em}.label fieldset{border:0;margin:0;padding:0}"
    ".label legend{float:left;margin-right:8px}.label fieldset label{margin-right:8px}.given,.others{font-size:13px}"
    ":focus-visible{outline:3px solid #b04a00;outline-offset:1px}.card:focus{outline:none}\n"
    "nav a{margin-right:1em;display:inline-block}a{color:#0b5394}summary{cursor:pointer}\n"
    "@page{margin:10mm}\n"
    "@media print{body{max-width:none;font-size:11px}table{font-size:9px}th,td{white-space:normal;padding:2px 5px}"
    ".scroll{overflow:visible}nav,.tool,#bar,.label form{display:none}.card.done .label "
    "form{display:flex;background:none;padding:0}"
    ".label form input{border:0}.card.current{box-shadow:none}details{display:block}"
    ".figures{gap:8px}.figures figure{width:49%;break-inside:avoid}.figures figure:only-child{width:70%}"
    ".figures svg{width:100%;height:auto}figcaption{font-size:9px}h2,h3{break-after:avoid}"
    ".card{page-break-inside:avoid}.card~.card:nth-of-type(n+25){display:none}.paper{display:block}}\n"
    "@media (max-width:640px){body{padding:0 10px "
    "40px}h1{font-size:21px}#bar{position:static}.card{scroll-margin-top:6px;padding:8px}}\n";

/* One string a line: compilers need not take long ones. Made from page.js. */
static const char *const script_lines[] = {
#include "report/page_script.inc"
};

static void add_script(xci_text *script) {
  for (size_t i = 0; i < sizeof script_lines / sizeof *script_lines; i++) {
    xci_text_add(script, script_lines[i]);
    xci_text_add(script, "\n");
  }
}

void xci_page_raw(xci_page *page, const char *markup) { xci_text_add(&page->html, markup); }

void xci_page_text(xci_page *page, const char *text) { xci_text_html(&page->html, text, strlen(text)); }

void xci_page_tag(xci_page *page, const char *tag, const char *text) {
  xci_text_format(&page->html, "<%s>", tag);
  xci_page_text(page, text);
  xci_text_format(&page->html, "</%.*s>\n", (int)strcspn(tag, " "), tag);
}

void xci_page_number(xci_page *page, double value) { xci_text_short(&page->html, value); }

void xci_page_cell(xci_page *page, double value) {
  xci_text_format(&page->html, "<td data-v=\"%.9g\">", value);
  xci_text_short(&page->html, value);
  xci_page_raw(page, "</td>");
}

void xci_page_cell_text(xci_page *page, const char *text) { xci_page_tag(page, "td class=\"t\"", text); }

double xci_json_number_at(const json_t *object, const char *key) {
  const json_t *value = json_object_get(object, key);
  return json_is_number(value) ? json_number_value(value) : NAN;
}

const char *xci_json_text_at(const json_t *object, const char *key) {
  const char *text = json_string_value(json_object_get(object, key));
  return text ? text : "";
}

static void write_beside(xci_page *page, const char *folder, const char *name, const char *ending, xci_text *content) {
  xci_text relative = {0};
  xci_text_format(&relative, "%s/%s/", page->out, folder);
  for (const char *p = name; *p; p++) { /* names come from labels and tasks, which may hold anything */
    bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') || *p == '-' ||
                 (*p == '.' && p != name) || *p == '_';
    xci_text_append(&relative, plain ? p : "_", 1);
  }
  xci_text_add(&relative, ending);
  if (!page->status) page->status = xci_text_status(&relative, page->err);
  if (!page->status) page->status = xci_text_status(content, page->err);
  xci_writer *writer = NULL;
  if (!page->status) page->status = xci_writer_open(relative.bytes, &writer, page->err);
  if (!page->status) page->status = xci_writer_write(writer, content->bytes, content->n_bytes, page->err);
  if (!page->status)
    page->status = xci_writer_commit(writer, page->err);
  else
    xci_writer_abort(writer);
  xci_text_clear(&relative);
}

void xci_page_figure(xci_page *page, const char *name, xci_text *svg, const char *caption) {
  xci_page_raw(page, "<figure>\n");
  xci_text_append(&page->html, svg->bytes ? svg->bytes : "", svg->n_bytes);
  if (caption && *caption) xci_page_tag(page, "figcaption", caption);
  xci_page_raw(page, "</figure>\n");
  write_beside(page, "figures", name, ".svg", svg);
  xci_text_clear(svg);
}

void xci_page_table(xci_page *page, const char *name, xci_text *csv) {
  write_beside(page, "tables", name, ".csv", csv);
  xci_text_clear(csv);
}

void xci_page_copy_table(xci_page *page, const char *name, const xci_csv *csv) {
  xci_text copy = {0};
  for (size_t row = 0; row <= csv->n_rows; row++)
    for (size_t c = 0; c < csv->n_columns; c++) {
      const char *field = row ? xci_csv_at(csv, row - 1, c) : csv->field[c];
      xci_text_csv(&copy, field, strlen(field));
      xci_text_add(&copy, c + 1 < csv->n_columns ? "," : "\n");
    }
  xci_page_table(page, name, &copy);
}

void xci_page_latex(xci_page *page, const char *name, xci_text *tex) {
  write_beside(page, "tables", name, ".tex", tex);
  xci_text_clear(tex);
}

void xci_page_begin(xci_page *page, const char *title) {
  xci_page_raw(page, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                     "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; "
                     "style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; script-src '");
  xci_text script = {0};
  char hash[45];
  add_script(&script);
  xci_sha256_base64(script.bytes ? script.bytes : "", script.n_bytes, hash);
  xci_text_clear(&script);
  xci_text_format(&page->html, "sha256-%s", hash);
  xci_page_raw(page, "'\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>");
  xci_page_text(page, title);
  xci_page_raw(page, "</title>\n<style>\n");
  xci_page_raw(page, style);
  xci_page_raw(page, "</style>\n</head>\n<body>\n");
  xci_page_tag(page, "h1", title);
}

void xci_page_end(xci_page *page) {
  xci_page_raw(page, "<h2 id=\"read\">How to read this page</h2>\n"
                     "<p><b>Indirect effect (IE)</b> of a feature at a checkpoint: how much the wrong answer would "
                     "gain on the right one "
                     "if the feature were removed there; positive means that the feature supports the right answer. "
                     "<b>RelIE</b>: the "
                     "share of a checkpoint in the sum of |IE| over checkpoints. <b>RelDec</b>: the same for the norms "
                     "of the decoder, "
                     "which says where a direction is written, not whether it is used. <b>L0</b>: active features per "
                     "token. "
                     "<b>dCE</b>: what the next-token cross-entropy loses when the residual stream is replaced by the "
                     "reconstruction.</p>\n"
                     "<p>An effect is a first-order statement along one path; a class given here says nothing about "
                     "features that were "
                     "not found, and one run is one seed. Every figure stands beside this page in figures/, every "
                     "table in tables/.</p>\n");
  xci_page_close(page);
}

void xci_page_close(xci_page *page) {
  xci_page_raw(page, "<script>");
  add_script(&page->html);
  xci_page_raw(page, "</script>\n</body>\n</html>\n");
}
