/* SPDX-License-Identifier: Apache-2.0 */
/* Losses, gradients and the update on an OpenCL device. Few codes go through lists, many (a feature in eight, as in the
 * first steps of training) through dense products; the number of codes alone decides. */
#include "compute/opencl/coder.h"

#include "base/size.h"
#include <crosscoder/coder.h>
#include <math.h>
#include <string.h>

/* The length of a list becomes a result; a list of more than `most` codes becomes empty. */
static xcoder_status limit_list(xcoder_device *device, xci_coder *c, cl_mem start, size_t n, size_t most,
                                xcoder_error *err) {
  return xci_cl_run(device, "limit_list", 1, 1, err, "muumu", start, (unsigned)n,
                    (unsigned)xci_min_size(most, UINT32_MAX), c->results, 2u * XCI_CL_COUNT + 1);
}

/* Lists by latent in index (samples), latent, value, of at most n_codes. */
static xcoder_status list_columns(xcoder_device *device, xci_coder *c, size_t n_codes, xcoder_error *err) {
  size_t chunks = xci_cl_chunks(c);
  xcoder_status status = xci_cl_reserve(device, &c->latent, &c->latent_bytes, n_codes, sizeof(cl_uint), err);
  if (!status) status = xci_cl_reserve(device, &c->df, &c->df_bytes, n_codes, sizeof(float), err);
  if (!status)
    status = xci_cl_run(device, "count_columns", xci_cl_groups(c->shape.n_latents), chunks, err, "muuum", c->f,
                        (unsigned)c->n_samples, xci_cl_latents(c), 0u, c->column_counts);
  if (!status)
    status = xci_cl_run(device, "add_counts", xci_cl_groups(c->shape.n_latents), 1, err, "muum", c->column_counts,
                        (unsigned)chunks, xci_cl_latents(c), c->column_totals);
  if (!status)
    status = xci_cl_run(device, "scan", 1, 1, err, "mum", c->column_totals, xci_cl_latents(c), c->column_start);
  if (!status) status = limit_list(device, c, c->column_start, c->shape.n_latents, n_codes, err);
  if (!status)
    status = xci_cl_run(device, "write_columns", xci_cl_groups(c->shape.n_latents), chunks, err, "muummmmm", c->f,
                        (unsigned)c->n_samples, xci_cl_latents(c), c->column_start, c->column_counts, c->index,
                        c->latent, c->value);
  return status;
}

static xcoder_status weigh(xcoder_device *device, xci_coder *c, double l1, xcoder_error *err) {
  return xci_cl_run(device, "weigh", xci_cl_groups(c->shape.n_latents), 1, err, "mmuufmmm", c->norms, c->sums,
                    xci_cl_latents(c), (unsigned)c->shape.n_checkpoints, l1 / (double)c->n_samples, c->decay, c->push,
                    c->sparsity);
}

/* The gradient of a panel's `tensor` from lists; w: its value where `decay` is wanted, else NULL. */
static xcoder_status gather(xcoder_device *device, xci_coder *c, const xci_cl_panel *p, cl_mem values, cl_mem rows,
                            double scale, cl_mem w, xci_coder_tensor tensor, xcoder_error *err) {
  cl_mem g;
  xcoder_status status = xci_cl_panel_in(device, c, p, tensor, XCI_GRADIENT, false, &g, err);
  if (!status)
    status = xci_cl_run(device, "gather_gradient", xci_cl_groups(c->columns), p->n, err, "mmmmufummuuum",
                        c->column_start, c->index, values, rows, xci_cl_columns(c), scale, (unsigned)(w != NULL),
                        c->decay, w, (unsigned)c->shape.d_model, xci_cl_latents(c), (unsigned)p->first, g);
  return status ? status : xci_cl_panel_out(device, c, p, tensor, XCI_GRADIENT, err);
}

