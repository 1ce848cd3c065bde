# Tests of layer report.
if HAVE_CHECK
check_PROGRAMS += tests/report/test_report
TESTS += tests/report/test_report
tests_report_test_report_SOURCES = tests/report/test_report.c
tests_report_test_report_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_report_test_report_LDADD = $(LAYERS_REPORT) $(TEST_LIBS)
endif
