/* SPDX-License-Identifier: Apache-2.0 */
/* How long a training run will take, from a second's worth of the device's own operations at the run's real width, on a
 * part of its features and samples. */
#define _POSIX_C_SOURCE 200809L
#include "base/memory.h"
#include "base/parallel.h"
#include "base/random.h"
#include "base/size.h"
#include "crosscoder/trainer.h"
#include <math.h>

enum { MAX_LATENTS = 2048, MAX_SAMPLES = 1024, FEW = 64, MAX_REPEATS = 10 };
static const double enough = 0.2; /* seconds; the best of several repeats is that of a machine left alone */

typedef struct probe {
  xcoder_device *device;
  xci_coder *coder;
  size_t n_latents, n_samples, few; /* few: codes of a sample in the sparse measurement */
  float *values;                    /* of the largest tensor, then the samples */
  size_t *start;
  uint32_t *index;
  float *code;
  uint16_t *window;                 /* samples that stay on a device with its own memory, and their rows */
  uint32_t *row;
} probe;

/* Seconds of each phase of a step, of the whole batch and all features. */
typedef struct phases {
  double encode, update;
  double learn[2], decode[2]; /* with half of all features firing, with FEW a sample */
} phases;

/* About uniform in -1 .. 1; half of the features then fire for a sample, as in a run that starts. */
static void fill(float *values, size_t n, uint32_t seed) {
  for (size_t i = 0; i < n; i++) {
    uint32_t x = ((uint32_t)i + seed) * 2654435761u;
    x = (x ^ x >> 15) * 2246822519u;
    values[i] = (float)((double)(x >> 8) / (1 << 23) - 1);
  }
}

/* As a training moves samples once (crosscoder/window.h); where there is no room, each batch, and no rows. */
static xcoder_status open_window(probe *p, size_t n_checkpoints, size_t row, xcoder_error *err) {
  float scale[XCODER_MAX_CHECKPOINTS];
  for (size_t c = 0; c < n_checkpoints; c++) scale[c] = 1;
  xcoder_status status = XCI_ALLOC(&p->window, row * p->n_samples, err);
  if (!status) status = XCI_ALLOC(&p->row, p->n_samples, err);
  for (size_t b = 0; b < p->n_samples && !status; b++) p->row[b] = (uint32_t)b;
  if (status) return status;
  status = p->device->ops->coder_window(p->device, p->coder, p->window, p->n_samples, scale, err);
  if (status != XCODER_MEMORY) return status;
  xci_free(p->row);
  p->row = NULL;
  return XCODER_OK;
}

static void keep_least(double *least, double started) {
  double passed = xci_seconds() - started;
  if (*least <= 0 || passed < *least) *least = passed;
}

/* On a small device so much less that all of it fits: panels that cross the bus are counted, not measured. */
static void choose_size(size_t n_checkpoints, size_t d_model, const xcoder_train_options *o, probe *p) {
  xcoder_device_room room;
  p->n_latents = xci_min_size(o->n_latents, MAX_LATENTS);
  p->n_samples = xci_min_size(o->batch_size, MAX_SAMPLES);
  for (bool fits = false; !fits && p->n_latents > FEW && p->n_samples > 1;) {
    const xci_coder_shape shape = {n_checkpoints, d_model, p->n_latents, p->n_samples, true, 0, false};
    fits = !p->device->ops->coder_plan(p->device, &shape, &room, NULL) && room.n_host_panels == 0;
    if (fits) break;
    p->n_latents = xci_max_size(p->n_latents / 2, FEW);
    p->n_samples = xci_max_size(p->n_samples / 2, 1);
  }
}

/* Seconds of a byte on its way, from the best of some transfers. */
static xcoder_status measure_bus(xcoder_device *device, xcoder_pace *pace, xcoder_error *err) {
  enum { MOST = 1 << 24, TIMES = 4 };
  const xci_coder_shape none = {0};
  xcoder_device_room room;
  xci_buffer buffer = {0};
  char *bytes = NULL;
  double up = 0, down = 0;
  xcoder_status status = device->ops->coder_plan(device, &none, &room, err);
  if (status || !room.own_memory) return status;
  size_t n = (size_t)(room.memory_bytes - room.used_bytes) / 4;
  n = xci_min_size(xci_min_size(n, (size_t)room.largest_bytes), MOST);
  if (n == 0) return XCODER_OK;
  status = XCI_ALLOC(&bytes, n, err);
  if (!status) status = device->ops->buffer_create(device, n, &buffer, err);
  for (int i = 0; i < TIMES && !status; i++) { /* the first also takes memory */
    double started = xci_seconds();
    status = device->ops->upload(device, &buffer, 0, bytes, n, err);
    keep_least(&up, started);
    started = xci_seconds();
    if (!status) status = device->ops->download(device, &buffer, 0, bytes, n, err);
    keep_least(&down, started);
  }
  device->ops->buffer_free(device, &buffer);
  xci_free(bytes);
  pace->up_seconds = up / (double)n;
  pace->down_seconds = down / (double)n;
  return status;
}

