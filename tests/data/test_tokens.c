/* SPDX-License-Identifier: Apache-2.0 */
/* Token sequences: both layouts, files, hashes, and the same bits with any number of threads. */
#include "helpers.h"

#include "formats/npy.h"

static xcoder_tokens *build(const char *path, const xcoder_tokenizer *tokenizer, const xcoder_tokens_options *options) {
  static const xcoder_corpus_options lines = {.line_documents = true};
  xcoder_corpus *corpus = NULL;
  xcoder_tokens *tokens = NULL;
  OK(xcoder_corpus_open(path, &lines, &corpus, err));
  OK(xcoder_tokens_build(corpus, tokenizer, options, NULL, &tokens, err));
  xcoder_corpus_close(corpus);
  return tokens;
}

static void expect_ids(const xcoder_tokens *tokens, const uint32_t *ids, size_t n_ids, const size_t *start, size_t n) {
  ck_assert_uint_eq(xcoder_tokens_sequences(tokens), n);
  for (size_t i = 0; i <= n; i++) ck_assert_uint_eq(xcoder_tokens_start(tokens)[i], start[i]);
  ck_assert_uint_eq(start[n], n_ids);
  for (size_t i = 0; i < n_ids; i++) ck_assert_uint_eq(xcoder_tokens_ids(tokens)[i], ids[i]);
}

/* In good/tokenizer-plain.json "a" is 0, "b" 1, "ab" 2, the blank 3 and the end of text 4. */
START_TEST(layouts) {
  xcoder_tokenizer *tokenizer = open_tokenizer(test_file("good/tokenizer-plain.json"));
  const char *path = write_temporary("c.txt", "ab\nb a b\n\naab\nb\n", 16);
  xcoder_tokens *tokens = build(path, tokenizer, &(xcoder_tokens_options){.length = 4, .layout = XCODER_PACKED});
  expect_ids(tokens, (uint32_t[]){4, 2, 4, 1, 3, 0, 3, 1, 4, 0, 2, 4}, 12, (size_t[]){0, 4, 8, 12}, 3);
  xcoder_tokens_free(tokens);
  tokens = build(path, tokenizer, &(xcoder_tokens_options){.length = 4, .layout = XCODER_PACKED, .max_tokens = 11});
  expect_ids(tokens, (uint32_t[]){4, 2, 4, 1, 3, 0, 3, 1}, 8, (size_t[]){0, 4, 8}, 2);
  xcoder_tokens_free(tokens);
  tokens = build(path, tokenizer, &(xcoder_tokens_options){.length = 4, .layout = XCODER_DOCUMENTS});
  expect_ids(tokens, (uint32_t[]){4, 2, 4, 1, 3, 0, 4, 0, 2, 4, 1}, 11, (size_t[]){0, 2, 6, 9, 11}, 4);
  xcoder_tokens_free(tokens);
  tokens = build(path, tokenizer,
                 &(xcoder_tokens_options){.length = 4, .min_length = 3, .layout = XCODER_DOCUMENTS, .max_tokens = 6});
  expect_ids(tokens, (uint32_t[]){4, 1, 3, 0}, 4, (size_t[]){0, 4}, 1);
  xcoder_tokens_free(tokens);
  tokens =
    build(path, tokenizer,
          &(xcoder_tokens_options){.length = 2, .min_length = 2, .layout = XCODER_DOCUMENTS, .no_prepend = true});
  expect_ids(tokens, (uint32_t[]){1, 3, 0, 2}, 4, (size_t[]){0, 2, 4}, 2);
  xcoder_tokens_free(tokens);
  ck_assert_int_eq(unlink(temporary_file("c.txt")), 0);
  xcoder_tokenizer_close(tokenizer);
}
END_TEST

static void expect_failure(const char *path, const xcoder_tokenizer *tokenizer, const xcoder_tokens_options *options,
                           xcoder_status status, const char *words) {
  xcoder_corpus *corpus = NULL;
  xcoder_tokens *tokens = NULL;
  OK(xcoder_corpus_open(path, NULL, &corpus, err));
  FAILS(status, words, xcoder_tokens_build(corpus, tokenizer, options, NULL, &tokens, err));
  ck_assert_ptr_null(tokens);
  xcoder_corpus_close(corpus);
}

