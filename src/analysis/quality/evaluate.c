/* SPDX-License-Identifier: Apache-2.0 */
/* Quality of a crosscoder on held-out text (METHOD section 4). */
#include "analysis/quality/evaluate.h"

#include "analysis/quality/latent_scaling.h"
#include "analysis/quality/splice.h"
#include "base/memory.h"
#include "base/size.h"
#include <math.h>

/* Two passes over the batches: the explained variance needs the mean over the whole data set first. */
typedef struct pass {
  const xci_bench *bench;
  const xcoder_tokens *tokens;
  xci_evaluation *e;
  xci_latent_scaling *scaling;
  float *hidden, *work; /* [rows, d_model], [rows] of the batch in hand */
} pass;

double xci_ev_pooled(const xci_evaluation *e, size_t c) {
  return e->variance[c] > 0 ? 1 - e->error[c] / e->variance[c] : NAN;
}

double xci_ev_pooled_joint(const xci_evaluation *e, size_t n) {
  double error = 0, variance = 0;
  for (size_t c = 0; c < n; c++) {
    error += e->error[c];
    variance += e->variance[c];
  }
  return variance > 0 ? 1 - error / variance : NAN;
}

double xci_ev_mean(const xci_evaluation *e, size_t c) { return e->n_ratio[c] > 0 ? e->ratio[c] / e->n_ratio[c] : NAN; }

double xci_recovered(const xci_loss *loss) {
  const double cost = loss->blanked - loss->clean;
  return cost < 0.05 ? NAN : 1 - (loss->spliced - loss->clean) / cost;
}

static xcoder_status add_to_mean(pass *p, size_t batch, uint64_t *n_seen, xcoder_error *err) {
  xci_evaluation *e = p->e;
  const size_t width = p->bench->n * p->bench->d_model;
  xci_stretch s;
  const xcoder_status status =
      xci_stretch_open(p->bench, p->tokens, batch * e->batch_sequences, e->batch_sequences, XCI_HIDDEN, &s, err);
  if (status) return status;
  for (size_t q = 0; q < s.n_sequences; q++)
    for (size_t r = s.start[q]; r < s.start[q + 1]; r++) {
      if (xci_bench_masked(p->bench, r - s.start[q])) continue;
      for (size_t j = 0; j < width; j++) e->mean[j] += (double)s.hidden[r * width + j];
      ++*n_seen;
    }
  xci_stretch_close(&s);
  return XCODER_OK;
}

/* Squared error and squared distance from the mean of one position and checkpoint, in normalised space. */
static void measure_position(const xci_bench *bench, const xci_evaluation *e, const float *x, const float *xhat,
                             size_t c, double *error, double *variance) {
  const size_t d = bench->d_model;
  const double s2 = (double)bench->scale[c] * (double)bench->scale[c];
  double sum_error = 0, sum_variance = 0;
  for (size_t j = c * d; j < (c + 1) * d; j++) {
    const double miss = (double)x[j] - (double)xhat[j], far = (double)x[j] - e->mean[j];
    sum_error += miss * miss;
    sum_variance += far * far;
  }
  *error = s2 * sum_error;
  *variance = s2 * sum_variance;
}

static void add_variances(pass *p, const xci_stretch *s, size_t batch) {
  const xci_bench *bench = p->bench;
  xci_evaluation *e = p->e;
  const size_t n = bench->n, width = n * bench->d_model;
  double all_error = 0, all_variance = 0, all_ratio = 0, n_ratio = 0;
  for (size_t k = 0; k < s->n_unmasked; k++) {
    double error_joint = 0, variance_joint = 0;
    for (size_t c = 0; c < n; c++) {
      double error, variance;
      measure_position(bench, e, s->hidden + s->row[k] * width, s->decoded + k * width, c, &error, &variance);
      e->error[c] += error;
      e->variance[c] += variance;
      error_joint += error;
      variance_joint += variance;
      if (!(variance > 0)) continue;
      e->ratio[c] += 1 - error / variance;
      e->n_ratio[c] += 1;
    }
    all_error += error_joint;
    all_variance += variance_joint;
    if (!(variance_joint > 0)) continue;
    all_ratio += 1 - error_joint / variance_joint;
    n_ratio += 1;
  }
  e->ev_pooled_batch[batch] = all_variance > 0 ? 1 - all_error / all_variance : NAN;
  e->ev_mean_batch[batch] = n_ratio > 0 ? all_ratio / n_ratio : NAN;
  e->ratio_joint += all_ratio;
  e->n_ratio_joint += n_ratio;
}

static void count_codes(xci_evaluation *e, const xci_stretch *s, size_t batch) {
  const size_t n_codes = s->codes.start[s->n_unmasked];
  for (size_t k = 0; k < n_codes; k++) e->fired[s->codes.index[k]]++;
  e->n_tokens += s->n_unmasked;
  e->l0_sum += (double)n_codes;
  e->l0[batch] = s->n_unmasked ? (double)n_codes / (double)s->n_unmasked : NAN;
}

