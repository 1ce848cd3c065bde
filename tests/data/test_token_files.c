/* SPDX-License-Identifier: Apache-2.0 */
/* Files of tokens: every form is told by its content, every contradiction in it is refused; mixtures and languages. */
#include "helpers.h"

#include "base/bytes.h"
#include "base/memory.h"
#include "formats/npy.h"

enum { MMAP_DOCUMENTS = 34 + 2 * 12, OLD_BYTES = 56 + 3 * 8 + 3 * 8 + 2 * 8 + 2 * 8 };

/* Two sequences of three ids. */
static const unsigned char numbers[] = {1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0};

static void expect_ids(const char *path, const xcoder_tokens_options *options, const uint32_t *ids, size_t n) {
  xcoder_tokens *tokens = NULL;
  ck_assert_msg(xcoder_tokens_recognize(path), "%s", path);
  OK(xcoder_tokens_read(path, options, &tokens, err));
  ck_assert_uint_eq(xcoder_tokens_start(tokens)[xcoder_tokens_sequences(tokens)], n);
  for (size_t i = 0; i < n; i++) ck_assert_uint_eq(xcoder_tokens_ids(tokens)[i], ids[i]);
  xcoder_tokens_free(tokens);
}

static void expect_refusal(const char *path, size_t length, xcoder_status wanted, const char *words) {
  xcoder_tokens *tokens = NULL;
  const xcoder_tokens_options options = {.length = length};
  FAILS(wanted, words, xcoder_tokens_read(path, &options, &tokens, err));
  ck_assert_ptr_null(tokens);
}

static void make_mmap_index(unsigned char *idx) {
  memset(idx, 0, MMAP_DOCUMENTS + 16);
  memcpy(idx, "MMIDIDX", 7);
  xci_store_u64(idx + 9, 1);
  idx[17] = 8;
  xci_store_u64(idx + 18, 2);
  xci_store_u64(idx + 26, 2);
  xci_store_u32(idx + 34, 3);
  xci_store_u32(idx + 38, 3);
  xci_store_u64(idx + 50, 6);
  xci_store_u64(idx + MMAP_DOCUMENTS + 8, 2);
}

/* version, type, width, sequences, sizes, documents; dimensions, places, sizes, documents */
static void make_old_index(unsigned char *idx) {
  static const uint64_t words[] = {1, 8, 2, 2, 2, 2, 0, 1, 2, 0, 3, 6, 3, 3, 0, 2};
  memcpy(idx, "TNTIDX\0\0", 8);
  for (size_t i = 0; i < sizeof words / sizeof *words; i++) xci_store_u64(idx + 8 + 8 * i, words[i]);
}

START_TEST(told_by_content) {
  static const uint32_t ids[] = {1, 2, 3, 4, 5, 6}, cut[] = {1, 2, 4, 5}, stream[] = {1, 2, 3, 4};
  static const uint32_t zero[] = {0, 1, 2, 3, 4, 5};
  const xcoder_tokens_options two = {.length = 2}, four = {.length = 4}, three = {.length = 3};
  unsigned char idx[OLD_BYTES];
  uint32_t wide[6];
  for (size_t i = 0; i < 6; i++) xci_store_u32(&wide[i], (uint32_t)i + 1);
  expect_ids(write_temporary("plain", numbers, 12), &(xcoder_tokens_options){.length = 3, .token_bytes = 2}, ids, 6);
  expect_ids(write_temporary("wide", wide, 24), &three, ids, 6);
  static const unsigned char odd[] = {0, 1, 0, 200, 5, 0};
  expect_ids(write_temporary("narrow", odd, 6), &three, (uint32_t[]){256, 51200, 5}, 3);
  static const unsigned char even[] = {0, 1, 0, 200, 5, 0, 77, 1}; /* a multiple of four, but no small upper halves */
  expect_ids(write_temporary("narrow", even, 8), &four, (uint32_t[]){256, 51200, 5, 333}, 4);
  expect_ids(write_temporary("a.npy", even, 8), &four, (uint32_t[]){256, 51200, 5, 333}, 4); /* without a header */
  expect_ids(write_temporary("a.u16", numbers, 12), &three, ids, 6);
  expect_ids(write_temporary("a.u32", wide, 24), &two, ids, 6);
  expect_ids(test_file("../formats/golden/bare.pt"), &(xcoder_tokens_options){0}, zero, 6);
  make_mmap_index(idx);
  write_temporary("m.bin", numbers, 12);
  expect_ids(write_temporary("m.idx", idx, MMAP_DOCUMENTS + 16), &two, cut, 4);
  expect_ids(temporary_file("m.bin"), &two, cut, 4);
  expect_ids(temporary_file("m.idx"), &four, stream, 4);
  expect_ids(write_temporary("m.index", idx, MMAP_DOCUMENTS + 16), &three, ids, 6); /* whatever it is called */
  make_old_index(idx);
  expect_ids(write_temporary("m.idx", idx, OLD_BYTES), &two, cut, 4);
  expect_ids(temporary_file("m.idx"), &(xcoder_tokens_options){.length = 3, .max_tokens = 5}, ids, 3);
  static const char *const texts[] = {"good/jsonl-plain.jsonl", "good/jsonl-text.txt", "good/jsonl-utf8.txt",
                                      "good/jsonl-no-name", "good/jsonl-two-members.jsonl.gz",
                                      "bad/jsonl-raw-nul.jsonl", "good/jsonl-empty.jsonl"};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) ck_assert(!xcoder_tokens_recognize(test_file(texts[i])));
  ck_assert(!xcoder_tokens_recognize("-"));
  ck_assert(!xcoder_tokens_recognize("/dev/zero"));
  ck_assert(!xcoder_tokens_recognize("/nonexistent"));
  static const char *const names[] = {"plain", "wide",  "narrow", "a.npy",  "a.u16",
                                      "a.u32", "m.bin", "m.idx",  "m.index"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) ck_assert_int_eq(unlink(temporary_file(names[i])), 0);
}
END_TEST

