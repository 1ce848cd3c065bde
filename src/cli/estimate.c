/* SPDX-License-Identifier: Apache-2.0 */
/* What a job will need: memory and disk from its sizes, time from a short measurement on this machine. */
#include "estimate.h"
#include "text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A gradient with respect to activations against a forward pass, with what the forward pass keeps for it. */
static const double gradient_passes = 1.3;
/* Seconds of one thread for one term of a dot product in double precision, for one drawn example of a resample, and for
 * one resample among those that are sorted. */
static const double product_seconds = 0.4e-9, draw_seconds = 1e-9, sort_seconds = 50e-9;
/* Seconds of one thread for one latent in one permutation or resample of evolve: measured on the bundled example,
 * 0.9e-6 and 1.4e-6. */
static const double permute_seconds = 0.9e-6, resample_seconds = 1.4e-6;

/* ---- Time ---- */

/* Operations of forward passes, two for each weight that a token passes; `encoded` counts samples through the encoder;
 * `other` are seconds of one thread. */
typedef struct work { double flops, encoded, other; } work;

/* Features that are active somewhere in one of the prompts, over all prompts, if every position draws its own. */
static double active_in_prompts(const cli_sizes *s) {
  double positions = s->n_pairs > 0 ? s->prompt_tokens / s->n_pairs : 0;
  return s->n_pairs * s->latents * -expm1(positions * log1p(-fmin(s->l0 / s->latents, 1 - 1e-9)));
}

/* Effects of codes, products with all n decoders in double precision, and intervals of what is active. */
static double effect_seconds(const cli_job *job, const cli_sizes *s) {
  const double resamples = (double)cli_integer(job->setting.values, OPT_BOOTSTRAP), active = active_in_prompts(s);
  const double features = fmin(s->latents, active);
  return product_seconds * s->prompt_tokens * s->l0 * s->n * s->width +
         2 * s->n * resamples * (draw_seconds * active + sort_seconds * features);
}

double cli_attribution_nodes(const cli_values *values) {
  return cli_integer(values, OPT_STEPS) ? (double)cli_integer(values, OPT_STEPS) : 20;
}

static work count_attribution(const cli_job *job, const cli_sizes *s) {
  double nodes = cli_attribution_nodes(job->setting.values), prompts = s->prompt_tokens;
  return (work){2 * s->n * prompts * (s->below + (2 + nodes * (1 + gradient_passes)) * s->above), prompts,
                effect_seconds(job, s)};
}

static work times(double n, work w) { return (work){n * w.flops, n * w.encoded, n * w.other}; }

static work count_work(const cli_job *job, const cli_sizes *s, cli_stage stage) {
  const cli_setting *setting = &job->setting;
  const cli_values *values = setting->values;
  double stored = cli_is_set(values, OPT_STORE) ? 0 : 1;
  double eval_tokens = fmin((double)cli_integer(values, OPT_EVAL_BATCHES) *
                            (double)cli_integer(values, OPT_EVAL_SEQUENCES) *
                            (double)cli_integer(values, OPT_LENGTH), s->heldout_tokens);
  double low = 2 * s->n * s->below, high = 2 * s->n * s->above, head = 2 * s->n * s->head;
  double prompts = s->prompt_tokens, ends = s->n_pairs * head; /* log-probabilities behind each prompt */
  double chosen = (double)cli_integer(values, OPT_TOP) * s->n;
  double ablated = (double)cli_integer(values, OPT_ABLATE_FEATURES) * fmin(s->n, 3);
  switch (stage) {
  case STAGE_SCALES:
    return (work){stored * fmin(cli_scales_window(values, s->corpus_tokens), s->corpus_tokens) * low, 0, 0};
  case STAGE_ACCURACY: return (work){prompts * (low + high) + s->scored_tokens * head, 0, 0};
  case STAGE_TRAIN: return (work){(stored * s->filled + s->held_window) * low, 0, 0};
  case STAGE_EVAL:
    return (work){eval_tokens * (2 * low + 3 * (high + head)) + prompts * (low + 2 * high) + 2 * ends,
                  eval_tokens + prompts, 0};
  case STAGE_ATTRIBUTE: return count_attribution(job, s);
  case STAGE_BASELINES: return times(4, count_attribution(job, s)); /* the other four */
  case STAGE_CONVERGENCE: return times((double)job->n_shares, count_attribution(job, s));
  case STAGE_KNOWN: return (work){cli_is_set(values, OPT_GOLD) ? 1500 * 20 * low : 0, 1500 * 20, 0};
  case STAGE_ABLATE: return (work){prompts * low + (prompts * high + ends) * (2 + ablated), prompts, 0};
  case STAGE_FEATURES:
    return (work){s->heldout_tokens * low + chosen * fmax((double)setting->n_tasks, 1) * (low + high + head),
                  s->heldout_tokens, 0};
  default: return (work){0, 0, 0};
  }
}

