/* SPDX-License-Identifier: Apache-2.0 */
/* Values of files as float32 or int64; loads are by bytes because data in files may be unaligned. */
#include "base/bytes.h"
#include "base/parallel.h"
#include "base/size.h"
#include "compute/dtype.h"
#include "formats/safetensors.h"

#include <string.h>

enum { CHUNK_VALUES = 65536 };

void xci_convert_to_f32(const void *bytes, xci_dtype dtype, size_t n, float *out) {
  const size_t width = xci_dtype_bytes(dtype), n_chunks = xci_ceil_div(n, CHUNK_VALUES);
#pragma omp parallel for num_threads(xci_threads()) if (n_chunks > 1)
  for (size_t chunk = 0; chunk < n_chunks; chunk++) {
    size_t first = chunk * CHUNK_VALUES, count = xci_min_size(CHUNK_VALUES, n - first);
    xci_dtype_to_f32((const unsigned char *)bytes + first * width, dtype, count, out + first);
  }
}

/* The start of a message about a tensor: its file, if known, and its name. */
static xcoder_status fail_dtype(const xci_tensor *tensor, const char *expected, xcoder_error *err) {
  char name[XCODER_ERROR_BYTES];
  xci_quote(name, sizeof name, tensor->name, strlen(tensor->name));
  return xci_fail(err, XCODER_FORMAT, "%s%stensor '%s': dtype %s, expected %s", tensor->path ? tensor->path : "",
                  tensor->path ? ": " : "", name, xci_dtype_name(tensor->dtype), expected);
}

xcoder_status xci_tensor_to_f32(const xci_tensor *tensor, float *out, xcoder_error *err) {
  switch (tensor->dtype) {
    case XCI_F16:
    case XCI_BF16:
    case XCI_F32:
    case XCI_F64: xci_convert_to_f32(tensor->bytes, tensor->dtype, tensor->n_values, out); return XCODER_OK;
    default: return fail_dtype(tensor, "a float (F16, BF16, F32 or F64)", err);
  }
}

static int64_t load_integer(const unsigned char *p, xci_dtype dtype) {
  switch (dtype) {
    case XCI_I64:
    case XCI_U64: return (int64_t)xci_load_u64(p);
    case XCI_I32: return (int32_t)xci_load_u32(p);
    case XCI_U32: return xci_load_u32(p);
    case XCI_I16: return (int16_t)xci_load_u16(p);
    case XCI_U16: return xci_load_u16(p);
    case XCI_I8: return (signed char)*p;
    default: return *p;
  }
}

xcoder_status xci_tensor_to_i64(const xci_tensor *tensor, int64_t *out, xcoder_error *err) {
  if (tensor->dtype <= XCI_BF16 || tensor->dtype == XCI_OTHER) return fail_dtype(tensor, "integers", err);
  const size_t width = xci_dtype_bytes(tensor->dtype);
  for (size_t i = 0; i < tensor->n_values; i++) {
    out[i] = load_integer(tensor->bytes + i * width, tensor->dtype);
    if (tensor->dtype == XCI_U64 && out[i] < 0) return fail_dtype(tensor, "integers below 2^63", err);
  }
  return XCODER_OK;
}
