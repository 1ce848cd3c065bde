/* SPDX-License-Identifier: Apache-2.0 */
/* Minimal pairs made of two sentences: CLAMS and MultiBLiMP. */
#include "helpers.h"

#include "base/memory.h"
#include <sys/stat.h>

static xcoder_status read_task(const char *kind, const char *path, const xcoder_tokenizer *tokenizer,
                               const xcoder_pairs_options *options, xcoder_pairs **pairs, xcoder_error *err) {
  char task[1200];
  snprintf(task, sizeof task, "%s:%s", kind, path);
  xcoder_status status = xcoder_pairs_load(task, tokenizer, options, pairs, err);
  ck_assert(!*pairs == (status != XCODER_OK));
  return status;
}

static xcoder_pairs *load(const char *kind, const char *path, const xcoder_tokenizer *tokenizer,
                          const xcoder_pairs_options *options) {
  xcoder_pairs *pairs = NULL;
  OK(read_task(kind, path, tokenizer, options, &pairs, err));
  return pairs;
}

/* `ids` holds `n_prefix` tokens, the right one, the wrong one. */
static void expect_pair(const xcoder_pairs *pairs, size_t index, const uint32_t *ids, size_t n_prefix,
                        const char *group, const char *language) {
  const xcoder_pair *pair = xcoder_pairs_get(pairs, index);
  ck_assert_ptr_nonnull(pair);
  ck_assert_uint_eq(pair->n_prefix, n_prefix);
  for (size_t i = 0; i < n_prefix; i++) ck_assert_uint_eq(pair->prefix[i], ids[i]);
  ck_assert_uint_eq(pair->right, ids[n_prefix]);
  ck_assert_uint_eq(pair->wrong, ids[n_prefix + 1]);
  ck_assert_str_eq(pair->group, group);
  ck_assert_str_eq(pair->language, language);
}

/* Letters are tokens; "ab" is one, the blank is 0, the end of text 1. */
static xcoder_tokenizer *open_letters(void) {
  static const char text[] =
    "{\"added_tokens\":[{\"id\":1,\"content\":\"<|endoftext|>\",\"special\":true}],"
    "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},\"model\":{\"type\":\"BPE\",\"vocab\":{"
    "\"\\u0120\":0,\"a\":2,\"b\":3,\"c\":4,\"A\":5,\"B\":6,\"\\u00c3\":7,\"\\u012b\":8,\"\\u012a\":9,"
    "\"\\u0120a\":10,\"\\u0120b\":11,\"\\u0120c\":12,\"\\u00a9\":13,\"\\u012b\\u0120\":14,\"\\u0125\":15,"
    "\"\\u00ab\":16,\"\\\"\":17},"
    "\"merges\":[\"\\u0120 a\",\"\\u0120 b\",\"\\u0120 c\"]}}";
  return open_tokenizer(write_temporary("letters.tokenizer", text, sizeof text - 1));
}

static const char *write_in(const char *folder, const char *name, const char *text) {
  char path[128];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  (void)mkdir(temporary_file(folder), 0700);
  return write_temporary(path, text, strlen(text));
}

