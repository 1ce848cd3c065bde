/* SPDX-License-Identifier: Apache-2.0 */
/* Training options: defaults, checks, the two schedules, and the text that identifies a run. */
#include "base/memory.h"
#include "base/size.h"
#include "crosscoder/trainer.h"
#include <math.h>
#include <string.h>

void xcoder_train_defaults(xcoder_train_options *options) {
  *options = (xcoder_train_options){
    .n_latents = 16384,
    .batch_size = 4096,
    .n_tokens = 400000000,
    .learning_rate = 5e-5,
    .beta1 = 0.9,
    .beta2 = 0.999,
    .epsilon = 1e-8,
    .l1_coefficient = 2,
    .warmup_share = 0.05,
    .decay_share = 0.2,
    .clip_norm = 1,
    .k = 200,
    .k_start = 1000,
    .anneal_steps = 5000,
    .threshold_start = 1000,
    .threshold_decay = 0.999,
    .auxiliary_coefficient = 1.0 / 32,
    .dead_tokens = 10000000,
    .l0_coefficient = 0.001,
    .bandwidth = 0.01,
    .initial_threshold = 0.01,
    .validation_batches = 8,
    .keep_checkpoints = 2,
  };
}

static xcoder_status check_number(const char *name, double value, double low, double high, xcoder_error *err) {
  if (value >= low && value <= high) return XCODER_OK;
  return xci_fail(err, XCODER_USAGE, "train: %s is %g, expected %g to %g", name, value, low, high);
}

static xcoder_status check_hash(const char *hash, xcoder_error *err) {
  if (hash == NULL || (strlen(hash) == 32 && strspn(hash, "0123456789abcdef") == 32)) return XCODER_OK;
  return xci_fail(err, XCODER_USAGE, "train: the configuration's hash is not 32 hexadecimal digits");
}

static xcoder_status check_options(const xcoder_train_options *o, size_t n_checkpoints, size_t d_model,
                                   xcoder_error *err) {
  size_t n_values[XCI_N_TENSORS], row, bytes;
  xcoder_status status = xci_coder_sizes(n_checkpoints, d_model, o->n_latents, n_values, err);
  if (status) return status;
  if (o->batch_size < 1) return xci_fail(err, XCODER_USAGE, "train: the batch size is 0");
  if (!xci_mul_size(n_checkpoints, d_model, &row) || !xci_mul_size(row, o->batch_size, &bytes) ||
      !xci_mul_size(bytes, 16, &bytes))
    return xci_fail(err, XCODER_MEMORY, "train: a batch of %zu samples does not fit into memory", o->batch_size);
  if (o->n_tokens < o->batch_size)
    return xci_fail(err, XCODER_USAGE, "train: a budget of %llu tokens is less than one batch of %zu",
                    (unsigned long long)o->n_tokens, o->batch_size);
  if (o->n_tokens > (uint64_t)1 << 60)
    return xci_fail(err, XCODER_USAGE, "train: a budget of %llu tokens is too large", (unsigned long long)o->n_tokens);
  status = check_number("the learning rate", o->learning_rate, 0, 1e30, err);
  if (!status) status = check_number("beta1", o->beta1, 0, 1 - 1e-9, err);
  if (!status) status = check_number("beta2", o->beta2, 0, 1 - 1e-9, err);
  if (!status) status = check_number("epsilon", o->epsilon, 0, 1, err);
  if (!status) status = check_number("lambda", o->l1_coefficient, 0, 1e9, err);
  if (!status) status = check_number("the warm-up share", o->warmup_share, 0, 1, err);
  if (!status) status = check_number("the decay share", o->decay_share, 0, 1, err);
  if (!status) status = check_number("the clipping norm", o->clip_norm, 0, 1e30, err);
  if (!status) status = check_number("the initial decoder norm", o->decoder_init_norm, 0, 1e6, err);
  if (!status) status = xci_check_labels(o->labels, n_checkpoints, err);
  if (!status) status = xci_check_layer(o->layer, err);
  if (!status) status = check_hash(o->config_hash, err);
  return status;
}

static uint64_t share_of_run(uint64_t asked, uint64_t n_steps, uint64_t times) {
  if (asked > 0) return asked;
  return n_steps > times ? n_steps / times : 1;
}

xcoder_status xci_train_resolve(const xcoder_train_options *options, size_t n_checkpoints, size_t d_model,
                                xcoder_train_options *resolved, xcoder_error *err) {
  xcoder_status status = check_options(options, n_checkpoints, d_model, err);
  if (status) return status;
  *resolved = *options;
  uint64_t n_steps = xci_train_steps(options);
  resolved->log_every = share_of_run(options->log_every, n_steps, 200);
  resolved->validate_every = share_of_run(options->validate_every, n_steps, 20);
  resolved->save_every = share_of_run(options->save_every, n_steps, 20);
  if (resolved->keep_checkpoints == 0) resolved->keep_checkpoints = 1;
  status = xci_snapshot_check(options, err);
  return status ? status : xci_train_resolve_gate(resolved, n_checkpoints, d_model, err);
}

uint64_t xci_train_steps(const xcoder_train_options *options) { return options->n_tokens / options->batch_size; }

double xci_train_lambda(const xcoder_train_options *options, uint64_t step) {
  double warmup = options->warmup_share * (double)xci_train_steps(options);
  double weight = xci_train_is_jump(options) ? options->l0_coefficient : options->l1_coefficient;
  return (double)step >= warmup ? weight : weight * ((double)step / warmup);
}

