/* SPDX-License-Identifier: Apache-2.0 */
/* What a job will need: memory and disk from its sizes, time from a short measurement on this machine. */
#include "estimate.h"
#include "text.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Bytes of text for one token, and how much smaller compressed text is, for corpora that are not read yet. */
static const double bytes_per_token = 4, compressed = 3;
/* Seconds of one thread for one token of text, about what the tokenizer of the bundled example takes. */
static const double tokenize_seconds = 1e-6;
/* A gradient with respect to activations against a forward pass, with what the forward pass keeps for it. */
static const double gradient_passes = 1.3;
/* Seconds of one thread for one latent in one permutation or resample of evolve: measured on the bundled example, 0.9e-6
 * and 1.4e-6. */
static const double permute_seconds = 0.9e-6, resample_seconds = 1.4e-6;

typedef struct sizes {
  double n, width, latents;
  double all_weights, below, above; /* parameters that a token passes: all blocks and head, up to the layer, above it */
  double prompt_tokens, n_pairs, corpus_tokens, heldout_tokens;
  double window, held_window, filled; /* samples that training holds at once, for validation, and makes in all */
} sizes;

/* ---- Sizes ---- */

double cli_embedding_parameters(const xcoder_model_info *info) { return (double)info->n_vocab * (double)info->d_model; }

/* Tied heads are not told apart by the totals alone: a block has at least two projections of attention and two of the
 * feed-forward layer. */
double cli_block_parameters(const xcoder_model_info *info) {
  double d = (double)info->d_model, layers = (double)info->n_layers, embedding = cli_embedding_parameters(info);
  double least = 2 * d * (double)(info->n_heads * info->d_head) + 2 * d * (double)info->d_mlp;
  double untied = ((double)info->n_parameters - 2 * embedding) / layers;
  return fmax(1, untied >= 0.999 * least ? untied : ((double)info->n_parameters - embedding) / layers);
}

double cli_parameter_bytes(const xcoder_model_info *info) {
  return strcmp(info->dtype, "F16") == 0 || strcmp(info->dtype, "BF16") == 0 ? 2
         : strcmp(info->dtype, "F64") == 0                                  ? 8 : 4;
}

static bool is_compressed(const char *path) {
  unsigned char magic[4] = {0};
  int file = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  bool found = file >= 0 && read(file, magic, 4) == 4 &&
               ((magic[0] == 0x1f && magic[1] == 0x8b) || memcmp(magic, "\x28\xb5\x2f\xfd", 4) == 0);
  if (file >= 0)
    close(file);
  return found;
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
      n_bytes += (double)st.st_size * (is_compressed(value->items[i]) ? compressed : 1);
  }
  double n = n_bytes / bytes_per_token;
  return most > 0 && most < n ? most : n;
}

double cli_corpus_tokens(const cli_setting *setting) { return count_tokens(setting, OPT_CORPUS); }

static void measure_windows(const cli_values *values, sizes *s) {
  double window = (double)cli_integer(values, OPT_WINDOW), samples = (double)cli_integer(values, OPT_TOKENS);
  window = window > 0 ? window : 128.0 * 4096;
  s->window = fmin(window, s->corpus_tokens);
  s->held_window = fmin(cli_validation_window(values), s->heldout_tokens);
  s->filled = window >= s->corpus_tokens ? s->corpus_tokens : ceil(samples / window) * window;
}

static sizes measure_sizes(const cli_setting *setting) {
  sizes s = {.n = (double)setting->n_checkpoints, .latents = (double)cli_integer(setting->values, OPT_LATENTS)};
  if (setting->n_checkpoints) {
    const xcoder_model_info *info = &setting->infos[setting->n_checkpoints - 1];
    double layers = (double)info->n_layers, block = cli_block_parameters(info);
    double embedding = cli_embedding_parameters(info);
    double layer = setting->coder ? (double)xcoder_describe(setting->coder)->layer
                   : cli_is_set(setting->values, OPT_LAYER) ? (double)cli_integer(setting->values, OPT_LAYER)
                                                            : layers / 2;
    s.width = (double)info->d_model;
    s.all_weights = block * layers + embedding;
    s.below = block * (layer + 1);
    s.above = s.all_weights - s.below;
  }
  if (setting->coder)
    s.latents = (double)xcoder_describe(setting->coder)->n_latents;
  for (size_t t = 0; t < setting->n_tasks; t++) {
    s.n_pairs += (double)xcoder_pairs_count(setting->tasks[t]);
    for (size_t p = 0; p < xcoder_pairs_count(setting->tasks[t]); p++)
      s.prompt_tokens += (double)xcoder_pairs_get(setting->tasks[t], p)->n_prefix;
  }
  s.corpus_tokens = count_tokens(setting, OPT_CORPUS);
  s.heldout_tokens = count_tokens(setting, OPT_HELDOUT);
  measure_windows(setting->values, &s);
  return s;
}

