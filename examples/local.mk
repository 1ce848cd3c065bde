# Examples: programs for C programmers, readers for Python and R, the bundled pretraining run.
EXTRA_DIST += examples/encode.c examples/train.c examples/attribute.c examples/installcheck.sh \
  examples/read_results.py examples/read_results.R CONTRIBUTING SECURITY CITATION.cff

installcheck-local:
	$(SHELL) $(srcdir)/examples/installcheck.sh $(srcdir) $(DESTDIR)$(pkgconfigdir) $(DESTDIR)$(libdir) $(DESTDIR)$(bindir)
