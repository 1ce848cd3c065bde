/* SPDX-License-Identifier: Apache-2.0 */
/* From an item to the two next tokens that it compares, by our rule or by the authors'.
 *
 * Both sentences are tokenized whole, since a word's tokens depend on what stands before it; their common tokens are
 * the prefix. Ours compares the first tokens that differ, of answers of one or two tokens. The authors' takes the
 * rests as texts, tokenizes them again, and wants equal lengths. */
#include "base/memory.h"
#include "base/size.h"
#include "data/pairs.h"
#include <string.h>

enum { MAX_ANSWER = 2 };

static xcoder_status encode_text(xci_pairs_builder *b, const char *text, size_t n_bytes, xci_ids *out,
                                 xcoder_error *err) {
  out->n = 0;
  return xci_encode(b->encoder, text, n_bytes, out, err);
}

static xcoder_status encode_sentence(xci_pairs_builder *b, const char *prefix, size_t n_prefix, const char *separator,
                                     const char *answer, size_t n_answer, xci_ids *out, xcoder_error *err) {
  b->joined.n_bytes = 0;
  xci_text_append(&b->joined, prefix, n_prefix);
  xci_text_add(&b->joined, separator);
  xci_text_append(&b->joined, answer, n_answer);
  xcoder_status status = xci_text_status(&b->joined, err);
  return status ? status : encode_text(b, b->joined.bytes, b->joined.n_bytes, out, err);
}

static size_t common_length(const xci_ids *a, const xci_ids *b) {
  size_t n = 0, end = xci_min_size(a->n, b->n);
  while (n < end && a->ids[n] == b->ids[n]) n++;
  return n;
}

/* Text of ids at the end of builder->texts. */
static xcoder_status store_text(xci_pairs_builder *b, const uint32_t *ids, size_t n, size_t *at, xcoder_error *err) {
  char *text = NULL;
  xcoder_status status = xcoder_detokenize(b->tokenizer, ids, n, &text, NULL, err);
  if (status) return status;
  *at = b->texts.n_bytes;
  xci_text_append(&b->texts, text, strlen(text) + 1);
  xci_free(text);
  return xci_text_status(&b->texts, err);
}

static xcoder_status store_member(xci_pairs_builder *b, const char *text, size_t *at, xcoder_error *err) {
  *at = b->texts.n_bytes;
  xci_text_append(&b->texts, text ? text : "", text ? strlen(text) + 1 : 1);
  return xci_text_status(&b->texts, err);
}

static xcoder_status store_ids(xci_pairs_builder *b, const uint32_t *ids, size_t n, size_t *at, size_t *n_stored,
                               xcoder_error *err) {
  size_t before = b->ids.n;
  *at = before;
  xcoder_status status = b->options->no_prepend ? XCODER_OK : xci_ids_add(&b->ids, &b->end_of_text, 1, err);
  if (!status) status = xci_ids_add(&b->ids, ids, n, err);
  *n_stored = b->ids.n - before;
  return status;
}

/* Our rule: b->good and b->bad hold the sentences, *n their common tokens. */
static xci_skip choose_first_difference(const xci_pairs_builder *b, size_t n, xci_pair_record *record) {
  size_t rest_good = b->good.n - n, rest_bad = b->bad.n - n;
  if (rest_good == 0 || rest_bad == 0) return XCI_SKIP_CONTAINS;
  if (rest_good > MAX_ANSWER || rest_bad > MAX_ANSWER) return XCI_SKIP_LONG;
  record->right = b->good.ids[n];
  record->wrong = b->bad.ids[n];
  return XCI_KEPT;
}

/* The rest of a sentence as text, tokenized by itself. */
static xcoder_status encode_again(xci_pairs_builder *b, xci_ids *ids, size_t from, xcoder_error *err) {
  char *text = NULL;
  size_t n_bytes = 0;
  const uint32_t *rest = ids->ids ? ids->ids + from : NULL; /* no token was ever in it */
  xcoder_status status = xcoder_detokenize(b->tokenizer, rest, ids->n - from, &text, &n_bytes, err);
  if (!status) status = encode_text(b, text, n_bytes, ids, err);
  xci_free(text);
  return status;
}

/* Prompt and answers of the authors' rule: what the tokens have in common and what is left of them. */
static xcoder_status cut_tokens(xci_pairs_builder *b, size_t n, xci_skip *skip, xcoder_error *err) {
  b->other.n = 0;
  xcoder_status status = xci_ids_add(&b->other, b->good.ids, n, err);
  *skip = b->good.n == n || b->bad.n == n ? XCI_SKIP_CONTAINS : XCI_KEPT;
  if (!status && !*skip) status = encode_again(b, &b->good, n, err);
  if (!status && !*skip) status = encode_again(b, &b->bad, n, err);
  return status;
}

