/* SPDX-License-Identifier: Apache-2.0 */
/* The stages up to the crosscoder: tokens, scales, train. */
#include "job.h"
#include "text.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static xcoder_status keep_tokens(cli_job *job, cli_id which, const char *name, xcoder_error *err) {
  const cli_value *value = &job->setting.values->value[which];
  bool packed = cli_integer(job->setting.values, OPT_LAYOUT) == 0;
  xcoder_status status = cli_need_tokens(&job->setting, which, err);
  if (status || !packed || cli_is_token_file(value))
    return status;
  char *path = cli_job_path(job, name);
  status = path ? xcoder_tokens_save(which == OPT_CORPUS ? job->setting.corpus : job->setting.heldout, path, err)
                : cli_fail_memory(err);
  free(path);
  return status;
}

xcoder_status cli_work_tokens(cli_job *job, xcoder_error *err) {
  bool stored = cli_is_set(job->setting.values, OPT_STORE);
  bool heldout = cli_is_set(job->setting.values, OPT_HELDOUT);
  cli_stage_clear(job, STAGE_TOKENS, NULL);
  xcoder_status status = stored ? XCODER_OK : keep_tokens(job, OPT_CORPUS, "stages/corpus.npy", err);
  if (!status && heldout)
    status = keep_tokens(job, OPT_HELDOUT, "stages/heldout.npy", err);
  const xcoder_tokens *tokens[2] = {job->setting.corpus, job->setting.heldout};
  for (size_t i = 0; !status && i < 2; i++)
    if (tokens[i])
      cli_note(job->setting.call->progress, "tokens: %s has %zu tokens in %zu sequences", i ? "heldout" : "corpus",
               xcoder_tokens_start(tokens[i])[xcoder_tokens_sequences(tokens[i])], xcoder_tokens_sequences(tokens[i]));
  return status;
}

/* Tokens for a later stage: those that the stage before has kept, or built anew. */
xcoder_status cli_job_tokens(cli_job *job, cli_id which, xcoder_error *err) {
  xcoder_tokens **tokens = which == OPT_CORPUS ? &job->setting.corpus : &job->setting.heldout;
  char *stamp = cli_job_path(job, "stages/tokens.json");
  char *path = cli_job_path(job, which == OPT_CORPUS ? "stages/corpus.npy" : "stages/heldout.npy");
  json_t *key = NULL, *old = NULL;
  xcoder_error ignored;
  if (!*tokens && stamp && path && cli_exists(stamp) && cli_exists(path) &&
      !cli_stage_key(job, STAGE_TOKENS, SIZE_MAX, &key, &ignored) && !cli_read_json(stamp, &old, &ignored) &&
      json_equal(key, old) &&
      xcoder_tokens_load(path, (size_t)cli_integer(job->setting.values, OPT_LENGTH), tokens, &ignored))
    *tokens = NULL;
  json_decref(key);
  json_decref(old);
  free(stamp);
  free(path);
  return cli_need_tokens(&job->setting, which, err);
}

static xcoder_source_options source_options(const cli_job *job) {
  const cli_values *values = job->setting.values;
  xcoder_source_options options = {0};
  options.seed = (uint64_t)cli_integer(values, OPT_SEED);
  options.mask.keep_first = cli_flag(values, OPT_KEEP_FIRST);
  options.window_samples = (uint64_t)cli_integer(values, OPT_WINDOW);
  options.batch_tokens = (size_t)cli_integer(values, OPT_BATCH_TOKENS);
  options.sequential = cli_flag(values, OPT_SEQUENTIAL_MODELS);
  return options;
}

/* Validation reads its first batches again and again; nothing is gained by more in memory. */
double cli_validation_window(const cli_values *values) {
  double needed = (double)cli_integer(values, OPT_VALIDATION_BATCHES) * (double)cli_integer(values, OPT_BATCH_SIZE);
  double window = (double)cli_integer(values, OPT_WINDOW);
  return fmin(window > 0 ? window : 128.0 * 4096, fmax(needed, 32768));
}

/* The mean norm is known after a few ten thousand samples: a window of the training would take an hour to fill with
 * large models. A corpus that fits into the window is run through whole anyway. */
double cli_scales_window(const cli_values *values, double corpus_tokens) {
  double window = (double)cli_integer(values, OPT_WINDOW);
  window = window > 0 ? window : 128.0 * 4096;
  return corpus_tokens > window ? fmin(window, 65536) : window;
}

