# Layer analysis.
noinst_LTLIBRARIES += src/libanalysis.la
src_libanalysis_la_SOURCES = src/analysis/layer.c
