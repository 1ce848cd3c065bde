/* SPDX-License-Identifier: Apache-2.0 */
/* crosscoder similarity: activations of all pairs of checkpoints compared, each model run once. */
#include "estimate.h"
#include "signals.h"
#include "text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The prompts of all tasks as sequences. */
static xcoder_status make_prompts(const cli_setting *setting, xcoder_tokens **tokens, xcoder_error *err) {
  size_t n_sequences = 0, n_ids = 0, at = 0, s = 0;
  for (size_t t = 0; t < setting->n_tasks; t++)
    for (size_t p = 0; p < xcoder_pairs_count(setting->tasks[t]); p++, n_sequences++)
      n_ids += xcoder_pairs_get(setting->tasks[t], p)->n_prefix;
  uint32_t *ids = calloc(n_ids ? n_ids : 1, sizeof *ids);
  size_t *start = calloc(n_sequences + 1, sizeof *start);
  xcoder_status status = ids && start ? XCODER_OK : cli_fail_memory(err);
  for (size_t t = 0; !status && t < setting->n_tasks; t++)
    for (size_t p = 0; p < xcoder_pairs_count(setting->tasks[t]); p++) {
      const xcoder_pair *pair = xcoder_pairs_get(setting->tasks[t], p);
      memcpy(ids + at, pair->prefix, pair->n_prefix * sizeof *ids);
      start[++s] = at += pair->n_prefix;
    }
  if (!status)
    status = xcoder_tokens_from_array(ids, start, n_sequences, tokens, err);
  free(ids);
  free(start);
  return status;
}

/* The text that is compared, by its size where it is not read yet. */
static cli_sample take_sample(const cli_setting *setting, const xcoder_tokens *tokens, cli_id text) {
  const double length = (double)cli_integer(setting->values, OPT_LENGTH);
  const double asked = (double)cli_integer(setting->values, OPT_SAMPLE);
  cli_sample sample = {.longest = length};
  if (!tokens) {
    sample.n_tokens = cli_text_tokens(setting, text);
    sample.longest = fmax(2, fmin(length, sample.n_tokens));
    sample.n_rows = fmin(asked, sample.n_tokens);
    return sample;
  }
  const size_t *start = xcoder_tokens_start(tokens), n = xcoder_tokens_sequences(tokens);
  sample.longest = 2;
  for (size_t s = 0; s < n; s++)
    sample.longest = fmax(sample.longest, (double)(start[s + 1] - start[s]));
  sample.n_tokens = (double)start[n];
  sample.n_rows = fmin(asked, sample.n_tokens - (cli_flag(setting->values, OPT_KEEP_FIRST) ? 0 : (double)n));
  return sample;
}

/* The memory for everything but activations must be there; what is left of it takes them, or a file does. */
static xcoder_status check_memory(const cli_setting *setting, const cli_sample *sample, double *left,
                                  xcoder_error *err) {
  const double limit = (double)cli_integer(setting->values, OPT_MAX_MEMORY);
  double without, rows;
  cli_similarity_memory(setting, sample, &without, &rows);
  *left = fmax(1, (limit > 0 ? limit : cli_available_memory()) - without);
  return cli_check_memory(setting->values, without, "fewer --max-tokens, shorter --length", err);
}

static xcoder_status compare(cli_setting *setting, const xcoder_tokens *tokens, const char *path, xcoder_error *err) {
  const cli_values *values = setting->values;
  const cli_sample sample = take_sample(setting, tokens, OPT_CORPUS);
  xcoder_similarity *similarity = NULL;
  double left;
  xcoder_status status = check_memory(setting, &sample, &left, err);
  if (status)
    return status;
  char *folder = cli_folder_of(path);
  xcoder_similarity_options options = {.layer = (long)cli_integer(values, OPT_LAYER),
                                       .mask.keep_first = cli_flag(values, OPT_KEEP_FIRST),
                                       .max_tokens = (size_t)cli_integer(values, OPT_SAMPLE),
                                       .max_memory = (uint64_t)left, .scratch = folder};
  long highest = options.layer < 0 ? 0 : options.layer;
  if (!folder)
    status = cli_fail_memory(err);
  if (!status)
    status = xcoder_similarity_create(tokens, setting->n_checkpoints, &options, &similarity, err);
  for (size_t c = 0; !status && c < setting->n_checkpoints; c++) {
    xcoder_model *model = NULL;
    status = xcoder_model_open(setting->folders[c], setting->device, highest, &model, err);
    if (!status)
      status = xcoder_similarity_add(similarity, model, setting->labels[c], setting->tokens_seen[c],
                                     &setting->call->monitor, err);
    xcoder_model_close(model);
    if (!status && cli_stop)
      status = cli_fail(err, XCODER_INTERRUPTED, "stopped");
  }
  if (!status)
    status = xcoder_similarity_write(similarity, path, &setting->call->monitor, err);
  xcoder_similarity_free(similarity);
  free(folder);
  return status;
}

