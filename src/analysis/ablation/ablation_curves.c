/* SPDX-License-Identifier: Apache-2.0 */
/* Faithfulness and completeness of the k strongest features of each checkpoint: ablation/TASK.curves.csv.
 *
 * With m the mean difference of log-probability, M nothing ablated, {} all features ablated, C_k the k features with
 * the largest |IE| at the checkpoint:
 *   faithfulness(k) = (m(C_k kept) - m({})) / (m(M) - m({}))
 *   completeness(k) = (m(C_k ablated) - m({})) / (m(M) - m({}))
 * The reconstruction error stays everywhere. Source: Marks et al. 2024, arXiv 2403.19647, section 4. */
#include "analysis/ablation/ablation.h"
#include "analysis/quality/accuracy.h"
#include "analysis/attribution/effects_in.h"
#include "analysis/attribution/relative_effect.h"
#include "analysis/statistics.h"
#include "analysis/json_out.h"
#include "base/file.h"
#include "base/memory.h"
#include <math.h>
#include <string.h>

enum { MAX_POINTS = 24 };

/* Features of one checkpoint in order of |IE|. */
static xcoder_status rank_features(const xci_bench *bench, const xci_csv *csv, const char *path, size_t checkpoint,
                                   uint32_t *ranked, xcoder_error *err) {
  const char *label = bench->info->labels[checkpoint];
  const size_t names = xci_csv_column(csv, "feature");
  xci_text name = {0};
  uint32_t *feature = NULL;
  double *size = NULL;
  size_t *order = NULL;
  xci_text_format(&name, "ie_%s", label);
  xcoder_status status = xci_text_status(&name, err);
  const size_t column = status ? SIZE_MAX : xci_csv_column(csv, name.bytes);
  xci_text_clear(&name);
  if (!status && (names == SIZE_MAX || column == SIZE_MAX))
    status = xci_fail(err, XCODER_MISMATCH, "%s: no effects of checkpoint %s, expected those of this crosscoder", path,
                      label);
  if (!status) status = XCI_ALLOC(&feature, csv->n_rows, err);
  if (!status) status = XCI_ALLOC(&size, csv->n_rows, err);
  if (!status) status = XCI_ALLOC(&order, csv->n_rows, err);
  for (size_t r = 0; !status && r < csv->n_rows; r++) {
    const double effect = xci_csv_number(csv, r, column);
    status = xci_csv_feature(csv, path, r, names, &feature[r], err);
    size[r] = isnan(effect) ? 0 : fabs(effect);
    if (!status && feature[r] >= bench->n_latents)
      status = xci_fail(err, XCODER_MISMATCH, "%s: line %zu: feature %u, the crosscoder has features 0 to %zu", path,
                        r + 2, feature[r], bench->n_latents - 1);
  }
  if (!status) status = xci_order_descending(size, csv->n_rows, order, err);
  for (size_t r = 0; !status && r < csv->n_rows; r++) ranked[r] = feature[order[r]];
  xci_free(feature);
  xci_free(size);
  xci_free(order);
  return status;
}

/* 0, 1, 2, 5, 10, 20, 50, ... and all. */
static xcoder_status choose_points(xci_curves *curves, xcoder_error *err) {
  static const size_t steps[] = {1, 2, 5};
  const xcoder_status status = XCI_ALLOC(&curves->k, MAX_POINTS, err);
  if (status) return status;
  curves->k[curves->n_points++] = 0;
  size_t power = 1;
  for (size_t k = 0; curves->n_points + 1 < MAX_POINTS; k++) {
    const size_t value = steps[k % 3] * power;
    if (value >= curves->n_ranked) break;
    curves->k[curves->n_points++] = value;
    if (k % 3 == 2) power *= 10;
  }
  curves->k[curves->n_points++] = curves->n_ranked;
  return XCODER_OK;
}

static xcoder_status list_sets(const xci_bench *bench, xci_curves *curves, xcoder_error *err) {
  curves->n_sets = bench->n * curves->n_points * 2;
  const xcoder_status status = XCI_ALLOC(&curves->sets, curves->n_sets, err);
  for (size_t k = 0; !status && k < curves->n_sets; k++) {
    const size_t c = k / (2 * curves->n_points), point = k / 2 % curves->n_points;
    curves->sets[k] = (xci_ablated_set){curves->ranked + c * curves->n_ranked, curves->k[point], k % 2 == 0, (long)c};
  }
  return status;
}

xcoder_status xci_curves_open(const xci_bench *bench, const char *effects_path, xci_curves *curves, xcoder_error *err) {
  xci_csv csv;
  *curves = (xci_curves){0};
  if (!xci_exists(effects_path)) return XCODER_OK;
  xcoder_status status = xci_csv_open(effects_path, &csv, err);
  if (status) return status;
  curves->n_ranked = csv.n_rows;
  if (csv.n_rows > 0) {
    status = XCI_ALLOC(&curves->ranked, bench->n * csv.n_rows, err);
    for (size_t c = 0; !status && c < bench->n; c++)
      status = rank_features(bench, &csv, effects_path, c, curves->ranked + c * csv.n_rows, err);
    if (!status) status = choose_points(curves, err);
    if (!status) status = list_sets(bench, curves, err);
  }
  xci_csv_close(&csv);
  if (status) xci_curves_close(curves);
  return status;
}

