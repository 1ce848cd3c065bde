/* SPDX-License-Identifier: Apache-2.0 */
/* crosscoder inspect: tells what a file or folder is by its content, and checks it. */
#include "setting.h"
#include "text.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A JSON text even where `text` is not UTF-8. */
static json_t *make_text(const char *text) {
  json_t *string = json_string(text);
  char *clean = string ? NULL : cli_printable(text, strlen(text));
  if (clean)
    string = json_string(clean);
  free(clean);
  return string;
}

static bool has(const char *folder, const char *name) {
  char *path = cli_join(folder, name);
  bool there = path && cli_exists(path);
  free(path);
  return there;
}

static xcoder_status inspect_tokenizer(const char *path, json_t *answer, xcoder_error *err) {
  xcoder_tokenizer *tokenizer = NULL;
  xcoder_status status = xcoder_tokenizer_open(path, &tokenizer, err);
  if (status)
    return status;
  json_t *object = json_pack("{s:I}", "size", (json_int_t)xcoder_tokenizer_size(tokenizer));
  uint32_t id = 0;
  if (xcoder_tokenizer_end_of_text(tokenizer, &id)) {
    size_t n_bytes = 0;
    const char *bytes = xcoder_token_bytes(tokenizer, id, &n_bytes);
    char *name = bytes ? cli_printable(bytes, n_bytes) : NULL;
    json_object_set_new(object, "end_of_text", json_integer(id));
    json_object_set_new(object, "end_of_text_token", make_text(name ? name : ""));
    free(name);
  }
  json_object_set_new(answer, "tokenizer", object);
  xcoder_tokenizer_close(tokenizer);
  return XCODER_OK;
}

static xcoder_status inspect_model(const char *path, json_t *answer, xcoder_error *err) {
  xcoder_model_info info;
  xcoder_status status = xcoder_model_inspect(path, &info, err);
  if (status)
    return status;
  json_object_set_new(answer, "kind", json_string("model"));
  json_object_set_new(answer, "family", json_string(info.family));
  json_object_set_new(answer, "layers", json_integer((json_int_t)info.n_layers));
  json_object_set_new(answer, "width", json_integer((json_int_t)info.d_model));
  json_object_set_new(answer, "heads", json_integer((json_int_t)info.n_heads));
  json_object_set_new(answer, "mlp_width", json_integer((json_int_t)info.d_mlp));
  json_object_set_new(answer, "vocabulary", json_integer((json_int_t)info.n_vocab));
  json_object_set_new(answer, "context", json_integer((json_int_t)info.n_context));
  json_object_set_new(answer, "parameters", json_integer((json_int_t)info.n_parameters));
  json_object_set_new(answer, "dtype", json_string(info.dtype));
  return has(path, "tokenizer.json") ? inspect_tokenizer(path, answer, err) : XCODER_OK;
}

static xcoder_status inspect_coder(const char *path, json_t *answer, xcoder_error *err) {
  xcoder *coder = NULL;
  xcoder_status status = xcoder_load(path, &coder, err);
  if (status)
    return status;
  const xcoder_info *info = xcoder_describe(coder);
  json_t *checkpoints = json_array();
  for (size_t i = 0; i < info->n_checkpoints; i++)
    json_array_append_new(checkpoints, json_pack("{s:o,s:f}", "label", make_text(info->labels[i]), "scale",
                                                 (double)info->scales[i]));
  json_object_set_new(answer, "features", json_integer((json_int_t)info->n_latents));
  json_object_set_new(answer, "width", json_integer((json_int_t)info->d_model));
  json_object_set_new(answer, "layer", json_integer(info->layer));
  json_object_set_new(answer, "folded", json_boolean(info->folded));
  json_object_set_new(answer, "first_position_masked", json_boolean(!info->mask.keep_first));
  static const char *const activations[] = {"relu", "batchtopk", "topk", "jumprelu"};
  json_object_set_new(answer, "activation", json_string(activations[info->activation]));
  if (info->k > 0)
    json_object_set_new(answer, "k", json_integer((json_int_t)info->k));
  if (info->threshold >= 0)
    json_object_set_new(answer, "threshold", json_real((double)info->threshold));
  json_object_set_new(answer, "checkpoints", checkpoints);
  xcoder_free_coder(coder);
  return XCODER_OK;
}

