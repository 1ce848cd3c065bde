/* SPDX-License-Identifier: Apache-2.0 */
/* What a job will need: floating-point work from its sizes, time from a short measurement on this machine. */
#include "job.h"
#include "text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Bytes of text for one token, for corpora that are not read yet. */
static const double bytes_per_token = 4;
/* Share of the speed of one large matrix product that the whole of a stage reaches; measured on the bundled example. */
static const double efficiency = 0.5;

typedef struct sizes {
  double n, width, latents;
  double all_weights, below, above; /* weights that a token passes: all blocks and head, up to the layer, above it */
  double prompt_tokens, n_pairs, corpus_tokens, heldout_tokens;
} sizes;

/* Dictionary products on made-up data: floating-point operations in a second. */
static double measure_speed(xcoder_device *device) {
  enum { WIDTH = 512, LATENTS = 2048, SAMPLES = 512 };
  xcoder *coder = NULL;
  xcoder_codes codes = {0};
  xcoder_error ignored;
  float *samples = calloc((size_t)SAMPLES * WIDTH, sizeof *samples);
  double best = 0;
  if (!samples || xcoder_create(1, WIDTH, LATENTS, 0, NULL, NULL, &coder, &ignored)) {
    free(samples);
    return 2e10;
  }
  for (size_t i = 0; i < (size_t)SAMPLES * WIDTH; i++)
    samples[i] = (float)(i % 17) - 8;
  for (int i = 0; i < 3; i++) { /* the first call also starts the threads */
    double started = cli_seconds();
    if (xcoder_encode_sparse(coder, device, samples, SAMPLES, &codes, &ignored))
      break;
    xcoder_codes_free(&codes);
    double speed = 2.0 * WIDTH * LATENTS * SAMPLES / (cli_seconds() - started + 1e-9);
    best = speed > best ? speed : best;
  }
  xcoder_free_coder(coder);
  free(samples);
  return best > 0 ? best : 2e10;
}

static double count_tokens(const cli_setting *setting, cli_id which) {
  const xcoder_tokens *tokens = which == OPT_CORPUS ? setting->corpus : setting->heldout;
  if (tokens)
    return (double)xcoder_tokens_start(tokens)[xcoder_tokens_sequences(tokens)];
  double n_bytes = 0, most = (double)cli_integer(setting->values, OPT_MAX_TOKENS);
  const cli_value *value = &setting->values->value[which];
  for (size_t i = 0; i < value->n_items; i++) {
    struct stat st;
    if (stat(value->items[i], &st) == 0)
      n_bytes += (double)st.st_size;
  }
  double n = n_bytes / bytes_per_token;
  return most > 0 && most < n ? most : n;
}

static sizes measure_sizes(const cli_setting *setting) {
  sizes s = {.n = (double)setting->n_checkpoints, .latents = (double)cli_integer(setting->values, OPT_LATENTS)};
  if (setting->n_checkpoints) {
    const xcoder_model_info *info = &setting->infos[setting->n_checkpoints - 1];
    double embedding = (double)info->n_vocab * (double)info->d_model, layers = (double)info->n_layers;
    double blocks = fmax((double)info->n_parameters - 2 * embedding, 0);
    bool given = cli_is_set(setting->values, OPT_LAYER);
    double layer = given ? (double)cli_integer(setting->values, OPT_LAYER) : layers / 2;
    s.width = (double)info->d_model;
    s.all_weights = blocks + embedding;
    s.below = blocks * (layer + 1) / layers;
    s.above = blocks - s.below + embedding;
  }
  for (size_t t = 0; t < setting->n_tasks; t++) {
    s.n_pairs += (double)xcoder_pairs_count(setting->tasks[t]);
    for (size_t p = 0; p < xcoder_pairs_count(setting->tasks[t]); p++)
      s.prompt_tokens += (double)xcoder_pairs_get(setting->tasks[t], p)->n_prefix;
  }
  s.corpus_tokens = count_tokens(setting, OPT_CORPUS);
  s.heldout_tokens = count_tokens(setting, OPT_HELDOUT);
  return s;
}

