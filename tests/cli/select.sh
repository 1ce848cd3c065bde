#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# From all revisions of the bundled run to the checkpoints worth comparing: audit, accuracy, similarity, select.
. "${top_srcdir:-.}/tests/cli/common.sh"
example=$source/examples/tiny-pythia
all=step0,step8,step32,step64,step128,step256,step384,step512,step768,step1024,step2048

# Published revisions can be wrong; so are these.
mkdir revisions revisions/step99
for step in 64 256 512 2048; do ln -s "$example/step$step" revisions/step$step; done
ln -s "$example/step256" revisions/step300
ln -s "$example/step0" revisions/step400
ln -s "$example/step2048" revisions/main
cp "$example/step64/config.json" revisions/step99/
expect 0 "" "$program" audit --model=revisions --revisions=step64,step256,step512 --tokens-per-step=2048 --min-tokens=0
contains "3 revisions, 0 with findings, 0 unreadable"
expect 3 "step99: 1 of 7 revisions" "$program" audit --model=revisions --tokens-per-step=2048 --tokenizer="$example/step0" \
  --revisions=step64,step256,step300,step400,step512,step2048,step99 --min-tokens=200000 \
  --heldout="$example/heldout.jsonl" --length=128 --max-tokens=4096 --out=audit.csv
contains "WARN  step64: the paper leaves out revisions that have seen fewer tokens than 200000"
contains "WARN  step256: identical to step300"
contains "WARN  step300: identical to step256"
contains "WARN  step400: perplexity"
contains "WARN  step2048: equal to main"
contains "WARN  step99: unreadable: revisions/step99: no weights"
grep -q '^step512,.*,$' audit.csv || fail "step512 has findings: $(grep step512 audit.csv)"
[ "$(grep -c . audit.csv)" -eq 8 ] || fail "audit.csv has $(grep -c . audit.csv) lines"
expect 0 "" "$program" audit --model=revisions --revisions=step256,step512 --json --quiet
contains '"findings": ""'
expect 2 "checkpoints are missing" "$program" audit

# A cache with two revisions that link to one blob, a shard that is missing, and a value that is not finite.
hub=$work/hub/models--o--pythia-x
for n in 1 2 3 4; do
  sha=000000000000000000000000000000000000000$n
  mkdir -p "$hub/refs" "$hub/snapshots/$sha" "$hub/blobs"
  printf %s "$sha" >"$hub/refs/step$n"
  cp "$example/step64/config.json" "$hub/snapshots/$sha/"
done
cp "$example/step64/model.safetensors" "$hub/blobs/aaaa"
ln -s ../../blobs/aaaa "$hub/snapshots/0000000000000000000000000000000000000001/model.safetensors"
ln -s ../../blobs/aaaa "$hub/snapshots/0000000000000000000000000000000000000002/model.safetensors"
echo '{"weight_map": {"a": "model-00001-of-00002.safetensors"}}' \
  >"$hub/snapshots/0000000000000000000000000000000000000003/model.safetensors.index.json"
size=$(wc -c <"$example/step64/model.safetensors")
{ head -c $((size - 2)) "$example/step64/model.safetensors"; printf '\000\176'; } >"$hub/blobs/bbbb"
ln -s ../../blobs/bbbb "$hub/snapshots/0000000000000000000000000000000000000004/model.safetensors"
HF_HUB_CACHE=$work/hub
export HF_HUB_CACHE
expect 3 "step3: 1 of 4" "$program" audit --model=o/pythia-x --revisions=step1,step2,step3,step4
contains "identical to step2 (the same file in the cache)"
contains "model-00001-of-00002.safetensors"
contains "1 values are NaN or infinite"
contains "2.0972e+06"
unset HF_HUB_CACHE

# Tables of all revisions.
tasks=$(for task in "$example"/pairs/*.jsonl; do printf ',pairs:%s' "$task"; done)
set -- --model="$example" --revisions=$all --tokens-per-step=2048 --quiet
expect 0 "" "$program" accuracy "$@" --task="${tasks#,}" --max-pairs=200 --out=accuracy.csv
expect 0 "" "$program" similarity "$@" --layer=2 --heldout="$example/heldout.jsonl" --length=128 --sample=2048 \
  --out=similarity.csv
expect 0 "" "$program" similarity "$@" --layer=2 --heldout="$example/heldout.jsonl" --length=128 --sample=2048 \
  --threads=3 --max-memory=1M --out=again.csv
cmp -s similarity.csv again.csv || fail "similarities depend on threads or memory"
[ "$(grep -c . similarity.csv)" -eq 56 ] || fail "similarity.csv has $(grep -c . similarity.csv) lines, expected 55 pairs"
expect 0 "" "$program" similarity "$@" --layer=2 --task="pairs:$example/pairs/en_pp.jsonl" --max-pairs=20
contains "step0,step8,0,16384,2,"
expect 0 "" "$program" similarity --checkpoints="$example/step0,$example/step8" --layer=-1 --sample=64 --length=32 \
  --corpus="$example/heldout.jsonl" --json --quiet
contains '"cosine"'
expect 2 "at least two" "$program" similarity --checkpoints="$example/step0" --layer=2 --length=128 --corpus="$example/heldout.jsonl"
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
