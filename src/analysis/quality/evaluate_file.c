/* SPDX-License-Identifier: Apache-2.0 */
/* eval.json, eval.csv and the verdicts on the quality of a crosscoder. */
#include "analysis/quality/evaluate.h"

#include "analysis/features/histogram.h"
#include "analysis/statistics.h"
#include "analysis/quality/verdict.h"
#include "base/memory.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- Verdicts ---- */

static xcoder_status judge_dead(const xci_bench *bench, const xci_evaluation *e, xcoder_verdicts *v,
                                xcoder_error *err) {
  const double share = (double)e->n_dead / (double)bench->n_latents;
  char value[128], percent[32], limit[64], limit_percent[32];
  snprintf(value, sizeof value, "%llu of %zu (%s %%) in %llu tokens", (unsigned long long)e->n_dead, bench->n_latents,
           xci_fixed(percent, 100 * share, 1), (unsigned long long)e->n_tokens);
  snprintf(limit, sizeof limit, "<= %s %%", xci_fixed(limit_percent, 100 * XCI_LIMIT_DEAD, 1));
  return xci_verdict_add(v, share <= XCI_LIMIT_DEAD, "evaluate on more tokens; if they stay dead, train longer, lower "
                         "lambda or use fewer latents", value, limit, err, "dead features");
}

static xcoder_status judge_losses(const xci_bench *bench, const xci_evaluation *e, xcoder_verdicts *v,
                                  xcoder_error *err) {
  xcoder_status status = XCODER_OK;
  for (size_t c = 0; !status && c < bench->n; c++) {
    const double delta = e->loss[c].spliced - e->loss[c].clean, recovered = xci_recovered(&e->loss[c]);
    char value[32], limit[40], number[32];
    snprintf(limit, sizeof limit, "< %s", xci_fixed(number, XCI_LIMIT_DELTA_CE, 1));
    status = xci_verdict_add(v, delta < XCI_LIMIT_DELTA_CE, "train longer, lower lambda, or use more latents",
                             xci_fixed(value, delta, 3), limit, err, "dCE %s", bench->info->labels[c]);
    if (status || isnan(recovered)) continue;
    snprintf(limit, sizeof limit, ">= %s", xci_fixed(number, XCI_LIMIT_RECOVERED, 1));
    status = xci_verdict_add(v, recovered >= XCI_LIMIT_RECOVERED, "train longer, lower lambda, or use more latents",
                             xci_fixed(value, recovered, 3), limit, err, "CE recovered %s", bench->info->labels[c]);
  }
  return status;
}

/* A spliced accuracy is compared only where the model does better than chance: otherwise there is nothing to keep. */
static xcoder_status judge_task(const xci_bench *bench, const xci_task_quality *task, xcoder_verdicts *v,
                                xcoder_error *err) {
  const char *name = xcoder_pairs_name(task->pairs);
  xcoder_status status = XCODER_OK;
  for (size_t c = 0; !status && c < bench->n; c++) {
    const xcoder_accuracy *clean = &task->clean[c], *spliced = &task->spliced[c];
    const bool at_chance = clean->low <= 0.5 && clean->high >= 0.5;
    char value[128], limit[64], a[32], b[32], d[32];
    snprintf(value, sizeof value, "%s [%s, %s]", xci_fixed(a, clean->accuracy, 3), xci_fixed(b, clean->low, 3),
             xci_fixed(d, clean->high, 3));
    status = xci_verdict_add(v, !at_chance, "this checkpoint has not learned the task: read its effects there as noise",
                             value, "interval without 0.5", err, "chance %s %s", bench->info->labels[c], name);
    if (status || clean->low <= 0.5) continue;
    snprintf(value, sizeof value, "%s (clean %s)", xci_fixed(a, spliced->accuracy, 3),
             xci_fixed(b, clean->accuracy, 3));
    snprintf(limit, sizeof limit, ">= %s", xci_fixed(a, XCI_LIMIT_SPLICED_ACCURACY * clean->accuracy, 3));
    status = xci_verdict_add(v, spliced->accuracy >= XCI_LIMIT_SPLICED_ACCURACY * clean->accuracy,
                             "the crosscoder loses the task: train longer, lower lambda, use more latents, or add text "
                             "like the task to the corpus",
                             value, limit, err, "spliced %s %s", bench->info->labels[c], name);
  }
  return status;
}