void xci_curves_close(xci_curves *curves) {
  xci_free(curves->k);
  xci_free(curves->ranked);
  xci_free(curves->sets);
  *curves = (xci_curves){0};
}

/* Weighted mean of `x`, all weights 1 for `weight` NULL. */
static double mean_of(const double *x, const uint16_t *weight, size_t n_resamples, size_t r, size_t n) {
  double sum = 0, count = 0;
  for (size_t e = 0; e < n; e++) {
    const double w = weight ? (double)weight[e * n_resamples + r] : 1;
    sum += w * x[e];
    count += w;
  }
  return sum / count;
}

/* (m(set) - m({})) / (m(M) - m({})); NaN where nothing is lost without features. */
static double share_of(const double *set, const double *nothing, const double *clean, const uint16_t *weight,
                       size_t n_resamples, size_t r, size_t n) {
  const double floor = mean_of(nothing, weight, n_resamples, r, n);
  const double whole = mean_of(clean, weight, n_resamples, r, n) - floor;
  return whole == 0 ? NAN : (mean_of(set, weight, n_resamples, r, n) - floor) / whole;
}

typedef struct resampling {
  size_t n_resamples;
  uint16_t *weight; /* [n_pairs, n_resamples] */
  double *value;    /* [n_resamples] */
} resampling;

static void add_interval(const xci_ablation *a, const resampling *draws, const double *set, const double *nothing,
                         const double *clean, xci_text *text) {
  size_t n = 0;
  for (size_t r = 0; r < draws->n_resamples; r++) {
    const double share = share_of(set, nothing, clean, draws->weight, draws->n_resamples, r, a->n_pairs);
    if (!isnan(share)) draws->value[n++] = share + 0.0;
  }
  xci_sort_f64(draws->value, n);
  for (int side = 0; side < 2; side++) {
    xci_text_add(text, ",");
    if (n) xci_text_number(text, xci_quantile(draws->value, n, side ? 0.975 : 0.025));
  }
}

static void add_row(const xci_ablation *a, const xci_ablated_set *set, const double *values, const double *nothing,
                    const resampling *draws, xci_text *text) {
  const size_t c = (size_t)set->checkpoint;
  const double *clean = a->clean + c * a->n_pairs;
  const char *label = a->bench->info->labels[c];
  xcoder_accuracy found;
  xci_accuracy_of(values, NULL, a->n_pairs, &found);
  xci_text_csv(text, label, strlen(label));
  xci_text_format(text, ",%s,%zu,%zu,", set->keep ? "faithfulness" : "completeness", set->n_features, a->n_pairs);
  xci_text_number(text, found.accuracy);
  xci_text_add(text, ",");
  xci_text_number(text, found.mean_log_prob_difference);
  xci_text_add(text, ",");
  const double share = share_of(values, nothing, clean, NULL, 0, 0, a->n_pairs);
  if (!isnan(share)) xci_text_number(text, share + 0.0); /* no -0 */
  add_interval(a, draws, values, nothing, clean, text);
  xci_text_add(text, "\n");
}

xcoder_status xci_curves_write(const xci_ablation *a, size_t n_features, const xci_curves *curves,
                               const char *run_directory, xcoder_error *err) {
  const size_t n = a->bench->n, first_set = n_features + 1;
  resampling draws = {a->options.bootstrap, NULL, NULL};
  xci_text text = {0}, name = {0};
  char *path = NULL;
  if (curves->n_sets == 0) return XCODER_OK;
  xcoder_status status = XCI_ALLOC(&draws.weight, a->n_pairs * draws.n_resamples, err);
  if (!status) status = XCI_ALLOC(&draws.value, draws.n_resamples, err);
  if (!status) {
    xci_bootstrap_draw(a->options.seed, a->n_pairs, draws.n_resamples, draws.weight);
    xci_text_add(&text, "checkpoint,curve,k,n,accuracy,log_prob_difference,share,low,high\n");
  }
  for (size_t k = 0; !status && k < curves->n_sets; k++) {
    const size_t c = (size_t)curves->sets[k].checkpoint, nothing = first_set + c * 2 * curves->n_points;
    add_row(a, &curves->sets[k], a->ablated + ((first_set + k) * n + c) * a->n_pairs,
            a->ablated + (nothing * n + c) * a->n_pairs, &draws, &text);
  }
  xci_text_format(&name, "%s.curves", xcoder_pairs_name(a->task));
  if (!status) status = xci_text_status(&name, err);
  if (!status) status = xci_run_path(run_directory, "ablation", name.bytes, ".csv", &path, err);
  if (!status) status = xci_write_text(path, &text, err);
  xci_text_clear(&text);
  xci_text_clear(&name);
  xci_free(path);
  xci_free(draws.weight);
  xci_free(draws.value);
  return status;
}
