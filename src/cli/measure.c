/* SPDX-License-Identifier: Apache-2.0 */
/* How fast this machine is at what a job does: a block of the job's own model, a step of its crosscoder, its disk. Each
 * measurement ends after a fraction of a second and starts small, so that slow machines do not wait either. */
#include "estimate.h"
#include "text.h"

#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const double long_enough = 0.05; /* seconds of a measurement that can be trusted */

/* Tokens of one sequence after the other through the embedding and the first block. */
static xcoder_status run_block(xcoder_model *model, size_t n_sequences, size_t length, double *seconds,
                               xcoder_error *err) {
  const xcoder_model_info *info = xcoder_model_describe(model);
  size_t n = n_sequences * length;
  uint32_t *ids = malloc(n * sizeof *ids);
  size_t *start = malloc((n_sequences + 1) * sizeof *start);
  float *hidden = calloc(n * info->d_model, sizeof *hidden);
  xcoder_status status = ids && start && hidden ? XCODER_OK : cli_fail_memory(err);
  for (size_t i = 0; !status && i < n; i++)
    ids[i] = (uint32_t)(i * 7919 % info->n_vocab);
  for (size_t s = 0; !status && s <= n_sequences; s++)
    start[s] = s * length;
  double started = cli_seconds();
  if (!status)
    status = xcoder_model_hidden(model, ids, start, n_sequences, 0, hidden, err);
  *seconds = cli_seconds() - started;
  free(ids);
  free(start);
  free(hidden);
  return status;
}

/* Opens the first model up to its first block; the reading of that tells how long the reading of all will take. */
static xcoder_status measure_model(cli_setting *setting, cli_pace *pace, xcoder_error *err) {
  const xcoder_model_info *info = &setting->infos[0];
  size_t length = (size_t)cli_integer(setting->values, OPT_LENGTH), n = 1;
  xcoder_model *model = NULL;
  xcoder_traffic before;
  double tokens = 0;
  double started = cli_seconds(), seconds = 0;
  if (info->n_context && length > info->n_context)
    length = info->n_context;
  if (length > 1024)
    length = 1024;
  xcoder_status status = xcoder_model_open(setting->folders[0], setting->device, 0, &model, err);
  double bytes = cli_parameter_bytes(info) * (cli_block_parameters(info) + cli_embedding_parameters(info));
  pace->byte_seconds = (cli_seconds() - started) / bytes;
  xcoder_device_traffic(setting->device, &before);
  for (int run = 0; !status && run < 12; run++) {
    status = run_block(model, n, length, &seconds, err);
    tokens += (double)(n * length);
    double token = seconds / (double)(n * length);
    if (!status && (run == 0 || token < pace->block_seconds))
      pace->block_seconds = token;
    if (seconds > 20 * long_enough || (run >= 2 && seconds > 4 * long_enough))
      break;
    if (seconds < long_enough && 2 * n * length <= 4096)
      n *= 2;
  }
  xcoder_traffic traffic;
  if (!status && xcoder_device_traffic(setting->device, &traffic) && tokens > 0) {
    pace->token_up = (double)(traffic.bytes_up - before.bytes_up) / tokens;
    pace->token_down = (double)(traffic.bytes_down - before.bytes_down) / tokens;
  }
  pace->flop_seconds = pace->block_seconds / (2 * cli_block_parameters(info));
  xcoder_model_close(model);
  return status;
}

/* Writes and syncs a file without a name in the nearest folder that is there. */
static double measure_disk(const char *path) {
  enum { BYTES = 1 << 24, TIMES = 4 };
  char *folder = cli_copy(path ? path : "."), *block = calloc(1, BYTES);
  double seconds = 0;
  while (folder && !cli_is_folder(folder)) {
    char *parent = cli_folder_of(folder);
    free(folder);
    folder = parent;
  }
#ifdef O_TMPFILE
  int file = folder && block ? open(folder, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600) : -1;
  double started = cli_seconds();
  bool written = file >= 0;
  for (int i = 0; written && i < TIMES; i++)
    written = write(file, block, BYTES) == BYTES;
  if (written && fsync(file) == 0)
    seconds = (cli_seconds() - started) / ((double)BYTES * TIMES);
  if (file >= 0)
    close(file);
#endif
  free(folder);
  free(block);
  return seconds > 0 ? seconds : 1 / 2e8;
}

xcoder_status cli_measure_pace(cli_job *job, double written_bytes, bool coder, cli_pace *pace, xcoder_error *err) {
  cli_setting *setting = &job->setting;
  xcoder_train_options options;
  *pace = (cli_pace){.byte_seconds = 1e-9, .flop_seconds = 1e-10, .write_seconds = 1 / 1e9};
  xcoder_status status = cli_need_device(setting, err);
  if (!status && setting->n_checkpoints)
    status = measure_model(setting, pace, err);
  if (!status && coder)
    status = cli_train_options(job, &options, err);
  if (setting->coder)
    options.n_latents = xcoder_describe(setting->coder)->n_latents;
  if (!status && coder && setting->n_checkpoints)
    status = xcoder_train_pace(setting->n_checkpoints, setting->infos[0].d_model, &options, setting->device,
                               &pace->coder, err);
  if (!status && written_bytes > 3e8)
    pace->write_seconds = measure_disk(job->out);
  return status;
}
