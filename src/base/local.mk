# Layer base: no knowledge of machine learning.
noinst_LTLIBRARIES += src/libbase.la
# As in layer compute: nobody reads the floating-point exception flags, and with them no conversion is vectorised.
src_libbase_la_CFLAGS = $(AM_CFLAGS) -fno-trapping-math
src_libbase_la_SOURCES = src/base/bytes.h src/base/clones.h src/base/error.c src/base/error.h src/base/escape.c \
  src/base/file.c src/base/file.h src/base/half.c src/base/half.h src/base/hash.c src/base/memory.c src/base/memory.h \
  src/base/parallel.c src/base/parallel.h src/base/random.c src/base/random.h src/base/sha256.c src/base/size.h \
  src/base/text.c \
  src/base/text.h src/base/write.c
