/* SPDX-License-Identifier: Apache-2.0 */
/* crosscoder compare: features of several runs matched on the same text. */
#include "compare.h"
#include "estimate.h"
#include "plan.h"
#include "text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One run with the options that it was made with. */
typedef struct side {
  cli_call call;
  cli_setting setting;
  char *name;
  xcoder_tokens *documents;
} side;

static void side_close(side *s) {
  xcoder_tokens_free(s->documents);
  cli_setting_close(&s->setting);
  cli_values_free(&s->call.values);
  free(s->name);
}

/* The last part of the path that tells the run from others: its folder's name, with the parent's for seeds and
 * layers. */
static char *name_of(const char *run) {
  size_t n = strlen(run);
  while (n > 1 && run[n - 1] == '/')
    n--;
  size_t first = n;
  while (first > 0 && run[first - 1] != '/')
    first--;
  return cli_format("%.*s", (int)(n - first), run + first);
}

static xcoder_status read_values(side *s, const cli_call *call, const char *run, xcoder_error *err) {
  static const cli_id given[] = {OPT_HELDOUT, OPT_THREADS, OPT_DEVICE, OPT_FALLBACK, OPT_COMPARE_TOKENS,
                                 OPT_MAX_MEMORY};
  s->call = *call;
  char *path = cli_join(run, "run.yaml");
  xcoder_status status = path ? cli_values_init(&s->call.values, err) : cli_fail_memory(err);
  for (size_t i = 0; !status && i < sizeof given / sizeof *given; i++) {
    const cli_value *value = &call->values.value[given[i]];
    bool list = cli_is_list(cli_options[given[i]].type);
    char *one[1] = {value->text};
    if (value->origin == FROM_DEFAULT || !(list ? value->n_items : value->text != NULL))
      continue;
    status = cli_set(&s->call.values, given[i], list ? value->items : one, list ? value->n_items : 1, false,
                     cli_options[given[i]].name, NULL, FROM_COMMAND_LINE, err);
  }
  if (!status && !cli_is_folder(run))
    status = cli_fail(err, cli_exists(run) ? XCODER_USAGE : XCODER_MISSING, "%s: expected a run directory", run);
  if (!status)
    status = cli_plan_read(path, &s->call.values, FROM_RUN, err);
  free(path);
  cli_setting_init(&s->setting, &s->call);
  return status;
}

/* One document a sequence, cut at the length of the run's sequences. */
static xcoder_status read_documents(side *s, const char *run, xcoder_error *err) {
  const cli_values *values = &s->call.values;
  xcoder_tokens_options options = {.length = (size_t)cli_integer(values, OPT_LENGTH), .min_length = 1,
                                   .layout = XCODER_DOCUMENTS, .no_prepend = cli_flag(values, OPT_NO_PREPEND),
                                   .max_tokens = (uint64_t)cli_integer(values, OPT_COMPARE_TOKENS)};
  xcoder_corpus *corpus = NULL;
  if (!cli_is_set(values, OPT_HELDOUT))
    return cli_fail(err, XCODER_USAGE, "%s: its plan names no held-out text (--heldout=PATH)", run);
  xcoder_status status = cli_check_files(values, OPT_HELDOUT, err);
  if (!status)
    status = cli_need_checkpoints(&s->setting, err);
  if (!status)
    status = cli_need_tokenizer(&s->setting, err);
  if (!status)
    status = cli_open_corpus(values, OPT_HELDOUT, &corpus, err);
  if (!status)
    status = xcoder_tokens_build(corpus, s->setting.tokenizer, &options, &s->call.monitor, &s->documents, err);
  xcoder_corpus_close(corpus);
  return status;
}

/* The first n documents: tokenizers differ in how many fit into --compare-tokens. */
static xcoder_status keep_documents(side *s, size_t n, xcoder_error *err) {
  xcoder_tokens *kept = NULL;
  xcoder_status status = xcoder_tokens_from_array(xcoder_tokens_ids(s->documents), xcoder_tokens_start(s->documents),
                                                  n, &kept, err);
  if (!status) {
    xcoder_tokens_free(s->documents);
    s->documents = kept;
  }
  return status;
}

static xcoder_status add_side(side *s, const char *run, xcoder_comparison *comparison, xcoder_error *err) {
  xcoder_status status = cli_need_device(&s->setting, err);
  if (!status)
    status = cli_need_coder(&s->setting, run, err);
  const xcoder_info *info = status ? NULL : xcoder_describe(s->setting.coder);
  if (!status)
    status = cli_need_models(&s->setting, info->layer < 0 ? 0 : info->layer, err);
  xcoder_setting setting = {.device = s->setting.device, .coder = s->setting.coder, .models = s->setting.models,
                            .tokenizer = s->setting.tokenizer, .monitor = &s->call.monitor};
  if (!status)
    status = xcoder_comparison_add(comparison, s->name, &setting, s->documents, run, err);
  cli_close_models(&s->setting);
  return status;
}