/* df of a panel's codes by latent: the gradients of thresholds and of b_enc, and no gradient for what is shut. */
static xcoder_status jump_lists(xcoder_device *device, xci_coder *c, const xci_cl_panel *p, double share,
                                xcoder_error *err) {
  return xci_cl_run(device, "jump_lists", xci_cl_teams(p->n), 1, err, "mmuummfmmm", c->column_start, c->value,
                    (unsigned)p->first, (unsigned)p->n, c->threshold, c->margin, share, c->df,
                    c->tensor[XCI_B_ENC][XCI_GRADIENT], c->threshold_gradient);
}

/* The same of the dense form, but for b_enc. */
static xcoder_status jump_columns(xcoder_device *device, xci_coder *c, const xci_cl_panel *p, double share,
                                  xcoder_error *err) {
  const size_t chunks = xci_cl_chunks(c);
  const unsigned first = (unsigned)p->first, n = (unsigned)p->n;
  xcoder_status status = xci_cl_reserve(device, &c->parts, &c->parts_bytes, chunks * p->n, 2 * sizeof(float), err);
  if (!status)
    status = xci_cl_run(device, "jump_parts", xci_cl_groups(n), chunks, err, "muuuummmm", c->f, (unsigned)c->n_samples,
                        xci_cl_latents(c), first, n, c->threshold, c->margin, c->df, c->parts);
  return status ? status : xci_cl_run(device, "jump_gradient", xci_cl_groups(n), 1, err, "muuummfm", c->parts,
                                      (unsigned)chunks, first, n, c->threshold, c->margin, share,
                                      c->threshold_gradient);
}

static xcoder_status sparse_panel(xcoder_device *device, xci_coder *c, const xci_cl_panel *p, size_t n_codes,
                                  const xci_objective *o, double scale, xcoder_error *err) {
  cl_mem w_dec;
  xcoder_status status = xci_cl_panel_in(device, c, p, XCI_W_DEC, XCI_VALUE, true, &w_dec, err);
  if (!status)
    status = xci_cl_run(device, "code_gradients", xci_cl_teams(n_codes), 1, err, "muummmmufmm", c->column_start,
                        (unsigned)p->first, (unsigned)p->n, c->index, c->latent, c->residual, w_dec, xci_cl_columns(c),
                        scale, c->push, c->df);
  if (!status && c->has_near) status = jump_lists(device, c, p, o->l0_coefficient / (double)c->n_samples, err);
  if (!status) status = gather(device, c, p, c->value, c->residual, scale, w_dec, XCI_W_DEC, err);
  if (!status) status = gather(device, c, p, c->df, c->x, 1, NULL, XCI_W_ENC, err);
  return status;
}

static xcoder_status sparse_gradients(xcoder_device *device, xci_coder *c, size_t n_codes, const xci_objective *o,
                                      double scale, xcoder_error *err) {
  xcoder_status status = list_columns(device, c, n_codes, err);
  if (!status)
    status = xci_cl_run(device, "latent_sums", xci_cl_teams(c->shape.n_latents), 1, err, "mmumum", c->column_start,
                        c->value, xci_cl_latents(c), c->sums, 1u, c->positive);
  if (!status) status = weigh(device, c, o->l1_coefficient, err);
  for (size_t i = 0; i < c->n_panels && !status; i++)
    status = sparse_panel(device, c, &c->panels[i], n_codes, o, scale, err);
  if (!status && !c->has_near)
    status = xci_cl_run(device, "latent_sums", xci_cl_teams(c->shape.n_latents), 1, err, "mmumum", c->column_start,
                        c->df, xci_cl_latents(c), c->tensor[XCI_B_ENC][XCI_GRADIENT], 0u, c->positive);
  return status;
}

