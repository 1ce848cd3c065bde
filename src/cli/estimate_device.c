/* SPDX-License-Identifier: Apache-2.0 */
/* What a job keeps on a device with memory of its own, and what of it the device takes. */
#include "estimate.h"
#include "text.h"

#include <math.h>
#include <stdio.h>

static const uint32_t analyses = 1u << STAGE_EVAL | 1u << STAGE_ATTRIBUTE | 1u << STAGE_KNOWN | 1u << STAGE_ABLATE |
                                 1u << STAGE_FEATURES | 1u << STAGE_BASELINES | 1u << STAGE_CONVERGENCE;
enum { BLOCK = 1024, PANEL = 1 << 24, HEAD_ROWS = 2048, HEAD_TOKENS = 8192 }; /* analyses encode in blocks of so many */

/* A store has the samples of a training, not those of its validation. */
static bool runs_models(const cli_setting *setting, uint32_t wanted) {
  const bool stored = cli_is_set(setting->values, OPT_STORE), validated = cli_is_set(setting->values, OPT_HELDOUT);
  const bool training = wanted & (1u << STAGE_TRAIN | 1u << STAGE_SCALES);
  return setting->n_checkpoints && (wanted & (analyses | 1u << STAGE_ACCURACY) || (training && (!stored || validated)));
}

/* Rows of the largest pass: samples are made in batches of their own size, analyses pack what they compare. */
static double largest_pass(const cli_setting *setting, const cli_sizes *s, uint32_t wanted) {
  const cli_values *values = setting->values;
  const double made = cli_pass_rows(values, fmax(s->corpus_tokens, s->heldout_tokens));
  const double batch = (double)cli_integer(values, OPT_EVAL_SEQUENCES) * (double)cli_integer(values, OPT_LENGTH);
  const double copies = fmax(cli_attribution_nodes(values), 2 + 3 * (double)cli_integer(values, OPT_ABLATE_FEATURES));
  double rows = wanted & (1u << STAGE_TRAIN | 1u << STAGE_SCALES) ? made : 0;
  if (wanted & (1u << STAGE_EVAL | 1u << STAGE_FEATURES | 1u << STAGE_KNOWN))
    rows = fmax(rows, fmin(batch, fmax(s->heldout_tokens, 1)));
  if (wanted & (analyses | 1u << STAGE_ACCURACY))
    rows = fmax(rows, s->prompt_tokens * copies);
  return fmin(fmax(rows, (double)cli_integer(values, OPT_LENGTH)), fmax(made, CLI_PASS_ROWS));
}

/* Arrays of a forward pass, an eighth larger where they have grown; a matrix that is widened and one that is brought;
 * logits; vectors of all blocks. */
static double work_bytes(const cli_setting *setting, const cli_sizes *s, uint32_t wanted) {
  const xcoder_model_info *info = &setting->infos[0];
  const double rows = largest_pass(setting, s, wanted);
  const double d = (double)info->d_model, mlp = (double)info->d_mlp, heads = (double)info->n_heads;
  const double row = 4 * (12 * d + 3 * mlp + 2 * heads + (s->n + 1) * d);
  const double panel = 4 * fmin(PANEL, fmax(d * mlp, 3 * d * d));
  const bool head = wanted & (analyses | 1u << STAGE_ACCURACY);
  const double logits = head ? 4 * fmin(HEAD_ROWS, rows) * (d + fmin(HEAD_TOKENS, (double)info->n_vocab)) : 0;
  return rows * row * 9 / 8 + 2 * panel + logits + 4 * s->n * (double)info->n_layers * (16 * d + 2 * mlp);
}

xcoder_device_plan cli_device_plan(const cli_job *job, uint32_t wanted) {
  const cli_setting *setting = &job->setting;
  const cli_sizes s = cli_measure_sizes(job);
  const bool train = wanted & 1u << STAGE_TRAIN;
  double weights = 0, work = 0;
  xcoder_train_options options;
  xcoder_error ignored;
  xcoder_device_plan plan = {0};
  if (runs_models(setting, wanted)) {
    weights = cli_weight_bytes(setting, &s, wanted & (analyses | 1u << STAGE_ACCURACY) ? CLI_PARTS_ALL
                                                                                       : CLI_PARTS_BELOW);
    work = work_bytes(setting, &s, wanted);
    if (wanted & (1u << STAGE_ATTRIBUTE | 1u << STAGE_BASELINES | 1u << STAGE_CONVERGENCE))
      work += cli_tape_bytes(setting, &s);
  }
  plan.weight_bytes = (uint64_t)fmin(weights, 1e18);
  plan.work_bytes = (uint64_t)fmin(work, 1e18);
  plan.window_bytes = train ? (uint64_t)fmin(2 * s.n * s.width * s.window, 1e18) : 0;
  if (s.n < 1 || s.width < 1 || !(train || setting->coder))
    return plan;
  if (train) { /* options that cannot be used are found by whoever uses them */
    if (!cli_train_options(job, &options, &ignored))
      xcoder_train_device_plan((size_t)s.n, (size_t)s.width, &options, &plan, &ignored);
    return plan;
  }
  plan.n_checkpoints = (size_t)s.n;
  plan.d_model = (size_t)s.width;
  plan.n_latents = (size_t)s.latents;
  plan.batch_size = BLOCK;
  return plan;
}

