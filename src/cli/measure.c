/* SPDX-License-Identifier: Apache-2.0 */
/* How fast this machine is at what a job does: a block of the job's own model, a step of its crosscoder, its disk. Each
 * measurement ends after a fraction of a second and starts small, so that slow machines do not wait either. */
#include "estimate.h"
#include "text.h"

#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const double long_enough = 0.05; /* seconds of a measurement that can be trusted */

typedef struct moment { double seconds[CLI_CLOCKS]; } moment;

static moment now(void) {
  struct timespec t;
  moment m = {{cli_seconds(), 0}};
  if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t) == 0)
    m.seconds[CLI_PROCESSORS] = ((double)t.tv_sec + (double)t.tv_nsec * 1e-9) / xcoder_threads();
  return m;
}

static double passed(const moment *from, const moment *to, cli_clock clock) {
  return to->seconds[clock] - from->seconds[clock];
}

/* Tokens of one sequence after the other through the embedding and the first block. */
static xcoder_status run_block(xcoder_model *model, size_t n_sequences, size_t length, moment *from, moment *to,
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
  *from = now();
  if (!status)
    status = xcoder_model_hidden(model, ids, start, n_sequences, 0, hidden, err);
  *to = now();
  free(ids);
  free(start);
  free(hidden);
  return status;
}

/* Opens the model up to its first block; the reading of that tells how long the reading of all will take. */
xcoder_status cli_measure_model(const char *folder, const xcoder_model_info *info, size_t length, size_t most_rows,
                                xcoder_device *device, cli_pace pace[CLI_CLOCKS], xcoder_error *err) {
  size_t n = 1;
  xcoder_model *model = NULL;
  xcoder_traffic before, after;
  double tokens = 0;
  moment from = now(), to;
  if (info->n_context && length > info->n_context)
    length = info->n_context;
  if (length > 1024)
    length = 1024;
  xcoder_status status = xcoder_model_open(folder, device, 0, &model, err);
  double bytes = cli_parameter_bytes(info) * (cli_block_parameters(info) + cli_embedding_parameters(info));
  to = now();
  for (int clock = 0; clock < CLI_CLOCKS; clock++)
    pace[clock].byte_seconds = passed(&from, &to, (cli_clock)clock) / bytes;
  /* The first commands of a device of its own also finish its kernels, which may take seconds. */
  if (!status && xcoder_device_traffic(device, &before))
    status = run_block(model, n, length, &from, &to, err);
  xcoder_device_traffic(device, &before);
  for (int run = 0; !status && run < 12; run++) {
    status = run_block(model, n, length, &from, &to, err);
    tokens += (double)(n * length);
    double seconds = passed(&from, &to, CLI_WALL);
    for (int clock = 0; !status && clock < CLI_CLOCKS; clock++) {
      double token = passed(&from, &to, (cli_clock)clock) / (double)(n * length);
      if (run == 0 || token < pace[clock].block_seconds)
        pace[clock].block_seconds = token;
    }
    if (seconds > 20 * long_enough || (run >= 2 && seconds > 4 * long_enough))
      break;
    if (seconds < long_enough && 2 * n * length <= most_rows)
      n *= 2;
  }
  if (!status && xcoder_device_traffic(device, &after) && tokens > 0) {
    pace[CLI_WALL].token_up = (double)(after.bytes_up - before.bytes_up) / tokens;
    pace[CLI_WALL].token_down = (double)(after.bytes_down - before.bytes_down) / tokens;
  }
  for (int clock = 0; clock < CLI_CLOCKS; clock++)
    pace[clock].flop_seconds = pace[clock].block_seconds / (2 * cli_block_parameters(info));
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

/* The pace of the crosscoder's own operations. */
static xcoder_status measure_coder(cli_job *job, cli_pace pace[CLI_CLOCKS], xcoder_error *err) {
  cli_setting *setting = &job->setting;
  xcoder_train_options options;
  xcoder_status status = cli_train_options(job, &options, err);
  if (status || !setting->n_checkpoints)
    return status;
  if (setting->coder)
    options.n_latents = xcoder_describe(setting->coder)->n_latents;
  moment from = now(), to;
  status = xcoder_train_pace(setting->n_checkpoints, setting->infos[0].d_model, &options, setting->device,
                             &pace[CLI_WALL].coder, err);
  to = now();
  /* The measurement is its own repeated operations: the processors' share of the whole is that of each. */
  const double wall = passed(&from, &to, CLI_WALL);
  const double share = wall > 0 ? passed(&from, &to, CLI_PROCESSORS) / wall : 1;
  const xcoder_pace *p = &pace[CLI_WALL].coder;
  pace[CLI_PROCESSORS].coder = (xcoder_pace){.encode_seconds = p->encode_seconds * share,
                                             .first_step_seconds = p->first_step_seconds * share,
                                             .last_step_seconds = p->last_step_seconds * share,
                                             .train_seconds = p->train_seconds * share};
  return status;
}

xcoder_status cli_measure_pace(cli_job *job, double written_bytes, bool coder, cli_pace pace[CLI_CLOCKS],
                               xcoder_error *err) {
  cli_setting *setting = &job->setting;
  for (int clock = 0; clock < CLI_CLOCKS; clock++)
    pace[clock] = (cli_pace){.byte_seconds = 1e-9, .flop_seconds = 1e-10, .write_seconds = 1 / 1e9};
  xcoder_status status = cli_need_device(setting, err);
  if (!status && setting->n_checkpoints)
    status = cli_measure_model(setting->folders[0], &setting->infos[0],
                               (size_t)cli_integer(setting->values, OPT_LENGTH),
                               (size_t)cli_pass_rows(setting->values, CLI_PASS_ROWS), setting->device, pace, err);
  if (!status && coder)
    status = measure_coder(job, pace, err);
  if (!status && written_bytes > 3e8)
    pace[CLI_WALL].write_seconds = measure_disk(job->out);
  return status;
}

xcoder_status cli_measure_text(cli_setting *setting, cli_id which, double *n_tokens, bool *all,
                               double seconds[CLI_CLOCKS], xcoder_error *err) {
  enum { SAMPLE = 300000 };
  xcoder_tokens_options options = cli_tokens_options(setting->values);
  const uint64_t most = options.max_tokens;
  xcoder_corpus *corpus = NULL;
  xcoder_tokens *tokens = NULL;
  options.max_tokens = options.length > SAMPLE ? options.length : SAMPLE;
  if (most && most < options.max_tokens)
    options.max_tokens = most;
  xcoder_status status = cli_open_corpus(setting->values, which, &corpus, err);
  const moment from = now();
  if (!status)
    status = xcoder_tokens_build(corpus, setting->tokenizer, &options, &setting->call->monitor, &tokens, err);
  const moment to = now();
  if (!status) {
    *n_tokens = (double)xcoder_tokens_start(tokens)[xcoder_tokens_sequences(tokens)];
    *all = *n_tokens + (double)options.length <= (double)options.max_tokens || options.max_tokens == most;
    for (int clock = 0; clock < CLI_CLOCKS; clock++)
      seconds[clock] = passed(&from, &to, (cli_clock)clock);
  }
  xcoder_tokens_free(tokens);
  xcoder_corpus_close(corpus);
  return status;
}
