/* SPDX-License-Identifier: Apache-2.0 */
/* crosscoder eval, attribute, ablate, features, report: one stage each, always done anew. */
#include "compare.h"
#include "job.h"
#include "plan.h"
#include "text.h"

#include <stdlib.h>
#include <string.h>

/* The options that RUN was made with hold for what was not given otherwise. */
static xcoder_status read_run_plan(cli_call *call, const char *run, xcoder_error *err) {
  char *path = cli_join(run, "run.yaml");
  xcoder_status status = path ? XCODER_OK : cli_fail_memory(err);
  cli_values *values = &call->values;
  bool model = cli_is_set(values, OPT_MODEL);
  if (!status && cli_exists(path))
    status = cli_plan_read(path, values, FROM_RUN, err);
  if (!status && model && values->value[OPT_CHECKPOINTS].origin == FROM_RUN) {
    cli_value *list = &values->value[OPT_CHECKPOINTS];
    while (list->n_items)
      free(list->items[--list->n_items]);
  }
  xcoder_set_threads((int)cli_integer(values, OPT_THREADS));
  free(path);
  return status;
}

/* RUN is the operand, a run directory or a crosscoder file; --out of the command line says where results go. */
xcoder_status cli_open_run(cli_job *job, xcoder_error *err) {
  cli_call *call = job->setting.call;
  const char *operand = call->n_operands ? call->operands[0] : NULL;
  const cli_value *out = &call->values.value[OPT_OUT];
  const char *given = out->origin == FROM_COMMAND_LINE || !operand ? out->text : NULL;
  if (!operand && !given)
    return cli_fail(err, XCODER_USAGE, "%s: RUN is missing (a run directory)", call->command->name);
  if (operand && !cli_exists(operand))
    return cli_fail(err, XCODER_MISSING, "%s: no such run", operand);
  bool writes = call->command->mask != IN_SHOW;
  if (writes && !given && !cli_is_folder(operand))
    return cli_fail(err, XCODER_USAGE, "%s: a file was found; with a crosscoder file --out says where results go",
                    operand);
  if (!operand && !cli_is_folder(given))
    return cli_fail(err, XCODER_MISSING, "%s: no such run", given);
  job->out = cli_copy(given ? given : operand);
  job->coder_path = cli_copy(operand ? operand : given);
  if (!job->out || !job->coder_path)
    return cli_fail_memory(err);
  return cli_is_folder(job->coder_path) ? read_run_plan(call, job->coder_path, err) : XCODER_OK;
}

/* One stage of a run, and with eval --gold what belongs to it. */
static xcoder_status run_stages(cli_call *call, uint32_t wanted, uint32_t verdicts, xcoder_error *err) {
  cli_job job;
  cli_job_init(&job, call);
  job.force = true;
  xcoder_status status = cli_open_run(&job, err);
  if (!status && wanted & 1u << STAGE_EVAL && cli_is_set(&call->values, OPT_GOLD))
    wanted |= 1u << STAGE_KNOWN;
  if (!status && wanted & 1u << STAGE_ATTRIBUTE && cli_flag(&call->values, OPT_COMPARE_BASELINES)) {
    wanted |= 1u << STAGE_BASELINES;
    verdicts |= 1u << STAGE_BASELINES;
  }
  if (!status)
    status = cli_job_check(&job, wanted, err);
  if (!status)
    status = cli_need_coder(&job.setting, job.coder_path, err);
  bool only_estimate = cli_flag(&call->values, OPT_ESTIMATE);
  if (!status)
    status = cli_estimate_job(&job, wanted, only_estimate, err);
  if (!status && only_estimate) {
    cli_print_estimate(&job, wanted, cli_flag(&call->values, OPT_JSON));
    cli_job_close(&job);
    return XCODER_OK;
  }
  if (!status)
    status =
        cli_check_memory(&call->values, job.estimate.memory_bytes, "shorter --length, fewer --eval-sequences", err);
  if (!status)
    status = cli_job_begin(&job, err);
  if (!status)
    status = cli_add_manifest(&job, err);
  if (!status)
    status = cli_job_run(&job, wanted, err);
  cli_job_end(&job, status);
  if (!status && verdicts)
    cli_print_verdicts(job.out, verdicts, cli_flag(&call->values, OPT_JSON));
  else if (!status)
    printf("%s/%s\n", job.out, wanted & 1u << STAGE_FEATURES ? "features/database.safetensors"
                              : wanted & 1u << STAGE_EVOLVE ? "evolution.json" : "");
  cli_job_close(&job);
  return status;
}

xcoder_status cli_eval(cli_call *call, xcoder_error *err) {
  return run_stages(call, 1u << STAGE_EVAL, 1u << STAGE_EVAL, err);
}

xcoder_status cli_attribute(cli_call *call, xcoder_error *err) {
  return run_stages(call, 1u << STAGE_ATTRIBUTE, 1u << STAGE_ATTRIBUTE, err);
}

xcoder_status cli_ablate(cli_call *call, xcoder_error *err) {
  return run_stages(call, 1u << STAGE_ABLATE, 1u << STAGE_ABLATE, err);
}

xcoder_status cli_features(cli_call *call, xcoder_error *err) {
  return run_stages(call, 1u << STAGE_FEATURES, 0, err);
}

/* One run, or several windows as a chain. */
xcoder_status cli_evolve(cli_call *call, xcoder_error *err) {
  if (call->n_operands > 1)
    return cli_chain(call, err);
  return run_stages(call, 1u << STAGE_EVOLVE, 0, err);
}

/* The report reads files only; it also shows what is there of an unfinished run. */
xcoder_status cli_report(cli_call *call, xcoder_error *err) {
  cli_job job;
  cli_job_init(&job, call);
  xcoder_run *lock = NULL;
  xcoder_status status = cli_open_run(&job, err);
  bool elsewhere = !status && call->n_operands && call->values.value[OPT_OUT].origin == FROM_COMMAND_LINE;
  const char *run = status ? NULL : elsewhere ? job.coder_path : job.out;
  if (!status && !cli_is_folder(run))
    status = cli_fail(err, XCODER_USAGE, "%s: a file was found, expected a run directory", run);
  if (!status && !elsewhere)
    status = xcoder_run_open(run, &lock, err);
  const cli_value *beside = &call->values.value[OPT_BESIDE];
  xcoder_report_options options = {.title = cli_text(&call->values, OPT_TITLE),
                                   .n_cards = (size_t)cli_integer(&call->values, OPT_CARDS),
                                   .beside = (const char *const *)beside->items, .n_beside = beside->n_items};
  if (!status)
    status = xcoder_report(run, &options, elsewhere ? job.out : NULL, &call->monitor, err);
  xcoder_run_close(lock);
  if (!status)
    printf("%s%s/index.html\n", job.out, elsewhere ? "" : "/report");
  cli_job_close(&job);
  return status;
}