/* What is compared: the prompts of --task, or else one of the texts. */
static bool compares_prompts(const cli_values *values) {
  return cli_is_set(values, OPT_TASK) && values->value[OPT_TASK].origin >= values->value[OPT_CORPUS].origin &&
         values->value[OPT_TASK].origin == FROM_COMMAND_LINE;
}

static cli_id find_text(const cli_values *values) {
  return cli_is_set(values, OPT_HELDOUT) && values->value[OPT_CORPUS].origin != FROM_COMMAND_LINE ? OPT_HELDOUT
                                                                                                  : OPT_CORPUS;
}

/* Everything but the text, which may be long. */
static xcoder_status prepare(cli_setting *setting, xcoder_tokens **prompts, xcoder_error *err) {
  const cli_values *values = setting->values;
  const bool tasks = compares_prompts(values);
  const cli_id text = find_text(values);
  xcoder_status status = cli_require(values, OPT_LAYER, err);
  if (!status)
    status = tasks ? cli_check_files(values, OPT_TASK, err) : cli_require(values, text, err);
  if (!status && !tasks)
    status = cli_check_files(values, text, err);
  if (!status)
    status = cli_need_checkpoints(setting, err);
  if (!status && setting->n_checkpoints < 2)
    status = cli_fail(err, XCODER_USAGE, "--checkpoints: one was found, expected at least two to compare");
  if (!status)
    status = cli_need_tokenizer(setting, err);
  if (!status && tasks)
    status = cli_need_tasks(setting, err);
  if (!status && tasks)
    status = make_prompts(setting, prompts, err);
  return status ? status : cli_need_device(setting, err);
}

static xcoder_status print_needs(const cli_setting *setting, const cli_sample *sample, xcoder_error *err) {
  cli_needs needs;
  const xcoder_status status = cli_estimate_similarity(setting, sample, &needs, err);
  if (!status)
    cli_print_needs(&needs, cli_flag(setting->values, OPT_JSON));
  return status;
}

xcoder_status cli_similarity(cli_call *call, xcoder_error *err) {
  cli_setting setting;
  cli_setting_init(&setting, call);
  const cli_value *out = &call->values.value[OPT_OUT];
  const char *given = out->origin == FROM_COMMAND_LINE ? out->text : NULL; /* a plan's out is a run directory */
  const bool only_estimate = cli_flag(&call->values, OPT_ESTIMATE);
  const cli_id text = find_text(&call->values);
  xcoder_tokens *prompts = NULL;
  char *path = NULL;
  double left;
  xcoder_status status = cli_open_result(call, given, "similarity", &path, err);
  if (!status)
    status = prepare(&setting, &prompts, err);
  if (!status) {
    const cli_sample sample = take_sample(&setting, prompts, text);
    status = only_estimate ? print_needs(&setting, &sample, err) : check_memory(&setting, &sample, &left, err);
  }
  if (!status && !only_estimate && !prompts)
    status = cli_need_tokens(&setting, text, err);
  if (!status && !only_estimate)
    status = compare(&setting, prompts ? prompts : setting.heldout ? setting.heldout : setting.corpus, path, err);
  status = cli_close_result(path, given, cli_flag(&call->values, OPT_JSON), !only_estimate, status, err);
  xcoder_tokens_free(prompts);
  cli_setting_close(&setting);
  return status;
}
