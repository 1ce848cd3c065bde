/* SPDX-License-Identifier: Apache-2.0 */
/* JSON from hostile files, through jansson: depth and size capped, duplicate keys refused, errors with position. */
#ifndef XCI_FORMATS_JSON_H
#define XCI_FORMATS_JSON_H

#include "base/error.h"
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Parses `n` bytes; `path` and `line_offset` (0-based line of the first byte in its file) are for messages.
 * Nesting deeper than 64 and duplicate keys are XCODER_FORMAT. Integers outside int64 are refused. */
xcoder_status xci_json_parse(const char *bytes, size_t n, const char *path, size_t line_offset, json_t **value,
                             xcoder_error *err);
xcoder_status xci_json_read(const char *path, size_t max_bytes, json_t **value, xcoder_error *err);

/* Typed members with messages that name path and key. `fallback` NULL: the key is required; JSON null counts as
 * absent. */
xcoder_status xci_json_get_size(const json_t *object, const char *path, const char *key, const size_t *fallback,
                                size_t *value, xcoder_error *err);
xcoder_status xci_json_get_number(const json_t *object, const char *path, const char *key, const double *fallback,
                                  double *value, xcoder_error *err);
xcoder_status xci_json_get_bool(const json_t *object, const char *path, const char *key, const bool *fallback,
                                bool *value, xcoder_error *err);
xcoder_status xci_json_get_text(const json_t *object, const char *path, const char *key, const char *fallback,
                                const char **value, xcoder_error *err);

#endif
