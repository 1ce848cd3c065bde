/* SPDX-License-Identifier: Apache-2.0 */
/* Tokenizers against the ids and texts that the Hugging Face library gives. */
#include "helpers.h"

#include "base/memory.h"
#include "base/random.h"
#include "data/encode.h"

typedef struct comparison {
  const xcoder_tokenizer *tokenizer;
  const char *text_key, *ids_key, *decoded_key, *name;
  size_t n, n_decoded;
} comparison;

static void compare(const json_t *line, void *context) {
  comparison *c = context;
  const json_t *text = json_object_get(line, c->text_key), *ids = json_object_get(line, c->ids_key);
  const json_t *decoded = json_object_get(line, c->decoded_key);
  uint32_t *got = NULL;
  size_t n_got = 0, n_bytes = 0;
  char *back = NULL;
  OK(xcoder_tokenize(c->tokenizer, json_string_value(text), json_string_length(text), &got, &n_got, err));
  bool same = n_got == json_array_size(ids);
  for (size_t i = 0; i < n_got && same; i++) same = got[i] == json_integer_value(json_array_get(ids, i));
  ck_assert_msg(same, "%s: '%s' gives other ids", c->name, json_string_value(text));
  OK(xcoder_detokenize(c->tokenizer, got, n_got, &back, &n_bytes, err));
  if (decoded) {
    same = n_bytes == json_string_length(decoded) && memcmp(back, json_string_value(decoded), n_bytes) == 0;
    ck_assert_msg(same, "%s: '%s' is decoded as '%s'", c->name, json_string_value(decoded), back);
    c->n_decoded++;
  }
  xcoder_free(got);
  xcoder_free(back);
  c->n++;
}

static void compare_golden(const char *tokenizer, const char *vectors) {
  char path[256];
  snprintf(path, sizeof path, "golden/%s.json", tokenizer);
  xcoder_tokenizer *opened = open_tokenizer(test_file(path));
  comparison c = {opened, "text", "ids", "decoded", tokenizer, 0, 0};
  snprintf(path, sizeof path, "golden/%s.jsonl", vectors);
  for_each_line(test_file(path), compare, &c);
  ck_assert_uint_eq(c.n, 197);
  ck_assert_uint_eq(c.n_decoded, 197);
  xcoder_tokenizer_close(opened);
}

START_TEST(golden_vectors) {
  compare_golden("neox", "neox");
  compare_golden("neox_pairs", "neox");
  compare_golden("bloom", "bloom");
  compare_golden("olmo2", "olmo2");
  compare_golden("llama", "llama");
  compare_golden("flags", "flags");
  compare_golden("digits", "digits");
  compare_golden("joined", "joined");
}
END_TEST

static void compare_shared(const char *tokenizer, const char *vectors, size_t n) {
  const char *file = shared_file(tokenizer), *lines = shared_file(vectors);
  if (!file || !lines) return;
  xcoder_tokenizer *opened = open_tokenizer(file);
  comparison c = {opened, "text", "ids", "dec", tokenizer, 0, 0};
  for_each_line(lines, compare, &c);
  ck_assert_uint_eq(c.n, n);
  xcoder_tokenizer_close(opened);
}

static void compare_list(const char *tokenizer, const char *vectors, const char *ids_key, const char *decoded_key) {
  const char *file = shared_file(tokenizer), *list = shared_file(vectors);
  if (!file || !list) return;
  xcoder_tokenizer *opened = open_tokenizer(file);
  comparison c = {opened, "s", ids_key, decoded_key, tokenizer, 0, 0};
  json_error_t error;
  json_t *root = json_load_file(list, JSON_ALLOW_NUL, &error), *line;
  size_t index;
  ck_assert_ptr_nonnull(root);
  json_array_foreach(root, index, line) compare(line, &c);
  ck_assert_uint_eq(c.n, 53);
  json_decref(root);
  xcoder_tokenizer_close(opened);
}

