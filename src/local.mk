# The library: all layers.
XCODER_LIBS = $(PCRE2_LIBS) $(UTF8PROC_LIBS) $(ZLIB_LIBS) $(ZSTD_LIBS) $(XXHASH_LIBS) $(JANSSON_LIBS) $(BLAS_LIBS) \
  $(CLBLAST_LIBS) $(OPENCL_LIBS)
lib_LTLIBRARIES += libcrosscoder.la
libcrosscoder_la_SOURCES = src/version.c
libcrosscoder_la_LIBADD = src/libreport.la src/libanalysis.la src/libharvest.la src/libcoder.la src/libmodel.la \
  src/libdata.la src/libformats.la src/libcompute.la src/libbase.la $(XCODER_LIBS)
# Hidden visibility does not reach what compilers make themselves (resolvers of target clones, locks of OpenMP).
libcrosscoder_la_LDFLAGS = $(AM_LDFLAGS) -version-info 0:0:0 -no-undefined -export-symbols-regex '^xcoder_'
