/* SPDX-License-Identifier: Apache-2.0 */
/* How early the attribution of a training was what it is at its end: effects of snapshots against those of the run ->
 * convergence.csv, convergence.json. Features have the same numbers, because it is one dictionary that goes on. */
#include "analysis/attribution/likeness.h"
#include "base/file.h"
#include "base/memory.h"
#include <crosscoder/train.h>
#include <math.h>
#include <string.h>

/* Mean over tasks and checkpoints; NaN where there is nothing to compare. */
static xcoder_status mean_change(const xci_side *a, const xci_side *b, size_t n_top, double *change,
                                 xcoder_error *err) {
  double sum = 0;
  size_t count = 0;
  xcoder_status status = XCODER_OK;
  for (size_t t = 0; !status && t < a->n_tasks; t++) {
    const xci_task_effects *other = xci_side_task(b, a->task[t].task);
    for (size_t c = 0; !status && other && c < a->n; c++) {
      xci_likeness likeness;
      status = xci_likeness_measure(&a->task[t], other, a->n, c, n_top, 0, 0, &likeness, err);
      if (status || isnan(likeness.change)) continue;
      sum += likeness.change;
      count++;
    }
  }
  *change = count ? sum / (double)count : NAN;
  return status;
}

xcoder_status xcoder_attribution_change(const xcoder *coder, const char *run, const char *other, size_t n_top,
                                        double *change, xcoder_error *err) {
  xci_side a = {0}, b = {0};
  *change = NAN;
  xcoder_status status = xci_side_read_effects(coder, run, &a, err);
  if (!status) status = xci_side_read_effects(coder, other, &b, err);
  if (!status) status = mean_change(&a, &b, n_top, change, err);
  xci_side_close(&a);
  xci_side_close(&b);
  return status;
}

static void add_row(const char *task, double share, double tokens, const char *label, const xci_likeness *a,
                    xci_text *csv) {
  xci_text_csv(csv, task, strlen(task));
  xci_text_add(csv, ",");
  xci_text_number(csv, share);
  xci_text_add(csv, ",");
  xci_text_number(csv, tokens);
  xci_text_add(csv, ",");
  xci_text_csv(csv, label, strlen(label));
  xci_text_format(csv, ",%zu,%zu", a->n_top, a->n_rel_ie);
  xci_estimate_csv(csv, a->rel_ie_spearman);
  xci_estimate_csv(csv, a->difference);
  xci_text_format(csv, ",%zu", a->n_classes);
  xci_estimate_csv(csv, a->same_class);
  xci_text_format(csv, ",%zu", a->n_again);
  xci_estimate_csv(csv, a->again);
  xci_estimate_csv(csv, a->ie_spearman);
  xci_text_add(csv, "\n");
}

static void add_object(const char *label, const xci_likeness *a, xci_json_out *json) {
  xci_json_line(json);
  xci_json_open(json, NULL, '{');
  xci_json_text(json, "label", label);
  xci_json_count(json, "n_top", a->n_top);
  xci_json_count(json, "n_rel_ie", a->n_rel_ie);
  xci_estimate_json(json, "rel_ie_spearman", a->rel_ie_spearman);
  xci_estimate_json(json, "rel_ie_difference", a->difference);
  xci_json_count(json, "n_classes", a->n_classes);
  xci_estimate_json(json, "class_agreement", a->same_class);
  xci_json_count(json, "n_again", a->n_again);
  xci_estimate_json(json, "share_again", a->again);
  xci_estimate_json(json, "ie_spearman", a->ie_spearman);
  xci_json_number(json, "change", a->change);
  xci_json_close(json, '}');
}

