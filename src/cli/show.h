/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of crosscoder show. */
#ifndef CLI_SHOW_H
#define CLI_SHOW_H

#include "command.h"
#include "csv.h"

/* effects/TASK.csv of every task of a run, in the order of their names. */
typedef struct cli_effects {
  char *task;
  cli_csv table;
} cli_effects;
cli_effects *cli_read_effects(const char *run, size_t *n_tasks, cli_progress *progress);
void cli_free_effects(cli_effects *effects, size_t n_tasks);
/* The labels of the checkpoints, from the header; they point into the table. */
size_t cli_labels(const cli_csv *effects, const char *labels[XCODER_MAX_CHECKPOINTS]);
const char *cli_effect_cell(const cli_csv *effects, size_t row, const char *prefix, const char *label);

/* labels.csv of a run, empty if there is none, and what most annotators called a feature in it ("" if none did). */
void cli_read_labels(const char *run, cli_csv *labels, cli_progress *progress);
const char *cli_label_of(const cli_csv *labels, const char *id);

xcoder_status cli_show_card(cli_call *call, xcoder_error *err);
xcoder_status cli_show_text(cli_call *call, xcoder_error *err);

#endif
