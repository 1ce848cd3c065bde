/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes corpora and minimal pairs: JSON lines and text, plain, gzip and zstd, under both policies for bad lines. */
#include "fuzz_file.h"

#include "base/text.h"
#include <crosscoder.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static const char tokenizer_json[] =
  "{\"added_tokens\":[{\"id\":4,\"content\":\"<|endoftext|>\",\"special\":true}],\"normalizer\":{\"type\":\"NFC\"},"
  "\"pre_tokenizer\":{\"type\":\"ByteLevel\"},"
  "\"model\":{\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"\\u0120\":3},\"merges\":[\"a b\"]}}";

static void read_corpus(const char *path, const xcoder_corpus_options *options) {
  xcoder_corpus *corpus = NULL;
  const char *text = NULL;
  size_t n = 0;
  xcoder_error err = {0};
  xcoder_status status = xcoder_corpus_open(path, options, &corpus, &err);
  while (!status) {
    status = xcoder_corpus_next(corpus, &text, &n, &err);
    if (!text) break;
    if (status || !xci_utf8_valid(text, n) || text[n] != '\0') abort();
  }
  if (status && (!err.message[0] || strchr(err.message, '\n'))) abort();
  xcoder_corpus_close(corpus);
}

static void read_pairs(const char *path, const xcoder_tokenizer *tokenizer) {
  static const char *const kinds[] = {"pairs", "blimp", "multiblimp", "clams"};
  for (size_t i = 0; i < 4; i++) {
    char task[192];
    xcoder_pairs *pairs = NULL;
    xcoder_error err = {0};
    const xcoder_pairs_options options = {.authors_rule = i == 1};
    snprintf(task, sizeof task, "%s:%s", kinds[i], path);
    xcoder_status status = xcoder_pairs_load(task, tokenizer, &options, &pairs, &err);
    if (status ? pairs || !err.message[0] : xcoder_pairs_count(pairs) == 0) abort();
    xcoder_pairs_free(pairs);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
  static xcoder_tokenizer *tokenizer;
  if (!tokenizer) {
    const char *path = fuzz_file("input.json", (const uint8_t *)tokenizer_json, sizeof tokenizer_json - 1);
    if (xcoder_tokenizer_open(path, &tokenizer, NULL)) abort();
  }
  const char *path = fuzz_file("input.jsonl", data, n_bytes);
  read_corpus(path, &(xcoder_corpus_options){.max_line_bytes = 1 << 16});
  read_corpus(path, &(xcoder_corpus_options){.max_line_bytes = 1 << 16, .max_bad_lines = UINT64_MAX});
  read_pairs(path, tokenizer);
  path = fuzz_file("input.txt", data, n_bytes);
  read_corpus(path, &(xcoder_corpus_options){.max_line_bytes = 1 << 20});
  read_corpus(path, &(xcoder_corpus_options){.max_line_bytes = 1 << 16, .line_documents = true});
  return 0;
}
