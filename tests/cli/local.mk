# Tests of the command line.
CLI_TESTS = tests/cli/options.sh tests/cli/plans.sh tests/cli/tokenize.sh tests/cli/pages.sh tests/cli/runs.sh \
  tests/cli/select.sh \
  tests/cli/stages.sh tests/cli/labels.sh tests/cli/determinism.sh tests/cli/control.sh tests/cli/completeness.sh
CLI_TESTS += tests/cli/audit.sh
CLI_TESTS += tests/cli/corpora.sh
CLI_TESTS += tests/cli/exchange.sh
CLI_TESTS += tests/cli/further.sh tests/cli/killed.sh
CLI_TESTS += tests/cli/cost.sh
CLI_TESTS += tests/cli/opencl.sh tests/cli/opencl_faults.sh tests/cli/opencl_effects.sh tests/cli/opencl_panels.sh
dist_check_SCRIPTS += $(CLI_TESTS)
EXTRA_DIST += tests/cli/common.sh
TESTS += $(CLI_TESTS)
