/* SPDX-License-Identifier: Apache-2.0 */
/* The auxiliary term on an OpenCL device: dead latents reconstruct the residual. Their rows are copied together, so
 * that everything is a dense product of few latents. */
#include "compute/opencl/coder.h"

#include "base/size.h"

enum { CHOSEN, W_ENC, W_DEC, GRADIENT, B_ENC, F, DF, R, MEAN, ONES, ZEROS, N_ARRAYS };

typedef struct auxiliary {
  cl_mem array[N_ARRAYS];
  size_t n, columns; /* dead latents, columns */
} auxiliary;

static size_t groups_of(size_t n) { return xci_ceil_div(n, XCI_CL_GROUP); }
static xci_cl_matrix rows_of(cl_mem memory, size_t stride) { return (xci_cl_matrix){memory, 0, stride, false}; }
static xci_cl_matrix columns_of(cl_mem memory, size_t stride) { return (xci_cl_matrix){memory, 0, stride, true}; }

static xcoder_status gather(xcoder_device *device, const auxiliary *a, cl_mem from, size_t columns, cl_mem to,
                            xcoder_error *err) {
  return xci_cl_run(device, "gather_rows", groups_of(columns), a->n, err, "mmum", from, a->array[CHOSEN],
                    (unsigned)columns, to);
}

static xcoder_status add(xcoder_device *device, const auxiliary *a, cl_mem what, size_t columns, cl_mem to,
                         xcoder_error *err) {
  return xci_cl_run(device, "add_rows", groups_of(columns), a->n, err, "mmum", what, a->array[CHOSEN],
                    (unsigned)columns, to);
}

static xcoder_status prepare(xcoder_device *device, xci_coder *c, const xci_objective *o, auxiliary *a,
                             xcoder_error *err) {
  size_t batch = c->n_samples, n = a->n, weights = n * c->columns;
  const size_t counts[N_ARRAYS] = {n, weights, weights, weights, n, batch * n, batch * n, batch * c->columns,
                                   c->columns, n, n};
  xcoder_status status = XCODER_OK;
  for (int i = 0; i < N_ARRAYS && !status; i++)
    status = xci_cl_alloc(device, counts[i], sizeof(float), &a->array[i], err);
  if (!status) status = xci_cl_write(device, a->array[CHOSEN], 0, o->dead, n * sizeof *o->dead, err);
  if (!status) status = gather(device, a, c->tensor[XCI_W_ENC][XCI_VALUE], c->columns, a->array[W_ENC], err);
  if (!status) status = gather(device, a, c->tensor[XCI_W_DEC][XCI_VALUE], c->columns, a->array[W_DEC], err);
  if (!status) status = gather(device, a, c->tensor[XCI_B_ENC][XCI_VALUE], 1, a->array[B_ENC], err);
  if (!status) status = xci_cl_run(device, "fill", groups_of(n), 1, err, "muf", a->array[ONES], (unsigned)n, 1.0);
  return status ? status : xci_cl_zero(device, a->array[ZEROS], 0, n * sizeof(float), err);
}

/* Mean square of e minus its mean over samples; the residual is -e. */
static xcoder_status find_variance(xcoder_device *device, xci_coder *c, auxiliary *a, double *variance,
                                   xcoder_error *err) {
  float pair[2];
  xcoder_status status = xci_cl_sum_columns(device, c, c->residual, c->columns, 1 / (float)c->n_samples,
                                            a->array[MEAN], err);
  if (!status)
    status = xci_cl_run(device, "subtract_mean", groups_of(c->columns), c->n_samples, err, "mmum", c->residual,
                        a->array[MEAN], (unsigned)c->columns, a->array[R]);
  if (!status) status = xci_cl_sum_errors(device, c, a->array[R], err);
  if (!status)
    status = xci_cl_sum_pairs(device, c, c->parts, 0, c->n_samples * c->shape.n_checkpoints, XCI_CL_AUXILIARY, err);
  if (!status) status = xci_cl_read(device, c->results, XCI_CL_AUXILIARY * sizeof pair, pair, sizeof pair, err);
  *variance = status ? 0 : ((double)pair[0] + (double)pair[1]) / (double)c->n_samples;
  return status;
}

