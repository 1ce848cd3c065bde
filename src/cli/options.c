/* SPDX-License-Identifier: Apache-2.0 */
/* The table of options and the checks of their values. */
#include "options.h"

#include "text.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const cli_option cli_options[N_OPTIONS] = {
#define OPTION(id, name, letter, argument, type, fallback, low, high, choices, commands, stages, group, text) \
  {name, letter, argument, type, fallback, low, high, choices, (uint32_t)(commands), stages, group, text},
#include "options.def"
#undef OPTION
};

const char *const cli_group_titles[] = {"Inputs", "Training", "Analysis", "Output", "Machine", ""};

/* A number as a user would write it: no trailing .000000. */
static void print_number(char out[32], double number) { snprintf(out, 32, "%.17g", number); }

static xcoder_status fail_range(const cli_option *option, const char *text, const char *where, xcoder_error *err) {
  char low[32], high[32];
  if (option->type == CLI_NUMBER) {
    snprintf(low, sizeof low, "%g", option->low);
    snprintf(high, sizeof high, "%g", option->high);
  } else {
    print_number(low, option->low);
    print_number(high, option->high);
  }
  return cli_fail(err, XCODER_USAGE, "%s: '%.200s' was found, expected %s from %s to %s", where, text,
                  option->type == CLI_NUMBER ? "a number" : "an integer", low, high);
}

/* The factor of a trailing k, M, G, T; 1024-based for bytes. 0 if the letter is none of them. */
static long long read_suffix(const char *suffix, bool bytes) {
  if (!*suffix)
    return 1;
  if (suffix[1])
    return 0;
  long long base = bytes ? 1024 : 1000;
  switch (*suffix) {
  case 'k': case 'K': return base;
  case 'M': return base * base;
  case 'G': return base * base * base;
  case 'T': return base * base * base * base;
  default: return 0;
  }
}

static xcoder_status set_integer(cli_value *value, const cli_option *option, const char *text, const char *where,
                                 xcoder_error *err) {
  char *end = NULL;
  errno = 0;
  long long number = strtoll(text, &end, 10);
  bool suffixed = option->type == CLI_COUNT || option->type == CLI_BYTES;
  long long factor = end == text ? 0 : read_suffix(end, option->type == CLI_BYTES);
  bool digits = isdigit((unsigned char)text[0]) || (text[0] == '-' && isdigit((unsigned char)text[1]));
  if (!digits || errno || factor == 0 || (factor > 1 && !suffixed) || number > LLONG_MAX / factor ||
      number < -(LLONG_MAX / factor))
    return fail_range(option, text, where, err);
  number *= factor;
  if ((double)number < option->low || (double)number > option->high)
    return fail_range(option, text, where, err);
  value->integer = number;
  value->number = (double)number;
  return XCODER_OK;
}

static xcoder_status set_number(cli_value *value, const cli_option *option, const char *text, const char *where,
                                xcoder_error *err) {
  char *end = NULL;
  double number = strtod(text, &end);
  bool starts = isdigit((unsigned char)text[0]) || text[0] == '-' || text[0] == '.';
  if (!starts || end == text || *end || !isfinite(number) || number < option->low || number > option->high ||
      strchr(text, 'x') || strchr(text, 'X'))
    return fail_range(option, text, where, err);
  value->number = number;
  return XCODER_OK;
}

static xcoder_status set_flag(cli_value *value, const char *text, const char *where, xcoder_error *err) {
  static const char *const yes[] = {"yes", "true", "on", "1"}, *const no[] = {"no", "false", "off", "0"};
  for (size_t i = 0; i < 4; i++) {
    if (strcmp(text, yes[i]) == 0 || strcmp(text, no[i]) == 0) {
      value->integer = strcmp(text, yes[i]) == 0;
      return XCODER_OK;
    }
  }
  return cli_fail(err, XCODER_USAGE, "%s: '%.200s' was found, expected yes or no", where, text);
}

static xcoder_status set_choice(cli_value *value, const cli_option *option, const char *text, const char *where,
                                xcoder_error *err) {
  size_t n_bytes = strlen(text);
  const char *choice = option->choices;
  for (long long index = 0; choice; index++) {
    const char *bar = strchr(choice, '|');
    size_t n = bar ? (size_t)(bar - choice) : strlen(choice);
    if (n == n_bytes && memcmp(choice, text, n) == 0) {
      value->integer = index;
      return XCODER_OK;
    }
    choice = bar ? bar + 1 : NULL;
  }
  return cli_fail(err, XCODER_USAGE, "%s: '%.200s' was found, expected one of %s", where, text, option->choices);
}

