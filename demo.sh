#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs what is needed, builds, and runs the whole method on the bundled example, down to the report.
# Usage: ./demo.sh            everything stays in build-demo/
set -eu
top=$(cd "$(dirname "$0")" && pwd)
. "$top/packaging/setup.sh"
# shellcheck disable=SC2086
install_packages $build_packages
make_build "$top/build-demo"
# Threads that wait for each other should not spin where other programs run as well.
OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
export OMP_WAIT_POLICY
say "Running examples/tiny-pythia/plan.yaml"
"$top/build-demo/crosscoder" run "$top/examples/tiny-pythia/plan.yaml" --out="$top/build-demo/tiny-pythia"
say "The report: $top/build-demo/tiny-pythia/report/index.html"