static xcoder_status inspect_run(const char *path, json_t *answer, xcoder_error *err) {
  static const char *const names[] = {"run.yaml", "crosscoder.safetensors", "metrics.csv", "accuracy.csv", "eval.json",
                                      "effects", "ablation", "features/features.json", "known.json",
                                      "report/index.html"};
  json_t *present = json_array();
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (has(path, names[i]))
      json_array_append_new(present, json_string(names[i]));
  json_object_set_new(answer, "kind", json_string("run"));
  json_object_set_new(answer, "present", present);
  return has(path, "crosscoder.safetensors") ? inspect_coder(path, answer, err) : XCODER_OK;
}

static xcoder_status inspect_store(const char *path, json_t *answer, xcoder_error *err) {
  xcoder_source_options options = {0};
  xcoder_source *source = NULL;
  char *text = NULL, *manifest = cli_join(path, "store.json");
  size_t n_bytes = 0;
  json_error_t place;
  xcoder_status status = manifest ? xcoder_read_file(manifest, 0, &text, &n_bytes, err) : cli_fail_memory(err);
  json_t *described = status ? NULL : json_loadb(text, n_bytes, 0, &place);
  if (!status && !json_is_object(described))
    status = cli_fail(err, XCODER_FORMAT, "%s: %s", manifest, described ? "no JSON object" : place.text);
  if (!status) {
    json_object_set_new(answer, "kind", json_string("activation store"));
    json_t *inputs = json_object_get(described, "inputs");
    if (json_is_object(inputs))
      json_object_update_missing(answer, inputs);
    size_t n_layers = json_array_size(json_object_get(inputs, "layers"));
    if (n_layers < 2)
      status = xcoder_source_store(path, LONG_MIN, &options, &source, err);
  }
  if (source) {
    json_object_set_new(answer, "n_checkpoints", json_integer((json_int_t)xcoder_source_checkpoints(source)));
    json_object_set_new(answer, "width", json_integer((json_int_t)xcoder_source_width(source)));
    json_object_set_new(answer, "samples", json_integer((json_int_t)xcoder_source_epoch(source)));
  }
  xcoder_source_close(source);
  json_decref(described);
  xcoder_free(text);
  free(manifest);
  return status;
}

static xcoder_status inspect_folder(const char *path, json_t *answer, xcoder_error *err) {
  if (has(path, "config.json"))
    return inspect_model(path, answer, err);
  if (has(path, "run.yaml") || has(path, "crosscoder.safetensors") || has(path, "metrics.csv"))
    return inspect_run(path, answer, err);
  if (has(path, "tokenizer.json")) {
    json_object_set_new(answer, "kind", json_string("tokenizer"));
    return inspect_tokenizer(path, answer, err);
  }
  if (has(path, "state.safetensors")) {
    json_object_set_new(answer, "kind", json_string("saved state of training"));
    return inspect_coder(path, answer, err);
  }
  if (has(path, "store.json"))
    return inspect_store(path, answer, err);
  return cli_fail(err, XCODER_UNSUPPORTED, "%s: no config.json, tokenizer.json, run.yaml or store.json was found, "
                  "expected a model, tokenizer, run or store", path);
}

/* Whether a file starts like a JSON object. The header of safetensors stands behind 8 bytes of its length, whose upper
 * ones are zero. */
