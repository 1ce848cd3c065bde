/* SPDX-License-Identifier: Apache-2.0 */
/* crosscoder init: a commented plan for given checkpoints. */
#include "job.h"
#include "plan.h"
#include "text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static xcoder_status set_text(cli_values *values, cli_id id, const char *text, xcoder_error *err) {
  char *word = cli_copy(text);
  if (!word)
    return cli_fail_memory(err);
  xcoder_status status = cli_set(values, id, &word, 1, false, cli_options[id].name, NULL, FROM_COMMAND_LINE, err);
  free(word);
  return status;
}

static xcoder_status set_number(cli_values *values, cli_id id, long long number, xcoder_error *err) {
  char text[32];
  snprintf(text, sizeof text, "%lld", number);
  return set_text(values, id, text, err);
}

static bool is_default(const cli_values *values, cli_id id) { return values->value[id].origin == FROM_DEFAULT; }

/* Sizes that suit the model where none were given: a layer in the middle, eight features for each dimension of the
 * residual stream (the paper's ratio), sequences within the context. */
static xcoder_status choose_sizes(cli_values *values, const xcoder_model_info *info, xcoder_error *err) {
  xcoder_status status = XCODER_OK;
  if (!cli_is_set(values, OPT_LAYER))
    status = set_number(values, OPT_LAYER, (long long)info->n_layers / 2, err);
  if (!status && is_default(values, OPT_LATENTS) && 8 * info->d_model < 16384)
    status = set_number(values, OPT_LATENTS, (long long)(8 * info->d_model), err);
  if (!status && is_default(values, OPT_LENGTH) && info->n_context && info->n_context < 1024)
    status = set_number(values, OPT_LENGTH, (long long)info->n_context, err);
  return status;
}

static double expected_hours(const cli_job *job) {
  double seconds = 0;
  for (int stage = 0; stage < N_STAGES; stage++)
    seconds += job->estimate.seconds[stage];
  return seconds / 3600;
}

/* Steps of training: the paper's budget, or less where that takes more than `hours` or, unless the user named the
 * hours, more than twenty passes over the corpus. The time grows about in proportion; measurements differ a little each
 * time. */
static xcoder_status choose_budget(cli_job *job, uint32_t wanted, double hours, bool few_passes, xcoder_error *err) {
  cli_values *values = &job->setting.call->values;
  long long batch = cli_integer(values, OPT_BATCH_SIZE);
  double corpus = cli_corpus_tokens(&job->setting), steps = fmax(1, floor(4e8 / (double)batch)), found = 0;
  if (few_passes && corpus > 0)
    steps = fmin(steps, fmax(1, ceil(20 * corpus / (double)batch)));
  xcoder_status status = XCODER_OK;
  for (int i = 0; !status && i < 5; i++) {
    status = set_number(values, OPT_TOKENS, (long long)steps * batch, err);
    if (!status)
      status = cli_estimate_job(job, wanted, true, err);
    found = expected_hours(job);
    if (found <= hours || steps <= 1)
      break;
    steps = fmax(1, floor(0.97 * steps * hours / found));
  }
  if (!status && found > 1.2 * hours)
    return cli_fail(err, XCODER_USAGE, "--hours: %g was found, even %.0f steps of training make it %.2g", hours, steps,
                    found);
  return status;
}

/* Twenty-four hours unless a budget is given; what was chosen is said. */
static xcoder_status choose_tokens(cli_job *job, uint32_t wanted, xcoder_error *err) {
  const cli_values *values = job->setting.values;
  bool hours = cli_is_set(values, OPT_HOURS), tokens = !is_default(values, OPT_TOKENS);
  if (tokens && !hours)
    return cli_estimate_job(job, wanted, true, err);
  xcoder_status status = choose_budget(job, wanted, hours ? cli_number(values, OPT_HOURS) : 24, !hours, err);
  if (!status)
    cli_note(job->setting.call->progress, "tokens: %lld for training, %lld steps, %.1f hours in all (%s)",
             cli_integer(values, OPT_TOKENS), cli_integer(values, OPT_TOKENS) / cli_integer(values, OPT_BATCH_SIZE),
             expected_hours(job), hours ? "at most --hours" : "at most 24 hours and 20 passes over the corpus; --hours "
             "or --tokens for another budget");
  return status;
}

static xcoder_status make_absolute(cli_value *value, bool labelled, char separator, xcoder_error *err) {
  for (size_t i = 0; i < value->n_items; i++) {
    const char *item = value->items[i], *head = labelled ? strchr(item, separator) : NULL;
    const char *path = head ? head + 1 : item;
    char *absolute = cli_exists(path) ? cli_absolute(path) : cli_copy(path);
    char *whole = absolute ? cli_format("%.*s%s", (int)(path - item), item, absolute) : NULL;
    free(absolute);
    if (!whole)
      return cli_fail_memory(err);
    free(value->items[i]);
    value->items[i] = whole;
  }
  return XCODER_OK;
}

