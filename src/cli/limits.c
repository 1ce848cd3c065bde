/* SPDX-License-Identifier: Apache-2.0 */
/* What this machine has left, so that a command can refuse before it fails. */
#include "setting.h"
#include "text.h"

#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>

/* A number in a small file of the kernel; `key` starts its line (NULL: the file is the number). DBL_MAX if absent. */
static double read_number(const char *path, const char *key) {
  FILE *file = fopen(path, "re");
  char line[256];
  double number = DBL_MAX;
  while (file && fgets(line, sizeof line, file)) {
    size_t n = key ? strlen(key) : 0;
    char *end = NULL;
    if (key && strncmp(line, key, n) != 0)
      continue;
    double value = strtod(line + n, &end);
    if (end != line + n)
      number = value;
    break;
  }
  if (file)
    fclose(file);
  return number;
}

double cli_available_memory(void) {
  double least = read_number("/proc/meminfo", "MemAvailable:");
  if (least < DBL_MAX)
    least *= 1024;
  double limits[2] = {read_number("/sys/fs/cgroup/memory.max", NULL),
                      read_number("/sys/fs/cgroup/memory/memory.limit_in_bytes", NULL)};
  for (size_t i = 0; i < 2; i++)
    least = limits[i] < least ? limits[i] : least;
  struct rlimit limit;
  if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && (double)limit.rlim_cur < least)
    least = (double)limit.rlim_cur;
  return least;
}

xcoder_status cli_check_memory(const cli_values *values, double bytes, const char *hint, xcoder_error *err) {
  double limit = (double)cli_integer(values, OPT_MAX_MEMORY), machine = cli_available_memory();
  char need[32], have[32];
  cli_size(bytes, need);
  if (limit > 0 && bytes > limit)
    return cli_fail(err, XCODER_MEMORY, "%s of memory are needed, --max-memory allows %s (%s)", need,
                    cli_size(limit, have), hint);
  if (limit <= 0 && bytes > machine)
    return cli_fail(err, XCODER_MEMORY, "%s of memory are needed, %s are available (%s; --max-memory to try all the "
                    "same)", need, cli_size(machine, have), hint);
  return XCODER_OK;
}

xcoder_status cli_check_disk(const char *path, double bytes, xcoder_error *err) {
  struct statvfs disk;
  char *folder = cli_copy(path);
  while (folder && statvfs(folder, &disk) != 0) { /* the nearest folder that is there */
    char *parent = strcmp(folder, "/") == 0 || strcmp(folder, ".") == 0 ? NULL : cli_folder_of(folder);
    free(folder);
    folder = parent;
  }
  if (!folder)
    return XCODER_OK;
  free(folder);
  double left = (double)disk.f_bavail * (double)disk.f_frsize;
  char need[32], have[32];
  if (bytes > left)
    return cli_fail(err, XCODER_MEMORY, "%s: %s of disk are needed, %s are free", path, cli_size(bytes, need),
                    cli_size(left, have));
  return XCODER_OK;
}
