#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# From all revisions of the bundled run to the checkpoints worth comparing: accuracy, similarity, select.
. "${top_srcdir:-.}/tests/cli/common.sh"
example=$source/examples/tiny-pythia
all=step0,step8,step32,step64,step128,step256,step384,step512,step768,step1024,step2048

# Tables of all revisions.
tasks=$(for task in "$example"/pairs/*.jsonl; do printf ',pairs:%s' "$task"; done)
set -- --model="$example" --revisions=$all --tokens-per-step=2048 --quiet
expect 0 "" "$program" accuracy "$@" --task="${tasks#,}" --max-pairs=200 --out=accuracy.csv
expect 0 "" "$program" similarity "$@" --layer=2 --heldout="$example/heldout.jsonl" --length=128 --sample=2048 \
  --out=similarity.csv
# A mebibyte less than what everything takes: the activations go into a file. What a model takes must be there.
bytes() { sed -n "s/^ \"$1\": \([^,]*\).*/\1/p" stdout | awk '{ printf "%.0f\n", $1 }'; }
set -- "$@" --layer=2 --heldout="$example/heldout.jsonl" --length=128 --sample=2048
expect 0 "" "$program" similarity "$@" --threads=3 --estimate --json
needed=$(bytes memory_bytes)
disk=$(bytes disk_bytes)
expect 0 "" "$program" similarity "$@" --threads=3 --max-memory=$((needed - 1048576)) --estimate --json
[ "$(bytes disk_bytes)" -ge $((disk + 11 * 2048 * 63 * 2)) ] || fail "the activations are not in a file: $(cat stdout)"
expect 0 "" "$program" similarity "$@" --threads=3 --max-memory=$((needed - 1048576)) --out=again.csv
cmp -s similarity.csv again.csv || fail "similarities depend on threads or memory"
expect 5 "of memory are needed, --max-memory allows 1.0 MiB" "$program" similarity "$@" --max-memory=1M --out=none.csv
[ ! -e none.csv ] || fail "a refused comparison wrote something"
expect 0 "" "$program" similarity "$@" --estimate
contains "expected time"
set -- --model="$example" --revisions=$all --tokens-per-step=2048 --quiet
[ "$(grep -c . similarity.csv)" -eq 56 ] ||
  fail "similarity.csv has $(grep -c . similarity.csv) lines, expected 55 pairs"
expect 0 "" "$program" similarity "$@" --layer=2 --task="pairs:$example/pairs/en_pp.jsonl" --max-pairs=20
contains "step0,step8,0,16384,2,"
expect 0 "" "$program" similarity --checkpoints="$example/step0,$example/step8" --layer=-1 --sample=64 --length=32 \
  --corpus="$example/heldout.jsonl" --json --quiet
contains '"cosine"'
expect 2 "at least two" "$program" similarity --checkpoints="$example/step0" --layer=2 --length=128 \
  --corpus="$example/heldout.jsonl"
expect 2 "has layers -1 to 3" "$program" similarity "$@" --layer=4 --heldout="$example/heldout.jsonl" --length=128

# Each of the best three proposals lies on both sides of the learning of agreement, between steps 64 and 128; the first
# one also on both sides of the structural rule, between 384 and 768.
expect 0 "none is left out" "$program" select --accuracy=accuracy.csv --similarity=similarity.csv --model="$example" \
  --out=selection
contains "selection/report/index.html"
for file in selection/selection.json selection/report/index.html selection/report/figures/similarity-cosine.svg \
  selection/report/figures/similarity-pearson.svg selection/report/figures/adjacent.svg \
  selection/report/figures/accuracy.svg selection/report/tables/similarity-cosine.csv; do
  [ -s $file ] || fail "no $file"
done
for n in 1 2 3; do
  steps=$(sed -n 's/^  step\([0-9]*\): [^0-9].*/\1/p' selection/proposal-$n.yaml)
  [ "$(echo "$steps" | wc -w)" -eq 3 ] || fail "proposal $n: $steps"
  before=0 after=0
  for step in $steps; do
    [ "$step" -le 64 ] && before=1
    [ "$step" -ge 128 ] && after=1
  done
  [ $before$after = 11 ] || fail "proposal $n does not straddle the learning of agreement: $steps"
done
# shellcheck disable=SC2046
set -- $(sed -n 's/^  step\([0-9]*\): [^0-9].*/\1/p' selection/proposal-1.yaml)
[ "$2" -ge 128 ] && [ "$2" -le 512 ] && [ "$3" -ge 768 ] || fail "proposal 1: $*"
expect 0 "" "$program" select --accuracy=accuracy.csv --similarity=similarity.csv --threads=1 --json --quiet
cp stdout one.json
expect 0 "" "$program" select --accuracy=accuracy.csv --similarity=similarity.csv --threads=4 --json --quiet
cmp -s stdout one.json || fail "the selection depends on threads"
expect 0 "" "$program" select --accuracy=accuracy.csv --count=2 --quiet
contains "proposal 3: "
expect 0 "" "$program" select --similarity=similarity.csv --count=4 --proposals=1 --quiet
contains "change between step"

# Tables that are none.
expect 2 "--accuracy=CSV is missing" "$program" select
expect 3 "none.csv" "$program" select --accuracy=none.csv
echo "checkpoint,task,language,group,n,correct" >bad.csv
expect 3 "at least 2" "$program" select --accuracy=bad.csv
echo "a,b" >bad.csv
expect 3 "no column 'checkpoint'" "$program" select --accuracy=bad.csv
printf 'checkpoint,task,language,group,n,correct\nx,t,,all,10,11\ny,t,,all,10,1\nz,t,,all,10,1\n' >bad.csv
expect 3 "11 right of 10" "$program" select --accuracy=bad.csv
grep -v '^step0,step8,' similarity.csv >bad.csv
expect 3 "no similarity of step0 and step8" "$program" select --similarity=bad.csv
finish