static xcoder_status dense_decoder(xcoder_device *device, xci_coder *c, const xci_cl_panel *p, const xci_objective *o,
                                   double scale, xcoder_error *err) {
  const size_t latents = c->shape.n_latents, columns = c->columns, n = c->n_samples;
  const xci_cl_matrix f = {c->f, p->first, latents, true}, residual = {c->residual, 0, columns, false};
  const xci_cl_matrix df = {c->df, p->first, latents, false};
  cl_mem w, g;
  xcoder_status status = xci_cl_panel_in(device, c, p, XCI_W_DEC, XCI_VALUE, true, &w, err);
  if (!status) status = xci_cl_panel_in(device, c, p, XCI_W_DEC, XCI_GRADIENT, false, &g, err);
  if (!status)
    status = xci_cl_coder_gemm(device, n, p->n, columns, (float)scale, residual,
                               (xci_cl_matrix){w, 0, columns, true}, 0, df, err);
  if (!status)
    status = xci_cl_run(device, "mask_gradients", xci_cl_groups(p->n), n, err, "mmuuum", c->f, c->push,
                        xci_cl_latents(c), (unsigned)p->first, (unsigned)p->n, c->df);
  if (!status && c->has_near) status = jump_columns(device, c, p, o->l0_coefficient / (double)n, err);
  if (!status)
    status = xci_cl_run(device, "start_gradient", xci_cl_groups(columns), p->n, err, "mmuuuum", c->decay, w,
                        xci_cl_columns(c), (unsigned)c->shape.d_model, xci_cl_latents(c), (unsigned)p->first, g);
  if (!status)
    status = xci_cl_coder_gemm(device, p->n, columns, n, (float)scale, f, residual, 1,
                               (xci_cl_matrix){g, 0, columns, false}, err);
  return status ? status : xci_cl_panel_out(device, c, p, XCI_W_DEC, XCI_GRADIENT, err);
}

static xcoder_status dense_encoder(xcoder_device *device, xci_coder *c, const xci_cl_panel *p, xcoder_error *err) {
  const size_t columns = c->columns;
  cl_mem g;
  xcoder_status status = xci_cl_panel_in(device, c, p, XCI_W_ENC, XCI_GRADIENT, false, &g, err);
  if (!status)
    status = xci_cl_coder_gemm(device, p->n, columns, c->n_samples, 1,
                               (xci_cl_matrix){c->df, p->first, c->shape.n_latents, true},
                               (xci_cl_matrix){c->x, 0, columns, false}, 0, (xci_cl_matrix){g, 0, columns, false}, err);
  return status ? status : xci_cl_panel_out(device, c, p, XCI_W_ENC, XCI_GRADIENT, err);
}

static xcoder_status dense_gradients(xcoder_device *device, xci_coder *c, const xci_objective *o, double scale,
                                     xcoder_error *err) {
  size_t latents = c->shape.n_latents, n = c->n_samples, chunks = xci_cl_chunks(c);
  xcoder_status status = xci_cl_reserve(device, &c->df, &c->df_bytes, n * latents, sizeof(float), err);
  if (!status) status = xci_cl_sum_columns(device, c, c->f, latents, 1, c->sums, err);
  if (!status)
    status = xci_cl_run(device, "count_columns", xci_cl_groups(latents), chunks, err, "muuum", c->f, (unsigned)n,
                        xci_cl_latents(c), 1u, c->column_counts);
  if (!status)
    status = xci_cl_run(device, "add_counts", xci_cl_groups(latents), 1, err, "muum", c->column_counts,
                        (unsigned)chunks, xci_cl_latents(c), c->positive);
  if (!status) status = weigh(device, c, o->l1_coefficient, err);
  for (size_t i = 0; i < c->n_panels && !status; i++) {
    status = dense_decoder(device, c, &c->panels[i], o, scale, err);
    if (!status) status = dense_encoder(device, c, &c->panels[i], err);
  }
  return status ? status
                : xci_cl_sum_columns(device, c, c->df, latents, 1, c->tensor[XCI_B_ENC][XCI_GRADIENT], err);
}

static double pair_of(const float *results, size_t slot) {
  return (double)results[2 * slot] + (double)results[2 * slot + 1];
}