/* All runs encoded on the same documents; on failure, too, the sides are to be closed. */
static xcoder_status open_sides(const cli_call *call, char *const *runs, size_t n_runs, side *sides,
                                xcoder_comparison *comparison, xcoder_error *err) {
  size_t n_documents = SIZE_MAX;
  xcoder_status status = XCODER_OK;
  for (size_t i = 0; !status && i < n_runs; i++) {
    status = read_values(&sides[i], call, runs[i], err);
    if (!status && !(sides[i].name = name_of(runs[i])))
      status = cli_fail_memory(err);
    if (!status)
      status = read_documents(&sides[i], runs[i], err);
    size_t n = status ? 0 : xcoder_tokens_sequences(sides[i].documents);
    n_documents = n < n_documents ? n : n_documents;
  }
  for (size_t i = 0; !status && i < n_runs; i++) {
    status = keep_documents(&sides[i], n_documents, err);
    if (!status)
      status = add_side(&sides[i], runs[i], comparison, err);
  }
  return status;
}

static void close_sides(side *sides, size_t n) {
  for (size_t i = 0; sides && i < n; i++)
    if (sides[i].call.command)
      side_close(&sides[i]);
  free(sides);
}

xcoder_status cli_compare_runs(const cli_call *call, char *const *runs, size_t n_runs, const char *out,
                               xcoder_error *err) {
  side *sides = calloc(n_runs, sizeof *sides);
  xcoder_comparison *comparison = NULL;
  xcoder_compare_options options;
  xcoder_compare_defaults(&options);
  options.match = (xcoder_match)cli_integer(&call->values, OPT_MATCH);
  options.threshold = cli_number(&call->values, OPT_THRESHOLD);
  options.n_top = (size_t)cli_integer(&call->values, OPT_TOP);
  options.seed = (uint64_t)cli_integer(&call->values, OPT_SEED);
  xcoder_status status = sides ? xcoder_comparison_open(&comparison, err) : cli_fail_memory(err);
  if (!status)
    status = open_sides(call, runs, n_runs, sides, comparison, err);
  if (!status)
    status = xcoder_comparison_write(comparison, &options, out, err);
  xcoder_comparison_close(comparison);
  close_sides(sides, n_runs);
  return status;
}

/* ---- What it needs ---- */

/* One run: its documents encoded, and with --transfer its attribution with other models. */
static xcoder_status add_needs(const cli_call *call, const char *run, bool timed, cli_sizes *sizes, double *n_tokens,
                               cli_needs *needs, xcoder_error *err) {
  side s = {0};
  cli_job job;
  const double transfers = call->command->mask == IN_COMPARE ? (double)call->values.value[OPT_TRANSFER].n_items : 0;
  xcoder_status status = read_values(&s, call, run, err);
  cli_job_init(&job, &s.call);
  job.coder_path = cli_copy(run);
  if (!status && !job.coder_path)
    status = cli_fail_memory(err);
  if (!status && !cli_is_set(&s.call.values, OPT_HELDOUT))
    status = cli_fail(err, XCODER_USAGE, "%s: its plan names no held-out text (--heldout=PATH)", run);
  if (!status)
    status = cli_check_files(&s.call.values, OPT_HELDOUT, err);
  if (!status)
    status = cli_need_checkpoints(&job.setting, err);
  if (!status && transfers > 0)
    status = cli_need_tasks(&job.setting, err);
  if (!status) {
    const double most = (double)cli_integer(&s.call.values, OPT_COMPARE_TOKENS);
    const double there = cli_text_tokens(&job.setting, OPT_HELDOUT);
    *n_tokens = most > 0 ? fmin(most, there) : there;
    *sizes = cli_measure_sizes(&job);
    if (call->n_operands > 1)
      status = cli_estimate_side(&job, *n_tokens, timed, needs, err);
  }
  if (!status && transfers > 0)
    status = cli_estimate_transfers(&job, transfers, timed, needs, err);
  cli_job_close(&job);
  side_close(&s);
  return status;
}

