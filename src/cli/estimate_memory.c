/* SPDX-License-Identifier: Apache-2.0 */
/* The memory that the stages of a job take. */
#include "estimate.h"

#include <math.h>
#include <string.h>

double cli_process_bytes(void) {
  static const double process_bytes = 16e6, thread_bytes = 10e6; /* measured: libraries, tables, buffers of BLAS */
  return process_bytes + thread_bytes * xcoder_threads();
}

double cli_weight_bytes(const cli_setting *setting, const cli_sizes *s, cli_parts which) {
  double bytes = 0;
  for (size_t c = 0; c < setting->n_checkpoints; c++) {
    const xcoder_model_info *info = &setting->infos[c];
    double all = (double)info->n_parameters, below = fmin(s->embedded_rows * (double)info->d_model + s->below, all);
    double blocks = cli_block_parameters(info) * (double)info->n_layers;
    bytes += cli_parameter_bytes(info) * (which == CLI_PARTS_ALL ? all : which == CLI_PARTS_BELOW ? below : blocks);
  }
  return bytes;
}

/* Work space of one forward pass, shared by all models, and the residual stream that each of them keeps. */
double cli_forward_bytes(const xcoder_model_info *info, double n_models, double rows) {
  bool gated = strcmp(info->family, "gpt_neox") != 0 && strcmp(info->family, "bloom") != 0;
  double d = (double)info->d_model, mlp = (double)info->d_mlp, panel = fmin(4 * d * mlp, 1 << 25);
  return 4 * rows * (11 * d + (gated ? 2 : 1) * mlp) + panel + 4 * rows * d * (n_models + 1);
}

static double forward_bytes(const cli_setting *setting, const cli_sizes *s, double rows) {
  return setting->n_checkpoints ? cli_forward_bytes(&setting->infos[0], s->n, rows) : 0;
}

double cli_pass_rows(const cli_values *values, double n_tokens) {
  double length = (double)cli_integer(values, OPT_LENGTH), batch = (double)cli_integer(values, OPT_BATCH_TOKENS);
  return fmin(fmax(fmin(batch, 4096), length), n_tokens);
}

/* The crosscoder as an object and on the device, a block of samples on their way through it. */
double cli_coder_bytes(const cli_sizes *s, double rows) {
  double row = s->n * s->width;
  return 2 * 4 * 2 * row * s->latents + fmin(1024, rows) * (3 * 4 * row + 8 * s->latents);
}

/* Stretches of `rows` positions: activations of all checkpoints, reconstructed ones, codes and their effects. */
static double stretch_bytes(const cli_sizes *s, double rows) {
  return rows * (2 * 4 * s->n * s->width + s->l0 * (8 + 8 * s->n));
}

/* What the way back needs: on the tape of each model the inputs of blocks, projections and activations of every row. */
double cli_tape_bytes(const cli_setting *setting, const cli_sizes *s) {
  const xcoder_model_info *info = &setting->infos[0];
  bool parallel = strcmp(info->family, "gpt_neox") == 0, gated = !parallel && strcmp(info->family, "bloom") != 0;
  double blocks = fmax(1, s->above / cli_block_parameters(info));
  double row = 4 * ((parallel ? 1 : 2) * s->width + 3 * (double)(info->n_heads * info->d_head) +
                    (gated ? 2 : 1) * (double)info->d_mlp);
  double rows = fmin(4096, s->prompt_tokens * cli_attribution_nodes(setting->values));
  double gradients = 4 * rows * (9 * s->width + 2 * (double)info->d_mlp); /* work space */
  return s->n * (fmin(1 << 30, blocks * row * rows) + 4 * rows * s->width) + gradients;
}

static double analysis_bytes(const cli_setting *setting, const cli_sizes *s, uint32_t wanted) {
  const cli_values *values = setting->values;
  if (!setting->n_checkpoints)
    return 0;
  double batch = (double)cli_integer(values, OPT_EVAL_SEQUENCES) * (double)cli_integer(values, OPT_LENGTH);
  double rows = fmin(batch, fmax(s->heldout_tokens, 1)), most = 0;
  bool text = wanted & (1u << STAGE_EVAL | 1u << STAGE_FEATURES | 1u << STAGE_KNOWN);
  if (text)
    most = stretch_bytes(s, rows) + 8 * rows * s->width + forward_bytes(setting, s, fmin(rows, 4096));
  double prompts = fmin(s->prompt_tokens, 1024);
  double packed = fmin(4096, cli_attribution_nodes(values) * prompts);
  if (wanted & (1u << STAGE_ATTRIBUTE | 1u << STAGE_ABLATE | 1u << STAGE_EVAL))
    most = fmax(most, stretch_bytes(s, prompts) + prompts * s->width * 20 + packed * s->width * 8 +
                          forward_bytes(setting, s, packed) +
                          (wanted & 1u << STAGE_ATTRIBUTE ? cli_tape_bytes(setting, s) : 0));
  return most + cli_coder_bytes(s, text ? rows : prompts);
}

static const uint32_t analyses = 1u << STAGE_EVAL | 1u << STAGE_ATTRIBUTE | 1u << STAGE_KNOWN | 1u << STAGE_ABLATE |
                                 1u << STAGE_FEATURES;

/* Weights of the models that are open at once; `most`: the parts that analyses use. */
static double model_bytes(const cli_setting *setting, const cli_sizes *s, uint32_t wanted, cli_parts most) {
  if (wanted == 1u << STAGE_ACCURACY && s->n > 0)
    return cli_weight_bytes(setting, s, CLI_PARTS_ALL) / s->n; /* one model at a time */
  if (wanted & (analyses | 1u << STAGE_ACCURACY))
    return cli_weight_bytes(setting, s, most);
  bool live = !cli_is_set(setting->values, OPT_STORE);
  return live && wanted & 1u << STAGE_TRAIN ? cli_weight_bytes(setting, s, CLI_PARTS_BELOW) : 0;
}

double cli_stage_memory(const cli_setting *setting, const cli_sizes *s, double train_bytes, uint32_t wanted) {
  const cli_values *values = setting->values;
  bool live = !cli_is_set(values, OPT_STORE);
  double row = 2 * s->n * s->width, most = 0; /* bf16 */
  if (wanted & 1u << STAGE_TRAIN)
    most = train_bytes + row * (s->window + s->held_window) +
           live * forward_bytes(setting, s, cli_pass_rows(values, fmax(s->corpus_tokens, s->heldout_tokens)));
  if (wanted & 1u << STAGE_ACCURACY)
    most = fmax(most, forward_bytes(setting, s, fmin(4096, s->prompt_tokens)));
  if (wanted & analyses)
    most = fmax(most, analysis_bytes(setting, s, wanted));
  if (wanted & 1u << STAGE_EVOLVE) /* how often each example is drawn, 16 bits, and the crosscoder */
    most = fmax(most, 2 * (double)cli_integer(values, OPT_BOOTSTRAP) * s->n_pairs + cli_coder_bytes(s, 0));
  double models = model_bytes(setting, s, wanted, wanted == 1u << STAGE_ATTRIBUTE ? CLI_PARTS_BLOCKS : CLI_PARTS_ALL);
  return cli_process_bytes() + models + 4 * (s->corpus_tokens + s->heldout_tokens) + most;
}
