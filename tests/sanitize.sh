#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# AddressSanitizer, LeakSanitizer and UndefinedBehaviorSanitizer over the tests and over a session on the example.
# Usage: tests/sanitize.sh [TEST...]     all tests unless some are named. The build goes to build-sanitizers/.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
build=${SANITIZERS_BUILD:-$top/build-sanitizers}
[ -x "$top/configure" ] || (cd "$top" && ./bootstrap)
mkdir -p "$build"
cd "$build"
[ -f Makefile ] || "$top/configure" -q --enable-sanitizers CFLAGS='-g -O1' >configure.out 2>&1 ||
  { tail -n 20 configure.out; exit 1; }
make -j"$(nproc)" >make.out 2>&1 || { tail -n 40 make.out; exit 1; }
[ $# = 0 ] || set -- TESTS="$*"
# Drivers of OpenCL leak by themselves, so none is seen here.
OCL_ICD_VENDORS=/nonexistent
export OCL_ICD_VENDORS
status=0
make -j"$(nproc)" check "$@" >check.out 2>&1 || status=$?
sed -n 's/^# \(PASS\|FAIL\|SKIP\|ERROR\): */sanitizers: \1 /p' check.out
[ "$status" = 0 ] || { tail -n 100 test-suite.log; exit 1; }
"$top/tests/session.sh" "$build/crosscoder"
