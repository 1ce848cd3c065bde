# Tests of layer report.
dist_check_SCRIPTS += tests/report/check-page.sh tests/report/check-labels.sh
EXTRA_DIST += tests/report/browser.py tests/report/label_page.py tests/report/make_golden.py \
  tests/report/golden/kappa.json
if HAVE_CHECK
check_PROGRAMS += tests/report/test_report tests/report/test_labels
TESTS += tests/report/test_report tests/report/test_labels tests/report/check-page.sh tests/report/check-labels.sh
tests_report_test_report_SOURCES = tests/report/test_report.c
tests_report_test_report_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_report_test_report_LDADD = $(LAYERS_REPORT) $(TEST_LIBS)
tests_report_test_labels_SOURCES = tests/report/test_labels.c
tests_report_test_labels_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_report_test_labels_LDADD = $(LAYERS_REPORT) $(TEST_LIBS)
endif