/* A layer: L, blocks.N.hook_resid_post (= N) or blocks.N.hook_resid_pre (= N - 1). */
static xcoder_status set_layer(cli_value *value, const cli_option *option, const char *text, const char *where,
                               xcoder_error *err) {
  if (strncmp(text, "blocks.", 7) != 0)
    return set_integer(value, option, text, where, err);
  char *end = NULL;
  errno = 0;
  long long block = isdigit((unsigned char)text[7]) ? strtoll(text + 7, &end, 10) : -1;
  bool post = end && strcmp(end, ".hook_resid_post") == 0, pre = end && strcmp(end, ".hook_resid_pre") == 0;
  if (errno || block < 0 || block > 1000000 || !(post || pre))
    return cli_fail(err, XCODER_USAGE, "%s: '%.200s' was found, expected a layer or blocks.N.hook_resid_pre or "
                    "blocks.N.hook_resid_post", where, text);
  value->integer = post ? block : block - 1;
  return XCODER_OK;
}

/* WORD[:N] of --on-nan and --bad-lines; integer: 0 for the first word, N for "skip:N", -1 for "skip" alone. */
static xcoder_status set_skip(cli_value *value, const cli_option *option, const char *text, const char *where,
                              xcoder_error *err) {
  bool nan = option->type == CLI_ON_NAN;
  const char *stop = nan ? "stop" : "fail";
  if (strcmp(text, stop) == 0) {
    value->integer = 0;
    return XCODER_OK;
  }
  if (!nan && strcmp(text, "skip") == 0) {
    value->integer = -1;
    return XCODER_OK;
  }
  if (strncmp(text, "skip:", 5) == 0) {
    cli_option count = {.type = CLI_INTEGER, .low = 1, .high = 1e12};
    xcoder_error ignored;
    if (!set_integer(value, &count, text + 5, where, &ignored))
      return XCODER_OK;
  }
  return cli_fail(err, XCODER_USAGE, "%s: '%.200s' was found, expected %s", where, text, option->argument);
}

/* N or auto; integer: 0 for auto. */
static xcoder_status set_steps(cli_value *value, const cli_option *option, const char *text, const char *where,
                               xcoder_error *err) {
  xcoder_error ignored;
  value->integer = 0;
  if (strcmp(text, "auto") == 0 || !set_integer(value, option, text, where, &ignored))
    return XCODER_OK;
  return cli_fail(err, XCODER_USAGE, "%s: '%.200s' was found, expected auto or an integer from %.0f to %.0f", where,
                  text, option->low, option->high);
}

/* A path of a plan: relative to its folder. SPEC and KIND:PATH keep what stands before the path. */
static char *resolve(const cli_option *option, const char *text, const char *folder) {
  if (!folder)
    return cli_copy(text);
  size_t n_head = 0;
  bool spec = option->type == CLI_SPEC || option->type == CLI_SPECS;
  if (option->type == CLI_SPECS && strchr(text, '='))
    n_head = (size_t)(strchr(text, '=') - text) + 1;
  if (option->type == CLI_TASKS && strchr(text, ':'))
    n_head = (size_t)(strchr(text, ':') - text) + 1;
  const char *path = text + n_head;
  bool is_path = spec || option->type == CLI_PATH || option->type == CLI_PATHS || option->type == CLI_TASKS;
  if (!is_path || strcmp(path, "-") == 0)
    return cli_copy(text);
  char *joined = cli_join(folder, path);
  if (!joined)
    return NULL;
  if (spec && path[0] != '.' && !cli_exists(joined)) { /* ORG/NAME */
    free(joined);
    return cli_copy(text);
  }
  char *whole = cli_format("%.*s%s", (int)n_head, text, joined);
  free(joined);
  return whole;
}

static xcoder_status set_word(cli_value *value, const cli_option *option, const char *text, const char *where,
                              const char *folder, xcoder_error *err) {
  switch (option->type) {
  case CLI_FLAG:
    return set_flag(value, text, where, err);
  case CLI_INTEGER: case CLI_COUNT: case CLI_BYTES:
    return set_integer(value, option, text, where, err);
  case CLI_NUMBER:
    return set_number(value, option, text, where, err);
  case CLI_CHOICE:
    return set_choice(value, option, text, where, err);
  case CLI_LAYER:
    return set_layer(value, option, text, where, err);
  case CLI_ON_NAN: case CLI_BAD_LINES:
    return set_skip(value, option, text, where, err);
  case CLI_STEPS:
    return set_steps(value, option, text, where, err);
  default:
    if (!*text && option->type != CLI_TEXT)
      return cli_fail(err, XCODER_USAGE, "%s: an empty text was found, expected %s", where, option->argument);
  }
  char *whole = resolve(option, text, folder);
  if (!whole)
    return cli_fail_memory(err);
  free(value->text);
  value->text = whole;
  return XCODER_OK;
}

