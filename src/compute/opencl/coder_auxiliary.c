/* SPDX-License-Identifier: Apache-2.0 */
/* The auxiliary term on an OpenCL device: dead latents reconstruct the residual. Their weights are copied together,
 * some at a time and of one panel, so that everything is a dense product of few latents. */
#include "compute/opencl/coder.h"

#include "base/size.h"

enum { CHOSEN, WEIGHTS, GRADIENT, B_ENC, F, R, MEAN, ONES, ZEROS, N_ARRAYS = XCI_CL_AUXILIARY_ARRAYS };
/* Weights that are copied together, at most, and what of the free memory may be taken for them and their gradient;
 * latents that are copied together where there is less. */
enum { SOME = 1 << 24, FREE_SHARE = 4, FEW = 64 };

typedef struct auxiliary {
  cl_mem *array; /* the crosscoder's */
  const uint32_t *dead;
  size_t n, columns, each; /* dead latents, columns, most latents of a chunk */
} auxiliary;

/* Dead latents number from .. from + n - 1, all of one panel. */
typedef struct chunk {
  const xci_cl_panel *panel;
  size_t from, n;
} chunk;

static bool next_chunk(const xci_coder *c, const auxiliary *a, chunk *k) {
  k->from += k->n;
  k->n = 0;
  if (k->from == a->n) return false;
  if (k->panel == NULL) k->panel = c->panels;
  while (a->dead[k->from] >= k->panel->first + k->panel->n) k->panel++;
  while (k->from + k->n < a->n && k->n < a->each && a->dead[k->from + k->n] < k->panel->first + k->panel->n) k->n++;
  return true;
}

static xci_cl_matrix rows_of(cl_mem memory, size_t stride) { return (xci_cl_matrix){memory, 0, stride, false}; }
static xci_cl_matrix columns_of(cl_mem memory, size_t stride) { return (xci_cl_matrix){memory, 0, stride, true}; }

/* Rows of `from`, whose first is that of latent `first`. */
static xcoder_status gather(xcoder_device *device, const auxiliary *a, const chunk *k, cl_mem from, size_t first,
                            size_t columns, cl_mem to, xcoder_error *err) {
  return xci_cl_run(device, "gather_rows", xci_cl_groups(columns), k->n, err, "mmuuum", from, a->array[CHOSEN],
                    (unsigned)k->from, (unsigned)first, (unsigned)columns, to);
}

static xcoder_status add(xcoder_device *device, const auxiliary *a, const chunk *k, cl_mem what, size_t first,
                         size_t columns, cl_mem to, xcoder_error *err) {
  return xci_cl_run(device, "add_rows", xci_cl_groups(columns), k->n, err, "mmuuum", what, a->array[CHOSEN],
                    (unsigned)k->from, (unsigned)first, (unsigned)columns, to);
}

/* A chunk's weights into WEIGHTS. */
static xcoder_status copy_weights(xcoder_device *device, xci_coder *c, const auxiliary *a, const chunk *k,
                                  xci_coder_tensor tensor, xcoder_error *err) {
  cl_mem w;
  xcoder_status status = xci_cl_panel_in(device, c, k->panel, tensor, XCI_VALUE, true, &w, err);
  return status ? status : gather(device, a, k, w, k->panel->first, a->columns, a->array[WEIGHTS], err);
}

/* A chunk's GRADIENT to that of all. */
static xcoder_status add_weights(xcoder_device *device, xci_coder *c, const auxiliary *a, const chunk *k,
                                 xci_coder_tensor tensor, xcoder_error *err) {
  cl_mem g;
  xcoder_status status = xci_cl_panel_in(device, c, k->panel, tensor, XCI_GRADIENT, true, &g, err);
  if (!status) status = add(device, a, k, a->array[GRADIENT], k->panel->first, a->columns, g, err);
  return status ? status : xci_cl_panel_out(device, c, k->panel, tensor, XCI_GRADIENT, err);
}

void xci_cl_auxiliary_counts(const xci_coder *c, size_t n, size_t each, size_t batch, size_t counts[N_ARRAYS]) {
  const size_t weights = each * c->columns;
  const size_t all[N_ARRAYS] = {n, weights, weights, n, batch * n, batch * c->columns, c->columns, n, n};
  for (size_t i = 0; i < N_ARRAYS; i++) counts[i] = all[i];
}

size_t xci_cl_auxiliary_least(const xci_coder *c) { return xci_min_size(c->shape.n_latents, FEW); }

