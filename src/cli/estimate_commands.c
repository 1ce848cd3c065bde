/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands need that are no stages of a run: audit, similarity, comparisons of runs. */
#include "estimate.h"
#include "text.h"

#include <math.h>

static const double table_bytes = 65536; /* of a table of results, about */
/* Seconds of one thread, measured on random weights of Pythia-1B's shape: converting and hashing one weight. */
static const double scan_seconds = 1.5e-9;
/* The same for one term of a dot product in double precision, for one feature of one run against one of another in an
 * optimal assignment, and for one random number. */
static const double product_seconds = 0.4e-9, assign_seconds = 30e-9, random_seconds = 10e-9;

static void add_seconds(cli_needs *needs, double wall, double processors) {
  needs->seconds += wall;
  needs->processor_seconds += processors * xcoder_threads();
}

/* Seconds of one thread, spread over all of them. */
static void add_even(cli_needs *needs, double seconds) {
  add_seconds(needs, seconds / xcoder_threads(), seconds / xcoder_threads());
}

static double blocks_of(const xcoder_model_info *info) { return cli_block_parameters(info) * (double)info->n_layers; }

/* ---- audit ---- */

/* Rows of the head are made in pieces of 64 by 8192. */
static double head_bytes(const xcoder_model_info *info) { return 4 * 64 * fmin(8192, (double)info->n_vocab); }

static void add_revision(const xcoder_model_info *info, double n_tokens, double length, const cli_pace *pace,
                         cli_needs *needs) {
  const double weights = (double)info->n_parameters, bytes = cli_parameter_bytes(info) * weights;
  const double scan = 4 * 262144.0 * xcoder_threads();
  const double run = n_tokens > 0 ? cli_forward_bytes(info, 1, length) + head_bytes(info) : 0;
  const double flops = 2 * n_tokens * (blocks_of(info) + cli_embedding_parameters(info));
  needs->memory_bytes = fmax(needs->memory_bytes, bytes + fmax(scan, run));
  needs->flops += flops;
  add_even(needs, scan_seconds * weights);
  const double read = n_tokens > 0 ? bytes : 0; /* the model is opened to be run */
  add_seconds(needs, read * pace[CLI_WALL].byte_seconds + flops * pace[CLI_WALL].flop_seconds,
              read * pace[CLI_PROCESSORS].byte_seconds + flops * pace[CLI_PROCESSORS].flop_seconds);
}

xcoder_status cli_estimate_audit(char *const *folders, size_t n, double n_tokens, size_t length, xcoder_device *device,
                                 cli_needs *needs, xcoder_error *err) {
  cli_pace pace[CLI_CLOCKS] = {0};
  bool measured = false;
  *needs = (cli_needs){.disk_bytes = table_bytes};
  for (size_t i = 0; i < n; i++) {
    xcoder_model_info info;
    xcoder_error ignored;
    if (!folders[i] || xcoder_model_inspect(folders[i], &info, &ignored))
      continue;
    if (!measured && device && n_tokens > 0) /* weights that are not finite cannot be measured with */
      measured = !cli_measure_model(folders[i], &info, length, CLI_PASS_ROWS, device, pace, &ignored);
    add_revision(&info, n_tokens, (double)length, pace, needs);
  }
  if (device && n_tokens > 0 && !measured)
    return cli_fail(err, XCODER_MISSING, "--estimate: no revision can be run, so its speed cannot be measured");
  needs->memory_bytes += cli_process_bytes() + 4 * n_tokens;
  needs->flops_per_second = measured ? 1 / pace[CLI_WALL].flop_seconds : 0;
  return XCODER_OK;
}

/* ---- tokenize ---- */

xcoder_status cli_estimate_tokenize(cli_setting *setting, cli_needs *needs, xcoder_error *err) {
  double measured = 0, seconds[CLI_CLOCKS] = {0};
  bool all = false;
  *needs = (cli_needs){0};
  const xcoder_status status = cli_measure_text(setting, OPT_CORPUS, &measured, &all, seconds, err);
  if (status)
    return status;
  const double n_tokens = all ? measured : fmax(measured, cli_text_tokens(setting, OPT_CORPUS));
  const double bytes = cli_flag(setting->values, OPT_IDS) ? 0 : 4 * n_tokens; /* ids are printed as they are made */
  needs->memory_bytes = cli_process_bytes() + bytes;
  needs->disk_bytes = cli_is_set(setting->values, OPT_OUT) ? bytes + 128 : 0;
  add_seconds(needs, seconds[CLI_WALL] * n_tokens / measured, seconds[CLI_PROCESSORS] * n_tokens / measured);
  return XCODER_OK;
}

