/* SPDX-License-Identifier: Apache-2.0 */
/* The part of pickle protocol 2 that torch.save writes for tensors, read into tagged values. Nothing is executed:
 * globals are matched as whole names to the list of torch_rebuild.c and calls to the few patterns there. */
#ifndef XCI_FORMATS_TORCH_PICKLE_H
#define XCI_FORMATS_TORCH_PICKLE_H

#include "formats/safetensors.h"

typedef enum xci_pickle_kind {
  XCI_PICKLE_UNSET, XCI_PICKLE_NONE, XCI_PICKLE_BOOL, XCI_PICKLE_INT, XCI_PICKLE_FLOAT, XCI_PICKLE_TEXT,
  XCI_PICKLE_TUPLE, XCI_PICKLE_LIST, XCI_PICKLE_DICT, XCI_PICKLE_GLOBAL, XCI_PICKLE_STORAGE, XCI_PICKLE_TENSOR,
  XCI_PICKLE_MARK
} xci_pickle_kind;

typedef struct xci_pickle_value {
  xci_pickle_kind kind;
  size_t n; /* bytes of a text, values of a tuple */
  union {
    int64_t integer; /* also of a bool */
    const char *text; /* in the pickle, UTF-8, not zero-terminated */
    size_t index;     /* tuple: in `pool`; list, dict: in `object`; global: in its table; storage; tensor */
  } as;
} xci_pickle_value;

/* A list, or a dict as key, value, key, value. Containers refer to each other by index, so nothing here recurses. */
typedef struct xci_pickle_object {
  xci_pickle_value *item;
  size_t n, capacity;
  bool is_dict, is_ordered;
} xci_pickle_object;

typedef struct xci_pickle_storage {
  const char *key;
  size_t n_key, n_values, width;
  xci_dtype dtype;
  bool untyped; /* values are bytes, the tensor says the type */
  const unsigned char *bytes; /* found by the container */
} xci_pickle_storage;

typedef struct xci_pickle_tensor {
  size_t storage, first, rank, shape[XCI_MAX_RANK], strides[XCI_MAX_RANK]; /* in elements */
  size_t n_values;
  xci_dtype dtype;
} xci_pickle_tensor;

typedef struct xci_pickle {
  const char *path, *where; /* for messages: the file, and the entry or the number of the pickle */
  const unsigned char *bytes; /* must outlive the values */
  size_t n_bytes, at, opcode; /* `opcode`: where the one in work begins */
  bool is_legacy;             /* persistent ids have six parts */
  xci_pickle_value *stack, *memo, *pool;
  size_t n_stack, stack_capacity, n_memo, n_pool, pool_capacity;
  xci_pickle_object *object;
  xci_pickle_storage *storage;
  xci_pickle_tensor *tensor;
  size_t n_objects, object_capacity, n_storages, storage_capacity, n_tensors, tensor_capacity;
  xci_pickle_value top;
} xci_pickle;

/* Reads one pickle from pickle->at to its STOP and puts its value to pickle->top. */
xcoder_status xci_pickle_run(xci_pickle *pickle, xcoder_error *err);
void xci_pickle_close(xci_pickle *pickle); /* zeroed allowed */
bool xci_pickle_is_text(const xci_pickle_value *value, const char *text);
/* The value under a text key of a dict, or NULL. */
const xci_pickle_value *xci_pickle_get(const xci_pickle *pickle, const xci_pickle_value *dict, const char *key);

/* Between torch_pickle.c and torch_rebuild.c. */
enum { XCI_PICKLE_MAX_VALUES = 1 << 23 };
xcoder_status xci_pickle_fail(const xci_pickle *pickle, xcoder_status status, xcoder_error *err, const char *format,
                              ...) XCODER_PRINTF(4, 5);
xcoder_status xci_pickle_add_object(xci_pickle *pickle, bool is_dict, bool is_ordered, xci_pickle_value *out,
                                    xcoder_error *err);
/* `name` is "module name"; the value of a global of the list. */
xcoder_status xci_pickle_global(xci_pickle *pickle, const char *name, size_t n, xci_pickle_value *out,
                                xcoder_error *err);
xcoder_status xci_pickle_reduce(xci_pickle *pickle, const xci_pickle_value *callable, const xci_pickle_value *args,
                                xci_pickle_value *out, xcoder_error *err);
xcoder_status xci_pickle_persistent(xci_pickle *pickle, const xci_pickle_value *id, xci_pickle_value *out,
                                    xcoder_error *err);

#endif