double xci_train_rate(const xcoder_train_options *options, uint64_t step) {
  double n_steps = (double)xci_train_steps(options), decay = options->decay_share * n_steps;
  double left = n_steps - (double)step;
  return left >= decay ? options->learning_rate : options->learning_rate * (left / decay);
}

/* ---- Configuration ---- */

static void add_entry(xci_config *config, const char *key, xci_text *text) {
  config->key[config->n_entries] = key;
  config->value[config->n_entries++] = text->bytes;
  *text = (xci_text){0};
}

static void add_number(xci_config *config, const char *key, double value, bool *failed) {
  xci_text text = {0};
  xci_text_number(&text, value);
  *failed = *failed || text.failed;
  add_entry(config, key, &text);
}

static void add_count(xci_config *config, const char *key, uint64_t value, bool *failed) {
  xci_text text = {0};
  xci_text_format(&text, "%llu", (unsigned long long)value);
  *failed = *failed || text.failed;
  add_entry(config, key, &text);
}

static void add_checkpoints(xci_config *config, const xcoder_info *info, bool *failed) {
  xci_text labels = {0}, scales = {0};
  for (size_t c = 0; c < info->n_checkpoints; c++) {
    xci_text_add(&labels, c > 0 ? "," : "");
    xci_text_add(&labels, info->labels[c]);
    xci_text_add(&scales, c > 0 ? "," : "");
    xci_text_number(&scales, (double)info->scales[c]);
  }
  *failed = *failed || labels.failed || scales.failed;
  add_entry(config, "labels", &labels);
  add_entry(config, "scales", &scales);
}

static xcoder_status hash_config(xci_config *config, xcoder_error *err) {
  xci_hash *hash = NULL;
  xcoder_status status = xci_hash_open(&hash, err);
  if (status) return status;
  for (size_t e = 0; e < config->n_entries; e++) { /* the terminators keep keys and values apart */
    xci_hash_add(hash, config->key[e], strlen(config->key[e]) + 1);
    xci_hash_add(hash, config->value[e], strlen(config->value[e]) + 1);
  }
  xci_hash_close(hash, config->hash);
  return XCODER_OK;
}

xcoder_status xci_config_make(const xci_trainer *trainer, xci_config *config, xcoder_error *err) {
  const xcoder_train_options *o = &trainer->options;
  bool failed = false;
  *config = (xci_config){0};
  add_count(config, "n_checkpoints", trainer->info.n_checkpoints, &failed);
  add_count(config, "d_model", trainer->info.d_model, &failed);
  add_count(config, "n_latents", o->n_latents, &failed);
  add_number(config, "layer", (double)o->layer, &failed);
  add_checkpoints(config, &trainer->info, &failed);
  add_count(config, "mask_keep_first", o->mask.keep_first, &failed);
  add_count(config, "batch_size", o->batch_size, &failed);
  add_count(config, "n_tokens", o->n_tokens, &failed);
  add_number(config, "learning_rate", o->learning_rate, &failed);
  add_number(config, "beta1", o->beta1, &failed);
  add_number(config, "beta2", o->beta2, &failed);
  add_number(config, "epsilon", o->epsilon, &failed);
  add_number(config, "l1_coefficient", o->l1_coefficient, &failed);
  add_number(config, "warmup_share", o->warmup_share, &failed);
  add_number(config, "decay_share", o->decay_share, &failed);
  add_number(config, "clip_norm", o->clip_norm, &failed);
  add_number(config, "decoder_init_norm", o->decoder_init_norm, &failed);
  add_count(config, "seed", o->seed, &failed);
  add_count(config, "log_every", o->log_every, &failed); /* these three shape metrics.csv */
  add_count(config, "validate_every", o->validate_every, &failed);
  add_count(config, "validation_batches", trainer->validation != NULL ? o->validation_batches : 0, &failed);
  add_count(config, "training_samples", trainer->train->n_samples, &failed);
  add_count(config, "validation_samples", trainer->validation != NULL ? trainer->validation->n_samples : 0, &failed);
  add_count(config, "activation", (uint64_t)o->activation, &failed);
  if (xci_train_is_ranked(o)) {
    add_count(config, "k", o->k, &failed);
    add_count(config, "k_start", o->k_start, &failed);
    add_count(config, "anneal_steps", o->anneal_steps, &failed);
    add_count(config, "threshold_start", o->threshold_start, &failed);
    add_number(config, "threshold_decay", o->threshold_decay, &failed);
    add_number(config, "auxiliary_coefficient", o->auxiliary_coefficient, &failed);
    add_count(config, "dead_tokens", o->dead_tokens, &failed);
    add_count(config, "n_auxiliary", o->n_auxiliary, &failed);
  }
  if (xci_train_is_jump(o)) {
    add_number(config, "l0_coefficient", o->l0_coefficient, &failed);
    add_number(config, "bandwidth", o->bandwidth, &failed);
    add_number(config, "initial_threshold", o->initial_threshold, &failed);
  }
  xcoder_status status = failed ? xci_fail(err, XCODER_MEMORY, "memory: no room for the configuration") : XCODER_OK;
  if (!status) status = hash_config(config, err);
  if (!status && o->config_hash != NULL) memcpy(config->hash, o->config_hash, 33);
  if (status) xci_config_free(config);
  return status;
}

void xci_config_free(xci_config *config) {
  for (size_t e = 0; e < config->n_entries; e++) xci_free(config->value[e]);
  *config = (xci_config){0};
}
