/* SPDX-License-Identifier: Apache-2.0 */
/* crosscoder show RUN ID: the card of one feature. */
#include "job.h"
#include "show.h"
#include "text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void print_clean(const json_t *value) {
  const char *text = json_string_value(value);
  char *clean = cli_printable(text ? text : "", text ? strlen(text) : 0);
  printf("%s", clean ? clean : "");
  free(clean);
}

static void print_logits(const char *title, const json_t *lists, const json_t *labels) {
  size_t c, i;
  json_t *list, *item;
  printf("\n%s by its decoder\n", title);
  json_array_foreach(lists, c, list) {
    printf("  ");
    print_clean(json_array_get(labels, c));
    printf(":");
    json_array_foreach(list, i, item) {
      printf("%s'", i ? ", " : " ");
      print_clean(json_object_get(item, "token"));
      printf("' %.2g", json_number_value(json_object_get(item, "logit")));
    }
    printf("\n");
  }
}

/* Tokens in which the feature is active stand in brackets, the peak with its value. */
static void print_context(const json_t *context) {
  const json_t *tokens = json_object_get(context, "tokens"), *values = json_object_get(context, "activation");
  size_t peak = (size_t)json_integer_value(json_object_get(context, "peak")), i;
  json_t *token;
  printf("  %7.2f  ", json_number_value(json_array_get(values, peak)));
  json_array_foreach(tokens, i, token) {
    bool active = json_number_value(json_array_get(values, i)) > 0;
    printf("%s", i == peak ? "[[" : active ? "[" : "");
    print_clean(token);
    printf("%s", i == peak ? "]]" : active ? "]" : "");
  }
  printf("\n");
}

static void print_effects(const cli_effects *effects, const char *id) {
  const char *labels[XCODER_MAX_CHECKPOINTS];
  size_t n = cli_labels(&effects->table, labels);
  for (size_t row = 0; row < effects->table.n_rows; row++) {
    if (strcmp(cli_csv_cell(&effects->table, row, "feature"), id) != 0)
      continue;
    printf("  %s: %s\n", effects->task, cli_csv_cell(&effects->table, row, "class"));
    for (size_t c = 0; c < n; c++) {
      const char *rel = cli_effect_cell(&effects->table, row, "rel_ie_", labels[c]);
      printf("    %-16s IE %+.4g", labels[c], strtod(cli_effect_cell(&effects->table, row, "ie_", labels[c]), NULL));
      if (*rel)
        printf(", RelIE %.2f [%.2f, %.2f]", strtod(rel, NULL),
               strtod(cli_effect_cell(&effects->table, row, "rel_ie_low_", labels[c]), NULL),
               strtod(cli_effect_cell(&effects->table, row, "rel_ie_high_", labels[c]), NULL));
      printf("\n");
    }
  }
}

/* What each annotator called the feature. */
static void print_labels(const cli_csv *labels, const char *id) {
  static const char *const columns[] = {"annotator", "description", "languages", "confidence"};
  static const char *const before[] = {"", ": ", ", ", ", confidence "};
  for (size_t row = 0; row < labels->n_rows; row++) {
    if (strcmp(cli_csv_cell(labels, row, "feat_id"), id) != 0)
      continue;
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
      const char *text = cli_csv_cell(labels, row, columns[i]);
      char *clean = cli_printable(text, strlen(text));
      if (clean && *clean)
        printf("%s%s", before[i], clean);
      free(clean);
    }
    printf("\n");
  }
}

static void print_card(const json_t *card, const json_t *labels, const cli_effects *effects, size_t n_tasks,
                       const char *id) {
  size_t i;
  json_t *item;
  printf("Feature %s: active on %.3g %% of the tokens, largest activation %.3g, top token %.0f %% of its mass\n", id,
         100 * json_number_value(json_object_get(card, "density")), json_number_value(json_object_get(card, "max")),
         100 * json_number_value(json_object_get(card, "top_token_share")));
  printf("\nDecoder\n");
  json_array_foreach(json_object_get(card, "decoder_norm"), i, item) {
    printf("  ");
    print_clean(json_array_get(labels, i));
    printf(": norm %.3g, RelDec %.2f\n", json_number_value(item),
           json_number_value(json_array_get(json_object_get(card, "rel_dec"), i)));
  }
  json_array_foreach(json_object_get(card, "predicts"), i, item) {
    printf("%s  ", i ? "" : "\nTells, by its pre-activation\n");
    print_clean(json_object_get(item, "checkpoint"));
    printf(": ");
    print_clean(json_object_get(item, "label"));
    printf(", AUC %.2f [%.2f, %.2f], corrected p %.2g\n", json_number_value(json_object_get(item, "auc")),
           json_number_value(json_object_get(item, "low")), json_number_value(json_object_get(item, "high")),
           json_number_value(json_object_get(item, "p")));
  }
  if (n_tasks)
    printf("\nIndirect effects\n");
  for (size_t t = 0; t < n_tasks; t++)
    print_effects(&effects[t], id);
  print_logits("Promoted", json_object_get(card, "promoted"), labels);
  print_logits("Suppressed", json_object_get(card, "suppressed"), labels);
  printf("\nTop contexts\n");
  json_array_foreach(json_object_get(card, "contexts"), i, item)
    print_context(item);
}

/* The card among those of features.json, which have more of their contexts, else from the database of all features. */
static xcoder_status find_card(const char *run, long long wanted, json_t **file, json_t **card, xcoder_error *err) {
  char *path = cli_join(run, "features/features.json"), *text = NULL;
  size_t index;
  json_t *item;
  xcoder_status status = path ? cli_read_json(path, file, err) : cli_fail_memory(err);
  free(path);
  *card = NULL;
  json_array_foreach(json_object_get(*file, "features"), index, item)
    if (json_integer_value(json_object_get(item, "feature")) == wanted)
      *card = item;
  if (status || *card)
    return status;
  json_decref(*file);
  *file = NULL;
  if (wanted > UINT32_MAX)
    return cli_fail(err, XCODER_USAGE, "show: there is no feature %lld", wanted);
  status = xcoder_feature_card(run, (uint32_t)wanted, &text, err);
  if (!status && !(*file = json_loads(text, 0, NULL)))
    status = cli_fail_memory(err);
  xcoder_free(text);
  *card = json_object_get(*file, "card");
  return status;
}

xcoder_status cli_show_card(cli_call *call, xcoder_error *err) {
  const char *run = call->operands[0], *id = call->operands[1];
  char *end = NULL;
  long long wanted = strtoll(id, &end, 10);
  json_t *file = NULL, *card = NULL;
  size_t n_tasks = 0;
  if (*end || end == id || wanted < 0)
    return cli_fail(err, XCODER_USAGE, "show: '%s' was found, expected the number of a feature", id);
  xcoder_status status = find_card(run, wanted, &file, &card, err);
  if (!status && cli_flag(&call->values, OPT_JSON)) {
    char *text = json_dumps(card, JSON_INDENT(1));
    printf("%s\n", text ? text : "{}");
    free(text);
  } else if (!status) {
    char number[32];
    snprintf(number, sizeof number, "%lld", wanted);
    cli_effects *effects = cli_read_effects(run, &n_tasks, call->progress);
    cli_csv labels;
    cli_read_labels(run, &labels, call->progress);
    print_labels(&labels, number);
    cli_csv_free(&labels);
    print_card(card, json_object_get(file, "labels"), effects, n_tasks, number);
    cli_free_effects(effects, n_tasks);
  }
  json_decref(file);
  return status;
}
