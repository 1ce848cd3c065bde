# Layer formats.
noinst_LTLIBRARIES += src/libformats.la
src_libformats_la_SOURCES = src/formats/layer.c
