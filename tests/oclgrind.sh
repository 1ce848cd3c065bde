#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Usage: tests/oclgrind.sh [BUILD-FOLDER]: every kernel of the self-test under Oclgrind, which reports accesses beyond
# arrays, races between items, and misused functions of OpenCL. 77 where there is no Oclgrind. Takes a minute.
build=${1:-.}
command -v oclgrind >/dev/null || { echo "skipped: no oclgrind"; exit 77; }
[ -x "$build/crosscoder" ] || { echo "oclgrind.sh: no crosscoder in $build"; exit 1; }
log=$(mktemp) || exit 1
trap 'rm -f "$log"' 0
watch() { # COMMAND...
  XDG_CACHE_HOME=/nonexistent OMP_WAIT_POLICY=passive OMP_NUM_THREADS=1 \
    oclgrind --data-races --uniform-writes --check-api "$@" >"$log" 2>&1
  status=$?
  tail -n 40 "$log"
  if [ $status -ne 0 ] || grep -E -q 'Invalid|race|Oclgrind - OpenCL runtime error|divergence' "$log"; then
    echo "oclgrind: FAIL: $*"
    exit 1
  fi
}
watch "$build/crosscoder" devices --self-test --device=opencl
echo "oclgrind: no finding"
