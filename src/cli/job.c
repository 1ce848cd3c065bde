/* SPDX-License-Identifier: Apache-2.0 */
/* A job: opens and locks the run directory, checks the options, runs the stages that are not done. */
#include "job.h"
#include "plan.h"
#include "signals.h"
#include "text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void cli_job_init(cli_job *job, cli_call *call) {
  *job = (cli_job){.hashes = json_object()};
  cli_setting_init(&job->setting, call);
  job->force = cli_flag(&call->values, OPT_FORCE);
}

void cli_job_close(cli_job *job) {
  cli_setting_close(&job->setting);
  cli_job_end(job, XCODER_OK);
  json_decref(job->hashes);
  free(job->shares);
  free(job->out);
  free(job->coder_path);
  *job = (cli_job){0};
}

char *cli_job_path(const cli_job *job, const char *name) { return cli_join(job->out, name); }

/* Puts the resolved inputs into the options, so that run.yaml means the same from any folder. */
static xcoder_status fix_paths(cli_job *job, xcoder_error *err) {
  cli_values *values = &job->setting.call->values;
  const cli_setting *setting = &job->setting;
  xcoder_status status = XCODER_OK;
  cli_value *list = &values->value[OPT_CHECKPOINTS];
  for (size_t i = 0; i < list->n_items && setting->n_checkpoints; i++)
    free(list->items[i]);
  if (setting->n_checkpoints) {
    free(list->items);
    list->n_items = 0;
    list->items = calloc(setting->n_checkpoints, sizeof *list->items);
    free(values->value[OPT_MODEL].text);
    values->value[OPT_MODEL].text = NULL;
    cli_value *revisions = &values->value[OPT_REVISIONS];
    for (size_t i = 0; i < revisions->n_items; i++)
      free(revisions->items[i]);
    revisions->n_items = 0;
  }
  for (size_t i = 0; i < setting->n_checkpoints && list->items; i++) {
    char *folder = cli_absolute(setting->folders[i]);
    list->items[i] = folder ? cli_format("%s=%s", setting->labels[i], folder) : NULL;
    list->n_items += list->items[i] != NULL;
    free(folder);
  }
  if (list->n_items != setting->n_checkpoints)
    status = cli_fail_memory(err);
  if (setting->tokenizer_path) {
    free(values->value[OPT_TOKENIZER].text);
    values->value[OPT_TOKENIZER].text = cli_absolute(setting->tokenizer_path);
  }
  for (int id = 0; !status && id < N_OPTIONS; id++) {
    cli_value *value = &values->value[id];
    cli_type type = cli_options[id].type;
    if (type == CLI_PATH && value->text && id != OPT_OUT && id != OPT_CONFIG) {
      char *path = cli_absolute(value->text);
      free(value->text);
      if (!(value->text = path))
        status = cli_fail_memory(err);
    }
    for (size_t i = 0; !status && (type == CLI_PATHS || type == CLI_TASKS) && i < value->n_items; i++) {
      const char *item = value->items[i], *colon = type == CLI_TASKS ? strchr(item, ':') : NULL;
      char *path = strcmp(item, "-") == 0 ? cli_copy(item) : cli_absolute(colon ? colon + 1 : item);
      char *whole = path ? cli_format("%.*s%s", colon ? (int)(colon - item) + 1 : 0, item, path) : NULL;
      free(path);
      if (!whole) {
        status = cli_fail_memory(err);
      } else {
        free(value->items[i]);
        value->items[i] = whole;
      }
    }
  }
  return status;
}

xcoder_status cli_job_write_plan(cli_job *job, xcoder_error *err) {
  xcoder_status status = fix_paths(job, err);
  cli_values *values = &job->setting.call->values;
  cli_string text = {0};
  cli_add(&text, "# The plan as run, every default spelled out. Run it again with: crosscoder run run.yaml\n");
  char *out = values->value[OPT_OUT].text, here[] = ".";
  values->value[OPT_OUT].text = here;
  if (!status)
    status = cli_plan_write(values, false, &text, err);
  values->value[OPT_OUT].text = out;
  char *path = cli_job_path(job, "run.yaml"), *old = NULL;
  size_t n_bytes = 0;
  xcoder_error ignored;
  if (!status && !path)
    status = cli_fail_memory(err);
  bool same = !status && cli_exists(path) && !xcoder_read_file(path, 0, &old, &n_bytes, &ignored) &&
              n_bytes == text.n_bytes && memcmp(old, text.text, n_bytes) == 0;
  if (!status && !same)
    status = xcoder_write_file(path, text.text, text.n_bytes, err);
  xcoder_free(old);
  free(path);
  cli_string_free(&text);
  return status;
}

/* A run must not be written into one of its inputs. */
static xcoder_status check_place(const cli_job *job, xcoder_error *err) {
  char *out = cli_absolute(job->out);
  xcoder_status status = out ? cli_check_output(job->setting.values, job->out, err) : cli_fail_memory(err);
  const char *store = cli_text(job->setting.values, OPT_STORE);
  for (size_t i = 0; !status && i < job->setting.n_checkpoints + (store != NULL); i++) {
    const char *input = i < job->setting.n_checkpoints ? job->setting.folders[i] : store;
    char *folder = cli_absolute(input);
    size_t n = folder ? strlen(folder) : 0;
    if (folder && strncmp(out, folder, n) == 0 && (out[n] == '\0' || out[n] == '/'))
      status = cli_fail(err, XCODER_USAGE, "%s: it lies in the input %s, expected another place (--out)", job->out,
                        input);
    free(folder);
  }
  free(out);
  return status;
}