static xcoder_status open_probe(size_t n_checkpoints, size_t d_model, const xcoder_train_options *o, probe *p,
                                xcoder_error *err) {
  size_t row = n_checkpoints * d_model, n_values;
  choose_size(n_checkpoints, d_model, o, p);
  p->few = xci_min_size(FEW, xci_max_size(1, p->n_latents / 8));
  xci_coder_shape shape = {n_checkpoints, d_model, p->n_latents, p->n_samples, true, 0, false};
  if (!xci_mul_size(row, xci_max_size(p->n_latents, p->n_samples), &n_values))
    return xci_fail(err, XCODER_MEMORY, "a crosscoder of width %zu exceeds the address space", d_model);
  xcoder_status status = XCI_ALLOC(&p->values, n_values, err);
  if (!status) status = XCI_ALLOC(&p->start, p->n_samples + 1, err);
  if (!status) status = XCI_ALLOC(&p->index, p->n_samples * p->few, err);
  if (!status) status = XCI_ALLOC(&p->code, p->n_samples * p->few, err);
  if (!status) status = p->device->ops->coder_create(p->device, &shape, &p->coder, err);
  for (int t = 0; t < XCI_N_TENSORS && !status; t++) {
    if (t == XCI_W_ENC || t == XCI_W_DEC) fill(p->values, row * p->n_latents, 7 + (uint32_t)t);
    status = p->device->ops->coder_write(p->device, p->coder, (xci_coder_tensor)t, XCI_VALUE, p->values, err);
    if (t == XCI_W_ENC || t == XCI_W_DEC)
      for (size_t i = 0; i < n_values; i++) p->values[i] = 0; /* the biases */
  }
  if (!status) fill(p->values, row * p->n_samples, 99);
  return status || !p->device->ops->remote ? status : open_window(p, n_checkpoints, row, err);
}

static void close_probe(probe *p) {
  if (p->coder != NULL) p->device->ops->coder_free(p->device, p->coder);
  xci_free(p->values);
  xci_free(p->start);
  xci_free(p->index);
  xci_free(p->code);
  xci_free(p->window);
  xci_free(p->row);
}

/* FEW features a sample, spread over all of them. */
static xcoder_status set_few(const probe *p, xcoder_error *err) {
  size_t stride = p->n_latents / p->few;
  for (size_t b = 0; b < p->n_samples; b++) {
    p->start[b] = b * p->few;
    for (size_t k = 0; k < p->few; k++) {
      p->index[b * p->few + k] = (uint32_t)(k * stride + b * 13 % stride);
      p->code[b * p->few + k] = 1;
    }
  }
  p->start[p->n_samples] = p->n_samples * p->few;
  const xci_codes codes = {p->n_samples, p->start, p->index, p->code};
  return p->device->ops->coder_set_codes(p->device, p->coder, &codes, err);
}

/* Adds what was asked of the device since the last call of this. */
static void add_traffic(const probe *p, xcoder_traffic *since, xcoder_traffic *sum) {
  xcoder_traffic now;
  xcoder_device_traffic(p->device, &now);
  if (sum != NULL) {
    sum->n_launches += now.n_launches - since->n_launches;
    sum->n_waits += now.n_waits - since->n_waits;
    sum->n_up += now.n_up - since->n_up;
    sum->n_down += now.n_down - since->n_down;
    sum->bytes_up += now.bytes_up - since->bytes_up;
    sum->bytes_down += now.bytes_down - since->bytes_down;
  }
  *since = now;
}

static xcoder_status measure(const probe *p, float *xhat, phases *t, xcoder_error *err) {
  const xci_backend *ops = p->device->ops;
  const xci_gate gate = {.kind = XCI_GATE_RELU};
  const xci_objective objective = {.l1_coefficient = 1};
  const xci_adam adam = {.step = 1, .learning_rate = 1e-9, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8,
                         .clip_norm = 1};
  xci_losses losses;
  double started = xci_seconds();
  xcoder_status status = ops->coder_encode(p->device, p->coder, p->values, p->n_samples, &gate, err);
  keep_least(&t->encode, started);
  for (int few = 0; few < 2 && !status; few++) {
    if (few) status = set_few(p, err);
    started = xci_seconds();
    if (!status) status = ops->coder_decode(p->device, p->coder, xhat, err);
    keep_least(&t->decode[few], started);
    /* A device may expect as many codes as there were the last time. */
    if (few && ops->remote && !status) status = ops->coder_backward(p->device, p->coder, &objective, &losses, err);
    started = xci_seconds();
    if (!status) status = ops->coder_backward(p->device, p->coder, &objective, &losses, err);
    keep_least(&t->learn[few], started);
  }
  started = xci_seconds();
  if (!status) status = ops->coder_update(p->device, p->coder, &adam, err);
  keep_least(&t->update, started);
  return status;
}

