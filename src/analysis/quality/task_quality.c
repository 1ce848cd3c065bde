/* SPDX-License-Identifier: Apache-2.0 */
/* How well a task survives when the reconstruction takes the place of the residual stream. */
#include "analysis/quality/evaluate.h"

#include "analysis/quality/accuracy.h"
#include "analysis/quality/splice.h"
#include "base/memory.h"

enum { STRETCH_ROWS = 1024 }; /* prompts are short; activations, codes and reconstruction are held at once */

/* difference[c * n_pairs + k] of the spliced prompts first .. first+count-1. */
static xcoder_status measure_stretch(const xci_bench *bench, const xcoder_pairs *pairs, const xcoder_tokens *prompts,
                                     size_t first, size_t count, double *difference, xcoder_error *err) {
  const size_t n_pairs = xcoder_pairs_count(pairs);
  uint32_t *right = NULL, *wrong = NULL;
  float *hidden = NULL;
  xci_stretch s;
  xcoder_status status = xci_stretch_open(bench, prompts, first, count, XCI_DECODED, &s, err);
  if (status) return status;
  status = XCI_ALLOC(&right, count, err);
  if (!status) status = XCI_ALLOC(&wrong, count, err);
  if (!status) status = XCI_ALLOC(&hidden, s.n_rows * bench->d_model, err);
  if (!status) xci_answers(pairs, NULL, first, count, right, wrong);
  for (size_t c = 0; !status && c < bench->n; c++) {
    double *out = difference + c * n_pairs + first;
    xci_splice(bench, &s, c, hidden);
    status = xcoder_model_metric(bench->setting->models[c], bench->info->layer, hidden, s.start, count, right, wrong,
                                 out, NULL, err);
    for (size_t k = 0; !status && k < count; k++) out[k] = -out[k];
  }
  xci_free(right);
  xci_free(wrong);
  xci_free(hidden);
  xci_stretch_close(&s);
  return status;
}

xcoder_status xci_task_quality_measure(const xci_bench *bench, const xcoder_pairs *pairs, xci_task_quality *quality,
                                       xcoder_error *err) {
  const xcoder_monitor *monitor = bench->setting->monitor;
  const size_t n = xcoder_pairs_count(pairs);
  xcoder_tokens *prompts = NULL;
  double *difference = NULL;
  quality->pairs = pairs;
  xcoder_status status = xci_prompts(pairs, NULL, n, false, &prompts, err);
  if (!status) status = XCI_ALLOC(&difference, bench->n * n, err);
  for (size_t c = 0; !status && c < bench->n; c++)
    status = xcoder_measure_accuracy(bench->setting->models[c], pairs, NULL, NULL, &quality->clean[c], monitor, err);
  for (size_t first = 0, count; !status && first < n; first += count) {
    count = xci_stretch_fit(prompts, first, STRETCH_ROWS);
    xci_advance(monitor, "spliced accuracy", "pairs", first, n);
    if (xci_stopped(monitor)) status = xci_interrupted(err, "eval");
    else status = measure_stretch(bench, pairs, prompts, first, count, difference, err);
  }
  for (size_t c = 0; !status && c < bench->n; c++) xci_accuracy_of(difference + c * n, NULL, n, &quality->spliced[c]);
  xcoder_tokens_free(prompts);
  xci_free(difference);
  return status;
}
