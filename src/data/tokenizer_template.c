/* SPDX-License-Identifier: Apache-2.0 */
/* Special tokens around a text, as the post_processor of a tokenizer.json adds them to a single sequence: read on
 * request only. add_bos_token and add_eos_token of the tokenizer_config.json beside it go before its template. */
#include "data/tokenizer.h"

#include "base/file.h"
#include "base/memory.h"
#include "formats/json.h"
#include <string.h>

static const size_t MAX_CONFIG_BYTES = (size_t)16 << 20;
enum { MAX_AROUND = 1024, SHOWN_BYTES = 840 };

static xcoder_status append(const xcoder_tokenizer *tokenizer, xci_ids *side, const json_t *id, const char *place,
                            xcoder_error *err) {
  json_int_t value = json_is_integer(id) ? json_integer_value(id) : -1;
  if (value < 0 || (uint64_t)value >= tokenizer->n_tokens || !tokenizer->tokens[value].bytes)
    return xci_fail(err, XCODER_FORMAT, "%s: post_processor: %s: an id that the vocabulary does not have",
                    tokenizer->path, place);
  if (side->n == MAX_AROUND)
    return xci_fail(err, XCODER_FORMAT, "%s: post_processor: more than %d special tokens", tokenizer->path, MAX_AROUND);
  const uint32_t number = (uint32_t)value;
  return xci_ids_add(side, &number, 1, err);
}

static xcoder_status append_special(const xcoder_tokenizer *tokenizer, const json_t *step, const json_t *piece,
                                    xci_ids *side, xcoder_error *err) {
  char shown[SHOWN_BYTES];
  const char *name = json_string_value(json_object_get(piece, "id"));
  const json_t *known = json_object_get(step, "special_tokens");
  const json_t *ids = json_object_get(json_object_get(known, name ? name : ""), "ids");
  if (!name || !json_is_array(ids))
    return xci_fail(err, XCODER_FORMAT, "%s: post_processor: '%s' has no ids under special_tokens", tokenizer->path,
                    xci_quote(shown, sizeof shown, name ? name : "", name ? strlen(name) : 0));
  xcoder_status status = XCODER_OK;
  for (size_t i = 0; i < json_array_size(ids) && !status; i++)
    status = append(tokenizer, side, json_array_get(ids, i), "special_tokens", err);
  return status;
}

/* One template: what it puts before and behind the text. */
static xcoder_status read_template(const xcoder_tokenizer *tokenizer, const json_t *step, xci_ids *before,
                                   xci_ids *behind, xcoder_error *err) {
  const json_t *single = json_object_get(step, "single");
  size_t n_texts = 0;
  xcoder_status status = XCODER_OK;
  for (size_t i = 0; i < json_array_size(single) && !status; i++) {
    const json_t *entry = json_array_get(single, i), *special = json_object_get(entry, "SpecialToken");
    const char *name = json_string_value(json_object_get(json_object_get(entry, "Sequence"), "id"));
    if (special)
      status = append_special(tokenizer, step, special, n_texts ? behind : before, err);
    else if (name && strcmp(name, "A") == 0)
      n_texts++;
    else
      return xci_fail(err, XCODER_FORMAT, "%s: post_processor: single: item %zu is neither a SpecialToken nor the "
                      "Sequence A", tokenizer->path, i);
  }
  if (!status && n_texts != 1)
    return xci_fail(err, XCODER_FORMAT, "%s: post_processor: single: the Sequence A occurs %zu times, expected once",
                    tokenizer->path, n_texts);
  return status;
}

static xcoder_status add_step(xcoder_tokenizer *tokenizer, const json_t *step, const char *type, xcoder_error *err) {
  char shown[SHOWN_BYTES];
  if (strcmp(type, "ByteLevel") == 0) return XCODER_OK; /* moves offsets only */
  if (strcmp(type, "TemplateProcessing") != 0)
    return xci_fail(err, XCODER_UNSUPPORTED, "%s: post_processor: type '%s' is not supported where special tokens are "
                    "to be added, only TemplateProcessing and ByteLevel are", tokenizer->path,
                    xci_quote(shown, sizeof shown, type, strlen(type)));
  if (tokenizer->before.n + tokenizer->behind.n > 0)
    return xci_fail(err, XCODER_UNSUPPORTED, "%s: post_processor: two templates, expected one", tokenizer->path);
  return read_template(tokenizer, step, &tokenizer->before, &tokenizer->behind, err);
}

/* A flag of tokenizer_config.json replaces one side: the token that `key` names, or nothing. */
static xcoder_status apply_flag(xcoder_tokenizer *tokenizer, const json_t *root, const json_t *config,
                                const char *config_path, const char *flag, const char *key, xci_ids *side,
                                xcoder_error *err) {
  const json_t *value = json_object_get(config, flag);
  uint32_t id = 0;
  if (!json_is_boolean(value)) return XCODER_OK;
  side->n = 0;
  if (!json_is_true(value)) return XCODER_OK;
  if (!xci_find_special(tokenizer, root, config, key, &id))
    return xci_fail(err, XCODER_FORMAT, "%s: %s is true, but there is no %s in the vocabulary", config_path, flag, key);
  return xci_ids_add(side, &id, 1, err);
}

static xcoder_status apply_config(xcoder_tokenizer *tokenizer, const json_t *root, xcoder_error *err) {
  char *path = NULL;
  json_t *config = NULL;
  const char *slash = strrchr(tokenizer->path, '/');
  xci_text text = {0};
  xci_text_append(&text, tokenizer->path, slash ? (size_t)(slash - tokenizer->path) + 1 : 0);
  xci_text_add(&text, "tokenizer_config.json");
  xcoder_status status = xci_text_status(&text, err);
  if (!status) status = xci_copy_text(text.bytes, &path, err);
  if (!status && xci_exists(path)) status = xci_json_read(path, MAX_CONFIG_BYTES, &config, err);
  if (!status)
    status = apply_flag(tokenizer, root, config, path, "add_bos_token", "bos_token", &tokenizer->before, err);
  if (!status)
    status = apply_flag(tokenizer, root, config, path, "add_eos_token", "eos_token", &tokenizer->behind, err);
  json_decref(config);
  xci_free(path);
  xci_text_clear(&text);
  return status;
}

xcoder_status xcoder_tokenizer_add_special(xcoder_tokenizer *tokenizer, xcoder_error *err) {
  json_t *root = NULL;
  tokenizer->before.n = tokenizer->behind.n = 0;
  xcoder_status status = xci_json_read(tokenizer->path, XCI_MAX_TOKENIZER_BYTES, &root, err);
  if (!status) status = xci_walk_steps(tokenizer, root, "post_processor", "processors", add_step, err);
  if (!status) status = apply_config(tokenizer, root, err);
  if (status) tokenizer->before.n = tokenizer->behind.n = 0;
  json_decref(root);
  return status;
}
