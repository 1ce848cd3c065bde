/* SPDX-License-Identifier: Apache-2.0 */
/* Writing so that a crash or a power cut never leaves half a file: temporary file, fsync, rename, fsync of the folder.
 * A failed fsync is final for that file: the kernel may have dropped the pages, so it is never tried again. */
#include "base/file.h"

#include "base/memory.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUFFER_BYTES = 1 << 16 };

struct xci_writer {
  int fd;
  char *path, *temporary; /* temporary is NULL for an append-only log */
  uint64_t n_bytes;       /* written or buffered so far, from the start of the file */
  size_t n_buffered;
  char buffer[BUFFER_BYTES];
};

static void free_writer(xci_writer *writer) {
  if (writer->fd >= 0) close(writer->fd);
  xci_free(writer->path);
  xci_free(writer->temporary);
  xci_free(writer);
}

static xcoder_status write_all(int fd, const char *path, const char *bytes, size_t n_bytes, xcoder_error *err) {
  while (n_bytes > 0) {
    ssize_t n = write(fd, bytes, n_bytes);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return xci_fail_errno(err, path, "cannot write");
    bytes += n;
    n_bytes -= (size_t)n;
  }
  return XCODER_OK;
}

static xcoder_status flush(xci_writer *writer, xcoder_error *err) {
  size_t n = writer->n_buffered;
  writer->n_buffered = 0;
  return write_all(writer->fd, writer->path, writer->buffer, n, err);
}

/* The folder of a path: "." when it has none. */
static xcoder_status parent_of(const char *path, char **parent, xcoder_error *err) {
  xcoder_status status = xci_copy_text(path, parent, err);
  if (status) return status;
  size_t length = strlen(*parent);
  while (length > 1 && (*parent)[length - 1] == '/') (*parent)[--length] = '\0';
  char *slash = strrchr(*parent, '/');
  if (slash) {
    slash[slash == *parent ? 1 : 0] = '\0';
    return XCODER_OK;
  }
  xci_free(*parent);
  return xci_copy_text(".", parent, err);
}

static xcoder_status sync_folder(const char *path, xcoder_error *err) {
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return xci_fail_errno(err, path, "cannot open folder");
  xcoder_status status = XCODER_OK;
  if (fsync(fd) && errno != EINVAL) status = xci_fail_errno(err, path, "cannot sync folder");
  close(fd);
  return status;
}

static xcoder_status make_writer(const char *path, xci_writer **writer, xcoder_error *err) {
  xcoder_status status = XCI_ALLOC(writer, 1, err);
  if (status) return status;
  (*writer)->fd = -1;
  status = xci_copy_text(path, &(*writer)->path, err);
  if (!status) return XCODER_OK;
  free_writer(*writer);
  *writer = NULL;
  return status;
}

