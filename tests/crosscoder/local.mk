# Tests of layer crosscoder.
if HAVE_CHECK
check_PROGRAMS += tests/crosscoder/test_object tests/crosscoder/test_train tests/crosscoder/test_resume \
  tests/crosscoder/test_dictionary
TESTS += tests/crosscoder/test_object tests/crosscoder/test_train tests/crosscoder/test_resume \
  tests/crosscoder/test_dictionary
tests_crosscoder_test_object_SOURCES = tests/crosscoder/test_object.c tests/crosscoder/support.c \
  tests/crosscoder/support.h
tests_crosscoder_test_object_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_crosscoder_test_object_LDADD = $(LAYERS_CODER) $(TEST_LIBS)
tests_crosscoder_test_train_SOURCES = tests/crosscoder/test_train.c tests/crosscoder/support.c \
  tests/crosscoder/support.h
tests_crosscoder_test_train_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_crosscoder_test_train_LDADD = $(LAYERS_CODER) $(TEST_LIBS)
tests_crosscoder_test_resume_SOURCES = tests/crosscoder/test_resume.c tests/crosscoder/support.c \
  tests/crosscoder/support.h
tests_crosscoder_test_resume_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_crosscoder_test_resume_LDADD = $(LAYERS_CODER) $(TEST_LIBS)
tests_crosscoder_test_dictionary_SOURCES = tests/crosscoder/test_dictionary.c tests/crosscoder/support.c \
  tests/crosscoder/support.h
tests_crosscoder_test_dictionary_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_crosscoder_test_dictionary_LDADD = $(LAYERS_CODER) $(TEST_LIBS)
endif
