/* SPDX-License-Identifier: Apache-2.0 */
/* Minimal pairs: our own format, BLiMP by both rules, and the paper's preprocessing exactly. */
#include "helpers.h"

#include <ctype.h>
#include <sys/stat.h>

static xcoder_pairs *load(const char *kind, const char *path, const xcoder_tokenizer *tokenizer,
                          const xcoder_pairs_options *options) {
  char task[1200];
  xcoder_pairs *pairs = NULL;
  snprintf(task, sizeof task, "%s:%s", kind, path);
  OK(xcoder_pairs_load(task, tokenizer, options, &pairs, err));
  ck_assert_ptr_nonnull(pairs);
  return pairs;
}

static void expect_prefix(const uint32_t *ids, size_t n, const uint32_t *wanted, size_t n_wanted) {
  ck_assert_uint_eq(n, n_wanted);
  for (size_t i = 0; i < n; i++) ck_assert_uint_eq(ids[i], wanted[i]);
}

/* In good/tokenizer-plain.json "a" is 0, "b" 1, "ab" 2, the blank 3 and the end of text 4. */
START_TEST(own_format) {
  static const char text[] = "{\"prefix\": \"ab\", \"good\": \" a\", \"bad\": \" b\", \"language\": \"xx\", \"group\": "
                             "\"g\", \"counterfactual\": \"b\"}\n"
                             "\n"
                             "{\"prefix\": \"b\", \"good\": \" aa\", \"bad\": \" b\", \"counterfactual\": \"b b\"}\r\n"
                             "{\"prefix\": \"b\", \"good\": \" aaa\", \"bad\": \" b\"}\n"
                             "{\"prefix\": \"\", \"good\": \"a\", \"bad\": \"b\"}\n"
                             "{\"prefix\": \"b\", \"good\": \" ab\", \"bad\": \" a\"}";
  xcoder_tokenizer *tokenizer = open_tokenizer(test_file("good/tokenizer-plain.json"));
  const char *path = write_temporary("En simple.jsonl", text, sizeof text - 1);
  xcoder_pairs *pairs = load("pairs", path, tokenizer, NULL);
  ck_assert_str_eq(xcoder_pairs_name(pairs), "pairs-en_simple");
  ck_assert_str_eq(xcoder_pairs_summary(pairs),
                   "kept 4 of 5: 1 skipped (answer longer than 2 tokens: 1); "
                   "1 counterfactuals dropped (other tokens or another length)");
  ck_assert_uint_eq(xcoder_pairs_count(pairs), 4);
  const xcoder_pair *pair = xcoder_pairs_get(pairs, 0);
  expect_prefix(pair->prefix, pair->n_prefix, (uint32_t[]){4, 2, 3}, 3);
  expect_prefix(pair->counterfactual, pair->n_prefix, (uint32_t[]){4, 1, 3}, 3);
  ck_assert_uint_eq(pair->right, 0);
  ck_assert_uint_eq(pair->wrong, 1);
  ck_assert_str_eq(pair->group, "g");
  ck_assert_str_eq(pair->language, "xx");
  ck_assert_str_eq(pair->text, "ab ");
  pair = xcoder_pairs_get(pairs, 1);
  expect_prefix(pair->prefix, pair->n_prefix, (uint32_t[]){4, 1, 3}, 3);
  ck_assert_ptr_null(pair->counterfactual);
  ck_assert_str_eq(pair->group, "");
  ck_assert_str_eq(pair->language, "");
  pair = xcoder_pairs_get(pairs, 2);
  expect_prefix(pair->prefix, pair->n_prefix, (uint32_t[]){4}, 1);
  ck_assert_str_eq(pair->text, "");
  pair = xcoder_pairs_get(pairs, 3);
  ck_assert_uint_eq(pair->right, 2); /* "ab" is one token, so the sentences are tokenized whole */
  ck_assert_uint_eq(pair->wrong, 0);
  ck_assert_ptr_null(xcoder_pairs_get(pairs, 4));
  xcoder_pairs_free(pairs);

  pairs = load("pairs", path, tokenizer, &(xcoder_pairs_options){.no_prepend = true});
  ck_assert_str_eq(xcoder_pairs_summary(pairs),
                   "kept 3 of 5: 2 skipped (answer longer than 2 tokens: 1, empty prefix: 1); "
                   "1 counterfactuals dropped (other tokens or another length)");
  pair = xcoder_pairs_get(pairs, 0);
  expect_prefix(pair->prefix, pair->n_prefix, (uint32_t[]){2, 3}, 2);
  xcoder_pairs_free(pairs);

  pairs = load("pairs", path, tokenizer, &(xcoder_pairs_options){.authors_rule = true, .max_pairs = 2});
  ck_assert_uint_eq(xcoder_pairs_count(pairs), 2);
  ck_assert_str_eq(xcoder_pairs_summary(pairs), "kept 2 of 4: 2 skipped (answers of different length: 2)");
  xcoder_pairs_free(pairs);
  ck_assert_int_eq(unlink(path), 0);
  xcoder_tokenizer_close(tokenizer);
}
END_TEST