START_TEST(clams_rules) {
  static const char text[] = "True\ta B a c\r\nFalse\ta b b\n\nTrue\tA ab\nTrue\tb\n" /* Pairs need not alternate. */
                             "False\ta aba\nFalse\ta\nTrue\tb a\nFalse\tb\nTrue\ta aaa\nFalse\ta bbb";
  xcoder_tokenizer *tokenizer = open_letters();
  const char *path = write_in("fr_evalset", "x_y.txt", text);
  xcoder_pairs *pairs = load("clams", path, tokenizer, NULL);
  ck_assert_str_eq(xcoder_pairs_name(pairs), "clams-fr-x_y");
  ck_assert_str_eq(xcoder_pairs_summary(pairs), "kept 2 of 5: 3 skipped (answer longer than 2 tokens: 1, one answer "
                                                "begins with the other: 1, one sentence begins with the other: 1)");
  expect_pair(pairs, 0, (uint32_t[]){1, 5, 11, 10, 11}, 3, "x_y", "fr"); /* A b |a |b */
  expect_pair(pairs, 1, (uint32_t[]){1, 6, 5}, 1, "x_y", "fr");          /* |B |A */
  xcoder_pairs_free(pairs);
  /* By themselves the words have a blank before them. */
  pairs = load("clams", path, tokenizer, &(xcoder_pairs_options){.authors_rule = true, .no_prepend = true});
  ck_assert_uint_eq(xcoder_pairs_count(pairs), 2);
  expect_pair(pairs, 0, (uint32_t[]){5, 11, 10, 11}, 2, "x_y", "fr");
  expect_pair(pairs, 1, (uint32_t[]){0, 6, 5}, 1, "x_y", "fr");
  xcoder_pairs_free(pairs);
  ck_assert_int_eq(unlink(path), 0);
  path = write_in("fr_evalset", "two.txt", "True\ta ba\nFalse\ta bc\nTrue\ta bca\nFalse\ta bcb\n");
  pairs = load("clams", path, tokenizer, &(xcoder_pairs_options){.authors_rule = true, .no_prepend = true});
  ck_assert_str_eq(xcoder_pairs_summary(pairs), "kept 1 of 2: 1 skipped (answer longer than 2 tokens: 1)");
  expect_pair(pairs, 0, (uint32_t[]){5, 11, 2, 4}, 2, "two", "fr"); /* the shared first token joins the prefix */
  xcoder_pairs_free(pairs);
  /* Letters beyond ASCII change their case too: c3 a9 is e with an acute, c3 89 its capital. */
  path = write_in("fr_evalset", "two.txt", "True\t\303\211\303\211 a\nFalse\t\303\251\303\251 b\n");
  pairs = load("clams", temporary_file("fr_evalset"), tokenizer, &(xcoder_pairs_options){.no_prepend = true});
  ck_assert_str_eq(xcoder_pairs_name(pairs), "clams-fr_evalset");
  ck_assert_str_eq(xcoder_pairs_get(pairs, 0)->text, "\303\211\303\251");
  xcoder_pairs_free(pairs);
  pairs = load("clams", temporary_folder(), tokenizer, NULL); /* a folder of languages */
  ck_assert_uint_eq(xcoder_pairs_count(pairs), 1);
  ck_assert_str_eq(xcoder_pairs_get(pairs, 0)->language, "fr");
  xcoder_pairs_free(pairs);
  ck_assert_int_eq(unlink(temporary_file("fr_evalset/two.txt")), 0);
  ck_assert_int_eq(rmdir(temporary_file("fr_evalset")), 0);
  path = write_temporary("en_z.txt", "True\ta b\nFalse\ta c\n", 18);
  pairs = load("clams", path, tokenizer, NULL);
  ck_assert_str_eq(xcoder_pairs_name(pairs), "clams-en-z");
  expect_pair(pairs, 0, (uint32_t[]){1, 5, 11, 12}, 2, "z", "en");
  xcoder_pairs_free(pairs);
  ck_assert_int_eq(unlink(path), 0);
  xcoder_tokenizer_close(tokenizer);
}
END_TEST

