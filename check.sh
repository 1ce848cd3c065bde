#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs what is needed, builds, and runs the tests (make check). Usage: ./check.sh
set -eu
top=$(cd "$(dirname "$0")" && pwd)
. "$top/packaging/setup.sh"
# shellcheck disable=SC2086
install_packages $build_packages
make_build "$top/build-check" --enable-werror
say "Testing (log of each test in build-check/, summary in build-check/test-suite.log)"
status=0
make -C "$top/build-check" -j"$(nproc)" check >"$top/build-check/check.out" 2>&1 || status=$?
sed -n '/^# TOTAL/,/^# ERROR/p' "$top/build-check/check.out"
if [ "$status" != 0 ]; then
  grep -E '^(FAIL|ERROR|XPASS)[: ]' "$top/build-check/check.out" || tail -n 40 "$top/build-check/check.out"
  [ ! -f "$top/build-check/test-suite.log" ] || tail -n 80 "$top/build-check/test-suite.log"
fi
count() { sed -n "s/^# $1: *//p" "$top/build-check/check.out" | tail -n 1; }
passed=$(count PASS) failed=$(count FAIL) errors=$(count ERROR) skipped=$(count SKIP)
echo "tests: ${passed:-0} passed, $((${failed:-0} + ${errors:-0})) failed, ${skipped:-0} skipped"
exit "$status"
