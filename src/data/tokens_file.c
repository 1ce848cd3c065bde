/* SPDX-License-Identifier: Apache-2.0 */
/* Token sequences in .npy files. */
#include "base/bytes.h"
#include "base/memory.h"
#include "base/size.h"
#include "data/tokens.h"
#include "formats/npy.h"
#include <string.h>

/* One integer of the file; false if it is no token id. */
static bool load_id(const unsigned char *p, xci_dtype dtype, uint32_t *id) {
  uint64_t value = UINT64_MAX; /* negative numbers become large ones */
  switch (dtype) {
  case XCI_I64: case XCI_U64: value = xci_load_u64(p); break;
  case XCI_I32: value = (uint64_t)(int64_t)(int32_t)xci_load_u32(p); break;
  case XCI_U32: value = xci_load_u32(p); break;
  case XCI_I16: value = (uint64_t)(int64_t)(int16_t)xci_load_u16(p); break;
  case XCI_U16: value = xci_load_u16(p); break;
  case XCI_I8: value = (uint64_t)(int64_t)(int8_t)*p; break;
  case XCI_U8: value = *p; break;
  default: break;
  }
  *id = (uint32_t)value;
  return value <= INT32_MAX;
}

static xcoder_status check_shape(const xci_npy *npy, const char *path, size_t *length, size_t *n_sequences,
                                 xcoder_error *err) {
  if (npy->dtype < XCI_I64 || npy->dtype > XCI_U8)
    return xci_fail(err, XCODER_FORMAT, "%s: values of type %s, expected integers", path, xci_dtype_name(npy->dtype));
  if (npy->rank != 1 && npy->rank != 2)
    return xci_fail(err, XCODER_FORMAT, "%s: %zu dimensions, expected [sequences, length] or [tokens]", path,
                    npy->rank);
  if (npy->rank == 2 && *length && *length != npy->shape[1])
    return xci_fail(err, XCODER_MISMATCH, "%s: sequences of %zu tokens, expected %zu", path, npy->shape[1], *length);
  if (npy->rank == 2) *length = npy->shape[1];
  if (*length == 0)
    return xci_fail(err, XCODER_MISMATCH, "%s: a plain list of tokens needs the length of a sequence", path);
  *n_sequences = npy->n_values / *length;
  if (*n_sequences == 0)
    return xci_fail(err, XCODER_MISMATCH, "%s: %zu tokens, less than one sequence of %zu", path, npy->n_values,
                    *length);
  return XCODER_OK;
}

static bool ends_with(const char *path, const char *ending) {
  size_t n = strlen(path), m = strlen(ending);
  return n > m && strcmp(path + n - m, ending) == 0;
}

xcoder_status xcoder_tokens_load(const char *path, size_t length, xcoder_tokens **tokens, xcoder_error *err) {
  xci_npy npy = {0};
  uint32_t *ids = NULL;
  size_t n_sequences = 0;
  *tokens = NULL;
  if (ends_with(path, ".idx")) return xci_tokens_load_megatron(path, length, tokens, err);
  if (ends_with(path, ".u16")) return xci_tokens_load_raw(path, 2, length, tokens, err);
  if (ends_with(path, ".u32")) return xci_tokens_load_raw(path, 4, length, tokens, err);
  xcoder_status status = xci_npy_open(path, &npy, err);
  if (status) return status;
  status = check_shape(&npy, path, &length, &n_sequences, err);
  if (!status) status = XCI_ALLOC(&ids, n_sequences * length, err);
  size_t width = xci_dtype_bytes(npy.dtype);
  for (size_t i = 0; !status && i < n_sequences * length; i++)
    if (!load_id(npy.bytes + i * width, npy.dtype, &ids[i]))
      status = xci_fail(err, XCODER_FORMAT, "%s: value %zu is no token id (negative or above 2^31)", path, i);
  if (!status) status = xci_tokens_take_equal(&ids, n_sequences, length, tokens, err);
  xci_free(ids);
  xci_npy_close(&npy);
  return status;
}

xcoder_status xcoder_tokens_save(const xcoder_tokens *tokens, const char *path, xcoder_error *err) {
  size_t shape[2] = {tokens->n_sequences, tokens->n_sequences ? tokens->start[1] : 0};
  for (size_t i = 0; i < tokens->n_sequences; i++)
    if (tokens->start[i + 1] - tokens->start[i] != shape[1])
      return xci_fail(err, XCODER_USAGE,
                      "%s: sequences of %zu and %zu tokens do not fit into one array; pack them, or make the shortest "
                      "length the longest",
                      path, shape[1], tokens->start[i + 1] - tokens->start[i]);
  return xci_npy_write(path, XCI_U32, 2, shape, tokens->ids, err);
}
