/* SPDX-License-Identifier: Apache-2.0 */
/* npy files, wrong and right. */
#include "corpus.h"

#include "base/bytes.h"
#include <string.h>

static void add_file(xci_text *file, int major, int minor, const char *dictionary, size_t n_data) {
  char prefix[12] = {(char)0x93, 'N', 'U', 'M', 'P', 'Y', (char)major, (char)minor};
  const size_t n = strlen(dictionary);
  if (major == 1) xci_store_u16(prefix + 8, (uint16_t)n);
  else xci_store_u32(prefix + 8, (uint32_t)n);
  xci_text_append(file, prefix, major == 1 ? 10 : 12);
  xci_text_add(file, dictionary);
  for (size_t i = 0; i < n_data; i++) xci_text_append(file, "\1", 1);
}

static void wrap(const corpus_case *entry, xci_text *file) { add_file(file, 1, 0, entry->text, entry->n_data); }

#define DICTIONARY(descr, order, shape) "{'descr': " descr ", 'fortran_order': " order ", 'shape': " shape ", }  \n"
#define SHAPED(shape) DICTIONARY("'<f4'", "False", shape)
#define TYPED(descr) DICTIONARY(descr, "False", "(2,)")

static void make_empty(xci_text *file) { xci_text_append(file, "", 0); }
static void make_magic_only(xci_text *file) { xci_text_append(file, "\x93NUMPY", 6); }
static void make_cut_length(xci_text *file) { xci_text_append(file, "\x93NUMPY\2\0\1\0", 10); }
static void make_raw_tokens(xci_text *file) { corpus_repeat(file, "\1\2", 100); }
static void make_version_4(xci_text *file) { add_file(file, 4, 0, SHAPED("(2,)"), 8); }
static void make_version_0(xci_text *file) { add_file(file, 0, 0, SHAPED("(2,)"), 8); }
static void make_version_1_1(xci_text *file) { add_file(file, 1, 1, SHAPED("(2,)"), 8); }
static void make_version_2(xci_text *file) { add_file(file, 2, 0, SHAPED("(2,)"), 8); }
static void make_version_3(xci_text *file) { add_file(file, 3, 0, SHAPED("(2,)"), 8); }
static void make_header_beyond_file(xci_text *file) { xci_text_append(file, "\x93NUMPY\1\0\x20\0{'descr'", 18); }
static void make_header_4_gb(xci_text *file) { xci_text_append(file, "\x93NUMPY\2\0\xff\xff\xff\xff{}", 14); }
static void make_many_dimensions(xci_text *file) {
  xci_text text = {0};
  xci_text_add(&text, "{'descr': '<f4', 'fortran_order': False, 'shape': (");
  corpus_repeat(&text, "1,", 10000);
  xci_text_add(&text, ")}");
  if (!text.failed) add_file(file, 1, 0, text.bytes, 4);
  xci_text_clear(&text);
}
static void make_deep_shape(xci_text *file) {
  xci_text text = {0};
  xci_text_add(&text, "{'descr': '<f4', 'fortran_order': False, 'shape': ");
  corpus_repeat(&text, "(", 60000);
  if (!text.failed) add_file(file, 1, 0, text.bytes, 4);
  xci_text_clear(&text);
}

#define BAD XCODER_FORMAT
#define NOT_OURS XCODER_UNSUPPORTED

