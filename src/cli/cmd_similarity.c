/* SPDX-License-Identifier: Apache-2.0 */
/* crosscoder similarity: activations of all pairs of checkpoints compared, each model run once. */
#include "setting.h"
#include "signals.h"
#include "text.h"

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

static xcoder_status compare(cli_setting *setting, const xcoder_tokens *tokens, const char *path, xcoder_error *err) {
  const cli_values *values = setting->values;
  char *folder = cli_folder_of(path);
  xcoder_similarity *similarity = NULL;
  double limit = cli_integer(values, OPT_MAX_MEMORY) ? (double)cli_integer(values, OPT_MAX_MEMORY)
                                                     : cli_available_memory();
  xcoder_similarity_options options = {.layer = (long)cli_integer(values, OPT_LAYER),
                                       .mask.keep_first = cli_flag(values, OPT_KEEP_FIRST),
                                       .max_tokens = (size_t)cli_integer(values, OPT_SAMPLE),
                                       .max_memory = (uint64_t)(limit / 2), .scratch = folder};
  long highest = options.layer < 0 ? 0 : options.layer;
  xcoder_status status = folder ? XCODER_OK : cli_fail_memory(err);
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

static xcoder_status prepare(cli_setting *setting, xcoder_tokens **prompts, xcoder_error *err) {
  const cli_values *values = setting->values;
  bool tasks = cli_is_set(values, OPT_TASK) && values->value[OPT_TASK].origin >= values->value[OPT_CORPUS].origin &&
               values->value[OPT_TASK].origin == FROM_COMMAND_LINE;
  cli_id text = cli_is_set(values, OPT_HELDOUT) && values->value[OPT_CORPUS].origin != FROM_COMMAND_LINE
                  ? OPT_HELDOUT : OPT_CORPUS;
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
  if (!status)
    status = tasks ? cli_need_tasks(setting, err) : cli_need_tokens(setting, text, err);
  if (!status)
    status = tasks ? make_prompts(setting, prompts, err) : XCODER_OK;
  if (!status)
    status = cli_need_device(setting, err);
  return status;
}

xcoder_status cli_similarity(cli_call *call, xcoder_error *err) {
  cli_setting setting;
  cli_setting_init(&setting, call);
  const cli_value *out = &call->values.value[OPT_OUT];
  const char *given = out->origin == FROM_COMMAND_LINE ? out->text : NULL; /* a plan's out is a run directory */
  xcoder_tokens *prompts = NULL;
  char *path = NULL;
  xcoder_status status = cli_open_result(call, given, "similarity", &path, err);
  if (!status)
    status = prepare(&setting, &prompts, err);
  if (!status)
    status = compare(&setting, prompts ? prompts : setting.heldout ? setting.heldout : setting.corpus, path, err);
  status = cli_close_result(path, given, cli_flag(&call->values, OPT_JSON), true, status, err);
  xcoder_tokens_free(prompts);
  cli_setting_close(&setting);
  return status;
}
