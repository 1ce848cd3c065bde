/* SPDX-License-Identifier: Apache-2.0 */
/* crosscoder train: the stages up to the crosscoder, into a run directory that must be new, resumed or replaced. */
#include "job.h"
#include "text.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

static const uint32_t stages = 1u << STAGE_TOKENS | 1u << STAGE_SCALES | 1u << STAGE_TRAIN;

static bool is_empty(const char *path) {
  DIR *folder = opendir(path);
  size_t n = 0;
  for (struct dirent *entry; folder && (entry = readdir(folder));)
    n += entry->d_name[0] != '.';
  if (folder)
    closedir(folder);
  return folder && n == 0;
}

static xcoder_status check_out(const cli_job *job, xcoder_error *err) {
  const cli_values *values = job->setting.values;
  bool resume = cli_flag(values, OPT_RESUME), force = cli_flag(values, OPT_FORCE);
  if (resume && force)
    return cli_fail(err, XCODER_USAGE, "--resume and --force were found, expected one of them");
  if (!cli_exists(job->out))
    return resume ? cli_fail(err, XCODER_MISSING, "%s: no such run to continue (--resume)", job->out) : XCODER_OK;
  if (!cli_is_folder(job->out))
    return cli_fail(err, XCODER_IO, "%s: a file was found, expected a folder or nothing (--out)", job->out);
  if (!resume && !force && !is_empty(job->out))
    return cli_fail(err, XCODER_USAGE, "%s: it exists already (--resume continues it, --force replaces it)", job->out);
  return XCODER_OK;
}

/* A run is continued only with the options and inputs that it was begun with. */
static xcoder_status check_resume(cli_job *job, xcoder_error *err) {
  static const char *const stamps[N_STAGES] = {[STAGE_TOKENS] = "stages/tokens.json",
    [STAGE_SCALES] = "stages/scales.json", [STAGE_TRAIN] = "stages/train-begun.json"};
  xcoder_status status = XCODER_OK;
  for (int stage = 0; !status && stage <= STAGE_TRAIN; stage++) {
    char *path = stamps[stage] ? cli_job_path(job, stamps[stage]) : NULL, *difference = NULL;
    json_t *key = NULL, *old = NULL;
    if (path && cli_exists(path)) {
      status = cli_read_json(path, &old, err);
      if (!status)
        status = cli_stage_key(job, (cli_stage)stage, SIZE_MAX, &key, err);
      if (!status)
        difference = cli_key_difference(old, key);
      if (difference)
        status = cli_fail(err, XCODER_STATE, "%s: it cannot be continued: %s", job->out, difference);
    }
    free(difference);
    json_decref(key);
    json_decref(old);
    free(path);
  }
  return status;
}

static void print_result(const cli_job *job) {
  if (cli_flag(job->setting.values, OPT_JSON)) {
    json_t *object = json_pack("{s:s}", "run", job->out);
    char *text = object ? json_dumps(object, 0) : NULL;
    printf("%s\n", text ? text : "{}");
    free(text);
    json_decref(object);
  } else {
    printf("%s/crosscoder.safetensors\n", job->out);
  }
}

static xcoder_status train(cli_job *job, xcoder_error *err) {
  const cli_values *values = job->setting.values;
  xcoder_status status = cli_job_begin(job, err);
  if (!status && cli_flag(values, OPT_RESUME))
    status = check_resume(job, err);
  for (int stage = 0; !status && job->force && stage < N_STAGES; stage++) {
    cli_stage_clear(job, (cli_stage)stage, NULL);
    cli_remove_stamps(job, (cli_stage)stage);
  }
  if (!status)
    status = cli_job_write_plan(job, err);
  if (!status)
    status = cli_add_manifest(job, err);
  if (!status)
    status = cli_job_run(job, stages, err);
  cli_job_end(job, status);
  if (!status)
    print_result(job);
  return status;
}

xcoder_status cli_train(cli_call *call, xcoder_error *err) {
  cli_job job;
  cli_job_init(&job, call);
  bool only_estimate = cli_flag(&call->values, OPT_ESTIMATE);
  xcoder_status status = only_estimate ? XCODER_OK : cli_require(&call->values, OPT_OUT, err);
  const char *out = cli_text(&call->values, OPT_OUT);
  if (!status && !(job.out = cli_copy(out ? out : ".")))
    status = cli_fail_memory(err);
  if (!status && !only_estimate)
    status = check_out(&job, err);
  if (!status)
    status = cli_job_check(&job, stages, err);
  if (!status)
    status = cli_estimate_job(&job, stages, true, err);
  if (!status && only_estimate) {
    cli_print_estimate(&job, stages, cli_flag(&call->values, OPT_JSON));
  } else if (!status) {
    char memory[32], disk[32], time[32];
    cli_note(call->progress, "needs %s of memory, %s of disk and about %s", cli_size(job.estimate.memory_bytes, memory),
             cli_size(job.estimate.disk_bytes, disk),
             cli_duration(cli_seconds_after(&job, stages, STAGE_TOKENS), time));
    status = cli_check_estimate(&job, err);
    if (!status)
      status = train(&job, err);
  }
  cli_job_close(&job);
  return status;
}
