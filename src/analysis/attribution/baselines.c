/* SPDX-License-Identifier: Apache-2.0 */
/* Do effects depend on what features are replaced by? One attribution for each baseline, and how far they agree ->
 * baselines/TASK.csv, baselines/TASK.json; the effects of baseline B stand in baselines/B/effects/. */
#include "analysis/attribution/likeness.h"
#include "analysis/quality/verdict.h"
#include "base/file.h"
#include "base/memory.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { N_BASELINES = 5 };
static const xcoder_baseline kinds[N_BASELINES] = {XCODER_ZERO, XCODER_ORIGIN, XCODER_MEAN, XCODER_COUNTERFACTUAL,
                                                   XCODER_RESAMPLED};
static const char *const names[N_BASELINES] = {"zero", "origin", "mean", "counterfactual", "resampled"};

static bool has_counterfactual(const xcoder_pairs *task) {
  for (size_t k = 0; k < xcoder_pairs_count(task); k++)
    if (xcoder_pairs_get(task, k)->counterfactual) return true;
  return false;
}

/* Effects with one baseline: those of the run where it has that baseline, else from an attribution of its own.
 * Without a peer of its length no prompt can be resampled: then `*there` is false, as without counterfactuals. */
static xcoder_status attribute_with(const xcoder_setting *setting, const xcoder_pairs *task, size_t baseline,
                                    const xcoder_attribute_options *options, const char *run, bool *there,
                                    xci_side *side, xcoder_error *err) {
  xcoder_attribute_options own = *options;
  xcoder_verdicts verdicts = {0};
  xcoder_error none = {0};
  char *folder = NULL;
  *there = !(kinds[baseline] == XCODER_COUNTERFACTUAL && !has_counterfactual(task));
  if (!*there) return XCODER_OK;
  if (kinds[baseline] == options->baseline) return xci_side_read_effects(setting->coder, run, side, err);
  own.baseline = kinds[baseline];
  own.bootstrap = 0; /* no intervals of RelIE are needed */
  xcoder_status status = xci_run_path(run, "baselines", names[baseline], "", &folder, err);
  if (!status) status = xci_make_folder(folder, err);
  if (!status) {
    status = xcoder_attribute(setting, task, &own, folder, &verdicts, &none);
    *there = !(status == XCODER_MISMATCH && kinds[baseline] == XCODER_RESAMPLED);
    if (status && *there && err) *err = none;
    if (!*there) status = XCODER_OK;
  }
  if (!status && *there) status = xci_side_read_effects(setting->coder, folder, side, err);
  xcoder_verdicts_free(&verdicts);
  xci_free(folder);
  return status;
}

typedef struct least {
  double spearman;
  size_t a, b;
} least;

static void add_row(const char *label, size_t a, size_t b, const xci_likeness *found, xci_text *csv,
                    xci_json_out *json) {
  xci_text_csv(csv, label, strlen(label));
  xci_text_format(csv, ",%s,%s,%zu", names[a], names[b], found->n_top);
  xci_estimate_csv(csv, found->ie_spearman);
  xci_text_format(csv, ",%zu", found->n_again);
  xci_estimate_csv(csv, found->again);
  xci_text_add(csv, ",");
  if (!isnan(found->rel_ie_spearman.value)) xci_text_number(csv, found->rel_ie_spearman.value);
  xci_text_add(csv, "\n");
  xci_json_line(json);
  xci_json_open(json, NULL, '{');
  xci_json_text(json, "label", label);
  xci_json_text(json, "a", names[a]);
  xci_json_text(json, "b", names[b]);
  xci_json_count(json, "n_top", found->n_top);
  xci_estimate_json(json, "ie_spearman", found->ie_spearman);
  xci_json_count(json, "n_again", found->n_again);
  xci_estimate_json(json, "overlap", found->again);
  xci_json_number(json, "rel_ie_spearman", found->rel_ie_spearman.value);
  xci_json_close(json, '}');
}

/* All pairs at one checkpoint. The origin's path has no exact end where a normalisation is singular, whatever the
 * number of steps: it is in the table and not in the verdict. */
