/* SPDX-License-Identifier: Apache-2.0 */
/* The sizes that an estimate is made from: parameters, tokens of texts and prompts. */
#include "csv.h"
#include "estimate.h"
#include "text.h"

#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Bytes of text for one token, and how much smaller compressed text is, for corpora that are not read yet. */
static const double bytes_per_token = 4, compressed = 3;
static const double usual_l0 = 64; /* of a run that ends, where none tells its own */

double cli_embedding_parameters(const xcoder_model_info *info) { return (double)info->n_vocab * (double)info->d_model; }

/* Tied heads are not told apart by the totals alone: a block has at least two projections of attention and two of the
 * feed-forward layer. */
double cli_block_parameters(const xcoder_model_info *info) {
  double d = (double)info->d_model, layers = (double)info->n_layers, embedding = cli_embedding_parameters(info);
  double least = 2 * d * (double)(info->n_heads * info->d_head) + 2 * d * (double)info->d_mlp;
  double untied = ((double)info->n_parameters - 2 * embedding) / layers;
  return fmax(1, untied >= 0.999 * least ? untied : ((double)info->n_parameters - embedding) / layers);
}

double cli_parameter_bytes(const xcoder_model_info *info) {
  return strcmp(info->dtype, "F16") == 0 || strcmp(info->dtype, "BF16") == 0 ? 2
         : strcmp(info->dtype, "F64") == 0                                  ? 8 : 4;
}

static bool is_compressed(const char *path) {
  unsigned char magic[4] = {0};
  int file = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  bool found = file >= 0 && read(file, magic, 4) == 4 &&
               ((magic[0] == 0x1f && magic[1] == 0x8b) || memcmp(magic, "\x28\xb5\x2f\xfd", 4) == 0);
  if (file >= 0)
    close(file);
  return found;
}

double cli_text_tokens(const cli_setting *setting, cli_id which) {
  const xcoder_tokens *tokens = which == OPT_CORPUS ? setting->corpus : setting->heldout;
  if (tokens)
    return (double)xcoder_tokens_start(tokens)[xcoder_tokens_sequences(tokens)];
  double n_bytes = 0, most = (double)cli_integer(setting->values, OPT_MAX_TOKENS);
  const cli_value *value = &setting->values->value[which];
  for (size_t i = 0; i < value->n_items; i++) {
    struct stat st;
    if (stat(value->items[i], &st) == 0)
      n_bytes += (double)st.st_size * (is_compressed(value->items[i]) ? compressed : 1);
  }
  double n = n_bytes / bytes_per_token;
  return most > 0 && most < n ? most : n;
}

double cli_corpus_tokens(const cli_setting *setting) { return cli_text_tokens(setting, OPT_CORPUS); }

static void measure_windows(const cli_values *values, cli_sizes *s) {
  double window = (double)cli_integer(values, OPT_WINDOW), samples = (double)cli_integer(values, OPT_TOKENS);
  window = window > 0 ? window : 128.0 * 4096;
  s->window = fmin(window, s->corpus_tokens);
  s->held_window = fmin(cli_validation_window(values), s->heldout_tokens);
  s->filled = window >= s->corpus_tokens ? s->corpus_tokens : ceil(samples / window) * window;
}

/* Features that fire for a sample: what the run last wrote into metrics.csv, else as in a run that ends. */
static double read_l0(const char *run, double latents) {
  double l0 = NAN;
  char *path = run ? cli_join(run, "metrics.csv") : NULL;
  cli_csv csv;
  xcoder_error ignored;
  if (path && cli_exists(path) && !cli_csv_read(path, &csv, &ignored)) {
    for (size_t row = csv.n_rows; row-- > 0 && !(l0 > 0);)
      l0 = strtod(cli_csv_cell(&csv, row, "l0"), NULL);
    cli_csv_free(&csv);
  }
  free(path);
  return l0 > 0 ? fmin(l0, latents) : fmin(usual_l0, latents / 2);
}

static void count_prompts(const cli_setting *setting, cli_sizes *s) {
  for (size_t t = 0; t < setting->n_tasks; t++) {
    const size_t n = xcoder_pairs_count(setting->tasks[t]);
    s->n_pairs += (double)n;
    for (size_t p = 0; p < n; p++) {
      const xcoder_pair *pair = xcoder_pairs_get(setting->tasks[t], p);
      const double whole = pair->good ? (double)(pair->n_good + pair->n_bad) : 0;
      s->prompt_tokens += pair->good ? whole : (double)pair->n_prefix;
      s->scored_tokens += whole;
    }
  }
}

cli_sizes cli_measure_sizes(const cli_job *job) {
  const cli_setting *setting = &job->setting;
  cli_sizes s = {.n = (double)setting->n_checkpoints, .latents = (double)cli_integer(setting->values, OPT_LATENTS)};
  if (setting->n_checkpoints) {
    const xcoder_model_info *info = &setting->infos[setting->n_checkpoints - 1];
    double layers = (double)info->n_layers, block = cli_block_parameters(info);
    double layer = setting->coder ? (double)xcoder_describe(setting->coder)->layer
                   : cli_is_set(setting->values, OPT_LAYER) ? (double)cli_integer(setting->values, OPT_LAYER)
                                                            : floor(layers / 2);
    s.width = (double)info->d_model;
    s.below = block * (layer + 1);
    s.above = block * (layers - layer - 1);
    s.head = cli_embedding_parameters(info);
  }
  if (setting->coder)
    s.latents = (double)xcoder_describe(setting->coder)->n_latents;
  s.l0 = read_l0(job->coder_path, s.latents);
  count_prompts(setting, &s);
  s.corpus_tokens = cli_text_tokens(setting, OPT_CORPUS);
  s.heldout_tokens = cli_text_tokens(setting, OPT_HELDOUT);
  if (setting->n_checkpoints) {
    double known = (double)setting->infos[0].n_vocab;
    if (setting->tokenizer)
      known = fmin(known, (double)xcoder_tokenizer_size(setting->tokenizer));
    s.embedded_rows = fmin(known, s.corpus_tokens + s.heldout_tokens);
  }
  measure_windows(setting->values, &s);
  return s;
}