static xcoder_status judge(const xci_bench *bench, const xci_evaluation *e, xcoder_verdicts *v, xcoder_error *err) {
  const double pooled = xci_ev_pooled_joint(e, bench->n);
  char value[32], limit[40], number[32];
  xcoder_status status = judge_dead(bench, e, v, err);
  if (!status) status = judge_losses(bench, e, v, err);
  if (!status) {
    snprintf(limit, sizeof limit, ">= %s", xci_fixed(number, XCI_LIMIT_EV, 1));
    status = xci_verdict_add(v, pooled >= XCI_LIMIT_EV, "train longer, lower lambda, or use more latents",
                             xci_fixed(value, pooled, 3), limit, err, "explained variance (pooled)");
  }
  for (size_t t = 0; !status && t < e->n_tasks; t++) status = judge_task(bench, &e->task[t], v, err);
  return status;
}

/* ---- Files ---- */

static void write_spread(xci_json_out *out, const char *key, double value, const double *batch, size_t n_batches) {
  double mean, sd;
  xci_mean_sd(batch, n_batches, &mean, &sd);
  xci_json_line(out);
  xci_json_open(out, key, '{');
  xci_json_number(out, "mean", value);
  xci_json_number(out, "sd", sd);
}

static void write_head(xci_json_out *out, const xci_bench *bench, const xci_evaluation *e) {
  uint64_t counts[XCI_DENSITY_BINS] = {0};
  xci_json_count(out, "format", 1);
  xci_json_integer(out, "layer", bench->info->layer);
  xci_json_texts(out, "labels", bench->info->labels, bench->n);
  if (bench->setting->tokens_seen) xci_json_numbers(out, "tokens_seen", bench->setting->tokens_seen, bench->n);
  else xci_json_number(out, "tokens_seen", NAN);
  xci_json_line(out);
  xci_json_count(out, "n_features", bench->n_latents);
  xci_json_count(out, "n_tokens", e->n_tokens);
  xci_json_count(out, "n_batches", e->n_batches);
  xci_json_count(out, "batch_sequences", e->batch_sequences);
  write_spread(out, "l0", e->l0_sum / (double)e->n_tokens, e->l0, e->n_batches);
  xci_json_close(out, '}');
  xci_json_line(out);
  xci_json_open(out, "dead", '{');
  xci_json_count(out, "count", e->n_dead);
  xci_json_number(out, "share", (double)e->n_dead / (double)bench->n_latents);
  xci_json_count(out, "tokens", e->n_tokens);
  xci_json_close(out, '}');
  for (size_t i = 0; i < bench->n_latents; i++)
    if (e->fired[i]) counts[xci_density_bin(e->fired[i], e->n_tokens)]++;
  xci_json_line(out);
  xci_json_open(out, "density_histogram", '{');
  xci_json_open(out, "log10_edges", '[');
  for (size_t i = 0; i <= XCI_DENSITY_BINS; i++) xci_json_number(out, NULL, xci_density_edge(i));
  xci_json_close(out, ']');
  xci_json_open(out, "counts", '[');
  for (size_t i = 0; i < XCI_DENSITY_BINS; i++) xci_json_count(out, NULL, counts[i]);
  xci_json_close(out, ']');
  xci_json_close(out, '}');
}

static void write_variances(xci_json_out *out, const xci_bench *bench, const xci_evaluation *e) {
  double each[XCODER_MAX_CHECKPOINTS];
  for (size_t c = 0; c < bench->n; c++) each[c] = xci_ev_pooled(e, c);
  write_spread(out, "ev_pooled", xci_ev_pooled_joint(e, bench->n), e->ev_pooled_batch, e->n_batches);
  xci_json_numbers(out, "per_checkpoint", each, bench->n);
  xci_json_close(out, '}');
  for (size_t c = 0; c < bench->n; c++) each[c] = xci_ev_mean(e, c);
  write_spread(out, "ev_mean", e->ratio_joint / e->n_ratio_joint, e->ev_mean_batch, e->n_batches);
  xci_json_numbers(out, "per_checkpoint", each, bench->n);
  xci_json_close(out, '}');
}

