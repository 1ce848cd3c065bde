/* SPDX-License-Identifier: Apache-2.0 */
/* Corpora: documents of every form, policies for bad lines, bombs. */
#include "helpers.h"

#include "data/lines.h"
#include <sys/resource.h>
#include <zlib.h>
#include <zstd.h>

/* Documents joined by '|'. */
static char *read_all(const char *paths, const xcoder_corpus_options *options, xcoder_status wanted, const char *words,
                      uint64_t *bad_lines) {
  xcoder_corpus *corpus = NULL;
  xcoder_error error = {0};
  size_t n_all = 0;
  char *all = calloc(1, 1 << 16);
  ck_assert_ptr_nonnull(all);
  xcoder_status status = xcoder_corpus_open(paths, options, &corpus, &error);
  while (!status) {
    const char *text = NULL;
    size_t n = 0;
    status = xcoder_corpus_next(corpus, &text, &n, &error);
    if (!text) break;
    ck_assert_int_eq(text[n], 0);
    ck_assert_uint_lt(n_all + n + 2, 1 << 16);
    memcpy(all + n_all, text, n);
    all[n_all + n] = '|';
    n_all += n + 1;
  }
  ck_assert_msg(status == wanted, "%s: %s %s", paths, xcoder_status_name(status), error.message);
  ck_assert_msg(strstr(error.message, words) != NULL, "'%s' is not in '%s'", words, error.message);
  if (bad_lines) *bad_lines = xcoder_corpus_bad_lines(corpus);
  xcoder_corpus_close(corpus);
  return all;
}

static void expect(const char *paths, const xcoder_corpus_options *options, const char *wanted) {
  char *all = read_all(paths, options, XCODER_OK, "", NULL);
  ck_assert_str_eq(all, wanted);
  free(all);
}

START_TEST(forms) {
  static const xcoder_corpus_options lines = {.line_documents = true}, body = {.text_key = "body"};
  expect(test_file("good/jsonl-plain.jsonl"), NULL, "ab|b a|");
  expect(test_file("good/jsonl-bom-crlf.jsonl"), NULL, "ab|b a|");
  expect(test_file("good/jsonl-empty-text.jsonl"), NULL, "|ab|b a|");
  expect(test_file("good/jsonl-two-members.jsonl.gz"), NULL, "ab|b a|ab|b a|");
  expect(test_file("good/jsonl-skippable.jsonl.zst"), NULL, "ab|b a|ab|b a|");
  expect(test_file("good/jsonl-surrogate-pair.jsonl"), NULL, "\xf0\x9f\x98\x80|");
  expect(test_file("good/jsonl-text.txt"), NULL, "ab\nb a\n|");
  expect(test_file("good/jsonl-text.txt"), &lines, "ab|b a|");
  expect(test_file("good/jsonl-brace.txt"), NULL, "{a} is a set\n|");
  expect(test_file("good/jsonl-utf8.txt"), NULL, "a\xef\xbf\xbd" "b\n|");
  expect(test_file("bad/jsonl-missing-text.jsonl"), &body, "a|");
  char both[2048];
  snprintf(both, sizeof both, "%s,%s", test_file("good/jsonl-text.txt"), test_file("good/jsonl-plain.jsonl"));
  expect(both, NULL, "ab\nb a\n|ab|b a|");
}
END_TEST

START_TEST(names) {
  static const char text[] = "x\n";
  expect(write_temporary("a,b.txt", text, 2), NULL, "x\n|");
  ck_assert_int_eq(unlink(temporary_file("a,b.txt")), 0);
  free(read_all("/nonexistent/x.txt", NULL, XCODER_MISSING, "/nonexistent/x.txt", NULL));
  free(read_all(temporary_folder(), NULL, XCODER_FORMAT, "a folder", NULL));
  free(read_all("/dev/zero", NULL, XCODER_FORMAT, "expected a regular file", NULL));
  free(read_all("a,,b", NULL, XCODER_USAGE, "a file name is empty", NULL));
}
END_TEST

