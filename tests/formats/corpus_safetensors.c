/* SPDX-License-Identifier: Apache-2.0 */
/* safetensors files, one for each way in which one can be wrong, and valid ones as controls. */
#include "corpus.h"

#include "base/bytes.h"
#include <string.h>

static void add_file(xci_text *file, const char *header, size_t n_header, size_t n_data) {
  corpus_add_u64(file, n_header);
  xci_text_append(file, header, n_header);
  for (size_t i = 0; i < n_data; i++) xci_text_append(file, "", 1);
}

static void wrap(const corpus_case *entry, xci_text *file) {
  add_file(file, entry->text, strlen(entry->text), entry->n_data);
}

/* A file whose header length is a lie. */
static void add_lie(xci_text *file, uint64_t length) {
  corpus_add_u64(file, length);
  xci_text_add(file, "{}      ");
}

static void make_empty(xci_text *file) { xci_text_append(file, "", 0); }
static void make_seven_bytes(xci_text *file) { xci_text_append(file, "\2\0\0\0\0\0\0", 7); }
static void make_length_0(xci_text *file) { add_lie(file, 0); }
static void make_length_beyond_file(xci_text *file) { add_lie(file, 9); }
static void make_length_2_63(xci_text *file) { add_lie(file, (uint64_t)1 << 63); }
static void make_length_all_ones(xci_text *file) { add_lie(file, UINT64_MAX); }
static void make_length_that_wraps(xci_text *file) { add_lie(file, UINT64_MAX - 7); }
static void make_length_with_high_bytes(xci_text *file) { add_lie(file, 0xff0000000000003cu); }
static void make_length_60_alone(xci_text *file) { corpus_add_u64(file, 60); }
static void make_header_over_100_mb(xci_text *file) { add_lie(file, 100000001); }

#define A_PAIR "\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}"

static void make_nul_padding(xci_text *file) {
  add_file(file, "{" A_PAIR "}\0\0\0\0", sizeof "{" A_PAIR "}\0\0\0\0" - 1, 1);
}
static void make_nul_name(xci_text *file) {
  static const char header[] = "{\"a\\u0000b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}";
  add_file(file, header, sizeof header - 1, 1);
}

static void finish(xci_text *file, xci_text *header, size_t n_data) {
  add_file(file, header->bytes, header->n_bytes, n_data);
  if (header->failed) file->failed = true;
  xci_text_clear(header);
}

static void make_many_dimensions(xci_text *file) {
  xci_text header = {0};
  xci_text_add(&header, "{\"a\":{\"dtype\":\"U8\",\"shape\":[1");
  corpus_repeat(&header, ",1", 9999);
  xci_text_add(&header, "],\"data_offsets\":[0,1]}}");
  finish(file, &header, 1);
}

static void add_sharing(xci_text *header, size_t count, const char *span) {
  xci_text_add(header, "{");
  for (size_t i = 0; i < count; i++)
    xci_text_format(header, "%s\"t%zu\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":%s}", i ? "," : "", i,
                    span);
  xci_text_add(header, "}");
}

static void make_ten_on_one_span(xci_text *file) {
  xci_text header = {0};
  add_sharing(&header, 10, "[0,16]");
  finish(file, &header, 16);
}

static void make_100000_on_one_span(xci_text *file) {
  xci_text header = {0};
  add_sharing(&header, 100000, "[0,16]");
  finish(file, &header, 16);
}

static void make_long_name(xci_text *file) {
  xci_text header = {0};
  xci_text_add(&header, "{\"");
  corpus_repeat(&header, "0123456789abcdef", 65536);
  xci_text_add(&header, "\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}");
  finish(file, &header, 1);
}

/* The long name again, now in an error message. */
static void make_long_name_bad(xci_text *file) {
  xci_text header = {0};
  xci_text_add(&header, "{\"");
  corpus_repeat(&header, "\xf0\x9f\x98\x80\\u202e<", 65536);
  xci_text_add(&header, "\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,1]}}");
  finish(file, &header, 1);
}

static void make_deep_metadata(xci_text *file) {
  xci_text header = {0};
  xci_text_add(&header, "{\"__metadata__\":{\"a\":");
  corpus_repeat(&header, "[", 100000);
  corpus_repeat(&header, "]", 100000);
  xci_text_add(&header, "}}");
  finish(file, &header, 0);
}

