/* SPDX-License-Identifier: Apache-2.0 */
/* Classes of characters, normal forms, and the two ways of cutting words, each against another source. */
#include "helpers.h"

#include "base/memory.h"
#include "base/random.h"
#include "data/encode.h"
#include "data/normalize.h"
#include "data/pattern.h"
#include "data/unicode.h"
#include <time.h>
#include <utf8proc.h>

enum { END_OF_UNICODE = 0x110000, FIRST_SURROGATE = 0xd800, LAST_SURROGATE = 0xdfff };

static bool is_surrogate(uint32_t c) { return c >= FIRST_SURROGATE && c <= LAST_SURROGATE; }

/* Ranges dumped from the reference engine. Characters that its Unicode knows and ours does not are allowed to differ.
 */
START_TEST(classes_of_the_reference) {
  const char *path = shared_file("tokenizers/hf_classes_ranges.txt");
  if (!path) return;
  static unsigned char class[END_OF_UNICODE];
  FILE *file = fopen(path, "r");
  char word[64], current = 0;
  ck_assert_ptr_nonnull(file);
  while (fscanf(file, "%63s", word) == 1) {
    char *end;
    if (strchr("LNS", word[0]) && !word[1]) {
      current = word[0];
      continue;
    }
    unsigned long first = strtoul(word, &end, 16), last = *end == '-' ? strtoul(end + 1, NULL, 16) : first;
    for (unsigned long c = first; c <= last && c < END_OF_UNICODE; c++) class[c] = (unsigned char)current;
  }
  fclose(file);
  for (uint32_t c = 0; c < END_OF_UNICODE; c++) {
    char ours = "\0LNS"[xci_character_class(c)];
    if (is_surrogate(c) || utf8proc_category((utf8proc_int32_t)c) == UTF8PROC_CATEGORY_CN) continue;
    ck_assert_msg(ours == (char)class[c], "U+%04X is '%c', the reference says '%c'", (unsigned)c, ours ? ours : '-',
                  class[c] ? class[c] : '-');
  }
}
END_TEST

/* The byte alphabet is one to one. */
START_TEST(byte_alphabet) {
  unsigned n = 0;
  for (unsigned byte = 0; byte < 256; byte++)
    ck_assert_int_eq(xci_byte_of_character(xci_character_of_byte((unsigned char)byte)), (int)byte);
  for (uint32_t c = 0; c < END_OF_UNICODE; c++) n += xci_byte_of_character(c) >= 0;
  ck_assert_uint_eq(n, 256);
  ck_assert_uint_eq(xci_character_of_byte(' '), 0x120);
  ck_assert_uint_eq(xci_character_of_byte('\n'), 0x10a);
  ck_assert_uint_eq(xci_character_of_byte('\t'), 0x109);
}
END_TEST

static const xci_form nfc = {true, false};

/* Inert code points neither change nor combine: none has a combining class, none ends a canonical decomposition. */
START_TEST(inert_code_points) {
  static bool combines[END_OF_UNICODE];
  for (uint32_t c = 0; c < END_OF_UNICODE; c++) {
    int32_t parts[32];
    int last_class = 0;
    if (is_surrogate(c)) continue;
    utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)c, parts, 32, UTF8PROC_DECOMPOSE, &last_class);
    for (utf8proc_ssize_t i = 1; i < n; i++) combines[parts[i]] = true;
  }
  for (uint32_t c = 0; c < END_OF_UNICODE; c++) {
    if (is_surrogate(c) || !xci_inert_in_nfc(c)) continue;
    utf8proc_int32_t one[32];
    int last_class = 0;
    utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)c, one, 32, UTF8PROC_DECOMPOSE, &last_class);
    n = utf8proc_normalize_utf32(one, n, UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    ck_assert_msg(n == 1 && one[0] == (utf8proc_int32_t)c, "U+%04X changes", (unsigned)c);
    ck_assert_msg(!combines[c] && utf8proc_get_property((utf8proc_int32_t)c)->combining_class == 0, "U+%04X combines",
                  (unsigned)c);
  }
}
END_TEST