static xcoder_status add_losses(pass *p, const xci_stretch *s, xcoder_error *err) {
  size_t n_next = 0;
  xcoder_status status = XCI_ALLOC(&p->hidden, s->n_rows * p->bench->d_model, err);
  if (!status) status = XCI_ALLOC(&p->work, s->n_rows, err);
  for (size_t c = 0; !status && c < p->bench->n; c++) {
    xci_loss *loss = &p->e->loss[c];
    double sum;
    status = xci_cross_entropy(p->bench, s, c, NULL, p->work, &sum, &n_next, err);
    if (status) break;
    loss->clean += sum;
    xci_splice(p->bench, s, c, p->hidden);
    status = xci_cross_entropy(p->bench, s, c, p->hidden, p->work, &sum, &n_next, err);
    if (status) break;
    loss->spliced += sum;
    xci_blank(p->bench, s, c, p->hidden);
    status = xci_cross_entropy(p->bench, s, c, p->hidden, p->work, &sum, &n_next, err);
    if (!status) loss->blanked += sum;
  }
  p->e->n_next += n_next;
  xci_free(p->hidden);
  xci_free(p->work);
  p->hidden = p->work = NULL;
  return status;
}

static xcoder_status measure_batch(pass *p, size_t batch, xcoder_error *err) {
  xci_evaluation *e = p->e;
  xci_stretch s;
  xcoder_status status =
      xci_stretch_open(p->bench, p->tokens, batch * e->batch_sequences, e->batch_sequences, XCI_DECODED, &s, err);
  if (status) return status;
  count_codes(e, &s, batch);
  add_variances(p, &s, batch);
  status = xci_latent_scaling_add(p->bench, &s, p->scaling, err);
  if (!status) status = add_losses(p, &s, err);
  xci_stretch_close(&s);
  return status;
}

static xcoder_status measure(pass *p, xcoder_error *err) {
  const xcoder_monitor *monitor = p->bench->setting->monitor;
  xci_evaluation *e = p->e;
  const size_t width = p->bench->n * p->bench->d_model, total = 2 * e->n_batches;
  uint64_t n_seen = 0;
  xcoder_status status = XCODER_OK;
  for (size_t step = 0; !status && step < total; step++) {
    xci_advance(monitor, "eval", "batches", step, total);
    if (xci_stopped(monitor)) return xci_interrupted(err, "eval");
    if (step < e->n_batches) status = add_to_mean(p, step, &n_seen, err);
    else status = measure_batch(p, step - e->n_batches, err);
    if (step + 1 == e->n_batches)
      for (size_t j = 0; j < width; j++) e->mean[j] /= n_seen ? (double)n_seen : 1;
  }
  if (status) return status;
  if (n_seen == 0 || e->n_next == 0)
    return xci_fail(err, XCODER_MISMATCH, "held-out text: every position is masked, sequences of two tokens or more "
                                          "are needed");
  for (size_t c = 0; c < p->bench->n; c++) {
    e->loss[c].clean /= (double)e->n_next;
    e->loss[c].spliced /= (double)e->n_next;
    e->loss[c].blanked /= (double)e->n_next;
  }
  for (size_t i = 0; i < p->bench->n_latents; i++) e->n_dead += e->fired[i] == 0;
  xci_advance(monitor, "eval", "batches", total, total);
  return XCODER_OK;
}

static xcoder_status create(const xci_bench *bench, const xcoder_tokens *tokens, const xcoder_eval_options *options,
                            size_t n_tasks, xci_evaluation *e, xcoder_error *err) {
  const size_t n_sequences = xcoder_tokens_sequences(tokens);
  const size_t wanted = options && options->n_batches ? options->n_batches : 30;
  e->batch_sequences = xci_min_size(options && options->batch_sequences ? options->batch_sequences : 4, n_sequences);
  if (n_sequences == 0) return xci_fail(err, XCODER_MISMATCH, "held-out text: no sequences");
  e->n_batches = xci_min_size(wanted, n_sequences / e->batch_sequences);
  e->n_tasks = n_tasks;
  xcoder_status status = XCI_ALLOC(&e->fired, bench->n_latents, err);
  if (!status) status = XCI_ALLOC(&e->mean, bench->n * bench->d_model, err);
  if (!status) status = XCI_ALLOC(&e->l0, e->n_batches, err);
  if (!status) status = XCI_ALLOC(&e->ev_pooled_batch, e->n_batches, err);
  if (!status) status = XCI_ALLOC(&e->ev_mean_batch, e->n_batches, err);
  if (!status) status = XCI_ALLOC(&e->task, n_tasks, err);
  return status;
}

xcoder_status xcoder_evaluate(const xcoder_setting *setting, const xcoder_tokens *held_out,
                              const xcoder_pairs *const *tasks, size_t n_tasks, const xcoder_eval_options *options,
                              const char *run_directory, xcoder_verdicts *verdicts, xcoder_error *err) {
  xci_bench bench;
  xci_evaluation e = {0};
  xcoder_verdicts found = {0};
  xci_latent_scaling scaling = {0};
  pass p = {.bench = &bench, .tokens = held_out, .e = &e, .scaling = &scaling};
  *verdicts = (xcoder_verdicts){0};
  xcoder_status status = xci_bench_open(setting, &bench, err);
  if (!status) status = create(&bench, held_out, options, n_tasks, &e, err);
  if (!status) status = xci_latent_scaling_open(&bench, &scaling, err);
  if (!status) status = measure(&p, err);
  for (size_t t = 0; !status && t < n_tasks; t++) status = xci_task_quality_measure(&bench, tasks[t], &e.task[t], err);
  if (!status) status = xci_latent_scaling_write(&bench, &scaling, run_directory, err);
  if (!status) status = xci_evaluation_write(&bench, &e, run_directory, &found, err);
  if (!status) *verdicts = found;
  else xcoder_verdicts_free(&found);
  xci_latent_scaling_close(&scaling);
  xci_free(e.fired);
  xci_free(e.mean);
  xci_free(e.l0);
  xci_free(e.ev_pooled_batch);
  xci_free(e.ev_mean_batch);
  xci_free(e.task);
  return status;
}
