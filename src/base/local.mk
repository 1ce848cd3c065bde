# Layer base.
noinst_LTLIBRARIES += src/libbase.la
src_libbase_la_SOURCES = src/base/layer.c
