/* SPDX-License-Identifier: Apache-2.0 */
/* Products with weights. Matrices of 16 bits are read as they are. CLBlast wants float32: panels of them are widened
 * just before the product that uses them; 6 bytes moved for each weight, against 2 n_rows operations on it. */
#include "compute/opencl/transformer.h"

#include "base/size.h"

static size_t inputs_of(const xci_linear *linear) {
  return linear->transposed ? linear->weight->rows : linear->weight->columns;
}

/* Rows row .. row + n of w in a type that products read: in place, or widened into work space. */
static xcoder_status open_panel(xcoder_device *device, const xci_weight *w, size_t row, size_t n, xci_compute compute,
                                xci_cl_matrix *panel, xci_cl_type *type, xcoder_error *err) {
  cl_mem from;
  size_t first, count = n * w->columns;
  panel->stride = w->columns;
  xcoder_status status = xci_cl_weight_rows(device, w, row, n, &from, &first, type, err);
  if (status || xci_cl_reads(device, compute, *type)) {
    panel->memory = from;
    panel->first = first;
    return status;
  }
  panel->first = 0;
  status = xci_cl_work(device, XCI_CL_PANEL, n, w->columns, &panel->memory, err);
  if (!status)
    status = xci_cl_run(device, "widen", xci_ceil_div(count, XCI_CL_GROUP), 1, err, "muuuum", from, (unsigned)*type,
                        (unsigned)(first >> 32), (unsigned)first, (unsigned)count, panel->memory);
  *type = XCI_CL_F32;
  return status;
}

/* A panel is some rows of w: columns of the result, or a part of the sum. */
xcoder_status xci_cl_product_rows(xcoder_device *device, bool transpose, size_t m, cl_mem a, size_t a_first, size_t lda,
                                  const xci_weight *w, size_t row0, size_t n, float beta, cl_mem c, size_t c_first,
                                  size_t ldc, xci_compute compute, xcoder_error *err) {
  const xci_cl_weight *v = w->handle;
  const bool whole = v->memory != NULL && xci_cl_reads(device, compute, v->type);
  size_t each = whole ? n : xci_min_size(n, xci_max_size(1, xci_cl_panel() / xci_max_size(1, w->columns)));
  xcoder_status status = xci_cl_usable(device, err);
  for (size_t row = 0; !status && m > 0 && row < n; row += each) {
    size_t rows = xci_min_size(each, n - row);
    xci_cl_matrix panel = {.transposed = transpose};
    xci_cl_type type;
    status = open_panel(device, w, row0 + row, rows, compute, &panel, &type, err);
    if (status) return status;
    if (transpose)
      status = xci_cl_gemm_of(device, compute, m, rows, w->columns, 1, (xci_cl_matrix){a, a_first, lda, false}, panel,
                              type, beta, (xci_cl_matrix){c, c_first + row, ldc, false}, err);
    else
      status = xci_cl_gemm_of(device, compute, m, w->columns, rows, 1, (xci_cl_matrix){a, a_first + row, lda, false},
                              panel, type, row > 0 ? 1 : beta, (xci_cl_matrix){c, c_first, ldc, false}, err);
  }
  return status;
}

xcoder_status xci_cl_product(xcoder_device *device, bool transpose, size_t m, cl_mem a, size_t a_first, size_t lda,
                             const xci_weight *w, float beta, cl_mem c, size_t c_first, size_t ldc, xcoder_error *err) {
  return xci_cl_product_rows(device, transpose, m, a, a_first, lda, w, 0, w->rows, beta, c, c_first, ldc,
                             XCI_COMPUTE_FP32, err);
}

xcoder_status xci_cl_linear(xcoder_device *device, const xci_linear *linear, cl_mem x, size_t n_rows, cl_mem y,
                            size_t y_first, size_t ldy, xcoder_error *err) {
  return xci_cl_product_rows(device, !linear->transposed, n_rows, x, 0, inputs_of(linear), linear->weight, 0,
                             linear->weight->rows, 0, y, y_first, ldy, device->compute, err);
}

xcoder_status xci_cl_linear_backward(xcoder_device *device, const xci_linear *linear, cl_mem dy, size_t dy_first,
                                     size_t lddy, size_t n_rows, float beta, cl_mem dx, xcoder_error *err) {
  return xci_cl_product(device, linear->transposed, n_rows, dy, dy_first, lddy, linear->weight, beta, dx, 0,
                        inputs_of(linear), err);
}
