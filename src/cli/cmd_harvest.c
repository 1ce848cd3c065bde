/* SPDX-License-Identifier: Apache-2.0 */
/* crosscoder harvest: activations of all checkpoints into a store. */
#include "job.h"
#include "text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --layers, or --layer alone. */
static xcoder_status read_layers(const cli_setting *setting, long **layers, size_t *n_layers, xcoder_error *err) {
  const cli_value *list = &setting->values->value[OPT_LAYERS];
  *n_layers = list->n_items ? list->n_items : 1;
  *layers = calloc(*n_layers, sizeof **layers);
  if (!*layers)
    return cli_fail_memory(err);
  if (!list->n_items) {
    (*layers)[0] = (long)cli_integer(setting->values, OPT_LAYER);
    return cli_require(setting->values, OPT_LAYER, err);
  }
  for (size_t i = 0; i < list->n_items; i++) {
    char *end = NULL;
    errno = 0;
    long layer = strtol(list->items[i], &end, 10);
    if (errno || *end || end == list->items[i] || layer < -1 || layer >= (long)setting->infos[0].n_layers)
      return cli_fail(err, XCODER_USAGE, "--layers: '%s' was found, %s has layers -1 to %zu", list->items[i],
                      setting->folders[0], setting->infos[0].n_layers - 1);
    (*layers)[i] = layer;
  }
  return XCODER_OK;
}

xcoder_status cli_harvest_layers(cli_setting *setting, const long *layers, size_t n_layers, const char *out,
                                 xcoder_error *err) {
  long highest = 0;
  for (size_t i = 0; i < n_layers; i++)
    highest = layers[i] > highest ? layers[i] : highest;
  xcoder_status status = cli_need_tokens(setting, OPT_CORPUS, err);
  if (!status)
    status = cli_check_disk(out, cli_store_bytes(setting, n_layers), err);
  if (!status)
    status = cli_need_models(setting, highest, err);
  xcoder_harvest_options options = {.layers = layers, .n_layers = n_layers,
                                    .labels = (const char *const *)setting->labels,
                                    .mask.keep_first = cli_flag(setting->values, OPT_KEEP_FIRST),
                                    .batch_tokens = (size_t)cli_integer(setting->values, OPT_BATCH_TOKENS),
                                    .shard_tokens = (uint64_t)cli_integer(setting->values, OPT_SHARD_TOKENS)};
  xcoder_traffic before = {0};
  if (!status)
    xcoder_device_traffic(setting->device, &before);
  if (!status)
    status = xcoder_harvest(setting->models, setting->n_checkpoints, setting->corpus, &options, out,
                            &setting->call->monitor, err);
  cli_note_traffic(setting->call->progress, "harvest", setting->device, &before);
  return status;
}

static double corpus_tokens(const cli_setting *setting) {
  return (double)xcoder_tokens_start(setting->corpus)[xcoder_tokens_sequences(setting->corpus)];
}

double cli_store_bytes(const cli_setting *setting, size_t n_layers) {
  return 2.0 * corpus_tokens(setting) * (double)(setting->n_checkpoints * n_layers * setting->infos[0].d_model);
}

static xcoder_status harvest(cli_job *job, const char *out, xcoder_error *err) {
  cli_setting *setting = &job->setting;
  long *layers = NULL;
  size_t n_layers = 0;
  xcoder_status status = read_layers(setting, &layers, &n_layers, err);
  if (!status)
    status = cli_need_tokens(setting, OPT_CORPUS, err);
  double n_tokens = status ? 0 : corpus_tokens(setting), disk = status ? 0 : cli_store_bytes(setting, n_layers);
  char size[32];
  long highest = -1;
  for (size_t i = 0; i < n_layers && layers; i++)
    highest = layers[i] > highest ? layers[i] : highest;
  if (!status && cli_flag(setting->values, OPT_ESTIMATE)) {
    status = cli_estimate_harvest(job, n_layers, highest, err);
    if (!status)
      cli_print_estimate(job, 1u << STAGE_TRAIN, cli_flag(setting->values, OPT_JSON));
    free(layers);
    return status;
  }
  if (!status)
    status = cli_harvest_layers(setting, layers, n_layers, out, err);
  if (!status && cli_flag(setting->values, OPT_JSON))
    printf("{\"tokens\": %.0f, \"layers\": %zu, \"bytes\": %.0f}\n", n_tokens, n_layers, disk);
  else if (!status)
    printf("%s: %.0f tokens, %zu checkpoints, %zu layers, %s\n", out, n_tokens, setting->n_checkpoints, n_layers,
           cli_size(disk, size));
  free(layers);
  return status;
}

xcoder_status cli_harvest(cli_call *call, xcoder_error *err) {
  cli_job job;
  cli_job_init(&job, call);
  const cli_value *value = &call->values.value[OPT_OUT];
  /* out of a plan is the run directory; a store has its own place, the plan's store */
  const char *out = value->origin == FROM_COMMAND_LINE ? value->text : cli_text(&call->values, OPT_STORE);
  xcoder_status status = XCODER_OK;
  if (!out && !cli_flag(&call->values, OPT_ESTIMATE))
    status = cli_fail(err, XCODER_USAGE, "--out=PATH is missing: the folder of the store");
  if (!status && out && cli_exists(out) && !cli_is_folder(out))
    status = cli_fail(err, XCODER_IO, "%s: a file was found, expected a folder or nothing (--out)", out);
  if (!status && value->origin == FROM_COMMAND_LINE)
    status = cli_check_output(&call->values, out, err);
  if (!status)
    status = cli_require(&call->values, OPT_CORPUS, err);
  if (!status)
    status = cli_check_files(&call->values, OPT_CORPUS, err);
  if (!status)
    status = cli_need_checkpoints(&job.setting, err);
  if (!status)
    status = cli_need_tokenizer(&job.setting, err);
  if (!status && !(job.out = cli_copy(out ? out : ".")))
    status = cli_fail_memory(err);
  if (!status)
    status = harvest(&job, job.out, err);
  cli_job_close(&job);
  return status;
}
