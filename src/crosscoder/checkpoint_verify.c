/* SPDX-License-Identifier: Apache-2.0 */
/* Finding checkpoints and telling good ones from bad ones. */
#include "base/memory.h"
#include "crosscoder/checkpoint.h"
#include "crosscoder/checkpoint_folder.h"
#include "formats/json.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_MANIFEST_BYTES = 1 << 20, MAX_DIGITS = 18 };

xcoder_status xci_checkpoint_path(const char *run, uint64_t step, const char *suffix, char **path, xcoder_error *err) {
  char name[96];
  snprintf(name, sizeof name, "checkpoints/step-%" PRIu64 "%s", step, suffix);
  return xci_join_path(run, name, path, err);
}

/* The step of a name that this program gives to checkpoints: "step-", digits, no leading zero. */
static bool parse_name(const char *name, uint64_t *step) {
  if (strncmp(name, "step-", 5) != 0) return false;
  const char *digits = name + 5;
  size_t n = strlen(digits);
  if (n == 0 || n > MAX_DIGITS || strspn(digits, "0123456789") != n || (digits[0] == '0' && n > 1)) return false;
  *step = strtoull(digits, NULL, 10);
  return true;
}

static int compare_steps(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return x < y ? -1 : x > y;
}

xcoder_status xci_checkpoint_list(const char *run, uint64_t **steps, size_t *n_steps, xcoder_error *err) {
  char *folder = NULL, **names = NULL;
  size_t n_names = 0;
  *steps = NULL;
  *n_steps = 0;
  xcoder_status status = xci_join_path(run, "checkpoints", &folder, err);
  if (!status && xci_is_folder(folder)) status = xci_list_folder(folder, &names, &n_names, err);
  if (!status) status = XCI_ALLOC(steps, n_names, err);
  for (size_t i = 0; i < n_names && !status; i++)
    if (parse_name(names[i], &(*steps)[*n_steps])) (*n_steps)++;
  if (!status && *n_steps > 1) qsort(*steps, *n_steps, sizeof **steps, compare_steps);
  xci_free_names(names, n_names);
  xci_free(folder);
  return status;
}

/* ---- Checks ---- */

static xcoder_status check_own_checksum(const char *path, const char *bytes, size_t n_bytes, xcoder_error *err) {
  char hash[33], end[64];
  size_t n_end = strlen(XCI_MANIFEST_END) - 2 + 32;
  if (n_bytes >= n_end) {
    xci_hash_bytes(bytes, n_bytes - n_end, hash);
    snprintf(end, sizeof end, XCI_MANIFEST_END, hash);
    if (memcmp(bytes + n_bytes - n_end, end, n_end) == 0) return XCODER_OK;
  }
  return xci_fail(err, XCODER_STATE, "%s: its checksum does not fit its contents: damaged or cut off", path);
}

static xcoder_status check_format(const char *path, const json_t *manifest, xcoder_error *err) {
  json_int_t format = json_integer_value(json_object_get(manifest, "format"));
  if (format == XCI_CHECKPOINT_FORMAT) return XCODER_OK;
  if (format > XCI_CHECKPOINT_FORMAT)
    return xci_fail(err, XCODER_UNSUPPORTED, "%s: made by format %" JSON_INTEGER_FORMAT ", this reads up to %d (use a "
                    "newer crosscoder)", path, format, XCI_CHECKPOINT_FORMAT);
  return xci_fail(err, XCODER_STATE, "%s: format %" JSON_INTEGER_FORMAT ", expected %d", path, format,
                  XCI_CHECKPOINT_FORMAT);
}

/* A checkpoint that was moved to another name would make the run continue from another step. */
static xcoder_status check_place(const char *folder, const json_t *manifest, xcoder_error *err) {
  size_t length = strlen(folder);
  while (length > 0 && folder[length - 1] == '/') length--;
  const char *name = folder + length;
  while (name > folder && name[-1] != '/') name--;
  uint64_t step;
  json_int_t own = json_integer_value(json_object_get(manifest, "step"));
  if (own >= 0 && (!parse_name(name, &step) || step == (uint64_t)own)) return XCODER_OK;
  return xci_fail(err, XCODER_STATE, "%s: holds step %" JSON_INTEGER_FORMAT, folder, own);
}

