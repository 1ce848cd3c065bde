/* SPDX-License-Identifier: Apache-2.0 */
/* effects/TASK.csv and .json, and the verdicts on an attribution. */
#include "analysis/attribution/effect_table.h"
#include "analysis/attribution/quadrature.h"
#include "analysis/quality/verdict.h"
#include "base/memory.h"
#include <stdio.h>
#include <string.h>

/* ---- Table ---- */

static void add_columns(xci_text *text, const char *prefix, const xci_bench *bench) {
  for (size_t c = 0; c < bench->n; c++) {
    xci_text name = {0};
    xci_text_format(&name, "%s_%s", prefix, bench->info->labels[c]);
    xci_text_add(text, ",");
    if (name.bytes) xci_text_csv(text, name.bytes, name.n_bytes);
    if (name.failed) text->failed = true;
    xci_text_clear(&name);
  }
}

static void add_numbers(xci_text *text, const double *value, size_t n, bool shown) {
  for (size_t c = 0; c < n; c++) {
    xci_text_add(text, ",");
    if (shown) xci_text_number(text, value[c]);
  }
}

static void add_class(xci_text *text, xci_class class, const xci_bench *bench) {
  xci_text name = {0};
  xci_class_text(class, bench->info->labels, bench->n, &name);
  xci_text_add(text, ",");
  if (name.bytes) xci_text_csv(text, name.bytes, name.n_bytes);
  if (name.failed) text->failed = true;
  xci_text_clear(&name);
}

static void write_table(xci_text *text, const xci_bench *bench, const xci_effect_row *rows, size_t n_rows) {
  const size_t n = bench->n;
  xci_text_add(text, "feature");
  add_columns(text, "ie", bench);
  xci_text_add(text, ",abs_share");
  add_columns(text, "rel_ie", bench);
  add_columns(text, "rel_ie_low", bench);
  add_columns(text, "rel_ie_high", bench);
  add_columns(text, "rel_dec", bench);
  add_columns(text, "norm_rel_ie", bench);
  xci_text_add(text, ",class,class_authors,class_norm,evolution,n_active\n");
  for (size_t r = 0; r < n_rows; r++) {
    const xci_effect_row *row = &rows[r];
    const double share = rows[0].largest > 0 ? row->largest / rows[0].largest : 0;
    xci_text_format(text, "%u", row->feature);
    add_numbers(text, row->ie, n, true);
    add_numbers(text, &share, 1, true);
    add_numbers(text, row->rel_ie, n, row->defined);
    add_numbers(text, row->low, n, row->has_interval);
    add_numbers(text, row->high, n, row->has_interval);
    add_numbers(text, row->rel_dec, n, row->rel_dec[0] == row->rel_dec[0]);
    add_numbers(text, row->norm_rel_ie, n, row->defined);
    add_class(text, row->class, bench);
    add_class(text, row->class_authors, bench);
    add_class(text, row->class_norm, bench);
    xci_text_format(text, ",%s,%u\n", xci_evolution(row->class, n), row->n_active);
  }
}

/* ---- Verdicts and summary ---- */

static xcoder_status judge(const xci_bench *bench, const xci_path *path, const xci_effects_summary *all,
                           xcoder_verdicts *v, xcoder_error *err) {
  const char *remedy = path->tolerance > 0
                           ? "the most steps do not close it: use --quadrature=gauss, or --baseline=mean"
                           : "use --quadrature=gauss and --steps=auto";
  xcoder_status status = XCODER_OK;
  for (size_t c = 0; !status && c < bench->n; c++) {
    const xci_effects_summary *sum = &all[c];
    char number[32], other[32], value[128], limit[64];
    snprintf(value, sizeof value, "%s %% (of means %s %%)", xci_fixed(number, 100 * sum->gap_examples_share, 2),
             xci_fixed(other, 100 * sum->gap_share, 2));
    snprintf(limit, sizeof limit, "<= %s %%", xci_fixed(number, 100 * XCI_LIMIT_GAP, 0));
    status = xci_verdict_add(v, sum->gap_examples_share <= XCI_LIMIT_GAP, remedy, value, limit, err,
                             "completeness gap %s", bench->info->labels[c]);
    if (status) break;
    snprintf(value, sizeof value, "%s %%", xci_fixed(number, 100 * sum->error_share, 1));
    snprintf(limit, sizeof limit, "<= %s %%", xci_fixed(number, 100 * XCI_LIMIT_ERROR_NODE, 0));
    status = xci_verdict_add(v, sum->error_share <= XCI_LIMIT_ERROR_NODE,
                             "much of the effect is outside the features: see the explained variance, train longer or "
                             "with more latents",
                             value, limit, err, "share of error node %s", bench->info->labels[c]);
  }
  return status;
}