/* Our ordering of marks and cutting into pieces against utf8proc on whole random strings. */
START_TEST(normal_forms) {
  static const uint32_t alphabet[] = {'a',   'e',    ' ',    0xe9,   0x300,  0x301,  0x323,   0x327,  0x308,
                                      0x345, 0x1100, 0x1161, 0x11a8, 0xac00, 0x212b, 0x2126,  0xfb01, 0x1e9b,
                                      0x958, 0x4e2d, 0x3042, 0x3099, 0x0f71, 0x0f72, 0x1d15e, 0x200d};
  static const struct {
    xci_form form;
    utf8proc_option_t options;
  } forms[] = {{{true, false}, UTF8PROC_COMPOSE},
               {{false, false}, UTF8PROC_DECOMPOSE},
               {{true, true}, UTF8PROC_COMPOSE | UTF8PROC_COMPAT},
               {{false, true}, UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT}};
  xci_normalizer work = {0};
  for (uint64_t round = 0; round < 1500; round++) {
    char text[128];
    size_t n = 0, n_got = 0;
    for (uint64_t i = 0; i < 1 + round % 24; i++) {
      uint64_t pick = xci_random_below(3, XCI_STREAM_TEST, round * 32 + i, sizeof alphabet / sizeof *alphabet);
      n += xci_utf8_encode(alphabet[pick], text + n);
    }
    for (size_t k = 0; k < 4; k++) {
      const char *got = NULL;
      utf8proc_uint8_t *wanted = NULL;
      utf8proc_ssize_t n_wanted = utf8proc_map((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)n, &wanted,
                                               forms[k].options | UTF8PROC_STABLE);
      OK(xci_normalize(&work, forms[k].form, text, n, &got, &n_got, err));
      ck_assert_int_eq((utf8proc_ssize_t)n_got, n_wanted);
      ck_assert(memcmp(got, wanted, n_got) == 0);
      free(wanted);
    }
  }
  xci_normalizer_clear(&work);
}
END_TEST

/* A megabyte of marks in the worst order is sorted in far less than the hours that neighbour swaps take. */
START_TEST(many_marks) {
  enum { N = 500000 };
  char *text = malloc(2 * N + 1);
  const char *out = NULL;
  size_t n_out = 0;
  xci_normalizer work = {0};
  ck_assert_ptr_nonnull(text);
  text[0] = 'x';
  for (size_t i = 0; i < N; i++) memcpy(text + 1 + 2 * i, i % 2 ? "\xcc\xa7" : "\xcc\x81", 2);
  clock_t begin = clock();
  OK(xci_normalize(&work, nfc, text, 2 * N + 1, &out, &n_out, err));
  ck_assert_int_lt((int)((clock() - begin) / CLOCKS_PER_SEC), 5);
  ck_assert_uint_eq(n_out, 2 * N + 1);
  ck_assert(memcmp(out + 1, "\xcc\xa7\xcc\xa7", 4) == 0);
  ck_assert(memcmp(out + n_out - 4, "\xcc\x81\xcc\x81", 4) == 0);
  xci_normalizer_clear(&work);
  free(text);
}
END_TEST

