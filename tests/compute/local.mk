# Tests of layer compute: add programs to check_PROGRAMS and TESTS, data to EXTRA_DIST.
if HAVE_CHECK
check_PROGRAMS += tests/compute/test_conformance_block
TESTS += tests/compute/test_conformance_block
tests_compute_test_conformance_block_SOURCES = tests/compute/test_conformance_block.c tests/compute/block_test.h
tests_compute_test_conformance_block_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir) $(CHECK_CFLAGS)
tests_compute_test_conformance_block_LDADD = $(LAYERS_COMPUTE) $(TEST_LIBS)
check_PROGRAMS += tests/compute/test_kernels
TESTS += tests/compute/test_kernels
tests_compute_test_kernels_SOURCES = tests/compute/test_kernels.c tests/compute/block_test.h
tests_compute_test_kernels_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir) $(CHECK_CFLAGS)
tests_compute_test_kernels_LDADD = $(LAYERS_COMPUTE) $(TEST_LIBS)
endif
include tests/compute/coder.mk
