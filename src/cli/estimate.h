/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of an estimate: how fast this machine is, and how large the job's models are. */
#ifndef CLI_ESTIMATE_H
#define CLI_ESTIMATE_H

#include "job.h"

typedef struct cli_pace {
  double block_seconds; /* one token through one block of the model, forward */
  double flop_seconds;  /* the same for one operation */
  double byte_seconds;  /* reading and checking one byte of weights */
  double write_seconds; /* one byte to the disk, synced */
  double token_up, token_down; /* bytes over the bus for one token through one model */
  xcoder_pace coder;
} cli_pace;

/* Everything is measured by two clocks at once: the wall's, which other programs hold up, and the processors' (user and
 * system, of all threads together, divided by the threads), which they do not. */
typedef enum cli_clock { CLI_WALL, CLI_PROCESSORS, CLI_CLOCKS } cli_clock;

/* `written_bytes`: what the job will write; the disk is measured only where that is much. `coder`: whether the job uses
 * a crosscoder. */
xcoder_status cli_measure_pace(cli_job *job, double written_bytes, bool coder, cli_pace pace[CLI_CLOCKS],
                               xcoder_error *err);
/* The pace of one model alone, over sequences of `length`, at most so many rows at once. */
#define CLI_PASS_ROWS 4096
xcoder_status cli_measure_model(const char *folder, const xcoder_model_info *info, size_t length, size_t most_rows,
                                xcoder_device *device, cli_pace pace[CLI_CLOCKS], xcoder_error *err);

/* Tokenizes the beginning of a corpus of text: how many tokens that were, whether it was all, and the seconds. */
xcoder_status cli_measure_text(cli_setting *setting, cli_id which, double *n_tokens, bool *all,
                               double seconds[CLI_CLOCKS], xcoder_error *err);

/* Parameters of one block and of the embedding (the head has as many); bytes of one in the weight files. */
double cli_block_parameters(const xcoder_model_info *info);
/* Nodes of an example. With --steps=auto every one has ten, and some have twenty more, or sixty. */
double cli_attribution_nodes(const cli_values *values);
double cli_embedding_parameters(const xcoder_model_info *info);
double cli_parameter_bytes(const xcoder_model_info *info);

typedef struct cli_sizes {
  double n, width, latents;
  double below, above, head;  /* parameters that a token passes: up to the layer, blocks above it, the unembedding */
  double l0;                  /* features that fire for a sample */
  double embedded_rows;       /* of the embedding, that texts can have: as many as they or the tokenizer have tokens */
  double prompt_tokens, n_pairs, corpus_tokens, heldout_tokens;
  double scored_tokens;       /* of prompt_tokens, those whose log-probability is asked for */
  double window, held_window, filled; /* samples that training holds at once, for validation, and makes in all */
} cli_sizes;
cli_sizes cli_measure_sizes(const cli_job *job);
/* Tokens of OPT_CORPUS or OPT_HELDOUT: a guess from the size of its files before they are read. */
double cli_text_tokens(const cli_setting *setting, cli_id which);

/* Seconds of one thread for one token of text, about what the tokenizer of the bundled example takes. */
#define CLI_TOKENIZE_SECONDS 1e-6

/* ---- Memory (estimate_memory.c) ---- */

double cli_process_bytes(void);
/* Weights stay in their files, which are mapped; the pages that are used count as memory of the process: those up to
 * the layer with the rows of the embedding that the text can have, all, or (where prompts are few and two logits are
 * enough) the blocks alone. */
typedef enum cli_parts { CLI_PARTS_BELOW, CLI_PARTS_ALL, CLI_PARTS_BLOCKS } cli_parts;
double cli_weight_bytes(const cli_setting *setting, const cli_sizes *s, cli_parts which);
double cli_forward_bytes(const xcoder_model_info *info, double n_models, double rows);
double cli_coder_bytes(const cli_sizes *s, double rows);
double cli_pass_rows(const cli_values *values, double n_tokens);
double cli_stage_memory(const cli_setting *setting, const cli_sizes *s, double train_bytes, uint32_t wanted);

/* What the way back of an attribution needs. */
double cli_tape_bytes(const cli_setting *setting, const cli_sizes *s);

/* ---- The device (estimate_device.c) ---- */

/* What the job keeps on a device at once: weights of models and what they work in, and beside them the crosscoder,
 * which is left out where its sizes are not known yet, and the samples of a training. */
xcoder_device_plan cli_device_plan(const cli_job *job, uint32_t wanted);
/* The room of the estimate. Errors: XCODER_DEVICE if the device cannot do the job and nothing may take its place. */
xcoder_status cli_find_room(cli_job *job, uint32_t wanted, xcoder_error *err);
/* What panels of the host add to a step of training. */
double cli_panel_seconds(const cli_estimate *estimate, const cli_pace *pace);
void cli_print_room(const cli_job *job);
json_t *cli_room_object(const cli_job *job);

/* ---- Commands that are no stages (estimate_commands.c) ---- */

typedef struct cli_needs {
  double memory_bytes, disk_bytes, flops, flops_per_second;
  double seconds, processor_seconds; /* the latter of all threads together */
  double kept_bytes; /* while a sum is made: of memory_bytes, what stays */
} cli_needs;
void cli_print_needs(const cli_needs *needs, bool json);

/* Revisions in `folders` (NULL where there is none), read and with tokens run one after the other; those that cannot be
 * inspected are left out. `n_tokens` of text in sequences of `length`. `device` may be NULL: no hours. */
xcoder_status cli_estimate_audit(char *const *folders, size_t n, double n_tokens, size_t length, xcoder_device *device,
                                 cli_needs *needs, xcoder_error *err);

/* Tokenizing the corpus, measured on its beginning. */
xcoder_status cli_estimate_tokenize(cli_setting *setting, cli_needs *needs, xcoder_error *err);

/* A text of `n_tokens` in sequences of at most `longest`, of which `n_rows` are compared. */
typedef struct cli_sample { double n_tokens, longest, n_rows; } cli_sample;
/* What comparing activations takes without them, and their own size: in memory or in a file. */
void cli_similarity_memory(const cli_setting *setting, const cli_sample *sample, double *without, double *rows);
xcoder_status cli_estimate_similarity(const cli_setting *setting, const cli_sample *sample, cli_needs *needs,
                                      xcoder_error *err);

/* Adds what encoding documents of `n_tokens` by the run of the job takes; what it keeps stays until all are matched. */
xcoder_status cli_estimate_side(cli_job *job, double n_tokens, bool timed, cli_needs *needs, xcoder_error *err);
/* Adds the matching of all features of two runs. */
void cli_estimate_matching(const cli_sizes *a, const cli_sizes *b, double n_tokens, cli_needs *needs);
/* Adds the attribution of the tasks with another model in a slot, `n` times. */
xcoder_status cli_estimate_transfers(cli_job *job, double n, bool timed, cli_needs *needs, xcoder_error *err);

#endif