/* The n_auxiliary largest positive pre-activations of each sample. */
static xcoder_status choose(xcoder_device *device, xci_coder *c, const xci_objective *o, auxiliary *a,
                            xcoder_error *err) {
  const unsigned n = (unsigned)a->n, k = (unsigned)xci_min_size(o->n_auxiliary, UINT32_MAX - 1);
  cl_mem f = a->array[F];
  xcoder_status status = xci_cl_coder_gemm(device, c->n_samples, a->n, a->columns, 1, rows_of(c->x, a->columns),
                                           columns_of(a->array[W_ENC], a->columns), 0, rows_of(f, a->n), err);
  if (!status)
    status = xci_cl_run(device, "gate", groups_of(a->n), c->n_samples, err, "mmmuu", f, a->array[B_ENC],
                        a->array[ZEROS], 0u, n);
  if (!status) status = xci_cl_run(device, "count_rows", c->n_samples, 1, err, "mum", f, n, c->row_counts);
  if (!status)
    status = xci_cl_run(device, "find_kth_of_rows", c->n_samples, 1, err, "mmuumm", f, a->array[ONES], n, k,
                        c->row_counts, c->state);
  if (!status)
    status = xci_cl_run(device, "prune", c->n_samples, 1, err, "mmuumm", f, a->array[ONES], n, 1u, c->state,
                        c->row_start);
  return status;
}

static xcoder_status add_gradients(xcoder_device *device, xci_coder *c, auxiliary *a, float scale,
                                   xcoder_error *err) {
  size_t batch = c->n_samples, n = a->n, columns = a->columns;
  cl_mem f = a->array[F], df = a->array[DF], r = a->array[R], g = a->array[GRADIENT];
  xcoder_status status = xci_cl_coder_gemm(device, batch, n, columns, scale, rows_of(r, columns),
                                           columns_of(a->array[W_DEC], columns), 0, rows_of(df, n), err);
  if (!status)
    status = xci_cl_run(device, "mask_gradients", groups_of(n), batch, err, "mmum", f, a->array[ZEROS], (unsigned)n,
                        df);
  if (!status)
    status = xci_cl_coder_gemm(device, n, columns, batch, scale, columns_of(f, n), rows_of(r, columns), 0,
                               rows_of(g, columns), err);
  if (!status) status = add(device, a, g, columns, c->tensor[XCI_W_DEC][XCI_GRADIENT], err);
  if (!status)
    status = xci_cl_coder_gemm(device, n, columns, batch, 1, columns_of(df, n), rows_of(c->x, columns), 0,
                               rows_of(g, columns), err);
  if (!status) status = add(device, a, g, columns, c->tensor[XCI_W_ENC][XCI_GRADIENT], err);
  if (!status) status = xci_cl_sum_columns(device, c, df, n, 1, a->array[B_ENC], err);
  return status ? status : add(device, a, a->array[B_ENC], 1, c->tensor[XCI_B_ENC][XCI_GRADIENT], err);
}

xcoder_status xci_cl_add_auxiliary(xcoder_device *device, xci_coder *c, const xci_objective *o, double *loss,
                                   xcoder_error *err) {
  auxiliary a = {.n = o->n_dead, .columns = c->columns};
  double variance = 0;
  float pair[2];
  *loss = 0;
  if (o->n_dead == 0) return XCODER_OK;
  xcoder_status status = prepare(device, c, o, &a, err);
  if (!status) status = find_variance(device, c, &a, &variance, err);
  if (!status && variance > 0) {
    double share = 1 / ((double)c->n_samples * variance);
    status = choose(device, c, o, &a, err);
    if (!status)
      status = xci_cl_copy(device, c->residual, 0, a.array[R], 0, c->n_samples * c->columns * sizeof(float), err);
    if (!status)
      status = xci_cl_coder_gemm(device, c->n_samples, c->columns, a.n, 1, rows_of(a.array[F], a.n),
                                 rows_of(a.array[W_DEC], c->columns), 1, rows_of(a.array[R], c->columns), err);
    if (!status) status = xci_cl_sum_errors(device, c, a.array[R], err);
    if (!status)
      status = xci_cl_sum_pairs(device, c, c->parts, 0, c->n_samples * c->shape.n_checkpoints, XCI_CL_AUXILIARY, err);
    if (!status) status = xci_cl_read(device, c->results, XCI_CL_AUXILIARY * sizeof pair, pair, sizeof pair, err);
    if (!status) *loss = ((double)pair[0] + (double)pair[1]) * share;
    if (!status) status = add_gradients(device, c, &a, (float)(2 * o->auxiliary_coefficient * share), err);
  }
  for (int i = 0; i < N_ARRAYS; i++) xci_cl_free(device, &a.array[i]);
  return status;
}
