#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What is wrong with revisions: each finding of audit on checkpoints that have it, in folders and in a made-up cache.
. "${top_srcdir:-.}/tests/cli/common.sh"
example=$source/examples/tiny-pythia

# Published revisions can be wrong; so are these.
mkdir revisions revisions/step99
for step in 64 256 512 2048; do ln -s "$example/step$step" revisions/step$step; done
ln -s "$example/step256" revisions/step300
ln -s "$example/step0" revisions/step400
ln -s "$example/step2048" revisions/main
cp "$example/step64/config.json" revisions/step99/
expect 0 "" "$program" audit --model=revisions --revisions=step64,step256,step512 --tokens-per-step=2048 --min-tokens=0
contains "3 revisions, 0 with findings, 0 unreadable"
for text in "" "--heldout=$example/heldout.jsonl"; do
  # shellcheck disable=SC2086
  expect 0 "" "$program" audit --model=revisions --revisions=step64,step256,step99 --length=128 $text --estimate
  contains "memory"
  contains "expected time"
done
expect 0 "" "$program" audit --model=revisions --revisions=step64,step256 --estimate --json
contains '"processor_hours"'
expect 5 "of memory are needed, --max-memory allows 1.0 MiB" "$program" audit --model=revisions --revisions=step64 \
  --max-memory=1M
expect 3 "step99: 1 of 7 revisions" "$program" audit --model=revisions --tokens-per-step=2048 \
  --tokenizer="$example/step0" --revisions=step64,step256,step300,step400,step512,step2048,step99 --min-tokens=200000 \
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

# A cache with two revisions that link to one blob, a shard that is missing, values that are not finite, and a width
# that config.json does not have.
hub=$work/hub/models--o--pythia-x
for n in 1 2 3 4 5 6; do
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
{ head -c $((size - 2)) "$example/step64/model.safetensors"; printf '\000\174'; } >"$hub/blobs/cccc"
ln -s ../../blobs/cccc "$hub/snapshots/0000000000000000000000000000000000000005/model.safetensors"
ln -s ../../blobs/aaaa "$hub/snapshots/0000000000000000000000000000000000000006/model.safetensors"
sed 's/"intermediate_size": *[0-9]*/"intermediate_size": 256/' "$example/step64/config.json" \
  >"$hub/snapshots/0000000000000000000000000000000000000006/config.json"
HF_HUB_CACHE=$work/hub
export HF_HUB_CACHE
expect 3 "step3: 1 of 4" "$program" audit --model=o/pythia-x --revisions=step1,step2,step3,step4
contains "identical to step2 (the same file in the cache)"
contains "model-00001-of-00002.safetensors"
contains "1 values are NaN or infinite"
contains "2.0972e+06"
contains "; the paper leaves out revisions that have seen fewer tokens than 128M"
expect 0 "" "$program" audit --model=o/pythia-x --revisions=step5,step6 --min-tokens=0
contains "WARN  step5: 1 values are NaN or infinite, the first in "
contains "WARN  step6: does not fit its config: "
# A tag below a folder, as branches with slashes are kept; and main, which is looked at without being asked for.
mkdir "$hub/refs/early"
cp "$hub/refs/step1" "$hub/refs/early/tag"
cp "$hub/refs/step5" "$hub/refs/main"
expect 0 "" "$program" audit --model=o/pythia-x --revisions=early/tag,step2,step5 --min-tokens=0
contains "WARN  early/tag: identical to step2 (the same file in the cache)"
contains "WARN  step5: 1 values are NaN or infinite"
contains "equal to main (the same file in the cache)"
unset HF_HUB_CACHE
finish
