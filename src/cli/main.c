/* SPDX-License-Identifier: Apache-2.0 */
/* The program crosscoder: finds the command, reads its options, runs it, reports how it ended. */
#include "command.h"
#include "plan.h"
#include "signals.h"
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A closed standard stream would be given to the next file that is opened: put /dev/null in its place. */
static void fill_closed_streams(bool *out_closed) {
  *out_closed = fcntl(STDOUT_FILENO, F_GETFD) < 0 && errno == EBADF;
  int file;
  do
    file = open("/dev/null", O_RDWR);
  while (file >= 0 && file <= STDERR_FILENO);
  if (file > STDERR_FILENO)
    close(file);
}

static int print_error(cli_progress *progress, xcoder_status status, const xcoder_error *err) {
  if (progress)
    cli_end_line(progress);
  fflush(stdout);
  if (status == XCODER_INTERRUPTED && cli_stop) {
    fprintf(stderr, "crosscoder: stopped by signal %d\n", (int)cli_stop);
    return 128 + (int)cli_stop;
  }
  fprintf(stderr, "crosscoder: error: %s\n", err->message[0] ? err->message : xcoder_status_name(status));
  if (progress)
    cli_log_event(progress, "error", err->message);
  return xcoder_exit_status(status);
}

static xcoder_status check_operands(const cli_call *call, xcoder_error *err) {
  const cli_command *command = call->command;
  if (call->n_operands > command->most)
    return cli_fail(err, XCODER_USAGE, "%s: '%.200s' was found after the operands, expected %s", command->name,
                    call->operands[command->most], command->most ? command->operands : "options only");
  if (call->n_operands < command->least)
    return cli_fail(err, XCODER_USAGE, "%s: %s is missing (see crosscoder %s --help)", command->name,
                    command->operands, command->name);
  return XCODER_OK;
}

/* Errors of the options are returned; how the command itself ended is put into `code` and printed. */
static xcoder_status run_command(cli_call *call, int *code, xcoder_error *err) {
  bool help = false;
  xcoder_status status = cli_values_init(&call->values, err);
  if (!status)
    status = cli_parse(&call->values, call->command->mask, call->argc, call->argv, 2, call->operands,
                       &call->n_operands, &help, err);
  if (!status && help) {
    cli_print_help(call->command);
    return XCODER_OK;
  }
  if (!status)
    status = check_operands(call, err);
  const char *config = cli_text(&call->values, OPT_CONFIG);
  if (!status && config)
    status = cli_plan_read(config, &call->values, FROM_PLAN, err);
  if (status)
    return status;
  cli_progress progress;
  cli_progress_init(&progress, cli_flag(&call->values, OPT_QUIET), cli_integer(&call->values, OPT_LOG) == 1,
                    call->command->name);
  call->progress = &progress;
  call->monitor = (xcoder_monitor){&progress, cli_show_progress, cli_warn, &cli_stop};
  xcoder_set_threads((int)cli_integer(&call->values, OPT_THREADS));
  status = call->command->function(call, err);
  if (status)
    *code = print_error(&progress, status, err);
  cli_progress_free(&progress);
  return XCODER_OK;
}

static xcoder_status find_command(const char *name, const cli_command **command, xcoder_error *err) {
  *command = cli_find_command(name);
  if (*command)
    return XCODER_OK;
  const char *nearest = cli_nearest_command(name);
  if (nearest)
    return cli_fail(err, XCODER_USAGE, "%.200s: unknown command (did you mean %s?)", name, nearest);
  return cli_fail(err, XCODER_USAGE, "%.200s: unknown command (crosscoder --help lists them)", name);
}

/* Lost output is a failure: whoever reads it would take a part for the whole. */
static int finish_output(int code, bool out_closed) {
  bool lost = ferror(stdout) != 0;
  int reason = lost ? errno : 0;
  if (fflush(stdout) != 0) {
    reason = errno;
    lost = true;
  }
  if (code != 0 || !(lost || out_closed))
    return code;
  fprintf(stderr, "crosscoder: error: standard output: %s\n", out_closed ? "it is closed" : strerror(reason));
  return xcoder_exit_status(XCODER_IO);
}

static bool is_word(const char *word, const char *a, const char *b) {
  return strcmp(word, a) == 0 || strcmp(word, b) == 0;
}

int main(int argc, char **argv) {
  bool out_closed = false;
  fill_closed_streams(&out_closed);
  cli_install_signals();
  if (argc < 2) {
    fprintf(stderr, "crosscoder: error: a command is missing (crosscoder --help lists them)\n");
    return xcoder_exit_status(XCODER_USAGE);
  }
  if (is_word(argv[1], "--version", "-V")) {
    printf("crosscoder %s\n", xcoder_version());
    return finish_output(0, out_closed);
  }
  if (is_word(argv[1], "--help", "-h")) {
    cli_print_overview();
    return finish_output(0, out_closed);
  }
  xcoder_error err = {0};
  cli_call call = {.argc = argc, .argv = argv};
  int code = 0;
  xcoder_status status = find_command(argv[1], &call.command, &err);
  if (!status) {
    call.operands = calloc((size_t)argc, sizeof *call.operands);
    status = call.operands ? run_command(&call, &code, &err) : cli_fail_memory(&err);
  }
  if (status)
    code = print_error(NULL, status, &err);
  cli_values_free(&call.values);
  free(call.operands);
  return finish_output(code, out_closed);
}
