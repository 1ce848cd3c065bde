# Tests of layer formats.
if HAVE_CHECK
check_PROGRAMS += tests/formats/test_formats
TESTS += tests/formats/test_formats
tests_formats_test_formats_SOURCES = tests/formats/test_formats.c
tests_formats_test_formats_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_formats_test_formats_LDADD = $(LAYERS_FORMATS) $(TEST_LIBS)
endif