/* Quotes, an embedded newline, unknown columns, NBSP and control characters as blanks. */
START_TEST(multiblimp_rules) {
  static const char text[] = "verb\tsen\tphenomenon\twrong_sen\r\n"
                             "x\ta b\302\240 a\034b c\tSV-#\ta b a c\r\n"
                             "\r\n"
                             "\"x\ty\n\r\nz\"\t\"\"\"a\"\" b\"\tSV-G\t\"\"\"a\"\"\nc\"\n"
                             "x\"y\t\tSV-P\ta\n"
                             "x\ta b\tSV-P\ta b c\n";
  static const char rows[] =
    "{\"sen\": \"a b\", \"wrong_sen\": \"a c\", \"phenomenon\": \"SV-#\"}\n"
    "{\"sen\": \"a b\", \"wrong_sen\": \"a c\", \"phenomenon\": \"SV-#\", \"language\": \"por\"}";
  xcoder_tokenizer *tokenizer = open_letters();
  const char *path = write_in("fra", "data.tsv", text);
  xcoder_pairs *pairs = load("multiblimp", path, tokenizer, NULL);
  ck_assert_str_eq(xcoder_pairs_name(pairs), "multiblimp-fra");
  ck_assert_str_eq(xcoder_pairs_summary(pairs), "kept 2 of 4: 2 skipped (one sentence begins with the other: 2)");
  expect_pair(pairs, 0, (uint32_t[]){1, 2, 11, 10, 11, 12}, 4, "SV-#", "fra");
  expect_pair(pairs, 1, (uint32_t[]){1, 17, 2, 17, 11, 12}, 4, "SV-G", "fra");
  xcoder_pairs_free(pairs);
  pairs = load("multiblimp", path, tokenizer, &(xcoder_pairs_options){.max_pairs = 1});
  ck_assert_uint_eq(xcoder_pairs_count(pairs), 1);
  xcoder_pairs_free(pairs);
  pairs = load("multiblimp", temporary_folder(), tokenizer, NULL);
  ck_assert_uint_eq(xcoder_pairs_count(pairs), 2);
  xcoder_pairs_free(pairs);
  ck_assert_int_eq(unlink(path), 0);
  ck_assert_int_eq(rmdir(temporary_file("fra")), 0);
  path = write_temporary("spa.jsonl", rows, sizeof rows - 1);
  pairs = load("multiblimp", path, tokenizer, &(xcoder_pairs_options){.authors_rule = true, .no_prepend = true});
  ck_assert_str_eq(xcoder_pairs_name(pairs), "multiblimp-spa");
  expect_pair(pairs, 0, (uint32_t[]){2, 11, 12}, 1, "SV-#", "spa");
  expect_pair(pairs, 1, (uint32_t[]){2, 11, 12}, 1, "SV-#", "por");
  xcoder_pairs_free(pairs);
  ck_assert_int_eq(unlink(path), 0);
  xcoder_tokenizer_close(tokenizer);
}
END_TEST

static void expect_ids(const uint32_t *ids, size_t n, const uint32_t *wanted, size_t n_wanted) {
  ck_assert_uint_eq(n, n_wanted);
  for (size_t i = 0; i < n; i++) ck_assert_uint_eq(ids[i], wanted[i]);
}

