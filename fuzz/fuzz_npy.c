/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes the npy reader: what it accepts has exactly the bytes that type and shape need. */
#include "formats/npy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
  static volatile unsigned sink;
  char path[64];
  xcoder_error error = {0};
  xci_npy npy;
  int fd = memfd_create("fuzz", MFD_CLOEXEC); /* the reader opens paths: a file in memory has one */
  if (fd < 0 || write(fd, data, n_bytes) != (ssize_t)n_bytes) abort();
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  if (!xci_npy_open(path, &npy, &error)) {
    unsigned sum = 0;
    size_t n_values = 1;
    for (size_t i = 0; i < npy.rank; i++) n_values *= npy.shape[i];
    if (n_values != npy.n_values || npy.n_bytes != n_values * xci_dtype_bytes(npy.dtype)) abort();
    for (size_t i = 0; i < npy.n_bytes; i++) sum += npy.bytes[i];
    sink = sum;
    (void)sink;
    xci_npy_close(&npy);
  } else if (!error.message[0] || strchr(error.message, '\n')) {
    abort();
  }
  close(fd);
  return 0;
}
