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

xcoder_status cli_show_card(cli_call *call, xcoder_error *err) {
  const char *run = call->operands[0], *id = call->operands[1];
  char *path = cli_join(run, "features/features.json"), *end = NULL;
  long long wanted = strtoll(id, &end, 10);
  json_t *file = NULL, *card = NULL, *item;
  size_t index, n_tasks = 0;
  xcoder_status status = path ? XCODER_OK : cli_fail_memory(err);
  if (!status && (*end || end == id || wanted < 0))
    status = cli_fail(err, XCODER_USAGE, "show: '%s' was found, expected the number of a feature", id);
  if (!status)
    status = cli_read_json(path, &file, err);
  if (!status && !file)
    status = cli_fail(err, XCODER_MISSING, "%s: it is not there yet (crosscoder features %s --feature=%lld)", path, run,
                      wanted);
  json_array_foreach(json_object_get(file, "features"), index, item)
    if (json_integer_value(json_object_get(item, "feature")) == wanted)
      card = item;
  if (!status && !card)
    status = cli_fail(err, XCODER_MISSING, "%s: feature %lld is not described (crosscoder features %s --feature=%lld)",
                      path, wanted, run, wanted);
  if (!status && cli_flag(&call->values, OPT_JSON)) {
    char *text = json_dumps(card, JSON_INDENT(1));
    printf("%s\n", text ? text : "{}");
    free(text);
  } else if (!status) {
    char number[32];
    snprintf(number, sizeof number, "%lld", wanted);
    cli_effects *effects = cli_read_effects(run, &n_tasks, call->progress);
    print_card(card, json_object_get(file, "labels"), effects, n_tasks, number);
    cli_free_effects(effects, n_tasks);
  }
  json_decref(file);
  free(path);
  return status;
}
