/* SPDX-License-Identifier: Apache-2.0 */
/* What a result costs and depends on: the snapshots of a training against its end, when to end it, other baselines. */
#include "job.h"
#include "text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

double cli_stop_tolerance(const cli_job *job) {
  return job->setting.call->command->mask == IN_RUN ? cli_number(job->setting.values, OPT_STOP_WHEN_STABLE) : 0;
}

static xcoder_status read_share(const char *text, double *share, xcoder_error *err) {
  char *end = NULL;
  *share = strtod(text, &end);
  if (end == text || *end || strpbrk(text, "xX") || !(*share > 0 && *share < 1))
    return cli_fail(err, XCODER_USAGE, "--snapshots: '%.100s' was found, expected shares above 0 and below 1", text);
  return XCODER_OK;
}

xcoder_status cli_check_snapshots(cli_job *job, xcoder_error *err) {
  enum { TENTHS = 9 };
  const cli_value *value = &job->setting.values->value[OPT_SNAPSHOTS];
  bool stops = cli_stop_tolerance(job) > 0;
  if (stops && !cli_is_set(job->setting.values, OPT_TASK))
    return cli_fail(err, XCODER_USAGE, "--task is missing: --stop-when-stable looks at effects on tasks");
  if (!value->n_items && !stops)
    return XCODER_OK;
  free(job->shares);
  job->n_shares = value->n_items ? value->n_items : TENTHS;
  job->shares = calloc(job->n_shares, sizeof *job->shares);
  xcoder_status status = job->shares ? XCODER_OK : cli_fail_memory(err);
  for (size_t i = 0; !status && i < job->n_shares; i++) {
    job->shares[i] = (double)(i + 1) / (TENTHS + 1);
    if (value->n_items)
      status = read_share(value->items[i], &job->shares[i], err);
    if (!status && i > 0 && job->shares[i] <= job->shares[i - 1])
      status = cli_fail(err, XCODER_USAGE, "--snapshots: %g behind %g was found, expected rising shares",
                        job->shares[i], job->shares[i - 1]);
  }
  return status;
}

/* Effects of the crosscoder of a snapshot on all tasks, beside it. */
static xcoder_status attribute_snapshot(cli_job *job, const char *folder, const xcoder *coder, xcoder_error *err) {
  const xcoder_attribute_options options = cli_attribute_options(job->setting.values);
  char *effects = cli_join(folder, "effects");
  xcoder_status status = effects ? cli_need_models(&job->setting, -1, err) : cli_fail_memory(err);
  const xcoder_setting setting = {job->setting.device, coder, job->setting.models, job->setting.tokenizer,
                                  &job->setting.call->monitor, job->setting.tokens_seen};
  if (!status)
    cli_remove_tree(effects);
  for (size_t t = 0; !status && t < job->setting.n_tasks; t++) {
    xcoder_verdicts verdicts = {0};
    status = xcoder_attribute(&setting, job->setting.tasks[t], &options, folder, &verdicts, err);
    xcoder_verdicts_free(&verdicts);
  }
  free(effects);
  return status;
}

/* How far the effects of snapshot `index` are from those of the one before it. */
static xcoder_status find_change(const cli_job *job, size_t index, const xcoder *coder, double *change,
                                 xcoder_error *err) {
  char *folder = NULL, *before = NULL;
  xcoder_status status = xcoder_snapshot_folder(job->out, job->shares[index], &folder, err);
  if (!status)
    status = xcoder_snapshot_folder(job->out, job->shares[index - 1], &before, err);
  if (!status)
    status = xcoder_attribution_change(coder, folder, before, (size_t)cli_integer(job->setting.values, OPT_COMPARE_TOP),
                                       change, err);
  xcoder_free(folder);
  xcoder_free(before);
  return status;
}

static xcoder_status load_snapshot(const char *folder, xcoder **coder, xcoder_error *err) {
  char *path = cli_join(folder, "crosscoder.safetensors");
  xcoder_status status = path ? xcoder_load(path, coder, err) : cli_fail_memory(err);
  free(path);
  return status;
}

static xcoder_status write_stop(const cli_job *job, double share, double tolerance, xcoder_error *err) {
  char *path = cli_job_path(job, "snapshots/stopped.json");
  json_t *object = json_pack("{s:i,s:f,s:f}", "format", 1, "share", share, "tolerance", tolerance);
  xcoder_status status = path && object ? cli_write_json(path, object, err) : cli_fail_memory(err);
  json_decref(object);
  free(path);
  return status;
}

