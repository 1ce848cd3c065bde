#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Usage: bench/gpu.sh [BUILD-FOLDER] [DEVICE]: for people with a GPU. Lists the devices, tests every operation, trains the
# bundled example on the device and on the processor, and prints the table of bench/kernels.sh where its compilers are.
# GPU_TOKENS=N shortens the training. Installs nothing, writes into a temporary folder and the cache of kernels; a few minutes. Please send us what it prints.
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
for where in "$device" cpu; do
  echo "== training of the example, ${GPU_TOKENS:-204800} tokens, --device=$where"
  before=$(date +%s)
  "$program" train --config="$top/examples/tiny-pythia/plan.yaml" --tokens="${GPU_TOKENS:-204800}" --validation-batches=1 --log-every=50 \
    --quiet --device="$where" --out="$work/$where" || exit 1
  echo "$(($(date +%s) - before)) s with harvest and start"
  cut -d, -f1-6 "$work/$where/metrics.csv" | tail -n 6
  [ ! -f "$work/$where/timing.csv" ] || tail -n 2 "$work/$where/timing.csv"
done
echo "== kernels as compiled for sm_80, and the least time of a step (bench/kernels.sh)"
"$top/bench/kernels.sh"
