/* SPDX-License-Identifier: Apache-2.0 */
/* NumPy .npy files: little-endian numbers, C order. */
#ifndef XCI_FORMATS_NPY_H
#define XCI_FORMATS_NPY_H

#include "formats/safetensors.h"

typedef struct xci_npy {
  xci_map map;
  xci_dtype dtype;
  size_t rank;
  size_t shape[XCI_MAX_RANK];
  size_t n_values;
  const unsigned char *bytes;
  size_t n_bytes;
} xci_npy;

xcoder_status xci_npy_open(const char *path, xci_npy *npy, xcoder_error *err);
void xci_npy_close(xci_npy *npy);
xcoder_status xci_npy_write(const char *path, xci_dtype dtype, size_t rank, const size_t *shape, const void *values,
                            xcoder_error *err);

#endif
