/* SPDX-License-Identifier: Apache-2.0 */
/* Which checkpoints a command compares: options to labels and folders, and whether they fit together. */
#include "setting.h"
#include "text.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_LABEL_BYTES = 64 };

/* The folder SPEC/REVISION where there is one, else SPEC@REVISION of the cache. */
char *cli_name_revision(const char *spec, const char *revision) {
  char *folder = cli_format("%s/%s", spec, revision);
  if (!folder || cli_is_folder(folder))
    return folder;
  free(folder);
  return cli_format("%s@%s", spec, revision);
}

/* A revision's name may have slashes. */
const char *cli_spec_label(const char *spec) {
  const char *at = strchr(spec, '@');
  return at && !cli_is_folder(spec) ? at + 1 : cli_base_name(spec);
}

static xcoder_status check_label(const cli_setting *setting, size_t index, xcoder_error *err) {
  const char *label = setting->labels[index];
  if (!*label || strlen(label) > MAX_LABEL_BYTES || !cli_is_utf8(label) || strpbrk(label, ",=\"\t\n\r"))
    return cli_fail(err, XCODER_USAGE, "--checkpoints: the label '%.200s' was found, expected 1 to %d bytes of text "
                    "without comma, '=' or quote", label, MAX_LABEL_BYTES);
  for (size_t i = 0; i < index; i++)
    if (strcmp(setting->labels[i], label) == 0)
      return cli_fail(err, XCODER_USAGE, "--checkpoints: the label '%s' was found twice (use LABEL=SPEC)", label);
  return XCODER_OK;
}

static xcoder_status add_checkpoint(cli_setting *setting, size_t index, char *label, char *spec, xcoder_error *err) {
  xcoder_status status = label && spec ? XCODER_OK : cli_fail_memory(err);
  char *folder = NULL;
  setting->labels[index] = label;
  if (!status)
    status = check_label(setting, index, err);
  if (!status)
    status = xcoder_checkpoint_find(spec, &folder, err);
  if (!status && (!(setting->folders[index] = cli_copy(folder)) || !(setting->specs[index] = cli_copy(spec))))
    status = cli_fail_memory(err);
  if (!status)
    status = xcoder_model_inspect(folder, &setting->infos[index], err);
  xcoder_free(folder);
  free(spec);
  return status;
}

/* "LABEL=SPEC", or a SPEC whose last part is the label. */
static xcoder_status add_item(cli_setting *setting, size_t index, const char *item, xcoder_error *err) {
  const char *equals = strchr(item, '=');
  if (equals)
    return add_checkpoint(setting, index, cli_format("%.*s", (int)(equals - item), item), cli_copy(equals + 1), err);
  size_t n = strlen(item);
  while (n > 1 && item[n - 1] == '/')
    n--;
  char *spec = cli_format("%.*s", (int)n, item);
  return add_checkpoint(setting, index, spec ? cli_copy(cli_spec_label(spec)) : NULL, spec, err);
}

static xcoder_status check_sizes(const cli_setting *setting, xcoder_error *err) {
  const xcoder_model_info *first = &setting->infos[0];
  const cli_value *layer = &setting->values->value[OPT_LAYER], *length = &setting->values->value[OPT_LENGTH];
  for (size_t i = 0; i < setting->n_checkpoints; i++) {
    const xcoder_model_info *info = &setting->infos[i];
    if (info->d_model != first->d_model)
      return cli_fail(err, XCODER_USAGE, "%s: width %zu was found, expected %zu as in %s (checkpoints of one model)",
                      setting->folders[i], info->d_model, first->d_model, setting->folders[0]);
    if (layer->text && layer->integer >= (long long)info->n_layers)
      return cli_fail(err, XCODER_USAGE, "--layer: %lld was found, %s has layers -1 to %zu", layer->integer,
                      setting->folders[i], info->n_layers - 1);
    uint32_t with_length = WITH_TOKENS & ~(uint32_t)(IN_INIT | IN_SIMILARITY); /* it may read prompts alone */
    if (setting->call->command->mask & with_length && info->n_context && (size_t)length->integer > info->n_context)
      return cli_fail(err, XCODER_USAGE, "--length: %lld was found, %s has a context of %zu tokens", length->integer,
                      setting->folders[i], info->n_context);
  }
  return XCODER_OK;
}

xcoder_status cli_need_checkpoints(cli_setting *setting, xcoder_error *err) {
  if (setting->labels)
    return XCODER_OK;
  const cli_value *list = &setting->values->value[OPT_CHECKPOINTS];
  const cli_value *revisions = &setting->values->value[OPT_REVISIONS];
  const char *model = cli_text(setting->values, OPT_MODEL);
  if (list->n_items && model)
    return cli_fail(err, XCODER_USAGE, "--checkpoints and --model were found, expected one of them");
  if (!list->n_items && !model)
    return cli_fail(err, XCODER_USAGE, "checkpoints are missing (--checkpoints=LABEL=DIR,... or --model and "
                    "--revisions, or --config=PLAN)");
  size_t n = list->n_items ? list->n_items : revisions->n_items ? revisions->n_items : 1;
  size_t most = setting->call->command->mask & ONE_BY_ONE ? CLI_MOST_REVISIONS : XCODER_MAX_CHECKPOINTS;
  if (n > most)
    return cli_fail(err, XCODER_USAGE, "--checkpoints: %zu were found, expected 1 to %zu", n, most);
  setting->labels = calloc(n, sizeof *setting->labels);
  setting->folders = calloc(n, sizeof *setting->folders);
  setting->infos = calloc(n, sizeof *setting->infos);
  setting->specs = calloc(n, sizeof *setting->specs);
  if (!setting->labels || !setting->folders || !setting->infos || !setting->specs)
    return cli_fail_memory(err);
  setting->n_checkpoints = n;
  xcoder_status status = XCODER_OK;
  for (size_t i = 0; !status && i < n; i++) {
    if (list->n_items)
      status = add_item(setting, i, list->items[i], err);
    else if (revisions->n_items)
      status = add_checkpoint(setting, i, cli_copy(revisions->items[i]), cli_name_revision(model, revisions->items[i]),
                              err);
    else
      status = add_item(setting, i, model, err);
  }
  if (!status)
    status = check_sizes(setting, err);
  return status ? status : cli_find_tokens_seen(&setting->call->values, setting->labels, setting->specs,
                                                setting->folders, n, &setting->tokens_seen, err);
}
