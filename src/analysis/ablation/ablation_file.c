/* SPDX-License-Identifier: Apache-2.0 */
/* ablation/TASK.csv and .json: changes by ablation beside RelIE and RelDec. */
#include "analysis/ablation/ablation.h"
#include "analysis/quality/accuracy.h"
#include "analysis/attribution/effects_in.h"
#include "analysis/attribution/relative_effect.h"
#include "analysis/statistics.h"
#include "analysis/quality/verdict.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/random.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { FEWEST_FEATURES = 8 }; /* a rank correlation of fewer says little */

typedef struct table { /* [n_features, n] each; NaN where undefined */
  size_t n_features;     /* single features, the first sets */
  double *change, *change_share, *ie, *rel_ie, *rel_dec;
} table;

/* PREFIX_LABEL (IE, RelIE) as attribution wrote it; a feature or a file that is not there leaves NaN. */
static xcoder_status read_effects(const xci_ablation *a, const char *path, const char *prefix, const table *t,
                                  double *out, xcoder_error *err) {
  const size_t n = a->bench->n;
  xci_csv csv;
  for (size_t i = 0; i < t->n_features * n; i++) out[i] = NAN;
  if (!xci_exists(path)) return XCODER_OK;
  xcoder_status status = xci_csv_open(path, &csv, err);
  if (status) return status;
  const size_t names = xci_csv_column(&csv, "feature");
  for (size_t c = 0; !status && c < n; c++) {
    xci_text name = {0};
    xci_text_format(&name, "%s_%s", prefix, a->bench->info->labels[c]);
    const size_t column = name.bytes ? xci_csv_column(&csv, name.bytes) : SIZE_MAX;
    status = xci_text_status(&name, err);
    xci_text_clear(&name);
    if (!status && (column == SIZE_MAX || names == SIZE_MAX))
      status = xci_fail(err, XCODER_MISMATCH, "%s: no %s of checkpoint %s, expected effects of this crosscoder",
                        path, prefix, a->bench->info->labels[c]);
    for (size_t r = 0; !status && r < csv.n_rows; r++) {
      uint32_t feature = 0;
      status = xci_csv_feature(&csv, path, r, names, &feature, err);
      for (size_t f = 0; !status && f < t->n_features; f++)
        if (*a->sets[f].features == feature) out[f * n + c] = xci_csv_number(&csv, r, column);
    }
  }
  xci_csv_close(&csv);
  return status;
}

static void table_close(table *t) {
  xci_free(t->change);
  xci_free(t->change_share);
  xci_free(t->ie);
  xci_free(t->rel_ie);
  xci_free(t->rel_dec);
}

static xcoder_status table_open(const xci_ablation *a, const char *effects_path, table *t, xcoder_error *err) {
  const size_t n = a->bench->n, count = t->n_features * n;
  double *norms = NULL;
  xcoder_status status = XCI_ALLOC(&t->change, count, err);
  if (!status) status = XCI_ALLOC(&t->change_share, count, err);
  if (!status) status = XCI_ALLOC(&t->ie, count, err);
  if (!status) status = XCI_ALLOC(&t->rel_ie, count, err);
  if (!status) status = XCI_ALLOC(&t->rel_dec, count, err);
  if (!status) status = xci_bench_norms(a->bench, &norms, err);
  if (!status) status = read_effects(a, effects_path, "rel_ie", t, t->rel_ie, err);
  if (!status) status = read_effects(a, effects_path, "ie", t, t->ie, err);
  for (size_t f = 0; !status && f < t->n_features; f++) {
    for (size_t c = 0; c < n; c++) {
      const double *clean = a->clean + c * a->n_pairs, *without = a->ablated + (f * n + c) * a->n_pairs;
      double sum = 0; /* of differences, so that a feature active nowhere changes exactly nothing */
      for (size_t k = 0; k < a->n_pairs; k++) sum += without[k] - clean[k];
      t->change[f * n + c] = sum / (double)a->n_pairs;
    }
    xci_relative(t->change + f * n, n, t->change_share + f * n);
    xci_relative(norms + *a->sets[f].features * n, n, t->rel_dec + f * n);
  }
  xci_free(norms);
  return status;
}

