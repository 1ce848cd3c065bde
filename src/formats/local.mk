# Layer formats.
noinst_LTLIBRARIES += src/libformats.la
src_libformats_la_SOURCES = src/formats/convert.c src/formats/describe.c src/formats/json.c src/formats/json.h \
  src/formats/npy.c \
  src/formats/npy.h src/formats/run_directory.c src/formats/safetensors.c src/formats/safetensors.h \
  src/formats/safetensors_writer.c src/formats/torch_file.c src/formats/torch_file.h src/formats/torch_pickle.c \
  src/formats/torch_pickle.h src/formats/torch_rebuild.c src/formats/torch_writer.c \
  src/formats/torch_writer.h src/formats/torch_zip.c src/formats/torch_zip.h
