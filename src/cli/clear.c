/* SPDX-License-Identifier: Apache-2.0 */
/* What every stage leaves in the run directory, and how it is removed before the stage is done again. */
#include "job.h"
#include "text.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What follows the name of a task in effects/ and ablation/. */
enum { N_RESULTS = 4, N_ENDS };
static const char *const ends[N_ENDS] = {".csv", ".json", ".safetensors", ".curves.csv", ".partial.safetensors"};

/* Removes a file or folder with what is in it, without following links. */
static void remove_tree(const char *path, int depth) {
  struct stat st;
  if (lstat(path, &st) != 0)
    return;
  DIR *folder = S_ISDIR(st.st_mode) && depth < 8 ? opendir(path) : NULL;
  for (struct dirent *entry; folder && (entry = readdir(folder));) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
      continue;
    char *inner = cli_join(path, entry->d_name);
    if (inner)
      remove_tree(inner, depth + 1);
    free(inner);
  }
  if (folder)
    closedir(folder);
  if (S_ISDIR(st.st_mode))
    rmdir(path);
  else
    unlink(path);
}

void cli_remove_tree(const char *path) { remove_tree(path, 0); }

static void remove_names(const cli_job *job, const char *const *names) {
  for (; *names; names++) {
    char *path = cli_job_path(job, *names);
    if (path)
      remove_tree(path, 0);
    free(path);
  }
}

void cli_stage_clear(cli_job *job, cli_stage stage, const char *task) {
  static const char *const files[N_STAGES][8] = {
    [STAGE_TOKENS] = {"stages/corpus.npy", "stages/heldout.npy", "stages/corpus.npy.languages.json",
                      "stages/heldout.npy.languages.json", NULL},
    [STAGE_SCALES] = {"stages/scales-found.json", NULL},
    [STAGE_ACCURACY] = {"accuracy.csv", NULL},
    [STAGE_TRAIN] = {"checkpoints", "metrics.csv", "timing.csv", "crosscoder.safetensors", "snapshots", NULL},
    [STAGE_EVAL] = {"eval.json", "eval.csv", "latent-scaling.csv", NULL},
    [STAGE_ATTRIBUTE] = {"effects", NULL},
    [STAGE_BASELINES] = {"baselines", NULL},
    [STAGE_CONVERGENCE] = {"convergence.csv", "convergence.json", NULL},
    [STAGE_KNOWN] = {"known.json", "known.csv", NULL},
    [STAGE_ABLATE] = {"ablation", NULL},
    [STAGE_FEATURES] = {"features", NULL},
    [STAGE_EVOLVE] = {"evolution.csv", "evolution.json", "evolution-languages.csv", NULL},
    [STAGE_REPORT] = {NULL}};
  if (!task) {
    remove_names(job, files[stage]);
    return;
  }
  for (size_t i = 0; i < N_RESULTS; i++) { /* what an interrupted stage goes on from stays */
    char *path = cli_format("%s/%s/%s%s", job->out, files[stage][0], task, ends[i]);
    if (path)
      unlink(path);
    free(path);
  }
}

static bool is_file_of(const char *file, const char *task) {
  size_t n = strlen(task);
  for (size_t i = 0; i < N_ENDS; i++)
    if (strncmp(file, task, n) == 0 && strcmp(file + n, ends[i]) == 0)
      return true;
  return false;
}

/* Effects of tasks that the plan does not name any more would count among the top features. */
void cli_remove_other_tasks(cli_job *job, cli_stage stage) {
  char *path = cli_job_path(job, stage == STAGE_ATTRIBUTE ? "effects" : "ablation");
  DIR *folder = path ? opendir(path) : NULL;
  for (struct dirent *entry; folder && (entry = readdir(folder));) {
    bool known = entry->d_name[0] == '.' || !strchr(entry->d_name, '.');
    for (size_t i = 0; !known && i < job->setting.n_tasks; i++)
      known = is_file_of(entry->d_name, xcoder_pairs_name(job->setting.tasks[i]));
    char *file = known ? NULL : cli_join(path, entry->d_name);
    if (file)
      unlink(file);
    free(file);
  }
  if (folder)
    closedir(folder);
  free(path);
}

/* Without its stamp a stage is not done. */
void cli_remove_stamps(cli_job *job, cli_stage stage) {
  char *path = cli_job_path(job, "stages");
  const char *name = cli_stage_name(stage);
  size_t n = strlen(name);
  DIR *folder = path ? opendir(path) : NULL;
  for (struct dirent *entry; folder && (entry = readdir(folder));) {
    if (strncmp(entry->d_name, name, n) != 0 || (strcmp(entry->d_name + n, ".json") != 0 && entry->d_name[n] != '-'))
      continue;
    char *file = cli_join(path, entry->d_name);
    if (file)
      unlink(file);
    free(file);
  }
  if (folder)
    closedir(folder);
  free(path);
}

bool cli_stage_output_exists(const cli_job *job, cli_stage stage, const char *task) {
  static const char *const outputs[N_STAGES] = {
    [STAGE_SCALES] = "stages/scales-found.json", [STAGE_ACCURACY] = "accuracy.csv",
    [STAGE_TRAIN] = "crosscoder.safetensors", [STAGE_EVAL] = "eval.json", [STAGE_ATTRIBUTE] = "effects",
    [STAGE_BASELINES] = "baselines", [STAGE_CONVERGENCE] = "convergence.json",
    [STAGE_KNOWN] = "known.json", [STAGE_ABLATE] = "ablation", [STAGE_FEATURES] = "features/features.json",
    [STAGE_EVOLVE] = "evolution.json",
    [STAGE_REPORT] = "report/index.html"};
  if (!outputs[stage])
    return true;
  char *path = cli_format("%s/%s%s%s%s", job->out, outputs[stage], task ? "/" : "", task ? task : "",
                          task ? ".csv" : "");
  bool there = path && cli_exists(path);
  free(path);
  return there;
}
