# Tests of layer model.
if HAVE_CHECK
check_PROGRAMS += tests/model/test_golden
TESTS += tests/model/test_golden
tests_model_test_golden_SOURCES = tests/model/test_golden.c tests/model/model_test.h
tests_model_test_golden_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir) $(CHECK_CFLAGS)
tests_model_test_golden_LDADD = $(LAYERS_MODEL) $(TEST_LIBS)
check_PROGRAMS += tests/model/test_bad_models
TESTS += tests/model/test_bad_models
tests_model_test_bad_models_SOURCES = tests/model/test_bad_models.c tests/model/model_test.h
tests_model_test_bad_models_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir) $(CHECK_CFLAGS)
tests_model_test_bad_models_LDADD = $(LAYERS_MODEL) $(TEST_LIBS)
check_PROGRAMS += tests/model/test_checkpoint
TESTS += tests/model/test_checkpoint
tests_model_test_checkpoint_SOURCES = tests/model/test_checkpoint.c tests/model/model_test.h
tests_model_test_checkpoint_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir) $(CHECK_CFLAGS)
tests_model_test_checkpoint_LDADD = $(LAYERS_MODEL) $(TEST_LIBS)
check_PROGRAMS += tests/model/test_families
TESTS += tests/model/test_families
tests_model_test_families_SOURCES = tests/model/test_families.c tests/model/model_test.h
tests_model_test_families_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir) $(CHECK_CFLAGS)
tests_model_test_families_LDADD = $(LAYERS_MODEL) $(TEST_LIBS)
endif
EXTRA_DIST += tests/model/make_golden.py \
  tests/model/golden/gpt2-f16/config.json \
  tests/model/golden/gpt2-f16/expected.safetensors \
  tests/model/golden/gpt2-f16/model.safetensors \
  tests/model/golden/gpt2-bare-bf16/config.json \
  tests/model/golden/gpt2-bare-bf16/expected.safetensors \
  tests/model/golden/gpt2-bare-bf16/model.safetensors \
  tests/model/golden/bloom-heads-8-f32/config.json \
  tests/model/golden/bloom-heads-8-f32/expected.safetensors \
  tests/model/golden/bloom-heads-8-f32/model.safetensors \
  tests/model/golden/bloom-heads-16-f32/config.json \
  tests/model/golden/bloom-heads-16-f32/expected.safetensors \
  tests/model/golden/bloom-heads-16-f32/model.safetensors \
  tests/model/golden/tiny-neox/padded.safetensors \
  tests/model/golden/sequential-f32/padded.safetensors \
  tests/model/golden/olmo-clip-f16/padded.safetensors \
  tests/model/golden/bloom-f16/padded.safetensors \
  tests/model/golden/bloom-heads-16-f32/padded.safetensors \
  tests/model/golden/llama-bf16/padded.safetensors \
  tests/model/golden/gpt2-f16/padded.safetensors \
  tests/model/golden/llama-bf16/config.json \
  tests/model/golden/llama-bf16/expected.safetensors \
  tests/model/golden/llama-bf16/model.safetensors \
  tests/model/golden/llama-heads-f32/config.json \
  tests/model/golden/llama-heads-f32/expected.safetensors \
  tests/model/golden/llama-heads-f32/model.safetensors \
  tests/model/golden/olmo2-f16/config.json \
  tests/model/golden/olmo2-f16/expected.safetensors \
  tests/model/golden/olmo2-f16/model.safetensors \
  tests/model/golden/bloom-bare-bf16/config.json \
  tests/model/golden/bloom-bare-bf16/expected.safetensors \
  tests/model/golden/bloom-bare-bf16/model.safetensors \
  tests/model/golden/bloom-f16/config.json \
  tests/model/golden/bloom-f16/expected.safetensors \
  tests/model/golden/bloom-f16/model.safetensors \
  tests/model/golden/olmo-clip-f16/config.json \
  tests/model/golden/olmo-clip-f16/expected.safetensors \
  tests/model/golden/olmo-clip-f16/model.safetensors \
  tests/model/golden/olmo-tied-bf16/config.json \
  tests/model/golden/olmo-tied-bf16/expected.safetensors \
  tests/model/golden/olmo-tied-bf16/model.safetensors \
  tests/model/golden/bare-bf16/config.json \
  tests/model/golden/bare-bf16/expected.safetensors \
  tests/model/golden/bare-bf16/model.safetensors \
  tests/model/golden/newer-f32/config.json \
  tests/model/golden/newer-f32/expected.safetensors \
  tests/model/golden/newer-f32/model.safetensors \
  tests/model/golden/sequential-f32/config.json \
  tests/model/golden/sequential-f32/expected.safetensors \
  tests/model/golden/sequential-f32/model.safetensors \
  tests/model/golden/sharded-f16/config.json \
  tests/model/golden/sharded-f16/expected.safetensors \
  tests/model/golden/sharded-f16/model-00001-of-00004.safetensors \
  tests/model/golden/sharded-f16/model-00002-of-00004.safetensors \
  tests/model/golden/sharded-f16/model-00003-of-00004.safetensors \
  tests/model/golden/sharded-f16/model-00004-of-00004.safetensors \
  tests/model/golden/sharded-f16/model.safetensors.index.json \
  tests/model/golden/tied-f32/config.json \
  tests/model/golden/tied-f32/expected.safetensors \
  tests/model/golden/tied-f32/model.safetensors \
  tests/model/golden/tiny-neox/config.json \
  tests/model/golden/tiny-neox/expected.safetensors \
  tests/model/golden/tiny-neox/model.safetensors \
  tests/model/golden/tiny-neox/tokenizer.json \
  tests/model/golden/torch-single/config.json \
  tests/model/golden/torch-single/pytorch_model.bin \
  tests/model/golden/torch-sharded/config.json \
  tests/model/golden/torch-sharded/pytorch_model-00001-of-00002.bin \
  tests/model/golden/torch-sharded/pytorch_model-00002-of-00002.bin \
  tests/model/golden/torch-sharded/pytorch_model.bin.index.json
