/* SPDX-License-Identifier: Apache-2.0 */
/* What a pickle of tensors may name and call. Each name is compared whole; a call is a pattern that is checked, never
 * something that runs. */
#include "base/memory.h"
#include "base/size.h"
#include "formats/torch_pickle.h"

#include <string.h>

enum { MAX_RECORDS = 1 << 20 };

typedef enum global_kind {
  ORDERED_DICT, TENSOR_V2, TENSOR_V3, PARAMETER, SIZE, STORAGE_CLASS, UNTYPED_STORAGE, DTYPE
} global_kind;

static const struct {
  const char *name;
  global_kind kind;
  xci_dtype dtype;
} globals[] = {
    {"collections OrderedDict", ORDERED_DICT, XCI_OTHER},
    {"torch._utils _rebuild_tensor_v2", TENSOR_V2, XCI_OTHER},
    {"torch._utils _rebuild_tensor_v3", TENSOR_V3, XCI_OTHER},
    {"torch._utils _rebuild_parameter", PARAMETER, XCI_OTHER},
    {"torch Size", SIZE, XCI_OTHER},
    {"torch FloatStorage", STORAGE_CLASS, XCI_F32},
    {"torch HalfStorage", STORAGE_CLASS, XCI_F16},
    {"torch BFloat16Storage", STORAGE_CLASS, XCI_BF16},
    {"torch DoubleStorage", STORAGE_CLASS, XCI_F64},
    {"torch LongStorage", STORAGE_CLASS, XCI_I64},
    {"torch IntStorage", STORAGE_CLASS, XCI_I32},
    {"torch ShortStorage", STORAGE_CLASS, XCI_I16},
    {"torch CharStorage", STORAGE_CLASS, XCI_I8},
    {"torch ByteStorage", STORAGE_CLASS, XCI_U8},
    {"torch BoolStorage", STORAGE_CLASS, XCI_BOOL},
    {"torch.storage UntypedStorage", UNTYPED_STORAGE, XCI_U8},
    {"torch float32", DTYPE, XCI_F32}, {"torch float16", DTYPE, XCI_F16}, {"torch bfloat16", DTYPE, XCI_BF16},
    {"torch float64", DTYPE, XCI_F64}, {"torch int64", DTYPE, XCI_I64}, {"torch int32", DTYPE, XCI_I32},
    {"torch int16", DTYPE, XCI_I16}, {"torch int8", DTYPE, XCI_I8}, {"torch uint8", DTYPE, XCI_U8},
    {"torch uint16", DTYPE, XCI_U16}, {"torch uint32", DTYPE, XCI_U32}, {"torch uint64", DTYPE, XCI_U64},
    {"torch bool", DTYPE, XCI_BOOL},
};

xcoder_status xci_pickle_global(xci_pickle *p, const char *name, size_t n, xci_pickle_value *out, xcoder_error *err) {
  char quoted[XCODER_ERROR_BYTES];
  for (size_t i = 0; i < sizeof globals / sizeof *globals; i++) {
    if (strlen(globals[i].name) != n || memcmp(globals[i].name, name, n) != 0) continue;
    *out = (xci_pickle_value){.kind = XCI_PICKLE_GLOBAL, .as.index = i};
    return XCODER_OK;
  }
  return xci_pickle_fail(p, XCODER_UNSUPPORTED, err, "global '%s' is not in the list of what is read",
                         xci_quote(quoted, sizeof quoted, name, n));
}

/* A tuple's values, or NULL if it is no tuple of at least `least` and at most `most`. */
static const xci_pickle_value *tuple_of(const xci_pickle *p, const xci_pickle_value *value, size_t least, size_t most) {
  if (value->kind != XCI_PICKLE_TUPLE || value->n < least || value->n > most) return NULL;
  return p->pool + value->as.index;
}

static bool read_size(const xci_pickle_value *value, size_t *out) {
  if (value->kind != XCI_PICKLE_INT || value->as.integer < 0 || (uint64_t)value->as.integer > SIZE_MAX) return false;
  *out = (size_t)value->as.integer;
  return true;
}

static bool read_sizes(const xci_pickle *p, const xci_pickle_value *value, size_t *out) {
  for (size_t i = 0; i < value->n; i++)
    if (!read_size(&p->pool[value->as.index + i], &out[i])) return false;
  return true;
}

static bool is_kind(const xci_pickle_value *value, global_kind kind) {
  return value->kind == XCI_PICKLE_GLOBAL && globals[value->as.index].kind == kind;
}

