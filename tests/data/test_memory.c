/* SPDX-License-Identifier: Apache-2.0 */
/* Each allocation of the data layer, those of its JSON among them, fails once, and all from each one on: a status comes
 * back, nothing is left. */
#include "helpers.h"

#include "base/memory.h"

/* The whole way from a tokenizer file to sequences and pairs. */
static xcoder_status work(const char *tokenizer_path, const char *corpus_path, const char *task, xcoder_error *err) {
  xcoder_tokenizer *tokenizer = NULL;
  xcoder_corpus *corpus = NULL;
  xcoder_tokens *tokens = NULL;
  xcoder_pairs *pairs = NULL;
  char *text = NULL;
  size_t n_bytes = 0;
  const xcoder_corpus_options lines = {.line_documents = true};
  const xcoder_tokens_options layout = {.length = 8, .layout = XCODER_DOCUMENTS};
  xcoder_status status = xcoder_tokenizer_open(tokenizer_path, &tokenizer, err);
  if (!status) status = xcoder_corpus_open(corpus_path, &lines, &corpus, err);
  if (!status) status = xcoder_tokens_build(corpus, tokenizer, &layout, NULL, &tokens, err);
  if (!status) status = xcoder_detokenize(tokenizer, xcoder_tokens_ids(tokens), 8, &text, &n_bytes, err);
  if (!status) status = xcoder_pairs_load(task, tokenizer, NULL, &pairs, err);
  ck_assert(status || pairs);
  xcoder_pairs_free(pairs);
  xcoder_tokens_free(tokens);
  xcoder_corpus_close(corpus);
  xcoder_tokenizer_close(tokenizer);
  xcoder_free(text);
  return status;
}

static void sweep(const char *tokenizer, const char *corpus, int onwards) {
  char task[1200];
  snprintf(task, sizeof task, "pairs:%s", test_file("good/pairs-members.jsonl"));
  for (long n = 1;; n++) {
    xcoder_error error = {0};
    xci_fail_allocation(n, onwards);
    xcoder_status status = work(tokenizer, corpus, task, &error);
    xci_fail_allocation(0, 0);
    if (!status) { /* fewer than n allocations, or one whose failure did not matter */
      ck_assert_int_gt(n, 100);
      return;
    }
    ck_assert_msg(status == XCODER_MEMORY, "allocation %ld: %s: %s", n, xcoder_status_name(status), error.message);
    ck_assert_int_lt(n, 5000);
  }
}

START_TEST(every_allocation_fails_once) {
  char tokenizer[1024], corpus[1024];
  snprintf(tokenizer, sizeof tokenizer, "%s", temporary_file("t.json"));
  static const char text[] =
    "{\"added_tokens\":[{\"id\":4,\"content\":\"<|endoftext|>\",\"special\":true},{\"id\":5,\"content\":\"e\\u0301x\"}]"
    ","
    "\"normalizer\":{\"type\":\"NFC\"},\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\","
    "\"pattern\":{\"Regex\":\"\\\\s|a\"},\"behavior\":\"Isolated\"},{\"type\":\"ByteLevel\",\"add_prefix_space\":true}]"
    "},"
    "\"model\":{\"ignore_merges\":true,\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"\\u0120\":3},\"merges\":[\"a b\"]}}";
  write_temporary("t.json", text, sizeof text - 1);
  snprintf(corpus, sizeof corpus, "%s", temporary_file("c.txt"));
  char body[300];
  memset(body, 'b', sizeof body);
  memcpy(body, "ab e\xcc\x81x e\xcc\x81 \xff b\n<|endoftext|>a\n", 31);
  write_temporary("c.txt", body, sizeof body);
  xcoder_set_threads(1);
  sweep(tokenizer, corpus, 0);
  sweep(tokenizer, corpus, 1);
  xcoder_set_threads(0);
  ck_assert_int_eq(unlink(tokenizer), 0);
  ck_assert_int_eq(unlink(corpus), 0);
}
END_TEST

int main(void) {
  TCase *tcase = new_case("memory");
  tcase_add_test(tcase, every_allocation_fails_once);
  int failed = run_case(tcase, "memory");
  rmdir(temporary_folder());
  return failed;
}
