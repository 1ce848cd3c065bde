/* SPDX-License-Identifier: Apache-2.0 */
/* safetensors files, read from a map and written atomically. Rules: doc/formats.md. */
#ifndef XCI_FORMATS_SAFETENSORS_H
#define XCI_FORMATS_SAFETENSORS_H

#include "base/file.h"
#include "compute/compute.h"

enum { XCI_MAX_RANK = 8 };

typedef struct xci_tensor {
  const char *name;
  const char *path; /* of the file, for messages; may be NULL */
  xci_dtype dtype;
  size_t rank;
  size_t shape[XCI_MAX_RANK];
  size_t n_values;   /* product of shape */
  const unsigned char *bytes; /* in the map, possibly unaligned, little-endian */
  size_t n_bytes;
} xci_tensor;

typedef struct xci_safetensors xci_safetensors;

/* Every check of the format is made here; tensors of an unknown-to-us dtype are listed as XCI_OTHER. */
xcoder_status xci_safetensors_open(const char *path, xci_safetensors **file, xcoder_error *err);
void xci_safetensors_close(xci_safetensors *file);
void xci_safetensors_idle(const xci_safetensors *file); /* xci_map_idle() */
size_t xci_safetensors_count(const xci_safetensors *file);
const xci_tensor *xci_safetensors_at(const xci_safetensors *file, size_t index); /* in order of their bytes */
const xci_tensor *xci_safetensors_find(const xci_safetensors *file, const char *name); /* NULL if absent */
const char *xci_safetensors_metadata(const xci_safetensors *file, const char *key);    /* NULL if absent */
const char *xci_safetensors_path(const xci_safetensors *file);

/* Values of a float tensor (F16, BF16, F32, F64) as float32; integer tensors as int64. `out` has n_values.
 * Errors: XCODER_FORMAT for another dtype. */
xcoder_status xci_tensor_to_f32(const xci_tensor *tensor, float *out, xcoder_error *err);
xcoder_status xci_tensor_to_i64(const xci_tensor *tensor, int64_t *out, xcoder_error *err);
/* Generic form used by weights: n values of `dtype` (F16, BF16, F32, F64) at `bytes`. */
void xci_convert_to_f32(const void *bytes, xci_dtype dtype, size_t n, float *out);

/* Writing: add tensors (the data must live until the write) and string metadata, then write atomically. Tensors are
 * ordered by width of their elements, then by name, so that equal contents give equal bytes and data are aligned.
 * Names and metadata must be UTF-8. After the write the writer is still there and must be discarded. */
typedef struct xci_safetensors_writer xci_safetensors_writer;
xcoder_status xci_safetensors_create(xci_safetensors_writer **writer, xcoder_error *err);
xcoder_status xci_safetensors_add(xci_safetensors_writer *writer, const char *name, xci_dtype dtype, size_t rank,
                                  const size_t *shape, const void *values, xcoder_error *err);
/* The same, but the values are made when the file is written, one tensor at a time, so that a device's tensors need
 * not all be on the host: `make` writes n_values values to `values`. `context` must live until the write. */
typedef xcoder_status (*xci_tensor_make)(void *context, void *values, xcoder_error *err);
xcoder_status xci_safetensors_add_made(xci_safetensors_writer *writer, const char *name, xci_dtype dtype, size_t rank,
                                       const size_t *shape, xci_tensor_make make, void *context, xcoder_error *err);
xcoder_status xci_safetensors_add_metadata(xci_safetensors_writer *writer, const char *key, const char *value,
                                           xcoder_error *err);
xcoder_status xci_safetensors_write(xci_safetensors_writer *writer, const char *path, xcoder_error *err);
void xci_safetensors_discard(xci_safetensors_writer *writer);

/* Writes `n` host-order values of `dtype` as little-endian bytes. */
xcoder_status xci_write_values(xci_writer *writer, xci_dtype dtype, const void *values, size_t n, xcoder_error *err);

#endif