static void add_floats(xci_text *file, const uint32_t *bits, size_t n) {
  xci_text header = {0};
  xci_text_format(&header, "{\"w\":{\"dtype\":\"F32\",\"shape\":[%zu],\"data_offsets\":[0,%zu]}}", n, 4 * n);
  add_file(file, header.bytes, header.n_bytes, 0);
  xci_text_clear(&header);
  for (size_t i = 0; i < n; i++) {
    char bytes[4];
    xci_store_u32(bytes, bits[i]);
    xci_text_append(file, bytes, sizeof bytes);
  }
}
static void make_all_nan(xci_text *file) {
  add_floats(file, (const uint32_t[]){0x7fc00000, 0xffc00001, 0x7f800001}, 3);
}
static void make_one_infinity(xci_text *file) { add_floats(file, (const uint32_t[]){0, 0x7f800000, 0x3f800000}, 3); }

static void make_all_dtypes(xci_text *file) {
  static const struct {
    const char *name;
    size_t bits;
  } dtypes[] = {{"F32", 32}, {"F64", 64}, {"F16", 16}, {"BF16", 16}, {"I64", 64}, {"I32", 32}, {"I16", 16}, {"I8", 8},
                {"U64", 64}, {"U32", 32}, {"U16", 16}, {"U8", 8}, {"BOOL", 8}, {"C64", 64}, {"F4", 4}, {"F6_E2M3", 6},
                {"F6_E3M2", 6}, {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}};
  xci_text header = {0};
  size_t offset = 0;
  for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
    size_t n_bytes = 4 * dtypes[i].bits / 8;
    xci_text_format(&header, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[2,2],\"data_offsets\":[%zu,%zu]}", i ? "," : "{",
                    dtypes[i].name, dtypes[i].name, offset, offset + n_bytes);
    offset += n_bytes;
  }
  xci_text_add(&header, "}");
  finish(file, &header, offset);
}

#define ENTRY(dtype, shape, offsets) "{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}"
#define ONE(dtype, shape, offsets) "{\"a\":" ENTRY(dtype, shape, offsets) "}"
#define NAMED(name) "{\"" name "\":" ENTRY("\"U8\"", "[1]", "[0,1]") "}"
#define BAD XCODER_FORMAT