static void add_number(xci_text *text, double value) {
  xci_text_add(text, ",");
  if (!isnan(value)) xci_text_number(text, value);
}

static void write_table(xci_text *text, const xci_ablation *a, const table *t) {
  const size_t n = a->bench->n;
  xci_text_add(text, "feature,checkpoint,accuracy_clean,accuracy_ablated,log_prob_difference_clean,"
                     "log_prob_difference_ablated,change,change_share,rel_ie,rel_dec,ie\n");
  for (size_t f = 0; f < t->n_features; f++)
    for (size_t c = 0; c < n; c++) {
      const char *label = a->bench->info->labels[c];
      xcoder_accuracy clean, without;
      xci_accuracy_of(a->clean + c * a->n_pairs, NULL, a->n_pairs, &clean);
      xci_accuracy_of(a->ablated + (f * n + c) * a->n_pairs, NULL, a->n_pairs, &without);
      xci_text_format(text, "%u,", *a->sets[f].features);
      xci_text_csv(text, label, strlen(label));
      add_number(text, clean.accuracy);
      add_number(text, without.accuracy);
      add_number(text, clean.mean_log_prob_difference);
      add_number(text, without.mean_log_prob_difference);
      add_number(text, t->change[f * n + c]);
      add_number(text, t->change_share[f * n + c]);
      add_number(text, t->rel_ie[f * n + c]);
      add_number(text, t->rel_dec[f * n + c]);
      add_number(text, t->ie[f * n + c]);
      xci_text_add(text, "\n");
    }
}

typedef struct interval {
  double value, low, high;
} interval;

typedef struct agreement {
  size_t n;
  interval rel_ie, rel_dec;
  size_t n_exact;
  double pearson, spearman; /* of IE and the exact change of the same metric */
} agreement;

static double correlate_plain(const double *x, const double *y, size_t n) {
  double mean_x = 0, mean_y = 0, xx = 0, yy = 0, xy = 0;
  for (size_t k = 0; k < n; k++) {
    mean_x += x[k] / (double)n;
    mean_y += y[k] / (double)n;
  }
  for (size_t k = 0; k < n; k++) {
    xx += (x[k] - mean_x) * (x[k] - mean_x);
    yy += (y[k] - mean_y) * (y[k] - mean_y);
    xy += (x[k] - mean_x) * (y[k] - mean_y);
  }
  return xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : NAN;
}

/* IE estimates what logit(wrong) - logit(right) gains when the feature goes: the exact one is the loss in the
 * difference of log-probabilities, which has the same normaliser on both sides. */
static xcoder_status compare_exact(const xci_ablation *a, const table *t, size_t c, agreement *out, xcoder_error *err) {
  const size_t n = a->bench->n;
  double *x = NULL;
  out->pearson = out->spearman = NAN;
  xcoder_status status = XCI_ALLOC(&x, 2 * t->n_features, err);
  if (status) return status;
  double *y = x + t->n_features;
  for (size_t f = 0; f < t->n_features; f++) {
    if (isnan(t->ie[f * n + c])) continue;
    x[out->n_exact] = -t->change[f * n + c];
    y[out->n_exact++] = t->ie[f * n + c];
  }
  out->pearson = correlate_plain(x, y, out->n_exact);
  status = xci_spearman(x, y, out->n_exact, &out->spearman, err);
  xci_free(x);
  return status;
}

/* Spearman's correlation with the 95 % percentile interval of a bootstrap over the features. */
static xcoder_status correlate_resampled(const xci_ablation *a, const double *x, const double *y, size_t n,
                                         interval *out, xcoder_error *err) {
  double *work = NULL;
  size_t n_values = 0;
  const size_t n_resamples = (size_t)a->options.bootstrap;
  *out = (interval){NAN, NAN, NAN};
  xcoder_status status = xci_spearman(x, y, n, &out->value, err);
  if (!status) status = XCI_ALLOC(&work, 2 * n + n_resamples, err);
  double *x_drawn = work, *y_drawn = work ? work + n : NULL, *values = work ? work + 2 * n : NULL;
  for (size_t r = 0; !status && n > 1 && r < n_resamples; r++) {
    for (size_t k = 0; k < n; k++) {
      const size_t drawn = (size_t)xci_random_below(a->options.seed, XCI_STREAM_BOOTSTRAP, r * n + k, n);
      x_drawn[k] = x[drawn];
      y_drawn[k] = y[drawn];
    }
    status = xci_spearman(x_drawn, y_drawn, n, &values[n_values], err);
    if (!status && !isnan(values[n_values])) n_values++;
  }
  if (!status && n_values) {
    xci_sort_f64(values, n_values);
    out->low = xci_quantile(values, n_values, 0.025);
    out->high = xci_quantile(values, n_values, 0.975);
  }
  xci_free(work);
  return status;
}

