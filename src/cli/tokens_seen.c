/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens of pretraining that each checkpoint has seen: by --tokens-seen, by --tokens-per-step, by its name. */
#include "setting.h"
#include "text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double read_tokens(const char *text) {
  static const struct { char letter; double factor; } units[] = {{'k', 1e3}, {'M', 1e6}, {'G', 1e9}, {'B', 1e9},
                                                                 {'T', 1e12}};
  char *end = NULL;
  double number = text[0] >= '0' && text[0] <= '9' && !strpbrk(text, "xX") ? strtod(text, &end) : NAN;
  if (!end || end == text)
    return NAN;
  for (size_t i = 0; *end && i < sizeof units / sizeof *units; i++)
    if (*end == units[i].letter && !end[1])
      return number * units[i].factor;
  return *end ? NAN : number;
}

/* The table of --tokens-seen; every label must be one of ours, or a slip of the pen would go unseen. */
static xcoder_status read_table(const cli_values *values, char *const *labels, size_t n, double *tokens,
                                xcoder_error *err) {
  const cli_value *table = &values->value[OPT_TOKENS_SEEN];
  for (size_t k = 0; k < table->n_items; k++) {
    const char *item = table->items[k], *equals = strrchr(item, '=');
    size_t c = n, length = equals ? (size_t)(equals - item) : 0;
    for (size_t i = 0; equals && i < n && c == n; i++)
      if (strlen(labels[i]) == length && strncmp(labels[i], item, length) == 0)
        c = i;
    double value = equals ? read_tokens(equals + 1) : NAN;
    if (!equals || !isfinite(value))
      return cli_fail(err, XCODER_USAGE, "--tokens-seen: '%.200s' was found, expected LABEL=N (such as step512=1.07G)",
                      item);
    if (c == n)
      return cli_fail(err, XCODER_USAGE, "--tokens-seen: no checkpoint is called '%.*s'", (int)length, item);
    tokens[c] = value;
  }
  return XCODER_OK;
}

/* Specs are ORG/NAME[@REVISION] or folders, whose last part names the revision; the cache's folders name the model. */
static bool read_name(const char *spec, const char *folder, const char *label, double *tokens) {
  const char *at = spec ? strrchr(spec, '@') : NULL;
  char *bare = spec ? cli_format("%.*s", at ? (int)(at - spec) : (int)strlen(spec), spec) : NULL;
  bool found = at && bare && xcoder_tokens_seen(bare, at + 1, tokens);
  if (!found && bare && !at && !cli_exists(bare))
    found = xcoder_tokens_seen(bare, "main", tokens);
  if (!found && bare)
    found = xcoder_tokens_seen(bare, cli_base_name(bare), tokens);
  if (!found)
    found = xcoder_tokens_seen(folder ? folder : bare, label, tokens);
  free(bare);
  return found;
}

/* Puts what was found into the option, so that run.yaml keeps it when names of revisions have become folders. */
static xcoder_status keep(cli_values *values, char *const *labels, size_t n, const double *tokens, xcoder_error *err) {
  cli_value *table = &values->value[OPT_TOKENS_SEEN];
  for (size_t i = 0; i < table->n_items; i++)
    free(table->items[i]);
  table->n_items = 0;
  free(table->items);
  table->items = calloc(n ? n : 1, sizeof *table->items);
  if (!table->items)
    return cli_fail_memory(err);
  for (size_t i = 0; i < n; i++) {
    if (!isfinite(tokens[i]))
      continue;
    if (!(table->items[table->n_items] = cli_format("%s=%.17g", labels[i], tokens[i])))
      return cli_fail_memory(err);
    table->n_items++;
  }
  return XCODER_OK;
}

xcoder_status cli_find_tokens_seen(cli_values *values, char *const *labels, char *const *specs, char *const *folders,
                                   size_t n, double **tokens, xcoder_error *err) {
  double per_step = cli_is_set(values, OPT_TOKENS_PER_STEP) ? (double)cli_integer(values, OPT_TOKENS_PER_STEP) : NAN;
  if (!(*tokens = calloc(n ? n : 1, sizeof **tokens)))
    return cli_fail_memory(err);
  for (size_t i = 0; i < n; i++) {
    uint64_t step;
    (*tokens)[i] = NAN;
    if (isfinite(per_step) && xcoder_revision_step(labels[i], &step))
      (*tokens)[i] = (double)step * per_step;
    else
      read_name(specs ? specs[i] : NULL, folders ? folders[i] : NULL, labels[i], &(*tokens)[i]);
  }
  xcoder_status status = read_table(values, labels, n, *tokens, err);
  return status ? status : keep(values, labels, n, *tokens, err);
}
