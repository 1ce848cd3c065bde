/* SPDX-License-Identifier: Apache-2.0 */
/* Cutting text into pieces at a pattern's matches, with the five behaviours of the reference. */
#include "base/memory.h"
#include "data/encode.h"
#include "data/unicode.h"

xcoder_status xci_spans_add(xci_spans *spans, size_t start, size_t end, xcoder_error *err) {
  if (spans->n == spans->capacity) {
    xcoder_status status =
      xci_grow((void **)&spans->spans, &spans->capacity, spans->n + 1, sizeof *spans->spans, err);
    if (status) return status;
  }
  spans->spans[spans->n++] = (xci_span){start, end};
  return XCODER_OK;
}

/* Parts of a piece in order: matches and the gaps between them. A part's kind is told by the parity of its place, so
 * empty gaps are kept: gap, match, gap, match, ..., gap. */
static xcoder_status find_parts(xci_encoder *encoder, size_t split, const char *text, size_t n_bytes,
                                xcoder_error *err) {
  xci_spans *parts = &encoder->parts;
  const xci_pattern *pattern = encoder->tokenizer->splits[split].pattern;
  size_t from = 0, previous_end = 0;
  bool found = true, any = false;
  xcoder_status status = XCODER_OK;
  parts->n = 0;
  while (from <= n_bytes) {
    size_t start = 0, end = 0;
    status = xci_pattern_find(pattern, encoder->matches[split], text, n_bytes, from, &found, &start, &end, err);
    if (status || !found) break;
    if (start == end && any && end == previous_end) { /* an empty match right behind a match does not count */
      uint32_t code_point;
      from += from < n_bytes ? xci_utf8_next(text + from, &code_point) : 1;
      continue;
    }
    status = xci_spans_add(parts, previous_end, start, err);
    if (!status) status = xci_spans_add(parts, start, end, err);
    if (status) break;
    from = previous_end = end;
    any = true;
  }
  return status ? status : xci_spans_add(parts, previous_end, n_bytes, err);
}

typedef struct joining {
  xci_spans *out;
  size_t base, first; /* of the piece in the text, of its spans in `out` */
  bool previous_match;
} joining;

static xcoder_status append_part(joining *j, xci_span part, bool join, bool forward, xcoder_error *err) {
  if (join && j->out->n > j->first) {
    xci_span *last = &j->out->spans[j->out->n - 1];
    if (forward) last->end = j->base + part.end;
    else last->start = j->base + part.start;
    return XCODER_OK;
  }
  return xci_spans_add(j->out, j->base + part.start, j->base + part.end, err);
}

static xcoder_status add_part(joining *j, xci_behavior behavior, xci_span part, bool is_match, xcoder_error *err) {
  bool previous = j->previous_match;
  j->previous_match = is_match;
  switch (behavior) {
  case XCI_REMOVED: return is_match ? XCODER_OK : append_part(j, part, false, true, err);
  case XCI_MERGED_WITH_PREVIOUS: return append_part(j, part, is_match && !previous, true, err);
  case XCI_MERGED_WITH_NEXT: return append_part(j, part, is_match && !previous, false, err);
  case XCI_CONTIGUOUS: return append_part(j, part, is_match == previous, true, err);
  case XCI_ISOLATED: break;
  }
  return append_part(j, part, false, true, err);
}

static void reverse(xci_spans *spans, size_t first) {
  for (size_t low = first, high = spans->n; low + 1 < high; low++, high--) {
    xci_span swapped = spans->spans[low];
    spans->spans[low] = spans->spans[high - 1];
    spans->spans[high - 1] = swapped;
  }
}

/* Joins the parts of one piece by the split's behaviour and appends what is not empty to `out`. */
static xcoder_status join_parts(const xci_split *split, const xci_spans *parts, size_t base, xci_spans *out,
                                xcoder_error *err) {
  joining j = {out, base, out->n, false};
  bool backward = split->behavior == XCI_MERGED_WITH_NEXT;
  xcoder_status status = XCODER_OK;
  for (size_t i = 0; i < parts->n && !status; i++) {
    size_t k = backward ? parts->n - 1 - i : i;
    xci_span part = parts->spans[k];
    bool gap = k % 2 == 0;
    if (gap && part.start == part.end) continue; /* no gap at all */
    status = add_part(&j, split->behavior, part, gap == split->invert, err);
  }
  if (backward) reverse(out, j.first);
  size_t kept = j.first;
  for (size_t i = j.first; i < out->n; i++)
    if (out->spans[i].end > out->spans[i].start) out->spans[kept++] = out->spans[i];
  out->n = kept;
  return status;
}

xcoder_status xci_pretokenize(xci_encoder *encoder, const char *text, size_t n_bytes, xcoder_error *err) {
  encoder->pieces.n = 0;
  xcoder_status status = xci_spans_add(&encoder->pieces, 0, n_bytes, err);
  for (size_t k = 0; k < encoder->tokenizer->n_splits && !status; k++) {
    encoder->next.n = 0;
    for (size_t i = 0; i < encoder->pieces.n && !status; i++) {
      xci_span piece = encoder->pieces.spans[i];
      status = find_parts(encoder, k, text + piece.start, piece.end - piece.start, err);
      if (!status)
        status = join_parts(&encoder->tokenizer->splits[k], &encoder->parts, piece.start, &encoder->next, err);
    }
    xci_spans swapped = encoder->pieces;
    encoder->pieces = encoder->next;
    encoder->next = swapped;
  }
  return status;
}
