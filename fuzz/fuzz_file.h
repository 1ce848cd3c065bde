/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz targets whose reader takes a path: the input in a temporary file under a chosen name. */
#ifndef FUZZ_FILE_H
#define FUZZ_FILE_H

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char fuzz_folder[64];

static inline void fuzz_remove_folder(void) {
  char path[128];
  static const char *const names[] = {"input.json", "input.jsonl", "input.txt",  "input", "input.npy", "input.bin",
                                      "input.idx",  "input.tsv",   "a.safetensors", "model.safetensors.index.json"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    snprintf(path, sizeof path, "%s/%s", fuzz_folder, names[i]);
    unlink(path);
  }
  rmdir(fuzz_folder);
}

/* Writes the input and returns its path, which lives until the next call. */
static inline const char *fuzz_file(const char *name, const uint8_t *data, size_t n_bytes) {
  static char path[128];
  if (!fuzz_folder[0]) {
    snprintf(fuzz_folder, sizeof fuzz_folder, "%s/xcoder-fuzz-XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
    if (!mkdtemp(fuzz_folder)) abort();
    atexit(fuzz_remove_folder);
  }
  snprintf(path, sizeof path, "%s/%s", fuzz_folder, name);
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0 || write(fd, data, n_bytes) != (ssize_t)n_bytes) abort();
  close(fd);
  return path;
}

#endif
