/* SPDX-License-Identifier: Apache-2.0 */
/* The opcodes: a stack, a memo, and caps on everything that a file can make grow. */
#include "formats/torch_pickle.h"
#include "base/bytes.h"
#include "base/memory.h"
#include "base/size.h"
#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MAX_STACK = 1 << 20, MAX_MEMO = 1 << 22, MAX_OBJECTS = 1 << 20, MAX_GLOBAL_BYTES = 256, PROTOCOL = 2 };

xcoder_status xci_pickle_fail(const xci_pickle *p, xcoder_status status, xcoder_error *err, const char *format, ...) {
  char text[XCODER_ERROR_BYTES];
  va_list list;
  va_start(list, format);
  vsnprintf(text, sizeof text, format, list);
  va_end(list);
  return xci_fail(err, status, "%s: %s, byte %zu: %s", p->path, p->where, p->opcode, text);
}

static xcoder_status fail_short(const xci_pickle *p, xcoder_error *err) {
  return xci_pickle_fail(p, XCODER_FORMAT, err, "opcode 0x%02x goes beyond the end of the pickle",
                         p->opcode < p->n_bytes ? p->bytes[p->opcode] : 0u);
}

/* `n` bytes of argument. */
static xcoder_status take(xci_pickle *p, size_t n, const unsigned char **bytes, xcoder_error *err) {
  if (n > p->n_bytes - p->at) return fail_short(p, err);
  *bytes = p->bytes + p->at;
  p->at += n;
  return XCODER_OK;
}

/* An unsigned little-endian argument of 1, 2 or 4 bytes. */
static xcoder_status take_number(xci_pickle *p, size_t width, size_t *number, xcoder_error *err) {
  const unsigned char *b = NULL;
  xcoder_status status = take(p, width, &b, err);
  if (!status) *number = width == 1 ? b[0] : width == 2 ? xci_load_u16(b) : xci_load_u32(b);
  return status;
}

static xcoder_status push(xci_pickle *p, xci_pickle_value value, xcoder_error *err) {
  if (p->n_stack >= MAX_STACK)
    return xci_pickle_fail(p, XCODER_FORMAT, err, "more than %d values on the stack", (int)MAX_STACK);
  xcoder_status status = xci_grow((void **)&p->stack, &p->stack_capacity, p->n_stack + 1, sizeof *p->stack, err);
  if (!status) p->stack[p->n_stack++] = value;
  return status;
}

static xcoder_status need(const xci_pickle *p, size_t n, xcoder_error *err) {
  if (p->n_stack < n)
    return xci_pickle_fail(p, XCODER_FORMAT, err, "opcode 0x%02x needs %zu values on the stack, there are %zu",
                           p->bytes[p->opcode], n, p->n_stack);
  for (size_t i = 0; i < n; i++)
    if (p->stack[p->n_stack - 1 - i].kind == XCI_PICKLE_MARK)
      return xci_pickle_fail(p, XCODER_FORMAT, err, "opcode 0x%02x finds a mark where a value is needed",
                             p->bytes[p->opcode]);
  return XCODER_OK;
}

/* Place of the topmost mark. */
static xcoder_status find_mark(const xci_pickle *p, size_t *mark, xcoder_error *err) {
  for (size_t i = p->n_stack; i-- > 0;) {
    if (p->stack[i].kind != XCI_PICKLE_MARK) continue;
    *mark = i;
    return XCODER_OK;
  }
  return xci_pickle_fail(p, XCODER_FORMAT, err, "opcode 0x%02x without a mark", p->bytes[p->opcode]);
}

xcoder_status xci_pickle_add_object(xci_pickle *p, bool is_dict, bool is_ordered, xci_pickle_value *out,
                                    xcoder_error *err) {
  if (p->n_objects >= MAX_OBJECTS)
    return xci_pickle_fail(p, XCODER_FORMAT, err, "more than %d lists and dicts", (int)MAX_OBJECTS);
  xcoder_status status = xci_grow((void **)&p->object, &p->object_capacity, p->n_objects + 1, sizeof *p->object, err);
  if (status) return status;
  p->object[p->n_objects] = (xci_pickle_object){.is_dict = is_dict, .is_ordered = is_ordered};
  *out = (xci_pickle_value){.kind = is_dict ? XCI_PICKLE_DICT : XCI_PICKLE_LIST, .as.index = p->n_objects++};
  return XCODER_OK;
}

static xcoder_status push_object(xci_pickle *p, bool is_dict, xcoder_error *err) {
  xci_pickle_value value;
  xcoder_status status = xci_pickle_add_object(p, is_dict, false, &value, err);
  return status ? status : push(p, value, err);
}

