# Tests of layer data.
if HAVE_CHECK
check_PROGRAMS += tests/data/test_tokenizer
TESTS += tests/data/test_tokenizer
tests_data_test_tokenizer_SOURCES = tests/data/test_tokenizer.c tests/data/helpers.h
tests_data_test_tokenizer_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_data_test_tokenizer_LDADD = $(LAYERS_TEXT) $(TEST_LIBS)
check_PROGRAMS += tests/data/test_unicode
TESTS += tests/data/test_unicode
tests_data_test_unicode_SOURCES = tests/data/test_unicode.c tests/data/helpers.h
tests_data_test_unicode_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_data_test_unicode_LDADD = $(LAYERS_TEXT) $(TEST_LIBS)
check_PROGRAMS += tests/data/test_corpus
TESTS += tests/data/test_corpus
tests_data_test_corpus_SOURCES = tests/data/test_corpus.c tests/data/helpers.h
tests_data_test_corpus_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_data_test_corpus_LDADD = $(LAYERS_TEXT) $(TEST_LIBS)
check_PROGRAMS += tests/data/test_tokens
TESTS += tests/data/test_tokens
tests_data_test_tokens_SOURCES = tests/data/test_tokens.c tests/data/helpers.h
tests_data_test_tokens_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_data_test_tokens_LDADD = $(LAYERS_TEXT) $(TEST_LIBS)
check_PROGRAMS += tests/data/test_token_files
TESTS += tests/data/test_token_files
tests_data_test_token_files_SOURCES = tests/data/test_token_files.c tests/data/helpers.h
tests_data_test_token_files_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_data_test_token_files_LDADD = $(LAYERS_TEXT) $(TEST_LIBS)
check_PROGRAMS += tests/data/test_pairs
TESTS += tests/data/test_pairs
tests_data_test_pairs_SOURCES = tests/data/test_pairs.c tests/data/helpers.h
tests_data_test_pairs_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_data_test_pairs_LDADD = $(LAYERS_TEXT) $(TEST_LIBS)
check_PROGRAMS += tests/data/test_cases
TESTS += tests/data/test_cases
tests_data_test_cases_SOURCES = tests/data/test_cases.c tests/data/helpers.h
tests_data_test_cases_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_data_test_cases_LDADD = $(LAYERS_TEXT) $(TEST_LIBS)
check_PROGRAMS += tests/data/test_memory
TESTS += tests/data/test_memory
tests_data_test_memory_SOURCES = tests/data/test_memory.c tests/data/helpers.h
tests_data_test_memory_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_data_test_memory_LDADD = $(LAYERS_TEXT) $(TEST_LIBS)
check_PROGRAMS += tests/data/test_sentences
TESTS += tests/data/test_sentences
tests_data_test_sentences_SOURCES = tests/data/test_sentences.c tests/data/helpers.h
tests_data_test_sentences_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_data_test_sentences_LDADD = $(LAYERS_TEXT) $(TEST_LIBS)
endif
# Folders: golden values with the script that made them, and files good and bad.
EXTRA_DIST += tests/data/make_golden.py tests/data/make_cases.py tests/data/golden tests/data/cases.tsv \
  tests/data/good \
  tests/data/bad tests/data/unsupported
