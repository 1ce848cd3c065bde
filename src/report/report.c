/* SPDX-License-Identifier: Apache-2.0 */
/* The report of a run: one page, its figures, its tables. */
#include <crosscoder/report.h>

#include "base/file.h"
#include "base/memory.h"
#include "report/comparison.h"
#include "report/effect_figures.h"
#include "report/page.h"
#include <string.h>

xcoder_status xci_page_make_folders(const char *out, xcoder_error *err) {
  xcoder_status status = XCODER_OK;
  static const char *const folders[] = {"figures", "tables"};
  for (size_t i = 0; !status && i < sizeof folders / sizeof *folders; i++) {
    char *path;
    status = xci_join_path(out, folders[i], &path, err);
    if (!status) status = xci_make_folder(path, err);
    xci_free(path);
  }
  return status;
}

xcoder_status xci_page_write(xci_page *page, xcoder_error *err) {
  char *path;
  xci_writer *writer = NULL;
  xcoder_status status = page->status;
  if (!status) status = xci_text_status(&page->html, err);
  if (status) return status;
  status = xci_join_path(page->out, "index.html", &path, err);
  if (!status) status = xci_writer_open(path, &writer, err);
  if (!status) status = xci_writer_write(writer, page->html.bytes, page->html.n_bytes, err);
  if (!status)
    status = xci_writer_commit(writer, err);
  else
    xci_writer_abort(writer);
  xci_free(path);
  return status;
}

/* "tiny-pythia" of "build/tiny-pythia/". */
static const char *base_name(const char *path, char *copy, size_t room) {
  size_t length = strlen(path);
  while (length > 1 && path[length - 1] == '/') length--;
  size_t start = length;
  while (start > 0 && path[start - 1] != '/') start--;
  return xci_quote(copy, room, path + start, length - start);
}

static void build_page(xci_page *page, const xcoder_report_options *options, const xcoder_monitor *monitor) {
  char name[256];
  xci_text title = {0};
  if (options && options->title)
    xci_text_add(&title, options->title);
  else
    xci_text_format(&title, "Crosscoder run: %s", base_name(page->run->path, name, sizeof name));
  xci_page_begin(page, title.bytes ? title.bytes : "Crosscoder run");
  xci_text_clear(&title);
  xci_page_summary(page);
  xci_page_accuracy(page);
  xci_page_training(page);
  xci_page_quality(page);
  xci_page_scaling(page);
  if (options) xci_page_quality_runs(page, options->beside, options->n_beside);
  for (size_t t = 0; t < page->run->n_tasks && !page->status; t++) {
    if (monitor && monitor->progress) {
      xcoder_progress progress = {.stage = "report", .unit = "tasks", .done = t, .total = page->run->n_tasks};
      monitor->progress(monitor->context, &progress);
    }
    xci_page_task(page, t);
  }
  xci_page_overlap(page);
  xci_page_ablation(page);
  xci_page_evolution(page);
  xci_page_chain(page);
  xci_page_known(page);
  xci_page_seeds(page);
  xci_page_layers(page);
  xci_page_transfers(page);
  xci_page_models(page);
  xci_page_cost(page);
  xci_page_cards(page);
  xci_page_end(page);
}

xcoder_status xcoder_report(const char *run, const xcoder_report_options *options, const char *out,
                            const xcoder_monitor *monitor, xcoder_error *err) {
  xci_run_files files;
  char *own_out = NULL;
  xcoder_status status = xci_run_files_read(run, &files, err);
  if (status) return status;
  xci_page page = {.run = &files, .err = err, .n_cards = options ? options->n_cards : 0};
  if (!out) status = xci_join_path(run, "report", &own_out, err);
  page.out = out ? out : own_out;
  if (!status) status = xci_page_make_folders(page.out, err);
  if (!status) {
    build_page(&page, options, monitor);
    status = xci_page_write(&page, err);
  }
  xci_text_clear(&page.html);
  xci_free(own_out);
  xci_run_files_free(&files);
  return status;
}