START_TEST(shared_vectors) {
  compare_shared("tokenizers/pythia-20b.tokenizer.json", "tokenizers/pythia-20b.fuzz.jsonl", 1000);
  compare_shared("tokenizers/tiny_neox_tokenizer.json", "tokenizers/tiny_neox_vectors.jsonl", 95);
  compare_shared("tokenizers/tiny_neox_pairs_tokenizer.json", "tokenizers/tiny_neox_vectors.jsonl", 95);
  compare_shared("tokenizers/tiny_bloom_tokenizer.json", "tokenizers/tiny_bloom_vectors.jsonl", 95);
  compare_list("tokenizers/pythia-20b.tokenizer.json", "tokenizers/neox_olmo_vectors.json", "neox", "neox_dec");
  compare_list("tokenizers/olmo-1b-0724.tokenizer.json", "tokenizers/neox_olmo_vectors.json", "olmo", "olmo_dec");
}
END_TEST

START_TEST(facts_about_a_tokenizer) {
  xcoder_tokenizer *tokenizer = open_tokenizer(test_file("golden/neox.json"));
  uint32_t id = 99, *ids = NULL;
  size_t n = 99;
  char *text = NULL;
  ck_assert_uint_eq(xcoder_tokenizer_size(tokenizer), 523);
  ck_assert(xcoder_tokenizer_end_of_text(tokenizer, &id));
  ck_assert_uint_eq(id, 1);
  ck_assert_str_eq(xcoder_token_bytes(tokenizer, 1, &n), "<|endoftext|>");
  ck_assert_uint_eq(n, 13);
  ck_assert_ptr_null(xcoder_token_bytes(tokenizer, 523, &n));
  ck_assert_ptr_null(xcoder_token_bytes(tokenizer, UINT32_MAX, &n));
  OK(xcoder_tokenize(tokenizer, "", 0, &ids, &n, err));
  ck_assert_ptr_nonnull(ids);
  ck_assert_uint_eq(n, 0);
  OK(xcoder_detokenize(tokenizer, ids, 0, &text, &n, err));
  ck_assert_str_eq(text, "");
  xcoder_free(ids);
  xcoder_free(text);
  uint32_t unknown[] = {1, 4000000000u, 1};
  OK(xcoder_detokenize(tokenizer, unknown, 3, &text, &n, err));
  ck_assert_str_eq(text, "<|endoftext|><|endoftext|>");
  xcoder_free(text);
  xcoder_tokenizer_close(tokenizer);
  xcoder_tokenizer_close(NULL);
}
END_TEST

START_TEST(end_of_text_from_the_configuration) {
  const char *folder = temporary_folder();
  static const char tokenizer_json[] =
    "{\"pre_tokenizer\":{\"type\":\"ByteLevel\"},\"model\":{\"vocab\":{\"a\":0,\"END\":1}}}";
  static const char config[] = "{\"eos_token\":{\"content\":\"END\"}}";
  uint32_t id = 0;
  write_temporary("tokenizer.json", tokenizer_json, sizeof tokenizer_json - 1);
  xcoder_tokenizer *tokenizer = open_tokenizer(folder);
  ck_assert(!xcoder_tokenizer_end_of_text(tokenizer, &id));
  xcoder_tokenizer_close(tokenizer);
  write_temporary("tokenizer_config.json", config, sizeof config - 1);
  tokenizer = open_tokenizer(temporary_file("tokenizer.json"));
  ck_assert(xcoder_tokenizer_end_of_text(tokenizer, &id));
  ck_assert_uint_eq(id, 1);
  xcoder_tokenizer_close(tokenizer);
  ck_assert_int_eq(unlink(temporary_file("tokenizer_config.json")), 0);
  ck_assert_int_eq(unlink(temporary_file("tokenizer.json")), 0);
}
END_TEST

