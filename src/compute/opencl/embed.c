/* SPDX-License-Identifier: Apache-2.0 */
/* The embedding on an OpenCL device: the ids go up, rows of the tables are added, then the norm. */
#include "compute/opencl/transformer.h"

#include "base/size.h"

static xcoder_status check(const xci_embedding *e, const uint32_t *ids, const xci_rows *rows, size_t n_rows,
                           const xci_buffer *h, xcoder_error *err) {
  if (h->bytes / sizeof(float) / e->table->columns < n_rows)
    return xci_fail(err, XCODER_INTERNAL, "%zu rows of %zu values do not fit the buffer", n_rows, e->table->columns);
  for (size_t r = 0; r < n_rows; r++)
    if (ids[r] >= e->table->rows)
      return xci_fail(err, XCODER_USAGE, "token id %u at position %zu: the vocabulary has %zu rows", (unsigned)ids[r],
                      r, e->table->rows);
  for (size_t s = 0; e->positions != NULL && s < rows->n_sequences; s++)
    if (rows->start[s + 1] - rows->start[s] > e->positions->rows)
      return xci_fail(err, XCODER_USAGE, "sequence %zu has %zu tokens, the model has %zu positions", s,
                      rows->start[s + 1] - rows->start[s], e->positions->rows);
  return XCODER_OK;
}

xcoder_status xci_cl_embed(xcoder_device *device, const xci_embedding *e, const uint32_t *ids, const xci_rows *rows,
                           xci_buffer *h, xcoder_error *err) {
  xci_cl_plan plan;
  cl_mem on_device = NULL, table = NULL, positions = NULL;
  xci_cl_type type = XCI_CL_F32, positions_type = XCI_CL_F32;
  bool gathered = false;
  size_t first = 0, d = e->table->columns, n = rows->n_sequences > 0 ? rows->start[rows->n_sequences] : 0;
  xcoder_status status = check(e, ids, rows, n, h, err);
  if (!status) status = xci_cl_plan_rows(device, NULL, rows, &plan, err);
  if (status || n == 0) return status;
  if (e->positions != NULL)
    status = xci_cl_weight_rows(device, e->positions, 0, plan.longest, &positions, &first, &positions_type, err);
  if (!status) status = xci_cl_weight_gather(device, e->table, ids, n, &table, &gathered, &type, err);
  if (!status && !gathered) status = xci_cl_work(device, XCI_CL_IDS, n, 1, &on_device, err);
  if (!status && !gathered) status = xci_cl_write(device, on_device, 0, ids, n * sizeof *ids, err);
  if (!status)
    status = xci_cl_run(device, "embed", xci_ceil_div(d, XCI_CL_GROUP), n, err, "mummumum", table, (unsigned)type,
                        on_device, positions, (unsigned)positions_type, plan.positions, (unsigned)d, (cl_mem)h->handle);
  if (!status && e->norm != NULL) status = xci_cl_norm(device, e->norm, h->handle, NULL, n, d, h->handle, err);
  return status;
}
