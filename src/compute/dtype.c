/* SPDX-License-Identifier: Apache-2.0 */
/* Number formats of files: their names, sizes and conversion to float32. */
#include "compute/dtype.h"

#include "base/bytes.h"
#include "base/half.h"

static const struct {
  const char *name;
  size_t bytes;
} dtypes[] = {
  [XCI_F32] = {"F32", 4}, [XCI_F64] = {"F64", 8}, [XCI_F16] = {"F16", 2}, [XCI_BF16] = {"BF16", 2},
  [XCI_I64] = {"I64", 8}, [XCI_I32] = {"I32", 4}, [XCI_I16] = {"I16", 2}, [XCI_I8] = {"I8", 1},
  [XCI_U64] = {"U64", 8}, [XCI_U32] = {"U32", 4}, [XCI_U16] = {"U16", 2}, [XCI_U8] = {"U8", 1},
  [XCI_BOOL] = {"BOOL", 1}, [XCI_OTHER] = {"other", 0},
};

size_t xci_dtype_bytes(xci_dtype dtype) { return dtypes[dtype].bytes; }

const char *xci_dtype_name(xci_dtype dtype) { return dtypes[dtype].name; }

bool xci_dtype_is_float(xci_dtype dtype) { return dtype <= XCI_BF16; }

void xci_dtype_to_f32(const void *bytes, xci_dtype dtype, size_t n, float *out) {
  const unsigned char *p = bytes;
  switch (dtype) {
    case XCI_F64:
      for (size_t i = 0; i < n; i++) out[i] = (float)xci_load_f64(p + 8 * i);
      break;
    case XCI_F16:
      xci_f16_to_f32_array(p, out, n);
      break;
    case XCI_BF16:
      xci_bf16_to_f32_array(p, out, n);
      break;
    default:
      for (size_t i = 0; i < n; i++) out[i] = xci_load_f32(p + 4 * i);
      break;
  }
}