static const corpus_case cases[] = {
    {"S01-empty", BAD, "at least 8", .make = make_empty},
    {"S02-seven-bytes", BAD, "at least 8", .make = make_seven_bytes},
    {"S03-header-length-0", BAD, "not valid JSON", .make = make_length_0},
    {"S04-header-beyond-file", BAD, "header of 9 bytes, but only 8 follow", .make = make_length_beyond_file},
    {"S05-header-2-63", BAD, "at most 100000000", .make = make_length_2_63},
    {"S06-header-all-ones", BAD, "at most 100000000", .make = make_length_all_ones},
    {"S07-header-wraps", BAD, "at most 100000000", .make = make_length_that_wraps},
    {"S08-header-over-100-MB", BAD, "at most 100000000", .make = make_header_over_100_mb, .sparse_bytes = 100000100},
    {"S09-not-utf8", BAD, "not valid JSON", .text = "{\"\xff\":" ENTRY("\"U8\"", "[1]", "[0,1]") "}", 1},
    {"S10-not-json", BAD, "not valid JSON", .text = "hello"},
    {"S11-array", BAD, "not a JSON object", .text = "[]"},
    {"S12-leading-space", XCODER_OK, NULL, .text = " \t\r\n{" A_PAIR "}", 1},
    {"S13-truncated-json", BAD, "not valid JSON", .text = "{\"a\":{\"dtype\":\"U8\"", 1},
    {"S14-nul-padding", BAD, "not valid JSON", .make = make_nul_padding},
    {"S15-name-twice", BAD, "duplicate", .text = "{" A_PAIR "," A_PAIR "}", 1},
    {"S16-key-twice", BAD, "duplicate",
     .text = "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"shape\":[1],\"data_offsets\":[0,1]}}", 1},
    {"S17-metadata-number", BAD, "__metadata__ 'k' is not a text",
     .text = "{\"__metadata__\":{\"k\":1}," A_PAIR "}", 1},
    {"S17b-metadata-list", BAD, "__metadata__ is not", .text = "{\"__metadata__\":[]," A_PAIR "}", 1},
    {"S18-unknown-dtype", BAD, "tensor 'a': unknown dtype 'F33'", .text = ONE("\"F33\"", "[1]", "[0,1]"), 1},
    {"S19-dtype-number", BAD, "tensor 'a': dtype is not a text", .text = ONE("32", "[1]", "[0,1]"), 1},
    {"S19b-dtype-missing", BAD, "dtype is missing", .text = "{\"a\":{\"shape\":[1],\"data_offsets\":[0,1]}}", 1},
    {"S20-dimension-negative", BAD, "dimension 0", .text = ONE("\"U8\"", "[-1]", "[0,1]"), 1},
    {"S21-dimension-2.5", BAD, "dimension 1", .text = ONE("\"U8\"", "[1,2.5]", "[0,1]"), 1},
    {"S22-dimension-1e400", BAD, "not valid JSON", .text = ONE("\"U8\"", "[1e400]", "[0,1]"), 1},
    {"S23-dimension-2-64", BAD, "not valid JSON", .text = ONE("\"U8\"", "[18446744073709551617]", "[0,1]"), 1},
    {"S23b-dimension-text", BAD, "dimension 0", .text = ONE("\"U8\"", "[\"1\"]", "[0,1]"), 1},
    {"S24-product-overflow", BAD, "overflow", .text = ONE("\"U8\"", "[8589934592,8589934592]", "[0,0]"), 0},
    {"S25-bytes-overflow", BAD, "overflow", .text = ONE("\"F32\"", "[4611686018427387904]", "[0,0]"), 0},
    {"S25b-product-near-2-64", BAD, "overflow", .text = ONE("\"U8\"", "[2,9223372036854775807]", "[0,1]"), 1},
    {"S25c-dimension-2-64-2", BAD, "not valid JSON", .text = ONE("\"U8\"", "[2,18446744073709551614]", "[0,1]"), 1},
    {"S26-begin-behind-end", BAD, "begin 3 is behind their end 1", .text = ONE("\"U8\"", "[1]", "[3,1]"), 4},
    {"S27-end-beyond-data", BAD, "end 9 is behind the 4 bytes", .text = ONE("\"U8\"", "[9]", "[0,9]"), 4},
    {"S28-end-all-ones", BAD, "not valid JSON", .text = ONE("\"U8\"", "[1]", "[0,18446744073709551615]"), 1},
    {"S28b-end-2-63-1", BAD, "is behind the 1 bytes", .text = ONE("\"U8\"", "[1]", "[0,9223372036854775807]"), 1},
    {"S29-offset-negative", BAD, "not two sizes", .text = ONE("\"U8\"", "[1]", "[-1,0]"), 1},
    {"S30-offsets-texts", BAD, "not two sizes", .text = ONE("\"U8\"", "[1]", "[\"0\",\"1\"]"), 1},
    {"S30b-offsets-float", BAD, "not two sizes", .text = ONE("\"U8\"", "[1]", "[0.0,1.0]"), 1},
    {"S31-three-offsets", BAD, "not two sizes", .text = ONE("\"U8\"", "[1]", "[0,1,2]"), 2},
    {"S31b-no-offsets", BAD, "data_offsets are missing", .text = "{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1},
    {"S32-overlap", BAD, "overlap",
     .text = "{\"a\":" ENTRY("\"U8\"", "[4]", "[0,4]") ",\"b\":" ENTRY("\"U8\"", "[4]", "[2,6]") "}", 6},
    {"S33-same-bytes-twice", BAD, "overlap",
     .text = "{\"a\":" ENTRY("\"U8\"", "[4]", "[0,4]") ",\"b\":" ENTRY("\"U8\"", "[4]", "[0,4]") "}", 4},
    {"S33b-ten-on-one-span", BAD, "overlap", .make = make_ten_on_one_span},
    {"S34-hole-at-start", BAD, "hole", .text = ONE("\"U8\"", "[1]", "[1,2]"), 2},
    {"S35-hole-in-middle", BAD, "tensor 'b': its data begin at byte",
     .text = "{\"a\":" ENTRY("\"U8\"", "[2]", "[0,2]") ",\"b\":" ENTRY("\"U8\"", "[2]", "[3,5]") "}", 5},
    {"S36-trailing-bytes", BAD, "4 bytes behind the last tensor", .text = ONE("\"U8\"", "[1]", "[0,1]"), 5},
    {"S36b-data-without-tensor", BAD, "1 bytes behind the last tensor", .text = "{}", 1},
    {"S37-one-byte-short", BAD, "end 16 is behind the 15 bytes", .text = ONE("\"F32\"", "[2,2]", "[0,16]"), 15},
    {"S38-span-too-small", BAD, "dtype and shape need 16 bytes, data_offsets span 4",
     .text = ONE("\"I32\"", "[2,2]", "[0,4]"), 4},
    {"S38b-span-too-large", BAD, "need 4 bytes, data_offsets span 8", .text = ONE("\"F16\"", "[2]", "[0,8]"), 8},
    {"S38c-half-a-byte", BAD, "no whole number of bytes", .text = ONE("\"F4\"", "[3]", "[0,1]"), 1},
    {"S39-shape-missing", BAD, "shape is missing", .text = "{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1},
    {"S39b-shape-number", BAD, "shape is not a list", .text = ONE("\"U8\"", "1", "[0,1]"), 1},
    {"S40-entry-a-text", BAD, "its entry is not a JSON object", .text = "{\"a\":\"b\"}"},
    {"S41-zero-size-shares-offset", XCODER_OK, NULL,
     .text = "{\"a\":" ENTRY("\"U8\"", "[2]", "[0,2]") ",\"b\":" ENTRY("\"F32\"", "[3,0]", "[2,2]") ",\"c\":"
     ENTRY("\"U8\"", "[0]", "[0,0]") ",\"d\":" ENTRY("\"U8\"", "[1]", "[2,3]") "}", 3},
    {"S42-rank-0", XCODER_OK, NULL, .text = ONE("\"F64\"", "[]", "[0,8]"), 8},
    {"S43-10000-dimensions", XCODER_UNSUPPORTED, "10000 dimensions", .make = make_many_dimensions},
    {"S43b-9-dimensions", XCODER_UNSUPPORTED, "at most 8", .text = ONE("\"U8\"", "[1,1,1,1,1,1,1,1,1]", "[0,1]"), 1},
    {"S43c-8-dimensions", XCODER_OK, NULL, .text = ONE("\"U8\"", "[1,1,1,1,1,1,1,1]", "[0,1]"), 1},
    {"S44-100000-overlapping", BAD, "overlap", .make = make_100000_on_one_span},
    {"S45-long-name", XCODER_OK, NULL, .make = make_long_name},
    {"S45b-long-name-in-message", BAD, "...", .make = make_long_name_bad},
    {"S46-name-nul", BAD, "not valid JSON", .make = make_nul_name},
    {"S47-name-newline", BAD, "not a JSON object", .text = "{\"x\\ncrosscoder: error: y\":1}"},
    {"S48-name-escape", BAD, "\\x1b]0;", .text = "{\"\\u001b]0;owned\\u0007\":1}"},
    {"S49-name-script", XCODER_OK, NULL, .text = NAMED("<script>alert(1)</script>"), 1},
    {"S50-name-script-end", XCODER_OK, NULL, .text = NAMED("</script><img src=x>"), 1},
    {"S51-name-path", XCODER_OK, NULL, .text = NAMED("../../etc/passwd"), 1},
    {"S52-name-bidi", BAD, "\\u202e", .text = "{\"\\u202egnp.exe\":1}"},
    {"S53-name-formula", XCODER_OK, NULL, .text = NAMED("=cmd|' /C calc'!A0"), 1},
    {"S54-name-percent-n", BAD, "'%n%n%s'", .text = "{\"%n%n%s\":1}"},
    {"S55-name-option", XCODER_OK, NULL, .text = NAMED("-rf"), 1},
    {"S55b-name-empty", XCODER_OK, NULL, .text = NAMED(""), 1},
    {"S56-deep-metadata", BAD, "nested deeper than 64", .make = make_deep_metadata},
    {"S57-all-nan", XCODER_OK, NULL, .make = make_all_nan},
    {"S58-one-infinity", XCODER_OK, NULL, .make = make_one_infinity},
    {"S59-i64-for-a-float", XCODER_OK, NULL, .text = ONE("\"I64\"", "[1]", "[0,8]"), 8},
    {"S60-high-length-bytes", BAD, "at most 100000000", .make = make_length_with_high_bytes},
    {"S61-length-alone", BAD, "header of 60 bytes, but only 0 follow", .make = make_length_60_alone},
    {"S62-header-one-brace", BAD, "not valid JSON", .text = "{"},
    {"S63-header-one-byte-ff", BAD, "not valid JSON", .text = "\xff"},
    {"G01-nothing", XCODER_OK, NULL, .text = "{}\r \t\n"},
    {"G02-nothing-led-by-space", XCODER_OK, NULL, .text = "\t\n{}"},
    {"G03-no-columns", XCODER_OK, NULL, .text = ONE("\"F32\"", "[2,0]", "[0,0]"), 0},
    {"G04-metadata", XCODER_OK, NULL, .text = "{\"__metadata__\":{\"format\":\"pt\"}," A_PAIR "}   ", 1},
    {"G05-metadata-null", XCODER_OK, NULL, .text = "{\"__metadata__\":null," A_PAIR "}", 1},
    {"G06-unknown-field", XCODER_OK, NULL,
     .text = "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"extra\":{\"x\":[1]}}}", 1},
    {"G07-any-order-and-misaligned", XCODER_OK, NULL,
     .text = "{\"z\":" ENTRY("\"F32\"", "[1]", "[3,7]") ",\"y\":" ENTRY("\"U8\"", "[3]", "[0,3]") "}", 7},
    {"G08-all-dtypes", XCODER_OK, NULL, .make = make_all_dtypes},
    {NULL, XCODER_OK, NULL, NULL, 0, NULL, 0}};

const corpus_format corpus_safetensors = {"safetensors", "safetensors", cases, wrap};
