dist_doc_DATA = doc/architecture.md doc/cost.md doc/backends.md doc/dependencies.md doc/deviations.md doc/exchange.md \
  doc/figures.md doc/formats.md doc/interpreting.md \
  doc/mathematics.md doc/real-models.md doc/reproducibility.md doc/run-directory.md doc/selecting.md doc/testing.md \
  doc/troubleshooting.md
