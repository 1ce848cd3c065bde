# Libraries that unit tests link: from the layer under test downward.
TEST_LIBS = $(CHECK_LIBS) $(XCODER_LIBS)
LAYERS_BASE = src/libbase.la
LAYERS_COMPUTE = src/libcompute.la $(LAYERS_BASE)
LAYERS_FORMATS = src/libformats.la $(LAYERS_COMPUTE)
LAYERS_TEXT = src/libdata.la $(LAYERS_FORMATS)
LAYERS_MODEL = src/libmodel.la $(LAYERS_FORMATS)
LAYERS_CODER = src/libcoder.la $(LAYERS_FORMATS)
LAYERS_HARVEST = src/libharvest.la src/libcoder.la src/libmodel.la $(LAYERS_TEXT)
LAYERS_ANALYSIS = src/libanalysis.la $(LAYERS_HARVEST)
LAYERS_REPORT = src/libreport.la $(LAYERS_ANALYSIS)
AM_TESTS_ENVIRONMENT = srcdir='$(srcdir)'; builddir='$(builddir)'; top_srcdir='$(top_srcdir)'; \
  export srcdir builddir top_srcdir; CK_DEFAULT_TIMEOUT=120; export CK_DEFAULT_TIMEOUT; \
  OMP_WAIT_POLICY=passive; export OMP_WAIT_POLICY; \
  POCL_CACHE_DIR='$(abs_builddir)/test-cache'; XDG_CACHE_HOME='$(abs_builddir)/test-cache'; \
  export POCL_CACHE_DIR XDG_CACHE_HOME; mkdir -p "$$POCL_CACHE_DIR";

clean-local:
	rm -rf test-cache

dist_check_SCRIPTS += tests/check-layers.sh tests/check-lines.sh tests/check-headers.sh tests/check-symbols.sh
TESTS += tests/check-layers.sh tests/check-lines.sh tests/check-headers.sh tests/check-symbols.sh
CLEANFILES += symbols.tmp
EXTRA_DIST += tests/symbols.txt tests/coverage.sh tests/session.sh \
  tests/sanitize.sh tests/valgrind.sh tests/portability.sh tests/paper.sh tests/oclgrind.sh tests/opencl-plan.sh \
  tests/make_shape.py \
  tests/exchange_packages.py tests/harness_package.py packaging/setup.sh demo.sh check.sh

# What takes too long, or too much, for every commit: doc/testing.md says what each needs.
bigcheck: all
	$(srcdir)/tests/valgrind.sh $(builddir)
	$(srcdir)/tests/portability.sh
	$(srcdir)/tests/oclgrind.sh $(builddir) || test $$? -eq 77
	$(srcdir)/tests/opencl-plan.sh $(builddir) || test $$? -eq 77
	$(srcdir)/tests/paper.sh $(builddir)

include tests/base/local.mk
include tests/compute/local.mk
include tests/formats/local.mk
include tests/data/local.mk
include tests/model/local.mk
include tests/crosscoder/local.mk
include tests/harvest/local.mk
include tests/analysis/local.mk
include tests/report/local.mk
include tests/cli/local.mk