static const corpus_case cases[] = {
    {"N01-empty", BAD, "not a npy file", .make = make_empty},
    {"N02-magic-only", BAD, "not a npy file", .make = make_magic_only},
    {"N03-raw-tokens", BAD, "not a npy file", .make = make_raw_tokens},
    {"N04-version-4", NOT_OURS, "npy version 4.0", .make = make_version_4},
    {"N05-version-0", NOT_OURS, "npy version 0.0", .make = make_version_0},
    {"N06-version-1.1", NOT_OURS, "npy version 1.1", .make = make_version_1_1},
    {"N07-cut-in-length", BAD, "ends within its header", .make = make_cut_length},
    {"N08-header-beyond-file", BAD, "header of 32 bytes", .make = make_header_beyond_file},
    {"N09-header-4-GB", BAD, "header of 4294967295 bytes", .make = make_header_4_gb},
    {"N10-empty-header", BAD, "expected '{'", .text = ""},
    {"N11-cut-dictionary", BAD, "expected", .text = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,", 8},
    {"N12-no-descr", BAD, "all of descr", .text = "{'fortran_order': False, 'shape': (2,)}", 8},
    {"N13-no-order", BAD, "all of descr", .text = "{'descr': '<f4', 'shape': (2,)}", 8},
    {"N14-no-shape", BAD, "all of descr", .text = "{'descr': '<f4', 'fortran_order': False}", 8},
    {"N15-unknown-key", BAD, "expected descr",
     .text = "{'descr': '<f4', 'exec': 'x', 'fortran_order': False, 'shape': (2,)}", 8},
    {"N16-key-twice", BAD, "each key once",
     .text = "{'shape': (2,), 'descr': '<f4', 'shape': (3,), 'fortran_order': False}", 8},
    {"N17-object", NOT_OURS, "'|O'", .text = TYPED("'|O'"), 8},
    {"N18-record", NOT_OURS, "records", .text = TYPED("[('a', '<f4')]"), 8},
    {"N19-big-endian", NOT_OURS, "'>f4'", .text = TYPED("'>f4'"), 8},
    {"N20-complex", NOT_OURS, "'<c8'", .text = TYPED("'<c8'"), 16},
    {"N21-text", NOT_OURS, "'<U5'", .text = TYPED("'<U5'"), 40},
    {"N22-long-descr", NOT_OURS, "is not supported", .text = TYPED("'<f4<f4<f4<f4<f4<f4<f4<f4'"), 8},
    {"N22b-empty-descr", NOT_OURS, "''", .text = TYPED("''"), 8},
    {"N22c-escape-descr", NOT_OURS, "\\x1b", .text = TYPED("'\x1b[2J'"), 8},
    {"N23-fortran-matrix", NOT_OURS, "Fortran", .text = DICTIONARY("'<f4'", "True", "(2, 1)"), 8},
    {"N24-negative", BAD, "a size of 0 or more", .text = SHAPED("(-1,)"), 8},
    {"N25-fraction", BAD, "','", .text = SHAPED("(2.5,)"), 8},
    {"N26-size-overflow", BAD, "a size that fits", .text = SHAPED("(18446744073709551617,)"), 8},
    {"N27-product-overflow", BAD, "product of its dimensions", .text = SHAPED("(8589934592, 8589934592)"), 0},
    {"N28-bytes-overflow", BAD, "size of its", .text = SHAPED("(4611686018427387904,)"), 0},
    {"N29-rank-9", NOT_OURS, "more than 8", .text = SHAPED("(1, 1, 1, 1, 1, 1, 1, 1, 1)"), 4},
    {"N30-10000-dimensions", NOT_OURS, "more than 8", .make = make_many_dimensions},
    {"N31-data-short", BAD, "need 8 bytes of data, the file has 7", .text = SHAPED("(2,)"), 7},
    {"N32-data-long", BAD, "need 8 bytes of data, the file has 9", .text = SHAPED("(2,)"), 9},
    {"N33-text-behind", BAD, "nothing behind", .text = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} x", 8},
    {"N34-no-comma-in-tuple", BAD, "','", .text = SHAPED("(2)"), 8},
    {"N35-list-shape", BAD, "a tuple", .text = SHAPED("[2]"), 8},
    {"N36-no-closing-quote", BAD, "closing quote", .text = "{'descr: <f4}", 8},
    {"N37-no-colon", BAD, "':'", .text = "{'descr' '<f4'}", 8},
    {"N38-no-quotes", BAD, "a quoted text", .text = "{descr: '<f4'}", 8},
    {"N39-order-number", BAD, "True or False", .text = DICTIONARY("'<f4'", "0", "(2,)"), 8},
    {"N40-deep-shape", BAD, "a size of 0 or more", .make = make_deep_shape},
    {"N41-no-comma-between", BAD, "',' or '}'", .text = "{'descr': '<f4' 'shape': (2,)}", 8},
    {"G01-vector", XCODER_OK, NULL, .text = SHAPED("(2,)"), 8},
    {"G02-scalar", XCODER_OK, NULL, .text = SHAPED("()"), 4},
    {"G03-matrix", XCODER_OK, NULL, .text = SHAPED("(2, 3)"), 24},
    {"G04-matrix-comma", XCODER_OK, NULL, .text = SHAPED("(2, 3, )"), 24},
    {"G05-nothing", XCODER_OK, NULL, .text = SHAPED("(0, 3)"), 0},
    {"G06-version-2", XCODER_OK, NULL, .make = make_version_2},
    {"G07-version-3", XCODER_OK, NULL, .make = make_version_3},
    {"G08-fortran-vector", XCODER_OK, NULL, .text = DICTIONARY("'<f4'", "True", "(2,)"), 8},
    {"G09-double-quotes", XCODER_OK, NULL, .text = "{\"shape\":(2,),\"fortran_order\":False,\"descr\":\"<f4\"}", 8},
    {"G10-u2", XCODER_OK, NULL, .text = TYPED("'<u2'"), 4},
    {"G11-i8", XCODER_OK, NULL, .text = TYPED("'<i8'"), 16},
    {"G12-bool", XCODER_OK, NULL, .text = TYPED("'|b1'"), 2},
    {"G13-bytes-any-order", XCODER_OK, NULL, .text = TYPED("'<u1'"), 2},
    {NULL, XCODER_OK, NULL, NULL, 0, NULL, 0}};

const corpus_format corpus_npy = {"npy", "npy", cases, wrap};
