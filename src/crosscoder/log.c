/* SPDX-License-Identifier: Apache-2.0 */
/* metrics.csv (values only: equal runs give equal bytes) and timing.csv. */
#define _POSIX_C_SOURCE 200809L
#include "base/memory.h"
#include "base/parallel.h"
#include "base/size.h"
#include "crosscoder/trainer.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef struct row {
  const char *split;
  double rate, lambda, loss, reconstruction, sparsity, l0, dead_share, gradient_norm, auxiliary, k;
  const xci_quality *quality;
} row;

double xci_log_seconds(const xci_trainer *trainer) {
  return trainer->seconds_before + xci_seconds() - trainer->started;
}

/* Memory in use, where the system tells. */
static uint64_t resident_bytes(void) {
  unsigned long long total, resident = 0;
  FILE *file = fopen("/proc/self/statm", "re");
  if (file == NULL) return 0;
  if (fscanf(file, "%llu %llu", &total, &resident) != 2) resident = 0;
  fclose(file);
  long page = sysconf(_SC_PAGESIZE);
  return page > 0 ? (uint64_t)resident * (uint64_t)page : 0;
}

/* ---- Opening ---- */

static uint64_t size_of(const char *path) {
  xci_map map;
  if (xci_map_open(path, &map, NULL)) return 0;
  uint64_t n_bytes = map.n_bytes;
  xci_map_close(&map);
  return n_bytes;
}

static xcoder_status append_text(xci_writer *writer, xci_text *text, xcoder_error *err) {
  xcoder_status status = xci_text_status(text, err);
  if (!status) status = xci_writer_write(writer, text->bytes, text->n_bytes, err);
  xci_text_clear(text);
  return status;
}

static xcoder_status open_log(xci_trainer *trainer, const char *name, uint64_t keep, xci_text *header,
                              xci_writer **writer, xcoder_error *err) {
  char *path = NULL;
  xcoder_status status = xci_join_path(trainer->run, name, &path, err);
  if (!status && keep > 0 && size_of(path) < keep) { /* the weights are whole, so this is no reason to give up */
    xci_train_warn(trainer, "%s: rows from before step %" PRIu64 " are missing", path, trainer->step);
    keep = 0;
  }
  if (!status) status = xci_append_open(path, keep, writer, err);
  if (!status && keep == 0) status = append_text(*writer, header, err);
  xci_text_clear(header);
  xci_free(path);
  return status;
}

xcoder_status xci_log_open(xci_trainer *trainer, xcoder_error *err) {
  xci_text header = {0};
  xci_text_add(&header, "step,split,tokens,learning_rate,lambda,loss,reconstruction,sparsity,l0,dead_share,ev_pooled,"
                        "ev_mean,gradient_norm,auxiliary,k,threshold");
  for (size_t c = 0; c < trainer->info.n_checkpoints; c++) {
    xci_text column = {0};
    xci_text_format(&column, "ev_pooled_%s", trainer->info.labels[c]);
    xci_text_add(&header, ",");
    if (!column.failed) xci_text_csv(&header, column.bytes, column.n_bytes);
    header.failed = header.failed || column.failed;
    xci_text_clear(&column);
  }
  xci_text_add(&header, "\n");
  xcoder_status status = open_log(trainer, "metrics.csv", trainer->metrics_bytes, &header, &trainer->metrics, err);
  xci_text_add(&header, "step,seconds,tokens_per_second,resident_bytes\n");
  if (!status) status = open_log(trainer, "timing.csv", trainer->timing_bytes, &header, &trainer->timing, err);
  xci_text_clear(&header);
  trainer->started = xci_seconds();
  trainer->last_row_seconds = trainer->seconds_before;
  trainer->last_row_step = trainer->step;
  return status;
}

xcoder_status xci_log_sync(xci_trainer *trainer, uint64_t *metrics_bytes, uint64_t *timing_bytes, xcoder_error *err) {
  xcoder_status status = xci_append_sync(trainer->metrics, metrics_bytes, err);
  if (!status) status = xci_append_sync(trainer->timing, timing_bytes, err);
  return status;
}

xcoder_status xci_log_close(xci_trainer *trainer, xcoder_error *err) {
  xcoder_status status = xci_append_close(trainer->metrics, err);
  xcoder_status second = xci_append_close(trainer->timing, status ? NULL : err);
  trainer->metrics = trainer->timing = NULL;
  return status ? status : second;
}

