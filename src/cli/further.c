/* SPDX-License-Identifier: Apache-2.0 */
/* run with --seeds, --layers or --transfer: runs beside the main one inside its folder, compared with it.
 *
 * OUT/seeds/seed-N and OUT/layers/layer-N are run directories of their own; OUT/compare and OUT/compare-layers hold
 * their comparison with OUT. */
#include "compare.h"
#include "job.h"
#include "plan.h"
#include "text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static xcoder_status read_number(const char *text, long long *number, const char *option, xcoder_error *err) {
  char *end = NULL;
  errno = 0;
  *number = strtoll(text, &end, 10);
  if (errno || end == text || *end || *number < -1)
    return cli_fail(err, XCODER_USAGE, "--%s: '%.100s' was found, expected whole numbers", option, text);
  return XCODER_OK;
}

static bool compares(const cli_values *values) {
  return values->value[OPT_SEEDS].n_items || values->value[OPT_LAYERS].n_items;
}

xcoder_status cli_check_further(const cli_call *call, xcoder_error *err) {
  const cli_values *values = &call->values;
  const cli_value *transfer = &values->value[OPT_TRANSFER];
  xcoder_status status = XCODER_OK;
  long long number;
  for (size_t i = 0; !status && i < values->value[OPT_SEEDS].n_items; i++) {
    status = read_number(values->value[OPT_SEEDS].items[i], &number, "seeds", err);
    if (!status && number < 0)
      status = cli_fail(err, XCODER_USAGE, "--seeds: %lld was found, expected 0 or more", number);
  }
  for (size_t i = 0; !status && i < values->value[OPT_LAYERS].n_items; i++)
    status = read_number(values->value[OPT_LAYERS].items[i], &number, "layers", err);
  if (!status && cli_is_set(values, OPT_SWEEP))
    status = cli_check_sweep(values, err);
  if (!status && compares(values) && !cli_is_set(values, OPT_HELDOUT))
    status = cli_fail(err, XCODER_USAGE, "--heldout is missing: seeds and layers are compared on held-out text");
  if (!status && transfer->n_items && !cli_is_set(values, OPT_TASK))
    status = cli_fail(err, XCODER_USAGE, "--task is missing: a transfer compares effects on tasks");
  for (size_t i = 0; !status && i < transfer->n_items; i++) {
    char *folder = NULL;
    const char *equals = strchr(transfer->items[i], '=');
    if (!equals)
      return cli_fail(err, XCODER_USAGE, "--transfer: '%.200s' was found, expected LABEL=SPEC", transfer->items[i]);
    status = xcoder_checkpoint_find(equals + 1, &folder, err);
    xcoder_free(folder);
  }
  return status;
}

void cli_print_further(const cli_call *call) {
  const cli_values *values = &call->values;
  size_t n_runs = values->value[OPT_SEEDS].n_items + values->value[OPT_LAYERS].n_items;
  if (n_runs && !cli_flag(values, OPT_JSON))
    printf("seeds, layers   the above for each of them (%zu, those of the main run included)\n", n_runs);
  const char *sweep = cli_text(values, OPT_SWEEP);
  if (sweep && !cli_flag(values, OPT_JSON))
    printf("sweep           tokens, scales, train and eval for each of %s\n", sweep);
}

/* One more run: the plan of the main run with another seed or layer. */
xcoder_status cli_run_beside(const cli_call *main_call, const char *main_run, cli_id id, const char *value,
                             const char *store, bool bare, const char *out, xcoder_error *err) {
  cli_call call = *main_call;
  call.values = (cli_values){0};
  char *plan = cli_join(main_run, "run.yaml"), *items[1] = {(char *)(uintptr_t)value}; /* cli_set() only reads it */
  char *target = cli_copy(out), *paths[1] = {target}, *stores[1] = {cli_copy(store ? store : "")};
  xcoder_status status = plan && target && stores[0] ? cli_values_init(&call.values, err) : cli_fail_memory(err);
  if (!status)
    status = cli_set(&call.values, id, items, 1, false, cli_options[id].name, NULL, FROM_COMMAND_LINE, err);
  if (!status)
    status = cli_set(&call.values, OPT_OUT, paths, 1, false, "out", NULL, FROM_COMMAND_LINE, err);
  if (!status && store)
    status = cli_set(&call.values, OPT_STORE, stores, 1, false, "store", NULL, FROM_COMMAND_LINE, err);
  if (!status)
    status = cli_plan_read(plan, &call.values, FROM_PLAN, err);
  /* What is not of the runs beside, then what one that is only trained and evaluated does without. */
  static const cli_id own[] = {OPT_SEEDS, OPT_LAYERS, OPT_TRANSFER, OPT_SWEEP, OPT_TASK, OPT_GOLD, OPT_SNAPSHOTS,
                               OPT_STOP_WHEN_STABLE};
  for (size_t i = 0; !status && i < (bare ? sizeof own / sizeof *own : 4); i++) {
    cli_value *list = &call.values.value[own[i]];
    while (list->n_items)
      free(list->items[--list->n_items]);
    free(list->text);
    list->text = NULL;
    list->number = 0;
  }
  if (!status) {
    cli_note(call.progress, "%s %s: %s", cli_options[id].name, value, out);
    status = cli_run_quietly(&call, err);
  }
  cli_values_free(&call.values);
  free(plan);
  free(target);
  free(stores[0]);
  return status;
}

