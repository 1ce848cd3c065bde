# Tests of the crosscoder's entries.
if HAVE_CHECK
check_PROGRAMS += tests/compute/test_coder tests/compute/test_coder_properties tests/compute/test_coder_golden
TESTS += tests/compute/test_coder tests/compute/test_coder_properties tests/compute/test_coder_golden
tests_compute_test_coder_SOURCES = tests/compute/test_coder.c tests/compute/coder_pair.c tests/compute/coder_pair.h
tests_compute_test_coder_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_compute_test_coder_LDADD = $(LAYERS_COMPUTE) $(TEST_LIBS)
tests_compute_test_coder_properties_SOURCES = tests/compute/test_coder_properties.c tests/compute/coder_pair.c \
  tests/compute/coder_pair.h
tests_compute_test_coder_properties_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_compute_test_coder_properties_LDADD = $(LAYERS_COMPUTE) $(TEST_LIBS)
tests_compute_test_coder_golden_SOURCES = tests/compute/test_coder_golden.c
tests_compute_test_coder_golden_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_compute_test_coder_golden_LDADD = $(LAYERS_COMPUTE) $(TEST_LIBS)
endif
EXTRA_DIST += tests/compute/make_coder_golden.py tests/compute/golden/coder_1.f64 tests/compute/golden/coder_3.f64 \
  tests/compute/golden/coder_5.f64

if HAVE_CHECK
check_PROGRAMS += tests/compute/test_batch_topk
TESTS += tests/compute/test_batch_topk
tests_compute_test_batch_topk_SOURCES = tests/compute/test_batch_topk.c
tests_compute_test_batch_topk_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_compute_test_batch_topk_LDADD = $(LAYERS_COMPUTE) $(TEST_LIBS)
endif
EXTRA_DIST += tests/compute/make_auxiliary_golden.py tests/compute/golden/batchtopk.f64

if HAVE_CHECK
check_PROGRAMS += tests/compute/test_jump
TESTS += tests/compute/test_jump
tests_compute_test_jump_SOURCES = tests/compute/test_jump.c tests/compute/coder_pair.c tests/compute/coder_pair.h
tests_compute_test_jump_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_compute_test_jump_LDADD = $(LAYERS_COMPUTE) $(TEST_LIBS)
endif
EXTRA_DIST += tests/compute/make_jump_golden.py tests/compute/golden/jumprelu_1.f64 \
  tests/compute/golden/jumprelu_3.f64

# The same on an OpenCL device, where there is one.
if HAVE_CHECK
dist_check_SCRIPTS += tests/compute/opencl.sh
TESTS += tests/compute/opencl.sh
else
EXTRA_DIST += tests/compute/opencl.sh
endif

if HAVE_OPENCL
check_PROGRAMS += tests/compute/test_opencl_faults
TESTS += tests/compute/test_opencl_faults
tests_compute_test_opencl_faults_SOURCES = tests/compute/test_opencl_faults.c tests/compute/opencl_faults.c \
  tests/compute/opencl_faults.h
tests_compute_test_opencl_faults_CPPFLAGS = $(AM_CPPFLAGS)
tests_compute_test_opencl_faults_LDADD = $(LAYERS_COMPUTE) $(XCODER_LIBS)
endif

# The same driver for programs that are not linked with it.
if HAVE_OPENCL
check_LTLIBRARIES += tests/compute/opencl_faults.la
tests_compute_opencl_faults_la_SOURCES = tests/compute/opencl_faults.c tests/compute/opencl_faults.h
tests_compute_opencl_faults_la_LDFLAGS = -module -avoid-version -rpath /nowhere
endif

# Products, by every way that they can go (opencl.sh).
if HAVE_OPENCL
if HAVE_CHECK
check_PROGRAMS += tests/compute/test_opencl_gemm
tests_compute_test_opencl_gemm_SOURCES = tests/compute/test_opencl_gemm.c tests/compute/block_test.h
tests_compute_test_opencl_gemm_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir) $(CHECK_CFLAGS)
tests_compute_test_opencl_gemm_LDADD = $(LAYERS_COMPUTE) $(TEST_LIBS)
endif
endif
