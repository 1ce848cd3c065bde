/* SPDX-License-Identifier: Apache-2.0 */
/* The path integral and the effects of features, error and bias that follow from it. */
#include "analysis/attribution/attribution.h"

#include "analysis/attribution/gradient_cache.h"
#include "analysis/attribution/quadrature.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "base/size.h"
#include <math.h>
#include <string.h>

/* One integral in hand: one checkpoint, all sequences of a stretch. */
typedef struct integral {
  const xci_bench *bench;
  const xci_path *path;
  const xci_stretch *s;
  const uint32_t *right, *wrong;
  size_t checkpoint;
  size_t n_todo, *todo;   /* [n_sequences] sequences in hand */
  size_t n_nodes, capacity_alpha, capacity_weight;
  double *alpha, *weight; /* [n_todo, n_nodes] */
  float *clean, *target; /* [n_rows, d_model] ends of the path; equal at masked positions */
  double *sum;           /* [n_rows, d_model] weighted sum of gradients */
  float *gbar;           /* the same, rounded once */
  size_t capacity;       /* rows of the three below */
  float *x, *gradient;   /* [capacity, d_model] packed states */
  size_t *start;         /* [capacity + 1] */
  size_t *unit;          /* [capacity] which (sequence, node) each packed sequence is */
  uint32_t *unit_right, *unit_wrong;
  double *metric;
} integral;

static void integral_close(integral *in) {
  xci_free(in->todo);
  xci_free(in->alpha);
  xci_free(in->weight);
  xci_free(in->clean);
  xci_free(in->target);
  xci_free(in->sum);
  xci_free(in->gbar);
  xci_free(in->x);
  xci_free(in->gradient);
  xci_free(in->start);
  xci_free(in->unit);
  xci_free(in->unit_right);
  xci_free(in->unit_wrong);
  xci_free(in->metric);
}

static xcoder_status integral_open(integral *in, xcoder_error *err) {
  const size_t n_values = in->s->n_rows * in->bench->d_model;
  size_t longest = 0;
  for (size_t q = 0; q < in->s->n_sequences; q++)
    longest = xci_max_size(longest, in->s->start[q + 1] - in->s->start[q]);
  in->capacity = xci_max_size(longest, xci_min_size(XCI_ROWS_PER_CALL, in->s->n_rows * in->path->n_nodes));
  xcoder_status status = XCI_ALLOC(&in->todo, in->s->n_sequences, err);
  if (!status) status = XCI_ALLOC(&in->clean, n_values, err);
  if (!status) status = XCI_ALLOC(&in->target, n_values, err);
  if (!status) status = XCI_ALLOC(&in->sum, n_values, err);
  if (!status) status = XCI_ALLOC(&in->gbar, n_values, err);
  if (!status) status = XCI_ALLOC(&in->x, in->capacity * in->bench->d_model, err);
  if (!status) status = XCI_ALLOC(&in->gradient, in->capacity * in->bench->d_model, err);
  if (!status) status = XCI_ALLOC(&in->start, in->capacity + 1, err);
  if (!status) status = XCI_ALLOC(&in->unit, in->capacity, err);
  if (!status) status = XCI_ALLOC(&in->unit_right, in->capacity, err);
  if (!status) status = XCI_ALLOC(&in->unit_wrong, in->capacity, err);
  if (!status) status = XCI_ALLOC(&in->metric, in->capacity, err);
  return status;
}

/* The ends of the path of checkpoint c: the clean activation, and the baseline's at unmasked positions. */
static void set_ends(integral *in, const xci_stretch *counter, size_t c) {
  const xci_bench *bench = in->bench;
  const size_t d = bench->d_model, n = bench->n;
  in->checkpoint = c;
  xci_stretch_take(bench, in->s, c, in->clean);
  memcpy(in->target, in->clean, in->s->n_rows * d * sizeof *in->target);
  for (size_t k = 0; k < in->s->n_unmasked; k++) {
    const size_t row = in->s->row[k];
    float *x = in->target + row * d;
    for (size_t j = 0; j < d; j++)
      switch (in->path->baseline) {
      case XCODER_ZERO: x[j] = bench->b_dec[c * d + j] * bench->unit[c]; break;
      case XCODER_MEAN: x[j] = (float)in->path->mean_hidden[c * d + j]; break;
      case XCODER_COUNTERFACTUAL:
      case XCODER_RESAMPLED: x[j] = counter->hidden[(row * n + c) * d + j]; break;
      default: x[j] = 0; break;
      }
  }
}

/* Half of the distance at which the state turns resolves what the blocks above make of the turn; a path that passes the
 * origin closely would collect all nodes there. Both numbers were measured (doc/mathematics.md). */
