/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes the reader of torch.save files: what it accepts must be readable to the last byte. */
#include "base/file.h"
#include "formats/torch_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static void read_tensor(const xci_torch *file, const xci_tensor *tensor) {
  static volatile unsigned sink;
  unsigned sum = 0;
  for (size_t i = 0; i < tensor->n_bytes; i++) sum += tensor->bytes[i];
  sink = sum;
  (void)sink;
  if (xci_torch_find(file, tensor->name) != tensor) abort();
  if (tensor->n_bytes != tensor->n_values * xci_dtype_bytes(tensor->dtype)) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
  char path[64];
  xcoder_error error = {0};
  xci_torch *file;
  int fd = memfd_create("fuzz", MFD_CLOEXEC);
  if (fd < 0 || write(fd, data, n_bytes) != (ssize_t)n_bytes) abort();
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  if (!xci_torch_open(path, &file, &error)) {
    for (size_t i = 0; i < xci_torch_count(file); i++) read_tensor(file, xci_torch_at(file, i));
    xci_torch_close(file);
  } else if (file || !error.message[0] || strchr(error.message, '\n')) {
    abort(); /* a refusal is one line */
  }
  close(fd);
  return 0;
}