/* Two operations for each weight that a token passes, forward; a gradient costs twice a forward pass. */
static void estimate_flops(const cli_setting *setting, const sizes *s, double train_flops, double flops[N_STAGES]) {
  const cli_values *values = setting->values;
  double samples = (double)cli_integer(values, OPT_TOKENS), stored = cli_is_set(values, OPT_STORE) ? 0 : 1;
  double length = (double)cli_integer(values, OPT_LENGTH), top = (double)cli_integer(values, OPT_TOP);
  double eval_tokens = fmin((double)cli_integer(values, OPT_EVAL_BATCHES) *
                            (double)cli_integer(values, OPT_EVAL_SEQUENCES) * length, s->heldout_tokens);
  double encode = 2 * s->n * s->width * s->latents;
  flops[STAGE_TOKENS] = 2e4 * ((stored > 0 ? s->corpus_tokens : 0) + s->heldout_tokens);
  flops[STAGE_SCALES] = stored * fmin(s->corpus_tokens, 4000 * length) * s->n * 2 * s->below * 0.1;
  flops[STAGE_ACCURACY] = s->prompt_tokens * s->n * 2 * s->all_weights;
  flops[STAGE_TRAIN] = train_flops + stored * samples * s->n * 2 * s->below;
  flops[STAGE_EVAL] = eval_tokens * (s->n * 2 * (s->below + 3 * s->above) + 2 * encode) +
                      s->prompt_tokens * (s->n * 2 * (s->below + 2 * s->above) + encode);
  flops[STAGE_ATTRIBUTE] = s->prompt_tokens * (s->n * 2 * (s->below + (double)cli_integer(values, OPT_STEPS) * 3 *
                                               s->above) + encode);
  flops[STAGE_KNOWN] = cli_is_set(values, OPT_GOLD) ? 1500 * 20 * s->n * 2 * s->below : 0;
  flops[STAGE_ABLATE] = s->prompt_tokens * s->n * 2 * s->above * (2 + (double)cli_integer(values, OPT_ABLATE_FEATURES) *
                        fmin(s->n, 3));
  flops[STAGE_FEATURES] = s->heldout_tokens * (s->n * 2 * s->below + encode) +
                          top * s->n * fmax((double)setting->n_tasks, 1) * 2 * s->all_weights;
  flops[STAGE_REPORT] = 1e10;
}

/* The larger of training (weights, moments, batch, the shuffled window) and analyses (a folded copy of the crosscoder,
 * logits of a batch), with the models, the tokens, and what the process and the buffers of BLAS take. */
static double estimate_memory(const cli_setting *setting, const sizes *s, double train_bytes, uint32_t wanted) {
  static const double process_bytes = 12e6, thread_bytes = 10e6, analysis_bytes = 64e6; /* measured on the example */
  const cli_values *values = setting->values;
  double weights = 0, vocabulary = 0, window = (double)cli_integer(values, OPT_WINDOW);
  for (size_t i = 0; i < setting->n_checkpoints; i++) {
    weights += 4 * (double)setting->infos[i].n_parameters;
    vocabulary = fmax(vocabulary, (double)setting->infos[i].n_vocab);
  }
  window = fmin(window > 0 ? window : 128.0 * 4096, s->corpus_tokens);
  double forward = 4 * (double)cli_integer(values, OPT_BATCH_TOKENS) * 12 * s->width;
  double training = train_bytes + 2 * window * s->n * s->width + forward;
  double batch = (double)cli_integer(values, OPT_EVAL_SEQUENCES) * (double)cli_integer(values, OPT_LENGTH);
  double analyses = 4 * 2 * 2 * s->n * s->width * s->latents + 4 * batch * (2 * vocabulary + 12 * s->width) +
                    analysis_bytes;
  double most = wanted & 1u << STAGE_TRAIN ? training : 0;
  if (wanted & (1u << STAGE_EVAL | 1u << STAGE_ATTRIBUTE | 1u << STAGE_ABLATE | 1u << STAGE_FEATURES))
    most = fmax(most, analyses);
  return process_bytes + thread_bytes * xcoder_threads() + weights + 4 * (s->corpus_tokens + s->heldout_tokens) + most;
}

