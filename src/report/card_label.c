/* SPDX-License-Identifier: Apache-2.0 */
/* Labelling: the tools above the cards, what annotators have said, and the place of the fields on each card. */
#include "report/page.h"

#include <string.h>

/* An attribute that holds a line of CSV. */
static void add_attribute(xci_page *page, const char *name, const xci_text *value) {
  xci_text_format(&page->html, " %s=\"", name);
  xci_text_html(&page->html, value->bytes ? value->bytes : "", value->n_bytes);
  xci_page_raw(page, "\"");
}

static const char tools[] = " hidden>\n<strong>Label these features</strong>\n<label>Your name <input id=\"who\" "
                            "type=\"text\" autocomplete=\"name\" maxlength=\"80\"></label>\n"
                            "<span><output id=\"progress\"></output> <progress id=\"meter\" "
                            "aria-hidden=\"true\"></progress></span>\n"
                            "<button id=\"save\" type=\"button\">Save labels.csv</button>\n<button id=\"import\" "
                            "type=\"button\">Import labels.csv</button>\n"
                            "<button id=\"undo\" type=\"button\" hidden>Undo the import</button>\n"
                            "<input id=\"file\" type=\"file\" accept=\".csv,text/csv\" hidden>\n"
                            "<p class=\"keys\">Keys: <kbd>j</kbd> <kbd>k</kbd> next and previous card · <kbd>u</kbd> "
                            "next without a label · <kbd>l</kbd> its label · "
                            "<kbd>1</kbd> <kbd>2</kbd> <kbd>3</kbd> low, medium, high confidence · <kbd>s</kbd> or "
                            "<kbd>Ctrl</kbd>+<kbd>S</kbd> save · "
                            "<kbd>i</kbd> import · <kbd>/</kbd> find. In a field: <kbd>Enter</kbd> on to the next "
                            "card's label, <kbd>Shift</kbd>+<kbd>Enter</kbd> back, "
                            "<kbd>Tab</kbd> <kbd>3</kbd> confidence, <kbd>Esc</kbd> out of the field.</p>\n"
                            "<p id=\"lost\" class=\"warn\" hidden>This browser does not let the page keep anything: "
                            "labels last until the page is closed. "
                            "Save labels.csv before, and import it next time.</p>\n"
                            "<p id=\"note\" role=\"status\"></p>\n</div>\n<datalist id=\"used\"></datalist>\n"
                            "<template id=\"label-fields\"><form autocomplete=\"off\">\n"
                            "<label class=\"wide\">Label <input type=\"text\" name=\"description\" list=\"used\" "
                            "maxlength=\"500\"></label>\n"
                            "<fieldset><legend>Confidence</legend><label><input type=\"radio\" value=\"low\"> "
                            "low</label><label><input type=\"radio\" value=\"medium\"> "
                            "medium</label><label><input type=\"radio\" value=\"high\"> high</label></fieldset>\n"
                            "<label class=\"few\">Languages <input type=\"text\" name=\"languages\" maxlength=\"200\" "
                            "placeholder=\"en fr\"></label>\n"
                            "<label class=\"few\">Annotator <input type=\"text\" name=\"annotator\" "
                            "maxlength=\"80\"></label>\n</form></template>\n";

void xci_page_label_tools(xci_page *page) {
  xci_text header = {0};
  xci_label_header(page->run, &header);
  xci_text_add(&header, ",description,languages,annotator,confidence");
  xci_text_format(&page->html, "<div id=\"bar\" role=\"region\" aria-label=\"Labelling\" data-run=\"%s\"",
                  page->run->identity);
  add_attribute(page, "data-header", &header);
  xci_page_raw(page, tools);
  xci_text_clear(&header);
}

static void add_given(xci_page *page, const xci_label *label) {
  xci_page_raw(page, "<div class=\"given\"><b>");
  xci_page_text(page, label->description);
  xci_page_raw(page, "</b> <span class=\"muted\">");
  if (*label->languages) {
    xci_page_text(page, label->languages);
    xci_page_raw(page, " · ");
  }
  xci_page_text(page, label->annotator);
  if (*label->confidence) xci_text_format(&page->html, " · %s confidence", label->confidence);
  xci_page_raw(page, "</span></div>\n");
}

void xci_page_card_label(xci_page *page, uint32_t feature) {
  size_t n;
  const xci_label *label = xci_labels_of(&page->run->said, feature, &n);
  xci_text row = {0};
  for (size_t i = 0; i < n; i++) add_given(page, &label[i]);
  xci_label_row(page->run, feature, &row);
  xci_text_format(&page->html, "<div class=\"label\" data-feature=\"%u\"", feature);
  add_attribute(page, "data-csv", &row);
  xci_page_raw(page, "><div class=\"others muted\"></div></div>\n");
  xci_text_clear(&row);
}
