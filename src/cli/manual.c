/* SPDX-License-Identifier: Apache-2.0 */
/* Manual pages and the completion for bash, from the tables. */
#include "command.h"
#include "text.h"

#include <stdio.h>
#include <string.h>

/* Prints text as roff: hyphens stay hyphens, nothing is taken for a request. */
static void print_roff(const char *text, size_t n_bytes) {
  bool line_start = true;
  for (size_t i = 0; i < n_bytes; i++) {
    char c = text[i];
    if (line_start && (c == '.' || c == '\''))
      printf("\\&");
    if (c == '\\')
      printf("\\e");
    else if (c == '-')
      printf("\\-");
    else
      putchar(c);
    line_start = c == '\n';
  }
}

static void print_word(const char *text) { print_roff(text, strlen(text)); }

static void print_paragraphs(const char *text) {
  while (*text) {
    const char *end = strstr(text, "\n\n");
    size_t n = end ? (size_t)(end - text) : strlen(text);
    print_roff(text, n);
    printf("\n");
    text += n + (end ? 2 : 0);
    if (*text)
      printf(".PP\n");
  }
}

static void print_option(const cli_option *option) {
  const char *argument = option->argument ? option->argument : option->choices;
  printf(".TP\n\\fB");
  if (option->letter)
    printf("\\-%c\\fR, \\fB", option->letter);
  printf("\\-\\-");
  print_word(option->name);
  printf("\\fR");
  if (argument) {
    printf("=\\fI");
    print_word(argument);
    printf("\\fR");
  }
  printf("\n");
  print_word(option->text);
  if (option->fallback && option->type != CLI_FLAG) {
    printf(" (default: ");
    print_word(option->fallback);
    printf(")");
  }
  printf("\n");
}

static void print_options(uint32_t mask) {
  for (int group = GROUP_INPUT; group < GROUP_HIDDEN; group++) {
    bool any = false;
    for (int id = 0; id < N_OPTIONS; id++) {
      const cli_option *option = &cli_options[id];
      if ((int)option->group != group || !(option->commands & mask))
        continue;
      if (!any)
        printf(".SS %s\n", cli_group_titles[group]);
      any = true;
      print_option(option);
    }
  }
}

static void print_exit_status(void) {
  static const char *const lines[][2] = {
    {"0", "done"}, {"1", "internal error"}, {"2", "usage, or a plan that asks for the impossible"},
    {"3", "an input is missing, malformed, unsupported or inconsistent with another"},
    {"4", "input or output failed: disk full, no permission"}, {"5", "would exceed memory or disk"},
    {"6", "the device failed and falling back was forbidden"}, {"7", "training diverged (NaN or infinity)"},
    {"8", "the run directory is in use by another process"}, {"9", "saved state is corrupt or incompatible"},
    {"128+N", "stopped by signal N, state saved"}};
  printf(".SH EXIT STATUS\n");
  for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
    printf(".TP\n.B %s\n", lines[i][0]);
    print_word(lines[i][1]);
    printf("\n");
  }
}

static void print_files(const char *files) {
  printf(".SH FILES\n");
  for (const char *line = files; *line; line += strcspn(line, "\n"), line += *line == '\n') {
    size_t n = strcspn(line, "\t"), rest = strcspn(line + n + 1, "\n");
    printf(".TP\n.I ");
    print_roff(line, n);
    printf("\n");
    print_roff(line + n + 1, rest);
    printf("\n");
  }
}

static void print_header(const char *name) {
  printf(".\\\" Made by man/generate.sh from the tables of the program.\n");
  printf(".TH \"");
  for (const char *s = name; *s; s++)
    putchar(*s >= 'a' && *s <= 'z' ? *s - 'a' + 'A' : *s);
  printf("\" \"1\" \"\" \"crosscoder %s\" \"User Commands\"\n", xcoder_version());
}

