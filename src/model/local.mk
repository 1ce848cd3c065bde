# Layer model.
noinst_LTLIBRARIES += src/libmodel.la
src_libmodel_la_SOURCES = src/model/layer.c