/* `chain`: only runs that follow each other are matched. */
static xcoder_status find_needs(const cli_call *call, bool chain, bool timed, cli_needs *needs, xcoder_error *err) {
  const size_t n = call->n_operands;
  cli_sizes *sizes = calloc(n, sizeof *sizes);
  double n_tokens = 0;
  *needs = (cli_needs){.disk_bytes = 1e6};
  xcoder_status status = sizes ? XCODER_OK : cli_fail_memory(err);
  for (size_t i = 0; !status && i < n; i++) {
    status = add_needs(call, call->operands[i], timed, &sizes[i], &n_tokens, needs, err);
    needs->disk_bytes += 100 * sizes[i].latents * (double)n; /* rows of the tables */
  }
  for (size_t i = 0; !status && i < n; i++)
    for (size_t k = i + 1; k < (chain ? i + 2 : n) && k < n; k++)
      cli_estimate_matching(&sizes[i], &sizes[k], n_tokens, needs);
  free(sizes);
  return status;
}

/* Says what it needs and that this is all (*done), or refuses what does not fit into memory. */
static xcoder_status check_needs(const cli_call *call, bool chain, bool *done, xcoder_error *err) {
  cli_needs needs;
  *done = cli_flag(&call->values, OPT_ESTIMATE);
  const xcoder_status status = find_needs(call, chain, *done, &needs, err);
  if (!status && *done)
    cli_print_needs(&needs, cli_flag(&call->values, OPT_JSON));
  return status || *done ? status : cli_check_memory(&call->values, needs.memory_bytes,
                                                    "fewer --compare-tokens, fewer runs", err);
}

/* ---- Chains of windows (evolve RUN RUN...) ---- */

static xcoder_status chain_runs(const cli_call *call, const char *out, xcoder_error *err) {
  const size_t n = call->n_operands;
  side *sides = calloc(n, sizeof *sides);
  const double **tokens = calloc(n, sizeof *tokens);
  xcoder_comparison *comparison = NULL;
  xcoder_chain_options options = {.tokens_seen = tokens,
                                  .permutations = (uint64_t)cli_integer(&call->values, OPT_PERMUTATIONS),
                                  .seed = (uint64_t)cli_integer(&call->values, OPT_SEED),
                                  .shared_border = cli_number(&call->values, OPT_SHARED_BORDER)};
  xcoder_status status = sides && tokens ? xcoder_comparison_open(&comparison, err) : cli_fail_memory(err);
  if (!status)
    status = open_sides(call, call->operands, n, sides, comparison, err);
  for (size_t i = 0; !status && i < n; i++)
    tokens[i] = sides[i].setting.tokens_seen;
  if (!status)
    status = xcoder_comparison_chain(comparison, &options, out, err);
  xcoder_comparison_close(comparison);
  close_sides(sides, n);
  free(tokens);
  return status;
}

static xcoder_status print_chain(const char *out, xcoder_error *err);

xcoder_status cli_chain(const cli_call *call, xcoder_error *err) {
  const cli_value *given = &call->values.value[OPT_OUT];
  char *out = given->origin == FROM_COMMAND_LINE ? cli_copy(given->text) : cli_join(call->operands[0], "chain");
  xcoder_run *lock = NULL;
  xcoder_status status = out ? XCODER_OK : cli_fail_memory(err);
  for (size_t i = 0; !status && i < call->n_operands; i++)
    if (!cli_is_folder(call->operands[i]))
      status = cli_fail(err, cli_exists(call->operands[i]) ? XCODER_USAGE : XCODER_MISSING,
                        "%s: expected a run directory", call->operands[i]);
  xcoder_set_threads((int)cli_integer(&call->values, OPT_THREADS));
  bool done = false;
  if (!status)
    status = check_needs(call, true, &done, err);
  if (status || done) {
    free(out);
    return status;
  }
  if (!status)
    status = xcoder_run_open(out, &lock, err);
  if (!status)
    status = chain_runs(call, out, err);
  xcoder_run_close(lock);
  if (!status)
    status = print_chain(out, err);
  free(out);
  return status;
}

static double at(const json_t *object, const char *key) { return json_number_value(json_object_get(object, key)); }