/* Reading the weights, and the crosscoder for what comes after training. */
static double count_bytes(const cli_setting *setting, const cli_sizes *s, cli_stage stage) {
  static const cli_stage with_models[] = {STAGE_SCALES, STAGE_ACCURACY, STAGE_EVAL, STAGE_ATTRIBUTE};
  double bytes = stage > STAGE_TRAIN && stage < STAGE_REPORT ? 8 * s->n * s->width * s->latents : 0;
  for (size_t i = 0; i < 4; i++)
    for (size_t c = 0; stage == with_models[i] && c < setting->n_checkpoints; c++) {
      const xcoder_model_info *info = &setting->infos[c];
      double all = (double)info->n_parameters, low = cli_embedding_parameters(info) + s->below;
      bytes += cli_parameter_bytes(info) * (stage == STAGE_SCALES ? low : all);
    }
  return bytes;
}

static double count_steps(const cli_values *values) {
  return ceil((double)cli_integer(values, OPT_TOKENS) / fmax(1, (double)cli_integer(values, OPT_BATCH_SIZE)));
}

/* `serial`: what a second of one thread counts. */
static void estimate_seconds(const cli_job *job, const cli_sizes *s, const cli_pace *pace, double written,
                             uint32_t wanted, double serial, double seconds[N_STAGES]) {
  const cli_setting *setting = &job->setting;
  double stored = cli_is_set(setting->values, OPT_STORE) ? 0 : 1, threads = xcoder_threads();
  for (int stage = 0; stage < N_STAGES; stage++) {
    if (!(wanted & 1u << stage))
      continue;
    work w = count_work(job, s, (cli_stage)stage);
    seconds[stage] = w.flops * pace->flop_seconds + w.encoded * pace->coder.encode_seconds + w.other / threads +
                     count_bytes(setting, s, (cli_stage)stage) * pace->byte_seconds;
  }
  if (wanted & 1u << STAGE_TOKENS)
    seconds[STAGE_TOKENS] = CLI_TOKENIZE_SECONDS * (stored * s->corpus_tokens + s->heldout_tokens) / threads;
  if (wanted & 1u << STAGE_TRAIN)
    seconds[STAGE_TRAIN] += pace->coder.train_seconds + written * pace->write_seconds +
                            count_steps(setting->values) * cli_panel_seconds(&job->estimate, pace);
  if (wanted & 1u << STAGE_EVOLVE)
    seconds[STAGE_EVOLVE] += serial * s->latents *
                             (permute_seconds * (double)cli_integer(setting->values, OPT_PERMUTATIONS) +
                              resample_seconds * (double)cli_integer(setting->values, OPT_BOOTSTRAP));
  if (wanted & 1u << STAGE_REPORT)
    seconds[STAGE_REPORT] = serial;
}

/* By both clocks. The processors' is kept as the sum over all threads. */
static void estimate_clocks(cli_job *job, const cli_sizes *s, const cli_pace pace[CLI_CLOCKS], double written,
                            uint32_t wanted) {
  cli_estimate *e = &job->estimate;
  estimate_seconds(job, s, &pace[CLI_WALL], written, wanted, 1, e->seconds);
  estimate_seconds(job, s, &pace[CLI_PROCESSORS], written, wanted, 1.0 / xcoder_threads(), e->processor_seconds);
  for (int stage = 0; stage < N_STAGES; stage++)
    e->processor_seconds[stage] *= xcoder_threads();
  e->flops_per_second = pace[CLI_WALL].flop_seconds > 0 ? 1 / pace[CLI_WALL].flop_seconds : 0;
}

/* What training will send over the bus and ask of the device: a step's counts, as seen in the measurement, and each
 * token of the corpus through the models. */
static void estimate_traffic(const cli_setting *setting, const cli_sizes *s, const cli_pace *pace, cli_estimate *e) {
  const xcoder_traffic *step = &pace->coder.step;
  double tokens = cli_is_set(setting->values, OPT_STORE) ? 0 : s->n * (s->filled + s->held_window);
  e->has_traffic = true;
  e->steps = count_steps(setting->values);
  e->panel_seconds = cli_panel_seconds(e, pace);
  e->launches = (double)step->n_launches;
  e->waits = (double)step->n_waits;
  double windows = 2 * s->n * s->width * s->filled; /* samples go up once, in bf16 */
  e->bytes_up = e->steps * (double)(step->bytes_up + e->room.step_up) + windows + tokens * pace->token_up;
  e->bytes_down = e->steps * (double)(step->bytes_down + e->room.step_down) + tokens * pace->token_down;
}

