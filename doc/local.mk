<<<<<<< HEAD
dist_doc_DATA = doc/architecture.md doc/dependencies.md doc/exchange.md doc/figures.md doc/formats.md doc/interpreting.md \
  doc/mathematics.md doc/reproducibility.md doc/run-directory.md doc/testing.md doc/troubleshooting.md
=======
dist_doc_DATA = doc/architecture.md doc/dependencies.md doc/exchange.md doc/formats.md doc/interpreting.md doc/mathematics.md \
  doc/reproducibility.md doc/run-directory.md doc/selecting.md doc/testing.md doc/troubleshooting.md
>>>>>>> 3848165 (audit, similarity and select are tested from the bundled run to its proposals; the criterion is stated)
