/* SPDX-License-Identifier: Apache-2.0 */
/* Our own format of minimal pairs: JSON lines with prefix, good, bad, and optional language, group, counterfactual. */
#include "data/pairs.h"

#include <string.h>

xcoder_status xci_item_text(const json_t *line, const char *path, uint64_t number, const char *key, const char **text,
                            xcoder_error *err) {
  const json_t *member = xci_json_member(line, key);
  *text = json_string_value(member);
  if (!member || *text) return XCODER_OK;
  return xci_fail(err, XCODER_FORMAT, "%s: line %llu: '%s' is no text", path, (unsigned long long)number, key);
}

/* The two sentences as far as they are given: prefix and answer. */
static xcoder_status add_whole(xci_pairs_builder *b, const xci_item *item, xcoder_error *err) {
  b->good_words.n_bytes = b->bad_words.n_bytes = 0;
  xci_text_append(&b->good_words, item->prefix, item->n_prefix);
  xci_text_append(&b->good_words, item->good, item->n_good);
  xci_text_append(&b->bad_words, item->prefix, item->n_prefix);
  xci_text_append(&b->bad_words, item->bad, item->n_bad);
  xcoder_status status = xci_text_status(&b->good_words, err);
  if (!status) status = xci_text_status(&b->bad_words, err);
  return status ? status
                : xci_pairs_add_whole(b, "", b->good_words.bytes, b->good_words.n_bytes, b->bad_words.bytes,
                                      b->bad_words.n_bytes, item->group, item->language, err);
}

xcoder_status xci_read_own_item(xci_pairs_builder *builder, const json_t *line, const char *path, uint64_t number,
                                xcoder_error *err) {
  xci_item item = {.separator = ""};
  const struct {
    const char *key;
    const char **text;
    bool required;
  } members[] = {{"prefix", &item.prefix, true},   {"good", &item.good, true},         {"bad", &item.bad, true},
                 {"group", &item.group, false},    {"language", &item.language, false},
                 {"counterfactual", &item.counterfactual, false}};
  for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
    xcoder_status status = xci_item_text(line, path, number, members[i].key, members[i].text, err);
    if (status) return status;
    if (members[i].required && !*members[i].text)
      return xci_fail(err, XCODER_FORMAT, "%s: line %llu: no key '%s'", path, (unsigned long long)number,
                      members[i].key);
  }
  if (!*item.good || !*item.bad)
    return xci_fail(err, XCODER_FORMAT, "%s: line %llu: an empty answer", path, (unsigned long long)number);
  if (strcmp(item.good, item.bad) == 0)
    return xci_fail(err, XCODER_FORMAT, "%s: line %llu: 'good' and 'bad' are the same", path,
                    (unsigned long long)number);
  item.n_prefix = strlen(item.prefix);
  item.n_good = strlen(item.good);
  item.n_bad = strlen(item.bad);
  if (builder->options->sentences) return add_whole(builder, &item, err);
  return xci_pairs_add(builder, &item, err);
}