/* Our own form as whole sentences: prefix and answer, as they are. */
START_TEST(own_pairs_as_sentences) {
  static const char text[] =
    "{\"prefix\": \"a\", \"good\": \" b\", \"bad\": \" c\", \"group\": \"g\", \"language\": \"en\", \"other\": [1]}\n"
    "{\"prefix\": \"\", \"good\": \"b\", \"bad\": \"c a\", \"group\": null, \"counterfactual\": \"c\"}\n";
  static const struct {
    const char *text, *words;
  } bad[] = {
    {"{\"good\": \" b\", \"bad\": \" c\"}", "no key 'prefix'"},
    {"{\"prefix\": \"a\", \"bad\": \" c\"}", "no key 'good'"},
    {"{\"prefix\": \"a\", \"good\": \"b\", \"bad\": null}", "no key 'bad'"},
    {"{\"prefix\": [], \"good\": \" b\", \"bad\": \" c\"}", "'prefix' is no text"},
    {"{\"prefix\": \"a\", \"good\": \" b\", \"bad\": {}}", "'bad' is no text"},
    {"{\"prefix\": \"a\", \"good\": \" b\", \"bad\": \" c\", \"language\": 1}", "'language' is no text"},
    {"{\"prefix\": \"a\", \"good\": \" b\", \"bad\": \" c\", \"counterfactual\": true}",
     "'counterfactual' is no text"},
    {"{\"prefix\": \"a\", \"good\": \" b\", \"bad\": \"\"}", "an empty answer"},
    {"{\"prefix\": \"a\", \"good\": \"\", \"bad\": \" b\"}", "an empty answer"},
    {"{\"prefix\": \"a\", \"good\": \" b\", \"bad\": \" b\"}", "are the same"},
  };
  xcoder_tokenizer *tokenizer = open_letters();
  const char *path = write_temporary("own.jsonl", text, sizeof text - 1);
  xcoder_pairs *pairs = load("pairs", path, tokenizer, &(xcoder_pairs_options){.sentences = true});
  ck_assert_uint_eq(xcoder_pairs_count(pairs), 2);
  const xcoder_pair *pair = xcoder_pairs_get(pairs, 0);
  expect_ids(pair->good, pair->n_good, (uint32_t[]){1, 2, 11}, 3);
  expect_ids(pair->bad, pair->n_bad, (uint32_t[]){1, 2, 12}, 3);
  ck_assert_str_eq(pair->group, "g");
  ck_assert_str_eq(pair->language, "en");
  ck_assert_str_eq(pair->text, "a b");
  ck_assert_uint_eq(pair->n_prefix, 0);
  pair = xcoder_pairs_get(pairs, 1);
  expect_ids(pair->good, pair->n_good, (uint32_t[]){1, 3}, 2);
  expect_ids(pair->bad, pair->n_bad, (uint32_t[]){1, 4, 10}, 3);
  ck_assert(pair->good_bytes == 1 && pair->bad_bytes == 3 && pair->bad_characters == 3);
  xcoder_pairs_free(pairs);
  const xcoder_pairs_options behind_blank = {.sentences = true, .no_prepend = true, .delimiter = " "};
  pairs = load("pairs", path, tokenizer, &behind_blank);
  pair = xcoder_pairs_get(pairs, 0);
  expect_ids(pair->good, pair->n_good, (uint32_t[]){10, 11}, 2);
  xcoder_pairs_free(pairs);
  ck_assert_int_eq(unlink(path), 0);
  for (size_t i = 0; i < 2 * sizeof bad / sizeof *bad; i++) { /* by both scorings */
    const xcoder_pairs_options options = {.sentences = i % 2};
    path = write_temporary("own.jsonl", bad[i / 2].text, strlen(bad[i / 2].text));
    FAILS(XCODER_FORMAT, bad[i / 2].words, read_task("pairs", path, tokenizer, &options, &pairs, err));
    ck_assert_int_eq(unlink(path), 0);
  }
  xcoder_tokenizer_close(tokenizer);
}
END_TEST

#define HEADER "sen\twrong_sen\tphenomenon\n"

#define BLIMP "{\"sentence_good\": \"a b\", \"sentence_bad\": \"a c\", \"one_prefix_method\": true}"

