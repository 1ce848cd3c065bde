/* SPDX-License-Identifier: Apache-2.0 */
/* Minimal-pair accuracy of models (METHOD section 5). */
#include "analysis/accuracy.h"

#include "analysis/json_out.h"
#include "analysis/statistics.h"
#include "analysis/workbench.h"
#include "base/memory.h"
#include <math.h>
#include <string.h>

void xci_accuracy_of(const double *difference, const uint8_t *chosen, size_t n, xcoder_accuracy *result) {
  double sum = 0;
  *result = (xcoder_accuracy){0};
  for (size_t i = 0; i < n; i++) {
    if (chosen && !chosen[i]) continue;
    result->n++;
    result->n_correct += difference[i] >= 0;
    sum += difference[i];
  }
  result->accuracy = result->n ? (double)result->n_correct / (double)result->n : NAN;
  result->mean_log_prob_difference = result->n ? sum / (double)result->n : NAN;
  xci_wilson(result->n_correct, result->n, &result->low, &result->high);
}

void xci_answers(const xcoder_pairs *pairs, const size_t *chosen, size_t first, size_t count, uint32_t *right,
                 uint32_t *wrong) {
  for (size_t k = 0; k < count; k++) {
    const xcoder_pair *pair = xcoder_pairs_get(pairs, chosen ? chosen[first + k] : first + k);
    right[k] = pair->right;
    wrong[k] = pair->wrong;
  }
}

/* Differences of pairs first .. first+count-1 in one packed call: the state after the last block, then two logits. */
static xcoder_status measure_chunk(xcoder_model *model, const xcoder_pairs *pairs, const xcoder_tokens *prompts,
                                   size_t first, size_t count, double *difference, xcoder_error *err) {
  const xcoder_model_info *info = xcoder_model_describe(model);
  const long last_layer = (long)info->n_layers - 1;
  const size_t *from = xcoder_tokens_start(prompts) + first, n_rows = from[count] - from[0];
  size_t *start = NULL;
  uint32_t *right = NULL, *wrong = NULL;
  float *hidden = NULL;
  xcoder_status status = XCI_ALLOC(&start, count + 1, err);
  if (!status) status = XCI_ALLOC(&right, count, err);
  if (!status) status = XCI_ALLOC(&wrong, count, err);
  if (!status) status = XCI_ALLOC(&hidden, n_rows * info->d_model, err);
  if (status) goto done;
  for (size_t k = 0; k <= count; k++) start[k] = from[k] - from[0];
  xci_answers(pairs, NULL, first, count, right, wrong);
  status = xcoder_model_hidden(model, xcoder_tokens_ids(prompts) + from[0], start, count, last_layer, hidden, err);
  if (!status)
    status = xcoder_model_metric(model, last_layer, hidden, start, count, right, wrong, difference, NULL, err);
  for (size_t k = 0; !status && k < count; k++) difference[k] = -difference[k];
done:
  xci_free(start);
  xci_free(right);
  xci_free(wrong);
  xci_free(hidden);
  return status;
}

static xcoder_status measure_all(xcoder_model *model, const xcoder_pairs *pairs, double *difference,
                                 const xcoder_monitor *monitor, xcoder_error *err) {
  const size_t n = xcoder_pairs_count(pairs);
  xcoder_tokens *prompts = NULL;
  xcoder_status status = xci_prompts(pairs, NULL, n, false, &prompts, err);
  for (size_t first = 0, count; !status && first < n; first += count) {
    count = xci_stretch_fit(prompts, first, XCI_ROWS_PER_CALL);
    xci_advance(monitor, "accuracy", "pairs", first, n);
    if (xci_stopped(monitor)) status = xci_interrupted(err, "accuracy");
    else status = measure_chunk(model, pairs, prompts, first, count, difference + first, err);
  }
  if (!status) xci_advance(monitor, "accuracy", "pairs", n, n);
  xcoder_tokens_free(prompts);
  return status;
}

