/* SPDX-License-Identifier: Apache-2.0 */
/* torch.save files: genuine ones, forged ones with one fault each, truncations, mutants, failing allocations. */
#include "tests/formats/torch_forge.h"
#include "base/memory.h"
#include "formats/torch_file.h"
#include <check.h>
#include <stdio.h>
#include <unistd.h>

#define LENGTH(array) (sizeof(array) / sizeof *(array))
static forged file, pickle;
static char scratch[64];

static const char *golden(const char *name) {
  static char path[1024];
  const char *srcdir = getenv("srcdir");
  snprintf(path, sizeof path, "%s/tests/formats/golden/%s", srcdir ? srcdir : ".", name);
  return path;
}

static xcoder_status try_bytes(const unsigned char *bytes, size_t n, xcoder_error *error) {
  FILE *out = fopen(scratch, "wb");
  ck_assert_ptr_nonnull(out);
  ck_assert_uint_eq(fwrite(bytes, 1, n, out), n);
  fclose(out);
  xci_torch *torch = NULL;
  static volatile unsigned sink;
  (void)sink;
  xcoder_status status = xci_torch_open(scratch, &torch, error);
  ck_assert(!status == (torch != NULL));
  for (size_t i = 0; !status && i < xci_torch_count(torch); i++) {
    const xci_tensor *t = xci_torch_at(torch, i);
    for (size_t k = 0; k < t->n_bytes; k++) sink += t->bytes[k];
  }
  xci_torch_close(torch);
  return status;
}

static void expect(xcoder_status wanted, const char *words, const char *what) {
  xcoder_error error = {0};
  xcoder_status status = try_bytes(file.bytes, file.n, &error);
  ck_assert_msg(status == wanted, "%s: status %d (%s), expected %d", what, (int)status, error.message, (int)wanted);
  if (words) ck_assert_msg(strstr(error.message, words), "%s: '%s' lacks '%s'", what, error.message, words);
}

/* ---- Genuine files ---- */

static void check_values(const xci_torch *torch, const char *name, xci_dtype dtype, size_t rank, const size_t *shape,
                         const double *expected) {
  const xci_tensor *t = xci_torch_find(torch, name);
  ck_assert_msg(t != NULL, "no %s", name);
  ck_assert_int_eq(t->dtype, dtype);
  ck_assert_uint_eq(t->rank, rank);
  for (size_t i = 0; i < rank; i++) ck_assert_uint_eq(t->shape[i], shape[i]);
  float values[16];
  int64_t integers[16];
  xcoder_error error;
  bool is_integer = dtype == XCI_I64;
  ck_assert_uint_le(t->n_values, 16);
  ck_assert_int_eq(is_integer ? xci_tensor_to_i64(t, integers, &error) : xci_tensor_to_f32(t, values, &error), 0);
  for (size_t i = 0; i < t->n_values; i++)
    ck_assert_double_eq(is_integer ? (double)integers[i] : (double)values[i], expected[i]);
}

