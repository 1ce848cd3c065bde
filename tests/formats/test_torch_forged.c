/* SPDX-License-Identifier: Apache-2.0 */
/* Less common parts of torch.save files, forged right and then wrong in one place: zip64 records, untyped storages with
 * _rebuild_tensor_v3, arguments of the functions, and the legacy format. */
#include "tests/formats/torch_forge.h"
#include "formats/torch_file.h"
#include <check.h>
#include <stdio.h>
#include <unistd.h>

#define LENGTH(array) (sizeof(array) / sizeof *(array))
static forged file, pickle;
static char scratch[64];

static void write_file(void) {
  FILE *out = fopen(scratch, "wb");
  ck_assert_ptr_nonnull(out);
  ck_assert_uint_eq(fwrite(file.bytes, 1, file.n, out), file.n);
  ck_assert_int_eq(fclose(out), 0);
}

/* What is accepted has the tensor "w" of [2, 2] whose first values are 1 and 2, or nothing else is looked at. */
static void expect(xcoder_status wanted, const char *words, const char *what) {
  xcoder_error error = {0};
  xci_torch *torch = NULL;
  write_file();
  xcoder_status status = xci_torch_open(scratch, &torch, &error);
  ck_assert_msg(status == wanted, "%s: status %d (%s), expected %d", what, (int)status, error.message, (int)wanted);
  if (words) ck_assert_msg(strstr(error.message, words), "%s: '%s' lacks '%s'", what, error.message, words);
  if (!status) {
    const xci_tensor *w = xci_torch_find(torch, "w");
    float values[4] = {0};
    ck_assert_msg(w != NULL && w->n_values == 4, "%s: no tensor w", what);
    ck_assert_int_eq(xci_tensor_to_f32(w, values, &error), XCODER_OK);
    ck_assert_float_eq(values[0], 1);
    ck_assert_float_eq(values[3], 4);
  }
  xci_torch_close(torch);
}

static void add(const char *text) { forge(&pickle, text, strlen(text)); }

/* ---- zip64 ---- */

enum { END64 = 56, END = 22 };

typedef struct zip64_numbers {
  uint64_t n_entries, n_bytes, offset, at; /* of the zip64 end record; `at` in its locator */
  uint64_t size, packed, header;           /* of the second entry's extra field */
  unsigned extra_id, extra_bytes;
} zip64_numbers;

/* Behind each payload, as where sizes were not known when the local header was written: 0, 16 or 24 bytes, the latter
 * with sizes of 8 bytes each. Its numbers may be anything: the directory's count. */
static struct {
  unsigned bytes;
  uint64_t spoiled;
} descriptor;

static void forge_descriptor(const void *bytes, size_t n) {
  if (descriptor.bytes == 0) return;
  forge(&file, "PK\x07\x08", 4);
  forge_number(&file, 4, crc32(0, bytes, (uInt)n) ^ (descriptor.spoiled & UINT32_MAX));
  for (int k = 0; k < 2; k++) forge_number(&file, descriptor.bytes == 24 ? 8 : 4, n ^ descriptor.spoiled);
}

/* An archive like torch's of more than 4 GB: the second entry's sizes and place stand in an extra field, those of the
 * directory in the zip64 end record. `change` may spoil one of the numbers. */