static xcoder_status find_least_score(xcoder_device *device, xci_coder *c, xcoder_error *err) {
  xcoder_status status = xci_cl_reserve(device, &c->parts, &c->parts_bytes, c->n_samples, sizeof(float), err);
  if (!status) status = xci_cl_fill_scores(device, c, err);
  if (!status)
    status = xci_cl_run(device, "least_scores", c->n_samples, 1, err, "mmum", c->f, c->score, xci_cl_latents(c),
                        c->parts);
  return status ? status : xci_cl_run(device, "least_of_rows", 1, 1, err, "mumu", c->parts, (unsigned)c->n_samples,
                                      c->results, (unsigned)XCI_CL_LEAST);
}

/* From value `to` of the results. */
static xcoder_status append_thresholds(xcoder_device *device, xci_coder *c, size_t to, xcoder_error *err) {
  const size_t latents = c->shape.n_latents, n_parts = xci_ceil_div(latents, XCI_CL_SQUARES);
  xcoder_status status = xci_cl_reserve(device, &c->parts, &c->parts_bytes, n_parts, sizeof(float), err);
  if (!status)
    status = xci_cl_run(device, "square_parts", n_parts, 1, err, "muum", c->threshold_gradient, xci_cl_latents(c), 0u,
                        c->parts);
  if (!status) status = xci_cl_sum_pairs(device, c, c->parts, 0, n_parts, XCI_CL_THRESHOLD_SQUARES, err);
  return status ? status : xci_cl_copy(device, c->threshold_gradient, 0, c->results, to * sizeof(float),
                                       latents * sizeof(float), err);
}

/* Results that only some ask for; *n_values: of all that is to be read. */
static xcoder_status append_results(xcoder_device *device, xci_coder *c, const xci_objective *o, size_t *n_values,
                                    xcoder_error *err) {
  const size_t n_words = xci_ceil_div(c->shape.n_latents, 32);
  xcoder_status status = c->is_ranked ? find_least_score(device, c, err) : XCODER_OK;
  *n_values = 2 * XCI_CL_RESULTS;
  if (!status && o->fired != NULL) {
    status = xci_cl_run(device, "pack_fired", xci_cl_groups(n_words), 1, err, "mumu", c->positive, xci_cl_latents(c),
                        c->results, (unsigned)*n_values);
    *n_values += n_words;
  }
  if (!status && o->threshold_gradient != NULL) {
    status = append_thresholds(device, c, *n_values, err);
    *n_values += c->shape.n_latents;
  }
  return status;
}

/* What append_results() has asked for. */
static void take_results(const xci_coder *c, const xci_objective *o, xci_losses *losses) {
  const size_t latents = c->shape.n_latents, n_words = xci_ceil_div(latents, 32);
  const float *from = c->host_results + 2 * XCI_CL_RESULTS;
  if (c->is_ranked) losses->least_score = pair_of(c->host_results, XCI_CL_LEAST);
  if (o->fired != NULL) memcpy(o->fired, from, n_words * sizeof *o->fired);
  if (o->fired != NULL) from += n_words;
  if (o->threshold_gradient != NULL) memcpy(o->threshold_gradient, from, latents * sizeof *from);
  double variance = o->n_dead > 0 ? pair_of(c->host_results, XCI_CL_VARIANCE) : 0;
  if (variance > 0) losses->auxiliary = pair_of(c->host_results, XCI_CL_AUXILIARY) / variance;
}

