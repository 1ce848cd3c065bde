/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes tables of commas: the reader of all of them, and labels that annotators wrote. What is accepted is a table
 * of texts; merged labels are sorted, each of a feature and annotator of its own, and survive being written and
 * read. */
#include "fuzz_file.h"

#include "report/labels.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static void check_error(xcoder_status status, const xcoder_error *err) {
  if (status && (!err->message[0] || strchr(err->message, '\n'))) abort();
}

static void read_table(const char *path) {
  xci_csv csv;
  xcoder_error err = {0};
  size_t n = 0;
  xcoder_status status = xci_csv_open(path, &csv, &err);
  check_error(status, &err);
  if (status) return;
  for (size_t row = 0; row <= csv.n_rows; row++)
    for (size_t column = 0; column < csv.n_columns; column++) n += strlen(csv.field[row * csv.n_columns + column]);
  for (size_t row = 0; row < csv.n_rows; row++)
    if (csv.line[row] < 1 || (row && csv.line[row] <= csv.line[row - 1])) abort();
  (void)xci_csv_number(&csv, 0, 0);
  (void)n;
  xci_csv_close(&csv);
}

static void append(xci_text *text, const xci_label *label) {
  xci_text_format(text, "%u,", label->feature);
  xci_label_field(text, label->description);
  xci_text_add(text, ",");
  xci_label_field(text, label->languages);
  xci_text_add(text, ",");
  xci_label_field(text, label->annotator);
  xci_text_format(text, ",%s\r\n", label->confidence);
}

/* Labels written as the library does are the same labels. */
static void read_again(const xci_label_list *list) {
  xci_text text = {0};
  xci_label_list again = {0};
  xcoder_error err = {0};
  xci_text_add(&text, "feat_id,description,languages,annotator,confidence\r\n");
  for (size_t i = 0; i < list->n; i++) append(&text, &list->label[i]);
  if (xci_text_status(&text, &err)) abort();
  if (xci_labels_read(&again, fuzz_file("input.tsv", (const uint8_t *)text.bytes, text.n_bytes), &err)) abort();
  if (again.n != list->n) abort();
  for (size_t i = 0; i < list->n; i++) {
    const xci_label *a = &list->label[i], *b = &again.label[i];
    if (a->feature != b->feature || strcmp(a->description, b->description) != 0 ||
        strcmp(a->languages, b->languages) != 0 || strcmp(a->confidence, b->confidence) != 0 ||
        strcmp(a->annotator, b->annotator) != 0)
      abort();
  }
  xci_labels_clear(&again);
  xci_text_clear(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
  xci_label_list list = {0};
  xci_text json = {0};
  xcoder_error err = {0};
  const char *path = fuzz_file("input", data, n_bytes);
  read_table(path);
  xcoder_status status = xci_labels_read(&list, path, &err);
  if (!status) status = xci_labels_merge(&list, 100, &err);
  check_error(status, &err);
  if (!status) {
    for (size_t i = 0; i < list.n; i++)
      if (list.label[i].feature >= 100 || (i && list.label[i].feature < list.label[i - 1].feature)) abort();
    if (xci_labels_json(&list, &json, &err)) abort();
    xci_text_clear(&json);
    read_again(&list);
  }
  xci_labels_clear(&list);
  return 0;
}
