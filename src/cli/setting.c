/* SPDX-License-Identifier: Apache-2.0 */
/* Opens what the options name, once, and closes it. */
#include "setting.h"

#include "signals.h"
#include "text.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void cli_setting_init(cli_setting *setting, cli_call *call) {
  *setting = (cli_setting){.call = call, .values = &call->values};
}

void cli_close_models(cli_setting *setting) {
  for (size_t i = 0; setting->models && i < setting->n_checkpoints; i++)
    xcoder_model_close(setting->models[i]);
  free(setting->models);
  setting->models = NULL;
}

void cli_setting_close(cli_setting *setting) {
  cli_close_models(setting);
  for (size_t i = 0; i < setting->n_checkpoints; i++) {
    free(setting->labels ? setting->labels[i] : NULL);
    free(setting->folders ? setting->folders[i] : NULL);
    free(setting->specs ? setting->specs[i] : NULL);
  }
  free(setting->specs);
  free(setting->tokens_seen);
  free(setting->labels);
  free(setting->folders);
  free(setting->infos);
  for (size_t i = 0; i < setting->n_tasks; i++)
    xcoder_pairs_free(setting->tasks[i]);
  free(setting->tasks);
  xcoder_tokens_free(setting->corpus);
  xcoder_tokens_free(setting->heldout);
  xcoder_free_coder(setting->coder);
  xcoder_tokenizer_close(setting->tokenizer);
  free(setting->tokenizer_path);
  xcoder_device_close(setting->device);
  cli_setting_init(setting, setting->call);
}

xcoder_status cli_require(const cli_values *values, cli_id id, xcoder_error *err) {
  if (cli_is_set(values, id))
    return XCODER_OK;
  return cli_fail(err, XCODER_USAGE, "--%s=%s is missing: %s", cli_options[id].name,
                  cli_options[id].argument ? cli_options[id].argument : "...", cli_options[id].text);
}

bool cli_authors(const cli_values *values) { return cli_integer(values, OPT_CONVENTIONS) == 1; }

xcoder_tokens_options cli_tokens_options(const cli_values *values) {
  xcoder_tokens_options options = {0};
  options.length = (size_t)cli_integer(values, OPT_LENGTH);
  options.min_length = (size_t)cli_integer(values, OPT_MIN_LENGTH);
  options.layout = cli_integer(values, OPT_LAYOUT) == 0 ? XCODER_PACKED : XCODER_DOCUMENTS;
  options.no_prepend = cli_flag(values, OPT_NO_PREPEND);
  options.max_tokens = (uint64_t)cli_integer(values, OPT_MAX_TOKENS);
  options.token_bytes = (unsigned)cli_integer(values, OPT_TOKEN_BITS) * 2;
  return options;
}

xcoder_pairs_options cli_pairs_options(const cli_values *values) {
  xcoder_pairs_options options = {0};
  options.no_prepend = cli_flag(values, OPT_NO_PREPEND) || cli_authors(values);
  options.authors_rule = cli_authors(values);
  options.max_pairs = (uint64_t)cli_integer(values, OPT_MAX_PAIRS);
  options.sentences = cli_integer(values, OPT_SCORING) == 1;
  if (options.sentences)
    options.no_prepend = cli_flag(values, OPT_NO_PREPEND);
  options.delimiter = cli_text(values, OPT_DELIMITER);
  return options;
}

xcoder_status cli_need_tokenizer(cli_setting *setting, xcoder_error *err) {
  if (setting->tokenizer)
    return XCODER_OK;
  const char *spec = cli_text(setting->values, OPT_TOKENIZER);
  xcoder_status status = XCODER_OK;
  char *found = NULL;
  if (!spec && setting->n_checkpoints)
    spec = setting->folders[setting->n_checkpoints - 1];
  if (!spec)
    return cli_require(setting->values, OPT_TOKENIZER, err);
  if (!cli_exists(spec))
    status = xcoder_checkpoint_find(spec, &found, err);
  if (!status && !(setting->tokenizer_path = cli_copy(found ? found : spec)))
    status = cli_fail_memory(err);
  xcoder_free(found);
  if (!status)
    status = xcoder_tokenizer_open(setting->tokenizer_path, &setting->tokenizer, err);
  for (size_t i = 0; !status && i < setting->n_checkpoints; i++)
    if (xcoder_tokenizer_size(setting->tokenizer) > setting->infos[i].n_vocab)
      status = cli_fail(err, XCODER_MISMATCH, "%s: ids up to %zu were found, %s has a vocabulary of %zu "
                        "(use --tokenizer)", setting->tokenizer_path, xcoder_tokenizer_size(setting->tokenizer) - 1,
                        setting->folders[i], setting->infos[i].n_vocab);
  return status;
}

