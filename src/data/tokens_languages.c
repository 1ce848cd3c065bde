/* SPDX-License-Identifier: Apache-2.0 */
/* TOKENS.npy.languages.json: the language of every sequence of the token file beside it. */
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "data/tokens.h"
#include "formats/json.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

static const size_t MAX_BYTES = (size_t)1 << 30;

static xcoder_status name_file(const char *path, xci_text *name, xcoder_error *err) {
  xci_text_add(name, path);
  xci_text_add(name, ".languages.json");
  return xci_text_status(name, err);
}

static xcoder_status read_names(const json_t *list, const char *path, xcoder_tokens *tokens, xcoder_error *err) {
  size_t n = json_array_size(list);
  const char **names = NULL;
  if (!json_is_array(list) || n == 0 || n > UINT16_MAX)
    return xci_fail(err, XCODER_FORMAT, "%s: expected a list 'languages' of 1 to %d names", path, UINT16_MAX);
  xcoder_status status = XCI_ALLOC(&names, n, err);
  for (size_t i = 0; !status && i < n; i++)
    if (!(names[i] = json_string_value(json_array_get(list, i))))
      status = xci_fail(err, XCODER_FORMAT, "%s: language %zu is no text", path, i);
  if (!status) status = xci_tokens_name_languages(tokens, names, n, err);
  xci_free(names);
  return status;
}

static xcoder_status read_sequences(const json_t *list, const char *path, xcoder_tokens *tokens, xcoder_error *err) {
  if (!json_is_array(list) || json_array_size(list) != tokens->n_sequences)
    return xci_fail(err, XCODER_FORMAT, "%s: expected a list 'sequences' of %zu numbers", path, tokens->n_sequences);
  for (size_t i = 0; i < tokens->n_sequences; i++) {
    const json_t *value = json_array_get(list, i);
    json_int_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < 0 || (size_t)number >= tokens->n_languages)
      return xci_fail(err, XCODER_FORMAT, "%s: sequence %zu: expected the number of a language", path, i);
    tokens->language[i] = (uint16_t)number;
  }
  return XCODER_OK;
}

xcoder_status xci_languages_read(const char *path, xcoder_tokens *tokens, xcoder_error *err) {
  xci_text name = {0};
  json_t *root = NULL;
  char hash[33];
  const char *found = NULL;
  size_t format = 0;
  xcoder_status status = name_file(path, &name, err);
  if (status || !xci_exists(name.bytes)) {
    xci_text_clear(&name);
    return status;
  }
  status = xci_json_read(name.bytes, MAX_BYTES, &root, err);
  if (!status) status = xci_json_get_size(root, name.bytes, "format", NULL, &format, err);
  if (!status && format != 1)
    status = xci_fail(err, XCODER_UNSUPPORTED, "%s: format %zu, this program reads 1", name.bytes, format);
  if (!status) status = xci_json_get_text(root, name.bytes, "tokens", NULL, &found, err);
  xcoder_tokens_hash(tokens, hash);
  if (!status && strcmp(found, hash) != 0)
    status = xci_fail(err, XCODER_MISMATCH, "%s: it belongs to other tokens (remove it, or make both again)",
                      name.bytes);
  if (!status) status = read_names(json_object_get(root, "languages"), name.bytes, tokens, err);
  if (!status) status = read_sequences(json_object_get(root, "sequences"), name.bytes, tokens, err);
  json_decref(root);
  xci_text_clear(&name);
  return status;
}

static xcoder_status write_text(const char *path, const xcoder_tokens *tokens, xcoder_error *err) {
  xci_text text = {0};
  xci_writer *writer = NULL;
  char hash[33];
  xcoder_tokens_hash(tokens, hash);
  xci_text_format(&text, "{\"format\": 1, \"tokens\": \"%s\", \"languages\": [", hash);
  for (size_t i = 0; i < tokens->n_languages; i++) {
    xci_text_add(&text, i ? ", \"" : "\"");
    xci_text_json(&text, tokens->languages[i], strlen(tokens->languages[i]));
    xci_text_add(&text, "\"");
  }
  xci_text_add(&text, "],\n\"sequences\": [");
  for (size_t i = 0; i < tokens->n_sequences; i++) xci_text_format(&text, i ? ",%u" : "%u", tokens->language[i]);
  xci_text_add(&text, "]}\n");
  xcoder_status status = xci_text_status(&text, err);
  if (!status) status = xci_writer_open(path, &writer, err);
  if (!status) {
    status = xci_writer_write(writer, text.bytes, text.n_bytes, err);
    if (status) xci_writer_abort(writer);
    else status = xci_writer_commit(writer, err);
  }
  xci_text_clear(&text);
  return status;
}

xcoder_status xci_languages_write(const char *path, const xcoder_tokens *tokens, xcoder_error *err) {
  xci_text name = {0};
  xcoder_status status = name_file(path, &name, err);
  if (!status && tokens->language) status = write_text(name.bytes, tokens, err);
  else if (!status && unlink(name.bytes) != 0 && errno != ENOENT && errno != ENOTDIR)
    status = xci_fail_errno(err, name.bytes, "cannot remove");
  xci_text_clear(&name);
  return status;
}