xcoder_status xcoder_measure_accuracy(xcoder_model *model, const xcoder_pairs *pairs, uint8_t *correct,
                                      double *difference, xcoder_accuracy *result, const xcoder_monitor *monitor,
                                      xcoder_error *err) {
  const size_t n = xcoder_pairs_count(pairs);
  double *own = NULL;
  xcoder_status status = XCI_ALLOC(&own, n, err);
  if (!status) status = measure_all(model, pairs, own, monitor, err);
  if (!status) {
    xci_accuracy_of(own, NULL, n, result);
    for (size_t i = 0; correct && i < n; i++) correct[i] = own[i] >= 0;
    if (difference) memcpy(difference, own, n * sizeof *own);
  }
  xci_free(own);
  return status;
}

/* ---- accuracy.csv ---- */

static void write_row(xci_text *text, const char *label, const char *task, const char *language, const char *group,
                      const xcoder_accuracy *a) {
  const double number[] = {a->accuracy, a->low, a->high, a->mean_log_prob_difference};
  const char *name[] = {label, task, language, group};
  for (size_t i = 0; i < 4; i++) {
    xci_text_csv(text, name[i], strlen(name[i]));
    xci_text_add(text, ",");
  }
  xci_text_format(text, "%llu,%llu", (unsigned long long)a->n, (unsigned long long)a->n_correct);
  for (size_t i = 0; i < 4; i++) {
    xci_text_add(text, ",");
    xci_text_number(text, number[i]);
  }
  xci_text_add(text, "\n");
}

static bool same_cell(const xcoder_pair *a, const xcoder_pair *b) {
  return strcmp(a->language, b->language) == 0 && strcmp(a->group, b->group) == 0;
}

/* A row for each cell (language, group) in the order of their first pairs, then one for the whole task. */
static xcoder_status write_task(xci_text *text, const char *label, const xcoder_pairs *pairs, const double *difference,
                                xcoder_error *err) {
  const size_t n = xcoder_pairs_count(pairs);
  const char *task = xcoder_pairs_name(pairs), *language = xcoder_pairs_get(pairs, 0)->language;
  uint8_t *chosen = NULL, *done = NULL;
  xcoder_accuracy accuracy;
  xcoder_status status = XCI_ALLOC(&chosen, n, err);
  if (!status) status = XCI_ALLOC(&done, n, err);
  for (size_t i = 0; !status && i < n; i++) {
    const xcoder_pair *pair = xcoder_pairs_get(pairs, i);
    if (strcmp(pair->language, language) != 0) language = "";
    if (done[i]) continue;
    for (size_t k = 0; k < n; k++) {
      chosen[k] = k >= i && same_cell(xcoder_pairs_get(pairs, k), pair);
      done[k] |= chosen[k];
    }
    xci_accuracy_of(difference, chosen, n, &accuracy);
    write_row(text, label, task, pair->language, pair->group, &accuracy);
  }
  if (!status) {
    xci_accuracy_of(difference, NULL, n, &accuracy);
    write_row(text, label, task, language, "all", &accuracy);
  }
  xci_free(chosen);
  xci_free(done);
  return status;
}

xcoder_status xcoder_write_accuracy(xcoder_model *const *models, const char *const *labels, size_t n_models,
                                    const xcoder_pairs *const *tasks, size_t n_tasks, const char *csv_path,
                                    const xcoder_monitor *monitor, xcoder_error *err) {
  xci_text text = {0};
  xcoder_status status = XCODER_OK;
  xci_text_add(&text, "checkpoint,task,language,group,n,correct,accuracy,low,high,log_prob_difference\n");
  for (size_t c = 0; !status && c < n_models; c++)
    for (size_t t = 0; !status && t < n_tasks; t++) {
      double *difference = NULL;
      status = XCI_ALLOC(&difference, xcoder_pairs_count(tasks[t]), err);
      if (!status) status = measure_all(models[c], tasks[t], difference, monitor, err);
      if (!status) status = write_task(&text, labels[c], tasks[t], difference, err);
      xci_free(difference);
    }
  if (!status) status = xci_write_text(csv_path, &text, err);
  xci_text_clear(&text);
  return status;
}