static const double turn_share = 0.5, shortest_turn = 0.03;
/* Of the normalisations above. Where the state is smaller than this, they no longer see its direction alone. */
static const double norm_epsilon = 1e-5;

/* n_steps' nodes of every sequence in hand. The metric is read at the last position, so its turn decides. */
static xcoder_status place_nodes(integral *in, size_t n_steps, xcoder_error *err) {
  const size_t n = xci_quadrature_count(in->path->rule, n_steps), d = in->bench->d_model;
  double u[XCI_MAX_STEPS + 1], w[XCI_MAX_STEPS + 1];
  in->n_nodes = n;
  xci_quadrature_nodes(in->path->rule, n_steps, u, w);
  xcoder_status status = xci_grow((void **)&in->alpha, &in->capacity_alpha, in->n_todo * n, sizeof *in->alpha, err);
  if (!status)
    status = xci_grow((void **)&in->weight, &in->capacity_weight, in->n_todo * n, sizeof *in->weight, err);
  for (size_t i = 0; !status && i < in->n_todo; i++) {
    const size_t last = (in->s->start[in->todo[i] + 1] - 1) * d;
    double *alpha = in->alpha + i * n, *weight = in->weight + i * n, closest, distance, length;
    memcpy(alpha, u, n * sizeof *alpha);
    memcpy(weight, w, n * sizeof *weight);
    if (in->path->rule != XCODER_GAUSS ||
        !xci_quadrature_line(in->clean + last, in->target + last, d, &closest, &distance, &length))
      continue;
    if (in->path->baseline == XCODER_ORIGIN) {
      const double smallest = sqrt(distance * distance + norm_epsilon / (length * length));
      xci_quadrature_grade(closest, turn_share * smallest, n, u, w, alpha, weight);
    } else {
      xci_quadrature_turn(closest, fmax(turn_share * distance, shortest_turn), n, u, w, alpha, weight);
    }
  }
  return status;
}

static xcoder_status place_first_nodes(integral *in, xcoder_error *err) {
  in->n_todo = in->s->n_sequences;
  for (size_t q = 0; q < in->n_todo; q++) in->todo[q] = q;
  return place_nodes(in, in->path->n_steps, err);
}

/* Appends the state of sequence todo[i] at node k behind the packed rows. */
static void pack_unit(integral *in, size_t i, size_t k, size_t n_units, size_t n_rows) {
  const size_t d = in->bench->d_model, q = in->todo[i], from = in->s->start[q] * d;
  const size_t n = (in->s->start[q + 1] - in->s->start[q]) * d;
  const double alpha = in->alpha[i * in->n_nodes + k];
  for (size_t j = 0; j < n; j++) {
    const double clean = (double)in->clean[from + j];
    in->x[n_rows * d + j] = (float)(clean + alpha * ((double)in->target[from + j] - clean));
  }
  in->unit[n_units] = i * in->n_nodes + k;
  in->unit_right[n_units] = in->right[q];
  in->unit_wrong[n_units] = in->wrong[q];
  in->start[n_units + 1] = n_rows + n / d;
}

static xcoder_status run_units(integral *in, size_t n_units, xcoder_error *err) {
  const size_t d = in->bench->d_model;
  const xcoder_status status =
      xcoder_model_metric(in->bench->setting->models[in->checkpoint], in->bench->info->layer, in->x, in->start, n_units,
                          in->unit_right, in->unit_wrong, in->metric, in->gradient, err);
  for (size_t u = 0; !status && u < n_units; u++) {
    const double weight = in->weight[in->unit[u]];
    const float *gradient = in->gradient + in->start[u] * d;
    double *sum = in->sum + in->s->start[in->todo[in->unit[u] / in->n_nodes]] * d;
    for (size_t j = 0; j < (in->start[u + 1] - in->start[u]) * d; j++) sum[j] += weight * (double)gradient[j];
  }
  return status;
}

/* The sums of all sequences in hand: all their nodes, packed into calls of bounded size. */
static xcoder_status sum_gradients(integral *in, xcoder_error *err) {
  const size_t d = in->bench->d_model, n_units = in->n_todo * in->n_nodes, *start = in->s->start;
  size_t packed = 0, n_rows = 0;
  xcoder_status status = XCODER_OK;
  for (size_t i = 0; i < in->n_todo; i++)
    memset(in->sum + start[in->todo[i]] * d, 0, (start[in->todo[i] + 1] - start[in->todo[i]]) * d * sizeof *in->sum);
  in->start[0] = 0;
  for (size_t u = 0; !status && u < n_units; u++) {
    const size_t i = u / in->n_nodes, length = start[in->todo[i] + 1] - start[in->todo[i]];
    if (packed && n_rows + length > in->capacity) {
      status = run_units(in, packed, err);
      packed = n_rows = 0;
    }
    pack_unit(in, i, u % in->n_nodes, packed++, n_rows);
    n_rows += length;
  }
  if (!status && packed) status = run_units(in, packed, err);
  return status;
}

