#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# One crosscoder of the bundled models, attributed, ablated and evaluated by the processor and on an OpenCL device (PoCL
# where there is no other): both must find the same.
. "${top_srcdir:-.}/tests/cli/common.sh"
need_opencl

example=$source/examples/tiny-pythia
task=pairs-en_pp
expect 0 "" "$program" train --config="$example/plan.yaml" --tokens=25600 --batch-size=256 --latents=256 \
  --window=8192 --validation-batches=1 --validate-every=100 --quiet --out=cpu
cp -R cpu opencl
for device in cpu opencl; do
  set -- "$device" --device=$device --quiet
  expect 0 "" "$program" attribute "$@" --task="pairs:$example/pairs/en_pp.jsonl" --max-pairs=16
  expect 0 "" "$program" ablate "$@" --task="pairs:$example/pairs/en_pp.jsonl" --max-pairs=16 --ablate-features=3
  expect 0 "" "$program" eval "$@" --task="pairs:$example/pairs/en_pp.jsonl" --max-pairs=16 --eval-batches=1
done

# table FILE KEYS PATTERN: the numbers of a CSV file as "KEYS COLUMN-NAME VALUE", for columns that match.
table() {
  awk -F, -v keys="$2" -v pattern="$3" '
    NR == 1 { for (i = 1; i <= NF; i++) name[i] = $i; next }
    { key = $1; for (i = 2; i <= keys; i++) key = key "/" $i
      for (i = keys + 1; i <= NF; i++) if (name[i] ~ pattern) print key, name[i], $i }' "$1"
}
# near WHAT FILE KEYS PATTERN TOLERANCE relative|absolute [ROWS]: both runs hold the same rows, and numbers that differ
# by at most TOLERANCE, or that share of the column's largest. ROWS: only the first rows of the processor's table.
near() {
  table "cpu/$2" "$3" "$4" >expected
  table "opencl/$2" "$3" "$4" >found
  [ -s expected ] || fail "$1: nothing in $2"
  awk -v what="$1" -v tolerance="$5" -v relative="$6" -v rows="${7:-0}" '
    function size(x) { return x < 0 ? -x : x }
    NR == FNR { value[$1 " " $2] = $3; n++; next }
    { m++
      if (!(($1 " " $2) in value)) { print what ": " $1 " is not in the other table"; bad = 1; next }
      if (!($1 in rank)) rank[$1] = ++n_rows
      if (rows && rank[$1] > rows) next
      e = size($3 - value[$1 " " $2])
      if (e > worst[$2]) worst[$2] = e
      if (size($3) > largest[$2]) largest[$2] = size($3) }
    END {
      if (n != m) { print what ": " n " numbers and " m; bad = 1 }
      for (c in worst) {
        limit = tolerance * (relative == "relative" ? largest[c] : 1)
        if (worst[c] > limit) { print what ": " c " differs by " worst[c] ", at most " limit " is allowed"; bad = 1 }
      }
      exit bad }' found expected >difference || fail "$(cat difference)"
}

# An effect is a sum of f <gbar, W> over positions. fp32 errs at the scale sum_t |f| |gbar| |W|: what is 1e-5 of it is
# held against torch in tests/analysis/test_attribution.c, on this device by tests/compute/opencl.sh. Here that scale is
# at least the largest effect for the features that matter, and features far below it have a share of 0 anyhow.
near "IE" "effects/$task.csv" 1 '^ie_' 1e-5 relative
near "RelIE of the first ten" "effects/$task.csv" 1 '^rel_ie_step' 1e-3 absolute 10
# Logits of some tens, of products over 64 terms through two blocks, err by less than 1e-6 of the largest. An accuracy
# changes only where the two answers are as near as that, which none of these pairs are.
near "ablation" "ablation/$task.csv" 2 '^log_prob_difference' 1e-5 relative
near "accuracy" "ablation/$task.csv" 2 '^accuracy' 0 absolute
# Cross-entropies are means over 508 tokens: 1e-6 of them, and dCE is a difference of two. One feature of 130000 whose
# sum is within rounding of 0 changes L0 by 1/508 = 0.002.
near "eval" eval.csv 1 '^ev_' 1e-5 absolute
near "eval" eval.csv 1 "^ce_(clean|spliced|blanked)" 2e-6 relative
near "dCE" eval.csv 1 '^delta_ce' 2e-5 absolute
l0() { sed -n 's/^ "l0": {"mean": \([0-9.e+-]*\),.*/\1/p' "$1/eval.json"; }
awk -v a="$(l0 cpu)" -v b="$(l0 opencl)" 'BEGIN { e = a > b ? a - b : b - a; exit !(a > 0 && b > 0 && e <= 0.005) }' ||
  fail "L0 $(l0 cpu) on the processor, $(l0 opencl) on the device"
finish
