# Examples: programs for C programmers, readers for Python and R, the bundled pretraining run.
EXTRA_DIST += doc/report.png examples/encode.c examples/train.c examples/attribute.c examples/installcheck.sh \
  examples/read_results.py examples/read_results.R CONTRIBUTING SECURITY CITATION.cff examples/tiny-pythia \
  examples/tiny-olmo \
  examples/paper

installcheck-local:
	CC='$(CC)' CFLAGS='$(installcheck_cflags)' LDFLAGS='$(LDFLAGS)' PKG_CONFIG='$(PKG_CONFIG)' \
	  $(SHELL) $(srcdir)/examples/installcheck.sh $(srcdir) $(DESTDIR)$(pkgconfigdir) $(DESTDIR)$(libdir) \
	  $(DESTDIR)$(bindir) $(DESTDIR)
if SANITIZERS
installcheck_cflags = $(CFLAGS) -fsanitize=address,undefined
else
installcheck_cflags = $(CFLAGS)
endif