START_TEST(limits) {
  const char *path = write_temporary("a.u16", numbers, 12);
  static const uint32_t ids[] = {1, 2, 3, 4};
  expect_ids(path, &(xcoder_tokens_options){.length = 2, .max_tokens = 5}, ids, 4);
  xcoder_tokens *tokens = NULL;
  FAILS(XCODER_USAGE, "less than one sequence",
        xcoder_tokens_read(path, &(xcoder_tokens_options){.length = 3, .max_tokens = 2}, &tokens, err));
  FAILS(XCODER_USAGE, "expected 2 or 4",
        xcoder_tokens_read(path, &(xcoder_tokens_options){.length = 3, .token_bytes = 3}, &tokens, err));
  expect_refusal(path, 0, XCODER_MISMATCH, "needs the length");
  expect_refusal(path, 7, XCODER_MISMATCH, "6 tokens, less than one sequence of 7");
  expect_refusal(test_file("good/jsonl-text.txt"), 2, XCODER_FORMAT, "no file of tokens");
  ck_assert_int_eq(unlink(path), 0);
}
END_TEST

typedef struct forgery {
  size_t at;
  uint64_t value;
  size_t n_bytes;
  xcoder_status status;
  const char *words;
} forgery;

static void try_forgeries(void (*make)(unsigned char *), size_t n_index, const forgery *bad, size_t n) {
  unsigned char idx[OLD_BYTES + 8] = {0};
  for (size_t i = 0; i < n; i++) {
    make(idx);
    for (size_t k = 0; k < bad[i].n_bytes; k++) idx[bad[i].at + k] = (unsigned char)(bad[i].value >> (8 * k));
    expect_refusal(write_temporary("b.idx", idx, n_index), 2, bad[i].status, bad[i].words);
  }
  make(idx);
  for (size_t cut = 0; cut < n_index; cut++) /* every truncation */
    expect_refusal(write_temporary("b.idx", idx, cut), 2, XCODER_FORMAT, "b.idx");
  expect_refusal(write_temporary("b.idx", idx, n_index + 1), 2, XCODER_FORMAT, "do not fit");
  expect_refusal(write_temporary("b.idx", idx, n_index + 8), 2, XCODER_FORMAT, "do not fit");
}

