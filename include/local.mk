include_HEADERS = include/crosscoder.h
crosscoderincludedir = $(includedir)/crosscoder
crosscoderinclude_HEADERS = include/crosscoder/analysis.h include/crosscoder/coder.h include/crosscoder/data.h \
  include/crosscoder/device.h include/crosscoder/exchange.h include/crosscoder/export.h include/crosscoder/harvest.h \
  include/crosscoder/model.h \
  include/crosscoder/report.h include/crosscoder/run.h include/crosscoder/status.h include/crosscoder/train.h
nodist_crosscoderinclude_HEADERS = include/crosscoder/version.h
