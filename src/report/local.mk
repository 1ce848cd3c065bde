# Layer report.
noinst_LTLIBRARIES += src/libreport.la
src_libreport_la_SOURCES = src/report/layer.c