/* The values from `first` on become one tuple. */
static xcoder_status make_tuple(xci_pickle *p, size_t first, xcoder_error *err) {
  size_t n = p->n_stack - first;
  xci_pickle_value tuple = {.kind = XCI_PICKLE_TUPLE, .n = n, .as.index = p->n_pool};
  if (n > (size_t)XCI_PICKLE_MAX_VALUES - p->n_pool)
    return xci_pickle_fail(p, XCODER_FORMAT, err, "more than %d values in tuples", (int)XCI_PICKLE_MAX_VALUES);
  xcoder_status status = xci_grow((void **)&p->pool, &p->pool_capacity, p->n_pool + n, sizeof *p->pool, err);
  if (status) return status;
  if (n) memcpy(p->pool + p->n_pool, p->stack + first, n * sizeof *p->pool);
  p->n_pool += n;
  p->n_stack = first;
  return push(p, tuple, err);
}

static xcoder_status small_tuple(xci_pickle *p, size_t n, xcoder_error *err) {
  xcoder_status status = need(p, n, err);
  return status ? status : make_tuple(p, p->n_stack - n, err);
}

static xcoder_status marked_tuple(xci_pickle *p, xcoder_error *err) {
  size_t mark = 0;
  xcoder_status status = find_mark(p, &mark, err);
  if (status) return status;
  memmove(p->stack + mark, p->stack + mark + 1, (p->n_stack - mark - 1) * sizeof *p->stack);
  p->n_stack--;
  return make_tuple(p, mark, err);
}

/* Moves the values from `first` on into the list or dict below `below`. */
static xcoder_status add_items(xci_pickle *p, size_t below, size_t first, bool to_dict, xcoder_error *err) {
  size_t n = p->n_stack - first;
  const xci_pickle_value *target = below ? &p->stack[below - 1] : NULL;
  if (!target || target->kind != (to_dict ? XCI_PICKLE_DICT : XCI_PICKLE_LIST))
    return xci_pickle_fail(p, XCODER_FORMAT, err, "opcode 0x%02x without a %s", p->bytes[p->opcode],
                           to_dict ? "dict" : "list");
  if (to_dict && n % 2)
    return xci_pickle_fail(p, XCODER_FORMAT, err, "a key without a value");
  for (size_t i = first; to_dict && i < p->n_stack; i += 2) {
    xci_pickle_kind kind = p->stack[i].kind;
    if (kind == XCI_PICKLE_LIST || kind == XCI_PICKLE_DICT || kind == XCI_PICKLE_TENSOR || kind == XCI_PICKLE_STORAGE)
      return xci_pickle_fail(p, XCODER_FORMAT, err, "a key that is no text, number or tuple");
  }
  xci_pickle_object *object = &p->object[target->as.index];
  if (n > (size_t)XCI_PICKLE_MAX_VALUES - object->n)
    return xci_pickle_fail(p, XCODER_FORMAT, err, "more than %d values in a container", (int)XCI_PICKLE_MAX_VALUES);
  xcoder_status status =
      xci_grow((void **)&object->item, &object->capacity, object->n + n, sizeof *object->item, err);
  if (status) return status;
  if (n) memcpy(object->item + object->n, p->stack + first, n * sizeof *object->item);
  object->n += n;
  p->n_stack = below;
  return XCODER_OK;
}

static xcoder_status add_one(xci_pickle *p, bool to_dict, xcoder_error *err) {
  size_t n = to_dict ? 2 : 1;
  xcoder_status status = need(p, n + 1, err);
  return status ? status : add_items(p, p->n_stack - n, p->n_stack - n, to_dict, err);
}

static xcoder_status add_marked(xci_pickle *p, bool to_dict, xcoder_error *err) {
  size_t mark = 0;
  xcoder_status status = find_mark(p, &mark, err);
  return status ? status : add_items(p, mark, mark + 1, to_dict, err);
}

static xcoder_status put_memo(xci_pickle *p, size_t width, xcoder_error *err) {
  size_t index = 0;
  xcoder_status status = take_number(p, width, &index, err);
  if (!status) status = need(p, 1, err);
  if (status) return status;
  if (index >= MAX_MEMO || index >= p->n_bytes)
    return xci_pickle_fail(p, XCODER_FORMAT, err, "memo place %zu is too high", index);
  status = xci_grow((void **)&p->memo, &p->n_memo, index + 1, sizeof *p->memo, err);
  if (!status) p->memo[index] = p->stack[p->n_stack - 1];
  return status;
}

