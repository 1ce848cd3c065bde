#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The bundled plan on an OpenCL device (PoCL where there is no other) and on the processor, from the same state: the
# loss of the first step within 1e-6, of the hundredth within 1e-3; the features of one crosscoder; failing devices.
. "${top_srcdir:-.}/tests/cli/common.sh"
keep_kernels

steps=100
plan=$source/examples/tiny-pythia/plan.yaml
set -- train --config="$plan" --tokens=$((steps * 256)) --batch-size=256 --latents=256 --window=8192 \
  --validation-batches=1 --validate-every=100 --log-every=1 --quiet

# No platform at all: one line and status 6, or the processor where that was asked for. A loader without files to read.
given=${OCL_ICD_VENDORS-}
export OCL_ICD_VENDORS="$work/none"
expect 6 "opencl" "$program" "$@" --out=none --device=opencl
[ ! -e none/crosscoder.safetensors ] || fail "a result without a device"
expect 0 "" "$program" train --config="$plan" --tokens=512 --batch-size=256 --latents=64 --window=4096 \
  --validation-batches=1 --quiet --out=instead --device=opencl --fallback=cpu
OCL_ICD_VENDORS=$given
[ -n "$given" ] || unset OCL_ICD_VENDORS

need_opencl
expect 6 "opencl:99" "$program" devices --self-test --device=opencl:99
expect 6 "no-such-device" "$program" devices --self-test --device=opencl:no-such-device
expect 0 "" "$program" devices --json
contains '"opencl_devices":[{"number":0'

# The activations are made once; validation runs the models on each device.
expect 0 "" "$program" harvest --config="$plan" --out=store --max-tokens=40960 --quiet
set -- "$@" --store=store
expect 0 "" "$program" "$@" --out=cpu
expect 0 "" "$program" "$@" --out=opencl --device=opencl
expect 0 "" "$program" "$@" --device=opencl --estimate
contains "device "
contains "commands and"
grep -q 'train: on the device [0-9]* commands, [0-9]* transfers up' opencl/log.jsonl ||
  fail "no counts of the device in the log"
! grep -q 'on the device' cpu/log.jsonl || fail "counts of a device in the log of the processor"
loss() { # FOLDER STEP
  awk -F, -v step="$2" '
    NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i }
    $at["step"] == step && $at["split"] == "train" { print $at["loss"] }' "$1/metrics.csv"
}
# Factors of the crosscoder's products rounded to bfloat16: other numbers, but near. Twenty steps, so that they are
# dense.
expect 6 "fp32 alone" "$program" "$@" --out=none --compute=bf16-all
if grep -q avx512_bf16 /proc/cpuinfo; then # for the models' products
  expect 0 "" "$program" "$@" --tokens=5120 --out=rounded --device=opencl --compute=bf16-all
  awk -v a="$(loss opencl 0)" -v b="$(loss rounded 0)" 'BEGIN { e = (a - b) / a; exit !(e != 0 && e * e < 1e-4) }' ||
    fail "loss of step 1 in bf16-all: $(loss rounded 0), in fp32 $(loss opencl 0)"
fi
close() { # STEP TOLERANCE [BEHIND THE FOLDERS' NAMES]
  awk -v a="$(loss cpu$3 "$1")" -v b="$(loss opencl$3 "$1")" -v most="$2" 'BEGIN {
    e = (a - b) / a; if (e < 0) e = -e
    exit !(a > 0 && b > 0 && e <= most) }' ||
    fail "loss$3 of step $1: $(loss cpu$3 "$1") on the processor, $(loss opencl$3 "$1") on the device"
}
close 0 1e-6
close 99 1e-3
for activation in batchtopk topk jumprelu; do # twenty steps
  for device in cpu opencl; do
    expect 0 "" "$program" "$@" --tokens=5120 --activation=$activation --k=20 --out=$device-$activation \
      --device=$device
  done
  close 0 1e-6 -$activation
  close 19 1e-3 -$activation
done

# The models alone: margins of minimal pairs, numbers within 1e-5 and words equal.
pairs=pairs:$source/examples/tiny-pythia/pairs/en_pp.jsonl
for device in cpu opencl; do
  expect 0 "" "$program" accuracy --config="$plan" --task="$pairs" --max-pairs=30 --quiet --out=$device.csv \
    --device=$device
done
paste -d, cpu.csv opencl.csv | awk -F, '
  { for (i = 1; i <= NF / 2; i++) {
      a = $i; b = $(i + NF / 2); e = a - b; size = a < 0 ? -a : a
      if (a + 0 == 0 && b + 0 == 0 ? a "" != b "" : (e < 0 ? -e : e) > 1e-5 * size) {
        print "column " i ": " a ", " b
        bad++
      }
    }
  }
  END { exit bad > 0 || NR < 2 }' || fail "accuracy on the device differs from the processor's"
finish