static void print_overview(void) {
  print_header("crosscoder");
  printf(".SH NAME\ncrosscoder \\- watch concepts appear inside language models while they are being pretrained\n"
         ".SH SYNOPSIS\n.B crosscoder\n.I COMMAND\n[\\fIOPTION\\fR...] [\\fIOPERAND\\fR...]\n.SH DESCRIPTION\n");
  print_paragraphs(
    "Trains sparse crosscoders over several checkpoints of a language model, measures how much each feature matters "
    "for a task at each checkpoint, and writes a report.\n\n"
    "A checkpoint is named by a folder in the Hugging Face layout, or as ORG/NAME[@REVISION], which is looked up in "
    "the local cache and never downloaded.\n\n"
    "Results go to standard output, all else to standard error.");
  printf(".SH COMMANDS\n");
  for (size_t i = 0; i < n_cli_commands; i++) {
    printf(".TP\n.BR crosscoder\\-%s (1)\n", cli_commands[i].name);
    print_word(cli_commands[i].purpose);
    printf("\n");
  }
  printf(".SH PLANS\n");
  print_paragraphs(
    "crosscoder run takes a plan: a YAML file whose keys are names of options (underscore and hyphen are the same). "
    "Lists are YAML lists; checkpoints may be a mapping from labels to folders. Paths are relative to the plan. "
    "Every other command takes the same file with --config=FILE; options of the command line win.");
  print_exit_status();
  printf(".SH ENVIRONMENT\n.TP\n.B HF_HUB_CACHE, HF_HOME\nwhere the Hugging Face cache lies\n"
         ".TP\n.B NO_COLOR\nno colours on a terminal\n"
         ".TP\n.B OMP_WAIT_POLICY\nset it to passive on a machine that is busy with other work: threads that wait then "
         "sleep instead of\nspinning, which can be several times as fast\n");
}

void cli_print_manual(const cli_command *command) {
  if (!command) {
    print_overview();
    return;
  }
  char name[64];
  snprintf(name, sizeof name, "crosscoder-%s", command->name);
  print_header(name);
  printf(".SH NAME\ncrosscoder\\-%s \\- ", command->name);
  print_word(command->purpose);
  printf("\n.SH SYNOPSIS\n.B crosscoder %s\n[\\fIOPTION\\fR...]", command->name);
  if (command->operands[0]) {
    printf(" ");
    print_word(command->operands);
  }
  printf("\n.SH DESCRIPTION\n");
  print_paragraphs(command->description);
  printf(".SH OPTIONS\n");
  print_options(command->mask);
  if (command->files)
    print_files(command->files);
  printf(".SH EXAMPLES\n.nf\n");
  print_word(command->examples);
  printf(".fi\n");
  print_exit_status();
  printf(".SH SEE ALSO\n.BR crosscoder (1)\n");
}

void cli_print_completion(void) {
  printf("# Completion of crosscoder for bash. Made by man/generate.sh from the tables of the program.\n"
         "_crosscoder() {\n  local word=${COMP_WORDS[COMP_CWORD]} options=\n  COMPREPLY=()\n"
         "  if [ \"$COMP_CWORD\" -eq 1 ]; then\n    COMPREPLY=($(compgen -W \"--help --version");
  for (size_t i = 0; i < n_cli_commands; i++)
    printf(" %s", cli_commands[i].name);
  printf("\" -- \"$word\"))\n    return\n  fi\n  case ${COMP_WORDS[1]} in\n");
  for (size_t i = 0; i < n_cli_commands; i++) {
    printf("    %s) options=\"--help", cli_commands[i].name);
    for (int id = 0; id < N_OPTIONS; id++)
      if (cli_options[id].commands & cli_commands[i].mask && cli_options[id].group != GROUP_HIDDEN)
        printf(" --%s%s", cli_options[id].name, cli_options[id].type == CLI_FLAG ? "" : "=");
    printf("\" ;;\n");
  }
  printf("  esac\n  case $word in\n");
  for (int id = 0; id < N_OPTIONS; id++) {
    if (cli_options[id].type != CLI_CHOICE)
      continue;
    printf("    --%s=*) COMPREPLY=($(compgen -W \"", cli_options[id].name);
    for (const char *s = cli_options[id].choices; *s; s++)
      putchar(*s == '|' ? ' ' : *s);
    printf("\" -- \"${word#*=}\")) ;;\n");
  }
  printf("    --*=*) COMPREPLY=($(compgen -f -- \"${word#*=}\")) ;;\n"
         "    -*) COMPREPLY=($(compgen -W \"$options\" -- \"$word\"))\n"
         "        case ${COMPREPLY[0]} in *=) compopt -o nospace ;; esac ;;\n"
         "    *) COMPREPLY=($(compgen -f -- \"$word\")) ;;\n"
         "  esac\n}\ncomplete -o filenames -F _crosscoder crosscoder\n");
}
