/* SPDX-License-Identifier: Apache-2.0 */
/* Reads plans: a mapping from names of options to a value, a list, or LABEL: SPEC. */
#include "plan.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

enum { MAX_PLAN_BYTES = 1 << 20, MAX_ITEMS = 100000 };

typedef struct reader {
  yaml_parser_t yaml;
  const char *path;
  char *folder;
  cli_values *values;
  cli_origin origin;
  unsigned char seen[N_OPTIONS];
  char **items; /* of the key that is being read */
  size_t n_items;
  xcoder_error *err;
} reader;

static size_t line_of(const yaml_event_t *event) { return event->start_mark.line + 1; }

static xcoder_status next_event(reader *r, yaml_event_t *event) {
  if (yaml_parser_parse(&r->yaml, event))
    return XCODER_OK;
  memset(event, 0, sizeof *event);
  if (r->yaml.error == YAML_MEMORY_ERROR)
    return cli_fail_memory(r->err);
  return cli_fail(r->err, XCODER_FORMAT, "%s: line %zu: %s, expected YAML", r->path, r->yaml.problem_mark.line + 1,
                  r->yaml.problem ? r->yaml.problem : "bytes that are no text");
}

static const char *name_event(yaml_event_type_t type) {
  switch (type) {
  case YAML_SCALAR_EVENT: return "a value";
  case YAML_SEQUENCE_START_EVENT: return "a list";
  case YAML_MAPPING_START_EVENT: return "a mapping";
  case YAML_ALIAS_EVENT: return "an alias";
  default: return "the end";
  }
}

static xcoder_status expect(reader *r, yaml_event_type_t type, const char *expected) {
  yaml_event_t event;
  xcoder_status status = next_event(r, &event);
  if (!status && event.type != type)
    status = cli_fail(r->err, XCODER_FORMAT, "%s: line %zu: %s was found, expected %s", r->path, line_of(&event),
                      name_event(event.type), expected);
  yaml_event_delete(&event);
  return status;
}

static void clear_items(reader *r) {
  for (size_t i = 0; i < r->n_items; i++)
    free(r->items[i]);
  free(r->items);
  r->items = NULL;
  r->n_items = 0;
}

/* Adds the scalar of `event`; with `label` as "LABEL=SCALAR". */
static xcoder_status add_item(reader *r, const yaml_event_t *event, const char *label) {
  const char *text = (const char *)event->data.scalar.value;
  if (strlen(text) != event->data.scalar.length)
    return cli_fail(r->err, XCODER_FORMAT, "%s: line %zu: a zero byte was found, expected text", r->path,
                    line_of(event));
  char **items = r->n_items < MAX_ITEMS ? realloc(r->items, (r->n_items + 1) * sizeof *items) : NULL;
  if (items)
    r->items = items;
  char *item = items ? label ? cli_format("%s=%s", label, text) : cli_copy(text) : NULL;
  if (!item)
    return cli_fail_memory(r->err);
  items[r->n_items++] = item;
  return XCODER_OK;
}

static bool is_null(const yaml_event_t *event) {
  const char *text = (const char *)event->data.scalar.value;
  return event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && (!*text || !strcmp(text, "~") || !strcmp(text, "null"));
}

/* The scalars up to the end of the list or mapping that has begun. */
static xcoder_status read_items(reader *r, bool mapping, const char *key) {
  char *label = NULL;
  xcoder_status status = XCODER_OK;
  for (bool more = true; !status && more;) {
    yaml_event_t event;
    status = next_event(r, &event);
    if (status)
      break;
    if (event.type == YAML_SCALAR_EVENT && mapping && !label) {
      if (!(label = cli_copy((const char *)event.data.scalar.value)))
        status = cli_fail_memory(r->err);
    } else if (event.type == YAML_SCALAR_EVENT) {
      status = add_item(r, &event, label);
      free(label);
      label = NULL;
    } else if (event.type == YAML_SEQUENCE_END_EVENT || event.type == YAML_MAPPING_END_EVENT) {
      more = false;
    } else {
      status = cli_fail(r->err, XCODER_USAGE, "%s: line %zu: %s: %s was found, expected a value", r->path,
                        line_of(&event), key, name_event(event.type));
    }
    yaml_event_delete(&event);
  }
  free(label);
  return status;
}

static const char *describe_type(cli_type type) {
  switch (type) {
  case CLI_FLAG: return "yes or no";
  case CLI_INTEGER: case CLI_COUNT: case CLI_BYTES: return "an integer";
  case CLI_NUMBER: return "a number";
  case CLI_LAYER: return "a layer";
  case CLI_PATH: case CLI_SPEC: return "a path";
  case CLI_CHOICE: return "a word";
  case CLI_SPECS: return "a list, or a mapping from labels to checkpoints";
  case CLI_TABLE: return "a mapping from labels to numbers";
  case CLI_LIST: case CLI_PATHS: case CLI_TASKS: return "a list";
  default: return "a text";
  }
}

