#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Valgrind over a session on the example: no error, and nothing lost. Usage: tests/valgrind.sh [BUILD-FOLDER]
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
build=${1:-$top/build-check}
command -v valgrind >/dev/null || { echo "valgrind: not found: skipped"; exit 77; }
[ -x "$build/crosscoder" ] || { echo "valgrind: no program in $build"; exit 1; }
OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 RUNNER="$build/libtool --mode=execute valgrind --quiet --leak-check=full \
  --show-leak-kinds=definite,indirect --errors-for-leak-kinds=definite,indirect --error-exitcode=99" \
  "$top/tests/session.sh" "$build/crosscoder" --threads=1