/* What a step of this activation asks for beside relu's. */
typedef struct extras {
  xci_gate gate;
  xci_objective objective;
  float *threshold;   /* of jumprelu, and their gradients */
  float *gradient;
  uint32_t *fired, dead[1];
} extras;

static xcoder_status open_extras(const probe *p, const xcoder_train_options *o, size_t row, extras *e,
                                 xcoder_error *err) {
  const bool jump = xci_train_is_jump(o), ranked = xci_train_is_ranked(o);
  xcoder_status status = XCODER_OK;
  *e = (extras){.gate = {.kind = XCI_GATE_RELU}, .objective = {.l1_coefficient = !jump && !ranked}};
  if (jump) {
    e->gate = (xci_gate){.kind = XCI_GATE_JUMP, .half_bandwidth = o->bandwidth / 2};
    e->objective.l0_coefficient = 1;
    status = XCI_ALLOC(&e->threshold, p->n_latents, err);
    if (!status) status = XCI_ALLOC(&e->gradient, p->n_latents, err);
    /* Two deviations of a sum of products of numbers that are uniform in -1 .. 1: one feature in 44 fires. */
    for (size_t i = 0; i < p->n_latents && !status; i++) e->threshold[i] = 2 * sqrtf((float)row) / 3;
    e->gate.threshold = e->threshold;
    e->objective.threshold_gradient = e->gradient;
  }
  if (ranked)
    e->gate = (xci_gate){.kind = o->activation == XCODER_TOPK ? XCI_GATE_TOPK : XCI_GATE_BATCH_TOPK, .k = p->few};
  if (ranked && o->auxiliary_coefficient > 0) { /* with a dead feature, as a training mostly has */
    status = XCI_ALLOC(&e->fired, xci_ceil_div(p->n_latents, 32), err);
    e->objective.auxiliary_coefficient = o->auxiliary_coefficient;
    e->objective.fired = e->fired;
    e->objective.dead = e->dead;
    e->objective.n_dead = e->objective.n_auxiliary = 1;
  }
  return status;
}

static void close_extras(extras *e) {
  xci_free(e->threshold);
  xci_free(e->gradient);
  xci_free(e->fired);
}

static xcoder_status count_step(const probe *p, const extras *e, xcoder_traffic *sum, xcoder_error *err) {
  const xci_backend *ops = p->device->ops;
  const bool relu = e->gate.kind == XCI_GATE_RELU;
  const xci_adam adam = {.step = 1, .learning_rate = 1e-9, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8,
                         .clip_norm = 1};
  xci_losses losses;
  xcoder_traffic since;
  add_traffic(p, &since, NULL);
  xcoder_status status = p->row != NULL
                           ? ops->coder_encode_rows(p->device, p->coder, p->row, p->n_samples, &e->gate, err)
                           : ops->coder_encode(p->device, p->coder, p->values, p->n_samples, &e->gate, err);
  add_traffic(p, &since, sum);
  if (!status && relu) status = set_few(p, err); /* the others' gates have left few themselves */
  add_traffic(p, &since, NULL);
  if (!status) status = ops->coder_backward(p->device, p->coder, &e->objective, &losses, err);
  if (!status && e->fired == NULL) status = ops->coder_mark(p->device, p->coder, 1, err);
  if (!status) status = ops->coder_update(p->device, p->coder, &adam, err);
  add_traffic(p, &since, sum);
  return status;
}

/* Commands, waits and bytes of one of the last steps, as a training asks for them, for the whole batch and all
 * features: samples or their rows go up; what comes down beside numbers of the features is the same for any. */
static xcoder_status count(const probe *p, const xcoder_train_options *o, size_t row, xcoder_traffic *step,
                           xcoder_error *err) {
  extras e;
  if (!p->device->ops->remote) return XCODER_OK;
  xcoder_status status = open_extras(p, o, row, &e, err);
  for (int i = 0; i < 2 && !status; i++) { /* the second knows how many codes to expect */
    *step = (xcoder_traffic){0};
    status = count_step(p, &e, step, err);
  }
  const size_t all = o->n_latents, part = p->n_latents, of_numbers = sizeof(float);
  const size_t up = e.threshold != NULL ? of_numbers : 0, dead = e.fired != NULL ? sizeof *e.dead : 0;
  const double samples = (double)o->batch_size / (double)p->n_samples;
  if (!status) step->bytes_up = (uint64_t)((double)(step->bytes_up - up * part - dead) * samples) + up * all + dead;
  if (!status && e.gradient != NULL) step->bytes_down += of_numbers * (all - part);
  if (!status && e.fired != NULL)
    step->bytes_down += sizeof *e.fired * (xci_ceil_div(all, 32) - xci_ceil_div(part, 32));
  close_extras(&e);
  return status;
}