static void write_losses(xci_json_out *out, const xci_bench *bench, const xci_evaluation *e) {
  xci_json_line(out);
  xci_json_open(out, "cross_entropy", '[');
  for (size_t c = 0; c < bench->n; c++) {
    const xci_loss *loss = &e->loss[c];
    xci_json_line(out);
    xci_json_open(out, NULL, '{');
    xci_json_text(out, "label", bench->info->labels[c]);
    xci_json_number(out, "clean", loss->clean);
    xci_json_number(out, "spliced", loss->spliced);
    xci_json_number(out, "blanked", loss->blanked);
    xci_json_number(out, "delta", loss->spliced - loss->clean);
    xci_json_number(out, "recovered", xci_recovered(loss));
    xci_json_close(out, '}');
  }
  xci_json_close(out, ']');
}

static void write_tasks(xci_json_out *out, const xci_bench *bench, const xci_evaluation *e) {
  xci_json_line(out);
  xci_json_open(out, "tasks", '[');
  for (size_t t = 0; t < e->n_tasks; t++) {
    const xci_task_quality *task = &e->task[t];
    xci_json_line(out);
    xci_json_open(out, NULL, '{');
    xci_json_text(out, "task", xcoder_pairs_name(task->pairs));
    xci_json_count(out, "n", xcoder_pairs_count(task->pairs));
    xci_json_open(out, "checkpoints", '[');
    for (size_t c = 0; c < bench->n; c++) {
      xci_json_open(out, NULL, '{');
      xci_json_text(out, "label", bench->info->labels[c]);
      xci_json_number(out, "accuracy_clean", task->clean[c].accuracy);
      xci_json_number(out, "accuracy_low", task->clean[c].low);
      xci_json_number(out, "accuracy_high", task->clean[c].high);
      xci_json_number(out, "accuracy_spliced", task->spliced[c].accuracy);
      xci_json_number(out, "logit_difference_clean", task->clean[c].mean_log_prob_difference);
      xci_json_number(out, "logit_difference_spliced", task->spliced[c].mean_log_prob_difference);
      xci_json_close(out, '}');
    }
    xci_json_close(out, ']');
    xci_json_close(out, '}');
  }
  xci_json_close(out, ']');
}

static void write_table(xci_text *text, const xci_bench *bench, const xci_evaluation *e) {
  xci_text_add(text, "checkpoint,ev_pooled,ev_mean,ce_clean,ce_spliced,ce_blanked,delta_ce,ce_recovered\n");
  for (size_t c = 0; c < bench->n; c++) {
    const xci_loss *loss = &e->loss[c];
    const double value[] = {xci_ev_pooled(e, c), xci_ev_mean(e, c), loss->clean, loss->spliced, loss->blanked,
                            loss->spliced - loss->clean, xci_recovered(loss)};
    xci_text_csv(text, bench->info->labels[c], strlen(bench->info->labels[c]));
    for (size_t i = 0; i < sizeof value / sizeof *value; i++) {
      xci_text_add(text, ",");
      if (!isnan(value[i])) xci_text_number(text, value[i]);
    }
    xci_text_add(text, "\n");
  }
}

xcoder_status xci_evaluation_write(const xci_bench *bench, const xci_evaluation *e, const char *run_directory,
                                   xcoder_verdicts *verdicts, xcoder_error *err) {
  xci_json_out out = {0};
  xci_text table = {0};
  char *json_path = NULL, *csv_path = NULL;
  xcoder_status status = judge(bench, e, verdicts, err);
  if (!status) status = xci_run_path(run_directory, NULL, "eval", ".json", &json_path, err);
  if (!status) status = xci_run_path(run_directory, NULL, "eval", ".csv", &csv_path, err);
  if (!status) {
    xci_json_open(&out, NULL, '{');
    write_head(&out, bench, e);
    write_variances(&out, bench, e);
    write_losses(&out, bench, e);
    write_tasks(&out, bench, e);
    xci_verdicts_write(&out, verdicts);
    xci_json_close(&out, '}');
    write_table(&table, bench, e);
    status = xci_write_text(csv_path, &table, err);
  }
  if (!status) status = xci_write_text(json_path, &out.text, err);
  xci_text_clear(&out.text);
  xci_text_clear(&table);
  xci_free(json_path);
  xci_free(csv_path);
  return status;
}
