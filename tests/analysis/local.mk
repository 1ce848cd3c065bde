# Tests of layer analysis.
if HAVE_CHECK
check_PROGRAMS += tests/analysis/test_cores
TESTS += tests/analysis/test_cores
tests_analysis_test_cores_SOURCES = tests/analysis/test_cores.c
tests_analysis_test_cores_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_analysis_test_cores_LDADD = $(LAYERS_ANALYSIS) $(TEST_LIBS)
endif