xcoder_status xci_pickle_persistent(xci_pickle *p, const xci_pickle_value *id, xci_pickle_value *out,
                                    xcoder_error *err) {
  size_t n_parts = p->is_legacy ? 6 : 5;
  const xci_pickle_value *part = tuple_of(p, id, n_parts, n_parts);
  xci_pickle_storage storage = {0};
  if (!part || !xci_pickle_is_text(&part[0], "storage") || part[2].kind != XCI_PICKLE_TEXT ||
      part[3].kind != XCI_PICKLE_TEXT)
    return xci_pickle_fail(p, XCODER_FORMAT, err, "a persistent id that is no tuple ('storage', class, key, place, "
                           "size%s)", p->is_legacy ? ", view" : "");
  storage.untyped = is_kind(&part[1], UNTYPED_STORAGE);
  if (!storage.untyped && !is_kind(&part[1], STORAGE_CLASS))
    return xci_pickle_fail(p, XCODER_FORMAT, err, "a persistent id without a class of storages");
  if (!read_size(&part[4], &storage.n_values))
    return xci_pickle_fail(p, XCODER_FORMAT, err, "a storage whose length is no size");
  if (p->is_legacy && part[5].kind != XCI_PICKLE_NONE)
    return xci_pickle_fail(p, XCODER_UNSUPPORTED, err, "a storage that is a view of another one");
  if (p->n_storages >= MAX_RECORDS)
    return xci_pickle_fail(p, XCODER_FORMAT, err, "more than %d storages", (int)MAX_RECORDS);
  storage.dtype = globals[part[1].as.index].dtype;
  storage.width = xci_dtype_bytes(storage.dtype);
  storage.key = part[2].as.text;
  storage.n_key = part[2].n;
  xcoder_status status =
      xci_grow((void **)&p->storage, &p->storage_capacity, p->n_storages + 1, sizeof *p->storage, err);
  if (status) return status;
  p->storage[p->n_storages] = storage;
  *out = (xci_pickle_value){.kind = XCI_PICKLE_STORAGE, .as.index = p->n_storages++};
  return XCODER_OK;
}

/* The last element that the view touches must lie in the storage; with strides of 0 it may not be larger than it. */
static xcoder_status check_view(const xci_pickle *p, xci_pickle_tensor *tensor, xcoder_error *err) {
  const xci_pickle_storage *storage = &p->storage[tensor->storage];
  size_t last = tensor->first, room = storage->n_values, span;
  bool fits = true;
  if (storage->untyped) room /= xci_dtype_bytes(tensor->dtype);
  tensor->n_values = 1;
  for (size_t i = 0; i < tensor->rank; i++) {
    if (!xci_mul_size(tensor->n_values, tensor->shape[i], &tensor->n_values))
      return xci_pickle_fail(p, XCODER_FORMAT, err, "the product of a tensor's dimensions overflows");
    if (tensor->shape[i] == 0) continue;
    fits = fits && xci_mul_size(tensor->shape[i] - 1, tensor->strides[i], &span) && xci_add_size(last, span, &last);
  }
  if (tensor->n_values == 0 ? tensor->first > room : !fits || last >= room)
    return xci_pickle_fail(p, XCODER_FORMAT, err, "a tensor reaches beyond its storage of %zu values", room);
  if (tensor->n_values > room)
    return xci_pickle_fail(p, XCODER_UNSUPPORTED, err, "a tensor of %zu values repeats a storage of %zu",
                           tensor->n_values, room);
  return XCODER_OK;
}

/* Conjugate and negative views hold other values than their bytes. */
static bool is_plain_metadata(const xci_pickle *p, const xci_pickle_value *value) {
  if (value->kind == XCI_PICKLE_NONE) return true;
  if (value->kind != XCI_PICKLE_DICT) return false;
  const xci_pickle_object *object = &p->object[value->as.index];
  for (size_t i = 1; i < object->n; i += 2)
    if (object->item[i].kind != XCI_PICKLE_BOOL || object->item[i].as.integer) return false;
  return true;
}

static bool is_no_hooks(const xci_pickle *p, const xci_pickle_value *value) {
  return value->kind == XCI_PICKLE_NONE || (value->kind == XCI_PICKLE_DICT && p->object[value->as.index].n == 0);
}

