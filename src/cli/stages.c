/* SPDX-License-Identifier: Apache-2.0 */
/* The stages behind the crosscoder: what it is worth, what its features do. */
#include "job.h"
#include "text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

xcoder_status cli_analysis_setting(cli_job *job, xcoder_setting *setting, xcoder_error *err) {
  xcoder_status status = cli_need_models(&job->setting, -1, err);
  if (!status)
    status = cli_need_coder(&job->setting, job->coder_path ? job->coder_path : job->out, err);
  *setting = (xcoder_setting){job->setting.device, job->setting.coder, job->setting.models, job->setting.tokenizer,
                              &job->setting.call->monitor, job->setting.tokens_seen};
  return status;
}

static xcoder_status work_accuracy(cli_job *job, xcoder_error *err) {
  char *path = cli_job_path(job, "accuracy.csv");
  xcoder_accuracies *table = NULL;
  cli_setting *setting = &job->setting;
  xcoder_status status = path ? cli_need_models(setting, -1, err) : cli_fail_memory(err);
  if (!status)
    status = xcoder_accuracies_create(XCODER_SUM, &table, err);
  for (size_t c = 0; !status && c < setting->n_checkpoints; c++)
    for (size_t t = 0; !status && t < setting->n_tasks; t++)
      status = xcoder_accuracies_add(table, setting->models[c], setting->labels[c], setting->tokens_seen[c],
                                     setting->tasks[t], &setting->call->monitor, err);
  if (!status)
    status = xcoder_accuracies_write(table, path, err);
  xcoder_accuracies_free(table);
  free(path);
  return status;
}

static xcoder_status work_eval(cli_job *job, xcoder_error *err) {
  const cli_values *values = job->setting.values;
  xcoder_setting setting;
  xcoder_verdicts verdicts = {0};
  xcoder_eval_options options = {(size_t)cli_integer(values, OPT_EVAL_BATCHES),
                                 (size_t)cli_integer(values, OPT_EVAL_SEQUENCES)};
  cli_stage_clear(job, STAGE_EVAL, NULL);
  xcoder_status status = cli_analysis_setting(job, &setting, err);
  if (!status)
    status = cli_job_tokens(job, OPT_HELDOUT, err);
  if (!status)
    status = xcoder_evaluate(&setting, job->setting.heldout, (const xcoder_pairs *const *)job->setting.tasks,
                             job->setting.n_tasks, &options, job->out, &verdicts, err);
  xcoder_verdicts_free(&verdicts);
  return status;
}

xcoder_attribute_options cli_attribute_options(const cli_values *values) {
  static const xcoder_quadrature quadratures[] = {XCODER_GAUSS,     XCODER_LEFT,     XCODER_MIDPOINT,
                                                  XCODER_TRAPEZOID, XCODER_LEGENDRE, XCODER_GRADIENT};
  static const xcoder_baseline baselines[] = {XCODER_ZERO, XCODER_ORIGIN, XCODER_MEAN, XCODER_COUNTERFACTUAL,
                                              XCODER_RESAMPLED};
  xcoder_attribute_options options = {0};
  options.quadrature = quadratures[cli_integer(values, OPT_QUADRATURE)];
  if (cli_authors(values) && values->value[OPT_QUADRATURE].origin == FROM_DEFAULT)
    options.quadrature = XCODER_LEFT;
  options.n_steps = (size_t)cli_integer(values, OPT_STEPS);
  options.specific_border = cli_number(values, OPT_SPECIFIC_BORDER);
  options.shared_border = cli_number(values, OPT_SHARED_BORDER);
  options.save_seconds = cli_number(values, OPT_SAVE_SECONDS);
  options.tolerance = options.n_steps ? 0 : 0.01; /* auto */
  options.baseline = baselines[cli_integer(values, OPT_BASELINE)];
  options.bootstrap = (uint64_t)cli_integer(values, OPT_BOOTSTRAP);
  options.seed = (uint64_t)cli_integer(values, OPT_SEED);
  options.authors = cli_authors(values);
  options.batch_keys = (size_t)cli_integer(values, OPT_BATCH_KEYS);
  options.gradients = cli_text(values, OPT_GRADIENTS);
  return options;
}