START_TEST(refused) {
  xcoder_tokenizer *tokenizer = open_tokenizer(test_file("good/tokenizer-plain.json"));
  const char *text = test_file("good/jsonl-text.txt"), *empty = test_file("good/jsonl-empty.jsonl");
  expect_failure(text, tokenizer, &(xcoder_tokens_options){.length = 100}, XCODER_MISMATCH,
                 "less than one sequence of 100");
  expect_failure(empty, tokenizer, &(xcoder_tokens_options){.length = 1}, XCODER_MISMATCH, "gives 0 tokens");
  expect_failure(text, tokenizer, &(xcoder_tokens_options){.length = 0}, XCODER_USAGE, "length 0");
  expect_failure(text, tokenizer, &(xcoder_tokens_options){.length = 90, .min_length = 80, .layout = XCODER_DOCUMENTS},
                 XCODER_MISMATCH, "no document has 80 tokens");
  expect_failure(text, tokenizer, &(xcoder_tokens_options){.length = 4, .min_length = 5, .layout = XCODER_DOCUMENTS},
                 XCODER_USAGE, "longer than the longest");
  expect_failure(text, tokenizer, &(xcoder_tokens_options){.length = 4, .max_tokens = 3}, XCODER_USAGE,
                 "less than one sequence");
  expect_failure(test_file("bad/jsonl-list.jsonl"), tokenizer, &(xcoder_tokens_options){.length = 1}, XCODER_FORMAT,
                 "line 3");
  xcoder_tokenizer_close(tokenizer);
  static const char no_end[] = "{\"pre_tokenizer\":{\"type\":\"ByteLevel\"},\"model\":{\"vocab\":{\"a\":0}}}";
  tokenizer = open_tokenizer(write_temporary("t.json", no_end, sizeof no_end - 1));
  expect_failure(text, tokenizer, &(xcoder_tokens_options){.length = 1}, XCODER_MISMATCH, "no end-of-text token");
  xcoder_tokenizer_close(tokenizer);
  ck_assert_int_eq(unlink(temporary_file("t.json")), 0);
}
END_TEST

START_TEST(threads_change_nothing) {
  xcoder_tokenizer *tokenizer = open_tokenizer(test_file("golden/neox.json"));
  FILE *file = fopen(temporary_file("t.jsonl"), "wb");
  ck_assert_ptr_nonnull(file);
  for (unsigned i = 0; i < 1500; i++) {
    fprintf(file, "{\"text\": \"The authors number %u", i);
    for (unsigned k = 0; k < i * i % 97; k++) fprintf(file, " laugh at the keys %u", k * i);
    fprintf(file, "\"}\n");
  }
  fclose(file);
  char first[33] = "", hex[33];
  for (int threads = 1; threads <= 3; threads++) {
    xcoder_set_threads(threads);
    xcoder_tokens *tokens = build(temporary_file("t.jsonl"), tokenizer, &(xcoder_tokens_options){.length = 32});
    xcoder_tokens_hash(tokens, hex);
    if (threads == 1) memcpy(first, hex, sizeof hex);
    ck_assert_str_eq(hex, first);
    ck_assert_uint_gt(xcoder_tokens_sequences(tokens), 1000);
    xcoder_tokens_free(tokens);
  }
  xcoder_set_threads(0);
  ck_assert_int_eq(unlink(temporary_file("t.jsonl")), 0);
  xcoder_tokenizer_close(tokenizer);
}
END_TEST

/* A document that stops the regular expression: the first of them is named, whatever thread met it. */
START_TEST(errors_from_threads) {
  xcoder_tokenizer *tokenizer = open_tokenizer(test_file("good/tokenizer-backtracking.json"));
  char line[128];
  memset(line, 'a', sizeof line);
  memcpy(line, "{\"text\":\"", 9);
  memcpy(line + 100, "b\"}\n", 4);
  const char *path = write_temporary("e.jsonl", line, 104);
  xcoder_set_threads(2);
  expect_failure(path, tokenizer, &(xcoder_tokens_options){.length = 4}, XCODER_FORMAT, "takes too long");
  xcoder_set_threads(0);
  ck_assert_int_eq(unlink(temporary_file("e.jsonl")), 0);
  xcoder_tokenizer_close(tokenizer);
}
END_TEST

