/* SPDX-License-Identifier: Apache-2.0 */
/* crosscoder audit: what is wrong with revisions, found before anything is computed with them. */
#include "estimate.h"
#include "signals.h"
#include "text.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double rise_allowed = 0.2; /* nats, from one revision to the next of the course of training */

/* One revision: where it is, what it holds, what is wrong with it. */
typedef struct revision {
  char *label, *spec, *folder;
  double tokens_seen, loss; /* loss: mean nats a token, NaN where not measured */
  bool read;                /* its weights could be read */
  xcoder_status status;
  xcoder_model_audit audit;
  cli_string findings;      /* joined by "; " */
  bool extra;               /* main, looked at for comparison only */
} revision;

typedef struct audit_job {
  cli_call *call;
  revision *revision;
  size_t n;                 /* with main behind the others where it is known */
} audit_job;

static void find(revision *r, const char *before, const char *what) {
  cli_addf(&r->findings, "%s%s%s", r->findings.n_bytes ? "; " : "", before, what);
}

static xcoder_status add_revision(audit_job *job, char *label, char *spec, bool extra, xcoder_error *err) {
  revision *more = realloc(job->revision, (job->n + 1) * sizeof *more);
  if (more)
    job->revision = more;
  if (!more || !label || !spec) {
    free(label);
    free(spec);
    return cli_fail_memory(err);
  }
  more[job->n++] = (revision){.label = label, .spec = spec, .tokens_seen = NAN, .loss = NAN, .extra = extra};
  return XCODER_OK;
}

/* The revisions of --checkpoints or --model; behind them main of --model, if it is there and not among them. */
static xcoder_status list_revisions(audit_job *job, xcoder_error *err) {
  const cli_values *values = &job->call->values;
  const cli_value *list = &values->value[OPT_CHECKPOINTS], *revisions = &values->value[OPT_REVISIONS];
  const char *model = cli_text(values, OPT_MODEL);
  xcoder_status status = XCODER_OK;
  if (!model && !list->n_items)
    return cli_fail(err, XCODER_USAGE, "checkpoints are missing (--checkpoints=LABEL=DIR,... or --model and "
                    "--revisions)");
  for (size_t i = 0; !status && !(model && revisions->n_items) && i < (model ? 1 : list->n_items); i++) {
    const char *item = model ? model : list->items[i], *equals = strchr(item, '=');
    status = equals
                 ? add_revision(job, cli_format("%.*s", (int)(equals - item), item), cli_copy(equals + 1), false, err)
                 : add_revision(job, cli_copy(cli_spec_label(item)), cli_copy(item), false, err);
  }
  bool has_main = !model || !revisions->n_items;
  for (size_t i = 0; !status && model && i < revisions->n_items; i++) {
    const char *name = revisions->items[i];
    has_main = has_main || strcmp(name, "main") == 0;
    status = add_revision(job, cli_copy(name), cli_name_revision(model, name), false, err);
  }
  char *spec = status || has_main ? NULL : cli_name_revision(model, "main"), *folder = NULL;
  xcoder_error ignored;
  if (spec && !xcoder_checkpoint_find(spec, &folder, &ignored))
    status = add_revision(job, cli_copy("main"), cli_copy(spec), true, err);
  xcoder_free(folder);
  free(spec);
  return status;
}

/* Reads one revision; what goes wrong is a finding, and the last of them the status of the command. */
static void read_revision(audit_job *job, revision *r) {
  xcoder_error err = {0};
  char *folder = NULL;
  r->status = xcoder_checkpoint_find(r->spec, &folder, &err);
  if (!r->status && !(r->folder = cli_copy(folder)))
    r->status = cli_fail_memory(&err);
  xcoder_free(folder);
  if (!r->status)
    r->status = xcoder_model_audit_weights(r->folder, &r->audit, &err);
  r->read = !r->status;
  if (!r->read) {
    find(r, "unreadable: ", err.message);
    return;
  }
  if (r->audit.n_bad) {
    char *what = cli_format("%llu values are NaN or infinite, the first in %s", (unsigned long long)r->audit.n_bad,
                            r->audit.bad_tensor);
    find(r, "", what ? what : "NaN or infinity");
    free(what);
  }
  if (*r->audit.mismatch)
    find(r, "does not fit its config: ", r->audit.mismatch);
  cli_note(job->call->progress, "%s: read", r->label);
}

