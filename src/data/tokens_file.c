/* SPDX-License-Identifier: Apache-2.0 */
/* Token sequences in files: arrays of numbers (.npy, torch.save, plain ones), indexed ones, and saving. */
#include "base/bytes.h"
#include "base/memory.h"
#include "base/size.h"
#include "data/tokens.h"
#include "formats/npy.h"
#include "formats/torch_file.h"
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

xcoder_status xci_token_ids(const xci_token_array *array, size_t first, size_t n, uint32_t *ids, xcoder_error *err) {
  size_t width = xci_dtype_bytes(array->dtype);
  for (size_t i = 0; i < n; i++)
    if (!load_id(array->bytes + (first + i) * width, array->dtype, &ids[i]))
      return xci_fail(err, XCODER_FORMAT, "%s: value %zu is no token id (byte %zu of the values; negative or above "
                      "2^31)", array->path, first + i, (first + i) * width);
  return XCODER_OK;
}

static xcoder_status check_array(const xci_token_array *array, const xcoder_tokens_options *options, size_t *length,
                                 size_t *n_sequences, xcoder_error *err) {
  const char *path = array->path;
  if (array->dtype < XCI_I64 || array->dtype > XCI_U8)
    return xci_fail(err, XCODER_FORMAT, "%s: values of type %s, expected integers", path,
                    xci_dtype_name(array->dtype));
  if (array->rank != 1 && array->rank != 2)
    return xci_fail(err, XCODER_FORMAT, "%s: %zu dimensions, expected [sequences, length] or [tokens]", path,
                    array->rank);
  *length = array->rank == 2 ? array->length : options->length;
  if (array->rank == 2 && options->length && options->length != *length)
    return xci_fail(err, XCODER_MISMATCH, "%s: sequences of %zu tokens, expected %zu", path, *length, options->length);
  if (*length == 0)
    return xci_fail(err, XCODER_MISMATCH, "%s: a plain list of tokens needs the length of a sequence", path);
  *n_sequences = array->n_values / *length;
  if (*n_sequences == 0)
    return xci_fail(err, XCODER_MISMATCH, "%s: %zu tokens, less than one sequence of %zu", path, array->n_values,
                    *length);
  if (options->max_tokens && options->max_tokens / *length < *n_sequences)
    *n_sequences = (size_t)(options->max_tokens / *length);
  if (*n_sequences == 0)
    return xci_fail(err, XCODER_USAGE, "%llu tokens are less than one sequence of %zu",
                    (unsigned long long)options->max_tokens, *length);
  return XCODER_OK;
}

xcoder_status xci_tokens_from_numbers(const xci_token_array *array, const xcoder_tokens_options *options,
                                      xcoder_tokens **tokens, xcoder_error *err) {
  uint32_t *ids = NULL;
  size_t n_sequences = 0, length = 0, n_ids = 0;
  *tokens = NULL;
  xcoder_status status = check_array(array, options, &length, &n_sequences, err);
  if (status) return status;
  if (!xci_mul_size(n_sequences, length, &n_ids))
    return xci_fail(err, XCODER_FORMAT, "%s: too many tokens", array->path);
  status = XCI_ALLOC(&ids, n_ids, err);
  if (!status) status = xci_token_ids(array, 0, n_ids, ids, err);
  if (!status) status = xci_tokens_take_equal(&ids, n_sequences, length, tokens, err);
  xci_free(ids);
  return status;
}

static xcoder_status load_npy(const char *path, const xcoder_tokens_options *options, xcoder_tokens **tokens,
                              xcoder_error *err) {
  xci_npy npy = {0};
  xcoder_status status = xci_npy_open(path, &npy, err);
  if (status) return status;
  const xci_token_array array = {path, npy.bytes, npy.dtype, npy.rank, npy.n_values, npy.rank == 2 ? npy.shape[1] : 0};
  status = xci_tokens_from_numbers(&array, options, tokens, err);
  xci_npy_close(&npy);
  return status;
}

