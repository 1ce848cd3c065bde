/* SPDX-License-Identifier: Apache-2.0 */
/* NumPy .npy files. The header is a Python dictionary; only the three keys of the format are understood. */
#include "formats/npy.h"
#include "base/bytes.h"
#include "base/memory.h"
#include "base/size.h"
#include "base/text.h"

#include <string.h>

enum { MAX_HEADER_BYTES = 65536, MAX_DESCR_BYTES = 16, DATA_ALIGNMENT = 64, PREFIX_BYTES = 10 };

static const unsigned char magic[6] = {0x93, 'N', 'U', 'M', 'P', 'Y'};

/* A cursor over the header text. `found` has a bit for each key seen. */
typedef struct cursor {
  const char *at, *end;
  const char *begin, *path;
  xcoder_error *err;
} cursor;

enum { FOUND_DESCR = 1, FOUND_ORDER = 2, FOUND_SHAPE = 4, FOUND_ALL = 7 };

typedef struct header {
  char descr[MAX_DESCR_BYTES];
  bool fortran_order;
  size_t rank;
  size_t shape[XCI_MAX_RANK];
  unsigned found;
} header;

static const struct {
  const char *descr;
  xci_dtype dtype;
} descrs[] = {
    {"<f4", XCI_F32}, {"<f8", XCI_F64}, {"<f2", XCI_F16}, {"<i8", XCI_I64}, {"<i4", XCI_I32}, {"<i2", XCI_I16},
    {"|i1", XCI_I8},  {"<u8", XCI_U64}, {"<u4", XCI_U32}, {"<u2", XCI_U16}, {"|u1", XCI_U8},  {"|b1", XCI_BOOL},
};

static xcoder_status fail_at(const cursor *c, const char *expected) {
  return xci_fail(c->err, XCODER_FORMAT, "%s: byte %zu of the npy header: expected %s", c->path,
                  (size_t)(c->at - c->begin), expected);
}

static void skip_space(cursor *c) {
  while (c->at < c->end && (*c->at == ' ' || *c->at == '\t' || *c->at == '\n' || *c->at == '\r')) c->at++;
}

static bool take(cursor *c, char wanted) {
  skip_space(c);
  if (c->at >= c->end || *c->at != wanted) return false;
  c->at++;
  return true;
}

static bool take_word(cursor *c, const char *word) {
  size_t n = strlen(word);
  skip_space(c);
  if ((size_t)(c->end - c->at) < n || memcmp(c->at, word, n)) return false;
  c->at += n;
  return true;
}

/* A quoted text without escapes, cut to fit (a cut one matches nothing that is supported). */
static xcoder_status read_quoted(cursor *c, char *out, size_t out_bytes) {
  skip_space(c);
  if (c->at >= c->end || (*c->at != '\'' && *c->at != '"')) return fail_at(c, "a quoted text");
  const char quote = *c->at++;
  const char *close = memchr(c->at, quote, (size_t)(c->end - c->at));
  if (!close) return fail_at(c, "a closing quote");
  size_t n = xci_min_size((size_t)(close - c->at), out_bytes - 1);
  memcpy(out, c->at, n);
  out[n] = '\0';
  c->at = close + 1;
  return XCODER_OK;
}

static xcoder_status read_dimension(cursor *c, size_t *value) {
  skip_space(c);
  if (c->at >= c->end || *c->at < '0' || *c->at > '9') return fail_at(c, "a size of 0 or more");
  *value = 0;
  for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++)
    if (!xci_mul_size(*value, 10, value) || !xci_add_size(*value, (size_t)(*c->at - '0'), value))
      return fail_at(c, "a size that fits");
  return XCODER_OK;
}

static xcoder_status read_shape(cursor *c, header *h) {
  xcoder_status status = XCODER_OK;
  if (!take(c, '(')) return fail_at(c, "a tuple");
  while (!status && !take(c, ')')) {
    if (h->rank == XCI_MAX_RANK)
      return xci_fail(c->err, XCODER_UNSUPPORTED, "%s: more than %d dimensions are not supported", c->path,
                      XCI_MAX_RANK);
    status = read_dimension(c, &h->shape[h->rank++]);
    if (!status && !take(c, ',')) {
      /* Python needs the comma in a tuple of one. */
      if (h->rank == 1 || !take(c, ')')) return fail_at(c, "','");
      break;
    }
  }
  return status;
}

