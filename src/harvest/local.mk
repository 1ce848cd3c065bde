# Layer harvest.
noinst_LTLIBRARIES += src/libharvest.la
src_libharvest_la_SOURCES = src/harvest/array.c src/harvest/harvest.h src/harvest/live.c src/harvest/order.c \
  src/harvest/scales.c src/harvest/source.h src/harvest/store.c src/harvest/store.h src/harvest/store_format.c \
  src/harvest/store_writer.c src/harvest/train_adapter.c
