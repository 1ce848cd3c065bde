/* SPDX-License-Identifier: Apache-2.0 */
/* crosscoder select: proposes the checkpoints to compare, with its reasons. */
#include "plan.h"
#include "setting.h"
#include "text.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Where a label of the tables is found: --checkpoints, --model, else the label itself. */
static char *find_spec(const cli_values *values, const char *label) {
  const cli_value *list = &values->value[OPT_CHECKPOINTS];
  size_t n = strlen(label);
  for (size_t i = 0; i < list->n_items; i++) {
    const char *item = list->items[i], *equals = strchr(item, '=');
    if (equals && (size_t)(equals - item) == n && strncmp(item, label, n) == 0)
      return cli_copy(equals + 1);
    if (!equals && strcmp(cli_spec_label(item), label) == 0)
      return cli_copy(item);
  }
  const char *model = cli_text(values, OPT_MODEL);
  return model ? cli_name_revision(model, label) : cli_copy(label);
}

static xcoder_status add_yaml(const cli_values *values, const xcoder_selection *s, size_t proposal, cli_string *text,
                              xcoder_error *err) {
  cli_add(text, "checkpoints:\n");
  for (size_t k = 0; k < s->n; k++) {
    const char *label = s->labels[s->proposal[proposal].chosen[k]];
    char *spec = find_spec(values, label), *path = spec && cli_exists(spec) ? cli_absolute(spec) : cli_copy(spec);
    free(spec);
    if (!path)
      return cli_fail_memory(err);
    cli_add(text, "  ");
    cli_add_yaml(text, label);
    cli_add(text, ": ");
    cli_add_yaml(text, path);
    cli_add(text, "\n");
    free(path);
  }
  bool known = true;
  for (size_t k = 0; k < s->n; k++)
    known = known && isfinite(s->tokens_seen[s->proposal[proposal].chosen[k]]);
  if (known)
    cli_add(text, "tokens-seen:\n");
  for (size_t k = 0; known && k < s->n; k++) {
    cli_add(text, "  ");
    cli_add_yaml(text, s->labels[s->proposal[proposal].chosen[k]]);
    cli_addf(text, ": %.17g\n", s->tokens_seen[s->proposal[proposal].chosen[k]]);
  }
  return text->failed ? cli_fail_memory(err) : XCODER_OK;
}

static size_t block_end(const xcoder_selection *s, const xcoder_proposal *p, size_t k) {
  return (k + 1 < s->n ? p->first[k + 1] : s->n_revisions) - 1;
}

static double block_accuracy(const xcoder_selection *s, size_t cell, size_t first, size_t last) {
  double n = 0, right = 0;
  for (size_t c = first; c <= last; c++) {
    n += s->n_pairs[cell * s->n_revisions + c];
    right += s->n_right[cell * s->n_revisions + c];
  }
  return n > 0 ? right / n : NAN;
}

/* The groups whose accuracy changes most from block k-1 to block k. */
static void add_changes(const xcoder_selection *s, const xcoder_proposal *p, size_t k, cli_string *text) {
  enum { MOST = 4 };
  size_t best[MOST], n = 0;
  double size[MOST];
  for (size_t cell = 0; cell < s->n_cells; cell++) {
    double change = fabs(block_accuracy(s, cell, p->first[k], block_end(s, p, k)) -
                         block_accuracy(s, cell, p->first[k - 1], p->first[k] - 1));
    size_t at = n;
    if (!(change >= 0.05) || (n == MOST && change <= size[MOST - 1]))
      continue;
    at = n < MOST ? n++ : MOST - 1;
    for (; at > 0 && size[at - 1] < change; at--) {
      size[at] = size[at - 1];
      best[at] = best[at - 1];
    }
    size[at] = change;
    best[at] = cell;
  }
  for (size_t i = 0; i < n; i++)
    cli_addf(text, "%s%s %.2f -> %.2f", i ? ", " : "    accuracy there: ", s->cells[best[i]],
             block_accuracy(s, best[i], p->first[k - 1], p->first[k] - 1),
             block_accuracy(s, best[i], p->first[k], block_end(s, p, k)));
  if (n)
    cli_add(text, "\n");
}

static double mean_cosine(const xcoder_selection *s, size_t a, size_t b, size_t c, size_t d) {
  double sum = 0;
  size_t n = 0;
  for (size_t i = a; i <= b; i++)
    for (size_t j = c; j <= d; j++)
      if (i != j) {
        sum += s->cosine[i * s->n_revisions + j];
        n++;
      }
  return n ? sum / (double)n : NAN;
}