/* What was found at earlier snapshots is read from their files, so that a training that was interrupted in between
 * ends at the same place. */
xcoder_status cli_judge_snapshot(void *context, size_t index, const char *folder, bool *stop, xcoder_error *err) {
  cli_job *job = context;
  xcoder *coder = NULL;
  double change = NAN, before = NAN, tolerance = cli_stop_tolerance(job);
  xcoder_status status = load_snapshot(folder, &coder, err);
  if (!status)
    status = attribute_snapshot(job, folder, coder, err);
  if (!status && index > 0)
    status = find_change(job, index, coder, &change, err);
  if (!status && index > 1)
    status = find_change(job, index - 1, coder, &before, err);
  if (!status && index > 0)
    cli_note(job->setting.call->progress,
             "train: RelIE of the top features changed by %.4f from %g to %g of the tokens", change,
             job->shares[index - 1], job->shares[index]);
  *stop = !status && change < tolerance && before < tolerance;
  if (*stop) {
    cli_note(job->setting.call->progress, "train: stable, ends at %g of the tokens", job->shares[index]);
    status = write_stop(job, job->shares[index], tolerance, err);
  }
  xcoder_free_coder(coder);
  return status;
}

static void read_stop(const cli_job *job, xcoder_convergence_options *options) {
  char *path = cli_job_path(job, "snapshots/stopped.json");
  json_t *object = NULL;
  xcoder_error ignored;
  if (path && cli_exists(path) && !cli_read_json(path, &object, &ignored)) {
    options->stopped = json_number_value(json_object_get(object, "share"));
    options->tolerance = json_number_value(json_object_get(object, "tolerance"));
  }
  json_decref(object);
  free(path);
}

xcoder_status cli_work_convergence(cli_job *job, xcoder_error *err) {
  const cli_values *values = job->setting.values;
  xcoder_setting setting;
  xcoder_convergence_options options = {.n_top = (size_t)cli_integer(values, OPT_COMPARE_TOP),
                                        .n_tokens = (double)cli_integer(values, OPT_TOKENS),
                                        .stopped = NAN, .tolerance = NAN,
                                        .bootstrap = (uint64_t)cli_integer(values, OPT_BOOTSTRAP),
                                        .seed = (uint64_t)cli_integer(values, OPT_SEED)};
  cli_stage_clear(job, STAGE_CONVERGENCE, NULL);
  xcoder_status status = cli_analysis_setting(job, &setting, err);
  for (size_t i = 0; !status && i < job->n_shares; i++) {
    char *folder = NULL;
    xcoder *coder = NULL;
    status = xcoder_snapshot_folder(job->out, job->shares[i], &folder, err);
    /* Absent if the training was ended before it; with effects already if it might have been ended there. */
    bool wanted = !status && cli_exists(folder) && !(cli_stop_tolerance(job) > 0);
    if (wanted)
      status = load_snapshot(folder, &coder, err);
    if (wanted && !status) {
      cli_note(job->setting.call->progress, "convergence: the tasks with the snapshot at %g of the tokens",
               job->shares[i]);
      status = attribute_snapshot(job, folder, coder, err);
    }
    xcoder_free_coder(coder);
    xcoder_free(folder);
  }
  read_stop(job, &options);
  if (!status)
    status = xcoder_write_convergence(setting.coder, job->out, job->shares, job->n_shares, &options, err);
  return status;
}

xcoder_status cli_work_baselines(cli_job *job, xcoder_error *err) {
  const cli_values *values = job->setting.values;
  const xcoder_attribute_options options = cli_attribute_options(values);
  xcoder_setting setting;
  cli_stage_clear(job, STAGE_BASELINES, NULL);
  xcoder_status status = cli_analysis_setting(job, &setting, err);
  for (size_t t = 0; !status && t < job->setting.n_tasks; t++) {
    xcoder_verdicts verdicts = {0};
    cli_note(job->setting.call->progress, "baselines %s", xcoder_pairs_name(job->setting.tasks[t]));
    status = xcoder_compare_baselines(&setting, job->setting.tasks[t], &options,
                                      (size_t)cli_integer(values, OPT_COMPARE_TOP), job->out, &verdicts, err);
    xcoder_verdicts_free(&verdicts);
  }
  return status;
}
