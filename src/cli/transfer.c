/* SPDX-License-Identifier: Apache-2.0 */
/* Another checkpoint's activations in one slot of a run's crosscoder. */
#include "compare.h"
#include "job.h"
#include "plan.h"
#include "text.h"

#include <stdlib.h>
#include <string.h>

/* "LABEL=SPEC": the slot, the folder, and a name for what takes the slot. */
typedef struct replacement {
  size_t slot;
  char *folder;
  char *name;
} replacement;

static xcoder_status read_taker(const cli_setting *setting, const char *item, replacement *out, xcoder_error *err) {
  const char *equals = strchr(item, '=');
  const xcoder_info *info = xcoder_describe(setting->coder);
  *out = (replacement){.slot = info->n_checkpoints};
  for (size_t c = 0; equals && c < info->n_checkpoints; c++)
    if (strlen(info->labels[c]) == (size_t)(equals - item) &&
        strncmp(info->labels[c], item, (size_t)(equals - item)) == 0)
      out->slot = c;
  if (out->slot == info->n_checkpoints)
    return cli_fail(err, XCODER_USAGE, "--transfer: '%.200s' was found, expected LABEL=SPEC with a label of the run, "
                    "such as %s", item, info->labels[0]);
  xcoder_status status = xcoder_checkpoint_find(equals + 1, &out->folder, err);
  char *spec = status ? NULL : cli_copy(equals + 1);
  for (size_t n = spec ? strlen(spec) : 0; n > 1 && spec[n - 1] == '/'; n--)
    spec[n - 1] = '\0';
  out->name = spec ? cli_format("%s in %s", cli_spec_label(spec), info->labels[out->slot]) : NULL;
  for (char *p = out->name; p && *p; p++)
    if (*p == '/') /* it names a folder */
      *p = '_';
  free(spec);
  return !status && !out->name ? cli_fail_memory(err) : status;
}

static xcoder_status transfer(cli_setting *setting, const replacement *taker, const char *run, const char *out,
                              xcoder_error *err) {
  char *folder = cli_format("%s/transfer/%s", out, taker->name);
  xcoder_model *model = NULL;
  xcoder_run *lock = NULL;
  const xcoder_attribute_options options = cli_attribute_options(setting->values);
  const xcoder_setting all = {.device = setting->device, .coder = setting->coder, .models = setting->models,
                              .tokenizer = setting->tokenizer, .monitor = &setting->call->monitor};
  xcoder_status status = folder ? xcoder_run_open(folder, &lock, err) : cli_fail_memory(err);
  if (!status)
    status = xcoder_model_open(taker->folder, setting->device, -1, &model, err);
  if (!status)
    status = xcoder_transfer(&all, taker->slot, model, taker->name, setting->heldout,
                             (const xcoder_pairs *const *)setting->tasks, setting->n_tasks, &options,
                             (size_t)cli_integer(setting->values, OPT_TOP), run, folder, err);
  xcoder_model_close(model);
  xcoder_run_close(lock);
  free(folder);
  return status;
}

/* The options of the run, and of `call` what concerns transfers. */
static xcoder_status read_values(const cli_call *from, const char *run, cli_call *call, xcoder_error *err) {
  *call = *from;
  char *path = cli_join(run, "run.yaml");
  xcoder_status status = path ? cli_values_init(&call->values, err) : cli_fail_memory(err);
  if (!status)
    status = cli_plan_read(path, &call->values, FROM_RUN, err);
  free(path);
  return status;
}

xcoder_status cli_transfer_run(const cli_call *from, const char *run, const char *out, xcoder_error *err) {
  const cli_value *list = &from->values.value[OPT_TRANSFER];
  cli_call call = *from;
  cli_setting setting;
  xcoder_status status = read_values(from, run, &call, err);
  cli_setting_init(&setting, &call);
  if (!status)
    status = cli_need_checkpoints(&setting, err);
  if (!status)
    status = cli_need_tokenizer(&setting, err);
  if (!status)
    status = cli_need_device(&setting, err);
  if (!status)
    status = cli_need_coder(&setting, run, err);
  if (!status)
    status = cli_need_tasks(&setting, err);
  if (!status)
    status = cli_need_tokens(&setting, OPT_HELDOUT, err);
  if (!status)
    status = cli_need_models(&setting, -1, err);
  for (size_t i = 0; !status && i < list->n_items; i++) {
    replacement taker;
    status = read_taker(&setting, list->items[i], &taker, err);
    if (!status)
      status = transfer(&setting, &taker, run, out, err);
    xcoder_free(taker.folder);
    free(taker.name);
  }
  cli_setting_close(&setting);
  cli_values_free(&call.values);
  return status;
}
