#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Usage: bench/gpu.sh [BUILD-FOLDER [DEVICE]]: for people with a GPU. Everything it prints is also in gpu-report.txt
# (GPU_REPORT=FILE: there), the file to send us. Without BUILD-FOLDER it takes build-gpu beside this script's folder,
# and builds the program there if need be. It lists the devices, tests every operation with each way that products go,
# times the kernels of a step of training at the size of Pythia-1B and sets them beside the least time of an A100
# (bench/bounds.awk), trains the bundled example on the device and on the processor, and prints the kernels as compiled
# for an A100 where clang and ptxas are.
# Installs nothing: writes that file, the build folder, a temporary folder and the cache of kernels. A part that fails
# or takes too long is told, and the next one begins; the status is 1 if one did. Ends within GPU_MINUTES (10) after the
# build. Smaller: GPU_TOKENS=N of training, GPU_BATCH=N samples and GPU_LATENTS=N features of the steps.
top=$(cd "$(dirname "$0")/.." && pwd)
build=${1:-$top/build-gpu}
device=${2:-opencl}
report=${GPU_REPORT:-gpu-report.txt}
if [ -z "$GPU_INSIDE" ]; then # once more, so that all of it goes into the report
  : >"$report" || exit 1
  status_file=$(mktemp) || exit 1
  { GPU_INSIDE=1 sh "$0" "$@" 2>&1; echo $? >"$status_file"; } | tee "$report"
  status=$(cat "$status_file")
  rm -f "$status_file"
  echo "The report is in $report. Please send it to us, also where a part has failed."
  exit "${status:-1}"
fi

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' 0
failed=
# part SECONDS WHAT COMMAND...: a headline, the command, and what became of it. Its programs run through `limited`,
# which gives them that time, or what is left of the whole.
part() {
  limit=$1 title=$2
  shift 2
  left=$((started + ${GPU_MINUTES:-10} * 60 - $(date +%s)))
  [ "$limit" -le "$left" ] || limit=$left
  echo "== $title"
  if [ "$limit" -le 0 ]; then
    echo "LEFT OUT: no time was left"
    failed="$failed; $title"
    return 1
  fi
  before=$(date +%s)
  "$@"
  result=$?
  [ $result -eq 77 ] && result=0 # skipped, and said so
  [ $result -eq 0 ] || { echo "FAILED with status $result (124: not done after $limit s)"; failed="$failed; $title"; }
  echo "-- $(($(date +%s) - before)) s"
  return $result
}
limited() {
  if command -v timeout >/dev/null; then timeout -k 5 "$limit" "$@"; else "$@"; fi
}

echo "crosscoder, bench/gpu.sh, $(date -u)"
echo "commit $(cd "$top" && git rev-parse HEAD 2>/dev/null || echo unknown)"
uname -srm
sed -n 's/^model name[^:]*: /processor: /p' /proc/cpuinfo 2>/dev/null | sort | uniq -c
nvidia-smi --query-gpu=name,driver_version,memory.total,power.limit --format=csv 2>/dev/null
if [ ! -x "$build/crosscoder" ]; then
  [ -z "$1" ] || { echo "gpu.sh: no crosscoder in $build (usage: bench/gpu.sh [BUILD-FOLDER [DEVICE]])"; exit 1; }
  echo "== building in $build"
  {
    [ -x "$top/configure" ] || (cd "$top" && ./bootstrap)
    mkdir -p "$build" && cd "$build" && "$top/configure" -q && make -s -j"$(getconf _NPROCESSORS_ONLN || echo 2)"
  } >"$work/build.log" 2>&1 || { tail -n 30 "$work/build.log"; echo "FAILED: the README says what is needed"; exit 1; }
fi
build=$(cd "$build" && pwd) || exit 1
program=$build/crosscoder
started=$(date +%s)

batch=${GPU_BATCH:-4096} latents=${GPU_LATENTS:-16384}
step() { # WAY, "" for what is chosen; SETTINGS...: a step at the size of Pythia-1B, in seconds
  way=$1
  shift
  limited env ${way:+XCODER_OPENCL_GEMM=$way} "$@" BENCH_DEVICE="$device" \
    "$build/bench/train_step" 3 2048 "$latents" "$batch" 64 4
}
table() {
  step "" XCODER_OPENCL_PROFILE=1 >"$work/measured" || { cat "$work/measured"; return 1; }
  factor=0
  grep -q ': products by tensor cores' "$work/measured" && factor=6
  awk -v measured="$work/measured" -v batch="$batch" -v latents="$latents" -v factor=$factor \
    -f "$top/bench/bounds.awk" "$top/examples/paper/pythia-1b.yaml"
}
self_test() { # WAY
  limited env ${1:+XCODER_OPENCL_GEMM=$1} "$program" devices --self-test --device="$device"
}
example() { # DEVICE
  limited "$program" train --config="$top/examples/tiny-pythia/plan.yaml" --tokens="${GPU_TOKENS:-204800}" \
    --max-tokens="${GPU_TOKENS:-204800}" --validation-batches=1 --log-every=50 --quiet --device="$1" --out="$work/$1" || return
  cut -d, -f1-6 "$work/$1/metrics.csv" | tail -n 6
  [ ! -f "$work/$1/timing.csv" ] || tail -n 2 "$work/$1/timing.csv"
  grep -o '[a-z]*: on the device [^"]*' "$work/$1/log.jsonl" || true
}

part 60 "devices" limited "$program" devices
if ! part 120 "self-test of $device" self_test ""; then
  echo "The device does not work; nothing else is tried."
  exit 1
fi
what="of training, 3 checkpoints of width 2048, $latents features, $batch samples of 64 codes"
if part 60 "building bench/train_step" make -C "$build" -s bench/train_step; then
  part 90 "a step $what (seconds)" step ""
  part 90 "its kernels, each waited for" table
fi
for where in "$device" cpu; do
  part 100 "training of the example, ${GPU_TOKENS:-204800} tokens, --device=$where" example "$where"
done
for way in own clblast tensor tensor3; do # tensor: only on NVIDIA's devices, elsewhere what is used anyway
  part 60 "self-test, XCODER_OPENCL_GEMM=$way" self_test $way
  [ ! -x "$build/bench/train_step" ] || part 60 "a step $what: $way" step $way
done
part 60 "the least times, and kernels as compiled for sm_80 (bench/kernels.sh)" limited "$top/bench/kernels.sh"
echo "== done after $(($(date +%s) - started)) s"
[ -z "$failed" ] || { echo "These parts have failed: ${failed#; }"; exit 1; }
