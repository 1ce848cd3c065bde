/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes task files, each input as all four kinds, by both rules and as whole sentences: what is kept has two different
 * answers behind a prefix, tokens that the tokenizer has, and is counted. */
#include "fuzz_file.h"

#include <crosscoder.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

/* Letters of ASCII are tokens; 0 is the end of text, 1 the blank (U+0120 in the byte alphabet). */
static xcoder_tokenizer *open_letters(void) {
  char text[4096];
  xcoder_tokenizer *tokenizer = NULL;
  xcoder_error err = {0};
  int n = snprintf(text, sizeof text, "{\"added_tokens\":[{\"id\":0,\"content\":\"<|endoftext|>\",\"special\":true}],"
                   "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},\"model\":{\"type\":\"BPE\","
                   "\"vocab\":{\"\\u0120\":1");
  for (int c = '!'; c <= '~'; c++)
    n += snprintf(text + n, sizeof text - (size_t)n, ",\"%s%c\":%d", c == '"' || c == '\\' ? "\\" : "", c, c);
  n += snprintf(text + n, sizeof text - (size_t)n, ",\"\\u0120a\":200},\"merges\":[\"\\u0120 a\"]}}");
  if (xcoder_tokenizer_open(fuzz_file("input.json", (const uint8_t *)text, (size_t)n), &tokenizer, &err)) abort();
  return tokenizer;
}

static void read_task(const char *kind, const char *path, const xcoder_tokenizer *tokenizer,
                      const xcoder_pairs_options *options) {
  char task[256];
  xcoder_pairs *pairs = NULL;
  xcoder_error err = {0};
  snprintf(task, sizeof task, "%s:%s", kind, path);
  xcoder_status status = xcoder_pairs_load(task, tokenizer, options, &pairs, &err);
  if (status) {
    if (pairs || !err.message[0] || strchr(err.message, '\n')) abort();
    return;
  }
  size_t n = xcoder_pairs_count(pairs);
  if (n == 0 || xcoder_pairs_get(pairs, n) || !xcoder_pairs_summary(pairs)[0]) abort();
  for (size_t i = 0; i < n; i++) {
    const xcoder_pair *pair = xcoder_pairs_get(pairs, i);
    if (strlen(pair->language) > 1000000 || strlen(pair->group) > 1000000) abort();
    if (options->sentences) continue;
    if (pair->right == pair->wrong || pair->right > 200 || pair->wrong > 200) abort();
    for (size_t k = 0; k < pair->n_prefix; k++)
      if (pair->prefix[k] > 200) abort();
  }
  xcoder_pairs_free(pairs);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
  static const char *const kinds[] = {"pairs", "blimp", "clams", "multiblimp"};
  static xcoder_tokenizer *tokenizer;
  if (!tokenizer) tokenizer = open_letters();
  const char *path = fuzz_file("input.jsonl", data, n_bytes);
  for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
    read_task(kinds[k], path, tokenizer, &(xcoder_pairs_options){0});
    read_task(kinds[k], path, tokenizer, &(xcoder_pairs_options){.authors_rule = true, .no_prepend = true});
    read_task(kinds[k], path, tokenizer, &(xcoder_pairs_options){.sentences = true});
  }
  return 0;
}
