/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the words of a command line by the table of options. */
#include "options.h"
#include "text.h"

#include <stdlib.h>
#include <string.h>

typedef struct parser {
  cli_values *values;
  uint32_t command;
  int argc, next;
  char **argv;
  xcoder_error *err;
} parser;

static xcoder_status fail_unknown(const parser *p, const char *name, size_t n_bytes) {
  char *word = cli_format("%.*s", n_bytes > 200 ? 200 : (int)n_bytes, name);
  if (!word)
    return cli_fail_memory(p->err);
  for (char *s = word; *s; s++)
    *s = *s == '_' ? '-' : *s;
  cli_id known = cli_find(word, strlen(word));
  const char *nearest = cli_nearest_option(word, p->command);
  xcoder_status status;
  if (known < N_OPTIONS)
    status = cli_fail(p->err, XCODER_USAGE, "--%s: this command has no such option (see --help)", word);
  else if (nearest)
    status = cli_fail(p->err, XCODER_USAGE, "--%s: unknown option (did you mean --%s?)", word, nearest);
  else
    status = cli_fail(p->err, XCODER_USAGE, "--%s: unknown option (see --help)", word);
  free(word);
  return status;
}

/* Sets option `id` from `value`, or from the next word when that is NULL; a flag alone is "yes". */
static xcoder_status take_value(parser *p, cli_id id, const char *where, char *value) {
  char yes[] = "yes", tolerance[] = "0.05";
  if (!value && cli_options[id].type == CLI_FLAG)
    value = yes;
  if (!value && id == OPT_STOP_WHEN_STABLE)
    value = tolerance;
  if (!value && p->next < p->argc)
    value = p->argv[p->next++];
  if (!value)
    return cli_fail(p->err, XCODER_USAGE, "%s: a value is missing, expected %s", where,
                    cli_options[id].argument ? cli_options[id].argument : cli_options[id].choices);
  return cli_set(p->values, id, &value, 1, true, where, NULL, FROM_COMMAND_LINE, p->err);
}

static xcoder_status read_long(parser *p, char *word) {
  char *equals = strchr(word, '=');
  size_t n_bytes = equals ? (size_t)(equals - word) : strlen(word);
  cli_id id = cli_find(word, n_bytes);
  if (id == N_OPTIONS || !(cli_options[id].commands & p->command))
    return fail_unknown(p, word, n_bytes);
  char where[64];
  snprintf(where, sizeof where, "--%s", cli_options[id].name);
  return take_value(p, id, where, equals ? equals + 1 : NULL);
}

/* -q, -o PATH, -oPATH; flags may share a word. */
static xcoder_status read_short(parser *p, char *word) {
  for (char *s = word; *s; s++) {
    cli_id id = N_OPTIONS;
    for (int i = 0; i < N_OPTIONS && id == N_OPTIONS; i++)
      if (cli_options[i].letter == *s && cli_options[i].commands & p->command)
        id = (cli_id)i;
    if (id == N_OPTIONS)
      return cli_fail(p->err, XCODER_USAGE, "-%c: unknown option (see --help; -- ends the options)", *s);
    char where[8] = {'-', *s, '\0'};
    bool flag = cli_options[id].type == CLI_FLAG;
    xcoder_status status = take_value(p, id, where, !flag && s[1] ? s + 1 : NULL);
    if (status || !flag)
      return status;
  }
  return XCODER_OK;
}

xcoder_status cli_parse(cli_values *values, uint32_t command, int argc, char **argv, int first, char **operands,
                        size_t *n_operands, bool *help, xcoder_error *err) {
  parser p = {values, command, argc, first, argv, err};
  bool options = true;
  xcoder_status status = XCODER_OK;
  while (!status && p.next < argc) {
    char *word = argv[p.next++];
    if (options && strcmp(word, "--") == 0) {
      options = false;
    } else if (options && (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)) {
      *help = true;
    } else if (options && word[0] == '-' && word[1] == '-') {
      status = read_long(&p, word + 2);
    } else if (options && word[0] == '-' && word[1]) {
      status = read_short(&p, word + 1);
    } else {
      operands[(*n_operands)++] = word;
    }
  }
  return status;
}