static void print_traffic(const cli_estimate *e) {
  char up[32], down[32];
  if (e->has_traffic)
    printf("device          %.0f steps of training, %.0f commands and %.0f waits each; in all %s up, %s down\n",
           e->steps, e->launches, e->waits, cli_size(e->bytes_up, up), cli_size(e->bytes_down, down));
}

/* ---- All of it ---- */

static void estimate_flops(const cli_job *job, const cli_sizes *s, double train_flops, uint32_t wanted,
                           cli_estimate *e) {
  for (int stage = 0; stage < N_STAGES; stage++) {
    work w = count_work(job, s, (cli_stage)stage);
    e->flops[stage] = wanted & 1u << stage ? w.flops + w.encoded * 2 * s->n * s->width * s->latents +
                                                 (stage == STAGE_TRAIN ? train_flops : 0)
                                           : 0;
  }
}

xcoder_status cli_estimate_job(cli_job *job, uint32_t wanted, bool timed, xcoder_error *err) {
  cli_setting *setting = &job->setting;
  cli_estimate *estimate = &job->estimate;
  cli_sizes s = cli_measure_sizes(job);
  xcoder_cost cost = {0};
  xcoder_train_options options;
  bool train = wanted & 1u << STAGE_TRAIN;
  xcoder_status status = cli_train_options(job, &options, err);
  if (!status && s.n > 0 && train)
    status = xcoder_train_cost(setting->n_checkpoints, (size_t)s.width, &options, &cost, err);
  if (status)
    return status;
  *estimate = (cli_estimate){0};
  status = cli_find_room(job, wanted, err);
  if (status)
    return status;
  estimate_flops(job, &s, cost.flops, wanted, estimate);
  estimate->memory_bytes = cli_stage_memory(setting, &s, (double)cost.memory_bytes, wanted) +
                           (double)estimate->room.host_bytes;
  bool packed = cli_integer(setting->values, OPT_LAYOUT) == 0, tokens = wanted & 1u << STAGE_TOKENS;
  estimate->disk_bytes = (double)cost.disk_bytes +
                         (packed && tokens ? 4 * (s.corpus_tokens + s.heldout_tokens) : 0) + 32e6;
  if (!timed)
    return XCODER_OK;
  cli_pace pace[CLI_CLOCKS];
  double written = train ? cost.written_bytes : 0;
  status = cli_measure_pace(job, written, wanted != 1u << STAGE_ACCURACY, pace, err);
  if (!status)
    estimate_clocks(job, &s, pace, written, wanted);
  xcoder_traffic traffic;
  if (!status && train && xcoder_device_traffic(setting->device, &traffic))
    estimate_traffic(setting, &s, &pace[CLI_WALL], estimate);
  return status;
}

xcoder_status cli_estimate_harvest(cli_job *job, size_t n_layers, long highest, xcoder_error *err) {
  cli_setting *setting = &job->setting;
  const cli_values *values = setting->values;
  cli_estimate *e = &job->estimate;
  cli_sizes s = cli_measure_sizes(job);
  cli_pace pace[CLI_CLOCKS];
  s.below = cli_block_parameters(&setting->infos[0]) * (double)(highest + 1);
  double tokens = s.corpus_tokens, row = 2 * s.n * s.width, layers = (double)n_layers;
  double asked = (double)cli_integer(values, OPT_SHARD_TOKENS); /* 0: what xcoder_harvest() chooses */
  double shard = fmin(asked > 0 ? asked : floor(65536 / layers), tokens);
  double stage_bytes =
      (layers + 1) * row * shard + cli_forward_bytes(&setting->infos[0], s.n, cli_pass_rows(values, tokens));
  *e = (cli_estimate){.disk_bytes = row * tokens * layers + 5 * tokens};
  e->memory_bytes = cli_process_bytes() + cli_weight_bytes(setting, &s, CLI_PARTS_BELOW) + 4 * tokens + stage_bytes;
  e->flops[STAGE_TRAIN] = tokens * 2 * s.n * s.below; /* all layers in one pass */
  xcoder_status status = cli_measure_pace(job, e->disk_bytes, false, pace, err);
  if (status)
    return status;
  double *seconds[] = {&e->seconds[STAGE_TRAIN], &e->processor_seconds[STAGE_TRAIN]};
  for (int clock = 0; clock < CLI_CLOCKS; clock++)
    *seconds[clock] = e->flops[STAGE_TRAIN] * pace[clock].flop_seconds + e->disk_bytes * pace[clock].write_seconds +
                      cli_weight_bytes(setting, &s, CLI_PARTS_BELOW) * pace[clock].byte_seconds +
                      CLI_TOKENIZE_SECONDS * tokens / xcoder_threads();
  e->processor_seconds[STAGE_TRAIN] *= xcoder_threads();
  e->flops_per_second = 1 / pace[CLI_WALL].flop_seconds;
  return XCODER_OK;
}

