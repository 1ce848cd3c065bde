/* SPDX-License-Identifier: Apache-2.0 */
/* From --corpus, --heldout and --mixture to sequences of tokens. */
#include "setting.h"

#include "text.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One file of a mixture: its share and the name of its language. */
typedef struct part {
  double weight;
  const char *language; /* owned by the parts */
  xcoder_tokens *tokens;
} part;

static xcoder_status open_paths(const cli_values *values, const char *paths, xcoder_corpus **corpus,
                                xcoder_error *err) {
  long long bad = cli_integer(values, OPT_BAD_LINES);
  xcoder_corpus_options options = {.text_key = cli_text(values, OPT_TEXT_KEY),
                                   .line_documents = cli_flag(values, OPT_LINE_DOCUMENTS),
                                   .max_line_bytes = (size_t)cli_integer(values, OPT_MAX_LINE),
                                   .max_bad_lines = bad < 0 ? UINT64_MAX : (uint64_t)bad,
                                   .zstd_window_log = (unsigned)cli_integer(values, OPT_ZSTD_WINDOW_LOG)};
  return xcoder_corpus_open(paths, &options, corpus, err);
}

xcoder_status cli_open_corpus(const cli_values *values, cli_id which, xcoder_corpus **corpus, xcoder_error *err) {
  char *paths = cli_join_items(&values->value[which]);
  if (!paths)
    return cli_fail_memory(err);
  xcoder_status status = open_paths(values, paths, corpus, err);
  free(paths);
  return status;
}

static xcoder_status tokenize(cli_setting *setting, cli_id which, const char *paths,
                              const xcoder_tokens_options *options, xcoder_tokens **tokens, xcoder_error *err) {
  xcoder_corpus *corpus = NULL;
  xcoder_status status = cli_need_tokenizer(setting, err);
  if (!status)
    status = open_paths(setting->values, paths, &corpus, err);
  if (!status)
    status = xcoder_tokens_build(corpus, setting->tokenizer, options, &setting->call->monitor, tokens, err);
  uint64_t n_bad = status ? 0 : xcoder_corpus_bad_lines(corpus);
  if (n_bad) {
    char warning[128];
    snprintf(warning, sizeof warning, "--%s: %llu bad lines were skipped", cli_options[which].name,
             (unsigned long long)n_bad);
    cli_warn(setting->call->progress, warning);
  }
  xcoder_corpus_close(corpus);
  return status;
}

/* Whether all of the files are text, so that they are one corpus. */
static bool all_text(const cli_value *value) {
  for (size_t i = 0; i < value->n_items; i++)
    if (xcoder_tokens_recognize(value->items[i]))
      return false;
  return true;
}

bool cli_is_token_file(const cli_value *value) {
  return value->n_items == 1 && xcoder_tokens_recognize(value->items[0]);
}

/* LANGUAGE:WEIGHT or WEIGHT. */
static xcoder_status read_part(const char *text, part *out, xcoder_error *err) {
  const char *colon = strrchr(text, ':'), *number = colon ? colon + 1 : text;
  char *end = NULL, *language = colon ? cli_format("%.*s", (int)(colon - text), text) : cli_copy("");
  out->weight = strtod(number, &end);
  out->language = language;
  if (!language)
    return cli_fail_memory(err);
  if (end == number || *end || !isfinite(out->weight) || out->weight <= 0)
    return cli_fail(err, XCODER_USAGE, "--mixture: '%s' was found, expected LANGUAGE:WEIGHT with a positive weight",
                    text);
  return XCODER_OK;
}

/* A part of a mixture is read no further than its share. */
static xcoder_status load_part(cli_setting *setting, cli_id which, size_t i, double share, part *p,
                               xcoder_error *err) {
  const char *path = setting->values->value[which].items[i];
  xcoder_tokens_options options = cli_tokens_options(setting->values);
  if (options.max_tokens && share < 1) {
    double most = floor((double)options.max_tokens * share + 0.5);
    if (most < (double)options.length && options.layout == XCODER_PACKED)
      return cli_fail(err, XCODER_USAGE, "%s: its share of --max-tokens is %.0f tokens, less than one sequence of %zu",
                      path, most, options.length);
    options.max_tokens = (uint64_t)most;
  }
  if (xcoder_tokens_recognize(path))
    return xcoder_tokens_read(path, &options, &p->tokens, err);
  return tokenize(setting, which, path, &options, &p->tokens, err);
}