/* A device whose results are wrong is not used; "auto" has looked at that itself. */
static xcoder_status open_tested(const char *spec, xcoder_device **device, xcoder_error *err) {
  xcoder_status status = xcoder_device_open(spec, device, err);
  if (status || strncmp(spec, "opencl", 6) != 0)
    return status;
  status = xcoder_device_self_test(*device, err);
  if (status) {
    xcoder_device_close(*device);
    *device = NULL;
  }
  return status;
}

xcoder_status cli_need_device(cli_setting *setting, xcoder_error *err) {
  static const char *const compute[] = {"fp32", "bf16", "bf16-all"};
  if (setting->device)
    return XCODER_OK;
  const char *spec = cli_text(setting->values, OPT_DEVICE);
  xcoder_status status = open_tested(spec, &setting->device, err);
  if (status == XCODER_DEVICE && cli_integer(setting->values, OPT_FALLBACK) == 1) {
    char *warning = cli_format("%s; going on with the processor", err->message);
    cli_warn(setting->call->progress, warning ? warning : "going on with the processor");
    free(warning);
    status = xcoder_device_open("cpu", &setting->device, err);
  }
  if (!status && (cli_integer(setting->values, OPT_FALLBACK) == 1 ||
                  strcmp(cli_text(setting->values, OPT_DEVICE), "auto") == 0))
    xcoder_device_set_fallback(setting->device, cli_warn, setting->call->progress);
  if (!status)
    status = xcoder_device_fit(setting->device, &setting->plan, err);
  if (!status)
    status = xcoder_device_set_compute(setting->device, compute[cli_integer(setting->values, OPT_COMPUTE)], err);
  if (!status && strcmp(cli_text(setting->values, OPT_DEVICE), "auto") == 0)
    cli_note(setting->call->progress, "device: %s%s%s", xcoder_device_name(setting->device),
             *xcoder_device_reason(setting->device) ? ": " : "", xcoder_device_reason(setting->device));
  return status;
}

xcoder_status cli_need_models(cli_setting *setting, long highest, xcoder_error *err) {
  if (setting->models && (setting->models_highest < 0 || (highest >= 0 && highest <= setting->models_highest)))
    return XCODER_OK;
  cli_close_models(setting);
  xcoder_status status = cli_need_checkpoints(setting, err);
  if (!status)
    status = cli_need_device(setting, err);
  if (!status && !(setting->models = calloc(setting->n_checkpoints, sizeof *setting->models)))
    status = cli_fail_memory(err);
  setting->models_highest = highest;
  for (size_t i = 0; !status && i < setting->n_checkpoints; i++) {
    status = xcoder_model_open(setting->folders[i], setting->device, highest, &setting->models[i], err);
    if (!status)
      xcoder_model_set_stop(setting->models[i], &cli_stop);
    if (!status && cli_stop)
      status = cli_fail(err, XCODER_INTERRUPTED, "stopped");
  }
  if (status)
    cli_close_models(setting);
  return status;
}

char *cli_join_items(const cli_value *value) {
  cli_string text = {0};
  for (size_t i = 0; i < value->n_items; i++)
    cli_addf(&text, "%s%s", i ? "," : "", value->items[i]);
  if (text.failed)
    cli_string_free(&text);
  return text.text;
}

xcoder_status cli_check_files(const cli_values *values, cli_id which, xcoder_error *err) {
  const cli_value *value = &values->value[which];
  for (size_t i = 0; i < (cli_is_list(cli_options[which].type) ? value->n_items : value->text != NULL); i++) {
    const char *path = cli_is_list(cli_options[which].type) ? value->items[i] : value->text;
    if (cli_options[which].type == CLI_TASKS && strchr(path, ':'))
      path = strchr(path, ':') + 1;
    if (strcmp(path, "-") != 0 && !cli_exists(path))
      return cli_fail(err, XCODER_MISSING, "%s: %s (--%s)", path, strerror(errno), cli_options[which].name);
  }
  return XCODER_OK;
}

