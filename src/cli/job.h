/* SPDX-License-Identifier: Apache-2.0 */
/* A job: one run directory, its stages, and what says whether a stage is done. */
#ifndef CLI_JOB_H
#define CLI_JOB_H

#include "setting.h"

#include <jansson.h>

typedef enum cli_stage {
  STAGE_TOKENS, STAGE_SCALES, STAGE_ACCURACY, STAGE_TRAIN, STAGE_EVAL, STAGE_ATTRIBUTE, STAGE_BASELINES,
  STAGE_CONVERGENCE, STAGE_KNOWN, STAGE_ABLATE,
  STAGE_FEATURES, STAGE_EVOLVE, STAGE_REPORT, N_STAGES
} cli_stage;

typedef struct cli_estimate {
  double flops[N_STAGES], seconds[N_STAGES];
  double processor_seconds[N_STAGES]; /* user and system, of all threads together */
  double memory_bytes, disk_bytes;
  double flops_per_second; /* measured here */
  bool has_traffic;        /* the device has its own memory; of training: */
  double steps, launches, waits, bytes_up, bytes_down;
  xcoder_device_plan plan; /* of such a device, what it does with it, and what its panels add to a step */
  xcoder_device_room room;
  double panel_seconds;
} cli_estimate;

typedef struct cli_job {
  cli_setting setting;
  char *out;           /* the run directory */
  char *coder_path;    /* what the analyses load: `out`, or a file */
  xcoder_run *lock;
  json_t *hashes;      /* path -> size, mtime, hash: files that were read in full once are not read again */
  bool hashes_changed;
  bool is_new;         /* the directory was not there before */
  bool force;          /* do the stage even if it is done */
  bool only_tables; /* of the attribution in hand: its effects are there, resamples or seed of the tables are others */
  cli_estimate estimate;
  uint32_t done;       /* mask of stages that need no more time */
  double *shares;      /* [n_shares] of --snapshots, checked */
  size_t n_shares;
} cli_job;

void cli_job_init(cli_job *job, cli_call *call);
void cli_job_close(cli_job *job);

/* RUN/NAME; freed with free(). NULL without memory. */
char *cli_job_path(const cli_job *job, const char *name);
/* Makes and locks the run directory and starts its log. */
xcoder_status cli_job_begin(cli_job *job, xcoder_error *err);
/* Unlocks it; a new directory of a command that failed before any stage was done is removed. */
void cli_job_end(cli_job *job, xcoder_status status);
/* Writes run.yaml: the options as used, with absolute paths. */
xcoder_status cli_job_write_plan(cli_job *job, xcoder_error *err);

/* Everything that can be wrong with the options, before any long work. `wanted` is a mask of (1 << cli_stage). */
xcoder_status cli_job_check(cli_job *job, uint32_t wanted, xcoder_error *err);
/* Runs the stages of `wanted` in order; those that are done and unchanged are skipped unless `force`. */
xcoder_status cli_job_run(cli_job *job, uint32_t wanted, xcoder_error *err);

const char *cli_stage_name(cli_stage stage);
xcoder_attribute_options cli_attribute_options(const cli_values *values);
/* The work of the stage, for all tasks or the task `task`. */
xcoder_status cli_stage_work(cli_job *job, cli_stage stage, size_t task, xcoder_error *err);
/* Removes what the stage has written. `task` is a task's name or NULL. */
void cli_stage_clear(cli_job *job, cli_stage stage, const char *task);

/* clear.c */
void cli_remove_tree(const char *path);
void cli_remove_stamps(cli_job *job, cli_stage stage);
void cli_remove_other_tasks(cli_job *job, cli_stage stage); /* results of tasks that the plan does not name */
bool cli_stage_output_exists(const cli_job *job, cli_stage stage, const char *task);

/* training.c */
xcoder_status cli_train_options(const cli_job *job, xcoder_train_options *options, xcoder_error *err);
double cli_validation_window(const cli_values *values);
double cli_scales_window(const cli_values *values, double corpus_tokens);
xcoder_status cli_work_tokens(cli_job *job, xcoder_error *err);
xcoder_status cli_work_scales(cli_job *job, xcoder_error *err);
xcoder_status cli_work_train(cli_job *job, xcoder_error *err);
/* Tokens of OPT_CORPUS or OPT_HELDOUT: those that the stage tokens has kept, or built anew. */
xcoder_status cli_job_tokens(cli_job *job, cli_id which, xcoder_error *err);

/* stages.c: what analyses work on, with the crosscoder of the run. */
xcoder_status cli_analysis_setting(cli_job *job, xcoder_setting *setting, xcoder_error *err);

/* cost.c: snapshots, when a training is stable, what baselines agree on. */
xcoder_status cli_check_snapshots(cli_job *job, xcoder_error *err);
double cli_stop_tolerance(const cli_job *job); /* of run --stop-when-stable, 0: never */
/* Attributes the tasks with a snapshot, and ends the training when two changes in a row were below the tolerance. */
xcoder_status cli_judge_snapshot(void *job, size_t index, const char *folder, bool *stop, xcoder_error *err);
xcoder_status cli_work_baselines(cli_job *job, xcoder_error *err);
xcoder_status cli_work_convergence(cli_job *job, xcoder_error *err);

/* keys.c: what the result of a stage depends on, as JSON; equal keys mean equal results. */
xcoder_status cli_stage_key(cli_job *job, cli_stage stage, size_t task, json_t **key, xcoder_error *err);
/* The name of the first thing in which the keys differ, for people; freed with free(). */
char *cli_key_difference(const json_t *old, const json_t *new);
/* Whether keys of attribution differ in nothing that its effects depend on. */
bool cli_key_same_effects(const json_t *old, const json_t *new);
xcoder_status cli_save_hashes(cli_job *job, xcoder_error *err);

/* manifest.c */
xcoder_status cli_add_manifest(cli_job *job, xcoder_error *err);
/* JSON of a file: NULL without an error when it is absent. */
xcoder_status cli_read_json(const char *path, json_t **value, xcoder_error *err);
xcoder_status cli_write_json(const char *path, const json_t *value, xcoder_error *err);

/* estimate.c */
/* `timed`: also hours, from a measurement of a second or two; else only what needs none. */
xcoder_status cli_estimate_job(cli_job *job, uint32_t wanted, bool timed, xcoder_error *err);
/* Tokens of the corpus: a guess from its size before it is read. */
double cli_corpus_tokens(const cli_setting *setting);
/* A store of n_layers layers, the highest of which is `highest`; under STAGE_TRAIN. */
xcoder_status cli_estimate_harvest(cli_job *job, size_t n_layers, long highest, xcoder_error *err);
void cli_print_estimate(const cli_job *job, uint32_t wanted, bool json);
/* Refuses what does not fit into memory or onto the disk. */
xcoder_status cli_check_estimate(const cli_job *job, xcoder_error *err);
/* The seconds expected for the stages of `wanted` behind `stage`. */
double cli_seconds_after(const cli_job *job, uint32_t wanted, cli_stage stage);

/* cmd_analyses.c: the run that the operand or --out names, with the options that it was made with. */
xcoder_status cli_open_run(cli_job *job, xcoder_error *err);

/* verdicts.c: prints the verdicts of the files of a run ("eval.json", effects, ablation); false if any is WARN. */
typedef struct cli_verdict_counts { size_t n_pass, n_warn; } cli_verdict_counts;
cli_verdict_counts cli_print_verdicts(const char *run, uint32_t stages, bool json);
json_t *cli_collect_verdicts(const char *run, uint32_t stages);

#endif
