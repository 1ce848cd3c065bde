# The program. It sees <crosscoder.h> only.
bin_PROGRAMS += crosscoder
crosscoder_SOURCES = src/cli/check.c src/cli/checkpoints.c src/cli/clear.c src/cli/cmd_accuracy.c \
  src/cli/cmd_analyses.c \
  src/cli/cmd_compare.c src/cli/compare.h src/cli/further.c src/cli/transfer.c \
  src/cli/cmd_devices.c src/cli/cmd_exchange.c src/cli/cmd_harvest.c src/cli/cmd_init.c src/cli/cmd_inspect.c \
  src/cli/cmd_labels.c src/cli/cmd_run.c \
  src/cli/cmd_show.c src/cli/cmd_tokenize.c src/cli/cmd_train.c src/cli/command.h src/cli/commands.c src/cli/csv.c \
  src/cli/csv.h src/cli/estimate.c src/cli/estimate.h src/cli/help.c src/cli/job.c src/cli/job.h src/cli/keys.c \
  src/cli/limits.c \
  src/cli/main.c src/cli/manifest.c src/cli/manual.c src/cli/measure.c src/cli/options.c src/cli/options.def \
  src/cli/options.h \
  src/cli/parse.c src/cli/plan.c src/cli/plan.h src/cli/plan_write.c src/cli/progress.c src/cli/progress.h \
  src/cli/setting.c src/cli/setting.h src/cli/show.h src/cli/show_card.c src/cli/show_text.c src/cli/signals.c \
  src/cli/signals.h src/cli/stages.c src/cli/text.c src/cli/text.h src/cli/tokens_seen.c src/cli/training.c \
  src/cli/verdicts.c
crosscoder_SOURCES += src/cli/corpora.c
crosscoder_CPPFLAGS = -include $(top_builddir)/config.h -I$(top_srcdir)/include -I$(top_builddir)/include \
  $(JANSSON_CFLAGS) $(YAML_CFLAGS)
crosscoder_LDADD = libcrosscoder.la $(JANSSON_LIBS) $(YAML_LIBS)

bashcompletiondir = $(datadir)/bash-completion/completions
dist_bashcompletion_DATA = completions/crosscoder
EXTRA_DIST += man/generate.sh
dist_man_MANS += man/crosscoder.1 man/crosscoder-run.1 man/crosscoder-init.1 man/crosscoder-inspect.1 \
  man/crosscoder-tokenize.1 man/crosscoder-accuracy.1 man/crosscoder-audit.1 man/crosscoder-similarity.1 \
  man/crosscoder-select.1 man/crosscoder-harvest.1 man/crosscoder-train.1 \
  man/crosscoder-eval.1 man/crosscoder-attribute.1 man/crosscoder-ablate.1 man/crosscoder-features.1 \
  man/crosscoder-evolve.1 man/crosscoder-compare.1 \
  man/crosscoder-show.1 man/crosscoder-report.1 man/crosscoder-labels.1 man/crosscoder-devices.1 \
  man/crosscoder-import.1 man/crosscoder-export.1 man/crosscoder-help.1
crosscoder_SOURCES += src/cli/cmd_audit.c src/cli/cmd_select.c src/cli/cmd_similarity.c src/cli/result.c
crosscoder_SOURCES += src/cli/cost.c src/cli/sweep.c
crosscoder_SOURCES += src/cli/estimate_commands.c src/cli/estimate_device.c src/cli/estimate_memory.c
crosscoder_SOURCES += src/cli/estimate_sizes.c