/* Invalid bytes become U+FFFD, one for each maximal part of a character. */
START_TEST(invalid_text) {
  static const struct {
    const char *bytes, *valid;
  } cases[] = {{"a\xff" "b", "a\xef\xbf\xbd" "b"},
               {"\xe4\xbd", "\xef\xbf\xbd"},
               {"\xe4\xbd" "a", "\xef\xbf\xbd" "a"},
               {"\xf0\x90\x80\xe4", "\xef\xbf\xbd\xef\xbf\xbd"},
               {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
               {"\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd"},
               {"\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}};
  xcoder_tokenizer *tokenizer = open_tokenizer(test_file("golden/neox.json"));
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    uint32_t *a = NULL, *b = NULL;
    size_t n_a = 0, n_b = 0;
    OK(xcoder_tokenize(tokenizer, cases[i].bytes, strlen(cases[i].bytes), &a, &n_a, err));
    OK(xcoder_tokenize(tokenizer, cases[i].valid, strlen(cases[i].valid), &b, &n_b, err));
    ck_assert_uint_eq(n_a, n_b);
    ck_assert(memcmp(a, b, n_a * sizeof *a) == 0);
    xcoder_free(a);
    xcoder_free(b);
  }
  xcoder_tokenizer_close(tokenizer);
}
END_TEST

/* The scan for short words and the heap for long ones merge in the same order. */
START_TEST(short_and_long_merging_agree) {
  xcoder_tokenizer *tokenizer = open_tokenizer(test_file("golden/neox.json"));
  xci_bpe_work *work = NULL;
  OK(xci_bpe_work_open(false, &work, err));
  static const char letters[] = "thesalr nd";
  for (uint64_t round = 0; round < 3000; round++) {
    uint32_t a[XCI_BPE_SHORT], b[XCI_BPE_SHORT];
    size_t n = 1 + (size_t)xci_random_below(1, XCI_STREAM_TEST, round, XCI_BPE_SHORT), n_a = n, n_b = n;
    for (size_t i = 0; i < n; i++) {
      uint64_t pick = xci_random_below(2, XCI_STREAM_TEST, round * XCI_BPE_SHORT + i, sizeof letters - 1);
      a[i] = b[i] = tokenizer->bpe.byte_token[(unsigned char)letters[pick]];
    }
    xci_bpe_merge_short(&tokenizer->bpe, a, &n_a);
    OK(xci_bpe_merge_long(&tokenizer->bpe, work, b, &n_b, err));
    ck_assert_uint_eq(n_a, n_b);
    ck_assert(memcmp(a, b, n_a * sizeof *a) == 0);
  }
  xci_bpe_work_close(work);
  xcoder_tokenizer_close(tokenizer);
}
END_TEST

/* A cache that has seen other text gives the same ids as none. */
START_TEST(cache_changes_nothing) {
  xcoder_tokenizer *tokenizer = open_tokenizer(test_file("golden/flags.json"));
  xci_encoder *with = NULL, *without = NULL;
  xci_ids a = {0}, b = {0};
  OK(xci_encoder_open(tokenizer, true, &with, err));
  OK(xci_encoder_open(tokenizer, false, &without, err));
  for (uint64_t round = 0; round < 2000; round++) {
    char text[64];
    int n = snprintf(text, sizeof text, " w%llu the%llu<one>author's", (unsigned long long)(round * round % 1009),
                     (unsigned long long)(round % 7));
    OK(xci_encode(with, text, (size_t)n, &a, err));
    OK(xci_encode(without, text, (size_t)n, &b, err));
  }
  ck_assert_uint_eq(a.n, b.n);
  ck_assert(memcmp(a.ids, b.ids, a.n * sizeof *a.ids) == 0);
  xci_free(a.ids);
  xci_free(b.ids);
  xci_encoder_close(with);
  xci_encoder_close(without);
  xcoder_tokenizer_close(tokenizer);
}
END_TEST

/* Texts that took other tokenizers quadratic time or their stack: each in far less than a second. */
START_TEST(long_words) {
  static const struct {
    char c;
    size_t n;
  } words[] = {{'^', 1000000}, {'a', 1000000}, {' ', 1000000}, {'\n', 1000000}, {'\'', 1000000}, {'e', 4000000}};
  static const char *const names[] = {"golden/neox.json", "golden/bloom.json", "golden/olmo2.json"};
  for (size_t k = 0; k < 3; k++) {
    xcoder_tokenizer *tokenizer = open_tokenizer(test_file(names[k]));
    for (size_t i = 0; i < sizeof words / sizeof *words - (k > 0); i++) { /* the longest once is enough */
      uint32_t *ids = NULL;
      size_t n_ids = 0, n_back = 0;
      char *text = malloc(words[i].n), *back = NULL;
      ck_assert_ptr_nonnull(text);
      memset(text, words[i].c, words[i].n);
      OK(xcoder_tokenize(tokenizer, text, words[i].n, &ids, &n_ids, err));
      OK(xcoder_detokenize(tokenizer, ids, n_ids, &back, &n_back, err));
      ck_assert_uint_eq(n_back, words[i].n);
      ck_assert(memcmp(back, text, n_back) == 0);
      xcoder_free(ids);
      xcoder_free(back);
      free(text);
    }
    xcoder_tokenizer_close(tokenizer);
  }
}
END_TEST

START_TEST(backtracking_is_bounded) {
  xcoder_tokenizer *tokenizer = open_tokenizer(test_file("good/tokenizer-backtracking.json"));
  char text[65];
  uint32_t *ids = NULL;
  size_t n_ids = 0;
  memset(text, 'a', sizeof text);
  text[64] = 'b';
  FAILS(XCODER_FORMAT, "the regular expression '(a+)+$' takes too long",
        xcoder_tokenize(tokenizer, text, sizeof text, &ids, &n_ids, err));
  ck_assert_ptr_null(ids);
  OK(xcoder_tokenize(tokenizer, "aaa", 3, &ids, &n_ids, err));
  xcoder_free(ids);
  xcoder_tokenizer_close(tokenizer);
}
END_TEST

START_TEST(special_tokens_by_template) {
  xcoder_tokenizer *opened = open_tokenizer(test_file("golden/template.json"));
  uint32_t *ids = NULL;
  size_t n = 9;
  OK(xcoder_tokenize(opened, "", 0, &ids, &n, err)); /* not asked for */
  ck_assert_uint_eq(n, 0);
  xcoder_free(ids);
  OK(xcoder_tokenizer_add_special(opened, err));
  OK(xcoder_tokenizer_add_special(opened, err)); /* twice is once */
  comparison c = {opened, "text", "ids", "decoded", "template", 0, 0};
  for_each_line(test_file("golden/template.jsonl"), compare, &c);
  ck_assert_uint_eq(c.n, 52);
  xcoder_tokenizer_close(opened);
  opened = open_tokenizer(test_file("golden/neox.json")); /* ByteLevel adds none */
  OK(xcoder_tokenizer_add_special(opened, err));
  OK(xcoder_tokenize(opened, "", 0, &ids, &n, err));
  ck_assert_uint_eq(n, 0);
  xcoder_free(ids);
  xcoder_tokenizer_close(opened);
}
END_TEST

/* golden/template.json with another post_processor, and a tokenizer_config.json or none beside it. */
static xcoder_tokenizer *with_post_processor(const char *post, const char *config) {
  char path[512];
  json_error_t place;
  json_t *root = json_load_file(test_file("golden/template.json"), 0, &place);
  ck_assert_int_eq(json_object_set_new(root, "post_processor", json_loads(post, JSON_DECODE_ANY, &place)), 0);
  snprintf(path, sizeof path, "%s/tokenizer_config.json", temporary_folder());
  remove(path);
  if (config) {
    FILE *file = fopen(path, "w");
    fputs(config, file);
    fclose(file);
  }
  snprintf(path, sizeof path, "%s/tokenizer.json", temporary_folder());
  ck_assert_int_eq(json_dump_file(root, path, 0), 0);
  json_decref(root);
  return open_tokenizer(path);
}

static void check_around(const char *post, const char *config, size_t n_wanted, const uint32_t *wanted) {
  xcoder_tokenizer *opened = with_post_processor(post, config);
  uint32_t *ids = NULL;
  size_t n = 0;
  OK(xcoder_tokenizer_add_special(opened, err));
  OK(xcoder_tokenize(opened, "", 0, &ids, &n, err));
  ck_assert_uint_eq(n, n_wanted);
  for (size_t i = 0; i < n; i++) ck_assert_uint_eq(ids[i], wanted[i]);
  xcoder_free(ids);
  xcoder_tokenizer_close(opened);
}

static void check_refused(const char *post, const char *config, xcoder_status status, const char *words) {
  xcoder_tokenizer *opened = with_post_processor(post, config);
  uint32_t *ids = NULL;
  size_t n = 9;
  FAILS(status, words, xcoder_tokenizer_add_special(opened, err));
  OK(xcoder_tokenize(opened, "", 0, &ids, &n, err)); /* as before */
  ck_assert_uint_eq(n, 0);
  xcoder_free(ids);
  xcoder_tokenizer_close(opened);
}

#define TEMPLATE(single) "{\"type\": \"TemplateProcessing\", \"single\": [" single "], \"special_tokens\": " \
                         "{\"</s>\": {\"id\": \"</s>\", \"ids\": [2, 1]}, \"far\": {\"ids\": [123456]}, " \
                         "\"text\": {\"ids\": [\"2\"]}}}"
#define SPECIAL(name) "{\"SpecialToken\": {\"id\": \"" name "\", \"type_id\": 0}}"
#define TEXT "{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}"

START_TEST(special_tokens_of_other_files) {
  const char *behind = TEMPLATE(TEXT ", " SPECIAL("</s>"));
  const uint32_t two_ids[] = {2, 1}, flags[] = {1, 2}, one[] = {1};
  check_around("null", NULL, 0, NULL);
  check_around(TEMPLATE(TEXT), NULL, 0, NULL);
  check_around(behind, NULL, 2, two_ids);
  check_around(behind, "{\"add_bos_token\": null}", 2, two_ids);
  check_around(behind, "{\"add_eos_token\": false}", 0, NULL); /* the flags win */
  check_around("null", "{\"add_bos_token\": true, \"bos_token\": \"<|endoftext|>\", \"add_eos_token\": true, "
               "\"eos_token\": {\"content\": \"</s>\"}}", 2, flags);
  check_around(behind, "{\"add_bos_token\": true, \"bos_token\": \"<|endoftext|>\", \"add_eos_token\": false}", 1, one);
  check_refused(behind, "{\"add_bos_token\": true}", XCODER_FORMAT, "add_bos_token is true");
  check_refused("{\"type\": \"RobertaProcessing\", \"sep\": [\"</s>\", 2], \"cls\": [\"</s>\", 2]}", NULL,
                XCODER_UNSUPPORTED, "'RobertaProcessing'");
  check_refused("{\"type\": \"Sequence\", \"processors\": [{\"type\": \"BertProcessing\"}]}", NULL, XCODER_UNSUPPORTED,
                "'BertProcessing'");
  check_refused("{\"type\": \"Sequence\"}", NULL, XCODER_FORMAT, "'processors'");
  check_refused("3", NULL, XCODER_FORMAT, "post_processor");
  check_refused(TEMPLATE(""), NULL, XCODER_FORMAT, "occurs 0 times");
  check_refused(TEMPLATE(TEXT ", " TEXT), NULL, XCODER_FORMAT, "occurs 2 times");
  check_refused(TEMPLATE("{\"Sequence\": {\"id\": \"B\"}}"), NULL, XCODER_FORMAT, "item 0");
  check_refused(TEMPLATE("4, " TEXT), NULL, XCODER_FORMAT, "item 0");
  check_refused(TEMPLATE(TEXT ", " SPECIAL("none")), NULL, XCODER_FORMAT, "'none' has no ids");
  check_refused(TEMPLATE(TEXT ", " SPECIAL("far")), NULL, XCODER_FORMAT, "vocabulary");
  check_refused(TEMPLATE(TEXT ", " SPECIAL("text")), NULL, XCODER_FORMAT, "vocabulary");
  char two[4096];
  snprintf(two, sizeof two, "{\"type\": \"Sequence\", \"processors\": [%s, %s]}", behind, behind);
  check_refused(two, NULL, XCODER_UNSUPPORTED, "two templates");
  char path[512];
  snprintf(path, sizeof path, "%s/tokenizer.json", temporary_folder());
  remove(path);
}
END_TEST

int main(void) {
  TCase *tcase = new_case("tokenizer");
  tcase_add_test(tcase, golden_vectors);
  tcase_add_test(tcase, shared_vectors);
  tcase_add_test(tcase, special_tokens_by_template);
  tcase_add_test(tcase, special_tokens_of_other_files);
  tcase_add_test(tcase, facts_about_a_tokenizer);
  tcase_add_test(tcase, end_of_text_from_the_configuration);
  tcase_add_test(tcase, invalid_text);
  tcase_add_test(tcase, short_and_long_merging_agree);
  tcase_add_test(tcase, cache_changes_nothing);
  tcase_add_test(tcase, long_words);
  tcase_add_test(tcase, backtracking_is_bounded);
  int failed = run_case(tcase, "tokenizer");
  rmdir(temporary_folder());
  return failed;
}
