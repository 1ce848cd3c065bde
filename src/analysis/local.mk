# Layer analysis.
noinst_LTLIBRARIES += src/libanalysis.la
src_libanalysis_la_SOURCES = src/analysis/statistics.c src/analysis/statistics.h src/analysis/quadrature.c \
  src/analysis/quadrature.h src/analysis/relative_effect.c src/analysis/relative_effect.h src/analysis/histogram.c \
  src/analysis/histogram.h src/analysis/contexts.c src/analysis/contexts.h src/analysis/token_profile.c \
  src/analysis/token_profile.h src/analysis/probe.c src/analysis/probe.h src/analysis/json_out.c \
  src/analysis/json_out.h src/analysis/csv_in.c src/analysis/csv_in.h