static void check_state(const char *name) {
  static const double rows[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  static const double columns[] = {0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11};
  static const double column[] = {1, 5, 9}, ids[] = {-2, -1, 0, 1, 2}, seven[] = {7};
  static const double more[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
  static const size_t shape[] = {3, 4}, turned[] = {4, 3}, three[] = {3}, five[] = {5}, none[] = {0, 3};
  xcoder_error error = {0};
  xci_torch *torch;
  ck_assert_msg(!xci_torch_open(golden(name), &torch, &error), "%s", error.message);
  ck_assert_uint_eq(xci_torch_count(torch), 12);
  check_values(torch, "plain", XCI_F32, 2, shape, rows);
  check_values(torch, "tied", XCI_F32, 2, shape, rows);
  check_values(torch, "transposed", XCI_F32, 2, turned, columns);
  check_values(torch, "column", XCI_F32, 1, three, column);
  check_values(torch, "half", XCI_F16, 2, shape, rows);
  check_values(torch, "brain", XCI_BF16, 2, shape, rows);
  check_values(torch, "double", XCI_F64, 2, shape, rows);
  check_values(torch, "ids", XCI_I64, 1, five, ids);
  check_values(torch, "scalar", XCI_F32, 0, NULL, seven);
  check_values(torch, "empty", XCI_F32, 2, none, NULL);
  check_values(torch, "parameter", XCI_F32, 2, shape, more);
  ck_assert_int_eq(xci_torch_find(torch, "mask")->dtype, XCI_BOOL);
  ck_assert_ptr_eq(xci_torch_find(torch, "tied")->bytes, xci_torch_find(torch, "plain")->bytes); /* not copied */
  ck_assert_ptr_null(xci_torch_find(torch, "absent"));
  xci_torch_close(torch);
}

START_TEST(test_state) {
  check_state("zip.pt");
  check_state("legacy.pt");
  check_state("nested.pt");
}
END_TEST

START_TEST(test_bare_and_module) {
  static const double numbers[] = {0, 1, 2, 3, 4, 5}, ones[] = {1, 1, 1, 1};
  static const size_t shape[] = {2, 3}, square[] = {2, 2};
  xcoder_error error = {0};
  xci_torch *torch;
  ck_assert_msg(!xci_torch_open(golden("bare.pt"), &torch, &error), "%s", error.message);
  ck_assert_uint_eq(xci_torch_count(torch), 1);
  check_values(torch, "", XCI_I64, 2, shape, numbers);
  xci_torch_close(torch);
  ck_assert_msg(!xci_torch_open(golden("module.pt"), &torch, &error), "%s", error.message);
  check_values(torch, "weight", XCI_F32, 2, square, ones);
  xci_torch_close(torch);
}
END_TEST

START_TEST(test_shared_data) {
  static const char *const names[] = {"pytorch_model.bin", "linear.bin", "plaindict.bin", "frombuf.bin", "legacy.bin",
                                      "tokens.pt"};
  const char *folder = getenv("XCODER_SHARED_DATA");
  char path[1024];
  for (size_t i = 0; i < LENGTH(names); i++) {
    snprintf(path, sizeof path, "%s/files/torch/%s", folder ? folder : "../shared/data", names[i]);
    if (access(path, R_OK) != 0) {
      printf("SKIPPED: %s is not there (XCODER_SHARED_DATA)\n", names[i]);
      continue;
    }
    xcoder_error error = {0};
    xci_torch *torch;
    ck_assert_msg(!xci_torch_open(path, &torch, &error), "%s", error.message);
    printf("%s: %zu tensors\n", names[i], xci_torch_count(torch));
    xci_torch_close(torch);
  }
}
END_TEST

/* ---- Zip container ---- */

static const float four[4] = {1, 2, 3, 4};
static const forged_tensor good = {"FloatStorage", "0", 4, 0, {2, 2}, {2, 1}, 2, 2};

static void forge_state(const forged_tensor *tensor) {
  pickle.n = 0;
  forge(&pickle, "\x80\x02}", 3);
  forge_text(&pickle, "w");
  forge_tensor(&pickle, tensor);
  forge(&pickle, "s.", 2);
}

/* The pickle and a storage of four floats; up to two more entries. */
static size_t forge_archive(forged_entry pkl, forged_entry storage, const forged_entry *more, size_t n_more) {
  forged_entry entry[4] = {pkl, storage};
  size_t central;
  for (size_t i = 0; i < n_more; i++) entry[2 + i] = more[i];
  forge_zip(&file, entry, 2 + n_more, &central);
  return central;
}

static forged_entry pickle_entry(void) {
  return (forged_entry){.name = "a/data.pkl", .bytes = pickle.bytes, .n = pickle.n};
}
static const forged_entry storage_entry = {.name = "a/data/0", .bytes = four, .n = sizeof four};

START_TEST(test_entries) {
  static const struct {
    forged_entry more;
    xcoder_status wanted;
    const char *words;
  } cases[] = {
      {{.name = "a/version", .bytes = "3\n", .n = 2}, XCODER_OK, NULL},
      {{.name = "a/byteorder", .bytes = "little", .n = 6}, XCODER_OK, NULL},
      {{.name = "a/.data/serialization_id", .bytes = "17", .n = 2}, XCODER_OK, NULL}, /* newer torch writes these */
      {{.name = "a/.format_version", .bytes = "1", .n = 1}, XCODER_OK, NULL},
      {{.name = "a/.storage_alignment", .bytes = "64", .n = 2}, XCODER_OK, NULL},
      {{.name = "a/byteorder", .bytes = "big", .n = 3}, XCODER_UNSUPPORTED, "big"},
      {{.name = "a/data.pkl", .bytes = "x", .n = 1}, XCODER_FORMAT, "twice"},
      {{.name = "b/data.pkl", .bytes = "x", .n = 1}, XCODER_FORMAT, "second data.pkl"},
      {{.name = "/tmp/x", .bytes = "x", .n = 1}, XCODER_FORMAT, "/tmp/x"},
      {{.name = "../../x", .bytes = "x", .n = 1}, XCODER_FORMAT, "../../x"},
      {{.name = "a/constants.pkl", .bytes = "x", .n = 1}, XCODER_UNSUPPORTED, "TorchScript"},
      {{.name = "a/x", .local_name = "a/y", .bytes = "x", .n = 1}, XCODER_FORMAT, "another name"},
      {{.name = "a/x", .bytes = "x", .n = 1, .flags = 1}, XCODER_UNSUPPORTED, "encrypted"},
  };
  forge_state(&good);
  for (size_t i = 0; i < LENGTH(cases); i++) {
    forge_archive(pickle_entry(), storage_entry, &cases[i].more, 1);
    expect(cases[i].wanted, cases[i].words, cases[i].more.name);
  }
}
END_TEST

START_TEST(test_pickle_entry) {
  static const struct {
    unsigned method, crc;
    xcoder_status wanted;
    const char *words;
  } cases[] = {{0, 0, XCODER_OK, NULL}, {8, 0, XCODER_OK, NULL}, {12, 0, XCODER_UNSUPPORTED, "method 12"},
               {99, 0, XCODER_UNSUPPORTED, "method 99"}, {0, 1, XCODER_FORMAT, "checksum"},
               {8, 1, XCODER_FORMAT, "checksum"}};
  forge_state(&good);
  for (size_t i = 0; i < LENGTH(cases); i++) {
    forged_entry entry = pickle_entry();
    entry.method = cases[i].method;
    entry.spoiled_crc = cases[i].crc;
    forge_archive(entry, storage_entry, NULL, 0);
    expect(cases[i].wanted, cases[i].words, "data.pkl");
  }
}
END_TEST

START_TEST(test_storage_entry) {
  forged_entry entry = storage_entry;
  forge_state(&good);
  entry.n = 15;
  forge_archive(pickle_entry(), entry, NULL, 0);
  expect(XCODER_FORMAT, "storage '0'", "storage too short");
  entry = storage_entry;
  entry.name = "a/data/1";
  forge_archive(pickle_entry(), entry, NULL, 0);
  expect(XCODER_FORMAT, "storage '0' is not in the file", "storage missing");
  entry = storage_entry;
  entry.method = 8;
  forge_archive(pickle_entry(), entry, NULL, 0);
  expect(XCODER_UNSUPPORTED, "method 8", "storage deflated");
  entry = pickle_entry();
  entry.name = "a/other";
  forge_archive(entry, storage_entry, NULL, 0);
  expect(XCODER_FORMAT, "without data.pkl", "no pickle");
}
END_TEST

/* A number in the directory or the end record is spoiled. */
START_TEST(test_directory) {
  static const struct {
    int from_end; /* of the end record, else of the directory */
    size_t place, width;
    uint64_t value;
    xcoder_status wanted;
  } cases[] = {
      {1, 10, 2, 2, XCODER_OK},          {1, 10, 2, 0, XCODER_FORMAT},       {1, 10, 2, 60000, XCODER_FORMAT},
      {1, 10, 2, 1, XCODER_FORMAT},      {1, 12, 4, 1 << 20, XCODER_FORMAT}, {1, 16, 4, 1 << 20, XCODER_FORMAT},
      {1, 16, 4, 0, XCODER_FORMAT},      {1, 20, 2, 9, XCODER_FORMAT},       {0, 20, 4, 1 << 20, XCODER_FORMAT},
      {0, 24, 4, 1 << 20, XCODER_FORMAT}, {0, 24, 4, UINT32_MAX, XCODER_FORMAT}, {0, 42, 4, 1 << 20, XCODER_FORMAT},
      {0, 42, 4, 7, XCODER_FORMAT},      {0, 28, 2, 60000, XCODER_FORMAT},   {0, 0, 4, 0, XCODER_FORMAT},
  };
  forge_state(&good);
  for (size_t i = 0; i < LENGTH(cases); i++) {
    size_t central = forge_archive(pickle_entry(), storage_entry, NULL, 0);
    unsigned char number[8], *at = cases[i].from_end ? file.bytes + file.n - 22 : file.bytes + central;
    xci_store_u64(number, cases[i].value);
    memcpy(at + cases[i].place, number, cases[i].width);
    char what[32];
    snprintf(what, sizeof what, "directory case %zu", i);
    expect(cases[i].wanted, NULL, what);
  }
  /* Both entries on the local header of the first: another name, so refused before the overlap. */
  size_t central = forge_archive(pickle_entry(), storage_entry, NULL, 0);
  xci_store_u32(file.bytes + central + 46 + 10 + 42, 0);
  expect(XCODER_FORMAT, "another name", "one local header");
  /* The first entry's bytes reach into the second. */
  central = forge_archive(pickle_entry(), storage_entry, NULL, 0);
  xci_store_u32(file.bytes + central + 20, (uint32_t)pickle.n + 8);
  xci_store_u32(file.bytes + central + 24, (uint32_t)pickle.n + 8);
  expect(XCODER_FORMAT, "overlaps", "overlap");
}
END_TEST

START_TEST(test_other_files) {
  static const struct {
    const char *bytes;
    size_t n;
    xcoder_status wanted;
  } cases[] = {
      {"", 0, XCODER_FORMAT}, {"x", 1, XCODER_FORMAT}, {"PK\x03\x04", 4, XCODER_FORMAT},
      {"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 22, XCODER_FORMAT}, {"PYTORCH1", 8, XCODER_UNSUPPORTED},
      {"\x7f" "ELF", 4, XCODER_FORMAT}, {"\x80\x04N.", 4, XCODER_FORMAT},
  };
  for (size_t i = 0; i < LENGTH(cases); i++) {
    file.n = 0;
    forge(&file, cases[i].bytes, cases[i].n);
    expect(cases[i].wanted, NULL, "other file");
  }
  memset(file.bytes, 0, 512);
  memcpy(file.bytes + 257, "ustar", 5);
  file.n = 512;
  expect(XCODER_UNSUPPORTED, "convert it first", "tar");
}
END_TEST

/* A deflate bomb: the directory says more than is allowed, or less than comes out. */
START_TEST(test_bomb) {
  static unsigned char zeros[100000];
  forged_entry entry = {.name = "a/data.pkl", .bytes = zeros, .n = sizeof zeros, .method = 8};
  size_t central = forge_archive(entry, storage_entry, NULL, 0);
  xci_store_u32(file.bytes + central + 24, 1u << 30);
  expect(XCODER_UNSUPPORTED, "at most", "bomb by the directory");
  xci_store_u32(file.bytes + central + 24, 10);
  expect(XCODER_FORMAT, "deflate", "bomb behind the directory's back");
}
END_TEST

/* ---- Views ---- */

START_TEST(test_views) {
  static const struct {
    forged_tensor tensor;
    xcoder_status wanted;
  } cases[] = {
      {{"FloatStorage", "0", 4, 0, {2, 2}, {2, 1}, 2, 2}, XCODER_OK},
      {{"FloatStorage", "0", 4, 0, {2, 2}, {1, 2}, 2, 2}, XCODER_OK},
      {{"FloatStorage", "0", 4, 3, {1, 1}, {9, 9}, 2, 2}, XCODER_OK},
      {{"FloatStorage", "0", 4, 4, {0, 3}, {3, 1}, 2, 2}, XCODER_OK},
      {{"FloatStorage", "0", 4, 0, {0, 0}, {0, 0}, 0, 0}, XCODER_OK},
      {{"HalfStorage", "0", 8, 0, {2, 4}, {4, 1}, 2, 2}, XCODER_OK},
      {{"FloatStorage", "0", 4, 0, {1, 1}, {1, 1}, 8, 8}, XCODER_OK},
      {{"FloatStorage", "0", 4, 0, {1, 1}, {1, 1}, 9, 9}, XCODER_UNSUPPORTED},
      {{"FloatStorage", "0", 4, 0, {1, 1}, {1, 1}, 5000, 5000}, XCODER_UNSUPPORTED},
      {{"DoubleStorage", "0", 4, 0, {2, 2}, {2, 1}, 2, 2}, XCODER_FORMAT},
      {{"FloatStorage", "../../../etc/passwd", 4, 0, {2, 2}, {2, 1}, 2, 2}, XCODER_FORMAT},
      {{"FloatStorage", "0", INT64_C(1) << 62, 0, {2, 2}, {2, 1}, 2, 2}, XCODER_FORMAT},
      {{"FloatStorage", "0", -4, 0, {2, 2}, {2, 1}, 2, 2}, XCODER_FORMAT},
      {{"FloatStorage", "0", 4, 1, {2, 2}, {2, 1}, 2, 2}, XCODER_FORMAT},
      {{"FloatStorage", "0", 4, INT64_C(1) << 61, {2, 2}, {2, 1}, 2, 2}, XCODER_FORMAT},
      {{"FloatStorage", "0", 4, -1, {2, 2}, {2, 1}, 2, 2}, XCODER_FORMAT},
      {{"FloatStorage", "0", 4, 0, {2, 2}, {-2, 1}, 2, 2}, XCODER_FORMAT},
      {{"FloatStorage", "0", 4, 0, {3, 3}, {INT64_MAX, INT64_MAX}, 2, 2}, XCODER_FORMAT},
      {{"FloatStorage", "0", 4, 0, {INT64_MAX, INT64_MAX}, {0, 0}, 2, 2}, XCODER_FORMAT},
      {{"FloatStorage", "0", 4, 0, {1000, 1000}, {0, 0}, 2, 2}, XCODER_UNSUPPORTED},
      {{"FloatStorage", "0", 4, 0, {2, 2}, {2, 1}, 2, 1}, XCODER_FORMAT},
      {{"FloatStorage", "0", 4, 0, {-2, 2}, {2, 1}, 2, 2}, XCODER_FORMAT},
      {{"FloatStorage", "0", 4, 5, {0, 3}, {3, 1}, 2, 2}, XCODER_FORMAT},
      {{"QInt8Storage", "0", 16, 0, {4, 4}, {4, 1}, 2, 2}, XCODER_UNSUPPORTED},
      {{"ComplexFloatStorage", "0", 2, 0, {1, 2}, {2, 1}, 2, 2}, XCODER_UNSUPPORTED},
      {{"FloatStorage.__class__", "0", 4, 0, {2, 2}, {2, 1}, 2, 2}, XCODER_UNSUPPORTED},
  };
  for (size_t i = 0; i < LENGTH(cases); i++) {
    char what[32];
    snprintf(what, sizeof what, "view case %zu", i);
    forge_state(&cases[i].tensor);
    forge_archive(pickle_entry(), storage_entry, NULL, 0);
    expect(cases[i].wanted, NULL, what);
  }
}
END_TEST

/* Two tensors that give one storage two types. */
START_TEST(test_two_types) {
  static const forged_tensor half = {"HalfStorage", "0", 8, 0, {2, 4}, {4, 1}, 2, 2};
  for (int other = 0; other < 2; other++) {
    pickle.n = 0;
    forge(&pickle, "\x80\x02}", 3);
    forge_text(&pickle, "w");
    forge_tensor(&pickle, &good);
    forge(&pickle, "s", 1);
    forge_text(&pickle, "v");
    forge_tensor(&pickle, other ? &half : &good);
    forge(&pickle, "s.", 2);
    forge_archive(pickle_entry(), storage_entry, NULL, 0);
    expect(other ? XCODER_FORMAT : XCODER_OK, other ? "two ways" : NULL, "two types");
  }
}
END_TEST

/* ---- Pickles ---- */

/* `PICKLE` between a protocol and nothing; none of these has a tensor, so none may be accepted. */
#define PICKLE(text) text, sizeof text - 1
static const struct {
  const char *bytes;
  size_t n;
  xcoder_status wanted;
  const char *words;
} pickles[] = {
    {PICKLE("\x80\x02" "cos\nsystem\nX\x0e\0\0\0touch PWNED_K1\x85R."), XCODER_UNSUPPORTED, "os system"},
    {PICKLE("\x80\x02" "cposix\nsystem\nX\x0e\0\0\0touch PWNED_K2\x85R."), XCODER_UNSUPPORTED, "posix system"},
    {PICKLE("\x80\x02" "c__builtin__\neval\n."), XCODER_UNSUPPORTED, "__builtin__ eval"},
    {PICKLE("\x80\x02X\x08\0\0\0builtinsX\x04\0\0\0eval\x93."), XCODER_UNSUPPORTED, "opcode 0x93"},
    {PICKLE("\x80\x02(X\x0e\0\0\0touch PWNED_K4ios\nsystem\n."), XCODER_UNSUPPORTED, "opcode 0x69"},
    {PICKLE("\x80\x02(ccollections\nOrderedDict\no."), XCODER_UNSUPPORTED, "opcode 0x6f"},
    {PICKLE("\x80\x02" "ccollections\nOrderedDict\n)\x81."), XCODER_UNSUPPORTED, "opcode 0x81"},
    {PICKLE("\x80\x02}}b."), XCODER_UNSUPPORTED, "BUILD"},
    {PICKLE("\x80\x02\x82\x01."), XCODER_UNSUPPORTED, "opcode 0x82"},
    {PICKLE("\x80\x02" "ctorch\nFloatStorage.__class__\n."), XCODER_UNSUPPORTED, "__class__"},
    {PICKLE("\x80\x02" "ctorch\nFloatStorage\n)R."), XCODER_UNSUPPORTED, "no function"},
    {PICKLE("\x80\x02r\xff\xff\xff\xff."), XCODER_FORMAT, "needs 1 values"},
    {PICKLE("\x80\x02Nr\xff\xff\xff\xff."), XCODER_FORMAT, "memo place"},
    {PICKLE("\x80\x02h\x07."), XCODER_FORMAT, "never set"},
    {PICKLE("\x80\x02R."), XCODER_FORMAT, "needs 2 values"},
    {PICKLE("\x80\x02Nt."), XCODER_FORMAT, "without a mark"},
    {PICKLE("\x80\x02(R."), XCODER_FORMAT, "needs 2 values"},
    {PICKLE("\x80\x02N1."), XCODER_UNSUPPORTED, "opcode 0x31"},
    {PICKLE("\x80\x02X\xff\xff\xff\xff" "a."), XCODER_FORMAT, "beyond the end"},
    {PICKLE("\x80\x02\x8d\0\0\0\0\0\0\0\x80."), XCODER_UNSUPPORTED, "opcode 0x8d"},
    {PICKLE("\x80\x02\x8b\xff\xff\xff\xff."), XCODER_UNSUPPORTED, "opcode 0x8b"},
    {PICKLE("\x80\x02\x95\xff\xff\xff\xff\xff\xff\xff\x7f."), XCODER_UNSUPPORTED, "opcode 0x95"},
    {PICKLE("\x80\x02N"), XCODER_FORMAT, "without a stop"},
    {PICKLE(""), XCODER_FORMAT, "without a stop"},
    {PICKLE("\x80\x06N."), XCODER_UNSUPPORTED, "protocol 6"},
    {PICKLE("N."), XCODER_FORMAT, "protocol 2"},
    {PICKLE("\x80\x02N.\x80\x02N."), XCODER_FORMAT, "behind the stop"},
    {PICKLE("\x80\x02]."), XCODER_FORMAT, "neither a dict"},
    {PICKLE("\x80\x02}K\x01Ns."), XCODER_FORMAT, "no tensors"},
    {PICKLE("\x80\x02}]Ns."), XCODER_FORMAT, "a key"},
    {PICKLE("\x80\x02]q\0h\0a."), XCODER_FORMAT, "neither a dict"},
    {PICKLE("\x80\x02}q\0X\x05\0\0\0modelh\0s."), XCODER_FORMAT, "no tensors"},
    {PICKLE("\x80\x02X\x02\0\0\0\xff\xfe."), XCODER_FORMAT, "UTF-8"},
    {PICKLE("\x80\x02P1\n."), XCODER_UNSUPPORTED, "opcode 0x50"},
    {PICKLE("\x80\x02NQ."), XCODER_FORMAT, "persistent id"},
    {PICKLE("\x80\x02\xff."), XCODER_UNSUPPORTED, "opcode 0xff"},
    {PICKLE("\x80\x02" "c</script>\nx\n."), XCODER_UNSUPPORTED, "</script>"},
    {PICKLE("\x80\x02" "ccollections\nOrderedDict\nK\x01\x85R."), XCODER_FORMAT, "other arguments"},
    {PICKLE("\x80\x02}(K\x01u."), XCODER_FORMAT, "without a value"},
    {PICKLE("\x80\x02(."), XCODER_FORMAT, "mark"},
    {PICKLE("\x80\x02NN."), XCODER_FORMAT, "2 values"},
};

START_TEST(test_pickles) {
  forged_entry entry = {.name = "a/data.pkl", .bytes = pickles[_i].bytes, .n = pickles[_i].n};
  forge_archive(entry, storage_entry, NULL, 0);
  expect(pickles[_i].wanted, pickles[_i].words, pickles[_i].words);
  for (int k = 1; k <= 5; k++) {
    char name[16];
    snprintf(name, sizeof name, "PWNED_K%d", k);
    ck_assert_msg(access(name, F_OK) != 0, "%s: a command was run", name);
  }
}
END_TEST

/* Many of the same, each time in a pickle whose end is good; what is accepted must not take long. */
START_TEST(test_repeats) {
  static const struct {
    const char *bytes;
    size_t n, n_times;
    xcoder_status wanted;
  } cases[] = {
      {PICKLE("]"), 100000, XCODER_FORMAT},     {PICKLE("("), 100000, XCODER_FORMAT},
      {PICKLE("N\x85"), 100000, XCODER_FORMAT}, {PICKLE("Nq\x01q\x02"), 40000, XCODER_FORMAT},
      {PICKLE("h\0h\0\x86q\0"), 60, XCODER_FORMAT},
  };
  for (size_t i = 0; i < LENGTH(cases); i++) {
    pickle.n = 0;
    forge(&pickle, "\x80\x02Nq\0", 5);
    for (size_t k = 0; k < cases[i].n_times; k++) forge(&pickle, cases[i].bytes, cases[i].n);
    forge(&pickle, ".", 1);
    forge_archive(pickle_entry(), storage_entry, NULL, 0);
    expect(cases[i].wanted, NULL, "repeats");
  }
  pickle.n = 0; /* 20000 places of the memo, then a good tensor */
  forge(&pickle, "\x80\x02}", 3);
  for (size_t k = 0; k < 20000; k++) {
    forge(&pickle, "r", 1);
    forge_number(&pickle, 4, k);
  }
  forge_text(&pickle, "w");
  forge_tensor(&pickle, &good);
  forge(&pickle, "s.", 2);
  forge_archive(pickle_entry(), storage_entry, NULL, 0);
  expect(XCODER_OK, NULL, "many memo places");
}
END_TEST

/* ---- Never a crash ---- */

static size_t load_golden(const char *name) {
  FILE *in = fopen(golden(name), "rb");
  ck_assert_ptr_nonnull(in);
  file.n = fread(file.bytes, 1, sizeof file.bytes, in);
  fclose(in);
  return file.n;
}

START_TEST(test_truncations_and_mutants) {
  static const char *const names[] = {"zip.pt", "legacy.pt", "bare.pt"};
  xcoder_error error;
  for (size_t f = 0; f < LENGTH(names); f++) {
    size_t n = load_golden(names[f]);
    for (size_t i = 0; i < n; i += 7)
      ck_assert_msg(try_bytes(file.bytes, i, &error) != XCODER_OK, "%s: its first %zu bytes are accepted", names[f], i);
    for (size_t i = 0; i < n; i += 3) {
      unsigned char kept = file.bytes[i];
      static const unsigned char masks[] = {0x01, 0x80, 0xff};
      file.bytes[i] ^= masks[i % 3];
      (void)try_bytes(file.bytes, n, &error);
      file.bytes[i] = kept;
    }
  }
}
END_TEST

START_TEST(test_failing_allocations) {
  static const char *const names[] = {"zip.pt", "legacy.pt", "nested.pt"};
  for (size_t f = 0; f < LENGTH(names); f++) {
    load_golden(names[f]);
    for (long n = 1;; n++) {
      xcoder_error error = {0};
      xci_torch *torch = NULL;
      xci_fail_allocation(n, 0);
      xcoder_status status = xci_torch_open(golden(names[f]), &torch, &error);
      xci_fail_allocation(0, 0);
      xci_torch_close(torch);
      if (!status) break;
      ck_assert_int_eq(status, XCODER_MEMORY);
      ck_assert_int_lt(n, 10000);
    }
  }
}
END_TEST

int main(void) {
  snprintf(scratch, sizeof scratch, "/tmp/xcoder-torch-%ld", (long)getpid());
  Suite *suite = suite_create("torch.save");
  TCase *tcase = tcase_create("torch");
  tcase_add_test(tcase, test_state);
  tcase_add_test(tcase, test_bare_and_module);
  tcase_add_test(tcase, test_shared_data);
  tcase_add_test(tcase, test_entries);
  tcase_add_test(tcase, test_pickle_entry);
  tcase_add_test(tcase, test_storage_entry);
  tcase_add_test(tcase, test_directory);
  tcase_add_test(tcase, test_other_files);
  tcase_add_test(tcase, test_bomb);
  tcase_add_test(tcase, test_views);
  tcase_add_test(tcase, test_two_types);
  tcase_add_loop_test(tcase, test_pickles, 0, (int)LENGTH(pickles));
  tcase_add_test(tcase, test_repeats);
  tcase_add_test(tcase, test_truncations_and_mutants);
  tcase_add_test(tcase, test_failing_allocations);
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_set_fork_status(runner, CK_NOFORK);
  srunner_run_all(runner, CK_NORMAL);
  int n_failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  unlink(scratch);
  return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
