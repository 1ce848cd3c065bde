/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of layer base: numbers, text, files, allocation failures. */
#include "base/bytes.h"
#include "base/file.h"
#include "base/half.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "base/random.h"
#include "base/text.h"
#include <check.h>
#include <crosscoder/device.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "test-base-XXXXXX";

START_TEST(half_round_trip) {
  for (uint32_t h = 0; h < 65536; h++) { /* every half and every bf16 that is not NaN survives */
    float f = xci_f16_to_f32((uint16_t)h);
    if (!isnan(f)) ck_assert_uint_eq(xci_f32_to_f16(f), h);
    float g = xci_bf16_to_f32((uint16_t)h);
    if (!isnan(g)) ck_assert_uint_eq(xci_f32_to_bf16(g), h);
  }
  ck_assert(isnan(xci_f16_to_f32(xci_f32_to_f16(NAN))));
  ck_assert(isnan(xci_bf16_to_f32(xci_f32_to_bf16(NAN))));
}
END_TEST

START_TEST(half_rounds_to_nearest_even) {
  ck_assert_uint_eq(xci_f32_to_f16(2049.0f), xci_f32_to_f16(2048.0f)); /* tie, ulp 2: even below */
  ck_assert_uint_eq(xci_f32_to_f16(2051.0f), xci_f32_to_f16(2052.0f)); /* tie: even above */
  ck_assert_uint_eq(xci_f32_to_f16(65519.0f), 0x7bff);
  ck_assert_uint_eq(xci_f32_to_f16(65520.0f), 0x7c00);
  ck_assert_uint_eq(xci_f32_to_f16(0x1p-25f), 0);      /* tie with 0 */
  ck_assert_uint_eq(xci_f32_to_f16(0x1.8p-25f), 1);
  ck_assert_uint_eq(xci_f32_to_bf16(0x1.01p0f), 0x3f80); /* tie: even below */
  ck_assert_uint_eq(xci_f32_to_bf16(0x1.03p0f), 0x3f82); /* tie: even above */
}
END_TEST

START_TEST(bytes_are_little_endian) {
  unsigned char b[8];
  xci_store_u64(b, 0x0102030405060708u);
  ck_assert_uint_eq(b[0], 8);
  ck_assert_uint_eq(xci_load_u64(b), 0x0102030405060708u);
  ck_assert_uint_eq(xci_load_u16(b), 0x0708);
  xci_store_f64(b, -1.5);
  ck_assert_double_eq(xci_load_f64(b), -1.5);
}
END_TEST

START_TEST(philox_known_answers) { /* the vectors published with Random123: counters and keys of 0 and of all ones */
  uint32_t out[4];
  xci_random_block(0, 0, 0, out);
  ck_assert_uint_eq(out[0], 0x6627e8d5);
  ck_assert_uint_eq(out[1], 0xe169c58d);
  ck_assert_uint_eq(out[2], 0xbc57ac4c);
  ck_assert_uint_eq(out[3], 0x9b00dbd8);
  xci_random_block(UINT64_MAX, UINT64_MAX, UINT64_MAX, out);
  ck_assert_uint_eq(out[0], 0x408f276d);
  ck_assert_uint_eq(out[3], 0x6d5451fd);
}
END_TEST

START_TEST(permutation_is_one) {
  static const uint64_t sizes[] = {1, 2, 3, 10, 255, 256, 257, 1000, 4097};
  for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
    uint64_t n = sizes[s];
    char *seen = calloc(n, 1);
    for (uint64_t i = 0; i < n; i++) {
      uint64_t p = xci_permute(7, XCI_STREAM_TEST, s, n, i);
      ck_assert_uint_lt(p, n);
      ck_assert(!seen[p]);
      seen[p] = 1;
    }
    free(seen);
  }
}
END_TEST

START_TEST(normal_moments) {
  enum { N = 40000 };
  double sum = 0, squares = 0;
  for (uint64_t i = 0; i < N; i++) {
    double z = xci_random_normal(1, XCI_STREAM_TEST, i);
    sum += z;
    squares += z * z;
  }
  ck_assert_double_lt(fabs(sum / N), 5.0 / sqrt(N));                 /* five standard errors */
  ck_assert_double_lt(fabs(squares / N - 1), 5.0 * sqrt(2.0 / N));
}
END_TEST

START_TEST(sums) {
  enum { N = 10001 };
  float *x = malloc(N * sizeof *x);
  double exact = 0;
  for (int i = 0; i < N; i++) {
    x[i] = (float)(i % 17) - 3.5f;
    exact += (double)x[i];
  }
  ck_assert_double_eq_tol(xci_sum_f32(x, N), exact, 1e-9);
  ck_assert_double_eq(xci_sum_f32(x, 0), 0);
  free(x);
}
END_TEST

