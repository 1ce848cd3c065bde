/* SPDX-License-Identifier: Apache-2.0 */
/* Weights on an OpenCL device. Matrices of 16 bits stay so and are widened where they are used; a matrix that does not
 * fit stays in the file, and its rows go up for each use. */
#include "compute/opencl/transformer.h"

#include "base/memory.h"
#include "base/size.h"
#include "compute/dtype.h"
#include <stdlib.h>

enum { STAGED = 1 << 22 }; /* values that go up at once where they have to be converted here */
static const size_t PANEL = (size_t)1 << 24; /* values: 64 MiB as float32 */

static xci_cl_weight *of(const xci_weight *weight) { return weight->handle; }

static size_t bytes_of(xci_cl_type type) { return type == XCI_CL_F32 ? 4 : 2; }

static const char *source_at(const xci_weight *w, size_t value) {
  return (const char *)w->source + value * xci_dtype_bytes(w->dtype);
}

/* n values from `first` on, to `at` values behind the start of `memory`. */
static xcoder_status send(xcoder_device *device, const xci_weight *w, size_t first, size_t n, cl_mem memory, size_t at,
                          xcoder_error *err) {
  const size_t bytes = bytes_of(of(w)->type);
  if (xci_dtype_bytes(w->dtype) == bytes) /* as in the file */
    return xci_cl_write(device, memory, at * bytes, source_at(w, first), n * bytes, err);
  float *staged = NULL;
  xcoder_status status = XCI_ALLOC(&staged, xci_min_size(n, STAGED), err);
  for (size_t i = 0; !status && i < n; i += STAGED) {
    size_t some = xci_min_size(STAGED, n - i);
    xci_dtype_to_f32(source_at(w, first + i), w->dtype, some, staged);
    status = xci_cl_write(device, memory, (at + i) * bytes, staged, some * bytes, err);
  }
  xci_free(staged);
  return status;
}

/* For tests, which know no matrix that does not fit: they stay in the file, and panels are small. Of a crosscoder's
 * panels all but the first stay on the host. */
size_t xci_cl_wished_panel(void) {
  const char *wish = getenv("XCODER_OPENCL_PANEL");
  return wish != NULL ? strtoul(wish, NULL, 10) : 0;
}

size_t xci_cl_panel(void) {
  const size_t wish = xci_cl_wished_panel();
  return wish > 0 ? wish : PANEL;
}

static bool fits(xcoder_device *device, size_t bytes) {
  const xci_cl *cl = xci_cl_of(device);
  if (xci_cl_wished_panel() > 0) return false;
  size_t room = cl->memory - xci_cl_weights_leave(device);
  return bytes <= cl->max_buffer && cl->used <= room && bytes <= room - cl->used;
}

static xcoder_status place(xcoder_device *device, const xci_weight *w, xcoder_error *err) {
  xci_cl_weight *v = of(w);
  size_t n = w->rows * w->columns, bytes = bytes_of(v->type);
  if (w->rows > UINT32_MAX || w->columns > UINT32_MAX)
    return xci_fail(err, XCODER_UNSUPPORTED, "device %s: a weight of %zu x %zu values", device->name, w->rows,
                    w->columns);
  if (w->rows > 1 && !fits(device, n * bytes)) return xci_cl_usable(device, err);
  xcoder_status status = xci_cl_alloc(device, n, bytes, &v->memory, err);
  return status ? status : send(device, w, 0, n, v->memory, 0, err);
}

xcoder_status xci_cl_weight_create(xcoder_device *device, const void *source, xci_dtype dtype, size_t rows,
                                   size_t columns, xci_weight **weight, xcoder_error *err) {
  xcoder_device *processor = xci_cl_of(device)->host;
  xci_weight *w = NULL, *host = NULL;
  xci_cl_weight *v = NULL;
  *weight = NULL;
  xcoder_status status = processor->ops->weight_create(processor, source, dtype, rows, columns, &host, err);
  if (!status) status = XCI_ALLOC(&w, 1, err);
  if (!status) status = XCI_ALLOC(&v, 1, err);
  if (status) {
    if (host != NULL) processor->ops->weight_free(processor, host);
    xci_free(w);
    return status;
  }
  xci_cl_of(device)->n_weights++;
  *w = *host;
  *v = (xci_cl_weight){.host = host, .type = XCI_CL_F32};
  w->handle = v;
  if (rows > 1 && dtype == XCI_F16) v->type = XCI_CL_F16;
  if (rows > 1 && dtype == XCI_BF16) v->type = XCI_CL_BF16;
  status = place(device, w, err);
  if (status) xci_cl_weight_free(device, w);
  else *weight = w;
  return status;
}

void xci_cl_weight_free(xcoder_device *device, xci_weight *weight) {
  if (weight == NULL) return;
  xcoder_device *processor = xci_cl_of(device)->host;
  xci_cl_free(device, &of(weight)->memory);
  processor->ops->weight_free(processor, of(weight)->host);
  xci_free(of(weight));
  xci_free(weight);
  if (--xci_cl_of(device)->n_weights == 0) xci_cl_transformer_close(device);
}

cl_mem xci_cl_vector(const xci_weight *weight) { return weight != NULL ? of(weight)->memory : NULL; }

xcoder_status xci_cl_weight_rows(xcoder_device *device, const xci_weight *w, size_t row, size_t n, cl_mem *memory,
                                 size_t *first, xci_cl_type *type, xcoder_error *err) {
  *type = of(w)->type;
  *first = row * w->columns;
  *memory = of(w)->memory;
  if (*memory != NULL) return XCODER_OK;
  *first = 0;
  xcoder_status status = xci_cl_work(device, XCI_CL_STREAMED, n, w->columns, memory, err);
  return status ? status : send(device, w, row * w->columns, n * w->columns, *memory, 0, err);
}

xcoder_status xci_cl_weight_gather(xcoder_device *device, const xci_weight *w, const uint32_t *rows, size_t n,
                                   cl_mem *memory, bool *gathered, xci_cl_type *type, xcoder_error *err) {
  *type = of(w)->type;
  *memory = of(w)->memory;
  *gathered = *memory == NULL;
  if (!*gathered) return XCODER_OK;
  xcoder_status status = xci_cl_work(device, XCI_CL_GATHERED, n, w->columns, memory, err);
  for (size_t i = 0; !status && i < n; i++)
    status = send(device, w, rows[i] * w->columns, w->columns, *memory, i * w->columns, err);
  return status;
}