START_TEST(forged_indices) {
  static const forgery mmap_index[] = {
    {0, 'X', 1, XCODER_FORMAT, "no Megatron index"}, {9, 2, 8, XCODER_UNSUPPORTED, "version 2"},
    {9, 0, 8, XCODER_UNSUPPORTED, "version 0"}, {17, 6, 1, XCODER_FORMAT, "type code 6"},
    {17, 0, 1, XCODER_FORMAT, "type code 0"}, {17, 255, 1, XCODER_FORMAT, "type code 255"},
    {18, 3, 8, XCODER_FORMAT, "do not fit"}, {18, UINT64_MAX, 8, XCODER_FORMAT, "do not fit"},
    {26, (uint64_t)1 << 61, 8, XCODER_FORMAT, "do not fit"}, {34, 0xffffffff, 4, XCODER_FORMAT, "sequence 0 lies"},
    {38, 4, 4, XCODER_FORMAT, "sequence 1 lies"}, {50, 7, 8, XCODER_FORMAT, "sequence 1 lies"},
    {50, UINT64_MAX - 1, 8, XCODER_FORMAT, "sequence 1 lies"}, {50, 4, 8, XCODER_FORMAT, "within the one before"},
    {58, 1, 8, XCODER_FORMAT, "document 0"}, {66, 3, 8, XCODER_FORMAT, "document 1"},
    {66, 1, 8, XCODER_FORMAT, "document 1"}};
  static const forgery old_index[] = {
    {7, 1, 1, XCODER_FORMAT, "no Megatron index"}, {8, 3, 8, XCODER_UNSUPPORTED, "version 3"},
    {16, 7, 8, XCODER_FORMAT, "type code 7"}, {16, (uint64_t)1 << 40, 8, XCODER_FORMAT, "type code"},
    {24, 4, 8, XCODER_FORMAT, "values of 4 bytes"}, {32, 1, 8, XCODER_FORMAT, "2 sizes for 1"},
    {40, UINT64_MAX, 8, XCODER_FORMAT, "sizes for"}, {48, UINT64_MAX, 8, XCODER_FORMAT, "do not fit"},
    {64, 2, 8, XCODER_FORMAT, "not one dimension"}, {88, UINT64_MAX, 8, XCODER_FORMAT, "sequence 1 lies"},
    {104, 7, 8, XCODER_FORMAT, "sequence 0 lies"}, {112, (uint64_t)1 << 63, 8, XCODER_FORMAT, "sequence 1 lies"},
    {120, 1, 8, XCODER_FORMAT, "document 0"}, {128, 1, 8, XCODER_FORMAT, "document 1"}};
  write_temporary("b.bin", numbers, 12);
  try_forgeries(make_mmap_index, MMAP_DOCUMENTS + 16, mmap_index, sizeof mmap_index / sizeof *mmap_index);
  try_forgeries(make_old_index, OLD_BYTES, old_index, sizeof old_index / sizeof *old_index);
  unsigned char idx[OLD_BYTES];
  make_mmap_index(idx);
  write_temporary("b.idx", idx, MMAP_DOCUMENTS + 16);
  expect_refusal(write_temporary("b.bin", numbers, 11), 2, XCODER_FORMAT, "sequence 1 lies"); /* the .bin cut short */
  idx[17] = 3;
  static const unsigned char negative[] = {1, 0, 255, 255, 3, 0, 4, 0, 5, 0, 6, 0};
  write_temporary("b.bin", negative, 12);
  expect_refusal(write_temporary("b.idx", idx, MMAP_DOCUMENTS + 16), 2, XCODER_FORMAT,
                 "value 1 is no token id (byte 2 ");
  ck_assert_int_eq(unlink(temporary_file("b.bin")), 0);
  expect_refusal(temporary_file("b.idx"), 2, XCODER_MISSING, "b.bin");
  ck_assert_int_eq(unlink(temporary_file("b.idx")), 0);
}
END_TEST

START_TEST(other_bad_files) {
  expect_refusal(write_temporary("a.u16", numbers, 11), 1, XCODER_FORMAT, "11 bytes, no multiple of 2");
  expect_refusal(write_temporary("a.u16", numbers, 0), 1, XCODER_MISMATCH, "0 tokens");
  ck_assert_int_eq(unlink(temporary_file("a.u16")), 0);
  expect_refusal(write_temporary("a.u32", "\1\0\0\0\1\0\0\377", 8), 1, XCODER_FORMAT,
                 "value 1 is no token id (byte 4 ");
  ck_assert_int_eq(unlink(temporary_file("a.u32")), 0);
  expect_refusal(write_temporary("a.npy", "\x93NUMPY\1", 7), 1, XCODER_FORMAT, "a.npy");
  ck_assert_int_eq(unlink(temporary_file("a.npy")), 0);
  expect_refusal(test_file("../formats/golden/zip.pt"), 1, XCODER_FORMAT, "expected one bare tensor");
  expect_refusal(write_temporary("a.pt", "PK\3\4", 4), 1, XCODER_FORMAT, "a.pt");
  ck_assert_int_eq(unlink(temporary_file("a.pt")), 0);
}
END_TEST

