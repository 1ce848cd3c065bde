# Layer analysis: what the features do and mean. A folder is a topic.
noinst_LTLIBRARIES += src/libanalysis.la
src_libanalysis_la_SOURCES =
# What the rooms share.
src_libanalysis_la_SOURCES += \
  src/analysis/csv_in.c src/analysis/csv_in.h src/analysis/json_out.c src/analysis/json_out.h \
  src/analysis/statistics.c src/analysis/statistics.h src/analysis/surroundings.c src/analysis/workbench.c \
  src/analysis/workbench.h
# Indirect effects: paths, quadratures, gradients, tables, RelIE.
src_libanalysis_la_SOURCES += \
  src/analysis/attribution/attribute.c src/analysis/attribution/attribution.c src/analysis/attribution/attribution.h \
  src/analysis/attribution/baselines.c src/analysis/attribution/convergence.c src/analysis/attribution/donors.c \
  src/analysis/attribution/effect_table.c src/analysis/attribution/effect_table.h src/analysis/attribution/effects.c \
  src/analysis/attribution/effects.h src/analysis/attribution/effects_file.c src/analysis/attribution/effects_in.h \
  src/analysis/attribution/effects_state.c src/analysis/attribution/effects_state.h \
  src/analysis/attribution/explain.c src/analysis/attribution/gradient_cache.c \
  src/analysis/attribution/gradient_cache.h src/analysis/attribution/likeness.c src/analysis/attribution/likeness.h \
  src/analysis/attribution/path.c src/analysis/attribution/quadrature.c src/analysis/attribution/quadrature.h \
  src/analysis/attribution/relative_effect.c src/analysis/attribution/relative_effect.h
# Ablation of features.
src_libanalysis_la_SOURCES += \
  src/analysis/ablation/ablation.c src/analysis/ablation/ablation.h src/analysis/ablation/ablation_curves.c \
  src/analysis/ablation/ablation_edit.c src/analysis/ablation/ablation_file.c
# Accuracy on tasks, quality of a crosscoder, latent scaling, verdicts.
src_libanalysis_la_SOURCES += \
  src/analysis/quality/accuracy.c src/analysis/quality/accuracy.h src/analysis/quality/evaluate.c \
  src/analysis/quality/evaluate.h src/analysis/quality/evaluate_file.c src/analysis/quality/latent_scaling.c \
  src/analysis/quality/latent_scaling.h src/analysis/quality/sentences.c src/analysis/quality/splice.c \
  src/analysis/quality/splice.h src/analysis/quality/task_quality.c src/analysis/quality/verdict.c \
  src/analysis/quality/verdict.h
# Cards, the database of all features, labels of tokens.
src_libanalysis_la_SOURCES += \
  src/analysis/features/feature_cards.c src/analysis/features/feature_cards.h \
  src/analysis/features/feature_database.c src/analysis/features/feature_database.h \
  src/analysis/features/feature_prompts.c src/analysis/features/feature_scan.c src/analysis/features/feature_types.c \
  src/analysis/features/feature_scan.h src/analysis/features/feature_arrays.c \
  src/analysis/features/feature_contexts.c \
  src/analysis/features/feature_types.h src/analysis/features/features_file.c src/analysis/features/histogram.c \
  src/analysis/features/histogram.h src/analysis/features/lens.c src/analysis/features/token_labels.c \
  src/analysis/features/token_labels.h src/analysis/features/token_labels_in.c src/analysis/features/top_features.c
# Life cycles, chains of windows.
src_libanalysis_la_SOURCES += \
  src/analysis/evolution/chain.c src/analysis/evolution/chain.h src/analysis/evolution/chain_file.c \
  src/analysis/evolution/chain_life.c src/analysis/evolution/evolve.c src/analysis/evolution/evolve.h \
  src/analysis/evolution/evolve_classes.c src/analysis/evolution/evolve_cycle.c src/analysis/evolution/evolve_file.c \
  src/analysis/evolution/evolve_in.c src/analysis/evolution/evolve_languages.c
# Features of several runs matched, transfer.
src_libanalysis_la_SOURCES += \
  src/analysis/comparison/compare.c src/analysis/comparison/compare.h src/analysis/comparison/compare_classes.c \
  src/analysis/comparison/compare_file.c src/analysis/comparison/compare_pair.c src/analysis/comparison/compare_runs.c \
  src/analysis/comparison/compare_side.c src/analysis/comparison/compare_similarity.c \
  src/analysis/comparison/compare_tables.c src/analysis/comparison/match.c src/analysis/comparison/match.h \
  src/analysis/comparison/transfer.c
# Similarity of revisions, choosing checkpoints.
src_libanalysis_la_SOURCES += \
  src/analysis/selection/select.c src/analysis/selection/select.h src/analysis/selection/select_read.c \
  src/analysis/selection/similarity.c
# Found against known.
src_libanalysis_la_SOURCES += \
  src/analysis/known/gold.c src/analysis/known/known.c src/analysis/known/known.h src/analysis/known/known_file.c \
  src/analysis/known/probe.c src/analysis/known/probe.h