/* ---- Findings that need several revisions ---- */

static void compare_weights(audit_job *job) {
  for (size_t i = 0; i < job->n; i++) {
    revision *r = &job->revision[i];
    if (!r->read || r->extra)
      continue;
    for (size_t k = 0; k < job->n; k++) {
      const revision *other = &job->revision[k];
      if (k == i || !other->read || strcmp(other->audit.hash, r->audit.hash) != 0)
        continue;
      /* The revision at which training ended is main. */
      bool main = strcmp(other->label, "main") == 0 || strcmp(r->label, "main") == 0;
      if (main && isfinite(r->tokens_seen) && r->tokens_seen == other->tokens_seen)
        continue;
      bool blobs = *r->audit.blob && strcmp(r->audit.blob, other->audit.blob) == 0;
      char *what = cli_format("%s to %s%s", strcmp(other->label, "main") == 0 ? "equal" : "identical", other->label,
                              blobs ? " (the same file in the cache)" : "");
      find(r, "", what ? what : other->label);
      free(what);
    }
  }
}

static void check_age(audit_job *job) {
  double least = (double)cli_integer(&job->call->values, OPT_MIN_TOKENS);
  for (size_t i = 0; i < job->n; i++)
    if (isfinite(job->revision[i].tokens_seen) && job->revision[i].tokens_seen < least)
      find(&job->revision[i], "the paper leaves out revisions that have seen fewer tokens than ",
           cli_text(&job->call->values, OPT_MIN_TOKENS));
}

/* ---- Perplexity ---- */

static xcoder_status measure_loss(revision *r, xcoder_device *device, const xcoder_tokens *tokens, xcoder_error *err) {
  const size_t *start = xcoder_tokens_start(tokens), n = xcoder_tokens_sequences(tokens);
  xcoder_model *model = NULL;
  float *log_probs = NULL;
  double sum = 0, count = 0;
  xcoder_status status = xcoder_model_open(r->folder, device, -1, &model, err);
  for (size_t s = 0; !status && s < n; s++) {
    const size_t length = start[s + 1] - start[s], begin[2] = {0, length};
    float *more = realloc(log_probs, (length ? length : 1) * sizeof *more);
    if (!more) {
      status = cli_fail_memory(err);
      break;
    }
    log_probs = more;
    status = xcoder_model_log_probs(model, xcoder_tokens_ids(tokens) + start[s], begin, 1, log_probs, err);
    for (size_t i = 1; !status && i < length; i++)
      sum -= (double)log_probs[i];
    count += length ? (double)(length - 1) : 0;
    if (!status && cli_stop)
      status = cli_fail(err, XCODER_INTERRUPTED, "stopped");
  }
  if (!status && count > 0)
    r->loss = sum / count;
  free(log_probs);
  xcoder_model_close(model);
  return status;
}

static void mark_outlier(revision *r, double vocabulary) {
  char *what = cli_format("perplexity %.4g is an outlier: not on the course of training%s", exp(r->loss),
                          r->loss > log(vocabulary) + 0.5 ? ", worse than a uniform guess" : "");
  find(r, "", what ? what : "perplexity is an outlier");
  free(what);
}

/* The course of training: the largest set of revisions, in order, whose loss never rises by more than `rise_allowed`
 * from one to the next kept; of equally large ones that of the least loss. The others are outliers. */
