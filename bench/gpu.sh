#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Usage: bench/gpu.sh [BUILD-FOLDER] [DEVICE]: for people with a GPU. Lists the devices, tests every operation (and every
# way that products can go), measures steps of training at the size of Pythia-1B beside the least time that an A100 needs
# for them (bench/bounds.awk), trains the bundled example on the device and on the processor, and prints the kernels as
# compiled for an A100 where clang and ptxas are. GPU_TOKENS=N shortens the training, GPU_BATCH=N the batches measured.
# Installs nothing: writes into a temporary folder, the build folder and the cache of kernels. Meant to take less than ten
# minutes on a GPU, which nobody has measured yet. Please send us what it prints.
build=$(cd "${1:-.}" && pwd) || exit 1
device=${2:-opencl}
top=$(cd "$(dirname "$0")/.." && pwd)
program=$build/crosscoder
[ -x "$program" ] || { echo "gpu.sh: no crosscoder in $build (usage: bench/gpu.sh BUILD-FOLDER [DEVICE])"; exit 1; }
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' 0
echo "== devices"
"$program" devices || exit 1
echo "== self-test of $device"
"$program" devices --self-test --device="$device" || exit 1
for way in own clblast tensor tensor3; do # tensor: only on NVIDIA's devices, elsewhere what is used anyway
  echo "XCODER_OPENCL_GEMM=$way"
  XCODER_OPENCL_GEMM=$way "$program" devices --self-test --device="$device"
done
echo "== steps of training: 3 checkpoints of width 2048, 16384 features, ${GPU_BATCH:-4096} samples of 64 codes (seconds)"
if make -C "$build" -s bench/train_step; then
  for way in "" own clblast tensor3; do
    echo "-- products: ${way:-as chosen}"
    env ${way:+XCODER_OPENCL_GEMM=$way} BENCH_DEVICE="$device" "$build/bench/train_step" 3 2048 16384 \
      "${GPU_BATCH:-4096}" 64 5
  done
fi
for where in "$device" cpu; do
  echo "== training of the example, ${GPU_TOKENS:-204800} tokens, --device=$where"
  before=$(date +%s)
  "$program" train --config="$top/examples/tiny-pythia/plan.yaml" --tokens="${GPU_TOKENS:-204800}" \
    --validation-batches=1 --log-every=50 --quiet --device="$where" --out="$work/$where" || exit 1
  echo "$(($(date +%s) - before)) s with harvest and start"
  cut -d, -f1-6 "$work/$where/metrics.csv" | tail -n 6
  [ ! -f "$work/$where/timing.csv" ] || tail -n 2 "$work/$where/timing.csv"
  grep -o '[a-z]*: on the device [^"]*' "$work/$where/log.jsonl"
done
echo "== the least times, and kernels as compiled for sm_80 (bench/kernels.sh)"
"$top/bench/kernels.sh"
exit 0
