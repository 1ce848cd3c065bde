#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds the variants that users may configure, each without warnings and each run through its tests.
# Usage: tests/portability.sh [VARIANT...]     all variants unless some are named. The builds go to build-portability/.
set -u
top=$(cd "$(dirname "$0")/.." && pwd)
build=${PORTABILITY_BUILD:-$top/build-portability}
[ -x "$top/configure" ] || (cd "$top" && ./bootstrap) || exit 1
ccache=$(command -v ccache >/dev/null && echo "ccache ")
failed=
skipped=
# What runs where a whole `make check` would say nothing new: products, kernels, the program from end to end.
some="tests/check-layers.sh tests/compute/test_kernels tests/compute/test_coder tests/compute/test_conformance_block \
  tests/model/test_golden tests/crosscoder/test_train tests/cli/runs.sh"

# VARIANT COMPILER TESTS CONFIGURE-OPTION...; TESTS is all, none, or a list
variant() {
  name=$1 compiler=$2 tests=$3
  shift 3
  case " $wanted " in *" $name "* | "  ") ;; *) return ;; esac
  command -v "$compiler" >/dev/null || { echo "$name: $compiler not found: SKIPPED"; skipped="$skipped $name"; return; }
  mkdir -p "$build/$name"
  cd "$build/$name" || exit 1
  started=$(date +%s)
  status=0
  "$top/configure" -q --enable-werror CC="$ccache$compiler" "$@" >configure.out 2>&1 || status=$?
  [ "$status" != 0 ] || make -j"$(nproc)" >make.out 2>&1 || status=$?
  case $status:$tests in
    0:all) OMP_WAIT_POLICY=passive make -j"$(nproc)" check >check.out 2>&1 || status=$? ;;
    0:none) ;;
    0:*) OMP_WAIT_POLICY=passive make -j"$(nproc)" check TESTS="$tests" >check.out 2>&1 || status=$? ;;
  esac
  if [ "$status" = 0 ]; then
    echo "$name: passed in $(($(date +%s) - started)) s$(sed -n 's/^# \(PASS\|SKIP\): */, \1 /p' check.out 2>/dev/null |
      tr '\n' ' ')"
  else
    echo "$name: FAILED with status $status"
    tail -n 25 configure.out make.out check.out 2>/dev/null
    failed="$failed $name"
  fi
}

wanted=$*
variant no-openmp gcc "$some" --disable-openmp
variant no-opencl gcc none --without-opencl --without-clblast
variant no-check gcc all --without-check
variant clang clang "$some"
blis=$(pkg-config --libs blis 2>/dev/null || echo -lblis)
if echo 'int main(void){return 0;}' | gcc -x c - -o /dev/null $blis 2>/dev/null; then
  variant blis gcc "$some" --with-blas="$blis"
else
  echo "blis: not installed: SKIPPED"
  skipped="$skipped blis"
fi
if echo 'int main(void){return 0;}' | gcc -m32 -x c - -o /dev/null -ljansson 2>/dev/null; then
  variant m32 gcc "$some" CFLAGS='-m32 -O2 -msse2 -mfpmath=sse'
else
  echo "m32: no 32-bit libraries: SKIPPED"
  skipped="$skipped m32"
fi
[ -z "$skipped" ] || echo "skipped:$skipped"
[ -z "$failed" ] || { echo "failed:$failed"; exit 1; }
