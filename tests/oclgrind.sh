#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Usage: tests/oclgrind.sh [BUILD-FOLDER]: every kernel under Oclgrind, which reports accesses beyond arrays, races
# between items, and misused functions of OpenCL: the self-test, whose sizes are no multiples of a tile, a team or a
# group, and the cases "few" of three test programs: batches without samples, codes or rows, blocks whose kernels the
# self-test spares, and products and attention of tensor cores, whose instruction is emulated. Fails where a kernel was
# not run. Oclgrind keeps each value of each item in tables: the last program takes 14 GiB. 77 without Oclgrind.
build=${1:-.}
top=$(cd "$(dirname "$0")/.." && pwd)
command -v oclgrind >/dev/null || { echo "skipped: no oclgrind"; exit 77; }
[ -x "$build/crosscoder" ] || { echo "oclgrind.sh: no crosscoder in $build"; exit 1; }
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' 0
: >"$work/ran"
watch() { # COMMAND...
  XDG_CACHE_HOME=/nonexistent OMP_WAIT_POLICY=passive OMP_NUM_THREADS=1 CK_DEFAULT_TIMEOUT=3600 \
    oclgrind --local-mem-size 1048576 --data-races --uniform-writes --check-api --inst-counts "$@" >"$work/log" 2>&1
  status=$?
  sed -n "s/^Instructions executed for kernel '\(.*\)':/\1/p" "$work/log" >>"$work/ran"
  grep -v "^ *[0-9,']* - \|^Instructions\|^$" "$work/log" | tail -n 40
  if [ $status -ne 0 ] || grep -E -q 'Invalid|race|Oclgrind - OpenCL runtime error|divergence' "$work/log"; then
    echo "oclgrind: FAIL: $*"
    exit 1
  fi
}
watch "$build/crosscoder" devices --self-test --device=opencl
for test in test_coder_properties test_conformance_block test_opencl_gemm; do
  [ -x "$build/tests/compute/$test" ] || make -C "$build" -s "tests/compute/$test" || exit 1
  way=own
  [ $test != test_opencl_gemm ] || way=emulated # its opening tries attention too
  XCODER_OPENCL_GEMM=$way CK_RUN_CASE=few XCODER_TEST_DEVICE=opencl watch "$build/tests/compute/$test"
done
missing=0
for kernel in $(sed -n 's/^KERNEL \([a-z0-9_]*\)(.*/\1/p; s/^TENSOR_GEMM(\([a-z0-9_]*\),.*/\1/p
  s/^ATTEND(\([a-z0-9_]*\),.*/\1/p' "$top"/cl/*.cl); do
  grep -q -x "$kernel" "$work/ran" || { echo "oclgrind: kernel $kernel was not run"; missing=1; }
done
[ $missing -eq 0 ] || exit 1
echo "oclgrind: $(sort -u "$work/ran" | grep -c '') kernels, no finding"