static xcoder_status mark_outliers(audit_job *job, xcoder_error *err) {
  size_t n = 0, *index = calloc(job->n + 1, sizeof *index), *length = calloc(job->n + 1, sizeof *length);
  size_t *before = calloc(job->n + 1, sizeof *before);
  double *sum = calloc(job->n + 1, sizeof *sum);
  xcoder_status status = index && length && before && sum ? XCODER_OK : cli_fail_memory(err);
  for (size_t i = 0; !status && i < job->n; i++)
    if (isfinite(job->revision[i].loss) && !job->revision[i].extra)
      index[n++] = i;
  size_t best = 0;
  for (size_t i = 0; !status && i < n; i++) {
    const double loss = job->revision[index[i]].loss;
    length[i] = 1;
    sum[i] = loss;
    before[i] = SIZE_MAX;
    for (size_t k = 0; k < i; k++)
      if (loss <= job->revision[index[k]].loss + rise_allowed &&
          (length[k] + 1 > length[i] || (length[k] + 1 == length[i] && sum[k] + loss < sum[i]))) {
        length[i] = length[k] + 1;
        sum[i] = sum[k] + loss;
        before[i] = k;
      }
    if (length[i] > length[best] || (length[i] == length[best] && sum[i] < sum[best]))
      best = i;
  }
  size_t kept = n ? best : SIZE_MAX;
  for (size_t i = n; !status && i-- > 0;) {
    if (i == kept)
      kept = before[i];
    else
      mark_outlier(&job->revision[index[i]], (double)job->revision[index[i]].audit.info.n_vocab);
  }
  free(index);
  free(length);
  free(before);
  free(sum);
  return status;
}

/* Losses of all revisions that can be run. */
static xcoder_status measure_losses(audit_job *job, xcoder_error *err) {
  const cli_values *values = &job->call->values;
  cli_id which = cli_is_set(values, OPT_HELDOUT) ? OPT_HELDOUT : OPT_CORPUS;
  cli_setting setting;
  xcoder_status status = XCODER_OK;
  if (!cli_is_set(values, which))
    return XCODER_OK;
  cli_setting_init(&setting, job->call);
  if (!cli_is_set(values, OPT_TOKENIZER)) { /* that of the last revision which is there */
    char *folder = NULL;
    for (size_t i = job->n; i-- > 0 && !folder;)
      folder = job->revision[i].read ? cli_copy(job->revision[i].folder) : NULL;
    job->call->values.value[OPT_TOKENIZER].text = folder;
  }
  status = cli_need_device(&setting, err);
  if (!status)
    status = cli_need_tokens(&setting, which, err);
  for (size_t i = 0; !status && i < job->n; i++) {
    revision *r = &job->revision[i];
    if (!r->read || r->audit.n_bad || *r->audit.mismatch || r->extra)
      continue;
    xcoder_error own;
    xcoder_status mine = measure_loss(r, setting.device, which == OPT_HELDOUT ? setting.heldout : setting.corpus, &own);
    if (mine == XCODER_INTERRUPTED || mine == XCODER_DEVICE) {
      status = mine;
      *err = own;
    } else if (mine) {
      find(r, "cannot be run: ", own.message);
      r->status = mine;
    } else {
      cli_note(job->call->progress, "%s: perplexity %.4g", r->label, exp(r->loss));
    }
  }
  cli_setting_close(&setting);
  return status ? status : mark_outliers(job, err);
}

/* ---- Output ---- */

static void add_csv_text(cli_string *text, const char *field) {
  bool quote = strpbrk(field, ",\"\n\r") != NULL;
  cli_add(text, quote ? "\"" : "");
  for (const char *s = field; *s; s++) {
    cli_add(text, *s == '"' ? "\"" : "");
    cli_add_bytes(text, s, 1);
  }
  cli_add(text, quote ? "\"" : "");
}

static const char *findings_of(const revision *r) { return r->findings.text ? r->findings.text : ""; }

static xcoder_status write_csv(const audit_job *job, const char *path, xcoder_error *err) {
  cli_string text = {0};
  cli_add(&text, "checkpoint,folder,readable,family,dtype,n_layers,d_model,n_parameters,tokens_seen,hash,n_bad,"
                 "perplexity,findings\n");
  for (size_t i = 0; i < job->n; i++) {
    const revision *r = &job->revision[i];
    if (r->extra)
      continue;
    add_csv_text(&text, r->label);
    cli_add(&text, ",");
    add_csv_text(&text, r->folder ? r->folder : r->spec);
    cli_addf(&text, ",%s,%s,%s,%zu,%zu,%llu,", r->read ? "yes" : "no", r->audit.info.family, r->audit.info.dtype,
             r->audit.info.n_layers, r->audit.info.d_model, (unsigned long long)r->audit.n_values);
    if (isfinite(r->tokens_seen))
      cli_addf(&text, "%.17g", r->tokens_seen);
    cli_addf(&text, ",%s,%llu,", r->audit.hash, (unsigned long long)r->audit.n_bad);
    if (isfinite(r->loss))
      cli_addf(&text, "%.9g", exp(r->loss));
    cli_add(&text, ",");
    add_csv_text(&text, findings_of(r));
    cli_add(&text, "\n");
  }
  xcoder_status status = text.failed ? cli_fail_memory(err) : xcoder_write_file(path, text.text, text.n_bytes, err);
  cli_string_free(&text);
  return status;
}