static xcoder_status load_torch(const char *path, const xcoder_tokens_options *options, xcoder_tokens **tokens,
                                xcoder_error *err) {
  xci_torch *file = NULL;
  xcoder_status status = xci_torch_open(path, &file, err);
  if (status) return status;
  const xci_tensor *tensor = xci_torch_find(file, "");
  if (!tensor) {
    status = xci_fail(err, XCODER_FORMAT, "%s: a dict of %zu tensors, expected one bare tensor of token ids", path,
                      xci_torch_count(file));
  } else {
    const xci_token_array array = {path,          tensor->bytes,    tensor->dtype,
                                   tensor->rank, tensor->n_values, tensor->rank == 2 ? tensor->shape[1] : 0};
    status = xci_tokens_from_numbers(&array, options, tokens, err);
  }
  xci_torch_close(file);
  return status;
}

static xcoder_status load_plain(const char *path, size_t width, const xcoder_tokens_options *options,
                                xcoder_tokens **tokens, xcoder_error *err) {
  xci_map map = {0};
  xcoder_status status = xci_map_open(path, &map, err);
  if (status) return status;
  const xci_token_array array = {path, map.bytes, width == 2 ? XCI_U16 : XCI_U32, 1, map.n_bytes / width, 0};
  if (map.n_bytes % width)
    status = xci_fail(err, XCODER_FORMAT, "%s: %zu bytes, no multiple of %zu (--token-bits)", path, map.n_bytes,
                      width);
  if (!status) status = xci_tokens_from_numbers(&array, options, tokens, err);
  xci_map_close(&map);
  return status;
}

xcoder_status xcoder_tokens_read(const char *path, const xcoder_tokens_options *options, xcoder_tokens **tokens,
                                 xcoder_error *err) {
  xci_token_form form = XCI_NO_TOKENS;
  *tokens = NULL;
  if (options->token_bytes != 0 && options->token_bytes != 2 && options->token_bytes != 4)
    return xci_fail(err, XCODER_USAGE, "tokens of %u bytes, expected 2 or 4", options->token_bytes);
  xcoder_status status = xci_token_file_form(path, options->token_bytes, &form, err);
  if (status) return status;
  switch (form) {
  case XCI_TOKENS_NPY: status = load_npy(path, options, tokens, err); break;
  case XCI_TOKENS_TORCH: status = load_torch(path, options, tokens, err); break;
  case XCI_TOKENS_MEGATRON:
  case XCI_TOKENS_INDEXED: status = xci_tokens_load_indexed(path, form, options, tokens, err); break;
  case XCI_TOKENS_U16: status = load_plain(path, 2, options, tokens, err); break;
  case XCI_TOKENS_U32: status = load_plain(path, 4, options, tokens, err); break;
  default:
    status = xci_fail(err, XCODER_FORMAT, "%s: no file of tokens, expected .npy, a bare tensor, a Megatron index or "
                      "plain 16- or 32-bit numbers", path);
  }
  if (!status && form == XCI_TOKENS_NPY) status = xci_languages_read(path, *tokens, err);
  if (status) {
    xcoder_tokens_free(*tokens);
    *tokens = NULL;
  }
  return status;
}

xcoder_status xcoder_tokens_load(const char *path, size_t length, xcoder_tokens **tokens, xcoder_error *err) {
  const xcoder_tokens_options options = {.length = length};
  return xcoder_tokens_read(path, &options, tokens, err);
}

xcoder_status xcoder_tokens_save(const xcoder_tokens *tokens, const char *path, xcoder_error *err) {
  size_t shape[2] = {tokens->n_sequences, tokens->n_sequences ? tokens->start[1] : 0};
  for (size_t i = 0; i < tokens->n_sequences; i++)
    if (tokens->start[i + 1] - tokens->start[i] != shape[1])
      return xci_fail(err, XCODER_USAGE,
                      "%s: sequences of %zu and %zu tokens do not fit into one array; pack them, or make the shortest "
                      "length the longest",
                      path, shape[1], tokens->start[i + 1] - tokens->start[i]);
  xcoder_status status = xci_languages_write(path, tokens, err);
  return status ? status : xci_npy_write(path, XCI_U32, 2, shape, tokens->ids, err);
}