static xcoder_status get_memo(xci_pickle *p, size_t width, xcoder_error *err) {
  size_t index = 0;
  xcoder_status status = take_number(p, width, &index, err);
  if (status) return status;
  if (index >= p->n_memo || p->memo[index].kind == XCI_PICKLE_UNSET)
    return xci_pickle_fail(p, XCODER_FORMAT, err, "memo place %zu was never set", index);
  return push(p, p->memo[index], err);
}

static xcoder_status push_integer(xci_pickle *p, xci_pickle_kind kind, int64_t integer, xcoder_error *err) {
  return push(p, (xci_pickle_value){.kind = kind, .as.integer = integer}, err);
}

static xcoder_status push_int(xci_pickle *p, size_t width, xcoder_error *err) {
  size_t number = 0;
  xcoder_status status = take_number(p, width, &number, err);
  if (status) return status;
  return push_integer(p, XCI_PICKLE_INT, width == 4 ? (int64_t)(int32_t)(uint32_t)number : (int64_t)number, err);
}

/* LONG1: two's complement. */
static xcoder_status push_long(xci_pickle *p, xcoder_error *err) {
  size_t n = 0;
  const unsigned char *bytes = NULL;
  xcoder_status status = take_number(p, 1, &n, err);
  if (!status) status = take(p, n, &bytes, err);
  if (status) return status;
  unsigned char wide[8];
  memset(wide, n && bytes[n - 1] & 0x80 ? 0xff : 0, sizeof wide);
  for (size_t i = 0; i < n; i++) {
    if (i >= sizeof wide)
      return xci_pickle_fail(p, XCODER_FORMAT, err, "an integer of %zu bytes, at most 8 are read", n);
    wide[i] = bytes[i];
  }
  uint64_t bits = xci_load_u64(wide);
  int64_t integer;
  memcpy(&integer, &bits, sizeof integer);
  return push_integer(p, XCI_PICKLE_INT, integer, err);
}

static xcoder_status push_text(xci_pickle *p, size_t width, xcoder_error *err) {
  size_t n = 0;
  const unsigned char *bytes = NULL;
  xcoder_status status = take_number(p, width, &n, err);
  if (!status) status = take(p, n, &bytes, err);
  if (status) return status;
  if (!xci_utf8_valid((const char *)bytes, n))
    return xci_pickle_fail(p, XCODER_FORMAT, err, "a text that is not UTF-8");
  return push(p, (xci_pickle_value){.kind = XCI_PICKLE_TEXT, .n = n, .as.text = (const char *)bytes}, err);
}

static xcoder_status push_float(xci_pickle *p, xcoder_error *err) {
  const unsigned char *bytes;
  xcoder_status status = take(p, 8, &bytes, err);
  return status ? status : push(p, (xci_pickle_value){.kind = XCI_PICKLE_FLOAT}, err);
}

/* "cMODULE\nNAME\n" becomes "MODULE NAME". */
static xcoder_status push_global(xci_pickle *p, xcoder_error *err) {
  char name[MAX_GLOBAL_BYTES];
  size_t n = 0;
  for (int lines = 0; lines < 2;) {
    if (p->at == p->n_bytes) return fail_short(p, err);
    unsigned char byte = p->bytes[p->at++];
    if (n == sizeof name)
      return xci_pickle_fail(p, XCODER_FORMAT, err, "a global whose name has more than %zu bytes", sizeof name);
    if (byte == '\n') {
      lines++;
      byte = ' ';
    }
    name[n++] = (char)byte;
  }
  xci_pickle_value value;
  xcoder_status status = xci_pickle_global(p, name, n - 1, &value, err);
  return status ? status : push(p, value, err);
}

static xcoder_status reduce(xci_pickle *p, xcoder_error *err) {
  xci_pickle_value value = {0};
  xcoder_status status = need(p, 2, err);
  if (!status) status = xci_pickle_reduce(p, &p->stack[p->n_stack - 2], &p->stack[p->n_stack - 1], &value, err);
  if (status) return status;
  p->n_stack -= 2;
  return push(p, value, err);
}

static xcoder_status persistent(xci_pickle *p, xcoder_error *err) {
  xci_pickle_value value = {0};
  xcoder_status status = need(p, 1, err);
  if (!status) status = xci_pickle_persistent(p, &p->stack[p->n_stack - 1], &value, err);
  if (!status) p->stack[p->n_stack - 1] = value;
  return status;
}

/* A module's state_dict carries `_metadata` as its state: taken from the stack and dropped. */
static xcoder_status build(xci_pickle *p, xcoder_error *err) {
  xcoder_status status = need(p, 2, err);
  if (status) return status;
  const xci_pickle_value *target = &p->stack[p->n_stack - 2], *state = target + 1;
  if (target->kind != XCI_PICKLE_DICT || !p->object[target->as.index].is_ordered || state->kind != XCI_PICKLE_DICT)
    return xci_pickle_fail(p, XCODER_UNSUPPORTED, err, "opcode 0x62 (BUILD) on anything but an OrderedDict");
  p->n_stack--;
  return XCODER_OK;
}