static xcoder_status compare_snapshot(const xci_side *final, const xci_side *snapshot, double share,
                                      const xcoder_convergence_options *options, xci_text *csv, xci_json_out *json,
                                      xcoder_error *err) {
  xcoder_status status = XCODER_OK;
  xci_json_open(json, "tasks", '[');
  for (size_t t = 0; !status && t < final->n_tasks; t++) {
    const xci_task_effects *reference = &final->task[t], *other = xci_side_task(snapshot, reference->task);
    if (!other) continue;
    xci_json_line(json);
    xci_json_open(json, NULL, '{');
    xci_json_text(json, "task", reference->task);
    xci_json_open(json, "checkpoints", '[');
    for (size_t c = 0; !status && c < final->n; c++) {
      xci_likeness likeness;
      status = xci_likeness_measure(reference, other, final->n, c, options->n_top, options->bootstrap, options->seed,
                                     &likeness, err);
      if (status) break;
      add_row(reference->task, share, share * options->n_tokens, final->labels[c], &likeness, csv);
      add_object(final->labels[c], &likeness, json);
    }
    xci_json_close(json, ']');
    xci_json_close(json, '}');
  }
  xci_json_close(json, ']');
  return status;
}

/* One snapshot against the run, and against the snapshot before it. */
static xcoder_status add_snapshot(const xcoder *coder, const char *run, const xci_side *final, double share,
                                  const xcoder_convergence_options *options, xci_side *before, xci_text *csv,
                                  xci_json_out *json, xcoder_error *err) {
  char *folder = NULL;
  xci_side side = {0};
  double change = NAN, from_before = NAN;
  xcoder_status status = xcoder_snapshot_folder(run, share, &folder, err);
  if (!status && !xci_exists(folder)) { /* the training was ended before it */
    xci_free(folder);
    return XCODER_OK;
  }
  if (!status) status = xci_side_read_effects(coder, folder, &side, err);
  if (!status) status = mean_change(final, &side, options->n_top, &change, err);
  if (!status && before->n_tasks) status = mean_change(&side, before, options->n_top, &from_before, err);
  if (!status) {
    xci_json_line(json);
    xci_json_open(json, NULL, '{');
    xci_json_number(json, "share", share);
    xci_json_number(json, "tokens", share * options->n_tokens);
    xci_json_number(json, "change_to_final", change);
    xci_json_number(json, "change_from_before", from_before);
    status = compare_snapshot(final, &side, share, options, csv, json, err);
    xci_json_close(json, '}');
  }
  xci_free(folder);
  xci_side_close(before);
  *before = side;
  return status;
}

static const char header[] =
    "task,share,tokens,checkpoint,n_top,n_rel_ie,rel_ie_spearman,rel_ie_spearman_low,rel_ie_spearman_high,"
    "rel_ie_difference,rel_ie_difference_low,rel_ie_difference_high,n_classes,class_agreement,class_agreement_low,"
    "class_agreement_high,n_again,share_again,share_again_low,share_again_high,ie_spearman,ie_spearman_low,"
    "ie_spearman_high\n";

xcoder_status xcoder_write_convergence(const xcoder *coder, const char *run, const double *shares, size_t n_shares,
                                       const xcoder_convergence_options *options, xcoder_error *err) {
  xci_side final = {0}, before = {0};
  xci_text csv = {0};
  xci_json_out json = {0};
  char *csv_path = NULL, *json_path = NULL;
  xcoder_status status = xci_side_read_effects(coder, run, &final, err);
  if (!status && final.n_tasks == 0)
    status = xci_fail(err, XCODER_MISSING, "%s: no effects there (run attribute first)", run);
  if (!status) status = xci_join_path(run, "convergence.csv", &csv_path, err);
  if (!status) status = xci_join_path(run, "convergence.json", &json_path, err);
  xci_text_add(&csv, header);
  xci_json_open(&json, NULL, '{');
  xci_json_count(&json, "format", 1);
  xci_json_count(&json, "n_top", options->n_top);
  xci_json_number(&json, "stopped", options->stopped);
  xci_json_number(&json, "tolerance", options->tolerance);
  xci_json_open(&json, "snapshots", '[');
  for (size_t i = 0; !status && i < n_shares; i++)
    status = add_snapshot(coder, run, &final, shares[i], options, &before, &csv, &json, err);
  xci_json_close(&json, ']');
  xci_json_close(&json, '}');
  if (!status) status = xci_write_text(csv_path, &csv, err);
  if (!status) status = xci_write_text(json_path, &json.text, err);
  xci_text_clear(&csv);
  xci_text_clear(&json.text);
  xci_side_close(&final);
  xci_side_close(&before);
  xci_free(csv_path);
  xci_free(json_path);
  return status;
}
