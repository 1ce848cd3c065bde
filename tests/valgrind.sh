#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Valgrind: no error, and nothing lost, over a session on the example (train 20 steps, --resume, eval, attribute,
# ablate, features, report, show) and, unless --session is given, over all test programs.
# Usage: tests/valgrind.sh [--session] [BUILD-FOLDER]
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
all=yes
[ "${1:-}" != --session ] || { all=no; shift; }
build=$(cd "${1:-$top/build-check}" 2>/dev/null && pwd) ||
  { echo "valgrind: no build folder ${1:-build-check}"; exit 1; }
command -v valgrind >/dev/null || { echo "valgrind: not found: SKIPPED"; exit 77; }
[ -x "$build/crosscoder" ] || { echo "valgrind: no program in $build"; exit 1; }
# Valgrind knows no AVX-512, so the kernels of AVX2 are the newest that are checked.
OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
export OMP_NUM_THREADS OPENBLAS_NUM_THREADS
check="valgrind --quiet --leak-check=full --show-leak-kinds=definite,indirect \
  --errors-for-leak-kinds=definite,indirect --error-exitcode=99"
RUNNER="$build/libtool --mode=execute $check" "$top/tests/session.sh" "$build/crosscoder" --threads=1
[ "$all" = yes ] || exit 0

# The tests in C, one by one: their time limit is for machines without valgrind.
make -s -C "$build" check TESTS= >/dev/null
failed=
srcdir=$top top_srcdir=$top builddir=$build CK_DEFAULT_TIMEOUT=3600 CK_FORK=no XCODER_VALGRIND=1
export srcdir top_srcdir builddir CK_DEFAULT_TIMEOUT CK_FORK XCODER_VALGRIND
cd "$build"
for test in tests/*/test_*; do
  [ -x "$test" ] && [ -f "$test" ] || continue
  started=$(date +%s)
  status=0
  ./libtool --mode=execute $check "$test" >"$test.valgrind" 2>&1 || status=$?
  if [ "$status" = 0 ] || [ "$status" = 77 ]; then
    echo "valgrind: $test is clean ($(($(date +%s) - started)) s)"
  else
    echo "valgrind: $test: exit status $status"
    tail -n 40 "$test.valgrind"
    failed="$failed $test"
  fi
done
[ -z "$failed" ] || { echo "valgrind: failed:$failed"; exit 1; }