/* ---- Time ---- */

/* Tokens that pass the models, in passes through all their blocks: two operations for each weight. `encoded` counts
 * samples through the encoder. */
typedef struct work { double flops, encoded; } work;

static work count_work(const cli_job *job, const sizes *s, cli_stage stage) {
  const cli_setting *setting = &job->setting;
  const cli_values *values = setting->values;
  double stored = cli_is_set(values, OPT_STORE) ? 0 : 1, nodes = (double)cli_integer(values, OPT_STEPS);
  double eval_tokens = fmin((double)cli_integer(values, OPT_EVAL_BATCHES) *
                            (double)cli_integer(values, OPT_EVAL_SEQUENCES) *
                            (double)cli_integer(values, OPT_LENGTH), s->heldout_tokens);
  double low = 2 * s->n * s->below, high = 2 * s->n * s->above, all = 2 * s->n * s->all_weights;
  double prompts = s->prompt_tokens, chosen = (double)cli_integer(values, OPT_TOP) * s->n;
  work attribution = {prompts * (low + (2 + nodes * (1 + gradient_passes)) * high), prompts};
  double n_shares = (double)job->n_shares;
  switch (stage) {
  case STAGE_SCALES:
    return (work){stored * fmin(cli_scales_window(values, s->corpus_tokens), s->corpus_tokens) * low, 0};
  case STAGE_ACCURACY: return (work){prompts * all, 0};
  case STAGE_TRAIN: return (work){(stored * s->filled + s->held_window) * low, 0};
  case STAGE_EVAL:
    return (work){eval_tokens * (2 * low + 3 * high) + prompts * (low + 2 * high), eval_tokens + prompts};
  case STAGE_ATTRIBUTE: return attribution;
  case STAGE_BASELINES: return (work){4 * attribution.flops, 4 * attribution.encoded}; /* the other four */
  case STAGE_CONVERGENCE: return (work){n_shares * attribution.flops, n_shares * attribution.encoded};
  case STAGE_KNOWN: return (work){cli_is_set(values, OPT_GOLD) ? 1500 * 20 * low : 0, 1500 * 20};
  case STAGE_ABLATE:
    return (work){prompts * (low + high * (2 + (double)cli_integer(values, OPT_ABLATE_FEATURES) * fmin(s->n, 3))),
                  prompts};
  case STAGE_FEATURES:
    return (work){s->heldout_tokens * low + chosen * fmax((double)setting->n_tasks, 1) * all, s->heldout_tokens};
  default: return (work){0, 0};
  }
}