static xcoder_status open_source(cli_job *job, cli_id which, double window, xcoder_source **source,
                                 xcoder_error *err) {
  const cli_values *values = job->setting.values;
  xcoder_source_options options = source_options(job);
  if (window > 0)
    options.window_samples = (uint64_t)window;
  bool layered = cli_is_set(values, OPT_LAYER);
  long layer = (long)cli_integer(values, OPT_LAYER);
  if (which == OPT_CORPUS && cli_is_set(values, OPT_STORE))
    return xcoder_source_store(cli_text(values, OPT_STORE), layered ? layer : LONG_MIN, &options, source, err);
  xcoder_status status = cli_job_tokens(job, which, err);
  if (!status)
    status =
        cli_need_models(&job->setting, cli_stop_tolerance(job) > 0 ? -1 : layer, err); /* effects need all blocks */
  if (!status)
    status = xcoder_source_live(job->setting.models, job->setting.n_checkpoints, layer,
                                which == OPT_CORPUS ? job->setting.corpus : job->setting.heldout, &options, source,
                                err);
  return status;
}

static xcoder_status write_scales(cli_job *job, const float *scales, size_t n, double relative, xcoder_error *err) {
  json_t *list = json_array();
  for (size_t i = 0; i < n; i++)
    json_array_append_new(list, json_real((double)scales[i]));
  json_t *object = json_pack("{s:i,s:o,s:f}", "format", 1, "scales", list, "relative_error", relative);
  char *path = cli_job_path(job, "stages/scales-found.json");
  xcoder_status status = object && path ? cli_write_json(path, object, err) : cli_fail_memory(err);
  json_decref(object);
  free(path);
  return status;
}

xcoder_status cli_work_scales(cli_job *job, xcoder_error *err) {
  float scales[XCODER_MAX_CHECKPOINTS] = {0};
  double relative = 0;
  xcoder_source *source = NULL;
  xcoder_status status = open_source(job, OPT_CORPUS, 0, &source, err);
  double samples = status ? 0 : (double)xcoder_source_epoch(source);
  double window = cli_scales_window(job->setting.values, samples);
  if (!status && samples > window) {
    xcoder_source_close(source);
    source = NULL;
    status = open_source(job, OPT_CORPUS, window, &source, err);
  }
  if (!status)
    status = xcoder_source_scales(source, scales, &relative, &job->setting.call->monitor, err);
  if (!status)
    status = write_scales(job, scales, xcoder_source_checkpoints(source), relative, err);
  xcoder_source_close(source);
  return status;
}

static xcoder_status read_scales(const cli_job *job, float *scales, size_t n, xcoder_error *err) {
  char *path = cli_job_path(job, "stages/scales-found.json");
  json_t *object = NULL;
  xcoder_status status = path ? cli_read_json(path, &object, err) : cli_fail_memory(err);
  json_t *list = json_object_get(object, "scales");
  if (!status && json_array_size(list) != n)
    status = cli_fail(err, XCODER_STATE, "%s: %zu scales were found, expected %zu (--force)", path,
                      json_array_size(list), n);
  for (size_t i = 0; !status && i < n; i++)
    scales[i] = (float)json_number_value(json_array_get(list, i));
  json_decref(object);
  free(path);
  return status;
}

