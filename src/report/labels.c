/* SPDX-License-Identifier: Apache-2.0 */
/* Labels of a run: merges what annotators saved into labels.csv, and their agreement into labels.json. */
#include <crosscoder/report.h>

#include "analysis/json_out.h"
#include "base/file.h"
#include "base/memory.h"
#include "report/labels.h"
#include "report/page.h"
#include <string.h>

static xcoder_status write_labels(const xci_run_files *run, const xci_label_list *list, xcoder_error *err) {
  char *path;
  xci_text csv = {0};
  xci_label_header(run, &csv);
  xci_text_add(&csv, ",description,languages,annotator,confidence\n");
  for (size_t i = 0; i < list->n; i++) {
    const xci_label *label = &list->label[i];
    const char *const fields[] = {label->description, label->languages, label->annotator, label->confidence};
    xci_label_row(run, label->feature, &csv);
    for (size_t k = 0; k < sizeof fields / sizeof *fields; k++) {
      xci_text_add(&csv, ",");
      xci_label_field(&csv, fields[k]);
    }
    if (i + 1 < list->n) xci_text_add(&csv, "\n");
  }
  xcoder_status status = xci_join_path(run->path, "labels.csv", &path, err);
  if (status) xci_text_clear(&csv);
  else status = xci_write_text(path, &csv, err);
  xci_free(path);
  return status;
}

static xcoder_status write_agreement(const xci_run_files *run, const xci_label_list *list, xcoder_error *err) {
  char *path = NULL;
  xci_text json = {0};
  xcoder_status status = xci_labels_json(list, &json, err);
  if (!status) status = xci_join_path(run->path, "labels.json", &path, err);
  if (!status) status = xci_write_text(path, &json, err);
  else xci_text_clear(&json);
  xci_free(path);
  return status;
}

xcoder_status xcoder_labels(const char *run, const char *const *files, size_t n_files, xcoder_labels_counts *counts,
                            const xcoder_monitor *monitor, xcoder_error *err) {
  xci_run_files read;
  xci_label_list *list = &read.said;
  *counts = (xcoder_labels_counts){0};
  xcoder_status status = xci_run_files_read(run, &read, err);
  if (status) return status;
  const size_t n_before = list->n;
  list->n_empty = list->n_repeated = list->n_replaced = 0;
  for (size_t i = 0; !status && i < n_files; i++) {
    if (monitor && monitor->stop && *monitor->stop) status = xci_fail(err, XCODER_INTERRUPTED, "%s: stopped", run);
    if (!status) status = xci_labels_read(list, files[i], err);
  }
  const size_t n_read = list->n - n_before;
  if (!status) status = xci_labels_merge(list, read.n_features, err);
  if (!status && list->n == 0)
    status = xci_fail(err, n_files ? XCODER_FORMAT : XCODER_MISSING,
                      "%s: no label %s (write some in report/index.html, save "
                      "labels.csv, then: crosscoder labels RUN labels.csv)",
                      n_files ? files[0] : run, n_files ? "in it" : "is there yet");
  if (!status && n_files) status = write_labels(&read, list, err);
  if (!status) status = write_agreement(&read, list, err);
  if (!status)
    *counts = (xcoder_labels_counts){.n_read = n_read,
                                     .n_before = n_before,
                                     .n_labels = list->n,
                                     .n_empty = list->n_empty,
                                     .n_repeated = list->n_repeated,
                                     .n_replaced = list->n_replaced};
  xci_run_files_free(&read);
  return status;
}
