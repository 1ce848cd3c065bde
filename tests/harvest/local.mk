# Tests of layer harvest: test_harvest over a fake model, without the model and data layers; test_models with them.
if HAVE_CHECK
check_PROGRAMS += tests/harvest/test_harvest tests/harvest/test_models
TESTS += tests/harvest/test_harvest tests/harvest/test_models
tests_harvest_test_harvest_SOURCES = tests/harvest/test_harvest.c tests/harvest/fake_model.c \
  tests/harvest/fake_model.h
tests_harvest_test_harvest_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS) -I$(top_srcdir)/tests/harvest
tests_harvest_test_harvest_LDADD = src/libharvest.la $(LAYERS_FORMATS) $(TEST_LIBS)
tests_harvest_test_models_SOURCES = tests/harvest/test_models.c
tests_harvest_test_models_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_harvest_test_models_LDADD = $(LAYERS_HARVEST) $(TEST_LIBS)
check_PROGRAMS += tests/harvest/test_train_adapter
TESTS += tests/harvest/test_train_adapter
tests_harvest_test_train_adapter_SOURCES = tests/harvest/test_train_adapter.c
tests_harvest_test_train_adapter_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_harvest_test_train_adapter_LDADD = $(LAYERS_HARVEST) $(TEST_LIBS)
endif
