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

/* `written_bytes`: what the job will write; the disk is measured only where that is much. `coder`: whether the job uses
 * a crosscoder. */
xcoder_status cli_measure_pace(cli_job *job, double written_bytes, bool coder, cli_pace *pace, xcoder_error *err);

/* Parameters of one block and of the embedding (the head has as many); bytes of one in the weight files. */
double cli_block_parameters(const xcoder_model_info *info);
double cli_embedding_parameters(const xcoder_model_info *info);
double cli_parameter_bytes(const xcoder_model_info *info);

#endif
