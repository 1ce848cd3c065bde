/* SPDX-License-Identifier: Apache-2.0 */
/* Commands: their table, and what one call of a command is given. */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include "options.h"
#include "progress.h"

typedef struct cli_command cli_command;

typedef struct cli_call {
  const cli_command *command;
  cli_values values;
  char **operands;
  size_t n_operands;
  int argc; /* the whole command line, for manifest.json */
  char **argv;
  cli_progress *progress;
  xcoder_monitor monitor; /* progress, warnings and the stop flag */
} cli_call;

struct cli_command {
  const char *name;
  uint32_t mask;
  const char *purpose;  /* one line */
  const char *operands; /* of the synopsis */
  size_t least, most;   /* operands */
  xcoder_status (*function)(cli_call *call, xcoder_error *err);
  const char *description; /* paragraphs, separated by an empty line */
  const char *files;       /* "PATH\tWHAT" lines, NULL if there are none */
  const char *examples;    /* "what it does\n  command" pairs of lines */
};

extern const cli_command cli_commands[];
extern const size_t n_cli_commands;

const cli_command *cli_find_command(const char *name);
const char *cli_nearest_command(const char *name);

xcoder_status cli_inspect(cli_call *call, xcoder_error *err);
xcoder_status cli_tokenize(cli_call *call, xcoder_error *err);
xcoder_status cli_accuracy(cli_call *call, xcoder_error *err);
xcoder_status cli_harvest(cli_call *call, xcoder_error *err);
xcoder_status cli_train(cli_call *call, xcoder_error *err);
xcoder_status cli_eval(cli_call *call, xcoder_error *err);
xcoder_status cli_attribute(cli_call *call, xcoder_error *err);
xcoder_status cli_ablate(cli_call *call, xcoder_error *err);
xcoder_status cli_features(cli_call *call, xcoder_error *err);
xcoder_status cli_evolve(cli_call *call, xcoder_error *err);
xcoder_status cli_show(cli_call *call, xcoder_error *err);
xcoder_status cli_init(cli_call *call, xcoder_error *err);
xcoder_status cli_report(cli_call *call, xcoder_error *err);
xcoder_status cli_merge_labels(cli_call *call, xcoder_error *err);
xcoder_status cli_run(cli_call *call, xcoder_error *err);
xcoder_status cli_compare(cli_call *call, xcoder_error *err);
xcoder_status cli_import(cli_call *call, xcoder_error *err);
xcoder_status cli_export(cli_call *call, xcoder_error *err);
xcoder_status cli_devices(cli_call *call, xcoder_error *err);
xcoder_status cli_audit(cli_call *call, xcoder_error *err);
xcoder_status cli_similarity(cli_call *call, xcoder_error *err);
xcoder_status cli_select(cli_call *call, xcoder_error *err);
xcoder_status cli_help(cli_call *call, xcoder_error *err);

/* help.c, manual.c: all made from the tables. */
void cli_print_overview(void);
void cli_print_help(const cli_command *command);
void cli_print_manual(const cli_command *command); /* NULL: crosscoder(1) */
void cli_print_completion(void);

#endif