static void print_links(const json_t *whole) {
  const json_t *row;
  size_t i;
  json_array_foreach(json_object_get(whole, "links"), i, row) printf(
      "%s to %s: %.0f of %.0f pairs of features above the null (cosine > %.2f; by chance %.0f), mean cosine %.2f\n",
      json_string_value(json_object_get(row, "a")), json_string_value(json_object_get(row, "b")), at(row, "n_above"),
      at(row, "n_pairs"), at(row, "null_high"), at(row, "above_by_chance"), at(row, "mean_similarity"));
  json_array_foreach(json_object_get(whole, "lengths"), i, row)
    printf("%s%.0f", i ? ", " : "trajectories of 1, 2, ... windows: ", at(row, "n"));
  printf("\n");
  json_array_foreach(json_object_get(whole, "cycles"), i, row)
    if (strcmp(json_string_value(json_object_get(row, "windows")), "all") == 0)
      printf("  through all windows, by %-18s %-12s %5.0f, by chance %.0f to %.0f, p %.3f\n",
             json_string_value(json_object_get(row, "by")), json_string_value(json_object_get(row, "cycle")),
             at(row, "observed"), at(row, "low"), at(row, "high"), at(row, "p"));
}

static xcoder_status print_chain(const char *out, xcoder_error *err) {
  char *path = cli_join(out, "chain.json");
  json_t *whole = NULL;
  xcoder_status status = path ? cli_read_json(path, &whole, err) : cli_fail_memory(err);
  if (!status) {
    print_links(whole);
    printf("%s\n", path);
  }
  json_decref(whole);
  free(path);
  return status;
}

static void print_task(const json_t *task) {
  const json_t *row;
  size_t i;
  json_array_foreach(json_object_get(task, "checkpoints"), i, row) {
    const json_t *rho = json_object_get(row, "rel_ie_spearman");
    printf("    %-24s %-12s top %2.0f: %3.0f %% again (by chance %2.0f %%), RelIE of %3.0f matched: rank correlation ",
           i ? "" : json_string_value(json_object_get(task, "task")),
           json_string_value(json_object_get(row, "label_a")), at(row, "n_top"), 100 * at(row, "share"),
           100 * at(row, "share_by_chance"), at(row, "n_rel_ie"));
    if (json_is_number(rho))
      printf("%.2f\n", json_number_value(rho));
    else
      printf("-\n");
  }
}

static xcoder_status print_comparison(const char *out, bool json, xcoder_error *err) {
  char *path = cli_join(out, "compare.json");
  json_t *whole = NULL, *pair, *task;
  size_t i, k;
  xcoder_status status = path ? cli_read_json(path, &whole, err) : cli_fail_memory(err);
  if (!status && json) {
    char *text = json_dumps(whole, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
    printf("%s\n", text ? text : "{}");
    free(text);
  } else if (!status) {
    json_array_foreach(json_object_get(whole, "pairs"), i, pair) {
      printf("%s and %s, matched by %s on %.0f positions: %.1f %% of %.0f features recur (>= %.2f); where nothing can "
             "match %.1f %%\n", json_string_value(json_object_get(pair, "a")),
             json_string_value(json_object_get(pair, "b")), json_string_value(json_object_get(pair, "match")),
             at(pair, "n_positions"), 100 * at(pair, "share_recurring"), at(pair, "n_live_a"), at(pair, "threshold"),
             100 * at(pair, "null_share_recurring"));
      json_array_foreach(json_object_get(pair, "tasks"), k, task)
        print_task(task);
    }
    printf("%s\n", path);
  }
  json_decref(whole);
  free(path);
  return status;
}

xcoder_status cli_compare(cli_call *call, xcoder_error *err) {
  const cli_value *given = &call->values.value[OPT_OUT];
  char *out = given->text ? cli_copy(given->text) : cli_join(call->operands[0], "compare");
  xcoder_run *lock = NULL;
  xcoder_status status = out ? XCODER_OK : cli_fail_memory(err);
  for (size_t i = 0; !status && i < call->n_operands; i++)
    if (!cli_is_folder(call->operands[i]))
      status = cli_fail(err, cli_exists(call->operands[i]) ? XCODER_USAGE : XCODER_MISSING,
                        "%s: expected a run directory", call->operands[i]);
  bool transfers = call->values.value[OPT_TRANSFER].n_items > 0, several = call->n_operands > 1;
  if (!status && !several && !transfers)
    status = cli_fail(err, XCODER_USAGE, "compare: one run was found, expected two or more, or --transfer");
  bool done = false;
  if (!status)
    status = check_needs(call, false, &done, err);
  if (status || done) {
    free(out);
    return status;
  }
  if (!status)
    status = xcoder_run_open(out, &lock, err);
  if (!status && several)
    status = cli_compare_runs(call, call->operands, call->n_operands, out, err);
  for (size_t i = 0; !status && transfers && i < call->n_operands; i++)
    status = cli_transfer_run(call, call->operands[i], several ? out : call->operands[i], err);
  xcoder_run_close(lock);
  if (!status && several)
    status = print_comparison(out, cli_flag(&call->values, OPT_JSON), err);
  free(out);
  return status;
}