/* Reading the weights, and the crosscoder for what comes after training. */
static double count_bytes(const cli_setting *setting, const sizes *s, cli_stage stage) {
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

static void estimate_seconds(const cli_job *job, const sizes *s, const cli_pace *pace, double written,
                             uint32_t wanted, cli_estimate *e) {
  const cli_setting *setting = &job->setting;
  double stored = cli_is_set(setting->values, OPT_STORE) ? 0 : 1;
  for (int stage = 0; stage < N_STAGES; stage++) {
    if (!(wanted & 1u << stage))
      continue;
    work w = count_work(job, s, (cli_stage)stage);
    e->seconds[stage] = w.flops * pace->flop_seconds + w.encoded * pace->coder.encode_seconds +
                        count_bytes(setting, s, (cli_stage)stage) * pace->byte_seconds;
  }
  if (wanted & 1u << STAGE_TOKENS)
    e->seconds[STAGE_TOKENS] = tokenize_seconds * (stored * s->corpus_tokens + s->heldout_tokens) / xcoder_threads();
  if (wanted & 1u << STAGE_TRAIN)
    e->seconds[STAGE_TRAIN] += pace->coder.train_seconds + written * pace->write_seconds;
  if (wanted & 1u << STAGE_EVOLVE)
    e->seconds[STAGE_EVOLVE] += s->latents * (permute_seconds * (double)cli_integer(setting->values, OPT_PERMUTATIONS) +
                                              resample_seconds * (double)cli_integer(setting->values, OPT_BOOTSTRAP));
  if (wanted & 1u << STAGE_REPORT)
    e->seconds[STAGE_REPORT] = 1;
}

/* What training will send over the bus and ask of the device: a step's counts, as seen in the measurement, and each
 * token of the corpus through the models. */
static void estimate_traffic(const cli_setting *setting, const sizes *s, const cli_pace *pace, cli_estimate *e) {
  const xcoder_traffic *step = &pace->coder.step;
  double tokens = cli_is_set(setting->values, OPT_STORE) ? 0 : s->n * (s->filled + s->held_window);
  e->has_traffic = true;
  e->steps = ceil((double)cli_integer(setting->values, OPT_TOKENS) /
                  fmax(1, (double)cli_integer(setting->values, OPT_BATCH_SIZE)));
  e->launches = (double)step->n_launches;
  e->waits = (double)step->n_waits;
  e->bytes_up = e->steps * (double)step->bytes_up + tokens * pace->token_up;
  e->bytes_down = e->steps * (double)step->bytes_down + tokens * pace->token_down;
}

static void print_traffic(const cli_estimate *e) {
  char up[32], down[32];
  if (e->has_traffic)
    printf("device          %.0f steps of training, %.0f commands and %.0f waits each; in all %s up, %s down\n", e->steps,
           e->launches, e->waits, cli_size(e->bytes_up, up), cli_size(e->bytes_down, down));
}

/* ---- Memory ---- */

/* Weights stay in their files, which are mapped; the pages that are used count as memory of the process: those up to
 * the layer with the embedding, all, or (where prompts are few and two logits are enough) the blocks alone. */
typedef enum parts { PARTS_BELOW, PARTS_ALL, PARTS_BLOCKS } parts;

static double weight_bytes(const cli_setting *setting, const sizes *s, parts which) {
  double bytes = 0;
  for (size_t c = 0; c < setting->n_checkpoints; c++) {
    const xcoder_model_info *info = &setting->infos[c];
    double all = (double)info->n_parameters, below = fmin(cli_embedding_parameters(info) + s->below, all);
    double blocks = cli_block_parameters(info) * (double)info->n_layers;
    bytes += cli_parameter_bytes(info) * (which == PARTS_ALL ? all : which == PARTS_BELOW ? below : blocks);
  }
  return bytes;
}

/* Work space of one forward pass, shared by all models, and the residual stream that each of them keeps. */
static double forward_bytes(const cli_setting *setting, const sizes *s, double rows) {
  if (!setting->n_checkpoints)
    return 0;
  const xcoder_model_info *info = &setting->infos[0];
  bool gated = strcmp(info->family, "gpt_neox") != 0 && strcmp(info->family, "bloom") != 0;
  double d = s->width, mlp = (double)info->d_mlp, panel = fmin(4 * d * mlp, 1 << 25);
  return 4 * rows * (11 * d + (gated ? 2 : 1) * mlp) + panel + 4 * rows * d * (s->n + 1);
}

static double pass_rows(const cli_values *values) {
  double length = (double)cli_integer(values, OPT_LENGTH), batch = (double)cli_integer(values, OPT_BATCH_TOKENS);
  return fmax(fmin(batch, 4096), length);
}

/* The crosscoder as an object and on the device, a block of samples on their way through it. */
static double coder_bytes(const sizes *s, double rows) {
  double row = s->n * s->width;
  return 2 * 4 * 2 * row * s->latents + fmin(1024, rows) * (3 * 4 * row + 8 * s->latents);
}

/* Stretches of `rows` positions: activations of all checkpoints, reconstructed ones, codes of a share of all
 * features. */
static double stretch_bytes(const sizes *s, double rows, double share) {
  return rows * (2 * 4 * s->n * s->width + share * s->latents * (8 + 8 * s->n));
}

/* What the way back needs: on the tape of each model the inputs of blocks, projections and activations of every row. */
static double tape_bytes(const cli_setting *setting, const sizes *s) {
  const xcoder_model_info *info = &setting->infos[0];
  bool parallel = strcmp(info->family, "gpt_neox") == 0, gated = !parallel && strcmp(info->family, "bloom") != 0;
  double blocks = fmax(1, (s->above - cli_embedding_parameters(info)) / cli_block_parameters(info));
  double row = 4 * ((parallel ? 1 : 2) * s->width + 3 * (double)(info->n_heads * info->d_head) +
                    (gated ? 2 : 1) * (double)info->d_mlp);
  double rows = fmin(4096, s->prompt_tokens * (double)cli_integer(setting->values, OPT_STEPS));
  double gradients = 4 * rows * (9 * s->width + 2 * (double)info->d_mlp); /* work space */
  return s->n * (fmin(1 << 30, blocks * row * rows) + 4 * rows * s->width) + gradients;
}

static double analysis_bytes(const cli_setting *setting, const sizes *s, uint32_t wanted) {
  const cli_values *values = setting->values;
  if (!setting->n_checkpoints)
    return 0;
  double batch = (double)cli_integer(values, OPT_EVAL_SEQUENCES) * (double)cli_integer(values, OPT_LENGTH);
  double rows = fmin(batch, fmax(s->heldout_tokens, 1)), most = 0;
  bool text = wanted & (1u << STAGE_EVAL | 1u << STAGE_FEATURES | 1u << STAGE_KNOWN);
  if (text)
    most = stretch_bytes(s, rows, 0.1) + 8 * rows * s->width + forward_bytes(setting, s, fmin(rows, 4096));
  double prompts = fmin(s->prompt_tokens, 1024);
  double packed = fmin(4096, (double)cli_integer(values, OPT_STEPS) * prompts);
  if (wanted & (1u << STAGE_ATTRIBUTE | 1u << STAGE_ABLATE | 1u << STAGE_EVAL))
    most = fmax(most, stretch_bytes(s, prompts, 0.5) + prompts * s->width * 20 + packed * s->width * 8 +
                          forward_bytes(setting, s, packed) +
                          (wanted & 1u << STAGE_ATTRIBUTE ? tape_bytes(setting, s) : 0));
  return most + coder_bytes(s, text ? rows : prompts);
}

static double estimate_memory(const cli_setting *setting, const sizes *s, double train_bytes, uint32_t wanted) {
  static const double process_bytes = 16e6, thread_bytes = 10e6; /* measured: libraries, tables, buffers of BLAS */
  const cli_values *values = setting->values;
  const uint32_t analyses = 1u << STAGE_EVAL | 1u << STAGE_ATTRIBUTE | 1u << STAGE_KNOWN | 1u << STAGE_ABLATE |
                            1u << STAGE_FEATURES;
  bool live = !cli_is_set(values, OPT_STORE);
  double row = 2 * s->n * s->width, most = 0; /* bf16 */
  if (wanted & 1u << STAGE_TRAIN)
    most = train_bytes + row * (s->window + s->held_window) + live * forward_bytes(setting, s, pass_rows(values));
  if (wanted & 1u << STAGE_ACCURACY)
    most = fmax(most, forward_bytes(setting, s, fmin(4096, s->prompt_tokens)));
  if (wanted & analyses)
    most = fmax(most, analysis_bytes(setting, s, wanted));
  if (wanted & 1u << STAGE_EVOLVE) /* how often each example is drawn, 16 bits, and the crosscoder */
    most = fmax(most, 2 * (double)cli_integer(values, OPT_BOOTSTRAP) * s->n_pairs + coder_bytes(s, 0));
  bool prompts_only = wanted == 1u << STAGE_ATTRIBUTE, one = wanted == 1u << STAGE_ACCURACY;
  bool all = wanted & (analyses | 1u << STAGE_ACCURACY);
  double models = prompts_only                              ? weight_bytes(setting, s, PARTS_BLOCKS)
                  : all                                     ? weight_bytes(setting, s, PARTS_ALL)
                  : live && wanted & 1u << STAGE_TRAIN      ? weight_bytes(setting, s, PARTS_BELOW) : 0;
  if (one && s->n > 0)
    models /= s->n; /* one model at a time */
  return process_bytes + thread_bytes * xcoder_threads() + models + 4 * (s->corpus_tokens + s->heldout_tokens) + most;
}

/* ---- All of it ---- */

static void estimate_flops(const cli_job *job, const sizes *s, double train_flops, uint32_t wanted,
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
  sizes s = measure_sizes(setting);
  xcoder_cost cost = {0};
  xcoder_train_options options;
  bool train = wanted & 1u << STAGE_TRAIN;
  xcoder_status status = cli_train_options(job, &options, err);
  if (!status && s.n > 0 && train)
    status = xcoder_train_cost(setting->n_checkpoints, (size_t)s.width, &options, &cost, err);
  if (status)
    return status;
  *estimate = (cli_estimate){0};
  estimate_flops(job, &s, cost.flops, wanted, estimate);
  estimate->memory_bytes = estimate_memory(setting, &s, (double)cost.memory_bytes, wanted);
  bool packed = cli_integer(setting->values, OPT_LAYOUT) == 0, tokens = wanted & 1u << STAGE_TOKENS;
  estimate->disk_bytes = (double)cost.disk_bytes +
                         (packed && tokens ? 4 * (s.corpus_tokens + s.heldout_tokens) : 0) + 32e6;
  if (!timed)
    return XCODER_OK;
  if (!(status = cli_need_device(setting, err))) {
    cli_pace pace;
    double written = train ? cost.written_bytes : 0;
    status = cli_measure_pace(job, written, wanted != 1u << STAGE_ACCURACY, &pace, err);
    if (!status)
      estimate_seconds(job, &s, &pace, written, wanted, estimate);
    xcoder_traffic traffic;
    if (!status && train && xcoder_device_traffic(setting->device, &traffic))
      estimate_traffic(setting, &s, &pace, estimate);
    estimate->flops_per_second = pace.flop_seconds > 0 ? 1 / pace.flop_seconds : 0;
  }
  return status;
}

xcoder_status cli_estimate_harvest(cli_job *job, size_t n_layers, long highest, xcoder_error *err) {
  cli_setting *setting = &job->setting;
  const cli_values *values = setting->values;
  cli_estimate *e = &job->estimate;
  sizes s = measure_sizes(setting);
  cli_pace pace;
  s.below = cli_block_parameters(&setting->infos[0]) * (double)(highest + 1);
  double tokens = s.corpus_tokens, row = 2 * s.n * s.width, layers = (double)n_layers;
  double asked = (double)cli_integer(values, OPT_SHARD_TOKENS); /* 0: what xcoder_harvest() chooses */
  double shard = fmin(asked > 0 ? asked : floor(65536 / layers), tokens);
  double stage_bytes = (layers + 1) * row * shard + forward_bytes(setting, &s, pass_rows(values));
  *e = (cli_estimate){.disk_bytes = row * tokens * layers + 5 * tokens};
  e->memory_bytes = 16e6 + 10e6 * xcoder_threads() + weight_bytes(setting, &s, PARTS_BELOW) + 4 * tokens + stage_bytes;
  e->flops[STAGE_TRAIN] = tokens * 2 * s.n * s.below; /* all layers in one pass */
  xcoder_status status = cli_measure_pace(job, e->disk_bytes, false, &pace, err);
  if (!status)
    e->seconds[STAGE_TRAIN] = e->flops[STAGE_TRAIN] * pace.flop_seconds + e->disk_bytes * pace.write_seconds +
                              weight_bytes(setting, &s, PARTS_BELOW) * pace.byte_seconds +
                              tokenize_seconds * tokens / xcoder_threads();
  e->flops_per_second = 1 / pace.flop_seconds;
  return status;
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
  bool several = (wanted & (wanted - 1)) != 0; /* one stage is the whole */
  json_t *stages = json_object();
  for (int stage = 0; stage < N_STAGES; stage++) {
    if (!(wanted & 1u << stage))
      continue;
    flops += e->flops[stage];
    seconds += e->seconds[stage];
    if (several)
      json_object_set_new(stages, cli_stage_name((cli_stage)stage),
                        json_pack("{s:f,s:f}", "flops", e->flops[stage], "hours", e->seconds[stage] / 3600));
  }
  json_t *object = json_pack("{s:f,s:f,s:f,s:f,s:f,s:O}", "memory_bytes", e->memory_bytes, "disk_bytes", e->disk_bytes,
                             "flops", flops, "flops_per_second", e->flops_per_second, "hours", seconds / 3600, "stages",
                             stages);
  if (e->has_traffic)
    json_object_set_new(object, "device", json_pack("{s:f,s:f,s:f,s:f,s:f}", "steps", e->steps, "commands_per_step",
                        e->launches, "waits_per_step", e->waits, "bytes_up", e->bytes_up, "bytes_down", e->bytes_down));
  if (json) {
    char *text = object ? json_dumps(object, JSON_INDENT(1) | JSON_REAL_PRECISION(5)) : NULL;
    printf("%s\n", text ? text : "{}");
    free(text);
  } else {
    printf("memory          %s\n", cli_size(e->memory_bytes, size));
    printf("disk            %s\n", cli_size(e->disk_bytes, size));
    printf("floating point  %.3g operations, %.3g a second measured here\n", flops, e->flops_per_second);
    print_traffic(e);
    printf("expected time   %s (%.2f hours)\n", cli_duration(seconds, time), seconds / 3600);
    for (int stage = 0; several && stage < N_STAGES; stage++)
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
