# The kernels, embedded as an array of lines. cl/common.cl comes first, also before cl/tensor.cl, a program of its own.
CL_FILES = cl/common.cl cl/gemm.cl cl/codes.cl cl/select.cl cl/coder.cl
CL_FILES += cl/transformer.cl cl/attention.cl cl/head.cl cl/backward.cl cl/attention_backward.cl
CL_TENSOR_FILES = cl/common.cl cl/tensor.cl cl/tensor_attention.cl
EXTRA_DIST += $(CL_FILES) $(CL_TENSOR_FILES) cl/embed.sh
if HAVE_OPENCL
src_libcompute_la_SOURCES += src/compute/opencl/opencl.h src/compute/opencl/coder.h src/compute/opencl/device.c \
  src/compute/opencl/select.c src/compute/opencl/list.c src/compute/opencl/launch.c src/compute/opencl/memory.c \
  src/compute/opencl/program.c src/compute/opencl/gemm.c src/compute/opencl/tensor.c src/compute/opencl/coder_state.c \
  src/compute/opencl/coder_codes.c src/compute/opencl/coder_train.c src/compute/opencl/coder_auxiliary.c \
  src/compute/opencl/coder_plan.c src/compute/opencl/coder_panels.c src/compute/opencl/coder_samples.c \
  src/compute/opencl/coder_decode.c src/compute/opencl/coder_sums.c
# The transformer.
src_libcompute_la_SOURCES += src/compute/opencl/transformer.h src/compute/opencl/weight.c \
  src/compute/opencl/work.c src/compute/opencl/tape.c src/compute/opencl/linear.c src/compute/opencl/layers.c \
  src/compute/opencl/block.c src/compute/opencl/attend.c src/compute/opencl/embed.c src/compute/opencl/head.c \
  src/compute/opencl/backward.c src/compute/opencl/head_backward.c
nodist_src_libcompute_la_SOURCES = src/compute/opencl/source.c src/compute/opencl/tensor_source.c
BUILT_SOURCES += src/compute/opencl/source.c src/compute/opencl/tensor_source.c
CLEANFILES += src/compute/opencl/source.c src/compute/opencl/tensor_source.c
src/compute/opencl/source.c: $(CL_FILES) cl/embed.sh
	@$(MKDIR_P) src/compute/opencl
	$(AM_V_GEN)files=; for f in $(CL_FILES); do files="$$files $(srcdir)/$$f"; done; \
	  $(SHELL) $(srcdir)/cl/embed.sh xci_cl_source $$files > $@.tmp && mv $@.tmp $@
src/compute/opencl/tensor_source.c: $(CL_TENSOR_FILES) cl/embed.sh
	@$(MKDIR_P) src/compute/opencl
	$(AM_V_GEN)files=; for f in $(CL_TENSOR_FILES); do files="$$files $(srcdir)/$$f"; done; \
	  $(SHELL) $(srcdir)/cl/embed.sh xci_cl_tensor_source $$files > $@.tmp && mv $@.tmp $@
endif