/* Sequences of two ids each, 100 * part + number. */
static xcoder_tokens *make_part(uint32_t part, size_t n_sequences) {
  uint32_t *ids = malloc(2 * n_sequences * sizeof *ids);
  size_t *start = malloc((n_sequences + 1) * sizeof *start);
  xcoder_tokens *tokens = NULL;
  ck_assert(ids && start);
  for (size_t i = 0; i < n_sequences; i++) {
    start[i] = 2 * i;
    ids[2 * i] = 100 * part;
    ids[2 * i + 1] = (uint32_t)i;
  }
  start[n_sequences] = 2 * n_sequences;
  OK(xcoder_tokens_from_array(ids, start, n_sequences, &tokens, err));
  free(ids);
  free(start);
  return tokens;
}

static void count_parts(const xcoder_tokens *tokens, size_t counts[3]) {
  static const char *const names[] = {"en", "fr", ""};
  memset(counts, 0, 3 * sizeof *counts);
  for (size_t s = 0; s < xcoder_tokens_sequences(tokens); s++) {
    uint32_t part = xcoder_tokens_ids(tokens)[2 * s] / 100;
    ck_assert_uint_lt(part, 3);
    ck_assert_str_eq(xcoder_tokens_language(tokens, s), names[part]);
    counts[part]++;
  }
}

START_TEST(mixtures) {
  xcoder_tokens *parts[3] = {make_part(0, 60), make_part(1, 30), make_part(2, 40)}, *mixed = NULL, *again = NULL;
  xcoder_mixture_part mixture[3] = {{parts[0], 3, "en"}, {parts[1], 2, "fr"}, {parts[2], 1, NULL}};
  size_t counts[3];
  char a[33], b[33];
  OK(xcoder_tokens_mix(mixture, 3, 0, 7, &mixed, err)); /* fr is the scarcest: 30 sequences are 2 / 6 of 90 */
  count_parts(mixed, counts);
  ck_assert(counts[0] == 45 && counts[1] == 30 && counts[2] == 15);
  xcoder_tokens_hash(mixed, a);
  OK(xcoder_tokens_mix(mixture, 3, 0, 7, &again, err));
  xcoder_tokens_hash(again, b);
  ck_assert_str_eq(a, b);
  xcoder_tokens_free(again);
  OK(xcoder_tokens_mix(mixture, 3, 0, 8, &again, err));
  xcoder_tokens_hash(again, b);
  ck_assert_str_ne(a, b);
  xcoder_tokens_free(again);
  OK(xcoder_tokens_mix(mixture, 3, 24, 7, &again, err)); /* 12 sequences */
  count_parts(again, counts);
  ck_assert(counts[0] == 6 && counts[1] == 4 && counts[2] == 2);
  xcoder_tokens_free(again);
  FAILS(XCODER_MISMATCH, "part 2 of the mixture", xcoder_tokens_mix(mixture, 3, 6, 7, &again, err));
  mixture[1].weight = 0;
  FAILS(XCODER_USAGE, "weight 0", xcoder_tokens_mix(mixture, 3, 0, 7, &again, err));
  mixture[1].weight = -1;
  FAILS(XCODER_USAGE, "weight -1", xcoder_tokens_mix(mixture, 3, 0, 7, &again, err));
  FAILS(XCODER_USAGE, "0 parts", xcoder_tokens_mix(mixture, 0, 0, 7, &again, err));
  for (size_t i = 0; i < 3; i++) mixture[i].weight = 0;
  OK(xcoder_tokens_mix(mixture, 3, 0, 7, &again, err)); /* one after the other */
  count_parts(again, counts);
  ck_assert(counts[0] == 60 && counts[1] == 30 && counts[2] == 40);
  ck_assert_uint_eq(xcoder_tokens_ids(again)[2 * 60], 100);
  xcoder_tokens_free(again);
  ck_assert_str_eq(xcoder_tokens_language(parts[0], 0), "");
  ck_assert_str_eq(xcoder_tokens_language(mixed, 1000), "");
  for (size_t i = 0; i < 3; i++) xcoder_tokens_free(parts[i]);
  xcoder_tokens_free(mixed);
}
END_TEST

