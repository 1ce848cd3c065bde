/* SPDX-License-Identifier: Apache-2.0 */
/* Unicode normalisation of text of any length, in time n log n.
 *
 * utf8proc knows the decompositions and composes; the canonical ordering is ours, because sorting by neighbour
 * swaps takes hours on a megabyte of combining marks. Text is cut before ASCII characters, which never combine with
 * what stands before them; pieces of inert code points are copied. */
#include "data/normalize.h"

#include "base/memory.h"
#include "base/size.h"
#include "data/unicode.h"
#include <string.h>
#include <utf8proc.h>

bool xci_inert_in_nfc(uint32_t c) {
  return c < 0x300 || (c >= 0x388 && c <= 0x3ff) || (c >= 0x400 && c <= 0x482) || (c >= 0x48a && c <= 0x52f) ||
         (c >= 0x2010 && c <= 0x206f) || (c >= 0x3001 && c <= 0x3029) || (c >= 0x3041 && c <= 0x3096) ||
         (c >= 0x30a1 && c <= 0x30fe) || (c >= 0x3400 && c <= 0x9fff) || (c >= 0xac00 && c <= 0xd7a3) ||
         (c >= 0xff01 && c <= 0xff60);
}

static int combining_class(int32_t c) { return c < 0x300 ? 0 : (int)utf8proc_get_property(c)->combining_class; }

/* Stable merge sort of a run of marks by combining class: bottom up, through `spare` of the same size. */
static void sort_marks(int32_t *marks, int32_t *spare, size_t n) {
  for (size_t width = 1; width < n; width *= 2) {
    for (size_t low = 0; low < n; low += 2 * width) {
      size_t middle = xci_min_size(low + width, n), high = xci_min_size(low + 2 * width, n);
      size_t left = low, right = middle;
      for (size_t k = low; k < high; k++) {
        bool take_left =
          left < middle && (right >= high || combining_class(marks[left]) <= combining_class(marks[right]));
        spare[k] = take_left ? marks[left++] : marks[right++];
      }
    }
    memcpy(marks, spare, n * sizeof *marks);
  }
}

static xcoder_status order_marks(xci_normalizer *work, size_t n, xcoder_error *err) {
  xcoder_status status = XCODER_OK;
  for (size_t i = 0; i < n && !status;) {
    if (combining_class(work->code_points[i]) == 0) {
      i++;
      continue;
    }
    size_t end = i + 1;
    while (end < n && combining_class(work->code_points[end]) != 0) end++;
    if (end - i > 1) {
      status = xci_grow((void **)&work->sorted, &work->sorted_capacity, end - i, sizeof *work->sorted, err);
      if (!status) sort_marks(work->code_points + i, work->sorted, end - i);
    }
    i = end;
  }
  return status;
}

/* Appends the normal form of one piece. */
static xcoder_status normalize_piece(xci_normalizer *work, xci_form form, const char *text, size_t n_bytes,
                                     xcoder_error *err) {
  const utf8proc_option_t options = form.compatible ? UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT : UTF8PROC_DECOMPOSE;
  size_t n = 0;
  for (size_t i = 0; i < n_bytes;) {
    uint32_t code_point;
    int last_class = 0;
    i += xci_utf8_next(text + i, &code_point);
    enum { MAX_DECOMPOSITION = 32 }; /* the longest of Unicode is 18 */
    xcoder_status status = xci_grow((void **)&work->code_points, &work->capacity, n + MAX_DECOMPOSITION,
                                    sizeof *work->code_points, err);
    if (status) return status;
    utf8proc_ssize_t added = utf8proc_decompose_char((utf8proc_int32_t)code_point, work->code_points + n,
                                                     MAX_DECOMPOSITION, options, &last_class);
    if (added < 0 || added > MAX_DECOMPOSITION)
      return xci_fail(err, XCODER_INTERNAL, "U+%04X: its decomposition has %ld code points", (unsigned)code_point,
                      (long)added);
    n += (size_t)added;
  }
  xcoder_status status = order_marks(work, n, err);
  if (status) return status;
  if (form.compose) {
    utf8proc_ssize_t left = utf8proc_normalize_utf32(work->code_points, (utf8proc_ssize_t)n,
                                                     UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    if (left < 0) return xci_fail(err, XCODER_INTERNAL, "composing failed: %s", utf8proc_errmsg(left));
    n = (size_t)left;
  }
  for (size_t i = 0; i < n; i++) {
    char bytes[4];
    xci_text_append(&work->out, bytes, xci_utf8_encode((uint32_t)work->code_points[i], bytes));
  }
  return xci_text_status(&work->out, err);
}

/* Bytes of the piece at `text`: up to the next ASCII character that is followed by a byte above ASCII, so that each
 * piece is either inert or short. *inert tells. */
static size_t measure_piece(const char *text, size_t n_bytes, xci_form form, bool *inert) {
  size_t i = xci_ascii_prefix(text, n_bytes);
  *inert = true;
  if (i == n_bytes) return i;
  if (i > 1) return i - 1;
  while (i < n_bytes && (unsigned char)text[i] >= 0x80) {
    uint32_t code_point;
    i += xci_utf8_next(text + i, &code_point);
    if (!form.compose || form.compatible || !xci_inert_in_nfc(code_point)) *inert = false;
  }
  return i;
}

xcoder_status xci_normalize(xci_normalizer *work, xci_form form, const char *text, size_t n_bytes, const char **out,
                            size_t *n_out, xcoder_error *err) {
  size_t unchanged = 0, length;
  bool inert = true;
  *out = text;
  *n_out = n_bytes;
  while (unchanged < n_bytes) {
    length = measure_piece(text + unchanged, n_bytes - unchanged, form, &inert);
    if (!inert) break;
    unchanged += length;
  }
  if (unchanged == n_bytes) return XCODER_OK;
  work->out.n_bytes = 0;
  xci_text_append(&work->out, text, unchanged);
  for (size_t i = unchanged; i < n_bytes; i += length) {
    length = measure_piece(text + i, n_bytes - i, form, &inert);
    if (inert) {
      xci_text_append(&work->out, text + i, length);
      continue;
    }
    xcoder_status status = normalize_piece(work, form, text + i, length, err);
    if (status) return status;
  }
  xcoder_status status = xci_text_status(&work->out, err);
  if (status) return status;
  *out = work->out.bytes;
  *n_out = work->out.n_bytes;
  return XCODER_OK;
}

void xci_normalizer_clear(xci_normalizer *work) {
  xci_text_clear(&work->out);
  xci_free(work->code_points);
  xci_free(work->sorted);
  *work = (xci_normalizer){0};
}