/* ---- similarity ---- */

static double blocks_up_to(const xcoder_model_info *info, long layer) {
  return cli_block_parameters(info) * (double)(layer < 0 ? 1 : layer + 1); /* a model has at least one block */
}

void cli_similarity_memory(const cli_setting *setting, const cli_sample *sample, double *without, double *rows) {
  const double n = (double)setting->n_checkpoints, d = (double)setting->infos[0].d_model;
  const long layer = (long)cli_integer(setting->values, OPT_LAYER);
  double largest = 0;
  for (size_t c = 0; c < setting->n_checkpoints; c++) { /* one at a time */
    const xcoder_model_info *info = &setting->infos[c];
    const double weights = fmin(cli_embedding_parameters(info) + blocks_up_to(info, layer), (double)info->n_parameters);
    largest = fmax(largest, cli_parameter_bytes(info) * weights + cli_forward_bytes(info, 1, sample->longest));
  }
  const double pairs = n * (n - 1) / 2, sums = 64 * 48 * pairs + 4 * n * d * xcoder_threads();
  *without = cli_process_bytes() + largest + 4 * sample->longest * d + 4 * sample->n_tokens + sums;
  *rows = 2 * n * sample->n_rows * d;
}

xcoder_status cli_estimate_similarity(const cli_setting *setting, const cli_sample *sample, cli_needs *needs,
                                      xcoder_error *err) {
  const double n = (double)setting->n_checkpoints, d = (double)setting->infos[0].d_model, n_rows = sample->n_rows;
  const double run = fmin(sample->n_tokens, n_rows * (1 + 1 / sample->longest)), pairs = n * (n - 1) / 2;
  const long layer = (long)cli_integer(setting->values, OPT_LAYER);
  cli_pace pace[CLI_CLOCKS] = {0};
  double without, rows;
  *needs = (cli_needs){.disk_bytes = table_bytes};
  xcoder_status status = cli_measure_model(setting->folders[0], &setting->infos[0],
                                           (size_t)sample->longest, CLI_PASS_ROWS, setting->device, pace, err);
  if (status)
    return status;
  cli_similarity_memory(setting, sample, &without, &rows);
  const double limit = (double)cli_integer(setting->values, OPT_MAX_MEMORY);
  if (without + rows <= (limit > 0 ? limit : cli_available_memory()))
    needs->memory_bytes = without + rows;
  else {
    needs->memory_bytes = without;
    needs->disk_bytes += rows;
  }
  for (size_t c = 0; c < setting->n_checkpoints; c++) {
    const xcoder_model_info *info = &setting->infos[c];
    const double blocks = layer < 0 ? 0 : blocks_up_to(info, layer), flops = 2 * run * blocks;
    const double bytes = cli_parameter_bytes(info) * (cli_embedding_parameters(info) + blocks_up_to(info, layer));
    needs->flops += flops;
    add_seconds(needs, flops * pace[CLI_WALL].flop_seconds + bytes * pace[CLI_WALL].byte_seconds,
                flops * pace[CLI_PROCESSORS].flop_seconds + bytes * pace[CLI_PROCESSORS].byte_seconds);
  }
  needs->flops += 2 * pairs * n_rows * d;
  add_even(needs, product_seconds * n_rows * d * (pairs + 3 * n));
  needs->flops_per_second = 1 / pace[CLI_WALL].flop_seconds;
  return XCODER_OK;
}

/* ---- compare ---- */

static const double stretch_rows = 4096; /* documents that are encoded together */