START_TEST(folders_and_tasks) {
  static const char line[] = "{\"prefix\": \"ab\", \"good\": \" a\", \"bad\": \" b\", \"group\": \"1\"}\n";
  static const char other[] = "{\"prefix\": \"ab\", \"good\": \" b\", \"bad\": \" a\", \"group\": \"0\"}\n";
  xcoder_tokenizer *tokenizer = open_tokenizer(test_file("good/tokenizer-plain.json"));
  xcoder_pairs *pairs = NULL;
  char folder[512], task[600];
  write_temporary("z.jsonl", line, sizeof line - 1);
  write_temporary("a.jsonl", other, sizeof other - 1);
  write_temporary("README", "x", 1);
  snprintf(folder, sizeof folder, "%s/", temporary_folder());
  pairs = load("pairs", folder, tokenizer, NULL);
  ck_assert_uint_eq(xcoder_pairs_count(pairs), 2);
  ck_assert_str_eq(xcoder_pairs_get(pairs, 0)->group, "0"); /* in the order of the names */
  ck_assert_str_eq(xcoder_pairs_get(pairs, 1)->group, "1");
  ck_assert(strncmp(xcoder_pairs_name(pairs), "pairs-xcoder-data-", 18) == 0);
  for (const char *p = xcoder_pairs_name(pairs); *p; p++) ck_assert(!isupper((unsigned char)*p));
  xcoder_pairs_free(pairs);
  ck_assert_int_eq(unlink(temporary_file("z.jsonl")), 0);
  ck_assert_int_eq(unlink(temporary_file("a.jsonl")), 0);
  snprintf(task, sizeof task, "pairs:%s", folder);
  FAILS(XCODER_MISSING, "without .jsonl files", xcoder_pairs_load(task, tokenizer, NULL, &pairs, err));
  ck_assert_ptr_null(pairs);
  ck_assert_int_eq(unlink(temporary_file("README")), 0);
  FAILS(XCODER_USAGE, "expected pairs:PATH", xcoder_pairs_load("x.jsonl", tokenizer, NULL, &pairs, err));
  FAILS(XCODER_USAGE, "expected pairs:PATH", xcoder_pairs_load("pair:x.jsonl", tokenizer, NULL, &pairs, err));
  FAILS(XCODER_USAGE, "expected pairs:PATH", xcoder_pairs_load("pairs:", tokenizer, NULL, &pairs, err));
  FAILS(XCODER_MISSING, "/nonexistent", xcoder_pairs_load("pairs:/nonexistent", tokenizer, NULL, &pairs, err));
  FAILS(XCODER_FORMAT, "not BLiMP",
        xcoder_pairs_load((snprintf(task, sizeof task, "blimp:%s", test_file("good/pairs-plain.jsonl")), task),
                          tokenizer, NULL, &pairs, err));
  xcoder_tokenizer_close(tokenizer);
}
END_TEST

