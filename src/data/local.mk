# Layer data.
noinst_LTLIBRARIES += src/libdata.la
src_libdata_la_SOURCES = src/data/layer.c
