# Layer compute.
noinst_LTLIBRARIES += src/libcompute.la
src_libcompute_la_SOURCES = src/compute/layer.c
