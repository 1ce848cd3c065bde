/* SPDX-License-Identifier: Apache-2.0 */
/* BLiMP (Warstadt et al. 2020): items whose sentences share a prefix and differ in the word behind it. */
#include "data/pairs.h"

#include "data/unicode.h"
#include <string.h>

/* The words that follow the longest common run of whole words of two sentences. False if one of them ends there. */
static bool cut_sentences(xci_item *item, const char *good, const char *bad) {
  size_t common = 0, word = 0;
  while (good[common] && good[common] == bad[common]) {
    if (good[common] == ' ') word = common + 1;
    common++;
  }
  item->prefix = good;
  item->n_prefix = word;
  item->good = good + word;
  item->bad = bad + word;
  item->n_good = strcspn(item->good, " ");
  item->n_bad = strcspn(item->bad, " ");
  xci_strip(&item->prefix, &item->n_prefix);
  return item->n_good && item->n_bad;
}

xcoder_status xci_read_blimp_item(xci_pairs_builder *builder, const json_t *line, const char *path, uint64_t number,
                                  xcoder_error *err) {
  xci_item item = {.separator = " ", .language = "en"};
  const char *good = NULL, *bad = NULL;
  const struct {
    const char *key;
    const char **text;
  } members[] = {{"sentence_good", &good},         {"sentence_bad", &bad},          {"one_prefix_prefix", &item.prefix},
                 {"one_prefix_word_good", &item.good}, {"one_prefix_word_bad", &item.bad}, {"UID", &item.group}};
  for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
    xcoder_status status = xci_item_text(line, path, number, members[i].key, members[i].text, err);
    if (status) return status;
  }
  if (!good || !bad)
    return xci_fail(err, XCODER_FORMAT, "%s: line %llu: no 'sentence_good' or 'sentence_bad': not BLiMP", path,
                    (unsigned long long)number);
  if (builder->options->sentences)
    return xci_pairs_add_whole(builder, " ", good, strlen(good), bad, strlen(bad), item.group, item.language, err);
  bool usable = item.prefix && item.good && item.bad;
  if (usable) {
    item.n_prefix = strlen(item.prefix);
    item.n_good = strlen(item.good);
    item.n_bad = strlen(item.bad);
    xci_strip(&item.prefix, &item.n_prefix);
    xci_strip(&item.good, &item.n_good);
    xci_strip(&item.bad, &item.n_bad);
    usable = item.n_good && item.n_bad;
  } else if (!builder->options->authors_rule && json_is_true(json_object_get(line, "one_prefix_method"))) {
    usable = cut_sentences(&item, good, bad); /* copies of BLiMP without the members for prefixes */
  }
  if (usable) return xci_pairs_add(builder, &item, err);
  builder->n_items++;
  builder->skipped[XCI_SKIP_FORM]++;
  return XCODER_OK;
}
