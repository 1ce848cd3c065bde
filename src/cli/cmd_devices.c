/* SPDX-License-Identifier: Apache-2.0 */
/* crosscoder devices: what this machine offers, and whether it computes what it should. */
#include "command.h"
#include "text.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "key: value" lines of a JSON object, nested ones indented; the depth is that of the library's own answer. */
static void print_tree(const json_t *value, int depth) {
  const char *key;
  json_t *item;
  size_t index;
  if (json_is_object(value)) {
    json_object_foreach((json_t *)(uintptr_t)value, key, item) {
      bool nested = json_is_object(item) || (json_is_array(item) && json_array_size(item) > 0);
      printf("%*s%s:%s", depth * 2, "", key, nested ? "\n" : " ");
      print_tree(item, depth + 1);
    }
  } else if (json_is_array(value)) {
    json_array_foreach(value, index, item) {
      if (json_is_object(item))
        printf("%*s[%zu]\n", depth * 2, "", index);
      else
        printf("%*s- ", depth * 2, "");
      print_tree(item, depth + 1);
    }
    if (index == 0)
      printf("none\n");
  } else if (json_is_string(value)) {
    char *clean = cli_printable(json_string_value(value), json_string_length(value));
    printf("%s\n", clean ? clean : "");
    free(clean);
  } else {
    char *text = json_dumps(value, JSON_ENCODE_ANY);
    printf("%s\n", text ? text : "");
    free(text);
  }
}

static xcoder_status print_list(bool as_json, xcoder_error *err) {
  char *text = NULL;
  json_error_t place;
  xcoder_status status = xcoder_device_list(&text, err);
  json_t *list = status ? NULL : json_loads(text, 0, &place);
  if (!status && !list)
    status = cli_fail(err, XCODER_INTERNAL, "devices: the list of devices is no JSON (%s)", place.text);
  if (!status && as_json)
    printf("%s\n", text);
  else if (!status)
    print_tree(list, 0);
  json_decref(list);
  xcoder_free(text);
  return status;
}

xcoder_status cli_devices(cli_call *call, xcoder_error *err) {
  if (!cli_flag(&call->values, OPT_SELF_TEST))
    return print_list(cli_flag(&call->values, OPT_JSON), err);
  xcoder_device *device = NULL;
  xcoder_status status = xcoder_device_open(cli_text(&call->values, OPT_DEVICE), &device, err);
  if (!status)
    status = xcoder_device_self_test(device, err);
  if (!status && cli_flag(&call->values, OPT_JSON)) {
    json_t *answer = json_pack("{s:s,s:s,s:b}", "device", xcoder_device_name(device), "kernels",
                               xcoder_device_kernels(device), "self_test", 1);
    char *text = answer ? json_dumps(answer, 0) : NULL;
    printf("%s\n", text ? text : "{}");
    free(text);
    json_decref(answer);
  } else if (!status) {
    printf("PASS %s (%s): every operation agrees with the reference\n", xcoder_device_name(device),
           xcoder_device_kernels(device));
  }
  xcoder_device_close(device);
  return status;
}
