# Tests of layer report.
dist_check_SCRIPTS += tests/report/check-page.sh
if HAVE_CHECK
check_PROGRAMS += tests/report/test_report
TESTS += tests/report/test_report tests/report/check-page.sh
tests_report_test_report_SOURCES = tests/report/test_report.c
tests_report_test_report_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_report_test_report_LDADD = $(LAYERS_REPORT) $(TEST_LIBS)
endif