static xcoder_status protocol(xci_pickle *p, xcoder_error *err) {
  size_t version = 0;
  xcoder_status status = take_number(p, 1, &version, err);
  if (!status && version != PROTOCOL)
    status = xci_pickle_fail(p, XCODER_UNSUPPORTED, err, "pickle protocol %zu, only 2 is read", version);
  return status;
}

static xcoder_status run_opcode(xci_pickle *p, unsigned opcode, xcoder_error *err) {
  switch (opcode) {
    case 0x80: return protocol(p, err);
    case 'c': return push_global(p, err);
    case 'q': return put_memo(p, 1, err);
    case 'r': return put_memo(p, 4, err);
    case 'h': return get_memo(p, 1, err);
    case 'j': return get_memo(p, 4, err);
    case '(': return push(p, (xci_pickle_value){.kind = XCI_PICKLE_MARK}, err);
    case 't': return marked_tuple(p, err);
    case ')': return small_tuple(p, 0, err);
    case 0x85: return small_tuple(p, 1, err);
    case 0x86: return small_tuple(p, 2, err);
    case 0x87: return small_tuple(p, 3, err);
    case '}': return push_object(p, true, err);
    case ']': return push_object(p, false, err);
    case 'X': return push_text(p, 4, err);
    case 'U': return push_text(p, 1, err);
    case 'J': return push_int(p, 4, err);
    case 'M': return push_int(p, 2, err);
    case 'K': return push_int(p, 1, err);
    case 0x8a: return push_long(p, err);
    case 0x88: return push_integer(p, XCI_PICKLE_BOOL, 1, err);
    case 0x89: return push_integer(p, XCI_PICKLE_BOOL, 0, err);
    case 'N': return push(p, (xci_pickle_value){.kind = XCI_PICKLE_NONE}, err);
    case 'G': return push_float(p, err);
    case 'R': return reduce(p, err);
    case 'b': return build(p, err);
    case 's': return add_one(p, true, err);
    case 'u': return add_marked(p, true, err);
    case 'a': return add_one(p, false, err);
    case 'e': return add_marked(p, false, err);
    case 'Q': return persistent(p, err);
    default: return xci_pickle_fail(p, XCODER_UNSUPPORTED, err, "opcode 0x%02x is not read", opcode);
  }
}

xcoder_status xci_pickle_run(xci_pickle *p, xcoder_error *err) {
  size_t start = p->at;
  p->n_stack = 0;
  if (p->n_memo) memset(p->memo, 0, p->n_memo * sizeof *p->memo);
  for (;;) {
    p->opcode = p->at;
    if (p->at == p->n_bytes)
      return xci_pickle_fail(p, XCODER_FORMAT, err, "the pickle ends without a stop (truncated?)");
    unsigned opcode = p->bytes[p->at++];
    if (p->opcode == start && opcode != 0x80)
      return xci_pickle_fail(p, XCODER_FORMAT, err, "opcode 0x%02x, expected a pickle of protocol 2", opcode);
    if (opcode == '.') break;
    xcoder_status status = run_opcode(p, opcode, err);
    if (status) return status;
  }
  xcoder_status status = need(p, 1, err);
  if (status) return status;
  if (p->n_stack != 1)
    return xci_pickle_fail(p, XCODER_FORMAT, err, "stop with %zu values on the stack", p->n_stack);
  p->top = p->stack[0];
  return XCODER_OK;
}

void xci_pickle_close(xci_pickle *p) {
  for (size_t i = 0; i < p->n_objects; i++) xci_free(p->object[i].item);
  xci_free(p->object);
  xci_free(p->stack);
  xci_free(p->memo);
  xci_free(p->pool);
  xci_free(p->storage);
  xci_free(p->tensor);
  *p = (xci_pickle){0};
}

bool xci_pickle_is_text(const xci_pickle_value *value, const char *text) {
  return value->kind == XCI_PICKLE_TEXT && value->n == strlen(text) && memcmp(value->as.text, text, value->n) == 0;
}

const xci_pickle_value *xci_pickle_get(const xci_pickle *p, const xci_pickle_value *dict, const char *key) {
  if (dict->kind != XCI_PICKLE_DICT) return NULL;
  const xci_pickle_object *object = &p->object[dict->as.index];
  for (size_t i = object->n; i >= 2; i -= 2) /* the last one of a key counts */
    if (xci_pickle_is_text(&object->item[i - 2], key)) return &object->item[i - 1];
  return NULL;
}
