/* SPDX-License-Identifier: Apache-2.0 */
/* crosscoder show RUN --text: the features that are active in a sentence, and their effects on the next word. */
#include "job.h"
#include "show.h"
#include "text.h"

#include <stdlib.h>
#include <string.h>

static void print_clean(const json_t *value) {
  const char *text = json_string_value(value);
  char *clean = cli_printable(text ? text : "", text ? strlen(text) : 0);
  printf("%s", clean ? clean : "");
  free(clean);
}

static void print_numbers(const json_t *numbers) {
  size_t i;
  json_t *number;
  json_array_foreach(numbers, i, number)
    printf(" %+10.4g", json_number_value(number));
}

static void print_features(const json_t *features, const char *indent) {
  size_t i;
  json_t *item;
  json_array_foreach(features, i, item) {
    printf("%s%8lld %10.4g", indent, (long long)json_integer_value(json_object_get(item, "feature")),
           json_number_value(json_object_get(item, "activation")));
    print_numbers(json_object_get(item, "effect"));
    printf("\n");
  }
}

static void print_explanation(const json_t *answer) {
  const json_t *labels = json_object_get(answer, "labels"), *clean = json_object_get(answer, "metric_clean");
  size_t i;
  json_t *item;
  if (clean) {
    printf("logit('");
    print_clean(json_object_get(json_object_get(answer, "wrong"), "token"));
    printf("') - logit('");
    print_clean(json_object_get(json_object_get(answer, "right"), "token"));
    printf("'), negative where the model is right:\n");
    json_array_foreach(labels, i, item) {
      printf("  ");
      print_clean(item);
      printf(" %+.4g\n", json_number_value(json_array_get(clean, i)));
    }
  }
  printf("Columns: feature, activation%s", clean ? ", effect at" : "\n");
  for (i = 0; clean && i < json_array_size(labels); i++) {
    printf("%s", i ? ", " : " ");
    print_clean(json_array_get(labels, i));
  }
  printf("%sThe whole text:\n", clean ? "\n" : "");
  print_features(json_object_get(answer, "features"), "  ");
  json_array_foreach(json_object_get(answer, "tokens"), i, item) {
    printf("'");
    print_clean(json_object_get(item, "token"));
    printf("'%s\n", json_is_true(json_object_get(item, "masked")) ? " (masked)" : "");
    print_features(json_object_get(item, "features"), "  ");
  }
}

/* The first token of a word; a word of several tokens is judged by its first, with a warning. */
static xcoder_status read_word(cli_setting *setting, cli_id which, uint32_t *id, xcoder_error *err) {
  const char *word = cli_text(setting->values, which);
  uint32_t *ids = NULL;
  size_t n_ids = 0;
  xcoder_status status = xcoder_tokenize(setting->tokenizer, word, strlen(word), &ids, &n_ids, err);
  if (!status && n_ids == 0)
    status = cli_fail(err, XCODER_USAGE, "--%s: an empty text was found, expected a word", cli_options[which].name);
  if (!status)
    *id = ids[0];
  if (!status && n_ids > 1) {
    char *warning = cli_format("--%s: '%s' is %zu tokens, the first is taken (did you mean a space before it?)",
                               cli_options[which].name, word, n_ids);
    cli_warn(setting->call->progress, warning ? warning : "a word is several tokens, the first is taken");
    free(warning);
  }
  xcoder_free(ids);
  return status;
}

/* Ids of the sentence, with end of text before it as everywhere. */
static xcoder_status read_sentence(cli_setting *setting, uint32_t **ids, size_t *n_ids, xcoder_error *err) {
  const char *text = cli_text(setting->values, OPT_TEXT);
  uint32_t *found = NULL, first = 0;
  size_t n = 0;
  xcoder_status status = xcoder_tokenize(setting->tokenizer, text, strlen(text), &found, &n, err);
  bool prepend = !cli_flag(setting->values, OPT_NO_PREPEND) &&
                 xcoder_tokenizer_end_of_text(setting->tokenizer, &first);
  if (!status && n == 0)
    status = cli_fail(err, XCODER_USAGE, "--text: an empty text was found, expected a sentence");
  if (!status && !(*ids = malloc((n + 1) * sizeof **ids)))
    status = cli_fail_memory(err);
  if (!status) {
    (*ids)[0] = first;
    memcpy(*ids + prepend, found, n * sizeof *found);
    *n_ids = n + prepend;
  }
  xcoder_free(found);
  return status;
}

static xcoder_status explain(cli_job *job, char **json, xcoder_error *err) {
  cli_setting *setting = &job->setting;
  uint32_t *ids = NULL, good = 0, bad = 0;
  size_t n_ids = 0;
  bool pair = cli_is_set(setting->values, OPT_GOOD);
  xcoder_status status = read_sentence(setting, &ids, &n_ids, err);
  if (!status && pair)
    status = read_word(setting, OPT_GOOD, &good, err);
  if (!status && pair)
    status = read_word(setting, OPT_BAD, &bad, err);
  if (!status)
    status = cli_need_coder(setting, job->coder_path, err);
  if (!status)
    status = cli_need_models(setting, -1, err);
  xcoder_setting library = {setting->device, setting->coder, setting->models, setting->tokenizer,
                            &setting->call->monitor, NULL};
  if (!status)
    status = xcoder_explain(&library, ids, n_ids, pair ? &good : NULL, pair ? &bad : NULL,
                            (size_t)cli_integer(setting->values, OPT_TOP), json, err);
  free(ids);
  return status;
}

xcoder_status cli_show_text(cli_call *call, xcoder_error *err) {
  cli_job job;
  char *json = NULL;
  json_error_t place;
  cli_job_init(&job, call);
  xcoder_status status = cli_open_run(&job, err);
  if (!status)
    status = cli_need_checkpoints(&job.setting, err);
  if (!status)
    status = cli_need_tokenizer(&job.setting, err);
  if (!status)
    status = explain(&job, &json, err);
  json_t *answer = status ? NULL : json_loads(json, 0, &place);
  if (!status && !answer)
    status = cli_fail(err, XCODER_INTERNAL, "show: the explanation is no JSON (%s)", place.text);
  if (!status && cli_flag(&call->values, OPT_JSON))
    printf("%s\n", json);
  else if (!status)
    print_explanation(answer);
  json_decref(answer);
  xcoder_free(json);
  cli_job_close(&job);
  return status;
}
