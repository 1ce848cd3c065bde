/* SPDX-License-Identifier: Apache-2.0 */
/* Writes the corpus to FOLDER/FORMAT/NAME.SUFFIX, with FOLDER/manifest.tsv: path, status, words of the message.
 * `--small` leaves out files of more than 64 KiB (seeds of fuzzers). */
#include "base/file.h"
#include "corpus.h"

#include <stdio.h>
#include <string.h>

enum { SMALL_BYTES = 65536 };

/* Returns false if writing fails. */
static bool write_format(const corpus_format *format, const char *folder, bool small, FILE *manifest) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%s", folder, format->name);
  if (xci_make_folder(path, NULL)) return false;
  for (const corpus_case *entry = format->cases; entry->name; entry++) {
    xci_text file = {0};
    corpus_make(format, entry, &file);
    bool ok = !xci_text_status(&file, NULL), wanted = !small || (file.n_bytes <= SMALL_BYTES && !entry->sparse_bytes);
    snprintf(path, sizeof path, "%s/%s/%s.%s", folder, format->name, entry->name, format->suffix);
    if (ok && wanted) {
      ok = corpus_write_bytes(path, file.bytes, file.n_bytes, entry->sparse_bytes);
      fprintf(manifest, "%s/%s.%s\t%s\t%s\n", format->name, entry->name, format->suffix,
              xcoder_status_name(entry->expected), entry->words ? entry->words : "");
    }
    xci_text_clear(&file);
    if (!ok) return false;
  }
  return true;
}

int main(int argc, char **argv) {
  static const corpus_format *const formats[] = {&corpus_safetensors, &corpus_npy, &corpus_json};
  bool small = argc == 3 && !strcmp(argv[2], "--small"), ok = true;
  char path[4096];
  if (argc < 2 || (argc > 2 && !small)) {
    fprintf(stderr, "usage: write_corpus FOLDER [--small]\n");
    return 2;
  }
  snprintf(path, sizeof path, "%s/manifest.tsv", argv[1]);
  if (xci_make_folder(argv[1], NULL)) return 1;
  FILE *manifest = fopen(path, "w");
  if (!manifest) return 1;
  for (size_t i = 0; i < sizeof formats / sizeof *formats && ok; i++)
    ok = write_format(formats[i], argv[1], small, manifest);
  ok = !fclose(manifest) && ok;
  if (!ok) fprintf(stderr, "write_corpus: cannot write to %s\n", argv[1]);
  return !ok;
}
