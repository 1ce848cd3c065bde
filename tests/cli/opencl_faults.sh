#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# An OpenCL device that fails in the middle of a command, through a preloaded driver (tests/compute/opencl_faults.c):
# with --fallback=cpu and with auto the processor goes on and says so; without, the status is 6 and the state is saved.
. "${top_srcdir:-.}/tests/cli/common.sh"
need_faulty_driver
faulty() { # NAME=VALUE... -- COMMAND...
  faults=
  while [ "$1" != -- ]; do
    faults="$faults OPENCL_FAULT_$1"
    shift
  done
  shift
  env LD_PRELOAD="$driver" $faults "$@"
}

# Every command begins with a self-test; faults are to come behind it.
tested() { echo $(($1 + tests)); }
faulty COUNT="$work/count" -- "$program" devices --self-test --device=opencl >stdout 2>stderr
tests=$(cat count)
[ "$tests" -gt 0 ] || fail "a self-test without commands"

write_text 300
write_pairs 8 ', "language": "en", "group": "simple"'
write_plan plan.yaml <<END
tokens: 12800
save-every: 1000
END
expect 0 "" "$program" run plan.yaml
expect 0 "" "$program" harvest --config=plan.yaml --layers=1 --out=store

# The estimate before a training runs 100 to 1100 commands on the device (more where the clock allows), a step about 58:
# the 6500th is between the copies after the steps 64 and 128 in any case.
# Training ends with status 6 and a saved state, from which the processor goes on; the numbers of the state that was
# saved are those of a training that was handed over after that step (tests/crosscoder/test_rescue.c proves the bits).
# Activations come from a store, because those that a device has computed before it failed have roundings of its own.
expect 6 "the state after step " faulty ENQUEUE="$(tested 6500)" LOST=1 -- \
  "$program" train --config=plan.yaml --store=store --out=lost --device=opencl
[ ! -e lost/crosscoder.safetensors ] || fail "a result of a training that was lost"
[ -n "$(ls lost/checkpoints)" ] || fail "no state of a training that was lost"
expect 0 "" "$program" train --config=plan.yaml --store=store --out=lost --resume
[ -s lost/crosscoder.safetensors ] || fail "no result of a training that was resumed"
expect 0 "the processor goes on after step" faulty ENQUEUE="$(tested 6500)" LOST=1 -- \
  "$program" train --config=plan.yaml --store=store --out=taken --device=opencl --fallback=cpu
cmp taken/crosscoder.safetensors lost/crosscoder.safetensors || fail "resumed and taken over differ"
cmp taken/metrics.csv lost/metrics.csv || fail "metrics of resumed and taken over differ"

# auto: never a processor; a GPU that fails its self-test, or is too small, is named; one that passes is taken, and may
# be replaced like with --fallback=cpu.
expect 0 "device: cpu: no OpenCL device is a GPU" "$program" train --config=plan.yaml --out=auto --device=auto
expect 0 "device: opencl:0 " faulty GPU=1 -- "$program" train --config=plan.yaml --out=auto-gpu --device=auto
expect 0 "device: cpu: " faulty GPU=1 ENQUEUE=30 -- "$program" train --config=plan.yaml --out=auto-bad --device=auto
cmp auto/crosscoder.safetensors auto-bad/crosscoder.safetensors || fail "auto with a bad GPU is not the processor"
# 2048 features of two checkpoints of width 16, 64 samples: 4.2 MB, half of it weights; a tensor of them has 262144
# bytes, the features of a batch 524288. The self-test needs less of both.
set -- train --config=plan.yaml --store=store --latents=2048 --tokens=128 --batch-tokens=256
expect 0 "" "$program" "$@" --out=large
expect 0 "device: cpu: device opencl:0" faulty GPU=1 MEMORY=4000000 -- "$program" "$@" --out=auto-small --device=auto
grep -q 'device: cpu: .*a crosscoder of 2048 features needs' stderr || fail "auto with a small GPU: $(cat stderr)"
cmp large/crosscoder.safetensors auto-small/crosscoder.safetensors || fail "auto with a small GPU is not the processor"

# Wrong results are found before anything is computed: status 6 and nothing left behind, or the processor and one line.
expect 6 "self-test" faulty WRONG=1 -- "$program" "$@" --out=wrong --device=opencl
[ ! -e wrong ] || fail "a folder of a device that computes wrong"
expect 0 "going on with the processor" faulty WRONG=1 -- "$program" "$@" --out=wrong --device=opencl --fallback=cpu
[ "$(grep -c 'warning: ' stderr)" -eq 1 ] || fail "warnings of a wrong device: $(cat stderr)"
cmp large/crosscoder.safetensors wrong/crosscoder.safetensors || fail "fallback of a wrong device is not the processor"
expect 0 "device: cpu: " faulty WRONG=1 GPU=1 -- "$program" "$@" --out=auto-wrong --device=auto

# A driver that gives less than the device is said to have, as beside other programs: weights go in panels.
expect 0 "stay in the host's memory" faulty GIVEN=3000000 -- "$program" "$@" --out=shared --device=opencl
[ -s shared/crosscoder.safetensors ] || fail "no result of a device that is shared"

# What was asked for by name is used, with weights in panels (tests/crosscoder/test_panels.c), but what is not cut is
# refused before the first step.
expect 6 "at once" faulty LARGEST=200000 -- "$program" "$@" --out=small --device=opencl
[ ! -e small/crosscoder.safetensors ] || fail "a result of a device without room"

# Each command on its own, from the first command of the device to some deep in it. Where the first fails, everything is
# computed by the processor, so that all files are those of the run on the processor; later ones have passed through
# both, and tables hold at least the same rows.
values() { # FILE: without times and what names the device
  case $1 in
  *.json) tr ',' '\n' <"$1" | grep -v 'seconds\|device\|kernels' ;;
  *) cat "$1" ;;
  esac
}
for command in eval attribute ablate; do
  case $command in
  eval) file=eval.json ;;
  attribute) file=effects/pairs-pairs.csv ;;
  ablate) file=ablation/pairs-pairs.csv ;;
  esac
  for n in 1 2 10 40 150; do
    rm -rf copy && cp -r run copy
    rm -rf "copy/$file" "copy/${file%.csv}".*
    expect 0 "" faulty ENQUEUE="$(tested $n)" LOST=1 -- "$program" $command copy --device=opencl --fallback=cpu
    grep -q 'going on with the processor' stderr || {
      [ "$n" -gt 10 ] || fail "$command: the fault at $n was not reached"
    }
    [ -s "copy/$file" ] || { fail "$command: no $file after a fault at $n"; continue; }
    if [ "$n" -eq 1 ]; then
      values "run/$file" >expected && values "copy/$file" >found
      cmp -s expected found || fail "$command: $file after a fault at $n is not that of the processor"
    fi
    [ "$(wc -l <"run/$file")" -eq "$(wc -l <"copy/$file")" ] || fail "$command: rows of $file after a fault at $n"
  done
  rm -rf copy && cp -r run copy
  expect 6 "CL_DEVICE_NOT_AVAILABLE" faulty ENQUEUE="$(tested 1)" -- "$program" $command copy --device=opencl
done

# Where the first command fails a store holds the bytes of the processor.
expect 0 "" faulty ENQUEUE="$(tested 1)" LOST=1 -- "$program" harvest --config=plan.yaml --layers=1 --out=store-taken \
  --device=opencl --fallback=cpu
for file in store/*.safetensors; do
  cmp "$file" "store-taken/$(basename "$file")" || fail "harvest: $file after a fault"
done
finish