static xcoder_status read_value(reader *r, cli_id id, const char *where) {
  const cli_option *option = &cli_options[id];
  yaml_event_t event;
  xcoder_status status = next_event(r, &event);
  bool list = event.type == YAML_SEQUENCE_START_EVENT, mapping = event.type == YAML_MAPPING_START_EVENT;
  bool null = event.type == YAML_SCALAR_EVENT && is_null(&event);
  if (status) {
    /* nothing to look at */
  } else if ((list && cli_is_list(option->type)) ||
             (mapping && (option->type == CLI_SPECS || option->type == CLI_TABLE))) {
    status = read_items(r, mapping, option->name);
  } else if (event.type == YAML_SCALAR_EVENT) {
    if (!null)
      status = add_item(r, &event, NULL);
  } else {
    status = cli_fail(r->err, XCODER_USAGE, "%s: %s was found, expected %s", where, name_event(event.type),
                      describe_type(option->type));
  }
  if (!status && r->n_items)
    status = cli_set(r->values, id, r->items, r->n_items, event.type == YAML_SCALAR_EVENT, where, r->folder, r->origin,
                     r->err);
  clear_items(r);
  yaml_event_delete(&event);
  return status;
}

static xcoder_status fail_key(reader *r, const char *key, size_t line) {
  char *dashed = cli_copy(key);
  if (!dashed)
    return cli_fail_memory(r->err);
  for (char *s = dashed; *s; s++)
    *s = *s == '_' ? '-' : *s;
  const char *nearest = cli_nearest_option(dashed, IN_RUN);
  free(dashed);
  if (nearest)
    return cli_fail(r->err, XCODER_USAGE, "%s: line %zu: unknown key '%.200s' (did you mean '%s'?)", r->path, line, key,
                    nearest);
  return cli_fail(r->err, XCODER_USAGE, "%s: line %zu: unknown key '%.200s' (crosscoder run --help lists them)",
                  r->path, line, key);
}

static xcoder_status read_key(reader *r, const yaml_event_t *event) {
  if (event->type != YAML_SCALAR_EVENT)
    return cli_fail(r->err, XCODER_FORMAT, "%s: line %zu: %s was found, expected a key", r->path, line_of(event),
                    name_event(event->type));
  const char *key = (const char *)event->data.scalar.value;
  cli_id id = cli_find(key, event->data.scalar.length);
  if (id == N_OPTIONS || !(cli_options[id].commands & IN_RUN))
    return fail_key(r, key, line_of(event));
  if (r->seen[id])
    return cli_fail(r->err, XCODER_USAGE, "%s: line %zu: the key '%s' was found twice", r->path, line_of(event), key);
  r->seen[id] = 1;
  char *where = cli_format("%s: line %zu: %s", r->path, line_of(event), cli_options[id].name);
  xcoder_status status = where ? read_value(r, id, where) : cli_fail_memory(r->err);
  free(where);
  return status;
}

static xcoder_status read_mapping(reader *r) {
  xcoder_status status = XCODER_OK;
  for (bool more = true; !status && more;) {
    yaml_event_t event;
    status = next_event(r, &event);
    if (!status && event.type == YAML_MAPPING_END_EVENT)
      more = false;
    else if (!status)
      status = read_key(r, &event);
    yaml_event_delete(&event);
  }
  return status;
}

static xcoder_status read_document(reader *r) {
  xcoder_status status = expect(r, YAML_STREAM_START_EVENT, "YAML");
  if (!status)
    status = expect(r, YAML_DOCUMENT_START_EVENT, "a mapping from options to values");
  if (!status)
    status = expect(r, YAML_MAPPING_START_EVENT, "a mapping from options to values");
  if (!status)
    status = read_mapping(r);
  if (!status)
    status = expect(r, YAML_DOCUMENT_END_EVENT, "the end");
  if (!status)
    status = expect(r, YAML_STREAM_END_EVENT, "the end (one document)");
  return status;
}

xcoder_status cli_plan_read(const char *path, cli_values *values, cli_origin origin, xcoder_error *err) {
  reader r = {.path = path, .values = values, .origin = origin, .err = err};
  char *bytes = NULL;
  size_t n_bytes = 0;
  xcoder_status status = xcoder_read_file(path, MAX_PLAN_BYTES, &bytes, &n_bytes, err);
  if (status)
    return status;
  r.folder = cli_folder_of(path);
  if (!r.folder || !yaml_parser_initialize(&r.yaml)) {
    status = cli_fail_memory(err);
  } else {
    yaml_parser_set_input_string(&r.yaml, (const unsigned char *)bytes, n_bytes);
    status = read_document(&r);
    yaml_parser_delete(&r.yaml);
  }
  free(r.folder);
  xcoder_free(bytes);
  return status;
}