/* The scanner by hand cuts where the regular expression does. */
START_TEST(words_by_hand_and_by_expression) {
  static const char gpt2[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
  static const uint32_t alphabet[] = {'\'',   's',   't',     'r',    'e',    'v',    'm',   'l',   'd',    'X',
                                      ' ',    ' ',   ' ',     '\n',   '\t',   '\r',   '1',   '9',   '.',    '-',
                                      '_',    0xa0,  0x85,    0x180e, 0x2003, 0x3000, 0xe9,  0x301, 0x4e2d, 0xb2,
                                      0x2164, 0x664, 0x1f600, 0x200d, 0x1c,   0x2028, 0xffff};
  xci_pattern *pattern = NULL;
  xci_match *match = NULL;
  OK(xci_pattern_open(gpt2, false, "test", "gpt2", &pattern, err));
  OK(xci_match_open(pattern, &match, err));
  for (uint64_t round = 0; round < 6000; round++) {
    char text[128];
    size_t n = 0;
    for (uint64_t i = 0; i < 1 + round % 20; i++) {
      uint64_t pick = xci_random_below(4, XCI_STREAM_TEST, round * 32 + i, sizeof alphabet / sizeof *alphabet);
      n += xci_utf8_encode(alphabet[pick], text + n);
    }
    for (size_t from = 0; from < n;) {
      bool found = false;
      size_t start = 0, end = 0;
      OK(xci_pattern_find(pattern, match, text, n, from, &found, &start, &end, err));
      ck_assert(found && start == from);
      ck_assert_uint_eq(xci_gpt2_piece(text, n, from), end);
      from = end;
    }
  }
  xci_match_close(match);
  xci_pattern_close(pattern);
}
END_TEST

START_TEST(rewriting) {
  static const struct {
    const char *from, *to; /* to NULL: refused */
  } cases[] = {
    {"a\\sb", "a[\\p{Z}\\t-\\r\\x{85}]b"}, {"(?!\\S)", "(?![^\\p{Z}\\t-\\r\\x{85}])"},
    {"[^(\\s|[.,]x)]+", "[^(\\p{Z}\\t-\\r\\x{85}|.,x)]+"}, {"[]a]", "[\\]a]"}, {"[^]a]", "[^\\]a]"},
    {"[[:digit:]x]", "[\\p{Nd}x]"}, {"\\[\\s*", "\\[[\\p{Z}\\t-\\r\\x{85}]*"}, {"\\p{N}{1,3}", "\\p{N}{1,3}"},
    {"\\h", "[0-9A-Fa-f]"}, {"[\\h]", "[0-9A-Fa-f]"}, {"a{,", "a{,"}, {"[\\b]", "[\\b]"}, {"\\p{L}++", "\\p{L}++"},
    {"[\\S]", NULL}, {"[a[^b]]", NULL}, {"[a&&b]", NULL}, {"a{2}+", NULL}, {"[a", NULL}, {"a\\", NULL}, {"\\X", NULL},
    {"[[:punct:]]", NULL}, {"(?m:.)", NULL}, {"(*ACCEPT)", NULL}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    xci_text out = {0};
    const char *reason = NULL;
    bool done = xci_pattern_rewrite(cases[i].from, &out, &reason);
    ck_assert_msg(done == (cases[i].to != NULL), "%s", cases[i].from);
    if (done) ck_assert_str_eq(out.bytes, cases[i].to);
    else ck_assert_ptr_nonnull(reason);
    xci_text_clear(&out);
  }
}
END_TEST

START_TEST(stripping) {
  const char *text = "\x1c\t \xc2\xa0 a b\xe3\x80\x80\n";
  size_t n = strlen(text);
  xci_strip(&text, &n);
  ck_assert_uint_eq(n, 3);
  ck_assert(memcmp(text, "a b", 3) == 0);
  text = " \n";
  n = 2;
  xci_strip(&text, &n);
  ck_assert_uint_eq(n, 0);
}
END_TEST

int main(void) {
  TCase *tcase = new_case("unicode");
  tcase_add_test(tcase, classes_of_the_reference);
  tcase_add_test(tcase, byte_alphabet);
  tcase_add_test(tcase, inert_code_points);
  tcase_add_test(tcase, normal_forms);
  tcase_add_test(tcase, many_marks);
  tcase_add_test(tcase, words_by_hand_and_by_expression);
  tcase_add_test(tcase, rewriting);
  tcase_add_test(tcase, stripping);
  return run_case(tcase, "unicode");
}