static void print_json(const audit_job *job) {
  json_t *list = json_array();
  for (size_t i = 0; i < job->n; i++) {
    const revision *r = &job->revision[i];
    if (r->extra)
      continue;
    json_t *object = json_object();
    json_object_set_new(object, "checkpoint", json_string(r->label));
    json_object_set_new(object, "folder", json_string(r->folder ? r->folder : r->spec));
    json_object_set_new(object, "readable", json_boolean(r->read));
    json_object_set_new(object, "hash", json_string(r->audit.hash));
    json_object_set_new(object, "n_parameters", json_integer((json_int_t)r->audit.n_values));
    json_object_set_new(object, "n_bad", json_integer((json_int_t)r->audit.n_bad));
    json_object_set_new(object, "tokens_seen", isfinite(r->tokens_seen) ? json_real(r->tokens_seen) : json_null());
    json_object_set_new(object, "perplexity", isfinite(r->loss) ? json_real(exp(r->loss)) : json_null());
    json_object_set_new(object, "findings", json_string(findings_of(r)));
    json_array_append_new(list, object);
  }
  char *text = json_dumps(list, JSON_INDENT(1) | JSON_REAL_PRECISION(17));
  printf("%s\n", text ? text : "[]");
  free(text);
  json_decref(list);
}

static void print_table(const audit_job *job) {
  size_t n_warnings = 0, n_unreadable = 0, n_shown = 0;
  printf("%-24s %-10s %14s %14s %12s %s\n", "checkpoint", "family", "parameters", "tokens seen", "perplexity", "hash");
  for (size_t i = 0; i < job->n; i++) {
    const revision *r = &job->revision[i];
    char tokens[32] = "-", perplexity[32] = "-", *label = cli_printable(r->label, strlen(r->label));
    if (r->extra) {
      free(label);
      continue;
    }
    if (isfinite(r->tokens_seen))
      snprintf(tokens, sizeof tokens, "%.5g", r->tokens_seen);
    if (isfinite(r->loss))
      snprintf(perplexity, sizeof perplexity, "%.5g", exp(r->loss));
    printf("%-24s %-10s %14llu %14s %12s %.12s\n", label ? label : "", r->read ? r->audit.info.family : "-",
           (unsigned long long)r->audit.n_values, tokens, perplexity, r->audit.hash);
    free(label);
    n_shown++;
    n_warnings += r->findings.n_bytes > 0;
    n_unreadable += !r->read;
  }
  for (size_t i = 0; i < job->n; i++) {
    const revision *r = &job->revision[i];
    char *label = cli_printable(r->label, strlen(r->label));
    char *text = cli_printable(findings_of(r), strlen(findings_of(r)));
    if (!r->extra && r->findings.n_bytes)
      printf("WARN  %s: %s\n", label ? label : "", text ? text : "");
    free(label);
    free(text);
  }
  printf("%zu revisions, %zu with findings, %zu unreadable\n", n_shown, n_warnings, n_unreadable);
}

static xcoder_status find_tokens(audit_job *job, xcoder_error *err) {
  char **labels = calloc(job->n + 1, sizeof *labels), **specs = calloc(job->n + 1, sizeof *specs);
  double *tokens = NULL;
  xcoder_status status = labels && specs ? XCODER_OK : cli_fail_memory(err);
  for (size_t i = 0; !status && i < job->n; i++) {
    labels[i] = job->revision[i].label;
    specs[i] = job->revision[i].spec;
  }
  if (!status)
    status = cli_find_tokens_seen(&job->call->values, labels, specs, NULL, job->n, &tokens, err);
  for (size_t i = 0; !status && i < job->n; i++)
    job->revision[i].tokens_seen = tokens[i];
  free(labels);
  free(specs);
  free(tokens);
  return status;
}