START_TEST(refused_and_controls) {
  static const struct {
    const char *kind, *text;
    size_t n_bytes; /* 0: to the first NUL */
    xcoder_status status;
    const char *words;
  } cases[] = {
    {"blimp", "", 0, XCODER_MISMATCH, "kept 0 of 0"},
    {"blimp", "\n \r\n\t\n", 0, XCODER_MISMATCH, "kept 0 of 0"},
    {"blimp", BLIMP, 0, XCODER_OK, ""},
    {"blimp", "\357\273\277" BLIMP, 0, XCODER_OK, ""},
    {"blimp", BLIMP "\r\n\r\n" BLIMP "\r\n", 0, XCODER_OK, ""},
    {"blimp", BLIMP "\n{\"sentence_good\"", 0, XCODER_FORMAT, "line 2"},
    {"blimp", BLIMP "\n" BLIMP BLIMP "\n", 0, XCODER_FORMAT, "line 2"},
    {"blimp", BLIMP "\n[]\n", 0, XCODER_FORMAT, "line 2: expected a JSON object"},
    {"blimp", BLIMP "\nnull\n", 0, XCODER_FORMAT, "line 2: expected a JSON object"},
    {"blimp", "{}\n", 0, XCODER_FORMAT, "not BLiMP"},
    {"blimp", "{\"sentence_good\": \"a b\"}\n", 0, XCODER_FORMAT, "not BLiMP"},
    {"blimp", "{\"sentence_good\": null, \"sentence_bad\": \"a c\"}\n", 0, XCODER_FORMAT, "not BLiMP"},
    {"blimp", "{\"sentence_good\": [\"a b\"], \"sentence_bad\": \"a c\"}\n", 0, XCODER_FORMAT, "is no text"},
    {"blimp", "{\"sentence_good\": \"a b\", \"sentence_bad\": 1}\n", 0, XCODER_FORMAT, "'sentence_bad' is no text"},
    {"blimp", "{\"sentence_good\": \"a b\", \"sentence_bad\": \"a c\", \"UID\": 7}\n", 0, XCODER_FORMAT,
     "'UID' is no text"},
    {"blimp", "{\"sentence_good\": \"a b\", \"sentence_bad\": \"a c\", \"one_prefix_prefix\": 1}\n", 0, XCODER_FORMAT,
     "'one_prefix_prefix' is no text"},
    {"blimp", "{\"sentence_good\": \"a b\", \"sentence_good\": \"a c\"}\n", 0, XCODER_FORMAT, "duplicate"},
    {"blimp", "{\"sentence_good\": \"a \377\", \"sentence_bad\": \"a c\"}\n", 0, XCODER_FORMAT, "line 1"},
    {"blimp", "{\"sentence_good\": \"a \\ud800\", \"sentence_bad\": \"a c\"}\n", 0, XCODER_FORMAT, "line 1"},
    {"blimp", "{\"sentence_good\": \"a \\u0000\", \"sentence_bad\": \"a c\"}\n", 0, XCODER_FORMAT, "line 1"},
    {"blimp", "{\"sentence_good\": \"a b\", \"sentence_bad\": \"a b\", \"one_prefix_method\": true}\n", 0,
     XCODER_MISMATCH, "one answer begins with the other: 1"},
    {"clams", "\357\273\277True\ta b\r\nFalse\ta c\r\n", 0, XCODER_OK, ""},
    {"multiblimp", "\357\273\277" HEADER "a b\ta c\tx\n", 0, XCODER_OK, ""},
    {"multiblimp", "{\"sen\": \"a b\", \"wrong_sen\": \"a c\", \"phenomenon\": \"x\"}\r\n", 0, XCODER_OK, ""},
    {"multiblimp", "{\"sen\": \"a b\", \"wrong_sen\": \"a c\", \"phenomenon\": \"x\", \"language\": 1}\n", 0,
     XCODER_FORMAT, "'language' is no text"},
    {"clams", "", 0, XCODER_MISMATCH, "kept 0 of 0"},
    {"clams", "True\ta b\nFalse a c\n", 0, XCODER_FORMAT, "line 2: expected True or False"},
    {"clams", "True\ta b\nfalse\ta c\n", 0, XCODER_FORMAT, "line 2: expected True or False"},
    {"clams", "True\t\n", 0, XCODER_FORMAT, "line 1: expected True or False"},
    {"clams", "True\ta b\nFalse\ta c\nTrue\ta b\n", 0, XCODER_FORMAT, "1 sentences marked True have no partner"},
    {"clams", "False\ta b\n", 0, XCODER_FORMAT, "1 sentences marked False have no partner"},
    {"clams", "True\ta b\nFalse\ta \377\n", 0, XCODER_FORMAT, "line 2: not UTF-8"},
    {"clams", "True\ta\0b\nFalse\ta c\n", 20, XCODER_FORMAT, "line 1: not UTF-8"},
    {"clams", "True\ta b\nFalse\ta b\n", 0, XCODER_MISMATCH, "one sentence begins with the other: 1"},
    {"multiblimp", "", 0, XCODER_MISMATCH, "kept 0 of 0"},
    {"multiblimp", HEADER, 0, XCODER_MISMATCH, "kept 0 of 0"},
    {"multiblimp", "sen\twrong_sen\n", 0, XCODER_FORMAT, "line 1: no column 'phenomenon'"},
    {"multiblimp", "sen,wrong_sen,phenomenon\n", 0, XCODER_FORMAT, "line 1: no column 'sen'"},
    {"multiblimp", "sen\twrong_sen\tphenomenon\tsen\n", 0, XCODER_FORMAT, "two columns have the same name"},
    {"multiblimp", HEADER "a b\ta c\n", 0, XCODER_FORMAT, "line 2: 2 columns, the header has 3"},
    {"multiblimp", HEADER "a b\ta c\tx\t\n", 0, XCODER_FORMAT, "line 2: 4 columns, the header has 3"},
    {"multiblimp", HEADER "\"a b\ta c\tx\n", 0, XCODER_FORMAT, "line 2: the closing quote"},
    {"multiblimp", HEADER "\"a b\"c\ta c\tx\n", 0, XCODER_FORMAT, "line 2: characters behind the closing quote"},
    {"multiblimp", HEADER "a \355\240\200\ta c\tx\n", 0, XCODER_FORMAT, "line 2: not UTF-8"},
    {"multiblimp", HEADER "a\0\ta c\tx\n", 35, XCODER_FORMAT, "line 2: not UTF-8"},
    {"multiblimp", "{\"sen\": \"a b\", \"wrong_sen\": \"a c\"}\n", 0, XCODER_FORMAT, "no key 'phenomenon'"},
    {"multiblimp", "{\"sen\": 1}\n", 0, XCODER_FORMAT, "'sen' is no text"},
    {"multiblimp", "{\"sen\": \n", 0, XCODER_FORMAT, "line 1"},
  };
  xcoder_tokenizer *tokenizer = open_letters();
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    xcoder_pairs *pairs = NULL;
    size_t n = cases[i].n_bytes ? cases[i].n_bytes : strlen(cases[i].text);
    const char *path = write_temporary("bad", cases[i].text, n);
    if (cases[i].status) {
      FAILS(cases[i].status, cases[i].words, read_task(cases[i].kind, path, tokenizer, NULL, &pairs, err));
    } else {
      OK(read_task(cases[i].kind, path, tokenizer, NULL, &pairs, err));
      xcoder_pairs_free(pairs);
    }
    ck_assert_int_eq(unlink(path), 0);
  }
  /* A row of more than 1 MiB in many lines, and as many lines of one kind as nobody has. */
  FILE *file = fopen(temporary_file("bad"), "w");
  fputs(HEADER "\"", file);
  for (int i = 0; i < 300000; i++) fputs("aaaa\n", file);
  ck_assert_int_eq(fclose(file), 0);
  xcoder_pairs *pairs = NULL;
  FAILS(XCODER_FORMAT, "line 2: a row of more than 1 MiB",
        read_task("multiblimp", temporary_file("bad"), tokenizer, NULL, &pairs, err));
  ck_assert_int_eq(unlink(temporary_file("bad")), 0);
  FAILS(XCODER_MISSING, "without .tsv files",
        read_task("multiblimp", temporary_folder(), tokenizer, NULL, &pairs, err));
  FAILS(XCODER_MISSING, "without .txt files", read_task("clams", temporary_folder(), tokenizer, NULL, &pairs, err));
  xcoder_tokenizer_close(tokenizer);
}
END_TEST

