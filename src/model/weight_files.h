/* SPDX-License-Identifier: Apache-2.0 */
/* The weight files of a folder seen as one set of named tensors: one file, or shards with an index. */
#ifndef XCI_MODEL_WEIGHT_FILES_H
#define XCI_MODEL_WEIGHT_FILES_H

#include "formats/safetensors.h"
#include "formats/torch_file.h"

/* One of the two is set. */
typedef struct xci_weight_file {
  xci_safetensors *safetensors;
  xci_torch *torch;
} xci_weight_file;

typedef struct xci_weight_files {
  char *folder;
  char *source;            /* the file, or the index, for messages */
  xci_weight_file *file;
  size_t n_files;
} xci_weight_files;

/* The first that is there of model.safetensors, model.safetensors.index.json with its shards, pytorch_model.bin,
 * pytorch_model.bin.index.json with its shards. Errors: XCODER_MISSING, XCODER_FORMAT, XCODER_UNSUPPORTED (also when
 * only other kinds of files are there). */
xcoder_status xci_weight_files_open(const char *folder, xci_weight_files *files, xcoder_error *err);
void xci_weight_files_close(xci_weight_files *files); /* zeroed allowed */
/* Lets the pages of the files go; they come back when they are read. */
void xci_weight_files_idle(const xci_weight_files *files);
const xci_tensor *xci_weight_files_find(const xci_weight_files *files, const char *name, const char **path);

size_t xci_weight_file_count(const xci_weight_file *file);
const xci_tensor *xci_weight_file_at(const xci_weight_file *file, size_t index);
const char *xci_weight_file_path(const xci_weight_file *file);

/* The first value that is NaN or infinite, as an error that names the tensor and the place. */
xcoder_status xci_check_finite(const xci_tensor *tensor, const char *path, xcoder_error *err);

#endif