static xcoder_status work_attribute(cli_job *job, size_t task, xcoder_error *err) {
  xcoder_setting setting;
  xcoder_verdicts verdicts = {0};
  const xcoder_attribute_options options = cli_attribute_options(job->setting.values);
  const char *name = xcoder_pairs_name(job->setting.tasks[task]);
  cli_remove_other_tasks(job, STAGE_ATTRIBUTE);
  if (job->only_tables) {
    xcoder_status done = cli_need_coder(&job->setting, job->coder_path ? job->coder_path : job->out, err);
    if (!done)
      done = xcoder_retabulate(job->setting.coder, name, &options, job->out, &verdicts, err);
    xcoder_verdicts_free(&verdicts);
    /* Effects of an older version, or files that somebody removed: then from the beginning, unless that was not asked
     * for. */
    bool again = done == XCODER_MISSING || done == XCODER_FORMAT || done == XCODER_MISMATCH;
    if (!again || cli_flag(job->setting.values, OPT_RETABULATE))
      return done;
  }
  cli_stage_clear(job, STAGE_ATTRIBUTE, name);
  xcoder_status status = cli_analysis_setting(job, &setting, err);
  if (!status)
    status = xcoder_attribute(&setting, job->setting.tasks[task], &options, job->out, &verdicts, err);
  xcoder_verdicts_free(&verdicts);
  return status;
}

/* The features of --feature (ids, or all), else those with the largest effects; freed with xcoder_free() when
 * `*owned` and else with free(). */
static xcoder_status choose_features(cli_job *job, const char *task, size_t k, uint32_t **features, size_t *n_features,
                                     bool *owned, xcoder_error *err) {
  const cli_value *chosen = &job->setting.values->value[OPT_FEATURE];
  *owned = chosen->n_items == 0;
  if (*owned)
    return xcoder_top_features(job->out, task, k, features, n_features, err);
  size_t n_latents = xcoder_describe(job->setting.coder)->n_latents;
  bool all = chosen->n_items == 1 && strcmp(chosen->items[0], "all") == 0;
  *n_features = all ? n_latents : chosen->n_items;
  *features = malloc(*n_features * sizeof **features);
  xcoder_status status = *features ? XCODER_OK : cli_fail_memory(err);
  for (size_t i = 0; !status && i < *n_features; i++) {
    char *end = NULL;
    errno = 0;
    unsigned long long id = all ? i : strtoull(chosen->items[i], &end, 10);
    if (!all && (errno || *end || chosen->items[i][0] < '0' || chosen->items[i][0] > '9' || id >= n_latents))
      status = cli_fail(err, XCODER_USAGE, "--feature: '%s' was found, expected numbers from 0 to %zu, or all",
                        chosen->items[i], n_latents - 1);
    (*features)[i] = (uint32_t)id;
  }
  if (status) {
    free(*features);
    *features = NULL;
  }
  return status;
}

static void free_features(uint32_t *features, bool owned) {
  if (owned)
    xcoder_free(features);
  else
    free(features);
}

static xcoder_status work_known(cli_job *job, xcoder_error *err) {
  xcoder_setting setting;
  uint32_t *features = NULL;
  size_t n_features = 0;
  xcoder_error none;
  size_t top = (size_t)cli_integer(job->setting.values, OPT_TOP);
  cli_stage_clear(job, STAGE_KNOWN, NULL);
  xcoder_status status = cli_analysis_setting(job, &setting, err);
  if (!status && xcoder_top_features(job->out, NULL, top, &features, &n_features, &none)) {
    features = NULL; /* without effects there are no top features to compare */
    n_features = 0;
  }
  if (!status)
    status = xcoder_compare_known(&setting, cli_text(job->setting.values, OPT_GOLD), features, n_features,
                                  (uint64_t)cli_integer(job->setting.values, OPT_SEED), job->out, err);
  xcoder_free(features);
  return status;
}

static xcoder_status work_ablate(cli_job *job, size_t task, xcoder_error *err) {
  xcoder_setting setting;
  xcoder_verdicts verdicts = {0};
  uint32_t *features = NULL;
  size_t n_features = 0;
  bool owned = false;
  const cli_values *values = job->setting.values;
  const char *name = xcoder_pairs_name(job->setting.tasks[task]);
  xcoder_ablate_options options;
  xcoder_ablate_defaults(&options);
  options.value = (xcoder_ablation_value)cli_integer(values, OPT_ABLATION);
  options.curves = cli_flag(values, OPT_CURVES);
  options.bootstrap = (uint64_t)cli_integer(values, OPT_BOOTSTRAP);
  options.seed = (uint64_t)cli_integer(values, OPT_SEED);
  cli_remove_other_tasks(job, STAGE_ABLATE);
  cli_stage_clear(job, STAGE_ABLATE, name);
  xcoder_status status = cli_analysis_setting(job, &setting, err);
  if (!status)
    status = choose_features(job, name, (size_t)cli_integer(values, OPT_ABLATE_FEATURES), &features, &n_features,
                             &owned, err);
  if (!status)
    status = xcoder_ablate(&setting, job->setting.tasks[task], features, n_features, &options, job->out, &verdicts,
                           err);
  xcoder_verdicts_free(&verdicts);
  free_features(features, owned);
  return status;
}