START_TEST(errors_are_one_safe_line) {
  xcoder_error err;
  ck_assert_int_eq(xci_fail(&err, XCODER_FORMAT, "a\nb\x1b[2J %s", "\xe2\x80\xae!\xff"), XCODER_FORMAT);
  ck_assert_str_eq(err.message, "a\\x0ab\\x1b[2J \\u202e!\\xff");
  ck_assert_int_eq(xcoder_exit_status(XCODER_FORMAT), 3);
  char long_name[600], out[300];
  memset(long_name, 'n', sizeof long_name);
  ck_assert_uint_eq(strlen(xci_quote(out, sizeof out, long_name, sizeof long_name)), 203);
}
END_TEST

START_TEST(escapers) {
  xci_text t = {0};
  xci_text_json(&t, "</script>\"\\\n\xff\xe2\x80\xa8", 16);
  ck_assert_str_eq(t.bytes, "\\u003c/script\\u003e\\\"\\\\\\u000a\xef\xbf\xbd\\u2028");
  xci_text_clear(&t);
  xci_text_html(&t, "<a href='x'>&\x01", 14);
  ck_assert_str_eq(t.bytes, "&lt;a href=&#39;x&#39;&gt;&amp;\xef\xbf\xbd");
  xci_text_clear(&t);
  xci_text_csv(&t, "=cmd|x", 6);
  xci_text_add(&t, "|");
  xci_text_csv(&t, "-1.5e3", 6);
  xci_text_add(&t, "|");
  xci_text_csv(&t, "a\"b,c", 5);
  ck_assert_str_eq(t.bytes, "\"'=cmd|x\"|-1.5e3|\"a\"\"b,c\"");
  xci_text_clear(&t);
}
END_TEST

START_TEST(numbers_read_back) {
  static const double values[] = {0, -0.0, 0.1, 1.0 / 3, 1e-300, 123456789.123456789, 5e-324};
  for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
    xci_text t = {0};
    xci_text_number(&t, values[i]);
    ck_assert_double_eq(strtod(t.bytes, NULL), values[i]);
    xci_text_clear(&t);
    xci_text_float(&t, (float)values[i]);
    ck_assert_float_eq(strtof(t.bytes, NULL), (float)values[i]);
    xci_text_clear(&t);
  }
}
END_TEST

START_TEST(utf8) {
  uint32_t c;
  ck_assert_uint_eq(xci_utf8_decode("\xc0\x80", 2, &c), 0);     /* overlong */
  ck_assert_uint_eq(xci_utf8_decode("\xed\xa0\x80", 3, &c), 0); /* surrogate */
  ck_assert_uint_eq(xci_utf8_decode("\xf4\x90\x80\x80", 4, &c), 0);
  ck_assert_uint_eq(xci_utf8_decode("\xe2\x82", 2, &c), 0);
  for (uint32_t u = 1; u < 0x110000; u += 97) {
    char b[4];
    size_t n = xci_utf8_encode(u, b);
    if (n == 0) continue;
    ck_assert_uint_eq(xci_utf8_decode(b, n, &c), n);
    ck_assert_uint_eq(c, u);
  }
}
END_TEST

static char *in_folder(const char *name) {
  char *path;
  ck_assert_int_eq(xci_join_path(folder, name, &path, NULL), XCODER_OK);
  return path;
}

START_TEST(atomic_write) {
  xci_writer *writer;
  char *path = in_folder("a.bin"), *bytes;
  size_t n;
  ck_assert_int_eq(xci_writer_open(path, &writer, NULL), XCODER_OK);
  ck_assert(!xci_exists(path));
  char block[1000] = "x";
  for (int i = 0; i < 200; i++) ck_assert_int_eq(xci_writer_write(writer, block, sizeof block, NULL), XCODER_OK);
  ck_assert_int_eq(xci_writer_commit(writer, NULL), XCODER_OK);
  ck_assert_int_eq(xci_read_file(path, 1 << 20, &bytes, &n, NULL), XCODER_OK);
  ck_assert_uint_eq(n, 200000);
  xci_free(bytes);
  ck_assert_int_eq(xci_writer_open(path, &writer, NULL), XCODER_OK);
  xci_writer_abort(writer);
  char **names;
  ck_assert_int_eq(xci_list_folder(folder, &names, &n, NULL), XCODER_OK);
  ck_assert_uint_eq(n, 1);
  xci_free_names(names, n);
  xci_free(path);
}
END_TEST

START_TEST(append_truncates) {
  xci_writer *log;
  char *path = in_folder("log.csv"), *bytes;
  size_t n;
  uint64_t at;
  ck_assert_int_eq(xci_append_open(path, 0, &log, NULL), XCODER_OK);
  xci_writer_write(log, "one\ntwo\n", 8, NULL);
  ck_assert_int_eq(xci_append_sync(log, &at, NULL), XCODER_OK);
  ck_assert_uint_eq(at, 8);
  ck_assert_int_eq(xci_append_close(log, NULL), XCODER_OK);
  ck_assert_int_eq(xci_append_open(path, 4, &log, NULL), XCODER_OK);
  xci_writer_write(log, "2\n", 2, NULL);
  ck_assert_int_eq(xci_append_close(log, NULL), XCODER_OK);
  ck_assert_int_eq(xci_read_file(path, 100, &bytes, &n, NULL), XCODER_OK);
  ck_assert_str_eq(bytes, "one\n2\n");
  xci_free(bytes);
  xci_free(path);
}
END_TEST