xcoder_status xci_cl_widen_auxiliary(xcoder_device *device, xci_coder *c, xcoder_error *err) {
  const xci_cl *cl = xci_cl_of(device);
  size_t most = xci_min_size(SOME, (cl->memory - cl->used) / FREE_SHARE / 2 / sizeof(float)); /* values of a chunk */
  if (xci_cl_wished_panel() > 0) most = xci_cl_wished_panel();
  most = xci_min_size(xci_min_size(most, cl->max_buffer / sizeof(float)), c->n_values[XCI_W_ENC]);
  xcoder_status status = XCODER_OK;
  for (int i = WEIGHTS; i <= GRADIENT && !status; i++)
    if (most * sizeof(float) > c->auxiliary_bytes[i]) {
      c->auxiliary_bytes[i] = 0; /* exactly as much: it does not grow again */
      status = xci_cl_reserve(device, &c->auxiliary[i], &c->auxiliary_bytes[i], most, sizeof(float), err);
    }
  return status;
}

static xcoder_status prepare(xcoder_device *device, xci_coder *c, auxiliary *a, xcoder_error *err) {
  size_t batch = c->n_samples, n = a->n, counts[N_ARRAYS];
  const chunk all = {NULL, 0, n};
  xcoder_status status = XCODER_OK;
  xci_cl_auxiliary_counts(c, n, a->each, batch, counts);
  for (int i = 0; i < N_ARRAYS && !status; i++) /* more than there is only where the shape did not announce the term */
    status = xci_cl_reserve(device, &c->auxiliary[i], &c->auxiliary_bytes[i], counts[i], sizeof(float), err);
  /* The codes' own gradients are not needed any more. */
  if (!status) status = xci_cl_reserve(device, &c->df, &c->df_bytes, batch * n, sizeof(float), err);
  if (!status)
    status = xci_cl_post(device, c, XCI_CL_DEAD, c->shape.n_latents * sizeof *a->dead, a->array[CHOSEN], a->dead,
                         n * sizeof *a->dead, err);
  if (!status) status = gather(device, a, &all, c->tensor[XCI_B_ENC][XCI_VALUE], 0, 1, a->array[B_ENC], err);
  if (!status) status = xci_cl_run(device, "fill", xci_cl_groups(n), 1, err, "muf", a->array[ONES], (unsigned)n, 1.0);
  return status ? status : xci_cl_zero(device, a->array[ZEROS], 0, n * sizeof(float), err);
}

/* results[slot] = sum of squares of R. */
static xcoder_status sum_squares(xcoder_device *device, xci_coder *c, const auxiliary *a, unsigned slot,
                                 xcoder_error *err) {
  xcoder_status status = xci_cl_sum_errors(device, c, a->array[R], err);
  return status ? status
                : xci_cl_sum_pairs(device, c, c->parts, 0, c->n_samples * c->shape.n_checkpoints, slot, err);
}

/* Squares of e minus its mean over samples; the residual is -e. */
static xcoder_status find_variance(xcoder_device *device, xci_coder *c, auxiliary *a, xcoder_error *err) {
  xcoder_status status = xci_cl_sum_columns(device, c, c->residual, c->columns, 1 / (float)c->n_samples,
                                            a->array[MEAN], err);
  if (!status)
    status = xci_cl_run(device, "subtract_mean", xci_cl_groups(c->columns), c->n_samples, err, "mmum", c->residual,
                        a->array[MEAN], (unsigned)c->columns, a->array[R]);
  return status ? status : sum_squares(device, c, a, XCI_CL_VARIANCE, err);
}

/* The n_auxiliary largest positive pre-activations of each sample. */
static xcoder_status choose(xcoder_device *device, xci_coder *c, const xci_objective *o, auxiliary *a,
                            xcoder_error *err) {
  const unsigned n = (unsigned)a->n, k = (unsigned)xci_min_size(o->n_auxiliary, UINT32_MAX - 1);
  cl_mem f = a->array[F];
  chunk part = {0};
  xcoder_status status = XCODER_OK;
  while (!status && next_chunk(c, a, &part)) {
    status = copy_weights(device, c, a, &part, XCI_W_ENC, err);
    if (!status)
      status = xci_cl_coder_gemm(device, c->n_samples, part.n, a->columns, 1, rows_of(c->x, a->columns),
                                 columns_of(a->array[WEIGHTS], a->columns), 0,
                                 (xci_cl_matrix){f, part.from, a->n, false}, err);
  }
  if (!status)
    status = xci_cl_run(device, "gate", xci_cl_groups(a->n), c->n_samples, err, "mmmmuu", f, a->array[B_ENC],
                        a->array[ZEROS], a->array[ZEROS], 0u, n);
  if (!status) status = xci_cl_run(device, "count_rows", c->n_samples, 1, err, "mum", f, n, c->row_counts);
  if (!status)
    status = xci_cl_run(device, "find_kth_of_rows", c->n_samples, 1, err, "mmuumm", f, a->array[ONES], n, k,
                        c->row_counts, c->state);
  if (!status)
    status = xci_cl_run(device, "prune", c->n_samples, 1, err, "mmuumm", f, a->array[ONES], n, 1u, c->state,
                        c->row_start);
  return status;
}

