# Layer data.
noinst_LTLIBRARIES += src/libdata.la
src_libdata_la_SOURCES = \
  src/data/bpe.c src/data/bpe.h \
  src/data/corpus.c \
  src/data/decode.c \
  src/data/encode.c src/data/encode.h \
  src/data/lines.c src/data/lines.h \
  src/data/maps.c src/data/maps.h \
  src/data/normalize.c src/data/normalize.h \
  src/data/pairs.c src/data/pairs.h \
  src/data/pairs_blimp.c \
  src/data/pairs_clams.c \
  src/data/pairs_multiblimp.c \
  src/data/pairs_own.c \
  src/data/pairs_rule.c \
  src/data/pairs_sentences.c \
  src/data/pairs_words.c \
  src/data/pattern.c src/data/pattern.h \
  src/data/pattern_rewrite.c \
  src/data/pretokenize.c \
  src/data/split_gpt2.c \
  src/data/stream.c src/data/stream.h \
  src/data/tokenizer.h \
  src/data/tokenizer_added.c \
  src/data/tokenizer_load.c \
  src/data/tokenizer_pipeline.c \
  src/data/tokenizer_template.c \
  src/data/tokenizer_vocab.c \
  src/data/tokens.c src/data/tokens.h \
  src/data/tokens_build.c \
  src/data/tokens_detect.c \
  src/data/tokens_file.c \
  src/data/tokens_indexed.c \
  src/data/tokens_languages.c \
  src/data/tokens_mix.c \
  src/data/unicode.c src/data/unicode.h