/* ---- Rows ---- */

static void add_field(xci_text *text, double value) {
  xci_text_add(text, ",");
  if (!isnan(value)) xci_text_number(text, value); /* no value: an empty field */
}

static xcoder_status make_row(const xci_trainer *trainer, const row *r, xci_text *out, xcoder_error *err) {
  xci_text text = {0};
  xci_text_format(&text, "%" PRIu64 ",%s,%" PRIu64, trainer->step, r->split,
                  trainer->step * trainer->options.batch_size);
  const double threshold = trainer->info.threshold < 0 ? NAN : (double)trainer->info.threshold;
  const double fields[] = {r->rate,       r->lambda,  r->loss, r->reconstruction, r->sparsity,
                           r->l0, r->dead_share, r->quality->ev_pooled, r->quality->ev_mean, r->gradient_norm,
                           r->auxiliary, r->k,        threshold};
  for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) add_field(&text, fields[i]);
  for (size_t c = 0; c < trainer->info.n_checkpoints; c++) add_field(&text, r->quality->ev_checkpoint[c]);
  xci_text_add(&text, "\n");
  *out = text;
  return xci_text_status(out, err);
}

static xcoder_status write_timing(xci_trainer *trainer, xcoder_error *err) {
  xci_text text = {0};
  double seconds = xci_log_seconds(trainer), passed = seconds - trainer->last_row_seconds;
  double tokens = (double)(trainer->step - trainer->last_row_step) * (double)trainer->options.batch_size;
  xci_text_format(&text, "%" PRIu64, trainer->step);
  add_field(&text, seconds);
  add_field(&text, passed > 0 && tokens > 0 ? tokens / passed : NAN);
  xci_text_format(&text, ",%" PRIu64 "\n", resident_bytes());
  trainer->last_row_seconds = seconds;
  trainer->last_row_step = trainer->step;
  return append_text(trainer->timing, &text, err);
}

/* Features that did not fire in the batches after the last row's. Rows stand at multiples of log_every (and at the
 * end), so this does not depend on where the run was resumed. */
static double share_dead(const xci_trainer *trainer) {
  uint64_t every = trainer->options.log_every, n_dead = 0;
  uint64_t since = trainer->step > 0 ? (trainer->step - 1) / every * every + 1 : 0;
  for (size_t i = 0; i < trainer->info.n_latents; i++) n_dead += trainer->last_fired[i] <= since;
  return (double)n_dead / (double)trainer->info.n_latents;
}

xcoder_status xci_log_train(xci_trainer *trainer, const xci_losses *losses, const xci_quality *quality,
                            xcoder_error *err) {
  row r = {.split = "train", .rate = xci_train_rate(&trainer->options, trainer->step),
           .lambda = xci_train_lambda(&trainer->options, trainer->step), .loss = losses->loss,
           .reconstruction = losses->reconstruction, .sparsity = losses->sparsity, .l0 = losses->l0,
           .dead_share = share_dead(trainer), .gradient_norm = losses->gradient_norm, .auxiliary = NAN, .k = NAN,
           .quality = quality};
  if (xci_train_is_ranked(&trainer->options)) {
    r.auxiliary = losses->auxiliary;
    r.k = (double)xci_train_k(&trainer->options, trainer->step);
  }
  trainer->last_ev = quality->ev_pooled;
  xci_text text = {0};
  xcoder_status status = make_row(trainer, &r, &text, err);
  if (!status) status = append_text(trainer->metrics, &text, err);
  xci_text_clear(&text);
  return status ? status : write_timing(trainer, err);
}

/* ---- Validation ---- */

typedef struct totals {
  double sparsity, l0, n_batches;
  xci_quality quality; /* sums, then means */
} totals;

static void add_quality(xci_quality *sum, const xci_quality *q, size_t n_checkpoints) {
  sum->reconstruction += q->reconstruction;
  sum->ev_pooled += q->ev_pooled;
  sum->ev_mean += q->ev_mean;
  for (size_t c = 0; c < n_checkpoints; c++) sum->ev_checkpoint[c] += q->ev_checkpoint[c];
}

static void divide_quality(xci_quality *sum, double by, size_t n_checkpoints) {
  sum->reconstruction /= by;
  sum->ev_pooled /= by;
  sum->ev_mean /= by;
  for (size_t c = 0; c < n_checkpoints; c++) sum->ev_checkpoint[c] /= by;
}

