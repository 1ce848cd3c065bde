#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A crosscoder that a device has no room for, by the program: PoCL with a driver before it that tells of little memory
# (tests/compute/opencl_faults.c). The estimate says what stays in the host's memory, and the training then does that;
# its numbers are near the processor's; it can be resumed, and what it leaves is analysed on the same device. What
# cannot be cut is refused before anything starts, and auto stays with the processor.
. "${top_srcdir:-.}/tests/cli/common.sh"
need_faulty_driver
# Two checkpoints of width 16, 2048 features, batches of 64: 2.1 MB of weights, moments and gradients, 1.4 MB for a
# batch, and about 0.5 MB for models and what they work in.
small() { env LD_PRELOAD="$driver" OPENCL_FAULT_MEMORY="${memory:-2800000}" ${posing:+OPENCL_FAULT_GPU=1} "$@"; }
number() { sed -n "s/.*\"$1\": *\([0-9.e+]*\).*/\1/p" stdout | head -n 1; }

write_text 300
write_pairs 8 ', "language": "en", "group": "simple"'
write_plan plan.yaml <<END
latents: 2048
tokens: 2560
batch-tokens: 256
save-every: 20
END
expect 0 "" "$program" harvest --config=plan.yaml --layers=1 --out=store
set -- train --config=plan.yaml --store=store

# The plan: what is told before is what is done. A step sends what the panels' weights need: of 4 bytes a value 14 times
# up and 8 times down.
expect 0 "" small "$program" "$@" --device=opencl --estimate
contains "device memory"
contains "crosscoder 3.4 MiB, of which 1.4 MiB for a batch"
contains "stay in the host's memory"
planned=$(sed -n 's/^device panels *\(.* panels of [0-9]* features\) stay.*/\1/p' stdout)
expect 0 "" small "$program" "$@" --device=opencl --estimate --json
[ "$(number host_panels)" -gt 1 ] || fail "host_panels is $(number host_panels)"
awk -v bytes="$(number host_bytes)" -v up="$(number step_bytes_up)" -v down="$(number step_bytes_down)" '
  BEGIN { exit !(bytes > 0 && up == bytes / 8 * 14 && down == bytes / 8 * 8) }' || fail "bytes of a step: $(cat stdout)"
little=$(number memory_bytes) host=$(number host_bytes)
expect 0 "" "$program" "$@" --device=opencl --estimate --json
[ "$(number host_panels)" -eq 0 ] || fail "panels of the host where there is room"
awk -v a="$little" -v b="$(number memory_bytes)" -v host="$host" 'BEGIN { e = a - b - host; exit !(e * e < 1e8) }' ||
  fail "memory with panels of $host bytes: $little, without: $(number memory_bytes)"
expect 5 "--max-memory" small "$program" "$@" --device=opencl --out=none --max-memory="${little%%.*}"
[ ! -e none ] || fail "a folder of a job that was refused"

# The training: the warning says what the estimate said; rows within 1e-3 of the processor's.
expect 0 "$planned stay in the host's memory" small "$program" "$@" --device=opencl --out=run
[ "$(grep -c 'warning: ' stderr)" -eq 1 ] || fail "warnings: $(grep 'warning: ' stderr)"
expect 0 "" "$program" "$@" --out=cpu
paste -d, cpu/metrics.csv run/metrics.csv | awk -F, '
  NR > 1 { for (i = 1; i <= NF / 2; i++) {
      a = $i; b = $(i + NF / 2); e = a - b
      if (a + 0 == 0 && b + 0 == 0 ? a "" != b "" : (e < 0 ? -e : e) > 1e-3 * (a < 0 ? -a : a) + 1e-3) {
        print "row " NR ", column " i ": " a ", " b
        bad++
      }
    }
  }
  END { exit bad > 0 || NR < 3 }' || fail "metrics in panels differ from the processor's"

# Resumed, after it was killed behind a saved state: the numbers of one that was not, bit for bit (D0, D2).
small timeout -s KILL 300 sh -c '"$@" & child=$!
  while [ ! -e killed/checkpoints/LATEST ] && kill -0 $child 2>/dev/null; do sleep 0.05; done
  kill -9 $child 2>/dev/null; wait $child' sh "$program" "$@" --device=opencl --out=killed >stdout 2>stderr
expect 0 "" small "$program" "$@" --device=opencl --out=killed --resume
cmp run/crosscoder.safetensors killed/crosscoder.safetensors || fail "a resumed training in panels is another"
cmp run/metrics.csv killed/metrics.csv || fail "metrics of a resumed training in panels are others"

# Analyses of it, with half of the room for the weights that they would have: features come in blocks of 1024 samples,
# which need more than the weights.
cp -r run copy
for command in eval attribute ablate; do
  memory=
  expect 0 "" "$program" $command run --device=opencl --estimate --json
  coder=$(number crosscoder_bytes) batch=$(number batch_bytes)
  memory=$((coder / 2 + batch / 2 + $(number model_bytes) + $(number work_bytes)))
  expect 0 "" small "$program" $command run --device=opencl --estimate
  contains "stay in the host's memory"
  expect 0 "" small "$program" $command run --device=opencl
  expect 0 "" "$program" $command copy
done
for file in effects/pairs-pairs.csv ablation/pairs-pairs.csv; do
  [ "$(wc -l <"run/$file")" -eq "$(wc -l <"copy/$file")" ] || fail "rows of $file"
done
memory=$batch
expect 6 "of it for batches of 1024" small "$program" eval run --device=opencl
memory=

# auto: the processor, and one line; a batch that is too large: numbers, and nothing is left behind.
posing=yes
expect 0 "device: cpu: device opencl:0" small "$program" "$@" --device=auto --out=auto
grep -q 'device: cpu: .*a crosscoder of 2048 features needs' stderr || fail "auto on a small device: $(cat stderr)"
! grep -q 'warning: ' stderr || fail "a warning of auto: $(cat stderr)"
cmp cpu/crosscoder.safetensors auto/crosscoder.safetensors || fail "auto on a small device is not the processor"
posing=
for what in --estimate --out=large; do
  expect 6 " MiB of it for batches of 512, in one array" small "$program" "$@" --device=opencl --batch-size=512 $what
  [ ! -e large ] || fail "a folder of a job that the device refuses"
done
expect 0 "going on with the processor" small "$program" "$@" --device=opencl --batch-size=512 --fallback=cpu --out=large
finish