static xcoder_status compare_pairs(const xci_side *side, const bool *there, const char *task, size_t checkpoint,
                                   const char *label, const xcoder_attribute_options *options, size_t n_top,
                                   xci_text *csv, xci_json_out *json, least *worst, xcoder_error *err) {
  xcoder_status status = XCODER_OK;
  *worst = (least){NAN, 0, 0};
  for (size_t a = 0; !status && a < N_BASELINES; a++)
    for (size_t b = a + 1; !status && b < N_BASELINES; b++) {
      const xci_task_effects *x = there[a] ? xci_side_task(&side[a], task) : NULL;
      const xci_task_effects *y = there[b] ? xci_side_task(&side[b], task) : NULL;
      xci_likeness found;
      if (!x || !y) continue;
      status = xci_likeness_measure(x, y, side[a].n, checkpoint, n_top, options->bootstrap, options->seed, &found, err);
      if (status) break;
      add_row(label, a, b, &found, csv, json);
      const bool counts = kinds[a] != XCODER_ORIGIN && kinds[b] != XCODER_ORIGIN && !isnan(found.ie_spearman.value);
      if (counts && !(found.ie_spearman.value >= worst->spearman)) *worst = (least){found.ie_spearman.value, a, b};
    }
  return status;
}

static xcoder_status judge(const least *worst, const char *label, xcoder_verdicts *verdicts, xcoder_error *err) {
  char number[32], value[64], limit[64];
  if (isnan(worst->spearman)) return XCODER_OK;
  snprintf(value, sizeof value, "Spearman %s (%s, %s)", xci_fixed(number, worst->spearman, 2), names[worst->a],
           names[worst->b]);
  snprintf(limit, sizeof limit, "least >= %s", xci_fixed(number, XCI_LIMIT_SPEARMAN, 1));
  return xci_verdict_add(verdicts, worst->spearman >= XCI_LIMIT_SPEARMAN,
                         "the ranking depends on what features are replaced by: name the baseline with each result, "
                         "and "
                         "trust what several baselines and ablate agree on",
                         value, limit, err, "disagreement between baselines %s", label);
}

static xcoder_status write_files(const xci_side *side, const bool *there, const char *task, const xcoder_info *info,
                                 const xcoder_attribute_options *options, size_t n_top, const char *run,
                                 xcoder_verdicts *verdicts, xcoder_error *err) {
  xci_text csv = {0};
  xci_json_out json = {0};
  char *csv_path = NULL, *json_path = NULL;
  xci_text_add(&csv, "checkpoint,a,b,n_top,ie_spearman,ie_spearman_low,ie_spearman_high,n_again,overlap,overlap_low,"
                     "overlap_high,rel_ie_spearman\n");
  xci_json_open(&json, NULL, '{');
  xci_json_count(&json, "format", 1);
  xci_json_text(&json, "task", task);
  xci_json_count(&json, "n_top", n_top);
  xci_json_open(&json, "baselines", '[');
  for (size_t k = 0; k < N_BASELINES; k++)
    if (there[k]) xci_json_text(&json, NULL, names[k]);
  xci_json_close(&json, ']');
  xci_json_open(&json, "pairs", '[');
  xcoder_status status = xci_run_path(run, "baselines", task, ".csv", &csv_path, err);
  if (!status) status = xci_run_path(run, "baselines", task, ".json", &json_path, err);
  for (size_t c = 0; !status && c < info->n_checkpoints; c++) {
    least worst;
    status = compare_pairs(side, there, task, c, info->labels[c], options, n_top, &csv, &json, &worst, err);
    if (!status) status = judge(&worst, info->labels[c], verdicts, err);
  }
  xci_json_close(&json, ']');
  xci_verdicts_write(&json, verdicts);
  xci_json_close(&json, '}');
  if (!status) status = xci_write_text(csv_path, &csv, err);
  if (!status) status = xci_write_text(json_path, &json.text, err);
  xci_text_clear(&csv);
  xci_text_clear(&json.text);
  xci_free(csv_path);
  xci_free(json_path);
  return status;
}

xcoder_status xcoder_compare_baselines(const xcoder_setting *setting, const xcoder_pairs *task,
                                       const xcoder_attribute_options *options, size_t n_top,
                                       const char *run_directory, xcoder_verdicts *verdicts, xcoder_error *err) {
  xci_side side[N_BASELINES] = {{0}};
  bool there[N_BASELINES] = {false};
  xcoder_verdicts found = {0};
  xcoder_status status = XCODER_OK;
  *verdicts = (xcoder_verdicts){0};
  for (size_t k = 0; !status && k < N_BASELINES; k++)
    status = attribute_with(setting, task, k, options, run_directory, &there[k], &side[k], err);
  if (!status)
    status = write_files(side, there, xcoder_pairs_name(task), xcoder_describe(setting->coder), options, n_top,
                         run_directory, &found, err);
  for (size_t k = 0; k < N_BASELINES; k++) xci_side_close(&side[k]);
  if (!status) *verdicts = found;
  else xcoder_verdicts_free(&found);
  return status;
}