/* Sums f_i sum_c ||W_dec[i,c]|| over the codes of a batch and marks what fired. */
static double sum_codes(xci_trainer *trainer, const xci_codes *codes) {
  size_t n = trainer->info.n_checkpoints;
  double sum = 0;
  for (size_t j = 0; j < codes->start[codes->n_samples]; j++) {
    const float *norms = trainer->norms + (size_t)codes->index[j] * n;
    double norm = 0;
    for (size_t c = 0; c < n; c++) norm += (double)norms[c];
    sum += (double)codes->value[j] * norm;
    trainer->fired[codes->index[j]] = 1;
  }
  return sum;
}

static xcoder_status validate_batch(xci_trainer *trainer, const xci_gate *gate, uint64_t first, size_t count,
                                    totals *all, xcoder_error *err) {
  xcoder_device *device = trainer->device;
  bool finite;
  xci_codes codes;
  xci_quality quality;
  xcoder_status status = xci_train_read(trainer, trainer->validation, first, count, &finite, err);
  if (!status && !finite)
    status = xci_fail(err, XCODER_DIVERGED, "validation samples %" PRIu64 " to %" PRIu64 " hold activations that are "
                      "not finite", first, first + count - 1);
  if (!status) status = device->ops->coder_encode(device, trainer->coder, trainer->x, count, gate, err);
  if (!status) status = device->ops->coder_codes(device, trainer->coder, &codes, err);
  if (status) return status;
  all->sparsity += sum_codes(trainer, &codes) / (double)count;
  all->l0 += (double)codes.start[count] / (double)count;
  status = device->ops->coder_decode(device, trainer->coder, trainer->xhat, err);
  if (status) return status;
  xci_spread_measure(&trainer->spread, trainer->x, trainer->xhat, count, &quality);
  add_quality(&all->quality, &quality, trainer->info.n_checkpoints);
  all->n_batches++;
  return XCODER_OK;
}

xcoder_status xci_log_validation(xci_trainer *trainer, xcoder_error *err) {
  const xci_batches *stream = trainer->validation;
  if (stream == NULL || trainer->options.validation_batches == 0) return XCODER_OK;
  totals all = {0};
  xci_gate gate;
  size_t count = (size_t)(stream->n_samples < trainer->options.batch_size ? stream->n_samples
                                                                          : trainer->options.batch_size);
  uint64_t n_batches = stream->n_samples / count, n_latents = trainer->info.n_latents, n_dead = 0;
  if (n_batches > trainer->options.validation_batches) n_batches = trainer->options.validation_batches;
  memset(trainer->fired, 0, n_latents);
  xcoder_status status = trainer->device->ops->coder_norms(trainer->device, trainer->coder, trainer->norms, err);
  if (!status) status = xci_train_validation_gate(trainer, &gate, err);
  for (uint64_t k = 0; k < n_batches && !status; k++) {
    if (xci_train_must_stop(trainer)) status = xci_fail(err, XCODER_INTERRUPTED, "stopped");
    else status = validate_batch(trainer, &gate, k * count, count, &all, err);
  }
  if (status) return status;
  divide_quality(&all.quality, all.n_batches, trainer->info.n_checkpoints);
  for (size_t i = 0; i < n_latents; i++) n_dead += !trainer->fired[i];
  row r = {.split = "validation", .rate = NAN, .lambda = xci_train_lambda(&trainer->options, trainer->step),
           .reconstruction = all.quality.reconstruction, .sparsity = all.sparsity / all.n_batches,
           .l0 = all.l0 / all.n_batches, .dead_share = (double)n_dead / (double)n_latents, .gradient_norm = NAN,
           .auxiliary = NAN, .k = gate.kind == XCI_GATE_TOPK ? (double)gate.k : NAN, .quality = &all.quality};
  r.loss = r.reconstruction + r.lambda * (xci_train_is_jump(&trainer->options) ? r.l0 : r.sparsity);
  xci_text_clear(&trainer->held);
  return make_row(trainer, &r, &trainer->held, err);
}

xcoder_status xci_log_release(xci_trainer *trainer, xcoder_error *err) {
  return trainer->held.n_bytes > 0 ? append_text(trainer->metrics, &trainer->held, err) : XCODER_OK;
}
