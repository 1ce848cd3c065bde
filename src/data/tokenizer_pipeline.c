/* SPDX-License-Identifier: Apache-2.0 */
/* Normalizer, pre-tokenizer and decoder of a tokenizer.json: what is known is loaded, the rest refused by name. */
#include "data/tokenizer.h"

#include "base/memory.h"
#include <string.h>

/* Sequences may nest: their entries are walked in order with a stack. Documents nest 64 deep at most. */
enum { MAX_NESTING = 64, SHOWN_BYTES = 840 };

static const char *type_of(const json_t *step) { return json_string_value(json_object_get(step, "type")); }

static xcoder_status refuse(const xcoder_tokenizer *tokenizer, const char *place, const char *type, xcoder_error *err) {
  char shown[SHOWN_BYTES];
  return xci_fail(err, XCODER_UNSUPPORTED, "%s: %s: type '%s' is not supported", tokenizer->path, place,
                  xci_quote(shown, sizeof shown, type, strlen(type)));
}

xcoder_status xci_walk_steps(xcoder_tokenizer *tokenizer, const json_t *root, const char *place, const char *children,
                             xci_load_step load, xcoder_error *err) {
  struct {
    const json_t *list;
    size_t next;
  } stack[MAX_NESTING];
  size_t depth = 0;
  const json_t *step = xci_json_member(root, place);
  while (step || depth) {
    if (!step && stack[depth - 1].next == json_array_size(stack[depth - 1].list)) {
      depth--;
      continue;
    }
    if (!step) step = json_array_get(stack[depth - 1].list, stack[depth - 1].next++);
    const char *type = type_of(step);
    if (!type) return xci_fail(err, XCODER_FORMAT, "%s: %s: expected an object with a 'type'", tokenizer->path, place);
    if (strcmp(type, "Sequence") == 0) {
      const json_t *list = json_object_get(step, children);
      if (!json_is_array(list))
        return xci_fail(err, XCODER_FORMAT, "%s: %s: a Sequence without a list '%s'", tokenizer->path, place, children);
      if (depth == MAX_NESTING) return xci_fail(err, XCODER_FORMAT, "%s: %s: nested too deep", tokenizer->path, place);
      stack[depth].list = list;
      stack[depth++].next = 0;
    } else {
      xcoder_status status = load(tokenizer, step, type, err);
      if (status) return status;
    }
    step = NULL;
  }
  return XCODER_OK;
}

static xcoder_status load_normalizer(xcoder_tokenizer *tokenizer, const json_t *step, const char *type,
                                     xcoder_error *err) {
  static const struct {
    const char *type;
    xci_form form;
  } forms[] = {{"NFC", {true, false}}, {"NFD", {false, false}}, {"NFKC", {true, true}}, {"NFKD", {false, true}}};
  (void)step;
  for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
    if (strcmp(type, forms[i].type) != 0) continue;
    size_t capacity = tokenizer->n_forms;
    xcoder_status status =
      xci_grow((void **)&tokenizer->forms, &capacity, tokenizer->n_forms + 1, sizeof *tokenizer->forms, err);
    if (!status) tokenizer->forms[tokenizer->n_forms++] = forms[i].form;
    return status;
  }
  return refuse(tokenizer, "normalizer", type, err);
}

static xcoder_status add_split(xcoder_tokenizer *tokenizer, const char *pattern, bool literal, xci_behavior behavior,
                               bool invert, xcoder_error *err) {
  xci_pattern *compiled = NULL;
  size_t capacity = tokenizer->n_splits;
  xcoder_status status = xci_pattern_open(pattern, literal, tokenizer->path, "pre_tokenizer", &compiled, err);
  if (!status)
    status = xci_grow((void **)&tokenizer->splits, &capacity, tokenizer->n_splits + 1, sizeof *tokenizer->splits, err);
  if (status) {
    xci_pattern_close(compiled);
    return status;
  }
  tokenizer->splits[tokenizer->n_splits++] = (xci_split){compiled, behavior, invert};
  return XCODER_OK;
}

