/* SPDX-License-Identifier: Apache-2.0 */
/* Everything that can be wrong with the options of a job, found before any long work. */
#include "estimate.h"
#include "text.h"

#include <stdlib.h>

static bool wants(uint32_t wanted, cli_stage stage) { return (wanted & 1u << stage) != 0; }

static xcoder_status check_training(const cli_job *job, xcoder_error *err) {
  const cli_values *values = job->setting.values;
  long long batch = cli_integer(values, OPT_BATCH_SIZE), tokens = cli_integer(values, OPT_TOKENS);
  long long window = cli_integer(values, OPT_WINDOW);
  if (tokens < batch)
    return cli_fail(err, XCODER_USAGE, "--tokens: %lld was found, expected at least one batch of %lld", tokens, batch);
  if (window && window < batch)
    return cli_fail(err, XCODER_USAGE, "--window: %lld was found, expected 0 or at least one batch of %lld", window,
                    batch);
  if (cli_integer(values, OPT_MIN_LENGTH) > cli_integer(values, OPT_LENGTH))
    return cli_fail(err, XCODER_USAGE, "--min-length: %lld was found, expected at most --length, %lld",
                    cli_integer(values, OPT_MIN_LENGTH), cli_integer(values, OPT_LENGTH));
  if (cli_is_set(values, OPT_STORE)) {
    const char *store = cli_text(values, OPT_STORE);
    if (!cli_is_folder(store))
      return cli_fail(err, XCODER_MISSING, "%s: no such folder (--store)", store);
    return XCODER_OK;
  }
  xcoder_status status = cli_require(values, OPT_LAYER, err);
  if (!status)
    status = cli_require(values, OPT_CORPUS, err);
  return status ? status : cli_check_files(values, OPT_CORPUS, err);
}

static xcoder_status check_counterfactuals(const cli_job *job, xcoder_error *err) {
  if (cli_integer(job->setting.values, OPT_BASELINE) != 3)
    return XCODER_OK;
  for (size_t i = 0; i < job->setting.n_tasks; i++) {
    const xcoder_pairs *task = job->setting.tasks[i];
    for (size_t p = 0; p < xcoder_pairs_count(task); p++)
      if (!xcoder_pairs_get(task, p)->counterfactual)
        return cli_fail(err, XCODER_MISMATCH, "--baseline=counterfactual: pair %zu of %s has no counterfactual prefix",
                        p, xcoder_pairs_name(task));
  }
  return XCODER_OK;
}

/* Prompts that are longer than the models can read. */
static xcoder_status check_prompts(const cli_job *job, xcoder_error *err) {
  size_t context = SIZE_MAX;
  for (size_t i = 0; i < job->setting.n_checkpoints; i++)
    if (job->setting.infos[i].n_context && job->setting.infos[i].n_context < context)
      context = job->setting.infos[i].n_context;
  for (size_t i = 0; i < job->setting.n_tasks; i++)
    for (size_t p = 0; p < xcoder_pairs_count(job->setting.tasks[i]); p++)
      if (xcoder_pairs_get(job->setting.tasks[i], p)->n_prefix > context)
        return cli_fail(err, XCODER_MISMATCH, "%s: pair %zu has %zu tokens, the models have a context of %zu",
                        xcoder_pairs_name(job->setting.tasks[i]), p,
                        xcoder_pairs_get(job->setting.tasks[i], p)->n_prefix, context);
  return XCODER_OK;
}

/* The files that a plan names need be there for the stages alone that read them: training asks for no task. */
static xcoder_status check_inputs(const cli_values *values, uint32_t wanted, xcoder_error *err) {
  const uint32_t training = 1u << STAGE_TOKENS | 1u << STAGE_SCALES | 1u << STAGE_TRAIN;
  const struct { cli_id id; uint32_t readers; } inputs[] = {
    {OPT_HELDOUT, ~(1u << STAGE_ACCURACY)}, {OPT_TASK, ~training}, {OPT_GOLD, 1u << STAGE_KNOWN},
    {OPT_TOKEN_LABELS, 1u << STAGE_FEATURES}, {OPT_CORPUS, training | 1u << STAGE_FEATURES}};
  xcoder_status status = XCODER_OK;
  for (size_t i = 0; !status && i < sizeof inputs / sizeof *inputs; i++)
    if (wanted & inputs[i].readers)
      status = cli_check_files(values, inputs[i].id, err);
  return status;
}

xcoder_status cli_job_check(cli_job *job, uint32_t wanted, xcoder_error *err) {
  const cli_values *values = job->setting.values;
  bool stored = cli_is_set(values, OPT_STORE) && !(wanted & ~(1u << STAGE_TOKENS | 1u << STAGE_SCALES |
                                                              1u << STAGE_TRAIN));
  bool models = !stored || cli_is_set(values, OPT_CHECKPOINTS) || cli_is_set(values, OPT_MODEL);
  bool described = (wants(wanted, STAGE_FEATURES) || wants(wanted, STAGE_EVOLVE)) && cli_is_set(values, OPT_TASK);
  bool tasks = described || wants(wanted, STAGE_ACCURACY) || wants(wanted, STAGE_ATTRIBUTE) ||
               wants(wanted, STAGE_ABLATE) || (wants(wanted, STAGE_EVAL) && cli_is_set(values, OPT_TASK));
  xcoder_status status = wants(wanted, STAGE_TRAIN) ? check_training(job, err) : XCODER_OK;
  if (!status && wants(wanted, STAGE_TRAIN))
    status = cli_check_snapshots(job, err);
  bool corpus = cli_is_set(values, OPT_CORPUS) && !wants(wanted, STAGE_EVAL);
  if (!status && (wants(wanted, STAGE_EVAL) || (wants(wanted, STAGE_FEATURES) && !corpus)))
    status = cli_require(values, OPT_HELDOUT, err);
  if (!status)
    status = check_inputs(values, wanted, err);
  if (!status && models)
    status = cli_need_checkpoints(&job->setting, err);
  if (!status && (models || cli_is_set(values, OPT_TOKENIZER)))
    status = cli_need_tokenizer(&job->setting, err);
  if (!status && tasks)
    status = cli_need_tasks(&job->setting, err);
  if (!status)
    status = check_prompts(job, err);
  if (!status && wants(wanted, STAGE_ATTRIBUTE))
    status = check_counterfactuals(job, err);
  if (!status)
    job->setting.plan = cli_device_plan(job, wanted);
  if (!status)
    status = cli_need_device(&job->setting, err);
  return status;
}