double cli_seconds_after(const cli_job *job, uint32_t wanted, cli_stage stage) {
  double seconds = 0;
  for (int later = stage + 1; later < N_STAGES; later++)
    if (wanted & 1u << later && !(job->done & 1u << later))
      seconds += job->estimate.seconds[later];
  return seconds;
}

static json_t *needs_object(const cli_needs *n) {
  return json_pack("{s:f,s:f,s:f,s:f,s:f,s:f}", "memory_bytes", n->memory_bytes, "disk_bytes", n->disk_bytes, "flops",
                   n->flops, "flops_per_second", n->flops_per_second, "hours", n->seconds / 3600, "processor_hours",
                   n->processor_seconds / 3600);
}

static void print_object(const json_t *object) {
  char *text = object ? json_dumps(object, JSON_INDENT(1) | JSON_REAL_PRECISION(5)) : NULL;
  printf("%s\n", text ? text : "{}");
  free(text);
}

static void print_lines(const cli_needs *n) {
  char size[32], time[32];
  printf("memory          %s\n", cli_size(n->memory_bytes, size));
  printf("disk            %s\n", cli_size(n->disk_bytes, size));
  if (n->flops > 0)
    printf("floating point  %.3g operations, %.3g a second measured here\n", n->flops, n->flops_per_second);
  printf("expected time   %s (%.2f hours)\n", cli_duration(n->seconds, time), n->seconds / 3600);
  printf("processor time  %s, all threads together\n", cli_duration(n->processor_seconds, time));
}

void cli_print_needs(const cli_needs *needs, bool json) {
  json_t *object = needs_object(needs);
  if (json)
    print_object(object);
  else
    print_lines(needs);
  json_decref(object);
}

void cli_print_estimate(const cli_job *job, uint32_t wanted, bool json) {
  const cli_estimate *e = &job->estimate;
  cli_needs all = {.memory_bytes = e->memory_bytes, .disk_bytes = e->disk_bytes,
                   .flops_per_second = e->flops_per_second};
  char time[32];
  bool several = (wanted & (wanted - 1)) != 0; /* one stage is the whole */
  json_t *stages = json_object();
  for (int stage = 0; stage < N_STAGES; stage++) {
    if (!(wanted & 1u << stage))
      continue;
    all.flops += e->flops[stage];
    all.seconds += e->seconds[stage];
    all.processor_seconds += e->processor_seconds[stage];
    if (several)
      json_object_set_new(stages, cli_stage_name((cli_stage)stage),
                          json_pack("{s:f,s:f,s:f}", "flops", e->flops[stage], "hours", e->seconds[stage] / 3600,
                                    "processor_hours", e->processor_seconds[stage] / 3600));
  }
  json_t *object = needs_object(&all);
  json_object_set(object, "stages", stages);
  if (e->has_traffic)
    json_object_set_new(object, "device", json_pack("{s:f,s:f,s:f,s:f,s:f}", "steps", e->steps, "commands_per_step",
                        e->launches, "waits_per_step", e->waits, "bytes_up", e->bytes_up, "bytes_down", e->bytes_down));
  if (e->room.own_memory)
    json_object_set_new(object, "device_memory", cli_room_object(job));
  if (json)
    print_object(object);
  else {
    print_lines(&all);
    cli_print_room(job);
    print_traffic(e);
  }
  for (int stage = 0; several && !json && stage < N_STAGES; stage++)
    if (wanted & 1u << stage)
      printf("  %-12s  %s\n", cli_stage_name((cli_stage)stage), cli_duration(e->seconds[stage], time));
  json_decref(object);
  json_decref(stages);
}

xcoder_status cli_check_estimate(const cli_job *job, xcoder_error *err) {
  xcoder_status status = cli_check_memory(job->setting.values, job->estimate.memory_bytes,
                                          "fewer --latents, a smaller --window or --batch-size", err);
  return status ? status : cli_check_disk(job->out, job->estimate.disk_bytes, err);
}
