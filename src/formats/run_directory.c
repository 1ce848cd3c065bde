/* SPDX-License-Identifier: Apache-2.0 */
/* The run directory: one process at a time, no leftovers, and a first write that shows early that writing works. */
#include <crosscoder/run.h>

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/size.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Open-file-description locks die with their owner and are not lost when another descriptor is closed; record locks
 * are the fallback of systems without them. */
#ifdef F_OFD_SETLK
enum { SET_LOCK = F_OFD_SETLK };
#else
enum { SET_LOCK = F_SETLK };
#endif

enum { OWNER_BYTES = 320, MAX_DEPTH = 8 };
static const size_t default_read_bytes = (size_t)64 << 20;

struct xcoder_run {
  char *path, *lock_path;
  char *first_made; /* the outermost folder that opening made, or NULL */
  int lock;         /* -1: none */
};

/* Removes the last component: false when none is left. */
static bool cut_component(char *path) {
  char *slash = strrchr(path, '/');
  while (slash && slash > path && !slash[1]) { /* trailing slashes */
    *slash = '\0';
    slash = strrchr(path, '/');
  }
  if (!slash || slash == path) return false;
  while (slash > path && slash[-1] == '/') slash--;
  if (slash == path) return false;
  *slash = '\0';
  return true;
}

/* Makes the folder and remembers what was made, so that a run that fails at once leaves nothing behind. */
static xcoder_status make_run_folder(xcoder_run *run, xcoder_error *err) {
  char *parent = NULL;
  if (xci_exists(run->path) && !xci_is_folder(run->path))
    return xci_fail(err, XCODER_IO, "%s: is a file, a folder is needed", run->path);
  xcoder_status status = xci_copy_text(run->path, &parent, err);
  while (!status && !xci_exists(parent)) {
    xci_free(run->first_made);
    run->first_made = NULL;
    status = xci_copy_text(parent, &run->first_made, err);
    if (!cut_component(parent)) break;
  }
  xci_free(parent);
  return status ? status : xci_make_folder(run->path, err);
}

/* Removes empty folders that opening made, from the inside out. */
static void remove_made_folders(const xcoder_run *run) {
  char *path = NULL;
  if (!run->first_made || xci_copy_text(run->path, &path, NULL)) return;
  size_t outermost = strlen(run->first_made);
  while (strlen(path) >= outermost && !rmdir(path))
    if (!cut_component(path)) break;
  xci_free(path);
}

static xcoder_status fail_locked(const xcoder_run *run, xcoder_error *err) {
  char owner[OWNER_BYTES], quoted[XCODER_ERROR_BYTES];
  ssize_t n = pread(run->lock, owner, sizeof owner - 1, 0);
  owner[n > 0 ? n : 0] = '\0';
  size_t length = strcspn(owner, "\n");
  return xci_fail(err, XCODER_LOCKED, "%s: in use by %s", run->path,
                  length ? xci_quote(quoted, sizeof quoted, owner, length) : "another process");
}

/* True if `run->lock` is still the file that lies at lock_path (the last owner may have removed it meanwhile). */
static bool lock_is_current(const xcoder_run *run) {
  struct stat held, named;
  return !fstat(run->lock, &held) && !lstat(run->lock_path, &named) && held.st_ino == named.st_ino &&
         held.st_dev == named.st_dev;
}

static xcoder_status take_lock(xcoder_run *run, xcoder_error *err) {
  for (;;) {
    run->lock = open(run->lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
    if (run->lock < 0) return xci_fail_errno(err, run->lock_path, "cannot open");
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(run->lock, SET_LOCK, &whole)) {
      if (errno == EAGAIN || errno == EACCES) return fail_locked(run, err);
      return xci_fail_errno(err, run->lock_path, "cannot lock");
    }
    if (lock_is_current(run)) return XCODER_OK;
    close(run->lock);
    run->lock = -1;
  }
}

/* Writes who holds the lock. */
static xcoder_status name_owner(const xcoder_run *run, xcoder_error *err) {
  char host[256] = "", owner[OWNER_BYTES];
  if (gethostname(host, sizeof host - 1)) host[0] = '\0';
  int n = snprintf(owner, sizeof owner, "process %ld on %s\n", (long)getpid(), host[0] ? host : "an unnamed host");
  size_t length = n > 0 ? xci_min_size((size_t)n, sizeof owner - 1) : 0;
  if (ftruncate(run->lock, 0) || pwrite(run->lock, owner, length, 0) != (ssize_t)length)
    return xci_fail_errno(err, run->lock_path, "cannot write");
  return XCODER_OK;
}

