/* SPDX-License-Identifier: Apache-2.0 */
/* Sums of fixed shape on an OpenCL device: over the samples of a batch, squares of errors and of gradients. */
#include "compute/opencl/coder.h"

#include "base/size.h"

xcoder_status xci_cl_sum_columns(xcoder_device *device, xci_coder *c, cl_mem rows, size_t columns, float scale,
                                 cl_mem out, xcoder_error *err) {
  size_t chunks = xci_cl_chunks(c);
  xcoder_status status = xci_cl_reserve(device, &c->parts, &c->parts_bytes, chunks * columns, sizeof(float), err);
  if (!status)
    status = xci_cl_run(device, "column_parts", xci_cl_groups(columns), chunks, err, "muum", rows,
                        (unsigned)c->n_samples, (unsigned)columns, c->parts);
  if (!status)
    status = xci_cl_run(device, "add_parts", xci_cl_groups(columns), 1, err, "muufm", c->parts, (unsigned)chunks,
                        (unsigned)columns, (double)scale, out);
  return status;
}

xcoder_status xci_cl_sum_pairs(xcoder_device *device, xci_coder *c, cl_mem x, size_t first, size_t n, unsigned slot,
                               xcoder_error *err) {
  return xci_cl_run(device, "sum_pairs", 1, 1, err, "muumu", x, (unsigned)first, (unsigned)n, c->results, slot);
}

/* Squares of the gradient of what is not cut. */
static xcoder_status sum_bias(xcoder_device *device, xci_coder *c, int tensor, xcoder_error *err) {
  size_t n = c->n_values[tensor], n_parts = xci_ceil_div(n, XCI_CL_SQUARES);
  xcoder_status status = xci_cl_reserve(device, &c->parts, &c->parts_bytes, n_parts, sizeof(float), err);
  if (!status)
    status = xci_cl_run(device, "square_parts", n_parts, 1, err, "muum", c->tensor[tensor][XCI_GRADIENT], (unsigned)n,
                        0u, c->parts);
  return status ? status
                : xci_cl_sum_pairs(device, c, c->parts, 0, n_parts, (unsigned)(XCI_CL_TENSOR_SQUARES + tensor), err);
}

static xcoder_status sum_weights(xcoder_device *device, xci_coder *c, int tensor, xcoder_error *err) {
  size_t n_parts = 0;
  cl_mem g;
  for (size_t i = 0; i < c->n_panels; i++) n_parts += xci_ceil_div(c->panels[i].n * c->columns, XCI_CL_SQUARES);
  xcoder_status status = xci_cl_reserve(device, &c->parts, &c->parts_bytes, n_parts, sizeof(float), err);
  for (size_t i = 0, to = 0; i < c->n_panels && !status; i++) {
    const size_t n = c->panels[i].n * c->columns, some = xci_ceil_div(n, XCI_CL_SQUARES);
    status = xci_cl_panel_in(device, c, &c->panels[i], (xci_coder_tensor)tensor, XCI_GRADIENT, true, &g, err);
    if (!status)
      status = xci_cl_run(device, "square_parts", some, 1, err, "muum", g, (unsigned)n, (unsigned)to, c->parts);
    to += some;
  }
  return status ? status
                : xci_cl_sum_pairs(device, c, c->parts, 0, n_parts, (unsigned)(XCI_CL_TENSOR_SQUARES + tensor), err);
}

xcoder_status xci_cl_sum_squares(xcoder_device *device, xci_coder *c, int tensor, xcoder_error *err) {
  bool cut = tensor == XCI_W_ENC || tensor == XCI_W_DEC;
  return cut ? sum_weights(device, c, tensor, err) : sum_bias(device, c, tensor, err);
}

xcoder_status xci_cl_sum_errors(xcoder_device *device, xci_coder *c, cl_mem rows, xcoder_error *err) {
  size_t n_rows = c->n_samples * c->shape.n_checkpoints;
  xcoder_status status = xci_cl_reserve(device, &c->parts, &c->parts_bytes, n_rows, sizeof(float), err);
  if (!status)
    status = xci_cl_run(device, "row_errors", xci_cl_teams(n_rows), 1, err, "muuum", rows, (unsigned)c->n_samples,
                        (unsigned)c->shape.n_checkpoints, (unsigned)c->shape.d_model, c->parts);
  return status;
}