static void forge_zip64(void (*change)(zip64_numbers *n)) {
  static const float four[4] = {1, 2, 3, 4};
  static const char pkl[] = "a/data.pkl", storage[] = "a/data/0";
  size_t at[2];
  file.n = 0;
  for (int i = 0; i < 2; i++) {
    const char *name = i ? storage : pkl;
    at[i] = file.n;
    forge(&file, "PK\x03\x04\0\0\0\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 26);
    forge_number(&file, 2, strlen(name));
    forge_number(&file, 2, 0);
    forge(&file, name, strlen(name));
    if (i) forge(&file, four, sizeof four);
    else forge(&file, pickle.bytes, pickle.n);
    if (i) forge_descriptor(four, sizeof four);
    else forge_descriptor(pickle.bytes, pickle.n);
  }
  size_t central = file.n;
  zip64_numbers n = {2, 0, central, 0, sizeof four, sizeof four, at[1], 1, 24};
  n.n_bytes = 2 * 46 + strlen(pkl) + strlen(storage) + 28;
  n.at = central + n.n_bytes;
  if (change) change(&n);
  for (int i = 0; i < 2; i++) {
    const char *name = i ? storage : pkl;
    forge(&file, "PK\x01\x02\0\0\0\0\0\0\0\0\0\0\0\0", 16);
    forge_number(&file, 4, i ? crc32(0, (const void *)four, sizeof four) : crc32(0, pickle.bytes, (uInt)pickle.n));
    forge_number(&file, 4, i ? UINT32_MAX : pickle.n);
    forge_number(&file, 4, i ? UINT32_MAX : pickle.n);
    forge_number(&file, 2, strlen(name));
    forge_number(&file, 2, i ? 28 : 0);
    forge(&file, "\0\0\0\0\0\0\0\0\0\0", 10);
    forge_number(&file, 4, i ? UINT32_MAX : at[0]);
    forge(&file, name, strlen(name));
    if (!i) continue;
    forge_number(&file, 2, n.extra_id);
    forge_number(&file, 2, n.extra_bytes);
    forge_number(&file, 8, n.size);
    forge_number(&file, 8, n.packed);
    forge_number(&file, 8, n.header);
  }
  forge(&file, "PK\x06\x06", 4);
  forge_number(&file, 8, END64 - 12);
  forge(&file, "\0\0\0\0\0\0\0\0\0\0\0\0", 12);
  forge_number(&file, 8, n.n_entries);
  forge_number(&file, 8, n.n_entries);
  forge_number(&file, 8, n.n_bytes);
  forge_number(&file, 8, n.offset);
  forge(&file, "PK\x06\x07\0\0\0\0", 8);
  forge_number(&file, 8, n.at);
  forge_number(&file, 4, 1);
  forge(&file, "PK\x05\x06\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0", END);
}

static const forged_tensor good = {"FloatStorage", "0", 4, 0, {2, 2}, {2, 1}, 2, 2};

static void forge_state(void) {
  pickle.n = 0;
  forge(&pickle, "\x80\x02}", 3);
  forge_text(&pickle, "w");
  forge_tensor(&pickle, &good);
  add("s.");
}

static void no_entries(zip64_numbers *n) { n->n_entries = 0; }
static void one_entry(zip64_numbers *n) { n->n_entries = 1; }
static void many_entries(zip64_numbers *n) { n->n_entries = UINT64_MAX; }
static void huge_directory(zip64_numbers *n) { n->n_bytes = UINT64_MAX; }
static void directory_wraps(zip64_numbers *n) { n->offset = UINT64_MAX - 8; }
static void record_beyond(zip64_numbers *n) { n->at += 1; }
static void record_wraps(zip64_numbers *n) { n->at = UINT64_MAX - 20; }
static void size_wraps(zip64_numbers *n) { n->size = n->packed = UINT64_MAX; }
static void size_huge(zip64_numbers *n) { n->size = n->packed = UINT64_C(1) << 62; }
static void sizes_differ(zip64_numbers *n) { n->size = 15; }
static void header_wraps(zip64_numbers *n) { n->header = UINT64_MAX; }
static void header_in_directory(zip64_numbers *n) { n->header = n->offset; }
static void header_of_other(zip64_numbers *n) { n->header = 0; }
static void other_extra(zip64_numbers *n) { n->extra_id = 2; }
static void size_with_descriptor(zip64_numbers *n) { n->size = n->packed = 16 + 24; }
static void size_into_directory(zip64_numbers *n) { n->size = n->packed = 16 + 25; }
static void short_extra(zip64_numbers *n) { n->extra_bytes = 16; }
static void long_extra(zip64_numbers *n) { n->extra_bytes = 25; }

START_TEST(test_zip64) {
  static const struct {
    void (*change)(zip64_numbers *n);
    xcoder_status wanted;
    const char *words;
  } cases[] = {
    {NULL, XCODER_OK, NULL},
    {no_entries, XCODER_FORMAT, "zip directory of 0 entries"},
    {one_entry, XCODER_FORMAT, NULL},
    {many_entries, XCODER_UNSUPPORTED, "at most"},
    {huge_directory, XCODER_FORMAT, "outside of the file"},
    {directory_wraps, XCODER_FORMAT, "outside of the file"},
    {record_beyond, XCODER_FORMAT, "no zip64 end record"},
    {record_wraps, XCODER_FORMAT, "no zip64 end record"},
    {size_wraps, XCODER_FORMAT, "a/data/0"},
    {size_huge, XCODER_FORMAT, "a/data/0"},
    {sizes_differ, XCODER_FORMAT, "a/data/0"},
    {header_wraps, XCODER_FORMAT, NULL},
    {header_in_directory, XCODER_FORMAT, NULL},
    {header_of_other, XCODER_FORMAT, "another name"},
    {other_extra, XCODER_FORMAT, NULL},
    {short_extra, XCODER_FORMAT, NULL},
    {long_extra, XCODER_FORMAT, NULL},
  };
  forge_state();
  for (size_t i = 0; i < LENGTH(cases); i++) {
    char what[32];
    snprintf(what, sizeof what, "zip64 case %zu", i);
    forge_zip64(cases[i].change);
    expect(cases[i].wanted, cases[i].words, what);
  }
}
END_TEST

START_TEST(test_descriptors) {
  static const struct {
    unsigned bytes;
    uint64_t spoiled;
    void (*change)(zip64_numbers *n);
    xcoder_status wanted;
    const char *words;
  } cases[] = {
    {16, 0, NULL, XCODER_OK, NULL},
    {24, 0, NULL, XCODER_OK, NULL},
    {24, 1, NULL, XCODER_OK, NULL},
    {24, UINT64_MAX, NULL, XCODER_OK, NULL},
    {24, 0, size_with_descriptor, XCODER_FORMAT, "an entry of 40 bytes"},
    {24, 0, size_into_directory, XCODER_FORMAT, "go beyond the entries"},
    {24, 0, header_of_other, XCODER_FORMAT, "another name"},
    {24, 0, size_wraps, XCODER_FORMAT, "a/data/0"},
    {24, 0, short_extra, XCODER_FORMAT, NULL},
  };
  forge_state();
  for (size_t i = 0; i < LENGTH(cases); i++) {
    char what[32];
    snprintf(what, sizeof what, "descriptor case %zu", i);
    descriptor.bytes = cases[i].bytes, descriptor.spoiled = cases[i].spoiled;
    forge_zip64(cases[i].change);
    expect(cases[i].wanted, cases[i].words, what);
  }
  descriptor.bytes = 0;
}
END_TEST

/* ---- Functions and their arguments ---- */

#define V2 "ctorch._utils\n_rebuild_tensor_v2\n("
#define V3 "ctorch._utils\n_rebuild_tensor_v3\n("
#define PARAMETER "ctorch._utils\n_rebuild_parameter\n"
#define HOOKS "ccollections\nOrderedDict\n)R"

/* Pickles as text: '$' stands for the storage of four floats, '%' for the same 16 bytes untyped, '@' for the number 0,
 * '~' for a zero byte. */
static void forge_functions(const char *text) {
  pickle.n = 0;
  forge(&pickle, "\x80\x02}", 3);
  forge_text(&pickle, "w");
  for (const char *c = text; *c; c++) {
    if (*c == '@') forge(&pickle, "K\0", 2);
    else if (*c != '$' && *c != '%') forge(&pickle, *c == '~' ? "" : c, 1);
    if (*c != '$' && *c != '%') continue;
    add("(");
    forge_text(&pickle, "storage");
    add(*c == '$' ? "ctorch\nFloatStorage\n" : "ctorch.storage\nUntypedStorage\n");
    forge_text(&pickle, "0");
    forge_text(&pickle, "cpu");
    add(*c == '$' ? "K\x04tQ" : "K\x10tQ");
  }
  add("s.");
}

#define SHAPE "K\x02K\x02\x86K\x02K\x01\x86"

START_TEST(test_functions) {
  static const struct {
    const char *text;
    xcoder_status wanted;
    const char *words;
  } cases[] = {
    {V2 "$@" SHAPE "\x89" HOOKS "tR", XCODER_OK, NULL},
    {V2 "$@" SHAPE "\x89NtR", XCODER_OK, NULL},
    {V2 "$@" SHAPE "\x88}tR", XCODER_OK, NULL},
    {V2 "$@" SHAPE "\x89" HOOKS "}tR", XCODER_OK, NULL},
    {V2 "$@" SHAPE "\x89" HOOKS "NtR", XCODER_OK, NULL},
    {V2 "$@" SHAPE "\x89" HOOKS "}X\x04~~~" "conj\x89stR", XCODER_OK, NULL},
    {V2 "$@" SHAPE "\x89" HOOKS "}X\x04~~~" "conj\x88stR", XCODER_UNSUPPORTED, "conjugate or negative"},
    {V2 "$@" SHAPE "\x89" HOOKS "K\x01tR", XCODER_UNSUPPORTED, "conjugate or negative"},
    {V2 "$@" SHAPE "\x89" HOOKS "}NtR", XCODER_FORMAT, "a tensor that is not"},
    {V2 "$@" SHAPE "\x89tR", XCODER_FORMAT, "a tensor that is not"},
    {V2 "$@" SHAPE "N" HOOKS "tR", XCODER_FORMAT, "a tensor that is not"},
    {V2 "$@" SHAPE "\x89K\x01tR", XCODER_FORMAT, "a tensor that is not"},
    {V2 "$@" SHAPE "\x89}X\x04~~~hook\x89stR", XCODER_FORMAT, "a tensor that is not"},
    {V2 "N@" SHAPE "\x89" HOOKS "tR", XCODER_FORMAT, "a tensor that is not"},
    {V2 "$@NN\x89" HOOKS "tR", XCODER_FORMAT, "a tensor that is not"},
    {V2 "$N" SHAPE "\x89" HOOKS "tR", XCODER_FORMAT, "no sizes"},
    {V2 "$@NN\x86NN\x86\x89" HOOKS "tR", XCODER_FORMAT, "no sizes"},
    {V2 "%@" SHAPE "\x89" HOOKS "tR", XCODER_FORMAT, "does not go with its storage"},
    {V3 "%@" SHAPE "\x89" HOOKS "ctorch\nfloat32\ntR", XCODER_OK, NULL},
    {V3 "%@" SHAPE "\x89" HOOKS "ctorch\nfloat32\nNtR", XCODER_OK, NULL},
    {V3 "$@" SHAPE "\x89" HOOKS "ctorch\nfloat32\ntR", XCODER_FORMAT, "does not go with its storage"},
    {V3 "%@" SHAPE "\x89" HOOKS "NtR", XCODER_FORMAT, "does not go with its storage"},
    {V3 "%@" SHAPE "\x89" HOOKS "ctorch\nFloatStorage\ntR", XCODER_FORMAT, "does not go with its storage"},
    {V3 "%@" SHAPE "\x89" HOOKS "ctorch\nfloat64\ntR", XCODER_FORMAT, "beyond its storage of 2 values"},
    {V3 "%@" SHAPE "\x89" HOOKS "ctorch\ncomplex64\ntR", XCODER_UNSUPPORTED, "complex64"},
    {V3 "%@" SHAPE "\x89" HOOKS "tR", XCODER_FORMAT, "a tensor that is not"},
    {PARAMETER V2 "$@" SHAPE "\x89" HOOKS "tR\x88" HOOKS "\x87R", XCODER_OK, NULL},
    {PARAMETER V2 "$@" SHAPE "\x89" HOOKS "tR\x88N\x87R", XCODER_OK, NULL},
    {PARAMETER V2 "$@" SHAPE "\x89" HOOKS "tR\x88\x86R", XCODER_FORMAT, "_rebuild_parameter"},
    {PARAMETER V2 "$@" SHAPE "\x89" HOOKS "tRNN\x87R", XCODER_FORMAT, "_rebuild_parameter"},
    {PARAMETER "$\x88" HOOKS "\x87R", XCODER_FORMAT, "_rebuild_parameter"},
    {V2 "$@ctorch\nSize\nK\x02K\x02\x86\x85RK\x02K\x01\x86\x89" HOOKS "tR", XCODER_OK, NULL},
    {V2 "$@ctorch\nSize\nK\x04\x85RK\x02K\x01\x86\x89" HOOKS "tR", XCODER_FORMAT, "torch Size"},
    {"ctorch\nfloat32\n)R", XCODER_UNSUPPORTED, "no function"},
    {"K\x01)R", XCODER_FORMAT, "on what is no global"},
    {"ctorch._utils\n_rebuild_tensor_v4\n)R", XCODER_UNSUPPORTED, "_rebuild_tensor_v4"},
    {"ctorch._utils\n_rebuild_tensor_v\n)R", XCODER_UNSUPPORTED, "_rebuild_tensor_v'"},
    {"ctorch._utils \n_rebuild_tensor_v2\n)R", XCODER_UNSUPPORTED, "_utils  _rebuild"},
  };
  for (size_t i = 0; i < LENGTH(cases); i++) {
    static const float four[4] = {1, 2, 3, 4};
    char what[32];
    size_t central;
    snprintf(what, sizeof what, "function case %zu", i);
    forge_functions(cases[i].text);
    const forged_entry entry[] = {{.name = "a/data.pkl", .bytes = pickle.bytes, .n = pickle.n},
                                  {.name = "a/data/0", .bytes = four, .n = sizeof four}};
    forge_zip(&file, entry, 2, &central);
    expect(cases[i].wanted, cases[i].words, what);
  }
}
END_TEST

/* ---- The legacy format ---- */

typedef struct legacy_parts {
  unsigned version;
  char little_endian;      /* an opcode: \x88 True, \x89 False */
  const char *key, *listed; /* of the storage; in the list of pickle 5 */
  char view;               /* an opcode: N, or something that makes the storage a view */
  uint64_t n_values;       /* before the values */
  size_t n_bytes, n_more;  /* of the values that are there, and behind them */
  bool twice, unlisted;    /* in the list */
} legacy_parts;

static void forge_legacy(const legacy_parts *part) {
  static const float five[5] = {1, 2, 3, 4, 5};
  pickle.n = 0;
  forge(&pickle, "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M", 18);
  forge_number(&pickle, 2, part->version);
  forge(&pickle, ".\x80\x02}", 4);
  forge_text(&pickle, "little_endian");
  forge(&pickle, &part->little_endian, 1);
  forge(&pickle, "s.\x80\x02}", 5);
  forge_text(&pickle, "w");
  add(V2 "(");
  forge_text(&pickle, "storage");
  add("ctorch\nFloatStorage\n");
  forge_text(&pickle, part->key);
  forge_text(&pickle, "cpu");
  add("K\x04");
  forge(&pickle, &part->view, 1);
  add("tQ");
  forge(&pickle, "K\0", 2);
  add(SHAPE "\x89" HOOKS "tRs.");
  forge(&pickle, "\x80\x02]", 3);
  for (int i = 0; !part->unlisted && i < (part->twice ? 2 : 1); i++) {
    forge_text(&pickle, part->listed);
    add("a");
  }
  add(".");
  file.n = 0;
  forge(&file, pickle.bytes, pickle.n);
  for (int i = 0; i < (part->twice ? 2 : 1); i++) {
    forge_number(&file, 8, part->n_values);
    forge(&file, five, part->n_bytes);
  }
  forge(&file, five, part->n_more);
}

START_TEST(test_legacy) {
  static const struct {
    legacy_parts part;
    xcoder_status wanted;
    const char *words;
  } cases[] = {
    {{1001, '\x88', "7", "7", 'N', 4, 16, 0, false, false}, XCODER_OK, NULL},
    /* A key only. */
    {{1001, '\x88', "../../etc/passwd", "../../etc/passwd", 'N', 4, 16, 0, false, false}, XCODER_OK, NULL},
    {{1002, '\x88', "7", "7", 'N', 4, 16, 0, false, false}, XCODER_UNSUPPORTED, "version 1001"},
    {{1001, '\x89', "7", "7", 'N', 4, 16, 0, false, false}, XCODER_UNSUPPORTED, "little_endian"},
    {{1001, 'N', "7", "7", 'N', 4, 16, 0, false, false}, XCODER_UNSUPPORTED, "little_endian"},
    {{1001, '\x88', "7", "8", 'N', 4, 16, 0, false, false}, XCODER_FORMAT, "belongs to no tensor"},
    {{1001, '\x88', "7", "7", ')', 4, 16, 0, false, false}, XCODER_UNSUPPORTED, "view of another one"},
    {{1001, '\x88', "7", "7", 'N', 3, 16, 0, false, false}, XCODER_FORMAT, "another length"},
    {{1001, '\x88', "7", "7", 'N', UINT64_MAX, 16, 0, false, false}, XCODER_FORMAT, "another length"},
    {{1001, '\x88', "7", "7", 'N', 4, 15, 0, false, false}, XCODER_FORMAT, "cut off"},
    {{1001, '\x88', "7", "7", 'N', 4, 16, 1, false, false}, XCODER_FORMAT, "bytes behind the last storage"},
    {{1001, '\x88', "7", "7", 'N', 4, 16, 0, true, false}, XCODER_FORMAT, "is there twice"},
    {{1001, '\x88', "7", "7", 'N', 4, 16, 0, false, true}, XCODER_FORMAT, "a storage is not in the file"},
  };
  for (size_t i = 0; i < LENGTH(cases); i++) {
    char what[32];
    snprintf(what, sizeof what, "legacy case %zu", i);
    forge_legacy(&cases[i].part);
    expect(cases[i].wanted, cases[i].words, what);
  }
}
END_TEST

int main(void) {
  snprintf(scratch, sizeof scratch, "/tmp/xcoder-forged-%ld", (long)getpid());
  Suite *suite = suite_create("forged torch.save");
  TCase *tcase = tcase_create("forged");
  tcase_add_test(tcase, test_zip64);
  tcase_add_test(tcase, test_descriptors);
  tcase_add_test(tcase, test_functions);
  tcase_add_test(tcase, test_legacy);
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  unlink(scratch);
  return failed != 0;
}
