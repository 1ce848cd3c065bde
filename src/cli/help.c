/* SPDX-License-Identifier: Apache-2.0 */
/* --help of the program and of every command, from the tables. */
#include "command.h"
#include "text.h"

#include <stdio.h>
#include <string.h>

enum { HELP_COLUMN = 27, HELP_WIDTH = 100 };

/* Prints `text` wrapped at HELP_WIDTH, from column `column` on; `at` is where the cursor stands. */
static void print_wrapped(const char *text, int column, int at) {
  while (*text) {
    size_t n = strcspn(text, " \n");
    if (at > column && at + 1 + (int)n > HELP_WIDTH) {
      printf("\n");
      at = 0;
    } else if (at > column) {
      printf(" ");
      at++;
    }
    if (at < column)
      at += printf("%*s", column - at, "");
    printf("%.*s", (int)n, text);
    at += (int)n;
    text += n;
    text += *text != '\0';
  }
  printf("\n");
}

static void print_option(const cli_option *option) {
  char head[128];
  const char *argument = option->argument ? option->argument : option->choices;
  int n = snprintf(head, sizeof head, "  %c%c%s--%s%s%s", option->letter ? '-' : ' ', option->letter ? option->letter
                   : ' ', option->letter ? ", " : "  ", option->name, argument ? "=" : "", argument ? argument : "");
  printf("%s", head);
  if (n >= HELP_COLUMN) {
    printf("\n");
    n = 0;
  }
  cli_string text = {0};
  cli_add(&text, option->text);
  if (option->fallback && option->type != CLI_FLAG)
    cli_addf(&text, " [%s]", option->fallback);
  print_wrapped(text.failed ? option->text : text.text, HELP_COLUMN, n);
  cli_string_free(&text);
}

static void print_group(const cli_command *command, cli_group group) {
  bool any = false;
  for (int id = 0; id < N_OPTIONS; id++) {
    const cli_option *option = &cli_options[id];
    if (option->group != group || !(option->commands & command->mask))
      continue;
    if (!any)
      printf("\n%s:\n", cli_group_titles[group]);
    any = true;
    print_option(option);
  }
}

void cli_print_overview(void) {
  printf("Usage: crosscoder COMMAND [OPTION...] [OPERAND...]\n\n"
         "Watches concepts appear inside language models while they are being pretrained.\n\nCommands:\n");
  for (size_t i = 0; i < n_cli_commands; i++)
    printf("  %-10s %s\n", cli_commands[i].name, cli_commands[i].purpose);
  printf("\ncrosscoder COMMAND --help explains a command; crosscoder --version prints the version.\n\n"
         "Start with:\n  crosscoder init DIR1 DIR2 DIR3 --out=plan.yaml     write a plan, every default spelled out\n"
         "  crosscoder run plan.yaml                           do all of it\n\n"
         "Exit status: 0 done, 1 internal error, 2 usage, 3 bad input, 4 input/output failure, 5 memory or disk,\n"
         "6 device, 7 diverged, 8 run in use, 9 saved state corrupt, 128+N stopped by signal N with state saved.\n");
}

void cli_print_help(const cli_command *command) {
  printf("Usage: crosscoder %s [OPTION...]%s%s\n\n%s.\n\n", command->name, command->operands[0] ? " " : "",
         command->operands, command->purpose);
  for (const char *text = command->description; *text;) {
    const char *end = strstr(text, "\n\n");
    char paragraph[2048];
    size_t n = end ? (size_t)(end - text) : strlen(text);
    snprintf(paragraph, sizeof paragraph, "%.*s", (int)n, text);
    print_wrapped(paragraph, 0, 0);
    text += n;
    text += end ? 2 : 0;
    if (*text)
      printf("\n");
  }
  for (int group = GROUP_INPUT; group < GROUP_HIDDEN; group++)
    print_group(command, (cli_group)group);
  printf("  -h, --help%*sshow this help\n", HELP_COLUMN - 12, "");
  if (command->files) {
    printf("\nFiles:\n");
    for (const char *line = command->files; *line; line += strcspn(line, "\n"), line += *line == '\n') {
      int n = (int)strcspn(line, "\t");
      int at = printf("  %.*s", n, line);
      char rest[512];
      snprintf(rest, sizeof rest, "%.*s", (int)strcspn(line + n + 1, "\n"), line + n + 1);
      print_wrapped(rest, HELP_COLUMN, at);
    }
  }
  printf("\nExamples:\n%s", command->examples);
}

xcoder_status cli_help(cli_call *call, xcoder_error *err) {
  const cli_command *command = NULL;
  if (call->n_operands && !(command = cli_find_command(call->operands[0]))) {
    const char *nearest = cli_nearest_command(call->operands[0]);
    return cli_fail(err, XCODER_USAGE, "%.200s: unknown command%s%s%s", call->operands[0],
                    nearest ? " (did you mean " : "", nearest ? nearest : "", nearest ? "?)" : "");
  }
  if (cli_flag(&call->values, OPT_COMPLETION))
    cli_print_completion();
  else if (cli_flag(&call->values, OPT_MAN))
    cli_print_manual(command);
  else if (command)
    cli_print_help(command);
  else
    cli_print_overview();
  return XCODER_OK;
}
