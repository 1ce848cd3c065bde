/* SPDX-License-Identifier: Apache-2.0 */
/* Two sentences as prefix and two answers: the first word that differs, whatever comes behind it. */
#include "data/pairs.h"

#include "data/unicode.h"
#include <string.h>
#include <utf8proc.h>

/* Code point by code point, which is all that differs from Python for the languages of the data sets. */
static void add_code_point(xci_text *out, const char *bytes, size_t n, uint32_t c, bool capitalize) {
  char changed[4];
  int32_t to = (int32_t)c;
  if (capitalize) to = out->n_bytes ? utf8proc_tolower(to) : utf8proc_totitle(to);
  size_t n_changed = to == (int32_t)c ? 0 : xci_utf8_encode((uint32_t)to, changed);
  xci_text_append(out, n_changed ? changed : bytes, n_changed ? n_changed : n);
}

/* The words between what Python's split() takes for white space, joined by single blanks. */
static xcoder_status join_words(xci_text *out, const char *text, bool capitalize, xcoder_error *err) {
  bool between = false;
  out->n_bytes = 0;
  xci_text_append(out, "", 0);
  while (*text) {
    uint32_t c = 0;
    size_t n = xci_utf8_next(text, &c);
    if (xci_is_python_space(c)) {
      between = out->n_bytes > 0;
    } else {
      if (between) xci_text_append(out, " ", 1);
      between = false;
      add_code_point(out, text, n, c, capitalize);
    }
    text += n;
  }
  return xci_text_status(out, err);
}

static bool ends_word(char c) { return c == ' ' || c == '\0'; }

/* False if a sentence is empty or all of its words stand at the beginning of the other. */
static bool cut_words(xci_item *item, const char *good, const char *bad) {
  size_t common = 0, word = 0;
  for (; good[common] && good[common] == bad[common]; common++)
    if (good[common] == ' ') word = common + 1;
  if (!*good || !*bad || (ends_word(good[common]) && ends_word(bad[common]))) return false;
  item->prefix = good;
  item->n_prefix = word ? word - 1 : 0;
  item->good = good + word;
  item->bad = bad + word;
  item->n_good = strcspn(item->good, " ");
  item->n_bad = strcspn(item->bad, " ");
  return true;
}

xcoder_status xci_pairs_add_sentences(xci_pairs_builder *b, const char *good, const char *bad, bool capitalize,
                                      const char *group, const char *language, xcoder_error *err) {
  xci_item item = {.by_words = true, .group = group, .language = language};
  xcoder_status status = join_words(&b->good_words, good, capitalize, err);
  if (!status) status = join_words(&b->bad_words, bad, capitalize, err);
  if (status) return status;
  if (b->options->sentences) /* CLAMS: its sentences stand for themselves, as words joined by blanks */
    return xci_pairs_add_whole(b, " ", b->good_words.bytes, b->good_words.n_bytes, b->bad_words.bytes,
                               b->bad_words.n_bytes, group, language, err);
  if (cut_words(&item, b->good_words.bytes, b->bad_words.bytes)) {
    item.separator = item.n_prefix ? " " : "";
    return xci_pairs_add(b, &item, err);
  }
  b->n_items++;
  b->skipped[XCI_SKIP_SENTENCE]++;
  return XCODER_OK;
}