static void add_proposal(const xcoder_selection *s, size_t number, cli_string *text) {
  const xcoder_proposal *p = &s->proposal[number];
  cli_addf(text, "proposal %zu:", number + 1);
  for (size_t k = 0; k < s->n; k++)
    cli_addf(text, " %s", s->labels[p->chosen[k]]);
  cli_addf(text, "  (explains %.1f %%", 100 * p->score);
  if (isfinite(p->accuracy_share))
    cli_addf(text, "; accuracy %.1f %%", 100 * p->accuracy_share);
  if (isfinite(p->similarity_share))
    cli_addf(text, "; similarity %.1f %%", 100 * p->similarity_share);
  cli_add(text, ")\n");
  for (size_t k = 0; k < s->n; k++) {
    size_t first = p->first[k], last = block_end(s, p, k);
    if (k) {
      cli_addf(text, "  change between %s and %s", s->labels[first - 1], s->labels[first]);
      if (number == 0 && isfinite(s->agreement[k]) && s->low[k] > 0)
        cli_addf(text, ", 95 %% from %s|%s to %s|%s, the same in %.0f %% of the resamples", s->labels[s->low[k] - 1],
                 s->labels[s->low[k]], s->labels[s->high[k] - 1], s->labels[s->high[k]], 100 * s->agreement[k]);
      cli_add(text, "\n");
      add_changes(s, p, k, text);
      if (s->cosine)
        cli_addf(text, "    mean cosine across it: %.3f\n", mean_cosine(s, p->first[k - 1], first - 1, first, last));
    }
    cli_addf(text, "  %s stands for %s to %s", s->labels[p->chosen[k]], s->labels[first], s->labels[last]);
    if (s->cosine && last > first)
      cli_addf(text, ", mean cosine among them %.3f", mean_cosine(s, first, last, first, last));
    cli_add(text, "\n");
  }
}

static xcoder_status print_text(const cli_values *values, const xcoder_selection *s, xcoder_error *err) {
  cli_string text = {0};
  xcoder_status status = XCODER_OK;
  for (size_t p = 0; !status && p < s->n_proposals; p++) {
    add_proposal(s, p, &text);
    status = add_yaml(values, s, p, &text, err);
    cli_add(&text, "\n");
  }
  if (!status && text.failed)
    status = cli_fail_memory(err);
  if (!status)
    fputs(text.text, stdout);
  cli_string_free(&text);
  return status;
}

static json_t *to_json(const xcoder_selection *s) {
  json_t *list = json_array();
  for (size_t i = 0; i < s->n_proposals; i++) {
    const xcoder_proposal *p = &s->proposal[i];
    json_t *chosen = json_array(), *blocks = json_array(), *object = json_object();
    for (size_t k = 0; k < s->n; k++) {
      json_array_append_new(chosen, json_string(s->labels[p->chosen[k]]));
      json_array_append_new(blocks, json_pack("[s,s]", s->labels[p->first[k]], s->labels[block_end(s, p, k)]));
    }
    json_object_set_new(object, "checkpoints", chosen);
    json_object_set_new(object, "blocks", blocks);
    json_object_set_new(object, "explained", json_real(p->score));
    json_object_set_new(object, "accuracy", isfinite(p->accuracy_share) ? json_real(p->accuracy_share) : json_null());
    json_object_set_new(object, "similarity",
                        isfinite(p->similarity_share) ? json_real(p->similarity_share) : json_null());
    json_array_append_new(list, object);
  }
  json_t *changes = json_array();
  for (size_t k = 1; k < s->n && s->n_proposals; k++)
    json_array_append_new(changes, json_pack("{s:s,s:s,s:s,s:o}", "first", s->labels[s->proposal[0].first[k]], "low",
                                             s->labels[s->low[k]], "high", s->labels[s->high[k]], "agreement",
                                             isfinite(s->agreement[k]) ? json_real(s->agreement[k]) : json_null()));
  return json_pack("{s:i,s:o,s:o}", "format", 1, "proposals", list, "changes", changes);
}

