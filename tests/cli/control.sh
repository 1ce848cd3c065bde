#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Negative control: the same checkpoint three times has nothing that is specific to any of them. The intervals are 95 %
# ones, so at most 5 % of the features with an effect may be called specific by chance.
example=$(cd "${top_srcdir:-.}/examples/tiny-pythia" && pwd)
program=$PWD/crosscoder
[ -x "$program" ] || exit 99
[ -f "$example/plan.yaml" ] || { echo "no example: skipped"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 99
for label in A B C; do cp -r "$example/step2048" $label; done
cat >plan.yaml <<PLAN
checkpoints:
  A: A
  B: B
  C: C
layer: 2
corpus: $example/heldout.jsonl
heldout: $example/heldout.jsonl
length: 128
task: [pairs:$example/pairs/en_pp.jsonl]
latents: 256
batch-size: 512
tokens: 150000
learning-rate: 2.0e-3
l1: 0.4
PLAN
"$program" run plan.yaml --out=run --quiet >out 2>err || { cat err; exit 1; }
awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == "class") column = i
    if (!column) { print "no column \"class\""; missing = 1; exit 1 }
    next }
  $column != "none" { n++ } $column ~ /^specific/ { specific++ }
  END { if (missing) exit 1
    printf "%d specific of %d features with an effect\n", specific, n; exit n < 20 || specific > 0.05 * n }' \
  run/effects/pairs-en_pp.csv
