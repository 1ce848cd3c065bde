# Tests of layer formats. The corpus of good and bad files is code: files are made when they are needed.
CORPUS_SOURCES = tests/formats/corpus.c tests/formats/corpus.h tests/formats/corpus_json.c tests/formats/corpus_npy.c \
  tests/formats/corpus_safetensors.c
EXTRA_DIST += tests/coverage.sh tests/formats/make_torch_golden.py tests/formats/golden/bare.pt \
  tests/formats/golden/legacy.pt tests/formats/golden/module.pt tests/formats/golden/nested.pt \
  tests/formats/golden/zip.pt
check_PROGRAMS += tests/formats/write_corpus
tests_formats_write_corpus_SOURCES = tests/formats/write_corpus.c $(CORPUS_SOURCES)
tests_formats_write_corpus_LDADD = $(LAYERS_FORMATS) $(XCODER_LIBS)
if HAVE_CHECK
check_PROGRAMS += tests/formats/test_formats tests/formats/test_corpus tests/formats/test_torch \
  tests/formats/test_torch_forged
TESTS += tests/formats/test_formats tests/formats/test_corpus tests/formats/test_torch tests/formats/test_torch_forged
tests_formats_test_torch_SOURCES = tests/formats/test_torch.c tests/formats/torch_forge.h
tests_formats_test_torch_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir) $(CHECK_CFLAGS)
tests_formats_test_torch_LDADD = $(LAYERS_FORMATS) $(TEST_LIBS)
tests_formats_test_torch_forged_SOURCES = tests/formats/test_torch_forged.c tests/formats/torch_forge.h
tests_formats_test_torch_forged_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir) $(CHECK_CFLAGS)
tests_formats_test_torch_forged_LDADD = $(LAYERS_FORMATS) $(TEST_LIBS)
tests_formats_test_formats_SOURCES = tests/formats/test_formats.c
tests_formats_test_formats_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_formats_test_formats_LDADD = $(LAYERS_FORMATS) $(TEST_LIBS)
tests_formats_test_corpus_SOURCES = tests/formats/test_corpus.c $(CORPUS_SOURCES)
tests_formats_test_corpus_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_formats_test_corpus_LDADD = $(LAYERS_FORMATS) $(TEST_LIBS)
endif
