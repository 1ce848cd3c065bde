# Layer harvest.
noinst_LTLIBRARIES += src/libharvest.la
src_libharvest_la_SOURCES = src/harvest/layer.c
