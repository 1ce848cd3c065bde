/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes the safetensors reader: what it accepts must be readable to the last byte and survive a rewrite. */
#include "base/file.h"
#include "formats/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

/* The reader opens paths: a file in memory has one. */
static int memory_file(const uint8_t *data, size_t n_bytes, char path[64]) {
  int fd = memfd_create("fuzz", MFD_CLOEXEC);
  if (fd < 0 || write(fd, data, n_bytes) != (ssize_t)n_bytes) abort();
  snprintf(path, 64, "/proc/self/fd/%d", fd);
  return fd;
}

static void read_tensor(const xci_safetensors *file, const xci_tensor *tensor) {
  static volatile unsigned sink;
  unsigned sum = 0;
  size_t width = xci_dtype_bytes(tensor->dtype);
  for (size_t i = 0; i < tensor->n_bytes; i++) sum += tensor->bytes[i];
  sink = sum;
  (void)sink;
  if (xci_safetensors_find(file, tensor->name) != tensor) abort();
  if (width && tensor->n_bytes != tensor->n_values * width) abort();
  if (!width) return;
  void *values = malloc(tensor->n_values * 8 + 1);
  if (!values) return;
  if (!xci_tensor_to_f32(tensor, values, NULL) && !xci_tensor_to_i64(tensor, values, NULL)) abort();
  free(values);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
  char path[64];
  xcoder_error error = {0};
  xci_safetensors *file;
  int fd = memory_file(data, n_bytes, path);
  if (!xci_safetensors_open(path, &file, &error)) {
    for (size_t i = 0; i < xci_safetensors_count(file); i++) read_tensor(file, xci_safetensors_at(file, i));
    (void)xci_safetensors_metadata(file, "format");
    xci_safetensors_close(file);
  } else if (file || !error.message[0] || strchr(error.message, '\n')) {
    abort(); /* a refusal is one line */
  }
  close(fd);
  return 0;
}
