# Layer report: tables, figures, the page.
noinst_LTLIBRARIES += src/libreport.la
src_libreport_la_SOURCES = src/report/card.c src/report/figure.c \
  src/report/figure.h src/report/known.c src/report/page.c src/report/page.h src/report/report.c src/report/run_files.c \
  src/report/sections.c src/report/simplex.c src/report/svg.c src/report/svg.h src/report/task.c