static xcoder_status load_split(xcoder_tokenizer *tokenizer, const json_t *step, xcoder_error *err) {
  static const char *const names[] = {"Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"};
  enum { N_BEHAVIORS = sizeof names / sizeof *names };
  const json_t *pattern = json_object_get(step, "pattern");
  const char *regex = json_string_value(json_object_get(pattern, "Regex"));
  const char *text = json_string_value(json_object_get(pattern, "String"));
  const char *behavior = json_string_value(json_object_get(step, "behavior"));
  bool invert = false;
  size_t k = 0;
  if (!regex == !text)
    return xci_fail(err, XCODER_FORMAT, "%s: pre_tokenizer: a Split needs a pattern, either Regex or String",
                    tokenizer->path);
  if (!behavior) return xci_fail(err, XCODER_FORMAT, "%s: pre_tokenizer: a Split without 'behavior'", tokenizer->path);
  while (k < N_BEHAVIORS && strcmp(behavior, names[k]) != 0) k++;
  if (k == N_BEHAVIORS) return refuse(tokenizer, "pre_tokenizer: behavior of a Split", behavior, err);
  xcoder_status status = xci_tokenizer_flag(step, tokenizer->path, "pre_tokenizer", "invert", false, &invert, err);
  return status ? status : add_split(tokenizer, regex ? regex : text, !regex, (xci_behavior)k, invert, err);
}

static xcoder_status load_pre_tokenizer(xcoder_tokenizer *tokenizer, const json_t *step, const char *type,
                                        xcoder_error *err) {
  const char *path = tokenizer->path;
  bool *byte_level = &tokenizer->byte_level;
  if (*byte_level)
    return xci_fail(err, XCODER_UNSUPPORTED, "%s: pre_tokenizer: type '%.40s' after ByteLevel is not supported", path,
                    type);
  if (strcmp(type, "Split") == 0) return load_split(tokenizer, step, err);
  if (strcmp(type, "Digits") == 0) {
    bool single = false;
    xcoder_status status = xci_tokenizer_flag(step, path, "pre_tokenizer", "individual_digits", false, &single, err);
    return status ? status : add_split(tokenizer, "\\p{N}", false, single ? XCI_ISOLATED : XCI_CONTIGUOUS, false, err);
  }
  if (strcmp(type, "ByteLevel") != 0) return refuse(tokenizer, "pre_tokenizer", type, err);
  *byte_level = true;
  xcoder_status status =
    xci_tokenizer_flag(step, path, "pre_tokenizer", "add_prefix_space", true, &tokenizer->add_prefix_space, err);
  if (!status) status = xci_tokenizer_flag(step, path, "pre_tokenizer", "use_regex", true, &tokenizer->gpt2_split, err);
  return status;
}

/* Decoding is fixed by the byte alphabet; a decoder that would do something else is refused. */
static xcoder_status check_decoder(xcoder_tokenizer *tokenizer, const json_t *step, const char *type,
                                   xcoder_error *err) {
  (void)step;
  if (strcmp(type, "ByteLevel") == 0 || strcmp(type, "Fuse") == 0) return XCODER_OK;
  return refuse(tokenizer, "decoder", type, err);
}

xcoder_status xci_load_pipeline(xcoder_tokenizer *tokenizer, const json_t *root, xcoder_error *err) {
  xcoder_status status = xci_walk_steps(tokenizer, root, "normalizer", "normalizers", load_normalizer, err);
  if (!status) status = xci_walk_steps(tokenizer, root, "pre_tokenizer", "pretokenizers", load_pre_tokenizer, err);
  if (!status && !tokenizer->byte_level)
    status =
      xci_fail(err, XCODER_UNSUPPORTED,
               "%s: pre_tokenizer: without ByteLevel; only byte-level tokenizers are supported", tokenizer->path);
  if (!status) status = xci_walk_steps(tokenizer, root, "decoder", "decoders", check_decoder, err);
  return status;
}