/* Paths were given relative to here, a plan's are relative to the plan. */
static xcoder_status move_paths(cli_values *values, const char *out, xcoder_error *err) {
  if (!out || !strchr(out, '/'))
    return XCODER_OK;
  xcoder_status status = make_absolute(&values->value[OPT_CHECKPOINTS], true, '=', err);
  static const cli_id lists[] = {OPT_CORPUS, OPT_HELDOUT, OPT_TASK};
  for (size_t i = 0; !status && i < 3; i++)
    status = make_absolute(&values->value[lists[i]], lists[i] == OPT_TASK, ':', err);
  static const cli_id texts[] = {OPT_MODEL, OPT_TOKENIZER, OPT_GOLD, OPT_TOKEN_LABELS, OPT_STORE};
  for (size_t i = 0; !status && i < 4; i++) {
    cli_value *value = &values->value[texts[i]];
    char *path = value->text && cli_exists(value->text) ? cli_absolute(value->text) : NULL;
    if (path) {
      free(value->text);
      value->text = path;
    }
  }
  return status;
}

/* Every checkpoint with the label that it would get anyway. */
static xcoder_status spell_labels(cli_setting *setting, xcoder_error *err) {
  cli_value *list = &setting->call->values.value[OPT_CHECKPOINTS];
  for (size_t i = 0; i < list->n_items; i++) {
    char *whole = strchr(list->items[i], '=') ? cli_copy(list->items[i])
                                              : cli_format("%s=%s", setting->labels[i], list->items[i]);
    if (!whole)
      return cli_fail_memory(err);
    free(list->items[i]);
    list->items[i] = whole;
  }
  return XCODER_OK;
}

static void add_head(cli_string *text, const cli_job *job) {
  const xcoder_model_info *info = &job->setting.infos[job->setting.n_checkpoints - 1];
  char memory[32], disk[32];
  cli_addf(text, "# A plan for crosscoder run: %zu checkpoints of a %s model with %zu layers of width %zu.\n",
           job->setting.n_checkpoints, info->family, info->n_layers, info->d_model);
  cli_addf(text, "# Needs about %s of memory and %s of disk; expected time %.2f hours on the machine where it\n"
           "# was made (crosscoder run --estimate says it for another).\n",
           cli_size(job->estimate.memory_bytes, memory), cli_size(job->estimate.disk_bytes, disk), expected_hours(job));
  cli_add(text, "# Every key is an option; lines that start with #KEY: are options without a value.\n"
                "# Paths are relative to this file.\n");
}

static xcoder_status write_plan(cli_job *job, const char *out, xcoder_error *err) {
  cli_values *values = &job->setting.call->values;
  cli_string text = {0};
  char *old = values->value[OPT_OUT].text, run[] = "run";
  xcoder_status status = spell_labels(&job->setting, err);
  if (!status)
    status = move_paths(values, out, err);
  add_head(&text, job);
  values->value[OPT_OUT].text = run;
  if (!status)
    status = cli_plan_write(values, true, &text, err);
  values->value[OPT_OUT].text = old;
  if (!status && out)
    status = xcoder_write_file(out, text.text, text.n_bytes, err);
  else if (!status)
    fwrite(text.text, 1, text.n_bytes, stdout);
  if (!status && out)
    printf("%s\n", out);
  cli_string_free(&text);
  return status;
}

xcoder_status cli_init(cli_call *call, xcoder_error *err) {
  cli_job job;
  cli_job_init(&job, call);
  cli_values *values = &call->values;
  char *out = cli_is_set(values, OPT_OUT) ? cli_copy(cli_text(values, OPT_OUT)) : NULL;
  uint32_t wanted = (1u << N_STAGES) - 1;
  xcoder_status status = XCODER_OK;
  if (call->n_operands)
    status = cli_set(values, OPT_CHECKPOINTS, call->operands, call->n_operands, true, "CHECKPOINT", NULL,
                     FROM_COMMAND_LINE, err);
  if (!status && out && cli_exists(out) && !cli_flag(values, OPT_FORCE))
    status = cli_fail(err, XCODER_USAGE, "%s: it exists already (--force replaces it)", out);
  if (!status && out)
    status = cli_check_output(values, out, err);
  static const cli_id files[] = {OPT_CORPUS, OPT_HELDOUT, OPT_TASK, OPT_GOLD, OPT_TOKEN_LABELS};
  for (size_t i = 0; !status && i < sizeof files / sizeof *files; i++)
    status = cli_check_files(values, files[i], err);
  if (!status)
    status = cli_need_checkpoints(&job.setting, err);
  if (!status)
    status = choose_sizes(values, &job.setting.infos[0], err);
  if (!status && cli_is_set(values, OPT_TASK))
    status = cli_need_tasks(&job.setting, err);
  if (!status)
    status = choose_tokens(&job, wanted, err);
  if (!status)
    status = write_plan(&job, out, err);
  free(out);
  cli_job_close(&job);
  return status;
}
