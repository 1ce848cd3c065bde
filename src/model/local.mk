# Layer model.
noinst_LTLIBRARIES += src/libmodel.la
src_libmodel_la_SOURCES = src/model/family.h src/model/gated.h src/model/model.h src/model/weight_files.h \
  src/model/config.c src/model/family_gpt2.c src/model/family_gpt_neox.c src/model/family_olmo.c \
  src/model/family_bloom.c \
  src/model/family_llama.c src/model/family_olmo2.c src/model/gated.c src/model/alibi.c src/model/weight_files.c \
  src/model/load.c src/model/model.c \
  src/model/run.c src/model/checkpoint.c src/model/tokens_seen.c
src_libmodel_la_SOURCES += src/model/audit.c