START_TEST(bad_lines) {
  static const char text[] =
    "{\"text\": \"a\"}\n{\n[]\n{\"text\": \"b\"}\n{\"text\": \"ccccccccccccccccccccccc\"}\n{\"text\": \"d\"}\n";
  const char *path = write_temporary("bad.jsonl", text, sizeof text - 1);
  uint64_t n = 0;
  char *all =
    read_all(path, &(xcoder_corpus_options){.max_bad_lines = UINT64_MAX, .max_line_bytes = 20}, XCODER_OK, "", &n);
  ck_assert_str_eq(all, "a|b|d|");
  ck_assert_uint_eq(n, 3);
  free(all);
  all =
    read_all(path, &(xcoder_corpus_options){.max_bad_lines = 1}, XCODER_FORMAT, "line 3: expected a JSON object", &n);
  ck_assert_str_eq(all, "a|");
  ck_assert_uint_eq(n, 2);
  free(all);
  all = read_all(path, &(xcoder_corpus_options){.max_bad_lines = 2, .max_line_bytes = 20}, XCODER_FORMAT,
                 "line 5: 35 bytes, at most 20 are read (raise --max-line)", &n);
  ck_assert_str_eq(all, "a|b|");
  free(all);
  free(read_all(path, &(xcoder_corpus_options){.max_line_bytes = 20}, XCODER_FORMAT, "line 2", NULL));
  ck_assert_int_eq(unlink(temporary_file("bad.jsonl")), 0);
}
END_TEST

START_TEST(a_document_of_many_chunks) {
  enum { N = 3000000 };
  char *text = malloc(N);
  ck_assert_ptr_nonnull(text);
  for (size_t i = 0; i < N; i++) text[i] = i % 1000 == 999 ? '\n' : (char)('a' + i % 26);
  const char *path = write_temporary("long.txt", text, N);
  xcoder_corpus *corpus = NULL;
  const char *document = NULL;
  size_t n = 0, n_lines = 0;
  OK(xcoder_corpus_open(path, NULL, &corpus, err));
  OK(xcoder_corpus_next(corpus, &document, &n, err));
  ck_assert_uint_eq(n, N);
  ck_assert(memcmp(document, text, N) == 0);
  xcoder_corpus_close(corpus);
  OK(xcoder_corpus_open(path, &(xcoder_corpus_options){.line_documents = true}, &corpus, err));
  for (;; n_lines++) {
    OK(xcoder_corpus_next(corpus, &document, &n, err));
    if (!document) break;
    ck_assert_uint_eq(n, 999);
    ck_assert(memcmp(document, text + n_lines * 1000, n) == 0);
  }
  ck_assert_uint_eq(n_lines, N / 1000);
  xcoder_corpus_close(corpus);
  free(read_all(path, &(xcoder_corpus_options){.max_line_bytes = 1 << 20}, XCODER_FORMAT, "a document of 3000000 bytes",
                NULL));
  ck_assert_int_eq(unlink(temporary_file("long.txt")), 0);
  free(text);
}
END_TEST

/* Refused, or skipped by the policy for bad lines. */
static void expect_long_line(const char *path, bool skip) {
  const xcoder_corpus_options options = {.max_line_bytes = 1 << 20, .max_bad_lines = skip};
  uint64_t n = 0;
  free(read_all(path, &options, skip ? XCODER_OK : XCODER_FORMAT, skip ? "" : "at most 1048576 are read", &n));
  ck_assert_uint_eq(n, 1);
  ck_assert_int_eq(unlink(path), 0);
}

enum { PIECE = 1 << 20 };

static char *make_piece(void) {
  char *piece = malloc(PIECE);
  ck_assert_ptr_nonnull(piece);
  return memset(piece, 'a', PIECE);
}

