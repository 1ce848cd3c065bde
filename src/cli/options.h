/* SPDX-License-Identifier: Apache-2.0 */
/* Options: the table, the values of one call, and where each value came from. */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <crosscoder.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  IN_INSPECT = 1 << 0,
  IN_TOKENIZE = 1 << 1,
  IN_ACCURACY = 1 << 2,
  IN_HARVEST = 1 << 3,
  IN_TRAIN = 1 << 4,
  IN_EVAL = 1 << 5,
  IN_ATTRIBUTE = 1 << 6,
  IN_ABLATE = 1 << 7,
  IN_FEATURES = 1 << 8,
  IN_SHOW = 1 << 9,
  IN_INIT = 1 << 10,
  IN_REPORT = 1 << 11,
  IN_RUN = 1 << 12,
  IN_DEVICES = 1 << 13,
  IN_HELP = 1 << 14,
  IN_AUDIT = 1 << 15,
  IN_SIMILARITY = 1 << 16,
  IN_SELECT = 1 << 17,
  IN_LABELS = 1 << 18,
  IN_IMPORT = 1 << 19,
  IN_EXPORT = 1 << 20,
  IN_EVOLVE = 1 << 21,
  IN_COMPARE = 1 << 24,
  IN_ALL = 0x7fffffff,
  WITH_MODELS = IN_ACCURACY | IN_HARVEST | IN_TRAIN | IN_EVAL | IN_ATTRIBUTE | IN_ABLATE | IN_FEATURES | IN_SHOW |
                IN_INIT | IN_RUN | IN_AUDIT | IN_SIMILARITY | IN_EVOLVE,
  ONE_BY_ONE = IN_ACCURACY | IN_AUDIT | IN_SIMILARITY, /* no two models at once: any number of checkpoints */
  CLI_MOST_REVISIONS = 4096,
  WITH_TOKENS = IN_TOKENIZE | IN_HARVEST | IN_TRAIN | IN_EVAL | IN_ATTRIBUTE | IN_FEATURES | IN_INIT | IN_RUN |
                IN_AUDIT | IN_SIMILARITY,
  WITH_TASKS =
      IN_ACCURACY | IN_EVAL | IN_ATTRIBUTE | IN_ABLATE | IN_FEATURES | IN_INIT | IN_RUN | IN_SIMILARITY | IN_EVOLVE,
  WITH_RESULTS = IN_COMPARE | IN_INSPECT | IN_ACCURACY | IN_TRAIN | IN_EVAL | IN_ATTRIBUTE | IN_ABLATE | IN_SHOW |
                 IN_HARVEST | IN_RUN | IN_DEVICES | IN_AUDIT | IN_SIMILARITY | IN_SELECT | IN_LABELS | IN_IMPORT |
                 IN_EXPORT
};

enum {
  ON_TOKENS = 1 << 0, ON_SCALES = 1 << 1, ON_ACCURACY = 1 << 2, ON_TRAIN = 1 << 3, ON_EVAL = 1 << 4,
  ON_ATTRIBUTE = 1 << 5, ON_KNOWN = 1 << 6, ON_ABLATE = 1 << 7, ON_FEATURES = 1 << 8, ON_REPORT = 1 << 9,
  ON_EVOLVE = 1 << 10,
  ON_COST = 1 << 20,
  ON_TASKS = ON_ACCURACY | ON_EVAL | ON_ATTRIBUTE | ON_ABLATE
};

typedef enum cli_type {
  CLI_FLAG, CLI_INTEGER, CLI_COUNT, CLI_BYTES, CLI_NUMBER, CLI_TEXT, CLI_CHOICE, CLI_PATH, CLI_SPEC, CLI_LAYER,
  CLI_ON_NAN, CLI_BAD_LINES, CLI_STEPS, CLI_LIST, CLI_PATHS, CLI_SPECS, CLI_TASKS, CLI_TABLE
} cli_type;

typedef enum cli_group { GROUP_INPUT, GROUP_TRAINING, GROUP_ANALYSIS, GROUP_OUTPUT, GROUP_MACHINE, GROUP_HIDDEN }
  cli_group;

typedef enum cli_id {
#define OPTION(id, ...) OPT_##id,
#include "options.def"
#undef OPTION
  N_OPTIONS
} cli_id;

typedef struct cli_option {
  const char *name;
  char letter;          /* short form, 0 if none */
  const char *argument; /* placeholder; NULL for flags and choices */
  cli_type type;
  const char *fallback; /* the default as text, NULL if there is none */
  double low, high;     /* of integers, counts, bytes and numbers */
  const char *choices;  /* "a|b|c" */
  uint32_t commands, stages;
  cli_group group;
  const char *text;
} cli_option;

extern const cli_option cli_options[N_OPTIONS];
extern const char *const cli_group_titles[];

/* Where a value came from; a higher origin is not overwritten by a lower one. */
typedef enum cli_origin { FROM_DEFAULT, FROM_RUN, FROM_PLAN, FROM_COMMAND_LINE } cli_origin;

typedef struct cli_value {
  cli_origin origin;
  char *text;        /* one-word types; NULL if unset */
  long long integer; /* integers, counts, bytes, layers; flags: 0 or 1; choices: their index; on-nan, bad-lines: N */
  double number;
  size_t n_items;    /* lists */
  char **items;
} cli_value;

typedef struct cli_values {
  cli_value value[N_OPTIONS];
} cli_values;

xcoder_status cli_values_init(cli_values *values, xcoder_error *err);
void cli_values_free(cli_values *values);

/* Sets one option from `n_items` words (one for everything but lists; lists split a single word at its commas when
 * `split`). `where` starts messages: "--layer" or "plan.yaml: line 3: layer". Relative paths are taken from
 * `folder` when it is not NULL. */
xcoder_status cli_set(cli_values *values, cli_id id, char *const *items, size_t n_items, bool split,
                      const char *where, const char *folder, cli_origin origin, xcoder_error *err);

/* The option called `name` ('_' equals '-'), N_OPTIONS if there is none. */
cli_id cli_find(const char *name, size_t n_bytes);
/* The name among the options of `commands` that is nearest to `name`, NULL if none is near. */
const char *cli_nearest_option(const char *name, uint32_t commands);

/* Parses argv[first..] for the command with the mask `command`; operands are put into `operands` (room for argc). */
xcoder_status cli_parse(cli_values *values, uint32_t command, int argc, char **argv, int first, char **operands,
                        size_t *n_operands, bool *help, xcoder_error *err);

static inline const char *cli_text(const cli_values *values, cli_id id) { return values->value[id].text; }
static inline long long cli_integer(const cli_values *values, cli_id id) { return values->value[id].integer; }
static inline double cli_number(const cli_values *values, cli_id id) { return values->value[id].number; }
static inline bool cli_flag(const cli_values *values, cli_id id) { return values->value[id].integer != 0; }
static inline bool cli_is_list(cli_type type) { return type >= CLI_LIST; }
static inline bool cli_is_set(const cli_values *values, cli_id id) {
  return values->value[id].text || values->value[id].n_items;
}

#endif
