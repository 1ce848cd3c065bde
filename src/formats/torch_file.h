/* SPDX-License-Identifier: Apache-2.0 */
/* Files of torch.save, in the zip container and in the legacy format, read without executing anything of them. What
 * is read and what is refused: doc/formats.md. */
#ifndef XCI_FORMATS_TORCH_FILE_H
#define XCI_FORMATS_TORCH_FILE_H

#include "formats/safetensors.h"

typedef struct xci_torch xci_torch;

/* The tensors of a state dict (also one under the key "state_dict" or "model"), or a bare tensor, whose name is "".
 * Contiguous tensors lie in the map; others are copied into row-major order. Everything else in the dict is ignored. */
xcoder_status xci_torch_open(const char *path, xci_torch **file, xcoder_error *err);
void xci_torch_close(xci_torch *file); /* NULL allowed */
void xci_torch_idle(const xci_torch *file); /* xci_map_idle() */
size_t xci_torch_count(const xci_torch *file);
const xci_tensor *xci_torch_at(const xci_torch *file, size_t index);        /* in order of their names */
const xci_tensor *xci_torch_find(const xci_torch *file, const char *name);  /* NULL if absent */
const char *xci_torch_path(const xci_torch *file);

#endif