/* A line of n MiB in zstd frames of one each. */
static void write_zstd_line(const char *path, int n) {
  size_t bound = ZSTD_compressBound(PIECE);
  char *piece = make_piece(), *frame = malloc(bound);
  ck_assert_ptr_nonnull(frame);
  size_t n_bytes = ZSTD_compress(frame, bound, piece, PIECE, 1);
  FILE *file = fopen(path, "wb");
  ck_assert_ptr_nonnull(file);
  for (int i = 0; i < n; i++) ck_assert_uint_eq(fwrite(frame, 1, n_bytes, file), n_bytes);
  ck_assert_int_eq(fclose(file), 0);
  free(frame);
  free(piece);
}

/* 100 MB and 200 MB lines that take some kilobytes on disk. */
START_TEST(bombs) {
  char name[512], *piece = make_piece();
  snprintf(name, sizeof name, "%s", temporary_file("bomb.jsonl.gz"));
  gzFile gz = gzopen(name, "wb1");
  ck_assert_ptr_nonnull(gz);
  for (int i = 0; i < 100; i++) ck_assert_int_eq(gzwrite(gz, piece, PIECE), PIECE);
  ck_assert_int_eq(gzclose(gz), Z_OK);
  expect_long_line(name, true);
  snprintf(name, sizeof name, "%s", temporary_file("bomb.jsonl.zst"));
  write_zstd_line(name, 200);
  expect_long_line(name, false);
  free(piece);
}
END_TEST

/* With the default limit of 64 MiB: read to its end, in bounded memory. */
START_TEST(one_line_of_a_gigabyte) {
  char name[512];
  snprintf(name, sizeof name, "%s", temporary_file("huge.jsonl.zst"));
  write_zstd_line(name, 1024);
  free(read_all(name, NULL, XCODER_FORMAT, "line 1: 1073741824 bytes, at most 67108864 are read", NULL));
  struct rusage usage;
  ck_assert_int_eq(getrusage(RUSAGE_SELF, &usage), 0);
  ck_assert_int_gt(usage.ru_maxrss, 0);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__has_feature)
  ck_assert_int_lt(usage.ru_maxrss, 256 << 10); /* KiB */
#endif
  ck_assert_int_eq(unlink(name), 0);
}
END_TEST

START_TEST(deep_nesting) {
  enum { DEPTH = 100000 };
  char *text = malloc(DEPTH + 64);
  ck_assert_ptr_nonnull(text);
  int n = snprintf(text, 64, "{\"text\": \"a\", \"x\": ");
  memset(text + n, '[', DEPTH);
  const char *path = write_temporary("deep.jsonl", text, (size_t)n + DEPTH);
  free(read_all(path, NULL, XCODER_FORMAT, "line 1, byte", NULL));
  ck_assert_int_eq(unlink(temporary_file("deep.jsonl")), 0);
  free(text);
}
END_TEST

START_TEST(standard_input) {
  static const char text[] = "{\"text\": \"a\"}\n{\"text\": \"b\"}\n";
  const char *path = write_temporary("in", text, sizeof text - 1);
  int saved = dup(STDIN_FILENO);
  ck_assert_int_ge(saved, 0);
  ck_assert_ptr_nonnull(freopen(path, "rb", stdin));
  expect("-", NULL, "a|b|");
  ck_assert_int_ge(dup2(saved, STDIN_FILENO), 0);
  close(saved);
  ck_assert_int_eq(unlink(temporary_file("in")), 0);
}
END_TEST

int main(void) {
  TCase *tcase = new_case("corpus");
  tcase_add_test(tcase, one_line_of_a_gigabyte); /* first, because it looks at the largest memory so far */
  tcase_add_test(tcase, forms);
  tcase_add_test(tcase, names);
  tcase_add_test(tcase, bad_lines);
  tcase_add_test(tcase, a_document_of_many_chunks);
  tcase_add_test(tcase, bombs);
  tcase_add_test(tcase, deep_nesting);
  tcase_add_test(tcase, standard_input);
  int failed = run_case(tcase, "corpus");
  rmdir(temporary_folder());
  return failed;
}
