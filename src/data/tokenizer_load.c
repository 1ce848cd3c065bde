/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a tokenizer.json. */
#include "data/tokenizer.h"

#include "base/file.h"
#include "base/memory.h"
#include "formats/json.h"
#include <string.h>

const json_t *xci_json_member(const json_t *object, const char *key) {
  const json_t *value = json_object_get(object, key);
  return json_is_null(value) ? NULL : value;
}

xcoder_status xci_tokenizer_flag(const json_t *object, const char *path, const char *place, const char *key,
                                 bool fallback, bool *value, xcoder_error *err) {
  const json_t *member = xci_json_member(object, key);
  if (member && !json_is_boolean(member))
    return xci_fail(err, XCODER_FORMAT, "%s: %s.%s: expected true or false", path, place, key);
  *value = member ? json_is_true(member) : fallback;
  return XCODER_OK;
}

static xcoder_status load_model(xcoder_tokenizer *tokenizer, const json_t *root, xcoder_error *err) {
  const json_t *model = xci_json_member(root, "model"), *vocab = json_object_get(model, "vocab");
  const json_t *type = json_object_get(model, "type");
  char shown[840];
  if (!json_is_object(model)) return xci_fail(err, XCODER_FORMAT, "%s: it has no 'model' object", tokenizer->path);
  if (type && !json_is_string(type))
    return xci_fail(err, XCODER_FORMAT, "%s: model.type: expected a text", tokenizer->path);
  if (type && strcmp(json_string_value(type), "BPE") != 0)
    return xci_fail(err, XCODER_UNSUPPORTED, "%s: model.type: '%s' is not supported, only BPE is", tokenizer->path,
                    xci_quote(shown, sizeof shown, json_string_value(type), json_string_length(type)));
  if (!json_is_object(vocab))
    return xci_fail(err, XCODER_FORMAT, "%s: model.vocab: expected an object", tokenizer->path);
  xcoder_status status = xci_load_added(tokenizer, root, err);
  if (!status) status = xci_load_tokens(tokenizer, vocab, err);
  if (!status) status = xci_load_merges(tokenizer, model, vocab, err);
  return status;
}

static bool find_token(const xcoder_tokenizer *tokenizer, const json_t *root, const char *content, uint32_t *id) {
  for (size_t i = 0; i < tokenizer->n_added; i++) {
    if (strcmp(tokenizer->added[i].content, content) != 0) continue;
    *id = tokenizer->added[i].id;
    return true;
  }
  const json_t *value = json_object_get(json_object_get(json_object_get(root, "model"), "vocab"), content);
  if (!value) return false;
  *id = (uint32_t)json_integer_value(value);
  return true;
}

bool xci_find_special(const xcoder_tokenizer *tokenizer, const json_t *root, const json_t *config, const char *key,
                      uint32_t *id) {
  const json_t *token = json_object_get(config, key);
  if (json_is_object(token)) token = json_object_get(token, "content");
  return json_is_string(token) && find_token(tokenizer, root, json_string_value(token), id);
}

/* eos_token and bos_token of the tokenizer_config.json beside the file. */
static xcoder_status read_config(xcoder_tokenizer *tokenizer, const json_t *root, const char *folder,
                                 xcoder_error *err) {
  char *path = NULL;
  json_t *config = NULL;
  xcoder_status status = xci_join_path(folder, "tokenizer_config.json", &path, err);
  if (!status && xci_exists(path)) status = xci_json_read(path, (size_t)16 << 20, &config, err);
  if (!status && !tokenizer->has_end_of_text)
    tokenizer->has_end_of_text = xci_find_special(tokenizer, root, config, "eos_token", &tokenizer->end_of_text);
  if (!status)
    tokenizer->has_start_of_text = xci_find_special(tokenizer, root, config, "bos_token", &tokenizer->start_of_text) ||
                                   xci_find_special(tokenizer, root, config, "eos_token", &tokenizer->start_of_text);
  if (!tokenizer->has_start_of_text && tokenizer->has_end_of_text) {
    tokenizer->has_start_of_text = true;
    tokenizer->start_of_text = tokenizer->end_of_text;
  }
  json_decref(config);
  xci_free(path);
  return status;
}

