/* SPDX-License-Identifier: Apache-2.0 */
/* Writes plans: every key with its value, all defaults spelled out. */
#include "plan.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* Whether YAML reads `text` back as the same text without quotes. */
static bool is_plain(const char *text) {
  static const char *const words[] = {"null", "Null", "NULL", "~", "true", "false", "yes", "no", "on", "off"};
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (strcmp(text, words[i]) == 0)
      return false;
  if (!isalnum((unsigned char)text[0]) && text[0] != '/' && text[0] != '.' && text[0] != '_')
    return false;
  for (const char *s = text; *s; s++)
    if (!isalnum((unsigned char)*s) && !strchr("/._-+=@:", *s))
      return false;
  return text[strlen(text) - 1] != ':' && !strstr(text, ": ");
}

void cli_add_yaml(cli_string *string, const char *text) {
  if (is_plain(text)) {
    cli_add(string, text);
    return;
  }
  cli_add(string, "\"");
  for (const unsigned char *s = (const unsigned char *)text; *s; s++) {
    if (*s == '"' || *s == '\\')
      cli_addf(string, "\\%c", *s);
    else if (*s < 0x20 || *s == 0x7f)
      cli_addf(string, "\\x%02x", *s);
    else
      cli_add_bytes(string, (const char *)s, 1);
  }
  cli_add(string, "\"");
}

static void add_checkpoints(cli_string *text, const cli_value *value) {
  for (size_t i = 0; i < value->n_items; i++) {
    const char *item = value->items[i], *equals = strchr(item, '=');
    cli_add(text, "\n  ");
    if (!equals) {
      cli_add(text, "- ");
      cli_add_yaml(text, item);
      continue;
    }
    char *label = cli_format("%.*s", (int)(equals - item), item);
    if (label)
      cli_add_yaml(text, label);
    cli_add(text, ": ");
    cli_add_yaml(text, equals + 1);
    free(label);
  }
}

static void add_value(cli_string *text, const cli_option *option, const cli_value *value) {
  if (option->type == CLI_FLAG) {
    cli_add(text, value->integer ? " yes" : " no");
  } else if (option->type == CLI_SPECS || option->type == CLI_TABLE) {
    add_checkpoints(text, value);
  } else if (cli_is_list(option->type)) {
    for (size_t i = 0; i < value->n_items; i++) {
      cli_add(text, "\n  - ");
      cli_add_yaml(text, value->items[i]);
    }
  } else if (value->text) {
    cli_add(text, " ");
    cli_add_yaml(text, value->text);
  }
}

/* Labels that stand before '=' must all be there for a mapping; a mixed list stays a list. */
static bool is_mixed(const cli_value *value) {
  size_t n_labels = 0;
  for (size_t i = 0; i < value->n_items; i++)
    n_labels += strchr(value->items[i], '=') != NULL;
  return n_labels != 0 && n_labels != value->n_items;
}

static xcoder_status check_text(const cli_option *option, const cli_value *value, xcoder_error *err) {
  bool good = !value->text || cli_is_utf8(value->text);
  for (size_t i = 0; good && i < value->n_items; i++)
    good = cli_is_utf8(value->items[i]);
  if (!good)
    return cli_fail(err, XCODER_USAGE, "--%s: bytes that are not UTF-8 were found, a plan can hold UTF-8 only",
                    option->name);
  if (option->type == CLI_SPECS && is_mixed(value))
    return cli_fail(err, XCODER_USAGE, "--%s: some checkpoints have a label and some have none", option->name);
  return XCODER_OK;
}

static void add_comment(cli_string *text, const cli_option *option) {
  cli_addf(text, "\n# %s", option->text);
  if (option->choices)
    cli_addf(text, " (%s)", option->choices);
  else if (option->type == CLI_ON_NAN || option->type == CLI_BAD_LINES || option->type == CLI_STEPS)
    cli_addf(text, " (%s)", option->argument);
  cli_add(text, "\n");
}

xcoder_status cli_plan_write(const cli_values *values, bool comments, cli_string *text, xcoder_error *err) {
  xcoder_status status = XCODER_OK;
  cli_group group = GROUP_HIDDEN;
  for (int id = 0; !status && id < N_OPTIONS; id++) {
    const cli_option *option = &cli_options[id];
    const cli_value *value = &values->value[id];
    bool of_one_call = id == OPT_FORCE || id == OPT_RESUME || id == OPT_ESTIMATE || id == OPT_QUIET || id == OPT_LOG ||
                       id == OPT_JSON;
    if (!(option->commands & IN_RUN) || of_one_call)
      continue;
    status = check_text(option, value, err);
    if (option->group != group)
      cli_addf(text, "\n# ---- %s ----\n", cli_group_titles[option->group]);
    group = option->group;
    if (comments)
      add_comment(text, option);
    bool set = cli_is_set(values, (cli_id)id);
    cli_addf(text, "%s%s:", set ? "" : "#", option->name);
    add_value(text, option, value);
    cli_add(text, "\n");
  }
  if (!status && text->failed)
    status = cli_fail_memory(err);
  return status;
}
