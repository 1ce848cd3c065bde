/* SPDX-License-Identifier: Apache-2.0 */
/* Minimal pairs as whole sentences: each is a start token and every token of the sentence, to be scored from its
 * second token on. Nothing is skipped but empty sentences and those that do not differ. */
#include "base/memory.h"
#include "data/pairs.h"
#include "data/tokenizer.h"
#include <string.h>

static size_t count_characters(const char *text, size_t n_bytes) {
  size_t n = 0;
  for (size_t i = 0; i < n_bytes; i++) n += ((unsigned char)text[i] & 0xC0) != 0x80;
  return n;
}

/* Delimiter and sentence as ids behind the start token, which is not doubled where the sentence begins with it. */
static xcoder_status store_sentence(xci_pairs_builder *b, const char *delimiter, const char *text, size_t n_bytes,
                                    xci_sentence_record *record, xcoder_error *err) {
  b->joined.n_bytes = 0;
  xci_text_add(&b->joined, delimiter);
  xci_text_append(&b->joined, text, n_bytes);
  xcoder_status status = xci_text_status(&b->joined, err);
  b->good.n = 0;
  if (!status) status = xci_encode(b->encoder, b->joined.bytes, b->joined.n_bytes, &b->good, err);
  if (status) return status;
  const bool starts = b->good.n && b->good.ids[0] == b->tokenizer->start_of_text;
  record->at = b->ids.n;
  record->n_bytes = n_bytes;
  record->n_characters = count_characters(text, n_bytes);
  if (!b->options->no_prepend && !starts) status = xci_ids_add(&b->ids, &b->tokenizer->start_of_text, 1, err);
  if (!status) status = xci_ids_add(&b->ids, b->good.ids, b->good.n, err);
  record->n = b->ids.n - record->at;
  return status;
}

static xcoder_status store_member(xci_pairs_builder *b, const char *text, size_t n_bytes, size_t *at,
                                  xcoder_error *err) {
  *at = b->texts.n_bytes;
  xci_text_append(&b->texts, text, n_bytes);
  xci_text_append(&b->texts, "", 1);
  return xci_text_status(&b->texts, err);
}

xcoder_status xci_pairs_add_whole(xci_pairs_builder *b, const char *delimiter, const char *good, size_t n_good,
                                  const char *bad, size_t n_bad, const char *group, const char *language,
                                  xcoder_error *err) {
  xci_pair_record record = {.has_sentences = true};
  b->n_items++;
  if (n_good == 0 || n_bad == 0) {
    b->skipped[XCI_SKIP_SENTENCE]++;
    return XCODER_OK;
  }
  if (b->options->delimiter) delimiter = b->options->delimiter;
  xcoder_status status = store_sentence(b, delimiter, good, n_good, &record.good, err);
  if (!status) status = store_sentence(b, delimiter, bad, n_bad, &record.bad, err);
  if (!status) status = store_member(b, good, n_good, &record.text_at, err);
  if (!status) status = store_member(b, group ? group : "", group ? strlen(group) : 0, &record.group_at, err);
  if (!status)
    status = store_member(b, language ? language : "", language ? strlen(language) : 0, &record.language_at, err);
  if (!status) status = xci_grow((void **)&b->records, &b->capacity, b->n_records + 1, sizeof *b->records, err);
  if (!status) b->records[b->n_records++] = record;
  return status;
}
