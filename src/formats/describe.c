/* SPDX-License-Identifier: Apache-2.0 */
/* Says what a file of tensors holds, after every check of its header, for people who look at one. */
#include "config.h"

#include <crosscoder/run.h>

#include "base/error.h"
#include "base/text.h"
#include "formats/npy.h"
#include "formats/safetensors.h"

#include <inttypes.h>
#include <string.h>

static void add_shape(xci_text *text, const size_t *shape, size_t rank) {
  xci_text_add(text, "[");
  for (size_t i = 0; i < rank; i++)
    xci_text_format(text, i ? ", %zu" : "%zu", shape[i]);
  xci_text_add(text, "]");
}

static xcoder_status describe_safetensors(const char *path, xci_text *text, xcoder_error *err) {
  xci_safetensors *file = NULL;
  xcoder_status status = xci_safetensors_open(path, &file, err);
  if (status) return status;
  xci_text_add(text, "{\"kind\": \"safetensors\", \"tensors\": [");
  for (size_t i = 0; i < xci_safetensors_count(file); i++) {
    const xci_tensor *tensor = xci_safetensors_at(file, i);
    xci_text_add(text, i ? ",\n  {\"name\": \"" : "\n  {\"name\": \"");
    xci_text_json(text, tensor->name, strlen(tensor->name));
    xci_text_format(text, "\", \"dtype\": \"%s\", \"bytes\": %zu, \"shape\": ", xci_dtype_name(tensor->dtype),
                    tensor->n_bytes);
    add_shape(text, tensor->shape, tensor->rank);
    xci_text_add(text, "}");
  }
  xci_text_add(text, "]}");
  xci_safetensors_close(file);
  return xci_text_status(text, err);
}

static xcoder_status describe_npy(const char *path, xci_text *text, xcoder_error *err) {
  xci_npy npy = {0};
  xcoder_status status = xci_npy_open(path, &npy, err);
  if (status) return status;
  xci_text_format(text, "{\"kind\": \"npy\", \"dtype\": \"%s\", \"bytes\": %zu, \"shape\": ", xci_dtype_name(npy.dtype),
                  npy.n_bytes);
  add_shape(text, npy.shape, npy.rank);
  xci_text_add(text, "}");
  xci_npy_close(&npy);
  return xci_text_status(text, err);
}

xcoder_status xcoder_describe_file(const char *path, char **json, xcoder_error *err) {
  *json = NULL;
  xci_map map = {0};
  xci_text text = {0};
  xcoder_status status = xci_map_open(path, &map, err);
  if (status) return status;
  bool npy = map.n_bytes >= 6 && !memcmp(map.bytes, "\x93NUMPY", 6);
  xci_map_close(&map);
  status = npy ? describe_npy(path, &text, err) : describe_safetensors(path, &text, err);
  if (status)
    xci_text_clear(&text);
  else
    *json = text.bytes;
  return status;
}