/* Over the features where the change, RelIE and RelDec are all defined, so that both correlations see the same ones. */
static xcoder_status correlate(const xci_ablation *a, const table *t, size_t c, agreement *out, xcoder_error *err) {
  const size_t n = a->bench->n;
  double *x = NULL;
  *out = (agreement){.rel_ie = {NAN, NAN, NAN}, .rel_dec = {NAN, NAN, NAN}};
  xcoder_status status = XCI_ALLOC(&x, 3 * t->n_features, err);
  if (status) return status;
  double *y = x + t->n_features, *z = y + t->n_features;
  for (size_t f = 0; f < t->n_features; f++) {
    const size_t at = f * n + c;
    if (isnan(t->change_share[at]) || isnan(t->rel_ie[at]) || isnan(t->rel_dec[at])) continue;
    x[out->n] = t->change_share[at];
    y[out->n] = t->rel_ie[at];
    z[out->n++] = t->rel_dec[at];
  }
  status = correlate_resampled(a, x, y, out->n, &out->rel_ie, err);
  if (!status) status = correlate_resampled(a, x, z, out->n, &out->rel_dec, err);
  if (!status) status = compare_exact(a, t, c, out, err);
  xci_free(x);
  return status;
}

static xcoder_status judge(const xci_ablation *a, const agreement *each, xcoder_verdicts *v, xcoder_error *err) {
  xcoder_status status = XCODER_OK;
  char value[128], limit[64], x[32], y[32];
  snprintf(limit, sizeof limit, "rank correlation >= %s", xci_fixed(x, XCI_LIMIT_SPEARMAN, 1));
  for (size_t c = 0; !status && c < a->bench->n; c++) {
    if (each[c].n < FEWEST_FEATURES || isnan(each[c].rel_ie.value)) continue;
    snprintf(value, sizeof value, "%s (RelDec %s)", xci_fixed(x, each[c].rel_ie.value, 2),
             xci_fixed(y, each[c].rel_dec.value, 2));
    status = xci_verdict_add(v, each[c].rel_ie.value >= XCI_LIMIT_SPEARMAN,
                             "compare with more features; if it stays low, features act together or the path is too "
                             "coarse: see the completeness gap",
                             value, limit, err, "ablation agrees with RelIE %s", a->bench->info->labels[c]);
  }
  snprintf(limit, sizeof limit, "Pearson >= %s", xci_fixed(x, XCI_LIMIT_SPEARMAN, 1));
  for (size_t c = 0; !status && a->options.value == XCODER_ABLATE_ZERO && c < a->bench->n; c++) {
    if (each[c].n_exact < FEWEST_FEATURES || isnan(each[c].pearson)) continue;
    snprintf(value, sizeof value, "Pearson %s, Spearman %s of %zu features", xci_fixed(x, each[c].pearson, 2),
             xci_fixed(y, each[c].spearman, 2), each[c].n_exact);
    status = xci_verdict_add(v, each[c].pearson >= XCI_LIMIT_SPEARMAN,
                             "the effects share out the whole change along the path; where removing one feature is the "
                             "question, use the changes of this table, or --quadrature=gradient",
                             value, limit, err, "IE against exact patching %s", a->bench->info->labels[c]);
  }
  return status;
}

