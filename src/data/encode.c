/* SPDX-License-Identifier: Apache-2.0 */
/* From text to ids: added tokens, normalisation, added tokens again, pieces, byte-pair encoding. */
#include "data/encode.h"

#include "base/memory.h"
#include "base/size.h"
#include "data/unicode.h"

xcoder_status xci_encoder_open(const xcoder_tokenizer *tokenizer, bool with_cache, xci_encoder **out,
                               xcoder_error *err) {
  xci_encoder *encoder = NULL;
  *out = NULL;
  xcoder_status status = XCI_ALLOC(&encoder, 1, err);
  if (status) return status;
  encoder->tokenizer = tokenizer;
  status = xci_bpe_work_open(with_cache, &encoder->bpe, err);
  if (!status) status = XCI_ALLOC(&encoder->normalizers, tokenizer->n_forms, err);
  if (!status) status = XCI_ALLOC(&encoder->matches, tokenizer->n_splits, err);
  for (size_t i = 0; i < tokenizer->n_splits && !status; i++)
    status = xci_match_open(tokenizer->splits[i].pattern, &encoder->matches[i], err);
  if (status) xci_encoder_close(encoder);
  else *out = encoder;
  return status;
}

void xci_encoder_close(xci_encoder *encoder) {
  if (!encoder) return;
  for (size_t i = 0; encoder->matches && i < encoder->tokenizer->n_splits; i++) xci_match_close(encoder->matches[i]);
  for (size_t i = 0; encoder->normalizers && i < encoder->tokenizer->n_forms; i++)
    xci_normalizer_clear(&encoder->normalizers[i]);
  xci_free(encoder->matches);
  xci_free(encoder->normalizers);
  xci_bpe_work_close(encoder->bpe);
  xci_text_clear(&encoder->clean);
  xci_text_clear(&encoder->prefixed);
  xci_free(encoder->pieces.spans);
  xci_free(encoder->next.spans);
  xci_free(encoder->parts.spans);
  xci_free(encoder);
}

/* Cuts by GPT-2's rule and encodes each word. */
static xcoder_status encode_words(xci_encoder *encoder, const char *text, size_t n_bytes, xci_ids *out,
                                  xcoder_error *err) {
  const xci_bpe *bpe = &encoder->tokenizer->bpe;
  xcoder_status status = XCODER_OK;
  if (!encoder->tokenizer->gpt2_split) return xci_bpe_encode(bpe, encoder->bpe, text, n_bytes, out, err);
  for (size_t from = 0, end; from < n_bytes && !status; from = end) {
    end = xci_gpt2_piece(text, n_bytes, from);
    status = xci_bpe_encode(bpe, encoder->bpe, text + from, end - from, out, err);
  }
  return status;
}

/* The ByteLevel step: a blank in front if asked for, then words. */
static xcoder_status encode_piece(xci_encoder *encoder, const char *text, size_t n_bytes, xci_ids *out,
                                  xcoder_error *err) {
  if (!encoder->tokenizer->add_prefix_space || n_bytes == 0 || text[0] == ' ')
    return encode_words(encoder, text, n_bytes, out, err);
  encoder->prefixed.n_bytes = 0;
  xci_text_add(&encoder->prefixed, " ");
  xci_text_append(&encoder->prefixed, text, n_bytes);
  xcoder_status status = xci_text_status(&encoder->prefixed, err);
  return status ? status : encode_words(encoder, encoder->prefixed.bytes, encoder->prefixed.n_bytes, out, err);
}

/* Text between added tokens. */
static xcoder_status encode_plain(xci_encoder *encoder, const char *text, size_t n_bytes, xci_ids *out,
                                  xcoder_error *err) {
  if (encoder->tokenizer->n_splits == 0) return encode_piece(encoder, text, n_bytes, out, err);
  xcoder_status status = xci_pretokenize(encoder, text, n_bytes, err);
  for (size_t i = 0; i < encoder->pieces.n && !status; i++) {
    xci_span piece = encoder->pieces.spans[i];
    status = encode_piece(encoder, text + piece.start, piece.end - piece.start, out, err);
  }
  return status;
}

typedef xcoder_status (*encode_step)(xci_encoder *, const char *, size_t, xci_ids *, xcoder_error *);