/* Languages survive a file, and a file of languages of other tokens is refused. */
START_TEST(languages_in_files) {
  xcoder_tokens *parts[2] = {make_part(0, 4), make_part(1, 4)}, *mixed = NULL, *loaded = NULL;
  const xcoder_mixture_part mixture[2] = {{parts[0], 1, "en"}, {parts[1], 1, "fr"}};
  size_t counts[3];
  char path[512];
  snprintf(path, sizeof path, "%s", temporary_file("l.npy"));
  OK(xcoder_tokens_mix(mixture, 2, 0, 1, &mixed, err));
  OK(xcoder_tokens_save(mixed, path, err));
  OK(xcoder_tokens_load(path, 2, &loaded, err));
  count_parts(loaded, counts);
  ck_assert(counts[0] == 4 && counts[1] == 4);
  xcoder_tokens_free(loaded);
  OK(xci_npy_write(path, XCI_U32, 2, (size_t[]){4, 2}, xcoder_tokens_ids(mixed), err));
  expect_refusal(path, 2, XCODER_MISMATCH, "belongs to other tokens");
  OK(xcoder_tokens_save(mixed, path, err));
  char hash[33], text[512];
  xcoder_tokens_hash(mixed, hash);
  static const struct { const char *rest, *words; xcoder_status status; } bad[] = {
    {"}", "'languages'", XCODER_FORMAT}, {", \"languages\": [3]}", "language 0 is no text", XCODER_FORMAT},
    {", \"languages\": []}", "'languages'", XCODER_FORMAT},
    {", \"languages\": [\"en\"], \"sequences\": [0]}", "of 8 numbers", XCODER_FORMAT},
    {", \"languages\": [\"en\"], \"sequences\": [0,0,0,0,0,0,0,1]}", "sequence 7", XCODER_FORMAT},
    {", \"languages\": [\"en\"], \"sequences\": [-1,0,0,0,0,0,0,0]}", "sequence 0", XCODER_FORMAT},
    {",", "not valid JSON", XCODER_FORMAT}};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    int n = snprintf(text, sizeof text, "{\"format\": 1, \"tokens\": \"%s\"%s", hash, bad[i].rest);
    write_temporary("l.npy.languages.json", text, (size_t)n);
    expect_refusal(path, 2, bad[i].status, bad[i].words);
  }
  write_temporary("l.npy.languages.json", "{\"format\": 2}", 13);
  expect_refusal(path, 2, XCODER_UNSUPPORTED, "format 2");
  OK(xcoder_tokens_save(parts[0], path, err)); /* without languages: the other file goes */
  ck_assert_int_ne(access(temporary_file("l.npy.languages.json"), F_OK), 0);
  OK(xcoder_tokens_load(path, 2, &loaded, err));
  ck_assert_str_eq(xcoder_tokens_language(loaded, 0), "");
  xcoder_tokens_free(loaded);
  xcoder_tokens_free(mixed);
  xcoder_tokens_free(parts[0]);
  xcoder_tokens_free(parts[1]);
  ck_assert_int_eq(unlink(path), 0);
}
END_TEST

static xcoder_status mix_and_read(const char *path, xcoder_error *err) {
  xcoder_tokens *tokens = NULL, *mixed = NULL;
  const xcoder_tokens_options options = {.length = 2};
  xcoder_status status = xcoder_tokens_read(path, &options, &tokens, err);
  const xcoder_mixture_part mixture[2] = {{tokens, 1, "en"}, {tokens, 1, "fr"}};
  if (!status) status = xcoder_tokens_mix(mixture, 2, 0, 1, &mixed, err);
  if (!status) status = xcoder_tokens_save(mixed, temporary_file("o.npy"), err);
  xcoder_tokens_free(mixed);
  xcoder_tokens_free(tokens);
  return status;
}

START_TEST(every_allocation_fails) {
  unsigned char idx[OLD_BYTES];
  make_mmap_index(idx);
  char path[512];
  write_temporary("f.bin", numbers, 12);
  snprintf(path, sizeof path, "%s", write_temporary("f.idx", idx, MMAP_DOCUMENTS + 16));
  for (int onwards = 0; onwards < 2; onwards++) {
    xcoder_status status = XCODER_MEMORY;
    for (long n = 1; status; n++) {
      xcoder_error error = {0};
      xci_fail_allocation(n, onwards);
      status = mix_and_read(path, &error);
      xci_fail_allocation(0, 0);
      ck_assert_msg(!status || status == XCODER_MEMORY, "allocation %ld: %s", n, error.message);
      ck_assert(!status || error.message[0]);
      ck_assert_int_lt(n, 500);
    }
  }
  static const char *const names[] = {"f.bin", "f.idx", "o.npy", "o.npy.languages.json"};
  for (size_t i = 0; i < 4; i++) ck_assert_int_eq(unlink(temporary_file(names[i])), 0);
}
END_TEST

int main(void) {
  TCase *tcase = new_case("token_files");
  tcase_add_test(tcase, told_by_content);
  tcase_add_test(tcase, limits);
  tcase_add_test(tcase, forged_indices);
  tcase_add_test(tcase, other_bad_files);
  tcase_add_test(tcase, mixtures);
  tcase_add_test(tcase, languages_in_files);
  tcase_add_test(tcase, every_allocation_fails);
  int failed = run_case(tcase, "token_files");
  rmdir(temporary_folder());
  return failed;
}
