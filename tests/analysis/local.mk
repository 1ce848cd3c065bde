# Tests of layer analysis.
ANALYSIS_GOLDEN = tests/analysis/golden/early/config.json tests/analysis/golden/early/model.safetensors \
  tests/analysis/golden/middle/config.json tests/analysis/golden/middle/model.safetensors \
  tests/analysis/golden/late/config.json tests/analysis/golden/late/model.safetensors \
  tests/analysis/golden/tokenizer.json tests/analysis/golden/pairs.jsonl tests/analysis/golden/gold.jsonl \
  tests/analysis/golden/heldout.npy tests/analysis/golden/golden.safetensors \
  tests/analysis/golden/scaling.csv tests/analysis/golden/sentences.jsonl tests/analysis/golden/sentences.csv \
  tests/analysis/golden/similarity.csv tests/analysis/golden/select-accuracy.csv \
  tests/analysis/golden/select-similarity.csv tests/analysis/golden/select.csv
EXTRA_DIST += tests/analysis/make_tasks_golden.py tests/analysis/golden/tasks.csv \
  tests/analysis/golden/fr_evalset/agreement.txt tests/analysis/golden/fra/data.tsv
EXTRA_DIST += tests/analysis/make_selection_golden.py
EXTRA_DIST += tests/analysis/make_golden.py tests/analysis/make_scaling_golden.py \
  tests/analysis/make_sentences_golden.py $(ANALYSIS_GOLDEN)
if HAVE_CHECK
check_PROGRAMS += tests/analysis/test_cores tests/analysis/test_attribution tests/analysis/test_quality \
  tests/analysis/test_ablation tests/analysis/test_match tests/analysis/test_compare
TESTS += tests/analysis/test_cores tests/analysis/test_attribution tests/analysis/test_quality \
  tests/analysis/test_ablation tests/analysis/test_match tests/analysis/test_compare
tests_analysis_test_cores_SOURCES = tests/analysis/test_cores.c
tests_analysis_test_cores_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_analysis_test_cores_LDADD = $(LAYERS_ANALYSIS) $(TEST_LIBS)
tests_analysis_test_attribution_SOURCES = tests/analysis/test_attribution.c tests/analysis/scene.c \
  tests/analysis/scene.h
tests_analysis_test_attribution_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_analysis_test_attribution_LDADD = $(LAYERS_ANALYSIS) $(TEST_LIBS)
tests_analysis_test_match_SOURCES = tests/analysis/test_match.c
tests_analysis_test_match_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_analysis_test_match_LDADD = $(LAYERS_ANALYSIS) $(TEST_LIBS)
tests_analysis_test_compare_SOURCES = tests/analysis/test_compare.c tests/analysis/scene.c tests/analysis/scene.h
tests_analysis_test_compare_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_analysis_test_compare_LDADD = $(LAYERS_ANALYSIS) $(TEST_LIBS)
tests_analysis_test_ablation_SOURCES = tests/analysis/test_ablation.c tests/analysis/scene.c tests/analysis/scene.h
tests_analysis_test_ablation_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_analysis_test_ablation_LDADD = $(LAYERS_ANALYSIS) $(TEST_LIBS)
tests_analysis_test_quality_SOURCES = tests/analysis/test_quality.c tests/analysis/scene.c tests/analysis/scene.h
tests_analysis_test_quality_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_analysis_test_quality_LDADD = $(LAYERS_ANALYSIS) $(TEST_LIBS)
check_PROGRAMS += tests/analysis/test_selection
TESTS += tests/analysis/test_selection
tests_analysis_test_selection_SOURCES = tests/analysis/test_selection.c tests/analysis/scene.c tests/analysis/scene.h
tests_analysis_test_selection_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_analysis_test_selection_LDADD = $(LAYERS_ANALYSIS) $(TEST_LIBS)
check_PROGRAMS += tests/analysis/test_tasks
TESTS += tests/analysis/test_tasks
tests_analysis_test_tasks_SOURCES = tests/analysis/test_tasks.c tests/analysis/bundled.h
tests_analysis_test_tasks_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_analysis_test_tasks_LDADD = $(LAYERS_ANALYSIS) $(TEST_LIBS)
check_PROGRAMS += tests/analysis/test_sentences
TESTS += tests/analysis/test_sentences
tests_analysis_test_sentences_SOURCES = tests/analysis/test_sentences.c tests/analysis/bundled.h
tests_analysis_test_sentences_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_analysis_test_sentences_LDADD = $(LAYERS_ANALYSIS) $(TEST_LIBS)
check_PROGRAMS += tests/analysis/test_features
TESTS += tests/analysis/test_features
tests_analysis_test_features_SOURCES = tests/analysis/test_features.c tests/analysis/scene.c tests/analysis/scene.h
tests_analysis_test_features_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_analysis_test_features_LDADD = $(LAYERS_ANALYSIS) $(TEST_LIBS)
check_PROGRAMS += tests/analysis/test_evolve
TESTS += tests/analysis/test_evolve
tests_analysis_test_evolve_SOURCES = tests/analysis/test_evolve.c
tests_analysis_test_evolve_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_analysis_test_evolve_LDADD = $(LAYERS_ANALYSIS) $(TEST_LIBS)
check_PROGRAMS += tests/analysis/test_latent_scaling
TESTS += tests/analysis/test_latent_scaling
tests_analysis_test_latent_scaling_SOURCES = tests/analysis/test_latent_scaling.c tests/analysis/scene.c \
  tests/analysis/scene.h
tests_analysis_test_latent_scaling_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_analysis_test_latent_scaling_LDADD = $(LAYERS_ANALYSIS) $(TEST_LIBS)
check_PROGRAMS += tests/analysis/test_attribution_state
TESTS += tests/analysis/test_attribution_state
tests_analysis_test_attribution_state_SOURCES = tests/analysis/test_attribution_state.c tests/analysis/scene.c \
  tests/analysis/scene.h
tests_analysis_test_attribution_state_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_analysis_test_attribution_state_LDADD = $(LAYERS_ANALYSIS) $(TEST_LIBS)
check_PROGRAMS += tests/analysis/test_chain
TESTS += tests/analysis/test_chain
tests_analysis_test_chain_SOURCES = tests/analysis/test_chain.c
tests_analysis_test_chain_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_analysis_test_chain_LDADD = $(LAYERS_ANALYSIS) $(TEST_LIBS)
check_PROGRAMS += tests/analysis/test_likeness
TESTS += tests/analysis/test_likeness
tests_analysis_test_likeness_SOURCES = tests/analysis/test_likeness.c
tests_analysis_test_likeness_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
tests_analysis_test_likeness_LDADD = $(LAYERS_ANALYSIS) $(TEST_LIBS)
endif
