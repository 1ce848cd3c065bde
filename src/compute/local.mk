# Layer compute.
noinst_LTLIBRARIES += src/libcompute.la
src_libcompute_la_SOURCES = src/compute/compute.h \
  src/compute/device.c src/compute/dtype.c src/compute/dtype.h src/compute/host_memory.c src/compute/host_memory.h \
  src/compute/cpu/cpu.h src/compute/cpu/device.c src/compute/cpu/gemm.c src/compute/cpu/gemm.h \
  src/compute/reference/device.c src/compute/reference/reference.h
