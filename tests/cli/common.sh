# SPDX-License-Identifier: Apache-2.0
# Helpers of the tests of the command line; sourced by them.
LC_ALL=C
export LC_ALL
# Threads that wait should not spin: tests share the machine with others.
OMP_WAIT_POLICY=passive
export OMP_WAIT_POLICY
unset NO_COLOR HF_HOME HF_HUB_CACHE
program=$(cd "${builddir:-.}" && pwd)/crosscoder
source=$(cd "${top_srcdir:-.}" && pwd)
model=$source/tests/model/golden/tiny-neox
work=$(mktemp -d "${TMPDIR:-/tmp}/crosscoder-cli-XXXXXX") || exit 99
trap 'rm -rf "$work"' 0
trap 'exit 99' 1 2 15
cd "$work" || exit 99
failures=0

fail() {
  echo "FAIL: $*"
  failures=$((failures + 1))
}

# expect STATUS WORDS COMMAND...: the exit status, and words that the standard error must hold ("" for none).
# Errors are one line.
expect() {
  wanted=$1 words=$2
  shift 2
  "$@" >stdout 2>stderr </dev/null
  status=$?
  [ "$status" -eq "$wanted" ] || fail "$*: exit status $status, expected $wanted: $(head -n 3 stderr)"
  if [ -n "$words" ] && ! grep -F -q -e "$words" stderr; then
    fail "$*: '$words' is not in: $(head -n 3 stderr)"
  fi
  if [ "$wanted" -ne 0 ] && [ "$wanted" -lt 128 ] && [ "$(grep -c '^crosscoder: error: ' stderr)" -ne 1 ]; then
    fail "$*: expected one error line: $(head -n 3 stderr)"
  fi
}

# contains WORDS: the standard output of the last command.
contains() {
  grep -F -q -e "$1" stdout || fail "'$1' is not in the output: $(head -n 3 stdout)"
}

# A small run: a corpus of $1 lines; a task of $1 pairs, with the fields $2 behind the others (%d: the pair's number);
# the plan $1, which has the lines of standard input and, for other keys, those below.
write_text() {
  awk -v n="$1" 'BEGIN { for (i = 0; i < n; i++) print "The cat near the dogs sings and the bears run. " i }' >text.txt
}
write_pairs() {
  awk -v n="$1" -v more="${2:-}" 'BEGIN {
    for (i = 1; i <= n; i++) {
      fields = more
      gsub(/%d/, i, fields)
      printf "{\"prefix\": \"The cat %d sing\", \"good\": \"s\", \"bad\": \"e\"%s}\n", i, fields
    }
  }' >pairs.jsonl
}
write_plan() {
  {
    cat
    printf '%s\n' "checkpoints: {a: \"$model\", b: \"$model\"}" 'layer: 1' 'corpus: text.txt' 'heldout: [text.txt]' \
      'length: 32' 'latents: 32' 'batch-size: 64' 'learning-rate: 1e-3' 'window: 2048' 'max-tokens: 4096' \
      'validation-batches: 1' 'eval-batches: 2' 'bootstrap: 50' 'top: 3' 'ablate-features: 2' 'contexts: 2' 'out: run'
    [ ! -e pairs.jsonl ] || printf '%s\n' 'task: ["pairs:pairs.jsonl"]'
  } | awk -F: '!seen[$1]++' >"$1"
}

# Kernels of devices are kept with the test's files, unless the environment says where.
keep_kernels() {
  : "${POCL_CACHE_DIR:=$work/pocl}" "${XDG_CACHE_HOME:=$work/cache}"
  mkdir -p "$POCL_CACHE_DIR" "$XDG_CACHE_HOME"
  export POCL_CACHE_DIR XDG_CACHE_HOME
}

# The test is skipped where no OpenCL device opens; it fails where one computes wrong.
need_opencl() {
  keep_kernels
  "$program" devices --self-test --device=opencl >stdout 2>stderr && return
  grep -q 'no OpenCL backend\|no platform' stderr || fail "self-test: $(cat stderr)"
  [ "$failures" -eq 0 ] || exit 1
  echo "skipped: $(cat stderr)"
  exit 77
}

# $driver, to be preloaded, makes an OpenCL driver fail (tests/compute/opencl_faults.c).
need_faulty_driver() {
  driver=$(dirname "$program")/tests/compute/.libs/opencl_faults.so
  [ -e "$driver" ] || { echo "skipped: no $driver"; exit 77; }
  ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}verify_asan_link_order=0"
  XCODER_OPENCL_GEMM=own
  export ASAN_OPTIONS XCODER_OPENCL_GEMM
  need_opencl
}

finish() {
  [ "$failures" -eq 0 ] || exit 1
  exit 0
}