/* (storage, offset, sizes, strides, requires_grad, hooks[, dtype][, metadata]) */
static xcoder_status rebuild_tensor(xci_pickle *p, const xci_pickle_value *args, bool with_dtype, xci_pickle_value *out,
                                    xcoder_error *err) {
  size_t n_fixed = with_dtype ? 7 : 6;
  const xci_pickle_value *arg = tuple_of(p, args, n_fixed, n_fixed + 1);
  xci_pickle_tensor tensor = {0};
  if (!arg || arg[0].kind != XCI_PICKLE_STORAGE || arg[2].kind != XCI_PICKLE_TUPLE ||
      arg[3].kind != XCI_PICKLE_TUPLE || arg[4].kind != XCI_PICKLE_BOOL || !is_no_hooks(p, &arg[5]))
    return xci_pickle_fail(p, XCODER_FORMAT, err, "a tensor that is not (storage, offset, sizes, strides, ...)");
  if (args->n > n_fixed && !is_plain_metadata(p, &arg[n_fixed]))
    return xci_pickle_fail(p, XCODER_UNSUPPORTED, err, "a tensor with a conjugate or negative bit");
  tensor.storage = arg[0].as.index;
  tensor.rank = arg[2].n;
  if (tensor.rank > XCI_MAX_RANK)
    return xci_pickle_fail(p, XCODER_UNSUPPORTED, err, "a tensor of %zu dimensions, at most %d are supported",
                           tensor.rank, XCI_MAX_RANK);
  if (arg[3].n != tensor.rank)
    return xci_pickle_fail(p, XCODER_FORMAT, err, "a tensor of %zu dimensions with %zu strides", tensor.rank, arg[3].n);
  if (!read_size(&arg[1], &tensor.first) || !read_sizes(p, &arg[2], tensor.shape) ||
      !read_sizes(p, &arg[3], tensor.strides))
    return xci_pickle_fail(p, XCODER_FORMAT, err, "a tensor whose offset, shape or strides are no sizes");
  tensor.dtype = p->storage[tensor.storage].dtype;
  if (with_dtype != p->storage[tensor.storage].untyped || (with_dtype && !is_kind(&arg[6], DTYPE)))
    return xci_pickle_fail(p, XCODER_FORMAT, err, "a tensor whose element type does not go with its storage");
  if (with_dtype) tensor.dtype = globals[arg[6].as.index].dtype;
  xcoder_status status = check_view(p, &tensor, err);
  if (!status && p->n_tensors >= MAX_RECORDS)
    status = xci_pickle_fail(p, XCODER_FORMAT, err, "more than %d tensors", (int)MAX_RECORDS);
  if (!status) status = xci_grow((void **)&p->tensor, &p->tensor_capacity, p->n_tensors + 1, sizeof *p->tensor, err);
  if (status) return status;
  p->tensor[p->n_tensors] = tensor;
  *out = (xci_pickle_value){.kind = XCI_PICKLE_TENSOR, .as.index = p->n_tensors++};
  return XCODER_OK;
}

xcoder_status xci_pickle_reduce(xci_pickle *p, const xci_pickle_value *callable, const xci_pickle_value *args,
                                xci_pickle_value *out, xcoder_error *err) {
  if (callable->kind != XCI_PICKLE_GLOBAL)
    return xci_pickle_fail(p, XCODER_FORMAT, err, "opcode 0x52 (REDUCE) on what is no global");
  const char *name = globals[callable->as.index].name;
  const xci_pickle_value *arg;
  switch (globals[callable->as.index].kind) {
    case TENSOR_V2: return rebuild_tensor(p, args, false, out, err);
    case TENSOR_V3: return rebuild_tensor(p, args, true, out, err);
    case ORDERED_DICT:
      if (args->kind == XCI_PICKLE_TUPLE && args->n == 0) return xci_pickle_add_object(p, true, true, out, err);
      break;
    case PARAMETER:
      arg = tuple_of(p, args, 3, 3);
      if (!arg || arg[0].kind != XCI_PICKLE_TENSOR || arg[1].kind != XCI_PICKLE_BOOL || !is_no_hooks(p, &arg[2])) break;
      *out = arg[0];
      return XCODER_OK;
    case SIZE:
      arg = tuple_of(p, args, 1, 1);
      if (!arg || arg[0].kind != XCI_PICKLE_TUPLE) break;
      *out = arg[0];
      return XCODER_OK;
    case STORAGE_CLASS: case UNTYPED_STORAGE: case DTYPE: default:
      return xci_pickle_fail(p, XCODER_UNSUPPORTED, err, "a call of global '%s', which is no function", name);
  }
  return xci_pickle_fail(p, XCODER_FORMAT, err, "a call of global '%s' with other arguments than expected", name);
}
