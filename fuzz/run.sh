#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs every fuzz target for SECONDS (default 60), two at a time, and fails on a finding. Usage: fuzz/run.sh [SECONDS]
# The build goes to build-fuzz/ (or $FUZZ_BUILD); what a target found is kept there in findings/TARGET/.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
seconds=${1:-60}
build=${FUZZ_BUILD:-$top/build-fuzz}
command -v "${CC:-clang}" >/dev/null || { echo "fuzz: clang is needed, not found: skipped"; exit 77; }
probe=$(mktemp -d)
echo 'int LLVMFuzzerTestOneInput(const unsigned char *d, unsigned long n); int LLVMFuzzerTestOneInput(
const unsigned char *d, unsigned long n) { (void)d; (void)n; return 0; }' >"$probe/probe.c"
if ! "${CC:-clang}" -fsanitize=fuzzer,address,undefined -o "$probe/probe" "$probe/probe.c" >/dev/null 2>&1; then
  rm -rf "$probe"
  echo "fuzz: this compiler has no libFuzzer: skipped"
  exit 77
fi
rm -rf "$probe"
[ -x "$top/configure" ] || (cd "$top" && ./bootstrap)
mkdir -p "$build"
cd "$build"
if [ ! -f Makefile ]; then
  "$top/configure" -q --enable-fuzzers --disable-openmp --without-opencl --without-check CC="${CC:-clang}" \
    CFLAGS='-g -O1' >configure.out 2>&1 || { tail -n 20 configure.out; exit 1; }
fi
make -j"$(nproc)" fuzzers >make.out 2>&1 || { tail -n 40 make.out; exit 1; }
rm -rf seeds
tests/formats/write_corpus seeds --small

# Runs one target; the last lines of its log tell how much it did.
run_target() {
  name=${1#fuzz_}
  mkdir -p "corpus/$name" "findings/$name" "seeds/$name"
  [ ! -d "$top/fuzz/seeds/$name" ] || cp -R "$top/fuzz/seeds/$name/." "seeds/$name/"
  case $name in # what a reader shares with another
    stream) seeds='jsonl-*.gz jsonl-*.zst' ;;
  exchange)
    seeds=
    for seed in "$top"/tests/crosscoder/golden/*/*c*f*g.json; do
      cp "$seed" "seeds/$name/$(basename "$(dirname "$seed")").json"
    done ;;
    *) seeds="$name-*" ;;
  esac
  # shellcheck disable=SC2086
  for seed in $(cd "$top/tests/data" && for s in $seeds; do echo */$s; done); do
    [ ! -f "$top/tests/data/$seed" ] || cp "$top/tests/data/$seed" "seeds/$name/"
  done
  status=0
  ASAN_OPTIONS=allocator_may_return_null=1 "fuzz/fuzz_$name" -max_total_time="$seconds" -timeout=5 \
    -rss_limit_mb=1024 -max_len=65536 -print_final_stats=1 -artifact_prefix="findings/$name/" \
    "corpus/$name" "seeds/$name" >"fuzz_$name.log" 2>&1 || status=$?
  executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "fuzz_$name.log")
  echo "fuzz: $name: ${executions:-no} executions, exit status $status"
  [ "$status" = 0 ] || { tail -n 40 "fuzz_$name.log"; return 1; }
}

failed=0
pending=
for source in "$top"/fuzz/fuzz_*.c; do
  target=$(basename "$source" .c)
  run_target "$target" &
  pending="$pending $!"
  set -- $pending
  if [ $# -ge 2 ]; then
    wait "$1" || failed=1
    shift
    pending="$*"
  fi
done
for process in $pending; do wait "$process" || failed=1; done
[ "$failed" = 0 ] || echo "fuzz: FAILED; inputs are in $build/findings"
exit "$failed"