/* The one place in a step that waits. */
static xcoder_status read_losses(xcoder_device *device, xci_coder *c, const xci_objective *objective,
                                 xci_losses *losses, size_t *n_codes, xcoder_error *err) {
  float *results = c->host_results;
  cl_uint positive = 0, all = 0;
  double n = (double)c->n_samples, square = 0;
  size_t n_values = 0;
  xcoder_status status = xci_cl_sum_errors(device, c, c->residual, err);
  for (size_t i = 0; i < c->shape.n_checkpoints && !status; i++)
    status = xci_cl_sum_pairs(device, c, c->parts, i * c->n_samples, c->n_samples, (unsigned)i, err);
  if (!status) status = xci_cl_sum_pairs(device, c, c->sparsity, 0, c->shape.n_latents, XCI_CL_SPARSITY, err);
  for (int t = 0; t < XCI_N_TENSORS && !status; t++) status = xci_cl_sum_squares(device, c, t, err);
  if (!status)
    status = xci_cl_run(device, "scan", 1, 1, err, "mum", c->positive, xci_cl_latents(c), c->positive_start);
  if (!status)
    status = xci_cl_copy(device, c->positive_start, c->shape.n_latents * sizeof positive, c->results,
                         2 * XCI_CL_COUNT * sizeof *results, sizeof positive, err);
  if (!status) status = append_results(device, c, objective, &n_values, err);
  if (!status) status = xci_cl_read(device, c->results, 0, results, n_values * sizeof *results, err);
  if (status) return status;
  for (size_t i = 0; i < c->shape.n_checkpoints; i++) {
    losses->squared_error[i] = pair_of(results, i) / n;
    losses->reconstruction += losses->squared_error[i];
  }
  losses->sparsity = pair_of(results, XCI_CL_SPARSITY) / n;
  for (size_t t = 0; t < XCI_N_TENSORS; t++) square += pair_of(results, XCI_CL_TENSOR_SQUARES + t);
  if (objective->threshold_gradient != NULL) square += pair_of(results, XCI_CL_THRESHOLD_SQUARES);
  take_results(c, objective, losses);
  memcpy(&positive, &results[2 * XCI_CL_COUNT], sizeof positive);
  memcpy(&all, &results[2 * XCI_CL_COUNT + 1], sizeof all);
  *n_codes = all;
  xci_cl_arrived(c);
  losses->l0 = (double)positive / n;
  losses->loss = losses->reconstruction + objective->l1_coefficient * losses->sparsity +
                 objective->auxiliary_coefficient * losses->auxiliary + objective->l0_coefficient * losses->l0;
  losses->gradient_norm = sqrt(square);
  return XCODER_OK;
}

/* Losses and gradients in one form, with room for `most` codes where that is lists; they are right if *n_codes fits. */
static xcoder_status take_gradients(xcoder_device *device, xci_coder *c, const xci_objective *objective, bool dense,
                                    size_t most, xci_losses *losses, size_t *n_codes, xcoder_error *err) {
  double scale = 2.0 / (double)c->n_samples;
  *losses = (xci_losses){0};
  xcoder_status status = xci_cl_start_rows(device, c, err);
  if (!status) status = limit_list(device, c, c->row_start, c->n_samples, dense ? SIZE_MAX : most, err);
  if (!status) status = xci_cl_decode_into(device, c, dense, most, true, c->residual, err);
  if (!status)
    status = xci_cl_sum_columns(device, c, c->residual, c->columns, (float)scale, c->tensor[XCI_B_DEC][XCI_GRADIENT],
                                err);
  if (!status)
    status = dense ? dense_gradients(device, c, objective, scale, err)
                   : sparse_gradients(device, c, most, objective, scale, err);
  if (!status) status = xci_cl_add_auxiliary(device, c, objective, err);
  return status ? status : read_losses(device, c, objective, losses, n_codes, err);
}

/* The number of codes decides between the forms, but asking the device for it would make everything wait. So the batch
 * is taken to be like the one before (with a quarter more room); the number comes back with the losses, and where it
 * does not fit, all is done once more, in the right form. What comes out is a function of the batch alone. */