START_TEST(odd_inputs_do_not_block) {
  xci_map map;
  xcoder_error err;
  char *path = in_folder("fifo");
  ck_assert_int_eq(mkfifo(path, 0600), 0);
  ck_assert_int_eq(xci_map_open(path, &map, &err), XCODER_FORMAT);
  ck_assert_int_eq(xci_map_open(folder, &map, &err), XCODER_FORMAT);
  ck_assert_int_eq(xci_map_open("/dev/zero", &map, &err), XCODER_FORMAT);
  ck_assert_int_eq(xci_map_open("no/such/file", &map, &err), XCODER_MISSING);
  unlink(path);
  xci_free(path);
}
END_TEST

START_TEST(folders) {
  char *deep = in_folder("x/y/z"), *top = in_folder("x"), *moved = in_folder("w");
  ck_assert_int_eq(xci_make_folder(deep, NULL), XCODER_OK);
  ck_assert_int_eq(xci_make_folder(deep, NULL), XCODER_OK);
  ck_assert(xci_is_folder(deep));
  ck_assert_int_eq(xci_publish_folder(deep, moved, NULL), XCODER_OK);
  ck_assert_int_eq(xci_remove_folder(top, NULL), XCODER_OK);
  ck_assert_int_eq(xci_remove_folder(moved, NULL), XCODER_OK);
  ck_assert(!xci_exists(top));
  ck_assert_uint_gt(xci_free_disk_bytes(deep), 0);
  xci_free(deep);
  xci_free(top);
  xci_free(moved);
}
END_TEST

START_TEST(allocation_failures) {
  void *memory;
  xcoder_error err;
  ck_assert_int_eq(xci_alloc(SIZE_MAX / 2, 4, &memory, &err), XCODER_MEMORY);
  ck_assert_ptr_null(memory);
  for (long n = 1; n < 5; n++) {
    xci_text t = {0};
    xci_fail_allocation(n, 1);
    for (int i = 0; i < 100; i++) xci_text_add(&t, "some text that makes it grow");
    xci_fail_allocation(0, 0);
    ck_assert_int_eq(xci_text_status(&t, NULL), XCODER_MEMORY);
    xci_text_clear(&t);
  }
}
END_TEST

START_TEST(sha256) { /* the examples of FIPS 180; lengths around the padding against another implementation */
  static const struct {
    size_t n; /* of 'a', if there is no text */
    const char *text, *sum;
  } known[] = {
      {0, "", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="},
      {3, "abc", "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="},
      {56, "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", "JI1qYdIGOLjlwCaTDD5gOaM85Flk/yFn9uzt1BnbBsE="},
      {64, NULL, "/+BU/nrgy23GXDr5th1SCfQ5hR20PQulmXM33xVGaOs="},
      {119, NULL, "MeulHDE6XAgiat8Y1KNZz9/Y0ugWsT9K+VL36mWE3Ps="}};
  char many[128], sum[45];
  memset(many, 'a', sizeof many);
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    xci_sha256_base64(known[i].text ? known[i].text : many, known[i].n, sum);
    ck_assert_str_eq(sum, known[i].sum);
  }
}
END_TEST

START_TEST(checksum) { /* XXH3-128 of the empty input, as published */
  char hex[33];
  xci_hash_bytes("", 0, hex);
  ck_assert_str_eq(hex, "99aa06d3014798d86001c324468d497f");
  xci_hash *hash;
  char other[33];
  ck_assert_int_eq(xci_hash_open(&hash, NULL), XCODER_OK);
  xci_hash_add(hash, "ab", 2);
  xci_hash_add(hash, "c", 1);
  xci_hash_close(hash, other);
  xci_hash_bytes("abc", 3, hex);
  ck_assert_str_eq(hex, other);
}
END_TEST

int main(void) {
  if (!mkdtemp(folder)) return 99;
  Suite *suite = suite_create("base");
  TCase *tests = tcase_create("base");
  const TTest *all[] = {half_round_trip, half_rounds_to_nearest_even, bytes_are_little_endian, philox_known_answers,
                        permutation_is_one, normal_moments, sums, errors_are_one_safe_line, escapers,
                        numbers_read_back, utf8, atomic_write, append_truncates, odd_inputs_do_not_block, folders,
                        allocation_failures, checksum, sha256};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) tcase_add_test(tests, all[i]);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_set_fork_status(runner, CK_NOFORK);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  xci_remove_folder(folder, NULL);
  return failed ? 1 : 0;
}
