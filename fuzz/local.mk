# libFuzzer targets: configure --enable-fuzzers CC=clang, or let fuzz/run.sh do everything. Every fuzz/fuzz_NAME.c
# is a target; its seeds are the corpus of the tests (NAME as there) and the files of fuzz/seeds/NAME.
EXTRA_DIST += fuzz/run.sh fuzz/seeds
fuzz_cflags = $(AM_CFLAGS) -fsanitize=fuzzer
fuzz_ldflags = $(AM_LDFLAGS) -fsanitize=fuzzer
fuzz_targets = fuzz/fuzz_index fuzz/fuzz_stream fuzz/fuzz_tokens fuzz/fuzz_json fuzz/fuzz_jsonl fuzz/fuzz_npy \
  fuzz/fuzz_safetensors fuzz/fuzz_tokenizer \
  fuzz/fuzz_torch fuzz/fuzz_exchange fuzz/fuzz_csv fuzz/fuzz_pairs
if FUZZERS
EXTRA_PROGRAMS += $(fuzz_targets)
fuzzers: $(fuzz_targets) tests/formats/write_corpus
fuzz_fuzz_json_SOURCES = fuzz/fuzz_json.c
fuzz_fuzz_json_CFLAGS = $(fuzz_cflags)
fuzz_fuzz_json_LDFLAGS = $(fuzz_ldflags)
fuzz_fuzz_json_LDADD = $(LAYERS_FORMATS) $(XCODER_LIBS)
fuzz_fuzz_npy_SOURCES = fuzz/fuzz_npy.c
fuzz_fuzz_npy_CFLAGS = $(fuzz_cflags)
fuzz_fuzz_npy_LDFLAGS = $(fuzz_ldflags)
fuzz_fuzz_npy_LDADD = $(LAYERS_FORMATS) $(XCODER_LIBS)
fuzz_fuzz_safetensors_SOURCES = fuzz/fuzz_safetensors.c
fuzz_fuzz_safetensors_CFLAGS = $(fuzz_cflags)
fuzz_fuzz_safetensors_LDFLAGS = $(fuzz_ldflags)
fuzz_fuzz_safetensors_LDADD = $(LAYERS_FORMATS) $(XCODER_LIBS)
fuzz_fuzz_tokenizer_SOURCES = fuzz/fuzz_tokenizer.c fuzz/fuzz_file.h
fuzz_fuzz_tokenizer_CFLAGS = $(fuzz_cflags)
fuzz_fuzz_tokenizer_LDFLAGS = $(fuzz_ldflags)
fuzz_fuzz_tokenizer_LDADD = $(LAYERS_TEXT) $(XCODER_LIBS)
fuzz_fuzz_torch_SOURCES = fuzz/fuzz_torch.c
fuzz_fuzz_torch_CFLAGS = $(fuzz_cflags)
fuzz_fuzz_torch_LDFLAGS = $(fuzz_ldflags)
fuzz_fuzz_torch_LDADD = $(LAYERS_FORMATS) $(XCODER_LIBS)
fuzz_fuzz_jsonl_SOURCES = fuzz/fuzz_jsonl.c fuzz/fuzz_file.h
fuzz_fuzz_jsonl_CFLAGS = $(fuzz_cflags)
fuzz_fuzz_jsonl_LDFLAGS = $(fuzz_ldflags)
fuzz_fuzz_jsonl_LDADD = $(LAYERS_TEXT) $(XCODER_LIBS)
fuzz_fuzz_index_SOURCES = fuzz/fuzz_index.c fuzz/fuzz_file.h
fuzz_fuzz_index_CFLAGS = $(fuzz_cflags)
fuzz_fuzz_index_LDFLAGS = $(fuzz_ldflags)
fuzz_fuzz_index_LDADD = $(LAYERS_MODEL) $(XCODER_LIBS)
fuzz_fuzz_stream_SOURCES = fuzz/fuzz_stream.c fuzz/fuzz_file.h
fuzz_fuzz_stream_CFLAGS = $(fuzz_cflags)
fuzz_fuzz_stream_LDFLAGS = $(fuzz_ldflags)
fuzz_fuzz_stream_LDADD = $(LAYERS_TEXT) $(XCODER_LIBS)
fuzz_fuzz_tokens_SOURCES = fuzz/fuzz_tokens.c fuzz/fuzz_file.h
fuzz_fuzz_tokens_CFLAGS = $(fuzz_cflags)
fuzz_fuzz_tokens_LDFLAGS = $(fuzz_ldflags)
fuzz_fuzz_tokens_LDADD = $(LAYERS_TEXT) $(XCODER_LIBS)
fuzz_fuzz_exchange_SOURCES = fuzz/fuzz_exchange.c fuzz/fuzz_file.h
fuzz_fuzz_exchange_CFLAGS = $(fuzz_cflags)
fuzz_fuzz_exchange_LDFLAGS = $(fuzz_ldflags)
fuzz_fuzz_exchange_LDADD = $(LAYERS_CODER) $(XCODER_LIBS)
fuzz_fuzz_csv_SOURCES = fuzz/fuzz_csv.c fuzz/fuzz_file.h
fuzz_fuzz_csv_CFLAGS = $(fuzz_cflags)
fuzz_fuzz_csv_LDFLAGS = $(fuzz_ldflags)
fuzz_fuzz_csv_LDADD = $(LAYERS_REPORT) $(XCODER_LIBS)
fuzz_fuzz_pairs_SOURCES = fuzz/fuzz_pairs.c fuzz/fuzz_file.h
fuzz_fuzz_pairs_CFLAGS = $(fuzz_cflags)
fuzz_fuzz_pairs_LDFLAGS = $(fuzz_ldflags)
fuzz_fuzz_pairs_LDADD = $(LAYERS_TEXT) $(XCODER_LIBS)
else
fuzzers:
	@echo 'The fuzz targets are built after configure --enable-fuzzers CC=clang.' >&2; exit 1
endif
