# Layer formats.
noinst_LTLIBRARIES += src/libformats.la
src_libformats_la_SOURCES = src/formats/convert.c src/formats/describe.c src/formats/json.c src/formats/json.h src/formats/npy.c \
  src/formats/npy.h src/formats/run_directory.c src/formats/safetensors.c src/formats/safetensors.h \
  src/formats/safetensors_writer.c