#define SENTENCES "\"sentence_good\": \"a b a\", \"sentence_bad\": \"a a a\", "

/* All 67 paradigms of BLiMP in a folder, of which half have no word behind a common prefix: one line for each file; and
 * whole sentences, which every paradigm has. */
START_TEST(all_paradigms) {
  static const char prefix[] = "{" SENTENCES "\"one_prefix_method\": true, \"one_prefix_prefix\": \"ab\", "
                               "\"one_prefix_word_good\": \"a\", \"one_prefix_word_bad\": \"b\", \"UID\": \"u\"}\n";
  static const char none[] = "{" SENTENCES "\"one_prefix_method\": false, \"UID\": \"v\"}\n";
  xcoder_tokenizer *tokenizer = open_tokenizer(test_file("good/tokenizer-plain.json"));
  char name[64], folder[512];
  for (int i = 0; i < 67; i++) {
    snprintf(name, sizeof name, "paradigm_%02d.jsonl", i);
    write_temporary(name, i % 2 ? none : prefix, i % 2 ? sizeof none - 1 : sizeof prefix - 1);
  }
  snprintf(folder, sizeof folder, "%s", temporary_folder());
  xcoder_pairs *pairs = load("blimp", folder, tokenizer, NULL);
  ck_assert_str_eq(xcoder_pairs_summary(pairs), "kept 34 of 34; 33 files without words behind a common prefix");
  const char *line = xcoder_pairs_files(pairs);
  for (int i = 0; i < 67; i++) {
    char wanted[128];
    snprintf(wanted, sizeof wanted, "paradigm_%02d.jsonl: %s\n", i,
             i % 2 ? "kept 0 of 1: 1 skipped (no word behind a common prefix: 1)" : "kept 1 of 1");
    ck_assert_msg(strncmp(line, wanted, strlen(wanted)) == 0, "'%s' does not begin with '%s'", line, wanted);
    line += strlen(wanted);
  }
  ck_assert_str_eq(line, "");
  xcoder_pairs_free(pairs);
  pairs = load("blimp", folder, tokenizer, &(xcoder_pairs_options){.sentences = true});
  ck_assert_str_eq(xcoder_pairs_summary(pairs), "kept 67 of 67");
  xcoder_pairs_free(pairs);
  for (int i = 0; i < 67; i++) {
    snprintf(name, sizeof name, "paradigm_%02d.jsonl", i);
    ck_assert_int_eq(unlink(temporary_file(name)), 0);
  }
  xcoder_tokenizer_close(tokenizer);
}
END_TEST

START_TEST(blimp_rows) {
  static const char text[] =
    "{" SENTENCES "\"one_prefix_method\": true, \"one_prefix_prefix\": \" ab \", \"one_prefix_word_good\": \"a\", "
    "\"one_prefix_word_bad\": \"b \", \"UID\": \"u1\"}\n"
    "{" SENTENCES "\"one_prefix_method\": true, \"UID\": \"u2\"}\n"
    "{" SENTENCES "\"one_prefix_method\": false, \"two_prefix_prefix_good\": \"a\", \"UID\": \"u3\"}\n";
  xcoder_tokenizer *tokenizer = open_tokenizer(test_file("good/tokenizer-plain.json"));
  const char *path = write_temporary("b.jsonl", text, sizeof text - 1);
  xcoder_pairs *pairs = load("blimp", path, tokenizer, NULL);
  ck_assert_str_eq(xcoder_pairs_summary(pairs), "kept 2 of 3: 1 skipped (no word behind a common prefix: 1)");
  const xcoder_pair *pair = xcoder_pairs_get(pairs, 0);
  expect_prefix(pair->prefix, pair->n_prefix, (uint32_t[]){4, 2, 3}, 3);
  ck_assert_str_eq(pair->group, "u1");
  ck_assert_str_eq(pair->language, "en");
  pair = xcoder_pairs_get(pairs, 1);
  expect_prefix(pair->prefix, pair->n_prefix, (uint32_t[]){4, 0, 3}, 3);
  ck_assert_uint_eq(pair->right, 1);
  ck_assert_uint_eq(pair->wrong, 0);
  xcoder_pairs_free(pairs);
  pairs = load("blimp", path, tokenizer, &(xcoder_pairs_options){.authors_rule = true});
  ck_assert_str_eq(xcoder_pairs_summary(pairs), "kept 1 of 3: 2 skipped (no word behind a common prefix: 2)");
  xcoder_pairs_free(pairs);
  ck_assert_int_eq(unlink(path), 0);
  xcoder_tokenizer_close(tokenizer);
}
END_TEST