xcoder_status xci_cl_coder_backward(xcoder_device *device, xci_coder *c, const xci_objective *objective,
                                    xci_losses *losses, xcoder_error *err) {
  if (!c->shape.training) return xci_fail(err, XCODER_USAGE, "crosscoder: it was not opened for training");
  if (!c->has_codes || !c->has_x || c->n_samples == 0)
    return xci_fail(err, XCODER_USAGE, "crosscoder: there is no batch to take gradients of");
  if (objective->threshold_gradient && !c->has_near)
    return xci_fail(err, XCODER_USAGE, "crosscoder: gradients of thresholds need a batch of the gate that trains them");
  c->has_gradient = false;
  size_t n_codes = 0, limit = c->n_samples * c->shape.n_latents / XCI_CL_DENSE_SHARE;
  size_t most = xci_min_size(c->expected, limit);
  bool dense = xci_cl_is_dense(c, c->expected), fits = false;
  xcoder_status status = xci_cl_fill_norms(device, c, err);
  while (!status && !fits) {
    status = take_gradients(device, c, objective, dense, most, losses, &n_codes, err);
    fits = dense == xci_cl_is_dense(c, n_codes) && (dense || n_codes <= most);
    dense = xci_cl_is_dense(c, n_codes);
    most = xci_min_size(n_codes, limit);
  }
  if (status) return status;
  c->expected = xci_cl_expected_codes(n_codes);
  if (!dense) c->expected = xci_min_size(c->expected, limit);
  c->gradient_norm = losses->gradient_norm;
  c->has_gradient = true;
  return XCODER_OK;
}

/* Adam of n values. memory: by slot. */
static xcoder_status run_adam(xcoder_device *device, const xci_adam *adam, double clip, size_t n,
                              const cl_mem memory[XCI_CL_SLOTS], xcoder_error *err) {
  const double t = (double)adam->step;
  return xci_cl_run(device, "adam", xci_cl_groups(n), 1, err, "uffffffffmmmm", (unsigned)n, clip, adam->beta1,
                    1 - adam->beta1, adam->beta2, 1 - adam->beta2, adam->learning_rate / (1 - pow(adam->beta1, t)),
                    1 / sqrt(1 - pow(adam->beta2, t)), adam->epsilon, memory[XCI_VALUE], memory[XCI_MOMENT1],
                    memory[XCI_MOMENT2], memory[XCI_GRADIENT]);
}

static xcoder_status update_panel(xcoder_device *device, xci_coder *c, const xci_cl_panel *p, xci_coder_tensor tensor,
                                  const xci_adam *adam, double clip, xcoder_error *err) {
  cl_mem memory[XCI_CL_SLOTS];
  xcoder_status status = XCODER_OK;
  for (int s = 0; s < XCI_CL_SLOTS && !status; s++)
    status = xci_cl_panel_in(device, c, p, tensor, (xci_coder_slot)s, true, &memory[s], err);
  if (!status) status = run_adam(device, adam, clip, p->n * c->columns, memory, err);
  for (int s = 0; s < XCI_GRADIENT && !status; s++)
    status = xci_cl_panel_out(device, c, p, tensor, (xci_coder_slot)s, err);
  return status;
}

xcoder_status xci_cl_coder_update(xcoder_device *device, xci_coder *c, const xci_adam *adam, xcoder_error *err) {
  if (!c->has_gradient) return xci_fail(err, XCODER_USAGE, "crosscoder: an update without a gradient");
  if (adam->step == 0 || !(adam->epsilon > 0))
    return xci_fail(err, XCODER_USAGE, "crosscoder: Adam needs a step from 1 and a positive epsilon");
  double clip = 1;
  if (adam->clip_norm > 0 && !(adam->clip_norm / (c->gradient_norm + 1e-6) >= 1)) /* so that NaN spreads */
    clip = adam->clip_norm / (c->gradient_norm + 1e-6);
  xcoder_status status = run_adam(device, adam, clip, c->n_values[XCI_B_ENC], c->tensor[XCI_B_ENC], err);
  if (!status) status = run_adam(device, adam, clip, c->n_values[XCI_B_DEC], c->tensor[XCI_B_DEC], err);
  for (size_t i = 0; i < c->n_panels && !status; i++) {
    status = update_panel(device, c, &c->panels[i], XCI_W_ENC, adam, clip, err);
    if (!status) status = update_panel(device, c, &c->panels[i], XCI_W_DEC, adam, clip, err);
  }
  c->norms_valid = false;
  return status;
}