/* ---- Before it starts ---- */

/* What all of it takes; the hours with `timed`. Revisions that are not there need nothing. */
static xcoder_status find_needs(audit_job *job, bool timed, cli_needs *needs, xcoder_error *err) {
  const cli_values *values = &job->call->values;
  const cli_id which = cli_is_set(values, OPT_HELDOUT) ? OPT_HELDOUT : OPT_CORPUS;
  char **folders = calloc(job->n + 1, sizeof *folders);
  cli_setting setting;
  cli_setting_init(&setting, job->call);
  xcoder_status status = folders ? XCODER_OK : cli_fail_memory(err);
  for (size_t i = 0; !status && i < job->n; i++) {
    xcoder_error ignored;
    if (xcoder_checkpoint_find(job->revision[i].spec, &folders[i], &ignored))
      folders[i] = NULL;
  }
  if (!status && timed)
    status = cli_need_device(&setting, err);
  if (!status)
    status = cli_estimate_audit(folders, job->n, cli_text_tokens(&setting, which),
                                (size_t)cli_integer(values, OPT_LENGTH), setting.device, needs, err);
  for (size_t i = 0; folders && i < job->n; i++)
    xcoder_free(folders[i]);
  free(folders);
  cli_setting_close(&setting);
  return status;
}

static xcoder_status look(audit_job *job, const char *out, xcoder_error *err) {
  xcoder_status status = list_revisions(job, err);
  if (!status)
    status = find_tokens(job, err);
  const bool only_estimate = cli_flag(&job->call->values, OPT_ESTIMATE);
  cli_needs needs;
  if (!status)
    status = find_needs(job, only_estimate, &needs, err);
  if (!status && only_estimate) {
    cli_print_needs(&needs, cli_flag(&job->call->values, OPT_JSON));
    return XCODER_OK;
  }
  if (!status)
    status = cli_check_memory(&job->call->values, needs.memory_bytes, "fewer --max-tokens, shorter --length", err);
  for (size_t i = 0; !status && i < job->n; i++) {
    read_revision(job, &job->revision[i]);
    if (cli_stop)
      status = cli_fail(err, XCODER_INTERRUPTED, "stopped");
  }
  if (status)
    return status;
  compare_weights(job);
  check_age(job);
  status = measure_losses(job, err);
  if (!status && out)
    status = write_csv(job, out, err);
  if (!status && cli_flag(&job->call->values, OPT_JSON))
    print_json(job);
  else if (!status)
    print_table(job);
  size_t n_failed = 0, last = 0, n_asked = 0;
  for (size_t i = 0; i < job->n; i++)
    n_asked += !job->revision[i].extra;
  for (size_t i = 0; i < job->n; i++)
    if (job->revision[i].status && !job->revision[i].extra) {
      n_failed++;
      last = i;
    }
  if (!status && n_failed)
    status = cli_fail(err, XCODER_MISSING, "%s: %zu of %zu revisions cannot be read or run, the last is this one",
                      job->revision[last].label, n_failed, n_asked);
  return status;
}

xcoder_status cli_audit(cli_call *call, xcoder_error *err) {
  audit_job job = {.call = call};
  const cli_value *out = &call->values.value[OPT_OUT];
  const char *given = out->origin == FROM_COMMAND_LINE ? out->text : NULL; /* a plan's out is a run directory */
  xcoder_status status = XCODER_OK;
  xcoder_set_threads((int)cli_integer(&call->values, OPT_THREADS));
  if (given && cli_is_folder(given))
    status = cli_fail(err, XCODER_IO, "%s: a folder was found, expected a file (--out)", given);
  static const cli_id files[] = {OPT_HELDOUT, OPT_CORPUS};
  for (size_t i = 0; !status && i < 2; i++)
    status = cli_check_files(&call->values, files[i], err);
  if (!status && given)
    status = cli_check_output(&call->values, given, err);
  if (!status)
    status = look(&job, given, err);
  for (size_t i = 0; i < job.n; i++) {
    free(job.revision[i].label);
    free(job.revision[i].spec);
    free(job.revision[i].folder);
    cli_string_free(&job.revision[i].findings);
  }
  free(job.revision);
  return status;
}