static xcoder_status find_end_of_text(xcoder_tokenizer *tokenizer, const json_t *root, xcoder_error *err) {
  if (find_token(tokenizer, root, "<|endoftext|>", &tokenizer->end_of_text) ||
      find_token(tokenizer, root, "</s>", &tokenizer->end_of_text))
    tokenizer->has_end_of_text = true;
  char *folder = NULL;
  xcoder_status status = xci_copy_text(tokenizer->path, &folder, err);
  if (status) return status;
  char *slash = strrchr(folder, '/');
  if (slash) slash[slash == folder] = '\0';
  status = read_config(tokenizer, root, slash ? folder : ".", err);
  xci_free(folder);
  return status;
}

xcoder_status xcoder_tokenizer_open(const char *path, xcoder_tokenizer **out, xcoder_error *err) {
  xcoder_tokenizer *tokenizer = NULL;
  json_t *root = NULL;
  *out = NULL;
  xcoder_status status = XCI_ALLOC(&tokenizer, 1, err);
  if (status) return status;
  status = xci_is_folder(path) ? xci_join_path(path, "tokenizer.json", &tokenizer->path, err)
                               : xci_copy_text(path, &tokenizer->path, err);
  if (!status) status = xci_json_read(tokenizer->path, XCI_MAX_TOKENIZER_BYTES, &root, err);
  if (!status && !json_is_object(root))
    status = xci_fail(err, XCODER_FORMAT, "%s: expected a JSON object", tokenizer->path);
  if (!status) status = load_model(tokenizer, root, err);
  if (!status) status = xci_load_pipeline(tokenizer, root, err);
  if (!status) status = xci_compile_added(tokenizer, err);
  if (!status) status = find_end_of_text(tokenizer, root, err);
  json_decref(root);
  if (status) xcoder_tokenizer_close(tokenizer);
  else *out = tokenizer;
  return status;
}

void xcoder_tokenizer_close(xcoder_tokenizer *tokenizer) {
  if (!tokenizer) return;
  xci_free_added(tokenizer);
  for (size_t i = 0; i < tokenizer->n_splits; i++) xci_pattern_close(tokenizer->splits[i].pattern);
  xci_free(tokenizer->splits);
  xci_free(tokenizer->forms);
  xci_pair_map_close(&tokenizer->bpe.merges);
  xci_string_map_close(&tokenizer->bpe.whole);
  xci_free(tokenizer->tokens);
  xci_free(tokenizer->arena);
  xci_free(tokenizer->before.ids);
  xci_free(tokenizer->behind.ids);
  xci_free(tokenizer->path);
  xci_free(tokenizer);
}

const char *xcoder_token_bytes(const xcoder_tokenizer *tokenizer, uint32_t id, size_t *n_bytes) {
  const xci_token *token = id < tokenizer->n_tokens ? &tokenizer->tokens[id] : NULL;
  *n_bytes = token && token->bytes ? token->n_bytes : 0;
  return token ? token->bytes : NULL;
}

size_t xcoder_tokenizer_size(const xcoder_tokenizer *tokenizer) { return tokenizer->n_tokens; }

bool xcoder_tokenizer_start_of_text(const xcoder_tokenizer *tokenizer, uint32_t *id) {
  if (tokenizer->has_start_of_text) *id = tokenizer->start_of_text;
  return tokenizer->has_start_of_text;
}

bool xcoder_tokenizer_end_of_text(const xcoder_tokenizer *tokenizer, uint32_t *id) {
  if (tokenizer->has_end_of_text) *id = tokenizer->end_of_text;
  return tokenizer->has_end_of_text;
}
