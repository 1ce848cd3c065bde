/* SPDX-License-Identifier: Apache-2.0 */
/* crosscoder import, crosscoder export: crosscoders of other programs, with a comparison after each conversion. */
#include "setting.h"
#include "text.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static xcoder_status read_scales(const cli_value *value, float *scales, xcoder_error *err) {
  if (value->n_items > XCODER_MAX_CHECKPOINTS)
    return cli_fail(err, XCODER_USAGE, "--scales: %zu were found, expected at most %d", value->n_items,
                    XCODER_MAX_CHECKPOINTS);
  for (size_t i = 0; i < value->n_items; i++) {
    char *end;
    errno = 0;
    scales[i] = strtof(value->items[i], &end);
    if (end == value->items[i] || *end || errno || !isfinite(scales[i]) || scales[i] <= 0)
      return cli_fail(err, XCODER_USAGE, "--scales: '%s' was found, expected positive numbers", value->items[i]);
  }
  return XCODER_OK;
}

/* PATH or, on standard output as JSON, all of it. */
static void print_report(const cli_call *call, const xcoder *coder, const xcoder_exchange_report *report,
                         const char *out) {
  const xcoder_info *info = xcoder_describe(coder);
  bool same = report->n_different == 0;
  if (cli_flag(&call->values, OPT_JSON)) {
    json_t *object = json_pack("{s:s,s:s,s:b,s:b,s:i,s:i,s:i,s:i,s:i,s:f,s:s}", "path", out, "form",
                               xcoder_form_name(report->form), "folded", report->folded, "crosscoder_folded",
                               info->folded, "checkpoints", (int)info->n_checkpoints, "width", (int)info->d_model,
                               "features", (int)info->n_latents, "values_compared", (int)report->n_values,
                               "values_different", (int)report->n_different, "largest_difference",
                               report->largest_difference, "notes", report->notes);
    char *text = object ? json_dumps(object, JSON_REAL_PRECISION(9)) : NULL;
    printf("%s\n", text ? text : "{}");
    free(text);
    json_decref(object);
    return;
  }
  printf("%s\n", out);
  printf("form        %s, %zu checkpoints, width %zu, %zu features\n", xcoder_form_name(report->form),
         info->n_checkpoints, info->d_model, info->n_latents);
  printf("weights     %s\n", report->folded ? "folded: they read activations as they are"
                                            : "unfolded: they read activations times the scales");
  if (report->notes[0]) {
    char *clean = cli_printable(report->notes, strlen(report->notes));
    printf("converted   %s\n", clean ? clean : "");
    free(clean);
  }
  printf("read again  %zu values, ", report->n_values);
  if (same)
    printf("all equal bit for bit\n");
  else
    printf("%zu not equal bit for bit, largest difference %.2g of the largest value\n", report->n_different,
           report->largest_difference);
}

/* Loads what was saved and compares it with what was converted. */
static xcoder_status check_saved(const xcoder *coder, const char *path, xcoder_exchange_report *report,
                                 xcoder_error *err) {
  xcoder *again = NULL;
  xcoder_status status = xcoder_load(path, &again, err);
  if (!status)
    status = xcoder_difference(coder, again, &report->n_values, &report->n_different, &report->largest_difference, err);
  if (!status && report->n_different)
    status = cli_fail(err, XCODER_INTERNAL, "%s: %zu values differ when it is read again", path, report->n_different);
  xcoder_free_coder(again);
  return status;
}

xcoder_status cli_import(cli_call *call, xcoder_error *err) {
  const cli_values *values = &call->values;
  const cli_value *labels = &values->value[OPT_LABELS];
  const char *path = call->operands[0], *out = cli_text(values, OPT_OUT);
  float scales[XCODER_MAX_CHECKPOINTS];
  xcoder_import_options options = {.n_scales = values->value[OPT_SCALES].n_items, .scales = scales,
                                   .n_labels = labels->n_items, .labels = (const char *const *)labels->items,
                                   .has_layer = cli_is_set(values, OPT_LAYER),
                                   .layer = (long)cli_integer(values, OPT_LAYER)};
  xcoder_exchange_report report;
  xcoder *coder = NULL;
  xcoder_status status = cli_require(values, OPT_OUT, err);
  if (!status)
    status = read_scales(&values->value[OPT_SCALES], scales, err);
  if (!status && cli_exists(out) && !cli_flag(values, OPT_FORCE))
    status = cli_fail(err, XCODER_USAGE, "%s: it exists already (--force replaces it)", out);
  if (!status)
    status = xcoder_import(path, &options, &coder, &report, err);
  if (!status)
    status = xcoder_save(coder, out, err);
  if (!status)
    status = check_saved(coder, out, &report, err);
  if (!status)
    print_report(call, coder, &report, out);
  xcoder_free_coder(coder);
  return status;
}

xcoder_status cli_export(cli_call *call, xcoder_error *err) {
  const cli_values *values = &call->values;
  const char *out = cli_text(values, OPT_OUT);
  xcoder_exchange_report report;
  xcoder *coder = NULL;
  xcoder_status status = cli_require(values, OPT_OUT, err);
  if (!status && cli_exists(out))
    status = cli_fail(err, XCODER_USAGE, "%s: it exists already, expected a new folder", out);
  if (!status)
    status = xcoder_load(call->operands[0], &coder, err);
  if (!status)
    status = xcoder_export(coder, (xcoder_form)cli_integer(values, OPT_FORM), cli_flag(values, OPT_FOLD), out, &report,
                           err);
  if (!status)
    print_report(call, coder, &report, out);
  xcoder_free_coder(coder);
  return status;
}
