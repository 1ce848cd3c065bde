/* SPDX-License-Identifier: Apache-2.0 */
/* Weights on the cpu. Matrices stay as they lie in the file, which is mapped, and are converted where they are used:
 * a model in a 16-bit type takes no memory beside its file's pages, and only those that are touched. */
#include "compute/cpu/transformer.h"

#include "base/memory.h"
#include "base/parallel.h"
#include "compute/dtype.h"
#include "compute/host_memory.h"

xcoder_status xci_cpu_weight_create(xcoder_device *device, const void *source, xci_dtype dtype, size_t rows,
                                    size_t columns, xci_weight **weight, xcoder_error *err) {
  /* Vectors are small and are read in every row of a product. */
  if (rows == 1 || !xci_dtype_is_float(dtype) || xci_host_usable_in_place(source, dtype))
    return xci_host_weight_create(device, source, dtype, rows, columns, weight, err);
  *weight = NULL;
  xcoder_status status = XCI_ALLOC(weight, 1, err);
  if (!status) **weight = (xci_weight){.rows = rows, .columns = columns, .dtype = dtype, .source = source};
  return status;
}

static const char *source_at(const xci_weight *w, size_t row, size_t column) {
  return (const char *)w->source + (row * w->columns + column) * xci_dtype_bytes(w->dtype);
}

const float *xci_cpu_weight_row(const xci_weight *w, size_t row, float *out) {
  if (w->host != NULL) return w->host + row * w->columns;
  xci_dtype_to_f32(source_at(w, row, 0), w->dtype, w->columns, out);
  return out;
}

xci_weight xci_cpu_weight_rows(const xci_weight *w, size_t first, size_t n) {
  xci_weight view = {.rows = n, .columns = w->columns, .dtype = w->dtype, .source = source_at(w, first, 0)};
  if (w->host != NULL) view.host = w->host + first * w->columns;
  return view;
}

void xci_cpu_weight_panel(const xci_weight *w, size_t first_row, size_t rows, size_t first_column, size_t columns,
                          float *panel) {
#pragma omp parallel for num_threads(xci_threads()) schedule(static)
  for (size_t r = 0; r < rows; r++)
    xci_dtype_to_f32(source_at(w, first_row + r, first_column), w->dtype, columns, panel + r * columns);
}
