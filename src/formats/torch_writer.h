/* SPDX-License-Identifier: Apache-2.0 */
/* Files that torch.load(weights_only=True) reads: a state dict of float32 and int32 tensors in the zip container of
 * torch.save. */
#ifndef XCI_FORMATS_TORCH_WRITER_H
#define XCI_FORMATS_TORCH_WRITER_H

#include "formats/safetensors.h"

typedef struct xci_torch_output {
  const char *name;   /* UTF-8 */
  xci_dtype dtype;    /* XCI_F32 or XCI_I32 */
  size_t rank, shape[XCI_MAX_RANK];
  const void *values; /* host order, row-major */
} xci_torch_output;

/* Writes PATH atomically, tensors in the order given; equal contents give equal bytes. */
xcoder_status xci_torch_write(const char *path, const xci_torch_output *tensors, size_t n_tensors, xcoder_error *err);

#endif