/* R becomes e minus what the chosen features say of it. */
static xcoder_status reconstruct(xcoder_device *device, xci_coder *c, auxiliary *a, xcoder_error *err) {
  chunk k = {0};
  xcoder_status status =
    xci_cl_copy(device, c->residual, 0, a->array[R], 0, c->n_samples * c->columns * sizeof(float), err);
  while (!status && next_chunk(c, a, &k)) {
    status = copy_weights(device, c, a, &k, XCI_W_DEC, err);
    if (!status)
      status = xci_cl_coder_gemm(device, c->n_samples, c->columns, k.n, 1,
                                 (xci_cl_matrix){a->array[F], k.from, a->n, false},
                                 rows_of(a->array[WEIGHTS], c->columns), 1, rows_of(a->array[R], c->columns), err);
  }
  return status;
}

static xcoder_status chunk_gradients(xcoder_device *device, xci_coder *c, auxiliary *a, const chunk *k,
                                     xcoder_error *err) {
  const size_t batch = c->n_samples, n = a->n, columns = a->columns;
  const xci_cl_matrix f = {a->array[F], k->from, n, true}, g = rows_of(a->array[GRADIENT], columns);
  const xci_cl_matrix r = rows_of(a->array[R], columns), df = {c->df, k->from, n, false};
  xcoder_status status = copy_weights(device, c, a, k, XCI_W_DEC, err);
  if (!status)
    status = xci_cl_coder_gemm(device, batch, k->n, columns, 1, r, columns_of(a->array[WEIGHTS], columns), 0, df,
                               err);
  if (!status)
    status = xci_cl_run(device, "mask_gradients", xci_cl_groups(k->n), batch, err, "mmuuum", a->array[F],
                        a->array[ZEROS], (unsigned)n, (unsigned)k->from, (unsigned)k->n, c->df);
  if (!status) status = xci_cl_coder_gemm(device, k->n, columns, batch, 1, f, r, 0, g, err);
  if (!status) status = add_weights(device, c, a, k, XCI_W_DEC, err);
  if (!status)
    status = xci_cl_coder_gemm(device, k->n, columns, batch, 1, (xci_cl_matrix){c->df, k->from, n, true},
                               rows_of(c->x, columns), 0, g, err);
  return status ? status : add_weights(device, c, a, k, XCI_W_ENC, err);
}

static xcoder_status add_gradients(xcoder_device *device, xci_coder *c, auxiliary *a, xcoder_error *err) {
  const chunk all = {NULL, 0, a->n};
  chunk k = {0};
  xcoder_status status = XCODER_OK;
  while (!status && next_chunk(c, a, &k)) status = chunk_gradients(device, c, a, &k, err);
  if (!status) status = xci_cl_sum_columns(device, c, c->df, a->n, 1, a->array[B_ENC], err);
  return status ? status
                : add(device, a, &all, a->array[B_ENC], 0, 1, c->tensor[XCI_B_ENC][XCI_GRADIENT], err);
}

/* The variance stays on the device: R is divided by it there, and without variance becomes 0. */
static xcoder_status add_term(xcoder_device *device, xci_coder *c, const xci_objective *o, auxiliary *a,
                              xcoder_error *err) {
  const size_t n_values = c->n_samples * c->columns;
  xcoder_status status = prepare(device, c, a, err);
  if (!status) status = find_variance(device, c, a, err);
  if (!status) status = choose(device, c, o, a, err);
  if (!status) status = reconstruct(device, c, a, err);
  if (!status) status = sum_squares(device, c, a, XCI_CL_AUXILIARY, err);
  if (!status)
    status = xci_cl_run(device, "divide_by_sum", xci_cl_groups(n_values), 1, err, "mufum", c->results,
                        (unsigned)XCI_CL_VARIANCE, 2 * o->auxiliary_coefficient, (unsigned)n_values, a->array[R]);
  return status ? status : add_gradients(device, c, a, err);
}

xcoder_status xci_cl_add_auxiliary(xcoder_device *device, xci_coder *c, const xci_objective *o, xcoder_error *err) {
  if (o->n_dead == 0) return XCODER_OK;
  xcoder_status status = c->shape.auxiliary ? XCODER_OK : xci_cl_widen_auxiliary(device, c, err);
  const size_t most = c->auxiliary_bytes[GRADIENT] / sizeof(float); /* values of a chunk */
  auxiliary a = {.array = c->auxiliary, .dead = o->dead, .n = o->n_dead, .columns = c->columns,
                 .each = xci_min_size(o->n_dead, xci_max_size(1, most / c->columns))};
  return status ? status : add_term(device, c, o, &a, err);
}