xcoder_status xci_writer_open(const char *path, xci_writer **out, xcoder_error *err) {
  xci_writer *writer;
  *out = NULL;
  xcoder_status status = make_writer(path, &writer, err);
  if (status) return status;
  size_t room = strlen(path) + 32;
  status = xci_alloc(room, 1, (void **)&writer->temporary, err);
  if (!status) {
    snprintf(writer->temporary, room, "%s.tmp-%ld", path, (long)getpid());
    writer->fd = open(writer->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (writer->fd < 0) {
      xci_fail_errno(err, path, "cannot create");
      status = errno == ENOMEM ? XCODER_MEMORY : XCODER_IO; /* a missing folder for an output is not a missing input */
      if (err) err->status = status;
    }
  }
  if (status) {
    free_writer(writer);
    return status;
  }
  *out = writer;
  return XCODER_OK;
}

xcoder_status xci_writer_write(xci_writer *writer, const void *bytes, size_t n_bytes, xcoder_error *err) {
  writer->n_bytes += n_bytes;
  if (writer->n_buffered + n_bytes > BUFFER_BYTES) {
    xcoder_status status = flush(writer, err);
    if (status) return status;
  }
  if (n_bytes > BUFFER_BYTES) return write_all(writer->fd, writer->path, bytes, n_bytes, err);
  if (n_bytes) memcpy(writer->buffer + writer->n_buffered, bytes, n_bytes);
  writer->n_buffered += n_bytes;
  return XCODER_OK;
}

xcoder_status xci_writer_commit(xci_writer *writer, xcoder_error *err) {
  char *parent = NULL;
  xcoder_status status = flush(writer, err);
  if (!status && fsync(writer->fd)) status = xci_fail_errno(err, writer->path, "cannot sync");
  int closed = close(writer->fd);
  writer->fd = -1;
  if (!status && closed) status = xci_fail_errno(err, writer->path, "cannot close");
  if (!status) status = parent_of(writer->path, &parent, err);
  if (!status && rename(writer->temporary, writer->path)) {
    status = xci_fail_errno(err, writer->path, "cannot rename to");
    if (status == XCODER_MISSING) status = XCODER_IO;
  }
  if (!status) {
    status = sync_folder(parent, err);
    xci_free(writer->temporary);
    writer->temporary = NULL;
  }
  xci_free(parent);
  xci_writer_abort(writer);
  return status;
}

void xci_writer_abort(xci_writer *writer) {
  if (!writer) return;
  if (writer->temporary) unlink(writer->temporary);
  free_writer(writer);
}

xcoder_status xci_append_open(const char *path, uint64_t keep_bytes, xci_writer **out, xcoder_error *err) {
  xci_writer *writer;
  *out = NULL;
  xcoder_status status = make_writer(path, &writer, err);
  if (status) return status;
  writer->fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (writer->fd < 0 || ftruncate(writer->fd, (off_t)keep_bytes) || lseek(writer->fd, 0, SEEK_END) < 0) {
    xci_fail_errno(err, path, "cannot open for appending");
    status = XCODER_IO;
    free_writer(writer);
    return status;
  }
  writer->n_bytes = keep_bytes;
  *out = writer;
  return XCODER_OK;
}

xcoder_status xci_append_sync(xci_writer *writer, uint64_t *n_bytes, xcoder_error *err) {
  xcoder_status status = flush(writer, err);
  if (!status && fsync(writer->fd)) status = xci_fail_errno(err, writer->path, "cannot sync");
  if (!status && n_bytes) *n_bytes = writer->n_bytes;
  return status;
}

xcoder_status xci_append_close(xci_writer *writer, xcoder_error *err) {
  if (!writer) return XCODER_OK;
  xcoder_status status = xci_append_sync(writer, NULL, err);
  free_writer(writer);
  return status;
}

xcoder_status xci_make_folder(const char *path, xcoder_error *err) {
  char *copy;
  xcoder_status status = xci_copy_text(path, &copy, err);
  if (status) return status;
  for (char *p = copy + 1; !status && *p; p++) {
    if (*p != '/') continue;
    *p = '\0';
    if (mkdir(copy, 0777) && errno != EEXIST) status = xci_fail_errno(err, copy, "cannot make folder");
    *p = '/';
  }
  if (!status && mkdir(copy, 0777) && errno != EEXIST) status = xci_fail_errno(err, copy, "cannot make folder");
  if (!status && !xci_is_folder(copy)) {
    errno = ENOTDIR;
    status = xci_fail_errno(err, copy, "cannot make folder");
  }
  if (status == XCODER_MISSING) {
    status = XCODER_IO;
    if (err) err->status = status;
  }
  xci_free(copy);
  return status;
}

static xcoder_status sync_file(const char *path, xcoder_error *err) {
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return xci_fail_errno(err, path, "cannot open");
  xcoder_status status = XCODER_OK;
  if (fsync(fd)) status = xci_fail_errno(err, path, "cannot sync");
  close(fd);
  return status;
}

xcoder_status xci_publish_folder(const char *temporary, const char *final, xcoder_error *err) {
  char **names = NULL, *parent = NULL;
  size_t n_names = 0;
  xcoder_status status = xci_list_folder(temporary, &names, &n_names, err);
  for (size_t i = 0; !status && i < n_names; i++) {
    char *path = NULL;
    status = xci_join_path(temporary, names[i], &path, err);
    if (!status) status = sync_file(path, err);
    xci_free(path);
  }
  if (!status) status = sync_folder(temporary, err);
  if (!status) status = parent_of(final, &parent, err);
  if (!status && rename(temporary, final)) status = xci_fail_errno(err, final, "cannot rename to");
  if (!status) status = sync_folder(parent, err);
  xci_free_names(names, n_names);
  xci_free(parent);
  return status;
}

/* `depth` bounds the recursion; folders we make are two deep. */
static xcoder_status remove_tree(const char *path, int depth, xcoder_error *err) {
  struct stat info;
  if (lstat(path, &info)) return errno == ENOENT ? XCODER_OK : xci_fail_errno(err, path, "cannot stat");
  if (!S_ISDIR(info.st_mode)) return unlink(path) ? xci_fail_errno(err, path, "cannot remove") : XCODER_OK;
  if (depth == 0) return xci_fail(err, XCODER_IO, "%s: folders nested deeper than expected", path);
  char **names = NULL;
  size_t n_names = 0;
  xcoder_status status = xci_list_folder(path, &names, &n_names, err);
  for (size_t i = 0; !status && i < n_names; i++) {
    char *child = NULL;
    status = xci_join_path(path, names[i], &child, err);
    if (!status) status = remove_tree(child, depth - 1, err);
    xci_free(child);
  }
  xci_free_names(names, n_names);
  if (!status && rmdir(path)) status = xci_fail_errno(err, path, "cannot remove folder");
  return status;
}

xcoder_status xci_remove_folder(const char *path, xcoder_error *err) { return remove_tree(path, 8, err); }
