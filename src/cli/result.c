/* SPDX-License-Identifier: Apache-2.0 */
/* A command's CSV: into the file of --out, or to standard output by way of a temporary file. */
#include "csv.h"
#include "setting.h"
#include "text.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

xcoder_status cli_open_result(cli_call *call, const char *given, const char *name, char **path, xcoder_error *err) {
  const char *temporary = getenv("TMPDIR");
  *path = given ? cli_copy(given)
                : cli_format("%s/crosscoder-%s-%ld.csv", temporary && *temporary ? temporary : "/tmp", name,
                             (long)getpid());
  if (!*path)
    return cli_fail_memory(err);
  if (given && cli_is_folder(given))
    return cli_fail(err, XCODER_IO, "%s: a folder was found, expected a file (--out)", given);
  return given ? cli_check_output(&call->values, given, err) : XCODER_OK;
}

static json_t *cell_to_json(const char *text) {
  char *end = NULL;
  double number = strtod(text, &end);
  if (!*text)
    return json_null();
  return *end || (text[0] != '-' && (text[0] < '0' || text[0] > '9')) ? json_string(text) : json_real(number);
}

/* The rows as JSON objects; labels that look like numbers stay text. */
static xcoder_status print_json(const char *path, xcoder_error *err) {
  static const char *const texts[] = {"checkpoint", "a", "b", "task", "language", "group"};
  cli_csv csv;
  json_t *rows = json_array();
  xcoder_status status = cli_csv_read(path, &csv, err);
  if (status) {
    json_decref(rows);
    return status;
  }
  for (size_t row = 0; row < csv.n_rows; row++) {
    json_t *object = json_object();
    for (size_t c = 0; c < csv.n_columns; c++) {
      const char *cell = csv.cells[(row + 1) * csv.n_columns + c];
      bool text = false;
      for (size_t k = 0; k < sizeof texts / sizeof *texts; k++)
        text = text || strcmp(csv.cells[c], texts[k]) == 0;
      json_object_set_new(object, csv.cells[c], text ? json_string(cell) : cell_to_json(cell));
    }
    json_array_append_new(rows, object);
  }
  char *text = json_dumps(rows, JSON_INDENT(1) | JSON_REAL_PRECISION(17));
  if (text)
    printf("%s\n", text);
  else
    status = cli_fail_memory(err);
  free(text);
  json_decref(rows);
  cli_csv_free(&csv);
  return status;
}

static xcoder_status print_file(const char *path, xcoder_error *err) {
  char *text = NULL;
  size_t n_bytes = 0;
  xcoder_status status = xcoder_read_file(path, (size_t)1 << 30, &text, &n_bytes, err);
  if (!status)
    fwrite(text, 1, n_bytes, stdout);
  xcoder_free(text);
  return status;
}

xcoder_status cli_close_result(char *path, const char *given, bool json, bool there, xcoder_status status,
                              xcoder_error *err) {
  if (!status && json && there)
    status = print_json(path, err);
  else if (!status && !given && there)
    status = print_file(path, err);
  if (path && !given)
    unlink(path);
  free(path);
  return status;
}
