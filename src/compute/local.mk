# Layer compute.
noinst_LTLIBRARIES += src/libcompute.la
# Nobody reads the floating-point exception flags; without this gcc turns clamps into branches and vectorises nothing.
src_libcompute_la_CFLAGS = $(AM_CFLAGS) -fno-trapping-math
src_libcompute_la_SOURCES = src/compute/compute.h \
  src/compute/device.c src/compute/dtype.c src/compute/dtype.h src/compute/host_memory.c src/compute/host_memory.h \
  src/compute/host_samples.c src/compute/host_samples.h \
  src/compute/rotary.h src/compute/self_test.c \
  src/compute/cpu/cpu.h src/compute/cpu/device.c src/compute/cpu/gemm.c src/compute/cpu/gemm.h \
  src/compute/cpu/isa.c src/compute/cpu/isa.h src/compute/cpu/weight.c src/compute/cpu/bf16.c src/compute/cpu/bf16.h \
  src/compute/cpu/vector_math.c src/compute/cpu/vector_math.h src/compute/cpu/transformer.h src/compute/cpu/norm.c \
  src/compute/cpu/linear.c src/compute/cpu/activation.c src/compute/cpu/rotary.c src/compute/cpu/projection.c \
  src/compute/cpu/attention.c src/compute/cpu/block.c src/compute/cpu/head.c \
  src/compute/reference/device.c src/compute/reference/reference.h src/compute/reference/layers.c \
  src/compute/reference/attention.c src/compute/reference/block.c src/compute/reference/head.c

# The crosscoder.
src_libcompute_la_SOURCES += src/compute/cpu/coder.h src/compute/cpu/coder_auxiliary.c \
  src/compute/cpu/coder_backward.c src/compute/cpu/coder_codes.c \
  src/compute/cpu/coder_dense.c src/compute/cpu/coder_dispatch.c src/compute/cpu/coder_encode.c \
  src/compute/cpu/coder_kernels.h src/compute/cpu/coder_lists.c src/compute/cpu/coder_state.c \
  src/compute/cpu/coder_jump.c src/compute/cpu/coder_topk.c src/compute/cpu/coder_update.c \
  src/compute/reference/coder.c src/compute/reference/coder.h

# The crosscoder's inner loops, once per instruction set; chosen at run time.
KERNEL_CFLAGS = $(AM_CFLAGS) -ffp-contract=fast -fopenmp-simd
noinst_LTLIBRARIES += src/libkernels_baseline.la
src_libkernels_baseline_la_SOURCES = src/compute/cpu/coder_kernels.c
src_libkernels_baseline_la_CPPFLAGS = $(AM_CPPFLAGS) -DXCI_LANES=4 -DXCI_SET=baseline
src_libkernels_baseline_la_CFLAGS = $(KERNEL_CFLAGS)
src_libcompute_la_LIBADD = src/libkernels_baseline.la
if HAVE_AVX2
noinst_LTLIBRARIES += src/libkernels_avx2.la
src_libkernels_avx2_la_SOURCES = src/compute/cpu/coder_kernels.c
src_libkernels_avx2_la_CPPFLAGS = $(AM_CPPFLAGS) -DXCI_LANES=8 -DXCI_SET=avx2
src_libkernels_avx2_la_CFLAGS = $(KERNEL_CFLAGS) -mavx2 -mfma
src_libcompute_la_LIBADD += src/libkernels_avx2.la
endif
if HAVE_AVX512
noinst_LTLIBRARIES += src/libkernels_avx512.la
src_libkernels_avx512_la_SOURCES = src/compute/cpu/coder_kernels.c
src_libkernels_avx512_la_CPPFLAGS = $(AM_CPPFLAGS) -DXCI_LANES=16 -DXCI_SET=avx512
src_libkernels_avx512_la_CFLAGS = $(KERNEL_CFLAGS) -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma \
  -mprefer-vector-width=512
src_libcompute_la_LIBADD += src/libkernels_avx512.la
endif
# Products of bfloat16 numbers.
if HAVE_BF16
noinst_LTLIBRARIES += src/libkernels_bf16.la
src_libkernels_bf16_la_SOURCES = src/compute/cpu/bf16_kernels.c
src_libkernels_bf16_la_CFLAGS = $(KERNEL_CFLAGS) -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512bf16 -mfma \
  -mprefer-vector-width=512
src_libcompute_la_LIBADD += src/libkernels_bf16.la
endif
