/* SPDX-License-Identifier: Apache-2.0 */
/* crosscoder tokenize: text to sequences of tokens or to ids, and back. */
#include "estimate.h"
#include "setting.h"
#include "signals.h"
#include "text.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static xcoder_status check_output(xcoder_error *err) {
  if (cli_stop)
    return cli_fail(err, XCODER_INTERRUPTED, "stopped");
  if (ferror(stdout))
    return cli_fail(err, XCODER_IO, "standard output: %s", strerror(errno));
  return XCODER_OK;
}

static xcoder_status print_ids(const xcoder_tokenizer *tokenizer, const char *text, size_t n_bytes,
                               xcoder_error *err) {
  uint32_t *ids = NULL;
  size_t n_ids = 0;
  xcoder_status status = xcoder_tokenize(tokenizer, text, n_bytes, &ids, &n_ids, err);
  if (status)
    return status;
  putchar('[');
  for (size_t i = 0; i < n_ids; i++)
    printf(i ? ",%u" : "%u", ids[i]);
  printf("]\n");
  xcoder_free(ids);
  return check_output(err);
}

static xcoder_status encode_documents(cli_setting *setting, xcoder_error *err) {
  xcoder_corpus *corpus = NULL;
  const char *text = NULL;
  size_t n_bytes = 0;
  xcoder_status status = cli_open_corpus(setting->values, OPT_CORPUS, &corpus, err);
  while (!status) {
    status = xcoder_corpus_next(corpus, &text, &n_bytes, err);
    if (status || !text)
      break;
    status = print_ids(setting->tokenizer, text, n_bytes, err);
  }
  uint64_t n_bad = corpus ? xcoder_corpus_bad_lines(corpus) : 0;
  if (!status && n_bad) {
    char warning[96];
    snprintf(warning, sizeof warning, "%llu bad lines were skipped", (unsigned long long)n_bad);
    cli_warn(setting->call->progress, warning);
  }
  xcoder_corpus_close(corpus);
  return status;
}

static xcoder_status print_text(const xcoder_tokenizer *tokenizer, const uint32_t *ids, size_t n_ids,
                                xcoder_error *err) {
  char *text = NULL;
  size_t n_bytes = 0;
  xcoder_status status = xcoder_detokenize(tokenizer, ids, n_ids, &text, &n_bytes, err);
  if (status)
    return status;
  fwrite(text, 1, n_bytes, stdout);
  putchar('\n');
  xcoder_free(text);
  return check_output(err);
}

/* One line of JSON: an array of ids. */
static xcoder_status decode_line(const xcoder_tokenizer *tokenizer, const char *line, size_t n_bytes, const char *path,
                                 size_t number, xcoder_error *err) {
  json_error_t place;
  errno = 0; /* jansson calls a lack of memory a syntax error */
  json_t *array = json_loadb(line, n_bytes, 0, &place);
  if (!array && errno == ENOMEM)
    return cli_fail_memory(err);
  size_t n_ids = json_array_size(array);
  uint32_t *ids = json_is_array(array) ? malloc((n_ids ? n_ids : 1) * sizeof *ids) : NULL;
  xcoder_status status = XCODER_OK;
  if (!json_is_array(array))
    status = cli_fail(err, XCODER_FORMAT, "%s: line %zu: %s, expected a JSON array of ids", path, number,
                      array ? "another value was found" : place.text);
  else if (!ids)
    status = cli_fail_memory(err);
  for (size_t i = 0; !status && i < n_ids; i++) {
    json_t *id = json_array_get(array, i);
    json_int_t value = json_integer_value(id);
    if (!json_is_integer(id) || value < 0 || value > UINT32_MAX)
      status = cli_fail(err, XCODER_FORMAT, "%s: line %zu: item %zu is no id", path, number, i);
    else
      ids[i] = (uint32_t)value;
  }
  if (!status)
    status = print_text(tokenizer, ids, n_ids, err);
  free(ids);
  json_decref(array);
  return status;
}

static xcoder_status decode_lines(cli_setting *setting, const char *path, xcoder_error *err) {
  bool standard = strcmp(path, "-") == 0;
  FILE *file = standard ? stdin : fopen(path, "re");
  if (!file)
    return cli_fail(err, errno == ENOENT ? XCODER_MISSING : XCODER_IO, "%s: %s", path, strerror(errno));
  xcoder_status status = !standard && cli_is_folder(path)
    ? cli_fail(err, XCODER_IO, "%s: a folder was found, expected a file", path) : XCODER_OK;
  char *line = NULL;
  size_t room = 0, number = 0, longest = (size_t)cli_integer(setting->values, OPT_MAX_LINE);
  ssize_t n = 0;
  while (!status && (n = getline(&line, &room, file)) >= 0) {
    number++;
    if ((size_t)n > longest)
      status = cli_fail(err, XCODER_FORMAT, "%s: line %zu: longer than --max-line", path, number);
    else if (strspn(line, " \t\r\n") != (size_t)n)
      status = decode_line(setting->tokenizer, line, (size_t)n, path, number, err);
  }
  if (!status && ferror(file))
    status = cli_fail(err, XCODER_IO, "%s: %s", path, strerror(errno));
  free(line);
  if (!standard)
    fclose(file);
  return status;
}