xcoder_status cli_job_begin(cli_job *job, xcoder_error *err) {
  cli_progress *progress = job->setting.call->progress;
  char *hashes = cli_job_path(job, "stages/inputs.json");
  json_t *known = NULL;
  xcoder_error ignored;
  job->is_new = !cli_exists(job->out);
  xcoder_status status = check_place(job, err);
  if (!status)
    status = xcoder_run_open(job->out, &job->lock, err);
  char *stages = cli_job_path(job, "stages");
  if (!status && (!stages || (mkdir(stages, 0777) != 0 && errno != EEXIST)))
    status = cli_fail(err, XCODER_IO, "%s/stages: %s", job->out, strerror(errno));
  free(stages);
  if (!status && hashes && !cli_read_json(hashes, &known, &ignored) && json_is_object(known))
    json_object_update(job->hashes, known);
  json_decref(known);
  free(hashes);
  if (!status && !(progress->log_path = cli_job_path(job, "log.jsonl")))
    status = cli_fail_memory(err);
  if (!status)
    cli_log_event(progress, "start", job->setting.call->command->name);
  return status;
}

void cli_job_end(cli_job *job, xcoder_status status) {
  cli_progress *progress = job->setting.call->progress;
  bool nothing_done = status && status != XCODER_INTERRUPTED && job->is_new && !job->done;
  xcoder_run_close(job->lock);
  if (nothing_done && job->lock && job->out) { /* a command that fails at once leaves nothing behind */
    free(progress->log_path);
    progress->log_path = NULL;
    cli_remove_tree(job->out);
  }
  job->lock = NULL;
}

static const char *const stage_names[N_STAGES] = {"tokens",    "scales",    "accuracy",    "train", "eval",
                                                  "attribute", "baselines", "convergence", "known", "ablate",
                                                  "features",  "evolve",    "report"};

const char *cli_stage_name(cli_stage stage) { return stage_names[stage]; }

static char *stamp_path(const cli_job *job, cli_stage stage, const char *task) {
  return cli_format("%s/stages/%s%s%s.json", job->out, stage_names[stage], task ? "-" : "", task ? task : "");
}

/* Does one stage, or leaves it when its stamp has the key that it would have now. */
static xcoder_status run_stage(cli_job *job, cli_stage stage, size_t task, bool *worked, xcoder_error *err) {
  const char *name = task == SIZE_MAX ? NULL : xcoder_pairs_name(job->setting.tasks[task]);
  cli_progress *progress = job->setting.call->progress;
  xcoder_traffic before = {0};
  char *path = stamp_path(job, stage, name), *difference = NULL;
  json_t *key = NULL, *stamp = NULL;
  xcoder_error ignored;
  xcoder_status status = path ? cli_stage_key(job, stage, task, &key, err) : cli_fail_memory(err);
  if (!status && cli_read_json(path, &stamp, &ignored))
    stamp = NULL; /* an unreadable stamp is none */
  bool same = stamp && json_equal(stamp, key) && cli_stage_output_exists(job, stage, name);
  if (!status && (!same || job->force)) {
    bool tables = cli_flag(&job->setting.call->values, OPT_RETABULATE);
    difference = stamp ? cli_key_difference(stamp, key) : NULL;
    job->only_tables = stage == STAGE_ATTRIBUTE && stamp && cli_key_same_effects(stamp, key) && (tables || !same);
    if (stage == STAGE_ATTRIBUTE && tables && !job->only_tables)
      status = cli_fail(err, XCODER_USAGE, "--retabulate: %s: %s", name,
                        difference ? difference : "no finished attribution is there");
  }
  if (!status && (!same || job->force)) {
    cli_note(progress, "%s%s%s: %s%s", stage_names[stage], name ? " " : "", name ? name : "",
             difference ? "again, since " : same ? "again" : "starts", difference ? difference : "");
    unlink(path);
    *worked = true;
    double started = cli_seconds();
    if (job->setting.device)
      xcoder_device_traffic(job->setting.device, &before);
    status = cli_stage_work(job, stage, task, err);
    cli_note_traffic(progress, stage_names[stage], job->setting.device, &before);
    if (!status)
      status = cli_write_json(path, key, err);
    char seconds[32];
    if (!status)
      cli_note(progress, "%s%s%s: done in %s", stage_names[stage], name ? " " : "", name ? name : "",
               cli_duration(cli_seconds() - started, seconds));
  }
  if (!status && cli_stop)
    status = cli_fail(err, XCODER_INTERRUPTED, "stopped");
  free(difference);
  json_decref(stamp);
  json_decref(key);
  free(path);
  return status;
}

xcoder_status cli_job_run(cli_job *job, uint32_t wanted, xcoder_error *err) {
  cli_progress *progress = job->setting.call->progress;
  xcoder_status status = XCODER_OK;
  bool worked = false;
  for (int stage = 0; !status && stage < N_STAGES; stage++) {
    if (!(wanted & 1u << stage))
      continue;
    bool per_task = stage == STAGE_ATTRIBUTE || stage == STAGE_ABLATE;
    size_t n = per_task ? job->setting.n_tasks : 1;
    progress->seconds_after = wanted & (wanted - 1) ? cli_seconds_after(job, wanted, (cli_stage)stage) : -1;
    for (size_t i = 0; !status && i < n; i++)
      status = run_stage(job, (cli_stage)stage, per_task ? i : SIZE_MAX, &worked, err);
    if (!status)
      job->done |= 1u << stage;
    if (!status || status == XCODER_INTERRUPTED) {
      xcoder_error late;
      xcoder_status saved = cli_save_hashes(job, status ? &late : err);
      status = status ? status : saved;
    }
  }
  progress->seconds_after = -1;
  if (!status && !worked)
    cli_note(progress, "everything is done and unchanged");
  return status;
}