/* One store of the layers beside the main one, OUT/store, made in one pass of the models. Without room for it *store
 * stays NULL, and each layer runs the models for itself, with the same result. */
static xcoder_status harvest_layers(const cli_call *main_call, const char *main_run, char **store, xcoder_error *err) {
  const cli_value *list = &main_call->values.value[OPT_LAYERS];
  cli_call call = *main_call;
  call.values = (cli_values){0};
  cli_setting setting;
  long *layers = calloc(list->n_items + 1, sizeof *layers);
  size_t n_layers = 0;
  char *plan = cli_join(main_run, "run.yaml"), *out = cli_join(main_run, "store");
  xcoder_status status = layers && plan && out ? cli_values_init(&call.values, err) : cli_fail_memory(err);
  if (!status)
    status = cli_plan_read(plan, &call.values, FROM_PLAN, err);
  cli_setting_init(&setting, &call);
  for (size_t i = 0; !status && i < list->n_items; i++) {
    long long number;
    status = read_number(list->items[i], &number, "layers", err);
    if (!status && number != cli_integer(&main_call->values, OPT_LAYER))
      layers[n_layers++] = (long)number;
  }
  if (!status && n_layers > 1 && !cli_is_set(&call.values, OPT_STORE)) {
    xcoder_error full = {0};
    status = cli_need_checkpoints(&setting, err);
    for (size_t i = 0; !status && i < n_layers; i++)
      if (layers[i] >= (long)setting.infos[0].n_layers)
        status = cli_fail(err, XCODER_USAGE, "--layers: %ld was found, %s has layers -1 to %zu", layers[i],
                          setting.folders[0], setting.infos[0].n_layers - 1);
    if (!status)
      status = cli_need_tokenizer(&setting, err);
    if (!status)
      status = cli_need_tokens(&setting, OPT_CORPUS, err);
    if (!status && cli_check_disk(main_run, cli_store_bytes(&setting, n_layers), &full)) {
      cli_note(call.progress, "layers: no room for their store, so each runs the models for itself (%s)", full.message);
    } else if (!status) {
      status = cli_harvest_layers(&setting, layers, n_layers, out, err);
      if (!status) {
        *store = out;
        out = NULL;
      }
    }
  }
  cli_setting_close(&setting);
  cli_values_free(&call.values);
  free(layers);
  free(plan);
  free(out);
  return status;
}

/* What a comparison depends on: the stamps of the runs' stages, and the options. Freed with free(). */
static char *make_stamp(const cli_call *call, char *const *runs, size_t n_runs) {
  cli_string text = {0};
  cli_addf(&text, "seeds.csv 1 match %lld threshold %.17g tokens %lld top %lld seed %lld\n",
           cli_integer(&call->values, OPT_MATCH), cli_number(&call->values, OPT_THRESHOLD),
           cli_integer(&call->values, OPT_COMPARE_TOKENS), cli_integer(&call->values, OPT_TOP),
           cli_integer(&call->values, OPT_SEED));
  for (size_t i = 0; i < n_runs; i++) {
    static const char *const files[] = {"crosscoder.safetensors", "features/features.csv", "stages/train.json"};
    for (size_t k = 0; k < sizeof files / sizeof *files; k++) {
      char hex[33] = "none", *path = cli_join(runs[i], files[k]);
      if (path && cli_exists(path))
        xcoder_hash_file(path, hex, NULL);
      cli_addf(&text, "%s %s\n", runs[i], hex);
      free(path);
    }
    for (size_t t = 0; t < call->values.value[OPT_TASK].n_items; t++)
      cli_addf(&text, "%s\n", call->values.value[OPT_TASK].items[t]);
  }
  return text.text;
}

