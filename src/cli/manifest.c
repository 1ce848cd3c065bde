/* SPDX-License-Identifier: Apache-2.0 */
/* manifest.json: one entry for every command that worked on the run. Times, paths and kernels stand here alone. */
#include "job.h"
#include "text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MAX_MANIFEST_BYTES = 64 << 20, MAX_ENTRIES = 1000 };

xcoder_status cli_read_json(const char *path, json_t **value, xcoder_error *err) {
  char *text = NULL;
  size_t n_bytes = 0;
  json_error_t place;
  *value = NULL;
  if (!cli_exists(path))
    return XCODER_OK;
  xcoder_status status = xcoder_read_file(path, MAX_MANIFEST_BYTES, &text, &n_bytes, err);
  if (status)
    return status;
  errno = 0; /* jansson calls a lack of memory a syntax error */
  *value = json_loadb(text, n_bytes, JSON_REJECT_DUPLICATES, &place);
  if (!*value && errno == ENOMEM)
    status = cli_fail_memory(err);
  else if (!*value)
    status = cli_fail(err, XCODER_FORMAT, "%s: line %d: %s", path, place.line, place.text);
  xcoder_free(text);
  return status;
}

xcoder_status cli_write_json(const char *path, const json_t *value, xcoder_error *err) {
  char *text = json_dumps(value, JSON_INDENT(1) | JSON_SORT_KEYS);
  char *line = text ? cli_format("%s\n", text) : NULL;
  xcoder_status status = line ? xcoder_write_file(path, line, strlen(line), err) : cli_fail_memory(err);
  free(line);
  free(text);
  return status;
}

static json_t *make_words(const cli_call *call) {
  json_t *words = json_array();
  for (int i = 0; i < call->argc; i++) {
    char *clean = cli_is_utf8(call->argv[i]) ? NULL : cli_printable(call->argv[i], strlen(call->argv[i]));
    json_array_append_new(words, json_string(clean ? clean : call->argv[i]));
    free(clean);
  }
  return words;
}

static json_t *make_entry(const cli_job *job) {
  char time_text[32] = "";
  time_t now = time(NULL);
  struct tm parts;
  if (gmtime_r(&now, &parts))
    strftime(time_text, sizeof time_text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  char host[256] = "", *here = getcwd(NULL, 0);
  gethostname(host, sizeof host - 1);
  char *folder = here ? cli_printable(here, strlen(here)) : NULL;
  json_t *entry = json_pack("{s:s,s:s,s:s,s:o,s:s,s:i,s:s}", "version", xcoder_version(), "time", time_text, "command",
                            job->setting.call->command->name, "command_line", make_words(job->setting.call), "folder",
                            folder ? folder : "", "threads", xcoder_threads(), "host", host);
  free(folder);
  free(here);
  if (entry && job->setting.device) {
    json_object_set_new(entry, "device", json_string(xcoder_device_name(job->setting.device)));
    json_object_set_new(entry, "kernels", json_string(xcoder_device_kernels(job->setting.device)));
  }
  if (entry && json_object_size(job->hashes))
    json_object_set(entry, "inputs", job->hashes);
  return entry;
}

xcoder_status cli_add_manifest(cli_job *job, xcoder_error *err) {
  char *path = cli_job_path(job, "manifest.json");
  json_t *manifest = NULL;
  if (!path)
    return cli_fail_memory(err);
  xcoder_status status = cli_read_json(path, &manifest, err);
  if (status == XCODER_FORMAT) { /* a record that cannot be read is no reason to stop: begin a new one */
    char *warning = cli_format("%s; a new one is begun", err->message);
    cli_warn(job->setting.call->progress, warning ? warning : "manifest.json is begun anew");
    free(warning);
    status = XCODER_OK;
  }
  json_t *entries = json_object_get(manifest, "entries");
  if (!status && !json_is_array(entries)) {
    json_decref(manifest);
    entries = json_array();
    manifest = json_pack("{s:i,s:o}", "format", 1, "entries", entries);
  }
  if (!status) {
    while (json_array_size(entries) >= MAX_ENTRIES)
      json_array_remove(entries, 0);
    status = json_array_append_new(entries, make_entry(job)) == 0 ? cli_write_json(path, manifest, err)
                                                                  : cli_fail_memory(err);
  }
  json_decref(manifest);
  free(path);
  return status;
}
