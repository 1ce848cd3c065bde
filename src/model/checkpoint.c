/* SPDX-License-Identifier: Apache-2.0 */
/* Finding a checkpoint: a folder, or ORG/NAME[@REVISION] in the local Hugging Face cache. Nothing is downloaded. */
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include <crosscoder/model.h>

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_REFERENCE_BYTES = 4096 };

/* `~` and `$NAME` as the cache's own tools expand them; an unset variable stays as written. */
static void expand(const char *text, xci_text *out) {
  const char *home = getenv("HOME");
  if (text[0] == '~' && (text[1] == '/' || text[1] == '\0') && home != NULL) {
    xci_text_add(out, home);
    text++;
  }
  while (*text != '\0') {
    size_t n = 0;
    char name[64];
    if (*text == '$')
      while (n + 1 < sizeof name && (isalnum((unsigned char)text[1 + n]) || text[1 + n] == '_')) {
        name[n] = text[1 + n];
        n++;
      }
    name[n] = '\0';
    const char *value = n > 0 ? getenv(name) : NULL;
    if (value != NULL) xci_text_add(out, value);
    else xci_text_append(out, text, n + 1);
    text += n + 1;
  }
}

/* The cache's root, by the first variable that is set. */
static xcoder_status find_root(xci_text *root, xcoder_error *err) {
  static const struct {
    const char *variable, *below;
  } places[] = {{"HF_HUB_CACHE", ""}, {"HUGGINGFACE_HUB_CACHE", ""}, {"HF_HOME", "/hub"},
                {"XDG_CACHE_HOME", "/huggingface/hub"}};
  for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
    const char *value = getenv(places[i].variable);
    if (value == NULL || value[0] == '\0') continue;
    expand(value, root);
    xci_text_add(root, places[i].below);
    return xci_text_status(root, err);
  }
  expand("~/.cache/huggingface/hub", root);
  return xci_text_status(root, err);
}

/* A relative path whose parts are neither empty nor "." nor "..": it cannot leave its folder. */
static bool stays_below(const char *path) {
  for (;;) {
    size_t n = strcspn(path, "/");
    if (n == 0 || (n == 1 && path[0] == '.') || (n == 2 && path[0] == '.' && path[1] == '.')) return false;
    if (path[n] == '\0') return true;
    path += n + 1;
  }
}

static bool is_commit(const char *text, size_t n) {
  if (n != 40) return false;
  for (size_t i = 0; i < n; i++) if (!isxdigit((unsigned char)text[i])) return false;
  return true;
}

/* The commit that refs/REVISION holds, or the revision itself where it is one. */
static xcoder_status find_commit(const char *repository, const char *revision, char commit[41], xcoder_error *err) {
  xci_text path = {0};
  char *bytes = NULL;
  size_t n = 0;
  xci_text_format(&path, "%s/refs/%s", repository, revision);
  xcoder_status status = xci_text_status(&path, err);
  if (!status && xci_exists(path.bytes)) {
    status = xci_read_file(path.bytes, MAX_REFERENCE_BYTES, &bytes, &n, err);
    while (!status && n > 0 && isspace((unsigned char)bytes[n - 1])) n--;
    if (!status && !is_commit(bytes, n))
      status = xci_fail(err, XCODER_FORMAT, "%s: expected a commit of 40 hexadecimal digits", path.bytes);
    if (!status) memcpy(commit, bytes, 40);
  } else if (!status && is_commit(revision, strlen(revision))) {
    memcpy(commit, revision, 40);
  } else if (!status) {
    status =
      xci_fail(err, XCODER_MISSING, "%s: there is no such revision in the cache (download it first)", path.bytes);
  }
  commit[40] = '\0';
  xci_free(bytes);
  xci_text_clear(&path);
  return status;
}

static xcoder_status find_snapshot(const char *spec, const char *repository, const char *revision, char **path,
                                   xcoder_error *err) {
  char commit[41];
  xci_text folder = {0};
  if (!xci_is_folder(repository))
    return xci_fail(err, XCODER_MISSING, "%s: neither a folder nor in the cache (looked for %s; nothing is downloaded)",
                    spec, repository);
  xcoder_status status = find_commit(repository, revision, commit, err);
  if (status) return status;
  xci_text_format(&folder, "%s/snapshots/%s", repository, commit);
  status = xci_text_status(&folder, err);
  if (!status && !xci_is_folder(folder.bytes))
    status = xci_fail(err, XCODER_MISSING, "%s: revision %s points to %s, which is not there", spec, revision,
                      folder.bytes);
  if (status) xci_text_clear(&folder);
  else *path = folder.bytes;
  return status;
}

xcoder_status xcoder_checkpoint_find(const char *spec, char **path, xcoder_error *err) {
  char *name = NULL;
  xci_text repository = {0};
  *path = NULL;
  if (xci_is_folder(spec)) return xci_copy_text(spec, path, err);
  xcoder_status status = xci_copy_text(spec, &name, err);
  if (status) return status;
  char *at = strchr(name, '@');
  const char *revision = at != NULL ? at + 1 : "main";
  if (at != NULL) *at = '\0';
  const char *slash = strchr(name, '/');
  if (!stays_below(name) || !stays_below(revision) || (slash != NULL && strchr(slash + 1, '/') != NULL)) {
    status = xci_fail(err, XCODER_MISSING, "%s: no such folder, and not of the form ORG/NAME[@REVISION]", spec);
  } else {
    status = find_root(&repository, err);
    xci_text_add(&repository, "/models--");
    if (slash != NULL) {
      xci_text_append(&repository, name, (size_t)(slash - name));
      xci_text_add(&repository, "--");
    }
    xci_text_add(&repository, slash != NULL ? slash + 1 : name);
    if (!status) status = xci_text_status(&repository, err);
    if (!status) status = find_snapshot(spec, repository.bytes, revision, path, err);
  }
  xci_text_clear(&repository);
  xci_free(name);
  return status;
}
