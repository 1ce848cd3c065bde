# Layer crosscoder.
noinst_LTLIBRARIES += src/libcoder.la
src_libcoder_la_SOURCES = src/crosscoder/layer.c