/* A crosscoder in a file is opened after the device: now its sizes are known. */
static xcoder_status add_coder(cli_job *job, uint32_t wanted, xcoder_error *err) {
  cli_setting *setting = &job->setting;
  if (setting->plan.n_latents || !setting->coder)
    return XCODER_OK;
  setting->plan = cli_device_plan(job, wanted);
  const bool told = *xcoder_device_reason(setting->device);
  xcoder_status status = xcoder_device_fit(setting->device, &setting->plan, err);
  if (!status && !told && *xcoder_device_reason(setting->device))
    cli_note(setting->call->progress, "device: %s: %s", xcoder_device_name(setting->device),
             xcoder_device_reason(setting->device));
  return status;
}

xcoder_status cli_find_room(cli_job *job, uint32_t wanted, xcoder_error *err) {
  cli_setting *setting = &job->setting;
  cli_estimate *e = &job->estimate;
  xcoder_status status = cli_need_device(setting, err);
  if (!status)
    status = add_coder(job, wanted, err);
  if (!status)
    status = xcoder_device_find_room(setting->device, &setting->plan, &e->room, err);
  if (status == XCODER_DEVICE && cli_integer(setting->values, OPT_FALLBACK) == 1)
    status = XCODER_OK; /* the processor will take it, and the job will say so */
  e->plan = setting->plan;
  return status;
}

double cli_panel_seconds(const cli_estimate *e, const cli_pace *pace) {
  return (double)e->room.step_up * pace->coder.up_seconds + (double)e->room.step_down * pace->coder.down_seconds;
}

void cli_print_room(const cli_job *job) {
  const cli_estimate *e = &job->estimate;
  const xcoder_device_room *r = &e->room;
  char a[32], b[32], c[32], d[32];
  if (!r->own_memory)
    return;
  printf("device memory   %s has %s and gives %s at once\n", xcoder_device_name(job->setting.device),
         cli_size((double)r->memory_bytes, a), cli_size((double)r->largest_bytes, b));
  if (r->coder_bytes > 0)
    printf("                crosscoder %s, of which %s for a batch\n", cli_size((double)r->coder_bytes, a),
           cli_size((double)r->batch_bytes, b));
  printf("                models %s, and %s to work in; samples %s\n", cli_size((double)e->plan.weight_bytes, a),
         cli_size((double)e->plan.work_bytes, b), cli_size((double)e->plan.window_bytes, c));
  if (r->n_host_panels > 0)
    printf("device panels   %zu of %zu panels of %zu features stay in the host's memory (%s): %s up, %s down %s%s\n",
           r->n_host_panels, r->n_panels, r->panel_latents, cli_size((double)r->host_bytes, a),
           cli_size((double)r->step_up, b), cli_size((double)r->step_down, c),
           e->plan.training ? "a step, which adds about " : "a batch",
           e->plan.training ? cli_duration(e->panel_seconds, d) : "");
}

json_t *cli_room_object(const cli_job *job) {
  const cli_estimate *e = &job->estimate;
  const xcoder_device_room *r = &e->room;
  return json_pack("{s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:f}", "name",
                   xcoder_device_name(job->setting.device), "memory_bytes", (json_int_t)r->memory_bytes,
                   "largest_buffer_bytes", (json_int_t)r->largest_bytes, "crosscoder_bytes",
                   (json_int_t)r->coder_bytes, "batch_bytes", (json_int_t)r->batch_bytes, "model_bytes",
                   (json_int_t)e->plan.weight_bytes, "work_bytes", (json_int_t)e->plan.work_bytes, "sample_bytes",
                   (json_int_t)e->plan.window_bytes, "panels", (json_int_t)r->n_panels, "host_panels",
                   (json_int_t)r->n_host_panels, "panel_features", (json_int_t)r->panel_latents, "host_bytes",
                   (json_int_t)r->host_bytes, "step_bytes_up", (json_int_t)r->step_up, "step_bytes_down",
                   (json_int_t)r->step_down, "step_seconds", e->panel_seconds);
}