static xcoder_status read_descr(cursor *c, header *h) {
  skip_space(c);
  if (c->at < c->end && *c->at == '[')
    return xci_fail(c->err, XCODER_UNSUPPORTED, "%s: records (a descr that is a list) are not supported", c->path);
  return read_quoted(c, h->descr, sizeof h->descr);
}

static xcoder_status read_order(cursor *c, header *h) {
  h->fortran_order = take_word(c, "True");
  return h->fortran_order || take_word(c, "False") ? XCODER_OK : fail_at(c, "True or False");
}

static const struct {
  const char *key;
  unsigned bit;
  xcoder_status (*read)(cursor *, header *);
} keys[] = {
    {"descr", FOUND_DESCR, read_descr}, {"fortran_order", FOUND_ORDER, read_order}, {"shape", FOUND_SHAPE, read_shape}};

static xcoder_status read_item(cursor *c, header *h) {
  char key[MAX_DESCR_BYTES];
  xcoder_status status = read_quoted(c, key, sizeof key);
  if (status) return status;
  if (!take(c, ':')) return fail_at(c, "':'");
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    if (strcmp(key, keys[i].key)) continue;
    if (h->found & keys[i].bit) return fail_at(c, "each key once");
    h->found |= keys[i].bit;
    return keys[i].read(c, h);
  }
  return fail_at(c, "descr, fortran_order or shape");
}

static xcoder_status read_dictionary(cursor *c, header *h) {
  xcoder_status status = XCODER_OK;
  if (!take(c, '{')) return fail_at(c, "'{'");
  while (!status && !take(c, '}')) {
    status = read_item(c, h);
    if (!status && !take(c, ',')) {
      if (!take(c, '}')) return fail_at(c, "',' or '}'");
      break;
    }
  }
  if (status) return status;
  skip_space(c);
  if (c->at != c->end) return fail_at(c, "nothing behind '}'");
  return h->found == FOUND_ALL ? XCODER_OK : fail_at(c, "all of descr, fortran_order and shape");
}

/* Finds the header text and where the data begin. */
static xcoder_status find_header(const char *path, const xci_map *map, cursor *c, size_t *data_start,
                                 xcoder_error *err) {
  if (map->n_bytes < PREFIX_BYTES || memcmp(map->bytes, magic, sizeof magic))
    return xci_fail(err, XCODER_FORMAT, "%s: byte 0: not a npy file", path);
  const unsigned major = map->bytes[6], minor = map->bytes[7];
  if (major < 1 || major > 3 || minor)
    return xci_fail(err, XCODER_UNSUPPORTED, "%s: byte 6: npy version %u.%u, supported are 1.0, 2.0 and 3.0", path,
                    major, minor);
  const size_t prefix = major == 1 ? PREFIX_BYTES : PREFIX_BYTES + 2;
  if (map->n_bytes < prefix) return xci_fail(err, XCODER_FORMAT, "%s: ends within its header", path);
  const size_t length = major == 1 ? xci_load_u16(map->bytes + 8) : xci_load_u32(map->bytes + 8);
  if (length > MAX_HEADER_BYTES || length > map->n_bytes - prefix)
    return xci_fail(err, XCODER_FORMAT, "%s: byte 8: header of %zu bytes, but %zu follow and at most %d are allowed",
                    path, length, map->n_bytes - prefix, MAX_HEADER_BYTES);
  const char *text = (const char *)map->bytes + prefix;
  *c = (cursor){.at = text, .end = text + length, .begin = text, .path = path, .err = err};
  *data_start = prefix + length;
  return XCODER_OK;
}

static xcoder_status find_dtype(const char *path, const header *h, xci_dtype *dtype, xcoder_error *err) {
  for (size_t i = 0; i < sizeof descrs / sizeof *descrs; i++) {
    /* The first character tells byte order; it means nothing for single bytes. */
    bool one_byte = descrs[i].descr[0] == '|' && h->descr[0] && strchr("|<>=", h->descr[0]);
    if (strcmp(h->descr + one_byte, descrs[i].descr + one_byte)) continue;
    *dtype = descrs[i].dtype;
    return XCODER_OK;
  }
  char quoted[XCODER_ERROR_BYTES];
  return xci_fail(err, XCODER_UNSUPPORTED, "%s: npy type '%s' is not supported (little-endian numbers are)", path,
                  xci_quote(quoted, sizeof quoted, h->descr, strlen(h->descr)));
}