static bool is_stamped(const char *path, const char *stamp) {
  char *old = NULL;
  size_t n_bytes = 0;
  bool same = cli_exists(path) && !xcoder_read_file(path, 0, &old, &n_bytes, NULL) && strcmp(old, stamp) == 0;
  xcoder_free(old);
  return same;
}

/* Compares unless the stamp beside the last result is the same; *changed tells. */
static xcoder_status compare_runs(const cli_call *call, char *const *runs, size_t n_runs, const char *out,
                                  bool *changed, xcoder_error *err) {
  char *stamp = make_stamp(call, runs, n_runs), *path = cli_join(out, "stamp.txt"),
       *result = cli_join(out, "compare.json");
  xcoder_run *lock = NULL;
  xcoder_status status = stamp && path && result ? XCODER_OK : cli_fail_memory(err);
  if (!status && !(cli_exists(result) && is_stamped(path, stamp))) {
    *changed = true;
    status = xcoder_run_open(out, &lock, err);
    if (!status)
      status = cli_compare_runs(call, runs, n_runs, out, err);
    if (!status)
      status = xcoder_write_file(path, stamp, strlen(stamp), err);
    xcoder_run_close(lock);
  }
  free(stamp);
  free(path);
  free(result);
  return status;
}

/* The main run and those of the list; the main run's own seed or layer is it. */
static xcoder_status run_list(const cli_call *call, const char *main_run, cli_id list, cli_id single,
                              const char *folder, const char *name, const char *results, const char *store,
                              bool *changed, xcoder_error *err) {
  const cli_value *items = &call->values.value[list];
  char **runs = calloc(items->n_items + 1, sizeof *runs);
  size_t n_runs = 0;
  xcoder_status status = runs && (runs[n_runs++] = cli_copy(main_run)) ? XCODER_OK : cli_fail_memory(err);
  for (size_t i = 0; !status && i < items->n_items; i++) {
    long long number;
    status = read_number(items->items[i], &number, cli_options[list].name, err);
    if (status || number == cli_integer(&call->values, single))
      continue;
    if (!(runs[n_runs++] = cli_format("%s/%s/%s-%lld", main_run, folder, name, number)))
      status = cli_fail_memory(err);
    char value[32];
    snprintf(value, sizeof value, "%lld", number);
    if (!status)
      status = cli_run_beside(call, main_run, single, value, store, false, runs[n_runs - 1], err);
  }
  char *out = cli_join(main_run, results);
  if (!status && !out)
    status = cli_fail_memory(err);
  if (!status && n_runs > 1)
    status = compare_runs(call, runs, n_runs, out, changed, err);
  for (size_t i = 0; runs && i < n_runs; i++)
    free(runs[i]);
  free(runs);
  free(out);
  return status;
}

xcoder_status cli_run_further(const cli_call *call, const char *out, xcoder_error *err) {
  const cli_values *values = &call->values;
  bool changed = false;
  xcoder_status status = XCODER_OK;
  if (values->value[OPT_SEEDS].n_items)
    status = run_list(call, out, OPT_SEEDS, OPT_SEED, "seeds", "seed", "compare", NULL, &changed, err);
  if (!status && values->value[OPT_LAYERS].n_items) {
    char *store = NULL;
    status = harvest_layers(call, out, &store, err);
    if (!status)
      status = run_list(call, out, OPT_LAYERS, OPT_LAYER, "layers", "layer", "compare-layers", store, &changed, err);
    free(store);
  }
  if (!status && values->value[OPT_TRANSFER].n_items) {
    char *stamp = make_stamp(call, (char *const[]){(char *)(uintptr_t)out}, 1), *path = cli_join(out, "transfer/"
                                                                                                      "stamp.txt");
    char *list = cli_join_items(&values->value[OPT_TRANSFER]),
         *whole = stamp && list ? cli_format("%s%s\n", stamp, list) : NULL;
    status = whole && path ? XCODER_OK : cli_fail_memory(err);
    if (!status && !is_stamped(path, whole)) {
      changed = true;
      status = cli_transfer_run(call, out, out, err);
      if (!status)
        status = xcoder_write_file(path, whole, strlen(whole), err);
    }
    free(stamp);
    free(path);
    free(list);
    free(whole);
  }
  if (!status && cli_is_set(values, OPT_SWEEP))
    status = cli_run_sweep(call, out, &changed, err);
  if (!status && changed) { /* the page shows what the comparison found */
    xcoder_report_options options = {.title = cli_text(values, OPT_TITLE),
                                     .n_cards = (size_t)cli_integer(values, OPT_CARDS)};
    status = xcoder_report(out, &options, NULL, &call->monitor, err);
  }
  return status;
}
