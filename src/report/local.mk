# Layer report: tables, figures, the page.
noinst_LTLIBRARIES += src/libreport.la
src_libreport_la_SOURCES = src/report/agreement.c src/report/annotation.c src/report/effect_figures.c \
  src/report/effect_figures.h \
  src/report/card.c src/report/card_features.c src/report/evolution.c src/report/card_label.c src/report/figure.c \
  src/report/figure.h src/report/known.c src/report/label_list.c src/report/label_rows.c src/report/labels.c \
  src/report/labels.h src/report/page.c src/report/page.h src/report/quality_runs.c src/report/report.c \
  src/report/run_files.c \
  src/report/sections.c src/report/simplex.c src/report/svg.c src/report/svg.h src/report/task.c
EXTRA_DIST += src/report/page.js
BUILT_SOURCES += src/report/page_script.inc
CLEANFILES += src/report/page_script.inc
src/report/page.lo: src/report/page_script.inc
src/report/page_script.inc: src/report/page.js
	$(AM_V_GEN)$(MKDIR_P) src/report && \
	  sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/^/"/' -e 's/$$/",/' \
	    $(top_srcdir)/src/report/page.js >$@.tmp && mv -f $@.tmp $@
src_libreport_la_SOURCES += src/report/axis.c src/report/axis.h src/report/selection.c src/report/class_agreement.c \
  src/report/class_agreement.h
src_libreport_la_SOURCES += src/report/scaling.c
src_libreport_la_SOURCES += src/report/cost.c
src_libreport_la_SOURCES += src/report/ablation.c src/report/checks.c src/report/class_shares.c \
  src/report/comparison.c src/report/over_runs.c src/report/chain.c \
  src/report/comparison.h src/report/grid.c src/report/grid.h src/report/transfer.c