static xcoder_status work_features(cli_job *job, xcoder_error *err) {
  const cli_values *values = job->setting.values;
  xcoder_setting setting;
  uint32_t *features = NULL;
  size_t n_features = 0;
  bool owned = false;
  xcoder_features_options options = {0};
  options.n_contexts = (size_t)cli_integer(values, OPT_CONTEXTS);
  options.context_before = (size_t)cli_integer(values, OPT_CONTEXT_BEFORE);
  options.context_after = (size_t)cli_integer(values, OPT_CONTEXT_AFTER);
  options.n_logits = (size_t)cli_integer(values, OPT_LOGITS);
  options.n_quantiles = (size_t)cli_integer(values, OPT_QUANTILE_CONTEXTS);
  options.n_negatives = (size_t)cli_integer(values, OPT_NEGATIVE_CONTEXTS);
  options.tasks = (const xcoder_pairs *const *)job->setting.tasks;
  options.n_tasks = job->setting.n_tasks;
  options.token_labels = cli_text(values, OPT_TOKEN_LABELS);
  cli_stage_clear(job, STAGE_FEATURES, NULL);
  cli_id which = cli_is_set(values, OPT_HELDOUT) ? OPT_HELDOUT : OPT_CORPUS;
  xcoder_status status = cli_analysis_setting(job, &setting, err);
  if (!status)
    status = cli_job_tokens(job, which, err);
  if (!status)
    status = choose_features(job, NULL, (size_t)cli_integer(values, OPT_TOP), &features, &n_features, &owned, err);
  if (status == XCODER_MISSING && owned) /* without effects there are no strongest features: no cards */
    status = XCODER_OK;
  if (!status)
    status = xcoder_describe_features(&setting, which == OPT_HELDOUT ? job->setting.heldout : job->setting.corpus,
                                      features, n_features, &options, job->out, err);
  free_features(features, owned);
  return status;
}

/* Of files alone; the tasks tell the languages of the examples. */
static xcoder_status work_evolve(cli_job *job, xcoder_error *err) {
  const cli_values *values = job->setting.values;
  const xcoder_evolve_options options = {.bootstrap = (uint64_t)cli_integer(values, OPT_BOOTSTRAP),
                                         .permutations = (uint64_t)cli_integer(values, OPT_PERMUTATIONS),
                                         .seed = (uint64_t)cli_integer(values, OPT_SEED),
                                         .n_top = (size_t)cli_integer(values, OPT_TOP),
                                         .tasks = (const xcoder_pairs *const *)job->setting.tasks,
                                         .n_tasks = job->setting.n_tasks, .tokens_seen = job->setting.tokens_seen,
                                         .specific_border = cli_number(values, OPT_SPECIFIC_BORDER),
                                         .shared_border = cli_number(values, OPT_SHARED_BORDER)};
  cli_stage_clear(job, STAGE_EVOLVE, NULL);
  return xcoder_evolve(job->out, &options, &job->setting.call->monitor, err);
}

static xcoder_status work_report(cli_job *job, xcoder_error *err) {
  xcoder_report_options options = {.title = cli_text(job->setting.values, OPT_TITLE),
                                   .n_cards = (size_t)cli_integer(job->setting.values, OPT_CARDS)};
  cli_stage_clear(job, STAGE_REPORT, NULL);
  return xcoder_report(job->out, &options, NULL, &job->setting.call->monitor, err);
}

xcoder_status cli_stage_work(cli_job *job, cli_stage stage, size_t task, xcoder_error *err) {
  switch (stage) {
  case STAGE_TOKENS: return cli_work_tokens(job, err);
  case STAGE_SCALES: return cli_work_scales(job, err);
  case STAGE_ACCURACY: return work_accuracy(job, err);
  case STAGE_TRAIN: return cli_work_train(job, err);
  case STAGE_EVAL: return work_eval(job, err);
  case STAGE_ATTRIBUTE: return work_attribute(job, task, err);
  case STAGE_BASELINES: return cli_work_baselines(job, err);
  case STAGE_CONVERGENCE: return cli_work_convergence(job, err);
  case STAGE_KNOWN: return work_known(job, err);
  case STAGE_ABLATE: return work_ablate(job, task, err);
  case STAGE_FEATURES: return work_features(job, err);
  case STAGE_EVOLVE: return work_evolve(job, err);
  case STAGE_REPORT: return work_report(job, err);
  case N_STAGES: break;
  }
  return cli_fail(err, XCODER_INTERNAL, "no such stage");
}