static void clear_value(cli_value *value) {
  free(value->text);
  for (size_t i = 0; i < value->n_items; i++)
    free(value->items[i]);
  free(value->items);
  *value = (cli_value){0};
}

static xcoder_status add_item(cli_value *value, const cli_option *option, const char *text, size_t n_bytes,
                              const char *where, const char *folder, xcoder_error *err) {
  if (n_bytes == 0)
    return cli_fail(err, XCODER_USAGE, "%s: an empty item was found, expected %s", where, option->argument);
  char *word = cli_format("%.*s", (int)n_bytes, text), *whole = word ? resolve(option, word, folder) : NULL;
  free(word);
  char **items = whole ? realloc(value->items, (value->n_items + 1) * sizeof *items) : NULL;
  if (!items) {
    free(whole);
    return cli_fail_memory(err);
  }
  value->items = items;
  items[value->n_items++] = whole;
  return XCODER_OK;
}

static xcoder_status set_list(cli_value *value, const cli_option *option, char *const *items, size_t n_items,
                              bool split, const char *where, const char *folder, xcoder_error *err) {
  xcoder_status status = XCODER_OK;
  for (size_t i = 0; !status && i < n_items; i++) {
    const char *rest = items[i];
    while (!status && rest) {
      const char *comma = split ? strchr(rest, ',') : NULL;
      status = add_item(value, option, rest, comma ? (size_t)(comma - rest) : strlen(rest), where, folder, err);
      rest = comma ? comma + 1 : NULL;
    }
  }
  return status;
}

xcoder_status cli_set(cli_values *values, cli_id id, char *const *items, size_t n_items, bool split,
                      const char *where, const char *folder, cli_origin origin, xcoder_error *err) {
  const cli_option *option = &cli_options[id];
  cli_value *value = &values->value[id];
  if (value->origin > origin)
    return XCODER_OK;
  cli_value fresh = {.origin = origin};
  xcoder_status status = XCODER_OK;
  if (cli_is_list(option->type)) {
    if (value->origin == origin && origin == FROM_COMMAND_LINE) { /* a repeated list option adds to the list */
      fresh = *value;
      *value = (cli_value){0};
    }
    status = set_list(&fresh, option, items, n_items, split, where, folder, err);
  } else if (n_items != 1) {
    status = cli_fail(err, XCODER_USAGE, "%s: a list was found, expected one value", where);
  } else {
    status = set_word(&fresh, option, items[0], where, folder, err);
    if (!status && !fresh.text && !(fresh.text = cli_copy(items[0])))
      status = cli_fail_memory(err);
  }
  clear_value(value);
  if (status)
    clear_value(&fresh);
  else
    *value = fresh;
  return status;
}

xcoder_status cli_values_init(cli_values *values, xcoder_error *err) {
  xcoder_status status = XCODER_OK;
  memset(values, 0, sizeof *values);
  for (int id = 0; !status && id < N_OPTIONS; id++) {
    char *fallback = (char *)(uintptr_t)cli_options[id].fallback; /* cli_set() only reads it */
    if (fallback)
      status = cli_set(values, (cli_id)id, &fallback, 1, false, cli_options[id].name, NULL, FROM_DEFAULT, err);
  }
  return status;
}

void cli_values_free(cli_values *values) {
  for (int id = 0; id < N_OPTIONS; id++)
    clear_value(&values->value[id]);
}

cli_id cli_find(const char *name, size_t n_bytes) {
  for (int id = 0; id < N_OPTIONS; id++) {
    const char *known = cli_options[id].name;
    size_t i = 0;
    while (i < n_bytes && known[i] && (known[i] == name[i] || (known[i] == '-' && name[i] == '_')))
      i++;
    if (i == n_bytes && !known[i])
      return (cli_id)id;
  }
  return N_OPTIONS;
}

const char *cli_nearest_option(const char *name, uint32_t commands) {
  const char *nearest = NULL;
  size_t least = strlen(name) / 2 + 1; /* farther names would be guesses */
  for (int id = 0; id < N_OPTIONS; id++) {
    if (!(cli_options[id].commands & commands) || cli_options[id].group == GROUP_HIDDEN)
      continue;
    size_t distance = cli_distance(name, cli_options[id].name);
    if (distance < least || (distance == least && !nearest)) {
      least = distance;
      nearest = cli_options[id].name;
    }
  }
  return nearest;
}