static void count(void *context, const xcoder_progress *progress) {
  ck_assert_str_eq(progress->stage, "tokenize");
  ck_assert_str_eq(progress->unit, "tokens");
  *(uint64_t *)context = progress->done;
}

START_TEST(monitor) {
  volatile sig_atomic_t stop = 0;
  uint64_t done = 0;
  const xcoder_monitor watch = {.context = &done, .progress = count, .stop = &stop};
  xcoder_tokenizer *tokenizer = open_tokenizer(test_file("good/tokenizer-plain.json"));
  xcoder_corpus *corpus = NULL;
  xcoder_tokens *tokens = NULL;
  const xcoder_tokens_options options = {.length = 2};
  OK(xcoder_corpus_open(test_file("good/jsonl-plain.jsonl"), NULL, &corpus, err));
  OK(xcoder_tokens_build(corpus, tokenizer, &options, &watch, &tokens, err));
  ck_assert_uint_eq(done, 6);
  xcoder_tokens_free(tokens);
  xcoder_corpus_close(corpus);
  stop = 1;
  OK(xcoder_corpus_open(test_file("good/jsonl-plain.jsonl"), NULL, &corpus, err));
  FAILS(XCODER_INTERRUPTED, "interrupted", xcoder_tokens_build(corpus, tokenizer, &options, &watch, &tokens, err));
  ck_assert_ptr_null(tokens);
  xcoder_corpus_close(corpus);
  xcoder_tokenizer_close(tokenizer);
}
END_TEST

START_TEST(files) {
  static const uint32_t ids[] = {1, 2, 3, 4, 70000, 6};
  char a[33], b[33];
  const char *path = temporary_file("t.npy");
  xcoder_tokens *tokens = NULL, *loaded = NULL;
  OK(xcoder_tokens_from_array(ids, (size_t[]){0, 3, 6}, 2, &tokens, err));
  OK(xcoder_tokens_save(tokens, path, err));
  OK(xcoder_tokens_load(path, 0, &loaded, err));
  expect_ids(loaded, ids, 6, (size_t[]){0, 3, 6}, 2);
  xcoder_tokens_hash(tokens, a);
  xcoder_tokens_hash(loaded, b);
  ck_assert_str_eq(a, b);
  xcoder_tokens_free(loaded);
  FAILS(XCODER_MISMATCH, "sequences of 3 tokens, expected 2", xcoder_tokens_load(path, 2, &loaded, err));
  xcoder_tokens_free(tokens);
  OK(xcoder_tokens_from_array(ids, (size_t[]){0, 2, 6}, 2, &tokens, err));
  xcoder_tokens_hash(tokens, b);
  ck_assert_str_ne(a, b);
  FAILS(XCODER_USAGE, "do not fit into one array", xcoder_tokens_save(tokens, path, err));
  xcoder_tokens_free(tokens);
  FAILS(XCODER_USAGE, "token sequence 1", xcoder_tokens_from_array(ids, (size_t[]){0, 3, 2}, 2, &tokens, err));
  ck_assert_ptr_null(tokens);

  static const int64_t longs[] = {5, 6, 7, 8, 9};
  static const int16_t negative[] = {1, -1};
  static const float floats[] = {1, 2};
  OK(xci_npy_write(path, XCI_I64, 1, (size_t[]){5}, longs, err));
  OK(xcoder_tokens_load(path, 2, &loaded, err));
  expect_ids(loaded, (uint32_t[]){5, 6, 7, 8}, 4, (size_t[]){0, 2, 4}, 2);
  xcoder_tokens_free(loaded);
  FAILS(XCODER_MISMATCH, "needs the length", xcoder_tokens_load(path, 0, &loaded, err));
  FAILS(XCODER_MISMATCH, "less than one sequence", xcoder_tokens_load(path, 6, &loaded, err));
  OK(xci_npy_write(path, XCI_I16, 2, (size_t[]){1, 2}, negative, err));
  FAILS(XCODER_FORMAT, "value 1 is no token id", xcoder_tokens_load(path, 0, &loaded, err));
  OK(xci_npy_write(path, XCI_F32, 2, (size_t[]){1, 2}, floats, err));
  FAILS(XCODER_FORMAT, "expected integers", xcoder_tokens_load(path, 0, &loaded, err));
  OK(xci_npy_write(path, XCI_I16, 3, (size_t[]){1, 1, 2}, negative, err));
  FAILS(XCODER_FORMAT, "3 dimensions", xcoder_tokens_load(path, 0, &loaded, err));
  OK(xci_npy_write(path, XCI_I16, 2, (size_t[]){2, 0}, negative, err));
  FAILS(XCODER_MISMATCH, "", xcoder_tokens_load(path, 0, &loaded, err));
  ck_assert_ptr_null(loaded);
  ck_assert_int_eq(unlink(path), 0);
}
END_TEST