/* Keeps those sequences in hand whose effects do not add up yet. No feature is needed for that: the sum of all effects,
 * error and bias is the integral of the gradient along the path. */
static void keep_open(integral *in, const xci_node_effects *ends) {
  const size_t d = in->bench->d_model;
  size_t n_open = 0;
  for (size_t i = 0; i < in->n_todo; i++) {
    const size_t q = in->todo[i], at = q * in->bench->n + in->checkpoint;
    const double clean = ends->clean[at], change = ends->baseline[at] - clean;
    double sum = 0;
    for (size_t j = in->s->start[q] * d; j < in->s->start[q + 1] * d; j++)
      sum += in->sum[j] * ((double)in->target[j] - (double)in->clean[j]);
    const double size = fmax(fabs(change), (fabs(clean) + fabs(ends->baseline[at])) / 2);
    if (!(fabs(sum - change) <= in->path->tolerance * size)) in->todo[n_open++] = q;
  }
  in->n_todo = n_open;
}

/* gbar of every position. With a tolerance, the nodes of those sequences are doubled whose gap exceeds it. */
static xcoder_status integrate(integral *in, const xci_node_effects *ends, xcoder_error *err) {
  const size_t n_values = in->s->n_rows * in->bench->d_model;
  size_t n_steps = in->path->n_steps;
  xcoder_status status = sum_gradients(in, err);
  while (!status && in->path->tolerance > 0) {
    keep_open(in, ends);
    n_steps *= 2;
    if (in->n_todo == 0 || n_steps > XCI_MAX_AUTO_STEPS) break;
    status = place_nodes(in, n_steps, err);
    if (!status) status = sum_gradients(in, err);
  }
  for (size_t j = 0; j < n_values; j++) in->gbar[j] = (float)in->sum[j];
  return status;
}

/* The same, taken from the folder of gradients or left there. */
static xcoder_status integrate_once(integral *in, const xci_node_effects *out, xcoder_error *err) {
  const size_t n_sequences = in->s->n_sequences, n = in->bench->n;
  double *metric = NULL;
  char *file = NULL;
  if (!in->path->gradients) return integrate(in, out, err);
  xcoder_status status = XCI_ALLOC(&metric, 2 * n_sequences, err);
  for (size_t q = 0; !status && q < n_sequences; q++) {
    metric[2 * q] = out->clean[q * n + in->checkpoint];
    metric[2 * q + 1] = out->baseline[q * n + in->checkpoint];
  }
  const xci_gradients of = {in->s->n_rows, in->bench->d_model, n_sequences, in->n_nodes, in->bench->info->layer,
                            in->clean, in->target, in->s->start, in->alpha, in->weight, in->right, in->wrong, metric,
                            in->path->tolerance};
  if (!status) status = xci_make_folder(in->path->gradients, err);
  if (!status) status = xci_gradients_name(&of, in->path->gradients, &file, err);
  if (!status && !xci_gradients_read(&of, file, in->gbar)) {
    status = integrate(in, out, err);
    if (!status) status = xci_gradients_write(&of, file, in->gbar, err);
  }
  xci_free(metric);
  xci_free(file);
  return status;
}

/* sign * f * <gbar, W_dec> for each code of each position; positions are independent. */
static void multiply_codes(const integral *in, const xci_stretch *of, double sign, double *out) {
  const xci_bench *bench = in->bench;
  const size_t c = in->checkpoint, d = bench->d_model;
#pragma omp parallel for num_threads(xci_threads()) schedule(dynamic, 4)
  for (size_t k = 0; k < of->n_unmasked; k++)
    for (size_t j = of->codes.start[k]; j < of->codes.start[k + 1]; j++) {
      const float *w = xci_bench_decoder(bench, of->codes.index[j], c);
      const double slope = xci_dot(in->gbar + of->row[k] * d, w, d) * (double)bench->unit[c];
      out[j * bench->n + c] = sign * (double)of->codes.value[j] * slope;
    }
}

