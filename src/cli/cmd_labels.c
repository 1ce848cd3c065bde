/* SPDX-License-Identifier: Apache-2.0 */
/* crosscoder labels: merges the labels of several annotators and says how far they agree. */
#include "job.h"
#include "text.h"

#include <stdlib.h>
#include <string.h>

static void print_clean(const json_t *value) {
  const char *text = json_string_value(value);
  char *clean = cli_printable(text ? text : "", text ? strlen(text) : 0);
  printf("%s", clean ? clean : "");
  free(clean);
}

static void print_kappa(const json_t *kappa) {
  if (json_is_number(kappa)) printf("%.3f", json_number_value(kappa));
  else printf("undefined");
}

static void print_agreement(const json_t *file, const char *field, const char *title) {
  const json_t *pair;
  size_t i;
  bool any = false;
  json_array_foreach(json_object_get(file, "cohen"), i, pair) any =
      any || (json_integer_value(json_object_get(pair, "n")) > 0 && json_string_value(json_object_get(pair, "field")) &&
              strcmp(json_string_value(json_object_get(pair, "field")), field) == 0);
  if (!any)
    return;
  printf("\nAgreement on %s\n", title);
  json_array_foreach(json_object_get(file, "cohen"), i, pair) {
    const char *of = json_string_value(json_object_get(pair, "field"));
    if (!of || strcmp(of, field) != 0)
      continue;
    printf("  ");
    print_clean(json_object_get(pair, "a"));
    printf(", ");
    print_clean(json_object_get(pair, "b"));
    printf(": %lld features, ", (long long)json_integer_value(json_object_get(pair, "n")));
    if (json_is_number(json_object_get(pair, "agreement")))
      printf("%.0f %% equal, ", 100 * json_number_value(json_object_get(pair, "agreement")));
    printf("Cohen's kappa ");
    print_kappa(json_object_get(pair, "kappa"));
    printf("\n");
  }
  json_array_foreach(json_object_get(file, "fleiss"), i, pair) {
    const char *of = json_string_value(json_object_get(pair, "field"));
    if (!of || strcmp(of, field) != 0)
      continue;
    printf("  all: %lld features, Fleiss' kappa ", (long long)json_integer_value(json_object_get(pair, "n")));
    print_kappa(json_object_get(pair, "kappa"));
    printf("\n");
  }
}

static void print_disagreements(const json_t *file) {
  const json_t *item, *label, *list = json_object_get(file, "disagreements");
  size_t i, k;
  if (json_array_size(list))
    printf("\nLabels differ on %zu features\n", json_array_size(list));
  json_array_foreach(list, i, item) {
    json_array_foreach(json_object_get(item, "labels"), k, label) {
      if (k == 0) printf("  %6lld  ", (long long)json_integer_value(json_object_get(item, "feature")));
      else printf("          ");
      print_clean(json_object_get(label, "annotator"));
      printf(": ");
      print_clean(json_object_get(label, "description"));
      if (json_string_length(json_object_get(label, "confidence")))
        printf(" (%s)", json_string_value(json_object_get(label, "confidence")));
      printf("\n");
    }
  }
}

static void print_counts(const char *run, const json_t *file, const xcoder_labels_counts *counts, bool merged) {
  const json_t *person;
  size_t i;
  printf("%s/labels.csv: %zu labels of %lld features", run, counts->n_labels,
         (long long)json_integer_value(json_object_get(file, "n_features")));
  if (merged)
    printf("; read %zu: %zu new, %zu replaced, %zu repeated; %zu rows without a label", counts->n_read,
           counts->n_labels - counts->n_before, counts->n_replaced, counts->n_repeated, counts->n_empty);
  printf("\n");
  json_array_foreach(json_object_get(file, "annotators"), i, person) {
    printf("  ");
    print_clean(json_object_get(person, "annotator"));
    printf(": %lld\n", (long long)json_integer_value(json_object_get(person, "n")));
  }
}

xcoder_status cli_merge_labels(cli_call *call, xcoder_error *err) {
  const char *run = call->operands[0];
  const size_t n_files = call->n_operands - 1;
  xcoder_labels_counts counts;
  xcoder_run *lock = NULL;
  json_t *file = NULL;
  char *path = cli_join(run, "labels.json");
  xcoder_status status = path ? XCODER_OK : cli_fail_memory(err);
  if (!status && !cli_exists(run))
    status = cli_fail(err, XCODER_MISSING, "%s: no such run", run);
  if (!status && !cli_is_folder(run))
    status = cli_fail(err, XCODER_USAGE, "%s: a file was found, expected a run directory (labels RUN FILE...)", run);
  if (!status)
    status = xcoder_run_open(run, &lock, err);
  if (!status)
    status = xcoder_labels(run, (const char *const *)call->operands + 1, n_files, &counts, &call->monitor, err);
  xcoder_run_close(lock);
  if (!status)
    status = cli_read_json(path, &file, err);
  if (!status && cli_flag(&call->values, OPT_JSON)) {
    char *text = json_dumps(file, JSON_INDENT(1) | JSON_REAL_PRECISION(17));
    printf("%s\n", text ? text : "{}");
    free(text);
  } else if (!status) {
    print_counts(run, file, &counts, n_files > 0);
    print_agreement(file, "description", "labels");
    print_agreement(file, "languages", "languages");
    print_disagreements(file);
  }
  json_decref(file);
  free(path);
  return status;
}