xcoder_status cli_estimate_job(cli_job *job, uint32_t wanted, xcoder_error *err) {
  cli_setting *setting = &job->setting;
  cli_estimate *estimate = &job->estimate;
  sizes s = measure_sizes(setting);
  xcoder_cost cost = {0};
  xcoder_train_options options;
  xcoder_status status = cli_train_options(job, &options, err);
  if (!status && s.n > 0)
    status = xcoder_train_cost(setting->n_checkpoints, (size_t)s.width, &options, &cost, err);
  if (!status)
    status = cli_need_device(setting, err);
  if (status)
    return status;
  estimate->flops_per_second = measure_speed(setting->device);
  estimate_flops(setting, &s, cost.flops, estimate->flops);
  for (int stage = 0; stage < N_STAGES; stage++)
    estimate->seconds[stage] = wanted & 1u << stage ? estimate->flops[stage] / (estimate->flops_per_second * efficiency)
                                                    : 0;
  estimate->memory_bytes = estimate_memory(setting, &s, (double)cost.memory_bytes, wanted);
  bool packed = cli_integer(setting->values, OPT_LAYOUT) == 0;
  estimate->disk_bytes = (wanted & 1u << STAGE_TRAIN ? (double)cost.disk_bytes : 0) +
                         (packed ? 4 * (s.corpus_tokens + s.heldout_tokens) : 0) + 32e6;
  return XCODER_OK;
}

double cli_seconds_after(const cli_job *job, uint32_t wanted, cli_stage stage) {
  double seconds = 0;
  for (int later = stage + 1; later < N_STAGES; later++)
    if (wanted & 1u << later && !(job->done & 1u << later))
      seconds += job->estimate.seconds[later];
  return seconds;
}

void cli_print_estimate(const cli_job *job, uint32_t wanted, bool json) {
  const cli_estimate *e = &job->estimate;
  char size[32], time[32];
  double flops = 0, seconds = 0;
  json_t *stages = json_object();
  for (int stage = 0; stage < N_STAGES; stage++) {
    if (!(wanted & 1u << stage))
      continue;
    flops += e->flops[stage];
    seconds += e->seconds[stage];
    json_object_set_new(stages, cli_stage_name((cli_stage)stage),
                        json_pack("{s:f,s:f}", "flops", e->flops[stage], "hours", e->seconds[stage] / 3600));
  }
  json_t *object = json_pack("{s:f,s:f,s:f,s:f,s:f,s:O}", "memory_bytes", e->memory_bytes, "disk_bytes", e->disk_bytes,
                             "flops", flops, "flops_per_second", e->flops_per_second, "hours", seconds / 3600, "stages",
                             stages);
  if (json) {
    char *text = object ? json_dumps(object, JSON_INDENT(1) | JSON_REAL_PRECISION(5)) : NULL;
    printf("%s\n", text ? text : "{}");
    free(text);
  } else {
    printf("memory          %s\n", cli_size(e->memory_bytes, size));
    printf("disk            %s\n", cli_size(e->disk_bytes, size));
    printf("floating point  %.3g operations, %.3g a second measured here\n", flops, e->flops_per_second);
    printf("expected time   %s (%.2f hours)\n", cli_duration(seconds, time), seconds / 3600);
    for (int stage = 0; stage < N_STAGES; stage++)
      if (wanted & 1u << stage)
        printf("  %-12s  %s\n", cli_stage_name((cli_stage)stage), cli_duration(e->seconds[stage], time));
  }
  json_decref(object);
  json_decref(stages);
}

xcoder_status cli_check_estimate(const cli_job *job, xcoder_error *err) {
  xcoder_status status = cli_check_memory(job->setting.values, job->estimate.memory_bytes, err);
  return status ? status : cli_check_disk(job->out, job->estimate.disk_bytes, err);
}