static bool is_same_file(const char *a, const char *b) {
  struct stat x, y;
  return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

xcoder_status cli_check_output(const cli_values *values, const char *out, xcoder_error *err) {
  static const cli_id inputs[] = {OPT_CHECKPOINTS, OPT_TOKENIZER,    OPT_CORPUS, OPT_HELDOUT, OPT_TASK,
                                  OPT_GOLD,        OPT_TOKEN_LABELS, OPT_STORE,  OPT_CONFIG};
  for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++) {
    const cli_value *value = &values->value[inputs[i]];
    bool list = cli_is_list(cli_options[inputs[i]].type);
    for (size_t k = 0; k < (list ? value->n_items : value->text != NULL); k++) {
      const char *path = list ? value->items[k] : value->text;
      char mark = inputs[i] == OPT_CHECKPOINTS ? '=' : inputs[i] == OPT_TASK ? ':' : '\0';
      path = mark && strchr(path, mark) ? strchr(path, mark) + 1 : path;
      if (is_same_file(path, out))
        return cli_fail(err, XCODER_USAGE, "%s: it is an input (--%s), expected another place for the output", out,
                        cli_options[inputs[i]].name);
    }
  }
  return XCODER_OK;
}

/* Two tasks of one name would write the same files. */
static xcoder_status check_names(const cli_setting *setting, xcoder_error *err) {
  for (size_t i = 0; i < setting->n_tasks; i++)
    for (size_t j = 0; j < i; j++)
      if (strcmp(xcoder_pairs_name(setting->tasks[i]), xcoder_pairs_name(setting->tasks[j])) == 0)
        return cli_fail(err, XCODER_USAGE, "--task: two tasks are called %s (rename one of the files)",
                        xcoder_pairs_name(setting->tasks[i]));
  return XCODER_OK;
}

xcoder_status cli_need_tasks(cli_setting *setting, xcoder_error *err) {
  if (setting->tasks)
    return XCODER_OK;
  const cli_value *value = &setting->values->value[OPT_TASK];
  xcoder_pairs_options options = cli_pairs_options(setting->values);
  xcoder_status status = cli_require(setting->values, OPT_TASK, err);
  if (!status)
    status = cli_check_files(setting->values, OPT_TASK, err);
  if (!status)
    status = cli_need_tokenizer(setting, err);
  if (!status && !(setting->tasks = calloc(value->n_items, sizeof *setting->tasks)))
    status = cli_fail_memory(err);
  for (size_t i = 0; !status && i < value->n_items; i++) {
    status = xcoder_pairs_load(value->items[i], setting->tokenizer, &options, &setting->tasks[i], err);
    if (!status)
      setting->n_tasks++;
    if (!status && xcoder_pairs_count(setting->tasks[i]) == 0)
      status = cli_fail(err, XCODER_MISMATCH, "%s: no pair is left: %s", value->items[i],
                        xcoder_pairs_summary(setting->tasks[i]));
  }
  return status ? status : check_names(setting, err);
}

xcoder_status cli_need_coder(cli_setting *setting, const char *path, xcoder_error *err) {
  if (setting->coder)
    return XCODER_OK;
  xcoder_status status = xcoder_load(path, &setting->coder, err);
  if (status)
    return status;
  const xcoder_info *info = xcoder_describe(setting->coder);
  if (setting->n_checkpoints && info->n_checkpoints != setting->n_checkpoints)
    return cli_fail(err, XCODER_MISMATCH, "%s: %zu checkpoints were found, %zu were given", path, info->n_checkpoints,
                    setting->n_checkpoints);
  for (size_t i = 0; i < setting->n_checkpoints; i++) {
    if (setting->infos[i].d_model != info->d_model)
      return cli_fail(err, XCODER_MISMATCH, "%s: width %zu was found, %s has %zu", path, info->d_model,
                      setting->folders[i], setting->infos[i].d_model);
    if (info->layer >= (long)setting->infos[i].n_layers)
      return cli_fail(err, XCODER_MISMATCH, "%s: layer %ld was found, %s has layers -1 to %zu", path, info->layer,
                      setting->folders[i], setting->infos[i].n_layers - 1);
    if (strcmp(info->labels[i], setting->labels[i]) != 0)
      return cli_fail(err, XCODER_MISMATCH, "%s: checkpoint %zu is called '%s', '%s' was given", path, i,
                      info->labels[i], setting->labels[i]);
  }
  return XCODER_OK;
}
