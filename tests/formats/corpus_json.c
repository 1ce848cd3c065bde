/* SPDX-License-Identifier: Apache-2.0 */
/* JSON texts, wrong and right. */
#include "corpus.h"

static void wrap(const corpus_case *entry, xci_text *file) { xci_text_add(file, entry->text); }

static void add_nested(xci_text *file, const char *open, const char *inner, const char *close, size_t depth) {
  corpus_repeat(file, open, depth);
  xci_text_add(file, inner);
  corpus_repeat(file, close, depth);
}

static void make_empty(xci_text *file) { xci_text_append(file, "", 0); }
static void make_depth_64(xci_text *file) { add_nested(file, "[", "1", "]", 64); }
static void make_depth_65(xci_text *file) { add_nested(file, "[", "1", "]", 65); }
static void make_depth_200000(xci_text *file) { add_nested(file, "{\"a\":", "1", "}", 200000); }
static void make_only_opening(xci_text *file) { corpus_repeat(file, "[", 1000000); }
static void make_deep_by_turns(xci_text *file) { add_nested(file, "[{\"a\":", "1", "}]", 33); }
static void make_brackets_in_text(xci_text *file) {
  xci_text_add(file, "\"\\\"");
  corpus_repeat(file, "[{", 1000);
  xci_text_add(file, "\"");
}
static void make_many_lists(xci_text *file) {
  xci_text_add(file, "[");
  corpus_repeat(file, "[],", 4200000);
  xci_text_add(file, "1]");
}
static void make_raw_nul(xci_text *file) { xci_text_append(file, "{\"a\0b\":1}", 9); }
static void make_nul_behind(xci_text *file) { xci_text_append(file, "{}\0", 3); }
static void make_cut_escape(xci_text *file) { xci_text_add(file, "{\"a\\"); }

#define BAD XCODER_FORMAT
#define NOT_JSON "not valid JSON"

static const corpus_case cases[] = {
    {"J01-empty", BAD, NOT_JSON, .make = make_empty},
    {"J02-spaces", BAD, NOT_JSON, .text = " \n "},
    {"J03-depth-65", BAD, "byte 65: JSON nested deeper than 64", .make = make_depth_65},
    {"J04-depth-200000", BAD, "nested deeper than 64", .make = make_depth_200000},
    {"J05-only-opening", BAD, "nested deeper than 64", .make = make_only_opening},
    {"J06-deep-by-turns", BAD, "nested deeper than 64", .make = make_deep_by_turns},
    {"J07-millions-of-lists", BAD, "too many values", .make = make_many_lists},
    {"J08-key-twice", BAD, "line 2", .text = "{\"a\":1,\n\"a\":2}"},
    {"J09-key-twice-within", BAD, "duplicate", .text = "{\"x\":[{\"a\":1,\"a\":1}]}"},
    {"J10-key-twice-by-escape", BAD, "duplicate", .text = "{\"a\":1,\"\\u0061\":2}"},
    {"J11-raw-nul", BAD, NOT_JSON, .make = make_raw_nul},
    {"J12-nul-behind", BAD, NOT_JSON, .make = make_nul_behind},
    {"J13-escaped-nul", BAD, NOT_JSON, .text = "{\"a\":\"\\u0000\"}"},
    {"J14-lone-high-surrogate", BAD, NOT_JSON, .text = "[\"\\ud83d\"]"},
    {"J15-lone-low-surrogate", BAD, NOT_JSON, .text = "[\"\\ude00\"]"},
    {"J16-surrogates-reversed", BAD, NOT_JSON, .text = "[\"\\ude00\\ud83d\"]"},
    {"J17-bad-utf8", BAD, NOT_JSON, .text = "[\"\xff\"]"},
    {"J18-overlong-utf8", BAD, NOT_JSON, .text = "[\"\xc0\xaf\"]"},
    {"J19-surrogate-in-utf8", BAD, NOT_JSON, .text = "[\"\xed\xa0\x80\"]"},
    {"J20-cut-utf8", BAD, NOT_JSON, .text = "[\"\xe2\x82"},
    {"J21-byte-order-mark", BAD, NOT_JSON, .text = "\xef\xbb\xbf{}"},
    {"J22-trailing-comma", BAD, NOT_JSON, .text = "[1,]"},
    {"J23-garbage-behind", BAD, NOT_JSON, .text = "{} x"},
    {"J24-two-values", BAD, NOT_JSON, .text = "{}{}"},
    {"J25-nan", BAD, NOT_JSON, .text = "[NaN]"},
    {"J26-infinity", BAD, NOT_JSON, .text = "[-Infinity]"},
    {"J27-leading-zero", BAD, NOT_JSON, .text = "[01]"},
    {"J28-plus", BAD, NOT_JSON, .text = "[+1]"},
    {"J29-no-digit-before-point", BAD, NOT_JSON, .text = "[.5]"},
    {"J30-1e400", BAD, NOT_JSON, .text = "[1e400]"},
    {"J31-2-63", BAD, NOT_JSON, .text = "[9223372036854775808]"},
    {"J32-below-minus-2-63", BAD, NOT_JSON, .text = "[-9223372036854775809]"},
    {"J33-single-quotes", BAD, NOT_JSON, .text = "{'a':1}"},
    {"J34-comment", BAD, NOT_JSON, .text = "{/*x*/}"},
    {"J35-open-text", BAD, NOT_JSON, .text = "[\"abc"},
    {"J36-cut-escape", BAD, NOT_JSON, .make = make_cut_escape},
    {"J37-newline-in-text", BAD, NOT_JSON, .text = "[\"a\nb\"]"},
    {"J38-unknown-escape", BAD, NOT_JSON, .text = "[\"\\x41\"]"},
    {"J39-short-escape", BAD, NOT_JSON, .text = "[\"\\u12\"]"},
    {"J40-closing-first", BAD, NOT_JSON, .text = "]]]]"},
    {"J41-crossed-brackets", BAD, NOT_JSON, .text = "[{]}"},
    {"J42-number-key", BAD, NOT_JSON, .text = "{1:2}"},
    {"J43-no-colon", BAD, NOT_JSON, .text = "{\"a\" 1}"},
    {"J44-hostile-token", BAD, NOT_JSON, .text = "{\"a\":\x1b]0;x\x07}"},
    {"G01-depth-64", XCODER_OK, NULL, .make = make_depth_64},
    {"G02-brackets-in-text", XCODER_OK, NULL, .make = make_brackets_in_text},
    {"G03-numbers", XCODER_OK, NULL, .text = "[9223372036854775807,-9223372036854775808,0,-0.0,1E5,1e-400]"},
    {"G04-surrogate-pair", XCODER_OK, NULL, .text = "{\"a\":\"\\ud83d\\ude00\\u2028\"}"},
    {"G05-scalar", XCODER_OK, NULL, .text = "true"},
    {"G06-escapes", XCODER_OK, NULL, .text = "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""},
    {"G07-one-key-in-two-objects", XCODER_OK, NULL, .text = "[{\"a\":1},{\"a\":{\"a\":null}}]"},
    {NULL, XCODER_OK, NULL, NULL, 0, NULL, 0}};

const corpus_format corpus_json = {"json", "json", cases, wrap};
