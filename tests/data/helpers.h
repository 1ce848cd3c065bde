/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the data layer share: places of files, JSON lines, temporary files. */
#ifndef TESTS_DATA_HELPERS_H
#define TESTS_DATA_HELPERS_H

#include <check.h>
#include <crosscoder.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OK(call)                                                                                                     \
  do {                                                                                                               \
    xcoder_error ok_error = {0};                                                                                     \
    xcoder_error *err = &ok_error;                                                                                   \
    xcoder_status ok_status = (call);                                                                                \
    ck_assert_msg(ok_status == XCODER_OK, "%s: %s", #call, err->message);                                            \
  } while (0)

#define FAILS(wanted, words, call)                                                                                   \
  do {                                                                                                               \
    xcoder_error fails_error = {0};                                                                                  \
    xcoder_error *err = &fails_error;                                                                                \
    xcoder_status fails_status = (call);                                                                             \
    ck_assert_msg(fails_status == (wanted), "%s: %s (%s)", #call, xcoder_status_name(fails_status), err->message);   \
    ck_assert_msg(strstr(err->message, (words)) != NULL, "'%s' is not in '%s'", (words), err->message);              \
    ck_assert_ptr_null(strchr(err->message, '\n'));                                                                  \
  } while (0)

/* tests/data/NAME of the source tree. */
static inline const char *test_file(const char *name) {
  static char path[4][1024];
  static unsigned next;
  const char *srcdir = getenv("srcdir");
  char *p = path[next++ % 4];
  snprintf(p, sizeof path[0], "%s/tests/data/%s", srcdir ? srcdir : ".", name);
  return p;
}

/* NAME among the data that are not part of the project; NULL (and a line that says so) without them. */
static inline const char *shared_file(const char *name) {
  static char path[4][1024];
  static unsigned next;
  const char *srcdir = getenv("srcdir"), *folder = getenv("XCODER_SHARED_DATA");
  char *p = path[next++ % 4];
  if (folder) snprintf(p, sizeof path[0], "%s/%s", folder, name);
  else snprintf(p, sizeof path[0], "%s/../shared/data/%s", srcdir ? srcdir : ".", name);
  if (access(p, R_OK) == 0) return p;
  printf("SKIPPED: %s is not here\n", name);
  return NULL;
}

static inline const char *temporary_folder(void) {
  static char folder[256];
  if (!folder[0]) {
    const char *base = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/xcoder-data-XXXXXX", base ? base : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(folder));
  }
  return folder;
}

static inline const char *temporary_file(const char *name) {
  static char path[512];
  snprintf(path, sizeof path, "%s/%s", temporary_folder(), name);
  return path;
}

static inline const char *write_temporary(const char *name, const void *bytes, size_t n_bytes) {
  const char *path = temporary_file(name);
  FILE *file = fopen(path, "wb");
  ck_assert_ptr_nonnull(file);
  ck_assert_uint_eq(fwrite(bytes, 1, n_bytes, file), n_bytes);
  ck_assert_int_eq(fclose(file), 0);
  return path;
}

static inline xcoder_tokenizer *open_tokenizer(const char *path) {
  xcoder_tokenizer *tokenizer = NULL;
  OK(xcoder_tokenizer_open(path, &tokenizer, err));
  ck_assert_ptr_nonnull(tokenizer);
  return tokenizer;
}

/* Calls `check` for every line of a JSON lines file; returns their number. */
static inline size_t for_each_line(const char *path, void (*check)(const json_t *line, void *context), void *context) {
  FILE *file = fopen(path, "rb");
  char *line = NULL;
  size_t capacity = 0, n = 0;
  ck_assert_msg(file != NULL, "%s", path);
  for (ssize_t length; (length = getline(&line, &capacity, file)) > 0; n++) {
    json_error_t error;
    json_t *value = json_loadb(line, (size_t)length, JSON_ALLOW_NUL, &error);
    ck_assert_msg(value != NULL, "%s: line %zu: %s", path, n + 1, error.text);
    check(value, context);
    json_decref(value);
  }
  free(line);
  fclose(file);
  return n;
}

/* One suite, run without forks (OpenMP does not survive them). */
static inline TCase *new_case(const char *name) {
  TCase *tcase = tcase_create(name);
  tcase_set_timeout(tcase, 300);
  return tcase;
}

static inline int run_case(TCase *tcase, const char *name) {
  Suite *suite = suite_create(name);
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_set_fork_status(runner, CK_NOFORK);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