/* The marks of an unfinished write: NAME.tmp-DIGITS. */
static bool is_temporary(const char *name) {
  const char *mark = strstr(name, ".tmp-");
  return mark && mark[5] && !mark[5 + strspn(mark + 5, "0123456789")];
}

static bool is_real_folder(const char *path) {
  struct stat found;
  return !lstat(path, &found) && S_ISDIR(found.st_mode);
}

static xcoder_status remove_temporary(const char *path, xcoder_error *err) {
  if (is_real_folder(path)) return xci_remove_folder(path, err);
  if (unlink(path) && errno != ENOENT) return xci_fail_errno(err, path, "cannot remove");
  return XCODER_OK;
}

/* Recursion goes at most MAX_DEPTH deep; links are not followed. */
static xcoder_status remove_leftovers(const char *folder, int depth, xcoder_error *err) {
  char **names = NULL;
  size_t n_names = 0;
  xcoder_status status = xci_list_folder(folder, &names, &n_names, err);
  for (size_t i = 0; i < n_names && !status; i++) {
    char *path = NULL;
    status = xci_join_path(folder, names[i], &path, err);
    if (!status && is_temporary(names[i])) status = remove_temporary(path, err);
    else if (!status && depth < MAX_DEPTH && is_real_folder(path)) status = remove_leftovers(path, depth + 1, err);
    xci_free(path);
  }
  xci_free_names(names, n_names);
  return status;
}

/* A folder may be read-only although its lock file can be written: make and remove one file. */
static xcoder_status probe_writing(const xcoder_run *run, xcoder_error *err) {
  char *path = NULL;
  xci_writer *probe = NULL;
  xcoder_status status = xci_join_path(run->path, ".probe", &path, err);
  if (!status) status = xci_writer_open(path, &probe, err);
  if (!status) status = xci_writer_write(probe, "probe\n", 6, err);
  xci_writer_abort(probe);
  xci_free(path);
  return status;
}

xcoder_status xcoder_run_open(const char *path, xcoder_run **run, xcoder_error *err) {
  xcoder_run *opened = NULL;
  *run = NULL;
  xcoder_status status = XCI_ALLOC(&opened, 1, err);
  if (status) return status;
  opened->lock = -1;
  status = xci_copy_text(path, &opened->path, err);
  if (!status) status = xci_join_path(path, ".lock", &opened->lock_path, err);
  if (!status) status = make_run_folder(opened, err);
  if (!status) status = take_lock(opened, err);
  if (status && opened->lock >= 0) {
    /* Somebody else's lock: closing must not remove it. */
    close(opened->lock);
    opened->lock = -1;
  }
  if (!status) status = name_owner(opened, err);
  if (!status) status = probe_writing(opened, err);
  if (!status) status = remove_leftovers(path, 0, err);
  if (!status) *run = opened;
  else xcoder_run_close(opened);
  return status;
}

void xcoder_run_close(xcoder_run *run) {
  if (!run) return;
  if (run->lock >= 0) {
    /* Removed while it is held, so that nobody can hold a lock on a file that is gone without noticing. */
    unlink(run->lock_path);
    close(run->lock);
  }
  if (run->path) remove_made_folders(run);
  xci_free(run->first_made);
  xci_free(run->lock_path);
  xci_free(run->path);
  xci_free(run);
}

xcoder_status xcoder_write_file(const char *path, const void *bytes, size_t n_bytes, xcoder_error *err) {
  char *folder = NULL;
  xci_writer *writer = NULL;
  xcoder_status status = xci_copy_text(path, &folder, err);
  if (!status && cut_component(folder)) status = xci_make_folder(folder, err);
  if (!status) status = xci_writer_open(path, &writer, err);
  if (!status) status = xci_writer_write(writer, bytes, n_bytes, err);
  if (!status) {
    status = xci_writer_commit(writer, err);
    writer = NULL;
  }
  xci_writer_abort(writer);
  xci_free(folder);
  return status;
}

xcoder_status xcoder_read_file(const char *path, size_t max_bytes, char **bytes, size_t *n_bytes, xcoder_error *err) {
  return xci_read_file(path, max_bytes ? max_bytes : default_read_bytes, bytes, n_bytes, err);
}

xcoder_status xcoder_hash_file(const char *path, char hex[33], xcoder_error *err) {
  return xci_hash_file(path, NULL, hex, err);
}
