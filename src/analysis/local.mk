# Layer analysis: what the features do and mean.
noinst_LTLIBRARIES += src/libanalysis.la
src_libanalysis_la_SOURCES = src/analysis/ablation.c src/analysis/ablation.h src/analysis/ablation_curves.c \
  src/analysis/ablation_edit.c src/analysis/ablation_file.c \
  src/analysis/accuracy.c src/analysis/accuracy.h src/analysis/attribute.c src/analysis/attribution.c \
  src/analysis/attribution.h  src/analysis/csv_in.c \
  src/analysis/csv_in.h src/analysis/effect_table.c src/analysis/effect_table.h src/analysis/effects.c \
  src/analysis/effects.h src/analysis/effects_file.c src/analysis/effects_in.h src/analysis/evaluate.c \
  src/analysis/evaluate.h src/analysis/evaluate_file.c src/analysis/evolve.c src/analysis/evolve.h src/analysis/evolve_classes.c \
  src/analysis/evolve_cycle.c src/analysis/evolve_file.c src/analysis/evolve_in.c src/analysis/evolve_languages.c \
  src/analysis/explain.c src/analysis/feature_cards.c \
  src/analysis/feature_cards.h src/analysis/feature_database.c \
  src/analysis/feature_database.h src/analysis/feature_prompts.c src/analysis/feature_scan.c \
  src/analysis/feature_types.c src/analysis/feature_types.h src/analysis/features_file.c src/analysis/gold.c src/analysis/histogram.c \
  src/analysis/histogram.h src/analysis/json_out.c src/analysis/json_out.h src/analysis/known.c src/analysis/known.h \
  src/analysis/known_file.c src/analysis/lens.c src/analysis/compare.c src/analysis/compare.h src/analysis/compare_file.c src/analysis/compare_classes.c \
  src/analysis/compare_pair.c src/analysis/compare_side.c src/analysis/compare_similarity.c \
  src/analysis/compare_tables.c src/analysis/transfer.c src/analysis/match.c \
  src/analysis/match.h src/analysis/path.c src/analysis/probe.c src/analysis/probe.h \
  src/analysis/quadrature.c src/analysis/quadrature.h src/analysis/relative_effect.c src/analysis/relative_effect.h \
  src/analysis/splice.c src/analysis/splice.h src/analysis/statistics.c src/analysis/statistics.h \
  src/analysis/surroundings.c src/analysis/task_quality.c src/analysis/token_labels.c src/analysis/token_labels.h src/analysis/token_labels_in.c \
  src/analysis/top_features.c src/analysis/verdict.c src/analysis/verdict.h src/analysis/workbench.c \
  src/analysis/workbench.h
src_libanalysis_la_SOURCES += src/analysis/sentences.c
src_libanalysis_la_SOURCES += src/analysis/similarity.c src/analysis/select.c src/analysis/select.h src/analysis/select_read.c
src_libanalysis_la_SOURCES += src/analysis/latent_scaling.c src/analysis/latent_scaling.h
src_libanalysis_la_SOURCES += src/analysis/likeness.c src/analysis/likeness.h src/analysis/baselines.c src/analysis/convergence.c
src_libanalysis_la_SOURCES += src/analysis/effects_state.c src/analysis/effects_state.h src/analysis/donors.c
src_libanalysis_la_SOURCES += src/analysis/gradient_cache.c src/analysis/gradient_cache.h
src_libanalysis_la_SOURCES += src/analysis/chain.c src/analysis/chain.h src/analysis/chain_file.c src/analysis/chain_life.c