static xcoder_status mix(cli_setting *setting, const part *parts, size_t n, xcoder_tokens **tokens,
                         xcoder_error *err) {
  xcoder_mixture_part *mixed = calloc(n, sizeof *mixed);
  if (!mixed)
    return cli_fail_memory(err);
  for (size_t i = 0; i < n; i++)
    mixed[i] = (xcoder_mixture_part){parts[i].tokens, parts[i].weight, parts[i].language};
  xcoder_status status =
    xcoder_tokens_mix(mixed, n, (uint64_t)cli_integer(setting->values, OPT_MAX_TOKENS),
                      (uint64_t)cli_integer(setting->values, OPT_SEED), tokens, err);
  free(mixed);
  return status;
}

/* Several files with weights, or files of tokens one after the other. */
static xcoder_status load_parts(cli_setting *setting, cli_id which, bool weighted, xcoder_tokens **tokens,
                                xcoder_error *err) {
  const cli_value *value = &setting->values->value[which], *mixture = &setting->values->value[OPT_MIXTURE];
  part *parts = calloc(value->n_items, sizeof *parts);
  double sum = 0;
  xcoder_status status = parts ? XCODER_OK : cli_fail_memory(err);
  for (size_t i = 0; !status && weighted && i < value->n_items; i++) {
    status = read_part(mixture->items[i], &parts[i], err);
    sum += parts[i].weight;
  }
  for (size_t i = 0; !status && i < value->n_items; i++)
    status = load_part(setting, which, i, weighted ? parts[i].weight / sum : 1, &parts[i], err);
  if (!status && value->n_items == 1 && !weighted) {
    *tokens = parts[0].tokens;
    parts[0].tokens = NULL;
  } else if (!status) {
    status = mix(setting, parts, value->n_items, tokens, err);
  }
  for (size_t i = 0; parts && i < value->n_items; i++) {
    xcoder_tokens_free(parts[i].tokens);
    free((char *)parts[i].language);
  }
  free(parts);
  return status;
}

/* A held-out text of its own, one file, need not be mixed like the corpus. */
static xcoder_status build_tokens(cli_setting *setting, cli_id which, xcoder_tokens **tokens, xcoder_error *err) {
  const cli_value *value = &setting->values->value[which];
  size_t n_weights = setting->values->value[OPT_MIXTURE].n_items;
  bool weighted = n_weights && !(which == OPT_HELDOUT && value->n_items == 1);
  if (weighted && n_weights != value->n_items)
    return cli_fail(err, XCODER_USAGE, "--mixture: %zu parts were found, --%s names %zu files", n_weights,
                    cli_options[which].name, value->n_items);
  if (weighted || !all_text(value))
    return load_parts(setting, which, weighted, tokens, err);
  char *paths = cli_join_items(value);
  xcoder_tokens_options options = cli_tokens_options(setting->values);
  xcoder_status status = paths ? tokenize(setting, which, paths, &options, tokens, err) : cli_fail_memory(err);
  free(paths);
  return status;
}

/* Ids of a ready-made token file are not known to fit the models. */
static xcoder_status check_ids(const cli_setting *setting, const xcoder_tokens *tokens, cli_id which,
                               xcoder_error *err) {
  const uint32_t *ids = xcoder_tokens_ids(tokens);
  const size_t *start = xcoder_tokens_start(tokens);
  size_t n_tokens = start[xcoder_tokens_sequences(tokens)], least = SIZE_MAX, context = SIZE_MAX;
  for (size_t i = 0; i < setting->n_checkpoints; i++) {
    least = setting->infos[i].n_vocab < least ? setting->infos[i].n_vocab : least;
    if (setting->infos[i].n_context && setting->infos[i].n_context < context)
      context = setting->infos[i].n_context;
  }
  for (size_t i = 0; i < n_tokens; i++)
    if (ids[i] >= least)
      return cli_fail(err, XCODER_MISMATCH, "--%s: token %zu is %u, the vocabulary has %zu", cli_options[which].name,
                      i, ids[i], least);
  for (size_t s = 0; s < xcoder_tokens_sequences(tokens); s++)
    if (start[s + 1] - start[s] > context)
      return cli_fail(err, XCODER_MISMATCH, "--%s: sequence %zu has %zu tokens, the context has %zu",
                      cli_options[which].name, s, start[s + 1] - start[s], context);
  return XCODER_OK;
}

xcoder_status cli_need_tokens(cli_setting *setting, cli_id which, xcoder_error *err) {
  xcoder_tokens **tokens = which == OPT_HELDOUT ? &setting->heldout : &setting->corpus;
  if (*tokens)
    return XCODER_OK;
  xcoder_status status = cli_require(setting->values, which, err);
  if (!status)
    status = cli_check_files(setting->values, which, err);
  if (!status)
    status = build_tokens(setting, which, tokens, err);
  if (!status)
    status = check_ids(setting, *tokens, which, err);
  return status;
}
