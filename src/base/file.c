/* SPDX-License-Identifier: Apache-2.0 */
/* Reading: read-only maps, whole files, folders. Only regular files are opened, and never by blocking. */
#include "base/file.h"

#include "base/memory.h"
#include "base/size.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { HASH_BYTES = 1 << 18 };

/* Opens a regular file for reading; a FIFO, device or folder is refused without waiting for it. */
xcoder_status xci_open_regular(const char *path, int *descriptor, uint64_t *n_bytes, xcoder_error *err) {
  char name[256];
  int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
  if (fd < 0) return xci_fail_errno(err, path, "cannot open");
  struct stat info;
  if (fstat(fd, &info)) {
    xcoder_status status = xci_fail_errno(err, path, "cannot stat");
    close(fd);
    return status;
  }
  if (!S_ISREG(info.st_mode)) {
    close(fd);
    return xci_fail(err, XCODER_FORMAT, "%s: found %s, expected a regular file",
                    xci_quote(name, sizeof name, path, strlen(path)),
                    S_ISDIR(info.st_mode) ? "a folder" : "a device, pipe or socket");
  }
  *descriptor = fd;
  *n_bytes = (uint64_t)info.st_size;
  return XCODER_OK;
}

xcoder_status xci_map_open(const char *path, xci_map *map, xcoder_error *err) {
  *map = (xci_map){(const unsigned char *)"", 0, NULL};
  int fd = -1;
  uint64_t n_bytes = 0;
  xcoder_status status = xci_open_regular(path, &fd, &n_bytes, err);
  if (status) return status;
  if (n_bytes > SIZE_MAX) status = xci_fail(err, XCODER_MEMORY, "%s: larger than the address space", path);
  if (!status && n_bytes > 0) {
    void *base = mmap(NULL, (size_t)n_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    if (base == MAP_FAILED)
      status = xci_fail_errno(err, path, "cannot map");
    else
      *map = (xci_map){base, (size_t)n_bytes, base};
  }
  close(fd);
  return status;
}

void xci_map_close(xci_map *map) {
  if (map->base) munmap(map->base, map->n_bytes);
  *map = (xci_map){(const unsigned char *)"", 0, NULL};
}

void xci_map_idle(const xci_map *map) {
#if defined(MADV_DONTNEED) /* glibc's posix_madvise() does nothing here */
  if (map->base) (void)madvise(map->base, map->n_bytes, MADV_DONTNEED);
#else
  (void)map;
#endif
}

static xcoder_status read_all(int fd, const char *path, char *bytes, size_t n_bytes, xcoder_error *err) {
  size_t done = 0;
  while (done < n_bytes) {
    ssize_t n = read(fd, bytes + done, n_bytes - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return xci_fail_errno(err, path, "cannot read");
    if (n == 0)
      return xci_fail(err, XCODER_IO, "%s: byte %zu: end of file, expected %zu bytes (changed while reading?)", path,
                      done, n_bytes);
    done += (size_t)n;
  }
  return XCODER_OK;
}

xcoder_status xci_read_file(const char *path, size_t max_bytes, char **bytes, size_t *n_bytes, xcoder_error *err) {
  *bytes = NULL;
  *n_bytes = 0;
  int fd = -1;
  uint64_t size = 0;
  xcoder_status status = xci_open_regular(path, &fd, &size, err);
  if (status) return status;
  char name[256];
  if (size > max_bytes)
    status = xci_fail(err, XCODER_FORMAT, "%s: %llu bytes, expected at most %zu",
                      xci_quote(name, sizeof name, path, strlen(path)), (unsigned long long)size, max_bytes);
  if (!status) status = xci_alloc((size_t)size + 1, 1, (void **)bytes, err);
  if (!status) status = read_all(fd, path, *bytes, (size_t)size, err);
  close(fd);
  if (status) {
    xci_free(*bytes);
    *bytes = NULL;
    return status;
  }
  *n_bytes = (size_t)size;
  return XCODER_OK;
}

/* Adds what is left of `fd` to the hash; counts the bytes. */
static xcoder_status hash_all(int fd, const char *path, xci_hash *hash, uint64_t *n_bytes, xcoder_error *err) {
  char *buffer = NULL;
  xcoder_status status = xci_alloc(HASH_BYTES, 1, (void **)&buffer, err);
  while (!status) {
    ssize_t n = read(fd, buffer, HASH_BYTES);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) status = xci_fail_errno(err, path, "cannot read");
    if (n <= 0) break;
    xci_hash_add(hash, buffer, (size_t)n);
    *n_bytes += (uint64_t)n;
  }
  xci_free(buffer);
  return status;
}

xcoder_status xci_hash_file(const char *path, uint64_t *n_bytes, char hex[33], xcoder_error *err) {
  int fd = -1;
  uint64_t size = 0, n_read = 0;
  xci_hash *hash = NULL;
  xcoder_status status = xci_open_regular(path, &fd, &size, err);
  if (status) return status;
  status = xci_hash_open(&hash, err);
  if (!status) status = hash_all(fd, path, hash, &n_read, err);
  xci_hash_close(hash, status ? NULL : hex);
  close(fd);
  if (!status && n_bytes) *n_bytes = n_read;
  return status;
}

bool xci_exists(const char *path) {
  struct stat info;
  return stat(path, &info) == 0;
}

bool xci_is_folder(const char *path) {
  struct stat info;
  return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

xcoder_status xci_join_path(const char *folder, const char *name, char **path, xcoder_error *err) {
  size_t a = strlen(folder), b = strlen(name);
  bool slash = a > 0 && folder[a - 1] != '/';
  xcoder_status status = xci_alloc(a + b + 2, 1, (void **)path, err);
  if (status) return status;
  memcpy(*path, folder, a);
  if (slash) (*path)[a++] = '/';
  memcpy(*path + a, name, b + 1);
  return XCODER_OK;
}

static int compare_names(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

xcoder_status xci_list_folder(const char *path, char ***names, size_t *n_names, xcoder_error *err) {
  *names = NULL;
  *n_names = 0;
  DIR *folder = opendir(path);
  if (!folder) return xci_fail_errno(err, path, "cannot open folder");
  char **list = NULL;
  size_t n = 0, capacity = 0;
  xcoder_status status = XCODER_OK;
  while (!status) {
    errno = 0;
    struct dirent *entry = readdir(folder);
    if (!entry && errno) status = xci_fail_errno(err, path, "cannot read folder");
    if (!entry) break;
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    status = xci_grow((void **)&list, &capacity, n + 1, sizeof *list, err);
    if (!status) status = xci_copy_text(entry->d_name, &list[n], err);
    if (!status) n++;
  }
  closedir(folder);
  if (status) {
    xci_free_names(list, n);
    return status;
  }
  if (n > 1) qsort(list, n, sizeof *list, compare_names);
  *names = list;
  *n_names = n;
  return XCODER_OK;
}

void xci_free_names(char **names, size_t n_names) {
  for (size_t i = 0; i < n_names; i++) xci_free(names[i]);
  xci_free(names);
}

uint64_t xci_free_disk_bytes(const char *path) {
  char *copy = NULL;
  if (xci_copy_text(*path ? path : ".", &copy, NULL)) return UINT64_MAX;
  uint64_t result = UINT64_MAX;
  for (;;) { /* the nearest parent that exists */
    struct statvfs info;
    if (statvfs(copy, &info) == 0) {
      result = (uint64_t)info.f_bavail * (uint64_t)info.f_frsize;
      break;
    }
    char *slash = strrchr(copy, '/');
    if (!slash && strcmp(copy, ".") == 0) break;
    if (!slash) strcpy(copy, ".");
    if (slash) slash[slash == copy ? 1 : 0] = '\0';
    if (slash == copy && statvfs("/", &info) != 0) break;
  }
  xci_free(copy);
  return result;
}
