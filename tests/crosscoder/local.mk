# Tests of layer crosscoder.
if HAVE_CHECK
check_PROGRAMS += tests/crosscoder/test_object tests/crosscoder/test_train tests/crosscoder/test_resume \
  tests/crosscoder/test_dictionary tests/crosscoder/test_exchange
TESTS += tests/crosscoder/test_object tests/crosscoder/test_train tests/crosscoder/test_resume \
  tests/crosscoder/test_dictionary tests/crosscoder/test_exchange
tests_crosscoder_test_object_SOURCES = tests/crosscoder/test_object.c tests/crosscoder/support.c \
  tests/crosscoder/support.h
tests_crosscoder_test_object_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_crosscoder_test_object_LDADD = $(LAYERS_CODER) $(TEST_LIBS)
tests_crosscoder_test_train_SOURCES = tests/crosscoder/test_train.c tests/crosscoder/support.c \
  tests/crosscoder/support.h
tests_crosscoder_test_train_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_crosscoder_test_train_LDADD = $(LAYERS_CODER) $(TEST_LIBS)
tests_crosscoder_test_resume_SOURCES = tests/crosscoder/test_resume.c tests/crosscoder/support.c \
  tests/crosscoder/support.h
tests_crosscoder_test_resume_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_crosscoder_test_resume_LDADD = $(LAYERS_CODER) $(TEST_LIBS)
tests_crosscoder_test_dictionary_SOURCES = tests/crosscoder/test_dictionary.c tests/crosscoder/support.c \
  tests/crosscoder/support.h
tests_crosscoder_test_dictionary_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_crosscoder_test_dictionary_LDADD = $(LAYERS_CODER) $(TEST_LIBS)
tests_crosscoder_test_exchange_SOURCES = tests/crosscoder/test_exchange.c tests/crosscoder/support.c \
  tests/crosscoder/support.h
tests_crosscoder_test_exchange_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_crosscoder_test_exchange_LDADD = $(LAYERS_CODER) $(TEST_LIBS)
endif
EXTRA_DIST += tests/crosscoder/make_exchange_golden.py \
  tests/crosscoder/golden/authors-batchtopk/20.pt \
  tests/crosscoder/golden/authors-batchtopk/20_cfg.json \
  tests/crosscoder/golden/authors-batchtopk/expected.safetensors \
  tests/crosscoder/golden/authors-batchtopk/ours.safetensors \
  tests/crosscoder/golden/authors-bf16/20.pt \
  tests/crosscoder/golden/authors-bf16/20_cfg.json \
  tests/crosscoder/golden/authors-bf16/expected.safetensors \
  tests/crosscoder/golden/authors-l1/20.pt \
  tests/crosscoder/golden/authors-l1/20_cfg.json \
  tests/crosscoder/golden/authors-l1/expected.safetensors \
  tests/crosscoder/golden/authors-l1/ours.safetensors \
  tests/crosscoder/golden/autoencoder-batchtopk/ae.pt \
  tests/crosscoder/golden/autoencoder-batchtopk/config.json \
  tests/crosscoder/golden/autoencoder-batchtopk/expected.safetensors \
  tests/crosscoder/golden/autoencoder-jumprelu/ae.pt \
  tests/crosscoder/golden/autoencoder-jumprelu/config.json \
  tests/crosscoder/golden/autoencoder-jumprelu/expected.safetensors \
  tests/crosscoder/golden/autoencoder-new/ae.pt \
  tests/crosscoder/golden/autoencoder-new/config.json \
  tests/crosscoder/golden/autoencoder-new/expected.safetensors \
  tests/crosscoder/golden/autoencoder-plain/ae.pt \
  tests/crosscoder/golden/autoencoder-plain/config.json \
  tests/crosscoder/golden/autoencoder-plain/expected.safetensors \
  tests/crosscoder/golden/autoencoder-topk/ae.pt \
  tests/crosscoder/golden/autoencoder-topk/config.json \
  tests/crosscoder/golden/autoencoder-topk/expected.safetensors \
  tests/crosscoder/golden/learning-batchtopk/config.json \
  tests/crosscoder/golden/learning-batchtopk/expected.safetensors \
  tests/crosscoder/golden/learning-batchtopk/model_final.pt \
  tests/crosscoder/golden/learning-l1/config.json \
  tests/crosscoder/golden/learning-l1/expected.safetensors \
  tests/crosscoder/golden/learning-l1/model_final.pt \
  tests/crosscoder/golden/learning-neuron/config.json \
  tests/crosscoder/golden/learning-neuron/expected.safetensors \
  tests/crosscoder/golden/learning-neuron/model_final.pt \
  tests/crosscoder/golden/learning-plain/config.json \
  tests/crosscoder/golden/learning-plain/expected.safetensors \
  tests/crosscoder/golden/learning-plain/model_final.pt \
  tests/crosscoder/golden/learning-sae/config.json \
  tests/crosscoder/golden/learning-sae/expected.safetensors \
  tests/crosscoder/golden/learning-sae/model.safetensors \
  tests/crosscoder/golden/saelens-jumprelu/cfg.json \
  tests/crosscoder/golden/saelens-jumprelu/expected.safetensors \
  tests/crosscoder/golden/saelens-jumprelu/ours.safetensors \
  tests/crosscoder/golden/saelens-jumprelu/sae_weights.safetensors \
  tests/crosscoder/golden/saelens-standard/cfg.json \
  tests/crosscoder/golden/saelens-standard/expected.safetensors \
  tests/crosscoder/golden/saelens-standard/sae_weights.safetensors \
  tests/crosscoder/golden/saelens-topk/cfg.json \
  tests/crosscoder/golden/saelens-topk/expected.safetensors \
  tests/crosscoder/golden/saelens-topk/ours.safetensors \
  tests/crosscoder/golden/saelens-topk/sae_weights.safetensors \
  tests/crosscoder/golden/saelens-topk-plain/cfg.json \
  tests/crosscoder/golden/saelens-topk-plain/expected.safetensors \
  tests/crosscoder/golden/saelens-topk-plain/sae_weights.safetensors

# A device that fails in the middle of a training; samples that stay on it.
if HAVE_CHECK
if HAVE_OPENCL
check_PROGRAMS += tests/crosscoder/test_rescue tests/crosscoder/test_window tests/crosscoder/test_panels
TESTS += tests/crosscoder/test_rescue tests/crosscoder/test_window tests/crosscoder/test_panels
tests_crosscoder_test_panels_SOURCES = tests/crosscoder/test_panels.c tests/crosscoder/support.c \
  tests/crosscoder/support.h tests/compute/opencl_faults.c tests/compute/opencl_faults.h
tests_crosscoder_test_panels_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_crosscoder_test_panels_LDADD = $(LAYERS_CODER) $(TEST_LIBS)
tests_crosscoder_test_window_SOURCES = tests/crosscoder/test_window.c tests/crosscoder/support.c \
  tests/crosscoder/support.h
tests_crosscoder_test_window_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_crosscoder_test_window_LDADD = $(LAYERS_CODER) $(TEST_LIBS)
tests_crosscoder_test_rescue_SOURCES = tests/crosscoder/test_rescue.c tests/crosscoder/support.c \
  tests/crosscoder/support.h tests/compute/opencl_faults.c tests/compute/opencl_faults.h
tests_crosscoder_test_rescue_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_crosscoder_test_rescue_LDADD = $(LAYERS_CODER) $(TEST_LIBS)
endif
endif
