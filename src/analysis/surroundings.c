/* SPDX-License-Identifier: Apache-2.0 */
/* Prompts as sequences, progress and warnings, paths in a run directory. */
#include "analysis/workbench.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

xcoder_status xci_prompts(const xcoder_pairs *pairs, const size_t *chosen, size_t n, bool counterfactual,
                          xcoder_tokens **tokens, xcoder_error *err) {
  size_t total = 0, *start = NULL;
  uint32_t *ids = NULL;
  *tokens = NULL;
  if (n == 0) return xci_fail(err, XCODER_MISMATCH, "%s: no pairs to run on", xcoder_pairs_name(pairs));
  xcoder_status status = XCI_ALLOC(&start, n + 1, err);
  for (size_t k = 0; !status && k < n; k++) {
    start[k] = total;
    total += xcoder_pairs_get(pairs, chosen ? chosen[k] : k)->n_prefix;
    start[k + 1] = total;
  }
  if (!status) status = XCI_ALLOC(&ids, total, err);
  for (size_t k = 0; !status && k < n; k++) {
    const xcoder_pair *pair = xcoder_pairs_get(pairs, chosen ? chosen[k] : k);
    const uint32_t *from = counterfactual ? pair->counterfactual : pair->prefix;
    memcpy(ids + start[k], from, pair->n_prefix * sizeof *ids);
  }
  if (!status) status = xcoder_tokens_from_array(ids, start, n, tokens, err);
  xci_free(start);
  xci_free(ids);
  return status;
}

bool xci_stopped(const xcoder_monitor *monitor) { return monitor && monitor->stop && *monitor->stop; }

xcoder_status xci_interrupted(xcoder_error *err, const char *stage) {
  return xci_fail(err, XCODER_INTERRUPTED, "%s was interrupted, nothing of it was written", stage);
}

void xci_advance(const xcoder_monitor *monitor, const char *stage, const char *unit, uint64_t done, uint64_t total) {
  const xcoder_progress progress = {stage, unit, done, total, NULL};
  if (monitor && monitor->progress) monitor->progress(monitor->context, &progress);
}

void xci_warn(const xcoder_monitor *monitor, const char *format, ...) {
  char message[XCODER_ERROR_BYTES];
  va_list arguments;
  if (!monitor || !monitor->warn) return;
  va_start(arguments, format);
  vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  monitor->warn(monitor->context, message);
}

xcoder_status xci_run_path(const char *run_directory, const char *folder, const char *name, const char *suffix,
                           char **path, xcoder_error *err) {
  xci_text text = {0};
  *path = NULL;
  xci_text_add(&text, run_directory);
  if (folder) xci_text_format(&text, "/%s", folder);
  xcoder_status status = xci_text_status(&text, err);
  if (!status) status = xci_make_folder(text.bytes, err);
  if (!status) {
    xci_text_format(&text, "/%s%s", name, suffix);
    status = xci_text_status(&text, err);
  }
  if (!status) status = xci_copy_text(text.bytes, path, err);
  xci_text_clear(&text);
  return status;
}

const char *xci_token_text(const xcoder_tokenizer *tokenizer, uint32_t id, size_t *n_bytes) {
  const char *bytes = tokenizer ? xcoder_token_bytes(tokenizer, id, n_bytes) : NULL;
  if (bytes) return bytes;
  *n_bytes = 0;
  return "";
}