START_TEST(every_allocation_fails_once) {
  static const char *const kinds[] = {"clams", "multiblimp", "pairs"};
  static const char own[] = "{\"prefix\": \"a\", \"good\": \" b\", \"bad\": \" c\"}";
  static const char *const texts[] = {"True\ta b\nTrue\ta b\nFalse\ta c\nFalse\ta c\n", HEADER "\"a b\"\ta c\tx\n",
                                      own};
  xcoder_tokenizer *tokenizer = open_letters();
  for (int k = 0; k < 9; k++) {
    const xcoder_pairs_options options = {.authors_rule = k / 3 == 1, .sentences = k / 3 == 2};
    const char *path = write_temporary("fra.txt", texts[k % 3], strlen(texts[k % 3]));
    xcoder_status status = XCODER_MEMORY;
    for (long n = 1; status; n++) {
      xcoder_error error = {0};
      xcoder_pairs *pairs = NULL;
      ck_assert_int_lt(n, 2000);
      xci_fail_allocation(n, (int)(n % 2));
      status = read_task(kinds[k % 3], path, tokenizer, &options, &pairs, &error);
      xci_fail_allocation(0, 0);
      ck_assert_msg(!status || status == XCODER_MEMORY, "allocation %ld: %s", n, error.message);
      xcoder_pairs_free(pairs);
      if (!status) ck_assert_int_gt(n, 20);
    }
    ck_assert_int_eq(unlink(path), 0);
  }
  xcoder_tokenizer_close(tokenizer);
}
END_TEST

