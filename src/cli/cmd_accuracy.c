/* SPDX-License-Identifier: Apache-2.0 */
/* crosscoder accuracy: minimal pairs at every checkpoint, one model at a time. */
#include "job.h"
#include "signals.h"
#include "text.h"

#include <stdlib.h>
#include <string.h>

static xcoder_status measure_accuracy(cli_setting *setting, const char *path, xcoder_error *err) {
  static const xcoder_normalization lengths[] = {XCODER_SUM, XCODER_PER_CHARACTER, XCODER_PER_BYTE, XCODER_PER_TOKEN};
  xcoder_accuracies *table = NULL;
  xcoder_status status = xcoder_accuracies_create(lengths[cli_integer(setting->values, OPT_NORMALIZE)], &table, err);
  for (size_t c = 0; !status && c < setting->n_checkpoints; c++) {
    xcoder_model *model = NULL;
    status = xcoder_model_open(setting->folders[c], setting->device, -1, &model, err);
    for (size_t t = 0; !status && t < setting->n_tasks; t++)
      status = xcoder_accuracies_add(table, model, setting->labels[c], setting->tokens_seen[c], setting->tasks[t],
                                     &setting->call->monitor, err);
    xcoder_model_close(model);
    if (!status && cli_stop)
      status = cli_fail(err, XCODER_INTERRUPTED, "stopped");
  }
  if (!status)
    status = xcoder_accuracies_write(table, path, err);
  xcoder_accuracies_free(table);
  return status;
}

/* What was kept of every file, and why not the rest. */
static void print_counts(const cli_setting *setting) {
  for (size_t i = 0; i < setting->n_tasks; i++) {
    const xcoder_pairs *task = setting->tasks[i];
    cli_note(setting->call->progress, "%s: %s", xcoder_pairs_name(task), xcoder_pairs_summary(task));
    const char *line = xcoder_pairs_files(task), *end = strchr(line, '\n');
    for (bool several = end && end[1]; several && end; line = end + 1, end = strchr(line, '\n'))
      cli_note(setting->call->progress, "  %.*s", (int)(end - line), line);
  }
}

xcoder_status cli_accuracy(cli_call *call, xcoder_error *err) {
  cli_job job;
  cli_job_init(&job, call);
  const cli_value *out = &call->values.value[OPT_OUT];
  const char *given = out->origin == FROM_COMMAND_LINE ? out->text : NULL; /* a plan's out is a run directory */
  char *path = NULL;
  xcoder_status status = cli_open_result(call, given, "accuracy", &path, err);
  if (!status)
    status = cli_job_check(&job, 1u << STAGE_ACCURACY, err);
  if (!status)
    print_counts(&job.setting);
  bool only_estimate = cli_flag(&call->values, OPT_ESTIMATE);
  if (!status && only_estimate)
    status = cli_estimate_job(&job, 1u << STAGE_ACCURACY, true, err);
  if (!status && only_estimate)
    cli_print_estimate(&job, 1u << STAGE_ACCURACY, cli_flag(&call->values, OPT_JSON));
  else if (!status)
    status = measure_accuracy(&job.setting, path, err);
  status = cli_close_result(path, given, cli_flag(&call->values, OPT_JSON), !only_estimate, status, err);
  cli_job_close(&job);
  return status;
}