xcoder_status cli_estimate_side(cli_job *job, double n_tokens, bool timed, cli_needs *needs, xcoder_error *err) {
  const cli_setting *setting = &job->setting;
  const cli_sizes s = cli_measure_sizes(job);
  const xcoder_model_info *info = &setting->infos[0];
  const double decoder = 4 * s.n * s.width * s.latents, rows = fmin(stretch_rows, n_tokens);
  const double kept = 8 * n_tokens * s.l0 + decoder + 24 * n_tokens + 24 * s.latents;
  const double run = cli_weight_bytes(setting, &s, CLI_PARTS_BELOW) + cli_forward_bytes(info, s.n, rows) +
                     cli_coder_bytes(&s, rows) + rows * (8 * s.n * s.width + 8 * s.l0);
  const double forward = 2 * n_tokens * s.n * s.below, encode = 2 * n_tokens * s.n * s.width * s.latents;
  needs->memory_bytes = fmax(needs->memory_bytes, cli_process_bytes() + 4 * n_tokens + needs->kept_bytes + kept + run);
  needs->kept_bytes += kept;
  needs->flops += forward + encode;
  if (!timed)
    return XCODER_OK;
  cli_pace pace[CLI_CLOCKS];
  const xcoder_status status = cli_measure_pace(job, 0, true, pace, err);
  const double bytes = cli_weight_bytes(setting, &s, CLI_PARTS_BELOW) + 2 * decoder;
  double seconds[CLI_CLOCKS];
  for (int clock = 0; !status && clock < CLI_CLOCKS; clock++)
    seconds[clock] = forward * pace[clock].flop_seconds + n_tokens * pace[clock].coder.encode_seconds +
                     bytes * pace[clock].byte_seconds;
  if (!status) {
    add_seconds(needs, seconds[CLI_WALL], seconds[CLI_PROCESSORS]);
    needs->flops_per_second = 1 / pace[CLI_WALL].flop_seconds;
  }
  return status;
}

void cli_estimate_matching(const cli_sizes *a, const cli_sizes *b, double n_tokens, cli_needs *needs) {
  const double width = fmin(a->n * a->width, b->n * b->width), cells = a->latents * b->latents;
  /* Correlations, cosines, and the same where nothing can match; directions; a copy where rows outnumber columns. */
  const double bytes = 4 * 3 * cells + 4 * width * (a->latents + b->latents) +
                       (a->latents > b->latents ? 4 * cells : 0);
  needs->memory_bytes = fmax(needs->memory_bytes, cli_process_bytes() + needs->kept_bytes + bytes);
  needs->flops += 2 * (2 * cells * width + 2 * n_tokens * a->l0 * b->l0);
  add_even(needs, 2 * product_seconds * (cells * width / 4 + n_tokens * a->l0 * b->l0) +
                      random_seconds * width * b->latents);
  const double serial = 2 * assign_seconds * cells; /* one thread */
  add_seconds(needs, serial, serial / xcoder_threads());
}

xcoder_status cli_estimate_transfers(cli_job *job, double n, bool timed, cli_needs *needs, xcoder_error *err) {
  const uint32_t wanted = 1u << STAGE_ATTRIBUTE;
  const cli_estimate *e = &job->estimate;
  const xcoder_status status = cli_estimate_job(job, wanted, timed, err);
  if (status)
    return status;
  const cli_sizes s = cli_measure_sizes(job); /* the scale of the model that takes the slot: up to 4000 sequences */
  const double text = fmin(s.heldout_tokens, 4000.0 * (double)cli_integer(job->setting.values, OPT_LENGTH));
  const double flops = 2 * text * s.below, seconds = e->flops_per_second > 0 ? flops / e->flops_per_second : 0;
  const double share = e->seconds[STAGE_ATTRIBUTE] > 0 ? e->processor_seconds[STAGE_ATTRIBUTE] /
                                                             e->seconds[STAGE_ATTRIBUTE] : 1;
  const double model = cli_weight_bytes(&job->setting, &s, CLI_PARTS_BLOCKS) / fmax(s.n, 1);
  needs->memory_bytes = fmax(needs->memory_bytes, e->memory_bytes + model);
  needs->flops += n * (e->flops[STAGE_ATTRIBUTE] + flops);
  needs->seconds += n * (e->seconds[STAGE_ATTRIBUTE] + seconds);
  needs->processor_seconds += n * (e->processor_seconds[STAGE_ATTRIBUTE] + share * seconds);
  needs->flops_per_second = e->flops_per_second;
  return XCODER_OK;
}