/* Error and bias of one position, and its gradient for the mean features. */
static void add_position(const integral *in, const xci_stretch *counter, size_t k, size_t q, xci_node_effects *out) {
  const xci_bench *bench = in->bench;
  const size_t d = bench->d_model, n = bench->n, c = in->checkpoint, row = in->s->row[k];
  const float *g = in->gbar + row * d, *x = in->s->hidden + (row * n + c) * d;
  const float *xhat = in->s->decoded + (k * n + c) * d;
  double error = 0, bias = 0;
  for (size_t j = 0; j < d; j++) {
    double other = 0;
    if (in->path->baseline == XCODER_MEAN) other = in->path->mean_error[c * d + j];
    if (counter)
      other = (double)counter->hidden[(row * n + c) * d + j] - (double)counter->decoded[(k * n + c) * d + j];
    error += (double)g[j] * (other - ((double)x[j] - (double)xhat[j]));
    bias += (double)g[j] * (double)bench->b_dec[c * d + j];
    if (out->gradient) out->gradient[(q * n + c) * d + j] += g[j];
  }
  out->error[q * n + c] += error;
  if (in->path->baseline == XCODER_ORIGIN) out->bias[q * n + c] -= bias * (double)bench->unit[c];
}

static xcoder_status measure_ends(integral *in, xci_node_effects *out, xcoder_error *err) {
  xcoder_model *model = in->bench->setting->models[in->checkpoint];
  const size_t n_sequences = in->s->n_sequences, n = in->bench->n;
  double *value = NULL;
  xcoder_status status = XCI_ALLOC(&value, 2 * n_sequences, err);
  if (!status)
    status = xcoder_model_metric(model, in->bench->info->layer, in->clean, in->s->start, n_sequences, in->right,
                                 in->wrong, value, NULL, err);
  if (!status)
    status = xcoder_model_metric(model, in->bench->info->layer, in->target, in->s->start, n_sequences, in->right,
                                 in->wrong, value + n_sequences, NULL, err);
  for (size_t q = 0; !status && q < n_sequences; q++) {
    out->clean[q * n + in->checkpoint] = value[q];
    out->baseline[q * n + in->checkpoint] = value[n_sequences + q];
  }
  xci_free(value);
  return status;
}

static xcoder_status effects_create(const xci_bench *bench, const xci_path *path, const xci_stretch *s,
                                    const xci_stretch *counter, xci_node_effects *out, xcoder_error *err) {
  const size_t n_cells = s->n_sequences * bench->n;
  xcoder_status status = XCI_ALLOC(&out->code, s->codes.start[s->n_unmasked] * bench->n, err);
  if (!status && counter) status = XCI_ALLOC(&out->other, counter->codes.start[counter->n_unmasked] * bench->n, err);
  if (!status && path->baseline == XCODER_MEAN) status = XCI_ALLOC(&out->gradient, n_cells * bench->d_model, err);
  if (!status) status = XCI_ALLOC(&out->error, n_cells, err);
  if (!status) status = XCI_ALLOC(&out->bias, n_cells, err);
  if (!status) status = XCI_ALLOC(&out->clean, n_cells, err);
  if (!status) status = XCI_ALLOC(&out->baseline, n_cells, err);
  return status;
}

void xci_node_effects_close(xci_node_effects *effects) {
  xci_free(effects->code);
  xci_free(effects->other);
  xci_free(effects->gradient);
  xci_free(effects->error);
  xci_free(effects->bias);
  xci_free(effects->clean);
  xci_free(effects->baseline);
  *effects = (xci_node_effects){0};
}

xcoder_status xci_node_effects_open(const xci_bench *bench, const xci_path *path, const xci_stretch *s,
                                    const xci_stretch *counter, const uint32_t *right, const uint32_t *wrong,
                                    xci_node_effects *out, xcoder_error *err) {
  integral in = {.bench = bench, .path = path, .s = s, .right = right, .wrong = wrong};
  *out = (xci_node_effects){0};
  xcoder_status status = effects_create(bench, path, s, counter, out, err);
  if (!status) status = integral_open(&in, err);
  for (size_t c = 0; !status && c < bench->n; c++) {
    set_ends(&in, counter, c);
    status = place_first_nodes(&in, err);
    if (!status) status = measure_ends(&in, out, err);
    if (!status) status = integrate_once(&in, out, err);
    if (status) break;
    multiply_codes(&in, s, -1, out->code);
    if (counter) multiply_codes(&in, counter, 1, out->other);
    for (size_t k = 0, q = 0; k < s->n_unmasked; k++) {
      while (s->row[k] >= s->start[q + 1]) q++;
      add_position(&in, counter, k, q, out);
    }
  }
  integral_close(&in);
  if (status) xci_node_effects_close(out);
  return status;
}