static bool touches_word(const char *text, size_t n_bytes, size_t start, size_t end) {
  uint32_t code_point;
  if (start > 0) {
    xci_utf8_next(text + xci_utf8_before(text, start), &code_point);
    if (xci_is_word(code_point)) return true;
  }
  if (end == n_bytes) return false;
  xci_utf8_next(text + end, &code_point);
  return xci_is_word(code_point);
}

/* Takes white space at either side into the token, where it asks for that. */
static void take_spaces(const xci_added *token, const char *text, size_t n_bytes, size_t done, size_t *start,
                        size_t *end) {
  uint32_t code_point;
  while (token->lstrip && *start > done) {
    size_t before = xci_utf8_before(text, *start);
    xci_utf8_next(text + before, &code_point);
    if (!xci_is_space(code_point)) break;
    *start = before;
  }
  while (token->rstrip && *end < n_bytes) {
    size_t length = xci_utf8_next(text + *end, &code_point);
    if (!xci_is_space(code_point)) break;
    *end += length;
  }
}

/* Splits at added tokens and hands what lies between them to `step`. As in the reference, a token that took the
 * white space behind it does not keep a token of white space from matching there. */
static xcoder_status split_at_added(xci_encoder *encoder, const xci_matcher *matcher, encode_step step,
                                    const char *text, size_t n_bytes, xci_ids *out, xcoder_error *err) {
  size_t done = 0, from = 0, start = 0, end = 0;
  uint32_t which = 0;
  xcoder_status status = XCODER_OK;
  while (!status && xci_matcher_find(matcher, text, n_bytes, from, &start, &end, &which)) {
    const xci_added *token = &encoder->tokenizer->added[which];
    from = end;
    if (token->single_word && touches_word(text, n_bytes, start, end)) continue;
    take_spaces(token, text, n_bytes, done, &start, &end);
    if (done < start) status = step(encoder, text + done, start - done, out, err);
    if (!status) status = xci_ids_add(out, &token->id, 1, err);
    done = end;
  }
  if (!status && done < n_bytes) status = step(encoder, text + done, n_bytes - done, out, err);
  return status;
}

static xcoder_status normalize_and_split(xci_encoder *encoder, const char *text, size_t n_bytes, xci_ids *out,
                                         xcoder_error *err) {
  xcoder_status status = XCODER_OK;
  for (size_t i = 0; i < encoder->tokenizer->n_forms && !status; i++)
    status = xci_normalize(&encoder->normalizers[i], encoder->tokenizer->forms[i], text, n_bytes, &text, &n_bytes, err);
  if (status) return status;
  return split_at_added(encoder, &encoder->tokenizer->normalized, encode_plain, text, n_bytes, out, err);
}

xcoder_status xci_encode(xci_encoder *encoder, const char *text, size_t n_bytes, xci_ids *out, xcoder_error *err) {
  if (xci_ascii_prefix(text, n_bytes) < n_bytes && !xci_utf8_valid(text, n_bytes)) {
    encoder->clean.n_bytes = 0;
    xci_text_lossy(&encoder->clean, text, n_bytes);
    xcoder_status status = xci_text_status(&encoder->clean, err);
    if (status) return status;
    text = encoder->clean.bytes;
    n_bytes = encoder->clean.n_bytes;
  }
  return split_at_added(encoder, &encoder->tokenizer->raw, normalize_and_split, text, n_bytes, out, err);
}

xcoder_status xcoder_tokenize(const xcoder_tokenizer *tokenizer, const char *text, size_t n_bytes, uint32_t **ids,
                              size_t *n_ids, xcoder_error *err) {
  enum { CACHE_PAYS_BYTES = 64 << 10 };
  xci_encoder *encoder = NULL;
  xci_ids out = {0};
  *ids = NULL;
  *n_ids = 0;
  xcoder_status status = xci_encoder_open(tokenizer, n_bytes >= CACHE_PAYS_BYTES, &encoder, err);
  if (!status) status = xci_ids_add(&out, tokenizer->before.ids, tokenizer->before.n, err);
  if (!status) status = xci_encode(encoder, text, n_bytes, &out, err);
  if (!status) status = xci_ids_add(&out, tokenizer->behind.ids, tokenizer->behind.n, err);
  xci_encoder_close(encoder);
  if (!status && !out.ids) status = XCI_ALLOC(&out.ids, 1, err);
  if (status) {
    xci_free(out.ids);
    return status;
  }
  *ids = out.ids;
  *n_ids = out.n;
  return XCODER_OK;
}
