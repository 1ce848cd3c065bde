# Layer crosscoder.
noinst_LTLIBRARIES += src/libcoder.la
src_libcoder_la_SOURCES = src/crosscoder/batches.h src/crosscoder/checkpoint.c src/crosscoder/checkpoint.h \
  src/crosscoder/checkpoint_folder.h src/crosscoder/checkpoint_restore.c src/crosscoder/checkpoint_verify.c \
  src/crosscoder/cost.c src/crosscoder/exchange.c src/crosscoder/foreign.h src/crosscoder/exchange_authors.c \
  src/crosscoder/exchange_autoencoder.c \
  src/crosscoder/exchange_file.c src/crosscoder/exchange_learning.c src/crosscoder/exchange_saelens.c \
  src/crosscoder/gates.c src/crosscoder/init.c src/crosscoder/jump.c src/crosscoder/log.c \
  src/crosscoder/object.c src/crosscoder/object.h \
  src/crosscoder/object_file.c src/crosscoder/options.c src/crosscoder/pace.c src/crosscoder/rescue.c \
  src/crosscoder/rescue.h \
  src/crosscoder/resident.c src/crosscoder/spread.c \
  src/crosscoder/snapshot.c src/crosscoder/trainer.c src/crosscoder/trainer.h \
  src/crosscoder/window.c src/crosscoder/window.h