static xcoder_status check_file(const char *folder, const char *name, const json_t *entry, xcoder_error *err) {
  char *path = NULL, hash[33];
  uint64_t n_bytes = 0;
  const char *expected = json_string_value(json_object_get(entry, "xxh3_128"));
  json_int_t length = json_integer_value(json_object_get(entry, "bytes"));
  if (expected == NULL || strcmp(name, "state.safetensors") != 0)
    return xci_fail(err, XCODER_STATE, "%s/manifest.json: the list of files is not one of ours", folder);
  xcoder_status status = xci_join_path(folder, name, &path, err);
  if (!status) status = xci_hash_file(path, &n_bytes, hash, err);
  if (!status && (json_int_t)n_bytes != length)
    status = xci_fail(err, XCODER_STATE, "%s: %" PRIu64 " bytes, expected %" JSON_INTEGER_FORMAT, path, n_bytes,
                      length);
  if (!status && strcmp(hash, expected) != 0)
    status = xci_fail(err, XCODER_STATE, "%s: its checksum is %s, expected %s: damaged", path, hash, expected);
  xci_free(path);
  return status;
}

static xcoder_status check_files(const char *folder, const json_t *manifest, xcoder_error *err) {
  json_t *files = json_object_get(manifest, "files");
  if (json_object_size(files) != 1)
    return xci_fail(err, XCODER_STATE, "%s/manifest.json: the list of files is not one of ours", folder);
  void *first = json_object_iter(files);
  return check_file(folder, json_object_iter_key(first), json_object_iter_value(first), err);
}

/* Whatever is wrong with saved state is XCODER_STATE, unless it is newer than us or there was no memory to look. */
static xcoder_status as_state(xcoder_status status, xcoder_error *err) {
  if (!status || status == XCODER_MEMORY || status == XCODER_UNSUPPORTED) return status;
  if (err != NULL) err->status = XCODER_STATE;
  return XCODER_STATE;
}

xcoder_status xci_checkpoint_verify(const char *folder, json_t **manifest, xcoder_error *err) {
  char *path = NULL, *bytes = NULL;
  size_t n_bytes = 0;
  json_t *read = NULL;
  if (manifest != NULL) *manifest = NULL;
  xcoder_status status = xci_join_path(folder, "manifest.json", &path, err);
  if (!status) status = xci_read_file(path, MAX_MANIFEST_BYTES, &bytes, &n_bytes, err);
  if (!status) status = check_own_checksum(path, bytes, n_bytes, err);
  if (!status) status = xci_json_parse(bytes, n_bytes, path, 0, &read, err);
  if (!status) status = check_format(path, read, err);
  if (!status) status = check_place(folder, read, err);
  if (!status) status = check_files(folder, read, err);
  if (!status && manifest != NULL) *manifest = json_incref(read);
  json_decref(read);
  xci_free(bytes);
  xci_free(path);
  return as_state(status, err);
}

xcoder_status xci_checkpoint_newest(const char *run, char **folder, xcoder_error *err) {
  uint64_t *steps = NULL;
  size_t n_steps = 0;
  bool found = false;
  *folder = NULL;
  xcoder_status status = xci_checkpoint_list(run, &steps, &n_steps, err);
  if (!status && n_steps == 0)
    status = xci_fail(err, XCODER_MISSING, "%s: no crosscoder.safetensors and no checkpoint in this folder", run);
  for (size_t i = n_steps; i-- > 0 && !status && !found;) {
    status = xci_checkpoint_path(run, steps[i], "", folder, err);
    if (!status) status = xci_checkpoint_verify(*folder, NULL, err);
    found = !status;
    if (found) break;
    xci_free(*folder);
    *folder = NULL;
    if (status == XCODER_STATE && i > 0) status = XCODER_OK; /* the one before may be good; the last error stays */
  }
  xci_free(steps);
  return status;
}