static xcoder_status decode_sequences(cli_setting *setting, xcoder_error *err) {
  xcoder_status status = cli_need_tokens(setting, OPT_CORPUS, err);
  if (status)
    return status;
  const uint32_t *ids = xcoder_tokens_ids(setting->corpus);
  const size_t *start = xcoder_tokens_start(setting->corpus);
  for (size_t s = 0; !status && s < xcoder_tokens_sequences(setting->corpus); s++)
    status = print_text(setting->tokenizer, ids + start[s], start[s + 1] - start[s], err);
  return status;
}

static xcoder_status decode(cli_setting *setting, xcoder_error *err) {
  const cli_value *corpus = &setting->values->value[OPT_CORPUS];
  xcoder_status status = XCODER_OK;
  if (cli_is_token_file(corpus))
    return decode_sequences(setting, err);
  for (size_t i = 0; !status && i < corpus->n_items; i++)
    status = decode_lines(setting, corpus->items[i], err);
  return status;
}

/* How many sequences there are of each language, where languages are known; in the order of their first sequences. */
static xcoder_status print_languages(const xcoder_tokens *tokens, xcoder_error *err) {
  struct entry { const char *name; size_t n; } *entries = NULL;
  size_t n_entries = 0;
  xcoder_status status = XCODER_OK;
  for (size_t s = 0; !status && s < xcoder_tokens_sequences(tokens); s++) {
    const char *name = xcoder_tokens_language(tokens, s);
    size_t i = 0;
    while (i < n_entries && entries[i].name != name && strcmp(entries[i].name, name) != 0)
      i++;
    if (i == n_entries) {
      struct entry *more = realloc(entries, (n_entries + 1) * sizeof *entries);
      entries = more ? more : entries;
      if (!more) {
        status = cli_fail_memory(err);
        break;
      }
      entries[n_entries++] = (struct entry){name, 0};
    }
    entries[i].n++;
  }
  for (size_t i = 0; !status && i < n_entries; i++) {
    char *name = entries[i].name[0] ? cli_printable(entries[i].name, strlen(entries[i].name)) : NULL;
    if (name)
      printf("language %s: %zu sequences\n", name, entries[i].n);
    free(name);
  }
  free(entries);
  return status;
}

static xcoder_status build_sequences(cli_setting *setting, xcoder_error *err) {
  const char *out = cli_text(setting->values, OPT_OUT);
  if (out && cli_exists(out) && !cli_flag(setting->values, OPT_FORCE))
    return cli_fail(err, XCODER_USAGE, "%s: it exists already (--force replaces it)", out);
  xcoder_status status = out ? cli_check_output(setting->values, out, err) : XCODER_OK;
  if (!status)
    status = cli_need_tokens(setting, OPT_CORPUS, err);
  if (status)
    return status;
  char hash[33];
  size_t n = xcoder_tokens_sequences(setting->corpus);
  xcoder_tokens_hash(setting->corpus, hash);
  if (out)
    status = xcoder_tokens_save(setting->corpus, out, err);
  if (!status)
    printf("%zu sequences, %zu tokens, hash %s%s%s\n", n, xcoder_tokens_start(setting->corpus)[n], hash,
           out ? ", written to " : "", out ? out : "");
  return status ? status : print_languages(setting->corpus, err);
}

static xcoder_status estimate(cli_setting *setting, xcoder_error *err) {
  const cli_value *corpus = &setting->values->value[OPT_CORPUS];
  cli_needs needs;
  if (cli_flag(setting->values, OPT_DECODE))
    return cli_fail(err, XCODER_USAGE, "--estimate and --decode were found, expected one of them");
  for (size_t i = 0; i < corpus->n_items; i++)
    if (strcmp(corpus->items[i], "-") == 0 || xcoder_tokens_recognize(corpus->items[i]))
      return cli_fail(err, XCODER_USAGE, "--estimate: %s was found, expected files of text", corpus->items[i]);
  xcoder_status status = cli_estimate_tokenize(setting, &needs, err);
  if (!status)
    cli_print_needs(&needs, false);
  return status;
}

xcoder_status cli_tokenize(cli_call *call, xcoder_error *err) {
  cli_setting setting;
  cli_setting_init(&setting, call);
  xcoder_status status = cli_require(&call->values, OPT_CORPUS, err);
  if (!status)
    status = cli_check_files(&call->values, OPT_CORPUS, err);
  if (!status && cli_flag(&call->values, OPT_IDS) && cli_flag(&call->values, OPT_DECODE))
    status = cli_fail(err, XCODER_USAGE, "--ids and --decode were found, expected one of them");
  if (!status && cli_flag(&call->values, OPT_ADD_SPECIAL) && !cli_flag(&call->values, OPT_IDS))
    status = cli_fail(err, XCODER_USAGE, "--add-special was found without --ids (sequences have --no-prepend)");
  if (!status)
    status = cli_need_tokenizer(&setting, err);
  if (!status && cli_flag(&call->values, OPT_ADD_SPECIAL))
    status = xcoder_tokenizer_add_special(setting.tokenizer, err);
  if (!status && cli_flag(&call->values, OPT_ESTIMATE))
    status = estimate(&setting, err);
  else if (!status && cli_flag(&call->values, OPT_DECODE))
    status = decode(&setting, err);
  else if (!status && cli_flag(&call->values, OPT_IDS))
    status = encode_documents(&setting, err);
  else if (!status)
    status = build_sequences(&setting, err);
  cli_setting_close(&setting);
  return status;
}
