/* SPDX-License-Identifier: Apache-2.0 */
/* Every file of cases.tsv is accepted or refused as the table says; so are larger ones, which are made here. */
#include "helpers.h"

static xcoder_status read_tokenizer(const char *path, xcoder_error *err) {
  xcoder_tokenizer *tokenizer = NULL;
  xcoder_status status = xcoder_tokenizer_open(path, &tokenizer, err);
  ck_assert(!tokenizer == (status != XCODER_OK));
  uint32_t *ids = NULL;
  size_t n_ids = 0;
  if (!status) status = xcoder_tokenize(tokenizer, "ab a b", 6, &ids, &n_ids, err);
  xcoder_free(ids);
  xcoder_tokenizer_close(tokenizer);
  return status;
}

static xcoder_status read_corpus(const char *path, unsigned *n_documents, xcoder_error *err) {
  xcoder_corpus *corpus = NULL;
  const char *text = NULL;
  size_t n_bytes = 0;
  xcoder_status status = xcoder_corpus_open(path, NULL, &corpus, err);
  ck_assert(!corpus == (status != XCODER_OK));
  for (*n_documents = 0; !status; ++*n_documents) {
    status = xcoder_corpus_next(corpus, &text, &n_bytes, err);
    if (!text) break;
  }
  xcoder_corpus_close(corpus);
  return status;
}

static xcoder_status read_pairs(const char *path, unsigned *n_pairs, xcoder_error *err) {
  char task[1200];
  xcoder_pairs *pairs = NULL;
  xcoder_tokenizer *tokenizer = open_tokenizer(test_file("good/tokenizer-plain.json"));
  snprintf(task, sizeof task, "pairs:%s", path);
  xcoder_status status = xcoder_pairs_load(task, tokenizer, NULL, &pairs, err);
  ck_assert(!pairs == (status != XCODER_OK));
  *n_pairs = pairs ? (unsigned)xcoder_pairs_count(pairs) : 0;
  xcoder_pairs_free(pairs);
  xcoder_tokenizer_close(tokenizer);
  return status;
}

static void check_case(const char *kind, const char *name, const char *wanted, const char *words) {
  const char *path = test_file(name);
  xcoder_error error = {0};
  unsigned n = 0;
  xcoder_status status = XCODER_INTERNAL;
  if (strcmp(kind, "tokenizer") == 0) status = read_tokenizer(path, &error);
  else if (strcmp(kind, "jsonl") == 0) status = read_corpus(path, &n, &error);
  else if (strcmp(kind, "pairs") == 0) status = read_pairs(path, &n, &error);
  else ck_abort_msg("unknown kind %s", kind);
  ck_assert_msg(strcmp(xcoder_status_name(status), wanted) == 0, "%s: %s, expected %s (%s)", name,
                xcoder_status_name(status), wanted, error.message);
  if (!status && *words) ck_assert_msg(n == strtoul(words, NULL, 10), "%s: %u, expected %s", name, n, words);
  if (!status) return;
  ck_assert_msg(strstr(error.message, words) != NULL, "%s: '%s' is not in '%s'", name, words, error.message);
  ck_assert_msg(strncmp(error.message, path, strlen(path)) == 0, "%s: the message is '%s'", name, error.message);
  for (const unsigned char *p = (const unsigned char *)error.message; *p; p++) ck_assert_uint_ge(*p, 0x20);
}

START_TEST(table_of_cases) {
  char line[1024], *fields[4];
  FILE *file = fopen(test_file("cases.tsv"), "r");
  unsigned n = 0, n_refused = 0;
  ck_assert_ptr_nonnull(file);
  ck_assert_ptr_nonnull(fgets(line, sizeof line, file));
  for (; fgets(line, sizeof line, file); n++) {
    char *p = line;
    line[strcspn(line, "\n")] = '\0';
    for (size_t i = 0; i < 4; i++) {
      fields[i] = p;
      p += strcspn(p, "\t");
      if (*p) *p++ = '\0';
    }
    check_case(fields[0], fields[1], fields[2], fields[3]);
    n_refused += strcmp(fields[2], "ok") != 0;
  }
  fclose(file);
  ck_assert_uint_ge(n, 130);
  ck_assert_uint_ge(n_refused, 95);
}
END_TEST

START_TEST(deep_tokenizer) {
  enum { DEPTH = 200000 };
  char *text = malloc(DEPTH + 64);
  ck_assert_ptr_nonnull(text);
  int n = snprintf(text, 64, "{\"model\": {\"type\": \"BPE\"}, \"x\": ");
  memset(text + n, '[', DEPTH);
  FAILS(XCODER_FORMAT, "nested deeper than 64",
        read_tokenizer(write_temporary("deep.json", text, (size_t)n + DEPTH), err));
  ck_assert_int_eq(unlink(temporary_file("deep.json")), 0);
  free(text);
}
END_TEST

START_TEST(not_regular_files) {
  FAILS(XCODER_FORMAT, "expected a regular file", read_tokenizer("/dev/zero", err));
  FAILS(XCODER_MISSING, "cannot open", read_tokenizer(test_file("good"), err));
  FAILS(XCODER_MISSING, "cannot open", read_tokenizer("/nonexistent", err));
}
END_TEST

/* Every shorter piece of a good file is refused or accepted without harm (sanitizers watch). */
START_TEST(truncations) {
  static const char *const names[] = {"good/tokenizer-plain.json", "good/jsonl-skippable.jsonl.zst",
                                      "good/jsonl-two-members.jsonl.gz", "good/pairs-members.jsonl"};
  for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
    char bytes[2048];
    FILE *file = fopen(test_file(names[k]), "rb");
    ck_assert_ptr_nonnull(file);
    size_t n = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    ck_assert_uint_lt(n, sizeof bytes);
    for (size_t cut = 0; cut < n; cut++) {
      unsigned count = 0;
      const char *path = write_temporary("cut", bytes, cut);
      if (k == 0) FAILS(XCODER_FORMAT, "cut", read_tokenizer(path, err));
      else if (k == 3) read_pairs(path, &count, NULL);
      else read_corpus(path, &count, NULL);
      ck_assert_uint_le(count, 5);
    }
  }
  ck_assert_int_eq(unlink(temporary_file("cut")), 0);
}
END_TEST

int main(void) {
  TCase *tcase = new_case("cases");
  tcase_add_test(tcase, table_of_cases);
  tcase_add_test(tcase, deep_tokenizer);
  tcase_add_test(tcase, not_regular_files);
  tcase_add_test(tcase, truncations);
  int failed = run_case(tcase, "cases");
  rmdir(temporary_folder());
  return failed;
}