/* From the part that was measured to the whole. The work of the sparse phases grows with the codes alone. */
static void scale_up(const probe *p, const xcoder_train_options *o, phases *t) {
  double samples = (double)o->batch_size / (double)p->n_samples, latents = (double)o->n_latents / (double)p->n_latents;
  t->encode *= samples * latents;
  t->update *= latents;
  t->learn[0] *= samples * latents;
  t->decode[0] *= samples * latents;
  t->learn[1] *= samples;
  t->decode[1] *= samples;
}

/* Seconds of a phase when `l0` features of a sample fire: linear in them up to where products of all are cheaper. */
static double at_density(const double phase[2], double few, double l0) { return fmin(phase[1] * l0 / few, phase[0]); }

/* Features that fire for a sample after `step` steps. At the start half of them do; when the penalty has grown and the
 * weights have had the time to move, the number falls about as 1 / step, to about FEW. Seen in runs of the bundled
 * example with different penalties and numbers of steps, within a factor of 1.5. */
static double expected_l0(const xcoder_train_options *o, size_t d_model, double step) {
  double half = (double)o->n_latents / 2;
  if (xci_train_is_ranked(o)) return (double)xci_train_k(o, (uint64_t)step);
  double slow = 2 * o->decoder_init_norm / sqrt((double)d_model) / o->learning_rate;
  double turn = fmax(1, 0.6 * o->warmup_share * (double)xci_train_steps(o) + slow);
  if (xci_train_is_jump(o)) turn = fmax(1, 0.2 * o->warmup_share * (double)xci_train_steps(o)); /* two runs of it */
  return fmin(half, fmax(half * turn / fmax(step, 1), fmin(FEW, half)));
}

static double sum_steps(const xcoder_train_options *o, size_t d_model, const phases *t, double few) {
  enum { PIECES = 2000 };
  double n_steps = (double)xci_train_steps(o), n_pieces = fmin(n_steps, PIECES), sum = 0;
  double rows = fmin(1, 1 / (double)o->log_every);
  double checks = (double)o->validation_batches / (double)o->validate_every;
  for (double piece = 0; piece < n_pieces; piece++) {
    double l0 = expected_l0(o, d_model, (piece + 0.5) * n_steps / n_pieces);
    double decode = at_density(t->decode, few, l0), step = (piece + 0.5) * n_steps / n_pieces;
    bool may_be_dead = xci_train_is_ranked(o) && o->auxiliary_coefficient > 0 &&
                       step * (double)o->batch_size >= (double)o->dead_tokens;
    double learning = l0 + (may_be_dead ? (double)o->n_auxiliary : 0); /* as many dead features as can work */
    sum += t->encode + at_density(t->learn, few, learning) + t->update + rows * decode + checks * (t->encode + decode);
  }
  return sum * n_steps / n_pieces;
}

static xcoder_status find_pace(size_t n_checkpoints, size_t d_model, const xcoder_train_options *options,
                               xcoder_device *device, xcoder_pace *pace, xcoder_error *err) {
  xcoder_train_options o;
  probe p = {.device = device};
  phases t = {0};
  float *xhat = NULL;
  *pace = (xcoder_pace){0};
  xcoder_status status = xci_train_resolve(options, n_checkpoints, d_model, &o, err);
  if (!status) status = open_probe(n_checkpoints, d_model, &o, &p, err);
  if (!status) status = XCI_ALLOC(&xhat, p.n_samples * n_checkpoints * d_model, err);
  double started = xci_seconds();
  for (int i = 0; i < MAX_REPEATS && !status && (i < 2 || xci_seconds() - started < enough); i++)
    status = measure(&p, xhat, &t, err); /* the first also takes memory */
  if (!status) status = count(&p, &o, n_checkpoints * d_model, &pace->step, err);
  if (!status) {
    double few = (double)p.few;
    scale_up(&p, &o, &t);
    pace->encode_seconds = t.encode / (double)o.batch_size;
    pace->first_step_seconds = t.encode + t.learn[0] + t.update;
    pace->last_step_seconds = t.encode + at_density(t.learn, few, FEW) + t.update;
    pace->train_seconds = sum_steps(&o, d_model, &t, few);
  }
  xci_free(xhat);
  close_probe(&p);
  return status ? status : measure_bus(device, pace, err);
}

xcoder_status xcoder_train_pace(size_t n_checkpoints, size_t d_model, const xcoder_train_options *options,
                                xcoder_device *device, xcoder_pace *pace, xcoder_error *err) {
  xcoder_status status;
  do status = find_pace(n_checkpoints, d_model, options, device, pace, err);
  while (xci_device_replace(device, status, err));
  return status;
}
