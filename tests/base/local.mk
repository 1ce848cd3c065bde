# Tests of layer base.
if HAVE_CHECK
check_PROGRAMS += tests/base/test_base
TESTS += tests/base/test_base
tests_base_test_base_SOURCES = tests/base/test_base.c
tests_base_test_base_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_base_test_base_LDADD = $(LAYERS_BASE) $(TEST_LIBS)
endif