/* Pairs of the published files that are kept with Pythia's tokenizer, by the authors' rule and by ours; computed with
 * the tokenizers library and a restatement of both rules in Python. */
static const struct {
  const char *language, *task;
  size_t authors, ours;
} published[] = {
  {"en", "long_vp_coord", 400, 400},
  {"en", "obj_rel_across_anim", 857, 857},
  {"en", "obj_rel_within_anim", 748, 1000},
  {"en", "prep_anim", 857, 857},
  {"en", "simple_agrmt", 120, 120},
  {"en", "subj_rel", 857, 857},
  {"en", "vp_coord", 720, 720},
  {"fr", "long_vp_coord", 200, 400},
  {"fr", "obj_rel_across_anim", 714, 1000},
  {"fr", "obj_rel_within_anim", 250, 500},
  {"fr", "prep_anim", 715, 1000},
  {"fr", "simple_agrmt", 200, 280},
  {"fr", "subj_rel", 714, 1000},
  {"fr", "vp_coord", 700, 980},
};

START_TEST(clams_as_published) {
  const char *path = shared_file("tokenizers/pythia-20b.tokenizer.json");
  if (!path || !shared_file("clams")) return;
  xcoder_tokenizer *tokenizer = open_tokenizer(path);
  const xcoder_pairs_options authors = {.authors_rule = true, .no_prepend = true};
  for (size_t i = 0; i < sizeof published / sizeof *published; i++) {
    char name[128];
    snprintf(name, sizeof name, "clams/%s/%s.txt", published[i].language, published[i].task);
    path = shared_file(name);
    ck_assert_ptr_nonnull(path);
    xcoder_pairs *ours = load("clams", path, tokenizer, NULL), *theirs = load("clams", path, tokenizer, &authors);
    ck_assert_msg(xcoder_pairs_count(ours) == published[i].ours && xcoder_pairs_count(theirs) == published[i].authors,
                  "%s: %s; %s", name, xcoder_pairs_summary(ours), xcoder_pairs_summary(theirs));
    ck_assert_str_eq(xcoder_pairs_get(ours, 0)->language, published[i].language);
    ck_assert_str_eq(xcoder_pairs_get(ours, 0)->group, published[i].task);
    xcoder_pairs_free(ours);
    xcoder_pairs_free(theirs);
  }
  xcoder_tokenizer_close(tokenizer);
}
END_TEST

int main(void) {
  TCase *tcase = new_case("sentences");
  tcase_add_test(tcase, own_pairs_as_sentences);
  tcase_add_test(tcase, clams_rules);
  tcase_add_test(tcase, multiblimp_rules);
  tcase_add_test(tcase, refused_and_controls);
  tcase_add_test(tcase, every_allocation_fails_once);
  tcase_add_test(tcase, clams_as_published);
  int failed = run_case(tcase, "sentences");
  unlink(temporary_file("letters.tokenizer"));
  rmdir(temporary_folder());
  return failed;
}
