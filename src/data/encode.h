/* SPDX-License-Identifier: Apache-2.0 */
/* From text to ids: the work space of one thread. */
#ifndef XCI_DATA_ENCODE_H
#define XCI_DATA_ENCODE_H

#include "data/tokenizer.h"

typedef struct xci_span {
  size_t start, end;
} xci_span;

typedef struct xci_spans {
  xci_span *spans;
  size_t n, capacity;
} xci_spans;

typedef struct xci_encoder {
  const xcoder_tokenizer *tokenizer;
  xci_bpe_work *bpe;
  xci_match **matches; /* one per split of the tokenizer */
  xci_normalizer *normalizers; /* one per form */
  xci_text clean, prefixed;
  xci_spans pieces, next, parts;
} xci_encoder;

/* A cache (2 MiB) pays from some thousand words on. */
xcoder_status xci_encoder_open(const xcoder_tokenizer *tokenizer, bool with_cache, xci_encoder **encoder,
                               xcoder_error *err);
void xci_encoder_close(xci_encoder *encoder);
/* Appends the ids of `n_bytes` of text to *out; ids do not depend on what was encoded before. */
xcoder_status xci_encode(xci_encoder *encoder, const char *text, size_t n_bytes, xci_ids *out, xcoder_error *err);

/* pretokenize.c: cuts valid text into encoder->pieces by the splits before ByteLevel. */
xcoder_status xci_pretokenize(xci_encoder *encoder, const char *text, size_t n_bytes, xcoder_error *err);
xcoder_status xci_spans_add(xci_spans *spans, size_t start, size_t end, xcoder_error *err);

/* split_gpt2.c: the end of the piece that starts at `from` < n_bytes, by GPT-2's regular expression. */
size_t xci_gpt2_piece(const char *text, size_t n_bytes, size_t from);

#endif