/* The same where words were cut: the prefix and each answer, with its blank, by themselves. */
static xcoder_status cut_words(xci_pairs_builder *b, const xci_item *item, xcoder_error *err) {
  xcoder_status status = encode_text(b, item->prefix, item->n_prefix, &b->other, err);
  if (!status) status = encode_sentence(b, "", 0, " ", item->good, item->n_good, &b->good, err);
  if (!status) status = encode_sentence(b, "", 0, " ", item->bad, item->n_bad, &b->bad, err);
  return status;
}

/* The authors' rule: afterwards b->other holds the tokens of the prompt. */
static xcoder_status choose_by_authors(xci_pairs_builder *b, const xci_item *item, size_t n, xci_pair_record *record,
                                       xci_skip *skip, xcoder_error *err) {
  xcoder_status status = item->by_words ? cut_words(b, item, err) : cut_tokens(b, n, skip, err);
  if (status || *skip) return status;
  size_t length = b->good.n, k = 0;
  if (length != b->bad.n) *skip = XCI_SKIP_LENGTHS;
  else if (length > MAX_ANSWER) *skip = XCI_SKIP_LONG;
  else if (length == 0) *skip = XCI_SKIP_CONTAINS;
  if (*skip) return XCODER_OK;
  if (length == 2 && b->good.ids[0] == b->bad.ids[0]) {
    k = 1;
    status = xci_ids_add(&b->other, &b->good.ids[0], 1, err);
  }
  record->right = b->good.ids[k];
  record->wrong = b->bad.ids[k];
  if (record->right == record->wrong) *skip = XCI_SKIP_CONTAINS;
  return status ? status : encode_again(b, &b->other, 0, err);
}

/* Kept if it stands for the prefix token by token and the same two tokens come next. */
static xcoder_status add_counterfactual(xci_pairs_builder *b, const xci_item *item, size_t n_prefix,
                                        xci_pair_record *record, xcoder_error *err) {
  const char *text = item->counterfactual;
  xcoder_status status =
    encode_sentence(b, text, strlen(text), item->separator, item->good, item->n_good, &b->good, err);
  if (!status)
    status = encode_sentence(b, text, strlen(text), item->separator, item->bad, item->n_bad, &b->bad, err);
  if (status) return status;
  size_t n = common_length(&b->good, &b->bad), n_stored = 0;
  if (n != n_prefix || b->good.n == n || b->bad.n == n || b->good.ids[n] != record->right ||
      b->bad.ids[n] != record->wrong) {
    b->dropped_counterfactuals++;
    return XCODER_OK;
  }
  record->has_counterfactual = true;
  return store_ids(b, b->good.ids, n, &record->counterfactual_at, &n_stored, err);
}

static xcoder_status store_pair(xci_pairs_builder *b, const xci_item *item, const uint32_t *prefix, size_t n_prefix,
                                xci_pair_record *record, xcoder_error *err) {
  xcoder_status status = store_ids(b, prefix, n_prefix, &record->prefix_at, &record->n_prefix, err);
  if (!status) status = store_text(b, prefix, n_prefix, &record->text_at, err);
  if (!status) status = store_member(b, item->group, &record->group_at, err);
  if (!status) status = store_member(b, item->language, &record->language_at, err);
  if (!status && item->counterfactual) status = add_counterfactual(b, item, n_prefix, record, err);
  if (!status) status = xci_grow((void **)&b->records, &b->capacity, b->n_records + 1, sizeof *b->records, err);
  if (!status) b->records[b->n_records++] = *record;
  return status;
}

xcoder_status xci_pairs_add(xci_pairs_builder *b, const xci_item *item, xcoder_error *err) {
  xci_pair_record record = {0};
  xci_skip skip = XCI_KEPT;
  xcoder_status status = encode_sentence(b, item->prefix, item->n_prefix, item->separator, item->good, item->n_good,
                                         &b->good, err);
  if (!status)
    status = encode_sentence(b, item->prefix, item->n_prefix, item->separator, item->bad, item->n_bad, &b->bad, err);
  if (status) return status;
  size_t n_prefix = common_length(&b->good, &b->bad);
  const xci_ids *prefix = &b->good;
  if (b->options->authors_rule) {
    status = choose_by_authors(b, item, n_prefix, &record, &skip, err);
    prefix = &b->other;
    n_prefix = b->other.n;
  } else {
    skip = choose_first_difference(b, n_prefix, &record);
  }
  if (status) return status;
  if (!skip && n_prefix == 0 && b->options->no_prepend) skip = XCI_SKIP_EMPTY;
  b->n_items++;
  b->skipped[skip]++;
  return skip ? XCODER_OK : store_pair(b, item, prefix->ids, n_prefix, &record, err);
}