static bool is_json(const char *path) {
  char head[64];
  FILE *file = fopen(path, "re");
  size_t n = file ? fread(head, 1, sizeof head, file) : 0, i = 0;
  if (file)
    fclose(file);
  if (n >= 8 && memchr(head, 0, 8))
    return false;
  while (i < n && strchr(" \t\r\n", head[i]))
    i++;
  return i < n && head[i] == '{';
}

static xcoder_status inspect_tensors(const char *path, json_t *answer, xcoder_error *err) {
  char *text = NULL;
  json_error_t place;
  xcoder_status status = xcoder_describe_file(path, &text, err);
  json_t *described = status ? NULL : json_loads(text, 0, &place);
  if (!status && !described)
    status = cli_fail(err, XCODER_INTERNAL, "%s: the description is no JSON (%s)", path, place.text);
  bool coder = false;
  json_t *tensors = json_object_get(described, "tensors");
  for (size_t i = 0; i < json_array_size(tensors); i++) {
    const char *name = json_string_value(json_object_get(json_array_get(tensors, i), "name"));
    coder = coder || (name && strcmp(name, "W_enc") == 0);
  }
  if (!status)
    json_object_update_missing(answer, described);
  if (!status && coder) {
    json_object_set_new(answer, "kind", json_string("crosscoder"));
    status = inspect_coder(path, answer, err);
  }
  json_decref(described);
  xcoder_free(text);
  return status;
}

static xcoder_status inspect_path(const char *path, json_t *answer, xcoder_error *err) {
  if (cli_is_folder(path))
    return inspect_folder(path, answer, err);
  if (cli_is_regular(path) && is_json(path)) {
    json_object_set_new(answer, "kind", json_string("tokenizer"));
    return inspect_tokenizer(path, answer, err);
  }
  return inspect_tensors(path, answer, err);
}

/* One line a member; long lists of objects one line an item. */
static void print_answer(const json_t *answer) {
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)(uintptr_t)answer, key, value) {
    if (json_is_array(value) && json_array_size(value) && json_is_object(json_array_get(value, 0))) {
      size_t index;
      json_t *item;
      printf("  %s:\n", key);
      json_array_foreach(value, index, item) {
        char *text = json_dumps(item, JSON_ENCODE_ANY | JSON_REAL_PRECISION(7));
        char *clean = text ? cli_printable(text, strlen(text)) : NULL;
        printf("    %s\n", clean ? clean : "");
        free(clean);
        free(text);
      }
    } else {
      char *text = json_is_string(value) ? cli_copy(json_string_value(value)) : json_dumps(value, JSON_ENCODE_ANY);
      char *clean = text ? cli_printable(text, strlen(text)) : NULL;
      printf("  %s: %s\n", key, clean ? clean : "");
      free(clean);
      free(text);
    }
  }
}

xcoder_status cli_inspect(cli_call *call, xcoder_error *err) {
  xcoder_status status = XCODER_OK;
  for (size_t i = 0; !status && i < call->n_operands; i++) {
    const char *path = call->operands[i];
    char *found = NULL;
    json_t *answer = json_object();
    if (!cli_exists(path) && strchr(path, '/') && path[0] != '/' && path[0] != '.') /* ORG/NAME */
      status = xcoder_checkpoint_find(path, &found, err);
    else if (!cli_exists(path))
      status = cli_fail(err, XCODER_MISSING, "%s: %s", path, strerror(errno));
    json_object_set_new(answer, "path", make_text(found ? found : path));
    if (!status)
      status = inspect_path(found ? found : path, answer, err);
    if (!status && cli_flag(&call->values, OPT_JSON)) {
      char *text = json_dumps(answer, JSON_REAL_PRECISION(9));
      printf("%s\n", text ? text : "{}");
      free(text);
    } else if (!status) {
      char *clean = cli_printable(path, strlen(path));
      printf("%s\n", clean ? clean : "");
      free(clean);
      json_object_del(answer, "path");
      print_answer(answer);
    }
    json_decref(answer);
    xcoder_free(found);
  }
  return status;
}