/* Every kept item of the paper, in order, as text; the authors' prompts have no end-of-text token. */
START_TEST(blimp_as_in_the_paper) {
  static const struct {
    const char *name;
    size_t n;
  } files[] = {{"distractor_agreement_relational_noun", 918}, {"distractor_agreement_relative_clause", 873},
               {"irregular_plural_subject_verb_agreement_1", 857}, {"regular_plural_subject_verb_agreement_1", 829}};
  const char *path = shared_file("tokenizers/pythia-20b.tokenizer.json"), *found = shared_file("blimp");
  if (!path || !found) return;
  char folder[1024];
  snprintf(folder, sizeof folder, "%s", found);
  xcoder_tokenizer *tokenizer = open_tokenizer(path);
  const xcoder_pairs_options options = {.authors_rule = true, .no_prepend = true};
  xcoder_pairs *pairs = load("blimp", folder, tokenizer, &options);
  ck_assert_uint_eq(xcoder_pairs_count(pairs), 3477);
  ck_assert(strncmp(xcoder_pairs_summary(pairs), "kept 3477 of 4000: 523 skipped", 30) == 0);
  size_t index = 0;
  for (size_t k = 0; k < 4; k++) {
    char name[256], line[512], ours[512];
    size_t n_lines = 0, n_right, n_wrong;
    snprintf(name, sizeof name, "blimp_expected/%s.tsv", files[k].name);
    FILE *file = fopen(shared_file(name), "r");
    ck_assert_ptr_nonnull(file);
    for (; fgets(line, sizeof line, file); n_lines++) {
      const xcoder_pair *pair = xcoder_pairs_get(pairs, index++);
      const char *right = xcoder_token_bytes(tokenizer, pair->right, &n_right);
      const char *wrong = xcoder_token_bytes(tokenizer, pair->wrong, &n_wrong);
      snprintf(ours, sizeof ours, "%s\t%.*s\t%.*s\n", pair->text, (int)n_right, right, (int)n_wrong, wrong);
      ck_assert_str_eq(ours, line);
      ck_assert_str_eq(pair->group, files[k].name);
    }
    ck_assert_uint_eq(n_lines, files[k].n);
    fclose(file);
  }
  xcoder_pairs_free(pairs);
  pairs = load("blimp", folder, tokenizer, NULL);
  ck_assert_uint_gt(xcoder_pairs_count(pairs), 3477); /* our rule loses fewer */
  xcoder_pairs_free(pairs);
  xcoder_tokenizer_close(tokenizer);
}
END_TEST

int main(void) {
  TCase *tcase = new_case("pairs");
  tcase_add_test(tcase, own_format);
  tcase_add_test(tcase, folders_and_tasks);
  tcase_add_test(tcase, all_paradigms);
  tcase_add_test(tcase, blimp_rows);
  tcase_add_test(tcase, blimp_as_in_the_paper);
  int failed = run_case(tcase, "pairs");
  rmdir(temporary_folder());
  return failed;
}