xcoder_status cli_train_options(const cli_job *job, xcoder_train_options *options, xcoder_error *err) {
  const cli_values *values = job->setting.values;
  xcoder_train_defaults(options);
  options->n_latents = (size_t)cli_integer(values, OPT_LATENTS);
  options->batch_size = (size_t)cli_integer(values, OPT_BATCH_SIZE);
  options->n_tokens = (uint64_t)cli_integer(values, OPT_TOKENS);
  options->learning_rate = cli_number(values, OPT_LEARNING_RATE);
  options->l1_coefficient = cli_number(values, OPT_L1);
  options->warmup_share = cli_number(values, OPT_WARMUP);
  options->decay_share = cli_number(values, OPT_DECAY);
  options->clip_norm = cli_number(values, OPT_CLIP);
  options->decoder_init_norm = cli_number(values, OPT_DECODER_INIT_NORM);
  static const xcoder_activation activations[] = {XCODER_RELU, XCODER_BATCH_TOPK, XCODER_TOPK, XCODER_JUMP_RELU};
  options->activation = activations[cli_integer(values, OPT_ACTIVATION)];
  options->k = (size_t)cli_integer(values, OPT_K);
  options->auxiliary_coefficient = cli_number(values, OPT_AUX_COEFFICIENT);
  options->dead_tokens = (uint64_t)cli_integer(values, OPT_DEAD_TOKENS);
  options->l0_coefficient = cli_number(values, OPT_L0);
  options->bandwidth = cli_number(values, OPT_BANDWIDTH);
  options->initial_threshold = cli_number(values, OPT_FIRST_THRESHOLD);
  options->seed = (uint64_t)cli_integer(values, OPT_SEED);
  options->log_every = (uint64_t)cli_integer(values, OPT_LOG_EVERY);
  options->validate_every = (uint64_t)cli_integer(values, OPT_VALIDATE_EVERY);
  options->validation_batches = (uint64_t)cli_integer(values, OPT_VALIDATION_BATCHES);
  options->save_every = (uint64_t)cli_integer(values, OPT_SAVE_EVERY);
  options->keep_checkpoints = (uint64_t)cli_integer(values, OPT_KEEP_CHECKPOINTS);
  options->skip_nan_steps = (uint64_t)cli_integer(values, OPT_ON_NAN);
  options->layer = cli_is_set(values, OPT_LAYER) ? (long)cli_integer(values, OPT_LAYER) : 0;
  options->snapshots = job->shares;
  options->n_snapshots = job->n_shares;
  options->labels = (const char *const *)job->setting.labels;
  options->mask.keep_first = cli_flag(values, OPT_KEEP_FIRST);
  if (options->n_tokens / options->batch_size == 0)
    return cli_fail(err, XCODER_USAGE, "--tokens: less than one batch");
  return XCODER_OK;
}

/* Compares what a training in `begun` was started with to the key of now; a match is continued. */
static xcoder_status prepare_training(cli_job *job, char hash[33], bool *resume, xcoder_error *err) {
  char *path = cli_job_path(job, "stages/train-begun.json"), *states = cli_job_path(job, "checkpoints");
  json_t *key = NULL, *begun = NULL;
  xcoder_error ignored;
  xcoder_status status = path && states ? cli_stage_key(job, STAGE_TRAIN, SIZE_MAX, &key, err) : cli_fail_memory(err);
  if (!status && cli_read_json(path, &begun, &ignored))
    begun = NULL;
  bool same = begun && json_equal(begun, key);
  *resume = same && cli_exists(states) && !job->force;
  if (!status && !*resume) {
    for (int stage = STAGE_TRAIN; stage < N_STAGES; stage++) {
      cli_stage_clear(job, (cli_stage)stage, NULL);
      cli_remove_stamps(job, (cli_stage)stage);
    }
    status = cli_write_json(path, key, err);
  }
  if (!status)
    status = xcoder_hash_file(path, hash, err);
  json_decref(key);
  json_decref(begun);
  free(path);
  free(states);
  return status;
}

xcoder_status cli_work_train(cli_job *job, xcoder_error *err) {
  xcoder_train_options options;
  xcoder_source *source = NULL, *validation = NULL;
  float scales[XCODER_MAX_CHECKPOINTS] = {0};
  char hash[33] = "";
  bool resume = false;
  bool validate = cli_is_set(job->setting.values, OPT_HELDOUT) && job->setting.n_checkpoints;
  xcoder_status status = cli_train_options(job, &options, err);
  if (!status)
    status = prepare_training(job, hash, &resume, err);
  if (!status)
    status = open_source(job, OPT_CORPUS, 0, &source, err);
  if (!status && validate)
    status = open_source(job, OPT_HELDOUT, cli_validation_window(job->setting.values), &validation, err);
  if (!status)
    status = read_scales(job, scales, xcoder_source_checkpoints(source), err);
  options.config_hash = hash;
  if (cli_stop_tolerance(job) > 0) {
    options.on_snapshot = cli_judge_snapshot;
    options.snapshot_context = job;
  }
  if (!status && resume)
    cli_note(job->setting.call->progress, "train: continues from its newest saved state");
  if (!status)
    status = xcoder_train(source, validation, scales, &options, job->out, resume, job->setting.device,
                          &job->setting.call->monitor, NULL, err);
  xcoder_source_close(validation);
  xcoder_source_close(source);
  return status;
}