/* All the features of the table ablated together. */
static void write_joint(xci_json_out *out, const xci_ablation *a, const table *t) {
  const size_t n = a->bench->n;
  xci_json_line(out);
  xci_json_open(out, "joint", '[');
  for (size_t c = 0; c < n; c++) {
    xcoder_accuracy clean, without;
    xci_accuracy_of(a->clean + c * a->n_pairs, NULL, a->n_pairs, &clean);
    xci_accuracy_of(a->ablated + (t->n_features * n + c) * a->n_pairs, NULL, a->n_pairs, &without);
    xci_json_line(out);
    xci_json_open(out, NULL, '{');
    xci_json_text(out, "label", a->bench->info->labels[c]);
    xci_json_number(out, "accuracy_clean", clean.accuracy);
    xci_json_number(out, "accuracy_ablated", without.accuracy);
    xci_json_number(out, "log_prob_difference_clean", clean.mean_log_prob_difference);
    xci_json_number(out, "log_prob_difference_ablated", without.mean_log_prob_difference);
    xci_json_close(out, '}');
  }
  xci_json_close(out, ']');
}

static void write_summary(xci_json_out *out, const xci_ablation *a, const table *t, const agreement *each,
                          const xcoder_verdicts *verdicts) {
  static const char *const values[] = {"zero", "mean", "resample"};
  xci_json_open(out, NULL, '{');
  xci_json_count(out, "format", 1);
  xci_json_text(out, "task", xcoder_pairs_name(a->task));
  xci_json_texts(out, "labels", a->bench->info->labels, a->bench->n);
  xci_json_count(out, "n_examples", a->n_pairs);
  xci_json_count(out, "n_features", t->n_features);
  xci_json_text(out, "value", values[a->options.value]);
  xci_json_line(out);
  xci_json_open(out, "spearman", '[');
  for (size_t c = 0; c < a->bench->n; c++) {
    xci_json_line(out);
    xci_json_open(out, NULL, '{');
    xci_json_text(out, "label", a->bench->info->labels[c]);
    xci_json_number(out, "rel_ie", each[c].rel_ie.value);
    xci_json_number(out, "rel_ie_low", each[c].rel_ie.low);
    xci_json_number(out, "rel_ie_high", each[c].rel_ie.high);
    xci_json_number(out, "rel_dec", each[c].rel_dec.value);
    xci_json_number(out, "rel_dec_low", each[c].rel_dec.low);
    xci_json_number(out, "rel_dec_high", each[c].rel_dec.high);
    xci_json_count(out, "n", each[c].n);
    xci_json_number(out, "exact_pearson", each[c].pearson);
    xci_json_number(out, "exact_spearman", each[c].spearman);
    xci_json_count(out, "exact_n", each[c].n_exact);
    xci_json_close(out, '}');
  }
  xci_json_close(out, ']');
  write_joint(out, a, t);
  xci_verdicts_write(out, verdicts);
  xci_json_close(out, '}');
}

xcoder_status xci_ablation_write(const xci_ablation *a, size_t n_features, const char *run_directory,
                                 xcoder_verdicts *verdicts, xcoder_error *err) {
  const char *name = xcoder_pairs_name(a->task);
  agreement each[XCODER_MAX_CHECKPOINTS];
  table t = {.n_features = n_features};
  xci_text text = {0}, effects_path = {0};
  xci_json_out out = {0};
  char *csv_path = NULL, *json_path = NULL;
  xci_text_format(&effects_path, "%s/effects/%s.csv", run_directory, name);
  xcoder_status status = xci_text_status(&effects_path, err);
  if (!status) status = table_open(a, effects_path.bytes, &t, err);
  for (size_t c = 0; !status && c < a->bench->n; c++) status = correlate(a, &t, c, &each[c], err);
  if (!status) status = judge(a, each, verdicts, err);
  if (!status) status = xci_run_path(run_directory, "ablation", name, ".csv", &csv_path, err);
  if (!status) status = xci_run_path(run_directory, "ablation", name, ".json", &json_path, err);
  if (!status) {
    write_table(&text, a, &t);
    status = xci_write_text(csv_path, &text, err);
  }
  if (!status) {
    write_summary(&out, a, &t, each, verdicts);
    status = xci_write_text(json_path, &out.text, err);
  }
  table_close(&t);
  xci_text_clear(&text);
  xci_text_clear(&effects_path);
  xci_text_clear(&out.text);
  xci_free(csv_path);
  xci_free(json_path);
  return status;
}