static void write_borders(xci_json_out *out, const xcoder_attribute_options *options) {
  const xci_borders borders = xci_borders_complete((xci_borders){options->specific_border, options->shared_border});
  xci_json_number(out, "specific_border", borders.specific);
  xci_json_number(out, "shared_border", borders.shared);
}

static void write_summary(xci_json_out *out, const xci_bench *bench, const xci_path *path, const char *name,
                          const xci_effects *e, const xci_effects_summary *all, size_t n_features,
                          const xcoder_attribute_options *options, const xcoder_verdicts *verdicts) {
  xci_json_open(out, NULL, '{');
  xci_json_count(out, "format", 1);
  xci_json_text(out, "task", name);
  xci_json_texts(out, "labels", bench->info->labels, bench->n);
  xci_json_count(out, "n_examples", e->n_examples);
  xci_json_count(out, "n_features", n_features);
  xci_json_text(out, "quadrature", xci_quadrature_name(path->rule));
  xci_json_count(out, "steps", path->n_steps);
  xci_json_number(out, "tolerance", path->tolerance);
  xci_json_text(out, "baseline", xci_baseline_name(path->baseline));
  xci_json_text(out, "conventions", e->authors ? "authors" : "ours");
  if (path->baseline == XCODER_MEAN) xci_json_text(out, "mean_over", "unmasked positions of this task's prompts");
  xci_json_line(out);
  xci_json_open(out, "checkpoints", '[');
  for (size_t c = 0; c < bench->n; c++) {
    const xci_effects_summary *sum = &all[c];
    xci_json_line(out);
    xci_json_open(out, NULL, '{');
    xci_json_text(out, "label", bench->info->labels[c]);
    xci_json_number(out, "metric_clean", sum->metric_clean);
    xci_json_number(out, "metric_baseline", sum->metric_baseline);
    xci_json_number(out, "sum_effects", sum->sum_effects);
    xci_json_number(out, "error_effect", sum->error_effect);
    xci_json_number(out, "bias_effect", sum->bias_effect);
    xci_json_number(out, "gap", sum->gap);
    xci_json_number(out, "gap_share", sum->gap_share);
    xci_json_number(out, "gap_examples", sum->gap_examples);
    xci_json_number(out, "gap_examples_share", sum->gap_examples_share);
    xci_json_number(out, "error_share", sum->error_share);
    xci_json_close(out, '}');
  }
  xci_json_close(out, ']');
  xci_json_line(out);
  xci_json_text(out, "rel_dec_space", "unfolded");
  write_borders(out, options);
  xci_verdicts_write(out, verdicts);
  xci_json_close(out, '}');
}

xcoder_status xci_effects_write(const xci_bench *bench, const xci_path *path, const char *name,
                                const xci_effects *e, const xcoder_attribute_options *options,
                                const char *run_directory, xcoder_verdicts *verdicts, xcoder_error *err) {
  xci_effects_summary all[XCODER_MAX_CHECKPOINTS];
  xci_effect_row *rows = NULL;
  size_t n_rows = 0;
  xci_text table = {0};
  xci_json_out out = {0};
  char *csv_path = NULL, *json_path = NULL;
  for (size_t c = 0; c < bench->n; c++) xci_effects_summarise(e, c, &all[c]);
  xcoder_status status = xci_effect_rows(bench, e, options, &rows, &n_rows, err);
  if (!status) status = judge(bench, path, all, verdicts, err);
  if (!status) status = xci_run_path(run_directory, "effects", name, ".csv", &csv_path, err);
  if (!status) status = xci_run_path(run_directory, "effects", name, ".json", &json_path, err);
  if (!status) {
    write_table(&table, bench, rows, n_rows);
    status = xci_write_text(csv_path, &table, err);
  }
  if (!status) {
    write_summary(&out, bench, path, name, e, all, n_rows, options, verdicts);
    status = xci_write_text(json_path, &out.text, err);
  }
  xci_free(rows);
  xci_text_clear(&table);
  xci_text_clear(&out.text);
  xci_free(csv_path);
  xci_free(json_path);
  return status;
}
