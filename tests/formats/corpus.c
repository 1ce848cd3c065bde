/* SPDX-License-Identifier: Apache-2.0 */
/* What the tables of the corpus share. */
#include "corpus.h"

#include "base/bytes.h"
#include <stdio.h>
#include <sys/types.h>
#include <unistd.h>

void corpus_add_u64(xci_text *file, uint64_t value) {
  char bytes[8];
  xci_store_u64(bytes, value);
  xci_text_append(file, bytes, sizeof bytes);
}

void corpus_repeat(xci_text *file, const char *text, size_t count) {
  for (size_t i = 0; i < count; i++) xci_text_add(file, text);
}

void corpus_make(const corpus_format *format, const corpus_case *entry, xci_text *file) {
  if (entry->make) entry->make(file);
  else if (entry->text) format->wrap(entry, file);
}

int corpus_write_bytes(const char *path, const char *bytes, size_t n_bytes, uint64_t sparse_bytes) {
  remove(path); /* some file systems sync a file that is truncated and written anew */
  FILE *out = fopen(path, "wb");
  if (!out) return 0;
  int ok = fwrite(bytes ? bytes : "", 1, n_bytes, out) == n_bytes && !fflush(out);
  if (ok && sparse_bytes) ok = !ftruncate(fileno(out), (off_t)sparse_bytes);
  return !fclose(out) && ok;
}

int corpus_write(const corpus_format *format, const corpus_case *entry, const char *path) {
  xci_text file = {0};
  corpus_make(format, entry, &file);
  int ok = !xci_text_status(&file, NULL) && corpus_write_bytes(path, file.bytes, file.n_bytes, entry->sparse_bytes);
  xci_text_clear(&file);
  return ok;
}
