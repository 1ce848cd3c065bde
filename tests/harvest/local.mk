# Tests of layer harvest: over a fake model, so that they need neither the model nor the data layer.
if HAVE_CHECK
check_PROGRAMS += tests/harvest/test_harvest
TESTS += tests/harvest/test_harvest
tests_harvest_test_harvest_SOURCES = tests/harvest/test_harvest.c tests/harvest/fake_model.c \
  tests/harvest/fake_model.h
tests_harvest_test_harvest_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS) -I$(top_srcdir)/tests/harvest
tests_harvest_test_harvest_LDADD = src/libharvest.la $(LAYERS_FORMATS) $(TEST_LIBS)
endif