static xcoder_status check_size(const char *path, xci_npy *npy, size_t data_start, xcoder_error *err) {
  npy->n_values = 1;
  for (size_t i = 0; i < npy->rank; i++)
    if (!xci_mul_size(npy->n_values, npy->shape[i], &npy->n_values))
      return xci_fail(err, XCODER_FORMAT, "%s: the product of its dimensions overflows", path);
  if (!xci_mul_size(npy->n_values, xci_dtype_bytes(npy->dtype), &npy->n_bytes))
    return xci_fail(err, XCODER_FORMAT, "%s: the size of its %zu values overflows", path, npy->n_values);
  npy->bytes = npy->map.bytes + data_start;
  if (npy->n_bytes != npy->map.n_bytes - data_start)
    return xci_fail(err, XCODER_FORMAT, "%s: byte %zu: shape and type need %zu bytes of data, the file has %zu", path,
                    data_start, npy->n_bytes, npy->map.n_bytes - data_start);
  return XCODER_OK;
}

static xcoder_status read_npy(const char *path, xci_npy *npy, xcoder_error *err) {
  cursor c;
  header h = {0};
  size_t data_start = 0;
  xcoder_status status = find_header(path, &npy->map, &c, &data_start, err);
  if (!status) status = read_dictionary(&c, &h);
  if (!status) status = find_dtype(path, &h, &npy->dtype, err);
  if (status) return status;
  if (h.fortran_order && h.rank > 1)
    return xci_fail(err, XCODER_UNSUPPORTED, "%s: Fortran order is not supported (save with numpy.ascontiguousarray)",
                    path);
  npy->rank = h.rank;
  memcpy(npy->shape, h.shape, sizeof npy->shape);
  return check_size(path, npy, data_start, err);
}

xcoder_status xci_npy_open(const char *path, xci_npy *npy, xcoder_error *err) {
  *npy = (xci_npy){0};
  xcoder_status status = xci_map_open(path, &npy->map, err);
  if (status) return status;
  status = read_npy(path, npy, err);
  if (status) xci_npy_close(npy);
  return status;
}

void xci_npy_close(xci_npy *npy) {
  if (npy->map.bytes) xci_map_close(&npy->map);
  *npy = (xci_npy){0};
}

/* The whole of the file before the data. */
static xcoder_status make_header(const char *descr, size_t rank, const size_t *shape, xci_text *text,
                                 xcoder_error *err) {
  char prefix[PREFIX_BYTES] = {0};
  memcpy(prefix, magic, sizeof magic);
  prefix[6] = 1;
  xci_text_append(text, prefix, sizeof prefix);
  xci_text_format(text, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
  for (size_t i = 0; i < rank; i++) xci_text_format(text, i ? ", %zu" : "%zu", shape[i]);
  xci_text_add(text, rank == 1 ? ",), }" : "), }");
  while (!text->failed && (text->n_bytes + 1) % DATA_ALIGNMENT) xci_text_add(text, " ");
  xci_text_add(text, "\n");
  if (!text->failed) xci_store_u16(text->bytes + 8, (uint16_t)(text->n_bytes - PREFIX_BYTES));
  return xci_text_status(text, err);
}

xcoder_status xci_npy_write(const char *path, xci_dtype dtype, size_t rank, const size_t *shape, const void *values,
                            xcoder_error *err) {
  const char *descr = NULL;
  size_t n_values = 1, n_bytes = xci_dtype_bytes(dtype);
  for (size_t i = 0; i < sizeof descrs / sizeof *descrs; i++)
    if (descrs[i].dtype == dtype) descr = descrs[i].descr;
  if (!descr || rank > XCI_MAX_RANK)
    return xci_fail(err, XCODER_USAGE, "%s: npy cannot hold %s of %zu dimensions", path, xci_dtype_name(dtype), rank);
  for (size_t i = 0; i < rank; i++)
    if (!xci_mul_size(n_values, shape[i], &n_values) || !xci_mul_size(n_bytes, shape[i], &n_bytes))
      return xci_fail(err, XCODER_USAGE, "%s: the array is too large", path);
  xci_text text = {0};
  xci_writer *writer = NULL;
  xcoder_status status = make_header(descr, rank, shape, &text, err);
  if (!status) status = xci_writer_open(path, &writer, err);
  if (!status) status = xci_writer_write(writer, text.bytes, text.n_bytes, err);
  if (!status) status = xci_write_values(writer, dtype, values, n_values, err);
  if (!status) {
    status = xci_writer_commit(writer, err);
    writer = NULL;
  }
  xci_writer_abort(writer);
  xci_text_clear(&text);
  return status;
}
