/* SPDX-License-Identifier: Apache-2.0 */
/* Minimal-pair accuracy of models (METHOD section 5). */
#include "analysis/quality/accuracy.h"

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

static xcoder_status measure_all(xcoder_model *model, const xcoder_pairs *pairs, xcoder_normalization normalization,
                                 double *difference, const xcoder_monitor *monitor, xcoder_error *err) {
  const size_t n = xcoder_pairs_count(pairs);
  xcoder_tokens *prompts = NULL;
  if (n && xcoder_pairs_get(pairs, 0)->good)
    return xci_sentence_differences(model, pairs, normalization, difference, monitor, err);
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
  if (!status) status = measure_all(model, pairs, XCODER_SUM, own, monitor, err);
  if (!status) {
    xci_accuracy_of(own, NULL, n, result);
    for (size_t i = 0; correct && i < n; i++) correct[i] = own[i] >= 0;
    if (difference) memcpy(difference, own, n * sizeof *own);
  }
  xci_free(own);
  return status;
}

/* ---- accuracy.csv ---- */

struct xcoder_accuracies {
  xci_text text;
  xcoder_normalization normalization;
};

/* What all rows of one model and task share. */
typedef struct row_head {
  const char *label, *task, *scoring;
  double tokens_seen;
} row_head;

static void write_row(xci_text *text, const row_head *head, const char *language, const char *group,
                      const xcoder_accuracy *a) {
  const double number[] = {a->accuracy, a->low, a->high, a->mean_log_prob_difference};
  const char *name[] = {head->label, head->task, language, group};
  for (size_t i = 0; i < 4; i++) {
    xci_text_csv(text, name[i], strlen(name[i]));
    xci_text_add(text, ",");
  }
  xci_text_format(text, "%llu,%llu", (unsigned long long)a->n, (unsigned long long)a->n_correct);
  for (size_t i = 0; i < 4; i++) {
    xci_text_add(text, ",");
    xci_text_number(text, number[i]);
  }
  xci_text_format(text, ",%s,", head->scoring);
  if (isfinite(head->tokens_seen)) xci_text_number(text, head->tokens_seen);
  xci_text_add(text, "\n");
}

static bool same_cell(const xcoder_pair *a, const xcoder_pair *b) {
  return strcmp(a->language, b->language) == 0 && strcmp(a->group, b->group) == 0;
}

/* A row for each cell (language, group) in the order of their first pairs, then one for the whole task. */
static xcoder_status write_task(xci_text *text, const row_head *head, const xcoder_pairs *pairs,
                                const double *difference, xcoder_error *err) {
  const size_t n = xcoder_pairs_count(pairs);
  const char *language = n ? xcoder_pairs_get(pairs, 0)->language : "";
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
    write_row(text, head, pair->language, pair->group, &accuracy);
  }
  if (!status) {
    xci_accuracy_of(difference, NULL, n, &accuracy);
    write_row(text, head, language, "all", &accuracy);
  }
  xci_free(chosen);
  xci_free(done);
  return status;
}

xcoder_status xcoder_accuracies_create(xcoder_normalization normalization, xcoder_accuracies **table,
                                       xcoder_error *err) {
  xcoder_status status = XCI_ALLOC(table, 1, err);
  if (status) return status;
  (*table)->normalization = normalization;
  xci_text_add(&(*table)->text, "checkpoint,task,language,group,n,correct,accuracy,low,high,log_prob_difference,"
                                "scoring,tokens_seen\n");
  status = xci_text_status(&(*table)->text, err);
  if (status) {
    xcoder_accuracies_free(*table);
    *table = NULL;
  }
  return status;
}

xcoder_status xcoder_accuracies_add(xcoder_accuracies *table, xcoder_model *model, const char *label,
                                    double tokens_seen, const xcoder_pairs *task, const xcoder_monitor *monitor,
                                    xcoder_error *err) {
  static const char *const names[] = {"sentence", "sentence / characters", "sentence / bytes", "sentence / tokens"};
  const size_t n = xcoder_pairs_count(task);
  const bool sentences = n && xcoder_pairs_get(task, 0)->good;
  const row_head head = {label, xcoder_pairs_name(task), sentences ? names[table->normalization] : "next token",
                         tokens_seen};
  double *difference = NULL;
  xcoder_status status = XCI_ALLOC(&difference, n, err);
  if (!status) status = measure_all(model, task, table->normalization, difference, monitor, err);
  if (!status) status = write_task(&table->text, &head, task, difference, err);
  xci_free(difference);
  return status;
}

xcoder_status xcoder_accuracies_write(xcoder_accuracies *table, const char *csv_path, xcoder_error *err) {
  xci_text copy = {0};
  xci_text_append(&copy, table->text.bytes, table->text.n_bytes);
  if (table->text.failed) copy.failed = true;
  xcoder_status status = xci_write_text(csv_path, &copy, err);
  xci_text_clear(&copy);
  return status;
}

void xcoder_accuracies_free(xcoder_accuracies *table) {
  if (!table) return;
  xci_text_clear(&table->text);
  xci_free(table);
}

xcoder_status xcoder_write_accuracy(xcoder_model *const *models, const char *const *labels, size_t n_models,
                                    const xcoder_pairs *const *tasks, size_t n_tasks, const char *csv_path,
                                    const xcoder_monitor *monitor, xcoder_error *err) {
  xcoder_accuracies *table = NULL;
  xcoder_status status = xcoder_accuracies_create(XCODER_SUM, &table, err);
  for (size_t c = 0; !status && c < n_models; c++)
    for (size_t t = 0; !status && t < n_tasks; t++)
      status = xcoder_accuracies_add(table, models[c], labels[c], NAN, tasks[t], monitor, err);
  if (!status) status = xcoder_accuracies_write(table, csv_path, err);
  xcoder_accuracies_free(table);
  return status;
}
