/* SPDX-License-Identifier: Apache-2.0 */
/* crosscoder run: all stages of a plan, those that are not done. */
#include "compare.h"
#include "job.h"
#include "plan.h"
#include "text.h"

#include <stdlib.h>
#include <string.h>

static uint32_t choose_stages(const cli_values *values) {
  uint32_t wanted = 1u << STAGE_TOKENS | 1u << STAGE_SCALES | 1u << STAGE_TRAIN | 1u << STAGE_EVAL | 1u << STAGE_REPORT;
  if (cli_is_set(values, OPT_TASK))
    wanted |= 1u << STAGE_ACCURACY | 1u << STAGE_ATTRIBUTE | 1u << STAGE_ABLATE | 1u << STAGE_FEATURES |
              1u << STAGE_EVOLVE;
  if (cli_is_set(values, OPT_TASK) && cli_flag(values, OPT_COMPARE_BASELINES))
    wanted |= 1u << STAGE_BASELINES;
  if (cli_is_set(values, OPT_TASK) &&
      (cli_is_set(values, OPT_SNAPSHOTS) || cli_number(values, OPT_STOP_WHEN_STABLE) > 0))
    wanted |= 1u << STAGE_CONVERGENCE;
  if (cli_is_set(values, OPT_GOLD))
    wanted |= 1u << STAGE_KNOWN;
  return wanted;
}

static xcoder_status read_plan(cli_call *call, xcoder_error *err) {
  const char *operand = call->operands[0];
  char *path = cli_is_folder(operand) ? cli_join(operand, "run.yaml") : cli_copy(operand);
  xcoder_status status = path ? cli_plan_read(path, &call->values, FROM_PLAN, err) : cli_fail_memory(err);
  free(path);
  return status;
}

static xcoder_status print_result(const cli_job *job) {
  uint32_t all = (1u << N_STAGES) - 1;
  bool json = cli_flag(job->setting.values, OPT_JSON);
  if (json) {
    json_t *object = json_pack("{s:s,s:s,s:o}", "run", job->out, "report", "report/index.html", "verdicts",
                               cli_collect_verdicts(job->out, all));
    char *text = object ? json_dumps(object, JSON_INDENT(1)) : NULL;
    printf("%s\n", text ? text : "{}");
    free(text);
    json_decref(object);
    return XCODER_OK;
  }
  cli_verdict_counts counts = cli_print_verdicts(job->out, all, false);
  printf("%zu PASS, %zu WARN\n%s/report/index.html\n", counts.n_pass, counts.n_warn, job->out);
  return XCODER_OK;
}

static xcoder_status work(cli_job *job, uint32_t wanted, xcoder_error *err) {
  xcoder_status status = cli_job_begin(job, err);
  for (int stage = 0; !status && stage < N_STAGES; stage++)
    if (!(wanted & 1u << stage)) { /* what an older plan asked for is no part of this one */
      cli_stage_clear(job, (cli_stage)stage, NULL);
      cli_remove_stamps(job, (cli_stage)stage);
    }
  if (!status)
    status = cli_job_write_plan(job, err);
  if (!status)
    status = cli_add_manifest(job, err);
  if (!status)
    status = cli_job_run(job, wanted, err);
  cli_job_end(job, status);
  return status;
}

/* The stages of one run directory. `estimate`: only say what they need; `timed`: with the hours. */
static xcoder_status run_stages(cli_job *job, bool estimate, bool timed, xcoder_error *err) {
  const cli_values *values = job->setting.values;
  uint32_t wanted = choose_stages(values);
  xcoder_status status = cli_require(values, OPT_OUT, err);
  if (!status && !(job->out = cli_copy(cli_text(values, OPT_OUT))))
    status = cli_fail_memory(err);
  if (!status && cli_exists(job->out) && !cli_is_folder(job->out))
    status = cli_fail(err, XCODER_IO, "%s: a file was found, expected a folder or nothing (--out)", job->out);
  if (!status)
    status = cli_job_check(job, wanted, err);
  if (!status)
    status = cli_estimate_job(job, wanted, timed, err);
  if (!status && estimate) {
    cli_print_estimate(job, wanted, cli_flag(values, OPT_JSON));
  } else if (!status) {
    status = cli_check_estimate(job, err);
    if (!status)
      status = work(job, wanted, err);
  }
  return status;
}

xcoder_status cli_run_quietly(cli_call *call, xcoder_error *err) {
  cli_job job;
  char *outer = call->progress->log_path; /* of the run that this one stands beside */
  call->progress->log_path = NULL;
  cli_job_init(&job, call);
  xcoder_status status = run_stages(&job, false, false, err);
  cli_job_close(&job);
  free(call->progress->log_path);
  call->progress->log_path = outer;
  return status;
}

xcoder_status cli_run(cli_call *call, xcoder_error *err) {
  cli_job job;
  bool estimate = false;
  xcoder_status status = read_plan(call, err);
  if (status)
    return status;
  xcoder_set_threads((int)cli_integer(&call->values, OPT_THREADS));
  cli_job_init(&job, call);
  estimate = cli_flag(&call->values, OPT_ESTIMATE);
  status = cli_check_further(call, err);
  if (!status)
    status = run_stages(&job, estimate, true, err);
  if (!status && estimate)
    cli_print_further(call);
  if (!status && !estimate) {
    cli_setting_close(&job.setting); /* the runs beside this one open models of their own */
    status = cli_run_further(call, job.out, err);
  }
  if (!status && !estimate)
    status = print_result(&job);
  cli_job_close(&job);
  return status;
}