START_TEST(raw_files) {
  static const unsigned char numbers[] = {1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0};
  unsigned char idx[34 + 2 * 12 + 16] = "MMIDIDX";
  xcoder_tokens *tokens = NULL;
  const char *path = write_temporary("r.u16", numbers, 12);
  OK(xcoder_tokens_load(path, 5, &tokens, err));
  expect_ids(tokens, (uint32_t[]){1, 2, 3, 4, 5}, 5, (size_t[]){0, 5}, 1);
  xcoder_tokens_free(tokens);
  FAILS(XCODER_MISMATCH, "less than one", xcoder_tokens_load(path, 7, &tokens, err));
  FAILS(XCODER_FORMAT, "no multiple", xcoder_tokens_load(write_temporary("r.u16", numbers, 11), 1, &tokens, err));
  FAILS(XCODER_MISMATCH, "0 tokens", xcoder_tokens_load(write_temporary("r.u16", numbers, 0), 1, &tokens, err));
  FAILS(XCODER_FORMAT, "no token id", xcoder_tokens_load(write_temporary("r.u32", "\1\0\0\377", 4), 1, &tokens, err));
  idx[9] = 1, idx[17] = 8, idx[18] = 2, idx[26] = 2;
  idx[34] = 3, idx[38] = 3, idx[50] = 6, idx[66] = 2; /* two rows of three */
  write_temporary("r.bin", numbers, 12);
  path = write_temporary("r.idx", idx, sizeof idx);
  OK(xcoder_tokens_load(path, 2, &tokens, err));
  expect_ids(tokens, (uint32_t[]){1, 2, 4, 5}, 4, (size_t[]){0, 2, 4}, 2);
  xcoder_tokens_free(tokens);
  static const struct {
    size_t at;
    unsigned char value;
    const char *words;
  } bad[] = {{0, 'X', "MMIDIDX"}, {17, 6, "type code 6"}, {18, 3, "do not fit"},
             {25, 255, "do not fit"}, {33, 255, "do not fit"}, {38, 4, "sequence 1"}, {37, 255, "sequence 0"},
             {50, 7, "sequence 1"}, {57, 128, "sequence 1"}};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    unsigned char kept = idx[bad[i].at];
    idx[bad[i].at] = bad[i].value;
    path = write_temporary("r.idx", idx, sizeof idx);
    FAILS(XCODER_FORMAT, bad[i].words, xcoder_tokens_load(path, 2, &tokens, err));
    ck_assert_ptr_null(tokens);
    idx[bad[i].at] = kept;
  }
  idx[9] = 2;
  FAILS(XCODER_UNSUPPORTED, "version 2",
        xcoder_tokens_load(write_temporary("r.idx", idx, sizeof idx), 2, &tokens, err));
  idx[9] = 1;
  FAILS(XCODER_FORMAT, "MMIDIDX", xcoder_tokens_load(write_temporary("r.idx", idx, 33), 2, &tokens, err));
  FAILS(XCODER_FORMAT, "do not fit", xcoder_tokens_load(write_temporary("r.idx", idx, 73), 2, &tokens, err));
  static const char *const names[] = {"r.u16", "r.u32", "r.bin", "r.idx"};
  for (size_t i = 0; i < 4; i++) ck_assert_int_eq(unlink(temporary_file(names[i])), 0);
}
END_TEST

int main(void) {
  TCase *tcase = new_case("tokens");
  tcase_add_test(tcase, raw_files);
  tcase_add_test(tcase, layouts);
  tcase_add_test(tcase, refused);
  tcase_add_test(tcase, threads_change_nothing);
  tcase_add_test(tcase, errors_from_threads);
  tcase_add_test(tcase, monitor);
  tcase_add_test(tcase, files);
  int failed = run_case(tcase, "tokens");
  rmdir(temporary_folder());
  return failed;
}
