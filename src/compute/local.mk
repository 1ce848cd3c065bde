# Layer compute.
noinst_LTLIBRARIES += src/libcompute.la
src_libcompute_la_SOURCES = src/compute/compute.h \
  src/compute/device.c src/compute/dtype.c src/compute/dtype.h src/compute/host_memory.c src/compute/host_memory.h \
  src/compute/rotary.h \
  src/compute/cpu/cpu.h src/compute/cpu/device.c src/compute/cpu/gemm.c src/compute/cpu/gemm.h \
  src/compute/cpu/vector_math.c src/compute/cpu/vector_math.h src/compute/cpu/transformer.h src/compute/cpu/norm.c \
  src/compute/cpu/linear.c src/compute/cpu/activation.c src/compute/cpu/rotary.c src/compute/cpu/projection.c \
  src/compute/cpu/attention.c src/compute/cpu/block.c src/compute/cpu/head.c \
  src/compute/reference/device.c src/compute/reference/reference.h