/* FOLDER/proposal-N.yaml, selection.json, report/. */
static xcoder_status write_folder(const cli_call *call, const xcoder_selection *s, const char *folder,
                                  xcoder_error *err) {
  const cli_value *runs = &call->values.value[OPT_RUNS];
  xcoder_status status = XCODER_OK;
  for (size_t p = 0; !status && p < s->n_proposals; p++) {
    cli_string text = {0};
    char *path = cli_format("%s/proposal-%zu.yaml", folder, p + 1);
    cli_add(&text, "# Keys of a plan: the checkpoints of one proposal of crosscoder select.\n");
    status = path ? add_yaml(&call->values, s, p, &text, err) : cli_fail_memory(err);
    if (!status)
      status = xcoder_write_file(path, text.text, text.n_bytes, err);
    cli_string_free(&text);
    free(path);
  }
  char *path = cli_join(folder, "selection.json");
  json_t *object = to_json(s);
  char *json = object ? json_dumps(object, JSON_INDENT(1) | JSON_REAL_PRECISION(17)) : NULL;
  if (!status)
    status = path && json ? xcoder_write_file(path, json, strlen(json), err) : cli_fail_memory(err);
  free(json);
  json_decref(object);
  free(path);
  return status ? status : xcoder_selection_report(s, (const char *const *)runs->items, runs->n_items, folder,
                                                   &call->monitor, err);
}

/* The paper's limit means nothing to a run that ends before it. */
static xcoder_status choose(cli_call *call, const char *accuracy, const char *similarity,
                            xcoder_select_options *options, xcoder_selection **selection, xcoder_error *err) {
  xcoder_status status = xcoder_select(accuracy, similarity, options, selection, err);
  if (status == XCODER_MISMATCH && options->min_tokens > 0 &&
      call->values.value[OPT_MIN_TOKENS].origin == FROM_DEFAULT) {
    options->min_tokens = 0;
    status = xcoder_select(accuracy, similarity, options, selection, err);
    if (!status)
      cli_note(call->progress, "too few revisions have seen %s tokens, so none is left out (--min-tokens)",
               cli_text(&call->values, OPT_MIN_TOKENS));
  }
  return status;
}

xcoder_status cli_select(cli_call *call, xcoder_error *err) {
  const cli_values *values = &call->values;
  const cli_value *out = &values->value[OPT_OUT];
  const char *folder = out->origin == FROM_COMMAND_LINE ? out->text : NULL; /* a plan's out is a run directory */
  const char *accuracy = cli_text(values, OPT_ACCURACY_CSV), *similarity = cli_text(values, OPT_SIMILARITY_CSV);
  xcoder_selection *selection = NULL;
  xcoder_select_options options = {.n = (size_t)cli_integer(values, OPT_COUNT),
                                   .n_proposals = (size_t)cli_integer(values, OPT_PROPOSALS),
                                   .weight = cli_number(values, OPT_WEIGHT),
                                   .min_tokens = (double)cli_integer(values, OPT_MIN_TOKENS),
                                   .bootstrap = (uint64_t)cli_integer(values, OPT_RESAMPLES),
                                   .seed = (uint64_t)cli_integer(values, OPT_SEED)};
  xcoder_set_threads((int)cli_integer(values, OPT_THREADS));
  xcoder_status status = XCODER_OK;
  if (!accuracy && !similarity)
    status = cli_fail(err, XCODER_USAGE, "--accuracy=CSV is missing: accuracies, similarities (--similarity), or both");
  if (!status && folder && cli_exists(folder) && !cli_is_folder(folder))
    status = cli_fail(err, XCODER_IO, "%s: a file was found, expected a folder or nothing (--out)", folder);
  if (!status && cli_is_set(values, OPT_RUNS) && !folder)
    status = cli_fail(err, XCODER_USAGE, "--out=FOLDER is missing: --runs are compared in the report");
  if (!status)
    status = choose(call, accuracy, similarity, &options, &selection, err);
  if (!status && folder)
    status = write_folder(call, selection, folder, err);
  if (!status && cli_flag(values, OPT_JSON)) {
    json_t *object = to_json(selection);
    char *json = object ? json_dumps(object, JSON_INDENT(1) | JSON_REAL_PRECISION(17)) : NULL;
    printf("%s\n", json ? json : "{}");
    free(json);
    json_decref(object);
  } else if (!status) {
    status = print_text(values, selection, err);
  }
  if (!status && folder && !cli_flag(values, OPT_JSON))
    printf("%s/report/index.html\n", folder);
  xcoder_selection_free(selection);
  return status;
}
